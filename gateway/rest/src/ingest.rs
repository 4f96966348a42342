//! `POST /v1/datasets/{ns}/{name}/ingest`: a push.
//!
//! One request is one version: the whole body is validated while it streams to a file, and the rows
//! become visible in one commit, or not at all.

use std::sync::Arc;

use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use lakegate_catalog::{Access, Caller, Column, DatasetName, ErrorKind, NewDataset, Role};
use lakegate_formats::Format;
use lakegate_lake::{Append, Begin, Committed, LakeError, PushRecord, Table};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::caller::Identified;
use crate::datasets::{DatasetPath, abandon, allow_create, check_width, register};
use crate::decode::{Head, write_rows};
use crate::extract::{Path, Query};
use crate::infer::infer;
use crate::intake::{Intake, first_half, linger};
use crate::media::{media_type, unsupported};
use crate::metrics::Outcome;
use crate::problem::{Problem, Result};
use crate::receipts::Receipt;
use crate::trace::step;
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
    body: Body,
) -> Result<Response> {
    let push = Push { app: &app, caller: &caller, headers: &headers };
    let _place = app.pushes.admit(&headers, push.format(&query).ok()).await?;
    let mut stream = body.into_data_stream();
    let done = push.run(&path, &query, &mut stream).await;
    if done.is_err() {
        linger(&mut stream).await;
    }
    match &done {
        Ok(stored) if stored.committed.duplicate => app.metrics.push_ended(Outcome::Duplicate, 0),
        Ok(stored) => app.metrics.push_ended(Outcome::Done, stored.committed.rows),
        Err(_) => app.metrics.push_ended(Outcome::Failed, 0),
    }
    done.map(|stored| stored.answer())
}

/// What was stored, and where.
struct Stored {
    name: DatasetName,
    dataset: lakegate_catalog::DatasetId,
    committed: Committed,
}

impl Stored {
    fn answer(&self) -> Response {
        let Committed { version, rows, duplicate } = self.committed;
        let receipt = Receipt { dataset: self.dataset, version, rows }.encode();
        let status = if duplicate { "duplicate" } else { "committed" };
        let versions = [("lakegate-versions", format!("{}={version}", self.name))];
        (versions, axum::Json(PushAnswer { receipt, status, rows, version })).into_response()
    }
}

struct Push<'a> {
    app: &'a App,
    caller: &'a Identified,
    headers: &'a HeaderMap,
}

impl Push<'_> {
    async fn run(&self, path: &DatasetPath, query: &IngestQuery, body: &mut BodyDataStream) -> Result<Stored> {
        let name = path.dataset_name(query.create)?;
        // Pushes that may create the same dataset take turns: the later ones find it and append.
        let turn =
            if query.create { Some(self.app.creating.turn(&name, self.app.limits.push_timeout).await?) } else { None };
        let access = Access::find(self.app.catalog.as_ref(), &self.caller.caller, &name).await?;
        if let Some(access) = &access {
            let denied = |_| Problem::denied(format!("pushing to `{name}` needs the role writer on it"));
            access.require(Role::Writer).map_err(denied)?;
        } else if !query.create {
            return Err(Problem::dataset_not_found(&name).with_help("add ?create=true to create it from this push"));
        }
        let intake = Intake::new(self.headers, self.format(query)?, body, &self.app.limits)?;
        let key = self.key_hash()?;
        let committed = match access {
            Some(access) => {
                // Nothing to create: pushes of rows run side by side.
                drop(turn);
                let table = self.app.table(&access.dataset).await?;
                let committed = self.append(&name, &table, key, intake, Head::none()).await?;
                return Ok(Stored { name, dataset: access.dataset.id, committed });
            }
            None => self.create(&name, key, intake).await?,
        };
        Ok(committed)
    }

    fn format(&self, query: &IngestQuery) -> Result<Format> {
        // Also where `format` beats it: its charset still holds.
        let media = media_type(self.headers)?;
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

    /// The scope of a key is principal and dataset; the dataset is the table that keeps it.
    fn key_hash(&self) -> Result<Option<[u8; 16]>> {
        let mut sent = self.headers.get_all(&IDEMPOTENCY_KEY).iter();
        let Some(key) = sent.next() else {
            return Ok(None);
        };
        let valid =
            sent.next().is_none() && (1..=255).contains(&key.len()) && key.as_bytes().iter().all(u8::is_ascii_graphic);
        if !valid {
            let detail = "send one Idempotency-Key of 1 to 255 visible ASCII characters";
            return Err(Problem::new(ErrorKind::Invalid, "invalid_idempotency_key", detail));
        }
        let mut hash = Sha256::new();
        if let Caller::Principal(principal) = &self.caller.caller {
            hash.update(principal.id.as_uuid().as_bytes());
        }
        hash.update([0]);
        hash.update(key.as_bytes());
        Ok(Some(first_half(hash)))
    }

    /// Pushes to a table that exists. `head` was read from the body before.
    async fn append(
        &self,
        name: &DatasetName,
        table: &Arc<Table>,
        key: Option<[u8; 16]>,
        intake: Intake<'_>,
        head: Head,
    ) -> Result<Committed> {
        match table.begin(key).await.map_err(|error| Problem::with_dataset(name, error))? {
            Begin::Seen(record) => self.compare(intake, &record).await,
            Begin::New(append) => self.write(*append, intake, head).await,
        }
    }

    async fn write(&self, mut append: Append, mut intake: Intake<'_>, head: Head) -> Result<Committed> {
        write_rows(&mut append, &mut intake, head, &self.app.limits).await?;
        self.app.metrics.push_received(intake.decoded());
        Ok(step!("commit", append.commit(Some(intake.body_hash()))).await?)
    }

    /// The key was used before: the same body is answered with what it did then.
    async fn compare(&self, mut intake: Intake<'_>, record: &PushRecord) -> Result<Committed> {
        while intake.next().await?.is_some() {}
        self.app.metrics.push_received(intake.decoded());
        if intake.body_hash() != record.body {
            return Err(LakeError::KeyReused.into());
        }
        Ok(Committed { version: record.version, rows: record.rows, duplicate: true })
    }

    /// Creates the dataset from the push: nobody sees it before its first rows are committed, and a
    /// push that fails leaves no dataset.
    async fn create(&self, name: &DatasetName, key: Option<[u8; 16]>, mut intake: Intake<'_>) -> Result<Stored> {
        let owner = allow_create(self.app, self.caller, name).await?;
        let (columns, head) = infer(&mut intake, &self.app.limits).await?;
        check_width(&columns)?;
        Column::check_all(&columns)?;
        let new = NewDataset::root(name.clone(), columns);
        let id = new.id;
        self.app.lake.create(id, &new.schema).await?;
        let pushed = async { self.append(name, &self.app.lake.table(id).await?, key, intake, head).await };
        let committed = match pushed.await {
            Ok(committed) => committed,
            Err(problem) => {
                abandon(self.app, id).await;
                return Err(problem);
            }
        };
        register(self.app, new, owner).await?;
        Ok(Stored { name: name.clone(), dataset: id, committed })
    }
}
