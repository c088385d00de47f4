//! What this node has yet to write: which of its records have changed, and no more, because a record
//! is read when it is written. So it holds as many as there are instances, however fast they change.

use std::collections::{HashMap, HashSet, VecDeque, hash_map::Entry};

use registrar::RegistryHandle;
use uuid::Uuid;
use wire::{Record, RemovalReason, registrar::Change};

use crate::{
    etcd::RequestOp,
    keys::{Keys, VALUE_BYTES_MAX, encode_ended, encode_record},
};

/// What this node has yet to write.
#[derive(Debug)]
pub(crate) struct Outbox {
    keys: Keys,
    /// In order of their first change.
    queue: VecDeque<Uuid>,
    /// Why an instance is gone, if it is.
    changed: HashMap<Uuid, RemovalReason>,
    /// What is being written: of one instance, one thing at a time.
    under_way: HashSet<Uuid>,
    /// The instances of this node, with what etcd has of them as far as that is known from a snapshot.
    own: HashMap<Uuid, Known>,
    /// Whether all instances have been told since the last reset.
    is_told: bool,
}

/// What one transaction writes.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) operations: Vec<RequestOp>,
    /// Of which instances.
    pub(crate) uuids: Vec<Uuid>,
}

/// What is known of one of this node's own records in etcd.
#[derive(Clone, Debug)]
enum Known {
    /// It is as the registry had it last, or will be.
    Current,
    /// It has to be told anew; and what etcd has, if that is known.
    Untold(Option<Box<[u8]>>),
}

impl Outbox {
    /// Begins with what etcd has of this node under its lease.
    pub(crate) fn new(keys: Keys, there: impl IntoIterator<Item = (Uuid, Vec<u8>)>) -> Self {
        let untold = |value: Vec<u8>| Known::Untold(Some(value.into()));
        let own = there.into_iter().map(|(uuid, value)| (uuid, untold(value))).collect();
        let (queue, changed, under_way) = Default::default();
        Self { keys, queue, changed, under_way, own, is_told: false }
    }

    /// Returns how many records are yet to be written, and how many are or will be there.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.queue.len() + self.under_way.len(), self.own.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Tells whether etcd has all records, as far as they have been read, once it has what is under way.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_told && self.queue.is_empty()
    }

    /// Takes a change of the registry. Returns the instance that this node has let go, if it has, and
    /// why.
    pub(crate) fn note(
        &mut self,
        change: Change,
        registry: &RegistryHandle,
    ) -> Option<(Uuid, RemovalReason)> {
        match change {
            Change::Reset => {
                self.is_told = false;
                for known in self.own.values_mut() {
                    if matches!(known, Known::Current) {
                        *known = Known::Untold(None);
                    }
                }
            }
            Change::Synced { .. } => {
                self.is_told = true;
                let is_gone = |it: &(&Uuid, &Known)| matches!(it.1, Known::Untold(_));
                let gone: Vec<_> = self.own.iter().filter(is_gone).map(|(uuid, _)| *uuid).collect();
                for uuid in gone {
                    self.own.remove(&uuid);
                    self.mark(uuid, RemovalReason::Unknown);
                }
            }
            Change::Add { record, .. } | Change::Update { record, .. } => {
                if record.node.is_some() {
                    // It has moved there.
                    if self.own.remove(&record.uuid).is_some() {
                        self.mark(record.uuid, RemovalReason::Unknown);
                    }
                } else if record.uuid != registry.registrar() {
                    self.note_record(&record, registry);
                }
            }
            Change::Remove { instance, reason, .. } => {
                if self.own.remove(&instance.uuid).is_some() {
                    self.mark(instance.uuid, reason);
                    return Some((instance.uuid, reason));
                }
            }
        }
        None
    }

    fn note_record(&mut self, record: &Record, registry: &RegistryHandle) {
        let known = self.own.insert(record.uuid, Known::Current);
        if let Some(Known::Untold(Some(there))) = known
            && *there == encode_record(record, registry.holds_key(record.uuid))
        {
            return;
        }
        self.mark(record.uuid, RemovalReason::Unknown);
    }

    fn mark(&mut self, uuid: Uuid, reason: RemovalReason) {
        match self.changed.entry(uuid) {
            Entry::Occupied(mut known) => _ = known.insert(reason),
            Entry::Vacant(place) => {
                place.insert(reason);
                self.queue.push_back(uuid);
            }
        }
    }

    /// Takes as much as one transaction may hold, and nothing of instances of which something is under way.
    pub(crate) fn batch(&mut self, registry: &RegistryHandle, lease: i64) -> Batch {
        let (mut batch, mut ended, mut bytes) = (Batch::default(), Vec::new(), 0);
        let mut held = Vec::new();
        while batch.operations.len() < OPS_MAX
            && bytes < BYTES_MAX
            && let Some(uuid) = self.queue.pop_front()
        {
            if self.under_way.contains(&uuid) {
                held.push(uuid);
                continue;
            }
            let reason = self.changed.remove(&uuid).unwrap_or(RemovalReason::Unknown);
            let key = self.keys.own_record(uuid);
            match registry.record(uuid).filter(|it| it.node.is_none()) {
                Some(record) => {
                    let value = encode_record(&record, registry.holds_key(uuid));
                    if value.len() > VALUE_BYTES_MAX {
                        continue;
                    }
                    bytes += key.len() + value.len();
                    batch.operations.push(RequestOp::put(key, value, lease));
                }
                None => {
                    bytes += key.len();
                    batch.operations.push(RequestOp::delete(key));
                    ended.push((uuid, reason));
                }
            }
            batch.uuids.push(uuid);
        }
        held.into_iter().rev().for_each(|it| self.queue.push_front(it));
        if !ended.is_empty() {
            let value = encode_ended(&ended);
            batch.operations.push(RequestOp::put(self.keys.own_ended(), value, lease));
        }
        self.under_way.extend(&batch.uuids);
        batch
    }

    /// Takes note that etcd has what a transaction has written of some instances.
    pub(crate) fn written(&mut self, uuids: &[Uuid]) {
        uuids.iter().for_each(|it| _ = self.under_way.remove(it));
    }
}

/// The most records of one transaction: etcd allows 128 operations by default, and others are added.
const OPS_MAX: usize = 120;

/// The bytes at which a transaction gets no further record: etcd allows 1.5 MiB by default, and one
/// more record is small beside the rest.
const BYTES_MAX: usize = 1024 * 1024;
