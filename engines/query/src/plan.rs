//! From a checked statement to a physical plan. Runs on a planner thread.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::TaskContext;
use datafusion::execution::config::SessionConfig;
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
use crate::session::{Opened, Sessions, Shape};

/// What a planner needs besides the statement.
pub(crate) struct Planning {
    pub(crate) relations: Vec<Opened>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) threads: usize,
    /// Rows to fetch at most: one more than the caller wants, to know whether there are more.
    pub(crate) fetch: Option<usize>,
    pub(crate) shape: Shape,
    /// Where scans may wait for storage.
    pub(crate) handle: Handle,
}

/// A plan that has been made and not started; it is for one run.
pub(crate) struct Made {
    plan: Arc<dyn ExecutionPlan>,
    config: SessionConfig,
    explain: Explain,
    /// What clients are told, and what every batch is made to match.
    pub(crate) schema: SchemaRef,
    analyze: Option<String>,
    repeatable: bool,
}

impl Made {
    /// Ties the plan to the memory and disk of a run, and to what stops it.
    pub(crate) fn ready(self, runtime: Arc<RuntimeEnv>, token: &CancellationToken) -> DataFusionResult<Planned> {
        let Self { plan, config, explain, schema, analyze, repeatable } = self;
        let plan = if explain == Explain::Plan { plan } else { stoppable(plan, token)? };
        // A plan that runs in this process looks up no function by its name.
        let none = (HashMap::new(), HashMap::new(), HashMap::new(), HashMap::new());
        let context = TaskContext::new(None, String::new(), config, none.0, none.1, none.2, none.3, runtime);
        Ok(Planned { plan, context: Arc::new(context), schema, analyze, repeatable })
    }
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

/// Plans the statement.
pub(crate) fn plan(statement: Statement, planning: Planning) -> DataFusionResult<Made> {
    functions::planning(|| plan_within(statement, planning))
}

/// What [`describe`] finds.
pub(crate) struct Described {
    /// The schema of the rows.
    pub(crate) schema: SchemaRef,
    /// Each parameter with its type where that is known.
    pub(crate) parameters: Vec<(String, Option<DataType>)>,
    /// The plan, when it had to be made.
    pub(crate) made: Option<Made>,
}

/// What the statement would answer. With parameters that come later it is not planned to its end.
pub(crate) fn describe(statement: Statement, planning: Planning) -> DataFusionResult<Described> {
    let names = statement.placeholders().to_vec();
    if names.is_empty() {
        let made = plan(statement, planning)?;
        return Ok(Described { schema: Arc::clone(&made.schema), parameters: Vec::new(), made: Some(made) });
    }
    functions::planning(|| {
        let Planning { relations, sessions, threads, shape, handle, .. } = planning;
        check_width(&statement, &relations)?;
        let explain = statement.explain();
        let state = sessions.of(relations, threads, &shape);
        handle.block_on(async {
            let ast = DataFusionStatement::Statement(Box::new(Ast::Query(statement.into_query())));
            let logical = state.statement_to_plan(ast).await?;
            // Types are found while operands are made to fit each other.
            let analyzed = state.analyzer().execute_and_check(logical, state.config_options(), |_, _| {})?;
            let types = analyzed.get_parameter_types()?;
            let schema = match explain {
                Explain::No => client_schema(readable(analyzed, &shape)?.schema().as_arrow()),
                Explain::Plan | Explain::Analyze => explain::schema(),
            };
            let parameters = names.into_iter().map(|name| {
                let found = types.get(&format!("${name}")).cloned().flatten();
                (name, found.filter(|ty| !ty.is_null()))
            });
            Ok(Described { schema, parameters: parameters.collect(), made: None })
        })
    })
}

fn check_width(statement: &Statement, relations: &[Opened]) -> DataFusionResult<()> {
    let widths = relations.iter().map(|opened| {
        let columns = opened.provider.schema().fields().len() as u64;
        (format!("{}.{}", opened.schema, opened.table), columns)
    });
    let width = statement.check_width(&widths.collect(), functions::known());
    width.map_err(|e| DataFusionError::External(Box::new(e)))
}

fn plan_within(statement: Statement, planning: Planning) -> DataFusionResult<Made> {
    let Planning { relations, sessions, threads, fetch, shape, handle } = planning;
    check_width(&statement, &relations)?;
    let explain = statement.explain();
    let state = sessions.of(relations, threads, &shape);
    handle.block_on(async {
        let ast = DataFusionStatement::Statement(Box::new(Ast::Query(statement.into_query())));
        let logical = state.statement_to_plan(ast).await?;
        let repeatable = functions::repeatable(&logical)?;
        let logical = functions::bounded(readable(logical, &shape)?)?;
        let logical = match fetch.filter(|_| explain == Explain::No) {
            Some(fetch) => LogicalPlanBuilder::from(logical).limit(0, Some(fetch))?.build()?,
            None => logical,
        };
        let optimized = state.optimize(&logical)?;
        let state = with_batch_rows(state, &optimized)?;
        let physical = state.query_planner().create_physical_plan(&optimized, &state).await?;
        let (plan, schema) = match explain {
            Explain::No => (physical, None),
            Explain::Plan => (explain::plan(&optimized, physical.as_ref())?, None),
            Explain::Analyze => (physical, Some(explain::schema())),
        };
        let analyze = (explain == Explain::Analyze).then(|| optimized.display_indent().to_string());
        let schema = schema.unwrap_or_else(|| client_schema(&plan.schema()));
        Ok(Made { plan, config: state.config().clone(), explain, schema, analyze, repeatable })
    })
}

/// Fewer rows per batch where single values may be large, so that a batch stays bounded.
fn with_batch_rows(mut state: SessionState, plan: &LogicalPlan) -> DataFusionResult<SessionState> {
    let makes = functions::makes(plan)?;
    let mut config = state.config().clone().with_batch_size(makes.batch_rows());
    config.options_mut().extensions.insert(functions::CallLimits::shared_by(makes.calls));
    *state.config_mut() = config;
    Ok(state)
}

/// Casts outputs of types that clients cannot read: views to plain strings and bytes, and the
/// union that JSON's `->` makes to JSON text; and timestamps to the zone that is asked for.
fn readable(plan: LogicalPlan, shape: &Shape) -> DataFusionResult<LogicalPlan> {
    let zone = shape.time_zone.as_deref();
    let schema = Arc::clone(plan.schema());
    let mut changed = false;
    let mut outputs = Vec::with_capacity(schema.fields().len());
    for (qualifier, field) in schema.iter() {
        let column = Expr::Column(datafusion::common::Column::from((qualifier, field)));
        let readable = match field.data_type() {
            DataType::Utf8View if !shape.keep_types => Some(cast(column.clone(), DataType::Utf8)),
            DataType::BinaryView if !shape.keep_types => Some(cast(column.clone(), DataType::Binary)),
            DataType::Timestamp(unit, Some(other)) if zone.is_some_and(|zone| zone != other.as_ref()) => {
                Some(cast(column.clone(), DataType::Timestamp(*unit, zone.map(Into::into))))
            }
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
