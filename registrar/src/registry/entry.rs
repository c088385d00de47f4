//! The registry's entry of an instance.

use std::{
    cell::Cell,
    ops::{Index, IndexMut},
};

use endpoints::{InstanceId, Name};
use slab::Slab;
use uuid::Uuid;
use wire::{Epoch, Lifetime, Record, State, decode_body, encode_record};

use super::{Owner, SessionId, names::Ruled};

/// The registry's entry of an instance: its record in the form in which answers carry it, so that
/// an answer is made by copying bytes, and the facts that are needed without decoding.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: Name,
    pub(super) uuid: Uuid,
    pub(super) epoch: Epoch,
    pub(super) state: State,
    pub(super) lifetime: Lifetime,
    pub(super) proves: bool,
    /// The bytes charged to its owner's account.
    pub(super) charged: u32,
    /// Whether it is gone, but not yet removed.
    pub(super) is_gone: bool,
    encoded: Box<[u8]>,
    /// By which numbers the places are kept that it claims, so that they are found again without
    /// its record.
    pub(super) claimed: Box<[u64]>,
    pub(super) registrant: Registrant,
    /// When its lease runs out; or, if the registrar has dismissed the session that kept it, until
    /// when its registrant should be back.
    pub(super) lease_until_ms: Option<u64>,
    /// The rule that applies to its name.
    pub(super) ruled: Cell<Ruled>,
}

/// The registrant of an instance.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Registrant {
    pub(super) owner: Owner,
    /// Its session; that may have ended since, unless it keeps the instance. `None` for declared
    /// entries, and for those of a dismissed session.
    pub(super) session: Option<SessionId>,
}

impl Entry {
    /// The bytes of a claim to a place, as measured.
    pub(super) const CLAIM_BYTES: usize = 96;

    pub(super) fn new(record: &Record, registrant: Registrant, now_ms: u64) -> Self {
        let lease_until_ms = record.lifetime.ttl_ms().map(|it| now_ms + it);
        let Record { name, uuid, epoch, state, lifetime, proves, .. } = record;
        Self {
            name: name.clone(),
            uuid: *uuid,
            epoch: *epoch,
            state: *state,
            lifetime: *lifetime,
            proves: *proves,
            charged: 0,
            is_gone: false,
            encoded: encode_record(record).as_slice().into(),
            claimed: Box::default(),
            registrant,
            lease_until_ms,
            ruled: Cell::default(),
        }
    }

    /// Replaces its record by another of the same instance.
    pub(super) fn store(&mut self, record: &Record) {
        self.state = record.state;
        self.encoded = encode_record(record).as_slice().into();
    }

    pub(super) fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    pub(super) fn record(&self) -> Record {
        decode_body(&self.encoded).expect("the registry encoded it itself")
    }

    /// Returns whose it is, as its record tells.
    pub(super) fn owner_told(&self) -> wire::Owner {
        self.registrant.owner.into()
    }

    pub(super) fn instance(&self) -> InstanceId {
        InstanceId { name: self.name.clone(), uuid: self.uuid }
    }

    /// Returns how many bytes of memory it takes in all, with its places in the indexes.
    pub(super) fn held_bytes(&self) -> usize {
        HELD_BYTES
            + self.name.as_str().len()
            + self.encoded.len()
            + self.claimed.len() * Self::CLAIM_BYTES
    }

    /// Returns the session that keeps it; leases and declared entries have none.
    pub(super) fn keeper(&self) -> Option<SessionId> {
        self.registrant.session.filter(|_| self.lifetime == Lifetime::Session)
    }

    /// Returns how many steps it takes to read all of it and to change it in every index.
    pub(super) fn chore_steps(&self) -> usize {
        DEFERRED_STEPS + self.encoded.len() / DEFERRED_BYTES_A_STEP
    }

    /// Tells whether it answers waiters: its actor is ready, and has said so itself.
    pub(super) fn is_present(&self) -> bool {
        self.state == State::Ready && self.lifetime != Lifetime::Declared
    }
}

/// The steps of changing a short entry in every index, and the bytes for each further step of
/// reading one.
const DEFERRED_STEPS: usize = 40;
const DEFERRED_BYTES_A_STEP: usize = 8;

/// The bytes of an entry besides its strings and its claims, as measured: its share of the indexes
/// when they have just grown, and the allocator's overhead for each piece.
const HELD_BYTES: usize = 640;

/// The key of an entry. Half the size of an index, because every index of the registry holds a key
/// for every entry.
pub(super) type Key = u32;

/// All entries, unordered. They are in chunks, so that no registration moves all of them to a
/// larger place, and free memory is returned a chunk at a time.
#[derive(Debug, Default)]
pub(super) struct Entries {
    chunks: Vec<Slab<Entry>>,
    /// The chunks with room.
    roomy: Vec<usize>,
}

impl Entries {
    pub(super) fn insert(&mut self, entry: Entry) -> Key {
        let at = self.roomy.last().copied().unwrap_or_else(|| {
            self.roomy.push(self.chunks.len());
            self.chunks.push(Slab::new());
            self.chunks.len() - 1
        });
        let chunk = &mut self.chunks[at];
        let place = at * CHUNK + chunk.insert(entry);
        if chunk.len() == CHUNK {
            self.roomy.pop();
        }
        Key::try_from(place).expect("the limit of instances is far lower")
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Entry> {
        let (at, place) = places(key);
        self.chunks.get_mut(at)?.get_mut(place)
    }

    pub(super) fn remove(&mut self, key: Key) -> Entry {
        let (at, place) = places(key);
        let chunk = &mut self.chunks[at];
        if chunk.len() == CHUNK {
            self.roomy.push(at);
        }
        let entry = chunk.remove(place);
        if chunk.is_empty() {
            *chunk = Slab::new();
        }
        entry
    }
}

impl Index<Key> for Entries {
    type Output = Entry;

    fn index(&self, key: Key) -> &Entry {
        let (at, place) = places(key);
        &self.chunks[at][place]
    }
}

impl IndexMut<Key> for Entries {
    fn index_mut(&mut self, key: Key) -> &mut Entry {
        let (at, place) = places(key);
        &mut self.chunks[at][place]
    }
}

/// Returns in which chunk an entry is, and where in that.
fn places(key: Key) -> (usize, usize) {
    (key as usize / CHUNK, key as usize % CHUNK)
}

/// The entries of a chunk: it is moved, or freed, in some hundredths of a millisecond.
const CHUNK: usize = 1024;
