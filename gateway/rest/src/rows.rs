//! `GET /v1/datasets/{ns}/{name}/rows`: the rows of a dataset, without SQL.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use lakegate_catalog::{Column, Dataset, ErrorKind};
use lakegate_formats::Format;
use lakegate_query::{AsOf, QueryRequest};
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;

use crate::answer::{Keep, answer};
use crate::answer_document::RowsOfDataset;
use crate::app::App;
use crate::caller::Identified;
use crate::datasets::DatasetPath;
use crate::extract::{Path, Query};
use crate::problem::{Problem, Result};
use crate::query::{answer_format, rows_limit};
use crate::{audit, refusals, words};

const NEXT: HeaderName = HeaderName::from_static("lakegate-next-cursor");

/// Which rows, and how.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadRows {
    /// At most this many; 10,000 for JSON when not given, all for the other formats.
    #[param(minimum = 1, maximum = 9007199254740992_i64)]
    limit: Option<u64>,
    /// `Lakegate-Next-Cursor` of the answer before; reads on in the same version.
    #[param(pattern = "^[0-9]{1,19}\\.[0-9]{1,15}\\.[0-9a-f]{8}$")]
    cursor: Option<String>,
    /// Only these columns, with commas between them.
    #[param(min_length = 1, example = "iata,city")]
    columns: Option<String>,
    /// `json`, `ndjson`, `csv`, `arrow`, `arrow-file` or `parquet`; beats `Accept`.
    #[param(inline, required = false, value_type = words::RowFormat)]
    format: Option<String>,
}

/// Where a reader is: a version, the rows of it that it has had, and of which dataset: another may have its name by now.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cursor {
    version: u64,
    offset: u64,
    dataset: String,
}

impl Cursor {
    fn parse(text: &str) -> Result<Self> {
        let read = || {
            let (version, rest) = text.split_once('.')?;
            let (offset, dataset) = rest.split_once('.')?;
            let offset = offset.parse().ok().filter(|offset| *offset < 1 << 53)?;
            Some(Self { version: version.parse().ok()?, offset, dataset: dataset.to_owned() })
        };
        read().ok_or_else(|| Problem::invalid("the cursor is not one that an answer has given"))
    }
}

/// What tells a dataset from others that had its name or will: the random end of its id.
fn which(dataset: &Dataset) -> String {
    let id = dataset.id.to_string();
    id[id.len().saturating_sub(8)..].to_owned()
}

/// The rows of a dataset, streaming.
///
/// The order is the same from page to page of one version, and may differ between versions. A page costs as much as
/// all those before it: to read a whole dataset, leave `limit` out and take a format that streams.
#[utoipa::path(
    get,
    path = "/v1/datasets/{ns}/{name}/rows",
    tag = "datasets",
    params(DatasetPath, ReadRows),
    responses(RowsOfDataset, refusals::NotAcceptable, refusals::Exhausted, refusals::Cancelled)
)]
pub(crate) async fn read_rows(
    State(app): State<Arc<App>>,
    caller: Identified,
    Path(path): Path<DatasetPath>,
    Query(asked): Query<ReadRows>,
    headers: HeaderMap,
) -> Result<Response> {
    let started = Instant::now();
    let format = answer_format(asked.format.as_deref(), &headers)?;
    let access = path.readable(&app, &caller).await?;
    let table = app.table(&access.dataset).await?;
    let cursor = asked.cursor.as_deref().map(Cursor::parse).transpose()?;
    let which = which(&access.dataset);
    if cursor.as_ref().is_some_and(|cursor| cursor.dataset != which) {
        let detail = format!("the cursor is not of this dataset `{}`; read from the start", access.dataset.name);
        return Err(Problem::new(ErrorKind::NotFound, "version_not_found", detail));
    }
    let (snapshot, offset) = match cursor {
        Some(cursor) => (table.snapshot_at(cursor.version).await, cursor.offset),
        None => (table.snapshot().await, 0),
    };
    let snapshot = snapshot.map_err(|error| Problem::with_dataset(&access.dataset.name, error))?;
    let limit = asked.limit.or((format == Format::Json).then_some(app.answers.default_rows));
    if limit == Some(0) {
        return Err(Problem::invalid("limit must be at least 1"));
    }
    let limit = limit.map(rows_limit).transpose()?;
    let name = &access.dataset.name;
    let there =
        access.policy().map_or_else(|| snapshot.columns().to_vec(), |policy| policy.visible(snapshot.columns()));
    let columns = columns(&there, asked.columns.as_deref())?;
    let request = QueryRequest {
        sql: format!(
            "SELECT {columns} FROM {}.{} OFFSET {offset}",
            quoted(name.namespace().as_str()),
            quoted(name.dataset())
        ),
        limit,
        as_of: AsOf::from_json(&json!({ name.to_string(): snapshot.version() }))?,
        in_order: true,
        ..QueryRequest::default()
    };
    let stream = app.engine.query(&caller.caller, audit::asked(&caller.visit, request)).await?;
    let mut response = answer(format, stream, started, Keep::Nowhere).await?;
    let read = limit.map(|limit| offset + limit);
    if let Some(offset) = read.filter(|read| snapshot.rows().is_some_and(|rows| rows > *read)) {
        let next =
            HeaderValue::from_str(&format!("{}.{offset}.{which}", snapshot.version())).map_err(Problem::defect)?;
        response.headers_mut().insert(NEXT, next);
    }
    Ok(response)
}

/// The columns as SQL has them; all when none are named.
fn columns(there: &[Column], named: Option<&str>) -> Result<String> {
    let Some(named) = named else { return Ok("*".to_owned()) };
    let column = |name: &str| {
        if there.iter().any(|column| column.name == name) {
            return Ok(quoted(name));
        }
        let name: String = name.chars().take(80).collect();
        Err(Problem::new(ErrorKind::Invalid, "unknown_column", format!("the dataset has no column `{name}`")))
    };
    let columns = named.split(',').map(str::trim).map(column).collect::<Result<Vec<_>>>()?;
    Ok(columns.join(", "))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_versions_and_places() {
        let expected = Cursor { version: 12, offset: 3000, dataset: "0123abcd".to_owned() };
        assert_eq!(Cursor::parse("12.3000.0123abcd").expect("valid"), expected);
        for bad in ["", "12", "12.", ".5", "12.3000", "a.b.c", "-1.0.x", "1.99999999999999999.x"] {
            assert!(Cursor::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    }
}
