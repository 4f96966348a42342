//! Who gets which job.

use chrono::{DateTime, Utc};
use lakegate_catalog::{Change, Claim, Job, JobEnd, JobError, JobId, JobState};

use super::row::{job_columns, read_job, select_jobs, update_jobs};
use super::{after, require, settle, wait_again};
use crate::database::{Database, Tx};
use crate::error::Failure;
use crate::events::tell;
use crate::row::{Arg, int, text, time};

/// How often a claim looks for another job when the tenant of the one that it found has become busy meanwhile.
const LOOKS: usize = 4;

/// The kinds as one text, each between commas, for there is no list among the parameters of a statement.
fn kinds(claim: &Claim) -> Arg {
    let mut all = String::from(",");
    for kind in &claim.kinds {
        all.push_str(kind);
        all.push(',');
    }
    text(&all)
}

/// The job that comes next. Those whose lease is over are given back first.
pub(super) async fn claim(tx: &mut Tx, claim: &Claim) -> Result<Option<Job>, Failure> {
    let at = tx.clock().await?;
    let ended = give_back(tx, at).await?;
    let taken = next(tx, claim, at).await?;
    tell(tx, &ended).await?;
    Ok(taken)
}

async fn next(tx: &mut Tx, claim: &Claim, at: DateTime<Utc>) -> Result<Option<Job>, Failure> {
    for _ in 0..LOOKS {
        let args = [time(at), kinds(claim), int(claim.per_tenant.into())];
        let found = tx.fetch(tx.dialect().next_job(), args).await?;
        let Some(row) = found.first() else { return Ok(None) };
        let (id, tenant): (JobId, String) = (row.parsed(0)?, row.text(1)?);
        // Claims for one tenant are made one after the other, so that each counts those before it.
        tx.execute("UPDATE job_tenants SET claims = claims + 1 WHERE tenant = $1", [text(&tenant)]).await?;
        let running = "SELECT COUNT(*) FROM jobs WHERE tenant = $1 AND state = 'running'";
        let running = tx.fetch(running, [text(&tenant)]).await?.first().map_or(Ok(0), |row| row.int(0))?;
        if running < i64::from(claim.per_tenant) {
            return take(tx, id, claim, at).await.map(Some);
        }
    }
    Ok(None)
}

async fn take(tx: &mut Tx, id: JobId, claim: &Claim, at: DateTime<Utc>) -> Result<Job, Failure> {
    let sql = update_jobs!(
        "state = 'running', fence = fence + 1, attempts = attempts + 1, worker = $2, lease_until = $3,
             started_at = COALESCE(started_at, $4), progress = NULL WHERE id = $1"
    );
    require(tx, id, sql, [text(&id), text(&claim.worker), after(at, claim.lease), time(at)]).await
}

/// Gives jobs back whose lease is over, and says of those that came to their end by it.
async fn give_back(tx: &mut Tx, at: DateTime<Utc>) -> Result<Vec<Change>, Failure> {
    let sql = select_jobs!("WHERE state = 'running' AND lease_until < $1 ORDER BY lease_until LIMIT 20");
    let over = tx.fetch(sql, [time(at)]).await?;
    let mut ended = Vec::new();
    for job in over.iter().map(read_job) {
        let job = job?;
        // Another claim may have done it, or the worker may just have been heard of.
        let sql = "UPDATE jobs SET lease_until = NULL
             WHERE id = $1 AND fence = $2 AND state = 'running' AND lease_until < $3";
        if tx.execute(sql, [text(&job.id), int(job.fence.cast_signed()), time(at)]).await? == 0 {
            continue;
        }
        let job = if job.cancelled {
            settle(tx, job.id, at, JobState::Cancelled, None, job.error.as_ref()).await?
        } else if job.attempts >= job.max_attempts {
            settle(tx, job.id, at, JobState::Failed, None, Some(&JobError::lost())).await?
        } else {
            wait_again(tx, job.id, time(at), 0).await?;
            continue;
        };
        ended.push(Change::JobEnded(JobEnd::from(&job)));
    }
    Ok(ended)
}

/// Whether there is a job to claim, or one to give back.
pub(super) async fn may_be_claimed(database: &Database, claim: &Claim) -> Result<bool, Failure> {
    let at = database.clock().await?;
    let over = "SELECT id FROM jobs WHERE state = 'running' AND lease_until < $1 LIMIT 1";
    if !database.fetch(over, [time(at)]).await?.is_empty() {
        return Ok(true);
    }
    let args = [time(at), kinds(claim), int(claim.per_tenant.into())];
    Ok(!database.fetch(crate::dialect::NEXT_JOB, args).await?.is_empty())
}
