//! A token taken apart. Nothing here is trusted yet.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use crate::error::JwtError;
use crate::json;

/// Bytes of a token; headers of HTTP are rarely allowed more.
const MAX_TOKEN: usize = 16 << 10;

/// Bytes of a `kid`.
const MAX_KID: usize = 256;

/// The parts of a token, decoded.
#[derive(Debug)]
pub(crate) struct Token<'a> {
    /// How it says it is signed.
    pub(crate) algorithm: Algorithm,
    /// Which key it says it is signed with.
    pub(crate) kid: Option<String>,
    /// What it claims.
    pub(crate) claims: Map<String, Value>,
    /// The bytes that are signed: header, point, claims, as they came.
    pub(crate) signed: &'a [u8],
    /// The signature.
    pub(crate) signature: Vec<u8>,
}

impl<'a> Token<'a> {
    /// Takes `text` apart. Members of the header that offer keys (`jwk`, `jku`, `x5c`, `x5u`) are not looked at.
    pub(crate) fn read(text: &'a str) -> Result<Self, JwtError> {
        if text.len() > MAX_TOKEN {
            return Err(JwtError::TooLong);
        }
        let parts: Vec<&str> = text.splitn(4, '.').collect();
        let [header, claims, signature] = parts[..] else { return Err(JwtError::NotThreeParts) };
        if parts.contains(&"") {
            return Err(JwtError::NotThreeParts);
        }
        let (algorithm, kid) = read_header(&object("header", header)?)?;
        let signed = &text.as_bytes()[..header.len() + 1 + claims.len()];
        let claims = object("payload", claims)?;
        Ok(Self { algorithm, kid, claims, signed, signature: decode("signature", signature)? })
    }
}

fn read_header(header: &Map<String, Value>) -> Result<(Algorithm, Option<String>), JwtError> {
    if header.contains_key("crit") {
        return Err(JwtError::Critical);
    }
    let is_ours = |typ: &Value| typ.as_str().is_some_and(is_accepted_type);
    if !header.get("typ").is_none_or(is_ours) {
        return Err(JwtError::Type);
    }
    let algorithm = header.get("alg").and_then(Value::as_str).and_then(|name| name.parse().ok());
    let kid = match header.get("kid") {
        None => None,
        Some(Value::String(kid)) if (1..=MAX_KID).contains(&kid.len()) => Some(kid.clone()),
        Some(_) => return Err(JwtError::KeyId),
    };
    Ok((algorithm.ok_or(JwtError::Algorithm)?, kid))
}

/// Media types are written in any case, and `application/` may be left out (RFC 7515, 4.1.9).
fn is_accepted_type(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    matches!(typ.strip_prefix("application/").unwrap_or(&typ), "jwt" | "at+jwt")
}

fn object(part: &'static str, text: &str) -> Result<Map<String, Value>, JwtError> {
    json::object(&decode(part, text)?).ok_or(JwtError::NotAnObject(part))
}

fn decode(part: &'static str, text: &str) -> Result<Vec<u8>, JwtError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| JwtError::NotBase64(part))
}
