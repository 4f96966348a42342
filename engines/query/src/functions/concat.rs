//! `a || b || c` on text and bytes as one function, so that it has a bound: DataFusion evaluates
//! the operator itself, where nothing can be put around it. One function for a whole chain, because
//! the planner takes time in the cube of the depth of nested calls.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::kernels::concat_elements::{concat_elements_dyn, concat_elements_utf8_many};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::Rule;
use super::size;

/// NULL when any part is, unlike `concat`.
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

/// All parts as one type: bytes when all are bytes, text when one of them is text.
fn common_type(types: &[DataType]) -> Option<DataType> {
    let types: Vec<&DataType> = types.iter().map(value_type).collect();
    let becomes_text = |ty: &DataType| is_text(ty) || ty.is_primitive() || ty.is_null() || *ty == DataType::Boolean;
    if types.iter().any(|ty| is_bytes(ty)) && types.iter().all(|ty| is_bytes(ty) || ty.is_null()) {
        return Some(DataType::Binary);
    }
    let some_text = types.iter().any(|ty| is_text(ty)) || types.iter().all(|ty| ty.is_null());
    (some_text && types.iter().all(|ty| becomes_text(ty))).then_some(DataType::Utf8)
}

fn join(parts: &[ArrayRef]) -> Result<ArrayRef, ArrowError> {
    if parts.iter().all(|part| *part.data_type() == DataType::Utf8) {
        let parts: Vec<_> = parts.iter().map(AsArray::as_string::<i32>).collect();
        return Ok(Arc::new(concat_elements_utf8_many(&parts)?));
    }
    let Some((first, rest)) = parts.split_first() else {
        return Err(ArrowError::InvalidArgumentError("|| takes two arguments".to_owned()));
    };
    rest.iter().try_fold(Arc::clone(first), |joined, part| concat_elements_dyn(&joined, part))
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
        match common_type(types) {
            Some(ty) => Ok(vec![ty; types.len()]),
            None => {
                let types: Vec<String> = types.iter().map(ToString::to_string).collect();
                plan_err!("{} is not defined: cast the parts to string", types.join(" || "))
            }
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types.first().cloned().unwrap_or(DataType::Utf8))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        size::check(self.name(), Rule::Sum, &args)?;
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let parts = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let joined = join(&parts)?;
        if constant {
            return Ok(ColumnarValue::Scalar(datafusion::scalar::ScalarValue::try_from_array(&joined, 0)?));
        }
        Ok(ColumnarValue::Array(joined))
    }
}
