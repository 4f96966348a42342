//! Checkpoints and log clean-up, in the background.

use std::sync::Weak;

use lakegate_catalog::DatasetId;
use tokio::sync::mpsc;

use crate::lake::Lake;

/// Tables that may wait for upkeep; one that finds no place asks again with its next commit.
pub(crate) const UPKEEP_QUEUE: usize = 256;

/// Serves one table after another.
pub(crate) async fn run(lake: Weak<Lake>, mut due: mpsc::Receiver<DatasetId>) {
    while let Some(id) = due.recv().await {
        let Some(lake) = lake.upgrade() else {
            return;
        };
        let done = match lake.table(id).await {
            Ok(table) => table.upkeep().await,
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            // The table stays right without it, only slower to open; the next commit asks again.
            tracing::warn!(dataset = %id, %error, "upkeep of a table failed");
        }
    }
}
