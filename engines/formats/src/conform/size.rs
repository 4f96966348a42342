//! How many bytes an array takes once it is decoded: dictionaries, runs and views written out.

use arrow::array::{Array, AsArray as _, OffsetSizeTrait, RecordBatch};
use arrow::datatypes::{DataType, Int16Type, Int32Type, Int64Type, RunEndIndexType};

/// The decoded bytes of a batch, about.
pub(super) fn of_batch(batch: &RecordBatch) -> u64 {
    batch.columns().iter().map(|column| of(column)).fold(0, u64::saturating_add)
}

/// The decoded bytes of an array, about; time grows with its length, not with the answer.
fn of(array: &dyn Array) -> u64 {
    let rows = array.len() as u64;
    match array.data_type() {
        // What nulls become is at most as wide as a decimal.
        DataType::Null => rows.saturating_mul(16),
        DataType::Utf8 => text(array.as_string::<i32>().value_offsets(), rows),
        DataType::LargeUtf8 => text(array.as_string::<i64>().value_offsets(), rows),
        DataType::Binary => text(array.as_binary::<i32>().value_offsets(), rows),
        DataType::LargeBinary => text(array.as_binary::<i64>().value_offsets(), rows),
        DataType::Utf8View => views(array.as_string_view().views()),
        DataType::BinaryView => views(array.as_binary_view().views()),
        DataType::FixedSizeBinary(width) => rows.saturating_mul(u64::try_from(*width).unwrap_or(0)),
        DataType::List(_) => list::<i32>(array),
        DataType::LargeList(_) => list::<i64>(array),
        DataType::FixedSizeList(..) => of(array.as_fixed_size_list().values()),
        DataType::Map(..) => {
            let map = array.as_map();
            let (from, to) = ends(map.value_offsets());
            of(&map.entries().slice(from, to - from)).saturating_add(rows * 4)
        }
        DataType::Struct(_) => {
            array.as_struct().columns().iter().map(|column| of(column)).fold(rows, u64::saturating_add)
        }
        DataType::Dictionary(..) => dictionary(array),
        DataType::RunEndEncoded(ends, _) => match ends.data_type() {
            DataType::Int16 => runs::<Int16Type>(array),
            DataType::Int32 => runs::<Int32Type>(array),
            _ => runs::<Int64Type>(array),
        },
        other => rows.saturating_mul(other.primitive_width().unwrap_or(1) as u64),
    }
}

fn text<O: OffsetSizeTrait>(offsets: &[O], rows: u64) -> u64 {
    let (from, to) = ends(offsets);
    (to - from) as u64 + rows * 4
}

fn ends<O: OffsetSizeTrait>(offsets: &[O]) -> (usize, usize) {
    let at = |offset: Option<&O>| offset.map_or(0, |offset| offset.as_usize());
    (at(offsets.first()), at(offsets.last()))
}

/// The low 32 bits of a view are the length of its value.
fn views(views: &[u128]) -> u64 {
    views.iter().map(|view| u64::from(*view as u32) + 4).sum()
}

fn list<O: OffsetSizeTrait>(array: &dyn Array) -> u64 {
    let list = array.as_list::<O>();
    let (from, to) = ends(list.value_offsets());
    of(&list.values().slice(from, to - from)).saturating_add(array.len() as u64 * 4)
}

fn dictionary(array: &dyn Array) -> u64 {
    let dictionary = array.as_any_dictionary();
    let values = dictionary.values();
    if values.is_empty() {
        return array.len() as u64 * 4;
    }
    let keys = dictionary.normalized_keys();
    match values.data_type().primitive_width() {
        Some(width) => (keys.len() * width) as u64,
        None => keys.into_iter().map(|key| of(&values.slice(key, 1))).fold(0, u64::saturating_add),
    }
}

fn runs<T: RunEndIndexType>(array: &dyn Array) -> u64 {
    let Some(runs) = array.as_run_opt::<T>() else { return 0 };
    if runs.is_empty() {
        return 0;
    }
    let first = runs.get_start_physical_index();
    let last = runs.get_end_physical_index();
    let ends = runs.run_ends().values();
    let (offset, until) = (runs.offset(), runs.offset() + runs.len());
    let mut from = offset;
    (first..=last)
        .map(|at| {
            let end = arrow::datatypes::ArrowNativeType::as_usize(ends[at]).min(until);
            let length = end.saturating_sub(std::mem::replace(&mut from, end)) as u64;
            of(&runs.values().slice(at, 1)).saturating_mul(length)
        })
        .fold(0, u64::saturating_add)
}
