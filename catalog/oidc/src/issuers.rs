//! All issuers of the settings: the crate's door.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::claims::Claims;
use crate::error::JwtError;
use crate::fetch::Source;
use crate::keys::{Clock, Keys};
use crate::settings::{Issuer, Policy, SettingsError};
use crate::token::Token;

/// The issuers whose tokens are accepted. Cheap to clone; all clones share their keys.
#[derive(Clone, Debug)]
pub struct Issuers(Arc<HashMap<String, Trusted>>);

/// One issuer: what is asked of its tokens, and its keys.
#[derive(Debug)]
struct Trusted {
    policy: Policy,
    keys: Arc<Keys>,
}

impl Issuers {
    /// Checks the settings; no issuer is asked yet. Errors: [`SettingsError`].
    pub fn new(issuers: Vec<Issuer>) -> Result<Self, SettingsError> {
        Self::with_clock(issuers, &Clock::default())
    }

    /// The same, with keys whose age `clock` tells.
    pub fn with_clock(issuers: Vec<Issuer>, clock: &Clock) -> Result<Self, SettingsError> {
        let mut trusted = HashMap::new();
        for issuer in issuers {
            let keys = Keys::new(issuer.issuer.clone(), Source::new(&issuer)?, clock.clone());
            let policy = Policy::read(&issuer)?;
            match trusted.entry(issuer.issuer) {
                Entry::Occupied(there) => return Err(SettingsError::Twice(there.key().clone())),
                Entry::Vacant(place) => place.insert(Trusted { policy, keys }),
            };
        }
        Ok(Self(Arc::new(trusted)))
    }

    /// Whom `token`, a JWT without `Bearer`, names at the time `now`.
    ///
    /// Costs one check of a signature. Where the issuer's keys are not here it asks for them and waits, 5 seconds and rarely
    /// 10; nothing is asked for a token that is refused without keys. Needs a runtime of tokio with time and IO.
    /// Errors: [`JwtError`]; it may be dropped at any moment.
    pub async fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Claims, JwtError> {
        let token = Token::read(token)?;
        let issuer = token.claims.get("iss").and_then(Value::as_str);
        let Trusted { policy, keys } = issuer.and_then(|iss| self.0.get(iss)).ok_or(JwtError::UnknownIssuer)?;
        if !policy.algorithms.contains(&token.algorithm) {
            return Err(JwtError::Algorithm);
        }
        let claims = Claims::read(&token.claims, policy, now)?;
        keys.find(&token).await?.verify(&token)?;
        Ok(claims)
    }
}
