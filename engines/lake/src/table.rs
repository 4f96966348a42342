//! One dataset's table: its newest version, its pushes, and who is writing.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use deltalake::kernel::Action;
use lakegate_catalog::DatasetId;
use parking_lot::{Mutex, RwLock};
use tokio::sync::mpsc;

use crate::append::Append;
use crate::error::{LakeError, Result};
use crate::log::{Attempt, Log, Replayed, remember};
use crate::snapshot::Snapshot;
use crate::txn::{self, PushKey, PushRecord, Pushes};

/// Commits between two checkpoints.
pub(crate) const CHECKPOINT_EVERY: u64 = 50;
/// Races that one commit may lose to other gateways before it gives up.
pub(crate) const MAX_LOST_RACES: u32 = 20;

/// A dataset's table. One per dataset and process; shared.
pub struct Table {
    pub(crate) dataset: DatasetId,
    pub(crate) log: Log,
    newest: RwLock<Arc<Snapshot>>,
    pushes: Mutex<Pushes>,
    /// Idempotency keys of pushes that are running.
    claims: Mutex<HashSet<[u8; 16]>>,
    /// Held while the newest version moves.
    pub(crate) advance: tokio::sync::Mutex<()>,
    checkpoint: AtomicU64,
    window: Duration,
    upkeep: mpsc::Sender<DatasetId>,
}

/// The start of a push.
pub enum Begin {
    /// New rows: write and commit them.
    New(Box<Append>),
    /// The key was used before; compare the body's hash with the record's.
    Seen(PushRecord),
}

impl Table {
    pub(crate) async fn open(
        log: Log,
        dataset: DatasetId,
        window: Duration,
        upkeep: mpsc::Sender<DatasetId>,
    ) -> Result<Self> {
        let Replayed { snapshot, pushes, checkpoint } = log.replay().await?;
        Ok(Self {
            dataset,
            log,
            newest: RwLock::new(Arc::new(snapshot)),
            pushes: Mutex::new(pushes),
            claims: Mutex::default(),
            advance: tokio::sync::Mutex::new(()),
            checkpoint: AtomicU64::new(checkpoint.unwrap_or(0)),
            window,
            upkeep,
        })
    }

    /// The newest version, also when another process made it. Costs one small request.
    pub async fn snapshot(&self) -> Result<Arc<Snapshot>> {
        let known = self.known();
        if !self.log.has(known.version + 1).await? {
            return Ok(known);
        }
        let _advance = self.advance.lock().await;
        self.catch_up().await
    }

    fn known(&self) -> Arc<Snapshot> {
        Arc::clone(&self.newest.read())
    }

    /// Applies versions of other writers; the caller holds `advance`.
    pub(crate) async fn catch_up(&self) -> Result<Arc<Snapshot>> {
        loop {
            let known = self.known();
            let Some(actions) = self.log.read(known.version + 1).await? else {
                return Ok(known);
            };
            match known.apply(known.version + 1, &actions)? {
                Some(next) => self.advance_to(next, &actions),
                None => {
                    let Replayed { snapshot, pushes, .. } = self.log.replay().await?;
                    *self.pushes.lock() = pushes;
                    *self.newest.write() = Arc::new(snapshot);
                }
            }
        }
    }

    fn advance_to(&self, next: Snapshot, actions: &[Action]) {
        remember(&mut self.pushes.lock(), actions);
        *self.newest.write() = Arc::new(next);
    }

    /// Starts a push. With a key, it is looked up first and held until the push ends.
    ///
    /// Errors: [`LakeError::KeyInUse`].
    pub async fn begin(self: &Arc<Self>, key: Option<[u8; 16]>) -> Result<Begin> {
        let snapshot = self.snapshot().await?;
        let claim = match key {
            Some(key) => Some(self.claim(key)?),
            None => None,
        };
        if let Some(record) = key.and_then(|key| self.recall(&key)) {
            return Ok(Begin::Seen(record));
        }
        Ok(Begin::New(Box::new(Append::new(Arc::clone(self), Arc::clone(&snapshot.layout), claim))))
    }

    fn claim(self: &Arc<Self>, key: [u8; 16]) -> Result<Claim> {
        if !self.claims.lock().insert(key) {
            return Err(LakeError::KeyInUse);
        }
        Ok(Claim { table: Arc::clone(self), key })
    }

    fn recall(&self, key: &[u8; 16]) -> Option<PushRecord> {
        let window = i64::try_from(self.window.as_millis()).unwrap_or(i64::MAX);
        let oldest = chrono::Utc::now().timestamp_millis().saturating_sub(window);
        self.pushes.lock().get(key).copied().filter(|record| record.at == 0 || record.at >= oldest)
    }

    /// Commits prepared actions, whatever other writers do meanwhile. Answers what was committed, and
    /// true when that is an earlier push with the same key instead of this one.
    pub(crate) async fn commit(&self, adds: &[Action], rows: u64, push: Option<PushKey>) -> Result<(PushRecord, bool)> {
        let _advance = self.advance.lock().await;
        for _ in 0..MAX_LOST_RACES {
            // Asked anew for each version: the same key may have come in through another gateway.
            if let Some(record) = push.and_then(|push| self.recall(&push.key)) {
                return Ok((record, true));
            }
            let newest = self.known();
            let version = newest.version + 1;
            let now = chrono::Utc::now().timestamp_millis();
            let mut actions = adds.to_vec();
            actions.extend(push.map(|push| Action::Txn(txn::transaction(&push, version, rows, now))));
            match self.log.append(version, actions.clone()).await? {
                Attempt::Landed => {
                    let next = newest
                        .apply(version, &actions)?
                        .ok_or_else(|| LakeError::Defect("an append changed the columns".to_owned()))?;
                    self.advance_to(next, &actions);
                    self.ask_for_upkeep(version);
                    let body = push.map(|p| p.body).unwrap_or_default();
                    return Ok((PushRecord { body, version, rows, at: now }, false));
                }
                Attempt::Taken => {
                    self.catch_up().await?;
                }
            }
        }
        Err(LakeError::Contended(MAX_LOST_RACES))
    }

    /// Rows that a version added; `None` when there is no such version or the log no longer says.
    pub async fn rows_added(&self, version: u64) -> Result<Option<u64>> {
        let Some(actions) = self.log.read(version).await? else {
            return Ok(None);
        };
        let rows = |action: &Action| match action {
            Action::Add(add) => {
                let stats: serde_json::Value = serde_json::from_str(add.stats.as_deref()?).ok()?;
                stats["numRecords"].as_u64()
            }
            _ => None,
        };
        Ok(Some(actions.iter().filter_map(rows).sum()))
    }

    fn ask_for_upkeep(&self, version: u64) {
        if version >= self.checkpoint.load(Ordering::Relaxed) + CHECKPOINT_EVERY {
            // A full queue is no loss: the next commit asks again.
            let _ = self.upkeep.try_send(self.dataset);
        }
    }

    /// Writes a checkpoint if one is due.
    pub(crate) async fn upkeep(&self) -> Result<()> {
        if self.known().version < self.checkpoint.load(Ordering::Relaxed) + CHECKPOINT_EVERY {
            return Ok(());
        }
        let version = self.log.checkpoint().await?;
        self.checkpoint.store(version, Ordering::Relaxed);
        self.forget_old_pushes();
        Ok(())
    }

    fn forget_old_pushes(&self) {
        let window = i64::try_from(self.window.as_millis()).unwrap_or(i64::MAX);
        let oldest = chrono::Utc::now().timestamp_millis().saturating_sub(window);
        self.pushes.lock().retain(|_, record| record.at == 0 || record.at >= oldest);
    }
}

/// A running push's hold on its idempotency key.
pub(crate) struct Claim {
    table: Arc<Table>,
    pub(crate) key: [u8; 16],
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.table.claims.lock().remove(&self.key);
    }
}
