//! The rows of a dataset under a policy, as a table and as a leaf of plans.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, Result};
use datafusion::config::ConfigOptions;
use datafusion::datasource::TableType;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::filter_pushdown::FilterPushdown;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType, reset_plan_states};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, ReplaceChildrenOptions,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::PolicyFailed;
use super::compile::{RowFilter, Rules, Source};
use super::leakproof::leak_proof;
use super::rows::{Asked, Output, Shaping, visible};

/// A dataset as one caller reads it.
pub(super) struct PolicyScan {
    name: String,
    stored: Arc<dyn TableProvider>,
    rules: Arc<Rules>,
}

impl PolicyScan {
    pub(super) fn new(name: String, stored: Arc<dyn TableProvider>, rules: Arc<Rules>) -> Self {
        Self { name, stored, rules }
    }

    /// What planning the scan below says of its files and predicates stays in the log.
    fn failed(&self, error: &DataFusionError) -> DataFusionError {
        tracing::error!(%error, dataset = self.name, "the scan below a policy cannot be planned");
        DataFusionError::External(Box::new(PolicyFailed(self.name.clone())))
    }

    async fn plan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
    ) -> Result<PolicyScanExec> {
        let all: Vec<usize> = (0..self.rules.sources.len()).collect();
        let wanted = projection.unwrap_or(&all);
        let schema = Arc::new(self.rules.visible.project(wanted)?);
        let reads = self.reads(wanted);
        let entering = leak_proof(filters, &self.rules.open);
        let prune: Vec<Expr> = entering.iter().chain(&self.rules.prune).cloned().collect();
        let stored = match self.rules.filter {
            RowFilter::None => Arc::new(EmptyExec::new(Arc::new(self.stored.schema().project(&reads)?))),
            _ => self.stored.scan(state, Some(&reads), &prune, None).await?,
        };
        let threads = state.config().target_partitions().max(1);
        let stored = spread(skipping(stored, prune, state)?, threads, state.config_options())?;
        let below = stored.schema();
        let masked = wanted.iter().any(|at| matches!(self.rules.sources[*at], Source::Mask(_)));
        let filter = match &self.rules.filter {
            RowFilter::Where(filter) => Some(reassign_expr_columns(Arc::clone(filter), &below)?),
            RowFilter::All | RowFilter::None => None,
        };
        let asked = match over(&below, entering, state)? {
            // A mask may fail on a row: that must not depend on what else is asked of that row.
            Some(predicate) if !masked => Some(asked(predicate, &below)?),
            _ => None,
        };
        let kept = self.kept(wanted, &reads, &below);
        let shaped = Arc::new(below.project(&kept)?);
        let outputs = wanted.iter().map(|at| match &self.rules.sources[*at] {
            Source::Stored(original) => Ok(Output::Stored(kept.partition_point(|at| reads[*at] < *original))),
            Source::Mask(mask) => reassign_expr_columns(Arc::clone(mask), &shaped).map(Output::Mask),
        });
        let outputs = outputs.collect::<Result<_>>()?;
        let shaping = Shaping { dataset: self.name.clone(), filter, asked, kept, outputs, schema };
        Ok(PolicyScanExec::new(shaping, stored, threads, self.rules.batch_rows))
    }

    /// The stored columns behind these visible ones and behind the filter, in order.
    fn reads(&self, wanted: &[usize]) -> Vec<usize> {
        let mut reads = self.sources(wanted);
        if let RowFilter::Where(filter) = &self.rules.filter {
            reads.extend(collect_columns(filter).iter().map(Column::index));
            if reads.is_empty() {
                // Rows that are to be filtered need a column to be gathered by.
                reads.insert(0);
            }
        }
        reads.into_iter().collect()
    }

    /// The stored columns behind these visible ones.
    fn sources(&self, wanted: &[usize]) -> BTreeSet<usize> {
        let columns = |at: &usize| match &self.rules.sources[*at] {
            Source::Stored(original) => vec![*original],
            Source::Mask(mask) => collect_columns(mask).iter().map(Column::index).collect(),
        };
        wanted.iter().flat_map(columns).collect()
    }

    /// Where, among the columns that are read, those are that are needed once rows are filtered; the cheapest to gather when
    /// only their number is.
    fn kept(&self, wanted: &[usize], reads: &[usize], below: &Schema) -> Vec<usize> {
        let sources = self.sources(wanted);
        let kept: Vec<usize> = (0..reads.len()).filter(|at| sources.contains(&reads[*at])).collect();
        if !kept.is_empty() {
            return kept;
        }
        let width = |at: &usize| below.field(*at).data_type().primitive_width().unwrap_or(usize::MAX);
        (0..reads.len()).min_by_key(width).into_iter().collect()
    }
}

impl fmt::Debug for PolicyScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyScan").field("name", &self.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for PolicyScan {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.rules.visible)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // The same answer for each: which of them enter is not told. All are applied above.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = self.plan(state, projection, filters).await.map_err(|error| self.failed(&error))?;
        Ok(Arc::new(plan))
    }
}

/// Those of the predicates that are over columns of the schema, as one.
fn over(schema: &SchemaRef, predicates: Vec<Expr>, state: &dyn Session) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    let there = |expr: &Expr| expr.column_refs().iter().all(|column| schema.index_of(&column.name).is_ok());
    let all = conjunction(predicates.into_iter().filter(there));
    all.map(|all| state.create_physical_expr(all, &DFSchema::try_from(Arc::clone(schema))?)).transpose()
}

/// The predicate over none but its own columns, in the order in which they are in the schema.
fn asked(predicate: Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<Asked> {
    let columns: BTreeSet<usize> = collect_columns(&predicate).iter().map(Column::index).collect();
    let columns: Vec<usize> = columns.into_iter().collect();
    let predicate = reassign_expr_columns(predicate, &schema.project(&columns)?)?;
    Ok(Asked { predicate, columns })
}

/// Lets a scan skip what cannot match `prune`, without applying it to any row.
fn skipping(scan: Arc<dyn ExecutionPlan>, prune: Vec<Expr>, state: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = scan.schema();
    let Some(predicate) = over(&schema, prune, state)? else { return Ok(scan) };
    // The rule that hands predicates to readers takes them from a filter above, and may put one above each of several
    // readers instead. Filters are then left out.
    let filter: Arc<dyn ExecutionPlan> = Arc::new(FilterExec::try_new(predicate, Arc::clone(&scan))?);
    let mut options = ConfigOptions::clone(state.config_options());
    options.execution.parquet.pushdown_filters = false;
    let pushed = FilterPushdown::new().optimize(filter, &options)?;
    let bare = pushed.transform_up(|node| {
        let input = node.downcast_ref::<FilterExec>().map(|filter| Arc::clone(filter.input()));
        Ok(input.map_or_else(|| Transformed::no(node), Transformed::yes))
    })?;
    // Were there none, readers would apply the predicate to rows.
    Ok(if bare.transformed { bare.data } else { scan })
}

/// Spreads large files over all threads, as plans of other tables do.
fn spread(scan: Arc<dyn ExecutionPlan>, threads: usize, options: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
    if threads == 1 || !options.optimizer.repartition_file_scans {
        return Ok(scan);
    }
    let spread = scan.transform_up(|node| {
        let more = if node.children().is_empty() { node.repartitioned(threads, options)? } else { None };
        Ok(more.map_or_else(|| Transformed::no(node), Transformed::yes))
    });
    spread.map(|plan| plan.data)
}

/// The leaf. What is below it is its own: plans above see a schema and a number of partitions that says nothing of
/// the files, no statistics, no metrics, no order; and no limit, filter or order goes in.
pub(super) struct PolicyScanExec {
    shaping: Shaping,
    stored: Arc<dyn ExecutionPlan>,
    batch_rows: usize,
    properties: Arc<PlanProperties>,
}

impl PolicyScanExec {
    fn new(shaping: Shaping, stored: Arc<dyn ExecutionPlan>, threads: usize, batch_rows: usize) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&shaping.schema)),
            // As many whatever files there are: how many are left after skipping tells of the rows in them.
            Partitioning::UnknownPartitioning(threads),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        // The scan below gives way to others.
        let properties = Arc::new(properties.with_scheduling_type(SchedulingType::Cooperative));
        Self { shaping, stored, batch_rows, properties }
    }

    /// What is below the leaf.
    #[cfg(test)]
    pub(super) fn stored(&self) -> &Arc<dyn ExecutionPlan> {
        &self.stored
    }

    fn columns(&self) -> String {
        let names: Vec<&str> = self.shaping.schema.fields().iter().map(|field| field.name().as_str()).collect();
        names.join(", ")
    }
}

impl fmt::Debug for PolicyScanExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyScanExec").field("name", &self.shaping.dataset).finish_non_exhaustive()
    }
}

impl DisplayAs for PolicyScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PolicyScanExec: {}, columns=[{}]", self.shaping.dataset, self.columns())
    }
}

impl ExecutionPlan for PolicyScanExec {
    fn name(&self) -> &str {
        "PolicyScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        let stored = reset_plan_states(Arc::clone(&self.stored))?;
        let threads = self.properties.partitioning.partition_count();
        Ok(Arc::new(Self::new(self.shaping.clone(), stored, threads, self.batch_rows)))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let batch_rows = context.session_config().batch_size().min(self.batch_rows);
        let context = with_batch_rows(&context, batch_rows);
        let threads = self.properties.partitioning.partition_count();
        let parts = (partition..self.stored.properties().partitioning.partition_count()).step_by(threads);
        let stored = Arc::clone(&self.stored);
        let rows = stream::iter(parts).map(move |part| stored.execute(part, Arc::clone(&context))).try_flatten();
        let rows = Box::pin(RecordBatchStreamAdapter::new(self.stored.schema(), rows));
        let shown = visible(self.shaping.clone(), rows, batch_rows)?;
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.shaping.schema), shown)))
    }
}

fn with_batch_rows(context: &Arc<TaskContext>, rows: usize) -> Arc<TaskContext> {
    if context.session_config().batch_size() == rows {
        return Arc::clone(context);
    }
    let config = context.session_config().clone().with_batch_size(rows);
    let none = (Default::default(), Default::default(), Default::default(), Default::default());
    let runtime = context.runtime_env();
    Arc::new(TaskContext::new(None, String::new(), config, none.0, none.1, none.2, none.3, runtime))
}
