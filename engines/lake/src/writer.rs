//! Our Parquet writer: one stream of batches to one file, and the Add action that names it.

use std::sync::Arc;

use arrow::array::{Array, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type, SchemaRef};
use deltalake::kernel::Add;
use object_store::ObjectStore;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use parquet::arrow::AsyncArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::error::{LakeError, Result};
use crate::stats::{self, INDEXED_COLUMNS};

/// Row groups of 64 k rows with pages of 4 k: small enough to skip most of a file for a map window.
const ROW_GROUP_ROWS: usize = 65_536;
const PAGE_ROWS: usize = 4_096;
/// A row group is also ended when it holds this much in memory, whatever its rows weigh.
const ROW_GROUP_BYTES: usize = 32 << 20;

/// A larger file goes to the store in parts of this size, this many at a time.
const PART_BYTES: usize = 8 << 20;
const PARTS_AT_ONCE: usize = 4;

/// Writes one data file. Dropped before [`FileWriter::finish`] it leaves nothing that a reader sees.
pub(crate) struct FileWriter {
    path: String,
    stored: SchemaRef,
    writer: AsyncArrowWriter<BufWriter>,
    has_nan: Vec<bool>,
}

impl FileWriter {
    /// Starts a file with a name that no other file has.
    pub(crate) fn start(store: Arc<dyn ObjectStore>, stored: SchemaRef) -> Result<Self> {
        let path = format!("part-{}.parquet", uuid::Uuid::now_v7());
        let object = BufWriter::with_capacity(store, Path::from(path.as_str()), PART_BYTES);
        let object = object.with_max_concurrency(PARTS_AT_ONCE);
        let writer = AsyncArrowWriter::try_new(object, Arc::clone(&stored), Some(properties(&stored)?))?;
        let has_nan = vec![false; stored.fields().len()];
        Ok(Self { path, stored, writer, has_nan })
    }

    /// Adds rows under the stored names and types.
    pub(crate) async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        for (seen, column) in self.has_nan.iter_mut().zip(batch.columns()) {
            *seen = *seen || has_nan(column);
        }
        self.writer.write(batch).await?;
        if self.writer.in_progress_size() > ROW_GROUP_BYTES {
            self.writer.flush().await?;
        }
        Ok(())
    }

    /// Bytes of the file so far, those in memory included.
    pub(crate) fn size(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size()
    }

    /// Completes the file; when this returns it is as durable as the store makes it.
    pub(crate) async fn finish(mut self) -> Result<Add> {
        let parquet = self.writer.finish().await?;
        let size = i64::try_from(self.writer.bytes_written()).map_err(|e| LakeError::Defect(e.to_string()))?;
        Ok(Add {
            path: self.path,
            size,
            modification_time: chrono::Utc::now().timestamp_millis(),
            data_change: true,
            stats: Some(stats::to_log(&self.stored, &parquet, &self.has_nan)?),
            ..Add::default()
        })
    }
}

fn properties(stored: &SchemaRef) -> Result<WriterProperties> {
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("lakegate ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(PAGE_ROWS);
    for field in stored.fields() {
        // Measurements rarely repeat: a dictionary would be built, given up and in the way of page skipping.
        if matches!(field.data_type(), DataType::Float32 | DataType::Float64 | DataType::Timestamp(_, _)) {
            properties = properties.set_column_dictionary_enabled(ColumnPath::from(field.name().as_str()), false);
        }
    }
    for field in stored.fields().iter().skip(INDEXED_COLUMNS).filter(|field| field.data_type().is_floating()) {
        // The log says of the first columns whether they hold NaN, which Parquet's bounds leave out. Of the others nothing
        // is known, so nothing may be skipped by them.
        let path = ColumnPath::from(field.name().as_str());
        properties = properties.set_column_statistics_enabled(path, EnabledStatistics::None);
    }
    Ok(properties.build())
}

fn has_nan(column: &dyn Array) -> bool {
    match column.data_type() {
        DataType::Float32 => column.as_primitive::<Float32Type>().values().iter().any(|v| v.is_nan()),
        DataType::Float64 => column.as_primitive::<Float64Type>().values().iter().any(|v| v.is_nan()),
        _ => false,
    }
}
