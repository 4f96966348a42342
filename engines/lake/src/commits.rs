//! Commits of this process, for whoever tells others of them.

use std::collections::BTreeMap;

use lakegate_catalog::DatasetId;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// The newest version of each dataset that was committed here since somebody asked last. Bounded by the number of datasets,
/// however often they are written to.
#[derive(Debug, Default)]
pub struct Commits {
    waiting: Mutex<BTreeMap<DatasetId, u64>>,
    news: Notify,
}

impl Commits {
    /// Notes a version to tell of. For a dataset that was not listed yet when it was committed, it is noted again.
    pub fn add(&self, dataset: DatasetId, version: u64) {
        let mut waiting = self.waiting.lock();
        let newest = waiting.entry(dataset).or_default();
        *newest = version.max(*newest);
        drop(waiting);
        self.news.notify_one();
    }

    /// Puts back what could not be told.
    pub fn put_back(&self, versions: &[(DatasetId, u64)]) {
        versions.iter().for_each(|(dataset, version)| self.add(*dataset, *version));
    }

    /// Waits until there is one, and takes all.
    pub async fn take(&self) -> Vec<(DatasetId, u64)> {
        loop {
            let taken = std::mem::take(&mut *self.waiting.lock());
            if !taken.is_empty() {
                return taken.into_iter().collect();
            }
            self.news.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newest_version_of_each_is_told_once() {
        let commits = Commits::default();
        let (a, b) = (DatasetId::generate(), DatasetId::generate());
        for (dataset, version) in [(a, 1), (b, 4), (a, 3), (a, 2)] {
            commits.add(dataset, version);
        }
        assert_eq!(commits.take().await, [(a, 3), (b, 4)]);
        let (taken, ()) = futures::join!(commits.take(), async { commits.add(b, 5) });
        assert_eq!(taken, [(b, 5)]);
    }
}
