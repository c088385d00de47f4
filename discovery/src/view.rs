//! The merged whole of a watch: what all registrars together tell.
//!
//! It is pure: what happens comes in with the time, and what is to be told comes out.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;
use uuid::Uuid;
use wire::{
    Gone, Record,
    registrar::{self, Seen},
};

use crate::{Change, Fault, Faults, merge::newest_first};

/// What all registrars together tell.
#[derive(Debug)]
pub(crate) struct View {
    feeds: Vec<Feed>,
    instances: BTreeMap<Uuid, Instance>,
    /// What is to be told. It holds a few changes for each instance at most.
    untold: VecDeque<Change>,
    /// What was told last of the whole.
    told: Told,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Told {
    Reset,
    Synced,
    Stale,
}

/// One registrar's part.
#[derive(Debug)]
struct Feed {
    state: FeedState,
    /// How far it has come.
    seen: Option<Seen>,
    /// Which registrar it tells of, once its snapshot has been complete.
    registrar: Option<Uuid>,
}

#[derive(Debug)]
enum FeedState {
    /// It is not known yet how it is.
    Unknown,
    /// Its registrar is told by another feed.
    Standby,
    /// Its snapshot comes in.
    Syncing,
    /// All that its registrar has is known.
    Current,
    /// Its registrar is away. What it told is kept until then.
    Lost { fault: Fault, until: Instant },
    /// Its registrar has been away for long. What it told is kept only if nobody knows better.
    Away { fault: Fault },
}

/// An instance, as those that tell of it know it.
#[derive(Debug)]
struct Instance {
    /// The newest first.
    records: Vec<(usize, Record)>,
}

impl View {
    pub(crate) fn new(feeds: usize) -> Self {
        let feed = || Feed { state: FeedState::Unknown, seen: None, registrar: None };
        Self {
            feeds: std::iter::repeat_with(feed).take(feeds).collect(),
            instances: BTreeMap::new(),
            untold: VecDeque::from([Change::Reset]),
            told: Told::Reset,
        }
    }

    /// Takes the next change that is to be told.
    pub(crate) fn pop(&mut self) -> Option<Change> {
        self.untold.pop_front()
    }

    /// Returns how far a feed has come, if it can go on from there.
    pub(crate) fn seen(&self, feed: usize) -> Option<Seen> {
        self.feeds[feed].seen
    }

    /// A feed begins; either where it left off, or with a reset.
    pub(crate) fn begun(&mut self, feed: usize, is_resumed: bool) {
        if is_resumed {
            self.feeds[feed].state = FeedState::Current;
        } else {
            self.feeds[feed].state = FeedState::Syncing;
            self.feeds[feed].seen = None;
        }
        self.conclude();
    }

    /// Another feed has the registrar of this one.
    pub(crate) fn standby(&mut self, feed: usize) {
        self.feeds[feed].state = FeedState::Standby;
        self.conclude();
    }

    /// A feed is lost.
    pub(crate) fn lost(&mut self, feed: usize, fault: Fault, now: Instant) {
        self.feeds[feed].state = match self.feeds[feed].state {
            FeedState::Lost { until, .. } => FeedState::Lost { fault, until },
            FeedState::Away { .. } => FeedState::Away { fault },
            _ if self.feeds[feed].registrar.is_none() => FeedState::Away { fault },
            _ => FeedState::Lost { fault, until: now + GRACE },
        };
        self.conclude();
    }

    /// Returns when [`tick`](Self::tick) has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let until = |it: &Feed| match &it.state {
            FeedState::Lost { until, .. } => Some(*until),
            _ => None,
        };
        self.feeds.iter().filter_map(until).min()
    }

    /// Gives up on feeds that have been lost for long.
    pub(crate) fn tick(&mut self, now: Instant) {
        for feed in &mut self.feeds {
            if let FeedState::Lost { fault, until } = &feed.state
                && *until <= now
            {
                feed.state = FeedState::Away { fault: fault.clone() };
            }
        }
        self.conclude();
    }

    /// A feed tells of a change.
    pub(crate) fn change(&mut self, feed: usize, registrar: Uuid, change: registrar::Change) {
        let revision = match change {
            registrar::Change::Reset => {
                self.reset(feed);
                return;
            }
            registrar::Change::Synced { revision } => {
                self.synced(feed, Seen { registrar, revision });
                return;
            }
            registrar::Change::Add { record, revision }
            | registrar::Change::Update { record, revision } => {
                self.put(feed, record);
                revision
            }
            registrar::Change::Remove { instance, gone, revision, .. } => {
                self.take(feed, instance.uuid, Some(gone));
                revision
            }
        };
        // In the midst of a snapshot there is nowhere to go on from. Several changes may share a
        // revision, and this need not be the last of them; to hear one twice does no harm.
        if matches!(self.feeds[feed].state, FeedState::Current) {
            self.feeds[feed].seen = Some(Seen { registrar, revision: revision.saturating_sub(1) });
        }
    }

    /// Forgets what a feed told.
    fn reset(&mut self, feed: usize) {
        self.feeds[feed].state = FeedState::Syncing;
        self.feeds[feed].seen = None;
        let holds = |it: &Instance| it.records.iter().any(|(holder, _)| *holder == feed);
        if !self.instances.values().any(holds) {
            return;
        }
        self.instances.retain(|_, instance| {
            instance.records.retain(|(holder, _)| *holder != feed);
            !instance.records.is_empty()
        });
        // Whatever was not told yet is part of what is told anew.
        self.untold.clear();
        self.untold.push_back(Change::Reset);
        self.told = Told::Reset;
        let add = |it: &Instance| Change::Add { record: it.newest().clone() };
        self.untold.extend(self.instances.values().map(add));
    }

    /// All that the registrar of a feed has is known.
    fn synced(&mut self, feed: usize, seen: Seen) {
        for other in &mut self.feeds {
            // What another feed told of this registrar, before it was lost, is known better now.
            if other.registrar == Some(seen.registrar) && other.fault().is_some() {
                other.state = FeedState::Standby;
            }
        }
        self.feeds[feed].state = FeedState::Current;
        self.feeds[feed].registrar = Some(seen.registrar);
        self.feeds[feed].seen = Some(seen);
        self.conclude();
    }

    fn put(&mut self, feed: usize, record: Record) {
        let uuid = record.uuid;
        let Some(instance) = self.instances.get_mut(&uuid) else {
            self.untold.push_back(Change::Add { record: record.clone() });
            self.instances.insert(uuid, Instance { records: vec![(feed, record)] });
            return;
        };
        let before = instance.records[0].clone();
        instance.records.retain(|(holder, _)| *holder != feed);
        instance.records.push((feed, record));
        instance.records.sort_by_key(|(_, record)| newest_first(record));
        let (teller, after) = &instance.records[0];
        let is_news =
            if *teller == before.0 { *after != before.1 } else { !is_same(after, &before.1) };
        if is_news {
            self.untold.push_back(Change::Update { record: after.clone() });
        }
    }

    fn take(&mut self, feed: usize, uuid: Uuid, gone: Option<Gone>) {
        let Some(instance) = self.instances.get_mut(&uuid) else { return };
        let before = instance.newest().clone();
        instance.records.retain(|(holder, _)| *holder != feed);
        match instance.records.first() {
            None => {
                self.instances.remove(&uuid);
                self.untold.push_back(Change::Remove { instance: before.instance(), gone });
            }
            Some((_, after)) if !is_same(after, &before) => {
                self.untold.push_back(Change::Update { record: after.clone() });
            }
            Some(_) => {}
        }
    }

    /// Tells how the whole is, if that is different.
    fn conclude(&mut self) {
        let is = |wanted: fn(&FeedState) -> bool| self.feeds.iter().any(|it| wanted(&it.state));
        let is_pending = is(|it| matches!(it, FeedState::Unknown | FeedState::Syncing));
        let is_current = is(|it| matches!(it, FeedState::Current));
        if is_current && !is_pending {
            self.drop_those_away();
            if self.told != Told::Synced {
                self.told = Told::Synced;
                self.untold.push_back(Change::Synced);
            }
        } else if !is_current && !is_pending && self.told != Told::Stale {
            let faults = self.feeds.iter().filter_map(Feed::fault).cloned().collect::<Vec<_>>();
            // Of those on standby, one is about to take over.
            if !faults.is_empty() {
                self.told = Told::Stale;
                self.untold.push_back(Change::Stale { faults: Faults(faults) });
            }
        }
    }

    /// Removes what only those feeds told that have been away for long.
    fn drop_those_away(&mut self) {
        for feed in 0..self.feeds.len() {
            if !matches!(self.feeds[feed].state, FeedState::Away { .. } | FeedState::Standby) {
                continue;
            }
            // What is not there any more cannot be gone on from.
            self.feeds[feed].seen = None;
            let holds = |it: &Instance| it.records.iter().any(|(holder, _)| *holder == feed);
            let held = self.instances.iter().filter(|(_, it)| holds(it));
            for uuid in held.map(|(uuid, _)| *uuid).collect::<Vec<_>>() {
                self.take(feed, uuid, None);
            }
        }
    }
}

impl Feed {
    fn fault(&self) -> Option<&Fault> {
        match &self.state {
            FeedState::Lost { fault, .. } | FeedState::Away { fault } => Some(fault),
            _ => None,
        }
    }
}

impl Instance {
    fn newest(&self) -> &Record {
        &self.records.first().expect("an instance is known by a record").1
    }
}

/// Tells whether two records of an instance say the same, whichever registrar has them.
fn is_same(one: &Record, other: &Record) -> bool {
    let Record { name, uuid, endpoints, metadata, state, kept, suspicion, proves, .. } = one;
    (name, uuid, endpoints, metadata, state, kept, suspicion, proves)
        == (
            &other.name,
            &other.uuid,
            &other.endpoints,
            &other.metadata,
            &other.state,
            &other.kept,
            &other.suspicion,
            &other.proves,
        )
}

/// For how long what a registrar told is believed while it is away and others are not: it may be
/// starting again, and its clients with it.
const GRACE: Duration = Duration::from_secs(5);
