//! The secret that the gateways of one instance share.

use std::fmt;
use std::str::FromStr;

use rand::RngExt as _;

/// 32 random bytes with which the gateways of an instance sign what they hand out, such as the handle of a prepared
/// statement, so that any of them can take it back. Kept by the catalog; shown to nobody.
#[derive(Clone, Copy, PartialEq, Eq)]
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
        use fmt::Write as _;
        self.0.iter().fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

/// The text is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key of 64 hexadecimal digits")]
pub struct ParseKeyError;

impl FromStr for InstanceKey {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, ParseKeyError> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(ParseKeyError);
        }
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| ParseKeyError)?;
        }
        Ok(Self(bytes))
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
