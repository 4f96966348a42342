//! Request parts read strictly: what is wrong is answered as a problem document.

use std::time::Duration;

use axum::extract::rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use lakegate_catalog::ErrorKind;
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// How long a body of at most 1 MiB may take.
const BODY_WITHIN: Duration = Duration::from_secs(30);

/// A JSON body of at most 1 MiB, read as `T`.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let invalid = |detail: String| Problem::new(ErrorKind::Invalid, "invalid_json", detail);
        let reading = axum::Json::<serde_json::Value>::from_request(request, state);
        let read = tokio::time::timeout(BODY_WITHIN, reading).await.map_err(|_| {
            let detail = format!("the body did not arrive within {BODY_WITHIN:?}");
            Problem::new(ErrorKind::Deadline, "body_timeout", detail)
        })?;
        match read {
            // serde would also take a list of the fields in their order.
            Ok(axum::Json(value)) if !value.is_object() => Err(invalid("the body must be a JSON object".to_owned())),
            Ok(axum::Json(value)) => serde_json::from_value(value).map(Self).map_err(|e| invalid(e.to_string())),
            Err(JsonRejection::MissingJsonContentType(_)) => Err(Problem::new(
                ErrorKind::Unsupported,
                "unsupported_media_type",
                "send the body as JSON with the header `Content-Type: application/json`",
            )),
            Err(JsonRejection::BytesRejection(error)) => Err(unreadable(&error)),
            Err(error) => Err(invalid(error.body_text())),
        }
    }
}

fn unreadable(error: &BytesRejection) -> Problem {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Problem::new(ErrorKind::TooLarge, "request_too_large", "this body may have at most 1 MiB");
    }
    Problem::new(ErrorKind::Invalid, "truncated_body", "the body ended before it was complete")
}

/// The query string, read as `T`.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        read.map(|query| Self(query.0)).map_err(|error: QueryRejection| Problem::invalid(error.body_text()))
    }
}

/// The parameters in the path, read as `T`.
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        read.map(|path| Self(path.0)).map_err(|error: PathRejection| Problem::invalid(error.body_text()))
    }
}
