//! What a message declares, judged before anything is allocated for it.

use arrow::buffer::Buffer;
use arrow::datatypes::DataType;
use arrow::ipc;
use lakegate_catalog::ColumnType;

use super::{MAX_BODY, SMALLER, width};
use crate::error::{FormatError, Result};
use crate::format::Format;
use crate::infer::MAX_FIELDS;

/// Bytes of a batch once decompressed.
pub(super) const MAX_DECOMPRESSED: usize = 64 << 20;

fn invalid(why: &str) -> FormatError {
    FormatError::binary(Format::ArrowStream, why)
}

pub(super) fn unsupported(what: &str, advice: &'static str) -> FormatError {
    FormatError::UnsupportedBody { format: Format::ArrowStream, what: what.to_owned(), advice }
}

/// Bounds how many fields a schema has and how deep they lie. (The verifier of the bytes bounds the
/// recursion here.)
pub(super) fn schema(schema: ipc::Schema<'_>) -> Result<()> {
    if schema.endianness() != ipc::Endianness::Little {
        return Err(unsupported("big-endian values are not read", "write little-endian ones"));
    }
    let mut left = MAX_FIELDS;
    for field in schema.fields().iter().flatten() {
        self::field(field, 1, &mut left)?;
    }
    Ok(())
}

fn field(field: ipc::Field<'_>, depth: usize, left: &mut usize) -> Result<()> {
    // A map's entries are a level that the type does not count.
    if depth > 2 * ColumnType::MAX_DEPTH {
        return Err(FormatError::too_deep(ColumnType::MAX_DEPTH));
    }
    *left = left.checked_sub(1).ok_or_else(FormatError::too_many_fields)?;
    field.children().iter().flatten().try_for_each(|child| self::field(child, depth + 1, left))
}

/// A type may say its own width: none below zero, and no row larger than a message.
pub(super) fn widths(column: &str, ty: &DataType) -> Result<()> {
    if width(ty).is_some_and(|width| usize::try_from(width).is_ok_and(|width| width > MAX_BODY) || width < 0) {
        return Err(invalid(&format!("column `{}` has values of an impossible width", crate::error::clip(column))));
    }
    match ty {
        DataType::Dictionary(_, values) => widths(column, values),
        DataType::RunEndEncoded(_, item)
        | DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => widths(column, item.data_type()),
        DataType::Struct(fields) => fields.iter().try_for_each(|field| widths(column, field.data_type())),
        _ => Ok(()),
    }
}

/// Checks the lengths in a batch against the bytes that are here.
pub(super) fn batch(batch: ipc::RecordBatch<'_>, body: &Buffer, length: usize) -> Result<()> {
    check_rows(batch.length())?;
    for node in batch.nodes().iter().flatten() {
        check_rows(node.length())?;
        if node.null_count() < 0 || node.null_count() > node.length() {
            return Err(invalid("a column has more nulls than rows"));
        }
    }
    let buffers = batch.buffers();
    let buffer_count = buffers.map_or(0, |buffers| buffers.len()) as i64;
    if batch.variadicBufferCounts().iter().flatten().any(|count| count < 0 || count > buffer_count) {
        return Err(invalid("a column of views has an impossible number of buffers"));
    }
    let codec = batch.compression();
    let mut total = 0_usize;
    for buffer in buffers.iter().flatten() {
        let bytes = range(buffer, length).ok_or_else(|| invalid("a buffer lies outside its message"))?;
        let bytes = &body.as_slice()[bytes];
        total = total.saturating_add(match &codec {
            Some(codec) if !bytes.is_empty() => decompressed(codec, bytes)?,
            _ => bytes.len(),
        });
        if total > MAX_DECOMPRESSED {
            return Err(FormatError::batch_too_large("a decompressed batch", MAX_DECOMPRESSED, SMALLER));
        }
    }
    Ok(())
}

fn check_rows(rows: i64) -> Result<()> {
    if i32::try_from(rows).is_ok_and(|rows| rows >= 0) {
        return Ok(());
    }
    Err(invalid("a batch has an impossible number of rows"))
}

fn range(buffer: &ipc::Buffer, length: usize) -> Option<std::ops::Range<usize>> {
    let from = usize::try_from(buffer.offset()).ok()?;
    let to = from.checked_add(usize::try_from(buffer.length()).ok()?)?;
    (to <= length).then_some(from..to)
}

/// How long a compressed buffer is without its compression, checked.
fn decompressed(codec: &ipc::BodyCompression<'_>, bytes: &[u8]) -> Result<usize> {
    let Some((declared, packed)) = bytes.split_first_chunk::<8>() else {
        return Err(invalid("a compressed buffer has no length"));
    };
    let declared = match i64::from_le_bytes(*declared) {
        -1 => return Ok(packed.len()),
        declared => usize::try_from(declared).map_err(|_| invalid("a compressed buffer has a negative length"))?,
    };
    if declared > MAX_DECOMPRESSED {
        return Err(FormatError::batch_too_large("a decompressed batch", MAX_DECOMPRESSED, SMALLER));
    }
    match codec.codec() {
        // Never makes more than it is told.
        ipc::CompressionType::ZSTD => {}
        ipc::CompressionType::LZ4_FRAME => check_lz4(packed, declared)?,
        _ => return Err(unsupported("an unknown compression is not read", "use LZ4, ZSTD or none")),
    }
    Ok(declared)
}

/// The decoder of LZ4 frames goes on to the end of the frame, whatever length was declared.
fn check_lz4(packed: &[u8], declared: usize) -> Result<()> {
    let wrong = || invalid("an LZ4 buffer is damaged, or has another length than it says");
    let mut frame = lz4_flex::frame::FrameDecoder::new(packed);
    let mut one_more = std::io::Read::take(&mut frame, declared as u64 + 1);
    let made = std::io::copy(&mut one_more, &mut std::io::sink()).map_err(|_| wrong())?;
    if made == declared as u64 { Ok(()) } else { Err(wrong()) }
}
