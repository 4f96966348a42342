//! [`Jobs`] in SQL. Times of leases and rests are those of the database, so that processes whose clocks differ agree on who
//! holds a job.

mod claim;
mod row;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use lakegate_catalog::{
    CatalogError, Change, Claim, Hold, Job, JobCounts, JobEnd, JobError, JobFilter, JobId, JobState, Jobs, Listing,
    LogLine, MAX_LOG_LINES, NewJob, Outcome, Page, Progress, Result, backoff, log_line,
};
use tokio::time::{Instant, timeout};

use crate::SqlCatalog;
use crate::database::{Tx, in_transaction};
use crate::error::{Failure, not_found};
use crate::events::tell;
use crate::row::{Arg, Row, corrupt, int, json, optional_json, page_within, text, time, word};
use row::{job_columns, read_job, select_jobs, update_jobs};

#[async_trait]
impl Jobs for SqlCatalog {
    async fn submit_job(&self, job: NewJob) -> Result<Job> {
        job.check()?;
        in_transaction!(self.database, |tx| submit(&mut tx, &job))
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>> {
        let row = self.database.fetch_first(select_jobs!("WHERE id = $1"), [text(&id)]).await?;
        Ok(row.as_ref().map(read_job).transpose()?)
    }

    async fn list_jobs(&self, filter: &JobFilter, page: &Page) -> Result<Listing<Job>> {
        /// Sorts after every id.
        const LAST: &str = "g";
        let before = page.after(|text| text.parse::<JobId>().ok())?;
        let label = filter.label.as_ref().map(|(name, word)| format!("{name}={word}"));
        let args = [
            before.map_or_else(|| text(&LAST), |id| text(&id)),
            int(i64::try_from(page.size() + 1).unwrap_or(i64::MAX)),
            Arg::Text(filter.by.map(|id| id.to_string())),
            Arg::Text(filter.dataset.map(|id| id.to_string())),
            Arg::Text(filter.kind.clone()),
            filter.state.as_ref().map(word).transpose()?.unwrap_or(Arg::Text(None)),
            Arg::Text(label),
            int(Page::MAX_BYTES.cast_signed()),
        ];
        let sql = page_within!(
            concat!("SELECT ", job_columns!(), ", size"),
            " FROM jobs
             WHERE id < $1 AND ($3 IS NULL OR principal_id = $3) AND ($4 IS NULL OR dataset_id = $4)
                 AND ($5 IS NULL OR kind = $5) AND ($6 IS NULL OR state = $6)
                 AND ($7 IS NULL OR EXISTS (SELECT 1 FROM job_labels l WHERE l.job_id = jobs.id AND l.label = $7))",
            "id",
            " DESC",
            "$2",
            "$8"
        );
        let rows = self.database.fetch(sql, args).await?;
        let read = |row: &Row| Ok((read_job(row)?, row.int(23)?.cast_unsigned()));
        let items = rows.iter().map(read).collect::<Result<_, Failure>>()?;
        Ok(Listing::of_long(items, page.size(), |job: &Job| job.id.to_string()))
    }

    async fn claim_job(&self, claim: &Claim) -> Result<Option<Job>> {
        in_transaction!(self.database, begin_claim, |tx| claim::claim(&mut tx, claim))
    }

    async fn wait_for_job(&self, claim: &Claim, within: Duration) -> Result<bool> {
        let end = Instant::now() + within;
        loop {
            let woken = self.database.woken();
            tokio::pin!(woken);
            // From now on, so that what is submitted after the look is not slept through.
            woken.as_mut().enable();
            let there = claim::may_be_claimed(&self.database, claim).await?;
            let left = end.saturating_duration_since(Instant::now());
            if there || left.is_zero() {
                return Ok(there);
            }
            let _ = timeout(left.min(self.database.dialect().looks_every()), woken).await;
        }
    }

    async fn renew_job(
        &self,
        hold: Hold,
        lease: Duration,
        progress: Option<&Progress>,
        lines: &[String],
    ) -> Result<bool> {
        in_transaction!(self.database, |tx| renew(&mut tx, hold, lease, progress, lines))
    }

    async fn end_job(&self, hold: Hold, outcome: Outcome, lines: &[String]) -> Result<Job> {
        in_transaction!(self.database, |tx| end(&mut tx, hold, &outcome, lines))
    }

    async fn cancel_job(&self, id: JobId) -> Result<Job> {
        in_transaction!(self.database, |tx| cancel(&mut tx, id))
    }

    async fn job_log(&self, id: JobId, after: u64) -> Result<Vec<LogLine>> {
        let sql = "SELECT n, at, line FROM job_log WHERE job_id = $1 AND n > $2 ORDER BY n LIMIT $3";
        let args = [text(&id), int(i64::try_from(after).unwrap_or(i64::MAX)), int(MAX_LOG_LINES as i64)];
        let read = |row: &Row| Ok(LogLine { n: row.int(0)?.cast_unsigned(), at: row.time(1)?, text: row.text(2)? });
        let lines = self.database.fetch(sql, args).await?.iter().map(read).collect::<Result<_, Failure>>();
        Ok(lines?)
    }

    async fn expired_jobs(&self) -> Result<Vec<Hold>> {
        let now = self.database.clock().await?;
        let sql = "SELECT id, fence FROM jobs WHERE expires_at < $1 ORDER BY expires_at LIMIT 100";
        let read = |row: &Row| Ok(Hold { job: row.parsed(0)?, fence: row.int(1)?.cast_unsigned() });
        let holds = self.database.fetch(sql, [time(now)]).await?.iter().map(read).collect::<Result<_, Failure>>();
        Ok(holds?)
    }

    async fn forget_job(&self, id: JobId) -> Result<()> {
        in_transaction!(self.database, |tx| forget(&mut tx, id))
    }

    async fn job_counts(&self) -> Result<JobCounts> {
        let sql = "SELECT (SELECT COUNT(*) FROM jobs WHERE state = 'waiting'),
                 (SELECT COUNT(*) FROM jobs WHERE state = 'waiting' AND error IS NOT NULL),
                 (SELECT COUNT(*) FROM jobs WHERE state = 'running'),
                 (SELECT MIN(run_after) FROM jobs WHERE state = 'waiting')";
        let row = self.database.fetch_first(sql, []).await?.ok_or_else(|| corrupt(&"no counts"))?;
        let count = |column| Ok::<_, Failure>(row.int(column)?.cast_unsigned());
        let oldest = row.optional_time(3)?.filter(|at| *at <= Utc::now());
        Ok(JobCounts { waiting: count(0)?, failing: count(1)?, running: count(2)?, oldest })
    }
}

fn not_held(hold: Hold) -> Failure {
    Failure::Catalog(CatalogError::NotHeld { job: hold.job.to_string() })
}

fn after(at: DateTime<Utc>, wait: Duration) -> Arg {
    let wait = TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
    time(at.checked_add_signed(wait).unwrap_or(DateTime::<Utc>::MAX_UTC))
}

fn micros(duration: Duration) -> Arg {
    int(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}

async fn submit(tx: &mut Tx, new: &NewJob) -> Result<Job, Failure> {
    let (id, at) = (JobId::generate(), tx.clock().await?);
    let subject = new.dataset.as_ref();
    if new.key.is_some() && new.most_waiting.is_some() {
        // What is there already needs no room.
        let live = one(tx, select_jobs!("WHERE live_key = $1"), [Arg::Text(new.key.clone())]).await?;
        if let Some(job) = live {
            return Ok(job);
        }
    }
    make_room(tx, new).await?;
    let params = serde_json::to_string(&new.params).map_err(|error| corrupt(&error))?;
    let size = params.len() as i64;
    let args = [
        text(&id),
        text(&new.kind),
        text(&new.tenant),
        Arg::Text(new.key.clone()),
        int(new.priority.into()),
        text(&params),
        json(&new.labels)?,
        Arg::Text(new.by.map(|id| id.to_string())),
        Arg::Text(subject.map(|subject| subject.dataset_id.to_string())),
        optional_json(subject)?,
        int(new.max_attempts.max(1).into()),
        micros(new.keep_for),
        time(at),
        int(size),
    ];
    let sql =
        "INSERT INTO jobs (id, kind, tenant, live_key, priority, params, labels, principal_id, dataset_id, subject,
             max_attempts, keep_for, created_at, run_after, size, state, attempts, fence, cancelled, log_lines)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13, $14, 'waiting', 0, 0, 0, 0)
         ON CONFLICT (live_key) DO NOTHING";
    if tx.execute(sql, args).await? == 0 {
        let sql = select_jobs!("WHERE live_key = $1");
        // None when it ended between the two statements.
        return one(tx, sql, [Arg::Text(new.key.clone())]).await?.ok_or(Failure::Passed);
    }
    for (name, word) in &new.labels {
        let label = format!("{name}={word}");
        tx.execute("INSERT INTO job_labels (job_id, label) VALUES ($1, $2)", [text(&id), text(&label)]).await?;
    }
    tx.notify().await?;
    require(tx, id, select_jobs!("WHERE id = $1"), [text(&id)]).await
}

/// Makes sure that the tenant of a new job has a row, and that it has not too many that wait.
async fn make_room(tx: &mut Tx, new: &NewJob) -> Result<(), Failure> {
    let Some(limit) = new.most_waiting else {
        let sql = "INSERT INTO job_tenants (tenant, claims) VALUES ($1, 0) ON CONFLICT DO NOTHING";
        tx.execute(sql, [text(&new.tenant)]).await?;
        return Ok(());
    };
    // The row is taken, so that of several submissions at once each counts those before it.
    let sql = "INSERT INTO job_tenants (tenant, claims) VALUES ($1, 0)
         ON CONFLICT (tenant) DO UPDATE SET claims = job_tenants.claims";
    tx.execute(sql, [text(&new.tenant)]).await?;
    let sql = "SELECT COUNT(*) FROM jobs WHERE tenant = $1 AND state = 'waiting'";
    let waiting = tx.fetch(sql, [text(&new.tenant)]).await?.first().map_or(Ok(0), |row| row.int(0))?;
    if waiting < i64::from(limit) { Ok(()) } else { Err(CatalogError::TooManyJobs { limit }.into()) }
}

/// The job that a statement answers with.
async fn one(tx: &mut Tx, sql: &'static str, args: impl IntoIterator<Item = Arg>) -> Result<Option<Job>, Failure> {
    tx.fetch(sql, args).await?.first().map(read_job).transpose()
}

/// The job with this id as a statement answers with it. Errors: `NotFound`.
async fn require(
    tx: &mut Tx,
    id: JobId,
    sql: &'static str,
    args: impl IntoIterator<Item = Arg>,
) -> Result<Job, Failure> {
    one(tx, sql, args).await?.ok_or_else(|| not_found("job", &id))
}

/// Lines at the end of a job's log; the oldest of too many go.
async fn write(tx: &mut Tx, job: JobId, at: DateTime<Utc>, lines: &[String]) -> Result<(), Failure> {
    if lines.is_empty() {
        return Ok(());
    }
    let count = lines.len() as i64;
    tx.execute("UPDATE jobs SET log_lines = log_lines + $2 WHERE id = $1", [text(&job), int(count)]).await?;
    let rows = tx.fetch("SELECT log_lines FROM jobs WHERE id = $1", [text(&job)]).await?;
    let last = rows.first().ok_or_else(|| not_found("job", &job))?.int(0)?;
    for (n, line) in (last - count + 1..).zip(lines) {
        let line = log_line(line);
        let sql = "INSERT INTO job_log (job_id, n, at, line) VALUES ($1, $2, $3, $4)";
        tx.execute(sql, [text(&job), int(n), time(at), text(&line)]).await?;
    }
    let oldest = int(last - MAX_LOG_LINES as i64);
    tx.execute("DELETE FROM job_log WHERE job_id = $1 AND n <= $2", [text(&job), oldest]).await?;
    Ok(())
}

async fn renew(
    tx: &mut Tx,
    hold: Hold,
    lease: Duration,
    progress: Option<&Progress>,
    lines: &[String],
) -> Result<bool, Failure> {
    let at = tx.clock().await?;
    let sql = "UPDATE jobs SET lease_until = $3, progress = COALESCE($4, progress)
         WHERE id = $1 AND fence = $2 AND state = 'running'";
    let args = [text(&hold.job), int(hold.fence.cast_signed()), after(at, lease), optional_json(progress)?];
    if tx.execute(sql, args).await? == 0 {
        return Err(not_held(hold));
    }
    write(tx, hold.job, at, lines).await?;
    let rows = tx.fetch("SELECT cancelled FROM jobs WHERE id = $1", [text(&hold.job)]).await?;
    Ok(rows.first().ok_or_else(|| not_held(hold))?.int(0)? != 0)
}

async fn end(tx: &mut Tx, hold: Hold, outcome: &Outcome, lines: &[String]) -> Result<Job, Failure> {
    let at = tx.clock().await?;
    // Taken first: nobody else ends or gives back the job until this is over.
    let sql = update_jobs!("lease_until = NULL WHERE id = $1 AND fence = $2 AND state = 'running'");
    let held = one(tx, sql, [text(&hold.job), int(hold.fence.cast_signed())]).await?;
    let job = held.ok_or_else(|| not_held(hold))?;
    write(tx, hold.job, at, lines).await?;
    match outcome {
        Outcome::Done(result) => finish(tx, hold.job, at, JobState::Done, Some(result), None).await,
        Outcome::Failed { error, .. } if job.cancelled => {
            finish(tx, hold.job, at, JobState::Cancelled, None, Some(error)).await
        }
        Outcome::Failed { error, retry } if *retry && job.attempts < job.max_attempts => {
            tx.execute("UPDATE jobs SET error = $2 WHERE id = $1", [text(&hold.job), json(error)?]).await?;
            wait_again(tx, hold.job, after(at, backoff(job.attempts)), 0).await
        }
        Outcome::Failed { error, .. } => finish(tx, hold.job, at, JobState::Failed, None, Some(error)).await,
        Outcome::GivenBack if !job.cancelled => wait_again(tx, hold.job, time(at), 1).await,
        Outcome::GivenBack | Outcome::Cancelled => {
            finish(tx, hold.job, at, JobState::Cancelled, None, job.error.as_ref()).await
        }
    }
}

/// Ends a job with what came of it, and tells of it.
async fn finish(
    tx: &mut Tx,
    id: JobId,
    at: DateTime<Utc>,
    state: JobState,
    result: Option<&serde_json::Value>,
    error: Option<&JobError>,
) -> Result<Job, Failure> {
    let job = settle(tx, id, at, state, result, error).await?;
    tell(tx, &[Change::JobEnded(JobEnd::from(&job))]).await?;
    Ok(job)
}

/// Ends a job; to be told of when the transaction is about to end.
async fn settle(
    tx: &mut Tx,
    id: JobId,
    at: DateTime<Utc>,
    state: JobState,
    result: Option<&serde_json::Value>,
    error: Option<&JobError>,
) -> Result<Job, Failure> {
    let sql = update_jobs!(
        "state = $2, ended_at = $3, expires_at = $3 + keep_for, result = $4, error = $5, lease_until = NULL,
             live_key = NULL, size = size + $6 WHERE id = $1"
    );
    let result = result.map(ToString::to_string);
    let more = int(result.as_ref().map_or(0, |result| result.len() as i64));
    let args = [text(&id), word(&state)?, time(at), Arg::Text(result), optional_json(error)?, more];
    require(tx, id, sql, args).await
}

/// Lets a job wait, as if it had been begun so many times less.
async fn wait_again(tx: &mut Tx, id: JobId, run_after: Arg, less: i64) -> Result<Job, Failure> {
    let sql =
        update_jobs!("state = 'waiting', lease_until = NULL, run_after = $2, attempts = attempts - $3 WHERE id = $1");
    let job = require(tx, id, sql, [text(&id), run_after, int(less)]).await?;
    tx.notify().await?;
    Ok(job)
}

async fn cancel(tx: &mut Tx, id: JobId) -> Result<Job, Failure> {
    let sql = "UPDATE jobs SET cancelled = 1 WHERE id = $1 AND state IN ('waiting', 'running')";
    tx.execute(sql, [text(&id)]).await?;
    let job = require(tx, id, select_jobs!("WHERE id = $1"), [text(&id)]).await?;
    if job.state != JobState::Waiting {
        return Ok(job);
    }
    let at = tx.clock().await?;
    finish(tx, id, at, JobState::Cancelled, None, job.error.as_ref()).await
}

async fn forget(tx: &mut Tx, id: JobId) -> Result<(), Failure> {
    let sql = "DELETE FROM jobs WHERE id = $1 AND state IN ('done', 'failed', 'cancelled')";
    tx.execute(sql, [text(&id)]).await?;
    Ok(())
}
