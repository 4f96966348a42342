//! How large a statement becomes once the planner has put definitions in place of names.
//!
//! A CTE is copied into each place that names it, and a filter on a column of a subquery is pushed
//! below it with the column's definition in the column's place. Twenty levels of `SELECT x + x AS x`
//! are short text and a million terms. This walk adds up what substitution would make, without
//! making it. It errs on the large side where names are ambiguous.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::rc::Rc;

use sqlparser::ast::{
    Expr, Function, JoinConstraint, JoinOperator, ObjectName, Query, Select, SelectItem, SetExpr, TableFactor,
    TableWithJoins, Visit, Visitor,
};

use crate::error::{Result, StatementError};
use crate::functions::Functions;
use crate::names::folded;

/// Relations of the whole statement, each CTE counted in every place that names it.
const MAX_RELATIONS: u64 = 100;
/// Queries on top of each other: subqueries in subqueries, each WITH query on the ones it names.
const MAX_LEVELS: u64 = 40;
/// Subqueries in expressions of subqueries in expressions …: each level doubles the planner's work.
const MAX_NESTED: u64 = 8;
/// Calls of `unnest` of the whole statement: the planner compares each with each.
const MAX_UNNESTS: u64 = 200;
/// Terms of one expression after substitution.
pub(crate) const MAX_TERMS: u64 = 2_000;
/// Columns of all steps together: a join of two relations of ten columns has twenty.
const MAX_COLUMNS: u64 = 6_000;
/// Terms of the whole statement after substitution.
const MAX_TOTAL: u64 = 60_000;

/// Checks a whole query. `widths` has the columns of each dataset by `namespace.dataset`; one that
/// is not there counts as one column.
pub(crate) fn check(query: &Query, widths: &HashMap<String, u64>, functions: &Functions) -> Result<()> {
    let all = Walk { ctes: HashMap::new(), widths, functions }.query(query)?;
    all.check()
}

/// What a relation adds to the plan that names it.
#[derive(Clone, Default)]
struct Size {
    /// Terms behind each output column.
    columns: HashMap<String, u64>,
    /// Terms behind a column that is not in `columns`.
    other: u64,
    relations: u64,
    levels: u64,
    nested: u64,
    unnests: u64,
    total: u64,
    /// Columns of the relation itself.
    width: u64,
    /// Columns of all steps that make it.
    widths: u64,
}

impl Size {
    fn leaf(width: u64) -> Self {
        Self { other: 1, relations: 1, total: 1, width, widths: width, ..Self::default() }
    }

    fn column(&self, name: &str) -> u64 {
        self.columns.get(name).copied().unwrap_or(self.other)
    }

    fn heaviest(&self) -> u64 {
        self.columns.values().copied().max().unwrap_or(0).max(self.other)
    }

    fn add(&mut self, other: &Self) {
        self.relations = self.relations.saturating_add(other.relations);
        self.levels = self.levels.max(other.levels);
        self.nested = self.nested.max(other.nested);
        self.unnests = self.unnests.saturating_add(other.unnests);
        self.total = self.total.saturating_add(other.total);
        self.widths = self.widths.saturating_add(other.widths);
    }

    fn check(&self) -> Result<()> {
        let over = |what, count: u64, limit: u64| {
            let limit_shown = usize::try_from(limit).unwrap_or(usize::MAX);
            if count > limit { Err(StatementError::TooComplex { what, limit: limit_shown }) } else { Ok(()) }
        };
        over("relations, with each WITH query counted wherever it is named", self.relations, MAX_RELATIONS)?;
        over(
            "columns over all joins and queries; name the columns that are needed instead of *",
            self.widths,
            MAX_COLUMNS,
        )?;
        over("levels of subqueries in expressions", self.nested, MAX_NESTED)?;
        over("calls of unnest", self.unnests, MAX_UNNESTS)?;
        over("queries on top of each other", self.levels, MAX_LEVELS)?;
        over("terms in one expression, with each column's definition in its place", self.heaviest(), MAX_TERMS)?;
        over("terms, with each column's definition in its place", self.total, MAX_TOTAL)
    }
}

#[derive(Clone)]
struct Walk<'a> {
    ctes: HashMap<String, Rc<Size>>,
    widths: &'a HashMap<String, u64>,
    functions: &'a Functions,
}

impl Walk<'_> {
    fn query(&self, query: &Query) -> Result<Size> {
        let mut inner = self.clone();
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let size = inner.query(&cte.query)?;
            inner.ctes.insert(folded(&cte.alias.name), Rc::new(renamed(size, cte.alias.columns.len())));
        }
        let mut size = inner.set_expr(&query.body)?;
        let outputs = [size.clone()];
        let ends = inner.terms(&outputs, &query.order_by)?;
        let limit = inner.terms(&outputs, &query.limit_clause)?;
        size.add(&ends.extra());
        size.add(&limit.extra());
        size.levels += 1;
        size.check()?;
        Ok(size)
    }

    fn set_expr(&self, body: &SetExpr) -> Result<Size> {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation { left, right, .. } => {
                let mut size = self.set_expr(left)?;
                let right = self.set_expr(right)?;
                let floor = right.heaviest();
                size.columns.values_mut().for_each(|terms| *terms = (*terms).max(floor));
                size.other = size.other.max(floor);
                size.add(&right);
                Ok(size)
            }
            other => {
                let terms = self.terms(&[], other)?;
                let mut size = Size::leaf(1);
                size.add(&terms.extra());
                Ok(size)
            }
        }
    }

    fn select(&self, select: &Select) -> Result<Size> {
        let mut sources = Vec::new();
        let mut size = Size::default();
        for tables in &select.from {
            self.tables(tables, &mut sources, &mut size)?;
        }
        let from = std::mem::take(&mut size.width);
        for item in &select.projection {
            let columns = if is_wildcard(item) { from } else { 1 };
            size.width = size.width.saturating_add(columns);
            self.select_item(item, &sources, &mut size)?;
        }
        size.widths = size.widths.saturating_add(size.width);
        // WHERE and its like may name inputs, GROUP BY and its like outputs too.
        sources.push(Size { total: 0, relations: 0, unnests: 0, widths: 0, ..size.clone() });
        let rest = [&select.selection, &select.having, &select.qualify];
        for clause in rest {
            self.clause(&sources, clause, &mut size)?;
        }
        self.clause(&sources, &select.group_by, &mut size)?;
        self.clause(&sources, &select.named_window, &mut size)?;
        self.clause(&sources, &select.distinct, &mut size)?;
        size.check()?;
        Ok(size)
    }

    fn clause(&self, sources: &[Size], clause: &impl Visit, size: &mut Size) -> Result<()> {
        let terms = self.terms(sources, clause)?;
        size.add(&terms.extra());
        Ok(())
    }

    fn select_item(&self, item: &SelectItem, sources: &[Size], size: &mut Size) -> Result<()> {
        let (expr, name) = match item {
            SelectItem::UnnamedExpr(expr) => (expr, own_name(expr)),
            SelectItem::ExprWithAlias { expr, alias } => (expr, Some(folded(alias))),
            other => {
                for source in sources {
                    for (name, terms) in &source.columns {
                        let entry = size.columns.entry(name.clone()).or_default();
                        *entry = (*entry).max(*terms);
                    }
                    size.other = size.other.max(source.other);
                }
                return self.clause(sources, other, size);
            }
        };
        let terms = self.terms(sources, expr)?;
        size.add(&terms.extra());
        let entry = size.columns.entry(name.unwrap_or_else(|| expr.to_string().to_lowercase())).or_default();
        *entry = (*entry).max(terms.through);
        Ok(())
    }

    fn tables(&self, tables: &TableWithJoins, sources: &mut Vec<Size>, size: &mut Size) -> Result<()> {
        self.table_factor(&tables.relation, sources, size)?;
        for join in &tables.joins {
            self.table_factor(&join.relation, sources, size)?;
            if let Some(JoinConstraint::On(on)) = constraint(&join.join_operator) {
                self.clause(sources, on, size)?;
            }
        }
        Ok(())
    }

    fn table_factor(&self, factor: &TableFactor, sources: &mut Vec<Size>, size: &mut Size) -> Result<()> {
        let source = match factor {
            TableFactor::Derived { subquery, alias, .. } => {
                renamed(self.query(subquery)?, alias.as_ref().map_or(0, |alias| alias.columns.len()))
            }
            TableFactor::NestedJoin { table_with_joins, .. } => return self.tables(table_with_joins, sources, size),
            TableFactor::Table { name, args: None, .. } => {
                let cte = match &name.0[..] {
                    [part] => part.as_ident().and_then(|ident| self.ctes.get(&folded(ident))),
                    _ => None,
                };
                cte.map_or_else(|| Size::leaf(self.width_of(name)), |size| Size::clone(size))
            }
            other => {
                let terms = self.terms(sources, other)?;
                size.add(&terms.extra());
                Size::leaf(1)
            }
        };
        size.add(&source);
        size.width = size.width.saturating_add(source.width);
        size.widths = size.widths.saturating_add(size.width);
        size.check()?;
        sources.push(source);
        Ok(())
    }

    fn width_of(&self, name: &ObjectName) -> u64 {
        let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident()).map(folded).collect();
        let last = parts.get(parts.len().saturating_sub(2)..).unwrap_or_default().join(".");
        self.widths.get(&last).copied().unwrap_or(1)
    }

    fn terms(&self, sources: &[Size], node: &impl Visit) -> Result<Terms> {
        let mut counter = Counter { walk: self, sources, terms: Terms::default(), queries: 0, opaque: 0 };
        match node.visit(&mut counter) {
            ControlFlow::Break(error) => Err(error),
            ControlFlow::Continue(()) => Ok(counter.terms),
        }
    }
}

fn is_wildcard(item: &SelectItem) -> bool {
    matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..))
}

/// Aliased columns hide the names: any of them may be the heaviest.
fn renamed(mut size: Size, columns: usize) -> Size {
    if columns > 0 {
        size.other = size.heaviest();
        size.columns.clear();
    }
    size
}

fn own_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(ident) => Some(folded(ident)),
        Expr::CompoundIdentifier(parts) => parts.last().map(folded),
        _ => None,
    }
}

fn constraint(operator: &JoinOperator) -> Option<&JoinConstraint> {
    match operator {
        JoinOperator::Join(on)
        | JoinOperator::Inner(on)
        | JoinOperator::Left(on)
        | JoinOperator::LeftOuter(on)
        | JoinOperator::Right(on)
        | JoinOperator::RightOuter(on)
        | JoinOperator::FullOuter(on)
        | JoinOperator::LeftSemi(on)
        | JoinOperator::RightSemi(on)
        | JoinOperator::LeftAnti(on)
        | JoinOperator::RightAnti(on) => Some(on),
        _ => None,
    }
}

/// The terms of an expression.
#[derive(Default)]
struct Terms {
    /// What takes the expression's place when it is put in place of its name: the arguments of an
    /// aggregate or window function stay where they are.
    through: u64,
    /// All of it.
    all: u64,
    /// Relations of subqueries in it.
    relations: u64,
    /// Levels of queries in its subqueries.
    levels: u64,
    /// Levels of subqueries in it, itself counted.
    nested: u64,
    /// Calls of `unnest` in it and in its subqueries.
    unnests: u64,
}

impl Terms {
    fn extra(&self) -> Size {
        let &Self { relations, levels, nested, unnests, all: total, .. } = self;
        Size { relations, levels, nested, unnests, total, ..Size::default() }
    }

    fn add(&mut self, terms: u64, opaque: bool) {
        self.all = self.all.saturating_add(terms);
        if !opaque {
            self.through = self.through.saturating_add(terms);
        }
    }
}

struct Counter<'a> {
    walk: &'a Walk<'a>,
    sources: &'a [Size],
    terms: Terms,
    queries: usize,
    opaque: usize,
}

impl Visitor for Counter<'_> {
    type Break = StatementError;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<StatementError> {
        self.queries += 1;
        if self.queries > 1 {
            return ControlFlow::Continue(());
        }
        match self.walk.query(query) {
            Ok(size) => {
                self.terms.relations = self.terms.relations.saturating_add(size.relations);
                self.terms.nested = self.terms.nested.max(size.nested + 1);
                self.terms.levels = self.terms.levels.max(size.levels);
                self.terms.unnests = self.terms.unnests.saturating_add(size.unnests);
                self.terms.add(size.total, self.opaque > 0);
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<StatementError> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<StatementError> {
        if self.queries > 0 {
            return ControlFlow::Continue(());
        }
        let terms = match own_name(expr) {
            Some(name) => self.sources.iter().map(|source| source.column(&name)).max().unwrap_or(1).max(1),
            None => 1,
        };
        self.terms.add(terms, self.opaque > 0);
        self.terms.unnests += u64::from(calls(expr, |name| name == "unnest"));
        self.opaque += usize::from(self.stays_in_place(expr));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<StatementError> {
        if self.queries == 0 {
            self.opaque -= usize::from(self.stays_in_place(expr));
        }
        ControlFlow::Continue(())
    }
}

impl Counter<'_> {
    fn stays_in_place(&self, expr: &Expr) -> bool {
        let over = matches!(expr, Expr::Function(Function { over: Some(_), .. }));
        over || calls(expr, |name| self.walk.functions.is_aggregate(name))
    }
}

/// Whether the expression is the call of a function with such a name.
fn calls(expr: &Expr, is: impl Fn(&str) -> bool) -> bool {
    let Expr::Function(Function { name, .. }) = expr else { return false };
    match &name.0[..] {
        [part] => part.as_ident().is_some_and(|ident| is(&folded(ident))),
        _ => false,
    }
}
