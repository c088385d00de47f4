//! A hash table in shards.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;
use hashbrown::{
    HashTable,
    hash_table::{Entry, OccupiedEntry},
};

/// A sharded hash table. A single table, as in `HashMap`, moves all its contents in one go when it
/// grows or shrinks, and everybody waits: with 65 536 instances some milliseconds. A shard takes
/// some tenths of one.
///
/// It holds no more than whoever asks needs to find the rest: the hash and the comparison are theirs.
#[derive(Debug)]
pub(super) struct Shards<T> {
    shards: Box<[HashTable<T>]>,
    hasher: RandomState,
}

impl<T> Shards<T> {
    /// Returns the hash of a key.
    pub(super) fn hash(&self, key: impl Hash) -> u64 {
        self.hasher.hash_one(key)
    }

    /// Returns what makes the hashes.
    pub(super) fn hasher(&self) -> RandomState {
        self.hasher.clone()
    }

    pub(super) fn find(&self, hash: u64, is_it: impl FnMut(&T) -> bool) -> Option<&T> {
        self.shards[shard(hash)].find(hash, is_it)
    }

    pub(super) fn find_entry(
        &mut self,
        hash: u64,
        is_it: impl FnMut(&T) -> bool,
    ) -> Option<OccupiedEntry<'_, T>> {
        self.shards[shard(hash)].find_entry(hash, is_it).ok()
    }

    /// Returns the place of a value, whether it is there or not. `rehash` returns the hashes of
    /// others, which may have to move.
    pub(super) fn entry(
        &mut self,
        hash: u64,
        is_it: impl FnMut(&T) -> bool,
        rehash: impl Fn(&T) -> u64,
    ) -> Entry<'_, T> {
        self.shards[shard(hash)].entry(hash, is_it, rehash)
    }

    /// Tells whether a shard has far more room than it uses.
    pub(super) fn has_much_room(&self, at: usize) -> bool {
        let shard = &self.shards[at];
        shard.capacity() > 8 * shard.len().max(ROOM_KEPT / SHARDS)
    }

    /// Gives back the room of a shard that it does not use.
    pub(super) fn shrink(&mut self, at: usize, rehash: impl Fn(&T) -> u64) {
        if self.has_much_room(at) {
            let room = 2 * self.shards[at].len().max(ROOM_KEPT / SHARDS);
            self.shards[at].shrink_to(room, rehash);
        }
    }
}

impl<T> Default for Shards<T> {
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
