//! What is on its way into the audit: noted where it happens, kept here until somebody brings it to the catalog.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{SubsecRound as _, Utc};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::access::Caller;
use crate::audit::{AuditAction, AuditEntry, Audited, Decision, Protocol, QueryEntry};
use crate::dataset::Dataset;
use crate::error::ErrorKind;
use crate::ids::AuditId;

/// Entries, and queries, that wait at most.
const MOST: usize = 10_000;
/// Those of nobody known may take half of it: who has no credential cannot push out what others did.
const MOST_OF_NOBODY: usize = MOST / 2;
/// Entries, and queries, that are taken at once.
const TOGETHER: usize = 500;
/// Characters of a detail.
const DETAIL: usize = 200;

/// Codes of what is not told apart from what may not be seen.
const UNSEEN: [&str; 6] = [
    "dataset_not_found",
    "job_not_found",
    "namespace_not_found",
    "query_not_found",
    "receipt_not_found",
    "token_not_found",
];

/// REST, where nothing else is said.
impl Default for Protocol {
    fn default() -> Self {
        Self::Rest
    }
}

impl Decision {
    /// How an error decides: what its caller may not do, or may not see, is denied.
    pub fn of(kind: ErrorKind, code: &str) -> Self {
        let denied = match kind {
            ErrorKind::Unauthenticated | ErrorKind::Denied => true,
            ErrorKind::NotFound => UNSEEN.contains(&code),
            _ => code == "too_many_logins",
        };
        if denied { Self::Denied } else { Self::Failed }
    }
}

impl AuditEntry {
    /// Something that was done now, of which nothing more is known.
    pub fn new(protocol: Protocol, action: AuditAction, by: Option<Audited>) -> Self {
        Self {
            id: AuditId::generate(),
            at: Utc::now().trunc_subsecs(6),
            by,
            protocol,
            action,
            decision: Decision::Allowed,
            code: None,
            dataset: None,
            dataset_id: None,
            version: None,
            rows: None,
            bytes: None,
            query_id: None,
            request_id: None,
            detail: None,
        }
    }

    /// The same, with the error that it ended with.
    #[must_use]
    pub fn ended(self, error: Option<(ErrorKind, &str)>) -> Self {
        let decision = error.map_or(Decision::Allowed, |(kind, code)| Decision::of(kind, code));
        Self { decision, code: error.map(|(_, code)| code.to_owned()), ..self }
    }

    /// Says what else there is to say, cut to 200 characters.
    pub fn say(&mut self, detail: impl std::fmt::Display) {
        self.detail = Some(detail.to_string().chars().filter(|c| !c.is_control()).take(DETAIL).collect());
    }
}

/// Entries that wait to be told. Adding never waits; when nobody takes them the oldest are lost, and counted.
#[derive(Debug, Default)]
pub struct Trail {
    waiting: Mutex<Waiting>,
    news: Notify,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    entries: VecDeque<AuditEntry>,
    queries: VecDeque<QueryEntry>,
}

/// Some of those that waited, the oldest first.
#[derive(Debug, Default)]
pub struct Taken {
    /// Entries.
    pub entries: Vec<AuditEntry>,
    /// Queries.
    pub queries: Vec<QueryEntry>,
}

impl Taken {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.queries.is_empty()
    }
}

impl Trail {
    /// One that is empty.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Adds an entry.
    pub fn add(&self, entry: AuditEntry) {
        self.lose(push(&mut self.waiting.lock().entries, entry, |entry| entry.by.is_none()));
        self.news.notify_one();
    }

    /// Adds a query.
    pub fn add_query(&self, query: QueryEntry) {
        self.lose(push(&mut self.waiting.lock().queries, query, |query| query.by.is_none()));
        self.news.notify_one();
    }

    /// Puts back what could not be told, before all others.
    pub fn put_back(&self, taken: Taken) {
        let mut waiting = self.waiting.lock();
        let lost = put_before(&mut waiting.entries, taken.entries) + put_before(&mut waiting.queries, taken.queries);
        drop(waiting);
        self.lose(lost);
        self.news.notify_one();
    }

    /// Gives up what the catalog does not take.
    pub fn give_up(&self, taken: &Taken) {
        self.lose(taken.entries.len() + taken.queries.len());
    }

    /// Waits until there is something, and takes the oldest, at most 500 of each kind. Nothing is taken by a wait that is
    /// given up.
    pub async fn take(&self) -> Taken {
        loop {
            let taken = self.take_now();
            if !taken.is_empty() {
                return taken;
            }
            self.news.notified().await;
        }
    }

    /// Takes what is there, at most 500 of each kind.
    pub fn take_now(&self) -> Taken {
        let mut waiting = self.waiting.lock();
        let (entries, queries) = (waiting.entries.len().min(TOGETHER), waiting.queries.len().min(TOGETHER));
        Taken {
            entries: waiting.entries.drain(..entries).collect(),
            queries: waiting.queries.drain(..queries).collect(),
        }
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        let waiting = self.waiting.lock();
        waiting.entries.len() + waiting.queries.len()
    }

    /// How many were lost since the process began.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn lose(&self, how_many: usize) {
        if how_many > 0 {
            self.lost.fetch_add(how_many as u64, Ordering::Relaxed);
        }
    }
}

/// Adds one at the end; how many are lost for it.
fn push<T>(waiting: &mut VecDeque<T>, one: T, of_nobody: impl Fn(&T) -> bool) -> usize {
    if waiting.len() >= MOST_OF_NOBODY && of_nobody(&one) {
        return 1;
    }
    waiting.push_back(one);
    cut(waiting)
}

fn put_before<T>(waiting: &mut VecDeque<T>, older: Vec<T>) -> usize {
    older.into_iter().rev().for_each(|one| waiting.push_front(one));
    cut(waiting)
}

/// Loses the oldest of too many.
fn cut<T>(waiting: &mut VecDeque<T>) -> usize {
    let lost = waiting.len().saturating_sub(MOST);
    waiting.drain(..lost);
    lost
}

/// Something that somebody is doing: noted as it becomes known, told once, at its end. When nobody says how it ended, whoever
/// did it has left.
#[derive(Debug)]
pub struct Visit {
    trail: Arc<Trail>,
    /// Until it is told.
    entry: Mutex<Option<AuditEntry>>,
    /// Whether it is told of however it ends.
    whole: bool,
}

impl Visit {
    /// One that is told of, however it ends.
    pub fn begin(trail: &Arc<Trail>, entry: AuditEntry) -> Self {
        Self { trail: Arc::clone(trail), entry: Mutex::new(Some(entry)), whole: true }
    }

    /// One that nobody is told of, unless its credential is refused.
    pub fn passing(trail: &Arc<Trail>, entry: AuditEntry) -> Self {
        Self { trail: Arc::clone(trail), entry: Mutex::new(Some(entry)), whole: false }
    }

    /// Notes what has become known; nothing when it is told already.
    pub fn note(&self, note: impl FnOnce(&mut AuditEntry)) {
        if let Some(entry) = self.entry.lock().as_mut() {
            note(entry);
        }
    }

    /// Notes who it is.
    pub fn by(&self, caller: &Caller) {
        self.note(|entry| entry.by = caller.principal().map(Audited::from));
    }

    /// Notes the dataset, once it is known that the caller may see it.
    pub fn about(&self, dataset: &Dataset) {
        self.note(|entry| {
            entry.dataset = Some(dataset.name.clone());
            entry.dataset_id = Some(dataset.id);
        });
    }

    /// Notes what else there is to say.
    pub fn say(&self, detail: impl std::fmt::Display) {
        self.note(|entry| entry.say(detail));
    }

    /// Whoever goes on with it tells of it; the request that it came with.
    pub fn leave(&self) -> Option<String> {
        self.entry.lock().take().and_then(|entry| entry.request_id)
    }

    /// It has ended.
    pub fn end(&self, error: Option<(ErrorKind, &str)>) {
        let Some(entry) = self.entry.lock().take() else { return };
        let refused = error.is_some_and(|(kind, _)| kind == ErrorKind::Unauthenticated);
        if self.whole || refused {
            let at = Utc::now().trunc_subsecs(6);
            self.trail.add(AuditEntry { at, ..entry.ended(error) });
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.end(Some((ErrorKind::Cancelled, "request_cancelled")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::PrincipalId;

    fn entry(n: u64, known: bool) -> AuditEntry {
        let by = known.then(|| Audited { id: PrincipalId::generate(), name: "ann".to_owned() });
        AuditEntry { version: Some(n), ..AuditEntry::new(Protocol::Rest, AuditAction::Query, by) }
    }

    fn versions(taken: &Taken) -> Vec<u64> {
        taken.entries.iter().filter_map(|entry| entry.version).collect()
    }

    #[tokio::test]
    async fn what_could_not_be_told_is_told_first() {
        let trail = Trail::new();
        trail.add(entry(1, true));
        trail.add(entry(2, true));
        let taken = trail.take().await;
        assert_eq!(versions(&taken), [1, 2]);
        trail.add(entry(3, true));
        trail.put_back(taken);
        assert_eq!(versions(&trail.take().await), [1, 2, 3]);
        let (taken, ()) = futures::join!(trail.take(), async { trail.add(entry(4, false)) });
        assert_eq!((versions(&taken), trail.waiting(), trail.lost()), (vec![4], 0, 0));
    }

    #[test]
    fn of_too_many_the_oldest_are_lost_and_nobody_pushes_out_others() {
        let trail = Trail::new();
        for n in 0..MOST as u64 {
            trail.add(entry(n, false));
        }
        assert_eq!((trail.waiting(), trail.lost()), (MOST_OF_NOBODY, MOST_OF_NOBODY as u64));
        for n in 0..MOST as u64 {
            trail.add(entry(n, true));
        }
        let taken = trail.take_now();
        assert_eq!(versions(&taken), (0..TOGETHER as u64).collect::<Vec<_>>());
        assert!(taken.entries.iter().all(|entry| entry.by.is_some()));
        trail.add(entry(1, true));
        trail.put_back(taken);
        assert_eq!((trail.waiting(), trail.lost()), (MOST, MOST as u64 + 1));
    }

    #[test]
    fn a_visit_is_told_once_also_when_it_is_given_up() {
        let trail = Trail::new();
        let visit = Visit::begin(&trail, entry(1, true));
        visit.note(|entry| entry.say("a\nb"));
        visit.end(Some((ErrorKind::NotFound, "dataset_not_found")));
        visit.end(None);
        drop(visit);
        drop(Visit::begin(&trail, entry(2, true)));
        assert_eq!(Visit::begin(&trail, entry(3, true)).leave(), None);
        let told = trail.take_now().entries.into_iter().map(|entry| (entry.version, entry.decision, entry.code));
        let told: Vec<_> = told.collect();
        assert_eq!(
            told,
            [
                (Some(1), Decision::Denied, Some("dataset_not_found".to_owned())),
                (Some(2), Decision::Failed, Some("request_cancelled".to_owned())),
            ]
        );
    }

    #[test]
    fn one_that_passes_is_told_only_when_its_credential_is_refused() {
        let trail = Trail::new();
        drop(Visit::passing(&trail, entry(1, false)));
        Visit::passing(&trail, entry(2, false)).end(None);
        Visit::passing(&trail, entry(3, false)).end(Some((ErrorKind::Denied, "denied")));
        Visit::passing(&trail, entry(4, false)).end(Some((ErrorKind::Unauthenticated, "unauthenticated")));
        assert_eq!(versions(&trail.take_now()), [4]);
    }

    #[test]
    fn what_may_not_be_seen_is_denied_and_what_is_wrong_fails() {
        for (kind, code, expected) in [
            (ErrorKind::Unauthenticated, "unauthenticated", Decision::Denied),
            (ErrorKind::Denied, "denied", Decision::Denied),
            (ErrorKind::NotFound, "dataset_not_found", Decision::Denied),
            (ErrorKind::NotFound, "version_not_found", Decision::Failed),
            (ErrorKind::Overloaded, "too_many_logins", Decision::Denied),
            (ErrorKind::Invalid, "invalid_request", Decision::Failed),
        ] {
            assert_eq!(Decision::of(kind, code), expected, "{code}");
        }
    }
}
