//! Checkpoints, compaction, vacuum: what keeps a table small and quick to read. A table says when it wants it ([`Wanted`]);
//! whoever runs jobs says when it is done, and does it through [`Upkeep`].

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lakegate_catalog::{DatasetId, Datasets};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

use crate::compact::{CompactOptions, Compacted};
use crate::error::{LakeError, Result};
use crate::lake::Lake;
use crate::vacuum::Vacuumed;

/// Time between two vacuums of one table.
pub(crate) const VACUUM_EVERY: Duration = Duration::from_secs(3_600);

/// Tables whose files are rewritten side by side; they share the memory.
const REWRITES: usize = 2;

/// What upkeep may use, and how long it keeps what is no longer needed.
#[derive(Clone, Debug)]
pub struct UpkeepOptions {
    /// Bytes that sorting rows may hold, all tables together.
    pub memory: usize,
    /// Where sorting spills to, and the most bytes there for each table.
    pub spill: Option<(PathBuf, u64)>,
    /// How long files of older versions stay. Longer than any push and any query takes.
    pub retention: Duration,
    /// How long a checkpoint, one rewrite of files, or a vacuum may take.
    pub deadline: Duration,
}

/// Tables that have found, with a commit, that there is something to do for them. Each is there once, however often it is
/// written to.
#[derive(Debug, Default)]
pub struct Wanted {
    waiting: Mutex<BTreeSet<DatasetId>>,
    news: Notify,
}

impl Wanted {
    /// Adds a table.
    pub fn add(&self, dataset: DatasetId) {
        self.waiting.lock().insert(dataset);
        self.news.notify_one();
    }

    /// Waits until there is one, and takes all.
    pub async fn take(&self) -> Vec<DatasetId> {
        loop {
            let taken = std::mem::take(&mut *self.waiting.lock());
            if !taken.is_empty() {
                return taken.into_iter().collect();
            }
            self.news.notified().await;
        }
    }
}

/// Does the work. It computes: give it a runtime of its own. A step that is dropped leaves its table as it was.
pub struct Upkeep {
    lake: Arc<Lake>,
    datasets: Arc<dyn Datasets>,
    options: UpkeepOptions,
    rewrites: Semaphore,
}

impl Upkeep {
    /// For the tables of this lake; `datasets` say how rows are best ordered.
    pub fn new(lake: Arc<Lake>, datasets: Arc<dyn Datasets>, options: UpkeepOptions) -> Self {
        Self { lake, datasets, options, rewrites: Semaphore::new(REWRITES) }
    }

    /// Does what a table wants: a checkpoint, a rewrite of small files, a vacuum. Errors: [`LakeError::Overtaken`] when
    /// another process keeps up the same table, [`LakeError::NoTable`] when the dataset has been deleted.
    pub async fn keep_up(&self, id: DatasetId) -> Result<()> {
        let table = self.lake.listed_table(id, self.datasets.as_ref()).await?;
        self.in_time(table.upkeep()).await?;
        if table.wants_compaction() {
            let done = self.rewrite(id, false, |_| ()).await?;
            tracing::debug!(dataset = %id, ?done, "small files rewritten");
        }
        if table.vacuum_is_due() {
            let done = self.vacuum(id).await?;
            tracing::debug!(dataset = %id, ?done, "files that nothing needs removed");
        }
        Ok(())
    }

    /// Rewrites all small files of a table until nothing is left to do; answers the sum, and tells it after each step. Errors:
    /// as [`Lake::compact`].
    pub async fn compact(&self, id: DatasetId, told: impl Fn(&Compacted)) -> Result<Compacted> {
        self.rewrite(id, true, told).await
    }

    async fn rewrite(&self, id: DatasetId, eagerly: bool, told: impl Fn(&Compacted)) -> Result<Compacted> {
        let options = CompactOptions {
            order: self.order(id).await,
            memory: self.options.memory / REWRITES,
            spill: self.options.spill.clone(),
            eagerly,
        };
        let table = self.lake.listed_table(id, self.datasets.as_ref()).await?;
        let version = table.snapshot().await?.version();
        let mut all = Compacted { version, files_removed: 0, files_added: 0, rows: 0 };
        loop {
            // One rewrite at a time, so that tables with much to do take turns with the others.
            let _place = self.rewrites.acquire().await;
            let Some(one) = self.in_time(self.lake.compact(id, &options)).await? else { return Ok(all) };
            all.version = one.version;
            all.files_removed += one.files_removed;
            all.files_added += one.files_added;
            all.rows += one.rows;
            told(&all);
            if one.files_added >= one.files_removed {
                return Ok(all);
            }
        }
    }

    /// Removes the files of a table that nothing needs. Errors: as [`Lake::vacuum`].
    pub async fn vacuum(&self, id: DatasetId) -> Result<Vacuumed> {
        let table = self.lake.listed_table(id, self.datasets.as_ref()).await?;
        self.in_time(table.vacuum(self.options.retention)).await
    }

    /// What is broken off leaves the table as it was, or does what another process could have done: commits are looked for
    /// in the log.
    async fn in_time<T>(&self, step: impl Future<Output = Result<T>>) -> Result<T> {
        let deadline = self.options.deadline;
        timeout(deadline, step).await.unwrap_or(Err(LakeError::TooSlow(deadline)))
    }

    /// By what a dataset's rows are best ordered.
    async fn order(&self, id: DatasetId) -> Vec<String> {
        match self.datasets.dataset_by_id(id).await {
            Ok(Some(dataset)) => dataset.order(),
            // Rows in any order are right; the next rewrite may know better.
            Ok(None) | Err(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_table_that_wants_it_often_is_there_once() {
        let wanted = Wanted::default();
        let (a, b) = (DatasetId::generate(), DatasetId::generate());
        for id in [a, b, a] {
            wanted.add(id);
        }
        assert_eq!(wanted.take().await, [a, b]);
        let (taken, ()) = futures::join!(wanted.take(), async { wanted.add(b) });
        assert_eq!(taken, [b]);
    }
}
