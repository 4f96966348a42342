//! `/v1/queries`: what runs, what has ended lately, and the way to stop it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use lakegate_catalog::{Caller, ErrorKind};
use lakegate_query::{QueryInfo, Viewer};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::caller::{Identified, oversees};
use crate::extract::{Path, Query};
use crate::problem::{Problem, Result};
use crate::words;

/// Queries of a page when the request does not say.
const PAGE: usize = 100;

/// A query that runs or has ended.
#[derive(Serialize, ToSchema)]
pub(crate) struct QueryDocument {
    /// As in the answer's `query_id`.
    #[schema(value_type = words::QueryId)]
    id: String,
    /// `queued`, `planning`, `running`, `done`, `failed` or `cancelled`.
    #[schema(value_type = words::QueryState)]
    state: &'static str,
    /// The beginning of its statement.
    sql: String,
    /// Who asked; null without a token.
    principal: Option<String>,
    started_at: DateTime<Utc>,
    /// How long it took, or has taken so far.
    elapsed_ms: u64,
    /// Rows that its caller has taken so far.
    rows: u64,
    /// Their bytes before they are encoded.
    bytes: u64,
    /// The version of each dataset that it reads, once that is known.
    #[schema(value_type = words::Versions)]
    versions: serde_json::Map<String, serde_json::Value>,
    /// What it failed with, also when its answer had begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<QueryFailure>,
}

/// What a query failed with.
#[derive(Serialize, ToSchema)]
pub(crate) struct QueryFailure {
    /// The stable code to program against.
    code: &'static str,
    /// What is wrong, and what to do.
    detail: String,
}

impl From<QueryInfo> for QueryDocument {
    fn from(info: QueryInfo) -> Self {
        Self {
            id: info.id,
            state: info.state.as_str(),
            sql: info.sql,
            principal: info.principal,
            started_at: info.started_at,
            elapsed_ms: u64::try_from(info.elapsed.as_millis()).unwrap_or(u64::MAX),
            rows: info.rows,
            bytes: info.bytes,
            versions: info.versions.into_iter().map(|(name, version)| (name, version.into())).collect(),
            error: info.error.map(|(code, detail)| QueryFailure { code, detail }),
        }
    }
}

/// Which part of the list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQueries {
    /// At most this many.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    #[param(inline, required = false, value_type = words::QueryId)]
    cursor: Option<String>,
}

/// One page of queries.
#[derive(Serialize, ToSchema)]
pub(crate) struct QueryList {
    items: Vec<QueryDocument>,
    /// The cursor of the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// The id in a path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct QueryPath {
    /// The query's id.
    #[param(inline, value_type = words::QueryId)]
    id: String,
}

/// The caller's queries that run, and the last few hundred that have ended, the newest first: with a token that is limited
/// those that were asked with it or with one that may do no more. An owner of the instance sees everybody's.
#[utoipa::path(get, path = "/v1/queries", tag = "query", params(ListQueries), responses(
    (status = 200, description = "A page of queries", body = QueryList),
))]
pub(crate) async fn list_queries(
    State(app): State<Arc<App>>,
    Identified { caller, .. }: Identified,
    Query(list): Query<ListQueries>,
) -> Result<axum::Json<QueryList>> {
    let limit = list.limit.unwrap_or(PAGE);
    if !(1..=1_000).contains(&limit) {
        return Err(Problem::invalid("limit must be between 1 and 1000"));
    }
    if list.cursor.as_deref().is_some_and(|cursor| !is_query_id(cursor)) {
        return Err(Problem::invalid("the cursor is not one that a list has given"));
    }
    let all = app.engine.queries(&viewer(&app, &caller).await?);
    // What came after a query that is forgotten is forgotten too.
    let start = match &list.cursor {
        None => 0,
        Some(last) => all.iter().position(|info| info.id == *last).map_or(all.len(), |at| at + 1),
    };
    let more = all.len() > start + limit;
    let items: Vec<QueryDocument> = all.into_iter().skip(start).take(limit).map(QueryDocument::from).collect();
    let next = items.last().filter(|_| more).map(|last| last.id.clone());
    Ok(axum::Json(QueryList { items, next }))
}

/// One query: how far it is, and what it failed with.
#[utoipa::path(get, path = "/v1/queries/{id}", tag = "query", params(QueryPath), responses(
    (status = 200, description = "The query", body = QueryDocument),
))]
pub(crate) async fn show_query(
    State(app): State<Arc<App>>,
    Identified { caller, .. }: Identified,
    Path(path): Path<QueryPath>,
) -> Result<axum::Json<QueryDocument>> {
    let found = app.engine.find_query(&viewer(&app, &caller).await?, &path.id);
    found.map(|info| axum::Json(info.into())).ok_or_else(not_found)
}

/// Stops a query; one that has ended stays as it is. Its caller's answer ends with `query_cancelled`.
#[utoipa::path(delete, path = "/v1/queries/{id}", tag = "query", params(QueryPath), responses(
    (status = 204, description = "It does not run any more"),
))]
pub(crate) async fn cancel_query(
    State(app): State<Arc<App>>,
    Identified { caller, .. }: Identified,
    Path(path): Path<QueryPath>,
) -> Result<StatusCode> {
    let viewer = viewer(&app, &caller).await?;
    if app.engine.cancel(&viewer, &path.id) { Ok(StatusCode::NO_CONTENT) } else { Err(not_found()) }
}

fn is_query_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn not_found() -> Problem {
    let detail = "there is no such query, it ended long ago, or it is not yours to see";
    Problem::new(ErrorKind::NotFound, "query_not_found", detail)
}

async fn viewer(app: &App, caller: &Caller) -> Result<Viewer> {
    Ok(if oversees(app, caller).await? { Viewer::All } else { Viewer::Caller(caller.clone()) })
}
