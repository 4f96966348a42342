//! Who is kept up next: one job per table at a time, in the order in which they were asked for, a few side by side.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lakegate_catalog::DatasetId;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;

use crate::compact::Compacted;
use crate::error::{LakeError, Result};
use crate::vacuum::Vacuumed;

/// Jobs that may wait; a commit that finds no place asks again with the next one.
const LENGTH: usize = 256;
/// Jobs that run side by side: most of their time they wait for the store.
const AT_ONCE: usize = 8;
/// How long a table rests after its upkeep failed, twice as long each time …
const FIRST_REST: Duration = Duration::from_secs(1);
/// … up to this.
const LONGEST_REST: Duration = Duration::from_secs(300);

/// A job for a table.
pub(crate) enum Due {
    /// A commit found that there is something to do.
    Commit(DatasetId),
    /// Someone waits for all small files to be rewritten.
    Compaction(DatasetId, oneshot::Sender<Result<Compacted>>),
    /// Someone waits for old files to be removed.
    Vacuum(DatasetId, oneshot::Sender<Result<Vacuumed>>),
}

impl Due {
    fn dataset(&self) -> DatasetId {
        match self {
            Self::Commit(id) | Self::Compaction(id, _) | Self::Vacuum(id, _) => *id,
        }
    }

    /// Whether nobody waits for it, so that it may be put off.
    fn is_unasked(&self) -> bool {
        matches!(self, Self::Commit(_))
    }
}

/// What goes on in the upkeep of a lake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpkeepUsage {
    /// Jobs that wait.
    pub waiting: usize,
    /// Jobs that run.
    pub running: usize,
    /// How long the oldest of those that wait has waited.
    pub oldest: Duration,
    /// Tables whose upkeep failed the last time.
    pub failing: usize,
    /// Jobs that have failed.
    pub failures: u64,
}

/// The jobs of a lake.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// There is another job, or room for one.
    news: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Due, Instant)>,
    served: HashSet<DatasetId>,
    resting: HashMap<DatasetId, Rest>,
    failures: u64,
    closed: bool,
}

/// After failures in a row.
#[derive(Clone, Copy)]
struct Rest {
    failures: u32,
    until: Instant,
}

impl Queue {
    /// Adds a job, unless it waits already. Errors: [`LakeError::Busy`].
    pub(crate) fn ask(&self, due: Due) -> Result<()> {
        let mut state = self.state.lock();
        let id = due.dataset();
        if due.is_unasked() && state.waiting.iter().any(|(other, _)| other.is_unasked() && other.dataset() == id) {
            return Ok(());
        }
        if state.closed || state.waiting.len() >= LENGTH {
            return Err(LakeError::Busy);
        }
        state.waiting.push_back((due, Instant::now()));
        drop(state);
        self.news.notify_one();
        Ok(())
    }

    /// Nothing is served any more; who waits is told so.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.waiting.clear();
        drop(state);
        self.news.notify_one();
    }

    pub(crate) fn usage(&self) -> UpkeepUsage {
        let state = self.state.lock();
        UpkeepUsage {
            waiting: state.waiting.len(),
            running: state.served.len(),
            oldest: state.waiting.iter().map(|(_, since)| since.elapsed()).max().unwrap_or_default(),
            failing: state.resting.len(),
            failures: state.failures,
        }
    }

    /// Serves jobs, a few side by side, until the queue is closed. `serve` says whether a job went well.
    pub(crate) async fn run<F>(self: Arc<Self>, serve: impl Fn(Due) -> F)
    where
        F: Future<Output = bool> + Send + 'static,
    {
        let mut jobs = JoinSet::new();
        while !self.state.lock().closed {
            while jobs.len() < AT_ONCE
                && let Some((due, turn)) = self.next(Instant::now())
            {
                let job = serve(due);
                jobs.spawn(async move { turn.end(job.await) });
            }
            // While all places are taken, one that comes free is what is waited for: who has rested enough would wake this
            // at once, again and again.
            let rested = if jobs.len() < AT_ONCE { self.rested() } else { None }.map(tokio::time::Instant::from_std);
            tokio::select! {
                () = self.news.notified() => {}
                _ = jobs.join_next(), if !jobs.is_empty() => {}
                () = tokio::time::sleep_until(rested.unwrap_or_else(tokio::time::Instant::now)), if rested.is_some() => {}
            }
        }
    }

    /// The first job whose table is neither served nor at rest.
    fn next(self: &Arc<Self>, now: Instant) -> Option<(Due, Turn)> {
        let mut state = self.state.lock();
        let rests = |id| state.resting.get(&id).is_some_and(|rest| rest.until > now);
        let ready = |due: &Due| {
            let id = due.dataset();
            !(state.served.contains(&id) || due.is_unasked() && rests(id))
        };
        let at = state.waiting.iter().position(|(due, _)| ready(due))?;
        let (due, _) = state.waiting.remove(at)?;
        let dataset = due.dataset();
        state.served.insert(dataset);
        Some((due, Turn { queue: Arc::clone(self), dataset }))
    }

    /// When the next table that has a job has rested enough.
    fn rested(&self) -> Option<Instant> {
        let state = self.state.lock();
        let waiting = state.waiting.iter().filter(|(due, _)| !state.served.contains(&due.dataset()));
        waiting.filter_map(|(due, _)| Some(state.resting.get(&due.dataset())?.until)).min()
    }
}

/// A table that is being served; no other job of it runs meanwhile.
struct Turn {
    queue: Arc<Queue>,
    dataset: DatasetId,
}

impl Turn {
    fn end(self, well: bool) {
        let now = Instant::now();
        let mut state = self.queue.state.lock();
        if well {
            state.resting.remove(&self.dataset);
            return;
        }
        state.failures += 1;
        // Whoever has not failed again for so long is forgotten.
        state.resting.retain(|_, rest| now < rest.until + LONGEST_REST);
        let failures = state.resting.get(&self.dataset).map_or(0, |rest| rest.failures);
        let rest = FIRST_REST.saturating_mul(1 << failures.min(16)).min(LONGEST_REST);
        state.resting.insert(self.dataset, Rest { failures: failures + 1, until: now + rest });
    }
}

impl Drop for Turn {
    /// Also when the job panicked.
    fn drop(&mut self) {
        self.queue.state.lock().served.remove(&self.dataset);
        self.queue.news.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Arc<Queue> {
        Arc::new(Queue::default())
    }

    fn ids<const N: usize>() -> [DatasetId; N] {
        std::array::from_fn(|_| DatasetId::generate())
    }

    #[test]
    fn a_table_has_one_job_at_a_time_and_the_others_go_on() {
        let (queue, [first, second], now) = (queue(), ids(), Instant::now());
        queue.ask(Due::Commit(first)).expect("room");
        queue.ask(Due::Commit(first)).expect("is waiting");
        queue.ask(Due::Vacuum(first, oneshot::channel().0)).expect("room");
        queue.ask(Due::Commit(second)).expect("room");
        assert_eq!(queue.usage().waiting, 3, "a job that waits is not asked for twice");
        let (due, turn) = queue.next(now).expect("first");
        assert!(due.is_unasked() && due.dataset() == first);
        let (due, other) = queue.next(now).expect("second");
        assert_eq!(due.dataset(), second);
        assert!(queue.next(now).is_none(), "the first is being served");
        turn.end(true);
        assert!(queue.next(now).is_some_and(|(due, _)| !due.is_unasked()));
        drop(other);
        assert_eq!(queue.usage(), UpkeepUsage::default());
    }

    #[test]
    fn a_table_that_fails_rests_longer_each_time_unless_someone_asks() {
        let (queue, [failing, other], now) = (queue(), ids(), Instant::now());
        for seconds in [1, 2, 4, 8] {
            queue.ask(Due::Commit(failing)).expect("room");
            queue.ask(Due::Commit(other)).expect("room");
            let later = now + Duration::from_secs(1_000);
            queue.next(later).expect("rested").1.end(false);
            queue.next(now).expect("the other does not rest").1.end(true);
            queue.ask(Due::Commit(failing)).expect("room");
            assert!(queue.next(now).is_none());
            let rest = queue.rested().expect("rests").duration_since(now);
            assert!(rest > Duration::from_millis(seconds * 1_000 - 100), "{rest:?} instead of {seconds}");
            queue.ask(Due::Vacuum(failing, oneshot::channel().0)).expect("room");
            assert!(queue.next(now).is_some_and(|(due, _)| !due.is_unasked()));
            assert!(queue.next(later).is_some());
        }
        assert_eq!((queue.usage().failing, queue.usage().failures), (1, 4));
    }

    #[test]
    fn a_full_queue_says_so() {
        let queue = queue();
        for _ in 0..LENGTH {
            queue.ask(Due::Commit(DatasetId::generate())).expect("room");
        }
        assert!(matches!(queue.ask(Due::Commit(DatasetId::generate())), Err(LakeError::Busy)));
    }

    #[tokio::test]
    async fn a_job_that_stalls_holds_up_no_other_table() {
        let (queue, [stalled]) = (queue(), ids());
        queue.ask(Due::Commit(stalled)).expect("room");
        let (answers, answered): (Vec<_>, Vec<_>) = (0..20).map(|_| oneshot::channel()).unzip();
        for answer in answers {
            queue.ask(Due::Vacuum(DatasetId::generate(), answer)).expect("room");
        }
        let serve = |due| async move {
            match due {
                Due::Vacuum(_, answer) => answer.send(Ok(Vacuumed::default())).is_ok(),
                _ => std::future::pending().await,
            }
        };
        let running = tokio::spawn(Arc::clone(&queue).run(serve));
        for answer in answered {
            answer.await.expect("served").expect("well");
        }
        assert_eq!((queue.usage().running, queue.usage().waiting), (1, 0));
        queue.close();
        running.await.expect("ends");
    }

    #[tokio::test]
    async fn it_sleeps_while_all_places_are_taken() {
        let queue = queue();
        for id in ids::<{ AT_ONCE + 1 }>() {
            let rest = Rest { failures: 1, until: Instant::now() };
            queue.state.lock().resting.insert(id, rest);
            queue.ask(Due::Commit(id)).expect("room");
        }
        let mut running = Box::pin(Arc::clone(&queue).run(|_| std::future::pending()));
        let mut polls = 0;
        let polled = std::future::poll_fn(|context| {
            polls += 1;
            running.as_mut().poll(context)
        });
        let _ = tokio::time::timeout(Duration::from_millis(50), polled).await;
        assert_eq!((queue.usage().running, queue.usage().waiting), (AT_ONCE, 1));
        assert!(polls < 100, "woken {polls} times for nothing");
    }
}
