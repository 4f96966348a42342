//! `sum` of decimals and of integers that says when it has more than 38 digits or 64 bits; DataFusion's goes round and
//! starts below.

use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, Field, FieldRef, Int64Type, UInt64Type};
use arrow::error::ArrowError;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
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

/// As the function it wraps, but for decimals and integers.
#[derive(Debug, PartialEq, Eq, Hash)]
struct CheckedSum {
    inner: Arc<AggregateUDF>,
}

/// The type that a plain sum answers, where it is checked here; a sum of distinct values is the inner function's.
fn checked_type(answer: &DataType, is_distinct: bool) -> Option<DataType> {
    let exact = matches!(answer, DataType::Decimal128(_, _) | DataType::Int64 | DataType::UInt64);
    (exact && !is_distinct).then(|| answer.clone())
}

/// What is added up on the way to an answer of type `answer`: integers as numbers of 38 digits, so that only the answer
/// itself must fit 64 bits.
fn working_type(answer: &DataType) -> DataType {
    match answer {
        DataType::Decimal128(_, _) => answer.clone(),
        _ => DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0),
    }
}

/// The values as those that are added up.
fn widened(values: &ArrayRef) -> Result<ArrayRef> {
    match values.data_type() {
        DataType::Decimal128(_, _) => Ok(Arc::clone(values)),
        _ => Ok(cast(values, &working_type(values.data_type()))?),
    }
}

/// The sums as the type that is answered, or an error when one does not fit.
fn answered(sums: ArrayRef, answer: &DataType) -> Result<ArrayRef> {
    let decimals = sums.as_primitive::<Decimal128Type>();
    decimals.iter().flatten().try_for_each(check)?;
    if sums.data_type() == answer {
        return Ok(sums);
    }
    match answer {
        DataType::UInt64 => Ok(Arc::new(decimals.try_unary::<_, UInt64Type, _>(narrowed::<u64>)?)),
        _ => Ok(Arc::new(decimals.try_unary::<_, Int64Type, _>(narrowed::<i64>)?)),
    }
}

fn narrowed<N: TryFrom<i128>>(sum: i128) -> std::result::Result<N, ArrowError> {
    let why = "a sum of integers has more than 64 bits; cast what is summed to decimal(38,0)";
    N::try_from(sum).map_err(|_| ArrowError::ArithmeticOverflow(why.to_owned()))
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
        match checked_type(args.return_field.data_type(), args.is_distinct) {
            Some(answer) => Ok(Box::new(ExactSum { sum: None, count: 0, answer })),
            None => self.inner.accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match checked_type(args.return_field.data_type(), args.is_distinct) {
            Some(answer) => Ok(Box::new(ExactSum { sum: None, count: 0, answer })),
            None => self.inner.create_sliding_accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let Some(answer) = checked_type(args.return_type(), args.is_distinct) else {
            return self.inner.state_fields(args);
        };
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "sum"), working_type(&answer), true))])
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        match checked_type(args.return_field.data_type(), args.is_distinct) {
            Some(answer) => {
                let inner = PrimitiveGroupsAccumulator::<Decimal128Type, _>::new(&working_type(&answer), add);
                Ok(Box::new(ExactSums { inner: Box::new(inner), answer }))
            }
            None => self.inner.create_groups_accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
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
struct ExactSum {
    sum: Option<i128>,
    /// Values in the window.
    count: u64,
    answer: DataType,
}

impl ExactSum {
    fn state_value(&self) -> Result<ScalarValue> {
        ScalarValue::new_primitive::<Decimal128Type>(self.sum, &working_type(&self.answer))
    }
}

impl Accumulator for ExactSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(values) = values.first() else { return Ok(()) };
        self.count += (values.len() - values.null_count()) as u64;
        for value in widened(values)?.as_primitive::<Decimal128Type>().iter().flatten() {
            add(self.sum.get_or_insert(0), value);
        }
        self.sum.map_or(Ok(()), check)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(values) = values.first() else { return Ok(()) };
        self.count -= (values.len() - values.null_count()) as u64;
        for value in widened(values)?.as_primitive::<Decimal128Type>().iter().flatten() {
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
        match self.answer {
            DataType::Int64 => Ok(ScalarValue::Int64(self.sum.map(narrowed).transpose()?)),
            DataType::UInt64 => Ok(ScalarValue::UInt64(self.sum.map(narrowed).transpose()?)),
            _ => self.state_value(),
        }
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.state_value()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// The sums of groups, looked at when they leave.
struct ExactSums {
    inner: Box<dyn GroupsAccumulator>,
    answer: DataType,
}

impl GroupsAccumulator for ExactSums {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        let values = values.iter().map(widened).collect::<Result<Vec<_>>>()?;
        self.inner.update_batch(&values, groups, filter, total)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        answered(self.inner.evaluate(emit_to)?, &self.answer)
    }

    /// A sum that is too large is refused here too: what another part adds to it could hide that.
    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let state = self.inner.state(emit_to)?;
        for sums in &state {
            sums.as_primitive::<Decimal128Type>().iter().flatten().try_for_each(check)?;
        }
        Ok(state)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.inner.merge_batch(values, groups, total)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = values.iter().map(widened).collect::<Result<Vec<_>>>()?;
        self.inner.convert_to_state(&values, filter)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }
}
