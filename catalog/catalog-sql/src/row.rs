//! Values on their way into and out of the database: text and 64-bit integers, nothing else.

use chrono::{DateTime, SubsecRound as _, Utc};
use lakegate_catalog::CatalogError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{ColumnIndex, Decode, Encode, Type};

use crate::error::Failure;

/// A parameter of a statement.
#[derive(Clone)]
pub(crate) enum Arg {
    /// Text or NULL.
    Text(Option<String>),
    /// An integer or NULL.
    Int(Option<i64>),
}

/// Text of anything that has a text: names, ids.
pub(crate) fn text(value: &impl ToString) -> Arg {
    Arg::Text(Some(value.to_string()))
}

pub(crate) fn int(value: i64) -> Arg {
    Arg::Int(Some(value))
}

/// A time, as microseconds since 1970.
pub(crate) fn time(value: DateTime<Utc>) -> Arg {
    int(value.timestamp_micros())
}

/// An enum's word, as it is in JSON.
pub(crate) fn word(value: &impl Serialize) -> Result<Arg, Failure> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Ok(Arg::Text(Some(word))),
        other => Err(corrupt(&format!("{other:?} is no word"))),
    }
}

/// A structure, as JSON text.
pub(crate) fn json(value: &impl Serialize) -> Result<Arg, Failure> {
    serde_json::to_string(value).map(|json| Arg::Text(Some(json))).map_err(|error| corrupt(&error))
}

/// Nothing for nothing.
pub(crate) fn optional_json(value: Option<&impl Serialize>) -> Result<Arg, Failure> {
    value.map_or(Ok(Arg::Text(None)), json)
}

/// Now, as precisely as the catalog keeps it.
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

pub(crate) fn corrupt(why: &impl ToString) -> Failure {
    Failure::Catalog(CatalogError::Corrupt(why.to_string()))
}

/// A statement with its parameters.
pub(crate) fn bound<DB: sqlx::Database>(
    sql: &'static str,
    args: impl IntoIterator<Item = Arg>,
) -> sqlx::query::Query<'static, DB, DB::Arguments>
where
    for<'a> Option<String>: Encode<'a, DB> + Type<DB>,
    for<'a> Option<i64>: Encode<'a, DB> + Type<DB>,
{
    args.into_iter().fold(sqlx::query(sql), |query, arg| match arg {
        Arg::Text(text) => query.bind(text),
        Arg::Int(int) => query.bind(int),
    })
}

/// The statement for a page of records that may be long: `$select` and what of `$from` fits, in this order of `$key`, at most
/// `$limit` of them, up to the one with which their sizes add up to `$bytes`. The database cuts, so that no page is read whole
/// first; it counts along the same index by which it then reads.
macro_rules! page_within {
    ($select:expr, $from:expr, $key:literal, $direction:literal, $limit:literal, $bytes:literal) => {
        concat!(
            $select,
            $from,
            " ORDER BY ",
            $key,
            $direction,
            " LIMIT (SELECT COUNT(*) FROM (SELECT SUM(size) OVER (ORDER BY key",
            $direction,
            ") - size AS sum_before FROM (SELECT ",
            $key,
            " AS key, size",
            $from,
            " ORDER BY ",
            $key,
            $direction,
            " LIMIT ",
            $limit,
            ") found) summed WHERE sum_before < ",
            $bytes,
            ")"
        )
    };
}
pub(crate) use page_within;

/// A row of an answer. Columns are counted from 0.
pub(crate) enum Row {
    /// Of SQLite.
    Sqlite(SqliteRow),
    /// Of PostgreSQL.
    Postgres(PgRow),
}

impl Row {
    pub(crate) fn int(&self, column: usize) -> Result<i64, Failure> {
        self.optional_int(column)?.ok_or_else(|| null(column))
    }

    pub(crate) fn optional_int(&self, column: usize) -> Result<Option<i64>, Failure> {
        match self {
            Self::Sqlite(row) => get(row, column),
            Self::Postgres(row) => get(row, column),
        }
    }

    pub(crate) fn text(&self, column: usize) -> Result<String, Failure> {
        self.optional_text(column)?.ok_or_else(|| null(column))
    }

    pub(crate) fn optional_text(&self, column: usize) -> Result<Option<String>, Failure> {
        match self {
            Self::Sqlite(row) => get(row, column),
            Self::Postgres(row) => get(row, column),
        }
    }

    /// A name or id, read back from its text.
    pub(crate) fn parsed<T: std::str::FromStr>(&self, column: usize) -> Result<T, Failure> {
        let text = self.text(column)?;
        text.parse().map_err(|_| corrupt(&format!("`{text}` in column {column}")))
    }

    /// A value, unless it is NULL.
    pub(crate) fn optional<T>(
        &self,
        column: usize,
        read: impl FnOnce(&Self, usize) -> Result<T, Failure>,
    ) -> Result<Option<T>, Failure> {
        match self.optional_text(column)? {
            None => Ok(None),
            Some(_) => read(self, column).map(Some),
        }
    }

    pub(crate) fn word<T: DeserializeOwned>(&self, column: usize) -> Result<T, Failure> {
        serde_json::from_value(self.text(column)?.into()).map_err(|error| corrupt(&error))
    }

    pub(crate) fn json<T: DeserializeOwned>(&self, column: usize) -> Result<T, Failure> {
        serde_json::from_str(&self.text(column)?).map_err(|error| corrupt(&error))
    }

    pub(crate) fn time(&self, column: usize) -> Result<DateTime<Utc>, Failure> {
        self.optional_time(column)?.ok_or_else(|| null(column))
    }

    pub(crate) fn optional_time(&self, column: usize) -> Result<Option<DateTime<Utc>>, Failure> {
        let time = |micros| DateTime::from_timestamp_micros(micros).ok_or_else(|| corrupt(&format!("time {micros}")));
        self.optional_int(column)?.map(time).transpose()
    }
}

fn null(column: usize) -> Failure {
    corrupt(&format!("column {column} is empty"))
}

fn get<'r, R, T>(row: &'r R, column: usize) -> Result<Option<T>, Failure>
where
    R: sqlx::Row,
    usize: ColumnIndex<R>,
    T: Decode<'r, R::Database> + Type<R::Database>,
{
    Ok(row.try_get(column)?)
}
