//! Threads for parsing and planning: a big stack, few at a time, panics contained.
//!
//! Planning recurses as deep as the statement is and never yields, so it must be neither on a small
//! stack nor on a thread that others wait for.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use tokio::sync::{Semaphore, oneshot};

use crate::error::{QueryError, Result};

/// Address space, not memory: only the pages that are touched are paid for.
const STACK: usize = 256 * 1024 * 1024;

/// Runs planning work.
#[derive(Debug)]
pub(crate) struct Planner {
    threads: Arc<Semaphore>,
}

impl Planner {
    /// At most `threads` at a time; more wait their turn.
    pub(crate) fn new(threads: usize) -> Self {
        Self { threads: Arc::new(Semaphore::new(threads)) }
    }

    /// Runs `work` on a thread of its own. When the caller stops waiting, the work still ends by
    /// itself and only then frees its place. A panic in it is answered as `Internal`.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let place = Arc::clone(&self.threads).acquire_owned().await;
        let place = place.map_err(|e| QueryError::internal("the planner is closed", e))?;
        let (answer, done) = oneshot::channel();
        let body = move || {
            let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
            // A result that nobody waits for is dropped here, on the big stack.
            let _ = answer.send(result);
            drop(place);
        };
        let spawned = thread::Builder::new().name("query-planner".to_owned()).stack_size(STACK).spawn(body);
        spawned.map_err(|e| QueryError::internal("a planner thread cannot start", e))?;
        done.await.map_err(|e| QueryError::internal("a planner thread ended without an answer", e))?
    }
}

/// The error of a contained panic; its text goes to the log only.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> QueryError {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    QueryError::internal("a query panicked", text.unwrap_or("without a text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_answer() {
        let planner = Planner::new(1);
        let fail: fn() -> Result<u8> = || std::panic::panic_any("on purpose");
        assert_eq!(planner.run(fail).await.expect_err("panicked").code(), "internal");
        assert_eq!(planner.run(|| Ok(1)).await.expect("the place is free again"), 1);
    }
}
