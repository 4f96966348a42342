//! What pushes may use.

use std::path::PathBuf;
use std::time::Duration;

use lakegate_formats::BodyLimits;

/// What pushes may use.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a push after decompression.
    pub max_body: u64,
    /// Bytes of one row of a push.
    pub max_row: usize,
    /// Pushes that run at the same time; the next ones wait.
    pub max_pushes: usize,
    /// Pushes that wait; the next one is told to come back.
    pub max_queued: usize,
    /// Bytes that all pushes together may hold in memory.
    pub memory: u64,
    /// How long a push may wait.
    pub patience: Duration,
    /// How long a push may take as a whole.
    pub timeout: Duration,
    /// How long a push may send nothing.
    pub idle_timeout: Duration,
    /// A folder for bodies that have to be there whole before they can be read.
    pub spool: PathBuf,
}

impl Limits {
    /// How large the parts of a body may be.
    pub(crate) fn of_body(&self) -> BodyLimits {
        BodyLimits { max_row_bytes: self.max_row, max_decoded: self.max_body, ..BodyLimits::default() }
    }
}
