//! `PATCH /v1/datasets/{ns}/{name}`: what of a dataset can be changed, and by whom.

use std::sync::Arc;

use axum::extract::State;
use lakegate_catalog::{Access, Caller, Column, ColumnsAt, Dataset, DatasetChange, ErrorKind, Lack, Role, Visibility};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use crate::app::App;
use crate::caller::Identified;
use crate::datasets::{ColumnDocument, DatasetDocument, DatasetPath, describe};
use crate::extract::{Json, Path};
use crate::problem::{Problem, Result};
use crate::{refusals, words};

/// What to change of a dataset. What is left out stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"description": "Where they hang", "add_columns": [{"name": "room", "type": "string"}]}))]
pub(crate) struct ChangeDataset {
    /// Free text up to 10,000 characters without NUL; null empties it.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<String>, max_length = 10000, pattern = "^[^\\u0000]*$")]
    description: Option<Option<String>>,
    /// `private` or `public`. For owners.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = words::Visibility, required = false, example = "private")]
    visibility: Option<Visibility>,
    /// Columns to add at the end, all nullable; rows that are there read as null. One that is there already, with
    /// the same type, is left as it is.
    #[serde(default)]
    #[schema(value_type = Vec<NewColumn>, max_items = 1000)]
    add_columns: Vec<ColumnDocument>,
}

/// A column to add.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "what the document says of a `ColumnDocument` that is to be added")]
pub(crate) struct NewColumn {
    #[schema(value_type = words::ColumnName)]
    name: String,
    #[serde(rename = "type")]
    #[schema(value_type = words::ColumnType)]
    ty: String,
    /// Always: rows that are there have no value in it.
    #[schema(value_type = words::Always, required = false)]
    nullable: bool,
}

/// A field that was named, also where it was named as null.
fn named<'de, T: Deserialize<'de>, D: Deserializer<'de>>(field: D) -> std::result::Result<Option<T>, D::Error> {
    T::deserialize(field).map(Some)
}

/// Changes a dataset: description and new columns for maintainers, visibility for owners.
#[utoipa::path(patch, path = "/v1/datasets/{ns}/{name}", security(("token" = [])), tag = "datasets", params(DatasetPath), request_body = ChangeDataset, responses(
    (status = 200, description = "The dataset as it is now", body = DatasetDocument),
    refusals::Conflict,
))]
pub(crate) async fn change_dataset(
    State(app): State<Arc<App>>,
    caller: Identified,
    Path(path): Path<DatasetPath>,
    Json(request): Json<ChangeDataset>,
) -> Result<axum::Json<DatasetDocument>> {
    let access = path.access(&app, &caller).await?;
    request.allowed(&caller.caller, &access)?;
    caller.visit.say(request.told());
    let policy = access.policy().cloned();
    let (columns, change) = request.read(&access.dataset)?;
    // Runs to its end when the client goes away: table and catalog are to agree.
    let changing = tokio::spawn({
        let app = Arc::clone(&app);
        async move { apply(&app, Arc::unwrap_or_clone(access.dataset), columns, change).await }
    });
    let dataset = changing.await.map_err(Problem::defect)??;
    Ok(axum::Json(describe(&app, dataset, policy).await))
}

/// The table first: columns that the catalog lists can be read.
async fn apply(app: &App, dataset: Dataset, columns: Vec<Column>, mut change: DatasetChange) -> Result<Dataset> {
    if !columns.is_empty() {
        let added = app.table(&dataset).await?.add_columns(columns).await;
        let snapshot = added.map_err(|error| Problem::with_dataset(&dataset.name, error))?;
        let (version, columns) = (snapshot.version(), snapshot.columns().to_vec());
        change.columns = Some(ColumnsAt { version, columns });
    }
    if change == DatasetChange::default() {
        return Ok(dataset);
    }
    Ok(app.catalog.update_dataset(dataset.id, change).await?)
}

impl ChangeDataset {
    fn allowed(&self, caller: &Caller, access: &Access) -> Result<()> {
        let denied = |what: &str, lack: Lack| Problem::denied(format!("{what} needs {lack}"));
        access.require(caller, Role::Maintainer).map_err(|lack| denied("changing a dataset", lack))?;
        if self.visibility.is_some() {
            access.require(caller, Role::Owner).map_err(|lack| denied("changing who may see a dataset", lack))?;
        }
        // Not what is there, nor of what type: the caller reads as if there were no such column.
        let hidden = |name: &str| {
            access.dataset.schema.iter().any(|known| {
                known.name.to_lowercase() == name.to_lowercase()
                    && access.policy().is_some_and(|policy| policy.hides(&known.name))
            })
        };
        if let Some(column) = self.add_columns.iter().find(|column| hidden(&column.name)) {
            let detail = format!("`{}` cannot be added; choose another name", column.name);
            return Err(Problem::new(ErrorKind::Conflict, "column_exists", detail));
        }
        Ok(())
    }

    /// What changes, for the audit.
    fn told(&self) -> String {
        let visibility = self.visibility.map(|visibility| format!("visibility {}", visibility.as_str()));
        let description = self.description.as_ref().map(|_| "description".to_owned());
        let columns = self.add_columns.iter().map(|column| format!("column {}", column.name));
        visibility.into_iter().chain(description).chain(columns).collect::<Vec<_>>().join(", ")
    }

    /// The new columns, and what else changes.
    fn read(self, dataset: &Dataset) -> Result<(Vec<Column>, DatasetChange)> {
        let columns = self.add_columns.into_iter().map(ColumnDocument::into_column).collect::<Result<Vec<_>>>()?;
        Column::check_all(&columns)?;
        let new = columns.iter().filter(|column| !dataset.schema.iter().any(|known| known.name == column.name));
        lakegate_ingest::check_width(&dataset.schema.iter().chain(new).cloned().collect::<Vec<_>>())?;
        let description = self.description.map(Option::unwrap_or_default);
        let change = DatasetChange { description, visibility: self.visibility, ..DatasetChange::default() };
        change.check()?;
        Ok((columns, change))
    }
}
