//! Counts of jobs, for `/metrics`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::Utc;
use lakegate_catalog::Catalog;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Between two looks at how many jobs wait.
const EVERY: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfKind {
    kind: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Ended {
    kind: String,
    state: &'static str,
}

/// What this process has done, and what waits in the catalog.
#[derive(Clone, Default)]
pub(crate) struct Counts {
    running: Family<OfKind, Gauge>,
    ended: Family<Ended, Counter>,
    waiting: Gauge,
    failing: Gauge,
    oldest: Gauge,
}

/// A job that runs.
pub(super) struct Running(Gauge);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.inner().fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counts {
    /// Makes the counts part of what is told of the process.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("jobs_running", "Jobs that this process does, by kind", self.running.clone());
        let help = "Attempts at jobs that ended in this process, by kind and by how; `lost` when another took over";
        registry.register("jobs_ended", help, self.ended.clone());
        registry.register("jobs_waiting", "Jobs of the instance that wait", self.waiting.clone());
        registry.register("jobs_failing", "Those of them that have failed before", self.failing.clone());
        let help = "How long the job that may be begun and has waited longest has waited";
        registry.register("jobs_oldest_seconds", help, self.oldest.clone());
    }

    pub(super) fn running(&self, kind: &str) -> Running {
        let gauge = self.running.get_or_create(&OfKind { kind: kind.to_owned() }).clone();
        gauge.inc();
        Running(gauge)
    }

    pub(super) fn ended(&self, kind: &str, state: &'static str) {
        self.ended.get_or_create(&Ended { kind: kind.to_owned(), state }).inc();
    }

    /// Looks at what waits, for ever.
    pub(crate) async fn watch(self, catalog: Arc<dyn Catalog>) {
        let mut ticks = tokio::time::interval(EVERY);
        loop {
            ticks.tick().await;
            // What was seen last stays while the catalog is away.
            let Ok(counts) = catalog.job_counts().await else { continue };
            let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
            self.waiting.set(gauge(counts.waiting));
            self.failing.set(gauge(counts.failing));
            self.oldest.set(counts.oldest.map_or(0, |since| (Utc::now() - since).num_seconds().max(0)));
        }
    }
}
