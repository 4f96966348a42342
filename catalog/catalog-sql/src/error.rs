//! Failures on the way to a database.

use lakegate_catalog::{CatalogError, ErrorKind};

use crate::dialect::Dialect;
use crate::schema::SCHEMA_VERSION;

/// Why a database cannot be used as a catalog.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL has another form. It is not repeated here: it may hold a password.
    #[error("the catalog's database URL must be sqlite:PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE: {0}")]
    Url(String),
    /// A newer version of Lakegate wrote the database.
    #[error(
        "the catalog has schema version {found}, this program knows versions up to {SCHEMA_VERSION}: run the newer \
         version of Lakegate, or restore a copy of the catalog made before it ran"
    )]
    TooNew {
        /// The version that was found.
        found: i64,
    },
    /// The server is older than this program is made for.
    #[error(
        "the catalog's database is PostgreSQL {}, this program needs {} or newer: use a newer server",
        found / 10_000,
        Dialect::OLDEST_SERVER / 10_000
    )]
    OldServer {
        /// Its version as a number, such as 130011 for 13.11.
        found: i64,
    },
    /// The database did not answer in time.
    #[error("the catalog's database did not answer in time: check that it runs and can be reached")]
    Late,
    /// The database refused or failed.
    #[error("the catalog's database cannot be opened: {0}")]
    Database(#[from] sqlx::Error),
}

impl ConnectError {
    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Url(_) => ErrorKind::Invalid,
            Self::TooNew { .. } | Self::OldServer { .. } => ErrorKind::Precondition,
            Self::Late | Self::Database(_) => ErrorKind::Unavailable,
        }
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Url(_) => "bad_database_url",
            Self::TooNew { .. } => "catalog_too_new",
            Self::OldServer { .. } => "database_too_old",
            Self::Late | Self::Database(_) => "catalog_unavailable",
        }
    }
}

/// Why one try of a call failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The answer is an error of the catalog.
    Catalog(CatalogError),
    /// The database failed.
    Database(sqlx::Error),
    /// Something else came between that is over: the transaction may succeed when it is run again.
    Passed,
    /// The deadline passed.
    Late,
}

impl From<CatalogError> for Failure {
    fn from(error: CatalogError) -> Self {
        Self::Catalog(error)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<Failure> for CatalogError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Catalog(error) => error,
            Failure::Database(error) if Dialect::is_full(&error) => Self::Full(Box::new(error)),
            // No try would go better.
            Failure::Database(error) if Dialect::is_unfit(&error) => {
                let why = "the catalog's database cannot hold it, as it cannot hold NUL in a text".to_owned();
                Self::Invalid { what: "a value".into(), value: String::new(), why }
            }
            Failure::Database(error) => Self::store(error),
            Failure::Late | Failure::Passed => Self::store(ConnectError::Late),
        }
    }
}

impl From<Failure> for ConnectError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Catalog(error) => Self::Database(sqlx::Error::Decode(Box::new(error))),
            Failure::Database(error) => Self::Database(error),
            Failure::Late | Failure::Passed => Self::Late,
        }
    }
}

pub(crate) fn not_found(what: &'static str, name: &impl ToString) -> Failure {
    Failure::Catalog(CatalogError::NotFound { what: what.into(), name: name.to_string() })
}

pub(crate) fn already_exists(what: &'static str, name: &impl ToString) -> Failure {
    Failure::Catalog(CatalogError::AlreadyExists { what: what.into(), name: name.to_string() })
}
