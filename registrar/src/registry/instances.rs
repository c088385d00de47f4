//! The instances of one name.

use std::{collections::BTreeMap, hash::BuildHasher as _};

use foldhash::{HashMap, HashMapExt as _};
use hashbrown::hash_table::Entry as Place;
use wire::{Epoch, State, registrar::Query};

use super::{
    Entries, Entry, Key,
    chunks::Chunks,
    keys::{Keys, Meaning},
    shards::Shards,
    visibility::Sees,
};

/// The instances of each name. It holds only keys: the names are in the entries.
#[derive(Debug, Default)]
pub(super) struct ByName {
    names: Shards<Keys>,
    crowds: Chunks<Box<Crowd>>,
}

/// The instances of one name, kept so that the time of a query does not grow with the number of
/// other ones: in another state, or another owner's. A single one, by far the usual case, takes no
/// memory of its own.
#[derive(Clone, Copy, Debug)]
pub(super) enum Instances<'a> {
    One(Epoch, Key),
    Many(&'a Crowd),
}

/// Several instances of one name.
#[derive(Debug)]
pub(super) struct Crowd {
    all: Ranks,
    by_owner: HashMap<wire::Owner, Ranks>,
}

/// Instances in the order of their registration.
#[derive(Debug, Default)]
struct Ranks {
    all: BTreeMap<Epoch, Key>,
    ready: BTreeMap<Epoch, Key>,
}

/// A selection of a name's instances.
#[derive(Clone, Copy, Debug)]
pub(super) struct Selection<'a> {
    /// Whether starting and draining ones are included.
    pub(super) all: bool,
    /// The required owner, if any.
    pub(super) owner: Option<&'a wire::Owner>,
    /// The instances that the caller may see.
    pub(super) sees: Sees,
}

impl<'a> Selection<'a> {
    /// The ready ones, of any owner.
    pub(super) const READY: Self = Self { all: false, owner: None, sees: Sees::All };

    /// All of them.
    pub(super) const ALL: Self = Self { all: true, ..Self::READY };

    pub(super) fn by(query: &'a Query<'_>) -> Self {
        Self { all: query.all, owner: query.owner.as_ref(), sees: Sees::All }
    }

    /// Limits the selection to instances that the caller may see.
    pub(super) fn seen(self, sees: Sees) -> Self {
        Self { sees, ..self }
    }

    pub(super) fn includes(&self, entry: &Entry) -> bool {
        (self.all || entry.state == State::Ready) && self.counts(entry)
    }

    /// Tells whether an instance is meant in one state or another.
    pub(super) fn counts(&self, entry: &Entry) -> bool {
        self.owner.is_none_or(|it| *it == entry.owner_told()) && self.sees.shows(entry)
    }
}

impl ByName {
    pub(super) fn get<'a>(&'a self, name: &str, entries: &Entries) -> Option<Instances<'a>> {
        let is_it = |it: &Keys| is_of(*it, &self.crowds, entries, name);
        match self.names.find(self.names.hash(name), is_it)?.meaning() {
            Meaning::None => None,
            Meaning::One(key) => Some(Instances::One(entries[key].epoch, key)),
            Meaning::Many(crowd) => Some(Instances::Many(&self.crowds[crowd])),
        }
    }

    /// Returns the only instance of a name, without looking at it: rarely another, where a name has
    /// several or none.
    pub(super) fn likely(&self, name: &str) -> Option<Key> {
        match self.names.find(self.names.hash(name), |_| true)?.meaning() {
            Meaning::One(key) => Some(key),
            Meaning::None | Meaning::Many(_) => None,
        }
    }

    /// Returns the instances of a name if they are several.
    pub(super) fn crowd_mut(&mut self, name: &str, entries: &Entries) -> Option<&mut Crowd> {
        let is_it = |it: &Keys| is_of(*it, &self.crowds, entries, name);
        match self.names.find(self.names.hash(name), is_it)?.meaning() {
            Meaning::Many(crowd) => Some(&mut self.crowds[crowd]),
            Meaning::None | Meaning::One(_) => None,
        }
    }

    pub(super) fn insert(&mut self, key: Key, entries: &Entries) {
        let Self { names, crowds } = self;
        let (entry, hasher) = (&entries[key], names.hasher());
        let name = entry.name.as_str();
        let is_it = |it: &Keys| is_of(*it, crowds, entries, name);
        let rehash = |it: &Keys| hasher.hash_one(name_of(*it, crowds, entries));
        let mut place = match names.entry(hasher.hash_one(name), is_it, rehash) {
            Place::Occupied(place) => place,
            Place::Vacant(place) => {
                place.insert(Keys::one(key));
                return;
            }
        };
        match place.get().meaning() {
            Meaning::Many(crowd) => {
                entry.shares.set(true);
                crowds[crowd].insert(key, entry);
            }
            Meaning::One(other) if other != key => {
                entry.shares.set(true);
                entries[other].shares.set(true);
                let mut crowd = Crowd { all: Ranks::default(), by_owner: HashMap::new() };
                crowd.insert(other, &entries[other]);
                crowd.insert(key, entry);
                *place.get_mut() = Keys::many(crowds.insert(Box::new(crowd)));
            }
            Meaning::None | Meaning::One(_) => {}
        }
    }

    pub(super) fn remove(&mut self, key: Key, entries: &Entries) {
        let Self { names, crowds } = self;
        let entry = &entries[key];
        let name = entry.name.as_str();
        let is_it = |it: &Keys| is_of(*it, crowds, entries, name);
        let Some(mut place) = names.find_entry(names.hash(name), is_it) else { return };
        match place.get().meaning() {
            Meaning::One(own) if own == key => _ = place.remove(),
            Meaning::Many(at) => {
                let crowd = &mut crowds[at];
                crowd.remove(entry);
                if let (1, Some((_, last))) = (crowd.all.all.len(), crowd.all.all.first_key_value())
                {
                    *place.get_mut() = Keys::one(*last);
                    crowds.remove(at);
                }
            }
            Meaning::None | Meaning::One(_) => {}
        }
    }

    pub(super) fn shrink(&mut self, shard: usize, entries: &Entries) {
        let Self { names, crowds } = self;
        let hasher = names.hasher();
        names.shrink(shard, |it| hasher.hash_one(name_of(*it, crowds, entries)));
    }
}

/// Tells whether instances have a name.
fn is_of(keys: Keys, crowds: &Chunks<Box<Crowd>>, entries: &Entries, name: &str) -> bool {
    name_of(keys, crowds, entries) == name
}

/// Returns what instances are called.
fn name_of<'a>(keys: Keys, crowds: &Chunks<Box<Crowd>>, entries: &'a Entries) -> &'a str {
    let any = match keys.meaning() {
        Meaning::None => None,
        Meaning::One(key) => Some(key),
        Meaning::Many(crowd) => crowds[crowd].any(),
    };
    any.map_or("", |key| entries[key].name.as_str())
}

impl<'a> Instances<'a> {
    pub(super) fn len(self) -> usize {
        match self {
            Self::One(..) => 1,
            Self::Many(crowd) => crowd.all.all.len(),
        }
    }

    /// Returns how many are of an owner, or of anybody, in whatever state; of a single one it is not
    /// looked whose that is.
    pub(super) fn count(self, owner: Option<&wire::Owner>) -> usize {
        match self {
            Self::One(..) => 1,
            Self::Many(crowd) => crowd.ranks(owner).map_or(0, |it| it.all.len()),
        }
    }

    /// Returns one of them.
    pub(super) fn any(self) -> Option<Key> {
        match self {
            Self::One(_, key) => Some(key),
            Self::Many(crowd) => crowd.any(),
        }
    }

    /// Returns the only entry, if it is the only one.
    pub(super) fn only(self) -> Option<Key> {
        match self {
            Self::One(_, key) => Some(key),
            Self::Many(_) => None,
        }
    }

    /// Goes through the instances that are meant, newest first; of a single one it is not looked
    /// whether it is.
    pub(super) fn newest_first(self, meant: Selection<'_>) -> impl Iterator<Item = Key> + use<'a> {
        let ranks = match self {
            Self::One(..) => None,
            Self::Many(crowd) => crowd.ranks(meant.owner),
        };
        let many = ranks.map(|it| if meant.all { &it.all } else { &it.ready });
        self.only().into_iter().chain(many.into_iter().flat_map(|it| it.values().rev().copied()))
    }

    /// Returns the first instance after an epoch.
    pub(super) fn after(self, epoch: Epoch) -> Option<Key> {
        match self {
            Self::One(own, key) => (own > epoch).then_some(key),
            Self::Many(crowd) => {
                crowd.all.all.range(epoch.saturating_add(1)..).next().map(|(_, key)| *key)
            }
        }
    }
}

impl Crowd {
    fn any(&self) -> Option<Key> {
        self.all.all.values().next().copied()
    }

    fn ranks(&self, owner: Option<&wire::Owner>) -> Option<&Ranks> {
        match owner {
            None => Some(&self.all),
            Some(owner) => self.by_owner.get(owner),
        }
    }

    /// Enters an instance, or records its changed state.
    pub(super) fn insert(&mut self, key: Key, entry: &Entry) {
        self.all.insert(key, entry);
        self.by_owner.entry(entry.owner_told()).or_default().insert(key, entry);
    }

    pub(super) fn remove(&mut self, entry: &Entry) {
        self.all.remove(entry.epoch);
        let owner = entry.owner_told();
        if let Some(ranks) = self.by_owner.get_mut(&owner) {
            ranks.remove(entry.epoch);
            if ranks.all.is_empty() {
                self.by_owner.remove(&owner);
            }
        }
    }
}

impl Ranks {
    fn insert(&mut self, key: Key, entry: &Entry) {
        self.all.insert(entry.epoch, key);
        match entry.state {
            State::Ready => _ = self.ready.insert(entry.epoch, key),
            _ => _ = self.ready.remove(&entry.epoch),
        }
    }

    fn remove(&mut self, epoch: Epoch) {
        self.all.remove(&epoch);
        self.ready.remove(&epoch);
    }
}
