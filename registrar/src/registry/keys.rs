//! Entries in the order of their registration; nearly always one.

use std::collections::BTreeMap;

use super::{Epoch, Key, chunks::Chunks};

/// Entries that have something in common. A single one, by far the usual case, takes no memory of
/// its own; several are a crowd, of which this is the number.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Keys(u32);

/// Several entries each, in the order of their registration: any is found and removed in
/// logarithmic time, so that repeated registrations of one thing do not slow the registry down.
#[derive(Debug, Default)]
pub(super) struct Crowds(Chunks<BTreeMap<Epoch, Key>>);

/// What a [`Keys`] stands for.
pub(super) enum Meaning {
    None,
    One(Key),
    Many(Key),
}

impl Keys {
    const CROWD: u32 = 1 << 31;

    pub(super) fn one(key: Key) -> Self {
        debug_assert!(key < Self::CROWD - 1, "the limit of instances is far lower");
        Self(key + 1)
    }

    pub(super) fn many(crowd: Key) -> Self {
        Self(Self::CROWD | crowd)
    }

    pub(super) fn meaning(self) -> Meaning {
        match self.0 {
            0 => Meaning::None,
            crowd @ Self::CROWD.. => Meaning::Many(crowd & !Self::CROWD),
            key => Meaning::One(key - 1),
        }
    }

    pub(super) fn is_empty(self) -> bool {
        self == Self::default()
    }
}

impl Crowds {
    /// Goes through entries, newest first.
    pub(super) fn newest_first(&self, keys: Keys) -> impl Iterator<Item = Key> {
        let (one, many) = match keys.meaning() {
            Meaning::None => (None, None),
            Meaning::One(key) => (Some(key), None),
            Meaning::Many(crowd) => (None, Some(self.0[crowd].values().rev().copied())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// Adds an entry. `epoch_of` finds the epochs of others.
    pub(super) fn insert(
        &mut self,
        keys: &mut Keys,
        (epoch, key): (Epoch, Key),
        epoch_of: impl Fn(Key) -> Epoch,
    ) {
        match keys.meaning() {
            Meaning::None => *keys = Keys::one(key),
            Meaning::One(other) if other == key => {}
            Meaning::One(other) => {
                let both = [(epoch_of(other), other), (epoch, key)];
                *keys = Keys::many(self.0.insert(both.into()));
            }
            Meaning::Many(crowd) => _ = self.0[crowd].insert(epoch, key),
        }
    }

    pub(super) fn remove(&mut self, keys: &mut Keys, (epoch, key): (Epoch, Key)) {
        match keys.meaning() {
            Meaning::One(own) if own == key => *keys = Keys::default(),
            Meaning::Many(crowd) => {
                let many = &mut self.0[crowd];
                many.remove(&epoch);
                if many.len() == 1
                    && let Some((_, last)) = many.pop_first()
                {
                    self.0.remove(crowd);
                    *keys = Keys::one(last);
                }
            }
            Meaning::None | Meaning::One(_) => {}
        }
    }
}
