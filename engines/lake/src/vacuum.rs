//! Vacuum: removes the files that no version of the last days and no running query needs.

use std::collections::HashSet;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::ObjectMeta;
use object_store::path::Path;

use crate::error::Result;
use crate::table::Table;

/// Old files that are held in memory; what is needed is asked for anew for each so many.
const AT_ONCE: usize = 20_000;

/// What a vacuum did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vacuumed {
    /// Files that were removed.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Table {
    /// Removes data files that are older than `retention` and needed by nothing: not by the newest version, not by a
    /// version that was the newest within `retention`, not by a snapshot that this process still holds.
    ///
    /// `retention` must be longer than any push and any query of any process takes: a file that is being written has no
    /// version yet, and another process's snapshot is not known here. Safe to repeat and to break off. Memory: the names
    /// of the files that are needed, and of [`AT_ONCE`] that are old.
    pub(crate) async fn vacuum(&self, retention: Duration) -> Result<Vacuumed> {
        let retention = chrono::TimeDelta::from_std(retention).unwrap_or(chrono::TimeDelta::MAX);
        let oldest = chrono::Utc::now().checked_sub_signed(retention).unwrap_or(chrono::DateTime::UNIX_EPOCH);
        // What a damaged log does not say is needed may be needed by what is restored of it.
        self.snapshot_and_log().await?;
        let old = self.log.files.list(None);
        let old = old.try_filter(|file| std::future::ready(is_data(&file.location) && file.last_modified < oldest));
        let mut parts = old.try_chunks(AT_ONCE).map_err(|error| error.1);
        let mut done = Vacuumed::default();
        while let Some(part) = parts.try_next().await? {
            // Files first, then what is needed: a file that comes to be needed in between is young.
            let needed = self.needed_since(oldest.timestamp_millis()).await?;
            let doomed = part.into_iter().filter(|file| !needed.contains(file.location.as_ref())).collect();
            self.delete(doomed, &mut done).await?;
        }
        Ok(done)
    }

    async fn delete(&self, doomed: Vec<ObjectMeta>, done: &mut Vacuumed) -> Result<()> {
        done.bytes += doomed.iter().map(|file| file.size).sum::<u64>();
        let paths: BoxStream<'static, _> = futures::stream::iter(doomed).map(|file| Ok(file.location)).boxed();
        let mut removed = self.log.files.delete_stream(paths);
        while let Some(one) = removed.next().await {
            match one {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => done.files += 1,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn needed_since(&self, oldest_millis: i64) -> Result<HashSet<String>> {
        let mut needed: HashSet<String> = self.log.removed_since(oldest_millis).await?.into_iter().collect();
        // Versions that are only kept at hand are no reason to keep their files.
        self.past.clear();
        let newest = self.snapshot().await?;
        for snapshot in self.held().into_iter().chain([newest]) {
            needed.extend(snapshot.files.iter().map(|file| file.path.clone()));
        }
        Ok(needed)
    }
}

/// Whether an object is a data file of the table; what starts with `_` or `.` is the log's or someone else's.
fn is_data(path: &Path) -> bool {
    path.parts().all(|part| !part.as_ref().starts_with(['_', '.'])) && path.as_ref().ends_with(".parquet")
}
