//! Rows into datasets: `CommandStatementIngest`, and `DoPut` to the path of a dataset. A put is one push, with the limits,
//! receipts and idempotency keys that pushes have.

use std::time::Duration;

use arrow_flight::PutResult;
use arrow_flight::sql::{CommandStatementIngest, TableDefinitionOptions, TableExistsOption, TableNotExistOption};
use futures::StreamExt as _;
use lakegate_catalog::{AuditAction, DatasetName};
use lakegate_flight_wire::IngestResult;
use lakegate_formats::Format;
use lakegate_ingest::{Body, Create, IngestError, Packing, Push, Size, Stored};
use prost::Message as _;
use serde_json::json;
use tonic::Response;

use crate::frames;
use crate::put::Incoming;
use crate::service::{Asked, Flight, Streamed, once};
use crate::session::CATALOG;
use crate::statement::no_transaction;
use crate::status::{Failure, Result};

/// The option, and the metadata, that hold an idempotency key.
const KEY_OPTION: &str = "lakegate.idempotency_key";
const KEY_METADATA: &str = "idempotency-key";

/// `CommandStatementIngest`: rows into the table that it names, in the way that its options say.
pub(crate) async fn into_table(
    flight: &Flight,
    asked: &Asked,
    command: CommandStatementIngest,
    incoming: &mut Incoming,
) -> Result<Response<Streamed<PutResult>>> {
    no_transaction(command.transaction_id.as_deref())?;
    if command.temporary {
        return Err(Failure::unsupported(
            "temporary tables are not supported: nothing is kept for a connection; ingest into a dataset, and delete it",
        ));
    }
    if command.catalog.as_deref().is_some_and(|catalog| !matches!(catalog, "" | CATALOG)) {
        return Err(Failure::invalid(format!("the only catalog is `{CATALOG}`")));
    }
    let name = table_name(asked, command.schema.as_deref(), &command.table)?;
    let create = mode(command.table_definition_options.unwrap_or_default())?;
    let key = key(asked, command.options.get(KEY_OPTION).map(String::as_bytes))?;
    let stored = store(flight, asked, &name, create, key.as_deref(), incoming).await?;
    let committed = stored.committed;
    let result = IngestResult {
        record_count: i64::try_from(committed.rows).unwrap_or(i64::MAX),
        receipt: stored.receipt().encode(),
        status: status(&stored).to_owned(),
        version: committed.version,
    };
    answer(&stored, result.encode_to_vec())
}

/// `DoPut` to `[namespace, dataset]` or `[namespace.dataset]`, which must be there; the answer's metadata is JSON.
pub(crate) async fn into_path(
    flight: &Flight,
    asked: &Asked,
    path: &[String],
    incoming: &mut Incoming,
) -> Result<Response<Streamed<PutResult>>> {
    let name = match path {
        [namespace, dataset] => table_name(asked, Some(namespace), dataset)?,
        [name] => match name.split_once('.') {
            Some((namespace, dataset)) => table_name(asked, Some(namespace), dataset)?,
            None => table_name(asked, None, name)?,
        },
        _ => return Err(Failure::invalid("the path of a put is a namespace and a dataset")),
    };
    let key = key(asked, None)?;
    let stored = store(flight, asked, &name, Create::Never, key.as_deref(), incoming).await?;
    let told = json!({
        "receipt": stored.receipt().encode(),
        "status": status(&stored),
        "rows": stored.committed.rows,
        "version": stored.committed.version,
    });
    answer(&stored, told.to_string().into_bytes())
}

async fn store(
    flight: &Flight,
    asked: &Asked,
    name: &DatasetName,
    create: Create,
    key: Option<&[u8]>,
    incoming: &mut Incoming,
) -> Result<Stored> {
    let visit = flight.on_dataset(AuditAction::Push, &asked.caller, name);
    let size = Size { length: None, format: Some(Format::ArrowStream), whole: true };
    let failed = |error: &IngestError| visit.end(Some((error.kind(), error.code())));
    let place = flight.ingest.admit(&asked.caller, size).await.inspect_err(failed)?;
    let stored = async {
        let stream = frames::stream(incoming);
        let mut body = Body::new(stream, Format::ArrowStream, Packing::None, None, flight.ingest.limits())?;
        let push = Push { caller: &asked.caller, name, create, key };
        let stored = flight.ingest.push(&place, push, &mut body).await;
        visit.note(|entry| entry.bytes = Some(body.decoded()));
        stored
    };
    let stored = stored.await;
    match &stored {
        Ok(stored) => {
            visit.note(|entry| {
                entry.dataset_id = Some(stored.dataset);
                entry.version = Some(stored.committed.version);
                entry.rows = Some(stored.committed.rows);
            });
            if stored.committed.duplicate {
                visit.say("duplicate");
            }
            visit.end(None);
        }
        Err(error) => {
            failed(error);
            linger(incoming).await;
        }
    }
    Ok(stored?)
}

/// Reads on for a moment after a put was refused: some clients look for the answer only when all is sent.
async fn linger(incoming: &mut Incoming) {
    const AT_MOST: usize = 8 << 20;
    const NO_LONGER_THAN: Duration = Duration::from_secs(2);
    let discard = async {
        let mut seen = 0;
        let mut rest = std::pin::pin!(incoming.rest());
        while let Some(Ok(message)) = rest.next().await {
            seen += message.data_body.len();
            if seen > AT_MOST {
                break;
            }
        }
    };
    // Out of time or not, the answer goes out now.
    let _ = tokio::time::timeout(NO_LONGER_THAN, discard).await;
}

fn status(stored: &Stored) -> &'static str {
    if stored.committed.duplicate { "duplicate" } else { "committed" }
}

fn answer(stored: &Stored, app_metadata: Vec<u8>) -> Result<Response<Streamed<PutResult>>> {
    let mut response = once(PutResult { app_metadata: app_metadata.into() });
    let receipt = stored.receipt().encode().parse().map_err(Failure::defect)?;
    response.metadata_mut().insert("lakegate-receipt", receipt);
    Ok(response)
}

/// The dataset; a table without a schema is in that of the session. Some clients write both into the table's name.
fn table_name(asked: &Asked, schema: Option<&str>, table: &str) -> Result<DatasetName> {
    let schema = schema.filter(|schema| !schema.is_empty()).map(str::to_owned);
    let namespace = schema.or_else(|| asked.session.namespace().map(|name| name.to_string()));
    let named = match (namespace, table.split_once('.')) {
        (Some(namespace), _) => DatasetName::new(&namespace, table)?,
        (None, Some((namespace, table))) => DatasetName::new(namespace, table)?,
        (None, None) => {
            let detail = format!("`{table}` has no schema: name one, or set the session option `schema`");
            return Err(Failure::invalid(detail));
        }
    };
    Ok(named)
}

/// What to do when the table is there, or is not.
fn mode(options: TableDefinitionOptions) -> Result<Create> {
    let missing = TableNotExistOption::try_from(options.if_not_exist).unwrap_or(TableNotExistOption::Unspecified);
    let there = TableExistsOption::try_from(options.if_exists).unwrap_or(TableExistsOption::Unspecified);
    Ok(match (missing, there) {
        (TableNotExistOption::Create, TableExistsOption::Fail) => Create::New,
        (TableNotExistOption::Create, TableExistsOption::Replace) => Create::Replace,
        (TableNotExistOption::Create, _) => Create::IfMissing,
        (_, TableExistsOption::Append | TableExistsOption::Unspecified) => Create::Never,
        (_, TableExistsOption::Replace) => {
            return Err(Failure::unsupported(
                "replacing a table that must be there is not supported: let it be created too",
            ));
        }
        (_, TableExistsOption::Fail) => {
            return Err(Failure::invalid("a table that must be there and must not be there cannot be written to"));
        }
    })
}

/// The idempotency key, from an option or from the metadata.
fn key(asked: &Asked, option: Option<&[u8]>) -> Result<Option<Vec<u8>>> {
    let mut sent = asked.metadata.get_all(KEY_METADATA).iter();
    let in_metadata = sent.next().map(tonic::metadata::MetadataValue::as_bytes);
    if sent.next().is_some() || (option.is_some() && in_metadata.is_some()) {
        return Err(IngestError::Key.into());
    }
    Ok(option.or(in_metadata).map(<[u8]>::to_vec))
}
