//! `POST /v1/datasets/{ns}/{name}/ingest`: a push.
//!
//! One request is one version: the whole body is validated while it streams to a file, and the rows
//! become visible in one commit, or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::BodyDataStream;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use lakegate_catalog::{AuditEntry, ErrorKind};
use lakegate_formats::Format;
use lakegate_ingest::{Body, Create, IngestError, Packing, Push, Size, Stored};
use lakegate_lake::Committed;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::caller::Identified;
use crate::datasets::DatasetPath;
use crate::extract::{Path, Query};
use crate::media::{media_type, unsupported};
use crate::problem::{Problem, Result};
use crate::{refusals, words};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// How to read a push.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct IngestQuery {
    /// Create the dataset from this push if it does not exist.
    #[serde(default)]
    create: bool,
    /// `json`, `ndjson`, `csv`, `arrow`, `arrow-file` or `parquet`; beats `Content-Type`.
    #[param(inline, required = false, value_type = words::RowFormat)]
    format: Option<String>,
}

/// What a push did.
#[derive(Serialize, ToSchema)]
pub(crate) struct PushAnswer {
    /// Names what was stored; `GET /v1/receipts/{receipt}` confirms it.
    receipt: String,
    /// `committed`, or `duplicate` when the idempotency key was used before for the same body.
    #[schema(value_type = words::PushStatus)]
    status: &'static str,
    /// Rows that the push added.
    rows: u64,
    /// The version that holds them.
    version: u64,
}

/// Adds rows to a dataset. Durable and visible when the answer comes.
#[utoipa::path(post, path = "/v1/datasets/{ns}/{name}/ingest", security(("token" = [])), tag = "push",
    params(DatasetPath, IngestQuery,
        ("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,255}$", description = "1 to 255 visible ASCII characters; the same key with the same body counts once"),
        ("Content-Encoding" = Option<String>, Header, pattern = "^(identity|gzip|zstd)$", description = "How the body is compressed")),
    request_body(description = "Rows", content(
        (words::Rows = "application/json", example = json!([{"sensor": "roof", "celsius": -3.5}])),
        (String = "application/x-ndjson", example = "{\"sensor\":\"roof\",\"celsius\":-3.5}"),
        (String = "text/csv", example = "sensor,celsius\nroof,-3.5"),
        (words::Bytes = "application/vnd.apache.arrow.stream"),
        (words::Bytes = "application/vnd.apache.arrow.file"),
        (words::Bytes = "application/vnd.apache.parquet"),
    )),
    responses(
        (status = 200, description = "Stored", body = PushAnswer, headers(("Lakegate-Versions" = String, description = "The version that holds the rows, as `ns.a=12`"))),
        refusals::Conflict,
    ))]
pub(crate) async fn ingest(
    State(app): State<Arc<App>>,
    caller: Identified,
    Path(path): Path<DatasetPath>,
    Query(query): Query<IngestQuery>,
    headers: HeaderMap,
    body: axum::body::Body,
) -> Result<Response> {
    let format = format(&query, &headers);
    let packing = packing(&headers);
    let announced = announced(&headers);
    let plain = matches!(packing, Ok(Packing::None));
    let length = announced.filter(|_| plain);
    let sent = AtomicU64::new(0);
    let size = Size { length, format: format.as_ref().ok().copied(), whole: false };
    let place = app.ingest.admit(&caller.caller, size).await?;
    let mut stream = body.into_data_stream();
    let done = async {
        let received = stream.by_ref().map(|piece| match piece {
            Ok(bytes) => {
                sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                Ok(bytes)
            }
            Err(_) => Err(IngestError::Truncated),
        });
        let received = received.boxed();
        let name = path.dataset_name(query.create)?;
        let create = if query.create { Create::IfMissing } else { Create::Never };
        let push = Push { caller: &caller.caller, name: &name, create, key: idempotency_key(&headers)? };
        let mut body = Body::new(received, format?, packing?, announced, app.ingest.limits())?;
        app.ingest.push(&place, push, &mut body).await.map_err(|error| told(error, query.create))
    };
    let done = done.await;
    caller.visit.note(|entry| note(entry, done.as_ref().ok(), sent.load(Ordering::Relaxed)));
    if done.is_err() {
        linger(&mut stream).await;
    }
    done.map(|stored| answer(&stored))
}

/// What the audit is told of a push: its bytes as they were sent, and what came of them.
fn note(entry: &mut AuditEntry, stored: Option<&Stored>, sent: u64) {
    entry.bytes = Some(sent);
    if let Some(stored) = stored {
        entry.dataset_id = Some(stored.dataset);
        entry.version = Some(stored.committed.version);
        entry.rows = Some(stored.committed.rows);
        if stored.committed.duplicate {
            entry.say("duplicate");
        }
    }
}

fn answer(stored: &Stored) -> Response {
    let Committed { version, rows, duplicate } = stored.committed;
    let status = if duplicate { "duplicate" } else { "committed" };
    let versions = [("lakegate-versions", format!("{}={version}", stored.name))];
    let receipt = stored.receipt().encode();
    (versions, axum::Json(PushAnswer { receipt, status, rows, version })).into_response()
}

/// The error, with what may help.
fn told(error: IngestError, create: bool) -> Problem {
    let missing = matches!(error, IngestError::DatasetNotFound(_)) && !create;
    let problem = Problem::from(error);
    if missing { problem.with_help("add ?create=true to create it from this push") } else { problem }
}

fn format(query: &IngestQuery, headers: &HeaderMap) -> Result<Format> {
    // Also where `format` beats it: its charset still holds.
    let media = media_type(headers)?;
    let found = match (&query.format, media) {
        (Some(name), _) => Format::from_name(name),
        (None, Some(media)) => Format::from_media_type(&media),
        (None, None) => None,
    };
    found.ok_or_else(|| {
        unsupported(
            "name the format of the rows: Content-Type application/json, application/x-ndjson, text/csv, \
             application/vnd.apache.arrow.stream, application/vnd.apache.arrow.file or \
             application/vnd.apache.parquet, or ?format=json|ndjson|csv|arrow|arrow-file|parquet",
        )
    })
}

/// What `Content-Encoding` says. Errors: 415 for an encoding that is not done here.
fn packing(headers: &HeaderMap) -> Result<Packing> {
    let Some(encoding) = headers.get(header::CONTENT_ENCODING) else {
        return Ok(Packing::None);
    };
    match encoding.as_bytes().to_ascii_lowercase().as_slice() {
        b"gzip" | b"x-gzip" => Ok(Packing::Gzip),
        b"zstd" => Ok(Packing::Zstd),
        b"identity" => Ok(Packing::None),
        _ => Err(Problem::new(
            ErrorKind::Unsupported,
            "unsupported_media_type",
            "Content-Encoding may be gzip, zstd or identity",
        )),
    }
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&[u8]>> {
    let mut sent = headers.get_all(&IDEMPOTENCY_KEY).iter();
    let key = sent.next();
    if sent.next().is_some() {
        return Err(IngestError::Key.into());
    }
    Ok(key.map(axum::http::HeaderValue::as_bytes))
}

/// Reads on for a moment after a push was refused, so that a client that is still sending gets to read
/// the answer instead of a broken connection.
async fn linger(stream: &mut BodyDataStream) {
    const AT_MOST: usize = 8 << 20;
    const NO_LONGER_THAN: Duration = Duration::from_secs(2);
    let discard = async {
        let mut seen = 0;
        while let Some(Ok(bytes)) = stream.next().await {
            seen += bytes.len();
            if seen > AT_MOST {
                break;
            }
        }
    };
    // Out of time or not, the answer goes out now.
    let _ = tokio::time::timeout(NO_LONGER_THAN, discard).await;
}
