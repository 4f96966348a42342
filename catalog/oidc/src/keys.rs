//! An issuer's keys, kept, and when to ask for them again.
//!
//! | the keys are | what a verification does |
//! |---|---|
//! | younger than 50 minutes | uses them |
//! | younger than an hour | uses them, while they are fetched anew |
//! | younger than a day | waits until they are fetched anew; while the issuer is away, uses them |
//! | older, or none | waits until they are fetched |
//!
//! A key that is not among them has them fetched at once, but not within ten seconds of the last time. However many
//! verifications need them, one asks; it goes on when the caller who began it has left. After failures the issuer is
//! asked after 1, 2, 4 ... at most 60 seconds.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::error::JwtError;
use crate::fetch::{FetchError, Source};
use crate::jwks::{Key, KeySet};
use crate::token::Token;

/// From here on they are fetched while they are still used.
const REFRESH_AFTER: Duration = Duration::from_secs(50 * 60);

/// From here on a verification waits for newer ones, if they can be had.
const FRESH_FOR: Duration = Duration::from_secs(60 * 60);

/// From here on they do not count any more.
const USABLE_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// Between two fetches for keys that are not there: anybody can make up a `kid`.
const UNKNOWN_AGAIN: Duration = Duration::from_secs(10);

/// Longest pause after failures.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Tells the age of keys: time since some moment, never going back.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Clock {
    /// A clock that shows what `now` says; a test moves it.
    pub fn new(now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    fn now(&self) -> Duration {
        (self.0)()
    }
}

impl Default for Clock {
    /// This machine's clock that does not jump.
    fn default() -> Self {
        let start = Instant::now();
        Self::new(move || start.elapsed())
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

/// Closed when the fetch is over.
type Flight = watch::Receiver<()>;

async fn landed(mut flight: Flight) {
    while flight.changed().await.is_ok() {}
}

/// The keys of one issuer.
#[derive(Debug)]
pub(crate) struct Keys {
    issuer: String,
    source: Source,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The keys, and when they came.
    held: Option<(Arc<KeySet>, Duration)>,
    /// When the last fetch began.
    asked: Option<Duration>,
    /// Fetches that failed since the last that did not.
    failures: u32,
    /// The fetch that is under way.
    flight: Option<Flight>,
}

impl State {
    fn set(&self) -> Option<Arc<KeySet>> {
        self.held.as_ref().map(|(set, _)| set.clone())
    }

    /// Time since the last fetch began is shorter than `pause`.
    fn asked_within(&self, pause: Duration, now: Duration) -> bool {
        self.asked.is_some_and(|asked| now.saturating_sub(asked) < pause)
    }

    fn pause(&self) -> Duration {
        match self.failures {
            0 => Duration::ZERO,
            failures => Duration::from_secs(1 << (failures - 1).min(6)).min(MAX_PAUSE),
        }
    }

    fn under_way(&self) -> Option<Flight> {
        // One whose sender is gone died in a panic.
        self.flight.clone().filter(|flight| flight.has_changed().is_ok())
    }

    fn record(&mut self, fetched: Option<KeySet>, now: Duration) {
        self.flight = None;
        match fetched {
            Some(set) => {
                self.held = Some((Arc::new(set), now));
                self.failures = 0;
            }
            None => self.failures = self.failures.saturating_add(1),
        }
    }
}

impl Keys {
    pub(crate) fn new(issuer: String, source: Source, clock: Clock) -> Arc<Self> {
        Arc::new(Self { issuer, source, clock, state: Mutex::default() })
    }

    /// The key that `token` names. May wait for the issuer, twice 5 seconds at the most.
    pub(crate) async fn find(self: &Arc<Self>, token: &Token<'_>) -> Result<Arc<Key>, JwtError> {
        let set = self.current().await?;
        match set.find(token) {
            Err(JwtError::UnknownKey) => self.newer_than(&set).await?.find(token),
            found => found,
        }
    }

    /// Keys that are fresh enough, see the table above.
    async fn current(self: &Arc<Self>) -> Result<Arc<KeySet>, JwtError> {
        let (set, flight) = self.look();
        let Some(flight) = flight else { return set.ok_or_else(|| self.unavailable()) };
        landed(flight).await;
        self.state.lock().set().ok_or_else(|| self.unavailable())
    }

    /// What is held, and what to wait for before it is used.
    fn look(self: &Arc<Self>) -> (Option<Arc<KeySet>>, Option<Flight>) {
        let now = self.clock.now();
        let mut state = self.state.lock();
        state.held.take_if(|(_, came)| now.saturating_sub(*came) >= USABLE_FOR);
        let age = state.held.as_ref().map(|(_, came)| now.saturating_sub(*came));
        if age.is_some_and(|age| age < REFRESH_AFTER) {
            return (state.set(), None);
        }
        let flight = self.ask(&mut state, now);
        let waits = age.is_none_or(|age| age >= FRESH_FOR && state.failures == 0);
        (state.set(), flight.filter(|_| waits))
    }

    /// Keys that came after `set`, which lacks one.
    async fn newer_than(self: &Arc<Self>, set: &Arc<KeySet>) -> Result<Arc<KeySet>, JwtError> {
        if let Some(flight) = self.look_again(set)? {
            landed(flight).await;
        }
        let state = self.state.lock();
        let newer = state.set().filter(|newer| !Arc::ptr_eq(newer, set));
        newer.ok_or_else(|| self.unavailable())
    }

    /// What to wait for; nothing when newer keys are here. Errors: the issuer is not asked again so soon.
    fn look_again(self: &Arc<Self>, set: &Arc<KeySet>) -> Result<Option<Flight>, JwtError> {
        let now = self.clock.now();
        let mut state = self.state.lock();
        if state.set().is_some_and(|held| !Arc::ptr_eq(&held, set)) {
            return Ok(None);
        }
        let too_soon = state.under_way().is_none() && state.asked_within(UNKNOWN_AGAIN, now);
        let flight = if too_soon { None } else { self.ask(&mut state, now) };
        match flight {
            Some(flight) => Ok(Some(flight)),
            None if state.failures > 0 => Err(self.unavailable()),
            None => Err(JwtError::UnknownKey),
        }
    }

    /// The fetch that is under way, or a new one; `None` in the pause after a failure.
    fn ask(self: &Arc<Self>, state: &mut State, now: Duration) -> Option<Flight> {
        if let Some(flight) = state.under_way() {
            return Some(flight);
        }
        if state.asked_within(state.pause(), now) {
            return None;
        }
        let (landing, flight) = watch::channel(());
        state.asked = Some(now);
        state.flight = Some(flight.clone());
        let keys = self.clone();
        tokio::spawn(async move {
            let fetched = keys.source.fetch().await;
            let set = keys.report(fetched);
            keys.state.lock().record(set, keys.clock.now());
            drop(landing);
        });
        Some(flight)
    }

    /// Tells the operator, once for all who wait.
    fn report(&self, fetched: Result<KeySet, FetchError>) -> Option<KeySet> {
        let issuer = self.issuer.as_str();
        match fetched {
            Ok(set) => {
                tracing::debug!(issuer, keys = set.len(), "the issuer's keys were fetched");
                Some(set)
            }
            Err(error) => {
                tracing::warn!(issuer, %error, "the issuer's keys cannot be fetched");
                None
            }
        }
    }

    fn unavailable(&self) -> JwtError {
        JwtError::Unavailable { issuer: self.issuer.clone() }
    }
}
