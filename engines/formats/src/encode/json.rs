//! Rows as JSON objects.

use arrow::array::{Array, ArrayRef, AsArray as _, OffsetSizeTrait, RecordBatch, UnionArray};
use arrow::datatypes::{ArrowNativeType as _, DataType};

use super::plain::{plain_array, plain_type};
use super::scalar::{Scalar, Writer};
use super::unsupported;
use crate::error::Result;
use crate::format::Format;

/// Writes the rows of one batch.
pub(super) struct RowWriter {
    columns: Vec<(Vec<u8>, Writer)>,
}

impl RowWriter {
    pub(super) fn new(batch: &RecordBatch) -> Result<Self> {
        let schema = batch.schema();
        let columns = schema.fields().iter().zip(batch.columns());
        let columns = columns.map(|(field, array)| Ok((key(field.name()), writer(array, field.name())?)));
        Ok(Self { columns: columns.collect::<Result<_>>()? })
    }

    pub(super) fn write(&self, row: usize, out: &mut Vec<u8>) {
        members(&self.columns, row, out);
    }
}

fn members(columns: &[(Vec<u8>, Writer)], row: usize, out: &mut Vec<u8>) {
    out.push(b'{');
    for (at, (key, write)) in columns.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(key);
        write(row, out);
    }
    out.push(b'}');
}

/// The name as a key with its colon.
fn key(name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len() + 3);
    write_string(name, &mut key);
    key.push(b':');
    key
}

/// Writes text in quotes. Bytes that need no escape, nearly all, are copied in runs.
pub(super) fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|b| *b == b'"' || *b == b'\\' || *b < 0x20) {
        out.extend_from_slice(&rest[..at]);
        let escape: &[u8] = match rest[at] {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            other => {
                let hex = |digit: u8| if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[hex(other >> 4), hex(other & 15)]);
                b""
            }
        };
        out.extend_from_slice(escape);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// How the values of a column are written, nulls included. The array is of a plain type.
pub(super) fn writer(array: &ArrayRef, name: &str) -> Result<Writer> {
    let values: Writer = match Scalar::new(array) {
        Some(Scalar::Bare(write)) => write,
        Some(Scalar::Quoted(write)) => Box::new(move |row, out| quoted(&write, row, out)),
        Some(Scalar::Either(write, in_quotes)) => {
            Box::new(move |row, out| if in_quotes(row) { quoted(&write, row, out) } else { write(row, out) })
        }
        Some(Scalar::Text(text)) => Box::new(move |row, out| write_string(text.value(row), out)),
        None => nested(array, name)?,
    };
    let Some(nulls) = array.logical_nulls().filter(|nulls| nulls.null_count() > 0) else { return Ok(values) };
    Ok(Box::new(move |row, out| if nulls.is_null(row) { out.extend_from_slice(b"null") } else { values(row, out) }))
}

fn quoted(write: &Writer, row: usize, out: &mut Vec<u8>) {
    out.push(b'"');
    write(row, out);
    out.push(b'"');
}

fn nested(array: &ArrayRef, name: &str) -> Result<Writer> {
    Ok(match array.data_type() {
        DataType::Null => Box::new(|_, out| out.extend_from_slice(b"null")),
        DataType::List(_) => list::<i32>(array, name)?,
        DataType::LargeList(_) => list::<i64>(array, name)?,
        DataType::FixedSizeList(_, size) => {
            let items = writer(array.as_fixed_size_list().values(), name)?;
            let size = usize::try_from(*size).unwrap_or(0);
            Box::new(move |row, out| span(&items, row * size, (row + 1) * size, out))
        }
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(array.as_struct().columns());
            let columns = columns.map(|(field, column)| Ok((key(field.name()), writer(column, name)?)));
            let columns = columns.collect::<Result<Vec<_>>>()?;
            Box::new(move |row, out| members(&columns, row, out))
        }
        DataType::Map(..) => map(array, name)?,
        DataType::Union(..) => union(array.as_union(), name)?,
        other => return Err(unsupported(Format::Json, name, other)),
    })
}

fn span(items: &Writer, from: usize, to: usize, out: &mut Vec<u8>) {
    out.push(b'[');
    for at in from..to {
        if at > from {
            out.push(b',');
        }
        items(at, out);
    }
    out.push(b']');
}

fn list<O: OffsetSizeTrait>(array: &ArrayRef, name: &str) -> Result<Writer> {
    let list = array.as_list::<O>();
    let items = writer(list.values(), name)?;
    let offsets = list.offsets().clone();
    Ok(Box::new(move |row, out| span(&items, offsets[row].as_usize(), offsets[row + 1].as_usize(), out)))
}

/// A list of `[key, value]` pairs: keys need not be text, and their order is kept.
fn map(array: &ArrayRef, name: &str) -> Result<Writer> {
    let map = array.as_map();
    let keys = writer(map.keys(), name)?;
    let values = writer(map.values(), name)?;
    let pair: Writer = Box::new(move |at, out| {
        out.push(b'[');
        keys(at, out);
        out.push(b',');
        values(at, out);
        out.push(b']');
    });
    let offsets = map.offsets().clone();
    Ok(Box::new(move |row, out| span(&pair, offsets[row].as_usize(), offsets[row + 1].as_usize(), out)))
}

/// The value alone, without the name of its variant.
fn union(array: &UnionArray, name: &str) -> Result<Writer> {
    let DataType::Union(fields, _) = array.data_type() else {
        return Err(unsupported(Format::Json, name, array.data_type()));
    };
    let variants = fields.iter().map(|(id, field)| {
        let child = plain_array(array.child(id), &plain_type(field.data_type()))?;
        Ok((id, writer(&child, name)?))
    });
    let variants = variants.collect::<Result<Vec<_>>>()?;
    let union = array.clone();
    Ok(Box::new(move |row, out| {
        let id = union.type_id(row);
        if let Some((_, write)) = variants.iter().find(|(variant, _)| *variant == id) {
            write(union.value_offset(row), out);
        }
    }))
}
