//! Jobs: long work that outlives the request that asked for it, and the process that does it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::{CatalogError, Result};
use crate::event::Subject;
use crate::ids::{DatasetId, JobId, PrincipalId};
use crate::page::{Listing, Page};

/// Work that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Names it for ever; ids sort by age.
    pub id: JobId,
    /// What kind of work it is; whoever does the work knows what the kind means.
    pub kind: String,
    /// Among whose jobs it counts: as many of one tenant run side by side as whoever claims them allows.
    pub tenant: String,
    /// Higher ones go first.
    pub priority: i16,
    /// What its kind needs to know.
    pub params: serde_json::Value,
    /// Words to find it by.
    pub labels: BTreeMap<String, String>,
    /// Who asked; `None` when nobody did.
    pub by: Option<PrincipalId>,
    /// The dataset that it is about, if it is about one.
    pub dataset: Option<Subject>,
    /// How far it is.
    pub state: JobState,
    /// How often it was begun.
    pub attempts: u32,
    /// How often it may be begun.
    pub max_attempts: u32,
    /// Counts who has held it; every effect of its work carries the number that its worker was given.
    pub fence: u64,
    /// Who does it, or did it last.
    pub worker: Option<String>,
    /// When it is given to somebody else unless its worker is heard of.
    pub lease_until: Option<DateTime<Utc>>,
    /// Whether somebody asked for its end.
    pub cancelled: bool,
    /// How much is done.
    pub progress: Option<Progress>,
    /// What came of it.
    pub result: Option<serde_json::Value>,
    /// What it failed with, also when it is tried again.
    pub error: Option<JobError>,
    /// When it was asked for; microseconds are kept.
    pub created_at: DateTime<Utc>,
    /// It is not begun before this time.
    pub run_after: DateTime<Utc>,
    /// When it was begun first.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// When it and its result may be forgotten.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Job {
    /// Bytes of what may be long of it, its parameters and its result, as JSON.
    pub fn size(&self) -> u64 {
        let result = self.result.as_ref().map_or(0, |result| result.to_string().len());
        (self.params.to_string().len() + result) as u64
    }
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// It waits to be begun, for the first time or again.
    Waiting,
    /// Somebody does it.
    Running,
    /// It ended well.
    Done,
    /// It ended with an error.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl JobState {
    /// Whether nothing follows.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }

    /// Its stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How much of a job is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// So much …
    pub done: u64,
    /// … of so much, where that is known …
    pub total: Option<u64>,
    /// … of this: `rows`, `files`.
    pub unit: String,
}

/// What a job failed with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobError {
    /// The stable code.
    pub code: String,
    /// What is wrong, and what to do.
    pub detail: String,
}

impl JobError {
    /// A worker was given the job and was not heard of again, as often as the job may be begun.
    pub fn lost() -> Self {
        let detail = "whoever did the job was not heard of again, each time that it was begun";
        Self { code: "job_lost".to_owned(), detail: detail.to_owned() }
    }
}

/// A line of a job's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Its place, from 1.
    pub n: u64,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// What it says.
    pub text: String,
}

/// A job to submit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewJob {
    /// What kind of work it is, `[a-z][a-z0-9-]{0,62}`.
    pub kind: String,
    /// Among whose jobs it counts; 1 to 128 characters.
    pub tenant: String,
    /// Of jobs with the same key only one waits or runs at a time.
    pub key: Option<String>,
    /// Higher ones go first.
    pub priority: i16,
    /// What its kind needs to know; at most 1 MiB as JSON.
    pub params: serde_json::Value,
    /// At most 16 words to find it by; name and word have 1 to 63 characters.
    pub labels: BTreeMap<String, String>,
    /// Who asks.
    pub by: Option<PrincipalId>,
    /// The dataset that it is about.
    pub dataset: Option<Subject>,
    /// How often it may be begun; at least once.
    pub max_attempts: u32,
    /// How long it is kept after its end.
    pub keep_for: Duration,
    /// It is refused when so many of its tenant wait already; any number may when not given.
    pub most_waiting: Option<u32>,
}

impl NewJob {
    /// Bytes of parameters.
    pub const MAX_PARAMS: usize = 1 << 20;

    /// A job of this kind, once, kept for a day.
    pub fn new(kind: &str, tenant: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            tenant: tenant.to_owned(),
            key: None,
            priority: 0,
            params: serde_json::Value::Null,
            labels: BTreeMap::new(),
            by: None,
            dataset: None,
            max_attempts: 1,
            keep_for: Duration::from_secs(86_400),
            most_waiting: None,
        }
    }

    /// Checks the rules of its texts; every implementation calls it before it stores anything.
    pub fn check(&self) -> Result<()> {
        let refuse = |what: &'static str, value: &str, why: &str| {
            let value = value.chars().take(80).collect();
            Err(CatalogError::Invalid { what: what.into(), value, why: why.to_owned() })
        };
        let short =
            |text: &str, most: usize| (1..=most).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !self.kind.starts_with(|c: char| c.is_ascii_lowercase())
            || self.kind.len() > 63
            || !self.kind.bytes().all(word)
        {
            return refuse("job kind", &self.kind, "it must match [a-z][a-z0-9-]{0,62}");
        }
        if !short(&self.tenant, 128) {
            return refuse("tenant", &self.tenant, "it has 1 to 128 characters, none of them a control character");
        }
        let bad = |(name, value): &(&String, &String)| !short(name, 63) || name.contains('=') || !short(value, 63);
        if let Some((name, _)) = self.labels.iter().find(bad) {
            let why = "name and word have 1 to 63 characters, none of them a control character, the name no `=`";
            return refuse("label", name, why);
        }
        if self.labels.len() > 16 {
            return refuse("number of labels", &self.labels.len().to_string(), "a job has at most 16");
        }
        if self.params.to_string().len() > Self::MAX_PARAMS {
            return refuse("size of the parameters", "", "they have at most 1 MiB as JSON");
        }
        Ok(())
    }
}

/// What a worker takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Kinds that it can do.
    pub kinds: BTreeSet<String>,
    /// What it calls itself.
    pub worker: String,
    /// How long it may be silent.
    pub lease: Duration,
    /// Jobs of one tenant that may run side by side, wherever they run.
    pub per_tenant: u32,
}

/// A job in somebody's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The job.
    pub job: JobId,
    /// The number that it was given with.
    pub fence: u64,
}

/// How an attempt at a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Well.
    Done(serde_json::Value),
    /// With an error.
    Failed {
        /// Which.
        error: JobError,
        /// Whether it may go better another time, [`backoff`] later; when the job was begun as often as it may be, it has
        /// failed all the same.
        retry: bool,
    },
    /// Somebody had asked for its end.
    Cancelled,
    /// The worker stops: the job waits again, as if it had not been begun.
    GivenBack,
}

/// Which jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFilter {
    /// Of this principal.
    pub by: Option<PrincipalId>,
    /// About this dataset.
    pub dataset: Option<DatasetId>,
    /// Of this kind.
    pub kind: Option<String>,
    /// In this state.
    pub state: Option<JobState>,
    /// With this label, name and word.
    pub label: Option<(String, String)>,
}

/// How many jobs there are that have not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobCounts {
    /// Those that wait.
    pub waiting: u64,
    /// Those of them that have failed before.
    pub failing: u64,
    /// Those that run.
    pub running: u64,
    /// When the oldest that may be begun was asked for, or could be begun again.
    pub oldest: Option<DateTime<Utc>>,
}

/// Lines of one job's log that are kept: the last ones.
pub const MAX_LOG_LINES: u64 = 1_000;

/// Characters of a line that are kept.
pub const MAX_LINE: usize = 1_000;

/// A line of a log as it is kept: its first [`MAX_LINE`] characters, with a space in the place of each control character. What
/// it quotes may be anything, and not every store can hold NUL.
pub fn log_line(text: &str) -> String {
    text.chars().take(MAX_LINE).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// How long a job rests after it has failed so many times: a second, then twice as long each time, at most five minutes.
pub fn backoff(attempts: u32) -> Duration {
    let doubled = 1_u64 << attempts.saturating_sub(1).min(16);
    Duration::from_secs(doubled.min(300))
}

/// Work for any process of the instance.
///
/// A worker holds a job for the time of its lease, by the store's clock, and for as long as it renews it. A job whose lease
/// is over waits again; whoever held it is then refused, whatever it wants to say of the job (`NotHeld`).
#[async_trait]
pub trait Jobs: Send + Sync {
    /// Keeps a job until it is done. With a key that another job has which waits or runs: that job, unchanged. Errors:
    /// `TooManyJobs`, `Invalid`.
    async fn submit_job(&self, job: NewJob) -> Result<Job>;

    /// The job with this id.
    async fn job(&self, id: JobId) -> Result<Option<Job>>;

    /// Jobs that the filter lets through, the newest first; a page ends at [`Page::MAX_BYTES`].
    async fn list_jobs(&self, filter: &JobFilter, page: &Page) -> Result<Listing<Job>>;

    /// Takes the job that comes next: the highest priority, then the oldest, of a tenant that has not too many running.
    async fn claim_job(&self, claim: &Claim) -> Result<Option<Job>>;

    /// Waits until there may be a job to claim, or the time is over; whether there is one.
    async fn wait_for_job(&self, claim: &Claim, within: Duration) -> Result<bool>;

    /// Holds the job for the lease from now on, and tells how far it is; lines go to the log's end. Whether somebody has asked
    /// for the job's end. Errors: `NotHeld`.
    async fn renew_job(
        &self,
        hold: Hold,
        lease: Duration,
        progress: Option<&Progress>,
        lines: &[String],
    ) -> Result<bool>;

    /// Ends an attempt. The job as it is then. Errors: `NotHeld`.
    async fn end_job(&self, hold: Hold, outcome: Outcome, lines: &[String]) -> Result<Job>;

    /// Asks for a job's end: one that waits ends at once, one that runs when its worker hears of it, one that has ended stays as
    /// it is. Errors: `NotFound`.
    async fn cancel_job(&self, id: JobId) -> Result<Job>;

    /// Lines of a job's log after the one with this number, at most 1,000, the oldest first.
    async fn job_log(&self, id: JobId, after: u64) -> Result<Vec<LogLine>>;

    /// Ended jobs that may be forgotten, at most 100, each as it was held last.
    async fn expired_jobs(&self) -> Result<Vec<Hold>>;

    /// Forgets a job that has ended, with its log. One that has not, or is not there, stays as it is.
    async fn forget_job(&self, id: JobId) -> Result<()>;

    /// How many jobs have not ended.
    async fn job_counts(&self) -> Result<JobCounts>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_fails_rests_longer_each_time() {
        let rests: Vec<_> = (0..12).map(|attempts| backoff(attempts).as_secs()).collect();
        assert_eq!(rests, [1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    #[test]
    fn texts_have_bounds() {
        let fine = NewJob::new("query", "ann");
        fine.check().expect("fine");
        let label = |name: &str, word: &str| NewJob {
            labels: BTreeMap::from([(name.to_owned(), word.to_owned())]),
            ..fine.clone()
        };
        label("team", "maps").check().expect("fine");
        let many = (0..17).map(|n| (n.to_string(), "x".to_owned())).collect();
        for bad in [
            NewJob::new("", "ann"),
            NewJob::new("Query", "ann"),
            NewJob::new("a_b", "ann"),
            NewJob::new(&"q".repeat(64), "ann"),
            NewJob::new("query", ""),
            NewJob::new("query", "a\nb"),
            label("", "x"),
            label("a=b", "x"),
            label("a", &"x".repeat(64)),
            NewJob { labels: many, ..fine.clone() },
            NewJob { params: "x".repeat(NewJob::MAX_PARAMS).into(), ..fine.clone() },
        ] {
            assert_eq!(bad.check().expect_err("refused").code(), "invalid_name");
        }
    }
}
