//! How a body is compressed, and how it is unpacked while it arrives.

use bytes::Bytes;
use lakegate_formats::{Gunzip, Unzstd};

use crate::error::Result;

/// Bytes of gzip that are unpacked in one go: it makes at most about a thousand times more of them.
const GZIP_STEP: usize = 4 << 10;

/// Bytes of zstd that are unpacked in one go: four make 128 KiB at worst.
const ZSTD_STEP: usize = 128;

/// Unpacked bytes that are handed on together, unless no more have come.
const PIECE: usize = 64 << 10;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    None,
    /// With gzip.
    Gzip,
    /// With zstd.
    Zstd,
}

/// Unpacks a body.
pub(crate) enum Unpack {
    None,
    Gzip(Box<Gunzip>),
    Zstd(Box<Unzstd>),
}

impl Unpack {
    /// One that refuses to make more than `max` bytes.
    pub(crate) fn new(packing: Packing, max: u64) -> Result<Self> {
        Ok(match packing {
            Packing::None => Self::None,
            Packing::Gzip => Self::Gzip(Box::new(Gunzip::new(max))),
            Packing::Zstd => Self::Zstd(Box::new(Unzstd::new(max)?)),
        })
    }

    fn step(&self) -> usize {
        match self {
            Self::None => usize::MAX,
            Self::Gzip(_) => GZIP_STEP,
            Self::Zstd(_) => ZSTD_STEP,
        }
    }

    /// Takes some of what is waiting and unpacks it.
    pub(crate) fn unpack(&mut self, waiting: &mut Bytes) -> Result<Bytes> {
        let mut unpacked = Vec::new();
        while unpacked.len() < PIECE && !waiting.is_empty() {
            let piece = waiting.split_to(waiting.len().min(self.step()));
            if matches!(self, Self::None) {
                return Ok(piece);
            }
            self.unpack_step(&piece, &mut unpacked)?;
        }
        Ok(unpacked.into())
    }

    fn unpack_step(&mut self, piece: &[u8], unpacked: &mut Vec<u8>) -> Result<()> {
        let mut keep = |bytes: &[u8]| {
            unpacked.extend_from_slice(bytes);
            Ok(())
        };
        match self {
            Self::None => Ok(()),
            Self::Gzip(gunzip) => Ok(gunzip.feed(piece, &mut keep)?),
            Self::Zstd(unzstd) => Ok(unzstd.feed(piece, &mut keep)?),
        }
    }

    /// The end of the body.
    pub(crate) fn finish(&mut self) -> Result<()> {
        match std::mem::replace(self, Self::None) {
            Self::None => Ok(()),
            Self::Gzip(gunzip) => Ok(gunzip.finish()?),
            Self::Zstd(unzstd) => Ok(unzstd.finish()?),
        }
    }
}
