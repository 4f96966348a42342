//! A job as clients see it.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use lakegate_catalog::{Job, LogLine};
use lakegate_query::{BackgroundQuery, KeptAnswer};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::words;

/// A job.
#[derive(Serialize, ToSchema)]
pub(crate) struct JobDocument {
    #[schema(format = Uuid)]
    id: String,
    /// What kind of work it is; `query` is a statement in the background.
    #[schema(value_type = words::JobKind)]
    kind: String,
    /// How far it is. One that waits may have been begun before.
    #[schema(value_type = words::JobState)]
    state: &'static str,
    /// Higher ones go first.
    priority: i16,
    /// Words to find it by.
    #[schema(value_type = words::Labels)]
    labels: BTreeMap<String, String>,
    /// Who asked for it; null when nobody did.
    #[schema(format = Uuid)]
    principal_id: Option<String>,
    /// The dataset that it is about, by its name then.
    dataset: Option<String>,
    /// What was asked for, beside what the kind and the dataset say.
    #[schema(value_type = Option<Object>)]
    params: Value,
    /// How often it was begun, of how often it may be.
    attempts: u32,
    max_attempts: u32,
    /// Whether somebody asked for its end.
    cancelled: bool,
    /// How much is done, as its worker said last.
    progress: Option<ProgressDocument>,
    /// What came of it. Of a statement: `rows`, `bytes` of the file that is kept, whether the limit cut rows off (`truncated`), the
    /// `schema`, and the `versions` that were read; the rows are at `/v1/jobs/{id}/result`.
    #[schema(value_type = Option<Object>)]
    result: Option<Value>,
    /// What it failed with, also when it is tried again.
    error: Option<JobFailure>,
    created_at: DateTime<Utc>,
    /// When it was begun first.
    started_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    /// When it is forgotten, and its result.
    expires_at: Option<DateTime<Utc>>,
}

/// How much of a job is done.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProgressDocument {
    /// So much …
    done: u64,
    /// … of so much, where that is known …
    total: Option<u64>,
    /// … of this.
    #[schema(example = "rows")]
    unit: String,
}

/// What a job failed with.
#[derive(Serialize, ToSchema)]
pub(crate) struct JobFailure {
    /// The stable code to program against.
    code: String,
    /// What is wrong, and what to do.
    detail: String,
}

/// A line of a job's log.
#[derive(Serialize, ToSchema)]
pub(crate) struct LogLineDocument {
    /// Its number, from 1.
    n: u64,
    at: DateTime<Utc>,
    text: String,
}

impl From<LogLine> for LogLineDocument {
    fn from(line: LogLine) -> Self {
        Self { n: line.n, at: line.at, text: line.text }
    }
}

impl From<Job> for JobDocument {
    fn from(job: Job) -> Self {
        let (params, result) = match BackgroundQuery::of_job(&job.kind, &job.params) {
            Some(query) => (asked(query), kept(&job).map(answered)),
            None => (job.params, job.result),
        };
        Self {
            id: job.id.to_string(),
            kind: job.kind,
            state: job.state.as_str(),
            priority: job.priority,
            labels: job.labels,
            principal_id: job.by.map(|id| id.to_string()),
            dataset: job.dataset.map(|subject| subject.dataset.to_string()),
            params,
            attempts: job.attempts,
            max_attempts: job.max_attempts,
            cancelled: job.cancelled,
            progress: job.progress.map(|p| ProgressDocument { done: p.done, total: p.total, unit: p.unit }),
            result,
            error: job.error.map(|error| JobFailure { code: error.code, detail: error.detail }),
            created_at: job.created_at,
            started_at: job.started_at,
            ended_at: job.ended_at,
            expires_at: job.expires_at,
        }
    }
}

/// The answer to a request whose work goes on as a job.
pub(crate) fn accepted(job: Job) -> Response {
    let location = format!("/v1/jobs/{}", job.id);
    (StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(JobDocument::from(job))).into_response()
}

/// What a job keeps of its answer, once it is done.
pub(super) fn kept(job: &Job) -> Option<KeptAnswer> {
    job.result.clone().and_then(|result| serde_json::from_value(result).ok())
}

/// What was asked for, without what its token was limited to.
fn asked(query: BackgroundQuery) -> Value {
    let BackgroundQuery { sql, params, as_of, limit, timeout_ms, scope: _ } = query;
    json!({ "sql": sql, "params": params, "as_of": as_of, "limit": limit, "timeout_ms": timeout_ms })
}

/// Its answer, without where it is.
fn answered(kept: KeptAnswer) -> Value {
    let KeptAnswer { fence: _, query_id, rows, bytes, truncated, schema, versions } = kept;
    json!({
        "query_id": query_id, "rows": rows, "bytes": bytes, "truncated": truncated, "schema": schema, "versions": versions,
    })
}
