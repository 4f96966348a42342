//! Pages of texts in the delta encodings, judged before they are decoded.
//!
//! The decoder reserves as many lengths as a page declares inside its compressed part, and texts that begin like the one
//! before are written out: a page of some bytes can make gigabytes. So each such page is unpacked (its header, and with it
//! its size, has been judged) and its lengths are walked, in the way of the decoder, and nothing of it is kept.

use std::fs::File;
use std::sync::Arc;

use parquet::basic::Encoding;
use parquet::column::page::{Page, PageReader as _};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::serialized_reader::SerializedPageReader;

use super::invalid;
use crate::error::{FormatError, Result};
use crate::format::Format;
use crate::guard::guard;

/// What the values of a page, or of a column chunk, are when they are written out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Made {
    /// Values of the page that has most.
    pub(super) values: u64,
    /// Bytes of all of them.
    pub(super) bytes: u64,
    /// Bytes of the largest.
    pub(super) widest: u64,
}

impl Made {
    fn and(self, other: Self) -> Self {
        Self {
            values: self.values.max(other.values),
            bytes: self.bytes + other.bytes,
            widest: self.widest.max(other.widest),
        }
    }
}

/// Judges the pages of a chunk whose headers have been judged.
pub(super) fn check(file: &File, column: &ColumnChunkMetaData, rows: u64) -> Result<Made> {
    let file = file.try_clone().map_err(|_| FormatError::truncated("the body"))?;
    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
    guard(Format::Parquet, || {
        let mut pages = SerializedPageReader::new(Arc::new(file), column, rows, None).map_err(invalid)?;
        let mut made = Made::default();
        while let Some(page) = pages.get_next_page().map_err(invalid)? {
            if let Some(one) = of_page(&page, column)? {
                made = made.and(one);
            }
        }
        Ok(made)
    })
}

fn of_page(page: &Page, column: &ColumnChunkMetaData) -> Result<Option<Made>> {
    let values = match page {
        Page::DictionaryPage { .. } => return Ok(None),
        Page::DataPage { buf, def_level_encoding, rep_level_encoding, num_values, .. } => {
            let descr = column.column_descr();
            let mut rest: &[u8] = buf;
            for (most, encoding) in
                [(descr.max_rep_level(), rep_level_encoding), (descr.max_def_level(), def_level_encoding)]
            {
                if most > 0 {
                    rest = after_levels(rest, most, *encoding, *num_values)?;
                }
            }
            rest
        }
        Page::DataPageV2 { buf, def_levels_byte_len, rep_levels_byte_len, .. } => {
            let levels = u64::from(*def_levels_byte_len) + u64::from(*rep_levels_byte_len);
            usize::try_from(levels).ok().and_then(|levels| buf.get(levels..)).ok_or_else(short)?
        }
    };
    let most = u64::from(page.num_values());
    match page.encoding() {
        Encoding::DELTA_LENGTH_BYTE_ARRAY => lengths(values, most).map(Some),
        Encoding::DELTA_BYTE_ARRAY => prefixes(values, most).map(Some),
        _ => Ok(None),
    }
}

/// What follows the levels of a page of the first version.
fn after_levels(bytes: &[u8], most: i16, encoding: Encoding, values: u32) -> Result<&[u8]> {
    #[expect(deprecated, reason = "old writers pack levels so")]
    const PACKED: Encoding = Encoding::BIT_PACKED;
    let length = match encoding {
        Encoding::RLE => {
            let (length, _) = bytes.split_first_chunk().ok_or_else(short)?;
            4 + u64::from(u32::from_le_bytes(*length))
        }
        PACKED => (u64::from(values) * u64::from(u16::BITS - most.unsigned_abs().leading_zeros())).div_ceil(8),
        _ => return Err(invalid("the levels of a page have another encoding than any writer uses")),
    };
    usize::try_from(length).ok().and_then(|length| bytes.get(length..)).ok_or_else(short)
}

/// Lengths, then all texts.
fn lengths(bytes: &[u8], most: u64) -> Result<Made> {
    let mut lengths = Deltas::open(bytes, most)?;
    let mut made = Made { values: lengths.left, ..Made::default() };
    while let Some(length) = lengths.next()? {
        made.bytes += length;
        made.widest = made.widest.max(length);
    }
    let texts = bytes.len().saturating_sub(lengths.end()) as u64;
    if made.bytes <= texts { Ok(made) } else { Err(short()) }
}

/// How many bytes of the text before each text begins with, then how many follow, then those.
fn prefixes(bytes: &[u8], most: u64) -> Result<Made> {
    let mut prefixes = Deltas::open(bytes, most)?;
    let values = prefixes.left;
    while prefixes.next()?.is_some() {}
    let rest = bytes.get(prefixes.end()..).ok_or_else(short)?;
    let (mut prefixes, mut suffixes) = (Deltas::open(bytes, most)?, Deltas::open(rest, most)?);
    if suffixes.left != values {
        return Err(invalid("a page has texts without an end"));
    }
    let mut made = Made { values, ..Made::default() };
    let (mut last, mut written) = (0, 0);
    while let (Some(prefix), Some(suffix)) = (prefixes.next()?, suffixes.next()?) {
        if prefix > last {
            return Err(invalid("a text begins with more of the one before than there is"));
        }
        last = prefix + suffix;
        written += suffix;
        made.bytes = made.bytes.saturating_add(last);
        made.widest = made.widest.max(last);
    }
    let texts = rest.len().saturating_sub(suffixes.end()) as u64;
    if written <= texts { Ok(made) } else { Err(short()) }
}

fn short() -> FormatError {
    invalid("a page of texts ends too early")
}

/// Lengths in the encoding DELTA_BINARY_PACKED, read as `parquet` reads 32-bit integers.
struct Deltas<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the last block that was begun ends.
    block_end: usize,
    left: u64,
    first: Option<i32>,
    last: i32,
    min_delta: i32,
    widths: &'a [u8],
    /// Values of a miniblock.
    values: u64,
    miniblocks: usize,
    /// Values left in the miniblock that begins at bit 8 × `at`, and the bits of it that are read.
    in_miniblock: u64,
    bits: usize,
}

impl<'a> Deltas<'a> {
    fn open(bytes: &'a [u8], most: u64) -> Result<Self> {
        let mut deltas = Self {
            bytes,
            at: 0,
            block_end: 0,
            left: 0,
            first: None,
            last: 0,
            min_delta: 0,
            widths: &[],
            values: 0,
            miniblocks: 0,
            in_miniblock: 0,
            bits: 0,
        };
        let (block, miniblocks) = (deltas.number()?, deltas.number()?);
        deltas.left = deltas.number()?;
        deltas.first = Some(deltas.signed()?);
        let odd = miniblocks == 0 || block % 128 != 0 || block % miniblocks != 0 || (block / miniblocks) % 32 != 0;
        if odd || block == 0 || block > u64::from(u32::MAX) {
            return Err(invalid("a page of texts has blocks of a size that no writer uses"));
        }
        if deltas.left > most {
            return Err(invalid("a page declares more texts inside than outside"));
        }
        deltas.values = block / miniblocks;
        deltas.miniblocks = usize::try_from(miniblocks).map_err(|_| short())?;
        Ok(deltas)
    }

    /// Where the bytes end that have been read, with the padding of the last block.
    fn end(&self) -> usize {
        self.at.max(self.block_end)
    }

    /// The next length; one below zero is an error.
    fn next(&mut self) -> Result<Option<u64>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.last = match self.first.take() {
            Some(first) => first,
            None => self.last.wrapping_add(self.delta()?),
        };
        self.left -= 1;
        u64::try_from(self.last).map(Some).map_err(|_| invalid("a text has a length below zero"))
    }

    fn delta(&mut self) -> Result<i32> {
        if self.in_miniblock == 0 {
            self.miniblock()?;
        }
        self.in_miniblock -= 1;
        let width = usize::from(self.widths.first().copied().unwrap_or(0));
        let (byte, shift) = (self.at + self.bits / 8, self.bits % 8);
        self.bits += width;
        let mut window = [0; 8];
        let rest = self.bytes.get(byte..).unwrap_or_default();
        let taken = rest.len().min(8);
        if (shift + width).div_ceil(8) > taken {
            return Err(short());
        }
        window.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        let value = (u64::from_le_bytes(window) >> shift) & ((1_u64 << width) - 1);
        // Of 32 bits at most: the decoder wraps, and so does this.
        Ok(self.min_delta.wrapping_add((value as u32).cast_signed()))
    }

    fn miniblock(&mut self) -> Result<()> {
        self.at += self.bits / 8;
        self.bits = 0;
        match self.widths.split_first() {
            Some((_, next)) if !next.is_empty() => self.widths = next,
            _ => self.block()?,
        }
        if self.widths.first().is_some_and(|width| *width > 32) {
            return Err(invalid("a page of texts has a length of more than 32 bits"));
        }
        self.in_miniblock = self.values;
        Ok(())
    }

    fn block(&mut self) -> Result<()> {
        self.min_delta = self.signed()?;
        let widths = self.at..self.at.saturating_add(self.miniblocks);
        self.at = widths.end;
        self.widths = self.bytes.get(widths).ok_or_else(short)?;
        let mut remaining = self.left;
        let mut end = self.at as u64;
        for width in self.widths {
            // Those that follow the last value are not there.
            if remaining > 0 {
                end += u64::from(*width) * self.values / 8;
            }
            remaining = remaining.saturating_sub(self.values);
        }
        self.block_end = usize::try_from(end).map_err(|_| short())?;
        Ok(())
    }

    /// A ULEB128 number.
    fn number(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or_else(short)?;
            self.at += 1;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(invalid("a number of a page has no end"))
    }

    /// A zigzag number of 32 bits.
    fn signed(&mut self) -> Result<i32> {
        let number = self.number()?;
        let signed = (number >> 1).cast_signed() ^ -((number & 1).cast_signed());
        i32::try_from(signed).map_err(|_| invalid("a page of texts has a length of more than 32 bits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` lengths, all of them `first`, in blocks of 128.
    fn same(count: u64, first: u8) -> Vec<u8> {
        let mut bytes = vec![0x80, 0x01, 4];
        let mut left = count;
        while left >= 0x80 {
            bytes.push((left & 0x7f) as u8 | 0x80);
            left >>= 7;
        }
        bytes.extend([left as u8, first * 2]);
        let blocks = count.saturating_sub(1).div_ceil(128);
        bytes.extend((0..blocks).flat_map(|_| [0; 5]));
        bytes
    }

    #[test]
    fn lengths_are_added_up_and_compared_with_what_is_there() {
        let page = [same(300, 2), vec![b'a'; 600]].concat();
        assert_eq!(lengths(&page, 300).expect("fits"), Made { values: 300, bytes: 600, widest: 2 });
        assert!(lengths(&page[..page.len() - 1], 300).is_err(), "a byte is missing");
        assert!(lengths(&page, 299).is_err(), "more than the header of the page says");
        assert!(lengths(&[0x80, 0x01, 4, 1, 1], 1).is_err(), "below zero");
    }

    #[test]
    fn a_text_cannot_begin_with_more_than_there_is() {
        let page = |prefix: u8| [same(2, 0), vec![0x80, 0x01, 4, 2, 4], vec![3, 0, 0, 0, 0], vec![prefix; 2]].concat();
        assert_eq!(prefixes(&page(b'a'), 2).expect("fits"), Made { values: 2, bytes: 2, widest: 2 });
        let page = [same(2, 1), same(2, 1), vec![b'a'; 2]].concat();
        assert!(prefixes(&page, 2).is_err(), "the first text has none before it");
        let page = [same(2, 0), same(3, 1), vec![b'a'; 3]].concat();
        assert!(prefixes(&page, 3).is_err(), "as many of one as of the other");
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut bytes = same(1_000, 3);
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                bytes[at] ^= flip;
                let _ = (lengths(&bytes, 1_000), prefixes(&bytes, 1_000));
                bytes[at] ^= flip;
            }
        }
    }
}
