//! `sum` of decimals that says when it has more than 38 digits; DataFusion's goes round and starts below.

use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, BooleanArray};
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, FieldRef};
use arrow::error::ArrowError;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator, ReversedUDAF,
    SetMonotonicity, Signature,
};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::prim_op::PrimitiveGroupsAccumulator;

/// The first number that has 39 digits.
const TOO_LARGE: i128 = 10_i128.pow(DECIMAL128_MAX_PRECISION as u32);

/// `sum` in its checked form; `None` for other aggregates and for what is checked already.
pub(super) fn checked(function: &Arc<AggregateUDF>) -> Option<Arc<AggregateUDF>> {
    let sums = function.name() == "sum" && !function.inner().is::<CheckedSum>();
    sums.then(|| Arc::new(AggregateUDF::new_from_impl(CheckedSum { inner: Arc::clone(function) })))
}

/// As the function it wraps, but for decimals.
#[derive(Debug, PartialEq, Eq, Hash)]
struct CheckedSum {
    inner: Arc<AggregateUDF>,
}

/// The decimal type that a plain sum answers; a sum of distinct values is the inner function's.
fn decimal(args: &AccumulatorArgs<'_>) -> Option<DataType> {
    let ty = args.return_field.data_type();
    (matches!(ty, DataType::Decimal128(_, _)) && !args.is_distinct).then(|| ty.clone())
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn is_nullable(&self) -> bool {
        self.inner.is_nullable()
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match decimal(&args) {
            Some(ty) => Ok(Box::new(DecimalSum { sum: None, count: 0, ty })),
            None => self.inner.accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match decimal(&args) {
            Some(ty) => Ok(Box::new(DecimalSum { sum: None, count: 0, ty })),
            None => self.inner.create_sliding_accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        match decimal(&args) {
            Some(ty) => {
                Ok(Box::new(DecimalSums(Box::new(PrimitiveGroupsAccumulator::<Decimal128Type, _>::new(&ty, add)))))
            }
            None => self.inner.create_groups_accumulator(args),
        }
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type)
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.inner().set_monotonicity(data_type)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

/// Adds; a sum that is too large stays so, whatever comes after.
fn add(sum: &mut i128, value: i128) {
    if sum.unsigned_abs() < TOO_LARGE.unsigned_abs() {
        *sum = sum.saturating_add(value);
    }
}

fn check(sum: i128) -> Result<()> {
    if sum.unsigned_abs() < TOO_LARGE.unsigned_abs() {
        return Ok(());
    }
    let why = "a sum of decimals has more than 38 digits; cast to double where that is precise enough";
    Err(ArrowError::ArithmeticOverflow(why.to_owned()).into())
}

/// One sum, also over a window that slides.
#[derive(Debug)]
struct DecimalSum {
    sum: Option<i128>,
    /// Values in the window.
    count: u64,
    ty: DataType,
}

impl Accumulator for DecimalSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(values) = values.first() else { return Ok(()) };
        self.count += (values.len() - values.null_count()) as u64;
        for value in values.as_primitive::<Decimal128Type>().iter().flatten() {
            add(self.sum.get_or_insert(0), value);
        }
        self.sum.map_or(Ok(()), check)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(values) = values.first() else { return Ok(()) };
        self.count -= (values.len() - values.null_count()) as u64;
        for value in values.as_primitive::<Decimal128Type>().iter().flatten() {
            add(self.sum.get_or_insert(0), value.wrapping_neg());
        }
        if self.count == 0 {
            self.sum = None;
        }
        self.sum.map_or(Ok(()), check)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::new_primitive::<Decimal128Type>(self.sum, &self.ty)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// The sums of groups, looked at when they are answered.
struct DecimalSums(Box<dyn GroupsAccumulator>);

impl GroupsAccumulator for DecimalSums {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.0.update_batch(values, groups, filter, total)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sums = self.0.evaluate(emit_to)?;
        sums.as_primitive::<Decimal128Type>().iter().flatten().try_for_each(check)?;
        Ok(sums)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.0.state(emit_to)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.0.merge_batch(values, groups, total)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.0.convert_to_state(values, filter)
    }

    fn size(&self) -> usize {
        self.0.size()
    }
}
