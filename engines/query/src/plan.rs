//! From a checked statement to a physical plan. Runs on a planner thread.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::parser::Statement as DataFusionStatement;
use lakegate_statement::{Explain, Statement};
use sqlparser::ast::Statement as Ast;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::alive::stoppable;
use crate::explain;
use crate::functions;
use crate::session::{BATCH_ROWS, Opened, session};

/// What a planner needs besides the statement.
pub(crate) struct Planning {
    pub(crate) relations: Vec<Opened>,
    pub(crate) runtime: Arc<RuntimeEnv>,
    pub(crate) threads: usize,
    /// Rows to fetch at most: one more than the caller wants, to know whether there are more.
    pub(crate) fetch: Option<usize>,
    pub(crate) token: CancellationToken,
    /// Where scans may wait for storage.
    pub(crate) handle: Handle,
}

/// A plan that is ready to run.
pub(crate) struct Planned {
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    pub(crate) context: Arc<TaskContext>,
    /// What clients are told, and what every batch is made to match.
    pub(crate) schema: SchemaRef,
    /// The logical plan, when what it took to run is to be answered instead of the rows.
    pub(crate) analyze: Option<String>,
    /// Whether no function asks for the time or for chance.
    pub(crate) repeatable: bool,
}

/// Values of a batch together that constants or grown values may make.
const BATCH_BYTES: usize = 64 * 1024 * 1024;
/// Rows per batch when functions can make big values: 64 KiB each fit.
const BIG_VALUE_ROWS: usize = 1024;

/// Plans the statement.
pub(crate) fn plan(statement: Statement, planning: Planning) -> DataFusionResult<Planned> {
    functions::planning(|| plan_within(statement, planning))
}

fn plan_within(statement: Statement, planning: Planning) -> DataFusionResult<Planned> {
    let Planning { relations, runtime, threads, fetch, token, handle } = planning;
    let widths = relations.iter().map(|opened| {
        let columns = opened.provider.schema().fields().len() as u64;
        (format!("{}.{}", opened.schema, opened.table), columns)
    });
    let width = statement.check_width(&widths.collect(), functions::known());
    width.map_err(|e| DataFusionError::External(Box::new(e)))?;
    let explain = statement.explain();
    let state = session(relations, runtime, threads, BATCH_ROWS)?;
    handle.block_on(async {
        let ast = DataFusionStatement::Statement(Box::new(Ast::Query(statement.into_query())));
        let logical = state.statement_to_plan(ast).await?;
        let repeatable = functions::repeatable(&logical)?;
        let logical = functions::bounded(readable(logical)?)?;
        let logical = match fetch.filter(|_| explain == Explain::No) {
            Some(fetch) => LogicalPlanBuilder::from(logical).limit(0, Some(fetch))?.build()?,
            None => logical,
        };
        let optimized = state.optimize(&logical)?;
        let state = with_batch_rows(state, &optimized)?;
        let physical = state.query_planner().create_physical_plan(&optimized, &state).await?;
        let (plan, schema) = match explain {
            Explain::No => (stoppable(physical, &token)?, None),
            Explain::Plan => (explain::plan(&optimized, physical.as_ref())?, None),
            Explain::Analyze => (stoppable(physical, &token)?, Some(explain::schema())),
        };
        let analyze = (explain == Explain::Analyze).then(|| optimized.display_indent().to_string());
        let schema = schema.unwrap_or_else(|| client_schema(&plan.schema()));
        Ok(Planned { plan, context: state.task_ctx(), schema, analyze, repeatable })
    })
}

/// Fewer rows per batch where single values may be large, so that a batch stays bounded.
fn with_batch_rows(mut state: SessionState, plan: &LogicalPlan) -> DataFusionResult<SessionState> {
    let makes = functions::makes(plan)?;
    let most = if makes.calls > 0 { BIG_VALUE_ROWS } else { BATCH_ROWS };
    let rows = (BATCH_BYTES / makes.literals.max(1)).clamp(1, most);
    let mut config = state.config().clone().with_batch_size(rows);
    config.options_mut().extensions.insert(functions::CallLimits::shared_by(makes.calls));
    *state.config_mut() = config;
    Ok(state)
}

/// Casts outputs of types that clients cannot read: views to plain strings and bytes, and the
/// union that JSON's `->` makes to JSON text.
fn readable(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let schema = Arc::clone(plan.schema());
    let mut changed = false;
    let mut outputs = Vec::with_capacity(schema.fields().len());
    for (qualifier, field) in schema.iter() {
        let column = Expr::Column(datafusion::common::Column::from((qualifier, field)));
        let readable = match field.data_type() {
            DataType::Utf8View => Some(cast(column.clone(), DataType::Utf8)),
            DataType::BinaryView => Some(cast(column.clone(), DataType::Binary)),
            DataType::Union(..) => {
                Some(datafusion_functions_json::udfs::json_union_to_text_udf().call(vec![column.clone()]))
            }
            _ => None,
        };
        changed |= readable.is_some();
        outputs.push(match readable {
            Some(expr) => expr.alias_qualified(qualifier.cloned(), field.name()),
            None => column,
        });
    }
    if changed { LogicalPlanBuilder::from(plan).project(outputs)?.build() } else { Ok(plan) }
}

/// The output schema with every column nullable and every name used once.
///
/// Plans and batches disagree at times about nullability (a minimum taken from statistics), and
/// clients refuse a stream whose batches differ from its schema.
fn client_schema(schema: &Schema) -> SchemaRef {
    let mut seen = std::collections::HashSet::new();
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| {
            let mut name = field.name().clone();
            let mut n = 1;
            while !seen.insert(name.clone()) {
                n += 1;
                name = format!("{}_{n}", field.name());
            }
            field.as_ref().clone().with_name(name).with_nullable(true)
        })
        .collect();
    Arc::new(Schema::new(fields))
}
