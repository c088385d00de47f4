//! A hash map in shards.

use std::{
    borrow::Borrow,
    hash::{BuildHasher, Hash},
};

use foldhash::fast::RandomState;
use hashbrown::{HashTable, hash_table::Entry};

/// A sharded hash map. A single table, as in `HashMap`, moves all its contents in one go when it
/// grows or shrinks, and everybody waits: with 65 536 instances some milliseconds. A shard takes
/// some tenths of one.
#[derive(Debug)]
pub(super) struct Shards<K, V> {
    shards: Box<[HashTable<(K, V)>]>,
    hasher: RandomState,
}

impl<K: Eq + Hash, V> Shards<K, V> {
    pub(super) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let hash = self.hasher.hash_one(key);
        let found = self.shards[shard(hash)].find(hash, |(it, _)| it.borrow() == key);
        found.map(|(_, value)| value)
    }

    pub(super) fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let hash = self.hasher.hash_one(key);
        let found = self.shards[shard(hash)].find_mut(hash, |(it, _)| it.borrow() == key);
        found.map(|(_, value)| value)
    }

    pub(super) fn insert(&mut self, key: K, value: V)
    where
        V: Default,
    {
        *self.get_or_insert(key) = value;
    }

    /// Returns the value of a key, which is made if it is not there.
    pub(super) fn get_or_insert(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        let Self { shards, hasher } = self;
        let hash = hasher.hash_one(&key);
        let entry =
            shards[shard(hash)].entry(hash, |(it, _)| *it == key, |(it, _)| hasher.hash_one(it));
        let entry = match entry {
            Entry::Occupied(entry) => entry,
            Entry::Vacant(entry) => entry.insert((key, V::default())),
        };
        &mut entry.into_mut().1
    }

    /// Changes the value of a key, and removes it if `change` says so.
    pub(super) fn change<Q: Eq + Hash + ?Sized>(
        &mut self,
        key: &Q,
        change: impl FnOnce(&mut V) -> Removes,
    ) where
        K: Borrow<Q>,
    {
        let hash = self.hasher.hash_one(key);
        let found = self.shards[shard(hash)].find_entry(hash, |(it, _)| it.borrow() == key);
        if let Ok(mut entry) = found
            && change(&mut entry.get_mut().1) == Removes::Yes
        {
            entry.remove();
        }
    }

    pub(super) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        let hash = self.hasher.hash_one(key);
        if let Ok(entry) = self.shards[shard(hash)].find_entry(hash, |(it, _)| it.borrow() == key) {
            entry.remove();
        }
    }

    /// Tells whether a shard has far more room than it uses.
    pub(super) fn has_much_room(&self, at: usize) -> bool {
        let shard = &self.shards[at];
        shard.capacity() > 8 * shard.len().max(ROOM_KEPT / SHARDS)
    }

    /// Gives back the room of a shard that it does not use.
    pub(super) fn shrink(&mut self, at: usize) {
        if self.has_much_room(at) {
            let Self { shards, hasher } = self;
            let room = 2 * shards[at].len().max(ROOM_KEPT / SHARDS);
            shards[at].shrink_to(room, |(it, _)| hasher.hash_one(it));
        }
    }
}

/// Whether a value is not wanted any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Removes {
    Yes,
    No,
}

impl Removes {
    pub(super) fn if_empty(len: usize) -> Self {
        if len == 0 { Self::Yes } else { Self::No }
    }
}

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| HashTable::new()).collect();
        Self { shards, hasher: RandomState::default() }
    }
}

/// Returns in which shard a hash is: by bits that a table of less than 2^32 does not look at.
fn shard(hash: u64) -> usize {
    (hash >> 32) as usize % SHARDS
}

/// The number of shards: of four million entries, each has as many as some tenths of a millisecond
/// move.
pub(super) const SHARDS: usize = 128;

/// For how many entries there is always room.
const ROOM_KEPT: usize = 1024;
