//! Places of which no caller takes all.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::access::Caller;
use crate::ids::PrincipalId;

/// What each caller may hold of something that all share: seven eighths, so that one who takes all that it gets and gives
/// nothing back does not stop the others. Callers without a token are one.
#[derive(Debug)]
pub struct Shares {
    each: usize,
    held: Mutex<HashMap<Option<PrincipalId>, Weak<Semaphore>>>,
}

impl Shares {
    /// Shares of `all`; of fewer than sixteen, each may hold all.
    pub fn of(all: usize) -> Self {
        let others = if all < 16 { 0 } else { all / 8 };
        Self { each: all - others, held: Mutex::default() }
    }

    /// How much one caller may hold.
    pub fn each(&self) -> usize {
        self.each
    }

    /// The caller's share; what it holds comes back when its permits are dropped.
    pub fn share(&self, caller: &Caller) -> Arc<Semaphore> {
        let who = caller.principal().map(|principal| principal.id);
        let mut held = self.held.lock();
        if let Some(share) = held.get(&who).and_then(Weak::upgrade) {
            return share;
        }
        held.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Semaphore::new(self.each));
        held.insert(who, Arc::downgrade(&share));
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::principal::{Principal, PrincipalKind};

    fn principal(name: &str) -> Caller {
        let id = PrincipalId::generate();
        Caller::from(Principal {
            id,
            name: name.to_owned(),
            kind: PrincipalKind::User,
            created_at: chrono::DateTime::UNIX_EPOCH,
        })
    }

    #[test]
    fn one_caller_leaves_room_for_others() {
        let shares = Shares::of(64);
        let (ann, bob) = (principal("ann"), principal("bob"));
        let taken: Vec<_> = (0..56).map(|_| shares.share(&ann).try_acquire_owned().expect("her share")).collect();
        assert!(shares.share(&ann).try_acquire_owned().is_err(), "no more than that");
        assert!(shares.share(&bob).try_acquire_owned().is_ok(), "others have theirs");
        assert!(shares.share(&Caller::Anonymous).try_acquire_owned().is_ok());
        drop(taken);
        assert!(shares.share(&ann).try_acquire_many_owned(56).is_ok(), "it all comes back");
        drop(shares.share(&principal("cleo")));
        assert_eq!(shares.held.lock().len(), 1, "who holds nothing is forgotten");
        assert_eq!(Shares::of(2).each(), 2);
    }
}
