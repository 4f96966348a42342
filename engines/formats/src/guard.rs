//! Panics of libraries on damaged bytes become errors.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{FormatError, Result};
use crate::format::Format;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread is one that becomes an error here: it says something of the bytes, and nothing of the
/// process. For a hook that tells of panics.
pub fn is_guarded() -> bool {
    GUARDED.get()
}

/// Runs a step of a library that decodes untrusted bytes. It panics on some of what it does not
/// expect; what it worked on is dropped with the error, so nothing half done is seen again.
pub(crate) fn guard<T>(format: Format, step: impl FnOnce() -> Result<T>) -> Result<T> {
    // A step may have guarded steps in it.
    let outer = GUARDED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(step));
    GUARDED.set(outer);
    done.unwrap_or_else(|_| Err(FormatError::binary(format, "it says something that no writer writes")))
}
