//! Names: `SELECT a, a` is fine for a person, and the planner wants names apart; `t@v12` is called `t`.

use std::collections::HashSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Ident, ObjectNamePart, Query, SelectItem, SetExpr, TableAlias, TableFactor, VisitMut as _, VisitorMut,
};

use crate::names::folded;

/// Gives the second of two equal output names of the outermost SELECT the suffix `_2`, and so on.
pub(crate) fn name_apart(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let mut seen = HashSet::new();
    for item in &mut select.projection {
        let Some(name) = name_of(item) else { continue };
        if seen.insert(name.clone()) {
            continue;
        }
        let free = (2..).map(|n| format!("{name}_{n}")).find(|name| seen.insert(name.clone()));
        rename(item, free.unwrap_or(name));
    }
}

fn name_of(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(Expr::Identifier(ident)) => Some(folded(ident)),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().map(folded),
        SelectItem::UnnamedExpr(expr) => Some(expr.to_string().to_lowercase()),
        SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
        _ => None,
    }
}

fn rename(item: &mut SelectItem, name: String) {
    let expr = match item {
        SelectItem::ExprWithAlias { expr, .. } | SelectItem::UnnamedExpr(expr) => expr.clone(),
        _ => return,
    };
    *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) };
}

/// Lets the columns of `t@v12` be called `t.column`, as those of `t`.
pub(crate) fn name_without_version(query: &mut Query) {
    let _ = query.visit(&mut Alias);
}

struct Alias;

impl VisitorMut for Alias {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, alias: alias @ None, args: None, .. } = factor
            && let Some(table) = name.0.last().and_then(ObjectNamePart::as_ident)
            && let Some((dataset, _)) = folded(table).split_once('@')
        {
            let name = Ident::with_quote('"', dataset);
            *alias = Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None });
        }
        ControlFlow::Continue(())
    }
}
