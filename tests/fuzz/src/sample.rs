//! Rows of every stored type, made of the fuzzer's bytes.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int16Array,
    Int32Array, Int64Array, ListArray, MapArray, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use libfuzzer_sys::arbitrary::{Arbitrary, Result, Unstructured};

type Source<'a, 'b> = &'b mut Unstructured<'a>;

/// A few rows of these columns.
pub(crate) fn rows(schema: &SchemaRef, source: Source<'_, '_>) -> Result<RecordBatch> {
    let rows = source.int_in_range(1..=5)?;
    let columns = schema.fields().iter().map(|field| array(field, rows, source)).collect::<Result<_>>()?;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns).expect("columns of one length"))
}

fn array(field: &FieldRef, rows: usize, source: Source<'_, '_>) -> Result<ArrayRef> {
    let nulls = field.is_nullable();
    Ok(match field.data_type() {
        DataType::Boolean => Arc::new(values::<bool>(rows, nulls, source)?.into_iter().collect::<BooleanArray>()),
        DataType::Int16 => Arc::new(Int16Array::from(values(rows, nulls, source)?)),
        DataType::Int32 => Arc::new(Int32Array::from(values(rows, nulls, source)?)),
        DataType::Int64 => Arc::new(Int64Array::from(values(rows, nulls, source)?)),
        DataType::Float32 => {
            let numbers = values::<f32>(rows, nulls, source)?.into_iter();
            Arc::new(numbers.map(|n| n.map(|n| if n.is_nan() { f32::NAN } else { n })).collect::<Float32Array>())
        }
        DataType::Float64 => {
            let numbers = values::<f64>(rows, nulls, source)?.into_iter();
            Arc::new(numbers.map(|n| n.map(|n| if n.is_nan() { f64::NAN } else { n })).collect::<Float64Array>())
        }
        DataType::Decimal128(precision, scale) => {
            let most = 10_i128.pow(u32::from(*precision));
            let numbers = values::<i128>(rows, nulls, source)?.into_iter();
            let numbers: Decimal128Array = numbers.map(|n| n.map(|n| n % most)).collect();
            Arc::new(numbers.with_precision_and_scale(*precision, *scale).expect("within precision"))
        }
        DataType::Utf8 => Arc::new(StringArray::from(values::<String>(rows, nulls, source)?)),
        DataType::Binary => {
            let bytes = values::<Vec<u8>>(rows, nulls, source)?;
            Arc::new(bytes.into_iter().collect::<BinaryArray>())
        }
        DataType::Date32 => Arc::new(Date32Array::from(values(rows, nulls, source)?)),
        DataType::Timestamp(_, zone) => {
            let instants = TimestampMicrosecondArray::from(values::<i64>(rows, nulls, source)?);
            Arc::new(instants.with_timezone_opt(zone.clone()))
        }
        DataType::List(item) => {
            let (offsets, valid) = lengths(rows, nulls, source)?;
            let items = array(item, usize::try_from(offsets[rows]).expect("small"), source)?;
            Arc::new(ListArray::new(Arc::clone(item), offsets, items, valid))
        }
        DataType::Struct(fields) => {
            let columns = fields.iter().map(|field| array(field, rows, source)).collect::<Result<_>>()?;
            Arc::new(StructArray::new(fields.clone(), columns, validity(rows, nulls, source)?))
        }
        DataType::Map(entries, sorted) => {
            let (offsets, valid) = lengths(rows, nulls, source)?;
            let pairs = array(entries, usize::try_from(offsets[rows]).expect("small"), source)?;
            let pairs = StructArray::from(pairs.to_data());
            Arc::new(MapArray::new(Arc::clone(entries), offsets, pairs, valid, *sorted))
        }
        other => unreachable!("no dataset stores {other}"),
    })
}

fn values<'a, T: Arbitrary<'a>>(rows: usize, nulls: bool, source: Source<'a, '_>) -> Result<Vec<Option<T>>> {
    (0..rows)
        .map(|_| if nulls && !source.arbitrary::<bool>()? { Ok(None) } else { source.arbitrary().map(Some) })
        .collect()
}

fn validity(rows: usize, nulls: bool, source: Source<'_, '_>) -> Result<Option<NullBuffer>> {
    let valid = (0..rows).map(|_| Ok(!nulls || source.arbitrary()?)).collect::<Result<Vec<bool>>>()?;
    Ok(nulls.then(|| NullBuffer::from(valid)))
}

/// Where each list begins and ends; one that is null has no items.
fn lengths(rows: usize, nulls: bool, source: Source<'_, '_>) -> Result<(OffsetBuffer<i32>, Option<NullBuffer>)> {
    let valid = validity(rows, nulls, source)?;
    let lengths = (0..rows).map(|row| match &valid {
        Some(valid) if valid.is_null(row) => Ok(0),
        _ => source.int_in_range(0..=3),
    });
    Ok((OffsetBuffer::from_lengths(lengths.collect::<Result<Vec<usize>>>()?), valid))
}
