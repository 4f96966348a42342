//! Why a push was not done.

use std::time::Duration;

use lakegate_catalog::{CatalogError, DatasetName, ErrorKind, Lack};
use lakegate_formats::{FormatError, MAX_COLUMNS};
use lakegate_lake::LakeError;

/// The result of a push.
pub type Result<T, E = IngestError> = std::result::Result<T, E>;

/// Why a push was not done. Nothing of it is stored then.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The catalog refused or could not be asked.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Storage refused, or the rows do not fit the table.
    #[error("{error}")]
    Lake {
        /// The dataset, once it is known.
        name: Option<DatasetName>,
        /// Why.
        error: Box<LakeError>,
    },
    /// The body is not what its format says, or larger than a limit.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// No such dataset, or none that the caller may see.
    #[error("dataset `{0}` does not exist, or you may not see it")]
    DatasetNotFound(DatasetName),
    /// The dataset was to be created and is there.
    #[error("dataset `{0}` already exists")]
    DatasetExists(DatasetName),
    /// The caller has not the role that it takes on a dataset or namespace, or its credential is not for it.
    #[error("{what} needs {lack}")]
    Denied {
        /// What was asked.
        what: String,
        /// What it takes.
        lack: Lack,
    },
    /// Only a principal may do it.
    #[error("this needs a token")]
    Anonymous,
    /// There is no place, and no room to wait for one.
    #[error("{why}; retry in {seconds} s")]
    TooManyPushes {
        /// What was taken.
        why: &'static str,
        /// When there may be one.
        seconds: u8,
    },
    /// The body ended before it was complete.
    #[error("the body ended before it was complete")]
    Truncated,
    /// The body took too long as a whole.
    #[error("the body took longer than {0:?}; send fewer rows at a time")]
    Late(Duration),
    /// Nothing came for too long.
    #[error("no bytes came for {0:?}; send the body without long pauses")]
    Idle(Duration),
    /// The folder for bodies takes no more.
    #[error("there is no room for the body; retry later, or send it in smaller parts")]
    NoRoom,
    /// The idempotency key has another form.
    #[error("send one Idempotency-Key of 1 to 255 visible ASCII characters")]
    Key,
    /// More columns than a dataset may have.
    #[error("a dataset has at most {MAX_COLUMNS} columns, this one would have {0}")]
    TooManyColumns(usize),
    /// A thread of ours ended early.
    #[error("a push was given up")]
    GivenUp,
}

impl IngestError {
    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Catalog(error) => error.kind(),
            Self::Lake { error, .. } => error.kind(),
            Self::Format(error) => error.kind(),
            Self::DatasetNotFound(_) => ErrorKind::NotFound,
            Self::DatasetExists(_) => ErrorKind::Conflict,
            Self::Denied { .. } | Self::Anonymous => ErrorKind::Denied,
            Self::TooManyPushes { .. } => ErrorKind::Overloaded,
            Self::Truncated | Self::Key => ErrorKind::Invalid,
            Self::Late(_) | Self::Idle(_) => ErrorKind::Deadline,
            Self::NoRoom => ErrorKind::Unavailable,
            Self::TooManyColumns(_) => ErrorKind::TooLarge,
            Self::GivenUp => ErrorKind::Internal,
        }
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Catalog(error) => error.code(),
            Self::Lake { error, .. } => error.code(),
            Self::Format(error) => error.code(),
            Self::DatasetNotFound(_) => "dataset_not_found",
            Self::DatasetExists(_) => "already_exists",
            Self::Denied { .. } | Self::Anonymous => "denied",
            Self::TooManyPushes { .. } => "too_many_pushes",
            Self::Truncated => "truncated_body",
            Self::Late(_) => "push_deadline",
            Self::Idle(_) => "body_timeout",
            Self::NoRoom => "storage_unavailable",
            Self::Key => "invalid_idempotency_key",
            Self::TooManyColumns(_) => "too_many_columns",
            Self::GivenUp => "internal",
        }
    }

    /// An error of the lake under the name that the caller used.
    pub(crate) fn of(name: &DatasetName) -> impl Fn(LakeError) -> Self {
        let name = name.clone();
        move |error| match error {
            LakeError::NoTable => Self::DatasetNotFound(name.clone()),
            error => Self::Lake { name: Some(name.clone()), error: Box::new(error) },
        }
    }
}

impl From<LakeError> for IngestError {
    fn from(error: LakeError) -> Self {
        Self::Lake { name: None, error: Box::new(error) }
    }
}
