//! Strict JSON tokens (RFC 8259) of a text that is known to be UTF-8.

use std::borrow::Cow;

use super::MAX_DEPTH;
use crate::error::{FormatError, Result, clip};
use crate::text::number::json_number_length;

/// What the next value is, told by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Bool,
    Number,
    String,
    List,
    Object,
}

/// A place in the text of a row.
pub(crate) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// What the next value is.
    pub(crate) fn kind(&mut self) -> Result<Kind> {
        self.skip_space();
        match self.byte() {
            Some(b'"') => Ok(Kind::String),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::List),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            _ => Err(self.refuse("a value")),
        }
    }

    /// An error at this place: the end of the text, or what stands here instead of `expected`.
    pub(crate) fn refuse(&self, expected: &str) -> FormatError {
        match self.text[self.at..].chars().next() {
            None => FormatError::truncated("the end of a JSON value"),
            Some(found) => FormatError::json(format!("`{}`", clip(&found.to_string())), expected),
        }
    }

    /// Takes a punctuation byte.
    pub(crate) fn take(&mut self, byte: u8, expected: &str) -> Result<()> {
        if self.try_take(byte) { Ok(()) } else { Err(self.refuse(expected)) }
    }

    /// Takes a punctuation byte when it is next.
    pub(crate) fn try_take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.byte() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Enters an object or list by its bracket; the depth is bounded, for the readers recurse.
    pub(crate) fn enter(&mut self, bracket: u8, expected: &str) -> Result<()> {
        self.take(bracket, expected)?;
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(FormatError::too_deep(MAX_DEPTH)) } else { Ok(()) }
    }

    /// Whether another member follows inside brackets; takes the comma or the closing bracket.
    pub(crate) fn more(&mut self, first: bool, close: u8) -> Result<bool> {
        if self.try_take(close) {
            self.depth -= 1;
            return Ok(false);
        }
        if !first {
            self.take(b',', if close == b']' { "`,` or `]`" } else { "`,` or `}`" })?;
            self.skip_space();
            if self.byte() == Some(close) {
                return Err(self.refuse("a value after the comma"));
            }
        }
        Ok(true)
    }

    /// The next key of an object with its colon.
    pub(crate) fn key(&mut self) -> Result<Cow<'a, str>> {
        self.skip_space();
        if self.byte() != Some(b'"') {
            return Err(self.refuse("a key in double quotes"));
        }
        let key = self.string()?;
        self.take(b':', "`:` after the key")?;
        Ok(key)
    }

    /// Nothing but white space may follow.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { Err(self.refuse("nothing after the value")) }
    }

    /// Takes `null`.
    pub(crate) fn null(&mut self) -> Result<()> {
        self.word("null")
    }

    /// Takes `true` or `false`.
    pub(crate) fn bool(&mut self) -> Result<bool> {
        let value = self.byte() == Some(b't');
        self.word(if value { "true" } else { "false" }).map(|()| value)
    }

    fn word(&mut self, word: &'static str) -> Result<()> {
        let rest = &self.text.as_bytes()[self.at..];
        if rest.starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(());
        }
        if word.as_bytes().starts_with(rest) {
            self.at = self.text.len();
        }
        Err(self.refuse(word))
    }

    /// Takes a number and answers its text.
    pub(crate) fn number(&mut self) -> Result<&'a str> {
        let rest = &self.text[self.at..];
        let Some(length) = json_number_length(rest.as_bytes()) else {
            let shown = rest.find([',', ']', '}', ' ', '\n', '\r']).unwrap_or(rest.len());
            if shown == rest.len() {
                return Err(FormatError::truncated("the end of a number"));
            }
            return Err(FormatError::json(format!("`{}`", clip(&rest[..shown])), "a number as JSON writes it"));
        };
        self.at += length;
        Ok(&rest[..length])
    }

    /// Takes a string; borrows it unless it has escapes.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>> {
        let start = self.at + 1;
        self.at = self.plain(start);
        if self.byte() == Some(b'"') {
            self.at += 1;
            return Ok(Cow::Borrowed(&self.text[start..self.at - 1]));
        }
        let mut value = String::from(&self.text[start..self.at]);
        loop {
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(value));
                }
                Some(b'\\') => value.push(self.escape()?),
                None => return Err(self.refuse("a closing quote")),
                Some(byte) => {
                    let found = format!("the control character U+{byte:04X} inside a string");
                    return Err(FormatError::json(found, format!("it escaped, as \\u{byte:04x}")));
                }
            }
            let from = self.at;
            self.at = self.plain(from);
            value.push_str(&self.text[from..self.at]);
        }
    }

    /// Where the run of characters that stand for themselves ends.
    fn plain(&self, from: usize) -> usize {
        let bytes = &self.text.as_bytes()[from..];
        let special = |b: &u8| *b == b'"' || *b == b'\\' || *b < 0x20;
        from + bytes.iter().position(special).unwrap_or(bytes.len())
    }

    fn escape(&mut self) -> Result<char> {
        self.at += 1;
        let Some(byte) = self.byte() else { return Err(self.refuse("an escape")) };
        let plain = match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err(self.refuse("one of \" \\ / b f n r t u after a backslash")),
        };
        self.at += 1;
        Ok(plain)
    }

    /// `uXXXX`, or two of them for a character beyond U+FFFF.
    fn unicode(&mut self) -> Result<char> {
        let high = self.hex()?;
        if !(0xd800..0xdc00).contains(&high) {
            return char::from_u32(high).ok_or_else(lone_surrogate);
        }
        if !self.text[self.at..].starts_with("\\u") {
            return Err(lone_surrogate());
        }
        self.at += 1;
        let low = self.hex()?;
        if !(0xdc00..0xe000).contains(&low) {
            return Err(lone_surrogate());
        }
        char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)).ok_or_else(lone_surrogate)
    }

    fn hex(&mut self) -> Result<u32> {
        self.at += 1;
        let mut value = 0;
        for _ in 0..4 {
            let digit = self.byte().and_then(|b| char::from(b).to_digit(16));
            value = value * 16 + digit.ok_or_else(|| self.refuse("four hexadecimal digits after \\u"))?;
            self.at += 1;
        }
        Ok(value)
    }

    /// The error for a value of another kind than `expected`; shows simple values, names others.
    pub(crate) fn mismatch(&mut self, expected: impl Into<String>) -> FormatError {
        match self.found() {
            Ok(found) => FormatError::mismatch(found, expected),
            Err(error) => error,
        }
    }

    fn found(&mut self) -> Result<String> {
        Ok(match self.kind()? {
            Kind::Null => "null".to_owned(),
            Kind::Bool => self.bool()?.to_string(),
            Kind::Number => clip(self.number()?),
            Kind::String => format!("\"{}\"", clip(&self.string()?)),
            Kind::List => "a list".to_owned(),
            Kind::Object => "an object".to_owned(),
        })
    }
}

fn lone_surrogate() -> FormatError {
    FormatError::json("half of a surrogate pair", "a character: \\ud83d\\ude00, never one half alone")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> Result<String> {
        Cursor::new(text).string().map(Cow::into_owned)
    }

    #[test]
    fn strings_are_unescaped() {
        assert_eq!(string(r#""a\n\u00e9\ud83d\ude00\/""#).as_deref(), Ok("a\né😀/"));
        assert!(matches!(Cursor::new("\"plain é\"").string(), Ok(Cow::Borrowed("plain é"))));
    }

    #[test]
    fn bad_strings_are_refused() {
        for text in
            [r#""\ud83d""#, r#""\ud83dx""#, r#""\udc00""#, r#""\ud83d\u0041""#, r#""\x""#, "\"\n\"", r#""\u12g4""#]
        {
            assert_eq!(string(text).expect_err(text).code(), "invalid_json", "{text}");
        }
        for text in ["\"abc", "\"\\", "\"\\u12"] {
            assert_eq!(string(text).expect_err(text).code(), "truncated_body", "{text}");
        }
    }

    #[test]
    fn words_and_numbers_are_exact() {
        assert_eq!(Cursor::new("true").bool(), Ok(true));
        assert_eq!(Cursor::new("nul,").null().expect_err("no word").code(), "invalid_json");
        assert_eq!(Cursor::new("nul").null().expect_err("no word").code(), "truncated_body");
        assert_eq!(Cursor::new("-1.5e3,").number(), Ok("-1.5e3"));
        for text in ["01,", "1.,", "-,", "1e,"] {
            assert_eq!(Cursor::new(text).number().expect_err(text).code(), "invalid_json", "{text}");
        }
    }
}
