//! The registry: registered instances, and changes. It is pure: it holds no socket, reads no clock
//! and draws no number; events go in, changes come out.
//!
//! `now_ms` is the registrar's clock in milliseconds since 1970; it never goes back while the
//! registry lives.

mod accounting;
mod again;
mod ahead;
mod answers;
mod apply;
mod changes;
mod checks;
mod chunks;
mod claims;
mod decided;
mod declared;
mod deferred;
mod entry;
mod error;
mod event;
mod few;
mod foreign;
mod forms;
mod holders;
mod index;
mod instances;
mod keys;
mod lines;
mod log;
mod lost;
mod names;
mod own;
mod owner;
mod prefixes;
mod remote;
mod review;
mod sessions;
mod shards;
mod suspicion;
mod timeline;
mod tokens;
mod tombstones;
mod totals;
mod unfolded;
mod uuids;
mod visibility;
mod waiters;
mod watchers;

use std::{collections::BTreeSet, mem};

use endpoints::{Endpoint, Name};
use slab::Slab;
use uuid::Uuid;
use wire::{
    CallId, Lifetime, Quota, Record, RemovalReason,
    callbacks::{Lost, LostCause},
    registrar::{Register, Registered, Seen},
};

pub(crate) use ahead::AHEAD;
use checks::{check_endpoints, check_lease, check_metadata, check_state, deduplicate};
use chunks::{Entries, Key};
pub use claims::Claim;
use claims::Claims;
use decided::Decisions;
pub use decided::{Decision, NameRequest};
use deferred::Deferred;
use entry::{Entry, Registrant};
pub use error::RegistryError;
pub use event::{
    Claimant, Contested, Counts, Entered, Event, Granted, Limits, Outcome, Suspected, Woken,
};
pub use foreign::Foreign;
use foreign::ForeignCounts;
use forms::Forms;
pub use holders::Holder;
use holders::{NameClaim, Turn};
use instances::ByName;
use lines::Lines;
use log::Log;
pub use names::{Grantee, NameRule, NameRules, Names, UNNAMED_ROOT};
pub use owner::{Account, Caller, Certified, Owner};
use remote::Homes;
pub use remote::{HomeNode, Remote, Stride};
use timeline::Timeline;
pub use tokens::Former;
#[cfg(test)]
pub(crate) use tokens::TokenChange;
pub(crate) use tokens::TokenChanges;
use tokens::Tokens;
use tombstones::Tombstones;
pub use totals::Totals;
use unfolded::Unfolded;
use uuids::Uuids;
use waiters::Waiters;
use watchers::Watchers;
pub use wire::{Epoch, Revision};

use crate::accounts::Accounts;

/// A live connection to the registrar.
pub type SessionId = usize;

/// The registered instances, the waiters and the watchers.
#[derive(Debug)]
pub struct Registry {
    registrar: Uuid,
    limits: Limits,
    /// The use of each owner.
    accounts: Accounts,
    revision: Revision,
    next_epoch: Epoch,
    entries: Entries,
    forms: Forms,
    /// Records that are looked up often.
    unfolded: Unfolded,
    by_uuid: Uuids,
    /// The instances of each name.
    by_name: ByName,
    by_epoch: Timeline,
    claims: Claims,
    /// When leases run out, and when who was dismissed should be back.
    leases: BTreeSet<(u64, Key)>,
    sessions: Slab<sessions::SessionContents>,
    sessions_opened: u64,
    waiters: Waiters,
    /// The waiters for exclusive names.
    lines: Lines,
    /// Until when those may be back who had names before another registrar took the place of this.
    settles_at_ms: Option<u64>,
    /// Which of all numbers it issues.
    stride: Stride,
    /// The other nodes of the cluster, by number.
    homes: Homes,
    /// Lower than all numbers that this registrar issues.
    first_epoch: Epoch,
    /// Who has exclusive names, if a cluster decides that.
    decisions: Decisions,
    /// By which tokens names are had.
    tokens: Tokens,
    watchers: Watchers,
    log: Log,
    deferred: Deferred,
    tombstones: Tombstones,
    /// The number of foreign instances, in total and of each owner.
    foreign: ForeignCounts,
    /// The entry of the registrar itself, which is only in `by_uuid` and `by_name`.
    own: Option<Key>,
    /// The rules of names.
    rules: NameRules,
    /// The number of times that they have been set.
    rules_set: u32,
    totals: Totals,
    has_shrunk: bool,
    is_stopping: bool,
}

impl Registry {
    /// Makes an empty registry. Epochs and revisions count on from `now_ms`, scaled so that they
    /// stay ahead of an earlier run's unless that had a million changes a second throughout.
    ///
    /// Its contents are charged to their owners' `accounts`.
    pub fn new(registrar: Uuid, limits: Limits, accounts: Accounts, now_ms: u64) -> Self {
        let first = now_ms * 1000;
        Self {
            registrar,
            limits,
            accounts,
            revision: first,
            next_epoch: first,
            stride: Stride::default(),
            homes: Homes::default(),
            entries: Entries::default(),
            forms: Forms::default(),
            unfolded: Unfolded::default(),
            by_uuid: Uuids::default(),
            by_name: ByName::default(),
            by_epoch: Timeline::default(),
            claims: Claims::default(),
            leases: BTreeSet::new(),
            sessions: Slab::new(),
            sessions_opened: 0,
            waiters: Waiters::default(),
            lines: Lines::default(),
            settles_at_ms: None,
            first_epoch: first,
            decisions: Decisions::default(),
            tokens: Tokens::default(),
            watchers: Watchers::default(),
            log: Log::new(first),
            deferred: Deferred::default(),
            tombstones: Tombstones::default(),
            foreign: ForeignCounts::default(),
            own: None,
            rules: NameRules::default(),
            rules_set: 1,
            totals: Totals::default(),
            has_shrunk: false,
            is_stopping: false,
        }
    }

    /// Returns the number of the latest change.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Returns how many of each there are.
    pub fn counts(&self) -> Counts {
        Counts {
            sessions: self.sessions.len() - self.deferred.sessions_over(),
            instances: self.by_epoch.len() - self.deferred.instances_over(),
            waiters: self.waiters.len(),
            watchers: self.watchers.len(),
            in_line: self.lines.len(),
        }
    }

    /// Returns when [`Event::Tick`] is due next.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        let lease = self.leases.first().map(|(deadline_ms, _)| *deadline_ms);
        let settled = self.settles_at_ms.filter(|_| self.lines.len() > 0);
        lease.into_iter().chain(settled).chain(self.lines.next_deadline_ms()).min()
    }

    /// Records a new connection, and the account that it is charged to.
    pub fn open_session(&mut self, account: Account) -> SessionId {
        self.sessions_opened += 1;
        self.sessions.insert(sessions::SessionContents::new(account, self.sessions_opened))
    }

    /// Records that the peer of a session can be [asked](Outcome::asked) for a sign of life. Only
    /// one that gives it then gets the name that it waits in line for.
    pub fn can_be_asked(&mut self, session: SessionId) {
        if let Some(own) = self.sessions.get_mut(session) {
            own.is_answerable = true;
        }
    }

    /// Records the caller of a session, for what it may be told of others.
    pub fn introduce(&mut self, session: SessionId, caller: Caller) {
        if let Some(own) = self.sessions.get_mut(session) {
            own.caller = Some(caller);
        }
    }

    /// Registers an instance for a session, or by lease.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]; nothing is changed then.
    pub fn register(
        &mut self,
        register: Register,
        caller: impl Into<Caller>,
        session: SessionId,
        now_ms: u64,
    ) -> Result<(Registered, Outcome), RegistryError> {
        self.register_for(register, &caller.into(), session, now_ms)
    }

    /// Registers an instance as [`register`](Self::register) does.
    fn register_for(
        &mut self,
        register: Register,
        caller: &Caller,
        session: SessionId,
        now_ms: u64,
    ) -> Result<(Registered, Outcome), RegistryError> {
        let is_settling = self.is_settling(now_ms);
        let returns = self.comes_back(&register, caller.owner).filter(|_| is_settling);
        let turn = match returns {
            Some(_) => Turn::ComesBack,
            None if is_settling && register.wait => Turn::WaitsForOthers,
            None => self.turn(now_ms),
        };
        let shown = returns.or_else(|| self.kept_since(&register, caller.owner));
        let entered = self.register_as(register, caller, session, (turn, shown), now_ms)?;
        if let Some(token) = returns {
            self.tokens.spend(token);
        }
        Ok(entered)
    }

    /// Registers an instance when it may be its turn, by the token that it has shown to be its own.
    fn register_as(
        &mut self,
        register: Register,
        caller: &Caller,
        session: SessionId,
        (turn, shown): (Turn, Option<u64>),
        now_ms: u64,
    ) -> Result<(Registered, Outcome), RegistryError> {
        let owner = caller.owner;
        check_endpoints(&register.endpoints)?;
        check_metadata(&register.metadata)?;
        check_state(register.state)?;
        let lifetime = check_lease(register.lease_ms)?;
        let taken_out =
            register.again.and_then(|it| self.tombstones.of(register.uuid, it, owner.account()));
        if let Some(lost) = taken_out.filter(|_| self.live(register.uuid).is_none()) {
            let (epoch, revision) = (lost.epoch, self.revision);
            let lost = Some(Box::new(lost));
            let also = Vec::new();
            let (key, token, resume) = (None, None, None);
            let registered = Registered { epoch, revision, key, token, resume, lost, also };
            return Ok((registered, Outcome::default()));
        }
        let earlier = self.live(register.uuid);
        let gone = self.gone(register.uuid);
        // Nobody else can know what its UUID is made of.
        let is_proved =
            |it: Owner| owner != it && register.secret.is_some_and(|it| it.owns(register.uuid));
        let squatter = earlier.filter(|key| {
            let entry = &self.entries[*key];
            entry.uuid != self.registrar && is_proved(entry.registrant.owner)
        });
        let earlier = earlier.filter(|_| squatter.is_none());
        let known = earlier.map(|key| &self.entries[key]);
        known.map_or(Ok(()), |it| self.check_replaces(&register, caller, session, it))?;
        match known {
            // It comes from another node.
            Some(known) if known.is_remote() => self.check_room(session, lifetime, None)?,
            Some(_) => {}
            None => self.check_room(session, lifetime, gone)?,
        }
        let waits = self.lines.waiting(register.uuid);
        if let Some((name, waits)) =
            waits.filter(|(_, it)| !owner.may_change(*it) && !is_proved(*it))
        {
            return Err(if self.rules.may_find(caller, name.as_str()) {
                RegistryError::NotOwner { owner: waits, by: owner }
            } else {
                RegistryError::UuidTaken { uuid: register.uuid }
            });
        }
        let claim = NameClaim { caller, earlier, yields: squatter, turn };
        let is_exclusive = self.check_name(&register.name, &claim)?;
        let decided = self.decided(is_exclusive, (&register.name, register.uuid), earlier)?;

        let epoch = self.next_epoch();
        let waiting = self.waiting_told(&register.name, register.uuid, owner);
        let record = Record {
            name: register.name,
            uuid: register.uuid,
            epoch,
            endpoints: deduplicate(register.endpoints),
            metadata: register.metadata,
            state: register.state,
            lifetime,
            since_ms: now_ms,
            suspicion: None,
            proves: register.proves,
            owner: Some(owner.into()),
            token: decided.or_else(|| self.token(is_exclusive, earlier, shown, epoch)),
            waiting,
            node: None,
        };
        let (token, registrant) = (record.token, Registrant { owner, session: Some(session) });
        let mut entry = Entry::new(&record, registrant, now_ms, &mut self.forms);
        entry.has_key &= caller.is_private;
        let former = earlier.or(squatter);
        self.check_quotas(&entry, record.endpoints.len(), former.or(gone))?;

        // Nothing refuses it from here on.
        self.next_epoch = epoch;
        let mut outcome = Outcome::default();
        self.make_way(record.uuid, &mut outcome);
        self.tombstones.remove(record.uuid);
        self.decisions.taken(&record.name);
        // It may wait yet by an earlier connection.
        self.leave_line_of(record.uuid, &mut outcome);
        if let Some(key) = former.filter(|it| self.entries[*it].registrant.session != Some(session))
        {
            let by = self.may_tell(&self.entries[key], &entry).then(|| owner.to_string());
            self.lose(key, LostCause::Replaced, None, by, &mut outcome);
        }
        if let Some(key) = squatter {
            self.remove_all(&[key], RemovalReason::Unregistered, &mut outcome);
        }
        self.put(earlier, (entry, token), &record.endpoints, &mut outcome);
        let resume = self.tokens.shown((&record.name, record.uuid), owner, token);
        let (revision, also) = (self.revision, self.also(owner, &outcome));
        let (key, lost) = (None, None);
        Ok((Registered { epoch, revision, key, token, resume, lost, also }, outcome))
    }

    /// Begins a watch. Tells whether it resumes at the watcher's position.
    ///
    /// # Errors
    ///
    /// [`RegistryError::TooMany`], [`RegistryError::CallInUse`].
    pub fn watch(
        &mut self,
        session: SessionId,
        call: CallId,
        pattern: endpoints::NamePattern,
        seen: Option<Seen>,
    ) -> Result<bool, RegistryError> {
        let missed = seen
            .filter(|it| it.registrar == self.registrar && !self.deferred.is_clearing())
            .and_then(|it| self.log.since(it.revision));
        self.begin_watch((session, call), &pattern, missed, false)?;
        Ok(missed.is_some())
    }

    /// Begins a watch of what is registered here: the records of other nodes of a cluster are passed
    /// over unseen.
    ///
    /// # Errors
    ///
    /// [`RegistryError::TooMany`], [`RegistryError::CallInUse`].
    pub fn watch_own(&mut self, session: SessionId, call: CallId) -> Result<(), RegistryError> {
        self.begin_watch((session, call), &endpoints::NamePattern::any(), None, true)
    }

    fn begin_watch(
        &mut self,
        (session, call): (SessionId, CallId),
        pattern: &endpoints::NamePattern,
        missed: Option<log::Position>,
        is_of_own: bool,
    ) -> Result<(), RegistryError> {
        self.log.note_watch();
        let begun = watchers::WatchStart { is_of_own, missed, ends: self.deferred.ends() };
        let (limit, account) = (self.limits.session_watchers_max, self.account(session));
        let charge = |bytes| {
            let what = [(Quota::Watches, 1), (Quota::Bytes, bytes)];
            Ok(self.accounts.charge(account, &what)?)
        };
        self.watchers.insert(session, call, pattern, begun, limit, charge)
    }

    /// Records further credit from a watcher.
    pub fn credit(&mut self, session: SessionId, call: CallId, items: u32) {
        self.watchers.credit(session, call, items);
    }

    /// Ends a call that waits or watches.
    pub fn cancel(&mut self, session: SessionId, call: CallId) {
        self.end_wait(session, call);
        let ended = self.watchers.remove(session, call);
        self.give_back(session, Quota::Watches, ended.map_or((0, 0), |bytes| (1, bytes)));
    }

    /// Hands what the watches of a session have to say to `send`, as far as its caller may see it,
    /// their credit goes and `send` wants more, in one turn. Returns whether there is more to say
    /// that credit allows, and how many steps it took.
    pub fn read_watches(
        &mut self,
        session: SessionId,
        caller: &Caller,
        send: &mut dyn FnMut(CallId, &[u8]) -> bool,
    ) -> (bool, usize) {
        let account = self.account(session);
        let room_bytes = self.accounts.room(account, Quota::Bytes);
        let ahead_before = self.watchers.ahead_bytes(session);
        let mut watchers = mem::take(&mut self.watchers);
        let is_hidden = |entry: &Entry| self.is_over(entry) || !self.shows(caller, entry);
        let shows =
            |logged: &log::Logged| logged.visibility.is_none_or(|it| it.is_of(caller, &self.rules));
        let source = watchers::Source {
            entries: &self.entries,
            by_name: &self.by_name,
            by_epoch: &self.by_epoch,
            log: &self.log,
            revision: self.revision,
            ends: self.deferred.ends(),
            is_hidden: &is_hidden,
            shows: &shows,
        };
        let mut left = STEPS_MAX;
        let has_more = watchers.read(session, &source, &mut left, room_bytes, send);
        self.watchers = watchers;
        let ahead = self.watchers.ahead_bytes(session);
        if ahead != ahead_before {
            self.charge_change(account, ahead_before, ahead);
        }
        (has_more, STEPS_MAX - left)
    }

    /// Returns the claim of an instance to an endpoint, if that registration still makes it.
    pub fn claimant(&self, uuid: Uuid, epoch: Epoch, endpoint: &Endpoint) -> Option<Claimant> {
        let record = self.record(uuid).filter(|it| it.epoch == epoch && it.node.is_none())?;
        let stamped = record.endpoints.into_iter().find(|it| it.endpoint == *endpoint)?;
        Some(Claimant { uuid, epoch, stamped })
    }

    /// Tells whether much memory was freed since the last such question.
    pub fn take_has_shrunk(&mut self) -> bool {
        mem::take(&mut self.has_shrunk)
    }

    /// Returns the record of an instance.
    pub fn record(&self, uuid: Uuid) -> Option<Record> {
        self.live(uuid).map(|key| self.entries[key].record())
    }

    /// Tells whether an instance has a key with which it proves its identity.
    pub(crate) fn has_key(&self, uuid: Uuid) -> bool {
        self.live(uuid).is_some_and(|key| self.entries[key].has_key)
    }

    /// Returns the record of an instance, if the caller may see it.
    pub fn record_for(&self, uuid: Uuid, by: &Caller) -> Option<Record> {
        let entry = &self.entries[self.live(uuid)?];
        self.shows(by, entry).then(|| entry.record())
    }

    /// Returns what an instance is called.
    pub fn name(&self, uuid: Uuid) -> Option<&Name> {
        self.live(uuid).map(|key| &self.entries[key].name)
    }

    /// Returns the owner of an instance.
    pub fn owner(&self, uuid: Uuid) -> Option<Owner> {
        self.live(uuid).map(|key| self.entries[key].registrant.owner)
    }

    /// Returns the session over which an instance was registered. For a lease, it may have ended
    /// since, and another one of the same owner may have its number.
    pub fn registrant(&self, uuid: Uuid) -> Option<SessionId> {
        self.session_of(&self.entries[self.live(uuid)?])
    }

    /// Returns the session over which an entry was registered, unless another owner has its number
    /// by now.
    fn session_of(&self, entry: &Entry) -> Option<SessionId> {
        let Registrant { owner, session } = entry.registrant;
        let caller = self.sessions.get(session?)?.caller.as_ref();
        session.filter(|_| caller.is_none_or(|it| it.owner == owner))
    }

    /// Tells whether the registrant of an entry may be told of another one.
    fn may_tell(&self, entry: &Entry, other: &Entry) -> bool {
        let session = self.session_of(entry).and_then(|it| self.sessions.get(it));
        match session.and_then(|it| it.caller.as_ref()) {
            Some(caller) => self.shows(caller, other),
            None => !self.rules.hides(),
        }
    }

    /// Returns the entry of an instance, unless the session is over that kept it.
    fn live(&self, uuid: Uuid) -> Option<Key> {
        self.by_uuid.get(uuid, &self.entries).filter(|key| !self.is_over(&self.entries[*key]))
    }

    /// Records a loss for the session that registered an instance.
    fn lose(
        &self,
        key: Key,
        cause: LostCause,
        endpoint: Option<&Endpoint>,
        by: Option<String>,
        outcome: &mut Outcome,
    ) {
        let entry = &self.entries[key];
        let (uuid, epoch, endpoint) = (entry.uuid, entry.epoch, endpoint.cloned());
        if let Some(session) = self.session_of(entry) {
            let lost = Lost { uuid, epoch, cause, endpoint, by };
            let owner = entry.registrant.owner;
            outcome.lost.entry(session).or_insert((owner, Vec::new())).1.push(lost);
        }
    }

    /// Tells whether there is room for an instance, in the place of one that is gone.
    fn check_room(
        &self,
        session: SessionId,
        lifetime: Lifetime,
        gone: Option<Key>,
    ) -> Result<(), RegistryError> {
        let limit = self.limits.instances_max;
        if self.by_epoch.len() - usize::from(gone.is_some()) >= limit {
            return Err(RegistryError::TooMany { what: "instances", limit });
        }
        let limit = self.limits.session_instances_max;
        if lifetime == Lifetime::Session && self.sessions[session].keys.len() >= limit {
            return Err(RegistryError::TooMany { what: "instances of one session", limit });
        }
        Ok(())
    }

    /// Returns the epoch of the next registration.
    fn next_epoch(&self) -> Epoch {
        self.stride.after(self.next_epoch)
    }

    fn take_epoch(&mut self) -> Epoch {
        self.next_epoch = self.next_epoch();
        self.next_epoch
    }
}

/// The steps of one call before others run. A step is to look at an entry, or to match some
/// characters of a pattern: all of them are some tenths of a millisecond.
const STEPS_MAX: usize = 4096;
