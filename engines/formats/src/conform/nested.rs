//! Arrays of any shape as arrays of a dataset's type: decoded, trimmed to the rows in use, by name.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, ListArray, MapArray, OffsetSizeTrait, StructArray, new_null_array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};

use super::{Misfit, cast};
use crate::encode::expand_runs;
use crate::error::FormatError;

type Fitted = Result<ArrayRef, Misfit>;

/// The array as the type `wanted`, which [`super::fits::check`] found possible.
pub(super) fn conform(array: &ArrayRef, wanted: &DataType) -> Fitted {
    match (array.data_type(), wanted) {
        (found, wanted) if found == wanted && !found.is_nested() => Ok(Arc::clone(array)),
        (DataType::Null, _) => Ok(new_null_array(wanted, array.len())),
        (DataType::Dictionary(..), _) => {
            let dictionary = array.as_any_dictionary();
            if dictionary.values().is_empty() {
                return Ok(new_null_array(wanted, array.len()));
            }
            let plain = take(dictionary.values(), dictionary.keys(), None).map_err(broken)?;
            conform(&plain, wanted)
        }
        (DataType::RunEndEncoded(..), _) => {
            let plain = expand_runs(array).map_err(|error| Misfit::new(0, error))?;
            conform(&plain, wanted)
        }
        (DataType::List(_), DataType::List(item)) => list::<i32>(array, item),
        (DataType::LargeList(_), DataType::List(item)) => list::<i64>(array, item),
        (DataType::FixedSizeList(_, size), DataType::List(item)) => fixed_size_list(array, *size, item),
        (DataType::Struct(_), DataType::Struct(fields)) => structure(array.as_struct(), fields),
        (DataType::Map(..), DataType::Map(entries, sorted)) => map(array, entries, *sorted),
        _ => cast::exact(array, wanted),
    }
}

/// Refuses nulls where the field has none; those under a null parent are nobody's.
pub(super) fn require(array: ArrayRef, field: &Field, parent: Option<&NullBuffer>) -> Fitted {
    if field.is_nullable() || array.logical_null_count() == 0 {
        return Ok(array);
    }
    let nulls = array.logical_nulls();
    let missing = |row: &usize| {
        nulls.as_ref().is_some_and(|nulls| nulls.is_null(*row)) && parent.is_none_or(|parent| parent.is_valid(*row))
    };
    match (0..array.len()).find(missing) {
        None => Ok(array),
        Some(row) => Err(Misfit::new(row, FormatError::missing_value())),
    }
}

fn broken(error: arrow::error::ArrowError) -> Misfit {
    Misfit::new(0, error.into())
}

fn list<O: OffsetSizeTrait>(array: &ArrayRef, item: &FieldRef) -> Fitted {
    let list = array.as_list::<O>();
    let offsets: Vec<usize> = list.value_offsets().iter().map(|offset| offset.as_usize()).collect();
    let (from, to) = (offsets.first().copied().unwrap_or(0), offsets.last().copied().unwrap_or(0));
    let items = items(&list.values().slice(from, to - from), item, &offsets)?;
    let offsets = rebased(&offsets)?;
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, items, list.nulls().cloned()).map_err(broken)?))
}

fn fixed_size_list(array: &ArrayRef, size: i32, item: &FieldRef) -> Fitted {
    let list = array.as_fixed_size_list();
    let size = usize::try_from(size).unwrap_or(0);
    let offsets: Vec<usize> = (0..=list.len()).map(|row| row * size).collect();
    let items = items(list.values(), item, &offsets)?;
    let offsets = rebased(&offsets)?;
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, items, list.nulls().cloned()).map_err(broken)?))
}

/// The items of lists; a misfit among them becomes one of the row that holds it.
fn items(values: &ArrayRef, item: &Field, offsets: &[usize]) -> Fitted {
    let fitted = conform(values, item.data_type()).and_then(|items| require(items, item, None));
    fitted.map_err(|misfit| {
        let base = offsets.first().copied().unwrap_or(0);
        let at = base + misfit.index;
        let row = offsets.partition_point(|offset| *offset <= at).saturating_sub(1);
        let position = at - offsets.get(row).copied().unwrap_or(at);
        Misfit::new(row, misfit.error.within(&format!("[{position}]")))
    })
}

/// Offsets that start at zero. A slice is far smaller than 2^31 items.
fn rebased(offsets: &[usize]) -> Result<OffsetBuffer<i32>, Misfit> {
    let lengths = offsets.windows(2).map(|pair| pair[1] - pair[0]);
    let items = offsets.last().copied().unwrap_or(0) - offsets.first().copied().unwrap_or(0);
    if i32::try_from(items).is_err() {
        return Err(Misfit::new(0, FormatError::row_too_large(i32::MAX as usize)));
    }
    Ok(OffsetBuffer::from_lengths(lengths))
}

fn structure(found: &StructArray, fields: &Fields) -> Fitted {
    let mut columns = Vec::with_capacity(fields.len());
    for field in fields {
        let column = match found.column_by_name(field.name()) {
            Some(column) => conform(column, field.data_type()),
            None => Ok(new_null_array(field.data_type(), found.len())),
        };
        columns.push(member(column, field, found.nulls())?);
    }
    finish(fields, columns, found)
}

fn member(column: Fitted, field: &Field, parent: Option<&NullBuffer>) -> Fitted {
    let column = column.and_then(|column| require(column, field, parent));
    column.map_err(|misfit| Misfit::new(misfit.index, misfit.error.within(field.name())))
}

fn finish(fields: &Fields, columns: Vec<ArrayRef>, found: &StructArray) -> Fitted {
    let nulls = found.nulls().cloned();
    Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, found.len()).map_err(broken)?))
}

fn map(array: &ArrayRef, entries: &FieldRef, sorted: bool) -> Fitted {
    let map = array.as_map();
    let DataType::Struct(fields) = entries.data_type() else { return Ok(Arc::clone(array)) };
    let offsets: Vec<usize> = map.value_offsets().iter().map(|offset| usize::try_from(*offset).unwrap_or(0)).collect();
    let (from, to) = (offsets.first().copied().unwrap_or(0), offsets.last().copied().unwrap_or(0));
    let found = map.entries().slice(from, to - from);
    let mut columns = Vec::with_capacity(2);
    for (field, column) in fields.iter().zip(found.columns()) {
        let fitted = member(conform(column, field.data_type()), field, None);
        columns.push(fitted.map_err(|misfit| {
            let row = offsets.partition_point(|offset| *offset <= from + misfit.index).saturating_sub(1);
            Misfit::new(row, misfit.error)
        })?);
    }
    let items = StructArray::try_new_with_length(fields.clone(), columns, None, found.len()).map_err(broken)?;
    let (entries, nulls) = (Arc::clone(entries), map.nulls().cloned());
    Ok(Arc::new(MapArray::try_new(entries, rebased(&offsets)?, items, nulls, sorted).map_err(broken)?))
}
