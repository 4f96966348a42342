//! What can go wrong between a dataset and its storage.

use std::io::ErrorKind as ErrorOf;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use lakegate_catalog::{ErrorKind, LakeId};
use parquet::errors::ParquetError;

use crate::damage::Damage;

/// The result of a lake call.
pub type Result<T, E = LakeError> = std::result::Result<T, E>;

/// Why a lake call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The storage URL cannot be used.
    #[error("storage `{url}` cannot be used: {why}")]
    BadStore {
        /// The URL, without credentials.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The root is empty or holds the tables of another catalog.
    #[error(
        "storage `{url}` {}",
        match found {
            Some(_) => "belongs to another catalog: bring that catalog back (catalog.db of its data folder, or \
                        catalog.database_url), or choose another root",
            None => "does not hold the tables that this catalog knows: bring the lake back to where it was, or point \
                     to where it is now; for a new, empty instance choose another data folder",
        }
    )]
    OtherLake {
        /// The URL, without credentials.
        url: String,
        /// The lake that is there, if any.
        found: Option<LakeId>,
    },
    /// There is no table with this id.
    #[error("the dataset's table does not exist")]
    NoTable,
    /// Something of the table is gone or is not what was written. Only someone with other rights can mend it.
    #[error("the dataset is damaged: {0}")]
    Damaged(Damage),
    /// No such version has been made yet.
    #[error("version {version} does not exist; the newest is {newest}")]
    NoVersion {
        /// The version that was asked for.
        version: u64,
        /// The newest one.
        newest: u64,
    },
    /// A time before the first version.
    #[error("there was no version yet at {}; the first is of {}", shown(.time), shown(.first))]
    NoVersionYet {
        /// The time that was asked for.
        time: DateTime<Utc>,
        /// When version 0 was made.
        first: DateTime<Utc>,
    },
    /// A version whose log or files have been removed.
    #[error("{0} is no longer kept; ask for a later one")]
    VersionExpired(String),
    /// The table uses a Delta feature that this version does not write or read.
    #[error("the dataset's table needs something that this version does not support: {0}")]
    UnsupportedTable(String),
    /// A column type has no stored form.
    #[error("column `{column}`: {why}")]
    UnsupportedType {
        /// The column.
        column: String,
        /// Which type, and what to use instead.
        why: String,
    },
    /// A value does not fit its column.
    #[error("row {row}, column `{column}`: {why}")]
    BadValue {
        /// Row within the push, from 1.
        row: u64,
        /// The column.
        column: String,
        /// What was found and what fits.
        why: String,
    },
    /// Columns do not match the dataset's.
    #[error("the rows do not match the dataset's columns: {0}")]
    SchemaMismatch(String),
    /// A column that was to be added is there, with another type.
    #[error("column `{column}` is there already, with the type {ty}; add it under another name")]
    ColumnExists {
        /// The column.
        column: String,
        /// The type that it has.
        ty: String,
    },
    /// The idempotency key was used before with another body.
    #[error("the idempotency key was used before for a different body; choose a new key for new rows")]
    KeyReused,
    /// A push with this idempotency key is still running.
    #[error("a push with this idempotency key is still running; retry in a moment")]
    KeyInUse,
    /// Others kept committing to the table; nothing was stored.
    #[error("the dataset is being written by others and the commit lost {0} races; retry")]
    Contended(u32),
    /// The columns of the table were replaced while rows of the old ones were on their way.
    #[error(
        "the dataset was replaced while this push was on its way, and its columns are others now; nothing was added"
    )]
    Replaced,
    /// Another compaction of the table is running, or was first; nothing was changed.
    #[error("another compaction of the dataset is running or was first; nothing was changed")]
    Overtaken,
    /// A step of upkeep was broken off.
    #[error("the work did not end within {0:?} and was broken off; the dataset is as it was, retry later")]
    TooSlow(Duration),
    /// Rewriting needs more memory or disk than it may have; nothing was changed.
    #[error("rewriting the dataset's files needs more room than it may have: {0}")]
    NoRoom(String),
    /// The result of a job has more bytes than one may have; nothing of it is kept.
    #[error("the result has more than the {0} bytes that one may have: select fewer rows or columns, or aggregate")]
    ResultTooLarge(u64),
    /// Rows could not be read back to be rewritten; nothing was changed.
    #[error("reading the dataset's files failed: {0}")]
    Reading(#[source] Box<datafusion::error::DataFusionError>),
    /// Storage failed or could not be reached. Nothing is known to be stored.
    #[error("storage failed: {0}")]
    Storage(#[from] object_store::Error),
    /// The Delta log could not be read or written.
    #[error("the table's log failed: {0}")]
    Log(#[from] deltalake::DeltaTableError),
    /// A Parquet file could not be written.
    #[error("writing Parquet failed: {0}")]
    Parquet(#[from] ParquetError),
    /// Rows could not be converted.
    #[error("converting rows failed: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// Something that must hold does not: a defect.
    #[error("defect: {0}")]
    Defect(String),
}

impl LakeError {
    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::BadStore { .. } | Self::BadValue { .. } | Self::SchemaMismatch(_) => ErrorKind::Invalid,
            Self::OtherLake { .. } => ErrorKind::Precondition,
            Self::NoTable | Self::NoVersion { .. } | Self::NoVersionYet { .. } | Self::VersionExpired(_) => {
                ErrorKind::NotFound
            }
            Self::UnsupportedTable(_) | Self::UnsupportedType { .. } => ErrorKind::Unsupported,
            Self::KeyReused => ErrorKind::Exhausted,
            Self::KeyInUse | Self::Contended(_) | Self::Replaced | Self::Overtaken | Self::ColumnExists { .. } => {
                ErrorKind::Conflict
            }
            Self::NoRoom(_) | Self::ResultTooLarge(_) => ErrorKind::Exhausted,
            Self::TooSlow(_) => ErrorKind::Overloaded,
            // What the Parquet writer meets outside itself is the store.
            Self::Storage(_) | Self::Log(_) | Self::Reading(_) | Self::Parquet(ParquetError::External(_)) => {
                ErrorKind::Unavailable
            }
            Self::Damaged(_) | Self::Parquet(_) | Self::Arrow(_) | Self::Defect(_) => ErrorKind::Internal,
        }
    }

    /// Whether a disk is full, or a quota used up, at the bottom of this.
    fn is_for_want_of_room(&self) -> bool {
        let mut causes = std::iter::successors(Some(self as &dyn std::error::Error), |error| error.source());
        causes.any(|cause| {
            let kind = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
            matches!(kind, Some(ErrorOf::StorageFull | ErrorOf::QuotaExceeded))
        })
    }

    /// The stable code of the problem document.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadStore { .. } => "bad_storage",
            Self::OtherLake { .. } => "other_lake",
            Self::NoTable => "dataset_not_found",
            Self::Damaged(_) => "dataset_damaged",
            Self::NoVersion { .. } | Self::NoVersionYet { .. } => "version_not_found",
            Self::VersionExpired(_) => "version_expired",
            Self::UnsupportedTable(_) => "unsupported_table",
            Self::UnsupportedType { .. } => "unsupported_type",
            Self::BadValue { .. } => "bad_value",
            Self::SchemaMismatch(_) => "schema_mismatch",
            Self::ColumnExists { .. } => "column_exists",
            Self::KeyReused => "idempotency_key_reused",
            Self::KeyInUse => "idempotency_key_in_use",
            Self::Contended(_) => "commit_contended",
            Self::Replaced => "dataset_replaced",
            Self::Overtaken => "compaction_overtaken",
            Self::TooSlow(_) => "upkeep_too_slow",
            Self::NoRoom(_) => "rewrite_out_of_room",
            Self::ResultTooLarge(_) => "result_too_large",
            Self::Storage(_) | Self::Log(_) | Self::Reading(_) | Self::Parquet(ParquetError::External(_)) => {
                if self.is_for_want_of_room() { "storage_full" } else { "storage_unavailable" }
            }
            Self::Parquet(_) | Self::Arrow(_) | Self::Defect(_) => "internal",
        }
    }
}

fn shown(time: &DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart_from_one_that_is_out_of_reach() {
        for (kind, code) in [
            (ErrorOf::StorageFull, "storage_full"),
            (ErrorOf::QuotaExceeded, "storage_full"),
            (ErrorOf::ConnectionRefused, "storage_unavailable"),
        ] {
            let source = Box::new(std::io::Error::from(kind));
            let error = LakeError::from(object_store::Error::Generic { store: "lake", source });
            assert_eq!((error.code(), error.kind()), (code, ErrorKind::Unavailable));
        }
    }
}
