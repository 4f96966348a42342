//! Batches with types of their own, made to fit a dataset's columns.
//!
//! Columns match by name. Types match when each value can be kept as it is: integers of any width,
//! decimals, text, bytes, dates and timestamps of any unit; what would change is refused with its row.

mod cast;
mod fits;
mod nested;
mod size;

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{DataType, Schema, SchemaRef};

use crate::body::BodyLimits;
use crate::column::Slot;
use crate::error::{FormatError, Result};
use crate::format::Format;

/// Why one value does not fit; `index` counts within the array, and within its parent on the way up.
pub(crate) struct Misfit {
    pub(crate) index: usize,
    pub(crate) error: FormatError,
}

impl Misfit {
    fn new(index: usize, error: FormatError) -> Self {
        Self { index, error }
    }
}

/// Fits batches of one source schema to a dataset's columns, in slices of bounded size.
pub(crate) struct Conform {
    target: SchemaRef,
    limits: BodyLimits,
    /// For each column of the dataset, the column of the source that fills it.
    sources: Vec<Option<usize>>,
    /// Bytes that a row of the dataset takes at least, missing columns included.
    row_width: usize,
    pending: VecDeque<RecordBatch>,
    rows: u64,
    /// Bytes that the whole body may still take once decoded.
    budget: u64,
}

impl Conform {
    /// Matches names and types. A column of nulls only may have any name: it holds nothing.
    ///
    /// Errors: `unknown_column`, `duplicate_column`, `missing_value` for a needed column that is
    /// absent, `type_mismatch`, `unsupported_type`.
    pub(crate) fn new(source: &Schema, target: SchemaRef, limits: BodyLimits) -> Result<Self> {
        check_names(source, &target)?;
        let mut sources = Vec::with_capacity(target.fields().len());
        let mut row_width = 0;
        for field in target.fields() {
            row_width += Slot::new(field)?.width;
            let at = source.index_of(field.name()).ok();
            if let Some(at) = at {
                fits::check(source.field(at).data_type(), field).map_err(|error| error.within(field.name()))?;
            } else if !field.is_nullable() {
                return Err(FormatError::missing_value().within(field.name()));
            }
            sources.push(at);
        }
        let budget = limits.max_decoded;
        Ok(Self { target, limits, sources, row_width, pending: VecDeque::new(), rows: 0, budget })
    }

    /// Takes a batch of the source; take all slices before the next one.
    /// Errors: `body_too_large`, since a run or dictionary can stand for any number of bytes.
    pub(crate) fn push(&mut self, batch: RecordBatch) -> Result<()> {
        let too_large = FormatError::BodyTooLarge { limit: self.limits.max_decoded };
        // Rows of nulls take nothing in the body, so that they are counted themselves.
        let bytes = size::of_batch(&batch).saturating_add(batch.num_rows() as u64);
        self.budget = self.budget.checked_sub(bytes).ok_or(too_large)?;
        if batch.num_rows() > 0 {
            self.pending.push_back(batch);
        }
        Ok(())
    }

    /// The next slice, with the dataset's columns. Errors have the row, counted over the whole body.
    pub(crate) fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some(batch) = self.pending.front_mut() else { return Ok(None) };
        let first = self.rows;
        let rows = slice_rows(batch, self.row_width, self.limits).map_err(|error| error.at(first + 1, 0))?;
        let slice = batch.slice(0, rows);
        if rows == batch.num_rows() {
            self.pending.pop_front();
        } else {
            *batch = batch.slice(rows, batch.num_rows() - rows);
        }
        let fitted = self.fit(&slice).map_err(|misfit| misfit.error.at(first + misfit.index as u64 + 1, 0))?;
        self.rows += rows as u64;
        Ok(Some(fitted))
    }

    /// Rows fitted so far.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    fn fit(&self, batch: &RecordBatch) -> Result<RecordBatch, Misfit> {
        let mut columns = Vec::with_capacity(self.sources.len());
        for (field, source) in self.target.fields().iter().zip(&self.sources) {
            let column = match source {
                Some(at) => nested::conform(batch.column(*at), field.data_type()),
                None => Ok(new_null_array(field.data_type(), batch.num_rows())),
            };
            let column = column.and_then(|column| nested::require(column, field, None));
            columns.push(column.map_err(|m| Misfit::new(m.index, m.error.within(field.name())))?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.target), columns, &options)
            .map_err(|error| Misfit::new(0, error.into()))
    }
}

fn check_names(source: &Schema, target: &Schema) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    for field in source.fields() {
        if !seen.insert(field.name()) {
            return Err(FormatError::duplicate(field.name()));
        }
        if *field.data_type() != DataType::Null && target.index_of(field.name()).is_err() {
            return Err(FormatError::unknown(field.name(), target.fields().iter().map(|f| f.name().as_str())));
        }
    }
    Ok(())
}

/// How many rows from the start make one slice.
fn slice_rows(batch: &RecordBatch, row_width: usize, limits: BodyLimits) -> Result<usize> {
    let widest = limits.batch_bytes / row_width.max(1);
    let mut rows = batch.num_rows().min(limits.batch_rows).min(widest.max(1));
    // No more than one row may have: so a row that has more ends up alone.
    let most = limits.batch_bytes.min(limits.row_bytes());
    loop {
        let bytes = size::of_batch(&batch.slice(0, rows));
        if rows > 1 && bytes > most as u64 {
            rows /= 2;
        } else if rows == 1 && bytes > limits.row_bytes() as u64 {
            return Err(FormatError::row_too_large(limits.row_bytes()));
        } else {
            return Ok(rows);
        }
    }
}

/// Refuses types whose arrays are not decoded here, wherever they are nested.
pub(crate) fn check_decodable(format: Format, column: &str, ty: &DataType) -> Result<()> {
    match ty {
        DataType::ListView(_) | DataType::LargeListView(_) | DataType::Union(..) => {
            Err(FormatError::UnsupportedType { format, column: column.to_owned(), ty: ty.to_string() })
        }
        DataType::Dictionary(_, values) => check_decodable(format, column, values),
        DataType::RunEndEncoded(_, item)
        | DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => check_decodable(format, column, item.data_type()),
        DataType::Struct(fields) => {
            fields.iter().try_for_each(|field| check_decodable(format, column, field.data_type()))
        }
        _ => Ok(()),
    }
}
