//! Lasting damage: what a table needs and storage has no more, or has in another form.
//!
//! A store that fails in passing answers errors; damage is what a store says without failing: there is no such object, it
//! has another length, its bytes are not what was written. Nothing that a client does mends it, so it has an error of its
//! own, [`LakeError::Damaged`], and the [`Damages`] of a lake remember it until the object changes.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use lakegate_catalog::DatasetId;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use parking_lot::Mutex;

use crate::error::{LakeError, Result};
use crate::store;

/// The folder of a table's log.
pub(crate) const LOG: &str = "_delta_log";

/// One thing of a table that is not as it was written. Its text names files relative to the table's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Whose table.
    pub dataset: DatasetId,
    /// The file, relative to the table's folder; the log's folder when all of it is gone.
    pub file: String,
    /// The version that needs the file.
    pub version: Option<u64>,
    /// What is wrong with it.
    pub harm: Harm,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Harm {
    /// It is not there.
    Missing,
    /// It has another length than the log says.
    WrongSize {
        /// Bytes that it has.
        found: u64,
        /// Bytes that were written.
        expected: u64,
    },
    /// It is there and cannot be decoded. Why is for the log of the process.
    Unreadable(String),
}

impl Damage {
    /// Whether it is the log that is damaged, without which there is no version at all.
    pub fn in_log(&self) -> bool {
        self.file.starts_with(LOG)
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.file)?;
        if let Some(version) = self.version {
            write!(f, " of version {version}")?;
        }
        match &self.harm {
            Harm::Missing => write!(f, " is missing"),
            Harm::WrongSize { found, expected } => write!(f, " has {found} bytes instead of {expected}"),
            Harm::Unreadable(_) => write!(f, " cannot be decoded"),
        }
    }
}

/// An object as it was when damage was found: its length and when it was written; `None` when it was not there.
type Seen = Option<(u64, DateTime<Utc>)>;

/// The damage that one process has met in a lake.
pub(crate) struct Damages {
    root: Arc<dyn ObjectStore>,
    found: Mutex<HashMap<DatasetId, (Damage, Seen)>>,
    met: AtomicU64,
}

impl fmt::Debug for Damages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Damages").finish_non_exhaustive()
    }
}

impl Damages {
    pub(crate) fn new(root: Arc<dyn ObjectStore>) -> Arc<Self> {
        Arc::new(Self { root, found: Mutex::default(), met: AtomicU64::new(0) })
    }

    /// How often damage was met, and how many datasets are known to be damaged.
    pub(crate) fn counts(&self) -> (u64, usize) {
        (self.met.load(Ordering::Relaxed), self.found.lock().len())
    }

    /// The error for a file that is missing, has not the `expected` bytes, or could not be decoded (`unreadable`);
    /// `None` when nothing lasting is to be seen. Errors: [`LakeError::Storage`], also when all of the lake is out of sight.
    pub(crate) async fn judge(
        &self,
        dataset: DatasetId,
        file: &str,
        version: Option<u64>,
        expected: Option<u64>,
        unreadable: Option<String>,
    ) -> Result<Option<LakeError>> {
        let seen = self.see(dataset, file).await?;
        let harm = match (seen, expected, unreadable) {
            (None, _, _) => {
                // Without its storage every file looks as if it did not exist.
                store::ping(self.root.as_ref()).await?;
                Harm::Missing
            }
            (Some((found, _)), Some(expected), _) if found != expected => Harm::WrongSize { found, expected },
            (Some(_), _, Some(why)) => Harm::Unreadable(why),
            (Some(_), _, None) => return Ok(None),
        };
        Ok(Some(self.note(Damage { dataset, file: file.to_owned(), version, harm }, seen)))
    }

    /// Counts and remembers; the log of the process has it once.
    fn note(&self, damage: Damage, seen: Seen) -> LakeError {
        self.met.fetch_add(1, Ordering::Relaxed);
        let mut found = self.found.lock();
        let known = found.get(&damage.dataset).map(|(known, _)| known.clone());
        // A damaged log says more than a damaged file: nothing may be committed behind it.
        if damage.in_log() || known.as_ref().is_none_or(|known| !known.in_log()) {
            found.insert(damage.dataset, (damage.clone(), seen));
        }
        drop(found);
        if known.is_none_or(|known| known.file != damage.file || known.harm != damage.harm) {
            let Damage { dataset, file, version, harm } = &damage;
            tracing::error!(%dataset, file, version, ?harm, "a dataset is damaged");
        }
        LakeError::Damaged(damage)
    }

    /// What is known to be damaged and has not changed since; costs a request when something is.
    pub(crate) async fn of(&self, dataset: DatasetId) -> Option<Damage> {
        let (damage, before) = self.found.lock().get(&dataset).cloned()?;
        // As long as nobody knows better, it is damaged.
        if self.see(dataset, &damage.file).await.is_ok_and(|now| now != before) {
            self.forget(dataset);
            return None;
        }
        Some(damage)
    }

    pub(crate) fn forget(&self, dataset: DatasetId) {
        if self.found.lock().remove(&dataset).is_some() {
            tracing::info!(%dataset, "what was damaged of a dataset is there again, or it has been deleted");
        }
    }

    /// A log that can be replayed is whole.
    pub(crate) fn log_is_whole(&self, dataset: DatasetId) {
        let known = self.found.lock().get(&dataset).is_some_and(|(damage, _)| damage.in_log());
        if known {
            self.forget(dataset);
        }
    }

    pub(crate) fn datasets(&self) -> Vec<DatasetId> {
        self.found.lock().keys().copied().collect()
    }

    async fn see(&self, dataset: DatasetId, file: &str) -> Result<Seen> {
        let path = format!("{dataset}/{file}");
        // As the log has it, encoded already.
        let path = Path::parse(&path).unwrap_or_else(|_| Path::from(path));
        if file == LOG {
            let any = self.root.list(Some(&path)).next().await.transpose()?;
            return Ok(any.map(|any| (any.size, any.last_modified)));
        }
        match self.root.head(&path).await {
            Ok(meta) => Ok(Some((meta.size, meta.last_modified))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn a_damaged_file_does_not_hide_a_damaged_log() {
        let damages = Damages::new(Arc::new(InMemory::new()));
        let dataset = DatasetId::generate();
        let of = |file: &str| Damage { dataset, file: file.to_owned(), version: None, harm: Harm::Missing };
        for (met, told) in [
            ("part-1.parquet", "part-1.parquet"),
            ("part-2.parquet", "part-2.parquet"),
            ("_delta_log/00000000000000000001.json", "_delta_log/00000000000000000001.json"),
            ("part-3.parquet", "_delta_log/00000000000000000001.json"),
        ] {
            damages.note(of(met), None);
            assert_eq!(damages.of(dataset).await.map(|damage| damage.file).as_deref(), Some(told), "{met}");
        }
        assert_eq!(damages.counts(), (4, 1));
    }
}
