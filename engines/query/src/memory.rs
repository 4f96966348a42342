//! Memory budgets: a pool per query inside the pool of the process.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::common::Result;
use datafusion::execution::memory_pool::{FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};

/// What a query takes, it takes from its own budget and from the process's.
///
/// The query's own pool is fair among operators that can spill, so that a sort above a join still
/// gets its share. The pool is advisory: operators ask it for what they keep, not for each batch in
/// flight, and functions do not ask at all. The watchdog and the bounds on functions cover the rest.
#[derive(Debug)]
pub(crate) struct QueryPool {
    own: FairSpillPool,
    limit: usize,
    process: Arc<dyn MemoryPool>,
    refused: AtomicBool,
}

impl QueryPool {
    /// A budget of `limit` bytes inside `process`.
    pub(crate) fn new(limit: usize, process: Arc<dyn MemoryPool>) -> Self {
        Self { own: FairSpillPool::new(limit), limit, process, refused: AtomicBool::new(false) }
    }

    /// Whether this pool has ever said no: an operator that then fails for want of resources failed
    /// for memory, unless its spill quota is used up.
    pub(crate) fn refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }
}

impl fmt::Display for QueryPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "query({} of {} bytes)", self.own.reserved(), self.limit)
    }
}

impl MemoryPool for QueryPool {
    fn name(&self) -> &str {
        "query"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.own.register(consumer);
        self.process.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.own.unregister(consumer);
        self.process.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.own.grow(reservation, additional);
        self.process.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.own.shrink(reservation, shrink);
        self.process.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let grown = self.own.try_grow(reservation, additional).and_then(|()| {
            self.process.try_grow(reservation, additional).inspect_err(|_| self.own.shrink(reservation, additional))
        });
        grown.inspect_err(|_| self.refused.store(true, Ordering::Relaxed))
    }

    fn reserved(&self) -> usize {
        self.own.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    use super::*;

    #[test]
    fn both_budgets_hold_and_both_are_given_back() {
        let process: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(150));
        let query = || -> Arc<dyn MemoryPool> { Arc::new(QueryPool::new(100, Arc::clone(&process))) };
        let (first, second) = (query(), query());
        let a = MemoryConsumer::new("a").register(&first);
        let b = MemoryConsumer::new("b").register(&second);
        assert!(a.try_grow(101).is_err(), "past the query's own budget");
        a.try_grow(100).expect("within both");
        assert!(b.try_grow(60).is_err(), "past the process's budget");
        assert_eq!((second.reserved(), process.reserved()), (0, 100), "a refusal takes nothing");
        drop(a);
        b.try_grow(60).expect("given back");
        assert_eq!(process.reserved(), 60);
    }
}
