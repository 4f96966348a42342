//! The one list of error kinds, and the catalog's own errors.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

/// What went wrong, from the caller's point of view: it says what to do next.
///
/// Every crate's error answers one of these from `kind()`. Each protocol maps them to its own
/// codes in exactly one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request is wrong and will stay wrong: change it.
    Invalid,
    /// Understood, but not done here (format, statement, type).
    Unsupported,
    /// A credential is malformed, unknown or expired.
    Unauthenticated,
    /// The caller is known and may see the thing, but may not do this to it.
    Denied,
    /// No such thing, or none that the caller may see.
    NotFound,
    /// Something else has the name, or changed it meanwhile.
    Conflict,
    /// A condition that the request itself stated does not hold.
    Precondition,
    /// The request is larger than a stated limit.
    TooLarge,
    /// The request used up a budget of its own (memory, spill, rows).
    Exhausted,
    /// The request ran past its own deadline.
    Deadline,
    /// The server has too much to do: retry later.
    Overloaded,
    /// A dependency (catalog, storage) cannot be reached: retry later.
    Unavailable,
    /// The caller went away or cancelled.
    Cancelled,
    /// A defect of ours; the request id finds the log line.
    Internal,
}

impl ErrorKind {
    /// The kind's stable word, as logs and metrics show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Unsupported => "unsupported",
            Self::Unauthenticated => "unauthenticated",
            Self::Denied => "denied",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Precondition => "precondition",
            Self::TooLarge => "too_large",
            Self::Exhausted => "exhausted",
            Self::Deadline => "deadline",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The result of a catalog call.
pub type Result<T, E = CatalogError> = std::result::Result<T, E>;

/// Why a catalog call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// A name or field breaks a rule; `why` states the rule.
    #[error("{} is not valid: {why}", named(what, value))]
    Invalid {
        /// What the value is ("namespace", "column name").
        what: Cow<'static, str>,
        /// The value as it was given; empty for one that is not to be shown.
        value: String,
        /// The rule it breaks.
        why: String,
    },
    /// Nothing with this name or id.
    #[error("{what} `{name}` does not exist")]
    NotFound {
        /// What was looked for ("dataset", "principal").
        what: Cow<'static, str>,
        /// Its name or id.
        name: String,
    },
    /// The name is taken.
    #[error("{what} `{name}` already exists")]
    AlreadyExists {
        /// What was to be created.
        what: Cow<'static, str>,
        /// Its name.
        name: String,
    },
    /// The change would leave the instance without an owner.
    #[error("the last owner of the instance cannot be removed: make another principal owner first")]
    LastOwner,
    /// A namespace holds datasets.
    #[error("the namespace `{name}` is not empty: delete its datasets first")]
    NotEmpty {
        /// Its name.
        name: String,
    },
    /// A job is not, or no longer, in the hands of whoever speaks of it.
    #[error("the job `{job}` is no longer held by this worker: another has it, or it has ended")]
    NotHeld {
        /// Its id.
        job: String,
    },
    /// So many jobs of one tenant wait as may.
    #[error("{limit} jobs of yours wait already, which is the most: wait until some are done, or cancel some")]
    TooManyJobs {
        /// The most that may.
        limit: u32,
    },
    /// More passwords are to be looked at than may wait for it.
    #[error("too many passwords are being looked at: try again in a few seconds")]
    TooManyPasswords,
    /// The store behind the catalog failed or could not be reached.
    #[error("the catalog's store failed: {0}")]
    Store(#[source] Box<dyn StdError + Send + Sync>),
    /// The store has no room for what is to be written; what it holds can be read.
    #[error("the catalog's store has no room: {0}")]
    Full(#[source] Box<dyn StdError + Send + Sync>),
    /// The store answered something that this version cannot read.
    #[error("the catalog holds a record that this version cannot read: {0}")]
    Corrupt(String),
}

/// What is wrong, with its value if that can be shown.
fn named(what: &str, value: &str) -> String {
    if value.is_empty() { what.to_owned() } else { format!("{what} `{value}`") }
}

impl CatalogError {
    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid { .. } => ErrorKind::Invalid,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::AlreadyExists { .. } | Self::LastOwner | Self::NotEmpty { .. } | Self::NotHeld { .. } => {
                ErrorKind::Conflict
            }
            Self::TooManyJobs { .. } | Self::TooManyPasswords => ErrorKind::Overloaded,
            Self::Store(_) | Self::Full(_) => ErrorKind::Unavailable,
            Self::Corrupt(_) => ErrorKind::Internal,
        }
    }

    /// The stable code of the problem document.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid_name",
            Self::NotFound { .. } => "not_found",
            Self::AlreadyExists { .. } => "already_exists",
            Self::LastOwner => "last_owner",
            Self::NotEmpty { .. } => "namespace_not_empty",
            Self::NotHeld { .. } => "job_not_held",
            Self::TooManyJobs { .. } => "too_many_jobs",
            Self::TooManyPasswords => "too_many_passwords",
            Self::Store(_) => "catalog_unavailable",
            Self::Full(_) => "storage_full",
            Self::Corrupt(_) => "internal",
        }
    }

    /// Wraps a failure of the backing store.
    pub fn store(error: impl StdError + Send + Sync + 'static) -> Self {
        Self::Store(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_shown_leaves_no_gap() {
        let invalid = |what: &'static str, value: &str, why: &str| {
            CatalogError::Invalid { what: what.into(), value: value.to_owned(), why: why.to_owned() }.to_string()
        };
        assert_eq!(invalid("namespace", "No", "it is long"), "namespace `No` is not valid: it is long");
        assert_eq!(invalid("password", "", "it is short"), "password is not valid: it is short");
    }
}
