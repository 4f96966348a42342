//! Takes jobs and does them, a few side by side, until the gateway stops.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use lakegate_catalog::{Catalog, CatalogError, Claim, ErrorKind, Job, JobError, Outcome};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::counts::Counts;
use super::{Failure, Task, Work};

/// How long one wait for a job lasts.
const WAIT: Duration = Duration::from_secs(20);
/// Between two tries when the catalog cannot be reached.
const AGAIN: Duration = Duration::from_millis(500);
/// After a job that there seemed to be was somebody else's.
const MISSED: Duration = Duration::from_millis(100);
/// Between two heartbeats at most: whoever cancels a job, and whoever looks at its progress, waits for the next one.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long jobs that are given back at a stop may take for it.
const FAREWELL: Duration = Duration::from_secs(3);

/// Does jobs of some kinds.
pub(crate) struct Runner {
    catalog: Arc<dyn Catalog>,
    works: BTreeMap<&'static str, Arc<dyn Work>>,
    claim: Claim,
    places: usize,
    counts: Counts,
    stop: CancellationToken,
}

/// Why the work on a job was broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    /// Somebody had asked for the job's end.
    Cancelled,
    /// Another has the job, or may have it.
    Lost,
}

impl Runner {
    /// Does `places` jobs side by side, each held for `lease` at a time, and of one tenant's not more than `per_tenant` wherever
    /// they run, until `stop`.
    pub(crate) fn new(
        catalog: Arc<dyn Catalog>,
        works: impl IntoIterator<Item = Arc<dyn Work>>,
        (places, per_tenant): (usize, usize),
        lease: Duration,
        counts: Counts,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let works: BTreeMap<_, _> = works.into_iter().map(|work| (work.kind(), work)).collect();
        let kinds = works.keys().map(|kind| (*kind).to_owned()).collect();
        let worker = format!("{}-{}", std::process::id(), uuid::Uuid::new_v4().simple());
        let per_tenant = u32::try_from(per_tenant).unwrap_or(u32::MAX);
        Arc::new(Self { catalog, works, claim: Claim { kinds, worker, lease, per_tenant }, places, counts, stop })
    }

    /// Does jobs until the gateway stops; those that run then are given back.
    pub(crate) async fn run(self: Arc<Self>) {
        let (places, mut running) = (Arc::new(Semaphore::new(self.places)), JoinSet::new());
        loop {
            let place = Arc::clone(&places).acquire_owned();
            let Some(Ok(place)) = self.stop.run_until_cancelled(place).await else { break };
            if self.stop.run_until_cancelled(self.wait()).await.is_none() {
                break;
            }
            // Not cut short: a job that is taken must come into somebody's hands.
            let asked = Instant::now();
            match self.catalog.claim_job(&self.claim).await {
                Ok(Some(job)) => {
                    let runner = Arc::clone(&self);
                    running.spawn(async move {
                        runner.look_after(job, asked).await;
                        drop(place);
                    });
                }
                Ok(None) => sleep(MISSED).await,
                Err(error) => {
                    tracing::debug!(%error, "no job can be taken for now");
                    sleep(AGAIN).await;
                }
            }
            while running.try_join_next().is_some() {}
        }
        let given_back = async { while running.join_next().await.is_some() {} };
        if timeout(FAREWELL, given_back).await.is_err() {
            tracing::warn!("some jobs could not be given back; they go on elsewhere once their lease is over");
        }
    }

    /// Waits until there is a job to take.
    async fn wait(&self) {
        loop {
            match self.catalog.wait_for_job(&self.claim, WAIT).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(%error, "jobs cannot be looked for");
                    sleep(AGAIN).await;
                }
            }
        }
    }

    async fn look_after(&self, job: Job, asked: Instant) {
        let task = Arc::new(Task::new(job, asked + self.claim.lease));
        let _running = self.counts.running(&task.job.kind);
        tracing::debug!(job = %task.job.id, kind = task.job.kind, attempt = task.job.attempts, "a job begins");
        if task.job.attempts > 1 {
            task.log(format!("begun again: attempt {} of {}", task.job.attempts, task.job.max_attempts));
        }
        let done = tokio::select! {
            biased;
            done = self.work(&task) => Ok(done),
            broken = self.beat(&task) => Err(broken),
        };
        let outcome = match done {
            Ok(Some(Ok(result))) => Outcome::Done(result),
            Ok(Some(Err(Failure { code, detail, retry }))) => {
                tracing::warn!(job = %task.job.id, kind = task.job.kind, code, detail, "a job failed");
                task.log(format!("failed: {detail}"));
                Outcome::Failed { error: JobError { code, detail }, retry }
            }
            Ok(None) => Outcome::GivenBack,
            Err(Broken::Cancelled) => Outcome::Cancelled,
            Err(Broken::Lost) => {
                tracing::warn!(job = %task.job.id, kind = task.job.kind, "a job was lost: its lease is over");
                return self.counts.ended(&task.job.kind, "lost");
            }
        };
        self.end(&task, outcome).await;
    }

    /// Does the work; `None` when the gateway stops before it is done.
    async fn work(&self, task: &Arc<Task>) -> Option<Result<serde_json::Value, Failure>> {
        let Some(work) = self.works.get(task.job.kind.as_str()) else {
            let detail = format!("this version of Lakegate does not know jobs of the kind {}", task.job.kind);
            return Some(Err(Failure { code: "unknown_job".to_owned(), detail, retry: true }));
        };
        let done = AssertUnwindSafe(work.run(task)).catch_unwind();
        let done = self.stop.run_until_cancelled(done).await?;
        Some(done.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
            tracing::error!(job = %task.job.id, kind = task.job.kind, panic = text, "a job panicked");
            let detail = "something went wrong here; the log of the gateway has it under the job's id".to_owned();
            Err(Failure { code: "internal".to_owned(), detail, retry: false })
        }))
    }

    /// Lets the catalog know that the job is being done, until it must not be any more.
    async fn beat(&self, task: &Task) -> Broken {
        loop {
            sleep((self.claim.lease / 3).min(HEARTBEAT)).await;
            let told = std::mem::take(&mut *task.told.lock());
            let since = Instant::now();
            let renewed = self.catalog.renew_job(task.hold(), self.claim.lease, told.progress.as_ref(), &told.lines);
            let held_until = *task.held_until.lock();
            let Ok(renewed) = timeout_at(held_until, renewed).await else { return Broken::Lost };
            match renewed {
                Ok(false) => task.held_for(since, self.claim.lease),
                Ok(true) => return Broken::Cancelled,
                Err(CatalogError::NotHeld { .. }) => return Broken::Lost,
                Err(error) if task.is_held() => {
                    tracing::debug!(job = %task.job.id, %error, "the catalog does not hear of a job");
                    task.told.lock().put_back(told);
                }
                Err(_) => return Broken::Lost,
            }
        }
    }

    /// Tells how it ended, as long as that may be told.
    async fn end(&self, task: &Task, outcome: Outcome) {
        let lines = std::mem::take(&mut task.told.lock().lines);
        loop {
            match self.catalog.end_job(task.hold(), outcome.clone(), &lines).await {
                Ok(job) => {
                    tracing::debug!(job = %job.id, kind = job.kind, state = job.state.as_str(), "a job ended");
                    return self.counts.ended(&job.kind, job.state.as_str());
                }
                Err(CatalogError::NotHeld { .. }) => {
                    // Another has it, or the answer to an earlier try was lost.
                    tracing::debug!(job = %task.job.id, kind = task.job.kind, "the end of a job is not ours to tell");
                    return self.counts.ended(&task.job.kind, "lost");
                }
                Err(error) if task.is_held() && error.kind() == ErrorKind::Unavailable => {
                    tracing::debug!(job = %task.job.id, %error, "the end of a job is not told yet");
                    sleep(AGAIN).await;
                }
                Err(error) => {
                    tracing::warn!(job = %task.job.id, %error, "the end of a job could not be told; it is done again");
                    return self.counts.ended(&task.job.kind, "lost");
                }
            }
        }
    }
}
