//! A set of public keys, as RFC 7517 writes it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::aws_lc;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

use crate::error::JwtError;
use crate::json;
use crate::token::Token;

/// Keys of a set; issuers have two or three.
const MAX_KEYS: usize = 100;

/// Bytes of a modulus: of 2048 to 8192 bits.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=1024;

/// Bytes of an exponent.
const EXPONENT: std::ops::RangeInclusive<usize> = 1..=8;

/// Which keys an algorithm is used with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl Kind {
    /// `None`: an algorithm whose key is not public.
    fn of(algorithm: Algorithm) -> Option<Self> {
        match algorithm {
            Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512 => Some(Self::Rsa),
            Algorithm::PS256 | Algorithm::PS384 | Algorithm::PS512 => Some(Self::Rsa),
            Algorithm::ES256 => Some(Self::P256),
            Algorithm::ES384 => Some(Self::P384),
            Algorithm::EdDSA => Some(Self::Ed25519),
            _ => None,
        }
    }
}

/// One public key for signatures.
#[derive(Debug)]
pub(crate) struct Key {
    kid: Option<String>,
    kind: Kind,
    /// The one algorithm that it is for; any that fits its kind when the issuer does not say.
    algorithm: Option<String>,
    key: DecodingKey,
}

impl Key {
    /// `None`: a key of another kind, or for another purpose, or not well formed. Sets have such keys for others.
    fn read(jwk: &Map<String, Value>) -> Option<Self> {
        if !is_for_signatures(jwk) {
            return None;
        }
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
        let sized =
            |name: &str, length: usize| bytes(name).filter(|bytes| bytes.len() == length).and_then(|_| text(name));
        let point = |length| DecodingKey::from_ec_components(sized("x", length)?, sized("y", length)?).ok();
        let (kind, key) = match (text("kty")?, text("crv")) {
            ("RSA", _) => {
                let modulus = bytes("n").filter(|n| MODULUS.contains(&n.len()))?;
                let exponent = bytes("e").filter(|e| EXPONENT.contains(&e.len()))?;
                (Kind::Rsa, DecodingKey::from_rsa_raw_components(&modulus, &exponent))
            }
            ("EC", Some("P-256")) => (Kind::P256, point(32)?),
            ("EC", Some("P-384")) => (Kind::P384, point(48)?),
            ("OKP", Some("Ed25519")) => (Kind::Ed25519, DecodingKey::from_ed_components(sized("x", 32)?).ok()?),
            _ => return None,
        };
        Some(Self { kid: optional(jwk, "kid")?, kind, algorithm: optional(jwk, "alg")?, key })
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        let named = self.algorithm.as_ref().is_none_or(|name| name.parse().ok() == Some(algorithm));
        named && Kind::of(algorithm) == Some(self.kind)
    }

    /// Whether `token` was signed with this key, which was found for it.
    pub(crate) fn verify(&self, token: &Token<'_>) -> Result<(), JwtError> {
        // Named here: the library's choice by its features ends in a panic when the tree has both of its backends.
        let verifier = (aws_lc::DEFAULT_PROVIDER.verifier_factory)(&token.algorithm, &self.key);
        let verifier = verifier.map_err(|_| JwtError::Signature)?;
        verifier.verify(token.signed, &token.signature).map_err(|_| JwtError::Signature)
    }
}

/// `use` and `key_ops`, where the issuer says them.
fn is_for_signatures(jwk: &Map<String, Value>) -> bool {
    let used = jwk.get("use").is_none_or(|used| used == "sig");
    let verify = |operations: &Value| operations.as_array().is_some_and(|all| all.iter().any(|one| one == "verify"));
    used && jwk.get("key_ops").is_none_or(verify)
}

/// A text that may be absent; `None` when it is there and not a text.
fn optional(jwk: &Map<String, Value>, name: &str) -> Option<Option<String>> {
    match jwk.get(name) {
        None => Some(None),
        Some(Value::String(text)) => Some(Some(text.clone())),
        Some(_) => None,
    }
}

/// The keys of an issuer that signatures can be judged with.
#[derive(Debug)]
pub(crate) struct KeySet {
    keys: Vec<Arc<Key>>,
}

impl KeySet {
    /// Reads an issuer's answer. `None`: it is not a set of keys, or one of more than 100.
    pub(crate) fn read(answer: &[u8]) -> Option<Self> {
        let set = json::object(answer)?;
        let keys = set.get("keys")?.as_array().filter(|keys| keys.len() <= MAX_KEYS)?;
        Some(Self { keys: keys.iter().filter_map(|key| Key::read(key.as_object()?)).map(Arc::new).collect() })
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The key that `token` names; without a name, the only one that fits it. Errors: the key is not here
    /// ([`JwtError::UnknownKey`]), is for another algorithm, or there are several.
    pub(crate) fn find(&self, token: &Token<'_>) -> Result<Arc<Key>, JwtError> {
        let named = |key: &&Arc<Key>| token.kid.is_none() || key.kid == token.kid;
        let mut fitting = self.keys.iter().filter(named).filter(|key| key.fits(token.algorithm));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key.clone()),
            (Some(_), Some(_)) => Err(JwtError::AmbiguousKey),
            (None, _) if token.kid.is_some() && self.keys.iter().any(|key| named(&key)) => Err(JwtError::UnfitKey),
            (None, _) => Err(JwtError::UnknownKey),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(jwk: &Value) -> Option<Key> {
        Key::read(jwk.as_object()?)
    }

    fn coordinate(length: usize) -> String {
        URL_SAFE_NO_PAD.encode(vec![7; length])
    }

    #[test]
    fn keys_that_cannot_judge_a_signature_are_left_out() {
        let good = json!({"kty": "EC", "crv": "P-256", "x": coordinate(32), "y": coordinate(32), "kid": "a"});
        assert!(read(&good).is_some());
        let changes = [
            json!({"use": "enc"}),
            json!({"use": 1}),
            json!({"key_ops": ["encrypt"]}),
            json!({"key_ops": "verify"}),
            json!({"kty": "oct", "k": "c2VjcmV0"}),
            json!({"kty": "ec"}),
            json!({"crv": "P-384"}),
            json!({"crv": "secp256k1"}),
            json!({"x": coordinate(31)}),
            json!({"y": coordinate(33)}),
            json!({"x": format!("{}=", coordinate(32))}),
            json!({"kid": 1}),
            json!({"alg": ["ES256"]}),
        ];
        for change in changes {
            let mut key = good.clone();
            for (name, value) in change.as_object().expect("an object") {
                key[name] = value.clone();
            }
            assert!(read(&key).is_none(), "{change}");
        }
    }

    #[test]
    fn a_modulus_is_neither_short_nor_endless() {
        for (length, is_key) in [(128, false), (255, false), (256, true), (1024, true), (1025, false)] {
            let key = read(&json!({"kty": "RSA", "n": coordinate(length), "e": "AQAB"}));
            assert_eq!(key.is_some(), is_key, "{length}");
        }
        assert!(read(&json!({"kty": "RSA", "n": coordinate(256), "e": coordinate(9)})).is_none());
    }

    #[test]
    fn a_set_has_at_most_a_hundred_keys() {
        let set = |count| json!({"keys": vec![json!({"kty": "oct"}); count]}).to_string();
        assert!(KeySet::read(set(100).as_bytes()).is_some());
        assert!(KeySet::read(set(101).as_bytes()).is_none());
        for wrong in ["{}", r#"{"keys":{}}"#, "[]", "not JSON", r#"{"keys":[],"keys":[]}"#] {
            assert!(KeySet::read(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }
}
