//! Sizes in bytes, written as people write them.

use std::fmt;
use std::str::FromStr;

/// A number of bytes: `"512MiB"`, `"4GiB"`, `"10MB"` (decimal) or a plain number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ByteSize(u64);

/// The text is no size, or is larger than 2^63 - 1 bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a size; write a number of bytes, or one with a unit such as 512MiB or 4GiB")]
pub struct ParseSizeError;

/// Units, the larger first, so that printing finds the largest that fits.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

impl ByteSize {
    /// No bytes; some settings give it the meaning "choose".
    pub const ZERO: Self = Self(0);

    /// This many bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// This many times 2^20 bytes.
    pub const fn mib(count: u32) -> Self {
        Self((count as u64) << 20)
    }

    /// This many times 2^30 bytes.
    pub const fn gib(count: u32) -> Self {
        Self((count as u64) << 30)
    }

    /// The bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The bytes as a length in memory; the largest one where the machine's is smaller.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for ByteSize {
    type Err = ParseSizeError;

    fn from_str(text: &str) -> Result<Self, ParseSizeError> {
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim_start();
        let known = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, bytes)| *bytes);
        let factor = if unit.is_empty() { Some(1) } else { known }.ok_or(ParseSizeError)?;
        let number: u64 = number.parse().map_err(|_| ParseSizeError)?;
        let bytes = number.checked_mul(factor).filter(|bytes| i64::try_from(*bytes).is_ok());
        bytes.map(Self).ok_or(ParseSizeError)
    }
}

impl fmt::Display for ByteSize {
    /// Exact: the largest binary unit that divides the size, else the plain number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = &UNITS[..4];
        match binary.iter().find(|(_, bytes)| self.0 > 0 && self.0.is_multiple_of(*bytes)) {
            Some((unit, bytes)) => write!(f, "{}{unit}", self.0 / bytes),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_as_written() {
        for (text, bytes) in [
            ("0", 0),
            ("1", 1),
            ("1024", 1024),
            ("512MiB", 512 << 20),
            ("4 GiB", 4 << 30),
            ("16mib", 16 << 20),
            ("10MB", 10_000_000),
            ("7B", 7),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize::new(bytes)), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5GiB", "1 2", "1XiB", "9999999TiB", "18446744073709551616", "1é"] {
            assert_eq!(text.parse::<ByteSize>(), Err(ParseSizeError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_printed_size_reads_back(bytes in 0..=i64::MAX as u64, shift in 0u32..50) {
            for bytes in [bytes, (bytes >> shift) << shift] {
                let size = ByteSize::new(bytes);
                prop_assert_eq!(size.to_string().parse(), Ok(size));
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,20}") {
            let _ = text.parse::<ByteSize>();
        }
    }
}
