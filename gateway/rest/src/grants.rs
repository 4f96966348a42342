//! `/v1/grants`: who has which role on what. For owners of what is granted.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use lakegate_catalog::{
    Caller, Dataset, DatasetChange, DatasetName, Grant, Grantee, Namespace, Role, Scope, Visibility,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::caller::Identified;
use crate::extract::{Json, Query};
use crate::groups::find as find_group;
use crate::principals::find;
use crate::problem::{Problem, Result};
use crate::{refusals, words};

/// A role of a principal, a group or everyone on a namespace, a dataset, or, with neither, the instance.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"principal": "ada", "role": "reader", "dataset": "demo.airports"}))]
pub(crate) struct GrantDocument {
    /// Who; or a group, or everyone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::PrincipalName>)]
    principal: Option<String>,
    /// Whoever is in this group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::PrincipalName>)]
    group: Option<String>,
    /// Everyone, also without a token; at most `reader`, on a namespace or a dataset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::Always>)]
    public: Option<bool>,
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

/// Which grants: those of a principal or a group, or those on exactly one scope.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantQuery {
    /// Of this principal; those of its groups are not among them.
    #[param(inline, required = false, value_type = words::PrincipalName)]
    principal: Option<String>,
    /// Of this group.
    #[param(inline, required = false, value_type = words::PrincipalName)]
    group: Option<String>,
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
    #[param(inline, required = false, value_type = words::PrincipalName)]
    principal: Option<String>,
    /// Of this group.
    #[param(inline, required = false, value_type = words::PrincipalName)]
    group: Option<String>,
    /// Of everyone.
    #[param(inline, required = false, value_type = words::Always)]
    public: Option<bool>,
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

/// What a grant is on, as its owner sees it.
enum Owned {
    Instance,
    Namespace(Namespace),
    Dataset(Arc<Dataset>),
}

impl Owned {
    fn scope(&self) -> Scope {
        match self {
            Self::Instance => Scope::Instance,
            Self::Namespace(name) => Scope::Namespace(name.clone()),
            Self::Dataset(dataset) => Scope::Dataset(dataset.id),
        }
    }
}

impl std::fmt::Display for Owned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Instance => f.write_str("the instance"),
            Self::Namespace(name) => write!(f, "namespace {name}"),
            Self::Dataset(dataset) => write!(f, "dataset {}", dataset.name),
        }
    }
}

/// Whose a grant is, in words for the audit.
fn whom(principal: Option<&str>, group: Option<&str>) -> String {
    match (principal, group) {
        (Some(name), _) => format!("principal {name}"),
        (None, Some(name)) => format!("group {name}"),
        (None, None) => "everyone".to_owned(),
    }
}

/// The scope that a request names, if the caller owns it.
async fn owned(app: &App, caller: &Identified, namespace: Option<&str>, dataset: Option<&str>) -> Result<Owned> {
    let (owned, role) = match (namespace, dataset) {
        (Some(_), Some(_)) => return Err(Problem::invalid("name a namespace or a dataset, not both")),
        (Some(namespace), None) => {
            let namespace = Namespace::new(namespace)?;
            caller.visit.say(format_args!("on namespace {namespace}"));
            let role = app.catalog.role_on_namespace(&caller.caller, &namespace).await?;
            (Owned::Namespace(namespace), role)
        }
        (None, Some(dataset)) => {
            let name: DatasetName = dataset.parse()?;
            caller.visit.note(|entry| entry.dataset = Some(name.clone()));
            let access = app.catalog.access(&caller.caller, &name).await?;
            let access = access.ok_or_else(|| Problem::dataset_not_found(&name))?;
            caller.visit.about(&access.dataset);
            (Owned::Dataset(access.dataset), Some(access.role))
        }
        (None, None) => (Owned::Instance, app.catalog.role_on_instance(&caller.caller).await?),
    };
    caller.manager()?;
    if role < Some(Role::Owner) {
        return Err(Problem::denied("grants are for owners of what is granted"));
    }
    Ok(owned)
}

/// Who is to have a grant, or has it.
async fn grantee(app: &App, principal: Option<&str>, group: Option<&str>, public: Option<bool>) -> Result<Grantee> {
    match (principal, group, public) {
        (Some(name), None, None) => Ok(Grantee::Principal(find(app, name).await?.id)),
        (None, Some(name), None) => Ok(Grantee::Group(find_group(app, name).await?.id)),
        (None, None, Some(true)) => Ok(Grantee::Public),
        _ => Err(Problem::invalid("say who: one of `principal`, `group` and `public: true`")),
    }
}

/// Grants of a principal or a group, or on a namespace, a dataset or the instance; those that your token reaches.
#[utoipa::path(get, path = "/v1/grants", security(("token" = [])), tag = "access", params(GrantQuery), responses(
    (status = 200, description = "The grants", body = GrantList),
    refusals::NotFound,
))]
pub(crate) async fn list_grants(
    State(app): State<Arc<App>>,
    caller: Identified,
    Query(query): Query<GrantQuery>,
) -> Result<axum::Json<GrantList>> {
    let on_scope = query.namespace.is_some() || query.dataset.is_some();
    let mut items = Vec::new();
    let grants = match (&query.principal, &query.group) {
        (Some(_), Some(_)) => return Err(Problem::invalid("name a principal or a group, not both")),
        (Some(_), _) | (_, Some(_)) if on_scope => {
            return Err(Problem::invalid("name a principal or a group, or a scope, not both"));
        }
        (Some(name), None) => {
            if caller.principal()?.name != *name {
                caller.instance_owner(&app).await?;
            }
            let found = find(&app, name).await?;
            caller.visit.say(format_args!("of principal {}", found.name));
            app.catalog.grants_of(Grantee::Principal(found.id)).await?
        }
        (None, Some(name)) => {
            if !caller.caller.groups().any(|own| own == name) {
                caller.instance_owner(&app).await?;
            }
            let found = find_group(&app, name).await?;
            caller.visit.say(format_args!("of group {}", found.name));
            app.catalog.grants_of(Grantee::Group(found.id)).await?
        }
        (None, None) => {
            let owned = owned(&app, &caller, query.namespace.as_deref(), query.dataset.as_deref()).await?;
            if let Owned::Dataset(dataset) = &owned
                && dataset.visibility == Visibility::Public
            {
                items.push(GrantDocument { dataset: Some(dataset.name.to_string()), ..to_everyone() });
            }
            app.catalog.grants_on(&owned.scope()).await?
        }
    };
    for grant in grants {
        items.extend(document(&app, &caller.caller, grant).await?);
    }
    Ok(axum::Json(GrantList { items }))
}

fn to_everyone() -> GrantDocument {
    GrantDocument {
        principal: None,
        group: None,
        public: Some(true),
        role: Role::Reader,
        namespace: None,
        dataset: None,
    }
}

/// A grant in names; `None` when whoever has it, or what it is on, has just been deleted, and when the caller's credential
/// does not reach what it is on.
async fn document(app: &App, caller: &Caller, grant: Grant) -> Result<Option<GrantDocument>> {
    let Some(limits) = caller.identity().map(|identity| &identity.scope) else { return Ok(None) };
    let (principal, group, public) = match grant.grantee {
        Grantee::Principal(id) => match app.catalog.principal(id).await? {
            Some(principal) => (Some(principal.name), None, None),
            None => return Ok(None),
        },
        Grantee::Group(id) => match app.catalog.group(id).await? {
            Some(group) => (None, Some(group.name), None),
            None => return Ok(None),
        },
        Grantee::Public => (None, None, Some(true)),
    };
    let (namespace, dataset) = match grant.scope {
        Scope::Instance if limits.datasets.is_empty() => (None, None),
        Scope::Namespace(namespace) if limits.covers_namespace(&namespace) => (Some(namespace.to_string()), None),
        Scope::Dataset(id) => match app.catalog.dataset_by_id(id).await? {
            Some(dataset) if limits.covers(&dataset.name) => (None, Some(dataset.name.to_string())),
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    Ok(Some(GrantDocument { principal, group, public, role: grant.role, namespace, dataset }))
}

/// Sets who may see a dataset: what everyone may do to it is its visibility.
async fn publish(app: &App, dataset: &Dataset, visibility: Visibility) -> Result<()> {
    let change = DatasetChange { visibility: Some(visibility), ..DatasetChange::default() };
    app.catalog.update_dataset(dataset.id, change).await?;
    Ok(())
}

/// Gives a role, in place of the one that was there on that scope. Everyone being reader of a dataset is the same as its
/// visibility `public`.
#[utoipa::path(put, path = "/v1/grants", security(("token" = [])), tag = "access", request_body = GrantDocument, responses(
    (status = 200, description = "Granted", body = GrantDocument),
    refusals::NotFound, refusals::Conflict,
))]
pub(crate) async fn put_grant(
    State(app): State<Arc<App>>,
    caller: Identified,
    Json(request): Json<GrantDocument>,
) -> Result<axum::Json<GrantDocument>> {
    let owned = owned(&app, &caller, request.namespace.as_deref(), request.dataset.as_deref()).await?;
    let grantee = grantee(&app, request.principal.as_deref(), request.group.as_deref(), request.public).await?;
    let whom = whom(request.principal.as_deref(), request.group.as_deref());
    caller.visit.say(format_args!("{} to {whom} on {owned}", request.role));
    match &owned {
        Owned::Dataset(dataset) if grantee == Grantee::Public && request.role == Role::Reader => {
            publish(&app, dataset, Visibility::Public).await?;
        }
        _ => app.catalog.grant(Grant { grantee, scope: owned.scope(), role: request.role }).await?,
    }
    Ok(axum::Json(request))
}

/// Takes the role on exactly this scope away; with neither namespace nor dataset, on the instance.
#[utoipa::path(delete, path = "/v1/grants", security(("token" = [])), tag = "access", params(RevokeQuery), responses(
    (status = 204, description = "Revoked"),
    refusals::NotFound, refusals::Conflict,
))]
pub(crate) async fn delete_grant(
    State(app): State<Arc<App>>,
    caller: Identified,
    Query(query): Query<RevokeQuery>,
) -> Result<StatusCode> {
    let owned = owned(&app, &caller, query.namespace.as_deref(), query.dataset.as_deref()).await?;
    let grantee = grantee(&app, query.principal.as_deref(), query.group.as_deref(), query.public).await?;
    caller.visit.say(format_args!("none to {} on {owned}", whom(query.principal.as_deref(), query.group.as_deref())));
    match &owned {
        Owned::Dataset(dataset) if grantee == Grantee::Public && dataset.visibility == Visibility::Public => {
            publish(&app, dataset, Visibility::Private).await?;
        }
        _ => app.catalog.revoke(grantee, &owned.scope()).await?,
    }
    Ok(StatusCode::NO_CONTENT)
}
