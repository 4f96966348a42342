//! One dataset's table: its newest version, its pushes, and who is writing.

use std::collections::HashSet;
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use deltalake::kernel::{Action, Add};
use deltalake::protocol::{DeltaOperation, SaveMode};
use lakegate_catalog::{Column, DatasetId};
use parking_lot::{Mutex, RwLock};

use crate::append::{Append, FILE_BYTES};
use crate::commits::Commits;
use crate::compact::{WORTH_WHILE, removal};
use crate::damage::Damage;
use crate::error::{LakeError, Result};
use crate::history::Past;
use crate::layout::Layout;
use crate::log::{Attempt, Log, Replayed, remember};
use crate::snapshot::{DataFile, Snapshot};
use crate::txn::{self, PushKey, PushRecord, Pushes};
use crate::upkeep::{VACUUM_EVERY, Wanted};

/// Races that one commit may lose to other gateways before it gives up.
pub(crate) const MAX_LOST_RACES: u32 = 20;

/// A dataset's table. One per dataset and process; shared.
pub struct Table {
    pub(crate) dataset: DatasetId,
    pub(crate) log: Log,
    newest: RwLock<Arc<Snapshot>>,
    /// Versions that were the newest and may still be read.
    held: Mutex<Vec<Weak<Snapshot>>>,
    /// When this process last began a vacuum.
    vacuumed: Mutex<Option<Instant>>,
    /// Held while files are rewritten.
    pub(crate) rewriting: tokio::sync::Mutex<()>,
    /// Older versions that were read lately.
    pub(crate) past: Past,
    pushes: Mutex<Pushes>,
    /// Idempotency keys of pushes that are running.
    claims: Mutex<HashSet<[u8; 16]>>,
    /// Held while the newest version moves.
    pub(crate) advance: tokio::sync::Mutex<()>,
    checkpoint: AtomicU64,
    window: Duration,
    wanted: Arc<Wanted>,
    commits: Arc<Commits>,
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
        wanted: Arc<Wanted>,
        commits: Arc<Commits>,
    ) -> Result<Self> {
        let Replayed { snapshot, pushes, checkpoint } = log.replay().await?;
        Ok(Self {
            dataset,
            log,
            newest: RwLock::new(Arc::new(snapshot)),
            held: Mutex::default(),
            vacuumed: Mutex::default(),
            rewriting: tokio::sync::Mutex::default(),
            past: Past::default(),
            pushes: Mutex::new(pushes),
            claims: Mutex::default(),
            advance: tokio::sync::Mutex::new(()),
            checkpoint: AtomicU64::new(checkpoint.unwrap_or(0)),
            window,
            wanted,
            commits,
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

    /// The newest version, whose commit is there and whose log is not known to be damaged: what is committed behind a gap
    /// could never be read. Costs two small requests side by side. Errors: [`LakeError::Damaged`].
    pub async fn snapshot_and_log(&self) -> Result<Arc<Snapshot>> {
        if let Some(damage) = self.log.damages.of(self.dataset).await.filter(Damage::in_log) {
            return Err(LakeError::Damaged(damage));
        }
        let (snapshot, there) = futures::join!(self.snapshot(), self.log.check(self.known().version));
        there?;
        snapshot
    }

    /// The versions that this process still reads, the newest apart.
    pub(crate) fn held(&self) -> Vec<Arc<Snapshot>> {
        self.held.lock().iter().filter_map(Weak::upgrade).collect()
    }

    /// Makes a version the newest one; the last one stays known as long as it is read.
    fn replace_newest(&self, next: Snapshot) {
        let last = std::mem::replace(&mut *self.newest.write(), Arc::new(next));
        self.hold(&last);
    }

    /// Lets a vacuum know of a version, other than the newest, that may be read.
    pub(crate) fn hold(&self, snapshot: &Arc<Snapshot>) {
        let mut held = self.held.lock();
        held.retain(|snapshot| snapshot.strong_count() > 0);
        held.push(Arc::downgrade(snapshot));
    }

    pub(crate) fn known(&self) -> Arc<Snapshot> {
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
                    self.replace_newest(snapshot);
                }
            }
        }
    }

    fn advance_to(&self, next: Snapshot, actions: &[Action]) {
        remember(&mut self.pushes.lock(), actions);
        self.replace_newest(next);
    }

    /// Starts a push. With a key, it is looked up first and held until the push ends.
    ///
    /// Errors: [`LakeError::KeyInUse`], [`LakeError::Damaged`] for a log that has lost its newest version.
    pub async fn begin(self: &Arc<Self>, key: Option<[u8; 16]>) -> Result<Begin> {
        let snapshot = self.snapshot_and_log().await?;
        let claim = match key {
            Some(key) => Some(self.claim(key)?),
            None => None,
        };
        if let Some(record) = key.and_then(|key| self.recall(&key)) {
            return Ok(Begin::Seen(record));
        }
        Ok(Begin::New(Box::new(Append::new(Arc::clone(self), Arc::clone(&snapshot.layout), claim))))
    }

    /// Starts a push whose rows and columns take the place of all that is there, in one version. Older versions stay
    /// readable, and keys stay known.
    ///
    /// Errors: as [`Self::begin`], [`LakeError::UnsupportedType`].
    pub async fn begin_replacing(self: &Arc<Self>, columns: Vec<Column>, key: Option<[u8; 16]>) -> Result<Begin> {
        let layout = Arc::new(Layout::new(columns)?);
        Ok(match self.begin(key).await? {
            Begin::New(append) => Begin::New(Box::new(append.with_layout(layout).replacing())),
            seen @ Begin::Seen(_) => seen,
        })
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

    /// Commits new files of a layout, whatever other writers do meanwhile. Answers what was committed, and
    /// true when that is an earlier push with the same key instead of this one.
    pub(crate) async fn commit(
        &self,
        layout: &Layout,
        adds: &[Action],
        rows: u64,
        push: Option<PushKey>,
    ) -> Result<(PushRecord, bool)> {
        self.commit_push(SaveMode::Append, rows, push, |newest, _| {
            // Files of columns that are gone would be read as rows of nulls.
            if newest.layout.reads(layout) { Ok(adds.to_vec()) } else { Err(LakeError::Replaced) }
        })
        .await
    }

    /// Commits new files and their layout in the place of all files that there are by then.
    pub(crate) async fn commit_replacing(
        &self,
        layout: &Layout,
        adds: &[Action],
        rows: u64,
        push: Option<PushKey>,
    ) -> Result<(PushRecord, bool)> {
        let metadata = self.log.metadata_with(layout).await?;
        self.commit_push(SaveMode::Overwrite, rows, push, |newest, now| {
            let removals = newest.files.iter().map(|file| removal(file, true, now));
            Ok(metadata.iter().cloned().chain(removals).chain(adds.iter().cloned()).collect())
        })
        .await
    }

    async fn commit_push(
        &self,
        mode: SaveMode,
        rows: u64,
        push: Option<PushKey>,
        prepare: impl Fn(&Snapshot, i64) -> Result<Vec<Action>>,
    ) -> Result<(PushRecord, bool)> {
        let operation = DeltaOperation::Write { mode, partition_by: None, predicate: None };
        let now = chrono::Utc::now().timestamp_millis();
        let landed = self.land(operation, |newest| {
            // Asked anew for each version: the same key may have come in through another gateway.
            if let Some(record) = push.and_then(|push| self.recall(&push.key)) {
                return Ok(ControlFlow::Break(record));
            }
            let mut actions = prepare(newest, now)?;
            actions.extend(push.map(|push| Action::Txn(txn::transaction(&push, newest.version + 1, rows, now))));
            Ok(ControlFlow::Continue(actions))
        });
        Ok(match landed.await? {
            ControlFlow::Break(record) => (record, true),
            ControlFlow::Continue(version) => {
                let body = push.map(|p| p.body).unwrap_or_default();
                (PushRecord { body, version, rows, at: now }, false)
            }
        })
    }

    /// Puts files that hold the same rows in the place of others, if all of those are still there.
    pub(crate) async fn commit_rewrite(&self, removed: &[Arc<DataFile>], added: &[Add]) -> Result<u64> {
        let operation = DeltaOperation::Optimize { predicate: None, target_size: FILE_BYTES as i64 };
        let now = chrono::Utc::now().timestamp_millis();
        let landed = self.land::<Infallible>(operation, |newest| {
            let there: HashSet<&str> = newest.files.iter().map(|file| file.path.as_str()).collect();
            if !removed.iter().all(|file| there.contains(file.path.as_str())) {
                return Err(LakeError::Overtaken);
            }
            let removals = removed.iter().map(|file| removal(file, false, now));
            Ok(ControlFlow::Continue(removals.chain(added.iter().cloned().map(Action::Add)).collect()))
        });
        match landed.await? {
            ControlFlow::Continue(version) => Ok(version),
        }
    }

    /// Commits what `prepare` makes of the newest version, as the next one. It is asked again when another
    /// writer took that version, and may end the commit with another answer.
    async fn land<T>(
        &self,
        operation: DeltaOperation,
        prepare: impl Fn(&Snapshot) -> Result<ControlFlow<T, Vec<Action>>>,
    ) -> Result<ControlFlow<T, u64>> {
        let _advance = self.advance.lock().await;
        for _ in 0..MAX_LOST_RACES {
            let newest = self.known();
            let version = newest.version + 1;
            let actions = match prepare(&newest)? {
                ControlFlow::Continue(actions) => actions,
                ControlFlow::Break(answer) => return Ok(ControlFlow::Break(answer)),
            };
            match self.log.commit(version, actions.clone(), operation.clone()).await? {
                Attempt::Landed => {
                    match newest.apply(version, &actions)? {
                        Some(next) => self.advance_to(next, &actions),
                        // Other columns: what was committed is read back, now or by whoever reads next.
                        None => {
                            if let Err(error) = self.catch_up().await {
                                tracing::debug!(dataset = %self.dataset, %error, "a replacement is not read back yet");
                            }
                        }
                    }
                    self.ask_for_upkeep(version);
                    self.commits.add(self.dataset, version);
                    return Ok(ControlFlow::Continue(version));
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
            // Rewritten rows were there before.
            Action::Add(add) if add.data_change => {
                let stats: serde_json::Value = serde_json::from_str(add.stats.as_deref()?).ok()?;
                stats["numRecords"].as_u64()
            }
            _ => None,
        };
        Ok(Some(actions.iter().filter_map(rows).sum()))
    }

    fn ask_for_upkeep(&self, version: u64) {
        let checkpoint_due = self.checkpoint_is_due();
        // Looking at all files is not for every commit.
        let files_due = version.is_multiple_of(WORTH_WHILE as u64) && self.wants_compaction();
        if checkpoint_due || files_due {
            self.wanted.add(self.dataset);
        }
    }

    fn checkpoint_is_due(&self) -> bool {
        let known = self.known();
        known.version >= self.checkpoint.load(Ordering::Relaxed).saturating_add(known.checkpoint_every)
    }

    /// Writes a checkpoint if one is due.
    pub(crate) async fn upkeep(&self) -> Result<()> {
        if !self.checkpoint_is_due() {
            return Ok(());
        }
        let version = self.log.checkpoint().await?;
        self.checkpoint.store(version, Ordering::Relaxed);
        self.forget_old_pushes();
        Ok(())
    }

    /// Whether the last vacuum of this process is long ago; from now on it is not.
    pub(crate) fn vacuum_is_due(&self) -> bool {
        let mut last = self.vacuumed.lock();
        let due = last.is_none_or(|at| at.elapsed() >= VACUUM_EVERY);
        if due {
            *last = Some(Instant::now());
        }
        due
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
