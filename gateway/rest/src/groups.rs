//! `/v1/groups`: named sets of principals that are granted roles together. For owners of the instance.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use lakegate_catalog::{ErrorKind, Group};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::caller::Identified;
use crate::datasets::page;
use crate::extract::{Json, Path, Query};
use crate::principals::{ListPrincipals, PrincipalDocument, PrincipalList, find as find_principal};
use crate::problem::{Problem, Result};
use crate::{refusals, words};

/// A group.
#[derive(Serialize, ToSchema)]
pub(crate) struct GroupDocument {
    id: String,
    #[schema(value_type = words::PrincipalName)]
    name: String,
    created_at: DateTime<Utc>,
}

impl From<Group> for GroupDocument {
    fn from(group: Group) -> Self {
        Self { id: group.id.to_string(), name: group.name, created_at: group.created_at }
    }
}

/// A group to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "field.crew"}))]
pub(crate) struct CreateGroup {
    #[schema(value_type = words::PrincipalName)]
    name: String,
}

/// One page of groups.
#[derive(Serialize, ToSchema)]
pub(crate) struct GroupList {
    items: Vec<GroupDocument>,
    /// The cursor of the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// The name in a path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct GroupPath {
    /// The group's name.
    #[param(inline, value_type = words::PrincipalName)]
    name: String,
}

/// The names in a path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct MemberPath {
    /// The group's name.
    #[param(inline, value_type = words::PrincipalName)]
    name: String,
    /// The principal's name.
    #[param(inline, value_type = words::PrincipalName)]
    principal: String,
}

/// All groups, by name.
#[utoipa::path(get, path = "/v1/groups", security(("token" = [])), tag = "access", params(ListPrincipals), responses(
    (status = 200, description = "A page of groups", body = GroupList),
))]
pub(crate) async fn list_groups(
    State(app): State<Arc<App>>,
    caller: Identified,
    Query(list): Query<ListPrincipals>,
) -> Result<axum::Json<GroupList>> {
    caller.instance_owner(&app).await?;
    let found = app.catalog.list_groups(&page(list.limit, list.cursor)?).await?;
    Ok(axum::Json(GroupList { items: found.items.into_iter().map(GroupDocument::from).collect(), next: found.next }))
}

/// Creates a group; it has neither members nor rights yet.
#[utoipa::path(post, path = "/v1/groups", security(("token" = [])), tag = "access", request_body = CreateGroup, responses(
    (status = 201, description = "Created", body = GroupDocument, headers(("Location" = String, description = "The group's path"))),
    refusals::Conflict,
))]
pub(crate) async fn create_group(
    State(app): State<Arc<App>>,
    caller: Identified,
    Json(request): Json<CreateGroup>,
) -> Result<impl IntoResponse> {
    caller.instance_owner(&app).await?;
    let group = app.catalog.create_group(&request.name).await?;
    caller.visit.say(&group.name);
    let location = format!("/v1/groups/{}", group.name);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], axum::Json(GroupDocument::from(group))))
}

/// Deletes a group with its grants; its members stay.
#[utoipa::path(delete, path = "/v1/groups/{name}", security(("token" = [])), tag = "access", params(GroupPath), responses(
    (status = 204, description = "Deleted"),
))]
pub(crate) async fn delete_group(
    State(app): State<Arc<App>>,
    caller: Identified,
    Path(path): Path<GroupPath>,
) -> Result<StatusCode> {
    caller.instance_owner(&app).await?;
    app.catalog.delete_group(find(&app, &path.name).await?.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who is in a group, by name.
#[utoipa::path(get, path = "/v1/groups/{name}/members", security(("token" = [])), tag = "access", params(GroupPath, ListPrincipals), responses(
    (status = 200, description = "A page of principals", body = PrincipalList),
))]
pub(crate) async fn list_members(
    State(app): State<Arc<App>>,
    caller: Identified,
    Path(path): Path<GroupPath>,
    Query(list): Query<ListPrincipals>,
) -> Result<axum::Json<PrincipalList>> {
    caller.instance_owner(&app).await?;
    let group = find(&app, &path.name).await?;
    let found = app.catalog.members(group.id, &page(list.limit, list.cursor)?).await?;
    let items = found.items.into_iter().map(PrincipalDocument::from).collect();
    Ok(axum::Json(PrincipalList { items, next: found.next }))
}

/// Puts a principal into a group; nothing changes when it is there.
#[utoipa::path(put, path = "/v1/groups/{name}/members/{principal}", security(("token" = [])), tag = "access", params(MemberPath), responses(
    (status = 204, description = "It is in the group"),
))]
pub(crate) async fn add_member(
    State(app): State<Arc<App>>,
    caller: Identified,
    Path(path): Path<MemberPath>,
) -> Result<StatusCode> {
    caller.instance_owner(&app).await?;
    let (group, principal) = (find(&app, &path.name).await?, find_principal(&app, &path.principal).await?);
    app.catalog.add_member(group.id, principal.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a principal out of a group.
#[utoipa::path(delete, path = "/v1/groups/{name}/members/{principal}", security(("token" = [])), tag = "access", params(MemberPath), responses(
    (status = 204, description = "It is not in the group any more"),
))]
pub(crate) async fn remove_member(
    State(app): State<Arc<App>>,
    caller: Identified,
    Path(path): Path<MemberPath>,
) -> Result<StatusCode> {
    caller.instance_owner(&app).await?;
    let (group, principal) = (find(&app, &path.name).await?, find_principal(&app, &path.principal).await?);
    app.catalog.remove_member(group.id, principal.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The group with this name, for callers that may know of it.
pub(crate) async fn find(app: &App, name: &str) -> Result<Group> {
    let shown: String = name.chars().take(80).collect();
    let unknown = || Problem::new(ErrorKind::NotFound, "group_not_found", format!("group `{shown}` does not exist"));
    app.catalog.group_by_name(name).await?.ok_or_else(unknown)
}
