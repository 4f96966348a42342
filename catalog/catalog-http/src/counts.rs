//! What the companion tells of itself to Prometheus.

use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    call: &'static str,
    status: u16,
}

/// Calls by name and status, and how long they took.
pub(crate) struct Counts {
    calls: Family<Labels, Counter>,
    seconds: Histogram,
    registry: Mutex<Registry>,
}

impl Counts {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("lakegate");
        let calls = Family::default();
        registry.register("catalog_calls", "Calls of gateways answered, by name and status", calls.clone());
        // From a tenth of a millisecond to three seconds.
        let seconds = Histogram::new(exponential_buckets(1e-4, 2.0, 16));
        registry.register("catalog_call_seconds", "How long calls took", seconds.clone());
        Self { calls, seconds, registry: Mutex::new(registry) }
    }

    /// Counts a call. A name that no call has is `other`.
    pub(crate) fn count(&self, call: Option<&'static str>, status: u16, took: Duration) {
        self.calls.get_or_create(&Labels { call: call.unwrap_or("other"), status }).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// All of it in the text form of OpenMetrics.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to text cannot fail.
        let _ = encode(&mut text, &self.registry.lock());
        text
    }
}
