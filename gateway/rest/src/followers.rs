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

/// A look at the feed that several wait for.
type Look = OnceCell<Arc<Feed>>;

/// The listeners of a gateway.
pub(crate) struct Followers {
    catalog: Arc<dyn Catalog>,
    places: Arc<Semaphore>,
    shares: Shares,
    /// Looks that are going on, by the event after which they look.
    looks: Mutex<HashMap<u64, Weak<Look>>>,
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

    /// Events after the one with this id, which all who ask while a look is going on read by it: what wakes a thousand
    /// listeners is one question to the catalog. A look may have begun before the newest event; whoever knows of a newer one
    /// looks again.
    pub(crate) async fn events(&self, after: u64) -> Result<Arc<Feed>> {
        let look = self.look(after);
        let read = async { Ok::<_, CatalogError>(Arc::new(self.catalog.events(after, AT_ONCE).await?)) };
        Ok(Arc::clone(look.get_or_try_init(|| read).await?))
    }

    fn look(&self, after: u64) -> Arc<Look> {
        let mut looks = self.looks.lock();
        if let Some(look) = looks.get(&after).and_then(Weak::upgrade).filter(|look| !look.initialized()) {
            return look;
        }
        looks.retain(|_, look| look.strong_count() > 0);
        let look = Arc::new(Look::new());
        looks.insert(after, Arc::downgrade(&look));
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
        let (first, second, other) = (followers.look(3), followers.look(3), followers.look(4));
        assert!(Arc::ptr_eq(&first, &second) && !Arc::ptr_eq(&first, &other));
        first.set(Arc::default()).expect("once");
        assert!(!Arc::ptr_eq(&first, &followers.look(3)), "what was read is not what there is now");
        drop((first, second, other));
        followers.look(5);
        assert_eq!(followers.looks.lock().len(), 1, "looks that are over are forgotten");
    }
}
