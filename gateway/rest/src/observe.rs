//! Around every request: an id, a log line, counts, and the problem document of what failed.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use lakegate_catalog::ErrorKind;
use tracing::Instrument as _;

use crate::app::App;
use crate::audit;
use crate::problem::Problem;
use crate::trace::TRACE;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The middleware that wraps every route.
pub(crate) async fn observe(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let method = request.method().clone();
    // The template, not the path: dataset names stay out of metrics.
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let started = Instant::now();
    let running = app.metrics.request_started();
    let client = app.edge.client(&request).map(tracing::field::display);
    let traced = tracing::trace_span!(
        target: TRACE,
        "request",
        otel.kind = "server",
        http.request.method = method.as_str(),
        http.route = route,
        http.response.status_code = tracing::field::Empty,
    );
    if let Some(adopt) = &app.edge.adopt {
        adopt(&traced, request.headers());
    }
    let outer = traced.clone();
    let span = tracing::info_span!("request", request_id = %id, %method, route, client);
    async {
        let visit = audit::begin(app.engine.trail(), &mut request, &route, &id).await;
        let response = next.run(request).await;
        audit::end(&visit, &method, &route, &response);
        let response = finished(response, &id);
        let status = response.status().as_u16();
        traced.record("http.response.status_code", status);
        let elapsed = started.elapsed();
        app.metrics.request_answered(&method, &route, status, elapsed);
        tracing::info!(status, elapsed_ms = elapsed.as_secs_f64() * 1e3, "answered");
        // Counted as running until its last byte is sent or its client is gone.
        response.map(|body| running.until_sent(body))
    }
    .instrument(span)
    .instrument(outer)
    .await
}

/// A client's id when it is harmless, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let harmless = |id: &&str| {
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let sent = headers.get(&REQUEST_ID).and_then(|v| v.to_str().ok()).filter(harmless);
    sent.map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned)
}

fn finished(response: Response, id: &str) -> Response {
    let mut response = match response.extensions().get::<Problem>().cloned() {
        Some(problem) => render(&problem, response, id),
        None => response,
    };
    if let Ok(value) = HeaderValue::from_str(id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn render(problem: &Problem, response: Response, id: &str) -> Response {
    let cause = problem.cause.as_deref().unwrap_or(&problem.detail);
    if problem.kind == ErrorKind::Internal {
        tracing::error!(code = problem.code, cause, "request failed");
    } else if problem.kind == ErrorKind::Unavailable {
        tracing::warn!(code = problem.code, cause, "request failed");
    } else {
        tracing::debug!(code = problem.code, cause, "request refused");
    }
    let (mut parts, _) = response.into_parts();
    let json = serde_json::to_vec(&problem.document(id)).unwrap_or_default();
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(json))
}

/// A handler that panicked: the client gets a problem like any other, the log what happened.
#[expect(clippy::needless_pass_by_value, reason = "the layer hands the panic over by value")]
pub(crate) fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    let mut problem =
        Problem::new(ErrorKind::Internal, "internal", "something went wrong here; the request id finds it in the log");
    problem.cause = Some(format!("panic: {}", text.unwrap_or("of unknown type")));
    problem.into_response()
}
