//! `/v1/namespaces`: owners of datasets and units of tenancy.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use lakegate_catalog::{CatalogError, ErrorKind, Namespace, NamespaceRecord, Role};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::caller::Identified;
use crate::datasets::page;
use crate::extract::{Json, Path, Query};
use crate::problem::{Problem, Result};
use crate::{refusals, words};

/// A namespace.
#[derive(Serialize, ToSchema)]
pub(crate) struct NamespaceDocument {
    #[schema(value_type = words::Name)]
    name: String,
    created_at: DateTime<Utc>,
}

impl From<NamespaceRecord> for NamespaceDocument {
    fn from(record: NamespaceRecord) -> Self {
        Self { name: record.name.to_string(), created_at: record.created_at }
    }
}

/// A namespace to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "geo"}))]
pub(crate) struct CreateNamespace {
    #[schema(value_type = words::Name)]
    name: String,
}

/// A namespace that was created.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedNamespace {
    #[schema(value_type = words::Name)]
    name: String,
}

/// Which part of the list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListNamespaces {
    /// At most this many.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    #[param(inline, required = false, value_type = words::Name)]
    cursor: Option<String>,
}

/// One page of namespaces.
#[derive(Serialize, ToSchema)]
pub(crate) struct NamespaceList {
    items: Vec<NamespaceDocument>,
    /// The cursor of the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// The name in a path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct NamespacePath {
    /// The namespace.
    #[param(inline, value_type = words::Name)]
    name: String,
}

/// The namespaces on which the caller has a role, and those of datasets that it may see, by name.
#[utoipa::path(get, path = "/v1/namespaces", tag = "datasets", params(ListNamespaces), responses(
    (status = 200, description = "A page of namespaces", body = NamespaceList),
))]
pub(crate) async fn list_namespaces(
    State(app): State<Arc<App>>,
    Identified { caller, .. }: Identified,
    Query(list): Query<ListNamespaces>,
) -> Result<axum::Json<NamespaceList>> {
    let found = app.catalog.list_namespaces(&caller, &page(list.limit, list.cursor)?).await?;
    let items = found.items.into_iter().map(NamespaceDocument::from).collect();
    Ok(axum::Json(NamespaceList { items, next: found.next }))
}

/// Creates a namespace. For owners of the instance, who then grant roles on it.
#[utoipa::path(post, path = "/v1/namespaces", security(("token" = [])), tag = "datasets", request_body = CreateNamespace, responses(
    (status = 201, description = "Created", body = CreatedNamespace, headers(("Location" = String, description = "The namespace's path"))),
    refusals::Conflict,
))]
pub(crate) async fn create_namespace(
    State(app): State<Arc<App>>,
    caller: Identified,
    Json(request): Json<CreateNamespace>,
) -> Result<impl IntoResponse> {
    caller.instance_owner(&app).await?;
    let name = Namespace::new(&request.name)?;
    caller.visit.say(&name);
    if !app.catalog.ensure_namespace(&name).await? {
        return Err(CatalogError::AlreadyExists { what: "namespace".into(), name: request.name }.into());
    }
    let location = format!("/v1/namespaces/{name}");
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], axum::Json(CreatedNamespace { name: name.to_string() })))
}

/// Deletes a namespace that has no dataset, with the grants on it. For its owners.
#[utoipa::path(delete, path = "/v1/namespaces/{name}", security(("token" = [])), tag = "datasets", params(NamespacePath), responses(
    (status = 204, description = "Deleted"),
    refusals::Conflict,
))]
pub(crate) async fn delete_namespace(
    State(app): State<Arc<App>>,
    caller: Identified,
    Path(path): Path<NamespacePath>,
) -> Result<StatusCode> {
    caller.manager()?;
    let shown: String = path.name.chars().take(80).collect();
    let unknown = || {
        let detail = format!("namespace `{shown}` does not exist, or you may not see it");
        Problem::new(ErrorKind::NotFound, "namespace_not_found", detail)
    };
    let name = Namespace::new(&path.name).map_err(|_| unknown())?;
    match app.catalog.role_on_namespace(&caller.caller, &name).await? {
        Some(Role::Owner) => {}
        Some(_) => return Err(Problem::denied("deleting a namespace needs the role owner on it")),
        None => return Err(unknown()),
    }
    match app.catalog.delete_namespace(&name).await {
        Err(CatalogError::NotFound { .. }) => Err(unknown()),
        done => Ok(done.map(|()| StatusCode::NO_CONTENT)?),
    }
}
