//! Removes the files of deleted datasets once no query can be reading them any more, and looks whether what was damaged
//! has been mended.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use lakegate_catalog::{Catalog, Tombstone};
use lakegate_lake::{Lake, LakeError};

/// Time between two looks for deleted datasets.
const EVERY: Duration = Duration::from_secs(60);

/// Datasets whose files are removed side by side.
const AT_ONCE: usize = 4;

/// Sweeps for ever. `grace` is the longest that a query may run.
pub(crate) async fn run(catalog: Arc<dyn Catalog>, lake: Arc<Lake>, grace: Duration) {
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        ticks.tick().await;
        lake.recheck_damage().await;
        match catalog.tombstones().await {
            Ok(tombstones) => {
                let sweeps = futures::stream::iter(tombstones);
                let sweep = |tombstone| {
                    let (catalog, lake) = (&catalog, &lake);
                    async move { sweep(catalog.as_ref(), lake, &tombstone, grace).await }
                };
                sweeps.for_each_concurrent(AT_ONCE, sweep).await;
            }
            Err(error) => tracing::warn!(%error, "deleted datasets cannot be listed"),
        }
    }
}

async fn sweep(catalog: &dyn Catalog, lake: &Lake, tombstone: &Tombstone, grace: Duration) {
    let age = chrono::Utc::now().signed_duration_since(tombstone.deleted_at).to_std().unwrap_or_default();
    if age < grace {
        return;
    }
    let swept: Result<(), LakeError> = lake.remove(tombstone.id).await;
    match swept {
        Ok(()) => {
            if let Err(error) = catalog.forget_tombstone(tombstone.id).await {
                tracing::warn!(dataset = %tombstone.id, %error, "a removed dataset cannot be forgotten");
            }
        }
        Err(error) => tracing::warn!(dataset = %tombstone.id, %error, "files of a deleted dataset stay for now"),
    }
}
