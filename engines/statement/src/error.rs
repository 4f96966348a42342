//! Why a statement is not run, in words for the person who wrote it.

use lakegate_catalog::ErrorKind;

/// The result of reading a statement.
pub type Result<T, E = StatementError> = std::result::Result<T, E>;

/// A place in the statement's text; both count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

/// Why a statement is not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// The text is not SQL.
    #[error("the statement is not valid SQL: {message}")]
    Syntax {
        /// What the parser found and what it expected.
        message: String,
        /// Where.
        position: Option<Position>,
    },
    /// Nothing to run, or more than one statement.
    #[error("send exactly one statement; this text has {0}")]
    StatementCount(usize),
    /// A statement that is understood and not run here.
    #[error("{statement} is not allowed: {}", instead(statement))]
    StatementNotAllowed {
        /// Its first words.
        statement: String,
    },
    /// A construct of SELECT that is not implemented.
    #[error("{0} is not supported")]
    NotSupported(String),
    /// The statement is past a bound that keeps planning short.
    #[error(
        "the statement is too complex: {what} (at most {limit}); split it, or join against a dataset or a VALUES list"
    )]
    TooComplex {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// A relation's name is not `namespace.dataset`.
    #[error("`{name}` does not name a dataset: write namespace.dataset, such as demo.flights")]
    DatasetName {
        /// The name as written.
        name: String,
    },
    /// No such dataset, or none that the caller may see.
    #[error("dataset `{name}` does not exist, or you may not see it")]
    DatasetNotFound {
        /// The name as written.
        name: String,
    },
    /// A function that is not there.
    #[error("{0}")]
    UnknownFunction(String),
    /// A version or time that is not well formed, or stands where it would be lost.
    #[error("which version to read is not clear: {0}")]
    AsOf(String),
    /// The parameters do not fit the statement.
    #[error("the parameters do not fit: {0}")]
    Parameters(String),
}

fn instead(statement: &str) -> &'static str {
    match statement.split_whitespace().next() {
        Some("SHOW" | "DESCRIBE" | "DESC") => {
            "use SHOW TABLES, SHOW COLUMNS FROM ns.t, DESCRIBE ns.t, or SELECT from information_schema.schemata, .tables \
             and .columns"
        }
        _ => "queries can only read; use SELECT, WITH, VALUES or EXPLAIN",
    }
}

impl StatementError {
    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::StatementNotAllowed { .. } | Self::NotSupported(_) => ErrorKind::Unsupported,
            Self::DatasetNotFound { .. } => ErrorKind::NotFound,
            _ => ErrorKind::Invalid,
        }
    }

    /// The stable code of the problem document.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "syntax_error",
            Self::StatementCount(_) => "one_statement",
            Self::StatementNotAllowed { .. } => "statement_not_allowed",
            Self::NotSupported(_) => "not_supported",
            Self::TooComplex { .. } => "statement_too_complex",
            Self::DatasetName { .. } => "invalid_dataset_name",
            Self::DatasetNotFound { .. } => "dataset_not_found",
            Self::UnknownFunction(_) => "unknown_function",
            Self::AsOf(_) => "invalid_as_of",
            Self::Parameters(_) => "invalid_parameters",
        }
    }

    /// Where in the statement, when that is known.
    pub fn position(&self) -> Option<Position> {
        match self {
            Self::Syntax { position, .. } => *position,
            _ => None,
        }
    }
}
