//! The steps from text to a checked statement.

use std::collections::HashMap;

use lakegate_catalog::Namespace;
use sqlparser::ast::{DescribeAlias, Query, Statement as Ast};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, TokenizerError};

use crate::error::{Position, Result, StatementError};
use crate::functions::Functions;
use crate::names::Relation;
use crate::params::{self, Params};
use crate::{allow, bounds, outputs, qualify, show, times, travel, weight};

/// How deep the parser may go. The bounds on tokens refuse a statement long before.
pub(crate) const PARSER_RECURSION: usize = 400;

/// One statement, checked, with its parameters in place.
#[derive(Debug)]
pub struct Statement {
    query: Box<Query>,
    explain: Explain,
    relations: Vec<Relation>,
    placeholders: Vec<String>,
}

/// What to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Explain {
    /// The rows.
    No,
    /// The plan.
    Plan,
    /// The plan with what it took to run it.
    Analyze,
}

impl Statement {
    /// Reads and checks one statement.
    ///
    /// Costs time and stack in proportion to the bounds of `bounds`; call it on a big stack.
    pub fn parse(sql: &str, params: &Params, functions: &Functions) -> Result<Self> {
        Self::parse_within(None, sql, params, functions)
    }

    /// The same, where names of one part are datasets of `namespace`.
    pub fn parse_within(
        namespace: Option<&Namespace>,
        sql: &str,
        params: &Params,
        functions: &Functions,
    ) -> Result<Self> {
        let mut tokens = tokenize(sql)?;
        bounds::check(&tokens)?;
        params::number_question_marks(&mut tokens)?;
        let (tokens, versions) = travel::rewrite(&tokens)?;
        let parsed = parse_one(tokens)?;
        let (mut query, explain, shown) = match show::query(&parsed)? {
            Some(show::Shown { sql, relation }) => {
                let (query, explain) = split_explain(parse_one(tokenize(&sql)?)?)?;
                (query, explain, relation)
            }
            None => {
                let (query, explain) = split_explain(parsed)?;
                (query, explain, None)
            }
        };
        if let Some(namespace) = namespace {
            qualify::qualify(&mut query, namespace);
        }
        let placeholders = params::substitute(&mut query, params)?;
        let mut relations = allow::check(&query, &versions, functions)?;
        relations.extend(shown);
        weight::check(&query, &HashMap::new(), functions)?;
        outputs::name_apart(&mut query);
        outputs::name_without_version(&mut query);
        times::count_microseconds(query.as_mut());
        Ok(Self { query, explain, relations, placeholders })
    }

    /// Checks again, now that the datasets are open and it is known how wide they are: `widths` has
    /// their columns by `namespace.dataset`; `functions` are those it was read with.
    ///
    /// Errors: [`StatementError::TooComplex`].
    pub fn check_width(&self, widths: &HashMap<String, u64>, functions: &Functions) -> Result<()> {
        weight::check(&self.query, widths, functions)
    }

    /// The query, or what EXPLAIN explains.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// The query, for a planner.
    pub fn into_query(self) -> Box<Query> {
        self.query
    }

    /// Whether to answer the plan instead of rows.
    pub fn explain(&self) -> Explain {
        self.explain
    }

    /// The parameters whose values come later ([`Params::Later`]): `1`, `2`, … in their order, or names.
    pub fn placeholders(&self) -> &[String] {
        &self.placeholders
    }

    /// The relations outside of the statement that it names, sorted, each once; what a SHOW or DESCRIBE shows comes last.
    pub fn relations(&self) -> &[Relation] {
        &self.relations
    }
}

pub(crate) fn tokenize(sql: &str) -> Result<Vec<TokenWithSpan>> {
    bounds::check_text(sql)?;
    let dialect = GenericDialect {};
    Tokenizer::new(&dialect, sql).tokenize_with_location().map_err(|TokenizerError { message, location }| {
        let position = Position { line: location.line, column: location.column };
        StatementError::Syntax { message, position: Some(position) }
    })
}

fn parse_one(tokens: Vec<TokenWithSpan>) -> Result<Ast> {
    let dialect = GenericDialect {};
    let first = first_word(&tokens);
    let mut parser = Parser::new(&dialect).with_recursion_limit(PARSER_RECURSION).with_tokens_with_locations(tokens);
    let mut statements = parser.parse_statements().map_err(|error| syntax(error, first.as_deref()))?;
    match (statements.pop(), statements.len()) {
        (Some(statement), 0) => Ok(statement),
        (_, more) => Err(StatementError::StatementCount(if more == 0 { 0 } else { more + 1 })),
    }
}

/// Words that begin a statement of another database or one that writes: what follows may not even
/// parse here, and "not allowed" says more than a syntax error.
const REFUSED_FIRST: &[&str] = &[
    "ALTER",
    "ANALYZE",
    "ATTACH",
    "BEGIN",
    "CALL",
    "COMMENT",
    "COMMIT",
    "COPY",
    "CREATE",
    "DEALLOCATE",
    "DELETE",
    "DESC",
    "DESCRIBE",
    "DETACH",
    "DROP",
    "EXECUTE",
    "EXPORT",
    "GRANT",
    "IMPORT",
    "INSERT",
    "INSTALL",
    "KILL",
    "LOAD",
    "LOCK",
    "MERGE",
    "PRAGMA",
    "PREPARE",
    "REPLACE",
    "RESET",
    "REVOKE",
    "ROLLBACK",
    "SET",
    "SHOW",
    "START",
    "TRUNCATE",
    "UNLOAD",
    "UPDATE",
    "USE",
    "VACUUM",
];

fn first_word(tokens: &[TokenWithSpan]) -> Option<String> {
    let first = tokens.iter().find(|t| !matches!(t.token, Token::Whitespace(_)))?;
    let Token::Word(word) = &first.token else { return None };
    let upper = word.value.to_ascii_uppercase();
    REFUSED_FIRST.contains(&upper.as_str()).then_some(upper)
}

pub(crate) fn syntax(error: ParserError, refused_first: Option<&str>) -> StatementError {
    if let Some(word) = refused_first {
        return StatementError::StatementNotAllowed { statement: word.to_owned() };
    }
    match error {
        ParserError::RecursionLimitExceeded => {
            StatementError::TooComplex { what: "levels of nesting", limit: bounds::MAX_DEPTH }
        }
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => {
            let (message, position) = split_position(&text);
            StatementError::Syntax { message: message.to_owned(), position }
        }
    }
}

/// The parser puts ` at Line: 1, Column: 8` at the end of its messages.
fn split_position(text: &str) -> (&str, Option<Position>) {
    let parse = || {
        let (message, place) = text.rsplit_once(" at Line: ")?;
        let (line, column) = place.split_once(", Column: ")?;
        let position = Position { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? };
        Some((message, Some(position)))
    };
    parse().unwrap_or((text, None))
}

fn split_explain(statement: Ast) -> Result<(Box<Query>, Explain)> {
    match statement {
        Ast::Query(query) => Ok((query, Explain::No)),
        Ast::Explain { statement, analyze, verbose, query_plan, estimate, format, options, describe_alias } => {
            let plain = !(verbose || query_plan || estimate) && format.is_none() && options.is_none();
            if !plain || describe_alias != DescribeAlias::Explain {
                return Err(StatementError::NotSupported("EXPLAIN with options other than ANALYZE".to_owned()));
            }
            match *statement {
                Ast::Query(query) => Ok((query, if analyze { Explain::Analyze } else { Explain::Plan })),
                other => Err(not_allowed(&other)),
            }
        }
        other => Err(not_allowed(&other)),
    }
}

fn not_allowed(statement: &Ast) -> StatementError {
    let text = statement.to_string();
    let words: Vec<&str> = text.split_whitespace().take_while(|word| !word.starts_with('(')).take(2).collect();
    let statement = words.join(" ").chars().take(40).collect();
    StatementError::StatementNotAllowed { statement }
}

#[cfg(test)]
mod tests;
