//! `/metrics`: counts in the OpenMetrics text format. Labels never name a namespace, a dataset, a
//! principal or SQL.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Method, header};
use axum::response::IntoResponse;
use http_body::{Frame, SizeHint};
use lakegate_ingest::Ingest;
use lakegate_lake::Lake;
use lakegate_query::Engine;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::app::App;
use crate::problem::Result;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: Outcome,
}

/// How a query or a push ended.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
pub(crate) enum Outcome {
    /// Everything that was asked for.
    Done,
    /// An earlier push was named instead.
    Duplicate,
    /// An error was answered.
    Failed,
    /// It was cancelled, or its caller left.
    Cancelled,
}

/// The counts of one process.
pub struct Metrics {
    registry: Registry,
    engine: Arc<Engine>,
    lake: Arc<Lake>,
    ingest: Arc<Ingest>,
    requests: Family<RequestLabels, Counter>,
    seconds: Family<RouteLabels, Histogram>,
    running: Gauge,
    answer_bytes: Counter,
    queries: Family<OutcomeLabels, Counter>,
    query_rows: Counter,
    push_requests: Family<OutcomeLabels, Counter>,
    push_rows: Counter,
    push_bytes: Counter,
    pushes_running: Gauge,
    queries_running: Gauge,
    queries_queued: Gauge,
    query_memory: Gauge,
    query_spill: Gauge,
    process_memory: Gauge,
    damage_met: Counter,
    damaged_datasets: Gauge,
    all_requests: Counter,
}

/// What has been counted so far, and what is going on now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests answered.
    pub requests: u64,
    /// Queries that have ended.
    pub queries: u64,
    /// Rows that they answered.
    pub query_rows: u64,
    /// Pushes that have ended.
    pub pushes: u64,
    /// Rows that they committed.
    pub push_rows: u64,
    /// Bytes of their bodies, unpacked.
    pub push_bytes: u64,
    /// Requests whose answer is not completely sent.
    pub requests_running: u64,
    /// Queries that run.
    pub queries_running: u64,
    /// Queries that wait.
    pub queries_queued: u64,
    /// Pushes that run.
    pub pushes_running: u64,
    /// Resident bytes of the process.
    pub process_memory: u64,
}

impl Metrics {
    /// `registry` may hold what others count.
    pub(crate) fn new(registry: Registry, engine: Arc<Engine>, lake: Arc<Lake>, ingest: Arc<Ingest>) -> Self {
        // From half a millisecond to about half a minute.
        let seconds = || Histogram::new(exponential_buckets(0.0005, 2.0, 16));
        let mut metrics = Self {
            registry,
            engine,
            lake,
            ingest,
            requests: Family::default(),
            seconds: Family::new_with_constructor(seconds),
            running: Gauge::default(),
            answer_bytes: Counter::default(),
            queries: Family::default(),
            query_rows: Counter::default(),
            push_requests: Family::default(),
            push_rows: Counter::default(),
            push_bytes: Counter::default(),
            pushes_running: Gauge::default(),
            queries_running: Gauge::default(),
            queries_queued: Gauge::default(),
            query_memory: Gauge::default(),
            query_spill: Gauge::default(),
            process_memory: Gauge::default(),
            damage_met: Counter::default(),
            damaged_datasets: Gauge::default(),
            all_requests: Counter::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("http_requests", "Requests answered, by route template", self.requests.clone());
        r.register("http_request_seconds", "Time to the first byte of the answer", self.seconds.clone());
        r.register("http_requests_running", "Requests whose answer is not completely sent", self.running.clone());
        r.register("http_answer_bytes", "Bytes of answer bodies sent", self.answer_bytes.clone());
        r.register("queries", "Queries, by how they ended", self.queries.clone());
        r.register("query_rows", "Rows answered by queries", self.query_rows.clone());
        r.register("pushes", "Pushes, by how they ended", self.push_requests.clone());
        r.register("push_rows", "Rows committed by pushes", self.push_rows.clone());
        r.register("push_bytes", "Decoded bytes of push bodies", self.push_bytes.clone());
        r.register("pushes_running", "Pushes running now", self.pushes_running.clone());
        r.register("queries_running", "Queries running now", self.queries_running.clone());
        r.register("queries_queued", "Queries waiting for a place", self.queries_queued.clone());
        r.register("query_memory_bytes", "Memory reserved by running queries", self.query_memory.clone());
        r.register("query_spill_bytes", "Disk that running queries have spilled to", self.query_spill.clone());
        r.register("damage_met", "Times that a statement or a job met a damaged dataset", self.damage_met.clone());
        r.register("damaged_datasets", "Datasets that are known to be damaged", self.damaged_datasets.clone());
        r.register("process_memory_bytes", "Resident memory of the process", self.process_memory.clone());
    }

    /// The counts without their labels, as they are now.
    pub fn totals(&self) -> Totals {
        let usage = self.engine.usage();
        let pushes = self.ingest.usage();
        Totals {
            requests: self.all_requests.get(),
            queries: usage.done + usage.failed + usage.cancelled,
            query_rows: usage.rows,
            pushes: pushes.done + pushes.duplicate + pushes.failed,
            push_rows: pushes.rows,
            push_bytes: pushes.bytes,
            requests_running: u64::try_from(self.running.get()).unwrap_or_default(),
            queries_running: usage.running as u64,
            queries_queued: usage.queued as u64,
            pushes_running: pushes.running as u64,
            process_memory: memory_stats::memory_stats().map_or(0, |stats| stats.physical_mem as u64),
        }
    }

    pub(crate) fn request_started(&self) -> Running {
        self.running.inc();
        Running { running: self.running.clone(), bytes: self.answer_bytes.clone() }
    }

    pub(crate) fn request_answered(&self, method: &Method, route: &str, status: u16, elapsed: Duration) {
        self.all_requests.inc();
        // Methods are the client's words: only the known ones become a label.
        let known =
            [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::HEAD, Method::PATCH, Method::OPTIONS];
        let method = if known.contains(method) { method.to_string() } else { "other".to_owned() };
        self.requests.get_or_create(&RequestLabels { method, route: route.to_owned(), status }).inc();
        self.seconds.get_or_create(&RouteLabels { route: route.to_owned() }).observe(elapsed.as_secs_f64());
    }

    /// The engine counts for itself, whichever way a query came.
    fn ask_engine(&self) {
        let usage = self.engine.usage();
        let gauge = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.queries_running.set(gauge(usage.running));
        self.queries_queued.set(gauge(usage.queued));
        self.query_memory.set(gauge(usage.memory_reserved));
        self.query_spill.set(i64::try_from(usage.spilled).unwrap_or(i64::MAX));
        let ended =
            [(Outcome::Done, usage.done), (Outcome::Failed, usage.failed), (Outcome::Cancelled, usage.cancelled)];
        count(&self.queries, &ended);
        self.query_rows.inner().store(usage.rows, Ordering::Relaxed);
    }

    /// So do pushes.
    fn ask_ingest(&self) {
        let usage = self.ingest.usage();
        let ended =
            [(Outcome::Done, usage.done), (Outcome::Duplicate, usage.duplicate), (Outcome::Failed, usage.failed)];
        count(&self.push_requests, &ended);
        self.push_rows.inner().store(usage.rows, Ordering::Relaxed);
        self.push_bytes.inner().store(usage.bytes, Ordering::Relaxed);
        self.pushes_running.set(i64::try_from(usage.running).unwrap_or(i64::MAX));
    }

    /// The lake counts for itself.
    fn ask_lake(&self) {
        let gauge = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let (met, damaged) = self.lake.damage_counts();
        self.damage_met.inner().store(met, Ordering::Relaxed);
        self.damaged_datasets.set(gauge(damaged as u64));
    }

    fn render(&self) -> Result<String, std::fmt::Error> {
        let resident = memory_stats::memory_stats().map_or(0, |stats| stats.physical_mem);
        self.process_memory.set(i64::try_from(resident).unwrap_or(i64::MAX));
        self.ask_engine();
        self.ask_ingest();
        self.ask_lake();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Sets counts that others keep; an outcome is listed once it was seen.
fn count(family: &Family<OutcomeLabels, Counter>, counts: &[(Outcome, u64)]) {
    for &(outcome, count) in counts.iter().filter(|(_, count)| *count > 0) {
        family.get_or_create(&OutcomeLabels { outcome }).inner().store(count, Ordering::Relaxed);
    }
}

/// Counts for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "service", responses((status = 200, description = "OpenMetrics text", content_type = "application/openmetrics-text", body = String)))]
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    let text = app.metrics.render().unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}

/// A request that is being answered; dropping it ends the count.
pub(crate) struct Running {
    running: Gauge,
    bytes: Counter,
}

impl Running {
    /// Keeps counting until the body is sent or given up.
    pub(crate) fn until_sent(self, body: Body) -> Body {
        Body::new(CountedBody { body, running: self })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.running.dec();
    }
}

struct CountedBody {
    body: Body,
    running: Running,
}

impl http_body::Body for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            self.running.bytes.inc_by(frame.data_ref().map_or(0, |data| data.len() as u64));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
