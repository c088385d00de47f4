//! What this node has yet to write: which of its records have changed, and no more, because a record
//! is read when it is written. So it holds as many as there are instances, however fast they change.
//!
//! What etcd and its watches do for a key they do for a bundle of records once: so records that come together
//! are written in bundles. A bundle never grows. One of its records that changes or goes leaves it, in the same
//! transaction: what changes once will change again, and stands by itself from then on.

use std::collections::{HashMap, HashSet, VecDeque, hash_map::Entry};

use registrar::RegistryHandle;
use uuid::Uuid;
use wire::{Record, RemovalReason, registrar::Change};

use crate::{
    etcd::RequestOp,
    keys::{
        BundleId, Keys, OwnPlace, VALUE_BYTES_MAX, decode_bundle, decode_own_uuid, encode_bundle,
        encode_ended, encode_record,
    },
};

/// What this node has yet to write.
#[derive(Debug)]
pub(crate) struct Outbox {
    keys: Keys,
    /// In order of their first change; those that are no longer in `changed` have gone with others.
    queue: VecDeque<Uuid>,
    /// Why an instance is gone, if it is.
    changed: HashMap<Uuid, RemovalReason>,
    /// What is being written: of one instance, and of one bundle, one thing at a time.
    under_way: HashSet<Uuid>,
    /// The instances of this node, with what etcd has of them as far as that is known from a snapshot.
    own: HashMap<Uuid, Known>,
    /// In which bundle they are in etcd, if in one, once what is under way has been written.
    places: HashMap<Uuid, Option<BundleId>>,
    bundles: HashMap<BundleId, Vec<Uuid>>,
    next: BundleId,
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
    pub(crate) fn new(keys: Keys, there: impl IntoIterator<Item = (OwnPlace, Vec<u8>)>) -> Self {
        let mut outbox = Self {
            keys,
            queue: VecDeque::new(),
            changed: HashMap::new(),
            under_way: HashSet::new(),
            own: HashMap::new(),
            places: HashMap::new(),
            bundles: HashMap::new(),
            next: BundleId::draw(),
            is_told: false,
        };
        for (place, value) in there {
            match place {
                OwnPlace::Record(uuid) => outbox.find(uuid, None, value),
                OwnPlace::Bundle(number) => {
                    for value in decode_bundle(&value).unwrap_or_default() {
                        let Some(uuid) = decode_own_uuid(&value) else { continue };
                        outbox.bundles.entry(number).or_default().push(uuid);
                        outbox.find(uuid, Some(number), value);
                    }
                }
            }
        }
        outbox
    }

    fn find(&mut self, uuid: Uuid, bundle: Option<BundleId>, value: Vec<u8>) {
        self.own.insert(uuid, Known::Untold(Some(value.into())));
        self.places.insert(uuid, bundle);
    }

    /// Returns how many records are yet to be written, and how many are or will be there.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.changed.len() + self.under_way.len(), self.own.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.changed.is_empty()
    }

    /// Tells whether etcd has all records, as far as they have been read, once it has what is under way.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_told && self.changed.is_empty()
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
        let (mut draft, mut held) = (Draft { lease, ..Draft::default() }, Vec::new());
        while draft.has_room()
            && let Some(uuid) = self.queue.pop_front()
        {
            if !self.changed.contains_key(&uuid) {
                continue;
            }
            let is_taken = !self.under_way.contains(&uuid)
                && match self.places.get(&uuid) {
                    Some(&Some(number)) => self.shrink(number, registry, &mut draft),
                    place => {
                        let is_new = place.is_none();
                        if !self.take(uuid, is_new, registry, &mut draft) {
                            draft.operations.push(RequestOp::delete(self.keys.own_record(uuid)));
                        }
                        draft.uuids.push(uuid);
                        true
                    }
                };
            if !is_taken {
                held.push(uuid);
            }
        }
        held.into_iter().rev().for_each(|it| self.queue.push_front(it));
        self.under_way.extend(&draft.uuids);
        self.finish(draft)
    }

    /// Takes what has changed of a bundle out of it, if all else of it is in the registry as it was told.
    fn shrink(&mut self, number: BundleId, registry: &RegistryHandle, draft: &mut Draft) -> bool {
        let all = &self.bundles[&number];
        let (leaving, staying): (Vec<_>, Vec<_>) =
            all.iter().copied().partition(|it| self.changed.contains_key(it));
        // Of what has gone meanwhile it is not yet known why.
        let values = staying.iter().map(|it| value(*it, registry));
        let Some(values) = values.collect::<Option<Vec<_>>>() else { return false };
        draft.uuids.extend(all);
        let key = self.keys.own_bundle(number);
        if staying.is_empty() {
            self.bundles.remove(&number);
            draft.shrunk.push(RequestOp::delete(key));
        } else {
            self.bundles.insert(number, staying);
            let value = encode_bundle(values.iter().map(|it| &it[..]));
            draft.bytes += value.len();
            draft.shrunk.push(RequestOp::put(key, value, draft.lease));
        }
        for uuid in &leaving {
            // Those that change together are a bundle again.
            self.take(*uuid, leaving.len() > 1, registry, draft);
        }
        true
    }

    /// Takes a record. `false` if there is none any more.
    fn take(
        &mut self,
        uuid: Uuid,
        may_be_bundled: bool,
        registry: &RegistryHandle,
        draft: &mut Draft,
    ) -> bool {
        let reason = self.changed.remove(&uuid).unwrap_or(RemovalReason::Unknown);
        self.places.remove(&uuid);
        let Some(value) = value(uuid, registry) else {
            draft.ended.push((uuid, reason));
            return false;
        };
        draft.bytes += value.len();
        if may_be_bundled && value.len() <= BUNDLED_BYTES_MAX {
            draft.loose.push((uuid, value));
        } else {
            self.put(uuid, value, draft);
        }
        true
    }

    fn put(&mut self, uuid: Uuid, value: Vec<u8>, draft: &mut Draft) {
        self.places.insert(uuid, None);
        draft.operations.push(RequestOp::put(self.keys.own_record(uuid), value, draft.lease));
    }

    /// Bundles what may be, and puts everything in order: what leaves a bundle is elsewhere before that.
    fn finish(&mut self, mut draft: Draft) -> Batch {
        for some in std::mem::take(&mut draft.loose).chunks(BUNDLE_MAX) {
            if let [(uuid, value)] = some {
                self.put(*uuid, value.clone(), &mut draft);
                continue;
            }
            let number = self.next;
            self.next = number.next();
            let uuids: Vec<_> = some.iter().map(|(uuid, _)| *uuid).collect();
            self.places.extend(uuids.iter().map(|it| (*it, Some(number))));
            self.bundles.insert(number, uuids);
            let value = encode_bundle(some.iter().map(|(_, value)| &value[..]));
            let key = self.keys.own_bundle(number);
            draft.operations.push(RequestOp::put(key, value, draft.lease));
        }
        draft.operations.append(&mut draft.shrunk);
        if !draft.ended.is_empty() {
            let value = encode_ended(&draft.ended);
            draft.operations.push(RequestOp::put(self.keys.own_ended(), value, draft.lease));
        }
        Batch { operations: draft.operations, uuids: draft.uuids }
    }

    /// Takes note that etcd has what a transaction has written of some instances.
    pub(crate) fn written(&mut self, uuids: &[Uuid]) {
        uuids.iter().for_each(|it| _ = self.under_way.remove(it));
    }
}

/// A transaction that is being put together.
#[derive(Debug, Default)]
struct Draft {
    lease: i64,
    operations: Vec<RequestOp>,
    /// What bundles are to be, which come last.
    shrunk: Vec<RequestOp>,
    /// What has yet to be bundled.
    loose: Vec<(Uuid, Vec<u8>)>,
    ended: Vec<(Uuid, RemovalReason)>,
    uuids: Vec<Uuid>,
    bytes: usize,
}

impl Draft {
    fn has_room(&self) -> bool {
        let bundles = self.loose.len().div_ceil(BUNDLE_MAX);
        self.operations.len() + self.shrunk.len() + bundles < OPS_MAX
            && self.uuids.len() < RECORDS_MAX
            && self.bytes < BYTES_MAX
    }
}

/// Writes a record of this node, if it still is.
fn value(uuid: Uuid, registry: &RegistryHandle) -> Option<Vec<u8>> {
    let record = registry.record(uuid).filter(|it| it.node.is_none())?;
    let value = encode_record(&record, registry.holds_key(uuid));
    (value.len() <= VALUE_BYTES_MAX).then_some(value)
}

/// The operations at which a transaction gets no further record: etcd allows 128 by default, a bundle that
/// falls apart takes 17, and others are added.
const OPS_MAX: usize = 100;

/// The records at which it gets none: each takes some microseconds, during which nothing else is done.
const RECORDS_MAX: usize = 256;

/// The bytes at which it gets none: etcd allows 1.5 MiB by default, and one more bundle is small beside the
/// rest.
const BYTES_MAX: usize = 1024 * 1024;

/// The most records of a bundle: a change of one has the others written anew.
const BUNDLE_MAX: usize = 16;

/// The longest record that is bundled. A usual one takes 300 bytes.
const BUNDLED_BYTES_MAX: usize = 2 * 1024;
