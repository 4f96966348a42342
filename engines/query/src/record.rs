//! What is known of a query while it runs, and for a while after.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use lakegate_catalog::Caller;
use parking_lot::Mutex;

use crate::account::{Account, Ending, Read};
use crate::error::QueryError;

/// Ended queries that are remembered.
const ENDED: usize = 256;
/// Characters of a statement that are remembered.
const SQL_KEPT: usize = 1_000;

/// Whose queries are asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Viewer {
    /// Everybody's.
    All,
    /// Those of a caller's principal, as far as they were asked with a credential that may do no more than the caller's.
    /// Nobody's own are those that were asked without one, each by its id. An id that was chosen can be guessed by others, so
    /// only ids made here count.
    Caller(Caller),
}

/// How far a query is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryState {
    /// It waits for its turn.
    Queued,
    /// It is read, checked and planned.
    Planning,
    /// Its rows are being made and read.
    Running,
    /// All rows were read.
    Done,
    /// It ended with an error.
    Failed,
    /// It was cancelled, or its caller left.
    Cancelled,
}

impl QueryState {
    /// Whether nothing follows.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }

    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Planning => "planning",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A query, as those see it who may.
#[derive(Clone, Debug)]
pub struct QueryInfo {
    /// Its id.
    pub id: String,
    /// The beginning of its statement.
    pub sql: String,
    /// The name of who asked; `None` without a token.
    pub principal: Option<String>,
    /// How far it is.
    pub state: QueryState,
    /// When it arrived.
    pub started_at: DateTime<Utc>,
    /// How long it took, or has taken so far.
    pub elapsed: Duration,
    /// Rows that its caller has read.
    pub rows: u64,
    /// Their bytes in memory, before they are encoded.
    pub bytes: u64,
    /// What it reads, once that is known.
    pub versions: Vec<(String, u64)>,
    /// What it failed with: code and text.
    pub error: Option<(&'static str, String)>,
}

/// How many queries have ended, and how.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) done: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) cancelled: AtomicU64,
    pub(crate) rows: AtomicU64,
}

/// One query's part of the list.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) id: String,
    sql: String,
    caller: Caller,
    chosen: bool,
    /// Whether it is told of; looking a statement over is no query of its own.
    listed: bool,
    started_at: DateTime<Utc>,
    started: Instant,
    rows: AtomicU64,
    bytes: AtomicU64,
    versions: OnceLock<Vec<(String, u64)>>,
    datasets: OnceLock<Vec<Read>>,
    phase: Mutex<Phase>,
    tally: Arc<Tally>,
    /// Who is told of its end.
    account: Option<Account>,
}

#[derive(Debug)]
enum Phase {
    Going(QueryState),
    Ended { state: QueryState, after: Duration, error: Option<(&'static str, String)> },
}

impl Record {
    /// A query that has just arrived; `chosen` when the id is the caller's.
    pub(crate) fn new(id: String, chosen: bool, sql: &str, caller: &Caller, tally: Arc<Tally>) -> Self {
        Self {
            id,
            sql: sql.chars().take(SQL_KEPT).collect(),
            caller: caller.clone(),
            chosen,
            listed: true,
            started_at: Utc::now(),
            started: Instant::now(),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            versions: OnceLock::new(),
            datasets: OnceLock::new(),
            phase: Mutex::new(Phase::Going(QueryState::Queued)),
            tally,
            account: None,
        }
    }

    /// One whose end the audit is told of.
    pub(crate) fn on_account(self, account: Account) -> Self {
        Self { account: Some(account), ..self }
    }

    /// One that nobody is told of.
    pub(crate) fn unlisted(self) -> Self {
        Self { listed: false, ..self }
    }

    /// It goes on to its next state.
    pub(crate) fn enter(&self, state: QueryState) {
        let mut phase = self.phase.lock();
        if let Phase::Going(now) = &mut *phase {
            *now = state;
        }
    }

    pub(crate) fn reads(&self, versions: Vec<(String, u64)>, datasets: Vec<Read>) {
        // Told once; the versions of a query do not change.
        let _ = self.versions.set(versions);
        let _ = self.datasets.set(datasets);
    }

    pub(crate) fn read(&self, rows: usize, bytes: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// It has ended well.
    pub(crate) fn done(&self) {
        self.end(QueryState::Done, None);
    }

    /// It has ended with an error.
    pub(crate) fn failed(&self, error: &QueryError) {
        let state = if matches!(error, QueryError::Cancelled) { QueryState::Cancelled } else { QueryState::Failed };
        self.end(state, Some(error));
    }

    /// The first end counts: what comes after it is the clearing up.
    fn end(&self, state: QueryState, error: Option<&QueryError>) {
        let elapsed = self.started.elapsed();
        let mut phase = self.phase.lock();
        if !matches!(*phase, Phase::Going(_)) {
            return;
        }
        let told = error.map(|error| (error.code(), error.to_string()));
        *phase = Phase::Ended { state, after: elapsed, error: told };
        drop(phase);
        if self.listed {
            let count = match state {
                QueryState::Done => &self.tally.done,
                QueryState::Cancelled => &self.tally.cancelled,
                _ => &self.tally.failed,
            };
            count.fetch_add(1, Ordering::Relaxed);
            self.tally.rows.fetch_add(self.rows.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        if let Some(account) = &self.account {
            account.ended(&Ending {
                query_id: &self.id,
                sql: &self.sql,
                state,
                started_at: self.started_at,
                elapsed,
                rows: self.rows.load(Ordering::Relaxed),
                bytes: self.bytes.load(Ordering::Relaxed),
                versions: self.versions.get().map_or(&[], Vec::as_slice),
                reads: self.datasets.get().map_or(&[], Vec::as_slice),
                error,
            });
        }
    }

    pub(crate) fn is_listed(&self) -> bool {
        self.listed
    }

    fn has_ended(&self) -> bool {
        matches!(*self.phase.lock(), Phase::Ended { .. })
    }

    fn visible(&self, viewer: &Viewer, by_id: bool) -> bool {
        match viewer {
            Viewer::All => true,
            Viewer::Caller(viewer) => match (viewer.identity(), self.caller.identity()) {
                (Some(viewer), Some(own)) => {
                    viewer.principal.id == own.principal.id && viewer.scope.includes(&own.scope)
                }
                (None, None) => by_id && !self.chosen,
                _ => false,
            },
        }
    }

    fn info(&self) -> QueryInfo {
        let (state, elapsed, error) = match &*self.phase.lock() {
            Phase::Going(state) => (*state, self.started.elapsed(), None),
            Phase::Ended { state, after, error } => (*state, *after, error.clone()),
        };
        QueryInfo {
            id: self.id.clone(),
            sql: self.sql.clone(),
            principal: self.caller.principal().map(|principal| principal.name.clone()),
            state,
            started_at: self.started_at,
            elapsed,
            rows: self.rows.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            versions: self.versions.get().cloned().unwrap_or_default(),
            error,
        }
    }
}

/// All that run and the last ones that have ended, the newest at the end.
#[derive(Debug, Default)]
pub(crate) struct Records {
    all: Mutex<VecDeque<Arc<Record>>>,
    /// What has become of those that are forgotten too.
    pub(crate) tally: Arc<Tally>,
}

impl Records {
    /// Adds one, and forgets the oldest of too many ended ones. Those that run are as many as may run and wait.
    pub(crate) fn add(&self, record: Arc<Record>) {
        let mut all = self.all.lock();
        all.push_back(record);
        let ended = all.iter().filter(|record| record.has_ended()).count();
        if ended > ENDED
            && let Some(oldest) = all.iter().position(|record| record.has_ended())
        {
            all.remove(oldest);
        }
    }

    /// What the viewer may see, the newest first.
    pub(crate) fn list(&self, viewer: &Viewer) -> Vec<QueryInfo> {
        self.all
            .lock()
            .iter()
            .rev()
            .filter(|record| record.visible(viewer, false))
            .map(|record| record.info())
            .collect()
    }

    /// The newest with this id that the viewer may see.
    pub(crate) fn find(&self, viewer: &Viewer, id: &str) -> Option<(Arc<Record>, QueryInfo)> {
        let all = self.all.lock();
        let found = all.iter().rev().find(|record| record.id == id && record.visible(viewer, true))?;
        Some((Arc::clone(found), found.info()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str) -> Arc<Record> {
        Arc::new(Record::new(id.to_owned(), false, "SELECT 1", &Caller::Anonymous, Arc::default()))
    }

    #[test]
    fn the_last_ended_ones_stay_and_all_that_run() {
        let records = Records::default();
        records.add(record("running"));
        for n in 0..1_000 {
            let ended = record(&n.to_string());
            ended.done();
            records.add(ended);
        }
        let ids: Vec<_> = records.list(&Viewer::All).into_iter().map(|info| info.id).collect();
        assert_eq!((ids.len(), ids.first().map(String::as_str)), (ENDED + 1, Some("999")));
        assert_eq!(ids.last().map(String::as_str), Some("running"));
    }

    #[test]
    fn the_first_end_counts() {
        let records = Records::default();
        let query = record("q");
        records.add(Arc::clone(&query));
        query.failed(&QueryError::MemoryExhausted);
        query.failed(&QueryError::Cancelled);
        query.enter(QueryState::Running);
        let nobody = Viewer::Caller(Caller::Anonymous);
        let (_, info) = records.find(&nobody, "q").expect("there");
        assert_eq!(
            (info.state, info.error.map(|(code, _)| code)),
            (QueryState::Failed, Some("query_memory_exhausted"))
        );
        assert!(records.list(&nobody).is_empty(), "nobody's own");
    }
}
