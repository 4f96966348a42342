//! What there is: catalogs, schemas, tables, keys, types, and what this server can do. All of it for what the caller may
//! see; the schemas are those of `FlightSql.proto`, column by column.

mod keys;
mod server;
mod tables;
mod types;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::sql::Command;
use arrow_flight::{FlightDescriptor, FlightInfo};

use crate::service::{Asked, Flight};
use crate::statement::flight_info;
use crate::status::{Failure, Result};

pub(crate) use tables::{list, path_info, path_schema};

/// Where to fetch the answer of a metadata command: the command is its own ticket.
pub(crate) fn info(command: &Command, descriptor: FlightDescriptor) -> Result<FlightInfo> {
    let schema = schema(command)?;
    let ticket = descriptor.cmd.to_vec();
    flight_info(&schema, ticket, descriptor)
}

/// The schema of a metadata command's answer.
pub(crate) fn schema(command: &Command) -> Result<SchemaRef> {
    Ok(match command {
        Command::CommandGetCatalogs(command) => command.into_builder().schema(),
        Command::CommandGetDbSchemas(command) => command.clone().into_builder().schema(),
        Command::CommandGetTables(command) => command.clone().into_builder().schema(),
        Command::CommandGetTableTypes(command) => command.into_builder().schema(),
        Command::CommandGetSqlInfo(_) => server::facts().schema(),
        Command::CommandGetXdbcTypeInfo(_) => types::all().schema(),
        Command::CommandGetPrimaryKeys(_) => keys::primary_schema(),
        Command::CommandGetExportedKeys(_)
        | Command::CommandGetImportedKeys(_)
        | Command::CommandGetCrossReference(_) => keys::foreign_schema(),
        other => return Err(Failure::unsupported(format!("there is no flight for {}", clip(other.type_url())))),
    })
}

/// The answer of a metadata command.
pub(crate) async fn rows(flight: &Flight, asked: &Asked, command: Command) -> Result<(SchemaRef, RecordBatch)> {
    let schema = schema(&command)?;
    let batch = match command {
        Command::CommandGetCatalogs(command) => {
            let mut catalogs = command.into_builder();
            catalogs.append(crate::session::CATALOG);
            catalogs.build().map_err(Failure::defect)?
        }
        Command::CommandGetDbSchemas(command) => tables::schemas(flight, asked, command).await?,
        Command::CommandGetTables(command) => tables::tables(flight, asked, command).await?,
        Command::CommandGetTableTypes(command) => tables::types(command)?,
        Command::CommandGetSqlInfo(command) => server::facts().record_batch(command.info).map_err(Failure::defect)?,
        Command::CommandGetXdbcTypeInfo(command) => {
            types::all().record_batch(command.data_type).map_err(Failure::defect)?
        }
        Command::CommandGetPrimaryKeys(command) => keys::primary(flight, asked, command).await?,
        _ => RecordBatch::new_empty(std::sync::Arc::clone(&schema)),
    };
    Ok((schema, batch))
}

fn clip(text: &str) -> String {
    text.chars().take(120).collect()
}
