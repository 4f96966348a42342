//! Parameters: values put into the syntax tree as literals, never into the text.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use lakegate_catalog::ColumnType;
use serde_json::{Map, Value as Json};
use sqlparser::ast::{CastKind, ExactNumberInfo, TimezoneInfo};
use sqlparser::ast::{DataType, Expr, Query, UnaryOperator, Value, VisitMut, VisitorMut};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::{Result, StatementError};

/// The values of a statement's parameters.
///
/// Of JSON, whole numbers become bigint, other numbers double, and strings, booleans and null themselves;
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
    /// The value of `1` is `$1` (or the first `?`), that of `name` is `$name`.
    Typed(Vec<(String, TypedValue)>),
    /// They come later: the statement keeps its placeholders, and [`Statement::placeholders`](crate::Statement::placeholders)
    /// names them.
    Later,
}

/// A value that has a type.
#[derive(Clone, Debug, PartialEq)]
pub enum TypedValue {
    /// NULL, of a type if it is known.
    Null(Option<ColumnType>),
    /// True or false.
    Boolean(bool),
    /// A bigint.
    BigInt(i64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Text that is cast to a type without parts, such as a date.
    Cast(String, ColumnType),
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

/// Puts the values where the statement names them. Every value must be used and every name known. Answers the placeholders
/// that stay because their values come later: `1`, `2`, … in their order, or names.
pub(crate) fn substitute(query: &mut Query, params: &Params) -> Result<Vec<String>> {
    let mut visitor = Substitute { params, used: BTreeSet::new() };
    if let ControlFlow::Break(error) = query.visit(&mut visitor) {
        return Err(error);
    }
    let unused = match params {
        Params::None => None,
        Params::Positional(values) => (1..=values.len()).map(|n| n.to_string()).find(|n| !visitor.used.contains(n)),
        Params::Named(values) => values.keys().find(|name| !visitor.used.contains(*name)).cloned(),
        Params::Typed(values) => {
            values.iter().map(|(name, _)| name).find(|name| !visitor.used.contains(*name)).cloned()
        }
        Params::Later => None,
    };
    match unused {
        Some(name) => Err(StatementError::Parameters(format!("${name} has a value and is not in the statement"))),
        None if *params == Params::Later => in_order(visitor.used),
        None => Ok(Vec::new()),
    }
}

/// Names in their order; numbers in theirs, which must begin with 1 and leave none out.
fn in_order(used: BTreeSet<String>) -> Result<Vec<String>> {
    let numbers: BTreeSet<usize> = used.iter().filter_map(|name| name.parse().ok()).collect();
    if numbers.is_empty() {
        return Ok(used.into_iter().collect());
    }
    if numbers.len() < used.len() {
        return Err(StatementError::Parameters("use either $1 or $name, not both".to_owned()));
    }
    match (1..=numbers.len()).find(|n| !numbers.contains(n)) {
        Some(n) => Err(StatementError::Parameters(format!("${n} is not in the statement, and one after it is"))),
        None => Ok((1..=numbers.len()).map(|n| n.to_string()).collect()),
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
        if *self.params == Params::Later {
            return self.keep(&text);
        }
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
    fn keep(&mut self, placeholder: &str) -> ControlFlow<StatementError> {
        match placeholder.strip_prefix('$').filter(|name| !name.is_empty()) {
            Some(name) => {
                self.used.insert(name.to_owned());
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(StatementError::Parameters(format!("{placeholder} is not ?, $1 or $name"))),
        }
    }

    fn literal(&mut self, placeholder: &str) -> Result<Expr> {
        let name = placeholder.strip_prefix('$').unwrap_or(placeholder);
        let missing = || StatementError::Parameters(format!("{placeholder} has no value"));
        let of_json = |value: &Json| literal_of(value, placeholder);
        let literal = match self.params {
            Params::None | Params::Later => None,
            Params::Positional(values) => {
                let at = name.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
                at.and_then(|n| values.get(n)).map(of_json)
            }
            Params::Named(values) => values.get(name).map(of_json),
            Params::Typed(values) => {
                values.iter().find(|(other, _)| other == name).map(|(_, value)| typed_literal(value, placeholder))
            }
        };
        let literal = literal.ok_or_else(missing)??;
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

fn typed_literal(value: &TypedValue, placeholder: &str) -> Result<Expr> {
    Ok(match value {
        TypedValue::Null(None) => Expr::value(Value::Null),
        TypedValue::Null(Some(ty)) => match sql_type(ty) {
            Some(ty) => cast(Value::Null, ty),
            None => Expr::value(Value::Null),
        },
        TypedValue::Boolean(b) => Expr::value(Value::Boolean(*b)),
        TypedValue::BigInt(whole) => bigint(*whole),
        TypedValue::Text(text) => Expr::value(Value::SingleQuotedString(text.clone())),
        TypedValue::Bytes(bytes) => {
            let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
            let digits = digits.filter_map(|digit| char::from_digit(u32::from(digit), 16));
            Expr::value(Value::HexStringLiteral(digits.collect()))
        }
        TypedValue::Cast(text, ty) => {
            let unknown = || StatementError::Parameters(format!("{placeholder} has a type that is no parameter's"));
            cast(Value::SingleQuotedString(text.clone()), sql_type(ty).ok_or_else(unknown)?)
        }
    })
}

/// The type as the planner knows it; `None` for one with parts.
fn sql_type(ty: &ColumnType) -> Option<DataType> {
    Some(match ty {
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::SmallInt => DataType::SmallInt(None),
        ColumnType::Int => DataType::Int(None),
        ColumnType::BigInt => DataType::BigInt(None),
        ColumnType::Real => DataType::Real,
        ColumnType::Double => DataType::Double(ExactNumberInfo::None),
        ColumnType::Decimal(precision, scale) => {
            DataType::Decimal(ExactNumberInfo::PrecisionAndScale(u64::from(*precision), i64::from(*scale)))
        }
        ColumnType::String => DataType::Text,
        ColumnType::Binary => DataType::Bytea,
        ColumnType::Date => DataType::Date,
        ColumnType::Timestamp => DataType::Timestamp(None, TimezoneInfo::WithTimeZone),
        ColumnType::TimestampNtz => DataType::Timestamp(None, TimezoneInfo::None),
        ColumnType::List(_) | ColumnType::Struct(_) | ColumnType::Map(..) | ColumnType::Geometry => return None,
    })
}

fn bigint(whole: i64) -> Expr {
    let digits = Expr::value(Value::Number(whole.unsigned_abs().to_string(), false));
    if whole >= 0 { digits } else { Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(digits) } }
}

pub(crate) fn cast(value: Value, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(Expr::value(value)), data_type, array: false, format: None }
}
