//! Schemas and tables: the namespaces and datasets that the caller may see, and `information_schema`.

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::sql::{
    CommandGetDbSchemas, CommandGetTableTypes, CommandGetTables, CommandStatementQuery, ProstMessageExt as _,
};
use arrow_flight::{FlightDescriptor, FlightInfo};
use futures::StreamExt as _;
use lakegate_catalog::{Access, Action, Dataset, DatasetKind, DatasetName, Namespace, Page};
use lakegate_lake::types::arrow_schema;
use lakegate_query::{Params, SystemView};
use prost::Message as _;
use tonic::Response;

use crate::fields::of_table;
use crate::service::{Asked, Flight, Streamed};
use crate::session::CATALOG;
use crate::statement::{self, Question};
use crate::status::{Failure, Result};

/// Datasets that one answer may list.
const MOST: usize = 20_000;

const INFORMATION_SCHEMA: &str = "information_schema";
/// Its views.
const VIEWS: [&str; 3] = ["columns", "schemata", "tables"];

/// What the instance knows of its own doings, for who may read it.
const SYSTEM: &str = "system";

const TABLE: &str = "TABLE";
const VIEW: &str = "VIEW";

/// The datasets that the caller may see, by name.
async fn visible(flight: &Flight, asked: &Asked) -> Result<Vec<Dataset>> {
    let mut page = Page::first(Page::MAX);
    let (mut all, mut bytes) = (Vec::new(), 0);
    loop {
        let listing = flight.catalog.list_datasets(&asked.caller, None, &page).await?;
        bytes += listing.items.iter().map(Dataset::size).sum::<u64>();
        for dataset in listing.items {
            all.push(Access::of_list(flight.catalog.as_ref(), &asked.caller, dataset).await?);
        }
        if all.len() > MOST || bytes > Dataset::MAX_GATHERED {
            return Err(Failure::unsupported(format!(
                "listing more than {MOST} datasets, or {} MiB of columns; ask for them by REST, page by page",
                Dataset::MAX_GATHERED >> 20
            )));
        }
        match listing.next {
            Some(next) => page.cursor = Some(next),
            None => return Ok(all),
        }
    }
}

/// `CommandGetDbSchemas`. An empty catalog is none: there is nothing outside of a catalog.
pub(super) async fn schemas(flight: &Flight, asked: &Asked, command: CommandGetDbSchemas) -> Result<RecordBatch> {
    let mut found = command.into_builder();
    let visible = visible(flight, asked).await?;
    let mut names: BTreeSet<&str> = visible.iter().map(|dataset| dataset.name.namespace().as_str()).collect();
    names.insert(INFORMATION_SCHEMA);
    if reads_system(asked) {
        names.insert(SYSTEM);
    }
    for name in names {
        found.append(CATALOG, name);
    }
    found.build().map_err(Failure::defect)
}

/// `CommandGetTables`.
pub(super) async fn tables(flight: &Flight, asked: &Asked, command: CommandGetTables) -> Result<RecordBatch> {
    let with_schema = command.include_schema;
    let mut found = command.into_builder();
    for dataset in visible(flight, asked).await? {
        let (namespace, table) = (dataset.name.namespace().as_str(), dataset.name.dataset());
        let schema = if with_schema { of_dataset(&dataset)? } else { Schema::empty().into() };
        found.append(CATALOG, namespace, table, kind(&dataset), &schema).map_err(Failure::defect)?;
    }
    let system = SystemView::ALL.map(|view| (SYSTEM, view.name()));
    let system = system.into_iter().filter(|_| reads_system(asked));
    for (namespace, view) in VIEWS.map(|view| (INFORMATION_SCHEMA, view)).into_iter().chain(system) {
        let schema = if with_schema { of_view(flight, asked, namespace, view).await? } else { Schema::empty().into() };
        found.append(CATALOG, namespace, view, VIEW, &schema).map_err(Failure::defect)?;
    }
    found.build().map_err(Failure::defect)
}

fn kind(dataset: &Dataset) -> &'static str {
    match dataset.kind {
        DatasetKind::Root => TABLE,
        DatasetKind::Derivative => VIEW,
    }
}

/// The columns of a dataset, in the types that a query answers; those that are never null say so here.
fn of_dataset(dataset: &Dataset) -> Result<SchemaRef> {
    let schema = arrow_schema(&dataset.schema)?;
    Ok(of_table(&schema, dataset.name.namespace().as_str(), dataset.name.dataset()))
}

fn reads_system(asked: &Asked) -> bool {
    asked.caller.may(Action::Read) && asked.caller.on_instance().principal().is_some()
}

async fn of_view(flight: &Flight, asked: &Asked, namespace: &str, view: &str) -> Result<SchemaRef> {
    let request = asked.session.request(&format!("SELECT * FROM {namespace}.{view}"), Params::None);
    let found = flight.engine.describe(&asked.caller, request).await?;
    Ok(of_table(&found.schema, namespace, view))
}

/// `CommandGetTableTypes`.
pub(super) fn types(command: CommandGetTableTypes) -> Result<RecordBatch> {
    let mut found = command.into_builder();
    found.append(TABLE);
    found.append(VIEW);
    found.build().map_err(Failure::defect)
}

/// The dataset that a path names.
pub(super) async fn dataset_of(
    flight: &Flight,
    asked: &Asked,
    namespace: Option<&str>,
    table: &str,
) -> Result<Option<Dataset>> {
    let namespace = match namespace {
        Some(namespace) => Namespace::new(namespace).ok(),
        None => asked.session.namespace(),
    };
    let Some(Ok(name)) = namespace.map(|namespace| DatasetName::new(namespace.as_str(), table)) else {
        return Ok(None);
    };
    let access = flight.catalog.access(&asked.caller, &name).await?;
    Ok(access.map(Access::seen))
}

/// The name of a path: `[namespace, dataset]`, or both in one with a point.
fn statement_of(path: &[String]) -> Result<String> {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    match path {
        [namespace, table] => Ok(format!("SELECT * FROM {}.{}", quoted(namespace), quoted(table))),
        [name] => match name.split_once('.') {
            Some((namespace, table)) => Ok(format!("SELECT * FROM {}.{}", quoted(namespace), quoted(table))),
            None => Ok(format!("SELECT * FROM {}", quoted(name))),
        },
        _ => Err(Failure::invalid("a path is a namespace and a dataset")),
    }
}

/// `GetFlightInfo` of a path: all rows of a dataset.
pub(crate) async fn path_info(flight: &Flight, asked: &Asked, descriptor: FlightDescriptor) -> Result<FlightInfo> {
    let question = path_question(asked, &descriptor.path)?;
    statement::info(flight, &asked.caller, question, descriptor).await
}

/// `GetSchema` of a path.
pub(crate) async fn path_schema(flight: &Flight, asked: &Asked, path: &[String]) -> Result<SchemaRef> {
    statement::schema(flight, &asked.caller, &path_question(asked, path)?).await
}

fn path_question(asked: &Asked, path: &[String]) -> Result<Question> {
    Ok(Question { sql: statement_of(path)?, session: Some(asked.session.clone()), ..Question::default() })
}

/// `ListFlights`: the datasets that the caller may see, each with the columns that the catalog knows and a ticket for all of
/// its rows. The criterion is the beginning of `namespace.dataset`.
pub(crate) async fn list(flight: &Flight, asked: &Asked, criterion: &[u8]) -> Result<Response<Streamed<FlightInfo>>> {
    let beginning =
        std::str::from_utf8(criterion).map_err(|_| Failure::invalid("the criterion is not text"))?.to_owned();
    let visible = visible(flight, asked).await?;
    let infos =
        visible.into_iter().filter(move |dataset| dataset.name.to_string().starts_with(&beginning)).map(|dataset| {
            let path = vec![dataset.name.namespace().to_string(), dataset.name.dataset().to_owned()];
            // A ticket without a signature: it is looked at when it is used, like any statement.
            let command = CommandStatementQuery { query: statement_of(&path)?, transaction_id: None };
            let schema = of_dataset(&dataset)?;
            statement::flight_info(&schema, command.as_any().encode_to_vec(), FlightDescriptor::new_path(path))
        });
    Ok(Response::new(futures::stream::iter(infos.map(|info| info.map_err(Into::into))).boxed()))
}
