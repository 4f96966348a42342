//! Older versions of a table: what each did, which one was the newest at a time, and its rows.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use deltalake::kernel::{Action, Add};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use parking_lot::Mutex;

use crate::error::{LakeError, Result};
use crate::log::{Log, commit_path};
use crate::snapshot::Snapshot;
use crate::table::Table;

/// Older versions of one table that are kept in memory.
const KEPT: usize = 4;
/// Requests at a time that ask whether a file is there.
const AT_ONCE: usize = 16;

/// What one version of a table did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionInfo {
    /// The version.
    pub version: u64,
    /// When it was committed.
    pub timestamp: DateTime<Utc>,
    /// Delta's word for it, such as `WRITE`; empty when its writer did not say.
    pub operation: String,
    /// Rows that it added, not counting rows that it only moved to another file; `None` when a file does not say.
    pub rows_added: Option<u64>,
    /// Files that it added.
    pub files_added: u64,
    /// Files that it removed.
    pub files_removed: u64,
    /// Bytes of the files that it added.
    pub bytes_added: u64,
}

impl Table {
    /// A version as it was. Costs a request when it is the newest, and else a replay of the log, of which the last
    /// few are kept.
    ///
    /// Errors: [`LakeError::NoVersion`]; [`LakeError::VersionExpired`] when log or files of it are gone.
    pub async fn snapshot_at(&self, version: u64) -> Result<Arc<Snapshot>> {
        let newest = self.snapshot().await?;
        if version == newest.version {
            return Ok(newest);
        }
        if version > newest.version {
            return Err(LakeError::NoVersion { version, newest: newest.version });
        }
        let snapshot = match self.past.get(version) {
            Some(kept) => kept,
            None => self.replay_to(version).await?,
        };
        // A version that compaction has left behind may have lost its files meanwhile.
        self.check_files(&snapshot, &newest).await?;
        Ok(snapshot)
    }

    async fn replay_to(&self, version: u64) -> Result<Arc<Snapshot>> {
        if !Listing::of(&self.log).await?.reaches(version) {
            return Err(expired(version));
        }
        let snapshot = Arc::new(self.log.state(Some(version)).await?);
        self.hold(&snapshot);
        self.past.keep(&snapshot);
        Ok(snapshot)
    }

    async fn check_files(&self, old: &Snapshot, newest: &Snapshot) -> Result<()> {
        let there: HashSet<&str> = newest.files.iter().map(|file| file.path.as_str()).collect();
        let doubtful: Vec<Path> = old
            .files
            .iter()
            .filter(|file| !there.contains(file.path.as_str()))
            .map(|file| Path::from(file.path.as_str()))
            .collect();
        let found = stream::iter(doubtful).map(|path| async move {
            match self.log.files.head(&path).await {
                Ok(_) => Ok(()),
                Err(object_store::Error::NotFound { .. }) => Err(expired(old.version)),
                Err(error) => Err(error.into()),
            }
        });
        found.buffer_unordered(AT_ONCE).try_collect().await
    }

    /// The version that was the newest at `time`. Reads about as many log entries as the number of versions has
    /// binary digits. Where clocks of writers went back, the search may settle on a neighbour.
    ///
    /// Errors: [`LakeError::NoVersionYet`]; [`LakeError::VersionExpired`].
    pub async fn version_at(&self, time: DateTime<Utc>) -> Result<u64> {
        let newest = self.snapshot_and_log().await?.version;
        if self.committed_at(newest).await? <= time {
            return Ok(newest);
        }
        let mut before = Listing::of(&self.log).await?.first_before(newest);
        let first = self.committed_at(before).await?;
        if first > time {
            return Err(match before {
                0 => LakeError::NoVersionYet { time, first },
                _ => LakeError::VersionExpired(format!("the version of {}", time.to_rfc3339())),
            });
        }
        let mut after = newest;
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            if self.committed_at(middle).await? <= time {
                before = middle;
            } else {
                after = middle;
            }
        }
        Ok(before)
    }

    async fn committed_at(&self, version: u64) -> Result<DateTime<Utc>> {
        let actions = self.log.read(version).await?.ok_or_else(|| expired(version))?;
        self.timestamp(version, &actions).await
    }

    /// What the commit says of itself; a copied log keeps that, and not the times of its files.
    async fn timestamp(&self, version: u64, actions: &[Action]) -> Result<DateTime<Utc>> {
        let said = commit_info(actions).and_then(|info| info.in_commit_timestamp.or(info.timestamp));
        match said.and_then(DateTime::from_timestamp_millis) {
            Some(time) => Ok(time),
            None => Ok(self.log.files.head(&commit_path(version)).await?.last_modified),
        }
    }

    /// At most `limit` versions, the newest first, all of them before `before` when that is given. Ends where the
    /// log has been cleaned up. Costs a request per version.
    pub async fn history(&self, limit: usize, before: Option<u64>) -> Result<Vec<VersionInfo>> {
        let end = self.snapshot_and_log().await?.version + 1;
        let mut next = before.map_or(end, |before| before.min(end));
        let mut found = Vec::new();
        while next > 0 && found.len() < limit {
            next -= 1;
            let Some(actions) = self.log.read(next).await? else { break };
            found.push(self.described(next, &actions).await?);
        }
        Ok(found)
    }

    async fn described(&self, version: u64, actions: &[Action]) -> Result<VersionInfo> {
        let added = || actions.iter().filter_map(|action| if let Action::Add(add) = action { Some(add) } else { None });
        let removed = actions.iter().filter(|action| matches!(action, Action::Remove(_))).count();
        Ok(VersionInfo {
            version,
            timestamp: self.timestamp(version, actions).await?,
            operation: commit_info(actions).and_then(|info| info.operation.clone()).unwrap_or_default(),
            rows_added: added().filter(|add| add.data_change).map(rows).sum(),
            files_added: added().count() as u64,
            files_removed: removed as u64,
            bytes_added: added().map(|add| u64::try_from(add.size).unwrap_or(0)).sum(),
        })
    }
}

fn expired(version: u64) -> LakeError {
    LakeError::VersionExpired(format!("version {version}"))
}

fn commit_info(actions: &[Action]) -> Option<&deltalake::kernel::CommitInfo> {
    actions.iter().find_map(|action| if let Action::CommitInfo(info) = action { Some(info) } else { None })
}

fn rows(add: &Add) -> Option<u64> {
    let stats: serde_json::Value = serde_json::from_str(add.stats.as_deref()?).ok()?;
    stats["numRecords"].as_u64()
}

/// The versions that have a commit or a checkpoint in the log.
pub(crate) struct Listing {
    commits: BTreeSet<u64>,
    checkpoints: BTreeSet<u64>,
}

impl Listing {
    pub(crate) async fn of(log: &Log) -> Result<Self> {
        let mut listing = Self { commits: BTreeSet::new(), checkpoints: BTreeSet::new() };
        let mut files = log.files.list(Some(&Path::from("_delta_log")));
        while let Some(file) = files.try_next().await? {
            listing.add(file.location.filename().unwrap_or_default());
        }
        Ok(listing)
    }

    fn add(&mut self, name: &str) {
        let Some((Ok(version), rest)) = name.split_once('.').map(|(number, rest)| (number.parse(), rest)) else {
            return;
        };
        if rest == "json" {
            self.commits.insert(version);
        } else if rest.starts_with("checkpoint.") {
            self.checkpoints.insert(version);
        }
    }

    /// The newest version that the log tells of.
    pub(crate) fn newest(&self) -> Option<u64> {
        self.commits.last().max(self.checkpoints.last()).copied()
    }

    /// The newest checkpoint up to a version.
    pub(crate) fn checkpoint_before(&self, version: u64) -> Option<u64> {
        self.checkpoints.range(..=version).next_back().copied()
    }

    /// Whether the version can be put together from the last checkpoint before it and the commits since.
    fn reaches(&self, version: u64) -> bool {
        let first = self.checkpoint_before(version).map_or(0, |checkpoint| checkpoint + 1);
        (first..=version).all(|commit| self.commits.contains(&commit))
    }

    /// The oldest commit from which there is no gap up to `newest`.
    fn first_before(&self, newest: u64) -> u64 {
        let unbroken = (0..newest).rev().take_while(|commit| self.commits.contains(commit));
        unbroken.last().unwrap_or(newest)
    }
}

/// Older versions that were read lately, the last one at the end.
#[derive(Default)]
pub(crate) struct Past(Mutex<VecDeque<Arc<Snapshot>>>);

impl Past {
    fn get(&self, version: u64) -> Option<Arc<Snapshot>> {
        self.0.lock().iter().find(|snapshot| snapshot.version == version).map(Arc::clone)
    }

    /// Lets go of all; those that are being read stay with their readers.
    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }

    fn keep(&self, snapshot: &Arc<Snapshot>) {
        let mut kept = self.0.lock();
        kept.retain(|other| other.version != snapshot.version);
        kept.push_back(Arc::clone(snapshot));
        if kept.len() > KEPT {
            kept.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_needs_a_checkpoint_or_the_beginning_and_no_gap() {
        let mut log = Listing { commits: BTreeSet::new(), checkpoints: BTreeSet::new() };
        for name in ["00000000000000000050.checkpoint.parquet", "_last_checkpoint", "00000000000000000049.json"] {
            log.add(name);
        }
        for version in 50..60 {
            log.add(&format!("{version:020}.json"));
        }
        assert!(!log.reaches(49) && log.reaches(50) && log.reaches(59) && !log.reaches(60));
        assert_eq!((log.first_before(59), log.first_before(49)), (49, 49));
    }
}
