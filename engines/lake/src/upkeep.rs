//! Checkpoints, compaction, vacuum: in the background, one table after another.

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use lakegate_catalog::{DatasetId, Datasets};
use tokio::sync::{mpsc, oneshot};

use crate::compact::{CompactOptions, Compacted};
use crate::error::{LakeError, Result};
use crate::lake::Lake;
use crate::vacuum::Vacuumed;

/// Tables that may wait for upkeep; one that finds no place asks again with its next commit.
pub(crate) const UPKEEP_QUEUE: usize = 256;
/// Time between two vacuums of one table.
pub(crate) const VACUUM_EVERY: Duration = Duration::from_secs(3_600);

/// What upkeep may use, and how long it keeps what is no longer needed.
#[derive(Clone, Debug)]
pub struct UpkeepOptions {
    /// Bytes that sorting rows may hold.
    pub memory: usize,
    /// Where sorting spills to, and the most bytes there.
    pub spill: Option<(PathBuf, u64)>,
    /// How long files of older versions stay. Longer than any push and any query takes.
    pub retention: Duration,
}

/// A table that waits for upkeep.
pub(crate) enum Due {
    /// A commit found that there is something to do.
    Commit(DatasetId),
    /// Someone waits for all small files to be rewritten.
    Compaction(DatasetId, oneshot::Sender<Result<Compacted>>),
    /// Someone waits for old files to be removed.
    Vacuum(DatasetId, oneshot::Sender<Result<Vacuumed>>),
}

/// Serves one table after another until the lake is gone.
pub(crate) async fn run(
    lake: Weak<Lake>,
    datasets: Arc<dyn Datasets>,
    options: UpkeepOptions,
    mut due: mpsc::Receiver<Due>,
) {
    while let Some(due) = due.recv().await {
        let Some(lake) = lake.upgrade() else {
            return;
        };
        let upkeep = Upkeep { lake: &lake, datasets: datasets.as_ref(), options: &options };
        // Whoever asked may have gone; the work is as good without.
        match due {
            Due::Commit(id) => upkeep.after_commit(id).await,
            Due::Compaction(id, answer) => drop(answer.send(upkeep.compact(id, true).await)),
            Due::Vacuum(id, answer) => drop(answer.send(lake.vacuum(id, options.retention).await)),
        }
    }
}

struct Upkeep<'a> {
    lake: &'a Lake,
    datasets: &'a dyn Datasets,
    options: &'a UpkeepOptions,
}

impl Upkeep<'_> {
    async fn after_commit(&self, id: DatasetId) {
        match self.serve(id).await {
            // Another process keeps up the same table, or the dataset has been deleted.
            Ok(()) | Err(LakeError::Overtaken | LakeError::NoTable) => {}
            // The table stays right without it, only slower; the next commit asks again.
            Err(error) => tracing::warn!(dataset = %id, %error, "upkeep of a table failed"),
        }
    }

    async fn serve(&self, id: DatasetId) -> Result<()> {
        let table = self.lake.table(id).await?;
        table.upkeep().await?;
        if table.wants_compaction() {
            let done = self.compact(id, false).await?;
            tracing::debug!(dataset = %id, ?done, "small files rewritten");
        }
        if table.vacuum_is_due() {
            let done = self.lake.vacuum(id, self.options.retention).await?;
            tracing::debug!(dataset = %id, ?done, "files that nothing needs removed");
        }
        Ok(())
    }

    /// Rewrites until nothing is left to do; answers the sum.
    async fn compact(&self, id: DatasetId, eagerly: bool) -> Result<Compacted> {
        let options = CompactOptions {
            order: self.order(id).await,
            memory: self.options.memory,
            spill: self.options.spill.clone(),
            eagerly,
        };
        let version = self.lake.table(id).await?.snapshot().await?.version();
        let mut all = Compacted { version, files_removed: 0, files_added: 0, rows: 0 };
        while let Some(one) = self.lake.compact(id, &options).await? {
            all.version = one.version;
            all.files_removed += one.files_removed;
            all.files_added += one.files_added;
            all.rows += one.rows;
            if one.files_added >= one.files_removed {
                break;
            }
        }
        Ok(all)
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
