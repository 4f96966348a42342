//! The footer of a Parquet file: where it is, and whether it can be decoded without harm.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

use lakegate_catalog::ColumnType;

use super::thrift::{STRUCT, Thrift};
use super::{invalid, unsupported};
use crate::error::{FormatError, Result};
use crate::infer::MAX_FIELDS;

/// Bytes of a footer; one of 2,000 columns and ten row groups takes a quarter.
const MAX_FOOTER: u64 = 16 << 20;

/// Column chunks of a file, all row groups together: each takes about half a KiB of memory.
const MAX_CHUNKS: usize = 100_000;

const FEWER: &str = "write larger row groups, or several files";

/// Reads the footer, checked: its lengths against its bytes, its schema against depth and width.
pub(super) fn read(file: &mut File, length: u64) -> Result<Vec<u8>> {
    let mut magic = [0; 4];
    read_at(file, 0, &mut magic).map_err(|_| FormatError::truncated("the start of the Parquet file"))?;
    if magic != *b"PAR1" && magic != *b"PARE" {
        return Err(invalid("it does not start with PAR1"));
    }
    let mut tail = [0; 8];
    let at = length.checked_sub(8).filter(|at| *at >= 4).ok_or_else(|| FormatError::truncated("the footer"))?;
    read_at(file, at, &mut tail).map_err(|_| FormatError::truncated("the footer"))?;
    let ([size @ .., _, _, _, _], [_, _, _, _, magic @ ..]) = (&tail, &tail);
    match magic {
        b"PAR1" => {}
        b"PARE" => return Err(unsupported("encryption is not read", "write it without")),
        _ => return Err(FormatError::truncated("the footer of the Parquet file")),
    }
    let size = u64::from(u32::from_le_bytes(*size));
    if size > MAX_FOOTER {
        return Err(FormatError::batch_too_large("the footer", MAX_FOOTER as usize, FEWER));
    }
    let at = at.checked_sub(size).filter(|at| *at >= 4).ok_or_else(|| invalid("its footer is longer than the file"))?;
    let mut footer = vec![0; size as usize];
    read_at(file, at, &mut footer).map_err(|_| FormatError::truncated("the footer"))?;
    check(&footer)?;
    Ok(footer)
}

pub(super) fn read_at(file: &mut File, at: u64, into: &mut [u8]) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(into)
}

/// Walks over the whole footer. Field numbers are those of `FileMetaData` in parquet.thrift.
fn check(footer: &[u8]) -> Result<()> {
    let mut shape = Shape::default();
    let mut chunks = 0_usize;
    let walked = Thrift::new(footer).fields(|thrift, id, _| match id {
        2 => each(thrift, |thrift| shape.element(thrift)),
        4 => each(thrift, |thrift| row_group(thrift, &mut chunks)),
        8 => Err(unsupported("encryption is not read", "write it without")),
        _ => Ok(false),
    });
    match walked {
        Err(FormatError::Truncated { .. }) => Err(invalid("its footer ends too early, or declares more than it holds")),
        walked => walked,
    }
}

fn each(thrift: &mut Thrift<'_>, mut step: impl FnMut(&mut Thrift<'_>) -> Result<()>) -> Result<bool> {
    let (element, count) = thrift.list()?;
    if element != STRUCT {
        return Err(invalid("a list in its footer has elements of the wrong kind"));
    }
    (0..count).try_for_each(|_| step(thrift))?;
    Ok(true)
}

fn row_group(thrift: &mut Thrift<'_>, chunks: &mut usize) -> Result<()> {
    thrift.fields(|thrift, id, _| {
        if id != 1 {
            return Ok(false);
        }
        each(thrift, |thrift| {
            *chunks += 1;
            if *chunks > MAX_CHUNKS {
                return Err(FormatError::batch_too_large("the list of column chunks", MAX_FOOTER as usize, FEWER));
            }
            thrift.fields(|_, _, _| Ok(false))
        })
    })
}

/// The tree of a schema, which is a list of elements with numbers of children: readers build it by
/// recursion.
#[derive(Default)]
struct Shape {
    /// Children still to come of each element that is open.
    open: Vec<i64>,
    elements: usize,
}

impl Shape {
    fn element(&mut self, thrift: &mut Thrift<'_>) -> Result<()> {
        let mut children = 0;
        thrift.fields(|thrift, id, _| {
            if id == 5 {
                children = thrift.integer()?;
            }
            Ok(id == 5)
        })?;
        self.elements += 1;
        // Lists and maps have a level of their own beside each of ours.
        if self.elements > 3 * MAX_FIELDS {
            return Err(FormatError::too_many_fields());
        }
        while self.open.last() == Some(&0) {
            self.open.pop();
        }
        if let Some(left) = self.open.last_mut() {
            *left -= 1;
        } else if self.elements > 1 {
            return Err(invalid("its schema has more elements than it says"));
        }
        if children < 0 {
            return Err(invalid("its schema has a negative number of children"));
        }
        if children > 0 {
            self.open.push(children);
        }
        if self.open.len() > 3 * ColumnType::MAX_DEPTH {
            return Err(FormatError::too_deep(ColumnType::MAX_DEPTH));
        }
        Ok(())
    }
}
