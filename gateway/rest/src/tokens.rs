//! `/v1/tokens`: API tokens, of the caller or, for owners of the instance, of anyone.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use chrono::{DateTime, TimeDelta, Utc};
use lakegate_catalog::{
    Action, ApiToken, DatasetPattern, ErrorKind, NewToken, Principal, PrincipalKind, Role, TokenRecord, TokenScope,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::caller::Identified;
use crate::extract::{Json, Path, Query, whole};
use crate::principals::find;
use crate::problem::{Problem, Result};
use crate::{refusals, words};

/// A token to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "laptop", "expires_in": 86400}))]
pub(crate) struct CreateToken {
    /// Whose; the caller's own when not given.
    #[serde(default)]
    #[schema(value_type = Option<words::PrincipalName>)]
    principal: Option<String>,
    /// What you call it.
    #[schema(min_length = 1, max_length = 100, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    name: String,
    /// After how many seconds it stops working. When not given: with the token of this request, else never. It may
    /// not be later than that.
    #[serde(default, deserialize_with = "whole")]
    #[schema(minimum = 1, maximum = 3153600000_i64)]
    expires_in: Option<u64>,
    /// What it may be used for; anything when it is left out.
    #[serde(default)]
    #[schema(value_type = Option<Vec<words::Action>>, min_items = 1)]
    actions: Option<BTreeSet<Action>>,
    /// On which datasets, `namespace.dataset` or `namespace.*`; on any, and for what concerns none, when it is left
    /// out. On others whoever sends it is nobody: what is public can be read.
    #[serde(default)]
    #[schema(value_type = Option<Vec<words::DatasetPattern>>, min_items = 1, max_items = 100)]
    datasets: Option<BTreeSet<DatasetPattern>>,
    /// From pages of which origins, for tokens that browsers hold: `https://maps.example`. From anywhere when it is left
    /// out. A page cannot forge it, a program can.
    #[serde(default)]
    #[schema(value_type = Option<Vec<words::Origin>>, min_items = 1, max_items = 100)]
    referrers: Option<BTreeSet<String>>,
}

/// What is known of a token; never the token itself.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenDocument {
    #[schema(format = Uuid)]
    id: String,
    /// Whose it is.
    principal: String,
    name: String,
    created_at: DateTime<Utc>,
    /// When it stops working; null never.
    expires_at: Option<DateTime<Utc>>,
    /// What it may be used for; anything when absent.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = Vec<words::Action>, required = false)]
    actions: BTreeSet<Action>,
    /// On which datasets; on any when absent.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = Vec<words::DatasetPattern>, required = false)]
    datasets: BTreeSet<DatasetPattern>,
    /// From pages of which origins; from anywhere when absent.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = Vec<words::Origin>, required = false)]
    referrers: BTreeSet<String>,
}

/// A new token, shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedToken {
    #[serde(flatten)]
    token_record: TokenDocument,
    /// The token. It is not stored and cannot be shown again.
    #[schema(pattern = "^lg_[0-9A-Za-z]{38}$")]
    token: String,
}

/// Whose tokens.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListTokens {
    /// Whose; the caller's own when not given.
    #[param(inline, required = false, value_type = words::PrincipalName)]
    principal: Option<String>,
}

/// All tokens of a principal.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenList {
    items: Vec<TokenDocument>,
}

/// The id in a path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct TokenPath {
    /// The token's id, not the token.
    #[param(format = Uuid)]
    id: String,
}

fn document(principal: &Principal, record: TokenRecord) -> TokenDocument {
    TokenDocument {
        id: record.id.to_string(),
        principal: principal.name.clone(),
        name: record.name,
        created_at: record.created_at,
        expires_at: record.expires_at,
        actions: record.scope.actions,
        datasets: record.scope.datasets,
        referrers: record.scope.referrers,
    }
}

/// Whose tokens a request is about: one's own, or anyone's for an owner of the instance.
async fn subject(app: &App, caller: &Identified, named: Option<&str>) -> Result<Principal> {
    let own = caller.manager()?;
    match named {
        None => Ok(own.clone()),
        Some(name) if name == own.name => Ok(own.clone()),
        Some(name) => {
            caller.instance_owner(app).await?;
            find(app, name).await
        }
    }
}

/// Whether the caller's own credential reaches as far as a token. With one that is limited nobody sees, or ends, what reaches
/// further; what it may be used for there does not matter, as managing tokens is what it is used for here.
fn within(caller: &Identified, token: &TokenRecord) -> bool {
    let reach = |scope: &TokenScope| TokenScope { actions: BTreeSet::new(), ..scope.clone() };
    caller.caller.identity().is_some_and(|identity| reach(&identity.scope).includes(&token.scope))
}

/// The tokens of a principal, oldest first. With a token that is limited, those that reach no further.
#[utoipa::path(get, path = "/v1/tokens", security(("token" = [])), tag = "access", params(ListTokens), responses(
    (status = 200, description = "The tokens", body = TokenList),
    refusals::NotFound,
))]
pub(crate) async fn list_tokens(
    State(app): State<Arc<App>>,
    caller: Identified,
    Query(list): Query<ListTokens>,
) -> Result<axum::Json<TokenList>> {
    let principal = subject(&app, &caller, list.principal.as_deref()).await?;
    let tokens = app.catalog.list_tokens(principal.id).await?;
    let seen = tokens.into_iter().filter(|token| within(&caller, token));
    Ok(axum::Json(TokenList { items: seen.map(|token| document(&principal, token)).collect() }))
}

/// Creates a token; the answer is the only time it is shown.
#[utoipa::path(post, path = "/v1/tokens", security(("token" = [])), tag = "access", request_body = CreateToken, responses(
    (status = 201, description = "Created", body = CreatedToken),
    refusals::NotFound,
))]
pub(crate) async fn create_token(
    State(app): State<Arc<App>>,
    caller: Identified,
    Json(request): Json<CreateToken>,
) -> Result<impl IntoResponse> {
    if request.name.is_empty() || request.name.chars().count() > 100 {
        return Err(Problem::invalid("a token's name has 1 to 100 characters"));
    }
    let principal = subject(&app, &caller, request.principal.as_deref()).await?;
    if principal.kind == PrincipalKind::Gateway {
        return Err(Problem::denied("a gateway's token is made by `lakegate catalog`"));
    }
    let expires_at = caller.expiry(request.expires_in.map(expiry).transpose()?)?;
    let token = ApiToken::generate();
    let scope = TokenScope {
        actions: limit("actions", request.actions)?,
        datasets: limit("datasets", request.datasets)?,
        referrers: limit("referrers", request.referrers)?,
    };
    if caller.caller.identity().is_some_and(|identity| !identity.scope.includes(&scope)) {
        return Err(Problem::denied(
            "the new token would be for more than yours: give it the limits of yours, or narrower ones",
        ));
    }
    let new = NewToken { principal: principal.id, name: request.name, hash: token.hash(), expires_at, scope };
    let record = app.catalog.create_token(new).await?;
    caller.visit.say(format_args!("{} of {}", record.id, principal.name));
    let created = CreatedToken { token_record: document(&principal, record), token: token.reveal().to_owned() };
    Ok((StatusCode::CREATED, axum::Json(created)))
}

/// A list that limits. One that is there and empty would limit nothing, which nobody means who writes it.
fn limit<T>(field: &str, list: Option<BTreeSet<T>>) -> Result<BTreeSet<T>> {
    match list {
        Some(list) if list.is_empty() => Err(Problem::invalid(format!(
            "{field} is empty: name what the token is for, or leave the field out for no limit"
        ))),
        list => Ok(list.unwrap_or_default()),
    }
}

fn expiry(seconds: u64) -> Result<DateTime<Utc>> {
    const CENTURY: u64 = 100 * 365 * 86_400;
    let valid = (1..=CENTURY).contains(&seconds).then(|| i64::try_from(seconds).ok()).flatten();
    let at = valid.and_then(TimeDelta::try_seconds).and_then(|d| Utc::now().checked_add_signed(d));
    at.ok_or_else(|| Problem::invalid(format!("expires_in must be 1 to {CENTURY} seconds")))
}

/// Makes a token stop working at once. With a token that is limited, one that reaches no further.
#[utoipa::path(delete, path = "/v1/tokens/{id}", security(("token" = [])), tag = "access", params(TokenPath), responses(
    (status = 204, description = "Revoked"),
))]
pub(crate) async fn revoke_token(
    State(app): State<Arc<App>>,
    caller: Identified,
    Path(path): Path<TokenPath>,
) -> Result<StatusCode> {
    let unknown = || Problem::new(ErrorKind::NotFound, "token_not_found", "no such token, or it is not yours");
    let own = caller.manager()?;
    let id = path.id.parse().map_err(|_| unknown())?;
    let record = app.catalog.token(id).await?.ok_or_else(unknown)?;
    let owner = app.catalog.role_on_instance(&caller.caller).await? == Some(Role::Owner);
    if record.principal != own.id && !owner || !within(&caller, &record) {
        return Err(unknown());
    }
    app.catalog.revoke_token(id).await?;
    Ok(StatusCode::NO_CONTENT)
}
