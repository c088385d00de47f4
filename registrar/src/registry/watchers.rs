//! Those who watch names, and what each has yet to read.
//!
//! A watcher reads a snapshot first, oldest registration first, and changes after it. It takes
//! both at its own pace: what it has not read is kept here up to a bound. A watcher that falls
//! further behind loses its place and begins again with a snapshot; nobody waits for it.
//!
//! While a snapshot is under way, a change to a record that it has passed is queued, and one that
//! it has yet to reach is not, because the snapshot will show it as it is then.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    sync::Arc,
};

use endpoints::{Name, NamePattern};
use foldhash::HashMap;
use slab::Slab;
use wire::{CallId, Epoch, Revision, encode_add, encode_body, registrar::Change};

use super::{Entries, Key, RegistryError, SCAN_MAX, SessionId, keys::Keys, log::Logged};

/// Those who watch.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    watchers: Slab<Watcher>,
    by_call: BTreeMap<(SessionId, CallId), usize>,
    /// Those who watch one name.
    by_name: HashMap<Name, Vec<usize>>,
    /// Those who watch a pattern.
    patterns: Vec<usize>,
}

/// What snapshots are read from.
pub(super) struct Source<'a> {
    pub(super) entries: &'a Entries,
    pub(super) by_name: &'a HashMap<Name, Keys>,
    pub(super) by_epoch: &'a BTreeMap<Epoch, Key>,
    pub(super) revision: Revision,
}

#[derive(Debug)]
struct Watcher {
    session: SessionId,
    call: CallId,
    pattern: NamePattern,
    name: Option<Name>,
    credit: u32,
    place: Place,
    queue: VecDeque<Arc<Logged>>,
    queue_bytes: usize,
    /// Registrations beyond the place of a snapshot that it was told of as changes.
    ahead: BTreeSet<Epoch>,
}

/// How far a watcher has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// It is to be told to forget everything.
    Reset,
    /// It has been shown what was registered up to this epoch.
    Snapshot { up_to: Epoch },
    /// It has been shown everything.
    Live,
}

impl Watchers {
    pub(super) fn len(&self) -> usize {
        self.watchers.len()
    }

    /// Begins a watch, with the changes that it has missed or else with a snapshot, if the
    /// session has room for it.
    pub(super) fn insert(
        &mut self,
        session: SessionId,
        call: CallId,
        pattern: NamePattern,
        missed: Option<Vec<Arc<Logged>>>,
        limit: usize,
    ) -> Result<(), RegistryError> {
        if self.by_call.contains_key(&(session, call)) {
            return Err(RegistryError::CallInUse { call });
        }
        let own = self.by_call.range((session, 0)..=(session, CallId::MAX)).count();
        if own >= limit {
            return Err(RegistryError::TooMany { what: "watches of one session", limit });
        }
        let name = pattern.exact();
        let mut watcher = Watcher {
            session,
            call,
            pattern,
            name: name.clone(),
            credit: 0,
            place: if missed.is_some() { Place::Live } else { Place::Reset },
            queue: VecDeque::new(),
            queue_bytes: 0,
            ahead: BTreeSet::new(),
        };
        for logged in missed.into_iter().flatten() {
            if watcher.pattern.matches(logged.name.as_str()) {
                watcher.push(&logged);
            }
        }
        let at = self.watchers.insert(watcher);
        self.by_call.insert((session, call), at);
        match name {
            Some(name) => self.by_name.entry(name).or_default().push(at),
            None => self.patterns.push(at),
        }
        Ok(())
    }

    pub(super) fn credit(&mut self, session: SessionId, call: CallId, items: u32) {
        if let Some(at) = self.by_call.get(&(session, call)) {
            let credit = &mut self.watchers[*at].credit;
            *credit = credit.saturating_add(items);
        }
    }

    pub(super) fn remove(&mut self, session: SessionId, call: CallId) {
        let Some(at) = self.by_call.remove(&(session, call)) else { return };
        match self.watchers.remove(at).name {
            Some(name) => {
                if let Some(watching) = self.by_name.get_mut(&name) {
                    watching.retain(|it| *it != at);
                    if watching.is_empty() {
                        self.by_name.remove(&name);
                    }
                }
            }
            None => self.patterns.retain(|it| *it != at),
        }
    }

    pub(super) fn end_session(&mut self, session: SessionId) {
        let calls: Vec<_> =
            self.by_call.range((session, 0)..=(session, CallId::MAX)).map(|(it, _)| *it).collect();
        for (session, call) in calls {
            self.remove(session, call);
        }
    }

    /// Queues a change for those who watch its name, and notes their sessions. The registration
    /// that was `known` is the one of epoch `now` from here on.
    pub(super) fn tell(
        &mut self,
        logged: &Arc<Logged>,
        known: Epoch,
        now: Epoch,
        stirred: &mut BTreeSet<SessionId>,
    ) {
        let named = self.by_name.get(&logged.name).into_iter().flatten();
        for at in named.chain(&self.patterns) {
            let watcher = &mut self.watchers[*at];
            if watcher.pattern.matches(logged.name.as_str()) && watcher.is_to_know(known, now) {
                watcher.push(logged);
                stirred.insert(watcher.session);
            }
        }
    }

    /// Hands what the watches of a session have to say to `send`, until credit runs out or `send`
    /// wants no more. Returns whether there is more to say that credit allows.
    pub(super) fn read(
        &mut self,
        session: SessionId,
        source: &Source<'_>,
        send: &mut dyn FnMut(CallId, &[u8]) -> bool,
    ) -> bool {
        let mut has_more = false;
        for at in self.by_call.range((session, 0)..=(session, CallId::MAX)).map(|(_, at)| *at) {
            has_more |= self.watchers[at].read(source, send);
        }
        has_more
    }
}

impl Watcher {
    /// Tells whether a change is news to the watcher, rather than part of a snapshot to come.
    fn is_to_know(&mut self, known: Epoch, now: Epoch) -> bool {
        match self.place {
            Place::Live => true,
            Place::Reset => false,
            Place::Snapshot { up_to } => {
                let is_shown = known <= up_to || self.ahead.remove(&known);
                if is_shown && now > up_to {
                    self.ahead.insert(now);
                }
                is_shown
            }
        }
    }

    fn push(&mut self, logged: &Arc<Logged>) {
        if self.place == Place::Reset {
            return;
        }
        self.queue_bytes += logged.encoded.len();
        self.queue.push_back(logged.clone());
        let is_behind = self.queue.len() > QUEUE_MAX || self.queue_bytes > QUEUE_BYTES_MAX;
        if is_behind || self.ahead.len() > QUEUE_MAX {
            self.queue = VecDeque::new();
            self.queue_bytes = 0;
            self.ahead = BTreeSet::new();
            self.place = Place::Reset;
        }
    }

    fn read(&mut self, source: &Source<'_>, send: &mut dyn FnMut(CallId, &[u8]) -> bool) -> bool {
        let mut scanned = 0;
        let mut wants_more = true;
        while wants_more && self.credit > 0 {
            // Changes come before more of a snapshot, lest an old removal follow a new record.
            if let Some(logged) = self.queue.pop_front() {
                self.queue_bytes -= logged.encoded.len();
                self.credit -= 1;
                wants_more = send(self.call, &logged.encoded);
                continue;
            }
            let (change, next) = match self.place {
                Place::Live => return false,
                Place::Reset => (encode_body(&Change::Reset), Place::Snapshot { up_to: 0 }),
                Place::Snapshot { up_to } => match self.next(source, up_to, &mut scanned) {
                    Next::Record(key) => {
                        let entry = &source.entries[key];
                        let up_to = entry.epoch;
                        (encode_add(entry.encoded(), source.revision), Place::Snapshot { up_to })
                    }
                    Next::Pause(up_to) => {
                        self.place = Place::Snapshot { up_to };
                        return true;
                    }
                    Next::End => {
                        self.ahead = BTreeSet::new();
                        (encode_body(&Change::Synced { revision: source.revision }), Place::Live)
                    }
                },
            };
            self.place = next;
            self.credit -= 1;
            wants_more = send(self.call, &change);
        }
        self.credit > 0 && (!self.queue.is_empty() || self.place != Place::Live)
    }

    /// Finds the next record of a snapshot.
    fn next(&self, source: &Source<'_>, up_to: Epoch, scanned: &mut usize) -> Next {
        if let Some(name) = &self.name {
            let next = source.by_name.get(name).and_then(|keys| keys.after(up_to));
            return next.map_or(Next::End, Next::Record);
        }
        for (epoch, key) in source.by_epoch.range((Bound::Excluded(up_to), Bound::Unbounded)) {
            if self.pattern.matches(source.entries[*key].name.as_str()) {
                return Next::Record(*key);
            }
            *scanned += 1;
            if *scanned == SCAN_MAX {
                return Next::Pause(*epoch);
            }
        }
        Next::End
    }
}

/// What comes next in a snapshot.
enum Next {
    Record(Key),
    /// Enough was gone through for now.
    Pause(Epoch),
    End,
}

/// How many changes a watcher may have yet to read.
const QUEUE_MAX: usize = 1024;

/// How many bytes of changes a watcher may have yet to read; the largest record fits many times.
const QUEUE_BYTES_MAX: usize = 1024 * 1024;
