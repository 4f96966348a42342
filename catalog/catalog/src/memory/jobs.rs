//! [`Jobs`] in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::{MemoryCatalog, State, not_found, now};
use crate::error::{CatalogError, Result};
use crate::event::{Change, JobEnd};
use crate::ids::JobId;
use crate::job::{
    Claim, Hold, Job, JobCounts, JobError, JobFilter, JobState, Jobs, LogLine, MAX_LOG_LINES, NewJob, Outcome,
    Progress, backoff, log_line,
};
use crate::page::{Listing, Page};

/// How often whoever waits for a job looks whether a lease is over or a rest has ended.
const LOOK: Duration = Duration::from_millis(100);

/// What is kept.
#[derive(Default)]
pub(super) struct Work {
    jobs: BTreeMap<JobId, Kept>,
    news: Arc<Notify>,
}

struct Kept {
    job: Job,
    key: Option<String>,
    keep_for: Duration,
    log: Vec<LogLine>,
}

impl Kept {
    fn write(&mut self, lines: &[String]) {
        for text in lines {
            let n = self.log.last().map_or(0, |line| line.n) + 1;
            self.log.push(LogLine { n, at: now(), text: log_line(text) });
        }
        let over = self.log.len().saturating_sub(MAX_LOG_LINES as usize);
        self.log.drain(..over);
    }

    fn end(&mut self, state: JobState) {
        let job = &mut self.job;
        let ended = now();
        (job.state, job.lease_until, job.ended_at) = (state, None, Some(ended));
        job.expires_at = Some(ended + delta(self.keep_for));
        self.key = None;
    }

    fn wait_again(&mut self, rest: Duration) {
        let job = &mut self.job;
        (job.state, job.lease_until, job.run_after) = (JobState::Waiting, None, now() + delta(rest));
    }
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

impl State {
    /// Gives jobs back whose lease is over; whether there were any.
    fn give_back(&mut self) -> bool {
        let mut any = false;
        let mut ended = Vec::new();
        let over = |job: &Job| job.state == JobState::Running && job.lease_until.is_some_and(|until| until < now());
        for kept in self.work.jobs.values_mut().filter(|kept| over(&kept.job)) {
            any = true;
            if kept.job.cancelled {
                kept.end(JobState::Cancelled);
            } else if kept.job.attempts >= kept.job.max_attempts {
                kept.job.error = Some(JobError::lost());
                kept.end(JobState::Failed);
            } else {
                kept.wait_again(Duration::ZERO);
                continue;
            }
            ended.push(JobEnd::from(&kept.job));
        }
        ended.into_iter().for_each(|end| self.tell(Change::JobEnded(end)));
        any
    }

    /// The job that comes next.
    fn next_job(&self, claim: &Claim) -> Option<JobId> {
        let jobs = || self.work.jobs.values().map(|kept| &kept.job);
        let mut running = HashMap::<&str, u32>::new();
        for job in jobs().filter(|job| job.state == JobState::Running) {
            *running.entry(&job.tenant).or_default() += 1;
        }
        let free = |job: &&Job| running.get(job.tenant.as_str()).is_none_or(|count| *count < claim.per_tenant);
        let ready = |job: &&Job| {
            job.state == JobState::Waiting && job.run_after <= now() && claim.kinds.contains(&job.kind) && free(job)
        };
        jobs().filter(ready).min_by_key(|job| (-i32::from(job.priority), job.id)).map(|job| job.id)
    }

    fn held(&mut self, hold: Hold) -> Result<&mut Kept> {
        let held = |kept: &&mut Kept| kept.job.state == JobState::Running && kept.job.fence == hold.fence;
        let not_held = || CatalogError::NotHeld { job: hold.job.to_string() };
        self.work.jobs.get_mut(&hold.job).filter(held).ok_or_else(not_held)
    }
}

impl JobFilter {
    fn admits(&self, job: &Job) -> bool {
        let label = |(name, word): &(String, String)| job.labels.get(name) == Some(word);
        self.by.is_none_or(|by| job.by == Some(by))
            && self.dataset.is_none_or(|id| job.dataset.as_ref().is_some_and(|subject| subject.dataset_id == id))
            && self.kind.as_ref().is_none_or(|kind| job.kind == *kind)
            && self.state.is_none_or(|state| job.state == state)
            && self.label.as_ref().is_none_or(label)
    }
}

#[async_trait]
impl Jobs for MemoryCatalog {
    async fn submit_job(&self, new: NewJob) -> Result<Job> {
        new.check()?;
        let mut state = self.state.lock();
        if let Some(key) = &new.key
            && let Some(same) = state.work.jobs.values().find(|kept| kept.key.as_ref() == Some(key))
        {
            return Ok(same.job.clone());
        }
        if let Some(limit) = new.most_waiting {
            let jobs = state.work.jobs.values().map(|kept| &kept.job);
            let waiting = jobs.filter(|job| job.tenant == new.tenant && job.state == JobState::Waiting).count();
            if waiting >= limit as usize {
                return Err(CatalogError::TooManyJobs { limit });
            }
        }
        let NewJob { kind, tenant, key, priority, params, labels, by, dataset, max_attempts, keep_for, .. } = new;
        let created_at = now();
        let job = Job {
            id: JobId::generate(),
            kind,
            tenant,
            priority,
            params,
            labels,
            by,
            dataset,
            state: JobState::Waiting,
            attempts: 0,
            max_attempts: max_attempts.max(1),
            fence: 0,
            worker: None,
            lease_until: None,
            cancelled: false,
            progress: None,
            result: None,
            error: None,
            created_at,
            run_after: created_at,
            started_at: None,
            ended_at: None,
            expires_at: None,
        };
        state.work.jobs.insert(job.id, Kept { job: job.clone(), key, keep_for, log: Vec::new() });
        state.work.news.notify_waiters();
        Ok(job)
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>> {
        Ok(self.state.lock().work.jobs.get(&id).map(|kept| kept.job.clone()))
    }

    async fn list_jobs(&self, filter: &JobFilter, page: &Page) -> Result<Listing<Job>> {
        let before = page.after(|text| text.parse::<JobId>().ok())?;
        let state = self.state.lock();
        let older = state.work.jobs.values().rev().map(|kept| &kept.job);
        let older = older.filter(|job| before.is_none_or(|before| job.id < before) && filter.admits(job));
        let items = older.take(page.size() + 1).map(|job| (job.clone(), job.size())).collect();
        Ok(Listing::of_long(items, page.size(), |job: &Job| job.id.to_string()))
    }

    async fn claim_job(&self, claim: &Claim) -> Result<Option<Job>> {
        let mut state = self.state.lock();
        state.give_back();
        let Some(id) = state.next_job(claim) else { return Ok(None) };
        let taken = state.work.jobs.get_mut(&id).map(|Kept { job, .. }| {
            let begun = now();
            job.state = JobState::Running;
            job.fence += 1;
            job.attempts += 1;
            job.worker = Some(claim.worker.clone());
            job.lease_until = Some(begun + delta(claim.lease));
            job.started_at = job.started_at.or(Some(begun));
            job.progress = None;
            job.clone()
        });
        Ok(taken)
    }

    async fn wait_for_job(&self, claim: &Claim, within: Duration) -> Result<bool> {
        let (end, news) = (Instant::now() + within, Arc::clone(&self.state.lock().work.news));
        loop {
            let woken = news.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            let there = {
                let mut state = self.state.lock();
                state.give_back() || state.next_job(claim).is_some()
            };
            let left = end.saturating_duration_since(Instant::now());
            if there || left.is_zero() {
                return Ok(there);
            }
            let _ = timeout(left.min(LOOK), woken).await;
        }
    }

    async fn renew_job(
        &self,
        hold: Hold,
        lease: Duration,
        progress: Option<&Progress>,
        lines: &[String],
    ) -> Result<bool> {
        let mut state = self.state.lock();
        let kept = state.held(hold)?;
        kept.write(lines);
        kept.job.lease_until = Some(now() + delta(lease));
        if let Some(progress) = progress {
            kept.job.progress = Some(progress.clone());
        }
        Ok(kept.job.cancelled)
    }

    async fn end_job(&self, hold: Hold, outcome: Outcome, lines: &[String]) -> Result<Job> {
        let mut state = self.state.lock();
        let kept = state.held(hold)?;
        kept.write(lines);
        match outcome {
            Outcome::Done(result) => {
                (kept.job.result, kept.job.error) = (Some(result), None);
                kept.end(JobState::Done);
            }
            Outcome::Failed { error, retry } => {
                kept.job.error = Some(error);
                let attempts = kept.job.attempts;
                if kept.job.cancelled {
                    kept.end(JobState::Cancelled);
                } else if retry && attempts < kept.job.max_attempts {
                    kept.wait_again(backoff(attempts));
                } else {
                    kept.end(JobState::Failed);
                }
            }
            Outcome::Cancelled => kept.end(JobState::Cancelled),
            Outcome::GivenBack if kept.job.cancelled => kept.end(JobState::Cancelled),
            Outcome::GivenBack => {
                kept.job.attempts -= 1;
                kept.wait_again(Duration::ZERO);
            }
        }
        let job = kept.job.clone();
        if job.state.is_over() {
            state.tell(Change::JobEnded(JobEnd::from(&job)));
        }
        state.work.news.notify_waiters();
        Ok(job)
    }

    async fn cancel_job(&self, id: JobId) -> Result<Job> {
        let mut state = self.state.lock();
        let kept = state.work.jobs.get_mut(&id).ok_or_else(|| not_found("job", &id))?;
        let ends = kept.job.state == JobState::Waiting;
        if !kept.job.state.is_over() {
            kept.job.cancelled = true;
        }
        if ends {
            kept.end(JobState::Cancelled);
        }
        let job = kept.job.clone();
        if ends {
            state.tell(Change::JobEnded(JobEnd::from(&job)));
        }
        Ok(job)
    }

    async fn job_log(&self, id: JobId, after: u64) -> Result<Vec<LogLine>> {
        let state = self.state.lock();
        let lines = state.work.jobs.get(&id).into_iter().flat_map(|kept| &kept.log);
        Ok(lines.filter(|line| line.n > after).cloned().collect())
    }

    async fn expired_jobs(&self) -> Result<Vec<Hold>> {
        let expired = |at: Option<DateTime<Utc>>| at.is_some_and(|at| at < now());
        let state = self.state.lock();
        let jobs = state.work.jobs.values().map(|kept| &kept.job).filter(|job| expired(job.expires_at));
        Ok(jobs.take(100).map(|job| Hold { job: job.id, fence: job.fence }).collect())
    }

    async fn forget_job(&self, id: JobId) -> Result<()> {
        let jobs = &mut self.state.lock().work.jobs;
        if jobs.get(&id).is_some_and(|kept| kept.job.state.is_over()) {
            jobs.remove(&id);
        }
        Ok(())
    }

    async fn job_counts(&self) -> Result<JobCounts> {
        let state = self.state.lock();
        let mut counts = JobCounts::default();
        for job in state.work.jobs.values().map(|kept| &kept.job) {
            match job.state {
                JobState::Running => counts.running += 1,
                JobState::Waiting => {
                    counts.waiting += 1;
                    counts.failing += u64::from(job.error.is_some());
                    let begins = Some(job.run_after).filter(|at| *at <= now());
                    counts.oldest = counts.oldest.into_iter().chain(begins).min();
                }
                _ => {}
            }
        }
        Ok(counts)
    }
}
