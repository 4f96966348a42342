//! Jobs are not remembered: who holds one is for the store to say.

use std::time::Duration;

use async_trait::async_trait;

use super::CachedCatalog;
use crate::error::Result;
use crate::ids::JobId;
use crate::job::{Claim, Hold, Job, JobCounts, JobFilter, Jobs, LogLine, NewJob, Outcome, Progress};
use crate::page::{Listing, Page};

#[async_trait]
impl Jobs for CachedCatalog {
    async fn submit_job(&self, job: NewJob) -> Result<Job> {
        self.inner.submit_job(job).await
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>> {
        self.inner.job(id).await
    }

    async fn list_jobs(&self, filter: &JobFilter, page: &Page) -> Result<Listing<Job>> {
        self.inner.list_jobs(filter, page).await
    }

    async fn claim_job(&self, claim: &Claim) -> Result<Option<Job>> {
        self.inner.claim_job(claim).await
    }

    async fn wait_for_job(&self, claim: &Claim, within: Duration) -> Result<bool> {
        self.inner.wait_for_job(claim, within).await
    }

    async fn renew_job(
        &self,
        hold: Hold,
        lease: Duration,
        progress: Option<&Progress>,
        lines: &[String],
    ) -> Result<bool> {
        self.inner.renew_job(hold, lease, progress, lines).await
    }

    async fn end_job(&self, hold: Hold, outcome: Outcome, lines: &[String]) -> Result<Job> {
        self.inner.end_job(hold, outcome, lines).await
    }

    async fn cancel_job(&self, id: JobId) -> Result<Job> {
        self.inner.cancel_job(id).await
    }

    async fn job_log(&self, id: JobId, after: u64) -> Result<Vec<LogLine>> {
        self.inner.job_log(id, after).await
    }

    async fn expired_jobs(&self) -> Result<Vec<Hold>> {
        self.inner.expired_jobs().await
    }

    async fn forget_job(&self, id: JobId) -> Result<()> {
        self.inner.forget_job(id).await
    }

    async fn job_counts(&self) -> Result<JobCounts> {
        self.inner.job_counts().await
    }
}
