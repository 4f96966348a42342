//! What an operator writes about an issuer, and what of it can be kept to.

use std::time::Duration;

use chrono::TimeDelta;
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use reqwest::Certificate;
use url::Url;

use crate::address::{is_loopback, is_safe};

/// Most that the clocks of an issuer and of this machine are taken to differ.
const MAX_LEEWAY: Duration = Duration::from_secs(300);

/// An issuer whose tokens are accepted, in plain words; [`Issuers::new`](crate::Issuers::new) checks them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// Exactly what its tokens have in `iss`: `https://...`, or `http://` with an address of this machine.
    pub issuer: String,
    /// What its tokens may have in `aud` to be meant for us. At least one.
    pub audience: Vec<String>,
    /// Where its keys are; else its `/.well-known/openid-configuration` says it.
    pub jwks_url: Option<String>,
    /// How its tokens may be signed: `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `ES384`, `EdDSA`.
    pub algorithms: Vec<String>,
    /// The claim that names the principal. `email` counts only when `email_verified` is true.
    pub principal_claim: String,
    /// The claim that lists the caller's groups; empty when groups of its tokens do not count.
    pub groups_claim: String,
    /// How far the clocks may differ; at most five minutes.
    pub leeway: Duration,
    /// Certificates to trust beside those of the system, in PEM.
    pub ca: Option<Vec<u8>>,
}

impl Issuer {
    /// An issuer with the defaults: keys by discovery, RS256 and ES256, `sub`, `groups`, 60 seconds, the system's
    /// certificates.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: vec![audience.into()],
            jwks_url: None,
            algorithms: vec!["RS256".to_owned(), "ES256".to_owned()],
            principal_claim: "sub".to_owned(),
            groups_claim: "groups".to_owned(),
            leeway: Duration::from_secs(60),
            ca: None,
        }
    }
}

/// Which setting of an issuer cannot be kept to.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The issuer is not an address that can be trusted.
    #[error(
        "the issuer `{0}` must be https://, or http:// with an address of this machine, without password, query or fragment"
    )]
    Issuer(String),
    /// Two have the same name.
    #[error("the issuer `{0}` is there twice")]
    Twice(String),
    /// Without an audience, tokens for others would be accepted.
    #[error("the issuer `{0}` needs an audience: what its tokens for this gateway have in `aud`")]
    Audience(String),
    /// The keys are not at an address that can be trusted.
    #[error(
        "jwks_url of the issuer `{0}` must be https://, or http:// with an address of this machine, without password or fragment"
    )]
    JwksUrl(String),
    /// No algorithm, or one that is not known, or one whose key is not public.
    #[error(
        "`{name}` is not an algorithm that the issuer `{issuer}` may have: say RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA"
    )]
    Algorithm {
        /// Whose.
        issuer: String,
        /// What was written; empty when the list is.
        name: String,
    },
    /// The name of a claim is empty or very long.
    #[error(
        "{setting} of the issuer `{issuer}` must be the name of a claim, of 1 to 100 bytes; an empty groups_claim takes no groups"
    )]
    Claim {
        /// Whose.
        issuer: String,
        /// `principal_claim` or `groups_claim`.
        setting: &'static str,
    },
    /// The leeway is too long.
    #[error("the leeway of the issuer `{0}` may be at most 300 seconds")]
    Leeway(String),
    /// The certificates are not PEM, or there is none.
    #[error("the certificates for the issuer `{0}` cannot be read: they must be in PEM, and at least one")]
    Certificates(String),
    /// TLS cannot be set up.
    #[error("no connection to the issuer `{issuer}` can be set up: {source}")]
    Client {
        /// Which.
        issuer: String,
        /// Why.
        source: reqwest::Error,
    },
}

/// What is asked of an issuer's tokens: settings that were checked.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) issuer: String,
    pub(crate) audience: Vec<String>,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) principal_claim: String,
    pub(crate) groups_claim: String,
    pub(crate) leeway: TimeDelta,
}

impl Policy {
    pub(crate) fn read(issuer: &Issuer) -> Result<Self, SettingsError> {
        let name = || issuer.issuer.clone();
        if issuer.audience.is_empty() || issuer.audience.iter().any(String::is_empty) {
            return Err(SettingsError::Audience(name()));
        }
        let claims = [("principal_claim", &issuer.principal_claim, 1), ("groups_claim", &issuer.groups_claim, 0)];
        if let Some((setting, ..)) = claims.into_iter().find(|(_, claim, least)| !(*least..=100).contains(&claim.len()))
        {
            return Err(SettingsError::Claim { issuer: name(), setting });
        }
        let leeway = (issuer.leeway <= MAX_LEEWAY).then(|| TimeDelta::from_std(issuer.leeway).ok()).flatten();
        Ok(Self {
            issuer: name(),
            audience: issuer.audience.clone(),
            algorithms: read_algorithms(issuer)?,
            principal_claim: issuer.principal_claim.clone(),
            groups_claim: issuer.groups_claim.clone(),
            leeway: leeway.ok_or_else(|| SettingsError::Leeway(name()))?,
        })
    }
}

/// With a secret that both sides share, whoever can check a token can make one: public keys alone are accepted.
fn read_algorithms(issuer: &Issuer) -> Result<Vec<Algorithm>, SettingsError> {
    let wrong = |name: &str| SettingsError::Algorithm { issuer: issuer.issuer.clone(), name: name.to_owned() };
    if issuer.algorithms.is_empty() {
        return Err(wrong(""));
    }
    let read = |name: &String| {
        let known = name.parse::<Algorithm>().ok();
        known.filter(|known| known.family() != AlgorithmFamily::Hmac).ok_or_else(|| wrong(name))
    };
    issuer.algorithms.iter().map(read).collect()
}

/// Where an issuer's keys are.
#[derive(Debug)]
pub(crate) enum Place {
    /// There.
    Keys(Url),
    /// Where the description there says.
    Description(Url),
}

/// How to reach an issuer.
#[derive(Debug)]
pub(crate) struct Reach {
    pub(crate) place: Place,
    /// Whether the issuer is on this machine.
    pub(crate) loopback: bool,
    /// Whom to trust beside the system's.
    pub(crate) certificates: Vec<Certificate>,
}

impl Reach {
    pub(crate) fn read(issuer: &Issuer) -> Result<Self, SettingsError> {
        let name = || issuer.issuer.clone();
        let safe = |text: &str| text.parse::<Url>().ok().filter(is_safe);
        let base = safe(&issuer.issuer).filter(|url| url.query().is_none());
        let loopback = is_loopback(&base.ok_or_else(|| SettingsError::Issuer(name()))?);
        let place = match &issuer.jwks_url {
            Some(url) => Place::Keys(safe(url).ok_or_else(|| SettingsError::JwksUrl(name()))?),
            None => Place::Description(description_of(&issuer.issuer).ok_or_else(|| SettingsError::Issuer(name()))?),
        };
        let certificates = match &issuer.ca {
            Some(pem) => read_certificates(pem).ok_or_else(|| SettingsError::Certificates(name()))?,
            None => Vec::new(),
        };
        Ok(Self { place, loopback, certificates })
    }
}

/// OpenID Connect Discovery 1.0, section 4: a `/` at the end of the issuer is left out first.
fn description_of(issuer: &str) -> Option<Url> {
    let issuer = issuer.strip_suffix('/').unwrap_or(issuer);
    format!("{issuer}/.well-known/openid-configuration").parse().ok()
}

fn read_certificates(pem: &[u8]) -> Option<Vec<Certificate>> {
    Certificate::from_pem_bundle(pem).ok().filter(|certificates| !certificates.is_empty())
}
