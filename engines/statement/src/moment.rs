//! Which version of a dataset to read.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use lakegate_catalog::{DatasetId, DatasetName};
use serde_json::Value as Json;

use crate::error::{Result, StatementError};

/// A version of a dataset, by number or by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// The version with this number.
    Version(u64),
    /// The version that was the newest at this time.
    Time(DateTime<Utc>),
}

impl Moment {
    /// Reads `v12`, an RFC 3339 time, or a date, which stands for its first moment in UTC.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let version = text.strip_prefix('v').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        let moment = match version {
            Some(digits) => digits.parse().ok().map(Self::Version),
            None => time(text).map(Self::Time),
        };
        moment.ok_or_else(|| {
            let text: String = text.chars().take(80).collect();
            StatementError::AsOf(format!(
                "`{text}` is neither a version such as v12 nor a time such as 2026-01-31T00:00:00Z"
            ))
        })
    }
}

fn time(text: &str) -> Option<DateTime<Utc>> {
    let moment = DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc());
    moment.or_else(|| Some(text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0)?.and_utc()))
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Version(version) => write!(f, "v{version}"),
            Self::Time(time) => f.write_str(&time.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
        }
    }
}

/// What a request says about the versions of the datasets that its statement names without one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AsOf {
    /// The newest of each.
    #[default]
    Newest,
    /// Of each the version that was the newest then.
    Time(DateTime<Utc>),
    /// These; the others in their newest version. All must be in the statement.
    Each(BTreeMap<DatasetName, Moment>),
    /// These, where the statement names them without a version; the others in their newest version. A dataset that has a
    /// name by now is not the one that had it then.
    Found(BTreeMap<DatasetName, (DatasetId, u64)>),
}

impl AsOf {
    /// Reads the field of a request: a time, or an object of versions or times by dataset.
    ///
    /// Errors: [`StatementError::AsOf`].
    pub fn from_json(value: &Json) -> Result<Self> {
        match value {
            Json::Null => Ok(Self::Newest),
            Json::String(text) => time(text).map(Self::Time).ok_or_else(|| shape(value)),
            Json::Object(each) => {
                let pairs = each.iter().map(|(name, moment)| {
                    let name = name.parse().map_err(|_| shape(&Json::String(name.clone())))?;
                    Ok((name, one(moment)?))
                });
                pairs.collect::<Result<_>>().map(Self::Each)
            }
            _ => Err(shape(value)),
        }
    }

    /// What holds for a dataset; `None` for the newest.
    pub fn of(&self, name: &DatasetName) -> Option<Moment> {
        match self {
            Self::Newest => None,
            Self::Time(time) => Some(Moment::Time(*time)),
            Self::Each(each) => each.get(name).copied(),
            Self::Found(found) => found.get(name).map(|(_, version)| Moment::Version(*version)),
        }
    }

    /// The dataset that must have this name; `None` for any.
    pub fn identity(&self, name: &DatasetName) -> Option<DatasetId> {
        let Self::Found(found) = self else { return None };
        found.get(name).map(|(id, _)| *id)
    }

    /// The names that it gives a version to and that must be in the statement.
    pub fn names(&self) -> impl Iterator<Item = &DatasetName> {
        let each = if let Self::Each(each) = self { Some(each) } else { None };
        each.into_iter().flat_map(BTreeMap::keys)
    }
}

fn one(value: &Json) -> Result<Moment> {
    match value {
        Json::Number(number) => number.as_u64().map(Moment::Version).ok_or_else(|| shape(value)),
        Json::String(text) => Moment::parse(text),
        _ => Err(shape(value)),
    }
}

fn shape(value: &Json) -> StatementError {
    let text: String = value.to_string().chars().take(80).collect();
    StatementError::AsOf(format!(
        "as_of is a time such as \"2026-01-31T00:00:00Z\" or an object such as {{\"demo.flights\": 12}}, not {text}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_versions_or_times() {
        assert_eq!(Moment::parse("v12").expect("a version"), Moment::Version(12));
        for text in ["2026-01-31", "2026-01-31T00:00:00Z", "2026-01-31T02:00:00+02:00"] {
            assert_eq!(Moment::parse(text).expect("a time").to_string(), "2026-01-31T00:00:00Z", "{text}");
        }
        for text in ["", "v", "12", "v-1", "v99999999999999999999", "2026-01-31T00:00:00", "yesterday"] {
            assert_eq!(Moment::parse(text).expect_err(text).code(), "invalid_as_of");
        }
    }

    #[test]
    fn a_request_pins_all_or_each() {
        let read = |text: &str| AsOf::from_json(&serde_json::from_str(text).expect("json"));
        let name = "a.b".parse().expect("name");
        assert_eq!(read(r#"{"a.b": 3}"#).expect("valid").of(&name), Some(Moment::Version(3)));
        assert_eq!(
            read(r#"{"a.b": "2026-01-31"}"#).expect("valid").of(&name),
            read(r#""2026-01-31""#).expect("valid").of(&name)
        );
        assert_eq!(read("null").expect("valid").of(&name), None);
        for text in ["3", "[]", "true", r#"{"b": 1}"#, r#"{"a.b": -1}"#, r#"{"a.b": 1.5}"#, r#""soon""#] {
            assert_eq!(read(text).expect_err(text).code(), "invalid_as_of");
        }
    }
}
