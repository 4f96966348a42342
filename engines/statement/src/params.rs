//! Parameters: values of JSON put into the syntax tree as literals, never into the text.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use serde_json::{Map, Value as Json};
use sqlparser::ast::{CastKind, ExactNumberInfo};
use sqlparser::ast::{DataType, Expr, Query, UnaryOperator, Value, VisitMut, VisitorMut};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::{Result, StatementError};

/// The values of a statement's parameters.
///
/// Whole numbers become bigint, other numbers double, and strings, booleans and null themselves;
/// lists and objects are refused.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Params {
    /// There are none.
    #[default]
    None,
    /// The first value is `$1` (or the first `?`).
    Positional(Vec<Json>),
    /// The value of `name` is `$name`.
    Named(Map<String, Json>),
}

/// Rewrites `?` to `$1`, `$2`, … in the order of the text.
pub(crate) fn number_question_marks(tokens: &mut [TokenWithSpan]) -> Result<()> {
    let (mut questions, mut dollars) = (0_usize, 0_usize);
    for token in tokens {
        let Token::Placeholder(text) = &mut token.token else { continue };
        if text == "?" {
            questions += 1;
            *text = format!("${questions}");
        } else {
            dollars += 1;
        }
    }
    if questions > 0 && dollars > 0 {
        return Err(StatementError::Parameters("use either ? or $1, not both".to_owned()));
    }
    Ok(())
}

/// Puts the values where the statement names them. Every value must be used and every name known.
pub(crate) fn substitute(query: &mut Query, params: &Params) -> Result<()> {
    let mut visitor = Substitute { params, used: BTreeSet::new() };
    if let ControlFlow::Break(error) = query.visit(&mut visitor) {
        return Err(error);
    }
    let unused = match params {
        Params::None => None,
        Params::Positional(values) => (1..=values.len()).map(|n| n.to_string()).find(|n| !visitor.used.contains(n)),
        Params::Named(values) => values.keys().find(|name| !visitor.used.contains(*name)).cloned(),
    };
    match unused {
        Some(name) => Err(StatementError::Parameters(format!("${name} has a value and is not in the statement"))),
        None => Ok(()),
    }
}

struct Substitute<'a> {
    params: &'a Params,
    used: BTreeSet<String>,
}

impl VisitorMut for Substitute<'_> {
    type Break = StatementError;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<StatementError> {
        let Expr::Value(value) = expr else { return ControlFlow::Continue(()) };
        let Value::Placeholder(text) = &value.value else { return ControlFlow::Continue(()) };
        let text = text.clone();
        match self.literal(&text) {
            Ok(literal) => {
                *expr = literal;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Substitute<'_> {
    fn literal(&mut self, placeholder: &str) -> Result<Expr> {
        let name = placeholder.strip_prefix('$').unwrap_or(placeholder);
        let missing = || StatementError::Parameters(format!("{placeholder} has no value"));
        let value = match self.params {
            Params::None => None,
            Params::Positional(values) => {
                name.parse::<usize>().ok().and_then(|n| n.checked_sub(1)).and_then(|n| values.get(n))
            }
            Params::Named(values) => values.get(name),
        };
        let literal = literal_of(value.ok_or_else(missing)?, placeholder)?;
        self.used.insert(name.to_owned());
        Ok(literal)
    }
}

fn literal_of(value: &Json, placeholder: &str) -> Result<Expr> {
    Ok(match value {
        Json::Null => Expr::value(Value::Null),
        Json::Bool(b) => Expr::value(Value::Boolean(*b)),
        Json::String(text) => Expr::value(Value::SingleQuotedString(text.clone())),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => bigint(whole),
            (None, Some(_)) if number.is_u64() => {
                return Err(StatementError::Parameters(format!(
                    "{placeholder} does not fit bigint; send it as a string"
                )));
            }
            (None, Some(float)) => {
                cast(Value::SingleQuotedString(float.to_string()), DataType::Double(ExactNumberInfo::None))
            }
            (None, None) => return Err(StatementError::Parameters(format!("{placeholder} is not a number"))),
        },
        Json::Array(_) | Json::Object(_) => {
            let text = format!("{placeholder} is a list or an object; send numbers, strings, booleans or null");
            return Err(StatementError::Parameters(text));
        }
    })
}

fn bigint(whole: i64) -> Expr {
    let digits = Expr::value(Value::Number(whole.unsigned_abs().to_string(), false));
    if whole >= 0 { digits } else { Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(digits) } }
}

fn cast(value: Value, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(Expr::value(value)), data_type, array: false, format: None }
}
