//! Bodies of text, row by row, into record batches of a known schema.

use std::collections::VecDeque;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use crate::body::BodyLimits;
use crate::column::Members;
use crate::csv::{Header, Record, read_record};
use crate::error::{FormatError, Result};
use crate::format::Format;
use crate::json::{Budget, read_row};
use crate::rows::Rows;

/// Reads JSON, NDJSON and CSV. Memory: one batch under construction, the batches not yet taken, and
/// at most one row's text.
pub(crate) struct TextRows {
    schema: SchemaRef,
    limits: BodyLimits,
    rows: Rows,
    syntax: Syntax,
    columns: Members,
    ready: VecDeque<RecordBatch>,
    batch: Size,
    total: u64,
    line: u64,
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

impl TextRows {
    pub(crate) fn new(format: Format, schema: SchemaRef, limits: BodyLimits) -> Result<Self> {
        let syntax = match format {
            Format::Json => Syntax::Json,
            Format::NdJson => Syntax::NdJson,
            Format::Csv => Syntax::Csv { header: None, record: Record::default() },
            _ => return Err(FormatError::UnsupportedFormat { format }),
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
        })
    }

    pub(crate) fn next(&mut self) -> Option<RecordBatch> {
        self.ready.pop_front()
    }

    pub(crate) fn rows(&self) -> u64 {
        self.total
    }

    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<()> {
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

    /// Judges the end of the body and cuts the last batch.
    pub(crate) fn end(&mut self) -> Result<()> {
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
