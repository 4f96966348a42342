//! What the functions of one statement may make together.
//!
//! A bound on each call is not one on the statement: sixty calls of `repeat('a', 16000000)` are a gigabyte of
//! constants, made while planning, where no memory pool and no deadline reaches. So constants have one budget for the
//! statement, and a batch's bytes are shared by the calls that can make much.

use std::cell::Cell;

use datafusion::common::Result;
use datafusion::common::extensions_options;
use datafusion::config::{ConfigExtension, ConfigOptions};

use super::{MAX_BATCH, ValueTooLarge};

/// Bytes of all constants that planning makes.
const MAX_CONSTANTS: u64 = 32 * 1024 * 1024;
/// What a call may make for one batch, however many calls there are.
const LEAST_PER_CALL: u64 = 4 * 1024 * 1024;

extensions_options! {
    /// What one call of a statement may use.
    pub(crate) struct CallLimits {
        /// Bytes of the values that a call makes for one batch.
        pub(crate) batch_bytes: u64, default = MAX_BATCH
    }
}

impl ConfigExtension for CallLimits {
    const PREFIX: &'static str = "lakegate";
}

impl CallLimits {
    /// Shares the bytes of a batch among so many calls.
    pub(crate) fn shared_by(calls: u64) -> Self {
        Self { batch_bytes: (MAX_BATCH / calls.max(1)).max(LEAST_PER_CALL) }
    }

    /// The limit that a statement's plan carries.
    pub(super) fn of(options: &ConfigOptions) -> u64 {
        options.extensions.get::<Self>().map_or(MAX_BATCH, |limits| limits.batch_bytes)
    }
}

/// Bytes that planning on this thread has made.
enum Spent {
    /// Nothing is being planned: this is a batch of rows.
    Running,
    Planning(u64),
}

thread_local! {
    static SPENT: Cell<Spent> = const { Cell::new(Spent::Running) };
}

/// Plans on this thread with one budget for all constants. The optimizer swallows errors of single constants and leaves
/// them to be made for each batch; a budget that was used up is an error of the statement.
pub(crate) fn planning<T>(plan: impl FnOnce() -> Result<T>) -> Result<T> {
    SPENT.set(Spent::Planning(0));
    let planned = plan();
    match SPENT.replace(Spent::Running) {
        Spent::Planning(bytes) => check(bytes).and(planned),
        Spent::Running => planned,
    }
}

/// Counts what a function is about to make, if it makes it for a plan.
pub(super) fn spend(bytes: u64) -> Result<()> {
    match SPENT.replace(Spent::Running) {
        Spent::Running => Ok(()),
        Spent::Planning(before) => {
            let after = before.saturating_add(bytes);
            SPENT.set(Spent::Planning(after));
            check(after)
        }
    }
}

fn check(bytes: u64) -> Result<()> {
    ValueTooLarge::check("a statement", bytes, MAX_CONSTANTS, "for all its constants")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_have_one_budget_while_planning() {
        assert!(spend(u64::MAX).is_ok(), "rows have none");
        let swallowed = planning(|| {
            spend(MAX_CONSTANTS)?;
            Ok(spend(1).is_err())
        });
        assert!(swallowed.is_err(), "also when nobody looked at the error");
        assert!(planning(|| spend(MAX_CONSTANTS)).is_ok(), "each statement has its own");
        assert!(spend(u64::MAX).is_ok());
    }

    #[test]
    fn calls_share_a_batch() {
        assert_eq!(CallLimits::shared_by(0).batch_bytes, MAX_BATCH);
        assert_eq!(CallLimits::shared_by(4).batch_bytes, MAX_BATCH / 4);
        assert_eq!(CallLimits::shared_by(1_000).batch_bytes, LEAST_PER_CALL);
    }
}
