//! JSON: the elements of one array, or objects one after the other.

use super::Cut;
use crate::error::{FormatError, Result};

/// Where between rows the body stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Between {
    /// Nothing has come.
    Start,
    /// After `[`.
    FirstElement,
    /// After `,`.
    Element,
    /// After an element.
    Comma,
    /// After `]`.
    Closed,
    /// After an object outside any array.
    Object,
}

/// The rule for JSON bodies.
pub(super) struct Values {
    between: Between,
    /// Open brackets of the row; 0 between rows.
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Default for Values {
    fn default() -> Self {
        Self { between: Between::Start, depth: 0, in_string: false, escaped: false }
    }
}

impl Values {
    pub(super) fn cut(&mut self, bytes: &[u8]) -> Result<Cut> {
        let mut from = 0;
        if self.depth == 0 {
            match self.open(bytes)? {
                Some(at) => from = at,
                None => return Ok(Cut { from: bytes.len(), used: bytes.len(), complete: false }),
            }
        }
        let (used, complete) = self.inside(bytes, from);
        Ok(Cut { from, used, complete })
    }

    /// Finds the `{` that opens the next row.
    fn open(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        for (at, byte) in bytes.iter().enumerate() {
            self.between = match (self.between, byte) {
                (same, b' ' | b'\t' | b'\n' | b'\r') => same,
                (Between::Start, b'[') => Between::FirstElement,
                (Between::Start | Between::Object, b'{') => {
                    self.between = Between::Object;
                    return Ok(Some(at));
                }
                (Between::FirstElement | Between::Element, b'{') => {
                    self.between = Between::Comma;
                    return Ok(Some(at));
                }
                (Between::FirstElement | Between::Comma, b']') => Between::Closed,
                (Between::Comma, b',') => Between::Element,
                (state, byte) => return Err(state.refuse(*byte)),
            };
        }
        Ok(None)
    }

    /// Runs to the bracket that closes the row; answers how far it came and whether that is it.
    fn inside(&mut self, bytes: &[u8], from: usize) -> (usize, bool) {
        let mut at = from;
        while at < bytes.len() {
            if self.in_string {
                at = self.string(bytes, at);
                continue;
            }
            match bytes[at] {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth -= 1,
                _ => {}
            }
            at += 1;
            if self.depth == 0 {
                return (at, true);
            }
        }
        (at, false)
    }

    /// Runs past the closing quote, or to the end of the piece.
    fn string(&mut self, bytes: &[u8], mut at: usize) -> usize {
        if std::mem::take(&mut self.escaped) {
            return at + 1;
        }
        match memchr::memchr2(b'"', b'\\', &bytes[at..]) {
            None => bytes.len(),
            Some(offset) => {
                at += offset;
                if bytes[at] == b'"' {
                    self.in_string = false;
                } else {
                    self.escaped = true;
                }
                at + 1
            }
        }
    }

    pub(super) fn end(&self) -> Result<()> {
        match self.between {
            _ if self.depth > 0 => Err(FormatError::truncated("the end of an object")),
            Between::FirstElement | Between::Element | Between::Comma => {
                Err(FormatError::truncated("the `]` that closes the array"))
            }
            Between::Start | Between::Closed | Between::Object => Ok(()),
        }
    }
}

impl Between {
    fn refuse(self, byte: u8) -> FormatError {
        let expected = match self {
            Self::Start => "an array of objects or an object",
            Self::FirstElement => "an object or `]`: each row is an object",
            Self::Element => "an object: each row is an object",
            Self::Comma => "`,` or `]`",
            Self::Closed => "nothing after the array",
            Self::Object => "another object or the end",
        };
        let found =
            if byte.is_ascii_graphic() { format!("`{}`", char::from(byte)) } else { format!("byte 0x{byte:02x}") };
        FormatError::json(found, expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(body: &[u8]) -> Result<usize> {
        let mut values = Values::default();
        let (mut at, mut rows) = (0, 0);
        while at < body.len() {
            let cut = values.cut(&body[at..])?;
            at += cut.used;
            rows += usize::from(cut.complete);
        }
        values.end().map(|()| rows)
    }

    #[test]
    fn arrays_objects_and_sequences_are_bodies() {
        for (body, rows) in [("", 0), (" [] ", 0), ("[{},{}]", 2), ("{}", 1), ("{} {}\n{}", 3), ("[{\"a\":[{}]}]", 1)] {
            assert_eq!(outcome(body.as_bytes()), Ok(rows), "{body}");
        }
    }

    #[test]
    fn what_is_between_rows_is_judged() {
        for body in ["1", "[1]", "[{},]", "[{} {}]", "{},{}", "[{}]{}", "[,{}]", "\"a\"", "[[{}]]", "]"] {
            assert_eq!(outcome(body.as_bytes()).expect_err(body).code(), "invalid_json", "{body}");
        }
        for body in ["[", "[{}", "[{},", "{", "{\"a\":\"}", "[{\"a\":1}"] {
            assert_eq!(outcome(body.as_bytes()).expect_err(body).code(), "truncated_body", "{body}");
        }
    }
}
