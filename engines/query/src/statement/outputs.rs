//! Output names: `SELECT a, a` is fine for a person, and the planner wants names apart.

use std::collections::HashSet;

use sqlparser::ast::{Expr, Ident, Query, SelectItem, SetExpr};

/// Gives the second of two equal output names of the outermost SELECT the suffix `_2`, and so on.
pub(super) fn name_apart(query: &mut Query) {
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
        // Only what is written the same twice clashes: `a.id, b.id` is told apart by its relation.
        SelectItem::UnnamedExpr(expr) => Some(expr.to_string().to_lowercase()),
        SelectItem::ExprWithAlias { alias, .. } => Some(super::allow::folded(alias)),
        _ => None,
    }
}

fn rename(item: &mut SelectItem, name: String) {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => *alias = Ident::with_quote('"', name),
        SelectItem::UnnamedExpr(expr) => {
            let expr = expr.clone();
            let last = match &expr {
                Expr::CompoundIdentifier(parts) => parts.last().map(super::allow::folded),
                _ => None,
            };
            let suffix = name.rsplit_once('_').map_or("2", |(_, n)| n).to_owned();
            let alias = last.map_or(name, |last| format!("{last}_{suffix}"));
            *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', alias) };
        }
        _ => {}
    }
}
