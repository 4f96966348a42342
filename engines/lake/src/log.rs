//! The Delta log of one table: creation, replay at open, one commit at a time, checkpoints.

use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray as _, RecordBatch};
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use deltalake::kernel::Action;
use deltalake::kernel::transaction::{CommitData, CommitProperties, TransactionError};
use deltalake::logstore::{CommitOrBytes, LogStoreRef, StorageConfig, default_logstore};
use deltalake::operations::create::CreateBuilder;
use deltalake::protocol::checkpoints::{cleanup_metadata, create_checkpoint};
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::{DeltaTable, DeltaTableError};
use futures::TryStreamExt as _;
use lakegate_catalog::DatasetId;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt as _};
use parking_lot::Mutex;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use url::Url;

use crate::damage::Damages;
use crate::error::{LakeError, Result};
use crate::history::Listing;
use crate::layout::Layout;
use crate::snapshot::{DataFile, Snapshot};
use crate::txn::{self, Pushes};

/// Waits after each time that a store refused a new commit, and has none there.
const REFUSAL_PAUSES: [Duration; 4] =
    [Duration::from_millis(20), Duration::from_millis(80), Duration::from_millis(320), Duration::from_millis(640)];

/// Versions between two checkpoints, unless the table says otherwise.
const CHECKPOINT_EVERY: u64 = 50;

/// How long log files are kept behind the newest checkpoint.
const LOG_RETENTION: &str = "interval 7 days";

/// Names one attempt to create a table, in its first commit.
const ATTEMPT: &str = "lakegate.attempt";

/// The log of one table.
pub(crate) struct Log {
    dataset: DatasetId,
    /// Rooted at the table's folder.
    pub(crate) files: Arc<dyn ObjectStore>,
    store: LogStoreRef,
    pub(crate) damages: Arc<Damages>,
    /// The newest commit that was written or read here, and its bytes.
    newest: Mutex<Option<(u64, u64)>>,
}

/// What a replay finds.
pub(crate) struct Replayed {
    pub(crate) snapshot: Snapshot,
    pub(crate) pushes: Pushes,
    /// The version of the newest checkpoint.
    pub(crate) checkpoint: Option<u64>,
}

/// How an attempt to commit ended.
pub(crate) enum Attempt {
    /// The commit is in the log, at the version that was asked for.
    Landed,
    /// Another writer took the version; nothing was committed.
    Taken,
}

impl Log {
    pub(crate) fn new(root: &Arc<dyn ObjectStore>, damages: &Arc<Damages>, dataset: DatasetId) -> Result<Self> {
        let url = Url::parse(&format!("lake://store/{dataset}/")).map_err(|e| LakeError::Defect(e.to_string()))?;
        let files: Arc<dyn ObjectStore> = Arc::new(PrefixStore::new(Arc::clone(root), dataset.to_string()));
        let store = default_logstore(Arc::clone(&files), Arc::clone(root), &url, &StorageConfig::default());
        Ok(Self { dataset, files, store, damages: Arc::clone(damages), newest: Mutex::default() })
    }

    /// Writes version 0: the columns and our table properties.
    pub(crate) async fn create(&self, layout: &Layout, window: Duration) -> Result<()> {
        // Nothing of a push may be forgotten before its idempotency window has passed.
        let keep = format!("interval {} seconds", window.as_secs().max(1));
        let attempt = uuid::Uuid::new_v4().to_string();
        let created = CreateBuilder::new()
            .with_log_store(Arc::clone(&self.store))
            .with_save_mode(SaveMode::ErrorIfExists)
            .with_columns(layout.delta_fields()?)
            .with_configuration([
                ("delta.logRetentionDuration", Some(LOG_RETENTION)),
                ("delta.setTransactionRetentionDuration", Some(keep.as_str())),
            ])
            .with_commit_properties(hooks_off().with_metadata([(ATTEMPT.to_owned(), attempt.clone().into())]))
            .await;
        match created {
            Ok(_) => Ok(()),
            // As with any commit, the log knows best what landed.
            Err(_) if self.created_by(&attempt).await? => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn created_by(&self, attempt: &str) -> Result<bool> {
        let actions = self.read(0).await?.unwrap_or_default();
        Ok(actions.iter().any(|action| match action {
            Action::CommitInfo(commit) => commit.info.get(ATTEMPT).and_then(|value| value.as_str()) == Some(attempt),
            _ => false,
        }))
    }

    /// Reads the newest version from checkpoint and commits. Errors: [`LakeError::Damaged`] when one of them is gone or
    /// is not what was written.
    pub(crate) async fn replay(&self) -> Result<Replayed> {
        let mut replayed = self.try_replay().await;
        if let Err(error) = &replayed
            && self.is_whole_behind(error, None).await?
        {
            replayed = self.try_replay().await;
        }
        if replayed.is_ok() {
            self.damages.log_is_whole(self.dataset);
        }
        replayed
    }

    async fn try_replay(&self) -> Result<Replayed> {
        let snapshot = self.try_state(None).await?;
        let checkpoint = self.newest_checkpoint().await?;
        let pushes = self.pushes(checkpoint, snapshot.version).await?;
        Ok(Replayed { snapshot, pushes, checkpoint })
    }

    /// The columns and files of a version; of the newest when none is named. Errors: as [`Log::replay`].
    pub(crate) async fn state(&self, version: Option<u64>) -> Result<Snapshot> {
        match self.try_state(version).await {
            Err(error) if self.is_whole_behind(&error, version).await? => self.try_state(version).await,
            state => state,
        }
    }

    async fn try_state(&self, version: Option<u64>) -> Result<Snapshot> {
        let table = self.load(version).await?;
        let state = table.snapshot()?;
        let layout = Arc::new(Layout::from_delta(&state.schema())?);
        let files = state
            .log_data()
            .iter()
            .map(|file| {
                if file.deletion_vector_descriptor().is_some() {
                    return Err(LakeError::UnsupportedTable("deletion vectors".to_owned()));
                }
                let stats = file.stats();
                let path = file.path().into_owned();
                Ok(Arc::new(DataFile::new(&layout, path, file.size(), file.modification_time(), stats.as_deref())?))
            })
            .collect::<Result<Vec<_>>>()?;
        let (version, damages) = (state.version(), Arc::clone(&self.damages));
        // The table's property `delta.checkpointInterval`, where another writer has set it.
        let checkpoint_every = state.table_config().checkpoint_interval.map_or(CHECKPOINT_EVERY, NonZero::get);
        Ok(Snapshot { dataset: self.dataset, version, layout, files, checkpoint_every, damages })
    }

    pub(crate) async fn load(&self, version: Option<u64>) -> Result<DeltaTable> {
        let mut table = DeltaTable::new(Arc::clone(&self.store));
        let loaded = match version {
            Some(version) => table.load_version(version).await,
            None => table.load().await,
        };
        match loaded {
            Ok(()) => Ok(table),
            Err(DeltaTableError::NotATable(_) | DeltaTableError::InvalidTableLocation(_)) => Err(LakeError::NoTable),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a version is in the log; one request.
    pub(crate) async fn has(&self, version: u64) -> Result<bool> {
        Ok(self.bytes_of(version).await?.is_some())
    }

    async fn bytes_of(&self, version: u64) -> Result<Option<u64>> {
        match self.files.head(&commit_path(version)).await {
            Ok(found) => Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn met(&self, version: u64, bytes: usize) {
        let mut newest = self.newest.lock();
        if newest.is_none_or(|(known, _)| known <= version) {
            *newest = Some((version, bytes as u64));
        }
    }

    /// The actions of a version; `None` when there is no such version, or its log file was cleaned up.
    pub(crate) async fn read(&self, version: u64) -> Result<Option<Vec<Action>>> {
        let Some(bytes) = self.store.read_commit_entry(version).await? else {
            return Ok(None);
        };
        let lines = bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        let actions: Vec<Action> = match lines.map(serde_json::from_slice).collect::<Result<_, _>>() {
            Ok(actions) => actions,
            Err(error) => return Err(self.unreadable(&commit_path(version), version, error.to_string()).await),
        };
        if actions.is_empty() {
            // A commit says at least who made it. What is empty was cut, and its rows must not be missed in silence.
            return Err(self.unreadable(&commit_path(version), version, "it is empty".to_owned()).await);
        }
        self.met(version, bytes.len());
        Ok(Some(actions))
    }

    /// The error for a file of the log whose bytes are not what was written.
    async fn unreadable(&self, file: &Path, version: u64, why: String) -> LakeError {
        match self.damages.judge(self.dataset, file.as_ref(), Some(version), None, Some(why)).await {
            Ok(Some(error)) | Err(error) => error,
            Ok(None) => LakeError::Defect(format!("{file} cannot be read, and nothing is wrong with it")),
        }
    }

    /// Whether a version that was there is there, as long as it was: an error when it is not. One request.
    pub(crate) async fn check(&self, version: u64) -> Result<()> {
        let expected = (*self.newest.lock()).filter(|(known, _)| *known == version).map(|(_, bytes)| bytes);
        let found = self.bytes_of(version).await?;
        if found.is_some() && (expected.is_none() || found == expected) {
            return Ok(());
        }
        self.damages
            .judge(self.dataset, commit_path(version).as_ref(), Some(version), expected, None)
            .await?
            .map_or(Ok(()), Err)
    }

    /// Whether every file of the log is as it should be after all, and a replay that failed with `error` is worth another
    /// try: a folder that is listed while commits come in may be listed with gaps. Errors: [`LakeError::Damaged`].
    async fn is_whole_behind(&self, error: &LakeError, version: Option<u64>) -> Result<bool> {
        let lasting = match error {
            LakeError::Log(_) | LakeError::Parquet(_) | LakeError::Arrow(_) | LakeError::Storage(_) => !passes(error),
            _ => false,
        };
        if !lasting {
            return Ok(false);
        }
        match self.find_damage(version).await {
            Ok(()) => Ok(true),
            Err(damaged @ LakeError::Damaged(_)) => Err(damaged),
            // What failed now may have failed before.
            Err(other) => {
                tracing::debug!(dataset = %self.dataset, error = %other, "a log could not be examined");
                Ok(false)
            }
        }
    }

    /// Looks at all files that a version is put together from. Errors: [`LakeError::Damaged`], or what came in between.
    async fn find_damage(&self, version: Option<u64>) -> Result<()> {
        let listing = Listing::of(self).await?;
        let Some(newest) = version.or_else(|| listing.newest()) else { return Ok(()) };
        let start = listing.checkpoint_before(newest);
        for commit in start.map_or(0, |checkpoint| checkpoint + 1)..=newest {
            if self.read(commit).await?.is_none() {
                self.check(commit).await?;
            }
        }
        if let Some(checkpoint) = start
            && let Err(error) = self.checkpointed_pushes(checkpoint, true).await
        {
            if passes(&error) {
                return Err(error);
            }
            return Err(self.unreadable(&checkpoint_path(checkpoint), checkpoint, error.to_string()).await);
        }
        // A pointer to a checkpoint that is not there.
        if let Some(hint) = self.checkpoint_version().await?.filter(|hint| start.is_none_or(|start| start < *hint)) {
            let file = checkpoint_path(hint);
            return self.damages.judge(self.dataset, file.as_ref(), Some(hint), None, None).await?.map_or(Ok(()), Err);
        }
        Ok(())
    }

    /// The data files that were taken out of the newest version at or after a time, or at an unknown time.
    pub(crate) async fn removed_since(&self, oldest_millis: i64) -> Result<Vec<String>> {
        let table = self.load(None).await?;
        let tombstones = table.snapshot()?.all_tombstones(self.store.as_ref());
        let recent = tombstones.try_filter_map(|removed| async move {
            let recent = removed.deletion_timestamp().is_none_or(|at| at >= oldest_millis);
            Ok(recent.then(|| removed.path().into_owned()))
        });
        Ok(recent.try_collect().await?)
    }

    /// Commits these actions as exactly this version.
    ///
    /// After a doubtful answer the log is asked what is really there: a commit of ours that landed is
    /// a success, whatever the store said. "It exists" is such an answer too: it may be ours, from an attempt whose
    /// answer was lost, or there may be nothing, when S3 refused two writers at once.
    pub(crate) async fn commit(
        &self,
        version: u64,
        actions: Vec<Action>,
        operation: DeltaOperation,
    ) -> Result<Attempt> {
        let ours = CommitData::new(actions, operation, std::collections::HashMap::new(), Vec::new())
            .get_bytes()
            .map_err(DeltaTableError::from)?;
        for pause in REFUSAL_PAUSES {
            let entry = CommitOrBytes::LogBytes(ours.clone());
            let doubt = match self.store.write_commit_entry(version, entry, uuid::Uuid::new_v4()).await {
                Ok(()) => {
                    self.met(version, ours.len());
                    return Ok(Attempt::Landed);
                }
                Err(TransactionError::VersionAlreadyExists(_)) => None,
                Err(error) => Some(error),
            };
            match (self.store.read_commit_entry(version).await?, doubt) {
                (Some(there), _) if there == ours => return Ok(Attempt::Landed),
                (Some(_), _) => return Ok(Attempt::Taken),
                (None, Some(error)) => return Err(DeltaTableError::from(error).into()),
                (None, None) => tokio::time::sleep(pause).await,
            }
        }
        Err(LakeError::Contended(REFUSAL_PAUSES.len() as u32))
    }

    /// Writes a checkpoint of the newest version, then removes log files that it made superfluous.
    /// Answers the version of the checkpoint.
    pub(crate) async fn checkpoint(&self) -> Result<u64> {
        let table = self.load(None).await?;
        let version = table.snapshot()?.version();
        create_checkpoint(&table, None).await?;
        // It is also called done when a store refused to write it.
        if self.checkpoint_version().await?.is_none_or(|there| there < version) {
            let source = format!("the checkpoint of version {version} is not there").into();
            return Err(object_store::Error::Generic { store: "lake", source }.into());
        }
        let removed = cleanup_metadata(&table, None).await?;
        tracing::debug!(dataset = %self.dataset, version, removed, "checkpoint written");
        Ok(version)
    }

    async fn checkpoint_version(&self) -> Result<Option<u64>> {
        Ok(self.last_checkpoint().await?.and_then(|hint| hint["version"].as_u64()))
    }

    async fn last_checkpoint(&self) -> Result<Option<serde_json::Value>> {
        match self.files.get(&Path::from("_delta_log/_last_checkpoint")).await {
            Ok(found) => {
                let bytes: Bytes = found.bytes().await?;
                Ok(serde_json::from_slice(&bytes).ok())
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The version of the newest checkpoint. The pointer to it only saves a list: it is looked for when there is none.
    async fn newest_checkpoint(&self) -> Result<Option<u64>> {
        match self.checkpoint_version().await? {
            Some(version) => Ok(Some(version)),
            None => Ok(Listing::of(self).await?.checkpoint_before(u64::MAX)),
        }
    }

    /// The pushes that the log remembers: of the checkpoint, then of the commits after it.
    async fn pushes(&self, checkpoint: Option<u64>, newest: u64) -> Result<Pushes> {
        let mut pushes = match checkpoint {
            Some(version) => self.checkpointed_pushes(version, false).await?,
            None => Pushes::new(),
        };
        for version in checkpoint.map_or(0, |v| v + 1)..=newest {
            match self.read(version).await? {
                Some(actions) => remember(&mut pushes, &actions),
                None => self.check(version).await?,
            }
        }
        Ok(pushes)
    }

    /// The pushes in a checkpoint, of which all is decoded when it is examined.
    async fn checkpointed_pushes(&self, version: u64, whole: bool) -> Result<Pushes> {
        // A checkpoint is small beside the data it lists, and this happens once per open table.
        let bytes = self.files.get(&checkpoint_path(version)).await?.bytes().await?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
        let mask = match whole {
            true => ProjectionMask::all(),
            false => ProjectionMask::columns(builder.parquet_schema(), ["txn.appId", "txn.version", "txn.lastUpdated"]),
        };
        let mut pushes = Pushes::new();
        for batch in builder.with_projection(mask).build()? {
            remember_batch(&mut pushes, &batch?)?;
        }
        Ok(pushes)
    }
}

/// Notes the pushes among a commit's actions.
pub(crate) fn remember(pushes: &mut Pushes, actions: &[Action]) {
    for action in actions {
        if let Action::Txn(txn) = action {
            pushes.extend(txn::parse(&txn.app_id, txn.version, txn.last_updated));
        }
    }
}

fn remember_batch(pushes: &mut Pushes, batch: &RecordBatch) -> Result<()> {
    let malformed = || LakeError::UnsupportedTable("the checkpoint's txn column is malformed".to_owned());
    let Some(column) = batch.column_by_name("txn") else {
        return Ok(());
    };
    let txns = column.as_struct_opt().ok_or_else(malformed)?;
    let ids = txns.column_by_name("appId").and_then(|c| c.as_string_opt::<i32>()).ok_or_else(malformed)?;
    let versions =
        txns.column_by_name("version").and_then(|c| c.as_primitive_opt::<Int64Type>()).ok_or_else(malformed)?;
    let updated = txns.column_by_name("lastUpdated").and_then(|c| c.as_primitive_opt::<Int64Type>());
    for row in (0..txns.len()).filter(|row| txns.is_valid(*row)) {
        let at = updated.filter(|u| u.is_valid(row)).map(|u| u.value(row));
        pushes.extend(txn::parse(ids.value(row), versions.value(row), at));
    }
    Ok(())
}

pub(crate) fn commit_path(version: u64) -> Path {
    Path::from(format!("_delta_log/{version:020}.json"))
}

fn checkpoint_path(version: u64) -> Path {
    Path::from(format!("_delta_log/{version:020}.checkpoint.parquet"))
}

/// Whether an error is one of the store, other than that something is not there: what failed in passing may work now.
fn passes(error: &(dyn std::error::Error + 'static)) -> bool {
    match error.downcast_ref::<object_store::Error>() {
        Some(error) => !matches!(error, object_store::Error::NotFound { .. }),
        None => error.source().is_some_and(passes),
    }
}

/// Checkpoints and clean-up inside a commit would report a commit that landed as failed.
fn hooks_off() -> CommitProperties {
    CommitProperties::default().with_create_checkpoint(false).with_cleanup_expired_logs(Some(false))
}
