//! Bodies of pushes into record batches of a known schema.

use std::collections::VecDeque;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use crate::column::Members;
use crate::csv::{Header, Record, read_record};
use crate::error::{FormatError, Result};
use crate::format::Format;
use crate::json::{Budget, read_row};
use crate::rows::Rows;

/// How large the parts of a body may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    /// The text of one row, in bytes; at most 256 MiB. Decoded, a row may take four times that.
    pub max_row_bytes: usize,
    /// Rows of a batch.
    pub batch_rows: usize,
    /// Bytes of a batch, about; one row can make it larger.
    pub batch_bytes: usize,
}

impl Default for BodyLimits {
    /// 16 MiB per row, 8,192 rows or 8 MiB per batch.
    fn default() -> Self {
        Self { max_row_bytes: 16 << 20, batch_rows: 8_192, batch_bytes: 8 << 20 }
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
/// batches not yet taken, and at most one row's text; so feed pieces of moderate size.
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
/// After an error the reader answers the same error to every call.
pub struct BodyReader {
    schema: SchemaRef,
    limits: BodyLimits,
    rows: Rows,
    syntax: Syntax,
    columns: Members,
    ready: VecDeque<RecordBatch>,
    batch: Size,
    total: u64,
    line: u64,
    failed: Option<FormatError>,
}

/// What the batch under construction has.
#[derive(Default)]
struct Size {
    rows: usize,
    bytes: usize,
}

enum Syntax {
    Json,
    NdJson,
    Csv { header: Option<Header>, record: Record },
}

impl BodyReader {
    /// A reader of bodies in `format` for `schema`, whose types must be ones that datasets store.
    /// Errors: `unsupported_format` (Arrow bodies), `unsupported_type`.
    pub fn new(format: Format, schema: SchemaRef, limits: BodyLimits) -> Result<Self> {
        let syntax = match format {
            Format::Json => Syntax::Json,
            Format::NdJson => Syntax::NdJson,
            Format::Csv => Syntax::Csv { header: None, record: Record::default() },
            Format::ArrowStream => return Err(FormatError::UnsupportedFormat { format }),
        };
        Ok(Self {
            rows: Rows::new(format, limits.row_bytes())?,
            columns: Members::new(schema.fields())?,
            schema,
            limits,
            syntax,
            ready: VecDeque::new(),
            batch: Size::default(),
            total: 0,
            line: 0,
            failed: None,
        })
    }

    /// Reads a piece of the body.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        self.unless_failed(|reader| reader.read(bytes))
    }

    /// The next ready batch; never empty. Call until `None` after each piece.
    pub fn take_batch(&mut self) -> Option<RecordBatch> {
        self.ready.pop_front()
    }

    /// Ends the body and answers its last batch. Batches that were ready before must have been taken.
    /// Errors: those of a last row, `truncated_body`, `empty_body`.
    pub fn finish(&mut self) -> Result<Option<RecordBatch>> {
        self.unless_failed(Self::end)?;
        Ok(self.ready.pop_front())
    }

    /// Rows read so far.
    pub fn rows(&self) -> u64 {
        self.total
    }

    fn unless_failed(&mut self, step: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        step(self).inspect_err(|error| self.failed = Some(error.clone()))
    }

    fn read(&mut self, mut bytes: &[u8]) -> Result<()> {
        loop {
            let (row, line) = (self.total + 1, self.line + 1);
            let next = self.rows.next(&mut bytes).map_err(|error| place(&self.syntax, error, row, line))?;
            let Some(text) = next else { return Ok(()) };
            let mut target = Target { syntax: &mut self.syntax, columns: &mut self.columns, limits: self.limits };
            let read = target.row(text, false).map_err(|error| place(&self.syntax, error, row, line))?;
            self.line += memchr::memchr_iter(b'\n', text).count() as u64;
            self.count(read)?;
        }
    }

    fn end(&mut self) -> Result<()> {
        let (row, line) = (self.total + 1, self.line + 1);
        let text = self.rows.rest();
        if !text.is_empty() {
            let mut target = Target { syntax: &mut self.syntax, columns: &mut self.columns, limits: self.limits };
            let read = target.row(text, true).map_err(|error| place(&self.syntax, error, row, line))?;
            self.count(read)?;
        }
        self.rows.end().map_err(|error| place(&self.syntax, error, row, line))?;
        if self.total == 0 {
            return Err(FormatError::Empty);
        }
        self.cut_batch()
    }

    fn count(&mut self, read: Option<usize>) -> Result<()> {
        let Some(bytes) = read else { return Ok(()) };
        self.total += 1;
        self.batch.rows += 1;
        self.batch.bytes += bytes;
        if self.batch.rows >= self.limits.batch_rows || self.batch.bytes >= self.limits.batch_bytes {
            self.cut_batch()?;
        }
        Ok(())
    }

    fn cut_batch(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.batch).rows;
        if rows > 0 {
            let (arrays, _, _) = self.columns.finish()?;
            let options = RecordBatchOptions::new().with_row_count(Some(rows));
            self.ready.push_back(RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)?);
        }
        Ok(())
    }
}

/// Adds the row and, in formats of lines, the line. A CSV header is row 0.
fn place(syntax: &Syntax, error: FormatError, row: u64, line: u64) -> FormatError {
    match syntax {
        Syntax::Json => error.at(row, 0),
        Syntax::NdJson => error.at(row, line),
        Syntax::Csv { header: None, .. } => error.at(0, line),
        Syntax::Csv { .. } => error.at(row, line),
    }
}

/// Where the text of a row goes.
struct Target<'a> {
    syntax: &'a mut Syntax,
    columns: &'a mut Members,
    limits: BodyLimits,
}

impl Target<'_> {
    /// Reads a row and answers about how many bytes it takes; `None` when it is no data row.
    fn row(&mut self, bytes: &[u8], last: bool) -> Result<Option<usize>> {
        let text = row_text(bytes, last)?;
        let mut budget = Budget { used: 0, limit: self.limits.row_bytes().saturating_mul(4) };
        match &mut self.syntax {
            Syntax::NdJson if text.trim_ascii().is_empty() => return Ok(None),
            Syntax::Json | Syntax::NdJson => {
                read_row(text, self.columns, &mut budget)
                    .map_err(|error| if last { error } else { whole_row(error) })?;
            }
            Syntax::Csv { header, record } => {
                read_record(text, record)?;
                match header {
                    None => {
                        *header = Some(Header::read(record, self.columns)?);
                        return Ok(None);
                    }
                    Some(header) if record.is_blank() && header.len() > 1 => return Ok(None),
                    Some(header) => header.push(record, self.columns, &mut budget)?,
                }
            }
        }
        Ok(Some(bytes.len() + self.columns.width() + budget.used))
    }
}

/// The text of a row. A character cut in half at the end of the body is the body's fault.
pub(crate) fn row_text(bytes: &[u8], last: bool) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| match error.error_len() {
        None if last => FormatError::truncated("the end of a character"),
        _ => FormatError::utf8(),
    })
}

/// A row whose end is known is not cut off, only wrong.
pub(crate) fn whole_row(error: FormatError) -> FormatError {
    match error {
        FormatError::Truncated { missing, .. } => {
            FormatError::json("the end of the row", format!("{missing} before it"))
        }
        other => other,
    }
}
