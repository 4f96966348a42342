//! Puts the bounded forms of functions into a plan.
//!
//! It works on plans and not on the registry because the planner puts some functions in by itself:
//! `[a, b]` is `make_array`, `a || b` on lists is `array_concat`.

use std::sync::{Arc, LazyLock};

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::{ScalarFunction, WindowFunctionDefinition};
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, ScalarUDF, Volatility};

use super::{aggregate, concat::Concat, scalar};
use crate::session::BATCH_ROWS;

static CONCAT: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(Concat::new())));

/// The plan with every function that needs a bound in its bounded form, subqueries included. No
/// column changes its name or type.
pub(crate) fn bounded(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| node.map_expressions(|expr| expr.transform_up(bounded_expr)))
        .map(|plan| plan.data)
}

/// The same for an expression that is in no plan.
pub(crate) fn bounded_alone(expr: Expr) -> Result<Expr> {
    expr.transform_up(bounded_expr).map(|expr| expr.data)
}

fn bounded_expr(expr: Expr) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::ScalarFunction(mut call) => match scalar::bounded(&call.func) {
            Some(func) => {
                call.func = func;
                Transformed::yes(Expr::ScalarFunction(call))
            }
            None => Transformed::no(Expr::ScalarFunction(call)),
        },
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::StringConcat, right }) => {
            let parts = [*left, *right].into_iter().flat_map(parts).collect();
            Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&CONCAT), parts)))
        }
        Expr::AggregateFunction(mut call) => match aggregate::bounded(&call.func) {
            Some(func) => {
                call.func = func;
                Transformed::yes(Expr::AggregateFunction(call))
            }
            None => Transformed::no(Expr::AggregateFunction(call)),
        },
        Expr::WindowFunction(mut call) => {
            let func = match &call.fun {
                WindowFunctionDefinition::AggregateUDF(func) => aggregate::bounded(func),
                WindowFunctionDefinition::WindowUDF(_) => None,
            };
            match func {
                Some(func) => {
                    call.fun = WindowFunctionDefinition::AggregateUDF(func);
                    Transformed::yes(Expr::WindowFunction(call))
                }
                None => Transformed::no(Expr::WindowFunction(call)),
            }
        }
        other => Transformed::no(other),
    })
}

/// The parts of what is a chain already.
fn parts(expr: Expr) -> Vec<Expr> {
    match expr {
        Expr::ScalarFunction(call) if call.func.inner().is::<Concat>() => call.args,
        other => vec![other],
    }
}

/// Whether every function of a plan answers the same for the same arguments: not `random()`, and not `now()`.
pub(crate) fn repeatable(plan: &LogicalPlan) -> Result<bool> {
    let mut repeatable = true;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            repeatable = repeatable && repeatable_alone(expr)?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(repeatable)
}

/// The same for an expression that is in no plan.
pub(crate) fn repeatable_alone(expr: &Expr) -> Result<bool> {
    Ok(!expr.exists(|expr| Ok(changes(expr)))?)
}

fn changes(expr: &Expr) -> bool {
    let volatility = match expr {
        Expr::ScalarFunction(call) => call.func.signature().volatility,
        Expr::AggregateFunction(call) => call.func.signature().volatility,
        _ => return false,
    };
    volatility != Volatility::Immutable
}

/// Values of a batch together that constants or grown values may make.
const BATCH_BYTES: usize = 64 * 1024 * 1024;
/// Rows per batch when functions can make big values: 64 KiB each fit.
const BIG_VALUE_ROWS: usize = 1024;

/// A list of ten thousand of these is no column of copies.
const SMALL: usize = 1024;

/// What the expressions of a plan can make for one batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Makes {
    /// Bytes of all constants that are not small: each becomes a column of as many copies as a batch has rows.
    pub(crate) literals: usize,
    /// Calls that can make much from little.
    pub(crate) calls: u64,
}

/// Looks through all expressions of a plan, subqueries included.
pub(crate) fn makes(plan: &LogicalPlan) -> Result<Makes> {
    let mut makes = Makes::default();
    plan.apply_with_subqueries(|node| node.apply_expressions(|expr| makes.add(expr)))?;
    Ok(makes)
}

impl Makes {
    /// Adds what an expression can make.
    pub(crate) fn add(&mut self, expr: &Expr) -> Result<TreeNodeRecursion> {
        expr.apply(|expr| {
            if let Expr::Literal(value, _) = expr
                && value.size() > SMALL
            {
                self.literals = self.literals.saturating_add(value.size());
            }
            self.calls += u64::from(scalar::amplifies(expr).is_some());
            Ok(TreeNodeRecursion::Continue)
        })
    }

    /// Rows per batch: fewer where single values may be large, so that a batch stays bounded.
    pub(crate) fn batch_rows(&self) -> usize {
        let most = if self.calls > 0 { BIG_VALUE_ROWS } else { BATCH_ROWS };
        (BATCH_BYTES / self.literals.max(1)).clamp(1, most)
    }
}
