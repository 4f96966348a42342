//! Why a query did not succeed, in words for the person who wrote it.

use std::time::Duration;

use lakegate_catalog::{CatalogError, ErrorKind};
use lakegate_lake::{Damage, LakeError};
use lakegate_statement::{Position, StatementError};

/// The result of a query call.
pub type Result<T, E = QueryError> = std::result::Result<T, E>;

/// Why a query did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The statement, its parameters or its names are not accepted.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The caller's token is not for reading.
    #[error("your token is not for reading `{0}`: it needs the action `read`")]
    Denied(String),
    /// The dataset's policy is not one of its table: nobody but its owners can read it. The log says why.
    #[error(
        "the policy of dataset `{0}` does not fit its table, so it cannot be read: ask an owner of it to correct the policy"
    )]
    PolicyUnfit(String),
    /// An expression of the dataset's policy failed on a row. The log says how.
    #[error("the policy of dataset `{0}` cannot be evaluated on its rows: ask an owner of it to correct the policy")]
    PolicyFailed(String),
    /// A policy that is to be stored is wrong.
    #[error("{part}: {}", plain(error))]
    InvalidPolicy {
        /// Which part of it.
        part: String,
        /// What is wrong.
        error: Box<QueryError>,
    },
    /// A column that no relation in scope has.
    #[error("column `{column}` does not exist{hint}")]
    UnknownColumn {
        /// The column as written.
        column: String,
        /// What to write instead, starting with `; `, or nothing.
        hint: String,
    },
    /// The statement parses and makes no sense: types, grouping, arguments.
    #[error("the statement cannot be planned: {0}")]
    InvalidStatement(String),
    /// The dataset is there, and this version of it is not.
    #[error("dataset `{name}`: {error}")]
    Version {
        /// The dataset.
        name: String,
        /// Which version, and why it cannot be read.
        error: LakeError,
    },
    /// The dataset's table has lost something that the statement needs.
    #[error("dataset `{name}` is damaged: {damage}")]
    Damaged {
        /// The dataset.
        name: String,
        /// What is gone or is not what was written.
        damage: Damage,
    },
    /// An expression failed on a value: division by zero, overflow, a bad argument.
    #[error("evaluation failed: {0}")]
    Evaluation(String),
    /// A value does not fit the type it is cast to.
    #[error("a value could not be cast: {0}; use try_cast to get NULL instead")]
    Cast(String),
    /// A function would make a value, or a batch of values, past the bound, or take as many steps.
    #[error(
        "{function} would take {bytes} bytes, more than the {limit} allowed {scope}; make smaller values or fewer rows"
    )]
    ValueTooLarge {
        /// The function.
        function: String,
        /// How many bytes it would take.
        bytes: u64,
        /// The bound.
        limit: u64,
        /// What the bound is for ("per value").
        scope: &'static str,
    },
    /// The query's memory budget, or the process's, is used up.
    #[error("the query ran out of memory: select fewer columns or rows, or aggregate earlier")]
    MemoryExhausted,
    /// The query's spill quota is used up.
    #[error("the query wrote more temporary data than its quota allows: sort or group fewer rows")]
    SpillExhausted,
    /// The query ran past its deadline.
    #[error("the query did not finish within {0:?}: ask for less, or for a longer timeout")]
    Deadline(Duration),
    /// A deadline past the longest one.
    #[error("a query may take at most {max:?}, and {asked:?} were asked for")]
    TimeoutTooLong {
        /// What was asked for.
        asked: Duration,
        /// The longest.
        max: Duration,
    },
    /// Every slot is taken and the queue is full.
    #[error("too many queries are waiting: try again in {retry_after} s")]
    TooManyQueries {
        /// In how many seconds there may be a place, by how long queries took lately.
        retry_after: u8,
    },
    /// The caller went away, or cancelled.
    #[error("the query was cancelled")]
    Cancelled,
    /// The chosen query id is not well formed.
    #[error("`{0}` is not a query id: use 1 to 64 of A-Z a-z 0-9 _ -")]
    QueryId(String),
    /// A running query has this id.
    #[error("a running query already has the id `{0}`: choose another, or leave it out")]
    QueryIdInUse(String),
    /// The catalog could not answer. What it said goes to the log: it may name hosts.
    #[error("the catalog could not answer: try again in a moment")]
    Catalog(#[from] CatalogError),
    /// A dataset could not be read. What storage said goes to the log: it may name paths.
    #[error("a dataset could not be read from storage: try again in a moment")]
    Lake(#[from] LakeError),
    /// Storage failed while rows were being read; the log has the details.
    #[error("storage failed while rows were being read: try again in a moment")]
    Storage,
    /// A defect of ours; the log has the details.
    #[error("the query failed because of a defect in the server")]
    Internal,
}

/// What is wrong, where there is no statement.
fn plain(error: &QueryError) -> String {
    match error {
        QueryError::InvalidStatement(text) => text.clone(),
        other => other.to_string(),
    }
}

impl QueryError {
    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Statement(error) => error.kind(),
            Self::Denied(_) | Self::PolicyUnfit(_) | Self::PolicyFailed(_) => ErrorKind::Denied,
            Self::ValueTooLarge { .. } | Self::MemoryExhausted | Self::SpillExhausted => ErrorKind::Exhausted,
            Self::Deadline(_) => ErrorKind::Deadline,
            Self::TooManyQueries { .. } => ErrorKind::Overloaded,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::QueryIdInUse(_) => ErrorKind::Conflict,
            Self::Catalog(error) => error.kind(),
            Self::Lake(error) | Self::Version { error, .. } => error.kind(),
            Self::Storage => ErrorKind::Unavailable,
            Self::Damaged { .. } | Self::Internal => ErrorKind::Internal,
            _ => ErrorKind::Invalid,
        }
    }

    /// The stable code of the problem document.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Statement(error) => error.code(),
            Self::Denied(_) => "denied",
            Self::PolicyUnfit(_) => "policy_unfit",
            Self::PolicyFailed(_) => "policy_failed",
            Self::InvalidPolicy { .. } => "invalid_policy",
            Self::UnknownColumn { .. } => "unknown_column",
            Self::InvalidStatement(_) => "invalid_statement",
            Self::TimeoutTooLong { .. } => "timeout_too_long",
            Self::Evaluation(_) => "evaluation_failed",
            Self::Cast(_) => "cast_failed",
            Self::ValueTooLarge { .. } => "value_too_large",
            Self::MemoryExhausted => "query_memory_exhausted",
            Self::SpillExhausted => "spill_quota_exceeded",
            Self::Deadline(_) => "query_deadline",
            Self::TooManyQueries { .. } => "too_many_queries",
            Self::Cancelled => "query_cancelled",
            Self::QueryId(_) => "invalid_query_id",
            Self::QueryIdInUse(_) => "query_id_in_use",
            Self::Catalog(error) => error.code(),
            Self::Lake(error) | Self::Version { error, .. } => error.code(),
            Self::Damaged { .. } => "dataset_damaged",
            Self::Storage => "storage_unavailable",
            Self::Internal => "internal",
        }
    }

    /// The dataset that it is about, as the statement names it, when it is about one.
    pub fn dataset(&self) -> Option<&str> {
        match self {
            Self::Statement(StatementError::DatasetNotFound { name })
            | Self::Denied(name)
            | Self::PolicyUnfit(name)
            | Self::PolicyFailed(name)
            | Self::Version { name, .. }
            | Self::Damaged { name, .. } => Some(name),
            _ => None,
        }
    }

    /// Where in the statement, when that is known.
    pub fn position(&self) -> Option<Position> {
        match self {
            Self::Statement(error) => error.position(),
            Self::InvalidPolicy { error, .. } => error.position(),
            _ => None,
        }
    }

    /// Logs what really happened and answers the generic error in its place.
    pub(crate) fn internal(what: &str, detail: impl std::fmt::Display) -> Self {
        tracing::error!(%detail, "{what}");
        Self::Internal
    }
}
