//! The answers to queries, and to calls that wait.

use std::{cell::Cell, iter};

use bytes::BytesMut;
use endpoints::{InstanceId, Matcher, Name};
use wire::{
    CallId, Epoch, Owed, OwedTo, Record, encode_answer, encode_only, encode_page,
    registrar::{List, NamesPage, Query, RECORDS_BYTES_MAX, RECORDS_MAX},
};

use super::{
    Caller, Entry, HomeNode, Key, Registry, RegistryError, STEPS_MAX, SessionId,
    few::Found,
    instances::{Instances, Selection},
    visibility::Sees,
};

impl Registry {
    /// Appends the encoded [`wire::registrar::Answer`] to a query, and returns its steps besides
    /// writing.
    pub fn answer(
        &self,
        query: &Query<'_>,
        by: &Caller,
        now_ms: u64,
        bytes: &mut BytesMut,
    ) -> usize {
        self.totals.note_look_up();
        let Some(instances) = self.by_name.get(query.name, &self.entries) else {
            encode_answer(bytes, self.revision, now_ms, 0, iter::empty());
            return 0;
        };
        let meant = Selection::by(query).seen(self.sees_of(instances, by));
        if let Some(only) = instances.only() {
            // By far the most names have one instance, and need no list.
            let entry = Some(&self.entries[only]).filter(|it| !self.is_over(it));
            match entry.filter(|it| meant.includes(it)) {
                Some(entry) => encode_only(bytes, self.revision, now_ms, |bytes| {
                    self.unfolded.append(only, entry, bytes);
                }),
                None => {
                    let total = entry.is_some_and(|it| meant.counts(it));
                    encode_answer(bytes, self.revision, now_ms, total.into(), iter::empty());
                }
            }
            return 0;
        }
        let steps = Cell::new(0);
        let found = self.found(instances, meant, &steps).map(|it| self.entries[it].folded());
        let found: Vec<_> = found.collect();
        let total = self.total(instances, meant, &steps) as u64;
        encode_answer(bytes, self.revision, now_ms, total, found.into_iter());
        steps.get()
    }

    /// Returns `None` if a query finds an instance; if not, whether the name has others, such as
    /// ones that are not ready.
    pub(crate) fn lacks(&self, query: &Query<'_>, by: &Caller) -> Option<bool> {
        let Some(instances) = self.by_name.get(query.name, &self.entries) else {
            return Some(false);
        };
        let meant = Selection::by(query).seen(self.sees_of(instances, by));
        let steps = Cell::new(0);
        let is_found = self.found(instances, meant, &steps).next().is_some();
        (!is_found).then(|| self.total(instances, meant, &steps) > 0)
    }

    /// Returns the records that [`answer`](Self::answer) would append.
    pub fn records(&self, query: &Query<'_>, by: &Caller) -> Vec<Record> {
        self.totals.note_look_up();
        let Some(instances) = self.by_name.get(query.name, &self.entries) else {
            return Vec::new();
        };
        let meant = Selection::by(query).seen(self.sees_of(instances, by));
        let steps = Cell::new(0);
        self.found(instances, meant, &steps).map(|it| self.entries[it].record()).collect()
    }

    /// Appends the answer to a query, as [`answer`](Self::answer) does, and returns for each record
    /// the result of `prove`, if it can prove its identity, with the registrar that gave it its key if
    /// that is another, and the steps. `prove` learns whether it listens with TLS.
    pub fn locate(
        &self,
        query: &Query<'_>,
        by: &Caller,
        now_ms: u64,
        bytes: &mut BytesMut,
        prove: impl Fn(&InstanceId, Epoch, bool, Option<&HomeNode>) -> Owed,
    ) -> (Vec<Option<OwedTo>>, usize) {
        let steps = Cell::new(self.answer(query, by, now_ms, bytes));
        let prove = |key: Key| {
            let entry = &self.entries[key];
            let home = self.home_of(entry);
            let owed = || prove(&entry.instance(), entry.epoch, entry.has_tls, home);
            entry.has_key.then(|| (owed(), home.map(|it| it.registrar)))
        };
        let instances = self.by_name.get(query.name, &self.entries).into_iter();
        let found = instances
            .flat_map(|it| self.found(it, Selection::by(query).seen(self.sees_of(it, by)), &steps));
        let proofs: Vec<_> = found.map(prove).collect();
        let steps = steps.get() + proofs.len() * PROOF_STEPS;
        (proofs, steps)
    }

    /// Returns the instances that answer a query, in order. Finished ones are skipped, at a step
    /// each.
    fn found(
        &self,
        instances: Instances<'_>,
        meant: Selection<'_>,
        steps: &Cell<usize>,
    ) -> impl Iterator<Item = Key> {
        let is_wanted = move |key: &Key| {
            steps.set(steps.get() + 1);
            let entry = &self.entries[*key];
            meant.includes(entry) && !self.is_over(entry)
        };
        let mut bytes = 0;
        // Declared entries were entered before anything else, so they come last.
        let wanted = instances.newest_first(meant).filter(is_wanted);
        wanted.take(RECORDS_MAX as usize).take_while(move |key| {
            let is_first = bytes == 0;
            bytes += self.entries[*key].answer_bytes();
            is_first || bytes <= RECORDS_BYTES_MAX
        })
    }

    /// Returns the number of instances of a name in any state. Of a great many, it includes those
    /// that are gone and have yet to be cleared away.
    fn total(&self, instances: Instances<'_>, meant: Selection<'_>, steps: &Cell<usize>) -> usize {
        let count = instances.count(meant.owner);
        if !self.deferred.is_clearing() && meant.sees == Sees::All {
            return count;
        }
        steps.set(steps.get() + count.min(STEPS_MAX));
        let newest = instances.newest_first(Selection { all: true, ..meant }).take(STEPS_MAX);
        let is_out = |key: &Key| {
            let entry = &self.entries[*key];
            self.is_over(entry) || !meant.counts(entry)
        };
        let out = newest.filter(is_out).count();
        // A caller does not learn the number of instances that are hidden from it.
        if meant.sees == Sees::All { count - out } else { count.min(STEPS_MAX) - out }
    }

    /// Answers a call that waits for a name immediately, or keeps it until it can; tells which, and
    /// its steps.
    ///
    /// # Errors
    ///
    /// [`RegistryError::TooMany`], [`RegistryError::Quota`], [`RegistryError::CallInUse`].
    pub fn wait(
        &mut self,
        (session, call): (SessionId, CallId),
        name: Name,
        by: &Caller,
        now_ms: u64,
        bytes: &mut BytesMut,
    ) -> Result<(bool, usize), RegistryError> {
        let (is_present, steps) = self.is_present(&name, by);
        if is_present {
            let more = self.answer(&Query::of(name.as_str()), by, now_ms, bytes);
            return Ok((true, steps + more));
        }
        self.begin_to_wait(session, call, name)?;
        Ok((false, steps))
    }

    /// Keeps a call that waits for a name, and tells whether it can be answered already.
    ///
    /// # Errors
    ///
    /// [`RegistryError::TooMany`], [`RegistryError::Quota`], [`RegistryError::CallInUse`].
    pub fn begin_wait(
        &mut self,
        session: SessionId,
        call: CallId,
        name: &Name,
        by: &Caller,
    ) -> Result<bool, RegistryError> {
        self.begin_to_wait(session, call, name.clone())?;
        Ok(self.is_present(name, by).0)
    }

    /// Answers one of a session's calls that wait for a name, and returns which. If the name has no
    /// instance any more, they continue to wait.
    pub fn answer_wait(
        &mut self,
        session: SessionId,
        name: &Name,
        by: &Caller,
        now_ms: u64,
        bytes: &mut BytesMut,
    ) -> Option<CallId> {
        let call = self.take_wait(session, name, by)?;
        self.answer(&Query::of(name.as_str()), by, now_ms, bytes);
        Some(call)
    }

    /// Ends one of a session's calls that wait for a name, to be answered, and returns which. If
    /// the name has no instance any more, they continue to wait.
    pub fn take_wait(&mut self, session: SessionId, name: &Name, by: &Caller) -> Option<CallId> {
        if !self.is_present(name, by).0 {
            self.waiters.line_up(session, name);
            return None;
        }
        let call = self.waiters.oldest(session, name)?;
        self.end_wait(session, call);
        Some(call)
    }

    /// Tells whether a name has an instance that answers a waiting call, and the steps that this
    /// took.
    fn is_present(&self, name: &Name, by: &Caller) -> (bool, usize) {
        let Some(instances) = self.by_name.get(name.as_str(), &self.entries) else {
            return (false, 0);
        };
        let meant = Selection::READY.seen(self.sees_of(instances, by));
        let mut steps = 0;
        let is_present = instances.newest_first(meant).any(|key| {
            steps += 1;
            let entry = &self.entries[key];
            entry.is_present() && meant.counts(entry) && !self.is_over(entry)
        });
        (is_present, steps)
    }

    /// Returns the part of a name's instances that a caller may see.
    fn sees_of(&self, instances: Instances<'_>, by: &Caller) -> Sees {
        instances.any().map_or(Sees::All, |it| self.sees(by, &self.entries[it]))
    }

    /// Returns a page of a caller's list of names, and its steps. With `few`, it has at most so many
    /// names: of more, the first in order and the last.
    pub fn names(&self, list: &List, by: &Caller, few: Option<usize>) -> (NamesPage, usize) {
        let (mut walk, mut next) = (Walk::after(list.after), None);
        let mut found = Found::new(few);
        let matcher = Matcher::new(&list.pattern);
        for (epoch, key) in self.by_epoch.after(list.after) {
            next = walk.ends_before(epoch);
            if next.is_some() {
                break;
            }
            let entry = &self.entries[key];
            // A hidden name is not matched against a caller's pattern.
            if self.is_over(entry) || !self.shows(by, entry) {
                walk.passes_over(epoch);
                continue;
            }
            let name = entry.name.as_str();
            walk.looks_at(epoch, matcher.steps(name));
            if matcher.matches(name) {
                found.add(name);
            }
        }
        let Walk { steps, .. } = walk;
        (NamesPage { next, names: found.into_names() }, steps)
    }

    /// Appends the encoded [`wire::registrar::Page`] of a caller's list, and returns its steps. A
    /// page ends after many names, whether they match or not.
    pub fn page(&self, list: &List, by: &Caller, now_ms: u64, bytes: &mut BytesMut) -> usize {
        let PageEntries { entries, next, steps } = self.listed(list, by);
        let records = entries.into_iter().map(Entry::folded);
        encode_page(bytes, self.revision, now_ms, next, records);
        steps
    }

    /// Returns the records that [`page`](Self::page) would append, and where the next page begins.
    pub fn page_of_records(&self, list: &List, by: &Caller) -> (Vec<Record>, Option<Epoch>) {
        let PageEntries { entries, next, .. } = self.listed(list, by);
        (entries.into_iter().map(Entry::record).collect(), next)
    }

    fn listed(&self, list: &List, by: &Caller) -> PageEntries<'_> {
        let mut entries: Vec<_> = self.own_for(list).into_iter().collect();
        let (mut walk, mut next, mut room) = (Walk::after(list.after), None, RECORDS_BYTES_MAX);
        let matcher = Matcher::new(&list.pattern);
        for (epoch, key) in self.by_epoch.after(list.after) {
            next = walk.ends_before(epoch);
            if next.is_some() {
                break;
            }
            let entry = &self.entries[key];
            if self.is_over(entry) || !self.shows(by, entry) {
                walk.passes_over(epoch);
                continue;
            }
            if entries.len() == RECORDS_MAX as usize || room == 0 {
                next = Some(walk.seen);
                break;
            }
            let name = entry.name.as_str();
            walk.looks_at(epoch, matcher.steps(name));
            if matcher.matches(name) {
                entries.push(entry);
                room = room.saturating_sub(entry.answer_bytes());
            }
        }
        let Walk { steps, .. } = walk;
        PageEntries { entries, next, steps }
    }
}

/// The entries of a page.
struct PageEntries<'a> {
    entries: Vec<&'a Entry>,
    next: Option<Epoch>,
    steps: usize,
}

/// The progress of a caller's page, oldest registration first.
///
/// The end of a page depends only on what the caller may see: on an entry that is shown to it, or
/// on the end of a whole block of epochs. And a hidden entry costs one step, whatever its name.
#[derive(Clone, Copy, Debug)]
struct Walk {
    /// The last epoch that it has reached.
    at: Epoch,
    /// The possible start of the next page.
    seen: Epoch,
    steps: usize,
}

impl Walk {
    fn after(epoch: Epoch) -> Self {
        Self { at: epoch, seen: epoch, steps: 0 }
    }

    /// Returns the start of the next page, if this one ends before an entry.
    fn ends_before(&mut self, epoch: Epoch) -> Option<Epoch> {
        if self.at / EPOCHS_A_BLOCK < epoch / EPOCHS_A_BLOCK && self.at > self.seen {
            self.seen = self.at / EPOCHS_A_BLOCK * EPOCHS_A_BLOCK + (EPOCHS_A_BLOCK - 1);
        }
        let is_hidden = self.at > self.seen;
        (self.steps >= STEPS_MAX && !is_hidden).then_some(self.seen)
    }

    fn looks_at(&mut self, epoch: Epoch, steps: usize) {
        (self.at, self.seen) = (epoch, epoch);
        self.steps += steps;
    }

    fn passes_over(&mut self, epoch: Epoch) {
        self.at = epoch;
        self.steps += 1;
    }
}

/// The number of registrations in a block at whose end a page may end among hidden ones. It bounds
/// how far a page continues beyond its steps.
const EPOCHS_A_BLOCK: Epoch = 1024;

/// The steps of a proof for an instance.
const PROOF_STEPS: usize = 40;
