//! What a token is limited to, of all that its principal may do.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{CatalogError, Result};
use crate::grant::Role;
use crate::name::{DatasetName, Namespace};

/// What one may do, for tokens that may do only some of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Query, and read versions and receipts.
    Read,
    /// Push rows.
    Push,
    /// Alter, compact and vacuum.
    Maintain,
    /// Create, delete, publish, grant, and make tokens.
    Manage,
}

impl Action {
    /// The action's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Push => "push",
            Self::Maintain => "maintain",
            Self::Manage => "manage",
        }
    }
}

impl Role {
    /// What the role allows beside what the roles before it do.
    pub fn action(self) -> Action {
        match self {
            Self::Reader => Action::Read,
            Self::Writer => Action::Push,
            Self::Maintainer => Action::Maintain,
            Self::Owner => Action::Manage,
        }
    }
}

/// Datasets, by name: `namespace.dataset`, or `namespace.*` for all of a namespace, present and future.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DatasetPattern {
    /// All of a namespace.
    Namespace(Namespace),
    /// One.
    Dataset(DatasetName),
}

impl DatasetPattern {
    fn covers(&self, name: &DatasetName) -> bool {
        match self {
            Self::Namespace(namespace) => name.namespace() == namespace,
            Self::Dataset(dataset) => name == dataset,
        }
    }

    fn includes(&self, other: &Self) -> bool {
        match other {
            Self::Namespace(_) => self == other,
            Self::Dataset(name) => self.covers(name),
        }
    }
}

impl fmt::Display for DatasetPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(namespace) => write!(f, "{namespace}.*"),
            Self::Dataset(name) => name.fmt(f),
        }
    }
}

impl FromStr for DatasetPattern {
    type Err = CatalogError;

    fn from_str(text: &str) -> Result<Self> {
        let pattern = match text.strip_suffix(".*") {
            Some(namespace) => Namespace::new(namespace).map(Self::Namespace),
            None => text.parse().map(Self::Dataset),
        };
        pattern.map_err(|_| {
            invalid("token scope", text, "each of its datasets must be `namespace.dataset` or `namespace.*`")
        })
    }
}

impl TryFrom<String> for DatasetPattern {
    type Error = CatalogError;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<DatasetPattern> for String {
    fn from(pattern: DatasetPattern) -> Self {
        pattern.to_string()
    }
}

/// The limits of a token. The default has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenScope {
    /// What it may be used for; anything when empty.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub actions: BTreeSet<Action>,
    /// On which datasets; on any, and for what concerns none, when empty. On others its bearer is nobody: what is
    /// public can be read.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub datasets: BTreeSet<DatasetPattern>,
    /// From which web pages: origins as browsers send them, `https://maps.example`. From anywhere, also without a browser,
    /// when empty. A page cannot forge it; a program can.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub referrers: BTreeSet<String>,
}

impl TokenScope {
    /// Entries that one list may have.
    pub const MAX_ENTRIES: usize = 100;

    /// Checks what needs no look-up; every implementation calls it before it stores anything.
    pub fn check(&self) -> Result<()> {
        if self.datasets.len() > Self::MAX_ENTRIES || self.referrers.len() > Self::MAX_ENTRIES {
            return Err(invalid("token scope", "", "each of its lists has at most 100 entries"));
        }
        match self.referrers.iter().find(|origin| !is_origin(origin)) {
            Some(bad) => Err(invalid("referrer", bad, "it must be an origin, such as https://maps.example:8443")),
            None => Ok(()),
        }
    }

    /// Whether there is no limit at all.
    pub fn is_whole(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it may be used for this.
    pub fn allows(&self, action: Action) -> bool {
        self.actions.is_empty() || self.actions.contains(&action)
    }

    /// Whether it may be used on this dataset.
    pub fn covers(&self, name: &DatasetName) -> bool {
        self.datasets.is_empty() || self.datasets.iter().any(|pattern| pattern.covers(name))
    }

    /// Whether it may be used on all datasets of a namespace.
    pub fn covers_namespace(&self, namespace: &Namespace) -> bool {
        let whole = DatasetPattern::Namespace(namespace.clone());
        self.datasets.is_empty() || self.datasets.contains(&whole)
    }

    /// Whether it may be used from a page of this origin; `None` when none was said.
    pub fn admits(&self, origin: Option<&str>) -> bool {
        self.referrers.is_empty()
            || origin.is_some_and(|origin| self.referrers.iter().any(|one| one.eq_ignore_ascii_case(origin)))
    }

    /// Whether nothing may be done with `other` that may not be done with this.
    pub fn includes(&self, other: &Self) -> bool {
        let actions = self.actions.is_empty() || !other.actions.is_empty() && other.actions.is_subset(&self.actions);
        let datasets = self.datasets.is_empty()
            || !other.datasets.is_empty()
                && other.datasets.iter().all(|theirs| self.datasets.iter().any(|ours| ours.includes(theirs)));
        let referrers =
            self.referrers.is_empty() || !other.referrers.is_empty() && other.referrers.is_subset(&self.referrers);
        actions && datasets && referrers
    }
}

/// `scheme://host` or `scheme://host:port`, in the characters that an origin has.
fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let host =
        |rest: &str| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    text.len() <= 300 && rest.is_some_and(host)
}

fn invalid(what: &'static str, value: &str, why: &str) -> CatalogError {
    CatalogError::Invalid { what: what.into(), value: value.chars().take(80).collect(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(json: &str) -> TokenScope {
        serde_json::from_str(json).expect("a scope")
    }

    #[test]
    fn a_scope_limits_actions_datasets_and_pages() {
        let whole = TokenScope::default();
        let narrow = scope(r#"{"actions":["push"],"datasets":["geo.*","lab.a"],"referrers":["https://maps.example"]}"#);
        for action in [Action::Read, Action::Push, Action::Maintain, Action::Manage] {
            assert!(whole.allows(action));
            assert_eq!(narrow.allows(action), action == Action::Push);
        }
        for (name, covered) in [("geo.x", true), ("lab.a", true), ("lab.b", false), ("geography.x", false)] {
            let name = name.parse().expect("a name");
            assert!(whole.covers(&name));
            assert_eq!(narrow.covers(&name), covered, "{name}");
        }
        let pages = [(None, false), (Some("https://maps.example"), true), (Some("https://maps.example.evil"), false)];
        for (origin, admitted) in pages {
            assert!(whole.admits(origin));
            assert_eq!(narrow.admits(origin), admitted, "{origin:?}");
        }
    }

    #[test]
    fn a_narrower_scope_is_included_and_no_other() {
        let scopes = [
            "{}",
            r#"{"actions":["read"]}"#,
            r#"{"actions":["read","push"]}"#,
            r#"{"datasets":["geo.*"]}"#,
            r#"{"datasets":["geo.a","geo.b"]}"#,
            r#"{"actions":["read"],"datasets":["geo.a"],"referrers":["https://a.example"]}"#,
        ];
        let included = [
            [true, true, true, true, true, true],
            [false, true, false, false, false, true],
            [false, true, true, false, false, true],
            [false, false, false, true, true, true],
            [false, false, false, false, true, true],
            [false, false, false, false, false, true],
        ];
        for (outer, row) in scopes.iter().zip(included) {
            for (inner, expected) in scopes.iter().zip(row) {
                assert_eq!(scope(outer).includes(&scope(inner)), expected, "{outer} includes {inner}");
            }
        }
    }

    #[test]
    fn what_is_no_origin_or_pattern_is_refused() {
        for bad in ["maps.example", "https://", "https://a/b", "https://a b", "ftp://a", "https://*"] {
            let scope = TokenScope { referrers: [bad.to_owned()].into(), ..TokenScope::default() };
            assert!(scope.check().is_err(), "{bad}");
        }
        for bad in ["*", "geo", "*.*", "geo.*.*", "Geo.*", ""] {
            assert!(bad.parse::<DatasetPattern>().is_err(), "{bad}");
        }
    }
}
