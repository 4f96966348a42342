//! Messages that come apart from each other, as an RPC carries them, put into the frames of a stream.

use arrow::ipc::root_as_message;

use crate::error::{FormatError, Result};
use crate::format::Format;

/// What stands before each message of a stream.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// The end of a stream.
pub const STREAM_END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// One message, the flatbuffer and its body, as an IPC stream has it.
///
/// Errors: `invalid_arrow` when the flatbuffer is none, or the body is longer or shorter than it says: a reader of
/// streams would take the difference for other messages. All else is for that reader to judge.
pub fn framed(header: &[u8], body: &[u8]) -> Result<Vec<u8>> {
    let invalid = |why: &str| FormatError::binary(Format::ArrowStream, why);
    let message = root_as_message(header).map_err(|_| invalid("the header of a message is damaged"))?;
    if usize::try_from(message.bodyLength()) != Ok(body.len()) {
        return Err(invalid("the body of a message is longer or shorter than its header says"));
    }
    let length = header.len().next_multiple_of(8);
    let declared = i32::try_from(length).map_err(|_| invalid("the header of a message is too long"))?;
    let mut bytes = Vec::with_capacity(8 + length + body.len());
    bytes.extend_from_slice(&CONTINUATION);
    bytes.extend_from_slice(&declared.to_le_bytes());
    bytes.extend_from_slice(header);
    bytes.resize(8 + length, 0);
    bytes.extend_from_slice(body);
    Ok(bytes)
}
