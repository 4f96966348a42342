//! Checkpoints, compaction, vacuum: in the background, a few tables side by side.
//!
//! [`queue`] says whose turn it is: a table has one job at a time, one that stalls or fails holds up no other, and each step
//! of a job has a deadline.

mod queue;

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use lakegate_catalog::{DatasetId, Datasets};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::compact::{CompactOptions, Compacted};
use crate::error::{LakeError, Result};
use crate::lake::Lake;
use crate::vacuum::Vacuumed;

pub use queue::UpkeepUsage;
pub(crate) use queue::{Due, Queue};

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

/// Serves tables until the lake is gone.
pub(crate) async fn run(lake: Weak<Lake>, queue: Arc<Queue>, datasets: Arc<dyn Datasets>, options: UpkeepOptions) {
    let rewrites = Arc::new(Semaphore::new(REWRITES));
    let upkeep = |lake| Upkeep {
        lake,
        datasets: Arc::clone(&datasets),
        options: options.clone(),
        rewrites: Arc::clone(&rewrites),
    };
    queue
        .run(|due| {
            let upkeep = lake.upgrade().map(upkeep);
            async move {
                match upkeep {
                    Some(upkeep) => upkeep.serve(due).await,
                    None => false,
                }
            }
        })
        .await;
}

struct Upkeep {
    lake: Arc<Lake>,
    datasets: Arc<dyn Datasets>,
    options: UpkeepOptions,
    rewrites: Arc<Semaphore>,
}

impl Upkeep {
    /// Whether it went well. Whoever asked may have gone; the work is as good without.
    async fn serve(&self, due: Due) -> bool {
        match due {
            Due::Commit(id) => self.after_commit(id).await,
            Due::Compaction(id, answer) => {
                let done = self.compact(id, true).await;
                let well = done.is_ok();
                let _ = answer.send(done);
                well
            }
            Due::Vacuum(id, answer) => {
                let done = self.vacuum(id).await;
                let well = done.is_ok();
                let _ = answer.send(done);
                well
            }
        }
    }

    async fn after_commit(&self, id: DatasetId) -> bool {
        match self.keep_up(id).await {
            // Another process keeps up the same table, or the dataset has been deleted.
            Ok(()) | Err(LakeError::Overtaken | LakeError::NoTable) => true,
            // The table stays right without it, only slower; a later commit asks again.
            Err(error) => {
                tracing::warn!(dataset = %id, %error, "upkeep of a table failed");
                false
            }
        }
    }

    async fn keep_up(&self, id: DatasetId) -> Result<()> {
        let table = self.lake.listed_table(id, self.datasets.as_ref()).await?;
        self.in_time(table.upkeep()).await?;
        if table.wants_compaction() {
            let done = self.compact(id, false).await?;
            tracing::debug!(dataset = %id, ?done, "small files rewritten");
        }
        if table.vacuum_is_due() {
            let done = self.vacuum(id).await?;
            tracing::debug!(dataset = %id, ?done, "files that nothing needs removed");
        }
        Ok(())
    }

    /// Rewrites until nothing is left to do; answers the sum.
    async fn compact(&self, id: DatasetId, eagerly: bool) -> Result<Compacted> {
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
            if one.files_added >= one.files_removed {
                return Ok(all);
            }
        }
    }

    async fn vacuum(&self, id: DatasetId) -> Result<Vacuumed> {
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
