//! Watchers of names, and the position of each.
//!
//! A watcher reads a snapshot first, oldest registration first, and changes after it. It reads both
//! at its own pace, and unread changes are not kept for it: the [log](super::log) has the latest
//! changes, and a watcher its position in it. A watcher that the log has passed loses its position
//! and starts again with a snapshot; nothing waits for it.
//!
//! A change costs its author no more than finding the sessions that it may concern, by the whole
//! name or by its beginning. Matching it against a pattern is the watcher's own work, done when its
//! session reads, in parts.
//!
//! During a snapshot, a change to a record that it has passed is reported, and a change to one that
//! it has yet to reach is not, because the snapshot will show its result. So pending changes are
//! always read before the snapshot continues.

use std::collections::{BTreeMap, BTreeSet};

use bytes::BytesMut;
use endpoints::{Matcher, Name, NamePattern};
use foldhash::HashMap;
use slab::Slab;
use wire::{CallId, Epoch, Revision, encode_add, encode_body, registrar::Change};

use super::{
    Entries, Entry, Key, RegistryError, SessionId,
    instances::ByName,
    log::{Log, Logged, Position},
    prefixes::Prefixes,
    timeline::Timeline,
};

/// The watchers.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    watchers: Slab<Watcher>,
    by_call: BTreeMap<(SessionId, CallId), usize>,
    /// The watchers of one name.
    by_name: HashMap<Name, Vec<usize>>,
    /// The sessions that watch patterns.
    by_prefix: Prefixes,
}

/// The source of its items.
pub(super) struct Source<'a> {
    pub(super) entries: &'a Entries,
    pub(super) by_name: &'a ByName,
    pub(super) by_epoch: &'a Timeline,
    pub(super) log: &'a Log,
    pub(super) revision: Revision,
    /// The number of ended sessions whose end is reported in parts.
    pub(super) ends: u64,
    /// Whether an entry is hidden: its session is over, or a rule hides it.
    pub(super) is_hidden: &'a dyn Fn(&Entry) -> bool,
    /// Whether a rule allows reporting a change.
    pub(super) shows: &'a dyn Fn(&Logged) -> bool,
}

/// The start of a watch.
#[derive(Clone, Copy, Debug)]
pub(super) struct WatchStart {
    /// Whether the records of other nodes are passed over.
    pub(super) is_of_own: bool,
    /// With the changes from here on, or else with a snapshot.
    pub(super) missed: Option<Position>,
    /// As in [`Source`].
    pub(super) ends: u64,
}

#[derive(Debug)]
struct Watcher {
    session: SessionId,
    call: CallId,
    watched: Watched,
    /// Whether the records of other nodes are passed over.
    is_of_own: bool,
    credit: u32,
    place: WatchPlace,
    /// The change to look at next, if any concerns it.
    next: Position,
    /// The number of ends reported in parts before everything it has been shown: it has seen none
    /// of their entries.
    ends: u64,
    /// Registrations beyond the position of a snapshot that were reported as changes.
    ahead: BTreeSet<Epoch>,
}

/// The subject of a watch.
#[derive(Debug)]
enum Watched {
    /// One name. Each of its changes notifies the watcher, so all others are skipped unseen.
    Name {
        name: Name,
        has_changed: bool,
    },
    Pattern(Matcher),
}

/// A watcher's progress.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum WatchPlace {
    /// It is to get a reset.
    Reset,
    /// It has been shown all registrations up to this epoch.
    Snapshot { up_to: Epoch },
    /// It has been shown everything.
    Live,
}

impl Watchers {
    pub(super) fn len(&self) -> usize {
        self.watchers.len()
    }

    /// Begins a watch, if the session has room for it, and `charge` accepts its bytes.
    pub(super) fn insert(
        &mut self,
        session: SessionId,
        call: CallId,
        pattern: &NamePattern,
        WatchStart { is_of_own, missed, ends }: WatchStart,
        limit: usize,
        charge: impl FnOnce(usize) -> Result<(), RegistryError>,
    ) -> Result<(), RegistryError> {
        if self.by_call.contains_key(&(session, call)) {
            return Err(RegistryError::CallInUse { call });
        }
        if self.of_session(session).count() >= limit {
            return Err(RegistryError::TooMany { what: "watches of one session", limit });
        }
        let watched = match pattern.exact() {
            Some(name) => Watched::Name { name, has_changed: missed.is_some() },
            None => Watched::Pattern(Matcher::new(pattern)),
        };
        charge(watched.held_bytes())?;
        let at = self.watchers.vacant_key();
        match &watched {
            Watched::Name { name, .. } => self.by_name.entry(name.clone()).or_default().push(at),
            Watched::Pattern(matcher) => self.by_prefix.insert(matcher.prefix(), session),
        }
        self.by_call.insert((session, call), at);
        self.watchers.insert(Watcher {
            session,
            call,
            watched,
            is_of_own,
            credit: 0,
            place: if missed.is_some() { WatchPlace::Live } else { WatchPlace::Reset },
            next: missed.unwrap_or_default(),
            ends,
            ahead: BTreeSet::new(),
        });
        Ok(())
    }

    pub(super) fn credit(&mut self, session: SessionId, call: CallId, items: u32) {
        if let Some(at) = self.by_call.get(&(session, call)) {
            let credit = &mut self.watchers[*at].credit;
            *credit = credit.saturating_add(items);
        }
    }

    /// Removes a watch, and returns its bytes.
    pub(super) fn remove(&mut self, session: SessionId, call: CallId) -> Option<usize> {
        let at = self.by_call.remove(&(session, call))?;
        let watcher = self.watchers.remove(at);
        let held_bytes = watcher.watched.held_bytes() + watcher.ahead.len() * AHEAD_BYTES;
        match watcher.watched {
            Watched::Name { name, .. } => {
                if let Some(watching) = self.by_name.get_mut(&name) {
                    watching.retain(|it| *it != at);
                    if watching.is_empty() {
                        self.by_name.remove(&name);
                    }
                }
            }
            Watched::Pattern(matcher) => self.by_prefix.remove(matcher.prefix(), session),
        }
        Some(held_bytes)
    }

    /// Removes all watches of a session, and returns their number and bytes.
    pub(super) fn end_session(&mut self, session: SessionId) -> (usize, usize) {
        let calls: Vec<_> =
            self.by_call.range((session, 0)..=(session, CallId::MAX)).map(|(it, _)| *it).collect();
        let ended = calls.iter().filter_map(|(session, call)| self.remove(*session, *call));
        (calls.len(), ended.sum())
    }

    /// Frees the room of finished watches.
    pub(super) fn shrink(&mut self) {
        self.watchers.shrink_to_fit();
        self.by_name.shrink_to_fit();
    }

    /// Returns the bytes of what the watches of a session know ahead of snapshots.
    pub(super) fn ahead_bytes(&self, session: SessionId) -> usize {
        self.of_session(session).map(|at| self.watchers[at].ahead.len() * AHEAD_BYTES).sum()
    }

    /// Restarts every watcher with a snapshot, and records their sessions.
    pub(super) fn begin_anew(&mut self, notified: &mut BTreeSet<SessionId>) {
        for (_, watcher) in &mut self.watchers {
            watcher.place = WatchPlace::Reset;
            notified.insert(watcher.session);
        }
    }

    /// Records the latest change, and notes the sessions that it may concern.
    pub(super) fn tell(&mut self, log: &Log, notified: &mut BTreeSet<SessionId>) {
        let Some(Logged { name, .. }) = log.latest() else { return };
        for at in self.by_name.get(name).into_iter().flatten() {
            let Watcher { session, place, next, watched, .. } = &mut self.watchers[*at];
            if let Watched::Name { has_changed, .. } = watched
                && *place != WatchPlace::Reset
            {
                if !*has_changed {
                    (*next, *has_changed) = (log.end() - 1, true);
                }
                notified.insert(*session);
            }
        }
        notified.extend(self.by_prefix.of(name.as_str()));
    }

    /// Passes the items of a session's watches to `send`, until credit or `steps` run out or `send`
    /// accepts no more. Their knowledge ahead of snapshots grows by at most `room_bytes`. Returns
    /// whether credit allows more.
    pub(super) fn read(
        &mut self,
        session: SessionId,
        source: &Source<'_>,
        steps: &mut usize,
        room_bytes: usize,
        send: &mut dyn FnMut(CallId, &[u8]) -> bool,
    ) -> bool {
        let ahead: usize = self.of_session(session).map(|at| self.watchers[at].ahead.len()).sum();
        let mut room = AHEAD_MAX.saturating_sub(ahead).min(room_bytes / AHEAD_BYTES);
        let (mut has_more, mut wants_more) = (false, true);
        for at in self.by_call.range((session, 0)..=(session, CallId::MAX)).map(|(_, at)| *at) {
            // Not even one more of each watch fits a full buffer.
            if !wants_more {
                return true;
            }
            has_more |= self.watchers[at].read(source, steps, &mut room, &mut |call, change| {
                wants_more = send(call, change);
                wants_more
            });
        }
        has_more
    }

    fn of_session(&self, session: SessionId) -> impl Iterator<Item = usize> {
        self.by_call.range((session, 0)..=(session, CallId::MAX)).map(|(_, at)| *at)
    }
}

impl Watcher {
    fn read(
        &mut self,
        source: &Source<'_>,
        steps: &mut usize,
        room: &mut usize,
        send: &mut dyn FnMut(CallId, &[u8]) -> bool,
    ) -> bool {
        let mut wants_more = true;
        while wants_more && self.credit > 0 {
            if *steps == 0 {
                return true;
            }
            let found = match self.place {
                WatchPlace::Reset => Found::Nothing,
                // Changes come before more of a snapshot, lest an old removal follow a new record.
                _ => self.next_change(source, steps, room),
            };
            let (change, next) = match (found, self.place) {
                (Found::Change(change), _) => {
                    self.credit -= 1;
                    wants_more = send(self.call, change);
                    continue;
                }
                (Found::Pause, _) => return true,
                (Found::Behind, _) => {
                    self.place = WatchPlace::Reset;
                    continue;
                }
                (Found::Nothing, WatchPlace::Live) => return false,
                (Found::Nothing, WatchPlace::Reset) => {
                    *room += self.ahead.len();
                    self.ahead = BTreeSet::new();
                    self.passed(source.log.end());
                    self.ends = source.ends;
                    (encoded(&Change::Reset), WatchPlace::Snapshot { up_to: 0 })
                }
                (Found::Nothing, WatchPlace::Snapshot { up_to }) => {
                    match self.next_record(source, up_to, steps) {
                        SnapshotStep::Record(key) => {
                            let entry = &source.entries[key];
                            let up_to = entry.epoch;
                            let mut added = BytesMut::new();
                            encode_add(&mut added, entry.folded(), source.revision);
                            (added, WatchPlace::Snapshot { up_to })
                        }
                        SnapshotStep::Pause(up_to) => {
                            self.place = WatchPlace::Snapshot { up_to };
                            return true;
                        }
                        SnapshotStep::End => {
                            *room += self.ahead.len();
                            self.ahead = BTreeSet::new();
                            let synced = Change::Synced { revision: source.revision };
                            (encoded(&synced), WatchPlace::Live)
                        }
                    }
                }
            };
            self.place = next;
            self.credit -= 1;
            wants_more = send(self.call, &change);
        }
        self.credit > 0 && (self.place != WatchPlace::Live || self.has_pending(source.log))
    }

    fn has_pending(&self, log: &Log) -> bool {
        match &self.watched {
            Watched::Name { has_changed, .. } => *has_changed,
            Watched::Pattern(_) => self.next < log.end(),
        }
    }

    /// Records that it has looked at all changes before a position.
    fn passed(&mut self, position: Position) {
        self.next = position;
        if let Watched::Name { has_changed, .. } = &mut self.watched {
            *has_changed = false;
        }
    }

    /// Finds the next change to report to it.
    fn next_change<'a>(
        &mut self,
        source: &Source<'a>,
        steps: &mut usize,
        room: &mut usize,
    ) -> Found<'a> {
        let log = source.log;
        if !self.has_pending(log) {
            return Found::Nothing;
        }
        let Some(changes) = log.from(self.next) else { return Found::Behind };
        for logged in changes {
            if *steps == 0 {
                return Found::Pause;
            }
            let is_passed_over = self.is_of_own && logged.is_remote;
            let is_shown = !is_passed_over && (source.shows)(logged);
            let (concerns, taken) =
                if is_shown { self.watched.concerns(&logged.name) } else { (false, 1) };
            *steps = steps.saturating_sub(taken);
            self.next += 1;
            if concerns && self.is_to_know(logged, room) {
                let is_too_far_ahead = *room == 0 && self.place != WatchPlace::Live;
                return if is_too_far_ahead {
                    Found::Behind
                } else {
                    Found::Change(&logged.encoded)
                };
            }
        }
        self.passed(log.end());
        Found::Nothing
    }

    /// Tells whether a change is news to the watcher, rather than part of a snapshot to come.
    fn is_to_know(&mut self, logged: &Logged, room: &mut usize) -> bool {
        if logged.end.is_some_and(|end| end <= self.ends) {
            return false;
        }
        let WatchPlace::Snapshot { up_to } = self.place else { return true };
        let was_ahead = self.ahead.remove(&logged.known);
        *room += usize::from(was_ahead);
        let is_shown = logged.known <= up_to || was_ahead;
        if is_shown && logged.now > up_to && self.ahead.insert(logged.now) {
            *room = room.saturating_sub(1);
        }
        is_shown
    }

    /// Finds the next record of a snapshot.
    fn next_record(&self, source: &Source<'_>, up_to: Epoch, steps: &mut usize) -> SnapshotStep {
        let matcher = match &self.watched {
            Watched::Name { name, .. } => {
                return source.next_of_name(name, up_to, steps);
            }
            Watched::Pattern(matcher) => matcher,
        };
        for (epoch, key) in source.by_epoch.after(up_to) {
            let entry = &source.entries[key];
            let name = entry.name.as_str();
            // A hidden name is not matched against the pattern: the time would reveal it.
            let is_passed_over = self.is_of_own && entry.is_remote();
            let is_hidden = is_passed_over || (source.is_hidden)(entry);
            let taken = if is_hidden { 1 } else { matcher.steps(name) };
            *steps = steps.saturating_sub(taken);
            if !is_hidden && matcher.matches(name) {
                return SnapshotStep::Record(key);
            }
            if *steps == 0 {
                return SnapshotStep::Pause(epoch);
            }
        }
        SnapshotStep::End
    }
}

impl Source<'_> {
    fn next_of_name(&self, name: &Name, mut up_to: Epoch, steps: &mut usize) -> SnapshotStep {
        let Some(instances) = self.by_name.get(name.as_str(), self.entries) else {
            return SnapshotStep::End;
        };
        while let Some(key) = instances.after(up_to) {
            let entry = &self.entries[key];
            up_to = entry.epoch;
            *steps = steps.saturating_sub(1);
            if !(self.is_hidden)(entry) {
                return SnapshotStep::Record(key);
            }
            if *steps == 0 {
                return SnapshotStep::Pause(up_to);
            }
        }
        SnapshotStep::End
    }
}

impl Watched {
    /// Returns the bytes of a watch of it.
    fn held_bytes(&self) -> usize {
        HELD_BYTES
            + match self {
                Self::Name { name, .. } => name.as_str().len(),
                // Its beginning is in the index too.
                Self::Pattern(matcher) => matcher.held_bytes() + matcher.prefix().len(),
            }
    }

    /// Tells whether a name is watched, and the steps that this took.
    fn concerns(&self, changed: &Name) -> (bool, usize) {
        match self {
            Self::Name { name, .. } => (name == changed, 1),
            Self::Pattern(matcher) => {
                (matcher.matches(changed.as_str()), matcher.steps(changed.as_str()))
            }
        }
    }
}

fn encoded(change: &Change) -> BytesMut {
    BytesMut::from(&encode_body(change)[..])
}

/// The result of a watcher's search through new changes.
enum Found<'a> {
    Change(&'a [u8]),
    Nothing,
    /// Enough was searched for now.
    Pause,
    /// The knowledge that it needs is gone, or too large.
    Behind,
}

/// The next item of a snapshot.
enum SnapshotStep {
    Record(Key),
    /// Enough was searched for now.
    Pause(Epoch),
    End,
}

/// The most registrations beyond their snapshots that the watches of a session may know.
const AHEAD_MAX: usize = 1024;

/// The bytes of such a registration.
const AHEAD_BYTES: usize = 24;

/// The bytes of a watch besides its pattern, as measured with a different one for each.
const HELD_BYTES: usize = 768;
