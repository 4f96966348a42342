//! Which types of a body may fill which columns.

use arrow::datatypes::{DataType, Field, Fields};

use crate::column::Slot;
use crate::error::{FormatError, Result};

/// Refuses a type none of whose values the column could keep. Whether each value fits is seen later.
pub(super) fn check(found: &DataType, wanted: &Field) -> Result<()> {
    match (found, wanted.data_type()) {
        (DataType::Null, _) => Ok(()),
        (DataType::Dictionary(_, values), _) => check(values, wanted),
        (DataType::RunEndEncoded(_, values), _) => check(values.data_type(), wanted),
        (
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _),
            DataType::List(element),
        ) => check(item.data_type(), element).map_err(|error| error.within("[]")),
        (DataType::Struct(found), DataType::Struct(fields)) => members(found, fields),
        (DataType::Map(found, _), DataType::Map(entries, _)) => map_entries(found, entries),
        (found, ty) if scalar(found, ty) => Ok(()),
        _ => Err(FormatError::mismatch(format!("the type {found}"), Slot::new(&wanted.clone().into())?.expects())),
    }
}

fn members(found: &Fields, wanted: &Fields) -> Result<()> {
    for (at, field) in found.iter().enumerate() {
        if found.iter().take(at).any(|other| other.name() == field.name()) {
            return Err(FormatError::duplicate(field.name()));
        }
        if *field.data_type() != DataType::Null && wanted.find(field.name()).is_none() {
            return Err(FormatError::unknown(field.name(), wanted.iter().map(|f| f.name().as_str())));
        }
    }
    for field in wanted {
        match found.find(field.name()) {
            Some((_, source)) => check(source.data_type(), field).map_err(|error| error.within(field.name()))?,
            None if field.is_nullable() => {}
            None => return Err(FormatError::missing_value().within(field.name())),
        }
    }
    Ok(())
}

/// Keys and values go by position: every writer has its own names for them.
fn map_entries(found: &Field, wanted: &Field) -> Result<()> {
    match (found.data_type(), wanted.data_type()) {
        (DataType::Struct(found), DataType::Struct(wanted)) if found.len() == 2 && wanted.len() == 2 => {
            check(found[0].data_type(), &wanted[0]).map_err(|error| error.within("[].key"))?;
            check(found[1].data_type(), &wanted[1]).map_err(|error| error.within("[].value"))
        }
        _ => Err(FormatError::mismatch("a map without keys and values", "a map")),
    }
}

fn scalar(found: &DataType, wanted: &DataType) -> bool {
    use DataType::{
        Binary, BinaryView, Boolean, Date32, Date64, Decimal128, FixedSizeBinary, Float32, Float64, Int16, Int32,
        Int64, LargeBinary, LargeUtf8, Timestamp, Utf8, Utf8View,
    };
    let real = matches!(found, Float32 | Float64);
    match wanted {
        Boolean => *found == Boolean,
        Int16 | Int32 | Int64 => found.is_integer() || real || found.is_decimal(),
        Float32 | Float64 => found.is_integer() || real,
        Decimal128(..) => found.is_integer() || found.is_decimal(),
        Utf8 => matches!(found, Utf8 | LargeUtf8 | Utf8View),
        Binary => matches!(found, Binary | LargeBinary | BinaryView | FixedSizeBinary(_)),
        Date32 => matches!(found, Date32 | Date64),
        Timestamp(_, zone) => matches!(found, Timestamp(_, own) if own.is_some() == zone.is_some()),
        _ => false,
    }
}
