//! The schema of answers, and batches made to fit it.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray as _, FixedSizeListArray, GenericListArray, GenericListViewArray, MapArray,
    OffsetSizeTrait, RecordBatch, RecordBatchOptions, StructArray, UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, take};
use arrow::datatypes::{
    DataType, Field, FieldRef, Int16Type, Int32Type, Int64Type, RunEndIndexType, Schema, SchemaRef,
};

use crate::error::{FormatError, Result};

/// The schema that clients see: unique names, and plain types instead of dictionaries, runs and views,
/// which not every client reads.
pub fn answer_schema(schema: &Schema) -> SchemaRef {
    let named = unique_names(&Arc::new(schema.clone()));
    let fields: Vec<FieldRef> = named.fields().iter().map(plain_field).collect();
    Arc::new(Schema::new_with_metadata(fields, named.metadata().clone()))
}

/// Makes names unique: a repeated one gets `_2`, then `_3`, passing over names that are taken.
pub fn unique_names(schema: &SchemaRef) -> SchemaRef {
    let mut taken: HashSet<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    if taken.len() == schema.fields().len() {
        return Arc::clone(schema);
    }
    let mut seen = std::collections::HashMap::<&str, usize>::new();
    let fields: Vec<FieldRef> = schema
        .fields()
        .iter()
        .map(|field| {
            let count = seen.entry(field.name()).or_insert(0);
            *count += 1;
            if *count == 1 {
                return Arc::clone(field);
            }
            let mut name = format!("{}_{count}", field.name());
            while !taken.insert(name.clone()) {
                *count += 1;
                name = format!("{}_{count}", field.name());
            }
            Arc::new(field.as_ref().clone().with_name(name))
        })
        .collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn plain_field(field: &FieldRef) -> FieldRef {
    let ty = plain_type(field.data_type());
    if ty == *field.data_type() { Arc::clone(field) } else { Arc::new(field.as_ref().clone().with_data_type(ty)) }
}

/// The plain type in whose place a type stands. Decimals below 128 bits are younger than most readers.
pub(super) fn plain_type(ty: &DataType) -> DataType {
    match ty {
        DataType::Dictionary(_, values) => plain_type(values),
        DataType::RunEndEncoded(_, values) => plain_type(values.data_type()),
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::ListView(item) | DataType::List(item) => DataType::List(plain_field(item)),
        DataType::LargeListView(item) | DataType::LargeList(item) => DataType::LargeList(plain_field(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(plain_field(item), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_field).collect()),
        DataType::Map(entries, sorted) => DataType::Map(plain_field(entries), *sorted),
        other => other.clone(),
    }
}

/// The batch with the columns of an answer's schema: [`answer_schema`] of its own, or with other names and metadata.
pub fn plain_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if batch.num_columns() != schema.fields().len() {
        return Err(FormatError::Encode("a batch has more or fewer columns than its schema".to_owned()));
    }
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(array, field)| plain_array(array, field.data_type())).collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

/// The array as the plain type `target`.
pub(super) fn plain_array(array: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    if array.data_type() == target {
        return Ok(Arc::clone(array));
    }
    Ok(match (array.data_type(), target) {
        (DataType::Dictionary(..), _) => {
            let dictionary = array.as_any_dictionary();
            plain_array(&take(dictionary.values(), dictionary.keys(), None)?, target)?
        }
        (DataType::RunEndEncoded(..), _) => plain_array(&expand_runs(array)?, target)?,
        (DataType::List(_), DataType::List(item)) => list::<i32>(array, item)?,
        (DataType::LargeList(_), DataType::LargeList(item)) => list::<i64>(array, item)?,
        (DataType::ListView(_), DataType::List(item)) => list_view::<i32>(array, item)?,
        (DataType::LargeListView(_), DataType::LargeList(item)) => list_view::<i64>(array, item)?,
        (DataType::FixedSizeList(..), DataType::FixedSizeList(item, size)) => {
            let list = array.as_fixed_size_list();
            let items = plain_array(list.values(), item.data_type())?;
            let (item, nulls) = (Arc::clone(item), list.nulls().cloned());
            Arc::new(FixedSizeListArray::try_new_with_length(item, *size, items, nulls, list.len())?)
        }
        (DataType::Struct(_), DataType::Struct(fields)) => structure(array.as_struct(), fields)?,
        (DataType::Map(..), DataType::Map(entries, sorted)) => {
            let map = array.as_map();
            let DataType::Struct(fields) = entries.data_type() else { return Ok(Arc::clone(array)) };
            let items = structure(map.entries(), fields)?.as_struct().clone();
            let (entries, nulls) = (Arc::clone(entries), map.nulls().cloned());
            Arc::new(MapArray::try_new(entries, map.offsets().clone(), items, nulls, *sorted)?)
        }
        _ => cast(array, target)?,
    })
}

fn structure(array: &StructArray, fields: &arrow::datatypes::Fields) -> Result<ArrayRef> {
    let columns = array.columns().iter().zip(fields);
    let columns = columns.map(|(column, field)| plain_array(column, field.data_type())).collect::<Result<_>>()?;
    let nulls = array.nulls().cloned();
    Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, array.len())?))
}

fn list<O: OffsetSizeTrait>(array: &ArrayRef, item: &Arc<Field>) -> Result<ArrayRef> {
    let list = array.as_list::<O>();
    let items = plain_array(list.values(), item.data_type())?;
    Ok(Arc::new(GenericListArray::try_new(Arc::clone(item), list.offsets().clone(), items, list.nulls().cloned())?))
}

/// A view's runs may overlap and lie in any order: gather them one after the other.
fn list_view<O: OffsetSizeTrait>(array: &ArrayRef, item: &Arc<Field>) -> Result<ArrayRef> {
    let wrong = || FormatError::Encode("a list view is not what its type says".to_owned());
    let view = array.as_any().downcast_ref::<GenericListViewArray<O>>().ok_or_else(wrong)?;
    let length = |row: usize| if view.is_null(row) { 0 } else { view.value_size(row).as_usize() };
    let gathered: UInt64Array = (0..view.len())
        .flat_map(|row| {
            let from = view.value_offset(row).as_usize();
            (from..from + length(row)).map(|at| Some(at as u64))
        })
        .collect();
    let items = plain_array(&take(view.values(), &gathered, None)?, item.data_type())?;
    let offsets = OffsetBuffer::<O>::from_lengths((0..view.len()).map(length));
    Ok(Arc::new(GenericListArray::try_new(Arc::clone(item), offsets, items, view.nulls().cloned())?))
}

pub(crate) fn expand_runs(array: &ArrayRef) -> Result<ArrayRef> {
    let DataType::RunEndEncoded(ends, _) = array.data_type() else { return Ok(Arc::clone(array)) };
    match ends.data_type() {
        DataType::Int16 => runs::<Int16Type>(array),
        DataType::Int32 => runs::<Int32Type>(array),
        _ => runs::<Int64Type>(array),
    }
}

fn runs<T: RunEndIndexType>(array: &ArrayRef) -> Result<ArrayRef> {
    let wrong = || FormatError::Encode("run ends are not what their type says".to_owned());
    let runs = array.as_run_opt::<T>().ok_or_else(wrong)?;
    let indices: UInt64Array = (0..runs.len()).map(|row| Some(runs.get_physical_index(row) as u64)).collect();
    Ok(take(runs.values(), &indices, None)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_names_get_numbers_that_are_free() {
        let names = |names: &[&str]| {
            let fields: Vec<Field> = names.iter().map(|name| Field::new(*name, DataType::Int64, true)).collect();
            let schema = unique_names(&Arc::new(Schema::new(fields)));
            schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&["a", "b"]), ["a", "b"]);
        assert_eq!(names(&["a", "a", "a"]), ["a", "a_2", "a_3"]);
        assert_eq!(names(&["a", "a_2", "a"]), ["a", "a_2", "a_3"]);
        assert_eq!(names(&["a", "a", "a_2"]), ["a", "a_3", "a_2"]);
    }
}
