//! `DoPut`: what the first message asks for, and the stream that follows it.

use arrow_flight::sql::{Command, CommandStatementUpdate, DoPutUpdateResult};
use arrow_flight::{FlightData, FlightDescriptor, PutResult};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use lakegate_flight_wire::command;
use lakegate_formats::FormatError;
use lakegate_ingest::IngestError;
use prost::Message as _;
use tonic::{Code, Response, Status, Streaming};

use crate::service::{Asked, Flight, Streamed, once};
use crate::statement::Question;
use crate::status::{Failure, Result};
use crate::{frames, ingest, params, prepared};

/// The messages of a put; the first one is looked at before the rest is read.
pub(crate) struct Incoming {
    first: Option<FlightData>,
    rest: Streaming<FlightData>,
    /// Bytes that a message may have.
    most: usize,
}

impl Incoming {
    /// Waits for the first message.
    pub(crate) async fn begin(mut rest: Streaming<FlightData>, most: usize) -> Result<(Self, FlightDescriptor)> {
        let first = rest.message().await.map_err(|status| broken(&status, most))?;
        let first =
            first.ok_or_else(|| Failure::invalid("the stream is empty: its first message says what it is for"))?;
        let descriptor = first
            .flight_descriptor
            .clone()
            .ok_or_else(|| Failure::invalid("the first message has no descriptor to say what the stream is for"))?;
        Ok((Self { first: Some(first), rest, most }, descriptor))
    }

    /// All messages, the first one too.
    pub(crate) fn messages(&mut self) -> BoxStream<'_, Result<FlightData, IngestError>> {
        let most = self.most;
        let rest = self.rest.by_ref().map(move |message| message.map_err(|status| broken(&status, most)));
        futures::stream::iter(self.first.take().map(Ok)).chain(rest).boxed()
    }

    /// The rest as it comes, when nothing more of it is wanted.
    pub(crate) fn rest(&mut self) -> impl Stream<Item = Result<FlightData, Status>> + '_ {
        self.rest.by_ref()
    }
}

/// Why a stream broke off: a message was too large, or the client has gone.
fn broken(status: &Status, most: usize) -> IngestError {
    match status.code() {
        Code::OutOfRange => {
            let (what, advice) = ("a message".to_owned(), "send smaller batches");
            FormatError::BatchTooLarge { what, limit: most as u64, advice }.into()
        }
        _ => IngestError::Truncated,
    }
}

/// Does what the descriptor says with the rows that follow.
pub(crate) async fn put(
    flight: &Flight,
    asked: &Asked,
    incoming: &mut Incoming,
    descriptor: FlightDescriptor,
) -> Result<Response<Streamed<PutResult>>> {
    if !descriptor.path.is_empty() {
        return ingest::into_path(flight, asked, &descriptor.path, incoming).await;
    }
    match command(descriptor.cmd)? {
        Command::CommandStatementIngest(command) => ingest::into_table(flight, asked, command, incoming).await,
        Command::CommandPreparedStatementQuery(command) => {
            let bound = prepared::bind(flight, asked, &command.prepared_statement_handle, incoming).await?;
            Ok(once(PutResult { app_metadata: bound.encode_to_vec().into() }))
        }
        Command::CommandStatementUpdate(CommandStatementUpdate { query, transaction_id }) => {
            crate::statement::no_transaction(transaction_id.as_deref())?;
            let question = Question { sql: query, session: Some(asked.session.clone()), ..Question::default() };
            update(flight, asked, &question).await?;
            Ok(updated())
        }
        Command::CommandPreparedStatementUpdate(command) => {
            let question = prepared::opened(flight, asked, &command.prepared_statement_handle)?;
            if question.placeholders.is_empty() {
                update(flight, asked, &question).await?;
                return Ok(updated());
            }
            let rows = frames::parameters(incoming, flight.ingest.limits()).await?;
            for row in 0..rows.num_rows() {
                let bound = params::write(&rows.slice(row, 1))?;
                update(flight, asked, &Question { bound, ..question.clone() }).await?;
            }
            Ok(updated())
        }
        Command::CommandStatementSubstraitPlan(_) => {
            Err(Failure::unsupported("Substrait plans are not supported: send SQL"))
        }
        other => Err(Failure::unsupported(format!("nothing is put for {}", other.type_url()))),
    }
}

/// A statement that is run for what it changes. None may: the error is the one that the statement has as a query. One
/// that only reads is run as a query is; it changes no rows.
async fn update(flight: &Flight, asked: &Asked, question: &Question) -> Result<()> {
    let mut rows = flight.engine.query(&asked.caller, question.request()?).await?;
    while let Some(batch) = rows.next().await {
        batch?;
    }
    Ok(())
}

fn updated() -> Response<Streamed<PutResult>> {
    once(PutResult { app_metadata: DoPutUpdateResult { record_count: 0 }.encode_to_vec().into() })
}
