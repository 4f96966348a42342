//! `information_schema`, from the catalog's stored schemas: no dataset is opened for it.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use lakegate_catalog::{Caller, Catalog, Column, ColumnType, Dataset, DatasetKind, Page};
use lakegate_statement::{StatementError, SystemView, View};

use crate::error::{QueryError, Result};
use crate::open::SIDE_BY_SIDE;
use crate::policy::visible_columns;
use crate::system;

/// Datasets that one statement may list; more would not fit a budget.
const MAX_DATASETS: usize = 20_000;

/// A view over these datasets, and with `system` over the relations of that namespace.
pub(crate) fn table(view: View, datasets: &[Dataset], system: bool) -> Result<Arc<dyn TableProvider>> {
    let mut listed: Vec<Listed<'_>> = datasets.iter().map(Listed::from).collect();
    if system {
        listed.extend(SystemView::ALL.into_iter().map(Listed::from));
    }
    let batch = match view {
        View::Schemata => schemata(&listed),
        View::Tables => tables(&listed),
        View::Columns => columns(&listed),
    };
    let table = batch
        .map_err(datafusion::error::DataFusionError::from)
        .and_then(|batch| MemTable::try_new(batch.schema(), vec![vec![batch]]));
    Ok(Arc::new(table.map_err(|e| QueryError::internal("information_schema", e))?))
}

/// What is told of a relation.
struct Listed<'a> {
    schema: &'a str,
    table: &'a str,
    ty: &'static str,
    description: &'a str,
    columns: Cow<'a, [Column]>,
}

impl<'a> From<&'a Dataset> for Listed<'a> {
    fn from(dataset: &'a Dataset) -> Self {
        let ty = match dataset.kind {
            DatasetKind::Root => "BASE TABLE",
            DatasetKind::Derivative => "VIEW",
        };
        let (schema, table) = (dataset.name.namespace().as_str(), dataset.name.dataset());
        Self { schema, table, ty, description: &dataset.description, columns: Cow::Borrowed(&dataset.schema) }
    }
}

impl From<SystemView> for Listed<'_> {
    fn from(view: SystemView) -> Self {
        let description = match view {
            SystemView::Audit => "Who did what to which dataset; your own doings, or everybody's for owners",
            SystemView::Queries => "Queries that have ended; your own, or everybody's for owners",
            SystemView::Jobs => "Jobs; your own, or everybody's for owners",
        };
        let columns = Cow::Owned(system::columns(view));
        Self { schema: system::SCHEMA, table: view.name(), ty: "VIEW", description, columns }
    }
}

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
    let (mut all, mut bytes) = (Vec::new(), 0);
    loop {
        let listing = catalog.list_datasets(caller, None, &page).await?;
        bytes += listing.items.iter().map(Dataset::size).sum::<u64>();
        all.extend(listing.items);
        if all.len() > MAX_DATASETS || bytes > Dataset::MAX_GATHERED {
            let what = format!(
                "information_schema over more than {MAX_DATASETS} datasets, or {} MiB of columns",
                Dataset::MAX_GATHERED >> 20
            );
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

fn schemata(listed: &[Listed<'_>]) -> Batch {
    let mut names: Vec<&str> = listed.iter().map(|one| one.schema).collect();
    names.sort_unstable();
    names.dedup();
    let fields = ["catalog_name", "schema_name"].map(|name| (name, DataType::Utf8));
    RecordBatch::try_new(
        schema(&fields),
        vec![text(names.iter().map(|_| Some("lake"))), text(names.iter().map(|n| Some(*n)))],
    )
}

fn tables(listed: &[Listed<'_>]) -> Batch {
    let fields =
        ["table_catalog", "table_schema", "table_name", "table_type", "description"].map(|n| (n, DataType::Utf8));
    let arrays = vec![
        text(listed.iter().map(|_| Some("lake"))),
        text(listed.iter().map(|one| Some(one.schema))),
        text(listed.iter().map(|one| Some(one.table))),
        text(listed.iter().map(|one| Some(one.ty))),
        text(listed.iter().map(|one| Some(one.description))),
    ];
    RecordBatch::try_new(schema(&fields), arrays)
}

fn columns(listed: &[Listed<'_>]) -> Batch {
    let rows: Vec<(&Listed<'_>, usize, &Column)> =
        listed.iter().flat_map(|one| one.columns.iter().enumerate().map(move |(i, c)| (one, i, c))).collect();
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
        text(rows.iter().map(|(one, _, _)| Some(one.schema))),
        text(rows.iter().map(|(one, _, _)| Some(one.table))),
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
