//! Cuts a body into the texts of its rows, whatever the pieces in which it arrives.
//!
//! A cutter only finds where a row ends; it never judges what is inside one, so that the same body
//! gives the same rows and the same first error however it is split.

mod csv;
mod json;
mod lines;

use crate::error::{FormatError, Result};
use crate::format::Format;

/// The UTF-8 byte order mark; skipped at the very start of a body.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// What a cutter found in a piece of the body.
struct Cut {
    /// Where the row's bytes begin within the piece; `used` when the piece has none of them.
    from: usize,
    /// How much of the piece is dealt with.
    used: usize,
    /// Whether the row ends at `used`.
    complete: bool,
}

/// The rule of one format.
enum Cutter {
    Json(json::Values),
    Lines,
    Csv(csv::Records),
}

impl Cutter {
    fn cut(&mut self, bytes: &[u8]) -> Result<Cut> {
        match self {
            Self::Json(values) => values.cut(bytes),
            Self::Lines => Ok(lines::cut(bytes)),
            Self::Csv(records) => Ok(records.cut(bytes)),
        }
    }

    /// Whether the body may end here, with or without a last row that has no separator after it.
    fn end(&self) -> Result<()> {
        match self {
            Self::Json(values) => values.end(),
            Self::Lines => Ok(()),
            Self::Csv(records) => records.end(),
        }
    }
}

/// The rows of a body, as text.
pub(crate) struct Rows {
    cutter: Cutter,
    /// The beginning of a row whose end has not come.
    pending: Vec<u8>,
    /// Whether `pending` was a whole row and has been handed out.
    handed_out: bool,
    /// How much of the byte order mark has been seen; `None` past the start.
    bom: Option<usize>,
    max_row_bytes: usize,
}

impl Rows {
    /// Rows of a format that has rows of text: not for Arrow and Parquet.
    pub(crate) fn new(format: Format, max_row_bytes: usize) -> Result<Self> {
        let cutter = match format {
            Format::Json => Cutter::Json(json::Values::default()),
            Format::NdJson => Cutter::Lines,
            Format::Csv => Cutter::Csv(csv::Records::default()),
            _ => return Err(FormatError::UnsupportedFormat { format }),
        };
        Ok(Self { cutter, pending: Vec::new(), handed_out: false, bom: Some(0), max_row_bytes })
    }

    /// The next whole row; takes what it reads off `bytes`. `None` when more bytes are needed.
    pub(crate) fn next<'a, 'b: 'a>(&'a mut self, bytes: &mut &'b [u8]) -> Result<Option<&'a [u8]>> {
        if std::mem::take(&mut self.handed_out) {
            self.pending.clear();
        }
        if !self.pass_bom(bytes)? {
            return Ok(None);
        }
        let cut = self.cutter.cut(bytes)?;
        let (piece, rest) = bytes.split_at(cut.used);
        *bytes = rest;
        let row = &piece[cut.from..];
        if self.pending.len() + row.len() > self.max_row_bytes {
            return Err(FormatError::row_too_large(self.max_row_bytes));
        }
        if cut.complete && self.pending.is_empty() {
            return Ok(Some(row));
        }
        self.pending.extend_from_slice(row);
        self.handed_out = cut.complete;
        Ok(cut.complete.then_some(self.pending.as_slice()))
    }

    /// What is left at the end of the body; may be a whole row. Then [`Rows::end`] has the last word.
    pub(crate) fn rest(&mut self) -> &[u8] {
        if std::mem::take(&mut self.handed_out) {
            self.pending.clear();
        }
        &self.pending
    }

    /// Refuses a body that ends where none may.
    pub(crate) fn end(&self) -> Result<()> {
        self.cutter.end()
    }

    /// Skips a byte order mark; false while it is not known whether there is one.
    fn pass_bom(&mut self, bytes: &mut &[u8]) -> Result<bool> {
        while let Some(seen) = self.bom {
            match bytes.split_first() {
                None => return Ok(false),
                Some((byte, rest)) if *byte == BOM[seen] => {
                    *bytes = rest;
                    self.bom = Some(seen + 1).filter(|seen| *seen < BOM.len());
                }
                Some(_) => {
                    // The bytes were the beginning of some other character.
                    self.bom = None;
                    let cut = self.cutter.cut(&BOM[..seen])?;
                    self.pending.extend_from_slice(&BOM[cut.from..seen]);
                }
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(format: Format, body: &[u8], piece: usize) -> Vec<String> {
        let mut rows = Rows::new(format, 1_000).expect("has rows");
        let mut found = Vec::new();
        for mut bytes in body.chunks(piece) {
            while let Some(row) = rows.next(&mut bytes).expect("valid") {
                found.push(String::from_utf8_lossy(row).into_owned());
            }
        }
        found.push(String::from_utf8_lossy(rows.rest()).into_owned());
        found
    }

    #[test]
    fn rows_are_the_same_however_the_body_is_split() {
        let cases: [(Format, &str, &[&str]); 4] = [
            (Format::Json, "\u{feff} [ {\"a\":\"]}\\\"\"} , {} ] ", &["{\"a\":\"]}\\\"\"}", "{}", ""]),
            (Format::Json, "{\"a\":[{}]}\n{}{}", &["{\"a\":[{}]}", "{}", "{}", ""]),
            (Format::NdJson, "{}\r\n\n{\"a\":1}", &["{}\r\n", "\n", "{\"a\":1}"]),
            (Format::Csv, "\u{feff}a,b\r\n\"x\ny\"\"\",2\nz", &["a,b\r\n", "\"x\ny\"\"\",2\n", "z"]),
        ];
        for (format, body, expected) in cases {
            for piece in 1..=body.len() {
                assert_eq!(cut(format, body.as_bytes(), piece), expected, "{format} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn half_a_byte_order_mark_is_text() {
        for piece in 1..5 {
            assert_eq!(cut(Format::Csv, "\u{fec0}\n".as_bytes(), piece), ["\u{fec0}\n", ""]);
        }
    }

    #[test]
    fn a_row_beyond_the_limit_is_refused_before_its_end() {
        let mut rows = Rows::new(Format::NdJson, 10).expect("has rows");
        let mut piece: &[u8] = b"{\"a\":";
        assert_eq!(rows.next(&mut piece), Ok(None));
        let mut piece: &[u8] = b"\"xxxxxx";
        assert_eq!(rows.next(&mut piece), Err(FormatError::row_too_large(10)));
    }
}
