//! Gzip bodies (RFC 1952), unpacked piece by piece.

use flate2::{Crc, Decompress, FlushDecompress, Status};

use crate::error::{FormatError, Result};

/// Output of one step; what [`Gunzip`] hands to its sink at most at once.
const STEP: usize = 64 << 10;

const FLAG_HEADER_CRC: u8 = 0x02;
const FLAG_EXTRA: u8 = 0x04;
const FLAG_NAME: u8 = 0x08;
const FLAG_COMMENT: u8 = 0x10;
const FLAG_RESERVED: u8 = 0xe0;

/// Unpacks gzip, also of several members one after the other, as they arrive.
///
/// Memory does not depend on the input: pieces of at most 64 KiB go to the sink as they come. Output
/// beyond `max_output` stops with `body_too_large`, so that a small body cannot unpack to a huge one.
/// A wrong check sum, a stream that ends early and anything after the last member are refused.
pub struct Gunzip {
    part: Part,
    inflate: Decompress,
    /// Of the header so far.
    header: Crc,
    crc: Crc,
    output: u64,
    max_output: u64,
    buffer: Vec<u8>,
}

/// Where in the stream it stands.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// The ten fixed bytes of a header; how many were seen, and the flags once known.
    Fixed {
        seen: u8,
        flags: u8,
    },
    /// The length of the extra field.
    ExtraLength {
        seen: u8,
        length: u16,
        flags: u8,
    },
    /// The extra field, the file name or the comment: bytes to pass over.
    Extra {
        left: u16,
        flags: u8,
    },
    Name {
        flags: u8,
    },
    Comment {
        flags: u8,
    },
    /// The lower half of the header's check sum, little-endian.
    HeaderCrc {
        first: Option<u8>,
    },
    /// Compressed data.
    Data,
    /// Check sum and length, little-endian.
    Trailer {
        seen: u8,
        value: u64,
    },
    /// After a whole member: the end, or another member.
    Between,
}

impl Gunzip {
    /// An unpacker that refuses to write more than `max_output` bytes.
    pub fn new(max_output: u64) -> Self {
        Self {
            part: Part::Fixed { seen: 0, flags: 0 },
            inflate: Decompress::new(false),
            header: Crc::new(),
            crc: Crc::new(),
            output: 0,
            max_output,
            buffer: vec![0; STEP],
        }
    }

    /// Unpacks a piece; an error of the sink ends it and is answered.
    pub fn feed(&mut self, mut bytes: &[u8], sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        while let Some((first, rest)) = bytes.split_first() {
            if matches!(self.part, Part::Data) {
                let used = self.data(bytes, sink)?;
                bytes = &bytes[used..];
            } else {
                self.part = self.frame(*first)?;
                bytes = rest;
            }
        }
        Ok(())
    }

    /// Ends the stream. Errors: `truncated_body`.
    pub fn finish(self) -> Result<()> {
        match self.part {
            Part::Between => Ok(()),
            _ => Err(FormatError::truncated("the end of the gzip stream")),
        }
    }

    /// Unpacks some of the compressed data; answers how many bytes it took.
    fn data(&mut self, bytes: &[u8], sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<usize> {
        let mut used = 0;
        loop {
            let (taken, made) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(&bytes[used..], &mut self.buffer, FlushDecompress::None);
            let status = status.map_err(|_| FormatError::Gzip("the compressed data are damaged"))?;
            let taken = length(self.inflate.total_in() - taken);
            let output = &self.buffer[..length(self.inflate.total_out() - made)];
            used += taken;
            self.output += output.len() as u64;
            if self.output > self.max_output {
                return Err(FormatError::BodyTooLarge { limit: self.max_output });
            }
            self.crc.update(output);
            let full = output.len() == STEP;
            if !output.is_empty() {
                sink(output)?;
            }
            if status == Status::StreamEnd {
                self.part = Part::Trailer { seen: 0, value: 0 };
                return Ok(used);
            }
            if !full && (used == bytes.len() || taken == 0) {
                // All was taken: what the decoder still holds needs more input.
                return if used == bytes.len() {
                    Ok(used)
                } else {
                    Err(FormatError::Gzip("the compressed data are damaged"))
                };
            }
        }
    }

    /// Takes one byte of a header or trailer.
    fn frame(&mut self, byte: u8) -> Result<Part> {
        match self.part {
            Part::HeaderCrc { .. } | Part::Trailer { .. } => {}
            _ => self.header.update(&[byte]),
        }
        Ok(match self.part {
            Part::Fixed { seen, flags } => fixed(seen, flags, byte)?,
            Part::ExtraLength { seen: 0, flags, .. } => Part::ExtraLength { seen: 1, length: u16::from(byte), flags },
            Part::ExtraLength { length, flags, .. } => match length | u16::from(byte) << 8 {
                0 => after_extra(flags),
                left => Part::Extra { left, flags },
            },
            Part::Extra { left: 1, flags } => after_extra(flags),
            Part::Extra { left, flags } => Part::Extra { left: left - 1, flags },
            Part::Name { flags } if byte == 0 => after_name(flags),
            Part::Comment { flags } if byte == 0 => after_comment(flags),
            Part::HeaderCrc { first: None } => Part::HeaderCrc { first: Some(byte) },
            Part::HeaderCrc { first: Some(first) } => {
                if self.header.sum() & 0xffff != u32::from(u16::from_le_bytes([first, byte])) {
                    return Err(FormatError::Gzip("the check sum of its header is wrong"));
                }
                Part::Data
            }
            Part::Trailer { seen, value } => self.trailer(seen, value | u64::from(byte) << (8 * seen))?,
            Part::Between if byte == 0x1f => fixed(0, 0, byte)?,
            Part::Between => return Err(FormatError::Gzip("something else follows the compressed data")),
            same @ (Part::Name { .. } | Part::Comment { .. } | Part::Data) => same,
        })
    }

    fn trailer(&mut self, seen: u8, value: u64) -> Result<Part> {
        if seen < 7 {
            return Ok(Part::Trailer { seen: seen + 1, value });
        }
        if value != u64::from(self.crc.sum()) | u64::from(self.crc.amount()) << 32 {
            return Err(FormatError::Gzip("its check sum or length is wrong"));
        }
        self.crc.reset();
        self.header.reset();
        self.inflate.reset(false);
        Ok(Part::Between)
    }
}

/// At most a piece or a step, so it always fits.
fn length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn fixed(seen: u8, flags: u8, byte: u8) -> Result<Part> {
    let flags = if seen == 3 { byte } else { flags };
    let wrong = match seen {
        0 => byte != 0x1f,
        1 => byte != 0x8b,
        2 => byte != 8,
        3 => byte & FLAG_RESERVED != 0,
        _ => false,
    };
    if wrong {
        return Err(FormatError::Gzip("it does not start with a gzip header"));
    }
    Ok(match seen {
        9 if flags & FLAG_EXTRA != 0 => Part::ExtraLength { seen: 0, length: 0, flags },
        9 => after_extra(flags),
        _ => Part::Fixed { seen: seen + 1, flags },
    })
}

fn after_extra(flags: u8) -> Part {
    if flags & FLAG_NAME != 0 { Part::Name { flags } } else { after_name(flags) }
}

fn after_name(flags: u8) -> Part {
    if flags & FLAG_COMMENT != 0 { Part::Comment { flags } } else { after_comment(flags) }
}

fn after_comment(flags: u8) -> Part {
    if flags & FLAG_HEADER_CRC != 0 { Part::HeaderCrc { first: None } } else { Part::Data }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, GzBuilder};

    use super::*;

    fn pack(text: &[u8]) -> Vec<u8> {
        let builder = GzBuilder::new().filename("rows.json").comment("c").extra(vec![1, 2, 3]);
        let mut encoder = builder.write(Vec::new(), Compression::fast());
        encoder.write_all(text).expect("memory");
        encoder.finish().expect("memory")
    }

    fn unpack(packed: &[u8], piece: usize, max: u64) -> Result<Vec<u8>> {
        let mut gunzip = Gunzip::new(max);
        let mut out = Vec::new();
        for bytes in packed.chunks(piece) {
            gunzip.feed(bytes, &mut |part| {
                out.extend_from_slice(part);
                Ok(())
            })?;
        }
        gunzip.finish().map(|()| out)
    }

    #[test]
    fn members_are_unpacked_however_they_are_split() {
        let packed = [pack(b"{\"a\":1}\n"), pack(b""), pack(b"{\"a\":2}\n")].concat();
        for piece in 1..=packed.len() {
            assert_eq!(unpack(&packed, piece, 100).as_deref(), Ok(&b"{\"a\":1}\n{\"a\":2}\n"[..]), "{piece}");
        }
        let long: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        assert_eq!(unpack(&pack(&long), 10_007, 2_000_000), Ok(long));
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bomb = pack(&vec![b' '; 10 << 20]);
        assert!(bomb.len() < 1 << 20);
        let mut seen = 0;
        let error = Gunzip::new(1 << 20).feed(&bomb, &mut |part| {
            seen += part.len();
            Ok(())
        });
        assert_eq!(error, Err(FormatError::BodyTooLarge { limit: 1 << 20 }));
        assert!(seen <= 1 << 20);
    }

    #[test]
    fn a_header_is_held_to_its_check_sum() {
        let mut encoder = GzBuilder::new().write(Vec::new(), Compression::fast());
        encoder.write_all(b"text").expect("memory");
        let plain = encoder.finish().expect("memory");
        let mut header = plain[..10].to_vec();
        header[3] = FLAG_HEADER_CRC;
        let mut crc = Crc::new();
        crc.update(&header);
        let with_sum = |sum: u32| [&header[..], &sum.to_le_bytes()[..2], &plain[10..]].concat();
        let two = [with_sum(crc.sum()), with_sum(crc.sum())].concat();
        for piece in 1..=two.len() {
            assert_eq!(unpack(&two, piece, 100).as_deref(), Ok(&b"texttext"[..]), "{piece}");
        }
        assert_eq!(unpack(&with_sum(crc.sum() ^ 1), 3, 100).expect_err("damaged").code(), "invalid_gzip");
    }

    #[test]
    fn damaged_streams_are_refused() {
        let packed = pack(b"some text that is packed");
        for cut in 0..packed.len() {
            assert_eq!(unpack(&packed[..cut], 1_000, 100).expect_err("cut").code(), "truncated_body", "{cut}");
        }
        let trailing = [&packed[..], b"x"].concat();
        let mut damaged = packed.clone();
        let crc = damaged.len() - 8;
        damaged[crc] ^= 1;
        for bad in [&trailing[..], &damaged, b"not gzip", b"\x1f\x8b\x07"] {
            assert_eq!(unpack(bad, 3, 100).expect_err("damaged").code(), "invalid_gzip");
        }
    }
}
