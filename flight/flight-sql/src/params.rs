//! Parameters: the columns of a record batch, each row a set of values.

use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampNanosecondType, UnionMode};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use lakegate_catalog::ColumnType;
use lakegate_lake::types::stored_type;
use lakegate_query::TypedValue;

use crate::status::{Failure, Result};

/// The values of one row, under the names of the statement's placeholders. Columns come in the order of the
/// placeholders, or have their names: `1`, `$1` or, counted from 0, `0` and `param_0` where all columns do.
pub(crate) fn values(row: &RecordBatch, placeholders: &[String]) -> Result<Vec<(String, TypedValue)>> {
    if row.num_columns() != placeholders.len() {
        return Err(wrong(format!(
            "the statement has {} parameters, and {} values are bound",
            placeholders.len(),
            row.num_columns()
        )));
    }
    let schema = row.schema();
    let named: Option<Vec<usize>> = placeholders
        .iter()
        .map(|name| schema.fields().iter().position(|field| field.name().trim_start_matches('$') == name))
        .collect();
    // Columns that are not called as the placeholders are in their order.
    let order = named.unwrap_or_else(|| (0..placeholders.len()).collect());
    let pairs = placeholders.iter().zip(order);
    pairs.map(|(name, at)| Ok((name.clone(), value(row.column(at), name)?))).collect()
}

/// The row that a handle holds.
pub(crate) fn read(bound: &[u8]) -> Result<RecordBatch> {
    let mut reader = StreamReader::try_new(bound, None)?;
    reader.next().transpose()?.ok_or_else(|| Failure::defect("a handle without its row"))
}

/// The row as a handle holds it.
pub(crate) fn write(row: &RecordBatch) -> Result<Vec<u8>> {
    let mut bound = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bound, row.schema_ref())?;
    writer.write(row)?;
    writer.finish()?;
    drop(writer);
    Ok(bound)
}

fn wrong(detail: String) -> Failure {
    Failure::new(lakegate_catalog::ErrorKind::Invalid, "invalid_parameters", detail)
}

/// The only value of an array.
fn value(array: &ArrayRef, name: &str) -> Result<TypedValue> {
    let refused = || {
        let ty = array.data_type();
        wrong(format!("${name} is a value of type {ty}, which no parameter can have; cast it to a simple type"))
    };
    match array.data_type() {
        DataType::Union(_, UnionMode::Dense | UnionMode::Sparse) => return value(&array.as_union().value(0), name),
        DataType::Dictionary(_, values) => return value(&cast(array, values).map_err(|_| refused())?, name),
        DataType::RunEndEncoded(_, values) => {
            return value(&cast(array, values.data_type()).map_err(|_| refused())?, name);
        }
        DataType::Null => return Ok(TypedValue::Null(None)),
        _ => {}
    }
    let stored = stored_type(name, array.data_type()).ok().flatten().ok_or_else(refused)?;
    if array.is_null(0) {
        return Ok(TypedValue::Null(Some(stored)));
    }
    if array.as_primitive_opt::<TimestampNanosecondType>().is_some_and(|at| at.value(0) % 1_000 != 0) {
        return Err(wrong(format!(
            "${name} is a time finer than a microsecond, which is as fine as times are here; round it, so that you say how"
        )));
    }
    Ok(match &stored {
        ColumnType::Boolean => TypedValue::Boolean(array.as_boolean_opt().ok_or_else(refused)?.value(0)),
        ColumnType::BigInt => {
            let whole = cast(array, &DataType::Int64).map_err(|_| refused())?;
            TypedValue::BigInt(whole.as_primitive::<Int64Type>().value(0))
        }
        ColumnType::String => {
            let text = cast(array, &DataType::Utf8).map_err(|_| refused())?;
            TypedValue::Text(text.as_string::<i32>().value(0).to_owned())
        }
        ColumnType::Binary => {
            let bytes = cast(array, &DataType::Binary).map_err(|_| refused())?;
            TypedValue::Bytes(bytes.as_binary::<i32>().value(0).to_vec())
        }
        ColumnType::List(_) | ColumnType::Struct(_) | ColumnType::Map(..) | ColumnType::Geometry => {
            return Err(refused());
        }
        _ => TypedValue::Cast(text(array).ok_or_else(refused)?, stored),
    })
}

/// The value as SQL writes it.
fn text(array: &ArrayRef) -> Option<String> {
    // Of another unit, or counted in milliseconds as dates: as timestamps are stored.
    let array = match array.data_type() {
        DataType::Timestamp(_, zone) => &cast(array, &DataType::Timestamp(TimeUnit::Microsecond, zone.clone())).ok()?,
        DataType::Date64 => &cast(array, &DataType::Timestamp(TimeUnit::Microsecond, None)).ok()?,
        _ => array,
    };
    let format = FormatOptions::new().with_display_error(false);
    ArrayFormatter::try_new(array, &format).ok()?.value(0).try_to_string().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Decimal128Array, Float64Array, Int32Array, StringArray, TimestampMillisecondArray, TimestampNanosecondArray,
    };

    use super::*;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter(columns).expect("columns")
    }

    #[test]
    fn columns_are_taken_in_order_or_by_name() {
        let one = || Arc::new(Int32Array::from(vec![1])) as ArrayRef;
        let two = || Arc::new(StringArray::from(vec!["two"])) as ArrayRef;
        let names = ["1".to_owned(), "2".to_owned()];
        let expected = vec![
            ("1".to_owned(), TypedValue::Cast("1".to_owned(), ColumnType::Int)),
            ("2".to_owned(), TypedValue::Text("two".to_owned())),
        ];
        for columns in [
            vec![("0", one()), ("1", two())],
            vec![("$1", one()), ("$2", two())],
            vec![("$2", two()), ("$1", one())],
            vec![("param_0", one()), ("param_1", two())],
            vec![("?", one()), ("x", two())],
        ] {
            let names_of: Vec<_> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
            assert_eq!(values(&batch(columns), &names).expect("values"), expected, "{names_of:?}");
        }
        assert_eq!(values(&batch(vec![("0", one())]), &names).expect_err("one").code, "invalid_parameters");
    }

    #[test]
    fn values_keep_their_types() {
        let decimal = Decimal128Array::from(vec![12_345]).with_precision_and_scale(10, 2).expect("fits");
        let time = TimestampMillisecondArray::from(vec![1_500]).with_timezone("UTC");
        for (array, expected) in [
            (Arc::new(Float64Array::from(vec![f64::NAN])) as ArrayRef, "Cast(\"NaN\", Double)"),
            (Arc::new(decimal), "Cast(\"123.45\", Decimal(10, 2))"),
            (Arc::new(time), "Cast(\"1970-01-01T00:00:01.500Z\", Timestamp)"),
            (Arc::new(Int32Array::from(vec![None])), "Null(Some(Int))"),
        ] {
            assert_eq!(format!("{:?}", value(&array, "1").expect("a value")), expected);
        }
        let nanoseconds = |at: i64| Arc::new(TimestampNanosecondArray::from(vec![at])) as ArrayRef;
        let expected = TypedValue::Cast("1970-01-01T00:00:00.000002".to_owned(), ColumnType::TimestampNtz);
        assert_eq!(value(&nanoseconds(2_000), "1").expect("a value"), expected);
        assert_eq!(value(&nanoseconds(2_001), "1").expect_err("cut off").code, "invalid_parameters");
    }
}
