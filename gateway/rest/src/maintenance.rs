//! `/v1/datasets/{ns}/{name}/compact` and `…/vacuum`: by hand what upkeep does by itself.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use lakegate_catalog::{Dataset, ErrorKind, Job, JobState, NewJob, Role, Subject};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};
use utoipa::ToSchema;

use crate::app::App;
use crate::caller::Identified;
use crate::datasets::DatasetPath;
use crate::extract::Path;
use crate::jobs::{JobDocument, accepted};
use crate::problem::{Problem, Result};

/// How long the answer waits for the work.
const WAIT: Duration = Duration::from_secs(10);
/// How often the job is looked at while no event tells of its end.
const LOOK: Duration = Duration::from_secs(1);
/// How often the work is begun at most: another writer may be first, storage may fail.
const ATTEMPTS: u32 = 4;

/// What a compaction did.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct CompactAnswer {
    /// The version that has the rows in fewer files.
    version: u64,
    /// Files that were rewritten; 0 when there was nothing to do.
    files_removed: usize,
    /// Files that took their place.
    files_added: usize,
}

/// What a vacuum did.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct VacuumAnswer {
    /// Files that were removed.
    files_removed: u64,
    /// Their bytes.
    bytes_removed: u64,
}

/// Rewrites the dataset's small files into few.
///
/// The same rows, sorted by event time or primary key where the dataset has them, as one or more versions. Pushes and queries
/// go on meanwhile. It happens by itself; ask for it after many small pushes, before many queries. It is a job: when it takes
/// longer than some seconds, the answer is the job, and it goes on.
#[utoipa::path(post, path = "/v1/datasets/{ns}/{name}/compact", security(("token" = [])), tag = "datasets", params(DatasetPath), responses(
    (status = 200, description = "Done", body = CompactAnswer),
    (status = 202, description = "It goes on", body = JobDocument, headers(("Location" = String, description = "The job"))),
))]
pub(crate) async fn compact(
    State(app): State<Arc<App>>,
    caller: Identified,
    Path(path): Path<DatasetPath>,
) -> Result<Response> {
    answer::<CompactAnswer>(&app, submit(&app, &caller, &path, "compact").await?).await
}

/// Removes files that neither the newest version nor one of the retention time needs.
///
/// How long files of older versions stay is the setting `storage.retention`. It happens by itself, about once an hour for a
/// dataset that is written to. It is a job, like a compaction.
#[utoipa::path(post, path = "/v1/datasets/{ns}/{name}/vacuum", security(("token" = [])), tag = "datasets", params(DatasetPath), responses(
    (status = 200, description = "Done", body = VacuumAnswer),
    (status = 202, description = "It goes on", body = JobDocument, headers(("Location" = String, description = "The job"))),
))]
pub(crate) async fn vacuum(
    State(app): State<Arc<App>>,
    caller: Identified,
    Path(path): Path<DatasetPath>,
) -> Result<Response> {
    answer::<VacuumAnswer>(&app, submit(&app, &caller, &path, "vacuum").await?).await
}

/// The dataset, if the caller may keep it up.
async fn kept_up(app: &App, caller: &Identified, path: &DatasetPath) -> Result<Dataset> {
    let access = path.access(app, caller).await?;
    access
        .require(&caller.caller, Role::Maintainer)
        .map_err(|lack| Problem::denied(format!("keeping a dataset up needs {lack}")))?;
    Ok(Arc::unwrap_or_clone(access.dataset))
}

/// Submits the work as a job; one that waits or runs already is the same.
async fn submit(app: &App, caller: &Identified, path: &DatasetPath, kind: &str) -> Result<Job> {
    let dataset = kept_up(app, caller, path).await?;
    // Damage is told at once.
    let table = app.table(&dataset).await?;
    table.snapshot_and_log().await.map_err(|error| Problem::with_dataset(&dataset.name, error))?;
    let job = NewJob {
        key: Some(format!("{kind}:{}", dataset.id)),
        by: caller.caller.principal().map(|principal| principal.id),
        dataset: Some(Subject { dataset_id: dataset.id, dataset: dataset.name.clone() }),
        max_attempts: ATTEMPTS,
        ..NewJob::new(kind, &format!("upkeep of {}", dataset.name.namespace()))
    };
    Ok(app.catalog.submit_job(job).await?)
}

/// What came of the job when it ends soon, or else the job.
async fn answer<T: DeserializeOwned + Serialize>(app: &App, job: Job) -> Result<Response> {
    let job = ended(app, job).await?;
    match job.state {
        JobState::Done => {
            let result = serde_json::from_value::<T>(job.result.unwrap_or_default());
            Ok(Json(result.map_err(Problem::defect)?).into_response())
        }
        JobState::Failed | JobState::Cancelled => {
            let why = job.error.map_or_else(|| "it was cancelled".to_owned(), |error| error.detail);
            let detail = format!("{why} (job {})", job.id);
            Err(Problem::new(ErrorKind::Unavailable, "upkeep_failed", detail))
        }
        JobState::Waiting | JobState::Running => Ok(accepted(job)),
    }
}

/// The job when it has ended, or as it is after a while.
async fn ended(app: &App, mut job: Job) -> Result<Job> {
    let (end, mut news) = (Instant::now() + WAIT, app.last_event.clone());
    while !job.state.is_over() && Instant::now() < end {
        // Seen now, so that what is told during the look wakes the wait.
        news.borrow_and_update();
        let Some(found) = app.catalog.job(job.id).await? else { break };
        job = found;
        if !job.state.is_over() {
            let left = end.saturating_duration_since(Instant::now());
            let _ = timeout(left.min(LOOK), news.changed()).await;
        }
    }
    Ok(job)
}
