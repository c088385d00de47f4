//! Tombstones: removed instances that must not return by themselves.
//!
//! The registrant may be away at that moment, and so learns of it when it returns: it then names
//! its earlier registration. A registrant that starts fresh names none, and is registered.

use std::collections::VecDeque;

use foldhash::{HashMap, HashMapExt as _};
use uuid::Uuid;
use wire::{
    Epoch,
    callbacks::{Lost, LostCause},
};

use super::{Account, Owner};

/// The latest removed instances.
#[derive(Debug)]
pub(super) struct Tombstones {
    by_uuid: HashMap<Uuid, Tombstone>,
    /// In order of removal.
    order: VecDeque<(Uuid, Epoch)>,
}

#[derive(Debug)]
struct Tombstone {
    epoch: Epoch,
    /// The account of its registrant: others learn nothing of it.
    account: Account,
    by: Owner,
}

impl Default for Tombstones {
    fn default() -> Self {
        Self { by_uuid: HashMap::new(), order: VecDeque::new() }
    }
}

impl Tombstones {
    /// Records a removal of an account's instance, and its author.
    pub(super) fn insert(&mut self, uuid: Uuid, epoch: Epoch, account: Account, by: Owner) {
        if self.order.len() == TOMBSTONES_MAX
            && let Some((oldest, epoch)) = self.order.pop_front()
            && self.by_uuid.get(&oldest).is_some_and(|it| it.epoch == epoch)
        {
            self.by_uuid.remove(&oldest);
        }
        self.by_uuid.insert(uuid, Tombstone { epoch, account, by });
        self.order.push_back((uuid, epoch));
    }

    /// Returns the loss of a returning registrant whose last registration was `again`.
    pub(super) fn of(&self, uuid: Uuid, again: Epoch, account: Account) -> Option<Lost> {
        let is_own = |it: &&Tombstone| it.epoch >= again && it.account == account;
        let Tombstone { epoch, by, .. } = self.by_uuid.get(&uuid).filter(is_own)?;
        let by = Some(by.to_string());
        let cause = LostCause::Unregistered;
        Some(Lost { uuid, epoch: *epoch, cause, endpoint: None, by })
    }

    /// Forgets it: the instance was registered again.
    pub(super) fn remove(&mut self, uuid: Uuid) {
        self.by_uuid.remove(&uuid);
    }
}

/// The most to keep: more than an operator removes while a client is away, and some hundred
/// kilobytes.
const TOMBSTONES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Account = Account::User(1000);

    #[test]
    fn the_latest_are_kept_and_only_for_who_was_there_then() {
        let mut tombstones = Tombstones::default();
        let uuid = |it: u64| Uuid::from_u128(it.into());
        let most = TOMBSTONES_MAX as u64;
        for it in 1..=most + 1 {
            tombstones.insert(uuid(it), it, ONE, Owner::User(7));
        }
        assert_eq!(tombstones.of(uuid(1), 1, ONE), None);
        assert_eq!(tombstones.of(uuid(2), 2, ONE).unwrap().by.as_deref(), Some("user 7"));
        assert_eq!(
            tombstones.of(uuid(2), 1, ONE).unwrap().epoch,
            2,
            "its answer was lost on the way"
        );
        assert_eq!(tombstones.of(uuid(2), 3, ONE), None, "it was registered since");
        assert_eq!(tombstones.of(uuid(2), 1, Account::User(1001)), None, "it was another's");
        tombstones.remove(uuid(3));
        assert_eq!(tombstones.of(uuid(3), 3, ONE), None);

        // An instance that is removed repeatedly counts as one, and its old tombstones end nothing.
        for it in 0..most {
            tombstones.insert(uuid(9), 10_000 + it, ONE, Owner::User(7));
        }
        tombstones.insert(uuid(9), 20_000, ONE, Owner::User(7));
        assert_eq!(tombstones.by_uuid.len(), 1);
        assert!(tombstones.of(uuid(9), 20_000, ONE).is_some());
        assert_eq!(tombstones.order.len(), TOMBSTONES_MAX);
    }
}
