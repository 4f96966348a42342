//! Rows as CSV records.

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::Schema;

use super::json;
use super::scalar::{Scalar, Writer};
use crate::error::Result;

/// RFC 4180 ends lines so, and every reader of CSV takes it.
const END_OF_LINE: &[u8] = b"\r\n";

pub(super) fn write_header(schema: &Schema, out: &mut Vec<u8>) {
    for (at, field) in schema.fields().iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_text(field.name(), out);
    }
    out.extend_from_slice(END_OF_LINE);
}

pub(super) fn write_rows(batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
    let schema = batch.schema();
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(array, field)| writer(array, field.name())).collect::<Result<Vec<_>>>()?;
    for row in 0..batch.num_rows() {
        for (at, write) in columns.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write(row, out);
        }
        out.extend_from_slice(END_OF_LINE);
    }
    Ok(())
}

/// How the values of a column are written; a null is nothing.
fn writer(array: &ArrayRef, name: &str) -> Result<Writer> {
    let values: Writer = match Scalar::new(array) {
        Some(Scalar::Bare(write) | Scalar::Quoted(write) | Scalar::Either(write, _)) => guard_empty(write),
        Some(Scalar::Text(text)) => Box::new(move |row, out| write_text(text.value(row), out)),
        None => {
            let write = json::writer(array, name)?;
            Box::new(move |row, out| {
                let mut text = Vec::new();
                write(row, &mut text);
                write_bytes(&text, out);
            })
        }
    };
    let Some(nulls) = array.logical_nulls().filter(|nulls| nulls.null_count() > 0) else { return Ok(values) };
    Ok(Box::new(move |row, out| {
        if nulls.is_valid(row) {
            values(row, out);
        }
    }))
}

/// Binary of no bytes is no text at all; quotes tell it from NULL.
fn guard_empty(write: Writer) -> Writer {
    Box::new(move |row, out| {
        let start = out.len();
        write(row, out);
        if out.len() == start {
            out.extend_from_slice(b"\"\"");
        }
    })
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    write_bytes(text.as_bytes(), out);
}

/// Writes a field, in quotes when it is empty or a reader could take a part of it for a separator or
/// for white space to trim.
fn write_bytes(text: &[u8], out: &mut Vec<u8>) {
    let special = |b: &u8| matches!(b, b'"' | b',' | b'\n' | b'\r');
    let edge = |b: Option<&u8>| b.is_none_or(u8::is_ascii_whitespace);
    let plain = !edge(text.first()) && !edge(text.last()) && !text.iter().any(special);
    // A byte order mark at the start of the header would be taken for one.
    if plain && !text.starts_with(b"\xef\xbb\xbf") {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for run in text.split_inclusive(|b| *b == b'"') {
        out.extend_from_slice(run);
        if run.ends_with(b"\"") {
            out.push(b'"');
        }
    }
    out.push(b'"');
}
