//! Names of one part: within a session that has a namespace of its own they are datasets of it.

use std::collections::HashSet;
use std::ops::ControlFlow;

use lakegate_catalog::Namespace;
use sqlparser::ast::{Ident, ObjectName, ObjectNamePart, Query, TableFactor, Visit, VisitMut, Visitor, VisitorMut};

use crate::names::folded;

/// Puts the namespace before each name of one part that is neither a table function nor, anywhere, the name of a WITH query.
pub(crate) fn qualify(query: &mut Query, namespace: &Namespace) {
    let mut ctes = Ctes(HashSet::new());
    let _ = Visit::visit(query, &mut ctes);
    let _ = VisitMut::visit(query, &mut Qualify { ctes: ctes.0, namespace });
}

struct Ctes(HashSet<String>);

impl Visitor for Ctes {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let ctes = query.with.iter().flat_map(|with| &with.cte_tables);
        self.0.extend(ctes.map(|cte| folded(&cte.alias.name)));
        ControlFlow::Continue(())
    }
}

struct Qualify<'a> {
    ctes: HashSet<String>,
    namespace: &'a Namespace,
}

impl VisitorMut for Qualify<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name: ObjectName(parts), args: None, .. } = factor
            && let [ObjectNamePart::Identifier(table)] = &parts[..]
            && !self.ctes.contains(&folded(table))
        {
            parts.insert(0, ObjectNamePart::Identifier(Ident::with_quote('"', self.namespace.as_str())));
        }
        ControlFlow::Continue(())
    }
}
