//! Who is connected, and who of them waits for nothing: the one that has been idle longest is the first to go when
//! there is no more room.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// The open connections.
pub(crate) struct Roster {
    places: Arc<Semaphore>,
    idle: Mutex<Idle>,
}

/// Idle connections in the order in which they became so.
#[derive(Default)]
struct Idle {
    next: u64,
    waiting: BTreeMap<u64, CancellationToken>,
}

impl Roster {
    pub(crate) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self { places: Arc::new(Semaphore::new(places)), idle: Mutex::default() })
    }

    /// A place for one more connection. When all are taken, the one that has been idle longest is closed.
    pub(crate) async fn admit(self: &Arc<Self>) -> Guest {
        loop {
            if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
                return Guest::new(Arc::clone(self), Some(place));
            }
            let oldest = self.idle.lock().waiting.pop_first();
            if let Some((_, close)) = oldest {
                close.cancel();
            }
            // Looked at again: all may have been busy, and one of them idle since.
            let place = tokio::time::timeout(LOOK_AGAIN, Arc::clone(&self.places).acquire_owned()).await;
            if let Ok(Ok(place)) = place {
                return Guest::new(Arc::clone(self), Some(place));
            }
        }
    }

    fn enter(&self, close: CancellationToken) -> u64 {
        let mut idle = self.idle.lock();
        idle.next += 1;
        let number = idle.next;
        idle.waiting.insert(number, close);
        number
    }

    fn leave(&self, number: u64) {
        self.idle.lock().waiting.remove(&number);
    }
}

/// Between two looks for a connection that became idle.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// One connection. Dropping it gives its place back.
pub(crate) struct Guest {
    requests: Requests,
    _place: Option<OwnedSemaphorePermit>,
}

/// The requests of one connection.
#[derive(Clone)]
pub(crate) struct Requests(Arc<State>);

struct State {
    roster: Arc<Roster>,
    close: CancellationToken,
    now: Mutex<Now>,
}

struct Now {
    running: usize,
    /// The number among the idle ones, and since when; `None` while requests run.
    idle: Option<(u64, Instant)>,
    /// Whether the connection has ended; requests of HTTP/2 may outlive it for a moment.
    ended: bool,
}

impl Guest {
    fn new(roster: Arc<Roster>, place: Option<OwnedSemaphorePermit>) -> Self {
        let close = CancellationToken::new();
        let number = roster.enter(close.clone());
        let now = Mutex::new(Now { running: 0, idle: Some((number, Instant::now())), ended: false });
        Self { requests: Requests(Arc::new(State { roster, close, now })), _place: place }
    }

    pub(crate) fn requests(&self) -> Requests {
        self.requests.clone()
    }

    /// Completes when the connection is to close.
    pub(crate) async fn closed(&self) {
        self.requests.0.close.cancelled().await;
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.requests.0.now.lock().running > 0
    }

    pub(crate) fn close_if_idle_for(&self, time: Duration) {
        let idle = self.requests.0.now.lock().idle;
        if idle.is_some_and(|(_, since)| since.elapsed() >= time) {
            self.requests.0.close.cancel();
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut now = self.requests.0.now.lock();
        now.ended = true;
        if let Some((number, _)) = now.idle.take() {
            self.requests.0.roster.leave(number);
        }
    }
}

impl Requests {
    /// Counts a request as running until the guard is dropped.
    pub(crate) fn begin(&self) -> Busy {
        let mut now = self.0.now.lock();
        now.running += 1;
        if let Some((number, _)) = now.idle.take() {
            self.0.roster.leave(number);
        }
        Busy(Arc::clone(&self.0))
    }
}

/// A request that runs.
pub(crate) struct Busy(Arc<State>);

impl Busy {
    /// Keeps the request running until its answer is sent or given up.
    pub(crate) fn until_sent(self, body: Body) -> BusyBody {
        BusyBody { body, _busy: self }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut now = self.0.now.lock();
        now.running -= 1;
        if now.running == 0 && !now.ended {
            let number = self.0.roster.enter(self.0.close.clone());
            now.idle = Some((number, Instant::now()));
        }
    }
}

/// The body of an answer, with its request's guard.
pub(crate) struct BusyBody {
    body: Body,
    _busy: Busy,
}

impl HttpBody for BusyBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_idle_connection_makes_room() {
        let roster = Roster::new(3);
        let (first, second, third) = (roster.admit().await, roster.admit().await, roster.admit().await);
        let busy = first.requests().begin();
        let roster_too = Arc::clone(&roster);
        let next = tokio::spawn(async move { roster_too.admit().await });
        second.closed().await;
        assert!(!third.requests.0.close.is_cancelled(), "it has been idle for less long");
        drop(second);
        let fourth = next.await.expect("admitted");
        assert!(!first.requests.0.close.is_cancelled(), "it is busy");
        drop((busy, third));
        let requests = fourth.requests().begin();
        drop((fourth, requests));
        assert_eq!(roster.idle.lock().waiting.len(), 1, "the first; what outlived its connection is not waiting");
    }
}
