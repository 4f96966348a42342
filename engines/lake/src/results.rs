//! Results of jobs: one Parquet file for each attempt at a job, beside the tables, for as long as the job is kept.
//!
//! `_results/<job>-<fence>.parquet`: no two attempts write the same file, so that one which goes on after its job was given to
//! somebody else harms nobody. Which file counts, the job says. One folder for all of them: an empty one for each job would
//! stay behind.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array as _, RecordBatch};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, Stream};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use lakegate_catalog::Hold;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStream};
use parquet::arrow::{AsyncArrowWriter, ParquetRecordBatchStreamBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use tokio::runtime::Handle;

use crate::error::{LakeError, Result};
use crate::lake::Lake;

/// The folder of all results. No dataset's: their folders are UUIDs.
const FOLDER: &str = "_results";

/// A row group is ended with so many rows, or when its rows have so many bytes before they are encoded: whoever reads one
/// unpacks all of it.
const GROUP_ROWS: usize = 65_536;
const GROUP_BYTES: usize = 16 << 20;

/// Rows are unpacked so many at a time, and handed out in pieces of about so many bytes.
const READ_ROWS: usize = 4_096;
const PIECE_BYTES: usize = 1 << 20;

/// A file is sent as it is in ranges of so many bytes.
const RANGE_BYTES: u64 = 4 << 20;

/// A larger file goes to the store in parts of this size, this many at a time.
const PART_BYTES: usize = 8 << 20;
const PARTS_AT_ONCE: usize = 4;

impl Lake {
    /// Begins the file of an attempt at a job, of at most `max` bytes.
    ///
    /// Errors: [`LakeError::Parquet`] for a type that Parquet has no place for.
    pub fn write_result(&self, hold: Hold, schema: &SchemaRef, max: u64) -> Result<ResultWriter> {
        let object = BufWriter::with_capacity(Arc::clone(&self.root), file(hold), PART_BYTES);
        let object = object.with_max_concurrency(PARTS_AT_ONCE);
        let properties = WriterProperties::builder()
            .set_created_by(concat!("lakegate ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
            .set_statistics_enabled(EnabledStatistics::None)
            .set_offset_index_disabled(true)
            .build();
        let writer = AsyncArrowWriter::try_new(object, Arc::clone(schema), Some(properties))?;
        Ok(ResultWriter { writer, rows: 0, group: 0, max })
    }

    /// What an attempt at a job has left; `None` when it is not there.
    pub async fn result(&self, hold: Hold) -> Result<Option<ResultFile>> {
        let (store, path) = (Arc::clone(&self.root), file(hold));
        match store.head(&path).await {
            Ok(found) => Ok(Some(ResultFile { store, path, size: found.size })),
            Err(object_store::Error::NotFound { .. }) => {
                // Without its storage every result looks as if it were gone.
                self.ping().await?;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Removes what an attempt at a job has left. Safe to repeat.
    pub async fn remove_result(&self, hold: Hold) -> Result<()> {
        match self.root.delete(&file(hold)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The attempts that have left something, in no order.
    pub fn results(&self) -> impl Stream<Item = Result<Hold>> + Send + 'static {
        let listed = self.root.list(Some(&Path::from(FOLDER))).map_err(LakeError::from);
        // What is called otherwise is none of ours.
        listed.try_filter_map(|found| std::future::ready(Ok(found.location.filename().and_then(attempt))))
    }
}

fn file(hold: Hold) -> Path {
    Path::from(format!("{FOLDER}/{}-{}.parquet", hold.job, hold.fence))
}

/// Whose file this is.
fn attempt(file: &str) -> Option<Hold> {
    let (job, fence) = file.strip_suffix(".parquet")?.rsplit_once('-')?;
    Some(Hold { job: job.parse().ok()?, fence: fence.parse().ok()? })
}

/// Writes a result. Dropped before [`ResultWriter::finish`] it leaves nothing that a reader sees. Memory: one row group.
pub struct ResultWriter {
    writer: AsyncArrowWriter<BufWriter>,
    rows: u64,
    /// Bytes of the rows in the row group that is being made, before they are encoded.
    group: usize,
    max: u64,
}

impl ResultWriter {
    /// Adds rows, on a thread of its own: what compresses them holds up nobody. Errors: [`LakeError::ResultTooLarge`],
    /// [`LakeError::Parquet`].
    pub async fn write(mut self, batch: RecordBatch) -> Result<Self> {
        let waiting = Handle::current();
        let writing = tokio::task::spawn_blocking(move || {
            waiting.block_on(async {
                self.add(&batch).await?;
                Ok(self)
            })
        });
        writing.await.map_err(|e| LakeError::Defect(e.to_string()))?
    }

    async fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).await?;
        self.rows += batch.num_rows() as u64;
        self.group += bytes_of(batch);
        if self.group >= GROUP_BYTES || self.writer.in_progress_rows() >= GROUP_ROWS {
            self.writer.flush().await?;
            self.group = 0;
        }
        let size = self.writer.bytes_written() + self.writer.in_progress_size();
        self.within(size)
    }

    fn within(&self, size: usize) -> Result<()> {
        if size as u64 > self.max { Err(LakeError::ResultTooLarge(self.max)) } else { Ok(()) }
    }

    /// Rows written so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Completes the file; when this returns it is as durable as the store makes it. Its bytes.
    pub async fn finish(mut self) -> Result<u64> {
        self.writer.flush().await?;
        self.within(self.writer.bytes_written())?;
        self.writer.finish().await?;
        Ok(self.writer.bytes_written() as u64)
    }
}

/// A result that is kept.
#[derive(Clone, Debug)]
pub struct ResultFile {
    store: Arc<dyn ObjectStore>,
    path: Path,
    size: u64,
}

impl ResultFile {
    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The file as it is, a piece at a time.
    pub fn bytes(self) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        let starts = (0..self.size).step_by(usize::try_from(RANGE_BYTES).unwrap_or(usize::MAX));
        stream::iter(starts).then(move |start| {
            let file = self.clone();
            async move {
                let range = start..file.size.min(start + RANGE_BYTES);
                Ok(file.store.get_range(&file.path, range).await?)
            }
        })
    }

    /// The rows in it. Memory: one row group.
    pub async fn rows(self) -> Result<ResultRows> {
        let builder = ParquetRecordBatchStreamBuilder::new(self).await?;
        let schema = Arc::clone(builder.schema());
        Ok(ResultRows { schema, batches: builder.with_batch_size(READ_ROWS).build()?, rest: None })
    }
}

impl AsyncFileReader for ResultFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        async move { self.store.get_range(&self.path, range).await.map_err(external) }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        async move { self.store.get_ranges(&self.path, &ranges).await.map_err(external) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        let size = self.size;
        async move { Ok(Arc::new(ParquetMetaDataReader::new().load_and_finish(self, size).await?)) }.boxed()
    }
}

fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

/// The rows of a result, in their order.
pub struct ResultRows {
    schema: SchemaRef,
    batches: ParquetRecordBatchStream<ResultFile>,
    /// Rows that are unpacked and not handed out.
    rest: Option<RecordBatch>,
}

impl ResultRows {
    /// The schema of every batch.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The next rows, about a MiB of them; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let batch = match self.rest.take() {
            Some(rest) => rest,
            None => match self.batches.try_next().await? {
                Some(batch) => batch,
                None => return Ok(None),
            },
        };
        let rows = batch.num_rows();
        let parts = bytes_of(&batch).div_ceil(PIECE_BYTES).max(1);
        let step = rows.div_ceil(parts).max(1);
        if step < rows {
            self.rest = Some(batch.slice(step, rows - step));
        }
        Ok(Some(batch.slice(0, step.min(rows))))
    }
}

/// Bytes of the rows of a batch, without what its arrays hold besides.
fn bytes_of(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum()
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, IntervalYearMonthArray, StringArray, TimestampSecondArray};
    use lakegate_catalog::JobId;

    use super::*;

    fn hold(fence: u64) -> Hold {
        Hold { job: JobId::generate(), fence }
    }

    fn batch(rows: usize, text: &str) -> RecordBatch {
        let columns: [(&str, ArrayRef); 4] = [
            ("n", Arc::new(Int64Array::from_iter_values(0..rows as i64))),
            ("text", Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows)))),
            ("at", Arc::new(TimestampSecondArray::from(vec![Some(1); rows]).with_timezone("+02:00"))),
            ("span", Arc::new(IntervalYearMonthArray::from(vec![Some(14); rows]))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).expect("a batch")
    }

    async fn left(lake: &Lake) -> Vec<Hold> {
        let mut all: Vec<Hold> = lake.results().try_collect().await.expect("listed");
        all.sort_by_key(|hold| (hold.job, hold.fence));
        all
    }

    async fn rows_of(file: ResultFile) -> (Vec<RecordBatch>, SchemaRef) {
        let (mut all, mut rows) = (Vec::new(), file.rows().await.expect("opens"));
        while let Some(batch) = rows.next().await.expect("reads") {
            all.push(batch);
        }
        (all, rows.schema())
    }

    #[tokio::test]
    async fn what_is_written_is_read_back_with_its_types() {
        let (lake, hold, written) = (Lake::in_memory().await.expect("a lake"), hold(3), batch(5_000, "same"));
        let mut writer = lake.write_result(hold, &written.schema(), u64::MAX).expect("begins");
        for _ in 0..20 {
            writer = writer.write(written.clone()).await.expect("written");
        }
        assert!(lake.result(hold).await.expect("asked").is_none(), "it is there before its end");
        assert_eq!(writer.rows(), 100_000);
        let size = writer.finish().await.expect("finished");
        let file = lake.result(hold).await.expect("asked").expect("there");
        assert_eq!(file.size(), size);
        let whole: Vec<Bytes> = file.clone().bytes().try_collect().await.expect("bytes");
        assert_eq!(whole.iter().map(Bytes::len).sum::<usize>() as u64, size);
        let (read, schema) = rows_of(file).await;
        assert_eq!(schema, written.schema());
        let read = arrow::compute::concat_batches(&schema, &read).expect("one batch");
        assert_eq!((read.num_rows(), read.slice(95_000, 5_000)), (100_000, written));
    }

    #[tokio::test]
    async fn rows_that_pack_well_are_unpacked_in_small_pieces() {
        let (lake, hold, written) = (Lake::in_memory().await.expect("a lake"), hold(1), batch(4, &"x".repeat(1 << 20)));
        let mut writer = lake.write_result(hold, &written.schema(), 1 << 20).expect("begins");
        for _ in 0..16 {
            writer = writer.write(written.clone()).await.expect("written");
        }
        writer.finish().await.expect("finished");
        let file = lake.result(hold).await.expect("asked").expect("there");
        let (read, _) = rows_of(file).await;
        assert_eq!(read.iter().map(RecordBatch::num_rows).sum::<usize>(), 64);
        assert!(read.iter().all(|batch| bytes_of(batch) <= 2 * PIECE_BYTES), "pieces are too large");
    }

    #[tokio::test]
    async fn one_that_is_too_large_or_given_up_leaves_nothing() {
        let (lake, hold, written) = (Lake::in_memory().await.expect("a lake"), hold(1), batch(1_000, "text"));
        let writer = lake.write_result(hold, &written.schema(), 100).expect("begins");
        let error = writer.write(written).await.err().expect("too large");
        assert_eq!(error.code(), "result_too_large");
        assert_eq!(left(&lake).await, []);
    }

    #[tokio::test]
    async fn an_attempt_is_removed_and_no_other() {
        let (lake, first) = (Lake::in_memory().await.expect("a lake"), hold(1));
        let (second, other) = (Hold { fence: 12, ..first }, hold(1));
        for hold in [first, second, other] {
            let writer = lake.write_result(hold, &batch(1, "a").schema(), u64::MAX).expect("begins");
            writer.finish().await.expect("finished");
        }
        lake.root.put(&Path::from("_results/other.parquet"), "x".into()).await.expect("put");
        assert_eq!(left(&lake).await, [first, second, other]);
        lake.remove_result(first).await.expect("removed");
        lake.remove_result(first).await.expect("removed again");
        assert_eq!(left(&lake).await, [second, other]);
        assert!(lake.result(first).await.expect("asked").is_none());
        assert!(lake.result(second).await.expect("asked").is_some());
    }
}
