//! The one error of this protocol, and the one place that maps kinds to gRPC.

use lakegate_catalog::{CatalogError, DoorError, ErrorKind};
use lakegate_flight_wire::WireError;
use lakegate_formats::FormatError;
use lakegate_ingest::IngestError;
use lakegate_lake::LakeError;
use lakegate_query::QueryError;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

/// The result of a call.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// The trailer that holds the stable code to program against.
const CODE: &str = "lakegate-error-code";

/// Why a call was not done.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    pub(crate) code: &'static str,
    detail: String,
    /// What the log says and the client does not see.
    cause: Option<String>,
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, code: &'static str, detail: impl Into<String>) -> Self {
        Self { kind, code, detail: detail.into(), cause: None }
    }

    /// The same with one thing more to say.
    pub(crate) fn with(mut self, more: &str) -> Self {
        self.detail = format!("{}; {more}", self.detail);
        self
    }

    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, "invalid_request", detail)
    }

    pub(crate) fn unsupported(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, "not_supported", detail)
    }

    /// Something that must not happen did: for the log.
    pub(crate) fn defect(cause: impl std::fmt::Display) -> Self {
        Self::new(ErrorKind::Internal, "internal", cause.to_string()).hide(HIDDEN)
    }

    fn hide(mut self, detail: &str) -> Self {
        self.cause = Some(std::mem::replace(&mut self.detail, detail.to_owned()));
        self
    }

    /// The gRPC status; the only place where kinds become codes.
    fn grpc(&self) -> Code {
        match self.kind {
            ErrorKind::Invalid => Code::InvalidArgument,
            ErrorKind::Unsupported => Code::Unimplemented,
            ErrorKind::Unauthenticated => Code::Unauthenticated,
            ErrorKind::Denied => Code::PermissionDenied,
            ErrorKind::NotFound => Code::NotFound,
            // Not a want of room, which clients try again for: HTTP's 422 has more meanings than this code.
            _ if self.code == "idempotency_key_reused" => Code::FailedPrecondition,
            ErrorKind::Conflict if self.code == "already_exists" => Code::AlreadyExists,
            ErrorKind::Conflict => Code::Aborted,
            ErrorKind::Precondition => Code::FailedPrecondition,
            ErrorKind::TooLarge | ErrorKind::Exhausted => Code::ResourceExhausted,
            ErrorKind::Deadline => Code::DeadlineExceeded,
            ErrorKind::Overloaded | ErrorKind::Unavailable => Code::Unavailable,
            ErrorKind::Cancelled => Code::Cancelled,
            ErrorKind::Internal => Code::Internal,
        }
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        match &failure.cause {
            Some(cause) => tracing::error!(code = failure.code, %cause, "a call failed"),
            None => tracing::debug!(code = failure.code, detail = %failure.detail, "a call was refused"),
        }
        let mut trailers = MetadataMap::new();
        trailers.insert(CODE, MetadataValue::from_static(failure.code));
        Self::with_metadata(failure.grpc(), clipped(failure.detail), trailers)
    }
}

/// A status goes out as a header, which clients take up to 8 KiB of; three bytes stand for one that is not ASCII.
fn clipped(mut detail: String) -> String {
    const MOST: usize = 2_000;
    if detail.len() > MOST {
        detail.truncate(detail.floor_char_boundary(MOST));
        detail.push('…');
    }
    detail
}

const HIDDEN: &str = "something went wrong here; the gateway's log says what";
const FULL: &str = "storage is full: nothing can be written until there is room; what is stored can be read";

impl From<CatalogError> for Failure {
    fn from(error: CatalogError) -> Self {
        let failure = Self::new(error.kind(), error.code(), error.to_string());
        match error.kind() {
            _ if error.code() == "storage_full" => failure.hide(FULL),
            ErrorKind::Unavailable => failure.hide("the catalog cannot be reached; retry"),
            ErrorKind::Internal => failure.hide(HIDDEN),
            _ => failure,
        }
    }
}

impl From<DoorError> for Failure {
    fn from(error: DoorError) -> Self {
        match error {
            DoorError::Catalog(error) => error.into(),
            error => Self::new(error.kind(), error.code(), error.to_string()),
        }
    }
}

impl From<LakeError> for Failure {
    fn from(error: LakeError) -> Self {
        let failure = Self::new(error.kind(), error.code(), error.to_string());
        match error.kind() {
            // What is lost, an operator needs to know.
            _ if matches!(error, LakeError::Damaged(_)) => failure,
            _ if error.code() == "storage_full" => failure.hide(FULL),
            ErrorKind::Unavailable => failure.hide("storage cannot be reached or refuses writes; retry"),
            ErrorKind::Internal => failure.hide(HIDDEN),
            _ => failure,
        }
    }
}

impl From<FormatError> for Failure {
    fn from(error: FormatError) -> Self {
        let failure = Self::new(error.kind(), error.code(), error.to_string());
        if error.kind() == ErrorKind::Internal { failure.hide(HIDDEN) } else { failure }
    }
}

impl From<IngestError> for Failure {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::Catalog(error) => error.into(),
            IngestError::Lake { name: Some(name), error } if matches!(*error, LakeError::Damaged(_)) => {
                let failure = Self::from(*error);
                Self { detail: format!("dataset `{name}`: {}", failure.detail), ..failure }
            }
            IngestError::Lake { error, .. } => (*error).into(),
            IngestError::Format(error) => error.into(),
            error => Self::new(error.kind(), error.code(), error.to_string()),
        }
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Catalog(inner) => inner.into(),
            QueryError::Lake(inner) => inner.into(),
            error => {
                let place = error.position().map(|at| format!(" at line {}, column {}", at.line, at.column));
                let detail = format!("{error}{}", place.unwrap_or_default());
                Self::new(error.kind(), error.code(), detail)
            }
        }
    }
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        Self::new(error.kind(), error.code(), error.to_string())
    }
}

impl From<prost::DecodeError> for Failure {
    fn from(error: prost::DecodeError) -> Self {
        WireError::from(error).into()
    }
}

impl From<arrow::error::ArrowError> for Failure {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::defect(error)
    }
}
