//! Parquet bodies. The footer comes last, so that the whole body must be at hand, in a file.

mod delta;
mod footer;
mod pages;
mod thrift;

use std::fs::File;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use crate::body::BodyLimits;
use crate::conform::Conform;
use crate::error::{FormatError, Result};
use crate::format::Format;
use crate::guard::guard;

fn invalid(why: impl std::fmt::Display) -> FormatError {
    FormatError::binary(Format::Parquet, why)
}

fn unsupported(what: &str, advice: &'static str) -> FormatError {
    FormatError::UnsupportedBody { format: Format::Parquet, what: what.to_owned(), advice }
}

/// A Parquet body whose rows can be read into a dataset's columns.
///
/// Types and names fit as in Arrow bodies ([`BodyReader`](crate::BodyReader)); they are taken from
/// Parquet's own schema, an Arrow schema kept beside it is not looked at. Every call works on the
/// file and the processor: call from a thread that may.
///
/// Memory: the footer (16 MiB at most), a page and a dictionary of each column of one row group
/// (128 MiB at most, with nested columns whole), and one batch.
pub struct ParquetRows {
    file: File,
    length: u64,
    metadata: Arc<ParquetMetaData>,
    schema: SchemaRef,
    reading: Option<Reading>,
}

/// Rows on their way into the columns of a dataset.
struct Reading {
    conform: Conform,
    limits: BodyLimits,
    next_group: usize,
    batches: Option<ParquetRecordBatchReader>,
}

impl ParquetRows {
    /// Reads the footer. Errors: `truncated_body`, `invalid_parquet`, `batch_too_large`,
    /// `too_many_columns`, `nesting_too_deep`, `unsupported_body`.
    pub fn open(mut file: File) -> Result<Self> {
        let length = file.metadata().map_err(|_| FormatError::truncated("the body"))?.len();
        if length == 0 {
            return Err(FormatError::Empty);
        }
        let footer = footer::read(&mut file, length)?;
        guard(Format::Parquet, || {
            let metadata = Arc::new(ParquetMetaDataReader::decode_metadata(&footer).map_err(invalid)?);
            let read = ArrowReaderMetadata::try_new(Arc::clone(&metadata), options()).map_err(invalid)?;
            // Views share the bytes of their page: a value that a dictionary repeats is not copied.
            let fields: Vec<FieldRef> = read.schema().fields().iter().map(viewed).collect();
            let schema = Arc::new(Schema::new(fields));
            Ok(Self { file, length, metadata, schema, reading: None })
        })
    }

    /// The columns of the file.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Begins to read into the columns of `target`. Errors: those of names and types that do not fit.
    pub fn start(&mut self, target: SchemaRef, limits: BodyLimits) -> Result<()> {
        let conform = Conform::new(&self.schema, target, limits)?;
        self.reading = Some(Reading { conform, limits, next_group: 0, batches: None });
        Ok(())
    }

    /// The next batch of the columns given to [`Self::start`]; `None` at the end.
    /// Errors: those of values that do not fit, `empty_body`, and those of [`Self::open`].
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let Some(mut reading) = self.reading.take() else { return Ok(None) };
        loop {
            if let Some(batch) = reading.conform.next()? {
                self.reading = Some(reading);
                return Ok(Some(batch));
            }
            let row = reading.conform.rows() + 1;
            let decoded = match &mut reading.batches {
                Some(batches) => guard(Format::Parquet, || batches.next().transpose().map_err(invalid)),
                None => Ok(None),
            };
            match decoded.map_err(|error| error.at(row, 0))? {
                Some(batch) => reading.conform.push(batch)?,
                None if reading.next_group < self.metadata.num_row_groups() => {
                    reading.batches = Some(self.group(&mut reading)?);
                }
                None if reading.conform.rows() == 0 => return Err(FormatError::Empty),
                None => return Ok(None),
            }
        }
    }

    fn group(&mut self, reading: &mut Reading) -> Result<ParquetRecordBatchReader> {
        let at = reading.next_group;
        reading.next_group += 1;
        let rows = pages::check(&mut self.file, self.length, self.metadata.row_group(at), reading.limits)?;
        guard(Format::Parquet, || {
            let options = options().with_schema(Arc::clone(&self.schema));
            let metadata = ArrowReaderMetadata::try_new(Arc::clone(&self.metadata), options).map_err(invalid)?;
            let file = self.file.try_clone().map_err(|_| FormatError::truncated("the body"))?;
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
                .with_row_groups(vec![at])
                .with_batch_size(rows)
                .build()
                .map_err(invalid)
        })
    }
}

/// The Arrow schema that writers keep beside Parquet's own is another thing to be wrong.
fn options() -> ArrowReaderOptions {
    ArrowReaderOptions::new().with_skip_arrow_metadata(true)
}

/// The field with text and bytes as views.
fn viewed(field: &FieldRef) -> FieldRef {
    let ty = match field.data_type() {
        DataType::Utf8 => DataType::Utf8View,
        DataType::Binary => DataType::BinaryView,
        DataType::List(item) => DataType::List(viewed(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(viewed).collect()),
        DataType::Map(entries, sorted) => DataType::Map(viewed(entries), *sorted),
        other => other.clone(),
    };
    Arc::new(Field::clone(field).with_data_type(ty))
}
