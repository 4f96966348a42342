//! CSV: a record ends with a newline that is not inside quotes.

use super::Cut;
use crate::error::{FormatError, Result};

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Within {
    /// At the start of a field, where a quote opens it.
    #[default]
    Start,
    /// In a field without quotes.
    Bare,
    /// Between quotes.
    Quoted,
    /// After a quote inside quotes: the end of the field, or the first half of `""`.
    Quote,
}

/// The rule for CSV records. A quote where none may be leaves the quoted state alone: the record then
/// ends with its line, and reading its fields finds the mistake.
#[derive(Default)]
pub(super) struct Records {
    within: Within,
}

impl Records {
    pub(super) fn cut(&mut self, bytes: &[u8]) -> Cut {
        let mut at = 0;
        while at < bytes.len() {
            match self.within {
                Within::Start | Within::Bare => at = self.bare(bytes, at),
                Within::Quoted => at = self.quoted(bytes, at),
                Within::Quote => at = self.after_quote(bytes, at),
            }
            if self.within == Within::Start && bytes[at - 1] == b'\n' {
                return Cut { from: 0, used: at, complete: true };
            }
        }
        Cut { from: 0, used: bytes.len(), complete: false }
    }

    /// Runs past the next newline or quote outside quotes.
    fn bare(&mut self, bytes: &[u8], from: usize) -> usize {
        let Some(offset) = memchr::memchr2(b'\n', b'"', &bytes[from..]) else {
            self.within = if bytes.ends_with(b",") { Within::Start } else { Within::Bare };
            return bytes.len();
        };
        let at = from + offset;
        let opens = if offset == 0 { self.within == Within::Start } else { bytes[at - 1] == b',' };
        self.within = match bytes[at] {
            b'\n' => Within::Start,
            _ if opens => Within::Quoted,
            _ => Within::Bare,
        };
        at + 1
    }

    fn quoted(&mut self, bytes: &[u8], from: usize) -> usize {
        match memchr::memchr(b'"', &bytes[from..]) {
            None => bytes.len(),
            Some(offset) => {
                self.within = Within::Quote;
                from + offset + 1
            }
        }
    }

    fn after_quote(&mut self, bytes: &[u8], at: usize) -> usize {
        self.within = match bytes[at] {
            b'"' => Within::Quoted,
            b',' | b'\n' => Within::Start,
            _ => Within::Bare,
        };
        at + 1
    }

    pub(super) fn end(&self) -> Result<()> {
        if self.within == Within::Quoted { Err(FormatError::truncated("a closing quote")) } else { Ok(()) }
    }
}
