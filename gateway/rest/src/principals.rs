//! `/v1/principals`: who may call. For owners of the instance.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use lakegate_catalog::{
    ErrorKind, ExternalId, JobFilter, JobState, NewPrincipal, Page, PasswordHash, Principal, PrincipalId, PrincipalKind,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::caller::Identified;
use crate::datasets::page;
use crate::edge::Client;
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
    /// Who it is to an issuer of tokens: `iss` and `sub` of a JWT.
    #[serde(default)]
    #[schema(value_type = Option<ExternalIdDocument>)]
    external: Option<ExternalId>,
}

/// Who a principal is to an issuer of tokens.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only the API document reads it")]
pub(crate) struct ExternalIdDocument {
    /// `iss` of its tokens.
    #[schema(
        min_length = 1,
        max_length = 256,
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$",
        example = "https://id.example"
    )]
    issuer: String,
    /// `sub` of its tokens.
    #[schema(min_length = 1, max_length = 256, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    subject: String,
}

/// A new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetPassword {
    /// 8 to 256 characters.
    #[schema(min_length = 8, max_length = 256, format = Password)]
    password: String,
    /// The present one; owners of the instance do without it.
    #[serde(default)]
    #[schema(format = Password)]
    current: Option<String>,
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
    pub(crate) limit: Option<usize>,
    /// `next` of the page before.
    #[param(inline, required = false, value_type = words::PrincipalName)]
    pub(crate) cursor: Option<String>,
}

/// One page of principals.
#[derive(Serialize, ToSchema)]
pub(crate) struct PrincipalList {
    pub(crate) items: Vec<PrincipalDocument>,
    /// The cursor of the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
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
    if request.kind == PrincipalKind::Gateway {
        return Err(Problem::invalid("kind must be user or service; a gateway's token is made by `lakegate catalog`"));
    }
    if request.external.is_some() {
        caller.unlimited("saying by which token of an issuer somebody is known")?;
    }
    let new = NewPrincipal { name: request.name, kind: request.kind, external: request.external };
    let principal = app.catalog.create_principal(new).await?;
    caller.visit.say(&principal.name);
    let location = format!("/v1/principals/{}", principal.name);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], axum::Json(PrincipalDocument::from(principal))))
}

/// Deletes a principal with its tokens and grants; its jobs are cancelled.
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
    cancel_jobs(&app, principal.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Asks for the end of what a principal has left to be done. After it is gone: nothing is added any more.
async fn cancel_jobs(app: &App, by: PrincipalId) -> Result<()> {
    for state in [JobState::Waiting, JobState::Running] {
        let filter = JobFilter { by: Some(by), state: Some(state), ..JobFilter::default() };
        let mut page = Page { limit: 100, cursor: None };
        loop {
            let found = app.catalog.list_jobs(&filter, &page).await?;
            for job in found.items.iter().filter(|job| job.kind == "query") {
                // It may have been forgotten since.
                app.catalog.cancel_job(job.id).await.or_else(|error| match error.kind() {
                    ErrorKind::NotFound => Ok(job.clone()),
                    _ => Err(error),
                })?;
            }
            match found.next {
                None => break,
                next => page.cursor = next,
            }
        }
    }
    Ok(())
}

/// Sets a principal's password, for `/v1/login` and the handshake of Flight SQL. For itself, with the password that it
/// has, and for owners of the instance.
#[utoipa::path(put, path = "/v1/principals/{name}/password", security(("token" = [])), tag = "access", params(PrincipalPath), request_body = SetPassword, responses(
    (status = 204, description = "Set"),
    refusals::TooMany,
))]
pub(crate) async fn set_password(
    State(app): State<Arc<App>>,
    caller: Identified,
    Path(path): Path<PrincipalPath>,
    Client(from): Client,
    Json(request): Json<SetPassword>,
) -> Result<StatusCode> {
    caller.unlimited("setting a password")?;
    let principal = match request.current {
        Some(current) if caller.manager()?.name == path.name => {
            let own = caller.principal()?.clone();
            app.door.compare(&own.name, &current, from).await?;
            own
        }
        _ => {
            caller.instance_owner(&app).await?;
            find(&app, &path.name).await?
        }
    };
    app.catalog.set_password(principal.id, Some(PasswordHash::of(&request.password).await?)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a principal's password away; its tokens stay.
#[utoipa::path(delete, path = "/v1/principals/{name}/password", security(("token" = [])), tag = "access", params(PrincipalPath), responses(
    (status = 204, description = "It has none"),
))]
pub(crate) async fn remove_password(
    State(app): State<Arc<App>>,
    caller: Identified,
    Path(path): Path<PrincipalPath>,
) -> Result<StatusCode> {
    caller.instance_owner(&app).await?;
    app.catalog.set_password(find(&app, &path.name).await?.id, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The principal with this name, for callers that may know of it.
pub(crate) async fn find(app: &App, name: &str) -> Result<Principal> {
    let shown: String = name.chars().take(80).collect();
    let unknown =
        || Problem::new(ErrorKind::NotFound, "principal_not_found", format!("principal `{shown}` does not exist"));
    app.catalog.principal_by_name(name).await?.ok_or_else(unknown)
}
