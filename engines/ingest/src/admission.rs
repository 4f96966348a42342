//! Which pushes run now, which wait, and which are told to come back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lakegate_catalog::Pace;
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
/// A message of Arrow or a row group of Parquet, packed and unpacked, beside the row group that is written.
const COLUMNS: u64 = 192 << 20;

/// The places for pushes: a number of them, and the memory that they share. Whoever finds none waits in line, for a
/// bounded time; the line is bounded too.
pub(crate) struct Admission {
    places: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    line: Semaphore,
    pace: Arc<Pace>,
    max_pushes: usize,
    max_queued: usize,
    patience: Duration,
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
}

/// A place. Dropping it lets the next one in.
pub struct Place {
    _place: OwnedSemaphorePermit,
    _memory: OwnedSemaphorePermit,
    since: Instant,
    pace: Arc<Pace>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pace.held(self.since.elapsed());
    }
}

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Self {
        let units = (limits.memory / UNIT).clamp(1, u64::from(u32::MAX));
        // A row as text, as values, and within a row group.
        let most = ROW_GROUP + 3 * limits.max_row as u64;
        Self {
            places: Arc::new(Semaphore::new(limits.max_pushes)),
            memory: Arc::new(Semaphore::new(usize::try_from(units).unwrap_or(usize::MAX >> 3))),
            line: Semaphore::new(limits.max_queued),
            pace: Arc::default(),
            max_pushes: limits.max_pushes,
            max_queued: limits.max_queued,
            patience: limits.patience,
            units,
            most,
        }
    }

    /// The places that are taken.
    pub(crate) fn running(&self) -> usize {
        self.max_pushes - self.places.available_permits()
    }

    /// Waits for a place. Errors: `too_many_pushes` when the line is full, or the wait too long.
    pub(crate) async fn admit(&self, size: Size) -> Result<Place> {
        let units = self.needed(size);
        if let Some(place) = self.at_once(units) {
            return Ok(place);
        }
        let waiting = self.line.try_acquire();
        let _waiting = waiting.map_err(|_| self.busy("too many pushes are waiting"))?;
        let wait = tokio::time::timeout(self.patience, self.take(units)).await;
        wait.map_err(|_| self.busy("other pushes took all the time that this one could wait"))?
    }

    fn at_once(&self, units: u32) -> Option<Place> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let memory = Arc::clone(&self.memory).try_acquire_many_owned(units).ok()?;
        Some(self.place(place, memory))
    }

    async fn take(&self, units: u32) -> Result<Place> {
        let closed = |_| self.busy("the gateway is stopping");
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(closed)?;
        let memory = Arc::clone(&self.memory).acquire_many_owned(units).await.map_err(closed)?;
        Ok(self.place(place, memory))
    }

    fn place(&self, place: OwnedSemaphorePermit, memory: OwnedSemaphorePermit) -> Place {
        Place { _place: place, _memory: memory, since: Instant::now(), pace: Arc::clone(&self.pace) }
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
            Some(format) if !format.is_text() => (8, self.most.max(COLUMNS)),
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
            memory: 160 << 20,
            patience: Duration::from_millis(20),
            timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(30),
            spool: std::env::temp_dir(),
        })
    }

    fn sized(length: u64) -> Size {
        Size { length: Some(length), format: None }
    }

    #[tokio::test]
    async fn memory_is_shared_and_given_back() {
        let admission = admission();
        let large = admission.admit(Size::default()).await.expect("64 MiB of 160");
        let other = admission.admit(sized(1 << 30)).await.expect("64 MiB more");
        assert_eq!(admission.admit(Size::default()).await.err().map(|e| e.code()), Some("too_many_pushes"));
        let small = admission.admit(sized(1_000)).await.expect("there is room for a small one");
        assert!(admission.admit(sized(1_000)).await.is_err(), "every place is taken");
        drop((large, other, small));
        for _ in 0..3 {
            admission.admit(Size::default()).await.expect("all of it came back");
        }
    }

    #[tokio::test]
    async fn the_line_is_bounded() {
        let admission = Arc::new(Admission { patience: Duration::from_secs(60), ..admission() });
        let held: Vec<_> =
            [admission.admit(sized(1)).await, admission.admit(sized(1)).await, admission.admit(sized(1)).await]
                .into_iter()
                .collect::<Result<_>>()
                .expect("three places");
        let waiting = tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.admit(sized(1)).await.is_ok() }
        });
        while admission.line.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(admission.admit(sized(1)).await.is_err(), "one waits already");
        drop(held);
        assert!(waiting.await.expect("joined"), "who waited gets a place");
    }
}
