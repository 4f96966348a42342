//! The one error of this protocol, and the one place that maps kinds to HTTP.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lakegate_catalog::{CatalogError, DatasetName, DoorError, ErrorKind};
use lakegate_formats::FormatError;
use lakegate_ingest::IngestError;
use lakegate_lake::{Damage, LakeError};
use lakegate_query::{QueryError, StatementError};
use serde::Serialize;
use utoipa::ToSchema;

/// The result of a handler.
pub(crate) type Result<T, E = Problem> = std::result::Result<T, E>;

/// Why a request was not done. [`crate::observe`] gives it its request id and renders it.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) kind: ErrorKind,
    pub(crate) code: &'static str,
    pub(crate) detail: String,
    help: Option<&'static str>,
    position: Option<ProblemPosition>,
    /// In how many seconds it may be tried again.
    retry_after: u8,
    /// What the log says and the client does not see.
    pub(crate) cause: Option<String>,
}

/// A problem document, RFC 9457, `application/problem+json`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProblemDocument {
    /// `urn:lakegate:error:<code>`.
    #[serde(rename = "type")]
    ty: String,
    /// The kind of error in a few words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong with this request, and what to do.
    detail: String,
    /// The stable code to program against.
    code: &'static str,
    /// Finds the log line.
    request_id: String,
    /// Where in the SQL text.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<ProblemPosition>,
    /// What to try next.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'static str>,
}

/// A place in the SQL text, both from 1.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct ProblemPosition {
    line: u64,
    column: u64,
}

/// The part of a problem that ends an answer which has already begun.
#[derive(Debug, Serialize)]
pub(crate) struct LateError<'a> {
    code: &'a str,
    detail: &'a str,
}

impl Problem {
    pub(crate) fn new(kind: ErrorKind, code: &'static str, detail: impl Into<String>) -> Self {
        Self { kind, code, detail: detail.into(), help: None, position: None, retry_after: 1, cause: None }
    }

    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, "invalid_request", detail)
    }

    /// The same, to be tried again after so many seconds.
    pub(crate) fn retry_after(self, seconds: u8) -> Self {
        Self { retry_after: seconds, ..self }
    }

    pub(crate) fn dataset_not_found(name: impl std::fmt::Display) -> Self {
        let detail = format!("dataset `{name}` does not exist, or you may not see it");
        Self::new(ErrorKind::NotFound, "dataset_not_found", detail)
    }

    /// A dataset that has lost something; what, an operator needs to know. The facts are in the log since it was found.
    pub(crate) fn damaged(name: Option<&DatasetName>, damage: &Damage) -> Self {
        let detail = match name {
            Some(name) => format!("dataset `{name}` is damaged: {damage}"),
            None => format!("the dataset is damaged: {damage}"),
        };
        let help = if damage.in_log() { DAMAGED_LOG } else { DAMAGED_FILE };
        Self::new(ErrorKind::Internal, "dataset_damaged", detail).with_help(help)
    }

    /// An error of the lake in words that name the dataset.
    pub(crate) fn with_dataset(name: &DatasetName, error: LakeError) -> Self {
        match error {
            LakeError::Damaged(damage) => Self::damaged(Some(name), &damage),
            LakeError::NoTable => Self::dataset_not_found(name),
            error => error.into(),
        }
    }

    /// Only a principal may do it.
    pub(crate) fn anonymous() -> Self {
        Self::denied("this needs a token").with_help("send the header `Authorization: Bearer lg_…`")
    }

    pub(crate) fn denied(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Denied, "denied", detail)
    }

    /// Something that must not happen did: for the log.
    pub(crate) fn defect(cause: impl std::fmt::Display) -> Self {
        Self::new(ErrorKind::Internal, "internal", cause.to_string()).hide(HIDDEN)
    }

    pub(crate) fn with_help(mut self, help: &'static str) -> Self {
        self.help = Some(help);
        self
    }

    /// Unknown defects and failing parts are for the log; the client gets what it can act on.
    fn hide(mut self, detail: &str) -> Self {
        self.cause = Some(std::mem::replace(&mut self.detail, detail.to_owned()));
        self
    }

    pub(crate) fn late(&self) -> LateError<'_> {
        LateError { code: self.code, detail: &self.detail }
    }

    /// The HTTP status of this problem; the only place where kinds become statuses.
    pub(crate) fn status(&self) -> StatusCode {
        match self.kind {
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ErrorKind::Unsupported => match self.code {
                "unsupported_media_type" => StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not_acceptable" => StatusCode::NOT_ACCEPTABLE,
                "method_not_allowed" => StatusCode::METHOD_NOT_ALLOWED,
                _ => StatusCode::BAD_REQUEST,
            },
            ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
            ErrorKind::Denied => StatusCode::FORBIDDEN,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::Precondition => StatusCode::PRECONDITION_FAILED,
            ErrorKind::TooLarge => match self.code {
                "uri_too_long" => StatusCode::URI_TOO_LONG,
                "headers_too_large" => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                _ => StatusCode::PAYLOAD_TOO_LARGE,
            },
            ErrorKind::Exhausted | ErrorKind::Deadline => StatusCode::UNPROCESSABLE_ENTITY,
            // The client's doing, not the load's.
            ErrorKind::Overloaded if matches!(self.code, "too_many_logins" | "too_many_jobs") => {
                StatusCode::TOO_MANY_REQUESTS
            }
            ErrorKind::Overloaded | ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            // 499 is nginx's "client closed request"; nobody is left to read it.
            ErrorKind::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn title(&self) -> &'static str {
        match self.kind {
            ErrorKind::Exhausted if self.code == "idempotency_key_reused" => "The idempotency key is taken",
            ErrorKind::Internal if self.code == "dataset_damaged" => "The dataset is damaged",
            ErrorKind::Invalid => "The request is not valid",
            ErrorKind::Unsupported => "Not supported",
            ErrorKind::Unauthenticated => "The credential is not valid",
            ErrorKind::Denied => "Not allowed",
            ErrorKind::NotFound => "Not found",
            ErrorKind::Conflict => "Conflict",
            ErrorKind::Precondition => "A condition does not hold",
            ErrorKind::TooLarge => "Too large",
            ErrorKind::Exhausted => "A budget is used up",
            ErrorKind::Deadline => "The deadline has passed",
            ErrorKind::Overloaded => "Too much to do",
            ErrorKind::Unavailable => "Temporarily unavailable",
            ErrorKind::Cancelled => "Cancelled",
            ErrorKind::Internal => "Internal error",
        }
    }

    pub(crate) fn document(&self, request_id: &str) -> ProblemDocument {
        ProblemDocument {
            ty: format!("urn:lakegate:error:{}", self.code),
            title: self.title(),
            status: self.status().as_u16(),
            detail: self.detail.clone(),
            code: self.code,
            request_id: request_id.to_owned(),
            position: self.position,
            help: self.help,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        let headers = response.headers_mut();
        if self.kind == ErrorKind::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"lakegate\""));
        }
        let busy = matches!(self.kind, ErrorKind::Overloaded | ErrorKind::Unavailable);
        if busy || self.code == "idempotency_key_in_use" || self.code == "commit_contended" {
            headers.insert(header::RETRY_AFTER, u16::from(self.retry_after).into());
        }
        response.extensions_mut().insert(self);
        response
    }
}

const HIDDEN: &str = "something went wrong here; the request id finds it in the log";

const FULL: &str = "storage is full: nothing can be written until there is room; what is stored can be read";

impl From<CatalogError> for Problem {
    fn from(error: CatalogError) -> Self {
        let problem = Self::new(error.kind(), error.code(), error.to_string());
        match error.kind() {
            _ if error.code() == "storage_full" => problem.hide(FULL),
            ErrorKind::Unavailable => problem.hide("the catalog cannot be reached; retry"),
            ErrorKind::Internal => problem.hide(HIDDEN),
            _ => problem,
        }
    }
}

const DAMAGED_FILE: &str = "trying again does not help: the operator can put the file back from a backup; until then an older \
                            version may be readable with as_of, rows can still be pushed, and the dataset can be deleted";

const DAMAGED_LOG: &str = "trying again does not help: the operator can put the dataset's log back from a backup, or the \
                           dataset can be deleted";

impl From<DoorError> for Problem {
    fn from(error: DoorError) -> Self {
        match error {
            DoorError::Catalog(error) => error.into(),
            DoorError::TooManyLogins { seconds } => {
                Self::new(error.kind(), error.code(), error.to_string()).retry_after(seconds)
            }
            error => Self::new(error.kind(), error.code(), error.to_string()),
        }
    }
}

impl From<LakeError> for Problem {
    fn from(error: LakeError) -> Self {
        if let LakeError::Damaged(damage) = &error {
            return Self::damaged(None, damage);
        }
        let problem = Self::new(error.kind(), error.code(), error.to_string());
        match error.kind() {
            _ if error.code() == "storage_full" => problem.hide(FULL),
            ErrorKind::Unavailable => problem.hide("storage cannot be reached or refuses writes; retry"),
            ErrorKind::Internal => problem.hide(HIDDEN),
            _ => problem,
        }
    }
}

impl From<FormatError> for Problem {
    fn from(error: FormatError) -> Self {
        let problem = Self::new(error.kind(), error.code(), error.to_string());
        if error.kind() == ErrorKind::Internal { problem.hide(HIDDEN) } else { problem }
    }
}

impl From<IngestError> for Problem {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::Catalog(error) => error.into(),
            IngestError::Lake { name: Some(name), error } => Self::with_dataset(&name, *error),
            IngestError::Lake { name: None, error } => (*error).into(),
            IngestError::Format(error) => error.into(),
            IngestError::Anonymous => Self::anonymous(),
            IngestError::TooManyPushes { seconds, .. } => {
                Self::new(error.kind(), error.code(), error.to_string()).retry_after(seconds)
            }
            error => Self::new(error.kind(), error.code(), error.to_string()),
        }
    }
}

impl From<StatementError> for Problem {
    fn from(error: StatementError) -> Self {
        QueryError::from(error).into()
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Catalog(inner) => inner.into(),
            QueryError::Lake(inner) => inner.into(),
            QueryError::TooManyQueries { retry_after } => {
                Self::new(error.kind(), error.code(), error.to_string()).retry_after(retry_after)
            }
            error => {
                if let QueryError::Damaged { damage, .. } = &error {
                    return Self { detail: error.to_string(), ..Self::damaged(None, damage) };
                }
                let position = error.position().map(|p| ProblemPosition { line: p.line, column: p.column });
                Self { position, ..Self::new(error.kind(), error.code(), error.to_string()) }
            }
        }
    }
}
