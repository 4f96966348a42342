//! The watchdog: a thread that stops queries past their deadline, and the largest one when the
//! process is short of memory.
//!
//! It is a plain thread because it must not wait behind what it watches.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{QueryError, Result};
use crate::running::{Queries, Stop};

/// Between two looks. Memory can grow by some hundred MiB in this time.
const PERIOD: Duration = Duration::from_millis(50);
/// After a query was stopped, how long its memory may take to come back before the next is stopped.
const PATIENCE: Duration = Duration::from_millis(500);

/// Starts the watchdog; it ends when `queries` is gone.
pub(crate) fn start(queries: &Arc<Queries>, process_memory: usize) -> Result<()> {
    let mut watchdog = Watchdog { queries: Arc::downgrade(queries), limit: process_memory, patient_until: None };
    let spawned = thread::Builder::new().name("query-watchdog".to_owned()).spawn(move || {
        while watchdog.look(Instant::now(), resident()) {
            thread::park_timeout(PERIOD);
        }
    });
    spawned.map(drop).map_err(|e| QueryError::internal("the watchdog cannot start", e))
}

/// Bytes of this process in memory; 0 where the system does not say.
fn resident() -> usize {
    memory_stats::memory_stats().map_or(0, |stats| stats.physical_mem)
}

struct Watchdog {
    queries: Weak<Queries>,
    limit: usize,
    patient_until: Option<Instant>,
}

impl Watchdog {
    fn look(&mut self, now: Instant, resident: usize) -> bool {
        let Some(queries) = self.queries.upgrade() else { return false };
        for running in queries.all().iter().filter(|running| running.overdue(now)) {
            running.stop(Stop::Deadline);
        }
        let patient = self.patient_until.is_some_and(|until| now < until);
        if resident > self.limit && !patient && queries.stop_largest() {
            self.patient_until = Some(now + PATIENCE);
        }
        true
    }
}

/// The bytes of memory that the process may take at most: the cgroup's limit or the machine's memory, less a tenth.
#[must_use]
pub fn available_memory() -> usize {
    let cgroup = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok()?.trim().parse::<usize>().ok());
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_memory(&text));
    let least = cgroup.into_iter().chain(machine).min();
    least.map_or(usize::MAX, |bytes| bytes / 10 * 9)
}

fn total_memory(meminfo: &str) -> Option<usize> {
    let line = meminfo.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: usize = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryConsumer, MemoryPool};

    use lakegate_catalog::Caller;

    use super::*;
    use crate::memory::QueryPool;
    use crate::record::Record;

    fn record(id: &str) -> Arc<Record> {
        Arc::new(Record::new(id.to_owned(), true, "SELECT 1", &lakegate_catalog::Caller::Anonymous, Arc::default()))
    }

    #[tokio::test]
    async fn the_largest_is_stopped_one_at_a_time() {
        let process: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1_000));
        let queries = Arc::new(Queries::new(4));
        let quota = crate::spill::Spill::new("unused".into(), 0).quota();
        let mut running = Vec::new();
        let mut reservations = Vec::new();
        for (id, bytes) in [("small", 10), ("large", 100), ("middle", 50)] {
            let pool = QueryPool::new(500, Arc::clone(&process));
            let query = queries
                .admit(&Caller::Anonymous, record(id), Duration::from_secs(60), pool, quota.clone())
                .await
                .expect("admitted");
            let as_pool: Arc<dyn MemoryPool> = Arc::clone(&query.pool) as Arc<dyn MemoryPool>;
            let reservation = MemoryConsumer::new(id).register(&as_pool);
            reservation.try_grow(bytes).expect("fits");
            reservations.push(reservation);
            running.push(query);
        }
        let stopped = || running.iter().filter(|r| r.is_stopped()).map(|r| r.record.id.as_str()).collect::<Vec<_>>();
        let mut watchdog = Watchdog { queries: Arc::downgrade(&queries), limit: 99, patient_until: None };
        let now = Instant::now();
        watchdog.look(now, 99);
        assert!(stopped().is_empty(), "not over the limit");
        watchdog.look(now, 100);
        watchdog.look(now, 100);
        assert_eq!(stopped(), ["large"], "memory takes a moment to come back");
        watchdog.look(now + PATIENCE, 100);
        assert_eq!(stopped(), ["large", "middle"]);
        watchdog.look(now + Duration::from_secs(61), 0);
        assert_eq!(stopped().len(), 3, "deadlines are kept too");
        assert_eq!(running[0].error().code(), "query_deadline");
        assert_eq!(running[1].error().code(), "query_memory_exhausted");
    }

    #[test]
    fn the_machine_says_how_much_memory_it_has() {
        assert_eq!(total_memory("MemTotal:       16 kB\nMemFree: 1 kB\n"), Some(16 * 1024));
        assert!(available_memory() > 0);
    }
}
