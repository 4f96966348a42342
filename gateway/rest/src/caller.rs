//! Who calls, from the `Authorization` header.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use chrono::{DateTime, Utc};
use lakegate_catalog::{Action, ApiToken, Bearer, Caller, ErrorKind, Principal, Role, Visit};

use crate::app::App;
use crate::problem::{Problem, Result};

/// The caller of a request. A credential that is malformed, unknown or expired is refused whatever
/// the route; none at all is [`Caller::Anonymous`].
pub(crate) struct Identified {
    pub(crate) caller: Caller,
    /// What the audit is told of its request.
    pub(crate) visit: Arc<Visit>,
}

impl FromRequestParts<Arc<App>> for Identified {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self> {
        let visit = parts.extensions.get::<Arc<Visit>>().map(Arc::clone);
        let visit = visit.ok_or_else(|| Problem::defect("a request that nobody observes"))?;
        let mut sent = parts.headers.get_all(header::AUTHORIZATION).iter();
        let Some(value) = sent.next() else {
            return Ok(Self { caller: Caller::Anonymous, visit });
        };
        if sent.next().is_some() {
            return Err(refused("send one Authorization header"));
        }
        let malformed = || refused("the Authorization header must be `Bearer lg_…`, a Lakegate API token");
        let text = value
            .to_str()
            .ok()
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(malformed)?;
        let token = ApiToken::parse(text);
        let bearer = token.as_ref().map(Bearer::Token).or_else(|| Bearer::foreign(text)).ok_or_else(malformed)?;
        let identity = app.door.admit(bearer, origin(&parts.headers)).await?;
        let caller = Caller::from(identity);
        visit.by(&caller);
        Ok(Self { caller, visit })
    }
}

/// The page that a browser says it asks for: `Origin`, or what `Referer` begins with where there is none.
fn origin(headers: &HeaderMap) -> Option<&str> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let of_page = |page: &str| {
        let host = page.find("://")? + 3;
        Some(page.get(host..)?.find('/').map_or(page.len(), |end| host + end))
    };
    text(header::ORIGIN).or_else(|| text(header::REFERER).and_then(|page| page.get(..of_page(page)?)))
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
        match (asked, self.caller.identity().and_then(|identity| identity.expires_at)) {
            (Some(asked), Some(own)) if asked > own => Err(Problem::denied(format!(
                "the new token would outlive yours, which ends at {}; ask for less, or use a token that lasts",
                own.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
            ))),
            (asked, own) => Ok(asked.or(own)),
        }
    }

    /// The principal, if its credential may be used to manage.
    pub(crate) fn manager(&self) -> Result<&Principal> {
        let principal = self.principal()?;
        if self.caller.may(Action::Manage) {
            return Ok(principal);
        }
        Err(Problem::denied("your token is not for managing: it needs the action `manage`"))
    }

    /// The principal, if it owns the instance.
    pub(crate) async fn instance_owner(&self, app: &App) -> Result<&Principal> {
        let principal = self.manager()?;
        match app.catalog.role_on_instance(&self.caller).await? {
            Some(Role::Owner) => Ok(principal),
            _ => Err(Problem::denied("only an owner of the instance may do this")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_its_origin() {
        for (name, value, expected) in [
            ("origin", "https://maps.example:8443", Some("https://maps.example:8443")),
            ("referer", "https://maps.example/a/b?c", Some("https://maps.example")),
            ("referer", "https://maps.example", Some("https://maps.example")),
            ("referer", "maps.example/a", None),
            ("host", "maps.example", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().expect("a value"));
            assert_eq!(origin(&headers), expected, "{name}: {value}");
        }
    }
}
