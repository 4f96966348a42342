//! The door: who a credential stands for, asked in one place for all protocols.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;

use crate::Catalog;
use crate::access::{Credential, Identity};
use crate::error::{CatalogError, ErrorKind};
use crate::name::DatasetName;
use crate::password::{Login, log_in};
use crate::principal::{ExternalId, NewPrincipal, NewToken, Principal, PrincipalKind};
use crate::token::ApiToken;
use crate::token_scope::TokenScope;

/// Wrong passwords from one address in [`WINDOW`] before it has to wait for the next.
const PER_WINDOW: u32 = 20;
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are counted apart.
const MOST: usize = 10_000;
/// How long a token of a login works, unless it is asked for less.
const SESSION: TimeDelta = TimeDelta::hours(12);

/// Somebody else who says who their tokens stand for.
#[async_trait]
pub trait Vouching: Send + Sync {
    /// Checks a token of theirs.
    async fn vouch(&self, token: &str, now: DateTime<Utc>) -> Result<Vouched, NotVouched>;
}

/// Whom a token of somebody else stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vouched {
    /// Who it is there.
    pub external: ExternalId,
    /// The name to give it here.
    pub name: String,
    /// The groups that it is in there, by name.
    pub groups: Vec<String>,
    /// When the token ends.
    pub expires_at: DateTime<Utc>,
}

/// Why a token of somebody else is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotVouched {
    /// It is not good; the words are for whoever sent it.
    Refused(String),
    /// It cannot be checked now; the words are for the log.
    Unavailable(String),
}

/// A credential as a request has it.
#[derive(Clone, Copy)]
pub enum Bearer<'a> {
    /// A token of ours.
    Token(&'a ApiToken),
    /// A token of somebody else: three parts with points between.
    Foreign(&'a str),
}

impl<'a> Bearer<'a> {
    /// The foreign token in a text that is none of ours; `None` when it is neither.
    pub fn foreign(text: &'a str) -> Option<Self> {
        let shaped =
            text.split('.').count() == 3 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        shaped.then_some(Self::Foreign(text))
    }
}

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The credential is not good; the words are for whoever sent it.
    #[error("{0}")]
    Refused(String),
    /// Too many wrong passwords.
    #[error("too many wrong passwords: try again in {seconds} s")]
    TooManyLogins {
        /// How long to wait.
        seconds: u8,
    },
    /// The issuer of the token cannot be asked. What it said goes to the log.
    #[error("the token's issuer cannot be reached, so that it cannot be checked; retry")]
    IssuerAway,
    /// The catalog could not answer.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl DoorError {
    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused(_) => ErrorKind::Unauthenticated,
            Self::TooManyLogins { .. } => ErrorKind::Overloaded,
            Self::IssuerAway => ErrorKind::Unavailable,
            Self::Catalog(error) => error.kind(),
        }
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(_) => "unauthenticated",
            Self::TooManyLogins { .. } => "too_many_logins",
            Self::IssuerAway => "issuer_unavailable",
            Self::Catalog(error) => error.code(),
        }
    }
}

fn refused(why: &str) -> DoorError {
    DoorError::Refused(why.to_owned())
}

/// Lets in who may come in.
pub struct Door {
    catalog: Arc<dyn Catalog>,
    issuers: Option<Arc<dyn Vouching>>,
    create_principals: bool,
    /// Passwords by address, and since when.
    tried: Mutex<HashMap<Option<IpAddr>, (Instant, u32)>>,
}

impl Door {
    /// A door to what `catalog` knows.
    pub fn new(catalog: Arc<dyn Catalog>) -> Self {
        Self { catalog, issuers: None, create_principals: false, tried: Mutex::default() }
    }

    /// Lets in those that `issuers` vouch for, too. With `create_principals` whoever comes for the first time becomes a
    /// principal, without any right; else an owner has to create it.
    #[must_use]
    pub fn with_issuers(self, issuers: Arc<dyn Vouching>, create_principals: bool) -> Self {
        Self { issuers: Some(issuers), create_principals, ..self }
    }

    /// What it opens to.
    pub fn catalog(&self) -> &Arc<dyn Catalog> {
        &self.catalog
    }

    /// Who a credential stands for. `origin` is the web page that asks, as a browser says. `about` is the dataset that
    /// the request names, if it is known already: the catalog is asked about both at once, and a cache of it can answer
    /// what the caller may do to the dataset.
    pub async fn admit(
        &self,
        bearer: Bearer<'_>,
        origin: Option<&str>,
        about: Option<&DatasetName>,
    ) -> Result<Identity, DoorError> {
        let now = Utc::now();
        let known = match bearer {
            Bearer::Token(token) => self.identify(Credential::Token(token.hash()), now, about).await?,
            Bearer::Foreign(token) => return self.vouched(token, now, about).await,
        };
        let known =
            known.ok_or_else(|| refused("the token is unknown, revoked or expired; ask an owner for a new one"))?;
        if known.principal.kind == PrincipalKind::Gateway {
            return Err(refused("the token is a gateway's, for the catalog alone; use one of a user or a service"));
        }
        if !known.scope.admits(origin) {
            return Err(refused(
                "the token is for web pages of certain origins, and this request comes from none of them",
            ));
        }
        Ok(known)
    }

    async fn identify(
        &self,
        credential: Credential,
        now: DateTime<Utc>,
        about: Option<&DatasetName>,
    ) -> crate::Result<Option<Identity>> {
        match (about, credential) {
            (Some(name), credential) => {
                Ok(self.catalog.admit(&credential, now, name).await?.map(|(identity, _)| identity))
            }
            (None, Credential::Token(hash)) => self.catalog.authenticate(&hash, now).await,
            (None, Credential::External { id, groups }) => self.catalog.identify_external(&id, &groups).await,
        }
    }

    async fn vouched(
        &self,
        token: &str,
        now: DateTime<Utc>,
        about: Option<&DatasetName>,
    ) -> Result<Identity, DoorError> {
        let Some(issuers) = &self.issuers else {
            return Err(refused("tokens of other issuers are not taken here: send a Lakegate API token (lg_…)"));
        };
        let vouched = issuers.vouch(token, now).await.map_err(|error| match error {
            NotVouched::Refused(why) => DoorError::Refused(why),
            NotVouched::Unavailable(why) => {
                tracing::error!(%why, "an issuer's token cannot be checked");
                DoorError::IssuerAway
            }
        })?;
        let credential = Credential::External { id: vouched.external.clone(), groups: vouched.groups.clone() };
        let identity = match self.identify(credential, now, about).await? {
            Some(identity) => identity,
            None => self.welcome(&vouched).await?,
        };
        if identity.principal.kind == PrincipalKind::Gateway {
            return Err(refused("a gateway comes with a token of its own"));
        }
        Ok(Identity { expires_at: Some(vouched.expires_at), ..identity })
    }

    /// Makes a principal of somebody who comes for the first time.
    async fn welcome(&self, vouched: &Vouched) -> Result<Identity, DoorError> {
        let unknown = "your token is good, but nobody here is known by it: ask an owner of the instance to create a principal with its issuer and subject";
        if !self.create_principals {
            return Err(refused(unknown));
        }
        let new = NewPrincipal {
            name: vouched.name.to_ascii_lowercase(),
            kind: PrincipalKind::User,
            external: Some(vouched.external.clone()),
        };
        if !NewPrincipal::valid_name(&new.name) {
            return Err(DoorError::Refused(format!(
                "{unknown}; the name `{}` that the token gives cannot be one here",
                vouched.name
            )));
        }
        match self.catalog.create_principal(new).await {
            // Somebody else has the name, or another request was first.
            Ok(_) | Err(CatalogError::AlreadyExists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let found = self.catalog.identify_external(&vouched.external, &vouched.groups).await?;
        found.ok_or_else(|| refused("somebody else has your name here: ask an owner to create a principal with your token's issuer and subject"))
    }

    /// Takes a name and a password, and answers a new token that works for `lasts`, 12 hours at most, and until when.
    ///
    /// Errors: `Refused` for a wrong name or password, which of them is not told; `TooManyLogins`.
    pub async fn log_in(
        &self,
        name: &str,
        password: &str,
        from: Option<IpAddr>,
        lasts: Option<TimeDelta>,
    ) -> Result<(Principal, ApiToken, DateTime<Utc>), DoorError> {
        let now = Utc::now();
        let principal = self.compare(name, password, from).await?;
        let ends = now + lasts.unwrap_or(SESSION).min(SESSION);
        let token = ApiToken::generate();
        let new = NewToken {
            principal: principal.id,
            name: "login".to_owned(),
            hash: token.hash(),
            expires_at: Some(ends),
            scope: TokenScope::default(),
        };
        self.catalog.create_token(new).await?;
        Ok((principal, token, ends))
    }

    /// Whose password this is. Errors: those of [`Self::log_in`].
    pub async fn compare(&self, name: &str, password: &str, from: Option<IpAddr>) -> Result<Principal, DoorError> {
        let from = from.map(network);
        // Counted before it is looked at, so that no number of tries side by side is more than there may be.
        self.count(from)?;
        let now = Utc::now();
        match log_in(self.catalog.as_ref(), name, password, now).await? {
            Login::Welcome(principal) if principal.kind != PrincipalKind::Gateway => {
                self.forgive(from);
                Ok(principal)
            }
            Login::Welcome(_) | Login::Refused => Err(refused("the name or the password is wrong")),
            Login::Locked { until } => {
                // No password was looked at.
                self.forgive(from);
                let seconds = (until - now).num_seconds().clamp(0, 254) + 1;
                Err(DoorError::TooManyLogins { seconds: u8::try_from(seconds).unwrap_or(u8::MAX) })
            }
        }
    }

    /// Counts a password from an address; refuses it when too many wrong ones came from there.
    fn count(&self, from: Option<IpAddr>) -> Result<(), DoorError> {
        let mut tried = self.tried.lock();
        if tried.len() >= MOST {
            tried.retain(|_, (since, _)| since.elapsed() < WINDOW);
        }
        // When all of them are in use, those that come on top share one count.
        let from = if tried.len() >= MOST && !tried.contains_key(&from) { None } else { from };
        let (since, count) = tried.entry(from).or_insert((Instant::now(), 0));
        if since.elapsed() >= WINDOW {
            (*since, *count) = (Instant::now(), 0);
        }
        if *count >= PER_WINDOW {
            let left = WINDOW.saturating_sub(since.elapsed()).as_secs() + 1;
            return Err(DoorError::TooManyLogins { seconds: u8::try_from(left).unwrap_or(u8::MAX) });
        }
        *count += 1;
        Ok(())
    }

    /// The password was right: it does not count.
    fn forgive(&self, from: Option<IpAddr>) {
        if let Some((_, count)) = self.tried.lock().get_mut(&from) {
            *count = count.saturating_sub(1);
        }
    }
}

/// The addresses that one who has this one is likely to have: itself, or all of its network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => std::net::Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX)).into(),
    }
}
