//! `information_schema`, from the catalog's stored schemas: no dataset is opened for it.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use lakegate_catalog::{Caller, Catalog, Column, ColumnType, Dataset, DatasetKind, Page};
use lakegate_statement::{StatementError, View};

use crate::error::{QueryError, Result};
use crate::policy::visible_columns;

/// Datasets that one statement may list; more would not fit a budget.
const MAX_DATASETS: usize = 20_000;

/// A view over these datasets.
pub(crate) fn table(view: View, datasets: &[Dataset]) -> Result<Arc<dyn TableProvider>> {
    let batch = match view {
        View::Schemata => schemata(datasets),
        View::Tables => tables(datasets),
        View::Columns => columns(datasets),
    };
    let table = batch
        .map_err(datafusion::error::DataFusionError::from)
        .and_then(|batch| MemTable::try_new(batch.schema(), vec![vec![batch]]));
    Ok(Arc::new(table.map_err(|e| QueryError::internal("information_schema", e))?))
}

/// What the catalog is asked side by side.
const SIDE_BY_SIDE: usize = 16;

/// All datasets that the caller may see, by name, each with the columns that the caller knows of.
pub(crate) async fn visible(catalog: &dyn Catalog, caller: &Caller) -> Result<Vec<Dataset>> {
    let all = listed(catalog, caller).await?;
    let seen = stream::iter(all).map(|dataset| async move {
        match &dataset.policy {
            Some(policy) if !policy.masks.is_empty() => known(catalog, caller, dataset).await,
            _ => Ok(Some(dataset)),
        }
    });
    seen.buffered(SIDE_BY_SIDE).try_filter_map(|dataset| async { Ok(dataset) }).try_collect().await
}

/// The dataset without what its policy hides from this caller; `None` when the caller sees it no more.
async fn known(catalog: &dyn Catalog, caller: &Caller, dataset: Dataset) -> Result<Option<Dataset>> {
    let Some(access) = catalog.access(caller, &dataset.name).await? else { return Ok(None) };
    let mut now = Dataset::clone(&access.dataset);
    if let Some(policy) = access.policy() {
        now.schema = visible_columns(&now.schema, policy);
    }
    Ok(Some(now))
}

async fn listed(catalog: &dyn Catalog, caller: &Caller) -> Result<Vec<Dataset>> {
    let mut page = Page::first(Page::MAX);
    let mut all = Vec::new();
    loop {
        let listing = catalog.list_datasets(caller, None, &page).await?;
        all.extend(listing.items);
        if all.len() > MAX_DATASETS {
            let what = format!("information_schema over more than {MAX_DATASETS} datasets");
            return Err(StatementError::NotSupported(what).into());
        }
        match listing.next {
            Some(next) => page.cursor = Some(next),
            None => return Ok(all),
        }
    }
}

type Batch = std::result::Result<RecordBatch, arrow::error::ArrowError>;

fn text<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(StringArray::from_iter(values))
}

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|(name, ty)| Field::new(*name, ty.clone(), true)).collect::<Vec<_>>()))
}

fn schemata(datasets: &[Dataset]) -> Batch {
    let mut names: Vec<&str> = datasets.iter().map(|d| d.name.namespace().as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let fields = ["catalog_name", "schema_name"].map(|name| (name, DataType::Utf8));
    RecordBatch::try_new(
        schema(&fields),
        vec![text(names.iter().map(|_| Some("lake"))), text(names.iter().map(|n| Some(*n)))],
    )
}

fn tables(datasets: &[Dataset]) -> Batch {
    let fields =
        ["table_catalog", "table_schema", "table_name", "table_type", "description"].map(|n| (n, DataType::Utf8));
    let kind = |d: &Dataset| match d.kind {
        DatasetKind::Root => "BASE TABLE",
        DatasetKind::Derivative => "VIEW",
    };
    let arrays = vec![
        text(datasets.iter().map(|_| Some("lake"))),
        text(datasets.iter().map(|d| Some(d.name.namespace().as_str()))),
        text(datasets.iter().map(|d| Some(d.name.dataset()))),
        text(datasets.iter().map(|d| Some(kind(d)))),
        text(datasets.iter().map(|d| Some(d.description.as_str()))),
    ];
    RecordBatch::try_new(schema(&fields), arrays)
}

fn columns(datasets: &[Dataset]) -> Batch {
    let rows: Vec<(&Dataset, usize, &Column)> =
        datasets.iter().flat_map(|d| d.schema.iter().enumerate().map(move |(i, c)| (d, i, c))).collect();
    let types: Vec<String> = rows.iter().map(|(_, _, c)| c.ty.to_string()).collect();
    let utf8 = || DataType::Utf8;
    let fields = [
        ("table_catalog", utf8()),
        ("table_schema", utf8()),
        ("table_name", utf8()),
        ("column_name", utf8()),
        ("ordinal_position", DataType::Int32),
        ("column_default", utf8()),
        ("is_nullable", utf8()),
        ("data_type", utf8()),
        ("numeric_precision", DataType::Int32),
        ("numeric_scale", DataType::Int32),
    ];
    let arrays: Vec<ArrayRef> = vec![
        text(rows.iter().map(|_| Some("lake"))),
        text(rows.iter().map(|(d, _, _)| Some(d.name.namespace().as_str()))),
        text(rows.iter().map(|(d, _, _)| Some(d.name.dataset()))),
        text(rows.iter().map(|(_, _, c)| Some(c.name.as_str()))),
        Arc::new(rows.iter().map(|(_, i, _)| i32::try_from(i + 1).ok()).collect::<Int32Array>()),
        text(rows.iter().map(|_| None)),
        text(rows.iter().map(|(_, _, c)| Some(if c.nullable { "YES" } else { "NO" }))),
        text(types.iter().map(|t| Some(t.as_str()))),
        Arc::new(rows.iter().map(|(_, _, c)| decimal(c).map(|(p, _)| p)).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|(_, _, c)| decimal(c).map(|(_, s)| s)).collect::<Int32Array>()),
    ];
    RecordBatch::try_new(schema(&fields), arrays)
}

fn decimal(column: &Column) -> Option<(i32, i32)> {
    match column.ty {
        ColumnType::Decimal(precision, scale) => Some((i32::from(precision), i32::from(scale))),
        _ => None,
    }
}
