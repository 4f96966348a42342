//! NDJSON: a row ends with its line.

use super::Cut;

/// The rule; it has nothing to remember, because JSON has no newline inside a value.
pub(super) struct Lines;

impl Lines {
    #[expect(clippy::unused_self, reason = "the same shape as the other rules")]
    pub(super) fn cut(&mut self, bytes: &[u8]) -> Cut {
        match memchr::memchr(b'\n', bytes) {
            Some(at) => Cut { from: 0, used: at + 1, complete: true },
            None => Cut { from: 0, used: bytes.len(), complete: false },
        }
    }
}
