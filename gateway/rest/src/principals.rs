//! `/v1/principals`: who may call. For owners of the instance.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use lakegate_catalog::{ErrorKind, NewPrincipal, Principal, PrincipalKind};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::caller::Identified;
use crate::datasets::page;
use crate::extract::{Json, Path, Query};
use crate::problem::{Problem, Result};
use crate::{refusals, words};

/// A principal.
#[derive(Serialize, ToSchema)]
pub(crate) struct PrincipalDocument {
    id: String,
    #[schema(value_type = words::PrincipalName)]
    name: String,
    /// `user` or `service`.
    #[schema(value_type = words::PrincipalKind)]
    kind: PrincipalKind,
    created_at: DateTime<Utc>,
}

impl From<Principal> for PrincipalDocument {
    fn from(principal: Principal) -> Self {
        Self {
            id: principal.id.to_string(),
            name: principal.name,
            kind: principal.kind,
            created_at: principal.created_at,
        }
    }
}

/// A principal to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "ada"}))]
pub(crate) struct CreatePrincipal {
    #[schema(value_type = words::PrincipalName)]
    name: String,
    /// `user` (the default) or `service`.
    #[serde(default = "user")]
    #[schema(value_type = words::PrincipalKind)]
    kind: PrincipalKind,
}

fn user() -> PrincipalKind {
    PrincipalKind::User
}

/// Which part of the list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListPrincipals {
    /// At most this many.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    #[param(inline, required = false, value_type = words::PrincipalName)]
    cursor: Option<String>,
}

/// One page of principals.
#[derive(Serialize, ToSchema)]
pub(crate) struct PrincipalList {
    items: Vec<PrincipalDocument>,
    /// The cursor of the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// The name in a path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct PrincipalPath {
    /// The principal's name.
    #[param(inline, value_type = words::PrincipalName)]
    name: String,
}

/// All principals, by name.
#[utoipa::path(get, path = "/v1/principals", security(("token" = [])), tag = "access", params(ListPrincipals), responses(
    (status = 200, description = "A page of principals", body = PrincipalList),
))]
pub(crate) async fn list_principals(
    State(app): State<Arc<App>>,
    caller: Identified,
    Query(list): Query<ListPrincipals>,
) -> Result<axum::Json<PrincipalList>> {
    caller.instance_owner(&app).await?;
    let found = app.catalog.list_principals(&page(list.limit, list.cursor)?).await?;
    let items = found.items.into_iter().map(PrincipalDocument::from).collect();
    Ok(axum::Json(PrincipalList { items, next: found.next }))
}

/// Creates a principal; it has no rights and no token yet.
#[utoipa::path(post, path = "/v1/principals", security(("token" = [])), tag = "access", request_body = CreatePrincipal, responses(
    (status = 201, description = "Created", body = PrincipalDocument, headers(("Location" = String, description = "The principal's path"))),
    refusals::Conflict,
))]
pub(crate) async fn create_principal(
    State(app): State<Arc<App>>,
    caller: Identified,
    Json(request): Json<CreatePrincipal>,
) -> Result<impl IntoResponse> {
    caller.instance_owner(&app).await?;
    let new = NewPrincipal { name: request.name, kind: request.kind };
    let principal = app.catalog.create_principal(new).await?;
    let location = format!("/v1/principals/{}", principal.name);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], axum::Json(PrincipalDocument::from(principal))))
}

/// Deletes a principal with its tokens and grants.
#[utoipa::path(delete, path = "/v1/principals/{name}", security(("token" = [])), tag = "access", params(PrincipalPath), responses(
    (status = 204, description = "Deleted"),
    refusals::Conflict,
))]
pub(crate) async fn delete_principal(
    State(app): State<Arc<App>>,
    caller: Identified,
    Path(path): Path<PrincipalPath>,
) -> Result<StatusCode> {
    caller.instance_owner(&app).await?;
    let principal = find(&app, &path.name).await?;
    app.catalog.delete_principal(principal.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The principal with this name, for callers that may know of it.
pub(crate) async fn find(app: &App, name: &str) -> Result<Principal> {
    let shown: String = name.chars().take(80).collect();
    let unknown =
        || Problem::new(ErrorKind::NotFound, "principal_not_found", format!("principal `{shown}` does not exist"));
    app.catalog.principal_by_name(name).await?.ok_or_else(unknown)
}
