//! Errors of the catalog on their way over HTTP.

use std::borrow::Cow;

use lakegate_catalog::CatalogError;
use serde::{Deserialize, Serialize};

/// A [`CatalogError`] as it is sent. What only the companion's log should say stays behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub(crate) enum Refusal {
    Invalid { what: String, value: String, why: String },
    NotFound { what: String, name: String },
    AlreadyExists { what: String, name: String },
    LastOwner,
    NotEmpty { name: String },
    NotHeld { job: String },
    TooManyJobs { limit: u32 },
    Full,
    Unavailable,
    Corrupt { why: String },
}

/// What stands for the cause that stayed behind.
#[derive(Debug, thiserror::Error)]
#[error("the companion's log says why")]
struct There;

impl Refusal {
    /// The refusal of an error; what it hides is logged.
    pub(crate) fn of(error: CatalogError) -> Self {
        match error {
            CatalogError::Invalid { what, value, why } => Self::Invalid { what: what.into_owned(), value, why },
            CatalogError::NotFound { what, name } => Self::NotFound { what: what.into_owned(), name },
            CatalogError::AlreadyExists { what, name } => Self::AlreadyExists { what: what.into_owned(), name },
            CatalogError::LastOwner => Self::LastOwner,
            CatalogError::NotEmpty { name } => Self::NotEmpty { name },
            CatalogError::NotHeld { job } => Self::NotHeld { job },
            CatalogError::TooManyJobs { limit } => Self::TooManyJobs { limit },
            CatalogError::Full(cause) => {
                tracing::error!(%cause, "the catalog's store has no room");
                Self::Full
            }
            // Passwords are looked at by gateways.
            CatalogError::TooManyPasswords => Self::Unavailable,
            CatalogError::Store(cause) => {
                tracing::error!(%cause, "the catalog's store failed");
                Self::Unavailable
            }
            CatalogError::Corrupt(why) => {
                tracing::error!(%why, "a record of the catalog cannot be read");
                Self::Corrupt { why }
            }
        }
    }

    /// The error again.
    pub(crate) fn error(self) -> CatalogError {
        match self {
            Self::Invalid { what, value, why } => CatalogError::Invalid { what: Cow::Owned(what), value, why },
            Self::NotFound { what, name } => CatalogError::NotFound { what: Cow::Owned(what), name },
            Self::AlreadyExists { what, name } => CatalogError::AlreadyExists { what: Cow::Owned(what), name },
            Self::LastOwner => CatalogError::LastOwner,
            Self::NotEmpty { name } => CatalogError::NotEmpty { name },
            Self::NotHeld { job } => CatalogError::NotHeld { job },
            Self::TooManyJobs { limit } => CatalogError::TooManyJobs { limit },
            Self::Full => CatalogError::Full(Box::new(There)),
            Self::Unavailable => CatalogError::store(There),
            Self::Corrupt { why } => CatalogError::Corrupt(why),
        }
    }

    /// The HTTP status.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Invalid { .. } => 400,
            Self::NotFound { .. } => 404,
            Self::AlreadyExists { .. } | Self::LastOwner | Self::NotEmpty { .. } | Self::NotHeld { .. } => 409,
            Self::TooManyJobs { .. } => 429,
            Self::Full | Self::Unavailable => 503,
            Self::Corrupt { .. } => 500,
        }
    }
}
