//! Entries in the order of their registration; nearly always one.

use std::collections::BTreeMap;

use super::{Epoch, Key};

/// Entries in the order of their registration. A single one, by far the usual case, takes no memory
/// of its own; of many, any is found and removed in logarithmic time, so that repeated
/// registrations of one thing do not slow the registry down.
#[derive(Debug, Default)]
#[expect(clippy::box_collection, reason = "a smaller `Keys` for the million names that have one")]
pub(super) enum Keys {
    #[default]
    None,
    One(Epoch, Key),
    Many(Box<BTreeMap<Epoch, Key>>),
}

impl Keys {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(..) => 1,
            Self::Many(keys) => keys.len(),
        }
    }

    /// Returns the only entry, if it is the only one.
    fn only(&self) -> Option<Key> {
        match self {
            Self::One(_, key) => Some(*key),
            Self::None | Self::Many(_) => None,
        }
    }

    /// Goes through the entries, newest first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = Key> {
        let many = match self {
            Self::Many(keys) => Some(keys.values().rev().copied()),
            Self::None | Self::One(..) => None,
        };
        self.only().into_iter().chain(many.into_iter().flatten())
    }

    pub(super) fn insert(&mut self, epoch: Epoch, key: Key) {
        match self {
            Self::None => *self = Self::One(epoch, key),
            Self::One(first, other) if *first != epoch => {
                let both = [(*first, *other), (epoch, key)];
                *self = Self::Many(Box::new(both.into()));
            }
            Self::One(..) => {}
            Self::Many(keys) => _ = keys.insert(epoch, key),
        }
    }

    pub(super) fn remove(&mut self, epoch: Epoch) {
        match self {
            Self::One(own, _) if *own == epoch => *self = Self::None,
            Self::Many(keys) => {
                keys.remove(&epoch);
                if keys.len() == 1
                    && let Some((epoch, key)) = keys.pop_first()
                {
                    *self = Self::One(epoch, key);
                }
            }
            Self::None | Self::One(..) => {}
        }
    }
}
