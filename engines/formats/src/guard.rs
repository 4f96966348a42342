//! Panics of libraries on damaged bytes become errors.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{FormatError, Result};
use crate::format::Format;

/// Runs a step of a library that decodes untrusted bytes. It panics on some of what it does not
/// expect; what it worked on is dropped with the error, so nothing half done is seen again.
pub(crate) fn guard<T>(format: Format, step: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(step))
        .unwrap_or_else(|_| Err(FormatError::binary(format, "it says something that no writer writes")))
}
