//! A copy of a table in another lake, while it is written to.

use std::collections::HashSet;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use lakegate_catalog::DatasetId;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use tokio::io::AsyncWriteExt as _;

use crate::error::{LakeError, Result};
use crate::lake::Lake;
use crate::table::Table;

/// Files that are copied at a time.
const AT_ONCE: usize = 4;
/// Times that a table may change under the copy in a way that makes it begin again: a checkpoint, a clean-up.
const MAX_STARTS: u32 = 8;

/// What a copy holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The version that is the newest in the copy.
    pub version: u64,
    /// Its rows; `None` when a file of another writer does not say.
    pub rows: Option<u64>,
    /// Bytes of the files that were copied.
    pub bytes: u64,
}

impl Lake {
    /// Copies a table, up to a version that was the newest when the copy began or later, with what is there of older
    /// ones. The copy is read back before this returns. Memory: a few parts of files.
    ///
    /// Errors: [`LakeError::NoTable`], also when it is deleted meanwhile; [`LakeError::Contended`];
    /// [`LakeError::Storage`].
    pub async fn copy_table(&self, id: DatasetId, into: &Self) -> Result<Copied> {
        let (from, to) = (self.table(id).await?, Path::from(id.to_string()));
        for _ in 0..MAX_STARTS {
            let snapshot = from.snapshot().await?;
            let version = snapshot.version();
            let Some(bytes) = copy_version(&from, version, into, &to).await? else { continue };
            let copied = into.table(id).await?.snapshot().await?;
            if copied.version() != version || copied.rows() != snapshot.rows() {
                return Err(LakeError::Defect("the copy of a table differs from the table".to_owned()));
            }
            for file in &copied.files {
                let found = into.root.head(&child(&to, &file.path)).await?;
                if found.size != file.size {
                    return Err(LakeError::Defect("a copied file differs from what the log says of it".to_owned()));
                }
            }
            return Ok(Copied { version, rows: copied.rows(), bytes });
        }
        // It is there, and never long enough.
        self.ping().await?;
        Err(LakeError::Contended(MAX_STARTS))
    }
}

/// Copies what makes up a version; `None` when something of it went away meanwhile.
async fn copy_version(from: &Table, version: u64, into: &Lake, to: &Path) -> Result<Option<u64>> {
    let all: Vec<_> = from.log.files.list(None).try_collect().await?;
    let log = Path::from("_delta_log");
    let wanted = all.into_iter().filter(|file| match file.location.prefix_match(&log) {
        Some(_) => belongs(file.location.filename().unwrap_or_default(), version),
        None => true,
    });
    let (log, data): (Vec<_>, Vec<_>) = wanted.partition(|file| file.location.prefix_matches(&log));
    if log.is_empty() {
        return Err(LakeError::NoTable);
    }
    let checkpoints: HashSet<u64> = log.iter().filter_map(|file| checkpointed(file.location.filename()?)).collect();
    let mut bytes = 0;
    // The log last: what it names is there.
    for files in [data, log] {
        let copies = stream::iter(files).map(|file| copy(from, file.location, into, to)).buffer_unordered(AT_ONCE);
        let copied: Vec<Option<u64>> = copies.try_collect().await?;
        // A data file that is gone was of no version that is kept, or the log names it: looked at in the end.
        bytes += copied.into_iter().flatten().sum::<u64>();
    }
    let hint = into.root.get(&child(to, "_delta_log/_last_checkpoint")).await;
    let newest_checkpoint = match hint {
        Ok(found) => {
            let hint: serde_json::Value = serde_json::from_slice(&found.bytes().await?).unwrap_or_default();
            hint["version"].as_u64()
        }
        Err(object_store::Error::NotFound { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    // A checkpoint made since then, with a clean-up behind it, leaves a log that does not reach the version.
    let whole = (newest_checkpoint.map_or(0, |checkpoint| checkpoint + 1)..=version).map(|commit| async move {
        let path = child(to, &format!("_delta_log/{commit:020}.json"));
        into.root.head(&path).await.is_ok()
    });
    // One that the pointer names, and that was written after the files were listed, is not in the copy.
    let reaches = newest_checkpoint.is_none_or(|checkpoint| checkpoints.contains(&checkpoint))
        && stream::iter(whole).buffer_unordered(AT_ONCE).all(|there| async move { there }).await;
    Ok(reaches.then_some(bytes))
}

/// Whether a file of the log tells of this version or an older one. The hint is looked at once it is copied.
fn belongs(name: &str, version: u64) -> bool {
    match name.split_once('.').map(|(number, _)| number.parse::<u64>()) {
        Some(Ok(number)) => number <= version,
        _ => name == "_last_checkpoint",
    }
}

/// The version of a checkpoint's file.
fn checkpointed(name: &str) -> Option<u64> {
    let (number, rest) = name.split_once('.')?;
    rest.starts_with("checkpoint.").then(|| number.parse().ok())?
}

/// Copies a file and answers its bytes; `None` when it is gone.
async fn copy(from: &Table, file: Path, into: &Lake, to: &Path) -> Result<Option<u64>> {
    let found = match from.log.files.get(&file).await {
        Ok(found) => found,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let size = found.meta.size;
    let mut target = BufWriter::new(std::sync::Arc::clone(&into.root), child(to, file.as_ref()));
    let failed = |error: std::io::Error| object_store::Error::Generic { store: "backup", source: Box::new(error) };
    let mut parts = found.into_stream();
    while let Some(part) = parts.try_next().await? {
        let part: Bytes = part;
        target.write_all(&part).await.map_err(failed)?;
    }
    target.shutdown().await.map_err(failed)?;
    Ok(Some(size))
}

fn child(folder: &Path, file: &str) -> Path {
    Path::from(format!("{folder}/{file}"))
}

#[cfg(test)]
mod tests {
    use super::belongs;

    #[test]
    fn the_log_up_to_a_version() {
        for inside in ["00000000000000000007.json", "00000000000000000003.checkpoint.parquet", "_last_checkpoint"] {
            assert!(belongs(inside, 7), "{inside}");
        }
        for outside in ["00000000000000000008.json", "_commits", "x.json"] {
            assert!(!belongs(outside, 7), "{outside}");
        }
    }
}
