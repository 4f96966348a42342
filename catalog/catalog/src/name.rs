//! Names of namespaces and datasets, checked when they are made.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{CatalogError, Result};

/// Words that no namespace or dataset may take, because SQL and the API use them.
const RESERVED: [&str; 3] = ["system", "information_schema", "lake"];

const RULE: &str = "it must match [a-z][a-z0-9_]{0,62}";

fn check(what: &'static str, text: &str) -> Result<()> {
    let invalid = |why: &str| CatalogError::Invalid { what: what.into(), value: clip(text), why: why.to_owned() };
    let bytes = text.as_bytes();
    let starts_well = bytes.first().is_some_and(u8::is_ascii_lowercase);
    let continues_well = bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_');
    if !starts_well || !continues_well || bytes.len() > 63 {
        return Err(invalid(RULE));
    }
    if RESERVED.contains(&text) {
        return Err(invalid("the word is reserved; choose another"));
    }
    Ok(())
}

/// A hostile name must not fill a log line or an answer.
fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Owner of datasets and unit of tenancy; the schema in SQL terms. `[a-z][a-z0-9_]{0,62}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Namespace(String);

impl Namespace {
    /// Checks and keeps the name.
    pub fn new(text: &str) -> Result<Self> {
        check("namespace", text)?;
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Namespace {
    type Err = CatalogError;

    fn from_str(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl TryFrom<String> for Namespace {
    type Error = CatalogError;

    fn try_from(text: String) -> Result<Self> {
        Self::new(&text)
    }
}

impl From<Namespace> for String {
    fn from(name: Namespace) -> Self {
        name.0
    }
}

/// A dataset's full name, `namespace.dataset`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DatasetName {
    namespace: Namespace,
    dataset: String,
}

impl DatasetName {
    /// Checks and joins the two parts.
    pub fn new(namespace: &str, dataset: &str) -> Result<Self> {
        check("dataset name", dataset)?;
        Ok(Self { namespace: Namespace::new(namespace)?, dataset: dataset.to_owned() })
    }

    /// The namespace part.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The part after the dot.
    pub fn dataset(&self) -> &str {
        &self.dataset
    }
}

impl fmt::Display for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace, self.dataset)
    }
}

impl FromStr for DatasetName {
    type Err = CatalogError;

    fn from_str(text: &str) -> Result<Self> {
        let Some((namespace, dataset)) = text.split_once('.') else {
            return Err(CatalogError::Invalid {
                what: "dataset name".into(),
                value: clip(text),
                why: "it must be written namespace.dataset".to_owned(),
            });
        };
        Self::new(namespace, dataset)
    }
}

impl TryFrom<String> for DatasetName {
    type Error = CatalogError;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<DatasetName> for String {
    fn from(name: DatasetName) -> Self {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule() {
        for good in ["a", "a1_b", &"x".repeat(63)] {
            assert!(Namespace::new(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "1a", "_a", "a-b", "a.b", "é", "lake", "system", &"x".repeat(64)] {
            assert!(Namespace::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn dataset_names_round_trip() {
        let name: DatasetName = "geo.quakes".parse().expect("valid");
        assert_eq!(name.to_string(), "geo.quakes");
        assert!("quakes".parse::<DatasetName>().is_err());
        assert!("a.b.c".parse::<DatasetName>().is_err());
    }
}
