//! Unpacks zstd bodies as they arrive.

use zstd::stream::raw::{DParameter, Decoder, Operation as _};
use zstd::zstd_safe::get_frame_content_size;

use crate::error::{FormatError, Result};

/// Bytes unpacked in one go.
const STEP: usize = 64 << 10;

/// Frames may refer back 8 MiB at most, as RFC 9659 has it for HTTP; the decoder keeps that much.
const WINDOW_LOG: u32 = 23;

/// The longest header of a frame (RFC 8878, 3.1.1): magic, descriptor, window, dictionary and size.
const HEADER: usize = 18;

const DAMAGED: FormatError = FormatError::Zstd("the compressed data are damaged, or need a window over 8 MiB");

/// A decoder for `Content-Encoding: zstd`: frames one after the other, skippable ones passed over.
/// Memory is a window and one step, however much a frame claims to hold.
pub struct Unzstd {
    decoder: Decoder<'static>,
    /// Whether a frame has begun and not ended; also before the first one.
    within: bool,
    /// The first bytes of this frame, a header at most.
    header: Vec<u8>,
    /// Bytes that this frame has given.
    frame: u64,
    output: u64,
    max_output: u64,
    buffer: Vec<u8>,
}

impl Unzstd {
    /// An unpacker that refuses to write more than `max_output` bytes.
    pub fn new(max_output: u64) -> Result<Self> {
        let mut decoder = Decoder::new().map_err(|_| DAMAGED)?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG)).map_err(|_| DAMAGED)?;
        let header = Vec::with_capacity(HEADER);
        Ok(Self { decoder, within: true, header, frame: 0, output: 0, max_output, buffer: vec![0; STEP] })
    }

    /// Unpacks a piece; an error of the sink ends it and is answered.
    pub fn feed(&mut self, mut bytes: &[u8], sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        loop {
            let status = self.decoder.run_on_buffers(bytes, &mut self.buffer).map_err(|_| DAMAGED)?;
            let missing = (HEADER - self.header.len()).min(status.bytes_read);
            self.header.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[status.bytes_read..];
            self.frame += status.bytes_written as u64;
            self.output += status.bytes_written as u64;
            if self.output > self.max_output {
                return Err(FormatError::BodyTooLarge { limit: self.max_output });
            }
            if status.bytes_written > 0 {
                sink(&self.buffer[..status.bytes_written])?;
            }
            if status.bytes_read > 0 || status.bytes_written > 0 {
                self.within = status.remaining > 0;
                if !self.within {
                    self.end_frame()?;
                }
            }
            // A full buffer means that there may be more to come without further input.
            if bytes.is_empty() && status.bytes_written < STEP {
                return Ok(());
            }
            if status.bytes_read == 0 && status.bytes_written == 0 {
                return Err(DAMAGED);
            }
        }
    }

    /// Compares what a frame gave with what its header said: the decoder does not when the last block is empty and comes in
    /// pieces.
    fn end_frame(&mut self) -> Result<()> {
        let declared = get_frame_content_size(&self.header).map_err(|_| DAMAGED)?;
        if declared.is_some_and(|declared| declared != self.frame) {
            return Err(DAMAGED);
        }
        self.header.clear();
        self.frame = 0;
        Ok(())
    }

    /// Ends the stream. Errors: `truncated_body`.
    pub fn finish(self) -> Result<()> {
        if self.within { Err(FormatError::truncated("the end of the zstd stream")) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(text: &[u8]) -> Vec<u8> {
        zstd::encode_all(text, 3).expect("memory")
    }

    fn unpack(packed: &[u8], piece: usize, max: u64) -> Result<Vec<u8>> {
        let mut unzstd = Unzstd::new(max)?;
        let mut out = Vec::new();
        for bytes in packed.chunks(piece) {
            unzstd.feed(bytes, &mut |part| {
                out.extend_from_slice(part);
                Ok(())
            })?;
        }
        unzstd.finish().map(|()| out)
    }

    #[test]
    fn frames_are_unpacked_however_they_are_split() {
        let skippable = b"\x50\x2a\x4d\x18\x02\0\0\0ab";
        let packed = [&pack(b"{\"a\":1}\n")[..], skippable, &pack(b""), &pack(b"{\"a\":2}\n")].concat();
        for piece in 1..=packed.len() {
            assert_eq!(unpack(&packed, piece, 100).as_deref(), Ok(&b"{\"a\":1}\n{\"a\":2}\n"[..]), "{piece}");
        }
        let long: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        assert_eq!(unpack(&pack(&long), 10_007, 2_000_000), Ok(long));
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bomb = pack(&vec![b' '; 10 << 20]);
        assert!(bomb.len() < 1 << 16);
        assert_eq!(unpack(&bomb, 4_096, 1 << 20), Err(FormatError::BodyTooLarge { limit: 1 << 20 }));
    }

    #[test]
    fn damaged_streams_are_refused() {
        let packed = pack(b"some text that is packed");
        for cut in 0..packed.len() {
            assert_eq!(unpack(&packed[..cut], 1_000, 100).expect_err("cut").code(), "truncated_body", "{cut}");
        }
        for bad in [&[&packed[..], b"trailing"].concat()[..], b"this is not zstd"] {
            assert_eq!(unpack(bad, 3, 100).expect_err("damaged").code(), "invalid_zstd");
        }
    }

    #[test]
    fn a_frame_holds_as_much_as_it_says() {
        // 10,488 bytes, it says, and then one last block of none.
        let empty = b"\x28\xb5\x2f\xfd\x71\0\xf8\x27\x01\0\0";
        for piece in 1..=empty.len() {
            assert_eq!(unpack(empty, piece, 20_000).expect_err("empty").code(), "invalid_zstd", "{piece}");
        }
    }
}
