//! `a || b` on text and bytes as a function, so that it has a bound: DataFusion evaluates the
//! operator itself, where nothing can be put around it.

use arrow::compute::kernels::concat_elements::concat_elements_dyn;
use arrow::datatypes::DataType;
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::Rule;
use super::size;

/// NULL when either side is, unlike `concat`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Concat {
    signature: Signature,
}

impl Concat {
    pub(super) fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

fn is_text(ty: &DataType) -> bool {
    matches!(ty, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_bytes(ty: &DataType) -> bool {
    matches!(ty, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

fn value_type(ty: &DataType) -> &DataType {
    match ty {
        DataType::Dictionary(_, value) => value,
        other => other,
    }
}

/// Both sides as one type: bytes when both are bytes, text when one of them is text.
fn common_type(left: &DataType, right: &DataType) -> Option<DataType> {
    let (left, right) = (value_type(left), value_type(right));
    let either = |test: fn(&DataType) -> bool| test(left) || test(right);
    let fits = |ty: &DataType| ty.is_primitive() || ty.is_null() || *ty == DataType::Boolean;
    if (is_bytes(left) || left.is_null()) && (is_bytes(right) || right.is_null()) && either(is_bytes) {
        return Some(DataType::Binary);
    }
    let text = either(is_text) && (is_text(left) || fits(left)) && (is_text(right) || fits(right));
    (text || (left.is_null() && right.is_null())).then_some(DataType::Utf8)
}

impl ScalarUDFImpl for Concat {
    fn name(&self) -> &str {
        "||"
    }

    /// As the operator names its column.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let names: Vec<String> = args.iter().map(|arg| arg.schema_name().to_string()).collect();
        Ok(names.join(" || "))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [left, right] => match common_type(left, right) {
                Some(ty) => Ok(vec![ty.clone(), ty]),
                None => plan_err!("{left} || {right} is not defined: cast one side to string"),
            },
            _ => plan_err!("|| takes two arguments"),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types.first().cloned().unwrap_or(DataType::Utf8))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        size::check(self.name(), Rule::Sum, &args.args, args.number_rows)?;
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let [left, right] = args.args.as_slice() else { return plan_err!("|| takes two arguments") };
        let (left, right) = (left.to_array(rows)?, right.to_array(rows)?);
        let joined = concat_elements_dyn(&left, &right)?;
        if constant {
            return Ok(ColumnarValue::Scalar(datafusion::scalar::ScalarValue::try_from_array(&joined, 0)?));
        }
        Ok(ColumnarValue::Array(joined))
    }
}
