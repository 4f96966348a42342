//! `GET /v1/jobs/{id}/result`: the rows of a statement that has run in the background.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use futures::TryStreamExt as _;
use lakegate_catalog::{Action, ErrorKind, Hold, Job, JobState};
use lakegate_formats::Format;
use lakegate_lake::{ResultFile, ResultRows};
use lakegate_query::KeptAnswer;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::answer::{Keep, Source, answer, describe};
use crate::answer_document::Rows;
use crate::app::App;
use crate::caller::Identified;
use crate::extract::{Path, Query};
use crate::jobs::JobPath;
use crate::jobs::document::kept;
use crate::problem::{Problem, Result};
use crate::query::answer_format;
use crate::{refusals, words};

/// How to answer.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResultQuery {
    /// `json`, `ndjson`, `csv`, `arrow`, `arrow-file` or `parquet`; beats `Accept`.
    #[param(inline, required = false, value_type = words::RowFormat)]
    format: Option<String>,
}

/// The rows that a statement in the background has answered, all of them, streaming.
///
/// As often as one likes, in any format, until the job's `expires_at`. Parquet is the file as it is kept.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/result",
    tag = "jobs",
    params(JobPath, ResultQuery),
    responses(Rows, refusals::NotAcceptable, refusals::Conflict)
)]
pub(crate) async fn job_result(
    State(app): State<Arc<App>>,
    Identified { caller, visit, .. }: Identified,
    Path(path): Path<JobPath>,
    Query(asked): Query<ResultQuery>,
    headers: HeaderMap,
) -> Result<Response> {
    let started = Instant::now();
    let format = answer_format(asked.format.as_deref(), &headers)?;
    let job = path.job(&app, &caller).await?;
    if !caller.may(Action::Read) {
        return Err(Problem::denied("your token is not for reading: it needs the action `read`"));
    }
    let kept = answer_of(&job)?;
    let file = app.lake.result(Hold { job: job.id, fence: kept.fence }).await?.ok_or_else(gone)?;
    visit.note(|entry| {
        (entry.rows, entry.bytes, entry.query_id) = (Some(kept.rows), Some(kept.bytes), Some(kept.query_id.clone()));
    });
    visit.say(format_args!("the result of {}", job.id));
    let KeptAnswer { query_id, versions, truncated, .. } = kept;
    let versions: Vec<(String, u64)> = versions.into_iter().collect();
    if format == Format::Parquet {
        return Ok(as_it_is(file, &query_id, &versions));
    }
    let rows = file.rows().await?;
    answer(format, Kept { query_id, versions, truncated, rows }, started, Keep::Nowhere).await
}

/// What the job has answered. Errors: it has not, or not with rows.
fn answer_of(job: &Job) -> Result<KeptAnswer> {
    let refused = |detail: String| Err(Problem::new(ErrorKind::Conflict, "job_not_done", detail));
    match job.state {
        JobState::Done => kept(job).ok_or_else(gone),
        JobState::Waiting | JobState::Running => refused(format!(
            "the job is {}; follow /v1/jobs/{}/events, and ask again when it is done",
            job.state.as_str(),
            job.id
        )),
        JobState::Failed | JobState::Cancelled => {
            let why = job.error.as_ref().map(|error| format!(": {}", error.detail)).unwrap_or_default();
            refused(format!("the job is {}, and has no result{why}", job.state.as_str()))
        }
    }
}

fn gone() -> Problem {
    let detail =
        "the job has no rows to answer, or they are not kept any more; what else came of it is in the job itself";
    Problem::new(ErrorKind::NotFound, "result_not_found", detail)
}

/// The file, byte by byte.
fn as_it_is(file: ResultFile, query_id: &str, versions: &[(String, u64)]) -> Response {
    let size = file.size();
    let mut response = Response::new(Body::from_stream(file.bytes().map_err(std::io::Error::other)));
    describe(response.headers_mut(), Format::Parquet, query_id, versions);
    response.headers_mut().insert(header::CONTENT_LENGTH, size.into());
    response
}

/// The rows of the file.
struct Kept {
    query_id: String,
    versions: Vec<(String, u64)>,
    truncated: bool,
    rows: ResultRows,
}

impl Source for Kept {
    fn id(&self) -> &str {
        &self.query_id
    }

    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    fn versions(&self) -> &[(String, u64)] {
        &self.versions
    }

    fn truncated(&self) -> bool {
        self.truncated
    }

    async fn next(&mut self) -> Option<Result<RecordBatch>> {
        self.rows.next().await.map_err(Problem::from).transpose()
    }
}
