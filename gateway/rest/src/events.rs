//! `/v1/events`: what changes, as it does.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use chrono::{DateTime, Utc};
use futures::Stream;
use lakegate_catalog::{Caller, Change, DatasetId, Event, JobId, Namespace, PrincipalId, Role};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::caller::{Identified, Standing};
use crate::extract::Query;
use crate::followers::Place;
use crate::jobs::{may_see, sees};
use crate::problem::{Problem, Result};

/// Seconds that one may ask to wait.
const LONGEST: u32 = 86_400;
/// A line that says nothing keeps the connection open.
const ALIVE: Duration = Duration::from_secs(15);

/// Where to begin.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Follow {
    /// After the event with this id; with those that come from now on when neither this nor the header `Last-Event-ID` is
    /// there. `0` begins with the oldest that is kept.
    #[param(required = false, minimum = 0, maximum = 9223372036854775807_i64)]
    after: Option<u64>,
    /// Seconds after which the answer ends when nothing happens; never when not given. With `0` it has what there is.
    #[param(required = false, maximum = 86400)]
    wait: Option<u32>,
}

/// A message of the answer, as server-sent events have it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only the API document reads it")]
pub(crate) struct EventMessage {
    /// The id of the event, to go on after; `missed` has none.
    id: Option<String>,
    /// What kind of change it is.
    event: String,
    /// A JSON object with `id`, `at`, `type`, and what the type has.
    #[schema(
        example = r#"{"id":17,"at":"2026-01-31T12:00:00Z","type":"version_committed","dataset":"demo.flights","version":3}"#
    )]
    data: String,
}

/// What has changed.
#[derive(Serialize)]
struct EventDocument {
    /// Its place in the order, which is that of the changes.
    id: u64,
    at: DateTime<Utc>,
    #[serde(flatten)]
    change: serde_json::Value,
}

impl From<&Event> for EventDocument {
    fn from(event: &Event) -> Self {
        let change = serde_json::to_value(&event.change).unwrap_or_default();
        Self { id: event.id, at: event.at, change }
    }
}

/// What changes in the datasets that the caller may see, as server-sent events, in the order in which it did.
///
/// `dataset_created`, `dataset_changed`, `dataset_dropped`, `version_committed`, and `job_ended` for jobs that the caller may
/// see; owners of the instance also get `rights_changed`. Versions that follow each other quickly may be told by the newest of them. `missed` comes first when
/// events before are forgotten; after it whoever follows should look at everything anew. Events are kept for 7 days.
#[utoipa::path(get, path = "/v1/events", tag = "datasets", params(Follow), responses(
    (status = 200, description = "Events, for as long as the client listens", content_type = "text/event-stream", body = EventMessage),
))]
pub(crate) async fn follow(
    State(app): State<Arc<App>>,
    Identified { caller, standing, .. }: Identified,
    Query(follow): Query<Follow>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Message, Infallible>>>> {
    let sent = headers.get("last-event-id").map(|id| id.to_str().ok().and_then(|id| id.parse().ok()));
    let after = match (sent, follow.after) {
        (Some(Some(id)), _) | (None, Some(id)) => id,
        (Some(None), _) => return Err(Problem::invalid("Last-Event-ID must be the id of an event")),
        (None, None) => app.catalog.last_event().await?,
    };
    if i64::try_from(after).is_err() {
        return Err(Problem::invalid("after must be at most 9223372036854775807, and is the id of an event"));
    }
    if follow.wait.is_some_and(|seconds| seconds > LONGEST) {
        return Err(Problem::invalid("wait must be at most 86400 seconds"));
    }
    let wait = follow.wait.map(|seconds| Duration::from_secs(seconds.into()));
    let place = app.followers.admit(&caller)?;
    let ready = Vec::new().into_iter();
    let following = Following { app, caller, standing, after, wait, read: false, ready, _place: place };
    let messages = futures::stream::unfold(following, |mut following| async {
        let message = following.next().await?;
        Some((Ok(message), following))
    });
    Ok(Sse::new(messages).keep_alive(KeepAlive::new().interval(ALIVE)))
}

struct Following {
    app: Arc<App>,
    caller: Caller,
    standing: Standing,
    after: u64,
    wait: Option<Duration>,
    /// Whether the feed was read at all.
    read: bool,
    ready: std::vec::IntoIter<Message>,
    _place: Place,
}

/// What decides whether somebody may know of a change: asked of the catalog once for all changes that are read together.
#[derive(PartialEq, Eq, Hash)]
enum About {
    Instance,
    Namespace(Namespace),
    Dataset(DatasetId),
    /// A job, for one whose credential is limited: what the job was asked for with may have been for more.
    Job(JobId),
    /// Jobs that this principal asked for, about this dataset.
    Jobs(Option<PrincipalId>, Option<DatasetId>),
}

impl Following {
    /// The next message; `None` when none came in time, when the gateway stops, and when the catalog cannot be asked: the
    /// client comes again with the id that it has.
    async fn next(&mut self) -> Option<Message> {
        let mut news = self.app.last_event.clone();
        let quiet = Instant::now();
        loop {
            if let Some(message) = self.ready.next() {
                return Some(message);
            }
            // Seen now, so that what is told during the look wakes the wait.
            let newest = *news.borrow_and_update();
            let read = self.read(newest).await;
            let found = read.inspect_err(|error| tracing::debug!(?error.detail, "events cannot be read")).ok()?;
            self.read = true;
            if found {
                continue;
            }
            let over = self.wait.map(|wait| quiet + wait);
            if over.is_some_and(|over| Instant::now() >= over) {
                return None;
            }
            match over.into_iter().chain(self.ends()).min() {
                None => news.changed().await.ok()?,
                // Who it is is looked at again, and whether it was quiet for long enough.
                Some(then) => {
                    if let Ok(changed) = tokio::time::timeout_at(then, news.changed()).await {
                        changed.ok()?;
                    }
                }
            }
        }
    }

    /// When to look whether the caller's credential has ended: one of an issuer counts a little longer than it says.
    fn ends(&self) -> Option<Instant> {
        let at = self.caller.identity()?.expires_at?;
        let left = (at - Utc::now()).to_std().unwrap_or_default();
        Instant::now().checked_add(left.max(Duration::from_secs(1)))
    }

    /// Makes messages of what has happened until the event `newest`, or later; whether anything has.
    async fn read(&mut self, newest: u64) -> Result<bool> {
        // After the newest there is nothing, though the first time that may not be known yet.
        let feed = match newest == self.after && self.read {
            true => Arc::default(),
            false => self.app.followers.events(self.after, self.read.then_some(newest)).await?,
        };
        // Whoever it is now: it may have lost its token, or a group, since it began to listen.
        self.caller = self.standing.caller(&self.app).await?;
        let mut messages = Vec::new();
        if feed.missed {
            messages.push(Message::default().event("missed").data("{}"));
        }
        let Some(last) = feed.events.last().map(|event| event.id) else { return Ok(false) };
        let mut decided = HashMap::new();
        for event in &feed.events {
            let may = match decided.entry(self.about(&event.change)) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => *new.insert(self.may_know(&event.change).await?),
            };
            if may {
                let (id, kind) = (event.id.to_string(), kind(&event.change));
                let message = Message::default().id(id).event(kind).json_data(EventDocument::from(event));
                messages.push(message.map_err(Problem::defect)?);
            }
        }
        self.after = last;
        self.ready = messages.into_iter();
        Ok(true)
    }

    /// What decides whether the caller may know of a change.
    fn about(&self, change: &Change) -> About {
        match change {
            Change::RightsChanged => About::Instance,
            Change::JobEnded(end) if self.is_limited() => About::Job(end.job),
            Change::JobEnded(end) => About::Jobs(end.by, end.about.as_ref().map(|subject| subject.dataset_id)),
            Change::DatasetDropped(subject) => About::Namespace(subject.dataset.namespace().clone()),
            Change::DatasetCreated(subject)
            | Change::DatasetChanged(subject)
            | Change::VersionCommitted { subject, .. } => About::Dataset(subject.dataset_id),
        }
    }

    fn is_limited(&self) -> bool {
        self.caller.identity().is_some_and(|identity| !identity.scope.is_whole())
    }

    /// Whether the caller may know of a change, by what it may see now.
    async fn may_know(&self, change: &Change) -> Result<bool> {
        let (catalog, caller) = (&self.app.catalog, &self.caller);
        match change {
            Change::RightsChanged => Ok(catalog.role_on_instance(caller).await? == Some(Role::Owner)),
            // Nobody sees none: nothing is looked up for it.
            Change::JobEnded(_) if caller.principal().is_none() => Ok(false),
            Change::JobEnded(end) if self.is_limited() => match catalog.job(end.job).await? {
                Some(job) => sees(&self.app, caller, &job).await,
                None => Ok(false),
            },
            Change::JobEnded(end) => may_see(&self.app, caller, end.by, end.about.as_ref()).await,
            // It is gone: whoever could see all of its namespace could see it.
            Change::DatasetDropped(subject) => {
                Ok(catalog.role_on_namespace(caller, subject.dataset.namespace()).await?.is_some())
            }
            change => match change.subject() {
                Some(subject) => Ok(catalog.access_by_id(caller, subject.dataset_id).await?.is_some()),
                None => Ok(false),
            },
        }
    }
}

fn kind(change: &Change) -> &'static str {
    match change {
        Change::DatasetCreated(_) => "dataset_created",
        Change::DatasetChanged(_) => "dataset_changed",
        Change::DatasetDropped(_) => "dataset_dropped",
        Change::VersionCommitted { .. } => "version_committed",
        Change::RightsChanged => "rights_changed",
        Change::JobEnded(_) => "job_ended",
    }
}
