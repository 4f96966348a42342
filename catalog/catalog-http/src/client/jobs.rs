//! Jobs, asked of the companion.

use std::time::Duration;

use async_trait::async_trait;
use lakegate_catalog::{
    Claim, Hold, Job, JobCounts, JobFilter, JobId, Jobs, Listing, LogLine, NewJob, Outcome, Page, Progress, Result,
};

use super::HttpCatalog;
use crate::protocol;

#[async_trait]
impl Jobs for HttpCatalog {
    async fn submit_job(&self, job: NewJob) -> Result<Job> {
        self.call(protocol::SubmitJob { job }).await
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>> {
        self.call(protocol::GetJob { id }).await
    }

    async fn list_jobs(&self, filter: &JobFilter, page: &Page) -> Result<Listing<Job>> {
        self.call(protocol::ListJobs { filter: filter.clone(), page: page.clone() }).await
    }

    /// A claim whose answer is lost leaves a job that nobody does until its lease is over.
    async fn claim_job(&self, claim: &Claim) -> Result<Option<Job>> {
        self.call(protocol::ClaimJob { claim: claim.clone() }).await
    }

    /// The companion waits, for half as long as a call may take; then it is asked again.
    async fn wait_for_job(&self, claim: &Claim, within: Duration) -> Result<bool> {
        let end = tokio::time::Instant::now() + within;
        loop {
            let left = end.saturating_duration_since(tokio::time::Instant::now());
            let millis = u64::try_from(left.min(self.timeout / 2).as_millis()).unwrap_or(u64::MAX);
            let there = self.call(protocol::WaitForJob { claim: claim.clone(), millis }).await?;
            if there || tokio::time::Instant::now() >= end {
                return Ok(there);
            }
        }
    }

    async fn renew_job(
        &self,
        hold: Hold,
        lease: Duration,
        progress: Option<&Progress>,
        lines: &[String],
    ) -> Result<bool> {
        self.call(protocol::RenewJob { hold, lease, progress: progress.cloned(), lines: lines.to_vec() }).await
    }

    async fn end_job(&self, hold: Hold, outcome: Outcome, lines: &[String]) -> Result<Job> {
        self.call(protocol::EndJob { hold, outcome, lines: lines.to_vec() }).await
    }

    async fn cancel_job(&self, id: JobId) -> Result<Job> {
        self.call(protocol::CancelJob { id }).await
    }

    async fn job_log(&self, id: JobId, after: u64) -> Result<Vec<LogLine>> {
        self.call(protocol::JobLog { id, after }).await
    }

    async fn expired_jobs(&self) -> Result<Vec<Hold>> {
        self.call(protocol::ExpiredJobs {}).await
    }

    async fn forget_job(&self, id: JobId) -> Result<()> {
        self.call(protocol::ForgetJob { id }).await
    }

    async fn job_counts(&self) -> Result<JobCounts> {
        self.call(protocol::GetJobCounts {}).await
    }
}
