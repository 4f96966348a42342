//! The secret that the gateways of one instance share.

use std::fmt;
use std::str::FromStr;

use rand::RngExt as _;
use serde::{Deserialize, Serialize};

use crate::hex;

/// 32 random bytes with which the gateways of an instance sign what they hand out, such as the handle of a prepared
/// statement, so that any of them can take it back. Kept by the catalog; shown to nobody.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceKey([u8; 32]);

impl InstanceKey {
    /// A new key.
    pub fn generate() -> Self {
        Self(rand::rng().random())
    }

    /// The bytes, to sign with.
    pub fn reveal(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 hexadecimal digits, as the catalog stores it.
    pub fn to_hex(&self) -> String {
        hex::write(&self.0)
    }
}

impl From<InstanceKey> for String {
    fn from(key: InstanceKey) -> Self {
        key.to_hex()
    }
}

impl TryFrom<String> for InstanceKey {
    type Error = ParseKeyError;

    fn try_from(text: String) -> Result<Self, ParseKeyError> {
        text.parse()
    }
}

/// The text is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key of 64 hexadecimal digits")]
pub struct ParseKeyError;

impl FromStr for InstanceKey {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, ParseKeyError> {
        hex::read(text).map(Self).ok_or(ParseKeyError)
    }
}

impl fmt::Debug for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InstanceKey(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_and_is_not_shown() {
        let key = InstanceKey::generate();
        assert_eq!(key.to_hex().parse(), Ok(key));
        assert_ne!(InstanceKey::generate(), key);
        assert_eq!(format!("{key:?}"), "InstanceKey(hidden)");
        for bad in ["", "00", &"g".repeat(64), &"é".repeat(32), &format!("{}0", key.to_hex())] {
            assert_eq!(bad.parse::<InstanceKey>(), Err(ParseKeyError), "{bad}");
        }
    }
}
