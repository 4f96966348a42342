//! The expressions of a policy: over the columns of one dataset, row by row, for one caller.
//!
//! They pass the bounds and the allow-list of statements, and more is refused: whatever reads a relation or more than
//! the row at hand. `current_principal()` and `is_member('group')` become constants here, so no function that knows
//! its caller can be called from anywhere else.

use std::ops::ControlFlow;

use lakegate_catalog::Caller;
use sqlparser::ast::{
    DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Query, Value,
    ValueWithSpan, Visit, VisitMut, Visitor, VisitorMut,
};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use crate::allow::{self, refuse};
use crate::bounds::Counts;
use crate::error::{Result, StatementError};
use crate::functions::Functions;
use crate::names::{folded, idents};
use crate::params::cast;
use crate::statement::{PARSER_RECURSION, syntax, tokenize};
use crate::times;
use crate::weight::MAX_TERMS;

/// Reads expressions that are used together: all of them share the bounds of one statement.
#[derive(Debug)]
pub struct Expressions<'a> {
    functions: &'a Functions,
    caller: &'a Caller,
    seen: Counts,
    terms: u64,
}

impl<'a> Expressions<'a> {
    /// For a caller, which `current_principal()` and `is_member('group')` are about.
    pub fn new(functions: &'a Functions, caller: &'a Caller) -> Self {
        Self { functions, caller, seen: Counts::default(), terms: 0 }
    }

    /// Reads and checks one expression, for a planner.
    ///
    /// Costs time and stack in proportion to the bounds of `bounds`; call it on a big stack.
    pub fn parse(&mut self, sql: &str) -> Result<Expr> {
        let tokens = tokenize(sql)?;
        self.seen.check(&tokens)?;
        let dialect = GenericDialect {};
        let mut parser =
            Parser::new(&dialect).with_recursion_limit(PARSER_RECURSION).with_tokens_with_locations(tokens);
        let whole = parser.parse_expr().and_then(|expr| match parser.peek_token() {
            end if end.token == Token::EOF => Ok(expr),
            other => parser.expected("the end of the expression", other),
        });
        let mut expr = whole.map_err(|error| syntax(error, None))?;
        let mut scalar = Scalar { functions: self.functions, terms: self.terms };
        if let ControlFlow::Break(error) = Visit::visit(&expr, &mut scalar) {
            return Err(error);
        }
        self.terms = scalar.terms;
        if let ControlFlow::Break(error) = VisitMut::visit(&mut expr, &mut Asking(self.caller)) {
            return Err(error);
        }
        times::count_microseconds(&mut expr);
        Ok(expr)
    }
}

/// Refuses what is not a scalar expression.
struct Scalar<'a> {
    functions: &'a Functions,
    terms: u64,
}

impl Visitor for Scalar<'_> {
    type Break = StatementError;

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<StatementError> {
        ControlFlow::Break(StatementError::NotSupported("a subquery in a policy".to_owned()))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<StatementError> {
        self.terms += 1;
        self.expr(expr).map_or_else(ControlFlow::Break, ControlFlow::Continue)
    }
}

impl Scalar<'_> {
    fn expr(&self, expr: &Expr) -> Result<()> {
        if self.terms > MAX_TERMS {
            let limit = usize::try_from(MAX_TERMS).unwrap_or(usize::MAX);
            return Err(StatementError::TooComplex { what: "terms in all expressions together", limit });
        }
        match expr {
            Expr::Function(call) if Asks::of(call)?.is_some() => Ok(()),
            Expr::Function(call) => {
                self.call(call)?;
                allow::expr(expr, self.functions)
            }
            Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => refuse("* in a policy", true),
            Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_) => refuse("grouping in a policy", true),
            Expr::Value(ValueWithSpan { value: Value::Placeholder(_), .. }) => refuse("a parameter in a policy", true),
            other => allow::expr(other, self.functions),
        }
    }

    fn call(&self, call: &Function) -> Result<()> {
        let name = idents(&call.name).and_then(|parts| parts.last().map(|ident| folded(ident))).unwrap_or_default();
        refuse("a window function in a policy", call.over.is_some())?;
        let aggregates = self.functions.is_aggregate(&name) || name == "grouping";
        refuse("an aggregate function in a policy", aggregates || call.filter.is_some())?;
        refuse("an aggregate function in a policy", !call.within_group.is_empty())?;
        refuse("unnest in a policy", name == "unnest")
    }
}

/// What an expression may ask about its caller.
enum Asks<'a> {
    /// `current_principal()`
    Principal,
    /// `is_member('group')`
    Member(&'a str),
}

impl<'a> Asks<'a> {
    fn of(call: &'a Function) -> Result<Option<Self>> {
        let name = match idents(&call.name).as_deref() {
            Some([ident]) => folded(ident),
            _ => return Ok(None),
        };
        let plain = call.over.is_none() && call.filter.is_none() && call.within_group.is_empty();
        let arguments: &[FunctionArg] = match &call.args {
            FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses })
                if plain && clauses.is_empty() =>
            {
                args
            }
            _ => return Ok(None),
        };
        let refused = |form: &str| Err(StatementError::NotSupported(format!("{name}() in another form than {form}")));
        match (name.as_str(), arguments) {
            ("current_principal", []) => Ok(Some(Self::Principal)),
            ("current_principal", _) => refused("current_principal()"),
            ("is_member", [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))]) => match &value.value {
                Value::SingleQuotedString(group) => Ok(Some(Self::Member(group))),
                _ => refused("is_member('group')"),
            },
            ("is_member", _) => refused("is_member('group')"),
            _ => Ok(None),
        }
    }
}

/// Puts in what is true of the caller.
struct Asking<'a>(&'a Caller);

impl VisitorMut for Asking<'_> {
    type Break = StatementError;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<StatementError> {
        let Expr::Function(call) = expr else { return ControlFlow::Continue(()) };
        let constant = match Asks::of(call) {
            Err(error) => return ControlFlow::Break(error),
            Ok(None) => return ControlFlow::Continue(()),
            Ok(Some(Asks::Member(group))) => Expr::value(Value::Boolean(self.0.groups().any(|name| name == group))),
            Ok(Some(Asks::Principal)) => {
                let name = self.0.principal().map(|principal| principal.name.clone());
                cast(name.map_or(Value::Null, Value::SingleQuotedString), DataType::Text)
            }
        };
        *expr = constant;
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use lakegate_catalog::{Group, GroupId, Identity, Principal, PrincipalId, PrincipalKind};

    use super::*;

    fn functions() -> Functions {
        let scalars = ["lower", "row_number", "unnest", "grouping"].map(str::to_owned);
        Functions::new(scalars, ["sum".to_owned(), "first_value".to_owned()])
    }

    fn ann() -> Caller {
        let created_at = DateTime::UNIX_EPOCH;
        let name = "ann".to_owned();
        let principal = Principal { id: PrincipalId::generate(), name, kind: PrincipalKind::User, created_at };
        let group = Group { id: GroupId::generate(), name: "staff".to_owned(), created_at };
        Identity { groups: vec![group], ..Identity::from(principal) }.into()
    }

    fn read(caller: &Caller, sql: &str) -> String {
        let functions = functions();
        match Expressions::new(&functions, caller).parse(sql) {
            Ok(expr) => expr.to_string(),
            Err(error) => format!("{}: {error}", error.code()),
        }
    }

    #[test]
    fn questions_about_the_caller_become_constants() {
        for (sql, known, anonymous) in [
            ("owner = Current_Principal()", "owner = CAST('ann' AS TEXT)", "owner = CAST(NULL AS TEXT)"),
            ("is_member('staff')", "true", "false"),
            ("NOT (IS_MEMBER('STAFF'))", "NOT (false)", "NOT (false)"),
            ("lower(current_principal())", "lower(CAST('ann' AS TEXT))", "lower(CAST(NULL AS TEXT))"),
            ("\"is_member\"", "\"is_member\"", "\"is_member\""),
        ] {
            assert_eq!(read(&ann(), sql), known, "{sql}");
            assert_eq!(read(&Caller::Anonymous, sql), anonymous, "{sql}");
        }
    }

    #[test]
    fn only_scalar_expressions_are_read() {
        for (sql, code) in [
            ("a > (SELECT 1)", "not_supported"),
            ("EXISTS (SELECT 1)", "not_supported"),
            ("a IN (SELECT 1)", "not_supported"),
            ("a = ANY (SELECT 1)", "not_supported"),
            ("sum(a) > 1", "not_supported"),
            ("lower(DISTINCT first_value(a))", "not_supported"),
            ("row_number() OVER ()", "not_supported"),
            ("lower(a) FILTER (WHERE true)", "not_supported"),
            ("unnest([1])", "not_supported"),
            ("grouping(a)", "not_supported"),
            ("a = $1", "not_supported"),
            ("a = ?", "not_supported"),
            ("is_member(a)", "not_supported"),
            ("is_member('a', 'b')", "not_supported"),
            ("current_principal(1)", "not_supported"),
            ("x.is_member('a')", "unknown_function"),
            ("getenv('HOME')", "unknown_function"),
            ("a AS b", "syntax_error"),
            ("a; DROP TABLE t", "syntax_error"),
            ("", "syntax_error"),
            ("SELECT 1", "syntax_error"),
            ("a >", "syntax_error"),
        ] {
            let answer = read(&Caller::Anonymous, sql);
            assert!(answer.starts_with(code), "{sql}: {answer}");
        }
    }

    #[test]
    fn errors_say_where() {
        let functions = functions();
        let error = Expressions::new(&functions, &Caller::Anonymous).parse("a = 1\n AND )").expect_err("refused");
        assert_eq!(error.position().map(|at| at.line), Some(2), "{error}");
    }

    #[test]
    fn expressions_share_the_bounds_of_a_statement() {
        let functions = functions();
        let mut together = Expressions::new(&functions, &Caller::Anonymous);
        let sum = (0..90).fold("a".to_owned(), |text, n| format!("{text}+{n}"));
        assert!(together.parse(&sum).is_ok() && together.parse(&sum).is_ok());
        assert_eq!(together.parse(&sum).expect_err("refused").code(), "statement_too_complex");
        let list = (0..2_100).fold("a IN (0".to_owned(), |text, n| format!("{text},{n}")) + ")";
        assert!(read(&Caller::Anonymous, &list).starts_with("statement_too_complex"));
    }
}
