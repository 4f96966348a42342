//! What is going on, told on standard error: which part, how far, since when.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How often it is told.
const EVERY: Duration = Duration::from_secs(30);

/// The parts that run. A clone is the same board.
#[derive(Clone)]
pub(crate) struct Board(Arc<Inner>);

struct Inner {
    started: Instant,
    running: Mutex<BTreeMap<&'static str, (Instant, String)>>,
}

impl Board {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner { started: Instant::now(), running: Mutex::default() }))
    }

    /// Seconds since the start of everything.
    pub(crate) fn seconds(&self) -> u64 {
        self.0.started.elapsed().as_secs()
    }

    /// A part is so far.
    pub(crate) fn at(&self, part: &'static str, how_far: impl std::fmt::Display) {
        let mut running = self.0.running.lock();
        let entry = running.entry(part).or_insert_with(|| (Instant::now(), String::new()));
        entry.1 = how_far.to_string();
    }

    /// A part has ended; tells how.
    pub(crate) fn ended(&self, part: &'static str, line: &str) {
        self.0.running.lock().remove(part);
        self.say(line);
    }

    /// Tells every half minute, for ever.
    pub(crate) async fn tell(&self) {
        loop {
            tokio::time::sleep(EVERY).await;
            let running = self.0.running.lock();
            let parts = running
                .iter()
                .map(|(part, (since, how_far))| format!("{part} {how_far}, for {} s", since.elapsed().as_secs()));
            let parts = parts.collect::<Vec<_>>().join(" | ");
            drop(running);
            self.say(&parts);
        }
    }

    fn say(&self, text: &str) {
        let seconds = self.seconds();
        // Nobody may be reading.
        let _ = writeln!(std::io::stderr(), "soak {:02}:{:02} {text}", seconds / 60, seconds % 60);
    }
}
