//! `/v1/datasets/{ns}/{name}/compact` and `…/vacuum`: by hand what upkeep does by itself.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use lakegate_catalog::{Dataset, ErrorKind, Role};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::caller::Identified;
use crate::datasets::DatasetPath;
use crate::extract::Path;
use crate::problem::{Problem, Result};
use crate::refusals;

/// What a compaction did.
#[derive(Serialize, ToSchema)]
pub(crate) struct CompactAnswer {
    /// The version that has the rows in fewer files.
    version: u64,
    /// Files that were rewritten; 0 when there was nothing to do.
    files_removed: usize,
    /// Files that took their place.
    files_added: usize,
    /// Rows in them.
    rows: u64,
}

/// What a vacuum did.
#[derive(Serialize, ToSchema)]
pub(crate) struct VacuumAnswer {
    /// Files that were removed.
    files_removed: u64,
    /// Their bytes.
    bytes_removed: u64,
}

/// Rewrites the dataset's small files into few.
///
/// The same rows, sorted by event time or primary key where the dataset has them, as one or more versions. Pushes and queries
/// go on meanwhile. It happens by itself; ask for it after many small pushes, before many queries.
#[utoipa::path(post, path = "/v1/datasets/{ns}/{name}/compact", security(("token" = [])), tag = "datasets", params(DatasetPath), responses(
    (status = 200, description = "Done", body = CompactAnswer),
    refusals::Conflict, refusals::Exhausted,
))]
pub(crate) async fn compact(
    State(app): State<Arc<App>>,
    caller: Identified,
    Path(path): Path<DatasetPath>,
) -> Result<Json<CompactAnswer>> {
    let dataset = kept_up(&app, &caller, &path).await?;
    let done = in_time(&app, &dataset, app.lake.request_compaction(dataset.id)).await?;
    Ok(Json(CompactAnswer {
        version: done.version,
        files_removed: done.files_removed,
        files_added: done.files_added,
        rows: done.rows,
    }))
}

/// Removes files that neither the newest version nor one of the retention time needs.
///
/// How long files of older versions stay is the setting `storage.retention`. It happens by itself, about once an hour for a
/// dataset that is written to.
#[utoipa::path(post, path = "/v1/datasets/{ns}/{name}/vacuum", security(("token" = [])), tag = "datasets", params(DatasetPath), responses(
    (status = 200, description = "Done", body = VacuumAnswer),
    refusals::Exhausted,
))]
pub(crate) async fn vacuum(
    State(app): State<Arc<App>>,
    caller: Identified,
    Path(path): Path<DatasetPath>,
) -> Result<Json<VacuumAnswer>> {
    let dataset = kept_up(&app, &caller, &path).await?;
    let done = in_time(&app, &dataset, app.lake.request_vacuum(dataset.id)).await?;
    Ok(Json(VacuumAnswer { files_removed: done.files, bytes_removed: done.bytes }))
}

/// The dataset, if the caller may keep it up.
async fn kept_up(app: &App, caller: &Identified, path: &DatasetPath) -> Result<Dataset> {
    let access = path.access(app, &caller.caller).await?;
    access
        .require(&caller.caller, Role::Maintainer)
        .map_err(|_| Problem::denied("keeping a dataset up needs the role maintainer on it"))?;
    Ok(Arc::unwrap_or_clone(access.dataset))
}

async fn in_time<T>(app: &App, dataset: &Dataset, work: impl Future<Output = lakegate_lake::Result<T>>) -> Result<T> {
    match tokio::time::timeout(app.ingest.limits().timeout, work).await {
        Ok(done) => done.map_err(|error| Problem::with_dataset(&dataset.name, error)),
        Err(_) => Err(Problem::new(
            ErrorKind::Deadline,
            "upkeep_takes_long",
            "the work takes longer than ingest.timeout; it goes on, and the dataset's versions show when it is done",
        )),
    }
}
