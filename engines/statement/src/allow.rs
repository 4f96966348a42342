//! The allow-list on the syntax tree, and the relations that the tree names.
//!
//! Every struct is taken apart field by field without `..`, so that a new version of the parser
//! that adds a field does not compile here until somebody has decided about it.

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;

use sqlparser::ast::{
    Cte, Distinct, Expr, Function, FunctionArguments, GroupByExpr, Join, JoinConstraint, JoinOperator, LimitClause,
    ObjectName, OrderBy, OrderByExpr, OrderByKind, Query, Select, SelectFlavor, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, SetOperator, TableAlias, TableFactor, TableWithJoins, Visit, Visitor,
    WildcardAdditionalOptions, WindowType,
};

use crate::error::{Result, StatementError};
use crate::functions::Functions;
use crate::names::{Relation, clip, dataset_name, folded, idents, relation};
use crate::travel::{self, Places};

/// Table functions that make rows; each is bounded by the batch, the pool and the deadline.
const TABLE_FUNCTIONS: &[&str] = &["generate_series", "range"];

/// Grouping sets of one GROUP BY: each makes another copy of every row.
const MAX_GROUPING_SETS: usize = 64;

type Flow = ControlFlow<StatementError>;

/// Refuses what is not on the list; answers the relations, sorted, each once. `versions` are the places where the
/// text names one: each must be the name of a dataset.
pub(crate) fn check(query: &Query, versions: &Places, functions: &Functions) -> Result<Vec<Relation>> {
    let mut visitor = Allow { functions, ctes: HashSet::new(), relations: BTreeSet::new(), places: Places::new() };
    if let ControlFlow::Break(error) = query.visit(&mut visitor) {
        return Err(error);
    }
    travel::check(versions, &visitor.places)?;
    Ok(visitor.relations.into_iter().collect())
}

struct Allow<'a> {
    functions: &'a Functions,
    ctes: HashSet<String>,
    relations: BTreeSet<Relation>,
    /// Where the names of datasets stand.
    places: Places,
}

impl Visitor for Allow<'_> {
    type Break = StatementError;

    fn pre_visit_query(&mut self, query: &Query) -> Flow {
        self.query(query).map_or_else(ControlFlow::Break, ControlFlow::Continue)
    }

    fn pre_visit_select(&mut self, query: &Select) -> Flow {
        select(query).map_or_else(ControlFlow::Break, ControlFlow::Continue)
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Flow {
        self.table_factor(factor).map_or_else(ControlFlow::Break, ControlFlow::Continue)
    }

    fn pre_visit_expr(&mut self, node: &Expr) -> Flow {
        expr(node, self.functions).map_or_else(ControlFlow::Break, ControlFlow::Continue)
    }
}

impl Allow<'_> {
    fn query(&mut self, query: &Query) -> Result<()> {
        let Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        refuse("FETCH; use LIMIT", fetch.is_some())?;
        refuse("FOR UPDATE and FOR SHARE", !locks.is_empty())?;
        refuse("FOR XML, JSON and BROWSE", for_clause.is_some())?;
        refuse("SETTINGS", settings.is_some())?;
        refuse("FORMAT; ask for the format in the request", format_clause.is_some())?;
        refuse("a pipe operator", !pipe_operators.is_empty())?;
        for cte in with.iter().flat_map(|with| &with.cte_tables) {
            self.cte(cte)?;
        }
        order_by.as_ref().map_or(Ok(()), check_order_by)?;
        if let Some(LimitClause::LimitOffset { limit: _, offset: _, limit_by }) = limit_clause {
            refuse("LIMIT BY", !limit_by.is_empty())?;
        }
        set_expr(body)
    }

    fn cte(&mut self, cte: &Cte) -> Result<()> {
        let Cte { alias, query: _, from, materialized: _, closing_paren_token: _ } = cte;
        refuse("FROM after WITH", from.is_some())?;
        check_alias(Some(alias))?;
        self.ctes.insert(folded(&alias.name));
        Ok(())
    }

    fn table_factor(&mut self, factor: &TableFactor) -> Result<()> {
        match factor {
            TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                refuse("a table hint", !with_hints.is_empty() || !index_hints.is_empty())?;
                refuse("a version of this form; write ns.t@v12, or FOR VERSION AS OF 12", version.is_some())?;
                refuse("WITH ORDINALITY", *with_ordinality)?;
                refuse("PARTITION after a dataset", !partitions.is_empty())?;
                refuse("a path after a dataset", json_path.is_some())?;
                refuse("TABLESAMPLE", sample.is_some())?;
                check_alias(alias.as_ref())?;
                match args {
                    Some(args) => {
                        refuse("SETTINGS", args.settings.is_some())?;
                        table_function(name)
                    }
                    None => self.relation(name),
                }
            }
            TableFactor::Derived { lateral: _, subquery: _, alias, sample } => {
                refuse("TABLESAMPLE", sample.is_some())?;
                check_alias(alias.as_ref())
            }
            TableFactor::UNNEST { alias, array_exprs: _, with_offset, with_offset_alias, with_ordinality } => {
                refuse(
                    "UNNEST with offset or ordinality",
                    *with_offset || *with_ordinality || with_offset_alias.is_some(),
                )?;
                check_alias(alias.as_ref())
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                check_alias(alias.as_ref())?;
                joins(table_with_joins)
            }
            TableFactor::TableFunction { .. } | TableFactor::Function { .. } => {
                refuse("a table function of this form", true)
            }
            TableFactor::JsonTable { .. } => refuse("JSON_TABLE", true),
            TableFactor::OpenJsonTable { .. } => refuse("OPENJSON", true),
            TableFactor::Pivot { .. } => refuse("PIVOT", true),
            TableFactor::Unpivot { .. } => refuse("UNPIVOT", true),
            TableFactor::MatchRecognize { .. } => refuse("MATCH_RECOGNIZE", true),
            TableFactor::XmlTable { .. } => refuse("XMLTABLE", true),
            TableFactor::SemanticView { .. } => refuse("SEMANTIC_VIEW", true),
        }
    }

    fn relation(&mut self, name: &ObjectName) -> Result<()> {
        let parts = idents(name).ok_or_else(|| dataset_name(name))?;
        if let [table] = parts[..]
            && self.ctes.contains(&folded(table))
        {
            return Ok(());
        }
        self.places.extend(parts.last().map(|part| part.span.start));
        self.relations.insert(relation(name)?);
        Ok(())
    }
}

/// Refuses with the construct's name.
pub(crate) fn refuse(what: &str, present: bool) -> Result<()> {
    if present { Err(StatementError::NotSupported(what.to_owned())) } else { Ok(()) }
}

fn table_function(name: &ObjectName) -> Result<()> {
    let known = matches!(idents(name).as_deref(), Some([ident]) if TABLE_FUNCTIONS.contains(&folded(ident).as_str()));
    if known {
        return Ok(());
    }
    let names = TABLE_FUNCTIONS.join(", ");
    Err(StatementError::UnknownFunction(format!(
        "`{}` is not a table function; there are {names} and unnest",
        clip(&name.to_string())
    )))
}

fn check_alias(alias: Option<&TableAlias>) -> Result<()> {
    let Some(TableAlias { explicit: _, name: _, columns, at }) = alias else { return Ok(()) };
    refuse("AT after an alias", at.is_some())?;
    refuse("a type in a column alias", columns.iter().any(|column| column.data_type.is_some()))
}

fn check_order_by(order_by: &OrderBy) -> Result<()> {
    let OrderBy { kind, interpolate } = order_by;
    refuse("INTERPOLATE", interpolate.is_some())?;
    match kind {
        OrderByKind::All(_) => Ok(()),
        OrderByKind::Expressions(exprs) => check_order_exprs(exprs),
    }
}

fn check_order_exprs(exprs: &[OrderByExpr]) -> Result<()> {
    refuse("WITH FILL", exprs.iter().any(|expr| expr.with_fill.is_some()))
}

fn set_expr(body: &SetExpr) -> Result<()> {
    match body {
        SetExpr::Select(_) | SetExpr::Query(_) => Ok(()),
        SetExpr::SetOperation { left, op, set_quantifier: _, right } => {
            refuse("MINUS; use EXCEPT", *op == SetOperator::Minus)?;
            set_expr(left)?;
            set_expr(right)
        }
        SetExpr::Values(values) => refuse("VALUES ROW", values.explicit_row),
        SetExpr::Table(_) => refuse("TABLE; use SELECT * FROM", true),
        SetExpr::Insert(_) => writes("INSERT"),
        SetExpr::Update(_) => writes("UPDATE"),
        SetExpr::Delete(_) => writes("DELETE"),
        SetExpr::Merge(_) => writes("MERGE"),
    }
}

fn writes(statement: &str) -> Result<()> {
    Err(StatementError::StatementNotAllowed { statement: statement.to_owned() })
}

fn select(node: &Select) -> Result<()> {
    let Select {
        select_token: _,
        optimizer_hints: _,
        distinct,
        select_modifiers,
        top,
        top_before_distinct: _,
        projection,
        exclude,
        into,
        from,
        lateral_views,
        prewhere,
        selection: _,
        connect_by,
        group_by,
        cluster_by,
        distribute_by,
        sort_by,
        having: _,
        named_window: _,
        qualify: _,
        window_before_qualify: _,
        value_table_mode,
        flavor,
    } = node;
    if into.is_some() {
        return writes("SELECT INTO");
    }
    match distinct {
        None | Some(Distinct::All | Distinct::Distinct | Distinct::On(_)) => {}
    }
    refuse("a modifier after SELECT", select_modifiers.is_some())?;
    refuse("TOP; use LIMIT", top.is_some())?;
    refuse("EXCLUDE after the select list", exclude.is_some())?;
    refuse("LATERAL VIEW; use unnest", !lateral_views.is_empty())?;
    refuse("PREWHERE; use WHERE", prewhere.is_some())?;
    refuse("CONNECT BY; use WITH RECURSIVE", !connect_by.is_empty())?;
    refuse(
        "CLUSTER BY, DISTRIBUTE BY and SORT BY",
        !(cluster_by.is_empty() && distribute_by.is_empty() && sort_by.is_empty()),
    )?;
    refuse("SELECT AS VALUE and AS STRUCT", value_table_mode.is_some())?;
    refuse("FROM before SELECT", !matches!(flavor, SelectFlavor::Standard))?;
    check_group_by(group_by)?;
    projection.iter().try_for_each(select_item)?;
    from.iter().try_for_each(joins)
}

fn check_group_by(group_by: &GroupByExpr) -> Result<()> {
    let (GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers)) = group_by;
    refuse("a modifier after GROUP BY; write ROLLUP(a, b), CUBE(a, b) or GROUPING SETS", !modifiers.is_empty())?;
    let GroupByExpr::Expressions(exprs, _) = group_by else { return Ok(()) };
    let sets = exprs.iter().map(grouping_sets).fold(1, usize::saturating_mul);
    if sets > MAX_GROUPING_SETS {
        return Err(StatementError::TooComplex { what: "grouping sets", limit: MAX_GROUPING_SETS });
    }
    Ok(())
}

/// How many sets an element of GROUP BY multiplies the others by; a CUBE doubles with each column.
fn grouping_sets(expr: &Expr) -> usize {
    match expr {
        Expr::Cube(columns) => u32::try_from(columns.len()).map_or(usize::MAX, |n| 2_usize.saturating_pow(n)),
        Expr::Rollup(columns) => columns.len() + 1,
        Expr::GroupingSets(sets) => {
            let nested = sets.iter().flatten().map(grouping_sets).fold(1, usize::saturating_mul);
            nested.saturating_mul(sets.len())
        }
        _ => 1,
    }
}

fn select_item(item: &SelectItem) -> Result<()> {
    match item {
        SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. } => Ok(()),
        SelectItem::ExprWithAliases { .. } => refuse("more than one alias", true),
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(_), options)
        | SelectItem::Wildcard(options) => wildcard(options),
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::Expr(_), _) => {
            refuse(".* after an expression", true)
        }
    }
}

fn wildcard(options: &WildcardAdditionalOptions) -> Result<()> {
    let WildcardAdditionalOptions {
        wildcard_token: _,
        opt_ilike,
        opt_exclude: _,
        opt_except: _,
        opt_replace: _,
        opt_rename,
        opt_alias,
    } = options;
    refuse("* ILIKE", opt_ilike.is_some())?;
    refuse("* RENAME", opt_rename.is_some())?;
    refuse("an alias of *", opt_alias.is_some())
}

fn joins(tables: &TableWithJoins) -> Result<()> {
    tables.joins.iter().try_for_each(join)
}

fn join(node: &Join) -> Result<()> {
    let Join { relation: _, global, join_operator } = node;
    refuse("GLOBAL JOIN", *global)?;
    match join_operator {
        JoinOperator::CrossJoin(constraint) => {
            refuse("ON or USING after CROSS JOIN", *constraint != JoinConstraint::None)
        }
        JoinOperator::Join(_)
        | JoinOperator::Inner(_)
        | JoinOperator::Left(_)
        | JoinOperator::LeftOuter(_)
        | JoinOperator::Right(_)
        | JoinOperator::RightOuter(_)
        | JoinOperator::FullOuter(_)
        | JoinOperator::LeftSemi(_)
        | JoinOperator::RightSemi(_)
        | JoinOperator::LeftAnti(_)
        | JoinOperator::RightAnti(_) => Ok(()),
        _ => refuse("this kind of join; use INNER, LEFT, RIGHT, FULL, CROSS, SEMI or ANTI", true),
    }
}

fn function(node: &Function, functions: &Functions) -> Result<()> {
    let Function { name, uses_odbc_syntax, parameters, args, filter: _, null_treatment: _, over, within_group } = node;
    refuse("the ODBC form of a call", *uses_odbc_syntax)?;
    refuse("parameters before the arguments of a function", !matches!(parameters, FunctionArguments::None))?;
    refuse("a subquery as the arguments of a function", matches!(args, FunctionArguments::Subquery(_)))?;
    check_order_exprs(within_group)?;
    known_function(name, functions)?;
    if let Some(WindowType::WindowSpec(spec)) = over {
        refuse("a window based on another window", spec.window_name.is_some())?;
        check_order_exprs(&spec.order_by)?;
    }
    Ok(())
}

fn known_function(name: &ObjectName, functions: &Functions) -> Result<()> {
    let unknown = |hint: String| {
        StatementError::UnknownFunction(format!("there is no function `{}`{hint}", clip(&name.to_string())))
    };
    match idents(name).as_deref() {
        Some([ident]) => functions
            .find(&folded(ident))
            .map_err(|closest| unknown(closest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default())),
        _ => Err(unknown(String::new())),
    }
}

pub(crate) fn expr(node: &Expr, functions: &Functions) -> Result<()> {
    match node {
        Expr::Function(call) => function(call, functions),
        Expr::Like { any, .. } | Expr::ILike { any, .. } => refuse("LIKE ANY", *any),
        Expr::Cast { format, .. } => refuse("FORMAT in CAST", format.is_some()),
        Expr::Identifier(_)
        | Expr::CompoundIdentifier(_)
        | Expr::CompoundFieldAccess { .. }
        | Expr::IsFalse(_)
        | Expr::IsNotFalse(_)
        | Expr::IsTrue(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotUnknown(_)
        | Expr::IsDistinctFrom(..)
        | Expr::IsNotDistinctFrom(..)
        | Expr::InList { .. }
        | Expr::InSubquery { .. }
        | Expr::Between { .. }
        | Expr::BinaryOp { .. }
        | Expr::SimilarTo { .. }
        | Expr::AnyOp { .. }
        | Expr::AllOp { .. }
        | Expr::UnaryOp { .. }
        | Expr::AtTimeZone { .. }
        | Expr::Extract { .. }
        | Expr::Ceil { .. }
        | Expr::Floor { .. }
        | Expr::Position { .. }
        | Expr::Substring { .. }
        | Expr::Trim { .. }
        | Expr::Overlay { .. }
        | Expr::Nested(_)
        | Expr::Value(_)
        | Expr::TypedString(_)
        | Expr::Case { .. }
        | Expr::Exists { .. }
        | Expr::Subquery(_)
        | Expr::GroupingSets(_)
        | Expr::Cube(_)
        | Expr::Rollup(_)
        | Expr::Tuple(_)
        | Expr::Struct { .. }
        | Expr::Named { .. }
        | Expr::Dictionary(_)
        | Expr::Map(_)
        | Expr::Array(_)
        | Expr::Interval(_)
        | Expr::Wildcard(_)
        | Expr::QualifiedWildcard(..) => Ok(()),
        other => refuse(&format!("`{}`", clip(&other.to_string())), true),
    }
}
