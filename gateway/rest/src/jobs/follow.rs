//! `GET /v1/jobs/{id}/events`: a job while it is done, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use futures::Stream;
use lakegate_catalog::{Job, JobId, Progress};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::caller::{Identified, Standing};
use crate::extract::{Path, Query};
use crate::followers::Place;
use crate::jobs::document::LogLineDocument;
use crate::jobs::{JobDocument, JobPath, line_number, sees};
use crate::problem::{Problem, Result};

/// How often the catalog is asked while somebody listens.
const LOOK: Duration = Duration::from_millis(300);
/// Seconds that one may ask to wait.
const LONGEST: u32 = 86_400;
/// A line that says nothing keeps the connection open.
const ALIVE: Duration = Duration::from_secs(15);

/// Where to begin.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct FollowJob {
    /// After the line of the log with this number; from the first that is kept when neither this nor the header
    /// `Last-Event-ID` is there.
    #[param(required = false, minimum = 0, maximum = 9223372036854775807_i64)]
    after: Option<u64>,
    /// Seconds after which the answer ends when nothing happens; never when not given. With `0` it has what there is.
    #[param(required = false, maximum = 86400)]
    wait: Option<u32>,
}

/// A message of the answer, as server-sent events have it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only the API document reads it")]
pub(crate) struct JobMessage {
    /// The number of the log's line, to go on after; only `log` has one.
    id: Option<String>,
    /// `progress`, `log` or `end`.
    event: String,
    /// A JSON object: of `progress` the state and how much is done, of `log` the line, of `end` the job.
    #[schema(example = r#"{"state":"running","attempts":1,"progress":{"done":65536,"total":null,"unit":"rows"}}"#)]
    data: String,
}

/// A job while it is done, as server-sent events.
///
/// `progress` tells its state and how much is done, at first and whenever that changes; `log` tells each line of its log; `end`
/// has the job as it ended, and nothing follows it.
#[utoipa::path(get, path = "/v1/jobs/{id}/events", tag = "jobs", params(JobPath, FollowJob), responses(
    (status = 200, description = "Events, until the job has ended", content_type = "text/event-stream", body = JobMessage),
))]
pub(crate) async fn follow_job(
    State(app): State<Arc<App>>,
    Identified { caller, standing, .. }: Identified,
    Path(path): Path<JobPath>,
    Query(asked): Query<FollowJob>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Message, Infallible>>>> {
    let sent = headers.get("last-event-id").map(|id| id.to_str().ok().and_then(|id| id.parse().ok()));
    let after = match (sent, asked.after) {
        (Some(Some(id)), _) | (None, Some(id)) => id,
        (Some(None), _) => return Err(Problem::invalid("Last-Event-ID must be the number of a line")),
        (None, None) => 0,
    };
    let after = line_number(after)?;
    if asked.wait.is_some_and(|seconds| seconds > LONGEST) {
        return Err(Problem::invalid("wait must be at most 86400 seconds"));
    }
    let id = path.job(&app, &caller).await?.id;
    let place = app.followers.admit(&caller)?;
    let wait = asked.wait.map(|seconds| Duration::from_secs(seconds.into()));
    let ready = Vec::new().into_iter();
    let following = Following { app, standing, id, after, wait, told: None, ready, ended: false, _place: place };
    let messages = futures::stream::unfold(following, |mut following| async {
        let message = following.next().await?;
        Some((Ok(message), following))
    });
    Ok(Sse::new(messages).keep_alive(KeepAlive::new().interval(ALIVE)))
}

/// What `progress` tells.
#[derive(Clone, PartialEq, Serialize)]
struct Told {
    state: &'static str,
    attempts: u32,
    progress: Option<Progress>,
}

impl From<&Job> for Told {
    fn from(job: &Job) -> Self {
        Self { state: job.state.as_str(), attempts: job.attempts, progress: job.progress.clone() }
    }
}

struct Following {
    app: Arc<App>,
    standing: Standing,
    id: JobId,
    /// The last line of the log that was told.
    after: u64,
    wait: Option<Duration>,
    told: Option<Told>,
    ready: std::vec::IntoIter<Message>,
    ended: bool,
    _place: Place,
}

impl Following {
    /// The next message; `None` after the end, when nothing happened in time, when the gateway stops, and when the catalog cannot
    /// be asked: the client comes again with the number that it has.
    async fn next(&mut self) -> Option<Message> {
        let quiet = Instant::now();
        loop {
            if let Some(message) = self.ready.next() {
                return Some(message);
            }
            if self.ended {
                return None;
            }
            let read = self.read().await;
            read.inspect_err(|error| tracing::debug!(?error.detail, "a job cannot be followed")).ok()?;
            if self.ready.len() > 0 || self.ended {
                continue;
            }
            if self.wait.is_some_and(|wait| quiet.elapsed() >= wait) {
                return None;
            }
            // Nobody tells of events once the gateway stops.
            if tokio::time::timeout(LOOK, over(self.app.last_event.clone())).await.is_ok() {
                return None;
            }
        }
    }

    /// Makes messages of what has happened.
    async fn read(&mut self) -> Result<()> {
        let job = self.app.catalog.job(self.id).await?;
        let (Some(job), mut messages) = (job, Vec::new()) else {
            // Forgotten meanwhile.
            self.ended = true;
            return Ok(());
        };
        // Whoever may see it no longer is told nothing more.
        let caller = self.standing.caller(&self.app).await?;
        if !sees(&self.app, &caller, &job).await? {
            self.ended = true;
            return Ok(());
        }
        // After the job: what it said before its end is there.
        for line in self.app.catalog.job_log(self.id, self.after).await? {
            self.after = line.n;
            let message = Message::default().id(line.n.to_string()).event("log");
            messages.push(message.json_data(LogLineDocument::from(line)).map_err(Problem::defect)?);
        }
        let now = Told::from(&job);
        if self.told.as_ref() != Some(&now) {
            messages.push(Message::default().event("progress").json_data(&now).map_err(Problem::defect)?);
            self.told = Some(now);
        }
        if job.state.is_over() {
            let message = Message::default().event("end").json_data(JobDocument::from(job));
            messages.push(message.map_err(Problem::defect)?);
            self.ended = true;
        }
        self.ready = messages.into_iter();
        Ok(())
    }
}

/// Ends when nothing more will be told.
async fn over(mut news: watch::Receiver<u64>) {
    while news.changed().await.is_ok() {}
}
