//! The fields of one record.

use std::ops::Range;

use crate::error::{FormatError, Result, clip};
use crate::infer::MAX_COLUMNS;

/// The fields of one record; kept between records for its buffers.
#[derive(Default)]
pub(crate) struct Record {
    text: String,
    fields: Vec<(Range<usize>, bool)>,
}

impl Record {
    /// The fields in order; `None` for one that is empty and not quoted.
    pub(crate) fn fields(&self) -> impl Iterator<Item = Option<&str>> {
        self.fields
            .iter()
            .map(|(range, quoted)| Some(&self.text[range.clone()]).filter(|text| *quoted || !text.is_empty()))
    }

    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether the record is an empty line.
    pub(crate) fn is_blank(&self) -> bool {
        self.len() == 1 && self.fields().all(|field| field.is_none())
    }

    fn close(&mut self, start: usize, quoted: bool) {
        self.fields.push((start..self.text.len(), quoted));
    }
}

/// Reads a record with or without the newline at its end (`\n` or `\r\n`).
pub(crate) fn read_record(text: &str, record: &mut Record) -> Result<()> {
    record.text.clear();
    record.fields.clear();
    let line = text.strip_suffix('\n').unwrap_or(text);
    let mut rest = line.strip_suffix('\r').unwrap_or(line);
    loop {
        // No dataset is wider: the rest need not be read to be refused.
        if record.fields.len() >= MAX_COLUMNS {
            return Err(FormatError::too_many_columns());
        }
        rest = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted, record)?,
            None => bare_field(rest, record)?,
        };
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok(()),
        }
    }
}

/// Takes a field up to its comma or the end.
fn bare_field<'a>(text: &'a str, record: &mut Record) -> Result<&'a str> {
    let end = memchr::memchr3(b',', b'"', b'\r', text.as_bytes()).unwrap_or(text.len());
    let start = record.text.len();
    record.text.push_str(&text[..end]);
    record.close(start, false);
    match text.as_bytes().get(end) {
        Some(b'"') => {
            Err(FormatError::csv("a stray `\"`", "quotes around the whole field, with quotes inside doubled"))
        }
        Some(b'\r') => Err(FormatError::csv("a bare carriage return", "lines that end with LF or CRLF")),
        _ => Ok(&text[end..]),
    }
}

/// Takes a field after its opening quote, up to the comma or the end after the closing one.
fn quoted_field<'a>(mut text: &'a str, record: &mut Record) -> Result<&'a str> {
    let start = record.text.len();
    loop {
        let Some(quote) = memchr::memchr(b'"', text.as_bytes()) else {
            return Err(FormatError::truncated("a closing quote"));
        };
        record.text.push_str(&text[..quote]);
        text = &text[quote + 1..];
        match text.chars().next() {
            Some('"') => record.text.push('"'),
            None | Some(',') => break,
            Some(other) => {
                let found = format!("`{}` after a closing quote", clip(&other.to_string()));
                return Err(FormatError::csv(found, "a comma or the end of the line"));
            }
        }
        text = &text[1..];
    }
    record.close(start, true);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Result<Vec<Option<String>>> {
        let mut record = Record::default();
        read_record(text, &mut record)?;
        Ok(record.fields().map(|field| field.map(str::to_owned)).collect())
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn null_and_empty_text_differ() {
        assert_eq!(fields("a,,\"\",\"b\"\"\r\n,\"\r\n"), Ok(vec![some("a"), None, some(""), some("b\"\r\n,")]));
        assert_eq!(fields("\n"), Ok(vec![None]));
        assert_eq!(fields("a,"), Ok(vec![some("a"), None]));
    }

    #[test]
    fn stray_characters_are_refused() {
        for text in ["a\"b", "\"a\"b", "\"a\" ,b", "a\rb", "a\r\r\n"] {
            assert_eq!(fields(text).expect_err(text).code(), "invalid_csv", "{text:?}");
        }
        assert_eq!(fields("a,\"b").expect_err("open").code(), "truncated_body");
    }
}
