//! `/v1/grants`: who has which role on what. For owners of what is granted.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use lakegate_catalog::{Access, DatasetName, Grant, Namespace, Role, Scope};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::caller::Identified;
use crate::extract::{Json, Query};
use crate::principals::find;
use crate::problem::{Problem, Result};
use crate::{refusals, words};

/// A role of a principal on a namespace, a dataset, or, with neither, the instance.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"principal": "ada", "role": "reader", "dataset": "demo.airports"}))]
pub(crate) struct GrantDocument {
    /// Who.
    #[schema(value_type = words::PrincipalName)]
    principal: String,
    /// `reader`, `writer`, `maintainer` or `owner`.
    #[schema(value_type = words::Role)]
    role: Role,
    /// On every dataset of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::Name>)]
    namespace: Option<String>,
    /// On this dataset, `namespace.dataset`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::DatasetName>)]
    dataset: Option<String>,
}

/// Which grants: those of a principal, or those on exactly one scope.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantQuery {
    /// Of this principal.
    #[param(inline, required = false, value_type = words::PrincipalName)]
    principal: Option<String>,
    /// On this namespace.
    #[param(inline, required = false, value_type = words::Name)]
    namespace: Option<String>,
    /// On this dataset, `namespace.dataset`.
    #[param(inline, required = false, value_type = words::DatasetName)]
    dataset: Option<String>,
}

/// Which grant: of whom, and on what; with neither namespace nor dataset, on the instance.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevokeQuery {
    /// Of this principal.
    #[param(inline, value_type = words::PrincipalName)]
    principal: String,
    /// On this namespace.
    #[param(inline, required = false, value_type = words::Name)]
    namespace: Option<String>,
    /// On this dataset, `namespace.dataset`.
    #[param(inline, required = false, value_type = words::DatasetName)]
    dataset: Option<String>,
}

/// Grants.
#[derive(Serialize, ToSchema)]
pub(crate) struct GrantList {
    items: Vec<GrantDocument>,
}

/// The scope that a request names, and whether the caller owns it.
async fn owned_scope(app: &App, caller: &Identified, namespace: Option<&str>, dataset: Option<&str>) -> Result<Scope> {
    let principal = caller.principal()?;
    let (scope, role) = match (namespace, dataset) {
        (Some(_), Some(_)) => return Err(Problem::invalid("name a namespace or a dataset, not both")),
        (Some(namespace), None) => {
            let namespace = Namespace::new(namespace)?;
            let role = app.catalog.role_on_namespace(principal.id, &namespace).await?;
            (Scope::Namespace(namespace), role)
        }
        (None, Some(dataset)) => {
            let name: DatasetName = dataset.parse()?;
            let access = Access::find(app.catalog.as_ref(), &caller.caller, &name).await?;
            let access = access.ok_or_else(|| Problem::dataset_not_found(&name))?;
            (Scope::Dataset(access.dataset.id), Some(access.role))
        }
        (None, None) => (Scope::Instance, app.catalog.role_on_instance(principal.id).await?),
    };
    if role < Some(Role::Owner) {
        return Err(Problem::denied("grants are for owners of what is granted"));
    }
    Ok(scope)
}

/// Grants of a principal, or on a namespace, a dataset or the instance.
#[utoipa::path(get, path = "/v1/grants", security(("token" = [])), tag = "access", params(GrantQuery), responses(
    (status = 200, description = "The grants", body = GrantList),
    refusals::NotFound,
))]
pub(crate) async fn list_grants(
    State(app): State<Arc<App>>,
    caller: Identified,
    Query(query): Query<GrantQuery>,
) -> Result<axum::Json<GrantList>> {
    let grants = match &query.principal {
        Some(name) => {
            if query.namespace.is_some() || query.dataset.is_some() {
                return Err(Problem::invalid("name a principal or a scope, not both"));
            }
            if caller.principal()?.name != *name {
                caller.instance_owner(&app).await?;
            }
            app.catalog.grants_of(find(&app, name).await?.id).await?
        }
        None => {
            let scope = owned_scope(&app, &caller, query.namespace.as_deref(), query.dataset.as_deref()).await?;
            app.catalog.grants_on(&scope).await?
        }
    };
    let mut items = Vec::new();
    for grant in grants {
        items.extend(document(&app, grant).await?);
    }
    Ok(axum::Json(GrantList { items }))
}

/// A grant in names; `None` when principal or dataset has just been deleted.
async fn document(app: &App, grant: Grant) -> Result<Option<GrantDocument>> {
    let Some(principal) = app.catalog.principal(grant.principal).await? else {
        return Ok(None);
    };
    let (namespace, dataset) = match grant.scope {
        Scope::Instance => (None, None),
        Scope::Namespace(namespace) => (Some(namespace.to_string()), None),
        Scope::Dataset(id) => match app.catalog.dataset_by_id(id).await? {
            Some(dataset) => (None, Some(dataset.name.to_string())),
            None => return Ok(None),
        },
    };
    Ok(Some(GrantDocument { principal: principal.name, role: grant.role, namespace, dataset }))
}

/// Gives a role, in place of the one the principal had on that scope.
#[utoipa::path(put, path = "/v1/grants", security(("token" = [])), tag = "access", request_body = GrantDocument, responses(
    (status = 200, description = "Granted", body = GrantDocument),
    refusals::NotFound, refusals::Conflict,
))]
pub(crate) async fn put_grant(
    State(app): State<Arc<App>>,
    caller: Identified,
    Json(request): Json<GrantDocument>,
) -> Result<axum::Json<GrantDocument>> {
    let scope = owned_scope(&app, &caller, request.namespace.as_deref(), request.dataset.as_deref()).await?;
    let principal = find(&app, &request.principal).await?.id;
    app.catalog.grant(Grant { principal, scope, role: request.role }).await?;
    Ok(axum::Json(request))
}

/// Takes a principal's role on exactly this scope away; with neither namespace nor dataset, on the instance.
#[utoipa::path(delete, path = "/v1/grants", security(("token" = [])), tag = "access", params(RevokeQuery), responses(
    (status = 204, description = "Revoked"),
    refusals::NotFound, refusals::Conflict,
))]
pub(crate) async fn delete_grant(
    State(app): State<Arc<App>>,
    caller: Identified,
    Query(query): Query<RevokeQuery>,
) -> Result<StatusCode> {
    let scope = owned_scope(&app, &caller, query.namespace.as_deref(), query.dataset.as_deref()).await?;
    let principal = find(&app, &query.principal).await?.id;
    app.catalog.revoke(principal, &scope).await?;
    Ok(StatusCode::NO_CONTENT)
}
