//! The instances of one name.

use std::collections::BTreeMap;

use foldhash::{HashMap, HashMapExt as _};
use wire::{Epoch, State, registrar::Query};

use super::{Entry, Key, visibility::Sees};

/// The instances of one name, kept so that the time of a query does not grow with the number of
/// other ones: in another state, or another owner's. A single one, by far the usual case, takes no
/// memory of its own.
#[derive(Debug, Default)]
pub(super) enum Instances {
    #[default]
    None,
    One(Epoch, Key),
    Many(Box<Crowd>),
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

impl Instances {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(..) => 1,
            Self::Many(crowd) => crowd.all.all.len(),
        }
    }

    /// Returns how many are of an owner, or of anybody, in whatever state; of a single one it is not
    /// looked whose that is.
    pub(super) fn count(&self, owner: Option<&wire::Owner>) -> usize {
        match self {
            Self::None | Self::One(..) => self.len(),
            Self::Many(crowd) => crowd.ranks(owner).map_or(0, |it| it.all.len()),
        }
    }

    /// Returns one of them, if there is one.
    pub(super) fn any(&self) -> Option<Key> {
        match self {
            Self::None => None,
            Self::One(_, key) => Some(*key),
            Self::Many(crowd) => crowd.all.all.values().next().copied(),
        }
    }

    /// Returns the only entry, if it is the only one.
    pub(super) fn only(&self) -> Option<Key> {
        match self {
            Self::One(_, key) => Some(*key),
            Self::None | Self::Many(_) => None,
        }
    }

    /// Goes through the instances that are meant, newest first; of a single one it is not looked
    /// whether it is.
    pub(super) fn newest_first(&self, meant: Selection<'_>) -> impl Iterator<Item = Key> {
        let ranks = match self {
            Self::None | Self::One(..) => None,
            Self::Many(crowd) => crowd.ranks(meant.owner),
        };
        let many = ranks.map(|it| if meant.all { &it.all } else { &it.ready });
        self.only().into_iter().chain(many.into_iter().flat_map(|it| it.values().rev().copied()))
    }

    /// Returns the first instance after an epoch.
    pub(super) fn after(&self, epoch: Epoch) -> Option<Key> {
        match self {
            Self::None => None,
            Self::One(own, key) => (*own > epoch).then_some(*key),
            Self::Many(crowd) => {
                crowd.all.all.range(epoch.saturating_add(1)..).next().map(|(_, key)| *key)
            }
        }
    }

    /// Enters an instance. `entry` finds that of a key.
    pub(super) fn insert<'a>(&mut self, key: Key, entry: impl Fn(Key) -> &'a Entry) {
        match self {
            Self::None => *self = Self::One(entry(key).epoch, key),
            Self::One(_, other) => {
                let mut crowd = Crowd { all: Ranks::default(), by_owner: HashMap::new() };
                crowd.insert(*other, entry(*other));
                crowd.insert(key, entry(key));
                *self = Self::Many(Box::new(crowd));
            }
            Self::Many(crowd) => crowd.insert(key, entry(key)),
        }
    }

    pub(super) fn remove(&mut self, entry: &Entry) {
        match self {
            Self::One(epoch, _) if *epoch == entry.epoch => *self = Self::None,
            Self::Many(crowd) => {
                crowd.remove(entry);
                if crowd.all.all.len() == 1
                    && let Some((epoch, key)) = crowd.all.all.pop_first()
                {
                    *self = Self::One(epoch, key);
                }
            }
            Self::None | Self::One(..) => {}
        }
    }

    /// Records a changed state of an instance.
    pub(super) fn changed(&mut self, key: Key, entry: &Entry) {
        if let Self::Many(crowd) = self {
            crowd.insert(key, entry);
        }
    }
}

impl Crowd {
    fn ranks(&self, owner: Option<&wire::Owner>) -> Option<&Ranks> {
        match owner {
            None => Some(&self.all),
            Some(owner) => self.by_owner.get(owner),
        }
    }

    fn insert(&mut self, key: Key, entry: &Entry) {
        self.all.insert(key, entry);
        self.by_owner.entry(entry.owner_told()).or_default().insert(key, entry);
    }

    fn remove(&mut self, entry: &Entry) {
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
