//! Jobs in this process: who does them, and what each kind does.
//!
//! [`runner`] takes jobs from the catalog and looks after them; the other files are the kinds.

pub(crate) mod counts;
pub(crate) mod expiry;
pub(crate) mod query;
mod runner;
pub(crate) mod upkeep;

use std::time::Duration;

use async_trait::async_trait;
use lakegate_catalog::{Hold, Job, Progress};
use parking_lot::Mutex;
use tokio::time::Instant;

pub(crate) use runner::Runner;

/// Lines that a job may have waiting for the catalog; beyond it the oldest are lost.
const LINES: usize = 200;

/// What one kind of job does.
#[async_trait]
pub(crate) trait Work: Send + Sync + 'static {
    /// The kind's name.
    fn kind(&self) -> &'static str;

    /// Does the job; what it answers is the job's result. It is dropped when the job is cancelled, when the lease is lost, and
    /// when the gateway stops.
    async fn run(&self, task: &Task) -> Result<serde_json::Value, Failure>;
}

/// Why a job failed, in words for whoever asked for it.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The stable code.
    pub(crate) code: String,
    /// What is wrong, and what to do. It shows no path, host or stack.
    pub(crate) detail: String,
    /// Whether it may go better another time.
    pub(crate) retry: bool,
}

/// A job in this process's hands.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) job: Job,
    told: Mutex<Told>,
    /// Until when nobody else can have the job, by this process's clock.
    held_until: Mutex<Instant>,
}

/// What the next heartbeat tells.
#[derive(Debug, Default)]
struct Told {
    progress: Option<Progress>,
    lines: Vec<String>,
}

impl Task {
    fn new(job: Job, held_until: Instant) -> Self {
        Self { job, told: Mutex::default(), held_until: Mutex::new(held_until) }
    }

    /// What effects of the work carry.
    pub(crate) fn hold(&self) -> Hold {
        Hold { job: self.job.id, fence: self.job.fence }
    }

    /// Tells how much is done, with the next heartbeat.
    pub(crate) fn progress(&self, done: u64, total: Option<u64>, unit: &'static str) {
        self.told.lock().progress = Some(Progress { done, total, unit: unit.to_owned() });
    }

    /// Writes a line into the job's log, with the next heartbeat.
    pub(crate) fn log(&self, line: impl Into<String>) {
        self.told.lock().add([line.into()]);
    }

    /// Whether nobody else can have the job yet. A process that was paused learns here that it was.
    pub(crate) fn is_held(&self) -> bool {
        Instant::now() < *self.held_until.lock()
    }

    fn held_for(&self, since: Instant, lease: Duration) {
        *self.held_until.lock() = since + lease;
    }
}

impl Told {
    fn add(&mut self, lines: impl IntoIterator<Item = String>) {
        self.lines.extend(lines);
        let over = self.lines.len().saturating_sub(LINES);
        self.lines.drain(..over);
    }

    /// Puts back what could not be told; what came meanwhile is newer.
    fn put_back(&mut self, older: Self) {
        self.progress = self.progress.take().or(older.progress);
        let newer = std::mem::take(&mut self.lines);
        self.add(older.lines.into_iter().chain(newer));
    }
}
