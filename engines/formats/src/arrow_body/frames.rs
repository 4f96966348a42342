//! Cuts an Arrow body into its messages, whatever the pieces in which it arrives.

use arrow::ipc;

use super::check::MAX_DECOMPRESSED;
use super::{MAX_BODY, SMALLER};
use crate::error::{FormatError, Result};
use crate::format::Format;

/// First and last bytes of an IPC file; the first are padded to eight, or as its writer aligns buffers.
const MAGIC: &[u8; 6] = b"ARROW1";

/// Zeros after the first magic word, in words of four bytes, beyond the first eight bytes.
const MAX_PADDING: usize = 14;

/// Stands before the length of a message since version 0.15 of the format.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// Bytes of one message's description: a schema of 2,000 columns takes a tenth.
const MAX_METADATA: usize = 8 << 20;

/// A message: its description, and the buffers that it describes.
pub(super) struct Frame {
    pub(super) metadata: Vec<u8>,
    pub(super) body: Vec<u8>,
}

enum Step {
    /// The eight bytes at the start of a file.
    Magic,
    /// Zeros before a file's first message.
    Padding {
        words: usize,
    },
    /// The length of a description, or the mark before it.
    Prefix {
        marked: bool,
    },
    Metadata {
        length: usize,
    },
    Body {
        metadata: Vec<u8>,
        length: usize,
        /// Bytes that it has without its compression, at most.
        unpacked: usize,
    },
    /// After the end mark.
    Ended,
}

/// The messages of a body. Nothing is allocated for a declared length before its bytes are here.
pub(super) struct Frames {
    format: Format,
    step: Step,
    input: Vec<u8>,
    /// How much of `input` is dealt with.
    used: usize,
    /// Record batches seen, to compare with a file's footer.
    batches: usize,
}

impl Frames {
    pub(super) fn new(format: Format) -> Self {
        let step = if format == Format::ArrowFile { Step::Magic } else { Step::Prefix { marked: false } };
        Self { format, step, input: Vec::new(), used: 0, batches: 0 }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.input.drain(..std::mem::take(&mut self.used));
        self.input.extend_from_slice(bytes);
    }

    /// The next message that is here whole.
    pub(super) fn next(&mut self) -> Result<Option<Frame>> {
        if self.ready()?.is_none() {
            return Ok(None);
        }
        let Step::Body { metadata, length, .. } = &mut self.step else { return Ok(None) };
        let (length, metadata) = (*length, std::mem::take(metadata));
        self.step = Step::Prefix { marked: false };
        Ok(self.take(length).map(|body| Frame { metadata, body }))
    }

    /// The bytes that the next message has without its compression, at most, once it is here whole.
    pub(super) fn ready(&mut self) -> Result<Option<usize>> {
        loop {
            match &mut self.step {
                Step::Magic => {
                    let Some(start) = self.take(8) else { return Ok(None) };
                    if start[..6] != MAGIC[..] {
                        return Err(self.invalid("it does not start with ARROW1"));
                    }
                    self.step = Step::Padding { words: 0 };
                }
                Step::Padding { words } => {
                    let words = *words;
                    let Some(bytes) = self.take_word() else { return Ok(None) };
                    self.step = match bytes {
                        [0, 0, 0, 0] if words < MAX_PADDING => Step::Padding { words: words + 1 },
                        bytes => self.prefix(bytes, false)?,
                    };
                }
                Step::Prefix { marked } => {
                    let marked = *marked;
                    let Some(bytes) = self.take_word() else { return Ok(None) };
                    self.step = self.prefix(bytes, marked)?;
                }
                Step::Metadata { length } => {
                    let length = *length;
                    let Some(metadata) = self.take(length) else { return Ok(None) };
                    self.step = self.described(metadata)?;
                }
                Step::Body { length, unpacked, .. } => {
                    let (length, unpacked) = (*length, *unpacked);
                    return Ok((self.left().len() >= length).then_some(unpacked));
                }
                Step::Ended => return self.trailing().map(|()| None),
            }
        }
    }

    /// Whether the body may end here. A body without its end mark was cut off, even between messages.
    pub(super) fn end(&self) -> Result<()> {
        match self.step {
            Step::Ended if self.format == Format::ArrowFile => self.footer(),
            Step::Ended => Ok(()),
            Step::Magic | Step::Padding { .. } => Err(FormatError::truncated("the start of the Arrow file")),
            Step::Prefix { .. } if self.left().is_empty() => Err(FormatError::truncated("the end mark of the stream")),
            _ => Err(FormatError::truncated("the end of an Arrow message")),
        }
    }

    fn left(&self) -> &[u8] {
        &self.input[self.used..]
    }

    fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        let taken = self.left().get(..length)?.to_vec();
        self.used += length;
        Some(taken)
    }

    fn take_word(&mut self) -> Option<[u8; 4]> {
        let word = *self.left().first_chunk()?;
        self.used += 4;
        Some(word)
    }

    fn prefix(&self, bytes: [u8; 4], marked: bool) -> Result<Step> {
        if !marked && bytes == CONTINUATION {
            return Ok(Step::Prefix { marked: true });
        }
        match usize::try_from(u32::from_le_bytes(bytes)) {
            Ok(0) => Ok(Step::Ended),
            Ok(length) if length <= MAX_METADATA => Ok(Step::Metadata { length }),
            _ if !marked => Err(self.invalid("a message does not start with its length")),
            _ => Err(FormatError::batch_too_large("the description of a message", MAX_METADATA, SMALLER)),
        }
    }

    /// Reads how long the body of a message is.
    fn described(&mut self, metadata: Vec<u8>) -> Result<Step> {
        let message = ipc::root_as_message(&metadata).map_err(|error| self.invalid(error))?;
        self.batches += usize::from(message.header_type() == ipc::MessageHeader::RecordBatch);
        let Ok(length) = usize::try_from(message.bodyLength()) else {
            return Err(self.invalid("a message has a negative length"));
        };
        if length > MAX_BODY {
            return Err(FormatError::batch_too_large("a batch", MAX_BODY, SMALLER));
        }
        let batch = message.header_as_record_batch();
        let batch = batch.or_else(|| message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data()));
        let packed = batch.is_some_and(|batch| batch.compression().is_some());
        let unpacked = if packed { MAX_DECOMPRESSED } else { length };
        Ok(Step::Body { metadata, length, unpacked })
    }

    /// What follows the end mark: nothing, or the footer of a file.
    fn trailing(&self) -> Result<()> {
        if self.format == Format::ArrowStream && !self.left().is_empty() {
            return Err(self.invalid("something follows the end of the stream"));
        }
        if self.left().len() > MAX_METADATA {
            return Err(FormatError::batch_too_large("the footer", MAX_METADATA, SMALLER));
        }
        Ok(())
    }

    /// A file cut off after its last message lacks its footer; one put together wrongly disagrees with it.
    fn footer(&self) -> Result<()> {
        let trailer = self.left();
        let Some(rest) = trailer.strip_suffix(MAGIC) else {
            return Err(FormatError::truncated("the footer of the Arrow file"));
        };
        let Some((rest, length)) = rest.split_last_chunk::<4>() else {
            return Err(self.invalid("its footer has no length"));
        };
        let length = usize::try_from(i32::from_le_bytes(*length)).ok();
        let Some(footer) = length.and_then(|length| rest.get(rest.len().checked_sub(length)?..)) else {
            return Err(self.invalid("its footer has another length than it says"));
        };
        let footer = ipc::root_as_footer(footer).map_err(|error| self.invalid(error))?;
        let listed = footer.recordBatches().map_or(0, |batches| batches.len());
        if listed == self.batches {
            return Ok(());
        }
        Err(self.invalid(format!("its footer lists {listed} batches, and it holds {}", self.batches)))
    }

    fn invalid(&self, why: impl std::fmt::Display) -> FormatError {
        FormatError::binary(self.format, why)
    }
}
