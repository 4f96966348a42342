//! Request parts read strictly: what is wrong is answered as a problem document.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use lakegate_catalog::ErrorKind;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize as _, Deserializer};

use crate::media::{media_type, unsupported};
use crate::problem::Problem;
use crate::{query_string, strict_json};

/// How long a body of at most 1 MiB may take.
const BODY_WITHIN: Duration = Duration::from_secs(30);

/// A JSON body of at most 1 MiB, read as `T`.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let invalid = |detail: String| Problem::new(ErrorKind::Invalid, "invalid_json", detail);
        if !media_type(request.headers())?.is_some_and(|essence| is_json(&essence)) {
            return Err(unsupported("send the body as JSON with the header `Content-Type: application/json`"));
        }
        let reading = Bytes::from_request(request, state);
        let read = tokio::time::timeout(BODY_WITHIN, reading).await.map_err(|_| {
            let detail = format!("the body did not arrive within {BODY_WITHIN:?}");
            Problem::new(ErrorKind::Deadline, "body_timeout", detail)
        })?;
        let body = read.map_err(|error| unreadable(&error))?;
        let value = strict_json::parse(&body).map_err(|error| invalid(format!("the body is not JSON: {error}")))?;
        if !value.is_object() {
            // serde would also take a list of the fields in their order.
            return Err(invalid("the body must be a JSON object".to_owned()));
        }
        serde_path_to_error::deserialize(value).map(Self).map_err(|error| {
            let field = error.path().to_string();
            let why = error.into_inner();
            invalid(if field == "." { why.to_string() } else { format!("`{field}`: {why}") })
        })
    }
}

/// JSON, or a kind of it, such as `application/merge-patch+json`.
fn is_json(essence: &str) -> bool {
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn unreadable(error: &BytesRejection) -> Problem {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Problem::new(ErrorKind::TooLarge, "request_too_large", "this body may have at most 1 MiB");
    }
    Problem::new(ErrorKind::Invalid, "truncated_body", "the body ended before it was complete")
}

/// A count, also when it is written as `10.0`: in JSON Schema that is an integer too.
pub(crate) fn whole<'de, D: Deserializer<'de>>(field: D) -> Result<Option<u64>, D::Error> {
    let Some(number) = Option::<serde_json::Number>::deserialize(field)? else { return Ok(None) };
    let exact = |float: f64| {
        // A float past 2^53 may not be the number that was meant.
        (float.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&float)).then_some(float as u64)
    };
    let count = number.as_u64().or_else(|| number.as_f64().and_then(exact));
    count
        .map(Some)
        .ok_or_else(|| D::Error::custom(format_args!("invalid number `{number}`, expected a whole one from 0")))
}

/// The query string, read as `T`.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        query_string::read(&parts.uri).map(Self).map_err(Problem::invalid)
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
