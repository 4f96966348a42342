//! `SHOW TABLES`, `SHOW COLUMNS` and `DESCRIBE`: other words for a query on `information_schema`.

use lakegate_catalog::{DatasetName, Namespace};
use sqlparser::ast::{
    ObjectName, ShowStatementFilter, ShowStatementFilterPosition, ShowStatementInParentType, ShowStatementOptions,
    Statement as Ast,
};

use crate::allow::refuse;
use crate::error::{Result, StatementError};
use crate::names::{Relation, dataset, relation};

/// A query in place of a statement that shows something.
pub(crate) struct Shown {
    /// The query, made of checked names and quoted texts.
    pub(crate) sql: String,
    /// What must exist for it, though the query does not name it.
    pub(crate) relation: Option<Relation>,
}

/// The query that a statement stands for; `None` when it shows nothing.
pub(crate) fn query(statement: &Ast) -> Result<Option<Shown>> {
    match statement {
        Ast::ShowTables { terse, history, extended, full, external, show_options } => {
            plain(*terse || *history || *extended || *full || *external)?;
            tables(show_options).map(Some)
        }
        Ast::ShowColumns { extended, full, show_options } => {
            plain(*extended || *full)?;
            let (parent, like) = options(show_options, &[ShowStatementInParentType::Table], "column_name")?;
            let parent = parent.ok_or_else(|| refused("SHOW COLUMNS without FROM namespace.dataset"))?;
            columns(parent, &like).map(Some)
        }
        Ast::ExplainTable { describe_alias, hive_format, has_table_keyword: _, table_name } => {
            plain(hive_format.is_some() || *describe_alias == sqlparser::ast::DescribeAlias::Explain)?;
            columns(table_name, "").map(Some)
        }
        _ => Ok(None),
    }
}

fn plain(options: bool) -> Result<()> {
    refuse("SHOW and DESCRIBE with options; ask information_schema", options)
}

fn refused(what: &str) -> StatementError {
    StatementError::NotSupported(format!("{what}; ask information_schema"))
}

fn tables(show: &ShowStatementOptions) -> Result<Shown> {
    let parents = [ShowStatementInParentType::Schema, ShowStatementInParentType::Database];
    let (parent, like) = options(show, &parents, "table_name")?;
    let namespace = match parent {
        None => String::new(),
        Some(name) => {
            let name: Namespace = name
                .to_string()
                .to_lowercase()
                .parse()
                .map_err(|_| refused("SHOW TABLES in something else than a namespace"))?;
            format!(" AND table_schema = '{name}'")
        }
    };
    let sql = format!(
        "SELECT table_schema, table_name, table_type FROM information_schema.tables WHERE true{namespace}{like} \
         ORDER BY table_schema, table_name"
    );
    Ok(Shown { sql, relation: None })
}

fn columns(name: &ObjectName, like: &str) -> Result<Shown> {
    let of = |schema: &str, table: &str| {
        format!(
            "SELECT column_name, data_type, is_nullable FROM information_schema.columns WHERE table_schema = '{schema}' \
             AND table_name = '{table}'{like} ORDER BY ordinal_position"
        )
    };
    if let Relation::System(view) = relation(name)? {
        return Ok(Shown { sql: of("system", view.name()), relation: None });
    }
    let name: DatasetName = dataset(name)?;
    let sql = of(name.namespace().as_str(), name.dataset());
    Ok(Shown { sql, relation: Some(Relation::newest(name)) })
}

/// The parent, and the condition of LIKE on a column.
fn options<'a>(
    show: &'a ShowStatementOptions,
    parents: &[ShowStatementInParentType],
    column: &str,
) -> Result<(Option<&'a ObjectName>, String)> {
    let ShowStatementOptions { show_in, starts_with, limit, limit_from, filter_position } = show;
    plain(starts_with.is_some() || limit.is_some() || limit_from.is_some())?;
    let parent = match show_in {
        None => None,
        Some(shown) => {
            plain(shown.parent_type.as_ref().is_some_and(|ty| !parents.contains(ty)) || shown.parent_name.is_none())?;
            shown.parent_name.as_ref()
        }
    };
    let like = match filter_position {
        None => String::new(),
        Some(ShowStatementFilterPosition::Infix(filter) | ShowStatementFilterPosition::Suffix(filter)) => {
            match filter {
                ShowStatementFilter::Like(text) => format!(" AND {column} LIKE {}", literal(text)),
                ShowStatementFilter::ILike(text) => format!(" AND {column} ILIKE {}", literal(text)),
                ShowStatementFilter::Where(_) | ShowStatementFilter::NoKeyword(_) => {
                    return Err(refused("a filter other than LIKE in SHOW"));
                }
            }
        }
    };
    Ok((parent, like))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
