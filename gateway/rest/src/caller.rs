//! Who calls, from the `Authorization` header.

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use chrono::{DateTime, Utc};
use lakegate_catalog::{Action, ApiToken, Bearer, Caller, DatasetName, ErrorKind, Principal, Role, Visit};

use crate::app::App;
use crate::problem::{Problem, Result};

/// The caller of a request. A credential that is malformed, unknown or expired is refused whatever
/// the route; none at all is [`Caller::Anonymous`].
pub(crate) struct Identified {
    pub(crate) caller: Caller,
    /// What the audit is told of its request.
    pub(crate) visit: Arc<Visit>,
    /// By what it is known, for answers that go on for long.
    pub(crate) standing: Standing,
}

/// What a request has shown to say who makes it.
pub(crate) struct Standing(Option<Shown>);

/// A credential, and the page that it came from as a browser says.
struct Shown {
    credential: String,
    origin: Option<String>,
}

impl Standing {
    /// Who it stands for now. Refused once the credential is revoked or has ended.
    pub(crate) async fn caller(&self, app: &App) -> Result<Caller> {
        self.about(app, None).await
    }

    async fn about(&self, app: &App, named: Option<&DatasetName>) -> Result<Caller> {
        let Some(Shown { credential, origin }) = &self.0 else { return Ok(Caller::Anonymous) };
        let token = ApiToken::parse(credential);
        let bearer = token.as_ref().map(Bearer::Token).or_else(|| Bearer::foreign(credential)).ok_or_else(malformed)?;
        Ok(app.door.admit(bearer, origin.as_deref(), named).await?.into())
    }
}

fn malformed() -> Problem {
    refused("the Authorization header must be `Bearer lg_…`, a Lakegate API token")
}

impl FromRequestParts<Arc<App>> for Identified {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self> {
        let visit = parts.extensions.get::<Arc<Visit>>().map(Arc::clone);
        let visit = visit.ok_or_else(|| Problem::defect("a request that nobody observes"))?;
        let named = named(parts).await;
        let standing = Standing(shown(&parts.headers)?);
        let caller = standing.about(app, named.as_ref()).await?;
        visit.by(&caller);
        Ok(Self { caller, visit, standing })
    }
}

fn shown(headers: &HeaderMap) -> Result<Option<Shown>> {
    let mut sent = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = sent.next() else { return Ok(None) };
    if sent.next().is_some() {
        return Err(refused("send one Authorization header"));
    }
    let credential = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim().to_owned())
        .ok_or_else(malformed)?;
    Ok(Some(Shown { credential, origin: origin(headers).map(str::to_owned) }))
}

/// The dataset that the path names, if it names one.
async fn named(parts: &mut Parts) -> Option<DatasetName> {
    let params = RawPathParams::from_request_parts(parts, &()).await.ok()?;
    let param = |wanted| params.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value);
    DatasetName::new(param("ns")?, param("name")?).ok()
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

    /// The principal, if its credential may be used for whatever the principal may do: what it sets here would go on to
    /// count where the credential's limits do not.
    pub(crate) fn unlimited(&self, what: &str) -> Result<&Principal> {
        let principal = self.manager()?;
        match self.caller.identity() {
            Some(identity) if identity.scope.is_whole() => Ok(principal),
            _ => {
                Err(Problem::denied(format!("{what} takes a token without limits: it would reach further than yours")))
            }
        }
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

/// Whether a caller watches over the whole instance: an owner of it, with a credential for managing.
pub(crate) async fn oversees(app: &App, caller: &Caller) -> Result<bool> {
    let manages = caller.principal().is_some() && caller.may(Action::Manage);
    Ok(manages && app.catalog.role_on_instance(caller).await? == Some(Role::Owner))
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
