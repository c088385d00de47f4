//! What the other nodes have written, as it is known here. It is pure: what etcd says goes in, and what
//! to change in the registry comes out.
//!
//! A record is *shown* (it is in the registry) while its node lives. If two nodes have one instance,
//! because it has moved, the later registration is shown. A node lives while its beats come, each a
//! change of its key: etcd may keep a lease for seconds longer than it was granted for, after a
//! change of its leader. What a node has not yet written anew after etcd has lost everything stays for
//! as long as its lease would have lasted.
//!
//! A record may stand by itself or in a bundle, and move from one to the other: the last that a node has
//! written of an instance counts, in whatever order it is read.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use endpoints::{Name, Stamped};
use registrar::registry::{HomeNode, Remote};
use tokio::time::Instant;
use uuid::Uuid;
use wire::{Epoch, RemovalReason};

use crate::{
    etcd::KeyValue,
    faults::Faults,
    keys::{BundleId, Fault, Keys, NodeValue, Place, decode_bundle, decode_ended, decode_record},
};

/// What the other nodes have written.
#[derive(Debug)]
pub(crate) struct View {
    keys: Keys,
    own: Name,
    lease: Duration,
    nodes: BTreeMap<Name, Node>,
    /// By which node and which registration an instance is shown.
    shown: HashMap<Uuid, (Name, Epoch)>,
    records: usize,
    /// The bytes of their values.
    bytes: usize,
    pub(crate) faults: Faults,
}

/// Another node.
#[derive(Debug)]
struct Node {
    /// What it says of itself, while its key is there.
    value: Option<NodeValue>,
    records: HashMap<Uuid, Held>,
    /// Of which instances its bundles are.
    bundles: HashMap<BundleId, Box<[Uuid]>>,
    /// When its key changed last, or was missed first.
    heard_at: Instant,
    /// Whether its records are shown.
    is_shown: bool,
    /// Whether its records are in doubt, because nothing has been heard of etcd for long.
    is_doubted: bool,
    /// Whether it has given a sign of life since.
    has_beaten: bool,
}

/// A record of another node.
#[derive(Debug)]
struct Held {
    epoch: Epoch,
    value: Box<[u8]>,
    at: At,
    /// Whether its node has yet to write it anew.
    is_stale: bool,
}

/// Where a record stands in etcd, and since which revision.
#[derive(Clone, Copy, Debug)]
struct At {
    bundle: Option<BundleId>,
    revision: i64,
}

/// What to change in the registry.
#[derive(Debug)]
pub(crate) enum Action {
    Know(HomeNode),
    Enter(Remote),
    Remove { node: Name, uuids: Vec<Uuid>, reason: RemovalReason },
}

/// A change in etcd, and of what it is.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) place: Place,
    pub(crate) kv: KeyValue,
    pub(crate) is_gone: bool,
}

/// How another node is, for people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct NodeStatus {
    pub(crate) name: Name,
    pub(crate) registrar: Option<Uuid>,
    pub(crate) places: Vec<Stamped>,
    pub(crate) records: usize,
    pub(crate) heard_ago: Duration,
    pub(crate) is_shown: bool,
}

impl View {
    pub(crate) fn new(keys: Keys, own: Name, lease: Duration) -> Self {
        let (nodes, shown, faults) = Default::default();
        Self { keys, own, lease, nodes, shown, records: 0, bytes: 0, faults }
    }

    pub(crate) fn statuses(&self, now: Instant) -> impl Iterator<Item = NodeStatus> {
        self.nodes.iter().map(move |(name, node)| NodeStatus {
            name: name.clone(),
            registrar: node.value.as_ref().map(|it| it.registrar),
            places: node.value.as_ref().map(NodeValue::places).unwrap_or_default(),
            records: node.records.len(),
            heard_ago: now.saturating_duration_since(node.heard_at),
            is_shown: node.is_shown,
        })
    }

    /// Begins to take everything that there is in etcd now in the place of what was known: `put_all`
    /// takes all records, and then these nodes.
    pub(crate) fn begin_anew(&mut self, nodes: &[KeyValue], now: Instant) {
        let name = |it: &KeyValue| match self.keys.place(&it.key) {
            Place::Node(node) => Some(node),
            _ => None,
        };
        let there: HashSet<_> = nodes.iter().filter_map(name).collect();
        for (name, node) in &mut self.nodes {
            if !there.contains(name) && node.value.take().is_some() {
                node.heard_at = now;
            }
            node.records.values_mut().for_each(|it| it.is_stale = true);
            node.bundles.clear();
        }
    }

    /// Takes some of what there is in etcd.
    pub(crate) fn put_all(&mut self, some: &mut [KeyValue], now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        for kv in some {
            let place = self.keys.place(&kv.key);
            if let Some((node, uuids)) = self.put(&place, kv, now, &mut actions) {
                self.remove((&node, uuids), RemovalReason::Unknown, &mut actions);
            }
        }
        actions
    }

    /// Takes changes, all those of one revision together.
    pub(crate) fn apply(&mut self, changes: &mut [Placed], now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        let (mut ended, mut gone) = (HashMap::new(), HashSet::new());
        for Placed { place, kv, is_gone } in &*changes {
            match (place, is_gone) {
                (Place::Node(node), true) => _ = gone.insert(node.clone()),
                (Place::Ended(_), false) => ended.extend(decode_ended(&kv.value)),
                _ => {}
            }
        }
        let mut deleted: BTreeMap<(Name, u8), (RemovalReason, Vec<Uuid>)> = BTreeMap::new();
        for Placed { place, kv, is_gone } in changes {
            let left = if *is_gone {
                if let Place::Node(node) = place
                    && let Some(node) = self.nodes.get_mut(node)
                {
                    node.value = None;
                    node.heard_at = now;
                }
                self.left(place)
            } else {
                self.remove_all(std::mem::take(&mut deleted), &mut actions);
                self.put(place, kv, now, &mut actions)
            };
            let Some((node, uuids)) = left else { continue };
            for uuid in uuids {
                let reason = if gone.contains(&node) {
                    RemovalReason::NodeLost
                } else {
                    ended.get(&uuid).copied().unwrap_or(RemovalReason::Unknown)
                };
                let removed = deleted.entry((node.clone(), reason as u8));
                removed.or_insert((reason, Vec::new())).1.push(uuid);
            }
        }
        self.remove_all(deleted, &mut actions);
        // Its lease is over, and with that everything of it.
        for node in gone {
            self.drop_where(&node, RemovalReason::NodeLost, |_| true, &mut actions);
            self.nodes.remove(&node);
        }
        actions
    }

    /// Drops what has not been heard of for too long, while etcd itself is heard.
    pub(crate) fn tick(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        let is_due = |it: &Node| now.saturating_duration_since(it.heard_at) > self.lease;
        let due: Vec<_> =
            self.nodes.iter().filter(|(_, it)| is_due(it)).map(|(name, _)| name.clone()).collect();
        for name in due {
            let Some(node) = self.nodes.get_mut(&name) else { continue };
            if node.value.is_none() {
                self.drop_where(&name, RemovalReason::NodeLost, |_| true, &mut actions);
                self.nodes.remove(&name);
            } else if std::mem::replace(&mut node.is_shown, false) {
                let uuids = node.records.keys().copied().collect();
                self.hide((&name, uuids), RemovalReason::NodeLost, &mut actions);
            }
        }
        actions
    }

    /// Says that all other nodes are heard anew from now on: what they did meanwhile is not known.
    pub(crate) fn resume(&mut self, now: Instant) {
        self.nodes.values_mut().for_each(|it| it.heard_at = now);
    }

    /// Puts in doubt all that is shown, which may be long over, and returns it.
    pub(crate) fn doubt(&mut self) -> Vec<Uuid> {
        for node in self.nodes.values_mut() {
            (node.is_doubted, node.has_beaten) = (true, false);
        }
        self.shown.keys().copied().collect()
    }

    /// Returns what is in doubt no longer, when all is known that there is in etcd: that of the nodes
    /// that have given a sign of life since.
    pub(crate) fn trust(&mut self) -> Vec<Uuid> {
        let mut trusted = Vec::new();
        for (name, node) in &mut self.nodes {
            if node.has_beaten && std::mem::take(&mut node.is_doubted) {
                let is_its = |it: &&Uuid| self.shown.get(*it).is_some_and(|(by, _)| by == name);
                trusted.extend(node.records.keys().filter(is_its));
            }
        }
        trusted
    }

    /// Returns the record of another node for an instance that this node has just let go, unless it has
    /// left by its own will: then what a former node has of it is outdated.
    pub(crate) fn again(&mut self, uuid: Uuid, reason: RemovalReason) -> Option<Action> {
        self.shown.remove(&uuid);
        if reason == RemovalReason::Unregistered {
            self.forget_everywhere(uuid);
        }
        let mut actions = Vec::new();
        self.show_best(uuid, &mut actions);
        actions.pop()
    }

    /// Takes what a key has now. Returns which records it has no longer, and whose they were.
    fn put(
        &mut self,
        place: &Place,
        kv: &mut KeyValue,
        now: Instant,
        actions: &mut Vec<Action>,
    ) -> Option<(Name, Vec<Uuid>)> {
        match place {
            Place::Node(name) if *name != self.own => {
                self.put_node(name.clone(), kv, now, actions);
                None
            }
            Place::Record(name, uuid) => {
                let at = At { bundle: None, revision: kv.mod_revision };
                let value = std::mem::take(&mut kv.value);
                let put = self.put_record((name, Some(*uuid)), value, at, now, actions);
                if let Err(Fault(why)) = put {
                    self.faults.note(why, &kv.key);
                    return self.left(place);
                }
                None
            }
            Place::Bundle(name, number) => {
                let known = self.nodes.get_mut(name).and_then(|it| it.bundles.remove(number));
                let at = At { bundle: Some(*number), revision: kv.mod_revision };
                let values = decode_bundle(&kv.value).unwrap_or_else(|Fault(why)| {
                    self.faults.note(why, &kv.key);
                    Vec::new()
                });
                let mut uuids = Vec::with_capacity(values.len());
                for value in values {
                    match self.put_record((name, None), value, at, now, actions) {
                        Ok(uuid) => uuids.push(uuid),
                        Err(Fault(why)) => self.faults.note(why, &kv.key),
                    }
                }
                let node = self.nodes.get_mut(name)?;
                let is_left = |it: &Uuid| !uuids.contains(it) && node.has_at(it, Some(*number));
                let left = known.into_iter().flatten().filter(is_left).collect();
                if !uuids.is_empty() {
                    node.bundles.insert(*number, uuids.into());
                }
                Some((name.clone(), left))
            }
            _ => None,
        }
    }

    /// Returns the records that go with a key, and whose they are.
    fn left(&mut self, place: &Place) -> Option<(Name, Vec<Uuid>)> {
        let (name, uuids, bundle) = match place {
            Place::Record(name, uuid) => (name, Box::from([*uuid]), None),
            Place::Bundle(name, number) => {
                let node = self.nodes.get_mut(name)?;
                (name, node.bundles.remove(number)?, Some(*number))
            }
            _ => return None,
        };
        let node = self.nodes.get(name)?;
        Some((name.clone(), uuids.into_iter().filter(|it| node.has_at(it, bundle)).collect()))
    }

    fn put_node(&mut self, name: Name, kv: &KeyValue, now: Instant, actions: &mut Vec<Action>) {
        let value = match NodeValue::decode(&kv.value) {
            Ok(value) => value,
            Err(Fault(why)) => return self.faults.note(why, &kv.key),
        };
        let Some(node) = self.node(&name, now) else {
            return self.faults.note(TOO_MANY_NODES.0, &kv.key);
        };
        let is_new = |it: &NodeValue| {
            (it.registrar, it.secret, it.slot) != (value.registrar, value.secret, value.slot)
        };
        if node.value.as_ref().is_none_or(is_new) {
            actions.push(Action::Know(value.home(name.clone())));
        }
        let beat = node.value.as_ref().map(|it| (it.registrar, it.beat));
        // The same one, found again in a snapshot, is no sign of life.
        if beat != Some((value.registrar, value.beat)) {
            node.heard_at = now;
            node.has_beaten = true;
        }
        let is_whole = value.whole;
        let is_shown = std::mem::replace(&mut node.is_shown, true);
        node.value = Some(value);
        if is_whole {
            self.drop_where(&name, RemovalReason::Unknown, |it| it.is_stale, actions);
        }
        if !is_shown {
            let uuids: Vec<_> = self
                .nodes
                .get(&name)
                .into_iter()
                .flat_map(|it| it.records.keys().copied())
                .collect();
            uuids.into_iter().for_each(|uuid| self.show_best(uuid, actions));
        }
    }

    /// Takes a record, of this instance if one is named. Returns of which it is.
    fn put_record(
        &mut self,
        (name, named): (&Name, Option<Uuid>),
        value: Vec<u8>,
        at: At,
        now: Instant,
        actions: &mut Vec<Action>,
    ) -> Result<Uuid, Fault> {
        let remote = decode_record(name, &value)?;
        let (uuid, epoch) = (remote.record.uuid, remote.record.epoch);
        if named.is_some_and(|it| it != uuid) {
            return Err(Fault("it is of another instance than its key"));
        }
        let held = self.nodes.get(name).and_then(|it| it.records.get(&uuid));
        if held.is_some_and(|it| !it.is_stale && it.at.revision > at.revision) {
            return Ok(uuid);
        }
        let bytes = self.bytes - held.map_or(0, |it| it.value.len()) + value.len();
        if bytes > BYTES_MAX || (held.is_none() && self.records >= RECORDS_MAX) {
            return Err(Fault("there are too many records of other nodes"));
        }
        let node = self.node(name, now).ok_or(TOO_MANY_NODES)?;
        let value = value.into_boxed_slice();
        let is_shown = node.is_shown;
        if let Some(held) = node.records.get_mut(&uuid)
            && held.value == value
        {
            (held.at, held.is_stale) = (at, false);
            return Ok(uuid);
        }
        let earlier = node.records.insert(uuid, Held { epoch, value, at, is_stale: false });
        self.records += usize::from(earlier.is_none());
        self.bytes = bytes;
        let is_later = |(by, of): &(Name, Epoch)| by == name || *of <= epoch;
        if is_shown && self.shown.get(&uuid).is_none_or(is_later) {
            self.shown.insert(uuid, (name.clone(), epoch));
            actions.push(Action::Enter(remote));
        }
        Ok(uuid)
    }

    /// Returns a node, unless there are too many.
    fn node(&mut self, name: &Name, now: Instant) -> Option<&mut Node> {
        let has_room = self.nodes.len() < NODES_MAX;
        if !has_room && !self.nodes.contains_key(name) {
            return None;
        }
        Some(self.nodes.entry(name.clone()).or_insert_with(|| Node {
            value: None,
            records: HashMap::new(),
            bundles: HashMap::new(),
            heard_at: now,
            is_shown: false,
            is_doubted: false,
            has_beaten: false,
        }))
    }

    fn remove_all(
        &mut self,
        deleted: BTreeMap<(Name, u8), (RemovalReason, Vec<Uuid>)>,
        actions: &mut Vec<Action>,
    ) {
        for ((node, _), (reason, uuids)) in deleted {
            self.remove((&node, uuids), reason, actions);
        }
    }

    /// Forgets some records of a node.
    fn drop_where(
        &mut self,
        name: &Name,
        reason: RemovalReason,
        is_meant: impl Fn(&Held) -> bool,
        actions: &mut Vec<Action>,
    ) {
        let Some(node) = self.nodes.get(name) else { return };
        let meant = node.records.iter().filter(|(_, it)| is_meant(it));
        let uuids: Vec<_> = meant.map(|(uuid, _)| *uuid).collect();
        self.remove((name, uuids), reason, actions);
    }

    /// Forgets records of a node.
    fn remove(
        &mut self,
        (name, mut uuids): (&Name, Vec<Uuid>),
        reason: RemovalReason,
        actions: &mut Vec<Action>,
    ) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        uuids.retain(|it| {
            let removed = node.records.remove(it);
            self.bytes -= removed.as_ref().map_or(0, |it| it.value.len());
            removed.is_some()
        });
        self.records -= uuids.len();
        self.hide((name, uuids), reason, actions);
    }

    /// Takes records of a node out of the registry, or replaces them by those of other nodes.
    fn hide(
        &mut self,
        (name, mut uuids): (&Name, Vec<Uuid>),
        reason: RemovalReason,
        actions: &mut Vec<Action>,
    ) {
        uuids.retain(|uuid| {
            let is_its = self.shown.get(uuid).is_some_and(|(by, _)| by == name);
            if is_its {
                self.shown.remove(uuid);
                if reason == RemovalReason::Unregistered {
                    self.forget_everywhere(*uuid);
                }
                self.show_best(*uuid, actions);
            }
            is_its && !self.shown.contains_key(uuid)
        });
        if !uuids.is_empty() {
            actions.push(Action::Remove { node: name.clone(), uuids, reason });
        }
    }

    /// Forgets what former nodes of an instance have of it.
    fn forget_everywhere(&mut self, uuid: Uuid) {
        for node in self.nodes.values_mut() {
            if let Some(removed) = node.records.remove(&uuid) {
                self.records -= 1;
                self.bytes -= removed.value.len();
            }
        }
    }

    /// Shows the latest registration of an instance.
    fn show_best(&mut self, uuid: Uuid, actions: &mut Vec<Action>) {
        let known = self.shown.get(&uuid).map_or(0, |(_, epoch)| *epoch);
        let shown = self.nodes.iter().filter(|(_, it)| it.is_shown);
        let held = shown.filter_map(|(name, it)| Some((name, it.records.get(&uuid)?)));
        let best = held.max_by_key(|(_, it)| it.epoch).filter(|(_, it)| it.epoch > known);
        let Some((name, held)) = best else { return };
        if let Ok(remote) = decode_record(name, &held.value) {
            self.shown.insert(uuid, (name.clone(), held.epoch));
            actions.push(Action::Enter(remote));
        }
    }
}

impl Node {
    /// Tells whether a record is held that stands in a bundle, or by itself.
    fn has_at(&self, uuid: &Uuid, bundle: Option<BundleId>) -> bool {
        self.records.get(uuid).is_some_and(|it| it.at.bundle == bundle)
    }
}

/// The most other nodes: as many as there are slots of epochs, and again for those that were there
/// before.
const NODES_MAX: usize = 256;

const TOO_MANY_NODES: Fault = Fault("there are too many nodes");

/// The most records of other nodes: some hundreds of megabytes.
const RECORDS_MAX: usize = 1_000_000;

/// The most bytes of their values: of so many, each may have three times those of a usual one.
const BYTES_MAX: usize = 1024 * 1024 * 1024;
