//! One at a time per dataset, for pushes that may create it.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use lakegate_catalog::DatasetName;
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use crate::error::{IngestError, Result};

type Turn = tokio::sync::Mutex<()>;

/// Who is creating which dataset in this process. Between processes the catalog decides.
#[derive(Default)]
pub(crate) struct Turns {
    running: Mutex<HashMap<DatasetName, Weak<Turn>>>,
}

impl Turns {
    /// Waits for its turn, at most `patience`; dropping the guard ends it.
    pub(crate) async fn turn(&self, name: &DatasetName, patience: Duration) -> Result<OwnedMutexGuard<()>> {
        let turn = self.of(name);
        let busy = IngestError::TooManyPushes { why: "another push is still creating this dataset", seconds: 1 };
        tokio::time::timeout(patience, turn.lock_owned()).await.map_err(|_| busy)
    }

    fn of(&self, name: &DatasetName) -> Arc<Turn> {
        let mut running = self.running.lock();
        if let Some(turn) = running.get(name).and_then(Weak::upgrade) {
            return turn;
        }
        running.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(Turn::new(()));
        running.insert(name.clone(), Arc::downgrade(&turn));
        turn
    }
}
