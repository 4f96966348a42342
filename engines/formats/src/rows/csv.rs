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
            if self.within == Within::Quoted {
                let Some(offset) = memchr::memchr(b'"', &bytes[at..]) else { break };
                at += offset;
            }
            self.within = match (self.within, bytes[at]) {
                (Within::Quoted, _) => Within::Quote,
                (Within::Start | Within::Quote, b'"') => Within::Quoted,
                (_, b',') => Within::Start,
                (_, b'\n') => {
                    self.within = Within::Start;
                    return Cut { from: 0, used: at + 1, complete: true };
                }
                _ => Within::Bare,
            };
            at += 1;
        }
        Cut { from: 0, used: bytes.len(), complete: false }
    }

    pub(super) fn end(&self) -> Result<()> {
        if self.within == Within::Quoted { Err(FormatError::truncated("a closing quote")) } else { Ok(()) }
    }
}
