//! The companion: answers the calls of gateways that it knows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chrono::Utc;
use lakegate_catalog::{ApiToken, Catalog, PrincipalKind, Principals};
use serde_json::json;

use crate::counts::Counts;
use crate::openapi;
use crate::protocol::{ALL, CALLS, Failed, PROTOCOL, PROTOCOL_HEADER, make};

/// Bytes of a call: the widest dataset that there can be is far below.
const MAX_CALL: usize = 16 << 20;

/// How long a call may take to arrive.
const ARRIVES_WITHIN: Duration = Duration::from_secs(10);

/// What the companion serves.
pub struct Companion {
    catalog: Arc<dyn Catalog>,
    gateways: Arc<dyn Principals>,
    counts: Counts,
}

impl Companion {
    /// Serves `catalog` to whoever has a token of a principal of the kind `gateway` among `gateways`; as a rule that is
    /// the same catalog.
    pub fn new(catalog: Arc<dyn Catalog>, gateways: Arc<dyn Principals>) -> Self {
        Self { catalog, gateways, counts: Counts::new() }
    }
}

/// The companion's routes: calls, health, metrics, and a description of them.
pub fn routes(companion: Companion) -> Router {
    Router::new()
        .route(&format!("{CALLS}{{name}}"), post(call))
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { axum::Json(json!({ "status": "ok" })) }))
        .route("/readyz", get(ready))
        .route("/openapi.json", get(|| async { axum::Json(openapi::document()) }))
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "not_found", "there is nothing here; see /openapi.json") })
        .with_state(Arc::new(companion))
}

async fn ready(State(companion): State<Arc<Companion>>) -> Response {
    match companion.catalog.ping().await {
        Ok(()) => axum::Json(json!({ "status": "ok" })).into_response(),
        Err(error) => {
            tracing::error!(%error, "the catalog's store does not answer");
            problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "catalog_unavailable",
                "the store does not answer; the log says why",
            )
        }
    }
}

async fn metrics(State(companion): State<Arc<Companion>>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, OPEN_METRICS)], companion.counts.text()).into_response()
}

async fn call(State(companion): State<Arc<Companion>>, Path(name): Path<String>, request: Request) -> Response {
    let started = Instant::now();
    let response = answer(&companion, &name, request).await;
    let known = ALL.iter().find(|call| call.name == name).map(|call| call.name);
    companion.counts.count(known, response.status().as_u16(), started.elapsed());
    response
}

async fn answer(companion: &Companion, name: &str, request: Request) -> Response {
    if let Err(refused) = known(companion, request.headers()).await {
        return refused;
    }
    if request.headers().get(PROTOCOL_HEADER).is_none_or(|version| version != PROTOCOL) {
        let detail = format!("this companion speaks version {PROTOCOL} of the protocol: run the same version of both");
        return problem(StatusCode::BAD_REQUEST, "other_protocol", &detail);
    }
    let body = match tokio::time::timeout(ARRIVES_WITHIN, to_bytes(request.into_body(), MAX_CALL)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return problem(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "a call has at most 16 MiB"),
        Err(_) => return problem(StatusCode::REQUEST_TIMEOUT, "body_timeout", "the call did not arrive in time"),
    };
    match make(name, &body, companion.catalog.as_ref()).await {
        Ok(answer) => ([(header::CONTENT_TYPE, "application/json")], Body::from(answer)).into_response(),
        Err(Failed::Unknown) => problem(StatusCode::NOT_FOUND, "unknown_call", "there is no such call"),
        Err(Failed::Unreadable(error)) => problem(StatusCode::BAD_REQUEST, "unreadable_call", &error.to_string()),
        Err(Failed::Refused(refusal)) => {
            let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, axum::Json(json!({ "refusal": refusal }))).into_response()
        }
    }
}

/// Lets gateways in, and nobody else: tokens of people and of other programs are not for this door.
async fn known(companion: &Companion, headers: &HeaderMap) -> Result<(), Response> {
    let refused = || {
        let detail = "send `Authorization: Bearer lg_…` with a token of a gateway";
        problem(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
    };
    let mut sent = headers.get_all(header::AUTHORIZATION).iter();
    let token = sent.next().and_then(|value| value.to_str().ok()?.strip_prefix("Bearer ").and_then(ApiToken::parse));
    let (Some(token), None) = (token, sent.next()) else { return Err(refused()) };
    match companion.gateways.authenticate(&token.hash(), Utc::now()).await {
        Ok(Some(known)) if known.principal.kind == PrincipalKind::Gateway => Ok(()),
        Ok(_) => Err(refused()),
        Err(error) => {
            tracing::error!(%error, "a gateway's token cannot be looked up");
            Err(problem(StatusCode::SERVICE_UNAVAILABLE, "catalog_unavailable", "the store does not answer; retry"))
        }
    }
}

fn problem(status: StatusCode, code: &str, detail: &str) -> Response {
    let body = json!({
        "type": format!("urn:lakegate:error:{code}"),
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "code": code,
        "detail": detail,
    });
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}
