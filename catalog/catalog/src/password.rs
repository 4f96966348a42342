//! Passwords of principals, and logging in with them.

use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use argon2::password_hash::{PasswordHash as Phc, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use chrono::{DateTime, TimeDelta, Utc};
use rand::RngExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::Catalog;
use crate::error::{CatalogError, Result};
use crate::principal::Principal;

/// Memory of one hash in KiB, passes and lanes: the first choice of OWASP's Password Storage Cheat Sheet for argon2id.
const COST: (u32, u32, u32) = (19 * 1024, 2, 1);
/// Characters of a password.
const LENGTH: std::ops::RangeInclusive<usize> = 8..=256;
/// Wrong passwords in a row before a name has to wait.
const FREE: u32 = 5;
/// The longest wait.
const LONGEST: TimeDelta = TimeDelta::minutes(15);

/// Hashes that are made at a time in one process: each takes 19 MiB and a processor.
static TURNS: Semaphore = Semaphore::const_new(2);
/// Those that may wait for a turn, and how long.
static LINE: Semaphore = Semaphore::const_new(64);
const PATIENCE: Duration = Duration::from_secs(5);

/// An argon2id hash in PHC form.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PasswordHash(String);

impl PasswordHash {
    /// The hash of a password, with a salt of its own. Takes a processor, on a thread that may wait, for the time of its cost.
    ///
    /// Errors: `Invalid` for a password of less than 8 or more than 256 characters.
    pub async fn of(password: &str) -> Result<Self> {
        if !LENGTH.contains(&password.chars().count()) {
            return Err(CatalogError::Invalid {
                what: "password".into(),
                value: String::new(),
                why: "it must have 8 to 256 characters".to_owned(),
            });
        }
        let password = password.to_owned();
        apart(move || make(&password)).await?
    }

    /// The hash as it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    async fn fits(&self, password: &str) -> Result<bool> {
        let (hash, password) = (self.0.clone(), password.to_owned());
        apart(move || {
            Phc::new(&hash).is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
        })
        .await
    }
}

fn make(password: &str) -> Result<PasswordHash> {
    let failed = |error: argon2::password_hash::Error| CatalogError::Corrupt(format!("no hash: {error}"));
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, None).map_err(|error| failed(error.into()))?;
    let salt = SaltString::encode_b64(&rand::rng().random::<[u8; 16]>()).map_err(failed)?;
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash = hasher.hash_password(password.as_bytes(), &salt).map_err(failed)?;
    Ok(PasswordHash(hash.to_string()))
}

/// Runs what takes a processor for a while on a thread for such, a few at a time.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let _waiting = LINE.try_acquire().map_err(|_| CatalogError::TooManyPasswords)?;
    let turn = tokio::time::timeout(PATIENCE, TURNS.acquire()).await.map_err(|_| CatalogError::TooManyPasswords)?;
    let _turn = turn.map_err(CatalogError::store)?;
    tokio::task::spawn_blocking(work).await.map_err(CatalogError::store)
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(hidden)")
    }
}

impl From<PasswordHash> for String {
    fn from(hash: PasswordHash) -> Self {
        hash.0
    }
}

impl TryFrom<String> for PasswordHash {
    type Error = CatalogError;

    fn try_from(text: String) -> Result<Self> {
        let valid = Phc::new(&text).is_ok_and(|hash| hash.algorithm == argon2::ARGON2ID_IDENT);
        if valid { Ok(Self(text)) } else { Err(CatalogError::Corrupt("a password's hash".to_owned())) }
    }
}

/// What a store says of a name that somebody tries to log in with. The try is counted as a wrong one before it is
/// answered, so that no number of tries side by side is more than there may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attempt {
    /// Too many wrong passwords; not counted.
    Locked {
        /// When the next one may be tried.
        until: DateTime<Utc>,
    },
    /// There is no such principal, or it has no password.
    Unknown,
    /// Compare with this.
    Check {
        /// Who it would be.
        principal: Principal,
        /// The hash to compare with.
        password: PasswordHash,
    },
}

/// Wrong passwords for one name, whether or not somebody has it: a wait must not tell. For implementations, which forget
/// those that are [`Failures::AGE`] old.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// Wrong passwords in a row.
    pub count: u32,
    /// No password is looked at before.
    pub locked_until: Option<DateTime<Utc>>,
}

impl Failures {
    /// After this long without another one they are forgotten.
    pub const AGE: TimeDelta = TimeDelta::days(1);

    /// Whether one has to wait, and until when.
    pub fn locked(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.locked_until.filter(|until| *until > now)
    }

    /// After one more wrong password: from the fifth on a wait that doubles, a second at first, 15 minutes at most.
    pub fn one_more(self, now: DateTime<Utc>) -> Self {
        let count = self.count.saturating_add(1);
        let wait = count.checked_sub(FREE).map(|over| TimeDelta::seconds(1 << over.min(20)).min(LONGEST));
        Self { count, locked_until: wait.map(|wait| now + wait) }
    }
}

/// How logging in ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// The password is the principal's.
    Welcome(Principal),
    /// The name or the password is wrong; which one is not told.
    Refused,
    /// Too many wrong passwords for this name.
    Locked {
        /// When the next one may be tried.
        until: DateTime<Utc>,
    },
}

/// Logs in. Takes as long for a name that there is not as for a wrong password. Errors: of the store.
pub async fn log_in(catalog: &dyn Catalog, name: &str, password: &str, now: DateTime<Utc>) -> Result<Login> {
    /// Of a password that nobody knows.
    static NOBODY: LazyLock<Option<PasswordHash>> =
        LazyLock::new(|| make(&String::from_utf8_lossy(&rand::rng().random::<[u8; 32]>())).ok());
    match catalog.attempt_login(name, now).await? {
        Attempt::Locked { until } => Ok(Login::Locked { until }),
        Attempt::Unknown => {
            let nobody = apart(|| NOBODY.clone()).await?;
            if let Some(nobody) = nobody {
                nobody.fits(password).await?;
            }
            Ok(Login::Refused)
        }
        Attempt::Check { principal, password: expected } => {
            if !expected.fits(password).await? {
                return Ok(Login::Refused);
            }
            catalog.finish_login(&principal.name).await?;
            Ok(Login::Welcome(principal))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hash_fits_its_password_alone_and_is_never_shown() {
        let hash = PasswordHash::of("correct horse").await.expect("a hash");
        assert!(hash.fits("correct horse").await.expect("answer"));
        assert!(!hash.fits("correct horsf").await.expect("answer"));
        assert_ne!(hash, PasswordHash::of("correct horse").await.expect("a hash"), "each has its salt");
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(!format!("{hash:?}").contains('$'));
        assert!(PasswordHash::of("short").await.is_err());
        for bad in ["", "x", "$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g", "$2b$12$x"] {
            assert!(PasswordHash::try_from(bad.to_owned()).is_err(), "{bad}");
        }

        // Here, for all tests of a process wait in one line.
        let all = (0..LINE.available_permits() + 8).map(|_| PasswordHash::of("correct horse"));
        let made = futures::future::join_all(all).await;
        let refused: Vec<_> = made.iter().filter_map(|made| made.as_ref().err()).collect();
        assert!(refused.len() >= 8, "only so many wait");
        assert!(refused.iter().all(|error| error.code() == "too_many_passwords"), "{refused:?}");
    }

    #[test]
    fn waits_double_and_end() {
        let now = Utc::now();
        let (mut failures, mut waits) = (Failures::default(), Vec::new());
        for _ in 0..20 {
            failures = failures.one_more(now);
            waits.push(failures.locked(now).map(|until| (until - now).num_seconds()));
        }
        assert_eq!(waits[..8], [None, None, None, None, Some(1), Some(2), Some(4), Some(8)]);
        assert_eq!(waits[19], Some(900));
        assert_eq!(failures.locked(now + LONGEST), None);
    }
}
