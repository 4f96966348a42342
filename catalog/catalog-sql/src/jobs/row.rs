//! A job as a row.

use lakegate_catalog::Job;

use crate::error::Failure;
use crate::row::Row;

/// The columns that [`read_job`] reads.
macro_rules! job_columns {
    () => {
        "id, kind, tenant, priority, params, labels, principal_id, subject, state, attempts, max_attempts, fence, worker,
             lease_until, cancelled, progress, result, error, created_at, run_after, started_at, ended_at, expires_at"
    };
}
pub(super) use job_columns;

/// The statement for jobs that end with this clause.
macro_rules! select_jobs {
    ($clause:literal) => {
        concat!("SELECT ", job_columns!(), " FROM jobs ", $clause)
    };
}
pub(super) use select_jobs;

/// The statement that changes jobs like this, and answers with them as they are then.
macro_rules! update_jobs {
    ($change:literal) => {
        concat!("UPDATE jobs SET ", $change, " RETURNING ", job_columns!())
    };
}
pub(super) use update_jobs;

fn number<T: TryFrom<i64>>(row: &Row, column: usize) -> Result<T, Failure> {
    let number = row.int(column)?;
    number.try_into().map_err(|_| crate::row::corrupt(&format!("{number} in column {column}")))
}

pub(super) fn read_job(row: &Row) -> Result<Job, Failure> {
    Ok(Job {
        id: row.parsed(0)?,
        kind: row.text(1)?,
        tenant: row.text(2)?,
        priority: number(row, 3)?,
        params: row.json(4)?,
        labels: row.json(5)?,
        by: row.optional(6, Row::parsed)?,
        dataset: row.optional(7, Row::json)?,
        state: row.word(8)?,
        attempts: number(row, 9)?,
        max_attempts: number(row, 10)?,
        fence: number(row, 11)?,
        worker: row.optional_text(12)?,
        lease_until: row.optional_time(13)?,
        cancelled: row.int(14)? != 0,
        progress: row.optional(15, Row::json)?,
        result: row.optional(16, Row::json)?,
        error: row.optional(17, Row::json)?,
        created_at: row.time(18)?,
        run_after: row.time(19)?,
        started_at: row.optional_time(20)?,
        ended_at: row.optional_time(21)?,
        expires_at: row.optional_time(22)?,
    })
}
