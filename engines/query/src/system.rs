//! `system.audit`, `system.queries` and `system.jobs`: what the catalog keeps of what was done here, page by page as far as it
//! is asked for. Owners of the instance read all of it, others what they did themselves, nobody nothing.

mod rows;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result as DataFusionResult, ScalarValue};
use datafusion::datasource::TableType;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, Operator, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::stream;
use lakegate_catalog::{Action, AuditFilter, Caller, Catalog, CatalogError, JobFilter, Page, PrincipalId, Role};
use lakegate_statement::SystemView;
use tokio::runtime::Handle;

use crate::error::{QueryError, Result};
pub(crate) use rows::columns;

/// The namespace of these relations.
pub(crate) const SCHEMA: &str = "system";

/// Rows per batch; each costs a call of the catalog.
const BATCH: usize = 500;

/// Whose doings a caller may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Everybodys,
    Of(PrincipalId),
    Nobodys,
}

impl Whose {
    /// What of `view` the caller may read. Where its credential is for some datasets only, it is nobody. Errors: `Denied` for
    /// one that is not for reading.
    pub(crate) async fn of(catalog: &dyn Catalog, caller: &Caller, view: SystemView) -> Result<Self> {
        if !caller.may(Action::Read) {
            return Err(QueryError::Denied(format!("{SCHEMA}.{}", view.name())));
        }
        let caller = caller.on_instance();
        let Some(principal) = caller.principal() else { return Ok(Self::Nobodys) };
        Ok(match catalog.role_on_instance(&caller).await? {
            Some(Role::Owner) => Self::Everybodys,
            _ => Self::Of(principal.id),
        })
    }
}

/// The relation, the newest first. Call it where the catalog may be called: its answers are waited for there, not where the
/// query computes.
pub(crate) fn relation(view: SystemView, whose: Whose, catalog: &Arc<dyn Catalog>) -> Result<Arc<dyn TableProvider>> {
    let schema = lakegate_lake::types::arrow_schema(&columns(view))?;
    Ok(Arc::new(Relation { view, whose, catalog: Arc::clone(catalog), schema, runtime: Handle::current() }))
}

#[derive(Clone)]
struct Relation {
    view: SystemView,
    whose: Whose,
    catalog: Arc<dyn Catalog>,
    schema: SchemaRef,
    runtime: Handle,
}

impl std::fmt::Debug for Relation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relation").field("view", &self.view).field("whose", &self.whose).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for Relation {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        let bounds = |filter: &&Expr| match (self.view, bound(filter)) {
            (SystemView::Audit | SystemView::Queries, Some(_)) => TableProviderFilterPushDown::Inexact,
            _ => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(bounds).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let by = match self.whose {
            Whose::Of(principal) => Some(principal),
            Whose::Everybodys | Whose::Nobodys => None,
        };
        let pages = Pages { relation: self.clone(), filter: AuditFilter { by, ..within(filters) } };
        StreamingTable::try_new(self.schema(), vec![Arc::new(pages)])?.scan(state, projection, &[], limit).await
    }
}

/// One run through the pages of a relation.
#[derive(Clone, Debug)]
struct Pages {
    relation: Relation,
    filter: AuditFilter,
}

impl PartitionStream for Pages {
    fn schema(&self) -> &SchemaRef {
        &self.relation.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let pages = self.clone();
        let first = (self.relation.whose != Whose::Nobodys).then(|| Page::first(BATCH));
        let batches = stream::try_unfold(first, move |page| {
            let pages = pages.clone();
            async move {
                let Some(page) = page else { return Ok(None) };
                let runtime = pages.relation.runtime.clone();
                let asked = runtime.spawn(async move { pages.ask(&page).await }).await;
                let (batch, next) = asked.map_err(|e| DataFusionError::External(Box::new(e)))??;
                Ok(Some((batch, next.map(|cursor| Page { cursor: Some(cursor), ..Page::first(BATCH) }))))
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.relation.schema), batches))
    }
}

impl Pages {
    /// The rows of a page, and the cursor of the next.
    async fn ask(&self, page: &Page) -> DataFusionResult<(RecordBatch, Option<String>)> {
        let Self { relation: Relation { view, catalog, schema, .. }, filter } = self;
        let failed = |e: CatalogError| DataFusionError::External(Box::new(e));
        let (columns, next) = match view {
            SystemView::Audit => {
                let found = catalog.audit(filter, page).await.map_err(failed)?;
                (rows::audit(&found.items), found.next)
            }
            SystemView::Queries => {
                let found = catalog.audited_queries(filter, page).await.map_err(failed)?;
                (rows::queries(&found.items), found.next)
            }
            SystemView::Jobs => {
                let of = JobFilter { by: filter.by, ..JobFilter::default() };
                let found = catalog.list_jobs(&of, page).await.map_err(failed)?;
                (rows::jobs(&found.items), found.next)
            }
        };
        Ok((RecordBatch::try_new(Arc::clone(schema), columns)?, next))
    }
}

/// The column by whose values pages are left out.
const TIME: &str = "at";

/// The times that all of these filters together may let through.
fn within(filters: &[Expr]) -> AuditFilter {
    let mut all = AuditFilter::default();
    for (since, until) in filters.iter().filter_map(bound) {
        all.since = all.since.max(since);
        all.until = match (all.until, until) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
    all
}

type Bounds = (Option<DateTime<Utc>>, Option<DateTime<Utc>>);

/// From when on, and until before when, a comparison of the time with a constant lets something through, or a little wider;
/// `None` when the filter is something else.
fn bound(filter: &Expr) -> Option<Bounds> {
    let Expr::BinaryExpr(binary) = filter else { return None };
    let (operator, value) = match (binary.left.as_ref(), binary.right.as_ref()) {
        (Expr::Column(column), Expr::Literal(value, _)) if column.name == TIME => (binary.op, value),
        (Expr::Literal(value, _), Expr::Column(column)) if column.name == TIME => (binary.op.swap()?, value),
        _ => return None,
    };
    // Times are kept in microseconds: what is finer lies between two.
    let (since, until) = (instant(value)?, instant(value)?.checked_add_signed(TimeDelta::microseconds(1)));
    match operator {
        Operator::Gt | Operator::GtEq => Some((Some(since), None)),
        Operator::Lt | Operator::LtEq => Some((None, until)),
        Operator::Eq => Some((Some(since), until)),
        _ => None,
    }
}

/// The last microsecond at or before a constant.
fn instant(value: &ScalarValue) -> Option<DateTime<Utc>> {
    let micros = match value {
        ScalarValue::TimestampSecond(Some(at), Some(_)) => at.checked_mul(1_000_000)?,
        ScalarValue::TimestampMillisecond(Some(at), Some(_)) => at.checked_mul(1_000)?,
        ScalarValue::TimestampMicrosecond(Some(at), Some(_)) => *at,
        ScalarValue::TimestampNanosecond(Some(at), Some(_)) => at.div_euclid(1_000),
        _ => return None,
    };
    DateTime::from_timestamp_micros(micros)
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, lit};

    use super::*;

    fn at(micros: i64) -> Expr {
        lit(ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())))
    }

    fn bounds(filters: &[Expr]) -> (Option<i64>, Option<i64>) {
        let AuditFilter { since, until, .. } = within(filters);
        (since.map(|at| at.timestamp_micros()), until.map(|at| at.timestamp_micros()))
    }

    #[test]
    fn comparisons_of_the_time_bound_what_is_asked_for() {
        let time = || col(TIME);
        let fine = || lit(ScalarValue::TimestampNanosecond(Some(5_500), Some("UTC".into())));
        for (filters, expected) in [
            (vec![time().gt(at(5))], (Some(5), None)),
            (vec![time().gt_eq(at(5)), time().lt(at(9))], (Some(5), Some(10))),
            (vec![at(5).lt(time()), time().gt(at(7)), time().lt_eq(at(9)), time().lt(at(8))], (Some(7), Some(9))),
            (vec![time().eq(at(5))], (Some(5), Some(6))),
            (vec![time().lt(fine())], (None, Some(6))),
            (vec![time().gt(fine())], (Some(5), None)),
            (vec![time().not_eq(at(5)), col("rows").gt(at(5)), time().gt(col("rows"))], (None, None)),
            (vec![time().gt(at(5)).or(time().lt(at(3)))], (None, None)),
        ] {
            assert_eq!(bounds(&filters), expected, "{filters:?}");
        }
    }
}
