//! Answers in Arrow and Parquet: writers into a buffer that is emptied after each step.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, IntervalUnit, SchemaRef};
use arrow::ipc::writer::{FileWriter, StreamWriter};
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::unsupported;
use crate::error::{FormatError, Result};
use crate::format::Format;

/// Rows of a row group of an answer.
const GROUP_ROWS: usize = 65_536;

/// Bytes of a row group under construction, about, which is what a Parquet answer holds in memory.
const GROUP_BYTES: usize = 16 << 20;

/// A writer that has started.
pub(super) enum Writer {
    Stream(StreamWriter<Vec<u8>>),
    File(FileWriter<Vec<u8>>),
    Parquet(Box<ArrowWriter<Vec<u8>>>),
}

impl Writer {
    /// Writes what comes before the first batch. Errors: `unsupported_type`.
    pub(super) fn start(format: Format, schema: &SchemaRef) -> Result<Self> {
        Ok(match format {
            Format::ArrowFile => Self::File(FileWriter::try_new(Vec::new(), schema)?),
            Format::Parquet => Self::Parquet(Box::new(parquet(schema)?)),
            _ => Self::Stream(StreamWriter::try_new(Vec::new(), schema)?),
        })
    }

    pub(super) fn batch(&mut self, batch: &RecordBatch) -> Result<()> {
        match self {
            Self::Stream(writer) => writer.write(batch)?,
            Self::File(writer) => writer.write(batch)?,
            Self::Parquet(writer) => {
                writer.write(batch)?;
                if writer.in_progress_rows() >= GROUP_ROWS || writer.memory_size() >= GROUP_BYTES {
                    writer.flush()?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<()> {
        match self {
            Self::Stream(writer) => writer.finish()?,
            Self::File(writer) => writer.finish()?,
            Self::Parquet(writer) => {
                writer.finish()?;
            }
        }
        Ok(())
    }

    /// Appends what has been written since the last time.
    pub(super) fn drain(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::Stream(writer) => out.append(writer.get_mut()),
            Self::File(writer) => out.append(writer.get_mut()),
            Self::Parquet(writer) => out.append(writer.inner_mut()),
        }
    }
}

fn parquet(schema: &SchemaRef) -> Result<ArrowWriter<Vec<u8>>> {
    for field in schema.fields() {
        let alone = arrow::datatypes::Schema::new(vec![field.clone()]);
        if ArrowSchemaConverter::new().convert(&alone).is_err() || has_months_and_days(field.data_type()) {
            return Err(unsupported(Format::Parquet, field.name(), field.data_type()));
        }
    }
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .build();
    ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties)).map_err(FormatError::from)
}

/// Whether there is an interval of months, days and nanoseconds in it: the writer has a type for it, and no way to write it.
fn has_months_and_days(ty: &DataType) -> bool {
    match ty {
        DataType::Interval(IntervalUnit::MonthDayNano) => true,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => has_months_and_days(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_months_and_days(field.data_type())),
        _ => false,
    }
}

impl From<ParquetError> for FormatError {
    fn from(error: ParquetError) -> Self {
        Self::Encode(error.to_string())
    }
}
