//! `/v1/datasets/{ns}/{name}/policy`: which rows and values its readers get. For owners of the dataset.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use lakegate_catalog::{Access, Dataset, DatasetChange, Mask, Policy, Role};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::caller::Identified;
use crate::datasets::DatasetPath;
use crate::extract::{Json, Path};
use crate::problem::{Problem, Result};

/// What everyone who does not own a dataset gets of it.
///
/// The expressions are SQL over the dataset's columns, also hidden ones, with `current_principal()` (a name, or NULL) and
/// `is_member('group')` of whoever asks.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"row_filter": "owner = current_principal() OR is_member('staff')", "masks": {"email": {"expression": "'…'"}, "salary": "hidden"}}))]
pub(crate) struct PolicyDocument {
    /// A predicate: rows for which it is not true are not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 10_000)]
    row_filter: Option<String>,
    /// What is read in place of a column: `"hidden"`, or `{"expression": "…"}`, which is cast to the column's type.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, MaskDocument>)]
    masks: BTreeMap<String, Mask>,
}

/// What is read in place of a column.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "only the API document reads it")]
pub(crate) enum MaskDocument {
    /// Nothing: the column is not there.
    Hidden,
    /// The value of an expression.
    Expression(String),
}

async fn owned(app: &App, caller: &Identified, path: &DatasetPath) -> Result<Access> {
    let access = path.access(app, caller).await?;
    let denied = |lack| Problem::denied(format!("seeing or setting a policy needs {lack}"));
    access.require(&caller.caller, Role::Owner).map_err(denied)?;
    Ok(access)
}

async fn set(app: &App, dataset: &Dataset, policy: Policy) -> Result<()> {
    let change = DatasetChange { policy: Some(policy), ..DatasetChange::default() };
    app.catalog.update_dataset(dataset.id, change).await?;
    Ok(())
}

/// The policy of a dataset; an empty one where all get everything.
#[utoipa::path(get, path = "/v1/datasets/{ns}/{name}/policy", security(("token" = [])), tag = "access", params(DatasetPath), responses(
    (status = 200, description = "The policy", body = PolicyDocument),
))]
pub(crate) async fn show_policy(
    State(app): State<Arc<App>>,
    caller: Identified,
    Path(path): Path<DatasetPath>,
) -> Result<axum::Json<PolicyDocument>> {
    let access = owned(&app, &caller, &path).await?;
    let Policy { row_filter, masks } = access.dataset.policy.clone().unwrap_or_default();
    Ok(axum::Json(PolicyDocument { row_filter, masks }))
}

/// Sets the policy in place of the one that there is, for everyone who does not own the dataset, from the next request on.
#[utoipa::path(put, path = "/v1/datasets/{ns}/{name}/policy", security(("token" = [])), tag = "access", params(DatasetPath), request_body = PolicyDocument, responses(
    (status = 200, description = "The policy", body = PolicyDocument),
))]
pub(crate) async fn put_policy(
    State(app): State<Arc<App>>,
    caller: Identified,
    Path(path): Path<DatasetPath>,
    Json(request): Json<PolicyDocument>,
) -> Result<axum::Json<PolicyDocument>> {
    let access = owned(&app, &caller, &path).await?;
    let policy = Policy { row_filter: request.row_filter.clone(), masks: request.masks.clone() };
    policy.check()?;
    app.engine.check_policy(access.dataset.schema.clone(), policy.clone()).await?;
    set(&app, &access.dataset, policy).await?;
    Ok(axum::Json(request))
}

/// Takes the policy away: readers get everything.
#[utoipa::path(delete, path = "/v1/datasets/{ns}/{name}/policy", security(("token" = [])), tag = "access", params(DatasetPath), responses(
    (status = 204, description = "There is none"),
))]
pub(crate) async fn delete_policy(
    State(app): State<Arc<App>>,
    caller: Identified,
    Path(path): Path<DatasetPath>,
) -> Result<StatusCode> {
    let access = owned(&app, &caller, &path).await?;
    set(&app, &access.dataset, Policy::default()).await?;
    Ok(StatusCode::NO_CONTENT)
}
