//! Why bytes were not taken.

use lakegate_catalog::ErrorKind;

/// The result of reading bytes.
pub type Result<T, E = WireError> = std::result::Result<T, E>;

/// Why bytes were not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// They are no protocol buffer of the message that is expected.
    #[error("the message cannot be read: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// The message is another one than the call takes.
    #[error("the message is a {0}, which is not what this call takes")]
    Other(String),
    /// The handle was not given here, or not for this.
    #[error("the {0} is not one that this instance has given")]
    Foreign(&'static str),
    /// The handle was given to someone else.
    #[error("the {0} was given to another caller")]
    Denied(&'static str),
    /// The handle was given too long ago.
    #[error("the {0} has expired; ask for a new one")]
    Expired(&'static str),
}

impl WireError {
    /// The kind that decides the status.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Malformed(_) | Self::Other(_) | Self::Foreign(_) => ErrorKind::Invalid,
            Self::Denied(_) => ErrorKind::Denied,
            Self::Expired(_) => ErrorKind::Precondition,
        }
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::Other(_) => "invalid_message",
            Self::Foreign(_) => "invalid_handle",
            Self::Denied(_) => "denied",
            Self::Expired(_) => "expired_handle",
        }
    }
}
