//! `GET /v1/datasets/{ns}/{name}/versions`: what each version of a dataset did.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use lakegate_lake::VersionInfo;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::caller::Identified;
use crate::datasets::{DatasetPath, page};
use crate::extract::{Path, Query};
use crate::problem::{Problem, Result};

/// Which part of the list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListVersions {
    /// At most this many; each costs a request to storage.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    #[param(pattern = "^[0-9]{1,19}$")]
    cursor: Option<String>,
}

/// A version of a dataset.
#[derive(Serialize, ToSchema)]
pub(crate) struct VersionDocument {
    version: u64,
    /// When it was committed.
    timestamp: DateTime<Utc>,
    /// Delta's word for what was done, such as `WRITE` or `ADD COLUMN`.
    #[schema(example = "WRITE")]
    operation: String,
    /// Rows that it added; null when the log does not say.
    rows_added: Option<u64>,
    /// Files that it added; null, as the other sizes, for those who read the dataset under a policy.
    files_added: Option<u64>,
    /// Files that it took out.
    files_removed: Option<u64>,
    /// Bytes of the files that it added.
    bytes_added: Option<u64>,
}

impl VersionDocument {
    fn without_sizes(&mut self) {
        (self.rows_added, self.files_added, self.files_removed, self.bytes_added) = (None, None, None, None);
    }
}

impl From<VersionInfo> for VersionDocument {
    fn from(info: VersionInfo) -> Self {
        Self {
            version: info.version,
            timestamp: info.timestamp,
            operation: info.operation,
            rows_added: info.rows_added,
            files_added: Some(info.files_added),
            files_removed: Some(info.files_removed),
            bytes_added: Some(info.bytes_added),
        }
    }
}

/// One page of versions.
#[derive(Serialize, ToSchema)]
pub(crate) struct VersionList {
    items: Vec<VersionDocument>,
    /// The cursor of the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// The versions of a dataset, the newest first, back to where the log has been cleaned up.
#[utoipa::path(get, path = "/v1/datasets/{ns}/{name}/versions", tag = "datasets", params(DatasetPath, ListVersions), responses(
    (status = 200, description = "A page of versions", body = VersionList),
))]
pub(crate) async fn list_versions(
    State(app): State<Arc<App>>,
    caller: Identified,
    Path(path): Path<DatasetPath>,
    Query(list): Query<ListVersions>,
) -> Result<Json<VersionList>> {
    let access = path.readable(&app, &caller).await?;
    let limit = page(list.limit, None)?.limit;
    let before = list.cursor.map(|cursor| cursor.parse::<u64>());
    let before = before.transpose().map_err(|_| Problem::invalid("the cursor is not one that a list has given"))?;
    // One more than asked for says whether there are more.
    let found = app.table(&access.dataset).await?.history(limit + 1, before).await;
    let mut found = found.map_err(|error| Problem::with_dataset(&access.dataset.name, error))?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|last| last.version.to_string());
    let mut items: Vec<_> = found.into_iter().map(VersionDocument::from).collect();
    if access.policy().is_some() {
        // How much there is, is for those who may see all of it.
        items.iter_mut().for_each(VersionDocument::without_sizes);
    }
    Ok(Json(VersionList { items, next }))
}
