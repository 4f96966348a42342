//! Those who listen to what happens: how many may, and what they read together.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use lakegate_catalog::{Caller, Catalog, CatalogError, ErrorKind, Feed, Shares};
use parking_lot::Mutex;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

use crate::problem::{Problem, Result};

/// Listeners of one gateway, to events and to jobs.
const MOST: usize = 1_024;
/// Events that are read at a time.
const AT_ONCE: usize = 100;

/// A look at the feed that several wait for, and what it found or failed with.
type Look = OnceCell<Result<Arc<Feed>, Arc<CatalogError>>>;

/// The listeners of a gateway.
pub(crate) struct Followers {
    catalog: Arc<dyn Catalog>,
    places: Arc<Semaphore>,
    shares: Shares,
    /// Looks that are going on, by the event after which they look and the newest that was known of when they began.
    looks: Mutex<HashMap<(u64, u64), Weak<Look>>>,
}

/// The place of one who listens.
pub(crate) struct Place {
    _place: OwnedSemaphorePermit,
    _share: OwnedSemaphorePermit,
}

impl Followers {
    pub(crate) fn new(catalog: Arc<dyn Catalog>) -> Self {
        let (places, shares) = (Arc::new(Semaphore::new(MOST)), Shares::of(MOST));
        Self { catalog, places, shares, looks: Mutex::default() }
    }

    /// A place for one more.
    pub(crate) fn admit(&self, caller: &Caller) -> Result<Place> {
        let share = self.shares.share(caller).try_acquire_owned();
        match (share, Arc::clone(&self.places).try_acquire_owned()) {
            (Ok(share), Ok(place)) => Ok(Place { _place: place, _share: share }),
            _ => {
                let detail = format!(
                    "{MOST} listen to this gateway at most, and {} of one principal: try again later, or share one listener",
                    self.shares.each()
                );
                Err(Problem::new(ErrorKind::Overloaded, "too_many_followers", detail))
            }
        }
    }

    /// Events after the one with this id, for one who knows of the event `newest`: all who know of the same, and no later,
    /// read by one look while it is going on, so that what wakes a thousand listeners is one question to the catalog. With
    /// `None`, for one who knows of none yet, a look of its own.
    pub(crate) async fn events(&self, after: u64, newest: Option<u64>) -> Result<Arc<Feed>> {
        let look = newest.map_or_else(Default::default, |newest| self.look((after, newest)));
        let read = async { self.catalog.events(after, AT_ONCE).await.map(Arc::new).map_err(Arc::new) };
        match look.get_or_init(|| read).await {
            Ok(feed) => Ok(Arc::clone(feed)),
            Err(error) => Err(Problem::new(error.kind(), error.code(), error.to_string())),
        }
    }

    fn look(&self, from: (u64, u64)) -> Arc<Look> {
        let mut looks = self.looks.lock();
        if let Some(look) = looks.get(&from).and_then(Weak::upgrade).filter(|look| !look.initialized()) {
            return look;
        }
        looks.retain(|_, look| look.strong_count() > 0);
        let look = Arc::new(Look::new());
        looks.insert(from, Arc::downgrade(&look));
        look
    }
}

#[cfg(test)]
mod tests {
    use lakegate_catalog::MemoryCatalog;

    use super::*;

    #[tokio::test]
    async fn no_caller_takes_all_places_and_they_come_back() {
        let followers = Followers::new(Arc::new(MemoryCatalog::new()));
        let mut held = Vec::new();
        let refused = loop {
            match followers.admit(&Caller::Anonymous) {
                Ok(place) => held.push(place),
                Err(refused) => break refused,
            }
        };
        assert_eq!((held.len(), refused.code), (MOST - MOST / 8, "too_many_followers"));
        assert_eq!(followers.places.available_permits(), MOST / 8, "a refusal takes no place");
        drop(held);
        assert_eq!(followers.places.available_permits(), MOST);
    }

    #[tokio::test]
    async fn looks_at_once_are_one_and_later_ones_are_new() {
        let followers = Followers::new(Arc::new(MemoryCatalog::new()));
        let (first, second, other) = (followers.look((3, 5)), followers.look((3, 5)), followers.look((4, 5)));
        assert!(Arc::ptr_eq(&first, &second) && !Arc::ptr_eq(&first, &other));
        assert!(!Arc::ptr_eq(&first, &followers.look((3, 6))), "it may have begun before 6 was told");
        first.set(Ok(Arc::default())).expect("once");
        assert!(!Arc::ptr_eq(&first, &followers.look((3, 5))), "what was read is not what there is now");
        drop((first, second, other));
        followers.look((5, 5));
        assert_eq!(followers.looks.lock().len(), 1, "looks that are over are forgotten");
    }
}
