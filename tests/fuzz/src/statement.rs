//! Statements: what is let through names no relation that was not found.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::LazyLock;

use lakegate_statement::{AsOf, Functions, Params, Part, Relation, Statement};
use serde_json::Value as Json;
use sqlparser::ast::{Ident, ObjectName, Query, Visit as _, Visitor};

static FUNCTIONS: LazyLock<Functions> = LazyLock::new(|| {
    let names = ["abs", "coalesce", "json_get", "lower", "now", "range", "repeat", "row_number", "struct", "unnest"];
    Functions::new(names.map(str::to_owned), ["array_agg", "avg", "count", "max", "min", "sum"].map(str::to_owned))
});

/// A statement, and behind a zero byte the JSON of its parameters and of its request's versions.
pub fn statement(bytes: &[u8]) {
    let (sql, json) = bytes.iter().position(|byte| *byte == 0).map_or((bytes, &[][..]), |at| bytes.split_at(at));
    let Ok(sql) = std::str::from_utf8(sql) else { return };
    let json = json.get(1..).and_then(|json| serde_json::from_slice(json).ok()).unwrap_or(Json::Null);
    let _ = AsOf::from_json(&json);
    let params = match json {
        Json::Array(values) => Params::Positional(values),
        Json::Object(values) => Params::Named(values),
        _ => Params::None,
    };
    let checked = match Statement::parse(sql, &params, &FUNCTIONS) {
        Ok(checked) => checked,
        Err(error) => {
            // What is written about it is written in full.
            let _ = (error.to_string(), error.kind(), error.code(), error.position());
            return;
        }
    };
    let named = checked.relations().iter().filter_map(|relation| match relation {
        Relation::Dataset { name, part: Part::Rows(_) | Part::Versions, .. } => Some((name.to_string(), 300)),
        Relation::InformationSchema(_) | Relation::System(_) => None,
    });
    let _ = checked.check_width(&named.collect::<HashMap<_, _>>(), &FUNCTIONS);
    complete(&checked);
    let _ = checked.into_query().to_string();
}

/// Every relation that the parser's own walk sees is one that was found, or a WITH query, or a table function.
fn complete(checked: &Statement) {
    let found: HashSet<(String, String)> = checked
        .relations()
        .iter()
        .map(|relation| match relation {
            Relation::Dataset { name, table, .. } => (name.namespace().to_string(), table.clone()),
            Relation::InformationSchema(view) => ("information_schema".to_owned(), view.name().to_owned()),
            Relation::System(view) => ("system".to_owned(), view.name().to_owned()),
        })
        .collect();
    let mut seen = Seen::default();
    let _ = checked.query().visit(&mut seen);
    for name in seen.relations {
        let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident()).map(folded).collect();
        let known = match &parts[..] {
            [one] => seen.ctes.contains(one) || ["generate_series", "range"].contains(&one.as_str()),
            [namespace, table] => found.contains(&(namespace.clone(), table.clone())),
            [catalog, namespace, table] => catalog == "lake" && found.contains(&(namespace.clone(), table.clone())),
            _ => false,
        };
        assert!(known, "{name} was let through and not found");
    }
}

#[derive(Default)]
struct Seen {
    ctes: HashSet<String>,
    relations: Vec<ObjectName>,
}

impl Visitor for Seen {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.ctes.extend(query.with.iter().flat_map(|with| &with.cte_tables).map(|cte| folded(&cte.alias.name)));
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        self.relations.push(relation.clone());
        ControlFlow::Continue(())
    }
}

fn folded(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}
