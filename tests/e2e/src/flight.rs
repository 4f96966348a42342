//! A client of Flight that can send what well-behaved drivers do not: any message, any metadata, any order.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt};
use arrow_flight::{Action, FlightData, FlightDescriptor, FlightInfo, PutResult, Ticket};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use prost::Message as _;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::Result;

/// Bytes of a message that is taken: an answer's are smaller, a test sees when they are not.
const MESSAGE: usize = 64 << 20;

/// Speaks Flight to a gateway.
#[derive(Clone, Debug)]
pub struct FlightClient {
    inner: FlightServiceClient<Channel>,
    headers: BTreeMap<&'static str, String>,
}

/// What a statement or a metadata command answers.
#[derive(Clone, Debug)]
pub struct Rows {
    /// The schema as the flight info has it.
    pub promised: SchemaRef,
    /// The schema as the stream has it.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
    /// The metadata that came before the rows.
    pub headers: MetadataMap,
}

impl Rows {
    /// How many rows there are.
    pub fn count(&self) -> usize {
        count(&self.batches)
    }
}

/// How many rows there are in all batches.
pub fn count(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// The stable code of an error, from its trailers.
pub fn code(status: &Status) -> String {
    let code = status.metadata().get("lakegate-error-code").and_then(|code| code.to_str().ok());
    code.unwrap_or("none").to_owned()
}

impl FlightClient {
    /// Connects to `grpc://host:port`; the token is sent with each call.
    pub async fn connect(address: &str, token: Option<&str>) -> Result<Self> {
        let address = address.replacen("grpc://", "http://", 1);
        let channel = Endpoint::from_shared(address)?.connect().await?;
        let inner =
            FlightServiceClient::new(channel).max_decoding_message_size(MESSAGE).max_encoding_message_size(usize::MAX);
        let client = Self { inner, headers: BTreeMap::new() };
        Ok(match token {
            Some(token) => client.header("authorization", &format!("Bearer {token}")),
            None => client,
        })
    }

    /// The same with another entry in the metadata of each call.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.to_owned());
        self
    }

    /// The same without a token.
    #[must_use]
    pub fn anonymous(mut self) -> Self {
        self.headers.remove("authorization");
        self
    }

    /// The client that the protocol's files make; its requests are [`FlightClient::request`].
    pub fn raw(&self) -> FlightServiceClient<Channel> {
        self.inner.clone()
    }

    /// A call with the metadata of this client.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        for (name, value) in &self.headers {
            if let Ok(value) = value.parse::<AsciiMetadataValue>() {
                request.metadata_mut().insert(AsciiMetadataKey::from_static(name), value);
            }
        }
        request
    }

    /// `GetFlightInfo` of a command of Flight SQL.
    pub async fn info(&self, command: &impl ProstMessageExt) -> Result<FlightInfo, Status> {
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        Ok(self.raw().get_flight_info(self.request(descriptor)).await?.into_inner())
    }

    /// `DoGet`: the messages as they come.
    pub async fn messages(
        &self,
        ticket: Ticket,
    ) -> Result<tonic::Response<impl Stream<Item = Result<FlightData, Status>> + Send + use<>>, Status> {
        self.raw().do_get(self.request(ticket)).await
    }

    /// `DoGet`: all rows.
    pub async fn get(&self, ticket: Ticket) -> Result<(SchemaRef, Vec<RecordBatch>, MetadataMap), Status> {
        let response = self.messages(ticket).await?;
        let headers = response.metadata().clone();
        let mut rows = FlightRecordBatchStream::new_from_flight_data(response.into_inner().map_err(Into::into));
        let mut batches = Vec::new();
        while let Some(batch) = rows.next().await {
            batches.push(batch?);
        }
        let schema = rows.schema().cloned().ok_or_else(|| Status::internal("an answer without a schema"))?;
        Ok((schema, batches, headers))
    }

    /// `GetFlightInfo`, then `DoGet` of its one endpoint.
    pub async fn run(&self, command: &impl ProstMessageExt) -> Result<Rows, Status> {
        let info = self.info(command).await?;
        let promised = info.clone().try_decode_schema().map_err(|error| Status::internal(error.to_string()))?;
        let [endpoint] = info.endpoint.as_slice() else { return Err(Status::internal("not one endpoint")) };
        let ticket = endpoint.ticket.clone().ok_or_else(|| Status::internal("an endpoint without a ticket"))?;
        let (schema, batches, headers) = self.get(ticket).await?;
        Ok(Rows { promised: promised.into(), schema, batches, headers })
    }

    /// The rows of a statement.
    pub async fn ask(&self, sql: &str) -> Result<Rows, Status> {
        self.run(&CommandStatementQuery { query: sql.to_owned(), transaction_id: None }).await
    }

    /// `DoAction`.
    pub async fn act(&self, name: &str, body: impl Into<Bytes>) -> Result<(Vec<Bytes>, MetadataMap), Status> {
        let response = self.raw().do_action(self.request(Action::new(name, body))).await?;
        let headers = response.metadata().clone();
        let results = response.into_inner().map_ok(|result| result.body).try_collect().await?;
        Ok((results, headers))
    }

    /// `DoAction` with a command of Flight SQL.
    pub async fn act_on(&self, name: &str, command: &impl ProstMessageExt) -> Result<Vec<Bytes>, Status> {
        Ok(self.act(name, command.as_any().encode_to_vec()).await?.0)
    }

    /// `DoPut` of messages that are at hand or come as they like.
    pub async fn put(
        &self,
        messages: impl Stream<Item = FlightData> + Send + 'static,
    ) -> Result<Vec<PutResult>, Status> {
        self.raw().do_put(self.request(messages)).await?.into_inner().try_collect().await
    }

    /// `DoPut` of rows.
    pub async fn put_rows(
        &self,
        descriptor: FlightDescriptor,
        batches: Vec<RecordBatch>,
    ) -> Result<Vec<PutResult>, Status> {
        self.put(futures::stream::iter(messages(descriptor, batches).await?)).await
    }
}

/// What a put of a command sends first.
pub fn descriptor(command: &impl ProstMessageExt) -> FlightDescriptor {
    FlightDescriptor::new_cmd(command.as_any().encode_to_vec())
}

/// The messages of a put: the schema with the descriptor, then the rows.
pub async fn messages(descriptor: FlightDescriptor, batches: Vec<RecordBatch>) -> Result<Vec<FlightData>, Status> {
    let mut encoder = FlightDataEncoderBuilder::new().with_flight_descriptor(Some(descriptor));
    if let Some(batch) = batches.first() {
        encoder = encoder.with_schema(batch.schema());
    }
    Ok(encoder.build(futures::stream::iter(batches.into_iter().map(Ok))).try_collect().await?)
}
