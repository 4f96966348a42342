//! `/v1/jobs`: work that goes on without whoever asked for it.
//!
//! Who sees a job: whoever asked for it, owners of the instance, and maintainers of the dataset that it is about. To anybody else
//! it is not there.

mod document;
pub(crate) mod follow;
pub(crate) mod result;
pub(crate) mod submit;

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use lakegate_catalog::{Access, Caller, ErrorKind, Job, JobFilter, JobId, JobState, PrincipalId, Role, Subject};
use lakegate_query::BackgroundQuery;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::caller::{Identified, oversees};
use crate::datasets::page;
use crate::extract::{Path, Query};
use crate::jobs::document::LogLineDocument;
use crate::problem::{Problem, Result};
use crate::{refusals, words};

pub(crate) use document::{JobDocument, accepted};

/// Which jobs, and which part of the list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListJobs {
    /// Only of this kind.
    #[param(inline, required = false, value_type = words::JobKind)]
    kind: Option<String>,
    /// Only in this state.
    #[param(inline, required = false, value_type = words::JobState)]
    state: Option<String>,
    /// Only with this label, `name:word`.
    #[param(inline, required = false, value_type = words::Label)]
    label: Option<String>,
    /// Only those about this dataset; its maintainers see those of others too.
    #[param(inline, required = false, value_type = words::DatasetName)]
    dataset: Option<String>,
    /// At most this many; there may be fewer though more follow.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    #[param(required = false, format = Uuid)]
    cursor: Option<String>,
}

/// One page of jobs.
#[derive(Serialize, ToSchema)]
pub(crate) struct JobList {
    items: Vec<JobDocument>,
    /// The cursor of the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// The id in a path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct JobPath {
    /// The job's id.
    #[param(format = Uuid)]
    id: String,
}

/// Where the log begins.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogAfter {
    /// After the line with this number; from the first that is kept when not given.
    #[param(required = false, minimum = 0, maximum = 9223372036854775807_i64)]
    after: Option<u64>,
}

/// Lines of a job's log.
#[derive(Serialize, ToSchema)]
pub(crate) struct LogDocument {
    items: Vec<LogLineDocument>,
}

/// The jobs that the caller may see, the newest first.
///
/// Its own, and for an owner of the instance everybody's; with `dataset`, for maintainers of that dataset all that are about it.
#[utoipa::path(get, path = "/v1/jobs", security(("token" = [])), tag = "jobs", params(ListJobs), responses(
    (status = 200, description = "A page of jobs", body = JobList),
    refusals::NotFound,
))]
pub(crate) async fn list_jobs(
    State(app): State<Arc<App>>,
    caller: Identified,
    Query(list): Query<ListJobs>,
) -> Result<axum::Json<JobList>> {
    let principal = caller.principal()?.id;
    let caller = &caller.caller;
    let about = match &list.dataset {
        Some(name) => Some(dataset(&app, caller, name).await?),
        None => None,
    };
    let everybodys = match &about {
        Some(access) if keeps(access, caller) => true,
        _ => oversees(&app, caller).await?,
    };
    let filter = JobFilter {
        by: (!everybodys).then_some(principal),
        dataset: about.map(|access| access.dataset.id),
        kind: list.kind.map(kind).transpose()?,
        state: list.state.as_deref().map(state).transpose()?,
        label: list.label.as_deref().map(label).transpose()?,
    };
    let found = app.catalog.list_jobs(&filter, &page(list.limit, list.cursor)?).await?;
    let seen = found.items.into_iter().filter(|job| everybodys || reaches(caller, job));
    Ok(axum::Json(JobList { items: seen.map(JobDocument::from).collect(), next: found.next }))
}

/// A job: how far it is, what came of it, what it failed with.
#[utoipa::path(get, path = "/v1/jobs/{id}", tag = "jobs", params(JobPath), responses(
    (status = 200, description = "The job", body = JobDocument),
))]
pub(crate) async fn show_job(
    State(app): State<Arc<App>>,
    Identified { caller, .. }: Identified,
    Path(path): Path<JobPath>,
) -> Result<axum::Json<JobDocument>> {
    Ok(axum::Json(path.job(&app, &caller).await?.into()))
}

/// Asks for a job's end. One that waits ends at once, one that runs within a second or when its worker is heard of next; one
/// that has ended stays as it is.
#[utoipa::path(delete, path = "/v1/jobs/{id}", tag = "jobs", params(JobPath), responses(
    (status = 202, description = "The job as it is now", body = JobDocument),
))]
pub(crate) async fn cancel_job(
    State(app): State<Arc<App>>,
    Identified { caller, visit, .. }: Identified,
    Path(path): Path<JobPath>,
) -> Result<(StatusCode, axum::Json<JobDocument>)> {
    let job = path.job(&app, &caller).await?;
    visit.say(format_args!("cancels {} {}", job.kind, job.id));
    let job = app.catalog.cancel_job(job.id).await.map_err(|error| match error.kind() {
        ErrorKind::NotFound => not_found(),
        _ => error.into(),
    })?;
    Ok((StatusCode::ACCEPTED, axum::Json(job.into())))
}

/// What a job tells of itself: the last 1,000 lines, the oldest first.
#[utoipa::path(get, path = "/v1/jobs/{id}/log", tag = "jobs", params(JobPath, LogAfter), responses(
    (status = 200, description = "Lines", body = LogDocument),
))]
pub(crate) async fn show_log(
    State(app): State<Arc<App>>,
    Identified { caller, .. }: Identified,
    Path(path): Path<JobPath>,
    Query(asked): Query<LogAfter>,
) -> Result<axum::Json<LogDocument>> {
    let job = path.job(&app, &caller).await?;
    let lines = app.catalog.job_log(job.id, line_number(asked.after.unwrap_or(0))?).await?;
    Ok(axum::Json(LogDocument { items: lines.into_iter().map(LogLineDocument::from).collect() }))
}

impl JobPath {
    /// The job, if the caller may see it.
    async fn job(&self, app: &App, caller: &Caller) -> Result<Job> {
        let id: JobId = self.id.parse().map_err(|_| not_found())?;
        // Nobody sees none: nothing is looked up for it.
        if caller.principal().is_none() {
            return Err(not_found());
        }
        let job = app.catalog.job(id).await?.ok_or_else(not_found)?;
        if sees(app, caller, &job).await? { Ok(job) } else { Err(not_found()) }
    }
}

/// Whether the caller may see a job.
pub(crate) async fn sees(app: &App, caller: &Caller, job: &Job) -> Result<bool> {
    if reaches(caller, job) {
        may_see(app, caller, job.by, job.dataset.as_ref()).await
    } else {
        oversees(app, caller).await
    }
}

/// Whether the caller may know of a job that `by` asked for, about this dataset if about one.
pub(crate) async fn may_see(
    app: &App,
    caller: &Caller,
    by: Option<PrincipalId>,
    about: Option<&Subject>,
) -> Result<bool> {
    if caller.principal().is_some_and(|principal| by == Some(principal.id)) {
        return Ok(true);
    }
    if let Some(subject) = about
        && let Some(access) = app.catalog.access_by_id(caller, subject.dataset_id).await?
        && keeps(&access, caller)
    {
        return Ok(true);
    }
    oversees(app, caller).await
}

/// Whether the caller's credential reaches what a job is about: with one that is limited nobody gets at what was asked for with
/// one that may do more.
fn reaches(caller: &Caller, job: &Job) -> bool {
    let Some(identity) = caller.identity() else { return false };
    match (BackgroundQuery::of_job(&job.kind, &job.params), &job.dataset) {
        (Some(query), _) => identity.scope.includes(&query.scope),
        (None, Some(subject)) => identity.scope.covers(&subject.dataset),
        (None, None) => identity.scope.datasets.is_empty(),
    }
}

fn keeps(access: &Access, caller: &Caller) -> bool {
    access.require(caller, Role::Maintainer).is_ok()
}

/// The dataset of a filter, if the caller may see it.
async fn dataset(app: &App, caller: &Caller, text: &str) -> Result<Access> {
    let shown = || text.chars().take(130).collect::<String>();
    let name = text.parse().map_err(|_| Problem::dataset_not_found(shown()))?;
    app.catalog.access(caller, &name).await?.ok_or_else(|| Problem::dataset_not_found(&name))
}

fn state(text: &str) -> Result<JobState> {
    const ALL: [JobState; 5] =
        [JobState::Waiting, JobState::Running, JobState::Done, JobState::Failed, JobState::Cancelled];
    let found = ALL.into_iter().find(|state| state.as_str() == text);
    found.ok_or_else(|| Problem::invalid("state must be waiting, running, done, failed or cancelled"))
}

fn kind(text: String) -> Result<String> {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    let fine = text.starts_with(|c: char| c.is_ascii_lowercase()) && text.len() <= 63 && text.bytes().all(word);
    if fine { Ok(text) } else { Err(Problem::invalid("kind must be a word such as `query`")) }
}

fn label(text: &str) -> Result<(String, String)> {
    let word = |text: &str| (1..=63).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    let pair = text.split_once(':').filter(|(name, of)| is_label_name(name) && word(of));
    let pair = pair.map(|(name, word)| (name.to_owned(), word.to_owned()));
    pair.ok_or_else(|| {
        Problem::invalid("label must be `name:word`, each of 1 to 63 characters, the name of A-Z a-z 0-9 _ . -")
    })
}

/// A name stands before a colon where jobs are looked for.
fn is_label_name(text: &str) -> bool {
    (1..=63).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

/// The number of a line, as far as one may be.
fn line_number(after: u64) -> Result<u64> {
    if i64::try_from(after).is_ok() { Ok(after) } else { Err(Problem::invalid("after is the number of a line")) }
}

fn not_found() -> Problem {
    let detail = "there is no such job, it ended long ago, or it is not yours to see";
    Problem::new(ErrorKind::NotFound, "job_not_found", detail)
}
