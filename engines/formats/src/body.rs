//! Bodies of pushes into record batches of a known schema.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::arrow_body::ArrowRows;
use crate::error::{FormatError, Result};
use crate::format::Format;
use crate::text_body::TextRows;

/// How large the parts of a body may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    /// The text of one row, in bytes; at most 256 MiB. Decoded, a row may take four times that.
    pub max_row_bytes: usize,
    /// Rows of a batch.
    pub batch_rows: usize,
    /// Bytes of a batch, about; one row can make it larger.
    pub batch_bytes: usize,
    /// Bytes of all rows of a body in Arrow or Parquet, decoded: dictionaries and runs can stand for
    /// any number of them.
    pub max_decoded: u64,
}

impl Default for BodyLimits {
    /// 16 MiB per row, 8,192 rows or 8 MiB per batch, 4 GiB in all.
    fn default() -> Self {
        Self { max_row_bytes: 16 << 20, batch_rows: 8_192, batch_bytes: 8 << 20, max_decoded: 4 << 30 }
    }
}

impl BodyLimits {
    /// A row beyond this would not fit the 32-bit offsets of Arrow's strings and lists.
    const LARGEST_ROW: usize = 256 << 20;

    pub(crate) fn row_bytes(self) -> usize {
        self.max_row_bytes.min(Self::LARGEST_ROW)
    }
}

/// Reads a body, piece by piece, into batches of a schema.
///
/// Feed pieces as they arrive, take the ready batches after each, and finish. However the body is
/// split, the batches and the first error are the same. Memory: one batch under construction, the
/// batches not yet taken, and at most one row's text or one Arrow message (32 MiB as sent, 64 MiB
/// decompressed); so feed pieces of moderate size.
///
/// A column accepts what [`RowEncoder`](crate::RowEncoder) writes for its type, nothing is coerced:
/// integers and decimals must be exact (`1.0` and `1e3` are integers, `1.5` is none), bigints and
/// decimals may also be strings, doubles `"NaN"`, `"Infinity"` and `"-Infinity"`, timestamps are
/// RFC 3339 with a zone, `timestamp_ntz` without one, binary is base64, maps are lists of pairs.
/// A missing key is null. An unknown key is refused unless its value holds nothing (null, or lists
/// and objects of nothing else). A byte order mark at the start is skipped.
///
/// In CSV the header's names pick the columns in any order (a name that no column has is refused with
/// its first value); an empty field is NULL and `""` is empty text; lists, structs and maps are JSON text. An empty line is skipped, or is NULL when the header
/// has one column only.
///
/// Arrow says its types itself: they fit when every value can be kept exactly (any width of integers,
/// whole doubles in integer columns, dictionaries, runs, text and binary views), and other columns than the
/// dataset's are refused unless they hold nulls only. The end mark of the stream must be there.
///
/// Parquet is not read piece by piece: [`ParquetRows`](crate::ParquetRows) reads it from a file.
///
/// After an error the reader answers the same error to every other call.
pub struct BodyReader {
    rows: Kind,
    failed: Option<FormatError>,
}

enum Kind {
    Text(Box<TextRows>),
    Arrow(Box<ArrowRows>),
}

impl BodyReader {
    /// A reader of bodies in `format` for `schema`, whose types must be ones that datasets store.
    /// Errors: `unsupported_format` (Parquet), `unsupported_type`.
    pub fn new(format: Format, schema: SchemaRef, limits: BodyLimits) -> Result<Self> {
        let rows = match format {
            Format::ArrowStream | Format::ArrowFile => Kind::Arrow(Box::new(ArrowRows::new(format, schema, limits))),
            _ => Kind::Text(Box::new(TextRows::new(format, schema, limits)?)),
        };
        Ok(Self { rows, failed: None })
    }

    /// Reads a piece of the body.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        self.unless_failed(|rows| match rows {
            Kind::Text(rows) => rows.feed(bytes),
            Kind::Arrow(rows) => {
                rows.feed(bytes);
                Ok(())
            }
        })
    }

    /// The next ready batch; never empty. Call until `None` after each piece.
    /// Rows of text that were ready before an error are still answered.
    pub fn take_batch(&mut self) -> Result<Option<RecordBatch>> {
        if let Kind::Text(rows) = &mut self.rows
            && let Some(batch) = rows.next()
        {
            return Ok(Some(batch));
        }
        self.unless_failed(|rows| match rows {
            Kind::Text(_) => Ok(None),
            Kind::Arrow(rows) => rows.next(),
        })
    }

    /// The bytes that the next message of Arrow will have once it is unpacked, at most; `None` before it is here whole,
    /// and for text. Whoever shares memory among bodies waits for that much, and a few times more, before the batches
    /// of the message are taken.
    pub fn ready(&mut self) -> Result<Option<usize>> {
        self.unless_failed(|rows| match rows {
            Kind::Text(_) => Ok(None),
            Kind::Arrow(rows) => rows.ready(),
        })
    }

    /// Ends the body and answers its last batch. Batches that were ready before must have been taken.
    /// Errors: those of a last row, `truncated_body`, `empty_body`.
    pub fn finish(&mut self) -> Result<Option<RecordBatch>> {
        self.unless_failed(|rows| match rows {
            Kind::Text(rows) => rows.end().map(|()| rows.next()),
            Kind::Arrow(rows) => rows.end().map(|()| None),
        })
    }

    /// Rows read so far.
    pub fn rows(&self) -> u64 {
        match &self.rows {
            Kind::Text(rows) => rows.rows(),
            Kind::Arrow(rows) => rows.rows(),
        }
    }

    fn unless_failed<T>(&mut self, step: impl FnOnce(&mut Kind) -> Result<T>) -> Result<T> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        step(&mut self.rows).inspect_err(|error| self.failed = Some(error.clone()))
    }
}
