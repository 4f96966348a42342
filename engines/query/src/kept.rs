//! Plans that were made to say what a statement answers, kept for a moment: many clients ask that first, and fetch the
//! rows right after.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use lakegate_catalog::{Caller, PrincipalId};
use lakegate_statement::AsOf;
use parking_lot::Mutex;

use crate::engine::QueryRequest;
use crate::plan::Made;

/// Plans at a time; the oldest goes first.
const MOST: usize = 64;
/// How long a plan is kept. `now()` is the time of its making.
const SOON: Duration = Duration::from_secs(5);

/// A request and whose it is, whichever versions it asks for.
#[derive(Debug, PartialEq)]
pub(crate) struct Asked {
    caller: Option<PrincipalId>,
    request: QueryRequest,
}

impl Asked {
    pub(crate) fn new(caller: &Caller, request: &QueryRequest) -> Self {
        let request = QueryRequest { as_of: AsOf::default(), request_id: None, ..request.clone() };
        Self { caller: caller.principal().map(|principal| principal.id), request }
    }

    /// Whether the request names the query, so that it can come again.
    pub(crate) fn has_id(&self) -> bool {
        self.request.id.is_some()
    }
}

/// What a plan is for: the same request of the same caller, over the same versions of the same datasets.
#[derive(Debug, PartialEq)]
pub(crate) struct Key {
    pub(crate) asked: Asked,
    /// [`Reading::fingerprint`](crate::open::Reading::fingerprint) of what it reads.
    pub(crate) reads: String,
}

/// The plans, the newest at the end. Each is taken once.
#[derive(Default)]
pub(crate) struct Plans(Mutex<VecDeque<(Key, Instant, Made)>>);

impl Plans {
    pub(crate) fn keep(&self, key: Key, made: Made) {
        let now = Instant::now();
        let mut plans = self.0.lock();
        plans.retain(|(_, since, _)| now.duration_since(*since) < SOON);
        if plans.len() >= MOST {
            plans.pop_front();
        }
        plans.push_back((key, now, made));
    }

    pub(crate) fn take(&self, key: &Key) -> Option<Made> {
        let mut plans = self.0.lock();
        let at = plans.iter().position(|(known, _, _)| known == key)?;
        let (_, since, made) = plans.remove(at)?;
        (since.elapsed() < SOON).then_some(made)
    }
}
