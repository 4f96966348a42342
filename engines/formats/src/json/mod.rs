//! The text of one JSON row, read straight into columns.

mod cursor;
mod decode;

pub(crate) use cursor::{Cursor, Kind};
pub(crate) use decode::{Budget, read_row, read_value};

/// Objects and lists within each other, the row itself counted.
pub(crate) const MAX_DEPTH: usize = 64;
