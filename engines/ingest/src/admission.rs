//! Which pushes run now, which wait, and which are told to come back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lakegate_catalog::{Caller, Pace, Shares};
use lakegate_formats::Format;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{IngestError, Result};
use crate::limits::Limits;

/// Memory is given out in units of this many bytes.
const UNIT: u64 = 64 << 10;
/// What a push holds however small it is.
const LEAST: u64 = 1 << 20;
/// A row group before it is written, and what its writer needs.
const ROW_GROUP: u64 = 16 << 20;
/// Batches of Arrow on their way to the row group, as long as their messages are [light](LIGHT).
const BATCHES: u64 = 8 << 20;
/// A message of Arrow that arrives in pieces, before it is whole.
const MESSAGE: u64 = 32 << 20;
/// A message of Arrow or a row group of Parquet, packed and unpacked, while batches are made of it. Held only while
/// something is done, never while a client is waited for.
const COLUMNS: u64 = 192 << 20;
/// A message of Arrow of more bytes than this waits for memory of its own.
const LIGHT: u64 = 2 << 20;
/// What is made of bytes, at most, in times their number.
const TIMES: u64 = 8;

/// The places for pushes: a number of them, and the memory that they share. Whoever finds none waits in line, for a
/// bounded time; the line is bounded too. No caller takes all places, or all memory, however long it holds them.
pub(crate) struct Admission {
    places: Arc<Semaphore>,
    place_shares: Shares,
    /// What pushes hold from their beginning to their end.
    memory: Arc<Semaphore>,
    memory_shares: Shares,
    /// What they hold for moments.
    bursts: Arc<Semaphore>,
    burst_units: u64,
    line: Semaphore,
    pace: Arc<Pace>,
    max_pushes: usize,
    max_queued: usize,
    patience: Duration,
    timeout: Duration,
    units: u64,
    most: u64,
}

/// What is known of a push before its body.
#[derive(Clone, Copy, Debug, Default)]
pub struct Size {
    /// Bytes of the body when unpacked, if that is known.
    pub length: Option<u64>,
    /// Its format, if that is known.
    pub format: Option<Format>,
    /// Whether it arrives in whole messages of Arrow: those are held by whoever receives them.
    pub whole: bool,
}

/// A place. Dropping it lets the next one in.
pub struct Place {
    _permits: Vec<OwnedSemaphorePermit>,
    bursts: Arc<Semaphore>,
    burst_units: u64,
    /// How long it may wait for memory: others come to their end, and nothing that was sent is thrown away.
    timeout: Duration,
    since: Instant,
    pace: Arc<Pace>,
}

impl Place {
    /// Waits for the memory that it takes to unpack this many bytes; `None` when they are few. Drop it when the rows are
    /// written. Errors: `too_many_pushes` when others hold it for too long.
    pub(crate) async fn burst(&self, unpacked: u64) -> Result<Option<OwnedSemaphorePermit>> {
        if unpacked <= LIGHT {
            return Ok(None);
        }
        let bytes = unpacked.saturating_mul(TIMES).min(COLUMNS);
        let units = u32::try_from(bytes.div_ceil(UNIT).clamp(1, self.burst_units)).unwrap_or(u32::MAX);
        let burst = tokio::time::timeout(self.timeout, Arc::clone(&self.bursts).acquire_many_owned(units)).await;
        let busy = || {
            let seconds = self.pace.seconds(0, 1);
            IngestError::TooManyPushes { why: "other pushes took the memory that a large batch needs", seconds }
        };
        burst.map_err(|_| busy())?.map(Some).map_err(|_| busy())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pace.held(self.since.elapsed());
    }
}

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Self {
        let all = (limits.memory / UNIT).clamp(2, u64::from(u32::MAX));
        let burst_units = (COLUMNS / UNIT).min(all / 2);
        let units = all - burst_units;
        let permits = |units: u64| usize::try_from(units).unwrap_or(usize::MAX >> 3);
        // A row as text, as values, and within a row group.
        let most = ROW_GROUP + 3 * limits.max_row as u64;
        Self {
            places: Arc::new(Semaphore::new(limits.max_pushes)),
            place_shares: Shares::of(limits.max_pushes),
            memory: Arc::new(Semaphore::new(permits(units))),
            memory_shares: Shares::of(permits(units)),
            bursts: Arc::new(Semaphore::new(permits(burst_units))),
            burst_units,
            line: Semaphore::new(limits.max_queued),
            pace: Arc::default(),
            max_pushes: limits.max_pushes,
            max_queued: limits.max_queued,
            patience: limits.patience,
            timeout: limits.timeout,
            units,
            most,
        }
    }

    /// The places that are taken.
    pub(crate) fn running(&self) -> usize {
        self.max_pushes - self.places.available_permits()
    }

    /// Waits for a place. Errors: `too_many_pushes` when the line is full, or the wait too long.
    pub(crate) async fn admit(&self, caller: &Caller, size: Size) -> Result<Place> {
        let units = self.needed(size);
        // One push may need more than a caller's share: then it has all of that.
        let share = units.min(u32::try_from(self.memory_shares.each()).unwrap_or(u32::MAX));
        let wanted = [
            (self.place_shares.share(caller), 1),
            (self.memory_shares.share(caller), share),
            (Arc::clone(&self.places), 1),
            (Arc::clone(&self.memory), units),
        ];
        let at_once = wanted.iter().map(|(semaphore, permits)| Arc::clone(semaphore).try_acquire_many_owned(*permits));
        if let Ok(permits) = at_once.collect() {
            return Ok(self.place(permits));
        }
        let waiting = self.line.try_acquire();
        let _waiting = waiting.map_err(|_| self.busy("too many pushes are waiting"))?;
        let take = async {
            let mut permits = Vec::new();
            for (semaphore, wanted) in wanted {
                permits.push(
                    semaphore.acquire_many_owned(wanted).await.map_err(|_| self.busy("the gateway is stopping"))?,
                );
            }
            Ok(self.place(permits))
        };
        let wait = tokio::time::timeout(self.patience, take).await;
        wait.map_err(|_| self.busy("other pushes took all the time that this one could wait"))?
    }

    fn place(&self, permits: Vec<OwnedSemaphorePermit>) -> Place {
        Place {
            _permits: permits,
            bursts: Arc::clone(&self.bursts),
            burst_units: self.burst_units,
            timeout: self.timeout,
            since: Instant::now(),
            pace: Arc::clone(&self.pace),
        }
    }

    /// A refusal that says when there may be a place. As many run side by side as do now: memory may be what is short.
    fn busy(&self, why: &'static str) -> IngestError {
        let seconds = self.pace.seconds(self.max_queued - self.line.available_permits(), self.running());
        IngestError::TooManyPushes { why, seconds }
    }

    /// What a push will hold at most, in units. A body of known length makes values of a few times its size; another
    /// may be anything.
    fn needed(&self, size: Size) -> u32 {
        let (times, most) = match size.format {
            Some(Format::Parquet) => (TIMES, ROW_GROUP),
            Some(format) if !format.is_text() => (TIMES, ROW_GROUP + BATCHES + if size.whole { 0 } else { MESSAGE }),
            _ => (4, self.most),
        };
        let bytes = size.length.map_or(most, |length| length.saturating_mul(times).saturating_add(LEAST).min(most));
        u32::try_from(bytes.div_ceil(UNIT).clamp(1, self.units)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission() -> Admission {
        Admission::new(&Limits {
            max_body: 1 << 30,
            max_row: 16 << 20,
            max_pushes: 3,
            max_queued: 1,
            memory: 320 << 20,
            patience: Duration::from_millis(20),
            timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(30),
            spool: std::env::temp_dir(),
        })
    }

    fn sized(length: u64) -> Size {
        Size { length: Some(length), ..Size::default() }
    }

    #[tokio::test]
    async fn memory_is_shared_and_given_back() {
        let admission = admission();
        let large = admission
            .admit(&Caller::Anonymous, Size::default())
            .await
            .expect("64 MiB of the 160 that are held for long");
        let other = admission.admit(&Caller::Anonymous, sized(1 << 30)).await.expect("64 MiB more");
        assert_eq!(
            admission.admit(&Caller::Anonymous, Size::default()).await.err().map(|e| e.code()),
            Some("too_many_pushes")
        );
        let small = admission.admit(&Caller::Anonymous, sized(1_000)).await.expect("there is room for a small one");
        assert!(admission.admit(&Caller::Anonymous, sized(1_000)).await.is_err(), "every place is taken");
        drop((large, other, small));
        for _ in 0..3 {
            admission.admit(&Caller::Anonymous, Size::default()).await.expect("all of it came back");
        }
    }

    #[tokio::test]
    async fn the_line_is_bounded() {
        let admission = Arc::new(Admission { patience: Duration::from_secs(60), ..admission() });
        let held: Vec<_> = [
            admission.admit(&Caller::Anonymous, sized(1)).await,
            admission.admit(&Caller::Anonymous, sized(1)).await,
            admission.admit(&Caller::Anonymous, sized(1)).await,
        ]
        .into_iter()
        .collect::<Result<_>>()
        .expect("three places");
        let waiting = tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.admit(&Caller::Anonymous, sized(1)).await.is_ok() }
        });
        while admission.line.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(admission.admit(&Caller::Anonymous, sized(1)).await.is_err(), "one waits already");
        drop(held);
        assert!(waiting.await.expect("joined"), "who waited gets a place");
    }
}
