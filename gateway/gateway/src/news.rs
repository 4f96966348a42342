//! What this gateway tells the others of, and what it learns from them.

use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use lakegate_catalog::{CachedCatalog, Catalog, CatalogError, Change, MAX_EVENTS};
use lakegate_lake::Lake;
use tokio::sync::watch;

/// Versions that are committed within this time are told together.
const TOGETHER: Duration = Duration::from_millis(100);
/// How long one wait for an event lasts.
const WAIT: Duration = Duration::from_secs(20);
/// Between two tries when the catalog cannot be reached.
const AGAIN: Duration = Duration::from_millis(500);
/// How long events are kept, and how often old ones are forgotten.
const KEPT: TimeDelta = TimeDelta::days(7);
const FORGET_EVERY: Duration = Duration::from_secs(3_600);

/// Tells of what is committed here, for ever.
pub(crate) async fn tell(catalog: Arc<dyn Catalog>, lake: Arc<Lake>) {
    let commits = lake.commits();
    loop {
        let versions = commits.take().await;
        if let Err(error) = catalog.tell_versions(&versions).await {
            tracing::debug!(%error, "versions are not told of yet");
            commits.put_back(&versions);
            tokio::time::sleep(AGAIN).await;
        }
        tokio::time::sleep(TOGETHER).await;
    }
}

/// Follows the feed for ever: lets `last` know of each new event, and makes `cached`, where there is one, forget what may not
/// hold any more.
pub(crate) async fn follow(catalog: Arc<dyn Catalog>, cached: Option<Arc<CachedCatalog>>, last: watch::Sender<u64>) {
    let forget = || {
        if let Some(cached) = &cached {
            cached.forget();
        }
    };
    let mut seen = None;
    loop {
        let heard = async {
            let Some(after) = seen else { return Ok((catalog.last_event().await?, true)) };
            let newest = catalog.wait_for_event(after, WAIT).await?;
            Ok::<_, CatalogError>((newest, newest > after && changes_rights(&catalog, after).await?))
        };
        match heard.await {
            Ok((newest, stale)) => {
                if stale {
                    forget();
                }
                seen = Some(newest);
                last.send_replace(newest);
            }
            Err(error) => {
                tracing::debug!(%error, "events are not followed for now");
                // What is told meanwhile may not hold: all is asked anew once the feed is back.
                seen = None;
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Whether among the events after this one is any that says more than that there is a new version, or that a job has ended.
async fn changes_rights(catalog: &Arc<dyn Catalog>, after: u64) -> lakegate_catalog::Result<bool> {
    let feed = catalog.events(after, MAX_EVENTS).await?;
    let whole = !feed.missed && feed.events.len() < MAX_EVENTS;
    let harmless = |change: &Change| matches!(change, Change::VersionCommitted { .. } | Change::JobEnded(_));
    Ok(!whole || !feed.events.iter().all(|event| harmless(&event.change)))
}

/// Forgets old events, for ever.
pub(crate) async fn forget(catalog: Arc<dyn Catalog>) {
    let mut ticks = tokio::time::interval(FORGET_EVERY);
    loop {
        ticks.tick().await;
        let before = Utc::now() - KEPT;
        let forgotten = async {
            while catalog.forget_events(before).await? > 0 {}
            Ok::<_, CatalogError>(())
        };
        if let Err(error) = forgotten.await {
            tracing::warn!(%error, "old events stay");
        }
    }
}
