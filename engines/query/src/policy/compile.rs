//! From the text of a policy to expressions over a table's columns, for one caller.
//!
//! They are planned in a session of their own, so that nothing that a statement may choose, such as its time zone, changes
//! what they mean.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column as ColumnName, DFSchema, DataFusionError, ScalarValue, SchemaError};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, ExprSchemable};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;
use lakegate_catalog::{Caller, Column, Policy};
use lakegate_statement::{Expressions, StatementError};
use sqlparser::ast::ExprWithAlias;

use super::leakproof::leak_proof;
use super::{expression, part};
use crate::error::{QueryError, Result};
use crate::functions::{self, CallLimits, Makes};
use crate::session::{Sessions, Shape};
use crate::translate::{Budgets, translate};

/// Nodes of the predicates of a policy by which files are skipped: a statement may name a dataset a hundred times, and they
/// are planned for each.
const MAX_SKIPPING: usize = 64;

/// What is compiled.
pub(super) struct Subject<'a> {
    pub(super) policy: &'a Policy,
    /// The columns that the dataset has now; those that `stored` lacks are NULL to the expressions.
    pub(super) columns: &'a [Column],
    /// The columns of the version that is read.
    pub(super) stored: &'a SchemaRef,
    pub(super) caller: &'a Caller,
}

/// A policy as it holds for one caller over the columns of one version.
#[derive(Debug)]
pub(crate) struct Rules {
    /// What the caller sees.
    pub(super) visible: SchemaRef,
    /// Where each visible column comes from.
    pub(super) sources: Vec<Source>,
    pub(super) filter: RowFilter,
    /// Parts of the filter by which files can be skipped.
    pub(super) prune: Vec<Expr>,
    /// The stored columns that are seen as they are: predicates on them may skip files.
    pub(super) open: Schema,
    /// Rows per batch that the expressions can bear.
    pub(super) batch_rows: usize,
    /// Whether the same rows give the same answer each time.
    pub(crate) repeatable: bool,
}

/// Where a visible column comes from. Expressions are over all stored columns.
#[derive(Debug)]
pub(super) enum Source {
    Stored(usize),
    Mask(Arc<dyn PhysicalExpr>),
}

/// Which rows are there.
#[derive(Debug)]
pub(super) enum RowFilter {
    All,
    None,
    Where(Arc<dyn PhysicalExpr>),
}

/// Compiles a policy. Errors: [`QueryError::InvalidPolicy`] says which part is wrong and why.
pub(super) fn compile(subject: &Subject<'_>, sessions: &Sessions) -> Result<Rules> {
    let compiled = functions::planning(|| Ok(compile_within(subject, sessions)));
    compiled.map_err(|error| translate(&error, Budgets::default()))?
}

fn compile_within(subject: &Subject<'_>, sessions: &Sessions) -> Result<Rules> {
    let Subject { policy, stored, .. } = subject;
    let mut planner = Planner::new(subject, sessions.of(Vec::new(), 1, &Shape::default()))?;
    for column in policy.masks.keys() {
        planner.known(column).map_err(|error| invalid(Some(column), error))?;
    }
    let filter = match &policy.row_filter {
        None => None,
        Some(sql) => Some(planner.filter(sql).map_err(|error| invalid(None, error))?),
    };
    let mut visible = Vec::new();
    let mut logical = Vec::new();
    for (at, field) in stored.fields().iter().enumerate() {
        let mask = policy.masks.get(field.name());
        match mask.map(expression) {
            None => {
                visible.push(Arc::clone(field));
                logical.push((at, None));
            }
            Some(None) => {}
            Some(Some(sql)) => {
                let made = planner.mask(sql, field.data_type());
                visible.push(Arc::new(field.as_ref().clone().with_nullable(true)) as FieldRef);
                logical.push((at, Some(made.map_err(|error| invalid(Some(field.name()), error))?)));
            }
        }
    }
    if visible.is_empty() {
        let why = "it hides every column: leave one, or take the grants away".to_owned();
        return Err(QueryError::InvalidPolicy {
            part: "the policy".to_owned(),
            error: Box::new(QueryError::InvalidStatement(why)),
        });
    }
    let open = logical.iter().filter(|(_, mask)| mask.is_none()).map(|(at, _)| Arc::clone(&stored.fields()[*at]));
    let open = Schema::new(open.collect::<Vec<_>>());
    let all = logical.iter().filter_map(|(_, mask)| mask.as_ref()).chain(&filter);
    let makes = makes_of(all).map_err(|error| planner.failed(&error))?;
    planner.share(&makes);
    let prune = skipping(filter.as_ref(), stored).map_err(|error| planner.failed(&error))?;
    let filter = match filter {
        None | Some(Expr::Literal(ScalarValue::Boolean(Some(true)), _)) => RowFilter::All,
        Some(Expr::Literal(..)) => RowFilter::None,
        Some(filter) => RowFilter::Where(planner.physical(filter)?),
    };
    let sources = logical.into_iter().map(|(at, mask)| match mask {
        None => Ok(Source::Stored(at)),
        Some(mask) => planner.physical(mask).map(Source::Mask),
    });
    let sources = sources.collect::<Result<_>>()?;
    let visible = Arc::new(Schema::new(visible));
    let (batch_rows, repeatable) = (makes.batch_rows(), planner.repeatable);
    Ok(Rules { visible, sources, filter, prune, open, batch_rows, repeatable })
}

fn invalid(column: Option<&str>, error: QueryError) -> QueryError {
    QueryError::InvalidPolicy { part: part(column), error: Box::new(error) }
}

/// The parts of the filter that are worth working out for each scan before it starts.
fn skipping(filter: Option<&Expr>, stored: &Schema) -> datafusion::common::Result<Vec<Expr>> {
    let (mut nodes, mut parts) = (0, Vec::new());
    for part in filter.iter().flat_map(|filter| leak_proof(std::slice::from_ref(*filter), stored)) {
        part.apply(|_| {
            nodes += 1;
            Ok(TreeNodeRecursion::Continue)
        })?;
        if nodes > MAX_SKIPPING {
            break;
        }
        parts.push(part);
    }
    Ok(parts)
}

fn makes_of<'a>(exprs: impl Iterator<Item = &'a Expr>) -> datafusion::common::Result<Makes> {
    let mut makes = Makes::default();
    for expr in exprs {
        makes.add(expr)?;
    }
    Ok(makes)
}

/// Plans expressions over the columns of a table.
struct Planner<'a> {
    read: Expressions<'a>,
    state: SessionState,
    /// All columns that the dataset has.
    schema: Arc<DFSchema>,
    /// Those that the version lacks.
    absent: HashSet<String>,
    /// Whether no expression so far asks for the time.
    repeatable: bool,
}

impl<'a> Planner<'a> {
    fn new(subject: &Subject<'a>, state: SessionState) -> Result<Self> {
        let stored = subject.stored;
        let absent = subject.columns.iter().filter(|column| stored.index_of(&column.name).is_err());
        let absent: Vec<Column> = absent.map(|column| Column { nullable: true, ..column.clone() }).collect();
        let more = lakegate_lake::types::arrow_schema(&absent)?;
        let fields: Vec<FieldRef> = stored.fields().iter().chain(more.fields()).map(Arc::clone).collect();
        let schema = DFSchema::try_from(Schema::new(fields));
        Ok(Self {
            read: Expressions::new(functions::known(), subject.caller),
            state,
            schema: Arc::new(schema.map_err(|error| translate(&error, Budgets::default()))?),
            absent: absent.into_iter().map(|column| column.name).collect(),
            repeatable: true,
        })
    }

    fn failed(&self, error: &DataFusionError) -> QueryError {
        translate(error, Budgets::default())
    }

    fn known(&self, column: &str) -> Result<()> {
        if self.schema.has_column_with_unqualified_name(column) {
            return Ok(());
        }
        let field = Box::new(ColumnName::from_name(column));
        let error = SchemaError::FieldNotFound { field, valid_fields: self.schema.columns() };
        Err(self.failed(&DataFusionError::SchemaError(Box::new(error), Box::new(None))))
    }

    /// A predicate; what is NULL for every row is one too.
    fn filter(&mut self, sql: &str) -> Result<Expr> {
        let expr = self.typed(sql)?;
        let ty = expr.get_type(self.schema.as_ref()).map_err(|error| self.failed(&error))?;
        match ty {
            DataType::Boolean => self.simplified(expr),
            DataType::Null => Ok(Expr::Literal(ScalarValue::Boolean(None), None)),
            other => {
                let known = lakegate_lake::types::stored_type("", &other).ok().flatten();
                let name = known.map_or_else(|| other.to_string(), |ty| ty.to_string());
                Err(QueryError::InvalidStatement(format!("it is of type {name} and must be a boolean")))
            }
        }
    }

    /// A value in place of a column of this type.
    fn mask(&mut self, sql: &str, ty: &DataType) -> Result<Expr> {
        let expr = self.typed(sql)?;
        let cast = expr.cast_to(ty, self.schema.as_ref()).map_err(|error| self.failed(&error))?;
        self.simplified(cast)
    }

    /// The expression with operands that fit each other.
    fn typed(&mut self, sql: &str) -> Result<Expr> {
        let ast = self.read.parse(sql)?;
        let planned =
            self.state.create_logical_expr_from_sql_expr(ExprWithAlias { expr: ast, alias: None }, &self.schema);
        let planned = planned.map_err(|error| self.failed(&error))?;
        if planned.is_volatile() {
            let what = "a function that answers something else for each row, such as random(), in a policy".to_owned();
            return Err(StatementError::NotSupported(what).into());
        }
        // Asked before constants are worked out: the time becomes one.
        let repeatable = functions::repeatable_alone(&planned).map_err(|error| self.failed(&error))?;
        self.repeatable &= repeatable;
        self.fitted(planned).map_err(|error| self.failed(&error))
    }

    fn fitted(&self, expr: Expr) -> datafusion::common::Result<Expr> {
        let options = self.state.config_options();
        let mut expr = functions::bounded_alone(expr)?;
        for rewrite in self.state.analyzer().function_rewrites() {
            expr = expr.transform_up(|expr| rewrite.rewrite(expr, &self.schema, options))?.data;
        }
        self.simplifier().coerce(expr, &self.schema)
    }

    /// With constants worked out, and NULL for what the version lacks.
    fn simplified(&self, expr: Expr) -> Result<Expr> {
        let null = |name: &str| {
            let field: &Field = self.schema.field_with_unqualified_name(name)?;
            ScalarValue::try_new_null(field.data_type())
        };
        let present = expr.transform(|expr| match &expr {
            Expr::Column(column) if self.absent.contains(&column.name) => {
                Ok(Transformed::yes(Expr::Literal(null(&column.name)?, None)))
            }
            _ => Ok(Transformed::no(expr)),
        });
        let simplified = present.and_then(|present| self.simplifier().simplify(present.data));
        simplified.map_err(|error| self.failed(&error))
    }

    fn simplifier(&self) -> ExprSimplifier {
        let context = SimplifyContext::builder()
            .with_schema(Arc::clone(&self.schema))
            .with_config_options(Arc::clone(self.state.config_options()))
            .with_query_execution_start_time(self.state.execution_props().query_execution_start_time)
            .build();
        ExprSimplifier::new(context)
    }

    /// Shares what a batch may take among all calls of the policy.
    fn share(&mut self, makes: &Makes) {
        let limits = CallLimits::shared_by(makes.calls);
        self.state.config_mut().options_mut().extensions.insert(limits);
        self.state.mark_start_execution();
    }

    fn physical(&self, expr: Expr) -> Result<Arc<dyn PhysicalExpr>> {
        self.state.create_physical_expr(expr, &self.schema).map_err(|error| self.failed(&error))
    }
}
