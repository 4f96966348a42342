//! As much of Thrift's compact protocol as it takes to judge what a Parquet file declares, before a
//! reader acts on it. <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>

use crate::error::{FormatError, Result};
use crate::format::Format;

/// Structures within each other; Parquet's own have at most eight.
const MAX_DEPTH: usize = 16;

/// Types of fields and elements.
pub(super) const STRUCT: u8 = 12;
const LIST: u8 = 9;

/// Walks over encoded values.
pub(super) struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

/// The value of a field is not in the bytes at hand; there may be more in the file.
pub(super) fn incomplete() -> FormatError {
    FormatError::truncated("the end of a Parquet header")
}

fn invalid(why: &str) -> FormatError {
    FormatError::binary(Format::Parquet, why)
}

impl<'a> Thrift<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, depth: 0 }
    }

    /// Bytes walked over.
    pub(super) fn used(&self) -> usize {
        self.at
    }

    fn byte(&mut self) -> Result<u8> {
        let byte = *self.bytes.get(self.at).ok_or_else(incomplete)?;
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(invalid("a number in its metadata has more than ten bytes"))
    }

    /// A whole number of any width.
    pub(super) fn integer(&mut self) -> Result<i64> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// Visits the fields of a structure; `visit` answers whether it read the value itself.
    pub(super) fn fields(&mut self, mut visit: impl FnMut(&mut Self, i64, u8) -> Result<bool>) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(invalid("its metadata are nested too deep"));
        }
        let mut id = 0_i64;
        loop {
            let head = self.byte()?;
            if head == 0 {
                self.depth -= 1;
                return Ok(());
            }
            id = if head >> 4 == 0 { self.integer()? } else { id.wrapping_add(i64::from(head >> 4)) };
            let ty = head & 15;
            if !visit(self, id, ty)? {
                self.skip(ty)?;
            }
        }
    }

    /// The type and number of a list's elements; no more than there are bytes for.
    pub(super) fn list(&mut self) -> Result<(u8, usize)> {
        let head = self.byte()?;
        let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
        Ok((head & 15, self.fitting(count)?))
    }

    fn fitting(&self, count: u64) -> Result<usize> {
        let left = self.bytes.len() - self.at;
        usize::try_from(count).ok().filter(|count| *count <= left).ok_or_else(incomplete)
    }

    fn skip(&mut self, ty: u8) -> Result<()> {
        match ty {
            // True and false are in the type.
            1 | 2 => Ok(()),
            3 => self.byte().map(|_| ()),
            4..=6 => self.varint().map(|_| ()),
            7 => self.pass(8),
            8 => {
                let length = self.varint()?;
                let length = self.fitting(length)?;
                self.pass(length)
            }
            LIST | 10 => {
                let (element, count) = self.list()?;
                (0..count).try_for_each(|_| self.skip_element(element))
            }
            11 => self.skip_map(),
            STRUCT => self.fields(|_, _, _| Ok(false)),
            13 => self.pass(16),
            _ => Err(invalid("its metadata have a value of an unknown kind")),
        }
    }

    /// Elements of lists have their truth values in a byte each.
    fn skip_element(&mut self, ty: u8) -> Result<()> {
        if ty == 1 || ty == 2 { self.pass(1) } else { self.nested(|thrift| thrift.skip(ty)) }
    }

    fn skip_map(&mut self) -> Result<()> {
        let count = self.varint()?;
        let count = self.fitting(count)?;
        if count == 0 {
            return Ok(());
        }
        let types = self.byte()?;
        (0..count).try_for_each(|_| {
            self.skip_element(types >> 4)?;
            self.skip_element(types & 15)
        })
    }

    fn nested(&mut self, step: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(invalid("its metadata are nested too deep"));
        }
        step(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn pass(&mut self, bytes: usize) -> Result<()> {
        self.at = self.at.checked_add(bytes).filter(|at| *at <= self.bytes.len()).ok_or_else(incomplete)?;
        Ok(())
    }
}
