//! API tokens: `lg_` + 32 random base62 characters + 6 base62 characters of their CRC-32.
//!
//! The check sum lets a scanner and a typing mistake be told from a real token without a look-up.
//! The catalog keeps only the SHA-256: a token has about 190 bits of its own, so a slow hash would
//! add nothing.

use std::fmt;

use rand::RngExt as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::hex;
use crate::key::ParseKeyError;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const PREFIX: &str = "lg_";
const BODY: usize = 32;
const CHECK: usize = 6;

/// A token in clear. Neither `Debug` nor `Display` shows it; ask with [`ApiToken::reveal`].
#[derive(Clone, PartialEq, Eq)]
pub struct ApiToken(String);

impl ApiToken {
    /// A new random token from the operating system's generator.
    pub fn generate() -> Self {
        let mut rng = rand::rng();
        let body: String = (0..BODY).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect();
        Self(format!("{PREFIX}{body}{}", check_sum(&body)))
    }

    /// Reads a token; `None` when the form or the check sum is wrong.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(PREFIX)?;
        if rest.len() != BODY + CHECK || !rest.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return None;
        }
        let (body, check) = rest.split_at(BODY);
        (check_sum(body) == check).then(|| Self(text.to_owned()))
    }

    /// The token itself, to show once or to send.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the catalog keeps.
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.0.as_bytes()).into())
    }
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiToken(hidden)")
    }
}

fn check_sum(body: &str) -> String {
    let mut rest = crc32fast::hash(body.as_bytes()) as usize;
    let mut digits = [b'0'; CHECK];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[rest % ALPHABET.len()];
        rest /= ALPHABET.len();
    }
    digits.map(char::from).iter().collect()
}

/// The SHA-256 of a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash as 64 hexadecimal digits, as the catalog stores it.
    pub fn to_hex(&self) -> String {
        hex::write(&self.0)
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> Self {
        hash.to_hex()
    }
}

impl TryFrom<String> for TokenHash {
    type Error = ParseKeyError;

    fn try_from(text: String) -> Result<Self, ParseKeyError> {
        hex::read(&text).map(Self).ok_or(ParseKeyError)
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_read_back_and_differ() {
        let token = ApiToken::generate();
        assert_eq!(token.reveal().len(), 41);
        assert_eq!(ApiToken::parse(token.reveal()), Some(token.clone()));
        assert_ne!(ApiToken::generate().hash(), token.hash());
    }

    #[test]
    fn a_changed_character_is_noticed() {
        let token = ApiToken::generate();
        for at in 0..token.reveal().len() {
            let mut bytes = token.reveal().as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
            let text = String::from_utf8(bytes).expect("ascii");
            assert_eq!(ApiToken::parse(&text), None, "{at}");
        }
    }

    #[test]
    fn nothing_prints_a_token() {
        let token = ApiToken::generate();
        assert!(!format!("{token:?} {:?}", token.hash()).contains(&token.reveal()[3..]));
    }
}
