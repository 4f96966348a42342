//! A push's body on its way in: decompressed, counted and, where a key asks for it, hashed as it arrives.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use lakegate_formats::{Format, FormatError};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::error::{IngestError, Result};
use crate::limits::Limits;
use crate::packing::{Packing, Unpack};

/// The decoded bytes of a push, piece by piece.
pub struct Body<'a> {
    stream: BoxStream<'a, Result<Bytes>>,
    unpack: Unpack,
    format: Format,
    /// Of what was decoded; `None` when nobody will ask.
    hash: Option<Sha256>,
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

impl<'a> Body<'a> {
    /// A body in `format` that arrives as `stream`; an error of the stream ends the push with it. The time that it may
    /// take begins now.
    ///
    /// Errors: `body_too_large` when `announced`, its length on the way, is past the limit.
    pub fn new(
        stream: BoxStream<'a, Result<Bytes>>,
        format: Format,
        packing: Packing,
        announced: Option<u64>,
        limits: &Limits,
    ) -> Result<Self> {
        if announced > Some(limits.max_body) {
            return Err(FormatError::BodyTooLarge { limit: limits.max_body }.into());
        }
        let mut hash = Sha256::new();
        // The same bytes in another format are another body.
        hash.update(format.name());
        hash.update([0]);
        Ok(Self {
            stream,
            unpack: Unpack::new(packing, limits.max_body)?,
            format,
            hash: Some(hash),
            decoded: 0,
            max: limits.max_body,
            idle: limits.idle_timeout,
            deadline: Instant::now() + limits.timeout,
            allowed: limits.timeout,
            waiting: Bytes::new(),
            ended: false,
        })
    }

    /// The next decoded bytes; `None` at the end.
    ///
    /// Errors: `body_too_large`, `invalid_gzip`, `invalid_zstd`, `truncated_body`, `push_deadline`, and `body_timeout`
    /// when nothing comes for a while.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.waiting.is_empty() && !self.receive().await? {
                return Ok(None);
            }
            let decoded = self.unpack.unpack(&mut self.waiting)?;
            self.count(&decoded)?;
            if !decoded.is_empty() {
                if let Some(hash) = &mut self.hash {
                    hash.update(&decoded);
                }
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
            Err(_) if Instant::now() >= self.deadline => Err(IngestError::Late(self.allowed)),
            Err(_) => Err(IngestError::Idle(self.idle)),
            Ok(Some(bytes)) => {
                self.waiting = bytes?;
                Ok(true)
            }
            Ok(None) => {
                self.ended = true;
                self.unpack.finish()?;
                Ok(false)
            }
        }
    }

    fn count(&mut self, decoded: &Bytes) -> Result<()> {
        self.decoded += decoded.len() as u64;
        if self.decoded > self.max {
            return Err(FormatError::BodyTooLarge { limit: self.max }.into());
        }
        Ok(())
    }

    /// Decoded bytes so far.
    pub fn decoded(&self) -> u64 {
        self.decoded
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Makes `what` part of the hash; before the body is read.
    pub(crate) fn hash_too(&mut self, what: &[u8]) {
        if let Some(hash) = &mut self.hash {
            hash.update(what);
            hash.update([0]);
        }
    }

    /// Does without the hash: no key will be compared by it.
    pub(crate) fn unhashed(&mut self) {
        self.hash = None;
    }

    /// The hash of the whole body; ask after the end.
    pub(crate) fn hash(&self) -> Option<[u8; 16]> {
        self.hash.clone().map(first_half)
    }
}

/// The first 128 bits of a SHA-256.
pub(crate) fn first_half(hash: Sha256) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash.finalize()[..16]);
    half
}
