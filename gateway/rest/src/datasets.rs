//! `/v1/datasets`: create, list, show, delete.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use lakegate_catalog::{
    Access, Caller, Column, ColumnsAt, Dataset, DatasetChange, DatasetKind, DatasetName, ErrorKind, GeometryColumn,
    MergeStrategy, Namespace, NewDataset, Page, Policy, Role, Visibility,
};
use lakegate_ingest::{allow_create, check_width};
use lakegate_lake::Snapshot;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::caller::Identified;
use crate::extract::{Json, Path, Query};
use crate::problem::{Problem, Result};
use crate::{refusals, words};

/// A dataset as the API shows it.
#[derive(Serialize, ToSchema)]
pub(crate) struct DatasetDocument {
    /// Names it for ever.
    id: String,
    /// `namespace.dataset`.
    #[schema(value_type = words::DatasetName)]
    name: String,
    /// `root` or `derivative`.
    #[schema(value_type = words::Kind)]
    kind: DatasetKind,
    /// The columns, in order.
    schema: Vec<ColumnDocument>,
    /// Columns that identify a row.
    primary_key: Vec<String>,
    /// What a push does with rows already there.
    #[schema(value_type = words::Merge)]
    merge: MergeStrategy,
    /// The column that says when a row happened.
    event_time: Option<String>,
    /// The geometry column, if there is one.
    #[schema(value_type = Option<GeometryDocument>)]
    geometry: Option<GeometryColumn>,
    /// `public` or `private`.
    #[schema(value_type = words::Visibility)]
    visibility: Visibility,
    /// Free text.
    description: String,
    /// The newest version; null when storage cannot be reached.
    version: Option<u64>,
    /// What of the dataset is lost in storage, as far as a statement or a job has met it; absent when nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// The geometry column.
#[derive(Serialize, ToSchema)]
pub(crate) struct GeometryDocument {
    column: String,
    /// Its coordinate reference system.
    #[schema(example = "EPSG:4326")]
    crs: String,
}

/// A column.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ColumnDocument {
    /// UTF-8 without control characters, not starting with `_` or `$`, unique ignoring case.
    #[schema(value_type = words::ColumnName)]
    pub(crate) name: String,
    /// boolean, smallint, int, bigint, real, double, decimal(p,s), string, binary, date, timestamp,
    /// timestamp_ntz, list<T>, struct<name: T, …>, map<K,V>.
    #[serde(rename = "type")]
    #[schema(value_type = words::ColumnType)]
    pub(crate) ty: String,
    /// Whether rows may leave it out; true when not given.
    #[serde(default = "yes")]
    pub(crate) nullable: bool,
}

fn yes() -> bool {
    true
}

/// A dataset to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "lab.readings", "schema": [
    {"name": "sensor", "type": "string", "nullable": false}, {"name": "celsius", "type": "double"}]}))]
pub(crate) struct CreateDataset {
    /// `namespace.dataset`, each `[a-z][a-z0-9_]{0,62}`.
    #[schema(value_type = words::DatasetName, example = "lab.readings")]
    name: String,
    /// The columns, 1 to 1,000.
    #[schema(min_items = 1, max_items = 1000)]
    schema: Vec<ColumnDocument>,
    /// Columns that identify a row; kept for later merge strategies.
    #[serde(default)]
    #[schema(value_type = Vec<words::ColumnName>)]
    primary_key: Vec<String>,
    /// Only `append` so far.
    #[serde(default = "append")]
    #[schema(value_type = words::Merge)]
    merge: MergeStrategy,
    /// The column that says when a row happened.
    #[serde(default)]
    #[schema(value_type = Option<words::ColumnName>)]
    event_time: Option<String>,
    /// `private` (the default) or `public`.
    #[serde(default)]
    #[schema(value_type = words::Visibility, example = "private")]
    visibility: Visibility,
    /// Free text up to 10,000 characters, without NUL.
    #[serde(default)]
    #[schema(max_length = 10000, pattern = "^[^\\u0000]*$")]
    description: String,
}

fn append() -> MergeStrategy {
    MergeStrategy::Append
}

/// Which part of the list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListDatasets {
    /// Only this namespace.
    #[param(inline, required = false, value_type = words::Name, example = "demo")]
    namespace: Option<String>,
    /// At most this many.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    #[param(inline, required = false, value_type = words::DatasetName)]
    cursor: Option<String>,
}

/// One page of datasets.
#[derive(Serialize, ToSchema)]
pub(crate) struct DatasetList {
    items: Vec<DatasetDocument>,
    /// The cursor of the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// The name in a path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct DatasetPath {
    /// The namespace.
    #[param(inline, value_type = words::Name, example = "demo")]
    ns: String,
    /// The dataset's name in it.
    #[param(inline, value_type = words::Name, example = "airports")]
    name: String,
}

impl DatasetPath {
    /// The dataset, with what the caller may do to it.
    pub(crate) async fn access(&self, app: &App, by: &Identified) -> Result<Access> {
        let name = self.dataset_name(false)?;
        let found = app.catalog.access(&by.caller, &name).await?;
        let access = found.ok_or_else(|| Problem::dataset_not_found(&name))?;
        by.visit.about(&access.dataset);
        Ok(access)
    }

    /// The dataset, if the caller may read it.
    pub(crate) async fn readable(&self, app: &App, by: &Identified) -> Result<Access> {
        let access = self.access(app, by).await?;
        let denied = |_| Problem::denied("your token is not for reading: it needs the action `read`");
        access.require(&by.caller, Role::Reader).map_err(denied)?;
        Ok(access)
    }

    /// The name. One that cannot exist does not exist; when it is to be created, the rule is told.
    pub(crate) fn dataset_name(&self, create: bool) -> Result<DatasetName> {
        if create {
            return Ok(DatasetName::new(&self.ns, &self.name)?);
        }
        let shown: String = format!("{}.{}", self.ns, self.name).chars().take(130).collect();
        DatasetName::new(&self.ns, &self.name).map_err(|_| Problem::dataset_not_found(shown))
    }
}

/// The datasets that the caller may see, by name.
#[utoipa::path(get, path = "/v1/datasets", tag = "datasets", params(ListDatasets), responses(
    (status = 200, description = "A page of datasets", body = DatasetList),
))]
pub(crate) async fn list_datasets(
    State(app): State<Arc<App>>,
    Identified { caller, .. }: Identified,
    Query(list): Query<ListDatasets>,
) -> Result<axum::Json<DatasetList>> {
    let namespace = list.namespace.as_deref().map(Namespace::new).transpose()?;
    let page = page(list.limit, list.cursor)?;
    let found = app.catalog.list_datasets(&caller, namespace.as_ref(), &page).await?;
    // A few at a time: each may have to open its table.
    let items =
        stream::iter(found.items).map(|dataset| listed(&app, &caller, dataset)).buffered(8).try_collect().await?;
    Ok(axum::Json(DatasetList { items, next: found.next }))
}

pub(crate) fn page(limit: Option<usize>, cursor: Option<String>) -> Result<Page> {
    let limit = limit.unwrap_or(100);
    if !(1..=Page::MAX).contains(&limit) {
        return Err(Problem::invalid(format!("limit must be 1 to {}", Page::MAX)));
    }
    Ok(Page { limit, cursor })
}

/// Creates a dataset, and its namespace when the caller owns the instance.
#[utoipa::path(post, path = "/v1/datasets", security(("token" = [])), tag = "datasets", request_body = CreateDataset, responses(
    (status = 201, description = "Created", body = DatasetDocument, headers(("Location" = String, description = "The dataset's path"))),
    refusals::Conflict,
))]
pub(crate) async fn create_dataset(
    State(app): State<Arc<App>>,
    caller: Identified,
    Json(request): Json<CreateDataset>,
) -> Result<impl IntoResponse> {
    let new = request.into_new()?;
    caller.visit.note(|entry| entry.dataset = Some(new.name.clone()));
    if new.visibility != Visibility::default() {
        caller.visit.say(format_args!("visibility {}", new.visibility.as_str()));
    }
    let owner = allow_create(app.catalog.as_ref(), &caller.caller, &new.name).await?;
    let dataset = lakegate_ingest::create_dataset(app.catalog.as_ref(), &app.lake, new, owner).await?;
    caller.visit.about(&dataset);
    let location = format!("/v1/datasets/{}/{}", dataset.name.namespace(), dataset.name.dataset());
    let document = describe(&app, dataset, None).await;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], axum::Json(document)))
}

impl CreateDataset {
    fn into_new(self) -> Result<NewDataset> {
        let name: DatasetName = self.name.parse()?;
        let columns = self.schema.into_iter().map(ColumnDocument::into_column).collect::<Result<Vec<_>>>()?;
        if columns.is_empty() {
            let detail = "a dataset needs a column: list at least one in `schema`";
            return Err(Problem::new(ErrorKind::Invalid, "no_columns", detail));
        }
        check_width(&columns)?;
        for named in self.primary_key.iter().chain(&self.event_time) {
            if !columns.iter().any(|c| &c.name == named) {
                return Err(Problem::invalid(format!("`{named}` is not a column of this dataset")));
            }
        }
        Column::check_all(&columns)?;
        Ok(NewDataset {
            primary_key: self.primary_key,
            merge: self.merge,
            event_time: self.event_time,
            visibility: self.visibility,
            description: self.description,
            ..NewDataset::root(name, columns)
        })
    }
}

impl ColumnDocument {
    pub(crate) fn into_column(self) -> Result<Column> {
        let invalid = |e: &dyn std::fmt::Display| {
            let name: String = self.name.chars().take(80).collect();
            Problem::new(ErrorKind::Invalid, "invalid_type", format!("column `{name}`: {e}"))
        };
        let ty = self.ty.parse().map_err(|e| invalid(&e))?;
        Ok(Column { name: self.name, ty, nullable: self.nullable })
    }
}

impl From<&Column> for ColumnDocument {
    fn from(column: &Column) -> Self {
        Self { name: column.name.clone(), ty: column.ty.to_string(), nullable: column.nullable }
    }
}

/// One dataset.
#[utoipa::path(get, path = "/v1/datasets/{ns}/{name}", tag = "datasets", params(DatasetPath), responses(
    (status = 200, description = "The dataset", body = DatasetDocument),
))]
pub(crate) async fn show_dataset(
    State(app): State<Arc<App>>,
    caller: Identified,
    Path(path): Path<DatasetPath>,
) -> Result<axum::Json<DatasetDocument>> {
    let access = path.access(&app, &caller).await?;
    let policy = access.policy().cloned();
    Ok(axum::Json(describe(&app, Arc::unwrap_or_clone(access.dataset), policy).await))
}

/// Deletes a dataset with its rows.
#[utoipa::path(delete, path = "/v1/datasets/{ns}/{name}", security(("token" = [])), tag = "datasets", params(DatasetPath), responses(
    (status = 204, description = "Deleted"),
))]
pub(crate) async fn delete_dataset(
    State(app): State<Arc<App>>,
    caller: Identified,
    Path(path): Path<DatasetPath>,
) -> Result<StatusCode> {
    let access = path.access(&app, &caller).await?;
    let denied = |lack| Problem::denied(format!("deleting a dataset needs {lack}"));
    access.require(&caller.caller, Role::Owner).map_err(denied)?;
    app.catalog.delete_dataset(access.dataset.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn listed(app: &App, caller: &Caller, dataset: Dataset) -> Result<DatasetDocument> {
    let policy = match &dataset.policy {
        None => None,
        // What holds for this caller depends on its role.
        Some(policy) => match app.catalog.access_by_id(caller, dataset.id).await? {
            Some(access) => access.policy().cloned(),
            None => Some(policy.clone()),
        },
    };
    Ok(describe(app, dataset, policy).await)
}

/// What is told of a dataset to whoever reads it under this policy.
pub(crate) async fn describe(app: &App, mut dataset: Dataset, policy: Option<Policy>) -> DatasetDocument {
    let version = match newest(app, &dataset).await {
        // Met here, and remembered.
        Err(error) if error.code == "dataset_damaged" => None,
        Ok(snapshot) => {
            dataset = agreeing(app, dataset, &snapshot).await;
            Some(snapshot.version())
        }
        Err(error) => {
            let error = error.cause.unwrap_or(error.detail);
            tracing::warn!(dataset = %dataset.id, error, "the version of a dataset is not known");
            None
        }
    };
    if let Some(policy) = &policy {
        dataset = policy.shown(dataset);
    }
    let damage = app.lake.damage(dataset.id).await.map(|damage| damage.to_string());
    DatasetDocument {
        id: dataset.id.to_string(),
        name: dataset.name.to_string(),
        kind: dataset.kind,
        schema: dataset.schema.iter().map(ColumnDocument::from).collect(),
        primary_key: dataset.primary_key,
        merge: dataset.merge,
        event_time: dataset.event_time,
        geometry: dataset.geometry,
        visibility: dataset.visibility,
        description: dataset.description,
        version,
        damage,
        created_at: dataset.created_at,
        updated_at: dataset.updated_at,
    }
}

async fn newest(app: &App, dataset: &Dataset) -> Result<Arc<Snapshot>> {
    Ok(app.table(dataset).await?.snapshot_and_log().await?)
}

/// The dataset with the columns that its table has. New columns are committed to the table first: a crash before the
/// catalog knew them is made good here, by whoever looks next.
async fn agreeing(app: &App, dataset: Dataset, snapshot: &Snapshot) -> Dataset {
    if snapshot.columns() == dataset.schema {
        return dataset;
    }
    let known = ColumnsAt { version: snapshot.version(), columns: snapshot.columns().to_vec() };
    let columns = DatasetChange { columns: Some(known), ..DatasetChange::default() };
    match app.catalog.update_dataset(dataset.id, columns).await {
        Ok(updated) => updated,
        Err(error) => {
            tracing::warn!(dataset = %dataset.id, %error, "the catalog does not know all columns of a dataset");
            dataset
        }
    }
}
