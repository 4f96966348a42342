//! Why settings cannot be used; each message says what to change.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A flag on the command line.
    Flag,
    /// This environment variable.
    Env(String),
    /// This line of this file.
    File(PathBuf, usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("the command line"),
            Self::Env(variable) => write!(f, "environment variable {variable}"),
            Self::File(path, line) => write!(f, "{}, line {line}", path.display()),
        }
    }
}

/// Why settings cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No setting has this name.
    #[error("{place}: there is no setting `{key}`; the nearest is `{nearest}`")]
    UnknownKey {
        /// The name as it was written.
        key: String,
        /// Where.
        place: Place,
        /// The known name that is most like it; for the environment, the variable.
        nearest: String,
    },
    /// The value has the wrong form or is out of bounds.
    #[error("{place}: `{key}` must be {expected}, not `{value}`")]
    BadValue {
        /// The setting.
        key: &'static str,
        /// Where.
        place: Place,
        /// The form it needs.
        expected: &'static str,
        /// The value as it was written, secrets hidden, at most 80 characters.
        value: String,
    },
    /// Other settings do not leave room for the value.
    #[error(
        "{place}: `{key}` is {value}, and the nearest that fits the other settings is {bound}: {why}; change one of them"
    )]
    Unfitting {
        /// The setting.
        key: &'static str,
        /// Where.
        place: Place,
        /// What was asked for.
        value: String,
        /// The nearest value that fits.
        bound: String,
        /// What it has to fit.
        why: &'static str,
    },
    /// The file is not TOML.
    #[error("{place}: not valid TOML: {message}")]
    Syntax {
        /// Where.
        place: Place,
        /// What the parser says.
        message: String,
    },
    /// Nothing says where to keep data.
    #[error("there is no home folder to keep data in: set `data_dir` (LAKEGATE__DATA_DIR) or HOME")]
    NoDataDir,
}

impl ConfigError {
    /// The stable word for the case. Settings are read before there is anybody to serve, so there is no
    /// error kind: the program prints the message and exits.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownKey { .. } => "unknown_setting",
            Self::BadValue { .. } => "bad_setting",
            Self::Unfitting { .. } => "unfitting_setting",
            Self::Syntax { .. } => "bad_settings_file",
            Self::NoDataDir => "no_data_dir",
        }
    }
}
