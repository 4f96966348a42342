//! Statements: what one would answer (`GetFlightInfo`, `GetSchema`, `PollFlightInfo`), and its rows (`DoGet`).

use std::collections::BTreeMap;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt as _, TicketStatementQuery};
use arrow_flight::{FlightDescriptor, FlightEndpoint, FlightInfo, Ticket};
use lakegate_catalog::{Caller, DatasetId, ErrorKind};
use lakegate_flight_wire::Purpose;
use lakegate_query::{AsOf, Params, QueryRequest};
use prost::Message;
use serde_json::json;
use tonic::Response;

use crate::answer::{Encoder, answer};
use crate::fields::described;
use crate::params;
use crate::service::{Asked, Flight, Streamed};
use crate::session::Session;
use crate::status::{Failure, Result};

/// A statement, with all that it takes to run it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Question {
    #[prost(string, tag = "1")]
    pub(crate) sql: String,
    /// The bound parameters: an Arrow IPC stream with one batch of one row; empty when there are none.
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) bound: Vec<u8>,
    /// The placeholders that they are for.
    #[prost(string, repeated, tag = "3")]
    pub(crate) placeholders: Vec<String>,
    /// The options that hold for it.
    #[prost(message, optional, tag = "4")]
    pub(crate) session: Option<Session>,
    /// The id that the query will have.
    #[prost(string, tag = "5")]
    pub(crate) query_id: String,
    /// What its schema was found at, by the names of datasets; it reads those.
    #[prost(btree_map = "string, message", tag = "7")]
    pub(crate) found: BTreeMap<String, FoundAt>,
}

/// A dataset at a version.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct FoundAt {
    #[prost(string, tag = "1")]
    dataset: String,
    #[prost(uint64, tag = "2")]
    version: u64,
}

impl Question {
    /// The request that this stands for.
    pub(crate) fn request(&self) -> Result<QueryRequest> {
        let params = match self.bound.as_slice() {
            [] => Params::None,
            bound => Params::Typed(params::values(&params::read(bound)?, &self.placeholders)?),
        };
        let session = self.session.clone().unwrap_or_default();
        let mut request = session.request(&self.sql, params);
        request.id = Some(self.query_id.clone()).filter(|id| !id.is_empty());
        let found = self.found.iter().filter_map(|(name, FoundAt { dataset, version })| {
            Some((name.parse().ok()?, (dataset.parse().ok()?, *version)))
        });
        request.as_of = AsOf::Found(found.collect());
        Ok(request)
    }
}

/// `CommandStatementQuery`.
pub(crate) fn question(command: CommandStatementQuery, asked: &Asked) -> Result<Question> {
    no_transaction(command.transaction_id.as_deref())?;
    Ok(Question { sql: command.query, session: Some(asked.session.clone()), ..Question::default() })
}

/// There are none, so a call within one is a mistake.
pub(crate) fn no_transaction(id: Option<&[u8]>) -> Result<()> {
    match id {
        None | Some([]) => Ok(()),
        Some(_) => Err(Failure::unsupported("transactions are not supported: each statement stands for itself")),
    }
}

/// Plans the statement, and says what it will answer and where to fetch it: one endpoint, on this connection.
pub(crate) async fn info(
    flight: &Flight,
    caller: &Caller,
    question: Question,
    descriptor: FlightDescriptor,
) -> Result<FlightInfo> {
    let keeps_types = question.session.as_ref().is_some_and(Session::keeps_types);
    let query_id = uuid::Uuid::now_v7().to_string();
    let request = QueryRequest { id: Some(query_id.clone()), ..question.request()? };
    let found = flight.engine.describe(caller, request).await?;
    let at = |(id, version): &(DatasetId, u64)| FoundAt { dataset: id.to_string(), version: *version };
    let found_at = found.found.iter().map(|(name, found)| (name.to_string(), at(found))).collect();
    let about = json!({ "query_id": query_id, "versions": versions_json(&found.versions) });
    let question = Question { query_id, found: found_at, ..question };
    let handle = flight.seal.close(Purpose::Ticket, caller, &question);
    let ticket = TicketStatementQuery { statement_handle: handle.into() }.as_any().encode_to_vec();
    let info = flight_info(&described(&found.schema, keeps_types), ticket, descriptor)?;
    Ok(info.with_app_metadata(about.to_string()))
}

fn versions_json(versions: &[(String, u64)]) -> serde_json::Value {
    versions.iter().map(|(name, version)| (name.clone(), json!(version))).collect::<serde_json::Map<_, _>>().into()
}

/// What is answered to whoever asks where rows are.
pub(crate) fn flight_info(schema: &Schema, ticket: Vec<u8>, descriptor: FlightDescriptor) -> Result<FlightInfo> {
    /// A handle with large parameters need not come back twice: the ticket has it.
    const MOST: usize = 64 << 10;
    let endpoint = FlightEndpoint::new().with_ticket(Ticket { ticket: ticket.into() });
    let info = FlightInfo::new().try_with_schema(schema)?;
    let info = if descriptor.cmd.len() > MOST { info } else { info.with_descriptor(descriptor) };
    Ok(info.with_endpoint(endpoint).with_total_records(-1).with_total_bytes(-1).with_ordered(true))
}

/// The schema of a statement's rows.
pub(crate) async fn schema(flight: &Flight, caller: &Caller, question: &Question) -> Result<SchemaRef> {
    let keeps_types = question.session.as_ref().is_some_and(Session::keeps_types);
    let found = flight.engine.describe(caller, question.request()?).await?;
    flight.shown(caller, &found);
    Ok(described(&found.schema, keeps_types))
}

/// The question of a ticket.
pub(crate) fn of_ticket(flight: &Flight, caller: &Caller, ticket: &TicketStatementQuery) -> Result<Question> {
    flight.open(Purpose::Ticket, caller, &ticket.statement_handle)
}

/// Runs a statement and streams its rows.
pub(crate) async fn rows(
    flight: &Flight,
    asked: &Asked,
    question: &Question,
) -> Result<Response<Streamed<arrow_flight::FlightData>>> {
    let keeps_types = question.session.as_ref().is_some_and(Session::keeps_types);
    let mut request = question.request()?;
    let again = QueryRequest { id: None, ..request.clone() };
    let query = match flight.engine.query(&asked.caller, request.clone()).await {
        // A ticket may be redeemed twice at once; the second query has an id of its own.
        Err(lakegate_query::QueryError::QueryIdInUse(_)) => {
            request = again;
            flight.engine.query(&asked.caller, request).await?
        }
        other => other?,
    };
    let schema = described(&query.schema(), keeps_types);
    let encoder = Encoder::new(schema, asked.write_options()?);
    let versions: Vec<String> = query.versions().iter().map(|(name, version)| format!("{name}={version}")).collect();
    let id = query.id().to_owned();
    let mut response = Response::new(answer(query, encoder, flight.options.write_timeout));
    let metadata = response.metadata_mut();
    metadata.insert("lakegate-query-id", id.parse().map_err(Failure::defect)?);
    if let Ok(versions) = versions.join(", ").parse() {
        metadata.insert("lakegate-versions", versions);
    }
    Ok(response)
}

impl Asked {
    /// How rows are written: compressed when the call asks for it by the metadata `lakegate-compression`.
    pub(crate) fn write_options(&self) -> Result<IpcWriteOptions> {
        let compression = match self.metadata.get("lakegate-compression").map(tonic::metadata::MetadataValue::as_bytes)
        {
            None | Some(b"none") => None,
            Some(b"lz4") => Some(CompressionType::LZ4_FRAME),
            Some(b"zstd") => Some(CompressionType::ZSTD),
            Some(_) => {
                let detail = "lakegate-compression must be none, lz4 or zstd";
                return Err(Failure::new(ErrorKind::Invalid, "invalid_request", detail));
            }
        };
        Ok(IpcWriteOptions::default().try_with_compression(compression)?)
    }
}
