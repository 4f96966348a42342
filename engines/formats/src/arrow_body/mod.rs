//! Arrow IPC bodies, stream and file, read as they arrive.
//!
//! A file is a stream between two magic words, with a footer that repeats where its batches are: it
//! is read front to back, and the footer must agree with what came before it.

mod check;
mod framed;
mod frames;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::ipc::reader::{read_dictionary, read_record_batch};
use arrow::ipc::{self, MessageHeader};

use crate::body::BodyLimits;
use crate::conform::{Conform, check_decodable};
use crate::error::{FormatError, Result};
use crate::format::Format;
use crate::guard::guard;
use frames::{Frame, Frames};

pub use framed::{STREAM_END, framed};

/// Bytes of one message's body as sent, and again once it is decompressed.
const MAX_BODY: usize = 32 << 20;

/// Bytes of all dictionaries of a body together.
const MAX_DICTIONARIES: usize = 64 << 20;

const SMALLER: &str = "write fewer rows per batch (pyarrow: write_table(table, max_chunksize=50_000))";

/// Reads the rows of an Arrow body. Memory: one message, its decoded form and one slice of it.
pub(crate) struct ArrowRows {
    frames: Frames,
    decoder: Decoder,
    target: SchemaRef,
    limits: BodyLimits,
    conform: Option<Conform>,
}

impl ArrowRows {
    pub(crate) fn new(format: Format, target: SchemaRef, limits: BodyLimits) -> Self {
        Self { frames: Frames::new(format), decoder: Decoder::new(format), target, limits, conform: None }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.frames.feed(bytes);
    }

    /// The next slice that can be made of what was fed.
    pub(crate) fn next(&mut self) -> Result<Option<arrow::array::RecordBatch>> {
        loop {
            if let Some(conform) = &mut self.conform
                && let Some(slice) = conform.next()?
            {
                return Ok(Some(slice));
            }
            let Some(frame) = self.frames.next()? else { return Ok(None) };
            let (format, row) = (self.decoder.format, self.rows() + 1);
            let decoded = guard(format, || self.decoder.decode(frame)).map_err(|error| error.at(row, 0))?;
            match (decoded, &mut self.conform) {
                (Decoded::Schema(schema), _) => {
                    self.conform = Some(Conform::new(&schema, Arc::clone(&self.target), self.limits)?);
                }
                (Decoded::Batch(batch), Some(conform)) => conform.push(batch)?,
                (Decoded::Batch(_), None) | (Decoded::Nothing, _) => {}
            }
        }
    }

    /// See [`BodyReader::ready`](crate::BodyReader::ready).
    pub(crate) fn ready(&mut self) -> Result<Option<usize>> {
        self.frames.ready()
    }

    /// Judges the end of the body; call when [`Self::next`] has no more.
    pub(crate) fn end(&self) -> Result<()> {
        self.frames.end()?;
        if self.rows() == 0 { Err(FormatError::Empty) } else { Ok(()) }
    }

    pub(crate) fn rows(&self) -> u64 {
        self.conform.as_ref().map_or(0, Conform::rows)
    }
}

/// Reads the batches of an IPC stream as they are, with the bounds and checks of a body: for values that are no rows of a
/// dataset, unions among them. Memory: one message and its decoded form.
pub struct ArrowBatches {
    frames: Frames,
    decoder: Decoder,
}

impl ArrowBatches {
    /// For an IPC stream.
    pub fn new() -> Self {
        let decoder = Decoder { unions: true, ..Decoder::new(Format::ArrowStream) };
        Self { frames: Frames::new(Format::ArrowStream), decoder }
    }

    /// Takes more of the stream.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.frames.feed(bytes);
    }

    /// The next batch of what was fed.
    pub fn next_batch(&mut self) -> Result<Option<arrow::array::RecordBatch>> {
        while let Some(frame) = self.frames.next()? {
            if let Decoded::Batch(batch) = guard(self.decoder.format, || self.decoder.decode(frame))? {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// Judges the end of the stream; call when there is no other batch.
    pub fn finish(&self) -> Result<()> {
        self.frames.end()
    }
}

impl Default for ArrowBatches {
    fn default() -> Self {
        Self::new()
    }
}

/// Finds the schema at the start of an Arrow body.
pub struct ArrowSchema {
    frames: Frames,
    decoder: Decoder,
}

impl ArrowSchema {
    /// For bodies in `format`. Errors: `unsupported_format` unless it is an Arrow format.
    pub fn new(format: Format) -> Result<Self> {
        match format {
            Format::ArrowStream | Format::ArrowFile => {
                Ok(Self { frames: Frames::new(format), decoder: Decoder::new(format) })
            }
            _ => Err(FormatError::UnsupportedFormat { format }),
        }
    }

    /// Looks at a piece of the body; the schema as soon as it is there.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Option<SchemaRef>> {
        self.frames.feed(bytes);
        let Some(frame) = self.frames.next()? else { return Ok(None) };
        match guard(self.decoder.format, || self.decoder.decode(frame))? {
            Decoded::Schema(schema) => Ok(Some(schema)),
            _ => Ok(None),
        }
    }

    /// The error of a body that ended before its schema.
    pub fn missing(&self) -> FormatError {
        match self.frames.end() {
            Err(error) => error,
            Ok(()) => FormatError::truncated("its schema"),
        }
    }
}

/// What a message held.
enum Decoded {
    Schema(SchemaRef),
    Batch(arrow::array::RecordBatch),
    Nothing,
}

struct Decoder {
    format: Format,
    schema: Option<SchemaRef>,
    dictionaries: HashMap<i64, ArrayRef>,
    /// Whether columns may be unions, which no dataset has.
    unions: bool,
}

impl Decoder {
    fn new(format: Format) -> Self {
        Self { format, schema: None, dictionaries: HashMap::new(), unions: false }
    }

    fn decode(&mut self, Frame { metadata, body }: Frame) -> Result<Decoded> {
        let message = ipc::root_as_message(&metadata).map_err(|error| self.invalid(error))?;
        if message.header_type() == MessageHeader::Schema {
            let schema = message.header_as_schema().ok_or_else(|| self.invalid("a schema message is empty"))?;
            return self.start(schema).map(Decoded::Schema);
        }
        let Some(schema) = self.schema.clone() else {
            return Err(self.invalid("it does not begin with its schema"));
        };
        let (version, length) = (message.version(), body.len());
        let body = Buffer::from_vec(body);
        match message.header_type() {
            MessageHeader::RecordBatch => {
                let batch = message.header_as_record_batch().ok_or_else(|| self.invalid("a batch is empty"))?;
                check::batch(batch, &body, length)?;
                let read = read_record_batch(&body, batch, schema, &self.dictionaries, None, &version);
                read.map(Decoded::Batch).map_err(|error| self.invalid(error))
            }
            MessageHeader::DictionaryBatch => {
                let batch = message.header_as_dictionary_batch();
                let batch = batch.ok_or_else(|| self.invalid("a dictionary is empty"))?;
                if batch.isDelta() {
                    return Err(check::unsupported("delta dictionaries are not read", "write whole dictionaries"));
                }
                let data = batch.data().ok_or_else(|| self.invalid("a dictionary has no values"))?;
                check::batch(data, &body, length)?;
                read_dictionary(&body, batch, &schema, &mut self.dictionaries, &version)
                    .map_err(|error| self.invalid(error))?;
                self.check_dictionaries()?;
                Ok(Decoded::Nothing)
            }
            other => Err(self.invalid(format!("it has a message of the kind {other:?}"))),
        }
    }

    fn start(&mut self, schema: ipc::Schema<'_>) -> Result<SchemaRef> {
        if self.schema.is_some() {
            return Err(self.invalid("it has a second schema"));
        }
        check::schema(schema)?;
        let schema = Arc::new(ipc::convert::fb_to_schema(schema));
        for field in schema.fields() {
            if !(self.unions && matches!(field.data_type(), DataType::Union(..))) {
                check_decodable(self.format, field.name(), field.data_type())?;
            }
            check::widths(field.name(), field.data_type())?;
        }
        self.schema = Some(Arc::clone(&schema));
        Ok(schema)
    }

    fn check_dictionaries(&self) -> Result<()> {
        let bytes: usize = self.dictionaries.values().map(Array::get_buffer_memory_size).sum();
        if bytes > MAX_DICTIONARIES {
            let advice = "send columns of many different values as plain text";
            return Err(FormatError::batch_too_large("dictionaries", MAX_DICTIONARIES, advice));
        }
        Ok(())
    }

    fn invalid(&self, why: impl std::fmt::Display) -> FormatError {
        FormatError::binary(self.format, why)
    }
}

/// Whether a type is, or holds, one whose bytes are given by the type itself.
fn width(ty: &DataType) -> Option<i32> {
    match ty {
        DataType::FixedSizeBinary(width) | DataType::FixedSizeList(_, width) => Some(*width),
        _ => None,
    }
}
