//! Prepared statements: made, bound, described, closed. The handle holds the statement and what is bound to it, so that
//! nothing is kept here: binding answers a new handle.

use arrow::datatypes::{DataType, Field, Schema};
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, DoPutPreparedStatementResult,
};
use arrow_flight::{IpcMessage, SchemaAsIpc};
use lakegate_catalog::ErrorKind;
use lakegate_flight_wire::{PreparedStatementResult, Purpose};
use lakegate_query::{Params, QueryError, StatementError};

use crate::fields::described;
use crate::frames::parameters;
use crate::params;
use crate::put::Incoming;
use crate::service::{Asked, Flight};
use crate::statement::{Question, no_transaction};
use crate::status::{Failure, Result};

/// `CreatePreparedStatement`: checks and plans the statement, and answers its schema and that of its parameters. One that
/// writes has no schema of rows; what it may not do is told when it is run.
pub(crate) async fn create(
    flight: &Flight,
    asked: &Asked,
    request: ActionCreatePreparedStatementRequest,
) -> Result<PreparedStatementResult> {
    no_transaction(request.transaction_id.as_deref())?;
    let keeps_types = asked.session.keeps_types();
    let described_query =
        flight.engine.describe(&asked.caller, asked.session.request(&request.query, Params::Later)).await;
    let (rows, parameters) = match described_query {
        Ok(found) => (Some(described(&found.schema, keeps_types)), found.parameters),
        // A driver prepares whatever it is given, and runs what has no rows as an update: that one refuses it in words.
        Err(QueryError::Statement(StatementError::StatementNotAllowed { .. })) => (None, Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let placeholders = parameters.iter().map(|(name, _)| name.clone()).collect();
    let fields = parameters.iter().map(|(name, ty)| {
        // What may be anything is text, as with PostgreSQL: drivers that bind by this schema can bind nothing to `Null`.
        let ty = ty.clone().unwrap_or(DataType::Utf8);
        Field::new(format!("${name}"), ty, true)
    });
    let parameters = Schema::new(fields.collect::<Vec<_>>());
    let question =
        Question { sql: request.query, placeholders, session: Some(asked.session.clone()), ..Question::default() };
    let dataset_schema = match &rows {
        Some(rows) => encoded(rows)?,
        None => Vec::new(),
    };
    let parameter_schema = if parameters.fields().is_empty() { Vec::new() } else { encoded(&parameters)? };
    Ok(PreparedStatementResult {
        handle: flight.seal.close(Purpose::Prepared, &asked.caller, &question),
        dataset_schema,
        parameter_schema,
        is_update: Some(rows.is_none()),
    })
}

/// A schema as an IPC message with its frame, as Flight SQL has it.
fn encoded(schema: &Schema) -> Result<Vec<u8>> {
    let IpcMessage(bytes) = SchemaAsIpc::new(schema, &arrow::ipc::writer::IpcWriteOptions::default()).try_into()?;
    Ok(bytes.into())
}

/// `ClosePreparedStatement`: a handle that was given is taken; there is nothing else to close.
pub(crate) fn close(flight: &Flight, asked: &Asked, request: &ActionClosePreparedStatementRequest) -> Result<()> {
    match opened(flight, asked, &request.prepared_statement_handle) {
        // It is closed either way.
        Err(failure) if failure.code == "expired_handle" => Ok(()),
        other => other.map(drop),
    }
}

/// The statement of a handle, with what is bound to it.
pub(crate) fn opened(flight: &Flight, asked: &Asked, handle: &[u8]) -> Result<Question> {
    flight.open(Purpose::Prepared, &asked.caller, handle)
}

/// The statement of a handle, ready to run.
pub(crate) fn bound(flight: &Flight, asked: &Asked, handle: &[u8]) -> Result<Question> {
    let question = opened(flight, asked, handle)?;
    if question.bound.is_empty() && !question.placeholders.is_empty() {
        let detail = format!("the statement has {} parameters, and none is bound", question.placeholders.len());
        return Err(Failure::new(ErrorKind::Invalid, "invalid_parameters", detail));
    }
    Ok(question)
}

/// `DoPut` of `CommandPreparedStatementQuery`: binds one row of values, and answers the handle to use from now on.
pub(crate) async fn bind(
    flight: &Flight,
    asked: &Asked,
    handle: &[u8],
    incoming: &mut Incoming,
) -> Result<DoPutPreparedStatementResult> {
    let question = opened(flight, asked, handle)?;
    let batch = parameters(incoming, flight.ingest.limits()).await?;
    let row = match batch.num_rows() {
        1 => batch,
        rows => {
            let detail = format!("a query takes one row of parameters, and {rows} are bound; run it once for each");
            return Err(Failure::new(ErrorKind::Unsupported, "not_supported", detail));
        }
    };
    // Wrong ones are told here, where they are bound.
    params::values(&row, &question.placeholders)?;
    let question = Question { bound: params::write(&row)?, ..question };
    let handle = flight.seal.close(Purpose::Prepared, &asked.caller, &question);
    Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(handle.into()) })
}
