//! Record batches into bodies of answers.

mod binary;
mod csv;
mod interval;
mod json;
mod plain;
mod scalar;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};

pub(crate) use plain::expand_runs;
pub use plain::{answer_schema, plain_batch, unique_names};

use crate::error::{FormatError, Result};
use crate::format::Format;

/// Writes one answer: [`start`](Self::start), [`batch`](Self::batch) for each, [`finish`](Self::finish),
/// each of which appends to a buffer that the caller sends and clears.
///
/// - JSON: the rows alone, comma-separated, without the brackets around them: the envelope is the
///   caller's. Nulls are written.
/// - NDJSON: one row per line.
/// - CSV: RFC 4180 with CRLF and a header; NULL is nothing, empty text `""`; nested values JSON text.
/// - Arrow: an IPC stream or file of [`answer_schema`]: dictionaries, runs and views become plain arrays.
/// - Parquet: the same columns, ZSTD, in row groups of 65,536 rows or about 16 MiB, each written as soon
///   as it is full; until then a batch may add nothing to the buffer.
///
/// Values in JSON: integers beyond ±(2^53 − 1), decimals, NaN and the infinities are strings; times
/// are RFC 3339 (`Z` or the offset for instants, none for wall clocks); intervals and durations are
/// ISO 8601; binary is base64; maps are lists of `[key, value]`; a union is its value.
///
/// A batch is encoded whole: slice large ones to bound the buffer.
pub struct RowEncoder {
    schema: SchemaRef,
    body: Body,
    rows: u64,
}

enum Body {
    Json { separator: &'static [u8] },
    NdJson,
    Csv,
    Binary { format: Format, writer: Option<Box<binary::Writer>> },
}

impl RowEncoder {
    /// An encoder for batches of `schema`. Repeated names get `_2`, `_3` …
    pub fn new(format: Format, schema: &SchemaRef) -> Result<Self> {
        let body = match format {
            Format::Json => Body::Json { separator: b"" },
            Format::NdJson => Body::NdJson,
            Format::Csv => Body::Csv,
            Format::ArrowStream | Format::ArrowFile | Format::Parquet => Body::Binary { format, writer: None },
        };
        Ok(Self { schema: answer_schema(schema), body, rows: 0 })
    }

    /// The schema of the answer: unique names and plain types.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows written so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Writes what comes before the first row.
    pub fn start(&mut self, out: &mut Vec<u8>) -> Result<()> {
        match &mut self.body {
            Body::Json { .. } | Body::NdJson => {}
            Body::Csv => csv::write_header(&self.schema, out),
            Body::Binary { format, writer } => {
                let started = writer.insert(Box::new(binary::Writer::start(*format, &self.schema)?));
                started.drain(out);
            }
        }
        Ok(())
    }

    /// Writes a batch, whose columns are those of the schema in order.
    pub fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let batch = plain::plain_batch(batch, &self.schema)?;
        match &mut self.body {
            Body::Json { separator } => {
                let rows = json::RowWriter::new(&batch)?;
                for row in 0..batch.num_rows() {
                    out.extend_from_slice(separator);
                    rows.write(row, out);
                    *separator = b",";
                }
            }
            Body::NdJson => {
                let rows = json::RowWriter::new(&batch)?;
                for row in 0..batch.num_rows() {
                    rows.write(row, out);
                    out.push(b'\n');
                }
            }
            Body::Csv => csv::write_rows(&batch, out)?,
            Body::Binary { writer, .. } => {
                let writer = started(writer)?;
                writer.batch(&batch)?;
                writer.drain(out);
            }
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Writes what comes after the last row.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<()> {
        if let Body::Binary { writer, .. } = &mut self.body {
            let writer = started(writer)?;
            writer.finish()?;
            writer.drain(out);
        }
        Ok(())
    }
}

fn started(writer: &mut Option<Box<binary::Writer>>) -> Result<&mut binary::Writer> {
    writer.as_deref_mut().ok_or_else(|| FormatError::Encode("the answer was not started".to_owned()))
}

/// Appends one value as JSON, as an answer would write it. For single values: a batch is much faster
/// through [`RowEncoder`]. Errors: `unsupported_type`.
pub fn value_to_json(array: &dyn arrow::array::Array, row: usize, out: &mut Vec<u8>) -> Result<()> {
    let one = plain::plain_array(&array.slice(row, 1), &plain::plain_type(array.data_type()))?;
    json::writer(&one, "value")?(0, out);
    Ok(())
}

fn unsupported(format: Format, column: &str, ty: &DataType) -> FormatError {
    FormatError::UnsupportedType { format, column: column.to_owned(), ty: ty.to_string() }
}
