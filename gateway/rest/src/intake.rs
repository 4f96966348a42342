//! A push's body on its way in: decompressed, counted and hashed as it arrives.

use std::time::Duration;

use tokio::time::Instant;

use axum::body::{BodyDataStream, Bytes};
use axum::http::{HeaderMap, header};
use futures::StreamExt as _;
use lakegate_catalog::ErrorKind;
use lakegate_formats::{Format, FormatError, Gunzip, Unzstd};
use sha2::{Digest as _, Sha256};

use crate::app::Limits;
use crate::problem::{Problem, Result};

/// Bytes of gzip that are unpacked in one go: it makes at most about a thousand times more of them.
const GZIP_STEP: usize = 4 << 10;

/// Bytes of zstd that are unpacked in one go: four make 128 KiB at worst.
const ZSTD_STEP: usize = 128;

/// Unpacked bytes that are handed on together, unless no more have come.
const PIECE: usize = 64 << 10;

/// How a body is compressed.
enum Packing {
    None,
    Gzip(Box<Gunzip>),
    Zstd(Box<Unzstd>),
}

impl Packing {
    /// What `Content-Encoding` says. Errors: 415 for an encoding that is not done here.
    fn of(headers: &HeaderMap, max: u64) -> Result<Self> {
        let Some(encoding) = headers.get(header::CONTENT_ENCODING) else {
            return Ok(Self::None);
        };
        match encoding.as_bytes().to_ascii_lowercase().as_slice() {
            b"gzip" | b"x-gzip" => Ok(Self::Gzip(Box::new(Gunzip::new(max)))),
            b"zstd" => Ok(Self::Zstd(Box::new(Unzstd::new(max)?))),
            b"identity" => Ok(Self::None),
            _ => Err(Problem::new(
                ErrorKind::Unsupported,
                "unsupported_media_type",
                "Content-Encoding may be gzip, zstd or identity",
            )),
        }
    }

    fn step(&self) -> usize {
        match self {
            Self::None => usize::MAX,
            Self::Gzip(_) => GZIP_STEP,
            Self::Zstd(_) => ZSTD_STEP,
        }
    }

    /// Takes some of what is waiting and unpacks it.
    fn unpack(&mut self, waiting: &mut Bytes) -> Result<Bytes> {
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

    fn finish(&mut self) -> Result<()> {
        match std::mem::replace(self, Self::None) {
            Self::None => Ok(()),
            Self::Gzip(gunzip) => Ok(gunzip.finish()?),
            Self::Zstd(unzstd) => Ok(unzstd.finish()?),
        }
    }
}

/// The decoded bytes of a request body, piece by piece.
pub(crate) struct Intake<'a> {
    stream: &'a mut BodyDataStream,
    packing: Packing,
    format: Format,
    hash: Sha256,
    decoded: u64,
    max: u64,
    idle: Duration,
    /// When the whole body must be here.
    deadline: Instant,
    allowed: Duration,
    /// Received and not yet unpacked.
    waiting: Bytes,
    ended: bool,
}

impl<'a> Intake<'a> {
    /// Reads what the headers say of the body. Errors: 415 for an encoding that is not done here.
    pub(crate) fn new(
        headers: &HeaderMap,
        format: Format,
        stream: &'a mut BodyDataStream,
        limits: &Limits,
    ) -> Result<Self> {
        let packing = Packing::of(headers, limits.max_body)?;
        let announced =
            headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if announced > Some(limits.max_body) {
            return Err(FormatError::BodyTooLarge { limit: limits.max_body }.into());
        }
        let mut hash = Sha256::new();
        // The same bytes in another format are another body.
        hash.update(format.name());
        hash.update([0]);
        Ok(Self {
            stream,
            packing,
            format,
            hash,
            decoded: 0,
            max: limits.max_body,
            idle: limits.idle_timeout,
            deadline: Instant::now() + limits.push_timeout,
            allowed: limits.push_timeout,
            waiting: Bytes::new(),
            ended: false,
        })
    }

    /// The next decoded bytes; `None` at the end.
    ///
    /// Errors: `body_too_large`, `invalid_gzip`, `invalid_zstd`, `truncated_body`, and `body_timeout` when nothing
    /// comes for a while.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.waiting.is_empty() && !self.receive().await? {
                return Ok(None);
            }
            let decoded = self.packing.unpack(&mut self.waiting)?;
            self.count(&decoded)?;
            if !decoded.is_empty() {
                self.hash.update(&decoded);
                return Ok(Some(decoded));
            }
        }
    }

    /// Waits for more of the body; false at its end.
    async fn receive(&mut self) -> Result<bool> {
        if self.ended {
            return Ok(false);
        }
        let until = self.deadline.min(Instant::now() + self.idle);
        match tokio::time::timeout_at(until, self.stream.next()).await {
            Err(_) => Err(self.late()),
            Ok(Some(Ok(bytes))) => {
                self.waiting = bytes;
                Ok(true)
            }
            Ok(Some(Err(_))) => {
                Err(Problem::new(ErrorKind::Invalid, "truncated_body", "the body ended before it was complete"))
            }
            Ok(None) => {
                self.ended = true;
                self.packing.finish()?;
                Ok(false)
            }
        }
    }

    fn late(&self) -> Problem {
        if Instant::now() >= self.deadline {
            let detail = format!("the body took longer than {:?}; send fewer rows at a time", self.allowed);
            return Problem::new(ErrorKind::Deadline, "push_deadline", detail);
        }
        let detail = format!("no bytes came for {:?}; send the body without long pauses", self.idle);
        Problem::new(ErrorKind::Deadline, "body_timeout", detail)
    }

    fn count(&mut self, decoded: &Bytes) -> Result<()> {
        self.decoded += decoded.len() as u64;
        if self.decoded > self.max {
            return Err(FormatError::BodyTooLarge { limit: self.max }.into());
        }
        Ok(())
    }

    /// Decoded bytes so far.
    pub(crate) fn decoded(&self) -> u64 {
        self.decoded
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// The hash of the whole body; ask after the end.
    pub(crate) fn body_hash(self) -> [u8; 16] {
        first_half(self.hash)
    }
}

/// The first 128 bits of a SHA-256.
pub(crate) fn first_half(hash: Sha256) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash.finalize()[..16]);
    half
}

/// Reads on for a moment after a push was refused, so that a client that is still sending gets to read
/// the answer instead of a broken connection.
pub(crate) async fn linger(stream: &mut BodyDataStream) {
    const AT_MOST: usize = 8 << 20;
    const NO_LONGER_THAN: Duration = Duration::from_secs(2);
    let discard = async {
        let mut seen = 0;
        while let Some(Ok(bytes)) = stream.next().await {
            seen += bytes.len();
            if seen > AT_MOST {
                break;
            }
        }
    };
    // Out of time or not, the answer goes out now.
    let _ = tokio::time::timeout(NO_LONGER_THAN, discard).await;
}
