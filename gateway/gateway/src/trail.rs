//! Brings what goes into the audit to the catalog, and forgets what is old.

use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use lakegate_catalog::{Catalog, CatalogError, ErrorKind, Taken, Trail};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use tokio_util::sync::CancellationToken;

/// What is noted within this time is told together.
const TOGETHER: Duration = Duration::from_millis(100);
/// So many are told without waiting for more.
const MANY: usize = 500;
/// Between two tries when the catalog cannot be reached.
const AGAIN: Duration = Duration::from_millis(500);
/// How often old entries are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(3_600);

/// Tells the catalog of what is noted, until `ended`; then once more of what is left.
pub(crate) async fn tell(catalog: Arc<dyn Catalog>, trail: Arc<Trail>, ended: CancellationToken) {
    while let Some(taken) = ended.run_until_cancelled(trail.take()).await {
        let rest = match told(&catalog, &trail, taken).await {
            false => AGAIN,
            true if trail.waiting() < MANY => TOGETHER,
            true => Duration::ZERO,
        };
        ended.run_until_cancelled(tokio::time::sleep(rest)).await;
    }
    loop {
        let taken = trail.take_now();
        if taken.is_empty() {
            return;
        }
        if !told(&catalog, &trail, taken).await {
            tracing::warn!(entries = trail.waiting(), "the catalog is away: what was done last is not in the audit");
            return;
        }
    }
}

/// Whether the catalog has it now, or never will; if not it is put back.
async fn told(catalog: &Arc<dyn Catalog>, trail: &Trail, taken: Taken) -> bool {
    let done = async {
        if !taken.entries.is_empty() {
            catalog.record(&taken.entries).await?;
        }
        if !taken.queries.is_empty() {
            catalog.record_queries(&taken.queries).await?;
        }
        Ok::<_, lakegate_catalog::CatalogError>(())
    };
    match done.await {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::Unavailable => {
            tracing::debug!(%error, "the audit is not told yet");
            trail.put_back(taken);
            false
        }
        Err(error) => {
            tracing::error!(%error, "the catalog refuses entries of the audit; they are lost");
            trail.give_up(&taken);
            true
        }
    }
}

/// Forgets what is older than `kept`, for ever.
pub(crate) async fn forget(catalog: Arc<dyn Catalog>, kept: Duration) {
    let mut ticks = tokio::time::interval(FORGET_EVERY);
    loop {
        ticks.tick().await;
        let oldest = TimeDelta::from_std(kept).ok().and_then(|kept| Utc::now().checked_sub_signed(kept));
        let Some(oldest) = oldest else { return };
        let forgotten = async {
            while catalog.forget_audit(oldest).await? > 0 {}
            Ok::<_, CatalogError>(())
        };
        if let Err(error) = forgotten.await {
            tracing::warn!(%error, "old entries of the audit stay");
        }
    }
}

/// Counts for `/metrics`.
#[derive(Debug)]
pub(crate) struct Counts(pub(crate) Arc<Trail>);

impl Collector for Counts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let lost = ConstCounter::new(self.0.lost());
        let help = "Entries of the audit that were lost because the catalog was away for too long";
        lost.encode(encoder.encode_descriptor("audit_lost", help, None, lost.metric_type())?)?;
        let waiting = ConstGauge::new(i64::try_from(self.0.waiting()).unwrap_or(i64::MAX));
        let help = "Entries of the audit that wait to be told to the catalog";
        waiting.encode(encoder.encode_descriptor("audit_waiting", help, None, waiting.metric_type())?)
    }
}
