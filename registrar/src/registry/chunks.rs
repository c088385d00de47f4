//! Values by short keys, in chunks.

use std::ops::{Index, IndexMut};

use slab::Slab;

use super::Entry;

/// The key of an entry. Half the size of an index, because every index of the registry holds a key
/// for every entry.
pub(super) type Key = u32;

/// All entries, unordered.
pub(super) type Entries = Chunks<Entry>;

/// Values, unordered. They are in chunks, so that none that comes moves all of them to a larger
/// place, and free memory is returned a chunk at a time.
#[derive(Debug)]
pub(super) struct Chunks<T> {
    chunks: Vec<Slab<T>>,
    /// The chunks with room.
    roomy: Vec<usize>,
}

impl<T> Chunks<T> {
    pub(super) fn insert(&mut self, value: T) -> Key {
        let at = self.roomy.last().copied().unwrap_or_else(|| {
            self.roomy.push(self.chunks.len());
            self.chunks.push(Slab::new());
            self.chunks.len() - 1
        });
        let chunk = &mut self.chunks[at];
        let place = at * CHUNK + chunk.insert(value);
        if chunk.len() == CHUNK {
            self.roomy.pop();
        }
        Key::try_from(place).expect("the limit of instances is far lower")
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let (at, place) = places(key);
        self.chunks.get_mut(at)?.get_mut(place)
    }

    /// Returns the values of a chunk, if there are so many.
    pub(super) fn chunk(&self, at: usize) -> Option<impl Iterator<Item = &T>> {
        self.chunks.get(at).map(|it| it.iter().map(|(_, value)| value))
    }

    pub(super) fn remove(&mut self, key: Key) -> T {
        let (at, place) = places(key);
        let chunk = &mut self.chunks[at];
        if chunk.len() == CHUNK {
            self.roomy.push(at);
        }
        let value = chunk.remove(place);
        if chunk.is_empty() {
            *chunk = Slab::new();
        }
        value
    }
}

impl<T> Index<Key> for Chunks<T> {
    type Output = T;

    fn index(&self, key: Key) -> &T {
        let (at, place) = places(key);
        &self.chunks[at][place]
    }
}

impl<T> IndexMut<Key> for Chunks<T> {
    fn index_mut(&mut self, key: Key) -> &mut T {
        let (at, place) = places(key);
        &mut self.chunks[at][place]
    }
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), roomy: Vec::new() }
    }
}

/// Returns in which chunk a value is, and where in that.
fn places(key: Key) -> (usize, usize) {
    (key as usize / CHUNK, key as usize % CHUNK)
}

/// The values of a chunk: it is moved, or freed, in some hundredths of a millisecond.
const CHUNK: usize = 1024;
