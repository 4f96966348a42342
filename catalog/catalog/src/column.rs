//! Columns and their types: the words that the API, SQL answers and documents share.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{CatalogError, Result};

/// One column of a dataset.
///
/// `name` is what clients push and query. The stored (Parquet, Delta) name is derived from it and
/// is the storage engine's affair.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// The name, as the first writer spelled it.
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub ty: ColumnType,
    /// Whether a row may leave it out.
    #[serde(default = "nullable_by_default")]
    pub nullable: bool,
}

fn nullable_by_default() -> bool {
    true
}

impl Column {
    /// A nullable column.
    pub fn new(name: impl Into<String>, ty: ColumnType) -> Self {
        Self { name: name.into(), ty, nullable: true }
    }

    /// Checks the names of a whole schema: UTF-8 of 1 to 255 bytes without control characters, not
    /// starting with `_` or `$`, unique ignoring case; nested structs likewise.
    pub fn check_all(columns: &[Self]) -> Result<()> {
        let mut seen = std::collections::HashSet::new();
        for column in columns {
            column.check()?;
            if !seen.insert(column.name.to_lowercase()) {
                return Err(column.invalid("another column has the same name, ignoring case"));
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        if self.name.is_empty() || self.name.len() > 255 {
            return Err(self.invalid("it must have 1 to 255 bytes"));
        }
        if self.name.chars().any(char::is_control) {
            return Err(self.invalid("it must not contain control characters"));
        }
        if self.name.starts_with(['_', '$']) {
            return Err(self.invalid("it must not start with `_` or `$`"));
        }
        self.ty.check()
    }

    fn invalid(&self, why: &str) -> CatalogError {
        CatalogError::Invalid {
            what: "column name".into(),
            value: self.name.chars().take(80).collect(),
            why: why.to_owned(),
        }
    }
}

/// The type of a column: `boolean`, `smallint`, `int`, `bigint`, `real`, `double`, `decimal(p,s)`,
/// `string`, `binary`, `date`, `timestamp` (µs, UTC), `timestamp_ntz` (µs, no zone), `list<T>`,
/// `struct<name: T, …>`, `map<K,V>`, `geometry`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ColumnType {
    /// True or false.
    Boolean,
    /// 16-bit signed integer.
    SmallInt,
    /// 32-bit signed integer.
    Int,
    /// 64-bit signed integer.
    BigInt,
    /// 32-bit IEEE 754.
    Real,
    /// 64-bit IEEE 754.
    Double,
    /// Exact decimal: precision 1 to 38, scale 0 to precision.
    Decimal(u8, u8),
    /// UTF-8 text.
    String,
    /// Bytes.
    Binary,
    /// Days since 1970-01-01.
    Date,
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp,
    /// Microseconds of a wall clock without a zone.
    TimestampNtz,
    /// A list of values of one type.
    List(Box<ColumnType>),
    /// Named fields.
    Struct(Vec<Column>),
    /// Keys to values.
    Map(Box<ColumnType>, Box<ColumnType>),
    /// Well-known binary.
    Geometry,
}

/// Why a type's text could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a column type; use boolean, smallint, int, bigint, real, double, decimal(p,s), string, \
     binary, date, timestamp, timestamp_ntz, list<T>, struct<name: T, ...> or map<K,V>"
)]
pub struct ParseTypeError(String);

impl ColumnType {
    /// Nesting that a type may have; deeper ones are refused.
    pub const MAX_DEPTH: usize = 16;

    fn check(&self) -> Result<()> {
        match self {
            Self::List(item) => item.check(),
            Self::Map(key, value) => key.check().and_then(|()| value.check()),
            Self::Struct(fields) => Column::check_all(fields),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("boolean"),
            Self::SmallInt => f.write_str("smallint"),
            Self::Int => f.write_str("int"),
            Self::BigInt => f.write_str("bigint"),
            Self::Real => f.write_str("real"),
            Self::Double => f.write_str("double"),
            Self::Decimal(p, s) => write!(f, "decimal({p},{s})"),
            Self::String => f.write_str("string"),
            Self::Binary => f.write_str("binary"),
            Self::Date => f.write_str("date"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::TimestampNtz => f.write_str("timestamp_ntz"),
            Self::List(item) => write!(f, "list<{item}>"),
            Self::Map(key, value) => write!(f, "map<{key},{value}>"),
            Self::Geometry => f.write_str("geometry"),
            Self::Struct(fields) => {
                f.write_str("struct<")?;
                for (i, field) in fields.iter().enumerate() {
                    let sep = if i == 0 { "" } else { ", " };
                    write!(f, "{sep}{}: {}", FieldName(&field.name), field.ty)?;
                }
                f.write_str(">")
            }
        }
    }
}

/// A struct field's name, quoted when it could be mistaken for punctuation.
struct FieldName<'a>(&'a str);

impl fmt::Display for FieldName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = self.0.chars().all(|c| c.is_alphanumeric() || c == '_') && !self.0.is_empty();
        if plain { f.write_str(self.0) } else { write!(f, "\"{}\"", self.0.replace('"', "\"\"")) }
    }
}

impl FromStr for ColumnType {
    type Err = ParseTypeError;

    fn from_str(text: &str) -> Result<Self, ParseTypeError> {
        let error = || ParseTypeError(text.chars().take(80).collect());
        let mut parser = Parser { rest: text };
        let ty = parser.ty(0).ok_or_else(error)?;
        parser.skip_space();
        if parser.rest.is_empty() { Ok(ty) } else { Err(error()) }
    }
}

/// Recursive descent over the type's text; bounded by [`ColumnType::MAX_DEPTH`].
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn ty(&mut self, depth: usize) -> Option<ColumnType> {
        if depth >= ColumnType::MAX_DEPTH {
            return None;
        }
        Some(match self.word()?.to_ascii_lowercase().as_str() {
            "boolean" => ColumnType::Boolean,
            "smallint" => ColumnType::SmallInt,
            "int" => ColumnType::Int,
            "bigint" => ColumnType::BigInt,
            "real" => ColumnType::Real,
            "double" => ColumnType::Double,
            "string" => ColumnType::String,
            "binary" => ColumnType::Binary,
            "date" => ColumnType::Date,
            "timestamp" => ColumnType::Timestamp,
            "timestamp_ntz" => ColumnType::TimestampNtz,
            "geometry" => ColumnType::Geometry,
            "decimal" => self.decimal()?,
            "list" => {
                self.take('<')?;
                let item = self.ty(depth + 1)?;
                self.take('>')?;
                ColumnType::List(Box::new(item))
            }
            "map" => {
                self.take('<')?;
                let key = self.ty(depth + 1)?;
                self.take(',')?;
                let value = self.ty(depth + 1)?;
                self.take('>')?;
                ColumnType::Map(Box::new(key), Box::new(value))
            }
            "struct" => ColumnType::Struct(self.fields(depth)?),
            _ => return None,
        })
    }

    fn decimal(&mut self) -> Option<ColumnType> {
        self.take('(')?;
        let precision: u8 = self.word()?.parse().ok()?;
        self.take(',')?;
        let scale: u8 = self.word()?.parse().ok()?;
        self.take(')')?;
        let valid = (1..=38).contains(&precision) && scale <= precision;
        valid.then_some(ColumnType::Decimal(precision, scale))
    }

    fn fields(&mut self, depth: usize) -> Option<Vec<Column>> {
        self.take('<')?;
        let mut fields = Vec::new();
        loop {
            let name = self.field_name()?;
            self.take(':')?;
            fields.push(Column::new(name, self.ty(depth + 1)?));
            if self.take(',').is_none() {
                self.take('>')?;
                return Some(fields);
            }
        }
    }

    fn field_name(&mut self) -> Option<String> {
        self.skip_space();
        let Some(quoted) = self.rest.strip_prefix('"') else {
            return self.word().map(str::to_owned);
        };
        let mut name = String::new();
        let mut chars = quoted.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            if c != '"' {
                name.push(c);
            } else if chars.next_if(|(_, next)| *next == '"').is_some() {
                name.push('"');
            } else {
                self.rest = &quoted[at + 1..];
                return Some(name);
            }
        }
        None
    }

    fn word(&mut self) -> Option<&'a str> {
        self.skip_space();
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    fn take(&mut self, c: char) -> Option<()> {
        self.skip_space();
        self.rest = self.rest.strip_prefix(c)?;
        Some(())
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }
}

impl TryFrom<String> for ColumnType {
    type Error = ParseTypeError;

    fn try_from(text: String) -> Result<Self, ParseTypeError> {
        text.parse()
    }
}

impl From<ColumnType> for String {
    fn from(ty: ColumnType) -> Self {
        ty.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_round_trip_through_text() {
        for text in [
            "boolean",
            "decimal(38,9)",
            "list<list<double>>",
            "map<string,list<int>>",
            "struct<a: int, \"b c\": struct<d: string>>",
            "timestamp_ntz",
        ] {
            let ty: ColumnType = text.parse().expect(text);
            assert_eq!(ty.to_string(), text);
        }
    }

    #[test]
    fn bad_types_are_refused() {
        let deep = "list<".repeat(40) + "int" + &">".repeat(40);
        for text in ["", "integer", "decimal(39,0)", "decimal(5,6)", "list<int", "int int", "struct<>", &deep] {
            assert!(text.parse::<ColumnType>().is_err(), "{text}");
        }
    }

    #[test]
    fn column_names_follow_the_rule() {
        let columns = |names: &[&str]| names.iter().map(|n| Column::new(*n, ColumnType::Int)).collect::<Vec<_>>();
        assert!(Column::check_all(&columns(&["a", "pop (2020), est.", "Ünï"])).is_ok());
        for bad in [&["_a"][..], &["$a"], &[""], &["a\u{7}"], &["a", "A"], &["É", "é"]] {
            assert!(Column::check_all(&columns(bad)).is_err(), "{bad:?}");
        }
    }
}
