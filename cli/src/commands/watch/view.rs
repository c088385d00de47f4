//! What a watcher knows, and what is news to it.
//!
//! A registrar that was lost begins anew with a snapshot. What is told of it is only what has
//! changed meanwhile.

use std::{collections::BTreeMap, fmt, mem};

use discovery::{Change, Faults};
use endpoints::InstanceId;
use serde::Serialize;
use wire::{Gone, Record};

/// What a watcher knows.
#[derive(Debug, Default)]
pub(super) struct View {
    known: BTreeMap<InstanceId, Record>,
    /// What has come of a snapshot that is not complete yet.
    snapshot: Option<BTreeMap<InstanceId, Record>>,
    /// Whether a snapshot has been complete once.
    has_synced: bool,
    is_stale: bool,
}

/// What is news.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// An instance is there.
    Add(Record),
    /// Something about an instance is different.
    Update(Record),
    /// An instance is gone.
    Remove { record: Record, reason: Reason },
    /// The first snapshot has been told.
    Synced,
    /// No registrar is within reach.
    Lost(Faults),
    /// A registrar is within reach again, and what it knows has been told.
    Back,
}

/// Why an instance is gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Reason {
    Unregistered,
    SessionEnded,
    LeaseExpired,
    FoundDead,
    Unknown,
    /// The only registrar that had it is out of reach.
    OutOfReach,
    /// It went while the registrar was out of reach.
    Missed,
}

impl View {
    /// Tells whether no snapshot has been complete yet.
    pub(super) fn is_empty_handed(&self) -> bool {
        !self.has_synced
    }

    /// Takes note of a change, and returns what is news about it.
    pub(super) fn apply(&mut self, change: Change) -> Vec<Event> {
        match change {
            Change::Reset => {
                self.snapshot = Some(BTreeMap::new());
                Vec::new()
            }
            Change::Add { record } | Change::Update { record } => self.put(record),
            Change::Remove { instance, gone } => self.remove(&instance, gone),
            Change::Synced => self.synced(),
            Change::Stale { faults } => {
                let was_stale = mem::replace(&mut self.is_stale, true);
                if was_stale { Vec::new() } else { vec![Event::Lost(faults)] }
            }
            _ => Vec::new(),
        }
    }

    fn put(&mut self, record: Record) -> Vec<Event> {
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.insert(record.instance(), record);
            return Vec::new();
        }
        match self.known.insert(record.instance(), record.clone()) {
            None => vec![Event::Add(record)],
            Some(before) if before == record => Vec::new(),
            Some(_) => vec![Event::Update(record)],
        }
    }

    fn remove(&mut self, instance: &InstanceId, gone: Option<Gone>) -> Vec<Event> {
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.remove(instance);
            return Vec::new();
        }
        let removed = self.known.remove(instance);
        removed.map(|record| Event::Remove { record, reason: gone.into() }).into_iter().collect()
    }

    /// Compares a snapshot that is complete with what was known before.
    fn synced(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        if let Some(snapshot) = self.snapshot.take() {
            let before = mem::replace(&mut self.known, snapshot);
            for (instance, record) in &before {
                if !self.known.contains_key(instance) {
                    let record = record.clone();
                    events.push(Event::Remove { record, reason: Reason::Missed });
                }
            }
            for (instance, record) in &self.known {
                match before.get(instance) {
                    None => events.push(Event::Add(record.clone())),
                    Some(before) if before == record => {}
                    Some(_) => events.push(Event::Update(record.clone())),
                }
            }
        }
        let was_stale = mem::replace(&mut self.is_stale, false);
        if !mem::replace(&mut self.has_synced, true) {
            events.push(Event::Synced);
        } else if was_stale {
            events.push(Event::Back);
        }
        events
    }
}

impl From<Option<Gone>> for Reason {
    fn from(gone: Option<Gone>) -> Self {
        match gone {
            Some(Gone::Unregistered) => Self::Unregistered,
            Some(Gone::SessionEnded) => Self::SessionEnded,
            Some(Gone::LeaseExpired) => Self::LeaseExpired,
            Some(Gone::FoundDead) => Self::FoundDead,
            Some(Gone::Unknown) => Self::Unknown,
            None => Self::OutOfReach,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unregistered => Gone::Unregistered.fmt(f),
            Self::SessionEnded => Gone::SessionEnded.fmt(f),
            Self::LeaseExpired => Gone::LeaseExpired.fmt(f),
            Self::FoundDead => Gone::FoundDead.fmt(f),
            Self::Unknown => Gone::Unknown.fmt(f),
            Self::OutOfReach => f.pad("its registrar is out of reach"),
            Self::Missed => f.pad("gone while the registrar was away"),
        }
    }
}
