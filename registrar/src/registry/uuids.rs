//! The index of UUIDs.

use std::hash::BuildHasher as _;

use hashbrown::hash_table::Entry;
use uuid::Uuid;

use super::{Entries, Key, shards::Shards};

/// The entry of each UUID. It holds only keys: the UUIDs are in the entries.
#[derive(Debug, Default)]
pub(super) struct Uuids(Shards<Key>);

impl Uuids {
    pub(super) fn get(&self, uuid: Uuid, entries: &Entries) -> Option<Key> {
        self.0.find(self.0.hash(uuid), |key| entries[*key].uuid == uuid).copied()
    }

    pub(super) fn insert(&mut self, key: Key, entries: &Entries) {
        let uuid = entries[key].uuid;
        let (hash, hasher) = (self.0.hash(uuid), self.0.hasher());
        let is_it = |key: &Key| entries[*key].uuid == uuid;
        match self.0.entry(hash, is_it, |it| hasher.hash_one(entries[*it].uuid)) {
            Entry::Occupied(mut entry) => *entry.get_mut() = key,
            Entry::Vacant(entry) => _ = entry.insert(key),
        }
    }

    pub(super) fn remove(&mut self, key: Key, entries: &Entries) {
        let hash = self.0.hash(entries[key].uuid);
        if let Some(entry) = self.0.find_entry(hash, |it| *it == key) {
            entry.remove();
        }
    }

    pub(super) fn has_much_room(&self) -> bool {
        // Shards are filled alike, so that one tells of all.
        self.0.has_much_room(0)
    }

    pub(super) fn shrink(&mut self, shard: usize, entries: &Entries) {
        let hasher = self.0.hasher();
        self.0.shrink(shard, |it| hasher.hash_one(entries[*it].uuid));
    }
}
