//! Jobs that keep datasets up: `upkeep`, which commits ask for, `compact` and `vacuum`, which people do.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lakegate_catalog::{Catalog, DatasetId, ErrorKind, NewJob, Subject};
use lakegate_lake::{Lake, LakeError, Upkeep};
use serde_json::json;

use super::{Failure, Task, Work};

/// Jobs of upkeep that one process does side by side: most of their time they wait for the store.
pub(crate) const AT_ONCE: usize = 8;

/// Before a dataset for which no job could be submitted is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a job that nobody asked for is kept.
const KEPT: Duration = Duration::from_secs(3_600);
/// How often upkeep is begun before the next commit must ask for it.
const ATTEMPTS: u32 = 5;

/// Submits a job for each table that wants upkeep, for ever.
pub(crate) async fn submit(catalog: Arc<dyn Catalog>, lake: Arc<Lake>) {
    let wanted = lake.wanted();
    loop {
        for id in wanted.take().await {
            if let Err(error) = submit_one(catalog.as_ref(), id).await {
                tracing::debug!(dataset = %id, %error, "upkeep cannot be asked for yet");
                wanted.add(id);
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

async fn submit_one(catalog: &dyn Catalog, id: DatasetId) -> lakegate_catalog::Result<()> {
    let Some(dataset) = catalog.dataset_by_id(id).await? else { return Ok(()) };
    let job = NewJob {
        key: Some(format!("upkeep:{id}")),
        priority: -10,
        max_attempts: ATTEMPTS,
        keep_for: KEPT,
        dataset: Some(Subject { dataset_id: id, dataset: dataset.name.clone() }),
        ..NewJob::new("upkeep", &format!("upkeep of {}", dataset.name.namespace()))
    };
    catalog.submit_job(job).await.map(|_| ())
}

/// The works on the tables of a lake.
pub(crate) fn works(upkeep: Upkeep) -> [Arc<dyn Work>; 3] {
    let upkeep = Arc::new(upkeep);
    [Arc::new(KeepUp(Arc::clone(&upkeep))), Arc::new(Compact(Arc::clone(&upkeep))), Arc::new(Vacuum(upkeep))]
}

struct KeepUp(Arc<Upkeep>);
struct Compact(Arc<Upkeep>);
struct Vacuum(Arc<Upkeep>);

#[async_trait]
impl Work for KeepUp {
    fn kind(&self) -> &'static str {
        "upkeep"
    }

    async fn run(&self, task: &Task) -> Result<serde_json::Value, Failure> {
        match self.0.keep_up(dataset(task)?).await {
            // Another process keeps up the same table, or the dataset has been deleted.
            Ok(()) | Err(LakeError::Overtaken | LakeError::NoTable) => Ok(serde_json::Value::Null),
            Err(error) => Err(failure(task, &error)),
        }
    }
}

#[async_trait]
impl Work for Compact {
    fn kind(&self) -> &'static str {
        "compact"
    }

    async fn run(&self, task: &Task) -> Result<serde_json::Value, Failure> {
        let told = |done: &lakegate_lake::Compacted| {
            task.progress(done.files_removed as u64, None, "files");
            task.log(format!(
                "version {}: {} files so far became {}",
                done.version, done.files_removed, done.files_added
            ));
        };
        let done = self.0.compact(dataset(task)?, told).await.map_err(|error| failure(task, &error))?;
        Ok(json!({
            "version": done.version,
            "files_removed": done.files_removed,
            "files_added": done.files_added,
        }))
    }
}

#[async_trait]
impl Work for Vacuum {
    fn kind(&self) -> &'static str {
        "vacuum"
    }

    async fn run(&self, task: &Task) -> Result<serde_json::Value, Failure> {
        let done = self.0.vacuum(dataset(task)?).await.map_err(|error| failure(task, &error))?;
        Ok(json!({ "files_removed": done.files, "bytes_removed": done.bytes }))
    }
}

fn dataset(task: &Task) -> Result<DatasetId, Failure> {
    let about = task.job.dataset.as_ref().map(|subject| subject.dataset_id);
    about.ok_or_else(|| Failure {
        code: "invalid_job".to_owned(),
        detail: "the job does not say which dataset it is about".to_owned(),
        retry: false,
    })
}

/// What of an error whoever asked may know; the log has all of it.
fn failure(task: &Task, error: &LakeError) -> Failure {
    tracing::warn!(job = %task.job.id, %error, "upkeep of a table failed");
    let hidden =
        matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Internal) && error.code() != "dataset_damaged";
    let detail = if hidden {
        "storage or this gateway failed; the gateway's log has it under the job's id".to_owned()
    } else {
        error.to_string()
    };
    // Of two compactions that overlap the second changes nothing, and may find something to do afterwards.
    let passing = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Overloaded | ErrorKind::Conflict);
    Failure { code: error.code().to_owned(), detail, retry: passing }
}
