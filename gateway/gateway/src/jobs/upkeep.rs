//! Jobs that keep datasets up: `upkeep`, which commits ask for, `compact` and `vacuum`, which people do.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lakegate_catalog::{Catalog, DatasetId, ErrorKind, JobState, NewJob, Subject};
use lakegate_lake::{LakeError, Upkeep, Wanted};
use serde_json::json;

use super::{Failure, Task, Work};

/// Jobs of upkeep that one process does side by side: most of their time they wait for the store.
pub(crate) const AT_ONCE: usize = 8;

/// Before a dataset for which no job could be submitted, or whose job runs already, is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a job that nobody asked for is kept.
const KEPT: Duration = Duration::from_secs(3_600);
/// How often upkeep is begun before the next commit must ask for it.
const ATTEMPTS: u32 = 5;

/// Submits a job for each table that wants upkeep, for ever.
pub(crate) async fn submit(catalog: Arc<dyn Catalog>, wanted: Arc<Wanted>) {
    loop {
        for id in wanted.take().await {
            match submit_one(catalog.as_ref(), id).await {
                Ok(true) => {}
                // It may have looked at the table before there was more to do.
                Ok(false) => {
                    let wanted = Arc::clone(&wanted);
                    tokio::spawn(async move {
                        tokio::time::sleep(AGAIN).await;
                        wanted.add(id);
                    });
                }
                Err(error) => {
                    tracing::debug!(dataset = %id, %error, "upkeep cannot be asked for yet");
                    wanted.add(id);
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }
}

/// Submits a job unless the dataset is gone; false when its job runs already.
async fn submit_one(catalog: &dyn Catalog, id: DatasetId) -> lakegate_catalog::Result<bool> {
    let Some(dataset) = catalog.dataset_by_id(id).await? else { return Ok(true) };
    let job = NewJob {
        key: Some(format!("upkeep:{id}")),
        priority: -10,
        max_attempts: ATTEMPTS,
        keep_for: KEPT,
        dataset: Some(Subject { dataset_id: id, dataset: dataset.name.clone() }),
        ..NewJob::new("upkeep", &format!("upkeep of {}", dataset.name.namespace()))
    };
    Ok(catalog.submit_job(job).await?.state != JobState::Running)
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use lakegate_catalog::{
        Claim, Column, ColumnType, Datasets as _, Hold, Job, Jobs as _, MemoryCatalog, NewDataset, NewPrincipal,
        Outcome, PrincipalKind, Principals as _,
    };

    use super::*;

    const SOON: Duration = Duration::from_secs(30);

    /// Takes the next job of upkeep.
    async fn claimed(catalog: &MemoryCatalog) -> Job {
        let (kinds, worker) = (["upkeep".to_owned()].into(), "test".to_owned());
        let claim = Claim { kinds, worker, lease: Duration::from_secs(60), per_tenant: 1 };
        let begun = Instant::now();
        loop {
            if let Some(job) = catalog.claim_job(&claim).await.expect("answer") {
                return job;
            }
            assert!(begun.elapsed() < SOON, "there is no job");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn what_is_wanted_while_a_job_runs_is_done_after_it() {
        let (catalog, wanted) = (Arc::new(MemoryCatalog::new()), Arc::<Wanted>::default());
        let ann = NewPrincipal { name: "ann".to_owned(), kind: PrincipalKind::User, external: None };
        let ann = catalog.create_principal(ann).await.expect("created");
        let name = "lab.t".parse().expect("a name");
        let new = NewDataset::root(name, vec![Column::new("n", ColumnType::BigInt)]);
        catalog.ensure_namespace(new.name.namespace()).await.expect("made");
        let id = catalog.create_dataset(new, ann.id).await.expect("created").id;
        let submitting = tokio::spawn(submit(Arc::clone(&catalog) as Arc<dyn Catalog>, Arc::clone(&wanted)));
        wanted.add(id);
        let first = claimed(&catalog).await;
        wanted.add(id);
        // Once it has been seen that the job runs somebody else holds the wish, to add it again.
        let begun = Instant::now();
        while Arc::strong_count(&wanted) < 3 {
            assert!(begun.elapsed() < SOON, "what is wanted is forgotten");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let hold = Hold { job: first.id, fence: first.fence };
        catalog.end_job(hold, Outcome::Done(json!(null)), &[]).await.expect("ended");
        assert_ne!(claimed(&catalog).await.id, first.id);
        submitting.abort();
    }
}
