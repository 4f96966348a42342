//! Threads for parsing and planning: a big stack, few at a time, panics contained.
//!
//! Planning recurses as deep as the statement is and never yields, so it must be neither on a small
//! stack nor on a thread that others wait for.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};

use crate::error::{QueryError, Result};

/// Address space, not memory: only the pages that are touched are paid for.
const STACK: usize = 256 * 1024 * 1024;

/// A thread ends after this much work, or when there has been none for a while: what a deep statement has touched of the
/// stack is given back only then.
const JOBS: usize = 64;
const IDLE: Duration = Duration::from_secs(1);

/// Work, and what else a thread lets go of once it is done.
type Job = Box<dyn FnOnce() + Send>;

/// Runs planning work.
#[derive(Debug)]
pub(crate) struct Planner {
    places: Arc<Semaphore>,
    idle: Arc<Idle>,
}

/// The threads that wait for work, the last to begin at the end.
#[derive(Debug, Default)]
struct Idle(Mutex<Vec<(thread::ThreadId, SyncSender<Job>)>>);

impl Planner {
    /// At most `threads` at a time; more wait their turn.
    pub(crate) fn new(threads: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(threads)), idle: Arc::default() }
    }

    /// Runs `work` on a thread for it. When the caller stops waiting, the work still ends by
    /// itself and only then frees its place. A panic in it is answered as `Internal`.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(|e| QueryError::internal("the planner is closed", e))?;
        let (answer, done) = oneshot::channel();
        self.begin(Box::new(move || {
            // Given back in the end, whatever comes.
            let _place = place;
            let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
            // A result that nobody waits for is dropped here, on the big stack.
            let _ = answer.send(result);
        }))?;
        done.await.map_err(|e| QueryError::internal("a planner thread ended without an answer", e))?
    }

    /// Hands a job to a thread that waits, or to a new one.
    fn begin(&self, job: Job) -> Result<()> {
        let waiting = self.idle.0.lock().pop();
        let job = match waiting {
            Some((_, thread)) => match thread.send(job) {
                Ok(()) => return Ok(()),
                Err(back) => back.0,
            },
            None => job,
        };
        let idle = Arc::clone(&self.idle);
        let spawned = thread::Builder::new().name("query-planner".to_owned()).stack_size(STACK).spawn(move || {
            // Whoever is idle is handed one job before it is idle again.
            let (sender, jobs) = sync_channel(1);
            idle.work(job, &sender, &jobs);
        });
        spawned.map(drop).map_err(|e| QueryError::internal("a planner thread cannot start", e))
    }
}

impl Idle {
    /// What a thread does.
    fn work(&self, first: Job, sender: &SyncSender<Job>, jobs: &Receiver<Job>) {
        first();
        let me = thread::current().id();
        for _ in 1..JOBS {
            self.0.lock().push((me, sender.clone()));
            let next = jobs.recv_timeout(IDLE).ok().or_else(|| {
                let mut idle = self.0.lock();
                match idle.iter().position(|(id, _)| *id == me) {
                    Some(at) => {
                        idle.remove(at);
                        None
                    }
                    // Chosen this very moment: the job is on its way.
                    None => {
                        drop(idle);
                        jobs.recv().ok()
                    }
                }
            });
            match next {
                Some(job) => job(),
                None => return,
            }
        }
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

    #[tokio::test(flavor = "multi_thread")]
    async fn threads_are_used_again_and_end() {
        let planner = Arc::new(Planner::new(2));
        let mut seen = std::collections::HashMap::new();
        for _ in 0..4 * JOBS {
            let thread = planner.run(|| Ok(thread::current().id())).await.expect("runs");
            *seen.entry(thread).or_insert(0) += 1;
        }
        assert!(seen.len() < JOBS, "{} threads for {} jobs", seen.len(), 4 * JOBS);
        assert!(seen.values().all(|jobs| *jobs <= JOBS), "{seen:?}");
        // Many at once, some of whose callers leave.
        let mut running = tokio::task::JoinSet::new();
        for n in 0..200 {
            let planner = Arc::clone(&planner);
            running.spawn(async move {
                let work = planner.run(move || Ok(n));
                tokio::time::timeout(Duration::from_micros(n * 20), work).await.is_ok()
            });
        }
        while running.join_next().await.is_some() {}
        assert_eq!(planner.run(|| Ok(1)).await.expect("runs"), 1);
        let ended = async {
            while !planner.idle.0.lock().is_empty() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(IDLE * 10, ended).await.expect("idle threads end");
    }
}
