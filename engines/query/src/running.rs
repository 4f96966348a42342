//! The queries that run: their ids, slots, and how each is stopped.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use datafusion::execution::memory_pool::MemoryPool;
use lakegate_catalog::{Caller, Pace, Shares};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use crate::error::{QueryError, Result};
use crate::memory::QueryPool;
use crate::record::{Record, Records};
use crate::spill::Quota;

/// Why a query was stopped from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Its stream was dropped.
    Dropped,
    /// Someone who may asked for its end.
    Cancelled,
    /// Its deadline passed.
    Deadline,
    /// The process was in danger and this query was the largest.
    Memory,
}

/// One query from admission until its last task has ended.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) record: Arc<Record>,
    pub(crate) started: Instant,
    pub(crate) timeout: Duration,
    pub(crate) pool: Arc<QueryPool>,
    pub(crate) spill: Arc<Quota>,
    stopped: OnceLock<Stop>,
    token: CancellationToken,
    task: Mutex<Option<AbortHandle>>,
    slot: OnceLock<Slot>,
}

/// A place among those that run.
#[derive(Debug)]
struct Slot {
    _permits: [OwnedSemaphorePermit; 2],
    since: Instant,
    pace: Arc<Pace>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.pace.held(self.since.elapsed());
    }
}

impl Running {
    /// Stops it; the first reason stays.
    pub(crate) fn stop(&self, why: Stop) {
        let _ = self.stopped.set(why);
        self.token.cancel();
        if let Some(task) = self.task.lock().as_ref() {
            task.abort();
        }
    }

    /// Ties the query's task to `stop`.
    pub(crate) fn attach(&self, task: AbortHandle) {
        let mut slot = self.task.lock();
        if self.token.is_cancelled() {
            task.abort();
        }
        *slot = Some(task);
    }

    /// Whether it was stopped; cheap enough to ask per batch.
    pub(crate) fn is_stopped(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Completes when the query is stopped.
    pub(crate) fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// The error of a query that was stopped.
    pub(crate) fn error(&self) -> QueryError {
        match self.stopped.get() {
            Some(Stop::Deadline) => QueryError::Deadline(self.timeout),
            Some(Stop::Memory) => QueryError::MemoryExhausted,
            Some(Stop::Dropped | Stop::Cancelled) | None => QueryError::Cancelled,
        }
    }

    pub(crate) fn overdue(&self, now: Instant) -> bool {
        now.duration_since(self.started) >= self.timeout
    }

    /// Waits for work, and gives up when the query is stopped.
    pub(crate) async fn while_alive<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.token.cancelled() => Err(self.error()),
            done = work => Ok(done),
        }
    }
}

impl Drop for Running {
    /// A caller that left while its query waited.
    fn drop(&mut self) {
        self.record.failed(&QueryError::Cancelled);
    }
}

/// All queries of an engine: who waits, who runs.
#[derive(Debug)]
pub(crate) struct Queries {
    running: Mutex<HashMap<String, Weak<Running>>>,
    /// What is told of them, and of the last ones that have ended.
    pub(crate) records: Records,
    slots: Arc<Semaphore>,
    /// What each caller may have of them.
    shares: Shares,
    queue: Arc<Semaphore>,
    /// And of the queue.
    queue_shares: Shares,
    pace: Arc<Pace>,
    max_running: usize,
    max_queued: usize,
}

/// Waiting queries per slot; more are turned away at once.
const QUEUE_PER_SLOT: usize = 8;

impl Queries {
    pub(crate) fn new(max_running: usize) -> Self {
        let max_queued = max_running * QUEUE_PER_SLOT;
        Self {
            running: Mutex::default(),
            records: Records::default(),
            slots: Arc::new(Semaphore::new(max_running)),
            shares: Shares::of(max_running),
            queue: Arc::new(Semaphore::new(max_queued)),
            queue_shares: Shares::of(max_queued),
            pace: Arc::default(),
            max_running,
            max_queued,
        }
    }

    /// Registers a query and waits for its slot until its deadline.
    ///
    /// Errors: `QueryIdInUse`, `TooManyQueries` when the queue is full, `Deadline`.
    pub(crate) async fn admit(
        &self,
        caller: &Caller,
        record: Arc<Record>,
        timeout: Duration,
        pool: QueryPool,
        spill: Arc<Quota>,
    ) -> Result<Arc<Running>> {
        let running = self.register(record, timeout, pool, spill)?;
        let permits = match self.at_once(caller) {
            Some(permits) => permits,
            None => self.wait(caller, &running).await?,
        };
        let slot = Slot { _permits: permits, since: Instant::now(), pace: Arc::clone(&self.pace) };
        let _ = running.slot.set(slot);
        Ok(running)
    }

    fn register(
        &self,
        record: Arc<Record>,
        timeout: Duration,
        pool: QueryPool,
        spill: Arc<Quota>,
    ) -> Result<Arc<Running>> {
        let id = record.id.clone();
        let mut all = self.running.lock();
        if all.get(&id).is_some_and(|other| other.strong_count() > 0) {
            return Err(QueryError::QueryIdInUse(id));
        }
        let running = Arc::new(Running {
            record,
            started: Instant::now(),
            timeout,
            pool: Arc::new(pool),
            spill,
            stopped: OnceLock::new(),
            token: CancellationToken::new(),
            task: Mutex::default(),
            slot: OnceLock::new(),
        });
        all.retain(|_, other| other.strong_count() > 0);
        all.insert(id, Arc::downgrade(&running));
        if running.record.is_listed() {
            self.records.add(Arc::clone(&running.record));
        }
        Ok(running)
    }

    /// A part of the caller's share, and a slot.
    fn at_once(&self, caller: &Caller) -> Option<[OwnedSemaphorePermit; 2]> {
        let share = self.shares.share(caller).try_acquire_owned().ok()?;
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        Some([share, slot])
    }

    async fn wait(&self, caller: &Caller, running: &Running) -> Result<[OwnedSemaphorePermit; 2]> {
        let full = |_| QueryError::TooManyQueries { retry_after: self.pace.seconds(self.max_queued, self.max_running) };
        let _share = self.queue_shares.share(caller).try_acquire_owned().map_err(full)?;
        let _place = Arc::clone(&self.queue).try_acquire_owned().map_err(full)?;
        let closed = |e| QueryError::internal("the slots are closed", e);
        let share = running.while_alive(self.shares.share(caller).acquire_owned()).await?.map_err(closed)?;
        let slot = running.while_alive(Arc::clone(&self.slots).acquire_owned()).await?.map_err(closed)?;
        Ok([share, slot])
    }

    /// The queries that are registered now.
    pub(crate) fn all(&self) -> Vec<Arc<Running>> {
        self.running.lock().values().filter_map(Weak::upgrade).collect()
    }

    /// Stops the query with the largest reservation, the newest of equals. False when all that run
    /// are stopped already.
    pub(crate) fn stop_largest(&self) -> bool {
        let all = self.all();
        let alive = all.iter().filter(|running| !running.is_stopped() && running.slot.get().is_some());
        let Some(largest) = alive.max_by_key(|running| (running.pool.reserved(), running.started)) else {
            return false;
        };
        tracing::warn!(query = %largest.record.id, reserved = largest.pool.reserved(), "stopping the largest query: the process is short of memory");
        largest.stop(Stop::Memory);
        true
    }

    /// How many run and how many wait.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.max_running - self.slots.available_permits(), self.max_queued - self.queue.available_permits())
    }
}
