//! A query's answer as a streaming body: encoded batch by batch, as fast as the client reads.

use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, SchemaRef};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use futures::{StreamExt, stream};
use lakegate_catalog::ErrorKind;
use lakegate_formats::{Format, FormatError, RowEncoder, unique_names};
use lakegate_lake::types::answered_type;
use lakegate_query::QueryStream;
use serde_json::json;
use std::sync::Arc;

use crate::problem::{Problem, Result};

const QUERY_ID: HeaderName = HeaderName::from_static("lakegate-query-id");
const VERSIONS: HeaderName = HeaderName::from_static("lakegate-versions");

/// Who may keep an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Nobody.
    Nowhere,
    /// Caches: an answer that fails after it began is cut off, so that none takes it for a whole one.
    ByCaches,
}

/// Rows to answer with.
pub(crate) trait Source: Send + 'static {
    /// The id of the query that they are the answer to.
    fn id(&self) -> &str;

    /// The schema of every batch.
    fn schema(&self) -> SchemaRef;

    /// The datasets that were read, and which version of each.
    fn versions(&self) -> &[(String, u64)];

    /// Whether a limit cut rows off, once all are read.
    fn truncated(&self) -> bool;

    /// The next rows; nothing follows an error.
    fn next(&mut self) -> impl Future<Output = Option<Result<RecordBatch>>> + Send;
}

impl Source for QueryStream {
    fn id(&self) -> &str {
        self.id()
    }

    fn schema(&self) -> SchemaRef {
        self.schema()
    }

    fn versions(&self) -> &[(String, u64)] {
        self.versions()
    }

    fn truncated(&self) -> bool {
        self.truncated()
    }

    async fn next(&mut self) -> Option<Result<RecordBatch>> {
        Some(StreamExt::next(self).await?.map_err(Problem::from))
    }
}

/// Starts answering. Waits for the first batch, so that what fails early is a problem document.
pub(crate) async fn answer(format: Format, query: impl Source, started: Instant, keep: Keep) -> Result<Response> {
    let mut answering = Answering::new(format, query, started, keep)?;
    let first = answering.first().await?;
    let mut response = Response::new(Body::empty());
    describe(response.headers_mut(), format, answering.query.id(), answering.query.versions());
    let first = stream::iter([Ok(Bytes::from(first))]);
    let rest = stream::unfold(answering, |mut answering| async {
        answering.next().await.map(|chunk| (chunk.map(Bytes::from), answering))
    });
    *response.body_mut() = Body::from_stream(first.chain(rest));
    Ok(response)
}

/// Says what the rows are.
pub(crate) fn describe(headers: &mut HeaderMap, format: Format, query_id: &str, versions: &[(String, u64)]) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in [(QUERY_ID, query_id.to_owned()), (VERSIONS, versions_header(versions))] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
}

fn versions_header(versions: &[(String, u64)]) -> String {
    versions.iter().map(|(name, version)| format!("{name}={version}")).collect::<Vec<_>>().join(", ")
}

struct Answering<S> {
    format: Format,
    query: S,
    /// Away while a thread works with it.
    encoder: Option<RowEncoder>,
    rows: u64,
    started: Instant,
    /// Nothing follows.
    ended: bool,
    keep: Keep,
    /// The body is to break off.
    cut: bool,
}

impl<S: Source> Answering<S> {
    fn new(format: Format, query: S, started: Instant, keep: Keep) -> Result<Self> {
        let encoder = RowEncoder::new(format, &unique_names(&query.schema()))?;
        Ok(Self { format, query, encoder: Some(encoder), rows: 0, started, ended: false, keep, cut: false })
    }

    /// What comes before the rows, and the first rows.
    async fn first(&mut self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        if self.format == Format::Json {
            let head = json!({"query_id": self.query.id(), "schema": columns(&self.query.schema())});
            let head = head.to_string();
            out.extend_from_slice(head.trim_end_matches('}').as_bytes());
            out.extend_from_slice(b",\"rows\":[");
        }
        self.encoder()?.start(&mut out)?;
        match self.query.next().await {
            Some(Ok(batch)) => self.encode(batch, &mut out).await?,
            Some(Err(problem)) => return Err(problem),
            None => self.end(&mut out).await?,
        }
        Ok(out)
    }

    /// The next piece of the body. An error breaks the connection off: only formats with a place for
    /// it end with the error itself.
    async fn next(&mut self) -> Option<Result<Vec<u8>, std::io::Error>> {
        if self.ended {
            return std::mem::take(&mut self.cut).then(|| Err(std::io::Error::other("the query failed")));
        }
        let mut out = Vec::new();
        let problem = loop {
            let piece = match self.query.next().await {
                Some(Ok(batch)) => self.encode(batch, &mut out).await,
                Some(Err(problem)) => Err(problem),
                None => self.end(&mut out).await,
            };
            match piece {
                Err(problem) => break problem,
                // Parquet comes a row group at a time: most batches add nothing yet.
                Ok(()) if out.is_empty() && !self.ended => {}
                Ok(()) => return Some(Ok(out)),
            }
        };
        self.ended = true;
        tracing::info!(query_id = self.query.id(), code = problem.code, "query failed after its answer began");
        self.cut = self.keep == Keep::ByCaches;
        Some(self.late(&problem))
    }

    fn encoder(&mut self) -> Result<&mut RowEncoder> {
        self.encoder.as_mut().ok_or_else(given_up)
    }

    async fn encode(&mut self, batch: RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        self.step(out, move |encoder, out| encoder.batch(&batch, out)).await
    }

    async fn end(&mut self, out: &mut Vec<u8>) -> Result<()> {
        self.step(out, RowEncoder::finish).await?;
        if self.format == Format::Json {
            self.json_tail(out, "");
        }
        self.ended = true;
        Ok(())
    }

    /// One step of the encoder. Compressing a row group takes long, so that it is done elsewhere.
    async fn step(
        &mut self,
        out: &mut Vec<u8>,
        step: impl FnOnce(&mut RowEncoder, &mut Vec<u8>) -> Result<(), FormatError> + Send + 'static,
    ) -> Result<()> {
        if self.format != Format::Parquet {
            return Ok(step(self.encoder()?, out)?);
        }
        let mut encoder = self.encoder.take().ok_or_else(given_up)?;
        let mut piece = std::mem::take(out);
        let done = tokio::task::spawn_blocking(move || {
            let done = step(&mut encoder, &mut piece);
            (encoder, piece, done)
        });
        let (encoder, piece, done) = done.await.map_err(|_| given_up())?;
        self.encoder = Some(encoder);
        *out = piece;
        Ok(done?)
    }

    fn json_tail(&self, out: &mut Vec<u8>, error: &str) {
        let versions: serde_json::Map<_, _> =
            self.query.versions().iter().map(|(name, version)| (name.clone(), json!(version))).collect();
        let tail = format!(
            "],\"row_count\":{},\"truncated\":{},\"versions\":{},\"elapsed_ms\":{}{error}}}\n",
            self.rows,
            self.query.truncated(),
            serde_json::Value::Object(versions),
            self.started.elapsed().as_millis(),
        );
        out.extend_from_slice(tail.as_bytes());
    }

    fn late(&self, problem: &Problem) -> Result<Vec<u8>, std::io::Error> {
        let error = serde_json::to_string(&problem.late())?;
        let mut out = Vec::new();
        match self.format {
            Format::Json => self.json_tail(&mut out, &format!(",\"error\":{error}")),
            Format::NdJson => out.extend_from_slice(format!("{{\"$error\":{error}}}\n").as_bytes()),
            Format::Csv | Format::ArrowStream | Format::ArrowFile | Format::Parquet => {
                return Err(std::io::Error::other(problem.code));
            }
        }
        Ok(out)
    }
}

fn given_up() -> Problem {
    Problem::new(ErrorKind::Internal, "internal", "the answer was given up")
}

/// The schema of an answer, in the words of the API.
fn columns(schema: &SchemaRef) -> Vec<serde_json::Value> {
    let column = |field: &Arc<Field>| {
        let ty = answered_type(field.name(), field.data_type());
        json!({"name": field.name(), "type": ty, "nullable": field.is_nullable()})
    };
    unique_names(schema).fields().iter().map(column).collect()
}
