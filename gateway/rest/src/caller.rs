//! Who calls, from the `Authorization` header.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use lakegate_catalog::{ApiToken, Authenticated, Caller, ErrorKind, Principal, Role};

use crate::app::App;
use crate::problem::{Problem, Result};

/// The caller of a request. A credential that is malformed, unknown or expired is refused whatever
/// the route; none at all is [`Caller::Anonymous`].
pub(crate) struct Identified {
    pub(crate) caller: Caller,
    /// When the credential stops working.
    expires_at: Option<DateTime<Utc>>,
}

impl FromRequestParts<Arc<App>> for Identified {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self> {
        let mut sent = parts.headers.get_all(header::AUTHORIZATION).iter();
        let Some(value) = sent.next() else {
            return Ok(Self { caller: Caller::Anonymous, expires_at: None });
        };
        if sent.next().is_some() {
            return Err(refused("send one Authorization header"));
        }
        let token = value
            .to_str()
            .ok()
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .and_then(|(_, token)| ApiToken::parse(token.trim()))
            .ok_or_else(|| refused("the Authorization header must be `Bearer lg_…`, a Lakegate API token"))?;
        match app.catalog.authenticate(&token.hash(), Utc::now()).await? {
            Some(Authenticated { principal, expires_at }) => {
                Ok(Self { caller: Caller::Principal(principal), expires_at })
            }
            None => Err(refused("the token is unknown, revoked or expired; ask an owner for a new one")),
        }
    }
}

fn refused(detail: &str) -> Problem {
    Problem::new(ErrorKind::Unauthenticated, "unauthenticated", detail)
}

impl Identified {
    /// The principal; anonymous callers are refused.
    pub(crate) fn principal(&self) -> Result<&Principal> {
        self.caller.principal().ok_or_else(Problem::anonymous)
    }

    /// When a credential made by this caller ends: as asked, and never after the caller's own, so that a token
    /// that ends cannot be traded for one that does not.
    pub(crate) fn expiry(&self, asked: Option<DateTime<Utc>>) -> Result<Option<DateTime<Utc>>> {
        match (asked, self.expires_at) {
            (Some(asked), Some(own)) if asked > own => Err(Problem::denied(format!(
                "the new token would outlive yours, which ends at {}; ask for less, or use a token that lasts",
                own.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
            ))),
            (asked, own) => Ok(asked.or(own)),
        }
    }

    /// The principal, if it owns the instance.
    pub(crate) async fn instance_owner(&self, app: &App) -> Result<&Principal> {
        let principal = self.principal()?;
        match app.catalog.role_on_instance(principal.id).await? {
            Some(Role::Owner) => Ok(principal),
            _ => Err(Problem::denied("only an owner of the instance may do this")),
        }
    }
}
