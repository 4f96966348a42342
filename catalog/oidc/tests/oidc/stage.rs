//! Two issuers that are accepted, one that is not, and a clock that tests move.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use lakegate_oidc::{Claims, Clock, Issuer, Issuers, JwtError};
use serde_json::{Value, json};

use crate::issuer::LocalIssuer;
use crate::signer::{Draft, Signer};

/// What our issuer calls us.
pub(crate) const AUDIENCE: &str = "lakegate";

/// When tests take place, in seconds: a day in 2030.
pub(crate) const NOW: i64 = 1_900_000_000;

pub(crate) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(NOW, 0).expect("a date")
}

/// A clock that stands still until it is moved.
#[derive(Clone, Default)]
pub(crate) struct Hand(Arc<AtomicU64>);

impl Hand {
    pub(crate) fn clock(&self) -> Clock {
        let seconds = self.0.clone();
        Clock::new(move || Duration::from_secs(seconds.load(Ordering::SeqCst)))
    }

    pub(crate) fn forward(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

/// The settings of `issuer`, by default.
pub(crate) fn settings(issuer: &LocalIssuer) -> Issuer {
    Issuer::new(&issuer.url, AUDIENCE)
}

/// One issuer, accepted with its defaults.
pub(crate) fn accept(issuer: &LocalIssuer, hand: &Hand) -> Issuers {
    Issuers::with_clock(vec![settings(issuer)], &hand.clock()).expect("settings")
}

/// A token of `issuer` that would pass, to be signed by `signer`.
pub(crate) fn draft(issuer: &LocalIssuer, signer: &Signer) -> Draft {
    Draft {
        header: json!({"alg": signer.algorithm(), "typ": "JWT", "kid": signer.kid}),
        claims: json!({
            "iss": issuer.url, "aud": AUDIENCE, "sub": "u-17", "groups": ["pilots", "crew"],
            "iat": NOW - 10, "nbf": NOW - 10, "exp": NOW + 600,
        }),
    }
}

/// All that forged tokens are tried on.
pub(crate) struct Stage {
    pub(crate) ours: LocalIssuer,
    /// Accepted too, for another audience.
    pub(crate) other: LocalIssuer,
    pub(crate) rsa: Signer,
    pub(crate) p256: Signer,
    pub(crate) p384: Signer,
    pub(crate) ed25519: Signer,
    /// The same key as `rsa`, which our issuer shows for PS256 alone.
    pub(crate) pinned: Signer,
    /// Keys that our issuer shows, but not for signatures.
    pub(crate) sealing: Signer,
    pub(crate) wrapping: Signer,
    /// A key of the other issuer.
    pub(crate) theirs: Signer,
    /// With default algorithms.
    pub(crate) issuers: Issuers,
    /// With all algorithms.
    pub(crate) wide: Issuers,
}

impl Stage {
    pub(crate) async fn set() -> Self {
        let (rsa, pinned) = (Signer::rsa("rsa"), Signer::rsa("pinned"));
        let (p256, p384, ed25519) = (Signer::p256("p256"), Signer::p384("p384"), Signer::ed25519("ed25519"));
        let (sealing, wrapping, theirs) = (Signer::p256("sealing"), Signer::p256("wrapping"), Signer::p256("theirs"));
        let (ours, other) = (LocalIssuer::start().await, LocalIssuer::with(&[&theirs]).await);
        ours.shows(&[
            rsa.jwk(),
            p256.jwk(),
            p384.jwk(),
            ed25519.jwk(),
            pinned.jwk_with(&json!({"alg": "PS256"})),
            sealing.jwk_with(&json!({"use": "enc"})),
            wrapping.jwk_with(&json!({"use": null, "key_ops": ["wrapKey", "deriveKey"]})),
            // What a careless issuer could show, and an attacker would like us to use.
            json!({"kty": "oct", "k": "c2VjcmV0", "kid": "secret"}),
        ]);
        let accept = |algorithms: &[&str]| {
            let mut first = settings(&ours);
            first.algorithms = algorithms.iter().map(|&name| name.to_owned()).collect();
            let second = Issuer::new(&other.url, "another-gateway");
            Issuers::with_clock(vec![first, second], &Hand::default().clock()).expect("settings")
        };
        let issuers = accept(&["RS256", "ES256"]);
        let wide = accept(&["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]);
        Self { ours, other, rsa, p256, p384, ed25519, pinned, sealing, wrapping, theirs, issuers, wide }
    }

    /// A token of ours that would pass.
    pub(crate) fn draft(&self, signer: &Signer) -> Draft {
        draft(&self.ours, signer)
    }

    /// The same with claims changed, signed with RS256.
    pub(crate) fn claiming(&self, changes: &Value) -> String {
        self.draft(&self.rsa).claims(changes).signed(&self.rsa)
    }

    /// The same with its header changed, signed with RS256.
    pub(crate) fn headed(&self, changes: &Value) -> String {
        self.draft(&self.rsa).header(changes).signed(&self.rsa)
    }

    pub(crate) async fn verify(&self, token: &str) -> Result<Claims, JwtError> {
        self.issuers.verify(token, now()).await
    }
}

/// A forged token, and one that differs from it only in what makes it forged.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) forged: String,
    pub(crate) genuine: String,
    pub(crate) error: JwtError,
}

pub(crate) fn case(name: impl Into<String>, forged: impl Into<String>, genuine: &str, error: JwtError) -> Case {
    Case { name: name.into(), forged: forged.into(), genuine: genuine.to_owned(), error }
}

/// Each forged token is refused for its reason, and each genuine one passes, before and after.
pub(crate) async fn judge(issuers: &Issuers, cases: Vec<Case>) {
    for Case { name, forged, genuine, error } in cases {
        assert_ne!(forged, genuine, "{name}");
        for _ in 0..2 {
            let passed = issuers.verify(&genuine, now()).await;
            assert_eq!(passed.map(|claims| claims.subject), Ok("u-17".to_owned()), "{name}: the genuine one");
            assert_eq!(issuers.verify(&forged, now()).await, Err(error.clone()), "{name}");
        }
        assert!(!error.is_unavailable(), "{name}");
    }
}
