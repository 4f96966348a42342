//! The table of contents: each call of Flight, and the file that does it.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, Command,
    ProstMessageExt as _,
};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, SchemaAsIpc, SchemaResult, Ticket,
};
use async_trait::async_trait;
use axum::extract::ConnectInfo;
use futures::Stream;
use lakegate_catalog::{Caller, Catalog, Door, InstanceKey};
use lakegate_flight_wire::{Seal, command, packed};
use lakegate_ingest::Ingest;
use lakegate_query::Engine;
use prometheus_client::registry::Registry;
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::calls::Calls;
use crate::put::{Incoming, put};
use crate::session::Session;
use crate::statement::{self, Question};
use crate::status::{Failure, Result};
use crate::{answer, cancel, handshake, metadata, prepared, reflection, session};

/// A stream of messages.
pub(crate) type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// An answer of one message.
pub(crate) fn once<T: Send + 'static>(message: T) -> Response<Streamed<T>> {
    Response::new(Box::pin(futures::stream::once(async { Ok(message) })))
}

/// How calls are served.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a client may take none of an answer's rows.
    pub write_timeout: Duration,
    /// Bytes of one message that comes in.
    pub max_message: usize,
}

/// What every call sees.
#[derive(Clone)]
pub struct Flight {
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) door: Arc<Door>,
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) seal: Seal,
    pub(crate) options: Options,
    calls: Calls,
}

impl Flight {
    /// Puts the parts together. `key` is the instance's, so that any of its gateways takes back what another has given.
    pub fn new(
        catalog: Arc<dyn Catalog>,
        door: Arc<Door>,
        engine: Arc<Engine>,
        ingest: Arc<Ingest>,
        key: InstanceKey,
        options: Options,
    ) -> Self {
        Self { catalog, door, engine, ingest, seal: Seal::new(key), options, calls: Calls::default() }
    }

    /// Makes the counts of calls part of what is told of the process.
    pub fn register(&self, registry: &mut Registry) {
        self.calls.register(registry);
    }

    /// Who asks, and under which options.
    async fn asked(&self, metadata: MetadataMap) -> Result<Asked> {
        let caller = self.caller(&metadata).await?;
        let session = Session::of(&self.seal, &caller, &metadata)?;
        Ok(Asked { caller, session, metadata })
    }

    async fn info(&self, asked: &Asked, descriptor: FlightDescriptor) -> Result<FlightInfo> {
        if !descriptor.path.is_empty() {
            return metadata::path_info(self, asked, descriptor).await;
        }
        match command(descriptor.cmd.clone())? {
            Command::CommandStatementQuery(command) => {
                let question = statement::question(command, asked)?;
                statement::info(self, &asked.caller, question, descriptor).await
            }
            Command::CommandPreparedStatementQuery(command) => {
                let question = prepared::bound(self, asked, &command.prepared_statement_handle)?;
                statement::info(self, &asked.caller, question, descriptor).await
            }
            Command::CommandStatementSubstraitPlan(_) => Err(substrait()),
            command => metadata::info(&command, descriptor),
        }
    }

    async fn schema_of(&self, asked: &Asked, descriptor: FlightDescriptor) -> Result<SchemaRef> {
        if !descriptor.path.is_empty() {
            return metadata::path_schema(self, asked, &descriptor.path).await;
        }
        match command(descriptor.cmd)? {
            Command::CommandStatementQuery(command) => {
                statement::schema(self, &asked.caller, &statement::question(command, asked)?).await
            }
            Command::CommandPreparedStatementQuery(command) => {
                let question = prepared::bound(self, asked, &command.prepared_statement_handle)?;
                statement::schema(self, &asked.caller, &question).await
            }
            Command::CommandStatementSubstraitPlan(_) => Err(substrait()),
            command => metadata::schema(&command),
        }
    }

    async fn get(&self, asked: &Asked, ticket: Ticket) -> Result<Response<Streamed<FlightData>>> {
        match command(ticket.ticket)? {
            Command::TicketStatementQuery(ticket) => {
                let question = statement::of_ticket(self, &asked.caller, &ticket)?;
                statement::rows(self, asked, &question).await
            }
            // Some clients fetch without asking for a flight info first.
            Command::CommandStatementQuery(command) => {
                let question: Question = statement::question(command, asked)?;
                statement::rows(self, asked, &question).await
            }
            Command::CommandPreparedStatementQuery(command) => {
                let question = prepared::bound(self, asked, &command.prepared_statement_handle)?;
                statement::rows(self, asked, &question).await
            }
            command => {
                let (schema, batch) = metadata::rows(self, asked, command).await?;
                Ok(Response::new(answer::at_hand(&[batch], schema)?))
            }
        }
    }

    async fn act(&self, asked: &Asked, action: Action) -> Result<Response<Streamed<arrow_flight::Result>>> {
        let Action { r#type: name, body } = action;
        match name.as_str() {
            "CreatePreparedStatement" => {
                let request: ActionCreatePreparedStatementRequest = packed(body)?;
                Ok(result(&prepared::create(self, asked, request).await?.packed()))
            }
            "ClosePreparedStatement" => {
                let request: ActionClosePreparedStatementRequest = packed(body)?;
                prepared::close(self, asked, &request)?;
                Ok(Response::new(Box::pin(futures::stream::empty())))
            }
            "CancelFlightInfo" => {
                let request = CancelFlightInfoRequest::decode(body)?;
                Ok(result(&cancel::flight_info(self, asked, request.info).await?))
            }
            "CancelQuery" => {
                let request: ActionCancelQueryRequest = packed(body)?;
                Ok(result(&cancel::query(self, asked, &request.info).await?.as_any()))
            }
            "SetSessionOptions" => {
                session::set(&self.seal, &asked.caller, &asked.metadata, &body, self.engine.max_timeout())
            }
            "GetSessionOptions" => session::get(&self.seal, &asked.caller, &asked.metadata),
            "CloseSession" => session::close(),
            "BeginTransaction" | "EndTransaction" | "BeginSavepoint" | "EndSavepoint" => Err(Failure::unsupported(
                "transactions are not supported: each statement stands for itself, and each ingest is one version",
            )),
            "CreatePreparedSubstraitPlan" => Err(substrait()),
            other => {
                let other: String = other.chars().take(80).collect();
                Err(Failure::unsupported(format!("there is no action `{other}`; ListActions lists them")))
            }
        }
    }
}

impl std::fmt::Debug for Flight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flight").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Who asks, and under which options.
pub(crate) struct Asked {
    pub(crate) caller: Caller,
    pub(crate) session: Session,
    pub(crate) metadata: MetadataMap,
}

fn substrait() -> Failure {
    Failure::unsupported("Substrait plans are not supported: send SQL")
}

fn result(message: &impl Message) -> Response<Streamed<arrow_flight::Result>> {
    once(arrow_flight::Result { body: message.encode_to_vec().into() })
}

/// The actions, as `ListActions` tells them.
const ACTIONS: [(&str, &str); 7] = [
    ("CreatePreparedStatement", "Checks and plans a statement. ActionCreatePreparedStatementRequest, …Result"),
    ("ClosePreparedStatement", "Gives a prepared statement back. ActionClosePreparedStatementRequest"),
    ("CancelFlightInfo", "Stops a running query. CancelFlightInfoRequest, CancelFlightInfoResult"),
    ("CancelQuery", "The same, for older clients. ActionCancelQueryRequest, ActionCancelQueryResult"),
    ("SetSessionOptions", "Sets catalog, schema, time_zone, row_limit, query_timeout, plain_types in a cookie"),
    ("GetSessionOptions", "The options of the session"),
    ("CloseSession", "Forgets the session"),
];

#[async_trait]
impl FlightService for Flight {
    type HandshakeStream = Streamed<HandshakeResponse>;
    type ListFlightsStream = Streamed<FlightInfo>;
    type DoGetStream = Streamed<FlightData>;
    type DoPutStream = Streamed<PutResult>;
    type DoActionStream = Streamed<arrow_flight::Result>;
    type ListActionsStream = Streamed<ActionType>;
    type DoExchangeStream = Streamed<FlightData>;

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        let from = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        self.calls.counted("Handshake", handshake::handshake(self, request.metadata(), from)).await
    }

    async fn list_flights(&self, request: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        let (metadata, _, criteria) = request.into_parts();
        let work = async { metadata::list(self, &self.asked(metadata).await?, &criteria.expression).await };
        self.calls.counted("ListFlights", work).await
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        let (metadata, _, descriptor) = request.into_parts();
        let work = async { Ok(Response::new(self.info(&self.asked(metadata).await?, descriptor).await?)) };
        self.calls.counted("GetFlightInfo", work).await
    }

    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        let (metadata, _, descriptor) = request.into_parts();
        let work = async {
            // Planning is all that has to be waited for: the rows come with DoGet, as they are made.
            let info = self.info(&self.asked(metadata).await?, descriptor).await?;
            let done =
                PollInfo { info: Some(info), flight_descriptor: None, progress: Some(1.0), expiration_time: None };
            Ok(Response::new(done))
        };
        self.calls.counted("PollFlightInfo", work).await
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let (metadata, _, descriptor) = request.into_parts();
        let work = async {
            let schema = self.schema_of(&self.asked(metadata).await?, descriptor).await?;
            Ok(Response::new(SchemaAsIpc::new(&schema, &IpcWriteOptions::default()).try_into()?))
        };
        self.calls.counted("GetSchema", work).await
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let (metadata, _, ticket) = request.into_parts();
        self.calls.counted("DoGet", async { self.get(&self.asked(metadata).await?, ticket).await }).await
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        let (metadata, _, messages) = request.into_parts();
        let work = async {
            let asked = self.asked(metadata).await?;
            let patience = self.ingest.limits().idle_timeout;
            let begun = tokio::time::timeout(patience, Incoming::begin(messages, self.options.max_message)).await;
            let (mut incoming, descriptor) = begun.map_err(|_| lakegate_ingest::IngestError::Idle(patience))??;
            put(self, &asked, &mut incoming, descriptor).await
        };
        self.calls.counted("DoPut", work).await
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let (metadata, _, action) = request.into_parts();
        self.calls.counted("DoAction", async { self.act(&self.asked(metadata).await?, action).await }).await
    }

    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        let all = ACTIONS.map(|(name, does)| Ok(ActionType { r#type: name.to_owned(), description: does.to_owned() }));
        let stream: Self::ListActionsStream = Box::pin(futures::stream::iter(all));
        self.calls.counted("ListActions", async { Ok(Response::new(stream)) }).await
    }

    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoExchangeStream>, Status> {
        let refused = Failure::unsupported("DoExchange is not supported: DoGet answers, DoPut stores");
        self.calls.counted("DoExchange", async { Err(refused) }).await
    }
}

/// All services of the port: Flight, health and reflection.
pub async fn routes(flight: Flight) -> axum::Router {
    let most = flight.options.max_message;
    let service =
        FlightServiceServer::new(flight).max_decoding_message_size(most).max_encoding_message_size(usize::MAX);
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<FlightServiceServer<Flight>>().await;
    let mut routes = Routes::new(service).add_service(health);
    let described = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_file_descriptor_set(reflection::files())
    };
    // Tools ask for the newer version or the older one.
    if let (Ok(newer), Ok(older)) = (described().build_v1(), described().build_v1alpha()) {
        routes = routes.add_service(newer).add_service(older);
    }
    routes.prepare().into_axum_router()
}
