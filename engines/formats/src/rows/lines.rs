//! NDJSON: a row ends with its line, for JSON has no newline inside a value.

use super::Cut;

pub(super) fn cut(bytes: &[u8]) -> Cut {
    match memchr::memchr(b'\n', bytes) {
        Some(at) => Cut { from: 0, used: at + 1, complete: true },
        None => Cut { from: 0, used: bytes.len(), complete: false },
    }
}
