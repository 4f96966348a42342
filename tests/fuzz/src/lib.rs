//! The laws that hold for whatever bytes come in: each target of `targets/` gives its bytes to one of these.
//!
//! A law that does not hold panics, which ends the process, and the fuzzer keeps the bytes. Memory and time are
//! limited from outside, by `scripts/fuzz.sh`.

mod bodies;
mod flight;
mod packing;
mod sample;
mod statement;

use std::panic::{AssertUnwindSafe, catch_unwind};

use parking_lot::Mutex;

pub use bodies::{answers, body, inference, parquet};
pub use flight::flight;
pub use packing::{gunzip, unzstd};
pub use statement::statement;

static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

/// Call at the start. A panic in a library that reads bytes is caught by our code and becomes an answer, so that it
/// may not end the process as libFuzzer's own hook would have it.
pub fn remember_panics() {
    std::panic::set_hook(Box::new(|panic| *LAST_PANIC.lock() = panic.to_string()));
}

/// Ends the process when a law does not hold.
#[expect(clippy::print_stderr, reason = "the fuzzer's output is the report")]
pub fn judge(law: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(law)).is_err() {
        eprintln!("{}", LAST_PANIC.lock());
        std::process::abort();
    }
}
