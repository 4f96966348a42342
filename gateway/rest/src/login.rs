//! `/v1/login`: a password for a token that ends.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use chrono::{DateTime, TimeDelta, Utc};
use lakegate_catalog::{Audited, NewPrincipal, Visit};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::edge::Client;
use crate::extract::{Json, whole};
use crate::problem::Result;
use crate::{refusals, words};

/// Who wants to come in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "ada", "password": "correct horse battery"}))]
pub(crate) struct LogIn {
    #[schema(value_type = words::PrincipalName)]
    name: String,
    #[schema(format = Password)]
    password: String,
    /// After how many seconds the token stops working; 12 hours, which is also the longest, when not given.
    #[serde(default, deserialize_with = "whole")]
    #[schema(minimum = 1, maximum = 43_200)]
    expires_in: Option<u64>,
}

/// A token, shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct LoggedIn {
    /// Whose it is.
    principal: String,
    /// The token, for `Authorization: Bearer …`.
    #[schema(pattern = "^lg_[0-9A-Za-z]{38}$")]
    token: String,
    /// When it stops working.
    expires_at: DateTime<Utc>,
}

/// Takes a name and a password, and answers a token that ends.
///
/// Each wrong password counts: after five of one name, or twenty of one address within a minute, one has to wait.
#[utoipa::path(post, path = "/v1/login", tag = "access", request_body = LogIn, responses(
    (status = 201, description = "Logged in", body = LoggedIn),
    refusals::Unauthenticated, refusals::TooMany,
))]
pub(crate) async fn log_in(
    State(app): State<Arc<App>>,
    Extension(visit): Extension<Arc<Visit>>,
    Client(from): Client,
    Json(request): Json<LogIn>,
) -> Result<impl IntoResponse> {
    let lasts = request.expires_in.map(|seconds| TimeDelta::seconds(seconds.clamp(1, 43_200).cast_signed()));
    // A name that nobody can have may be a password in the wrong place.
    if NewPrincipal::valid_name(&request.name) {
        visit.say(&request.name);
    }
    let (principal, token, expires_at) = app.door.log_in(&request.name, &request.password, from, lasts).await?;
    visit.note(|entry| entry.by = Some(Audited::from(&principal)));
    let answer = LoggedIn { principal: principal.name, token: token.reveal().to_owned(), expires_at };
    Ok((StatusCode::CREATED, axum::Json(answer)))
}
