//! Compaction: many small files into few, the same rows, in one commit that removes exactly what it read.
//!
//! delta-rs's own is not used: two of its compactions that overlap both succeed, and rows are there twice.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SendableRecordBatchStream, object_store::ObjectStoreRegistry};
use datafusion::logical_expr::SortExpr;
use datafusion::prelude::{SessionConfig, SessionContext};
use deltalake::kernel::{Action, Add, Remove};
use futures::StreamExt as _;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;

use crate::append::FILE_BYTES;
use crate::error::{LakeError, Result};
use crate::snapshot::{DataFile, Snapshot};
use crate::table::Table;
use crate::writer::FileWriter;

/// A file of this size is left alone.
const LARGE: u64 = 128 << 20;
/// Files that are so small count as one size; each further size is eight times the one before.
const SMALLEST: u64 = 64 << 10;
/// What one commit rewrites at most.
const MAX_REWRITE: u64 = FILE_BYTES as u64;
/// Files of one size that make it worth while to rewrite them unasked: with every size eight times the one before, a
/// row is rewritten about five times in its life, however small the pushes are.
pub(crate) const WORTH_WHILE: usize = 16;

/// How to compact.
#[derive(Clone, Debug)]
pub struct CompactOptions {
    /// Columns to sort the rows by, ascending, nulls last, so that a filter on them skips most of a file. None keeps the
    /// order in which rows came.
    pub order: Vec<String>,
    /// Bytes that sorting may hold; beyond them it spills.
    pub memory: usize,
    /// Where sorting spills to, at most this many bytes; without it sorting fails when memory ends.
    pub spill: Option<(PathBuf, u64)>,
    /// Rewrite any two small files, instead of only as many as make it worth while.
    pub eagerly: bool,
}

/// What a compaction did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// The version that has the same rows in other files.
    pub version: u64,
    /// Files that were rewritten.
    pub files_removed: usize,
    /// Files that took their place.
    pub files_added: usize,
    /// Rows in them.
    pub rows: u64,
}

impl Table {
    /// Rewrites small files once; `None` when there is nothing to do. Pushes go on meanwhile. Memory:
    /// [`CompactOptions::memory`] and one row group.
    ///
    /// Errors: [`LakeError::Overtaken`] when another compaction of the table is running or was first; nothing is changed.
    pub(crate) async fn compact(
        &self,
        options: &CompactOptions,
        stores: Arc<dyn ObjectStoreRegistry>,
    ) -> Result<Option<Compacted>> {
        let Ok(_alone) = self.rewriting.try_lock() else {
            return Err(LakeError::Overtaken);
        };
        let snapshot = self.snapshot_and_log().await?;
        let chosen = choose(&snapshot.files, options.eagerly);
        if chosen.is_empty() {
            return Ok(None);
        }
        let mut rewrite = Rewrite { table: self, files: Vec::new(), rows: 0 };
        let landed = match rewrite.run(&snapshot, &chosen, options, stores).await {
            Ok(()) => self.commit_rewrite(&chosen, &rewrite.files).await,
            Err(error) => Err(error),
        };
        match landed {
            Ok(version) => Ok(Some(Compacted {
                version,
                files_removed: chosen.len(),
                files_added: rewrite.files.len(),
                rows: rewrite.rows,
            })),
            Err(error) => {
                rewrite.discard(&error).await;
                Err(error)
            }
        }
    }

    /// Whether the newest version has so many small files that [`Table::compact`] would rewrite some.
    pub(crate) fn wants_compaction(&self) -> bool {
        !choose(&self.known().files, false).is_empty()
    }
}

/// The files of one rewrite, in the order of the log: small, of known row counts, and no more than
/// [`MAX_REWRITE`] bytes together. Empty when a rewrite would bring nothing.
fn choose(files: &[Arc<DataFile>], eagerly: bool) -> Vec<Arc<DataFile>> {
    let small = files.iter().filter(|file| file.size < LARGE && file.rows().is_some());
    let mut sizes: HashMap<u32, Vec<Arc<DataFile>>> = HashMap::new();
    for file in small {
        let size = if eagerly { 0 } else { size_class(file.size) };
        sizes.entry(size).or_default().push(Arc::clone(file));
    }
    let least = if eagerly { 2 } else { WORTH_WHILE };
    let smallest = sizes.into_iter().filter(|(_, files)| files.len() >= least).min_by_key(|(size, _)| *size);
    let mut bytes = 0;
    let fits = |file: &Arc<DataFile>| {
        bytes += file.size;
        bytes <= MAX_REWRITE
    };
    smallest.map(|(_, files)| files.into_iter().take_while(fits).collect()).unwrap_or_default()
}

fn size_class(size: u64) -> u32 {
    (size / SMALLEST).checked_ilog(8).map_or(0, |class| class + 1)
}

/// Files on their way into the table.
struct Rewrite<'a> {
    table: &'a Table,
    files: Vec<Add>,
    rows: u64,
}

impl Rewrite<'_> {
    async fn run(
        &mut self,
        snapshot: &Snapshot,
        chosen: &[Arc<DataFile>],
        options: &CompactOptions,
        stores: Arc<dyn ObjectStoreRegistry>,
    ) -> Result<()> {
        let part = Arc::new(snapshot.with_files(snapshot.version, chosen.to_vec()));
        let mut rows = read(&part, options, stores).await.map_err(failed)?;
        let mut current: Option<FileWriter> = None;
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(failed)?;
            self.rows += batch.num_rows() as u64;
            let stored = Arc::clone(&snapshot.layout.stored);
            let batch = RecordBatch::try_new(Arc::clone(&stored), batch.columns().to_vec())?;
            let file = match &mut current {
                Some(file) => file,
                none => none.insert(FileWriter::start(Arc::clone(&self.table.log.files), stored)?),
            };
            file.write(&batch).await?;
            if file.size() >= FILE_BYTES {
                self.end(current.take()).await?;
            }
        }
        self.end(current).await?;
        let expected = part.rows();
        if expected == Some(self.rows) {
            return Ok(());
        }
        Err(LakeError::Defect(format!("a rewrite of {expected:?} rows wrote {}", self.rows)))
    }

    async fn end(&mut self, file: Option<FileWriter>) -> Result<()> {
        if let Some(file) = file {
            self.files.push(Add { data_change: false, ..file.finish().await? });
        }
        Ok(())
    }

    /// Removes what was written. What stays after a failure here is found by a vacuum.
    async fn discard(self, why: &LakeError) {
        // When nothing is known of the commit, it may be there.
        if !matches!(why, LakeError::Overtaken | LakeError::Contended(_) | LakeError::Defect(_)) {
            return;
        }
        for file in &self.files {
            if let Err(error) = self.table.log.files.delete(&Path::from(file.path.as_str())).await {
                tracing::debug!(file = file.path, %error, "a file of a given up rewrite stays for now");
            }
        }
    }
}

/// The rows of a snapshot under the clients' names, in order.
async fn read(
    part: &Arc<Snapshot>,
    options: &CompactOptions,
    stores: Arc<dyn ObjectStoreRegistry>,
) -> datafusion::common::Result<SendableRecordBatchStream> {
    let mode = match &options.spill {
        Some((folder, _)) => DiskManagerMode::Directories(vec![folder.clone()]),
        None => DiskManagerMode::Disabled,
    };
    let mut disk = DiskManagerBuilder::default().with_mode(mode);
    if let Some((_, most)) = options.spill {
        disk = disk.with_max_temp_directory_size(most);
    }
    let environment = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(options.memory)))
        .with_disk_manager_builder(disk)
        .with_object_store_registry(stores)
        .build_arc()?;
    // One partition: rows come in the order of the files.
    let config = SessionConfig::new()
        .with_target_partitions(1)
        // What sorting keeps for the merge of what it spilled; the default is more than a small budget.
        .with_sort_spill_reservation_bytes(options.memory / 8);
    let session = SessionContext::new_with_config_rt(config, environment);
    let rows = session.read_table(part.provider())?;
    let known = options.order.iter().filter(|name| part.layout.position(name).is_ok());
    let order: Vec<SortExpr> = known.map(|name| datafusion::prelude::ident(name).sort(true, false)).collect();
    let rows = if order.is_empty() { rows } else { rows.sort(order)? };
    rows.execute_stream().await
}

/// Reading failed: storage, as far as another cause is not plain.
fn failed(error: DataFusionError) -> LakeError {
    match error.find_root() {
        DataFusionError::External(inner) if let Some(LakeError::Damaged(damage)) = inner.downcast_ref() => {
            LakeError::Damaged(damage.clone())
        }
        DataFusionError::ResourcesExhausted(_) => LakeError::NoRoom(error.strip_backtrace()),
        _ => LakeError::Reading(Box::new(error)),
    }
}

/// The action that takes a file out of the newest version, with its rows or because others hold them. Its bytes stay
/// until a vacuum.
pub(crate) fn removal(file: &DataFile, data_change: bool, now_millis: i64) -> Action {
    Action::Remove(Remove {
        path: file.path.clone(),
        data_change,
        deletion_timestamp: Some(now_millis),
        extended_file_metadata: Some(true),
        partition_values: Some(HashMap::new()),
        size: i64::try_from(file.size).ok(),
        ..Remove::default()
    })
}

#[cfg(test)]
mod tests {
    use datafusion::common::Statistics;
    use datafusion::common::stats::Precision;

    use super::*;

    fn file(size: u64) -> Arc<DataFile> {
        let statistics = Statistics { num_rows: Precision::Exact(1), ..Statistics::default() };
        let path = format!("{size}.parquet");
        Arc::new(DataFile { path, size, modified: 0, statistics: Arc::new(statistics), prunable: true })
    }

    fn sizes(files: &[Arc<DataFile>]) -> Vec<u64> {
        files.iter().map(|file| file.size).collect()
    }

    #[test]
    fn files_of_one_size_are_rewritten_together() {
        let few: Vec<_> = (0..15).map(|n| file(1_000 + n)).collect();
        assert!(choose(&few, false).is_empty(), "not worth while");
        assert_eq!(choose(&few, true).len(), 15, "but possible");
        let mut many = few.clone();
        many.push(file(40 << 20));
        assert!(choose(&many, false).is_empty(), "one of another size does not make it so");
        many.push(file(2_000));
        let chosen = choose(&many, false);
        assert_eq!((chosen.len(), sizes(&chosen).last()), (16, Some(&2_000)), "the large one is left alone");
        assert!(choose(&[file(LARGE), file(LARGE + 1)], true).is_empty());
        assert!(choose(&[file(1)], true).is_empty());
    }

    #[test]
    fn one_rewrite_is_bounded() {
        let files: Vec<_> = (0..100).map(|n| file(LARGE - 1 - n)).collect();
        let bytes: u64 = sizes(&choose(&files, true)).iter().sum();
        assert!(bytes <= MAX_REWRITE && bytes > MAX_REWRITE / 2, "{bytes}");
    }

    #[test]
    fn sizes_grow_eightfold() {
        let classes = [0, SMALLEST - 1, SMALLEST, 8 * SMALLEST - 1, 8 * SMALLEST, LARGE - 1].map(size_class);
        assert_eq!(classes, [0, 0, 1, 1, 2, 4]);
    }
}
