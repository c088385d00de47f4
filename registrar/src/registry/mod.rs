//! The book: who is registered, and what changes. It is pure: it holds no socket, reads no clock
//! and draws no number; events go in, changes come out.
//!
//! `now_ms` is the registrar's clock in milliseconds since 1970; it never goes back while the
//! registry lives.

mod claims;
mod keys;
mod log;
mod waiters;
mod watchers;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    iter,
};

use bytes::{Bytes, BytesMut};
use endpoints::{Endpoint, InstanceId, Name, Stamped};
use foldhash::{HashMap, HashMapExt as _};
use slab::Slab;
use thiserror::Error;
use uuid::Uuid;
use wire::{
    CallId, ErrorKind, Gone, Kept, METADATA_BYTES_MAX, Record, RemoteError, State, Suspicion,
    encode_body,
    registrar::{
        ENDPOINTS_MAX, LEASE_MS_MAX, LEASE_MS_MIN, List, RECORDS_MAX, Register, Registered, Seen,
        Update, encode_answer,
    },
};

pub use claims::Claim;
use claims::Claims;
use keys::Keys;
use log::Log;
use waiters::Waiters;
use watchers::Watchers;
pub use wire::{Epoch, Revision};

/// One live connection to the registrar.
pub type SessionId = usize;

/// Where an entry is kept.
type Key = usize;

/// Who is registered, who waits, who watches.
#[derive(Debug)]
pub struct Registry {
    registrar: Uuid,
    limits: Limits,
    revision: Revision,
    next_epoch: Epoch,
    entries: Slab<Entry>,
    by_uuid: HashMap<Uuid, Key>,
    /// The instances of each name.
    by_name: HashMap<Name, Keys>,
    by_epoch: BTreeMap<Epoch, Key>,
    claims: Claims,
    leases: BTreeSet<(u64, Key)>,
    sessions: Slab<HashSet<Key>>,
    waiters: Waiters,
    watchers: Watchers,
    log: Log,
}

/// How much a registry takes in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Instances in all. A million of them take up to a gigabyte.
    pub instances_max: usize,
    /// Instances of one session: a supervisor of a large tree registers for all of it.
    pub session_instances_max: usize,
    /// Calls of one session that wait for a name.
    pub session_waiters_max: usize,
    /// Watches of one session.
    pub session_watchers_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            instances_max: 4_000_000,
            session_instances_max: 262_144,
            session_waiters_max: 1024,
            session_watchers_max: 256,
        }
    }
}

/// Who may change what is registered: whoever registered it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Owner {
    /// The registrar's own settings, or a caller within its process.
    Registrar,
    /// A user of this host, vouched for by the kernel.
    User(u32),
    /// Whoever speaks from an address.
    Host(std::net::IpAddr),
}

impl Owner {
    fn may_change(self, other: Self) -> bool {
        self == other || matches!(self, Self::Registrar | Self::User(0))
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Registrar => f.write_str("the registrar's own settings"),
            Self::User(user) => write!(f, "user {user}"),
            Self::Host(address) => write!(f, "a program at {address}"),
        }
    }
}

#[derive(Debug)]
struct Entry {
    record: Record,
    /// The record as it goes into answers, so that an answer is made by copying bytes.
    encoded: Box<[u8]>,
    owner: Owner,
    /// `None` for leases and declared entries.
    session: Option<SessionId>,
    lease_until_ms: Option<u64>,
}

/// What happens to the registry.
#[derive(Debug)]
pub enum Event {
    /// A connection ended: what it kept is gone.
    SessionEnded(SessionId),
    /// Someone takes an instance out.
    Unregister {
        /// Which.
        uuid: Uuid,
        /// Who asks.
        by: Owner,
    },
    /// Someone renews a lease.
    Renew {
        /// Of which instance.
        uuid: Uuid,
        /// Who asks.
        by: Owner,
    },
    /// Someone changes what is registered.
    Update {
        /// What to change.
        update: Update,
        /// Who asks.
        by: Owner,
    },
    /// The registrar saw that nobody is at an endpoint any more.
    FoundDead(Claimant),
    /// An endpoint did not answer somebody, and the registrar could not see why.
    Suspect(Claimant),
    /// The registrar saw that somebody is at the endpoint.
    FoundAlive(Claimant),
    /// Time has passed.
    Tick,
}

/// One registration's claim to one endpoint.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Claimant {
    /// Which instance.
    pub uuid: Uuid,
    /// Which registration of it: a newer one is not meant.
    pub epoch: Epoch,
    /// What it claims.
    pub stamped: Stamped,
}

/// What came of an event.
#[derive(Debug, Default)]
#[must_use = "those who wait are to be told"]
pub struct Outcome {
    /// The answers to those who waited, in the order in which they asked.
    pub woken: Vec<Woken>,
    /// The sessions that have changes to read.
    pub stirred: BTreeSet<SessionId>,
    /// Older claims to an endpoint that a newer instance claims too: to be looked into.
    pub contested: Vec<Claimant>,
}

/// The answer to a call that waited.
#[derive(Clone, Debug)]
pub struct Woken {
    /// Whose call.
    pub session: SessionId,
    /// Which of its calls.
    pub call: CallId,
    /// An encoded [`wire::registrar::Answer`].
    pub answer: Bytes,
}

/// How many of each a registry has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Counts {
    /// Connections.
    pub sessions: usize,
    /// Instances.
    pub instances: usize,
    /// Calls that wait for a name.
    pub waiters: usize,
    /// Watches.
    pub watchers: usize,
}

impl Registry {
    /// Makes an empty registry. Epochs and revisions count on from `now_ms`, scaled so that they
    /// stay ahead of an earlier run's unless that had a million changes a second throughout.
    pub fn new(registrar: Uuid, limits: Limits, now_ms: u64) -> Self {
        let first = now_ms * 1000;
        Self {
            registrar,
            limits,
            revision: first,
            next_epoch: first,
            entries: Slab::new(),
            by_uuid: HashMap::new(),
            by_name: HashMap::new(),
            by_epoch: BTreeMap::new(),
            claims: Claims::default(),
            leases: BTreeSet::new(),
            sessions: Slab::new(),
            waiters: Waiters::default(),
            watchers: Watchers::default(),
            log: Log::new(first),
        }
    }

    /// Returns the number of the latest change.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Returns how many of each there are.
    pub fn counts(&self) -> Counts {
        Counts {
            sessions: self.sessions.len(),
            instances: self.entries.len(),
            waiters: self.waiters.len(),
            watchers: self.watchers.len(),
        }
    }

    /// Returns when [`Event::Tick`] is due next.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.leases.first().map(|(deadline_ms, _)| *deadline_ms)
    }

    /// Takes note of a new connection.
    pub fn open_session(&mut self) -> SessionId {
        self.sessions.insert(HashSet::new())
    }

    /// Registers an instance for a session, or by lease.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]; nothing is changed then.
    pub fn register(
        &mut self,
        register: Register,
        owner: Owner,
        session: SessionId,
        now_ms: u64,
    ) -> Result<(Registered, Outcome), RegistryError> {
        check_endpoints(&register.endpoints)?;
        check_metadata(&register.metadata)?;
        let kept = match register.lease_ms {
            None => Kept::Session,
            Some(ttl_ms) if (LEASE_MS_MIN..=LEASE_MS_MAX).contains(&ttl_ms) => {
                Kept::Lease { ttl_ms }
            }
            Some(ttl_ms) => return Err(RegistryError::LeaseLength { ttl_ms }),
        };
        let earlier = self.by_uuid.get(&register.uuid).copied();
        match earlier.map(|key| &self.entries[key]) {
            Some(earlier) if earlier.record.name != register.name => {
                return Err(RegistryError::OtherName { uuid: register.uuid });
            }
            Some(earlier) if !owner.may_change(earlier.owner) => {
                return Err(RegistryError::NotOwner { owner: earlier.owner, by: owner });
            }
            Some(_) => {}
            None => self.check_room(session, kept)?,
        }

        let epoch = self.take_epoch();
        let record = Record {
            name: register.name,
            uuid: register.uuid,
            epoch,
            endpoints: deduplicate(register.endpoints),
            metadata: register.metadata,
            state: register.state,
            kept,
            since_ms: now_ms,
            suspicion: None,
        };
        let session = (kept == Kept::Session).then_some(session);
        let outcome = self.put(earlier, record, owner, session, now_ms);
        Ok((Registered { epoch, revision: self.revision }, outcome))
    }

    /// Enters what the registrar's settings declare of an actor, before anything is registered.
    pub fn declare(
        &mut self,
        name: Name,
        uuid: Uuid,
        endpoints: Vec<Stamped>,
        now_ms: u64,
    ) -> Outcome {
        let record = Record {
            name,
            uuid,
            epoch: self.take_epoch(),
            endpoints,
            metadata: BTreeMap::new(),
            state: State::Ready,
            kept: Kept::Declared,
            since_ms: now_ms,
            suspicion: None,
        };
        self.put(None, record, Owner::Registrar, None, now_ms)
    }

    /// Applies an event.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]; nothing is changed then.
    pub fn apply(&mut self, event: Event, now_ms: u64) -> Result<Outcome, RegistryError> {
        let mut outcome = Outcome::default();
        match event {
            Event::SessionEnded(session) => {
                self.waiters.end_session(session);
                self.watchers.end_session(session);
                let mut keys: Vec<_> = self.sessions.remove(session).into_iter().collect();
                keys.sort_by_key(|key| self.entries[*key].record.epoch);
                self.remove_all(&keys, Gone::SessionEnded, &mut outcome);
            }
            Event::Unregister { uuid, by } => {
                let key = self.owned(uuid, by)?;
                self.remove_all(&[key], Gone::Unregistered, &mut outcome);
            }
            Event::Renew { uuid, by } => {
                let key = self.owned(uuid, by)?;
                self.renew(key, now_ms)?;
            }
            Event::Update { update, by } => {
                let key = self.owned(update.uuid, by)?;
                self.update(key, update, now_ms, &mut outcome)?;
            }
            Event::FoundDead(claimant) => self.found_dead(&claimant, now_ms, &mut outcome),
            Event::Suspect(claimant) => self.suspect(&claimant, now_ms, &mut outcome),
            Event::FoundAlive(claimant) => {
                if let Some(key) = self.claiming(&claimant)
                    && self.entries[key].record.suspicion.is_some()
                {
                    self.entries[key].record.suspicion = None;
                    self.changed(key, now_ms, &mut outcome);
                }
            }
            Event::Tick => {
                let mut expired = Vec::new();
                while let Some((deadline_ms, key)) = self.leases.first().copied()
                    && deadline_ms <= now_ms
                {
                    self.leases.pop_first();
                    expired.push(key);
                }
                self.remove_all(&expired, Gone::LeaseExpired, &mut outcome);
            }
        }
        Ok(outcome)
    }

    /// Appends the encoded [`wire::registrar::Answer`] to a query.
    pub fn answer(&self, name: &str, all: bool, now_ms: u64, bytes: &mut BytesMut) {
        let wanted = |key: &Key| all || self.entries[*key].record.state == State::Ready;
        let encoded = |key: Key| &*self.entries[key].encoded;
        let Some(keys) = self.by_name.get(name) else {
            return encode_answer(bytes, self.revision, now_ms, 0, iter::empty());
        };
        let total = keys.len() as u64;
        if let Some(only) = keys.only() {
            // By far the most names have one instance, and need no list.
            let found = Some(only).filter(wanted).map(encoded);
            return encode_answer(bytes, self.revision, now_ms, total, found.into_iter());
        }
        // What is declared was entered before anything else, so it comes last.
        let found = keys.newest_first().filter(wanted).map(encoded);
        let found: Vec<_> = found.take(RECORDS_MAX as usize).collect();
        encode_answer(bytes, self.revision, now_ms, total, found.into_iter());
    }

    /// Answers a call that waits for a name at once, or keeps it until it can.
    ///
    /// # Errors
    ///
    /// [`RegistryError::TooMany`].
    pub fn wait(
        &mut self,
        session: SessionId,
        call: CallId,
        name: Name,
        now_ms: u64,
        bytes: &mut BytesMut,
    ) -> Result<bool, RegistryError> {
        let mut keys = self.by_name.get(&name).into_iter().flat_map(Keys::newest_first);
        if keys.any(|key| is_present(&self.entries[key].record)) {
            self.answer(name.as_str(), false, now_ms, bytes);
            return Ok(true);
        }
        let limit = self.limits.session_waiters_max;
        if !self.waiters.insert(session, call, name, limit) {
            return Err(RegistryError::TooMany { what: "waiting calls of one session", limit });
        }
        Ok(false)
    }

    /// Returns one page of a list. `next` is given when there is more.
    pub fn list(&self, list: &List) -> (Vec<&Record>, Option<Epoch>) {
        let mut records = Vec::new();
        let mut after = list.after;
        for (at, (epoch, key)) in self.by_epoch.range(list.after.saturating_add(1)..).enumerate() {
            if records.len() == RECORDS_MAX as usize || at == SCAN_MAX {
                return (records, Some(after));
            }
            after = *epoch;
            let record = &self.entries[*key].record;
            if list.pattern.matches(record.name.as_str()) {
                records.push(record);
            }
        }
        (records, None)
    }

    /// Begins a watch. Returns whether it goes on where the watcher left off.
    ///
    /// # Errors
    ///
    /// [`RegistryError::TooMany`].
    pub fn watch(
        &mut self,
        session: SessionId,
        call: CallId,
        pattern: endpoints::NamePattern,
        seen: Option<Seen>,
    ) -> Result<bool, RegistryError> {
        let missed = seen
            .filter(|it| it.registrar == self.registrar)
            .and_then(|it| self.log.since(it.revision));
        let resumed = missed.is_some();
        let limit = self.limits.session_watchers_max;
        if !self.watchers.insert(session, call, pattern, missed, limit) {
            return Err(RegistryError::TooMany { what: "watches of one session", limit });
        }
        Ok(resumed)
    }

    /// Takes note that a watcher allows so many more items.
    pub fn credit(&mut self, session: SessionId, call: CallId, items: u32) {
        self.watchers.credit(session, call, items);
    }

    /// Ends a call that waits or watches.
    pub fn cancel(&mut self, session: SessionId, call: CallId) {
        self.waiters.remove(session, call);
        self.watchers.remove(session, call);
    }

    /// Hands what the watches of a session have to say to `send`, as far as their credit goes and
    /// `send` wants more. Returns whether there is more to say that credit allows.
    pub fn read_watches(
        &mut self,
        session: SessionId,
        send: &mut dyn FnMut(CallId, &[u8]) -> bool,
    ) -> bool {
        let Self { watchers, entries, by_name, by_epoch, revision, .. } = self;
        let source = watchers::Source { entries, by_name, by_epoch, revision: *revision };
        watchers.read(session, &source, send)
    }

    /// Returns the claim of an instance to an endpoint, if that registration still makes it.
    pub fn claimant(&self, uuid: Uuid, epoch: Epoch, endpoint: &Endpoint) -> Option<Claimant> {
        let record = &self.entries[*self.by_uuid.get(&uuid)?].record;
        let stamped = record.endpoints.iter().find(|it| it.endpoint == *endpoint)?;
        (record.epoch == epoch).then(|| Claimant { uuid, epoch, stamped: stamped.clone() })
    }

    /// Returns the record of an instance.
    pub fn record(&self, uuid: Uuid) -> Option<&Record> {
        self.by_uuid.get(&uuid).map(|key| &self.entries[*key].record)
    }

    fn put(
        &mut self,
        earlier: Option<Key>,
        record: Record,
        owner: Owner,
        session: Option<SessionId>,
        now_ms: u64,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let earlier_epoch = earlier.map(|key| self.detach(key));
        let lease_until_ms = match record.kept {
            Kept::Lease { ttl_ms } => Some(now_ms + ttl_ms),
            Kept::Session | Kept::Declared => None,
        };
        let encoded = encode_body(&record).into();
        let entry = Entry { record, encoded, owner, session, lease_until_ms };
        let key = match earlier {
            Some(key) => {
                self.entries[key] = entry;
                key
            }
            None => self.entries.insert(entry),
        };
        self.attach(key, &mut outcome);
        self.revision += 1;
        let known = earlier_epoch.unwrap_or(Epoch::MAX);
        self.tell(key, known, now_ms, &mut outcome);
        outcome
    }

    /// Enters an entry into every index.
    fn attach(&mut self, key: Key, outcome: &mut Outcome) {
        let Entry { record, session, lease_until_ms, .. } = &self.entries[key];
        self.by_uuid.insert(record.uuid, key);
        self.by_name.entry(record.name.clone()).or_default().insert(record.epoch, key);
        self.by_epoch.insert(record.epoch, key);
        if let Some(session) = session {
            self.sessions[*session].insert(key);
        }
        if let Some(deadline_ms) = lease_until_ms {
            self.leases.insert((*deadline_ms, key));
        }
        self.claim(key, outcome);
    }

    /// Takes an entry out of every index, and returns its epoch.
    fn detach(&mut self, key: Key) -> Epoch {
        let Entry { record, session, lease_until_ms, .. } = &self.entries[key];
        self.by_uuid.remove(&record.uuid);
        if let Some(keys) = self.by_name.get_mut(&record.name) {
            keys.remove(record.epoch);
            if keys.len() == 0 {
                self.by_name.remove(&record.name);
            }
        }
        self.by_epoch.remove(&record.epoch);
        if let Some(session) = session
            && let Some(keys) = self.sessions.get_mut(*session)
        {
            keys.remove(&key);
        }
        if let Some(deadline_ms) = lease_until_ms {
            self.leases.remove(&(*deadline_ms, key));
        }
        for stamped in &record.endpoints {
            self.claims.remove(stamped, record.epoch);
        }
        record.epoch
    }

    /// Enters what an entry claims, and notes the older claims to the same.
    fn claim(&mut self, key: Key, outcome: &mut Outcome) {
        let Record { epoch, endpoints, .. } = &self.entries[key].record;
        for stamped in endpoints {
            for older in self.claims.insert(stamped, *epoch, key) {
                let record = &self.entries[older].record;
                if record.kept == Kept::Declared {
                    continue;
                }
                let same = |it: &&Stamped| Claim::of(it) == Claim::of(stamped);
                if let Some(stamped) = record.endpoints.iter().find(same) {
                    let (uuid, epoch) = (record.uuid, record.epoch);
                    outcome.contested.push(Claimant { uuid, epoch, stamped: stamped.clone() });
                }
            }
        }
    }

    /// Removes entries in one change.
    fn remove_all(&mut self, keys: &[Key], gone: Gone, outcome: &mut Outcome) {
        if keys.is_empty() {
            return;
        }
        self.revision += 1;
        for key in keys {
            self.detach(*key);
            let Record { name, uuid, epoch, .. } = self.entries.remove(*key).record;
            let logged = self.log.removed(InstanceId { name, uuid }, epoch, gone, self.revision);
            self.watchers.tell(&logged, epoch, &mut outcome.stirred);
        }
    }

    fn renew(&mut self, key: Key, now_ms: u64) -> Result<(), RegistryError> {
        let entry = &mut self.entries[key];
        let Kept::Lease { ttl_ms } = entry.record.kept else {
            return Err(RegistryError::NoLease { instance: entry.record.instance() });
        };
        if let Some(deadline_ms) = entry.lease_until_ms.replace(now_ms + ttl_ms) {
            self.leases.remove(&(deadline_ms, key));
        }
        self.leases.insert((now_ms + ttl_ms, key));
        Ok(())
    }

    fn update(
        &mut self,
        key: Key,
        update: Update,
        now_ms: u64,
        outcome: &mut Outcome,
    ) -> Result<(), RegistryError> {
        let Update { uuid: _, endpoints, metadata, state } = update;
        endpoints.as_deref().map_or(Ok(()), check_endpoints)?;
        metadata.as_ref().map_or(Ok(()), check_metadata)?;
        let endpoints = endpoints.map(deduplicate);

        let before = self.entries[key].record.clone();
        let record = &mut self.entries[key].record;
        record.metadata = metadata.unwrap_or_else(|| before.metadata.clone());
        record.state = state.unwrap_or(before.state);
        record.endpoints = endpoints.unwrap_or_else(|| before.endpoints.clone());
        if *record == before {
            return Ok(());
        }
        if self.entries[key].record.endpoints != before.endpoints {
            for stamped in &before.endpoints {
                self.claims.remove(stamped, before.epoch);
            }
            self.claim(key, outcome);
        }
        self.changed(key, now_ms, outcome);
        Ok(())
    }

    /// Takes a dead endpoint from an instance; one that nothing keeps goes with its last.
    fn found_dead(&mut self, claimant: &Claimant, now_ms: u64, outcome: &mut Outcome) {
        let Some(key) = self.claiming(claimant) else { return };
        let record = &mut self.entries[key].record;
        if record.kept == Kept::Declared {
            return self.suspect(claimant, now_ms, outcome);
        }
        if record.endpoints.len() == 1 && record.kept != Kept::Session {
            return self.remove_all(&[key], Gone::FoundDead, outcome);
        }
        record.endpoints.retain(|it| *it != claimant.stamped);
        self.claims.remove(&claimant.stamped, claimant.epoch);
        self.changed(key, now_ms, outcome);
    }

    fn suspect(&mut self, claimant: &Claimant, now_ms: u64, outcome: &mut Outcome) {
        let Some(key) = self.claiming(claimant) else { return };
        let suspicion = &mut self.entries[key].record.suspicion;
        let before = suspicion.unwrap_or(Suspicion { reports: 0, since_ms: now_ms });
        *suspicion = Some(Suspicion { reports: before.reports.saturating_add(1), ..before });
        self.changed(key, now_ms, outcome);
    }

    /// Makes a change to a record known.
    fn changed(&mut self, key: Key, now_ms: u64, outcome: &mut Outcome) {
        self.revision += 1;
        let entry = &mut self.entries[key];
        entry.encoded = encode_body(&entry.record).into();
        let epoch = entry.record.epoch;
        self.tell(key, epoch, now_ms, outcome);
    }

    /// Tells those who watch or wait for the name. `known` is the epoch by which watchers know
    /// the record, if they do.
    fn tell(&mut self, key: Key, known: Epoch, now_ms: u64, outcome: &mut Outcome) {
        let record = &self.entries[key].record;
        let is_new = known == Epoch::MAX;
        let logged = self.log.put(record, is_new, self.revision);
        let known = if is_new { record.epoch } else { known };
        self.watchers.tell(&logged, known, &mut outcome.stirred);
        if is_present(record) && self.waiters.is_awaited(&record.name) {
            let mut answer = BytesMut::new();
            self.answer(record.name.as_str(), false, now_ms, &mut answer);
            let answer = answer.freeze();
            for (session, call) in self.waiters.take(&self.entries[key].record.name) {
                outcome.woken.push(Woken { session, call, answer: answer.clone() });
            }
        }
    }

    fn owned(&self, uuid: Uuid, by: Owner) -> Result<Key, RegistryError> {
        let key = *self.by_uuid.get(&uuid).ok_or(RegistryError::NotFound { uuid })?;
        let owner = self.entries[key].owner;
        if !by.may_change(owner) {
            return Err(RegistryError::NotOwner { owner, by });
        }
        Ok(key)
    }

    fn claiming(&self, claimant: &Claimant) -> Option<Key> {
        let key = *self.by_uuid.get(&claimant.uuid)?;
        let record = &self.entries[key].record;
        let claims = record.epoch == claimant.epoch && record.endpoints.contains(&claimant.stamped);
        claims.then_some(key)
    }

    fn check_room(&self, session: SessionId, kept: Kept) -> Result<(), RegistryError> {
        let limit = self.limits.instances_max;
        if self.entries.len() >= limit {
            return Err(RegistryError::TooMany { what: "instances", limit });
        }
        let limit = self.limits.session_instances_max;
        if kept == Kept::Session && self.sessions[session].len() >= limit {
            return Err(RegistryError::TooMany { what: "instances of one session", limit });
        }
        Ok(())
    }

    fn take_epoch(&mut self) -> Epoch {
        self.next_epoch += 1;
        self.next_epoch
    }
}

/// Why a registry does not do what it is asked.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant's message says what it is")]
pub enum RegistryError {
    #[error("no instance {uuid} is registered")]
    NotFound { uuid: Uuid },
    #[error("the instance was registered by {owner}, and {by} may not change it")]
    NotOwner { owner: Owner, by: Owner },
    #[error("the instance {uuid} is registered under another name")]
    OtherName { uuid: Uuid },
    #[error("{instance} has no lease to renew")]
    NoLease { instance: InstanceId },
    #[error("a lease lasts {LEASE_MS_MIN} to {LEASE_MS_MAX} ms, and {ttl_ms} ms were asked for")]
    LeaseLength { ttl_ms: u64 },
    #[error("an instance has at most {ENDPOINTS_MAX} endpoints, and {count} were given")]
    TooManyEndpoints { count: usize },
    #[error("`{endpoint}` can be bound, not dialed; register the address that others reach")]
    BindOnly { endpoint: Endpoint },
    #[error(
        "an instance has at most {METADATA_BYTES_MAX} bytes of metadata, and {bytes} were given"
    )]
    TooMuchMetadata { bytes: usize },
    #[error("too many {what}: at most {limit}")]
    TooMany { what: &'static str, limit: usize },
}

impl From<RegistryError> for RemoteError {
    fn from(error: RegistryError) -> Self {
        use RegistryError as E;

        let kind = match &error {
            E::NotFound { .. } => ErrorKind::NotFound,
            E::NotOwner { .. } => ErrorKind::Denied,
            E::OtherName { .. }
            | E::NoLease { .. }
            | E::LeaseLength { .. }
            | E::BindOnly { .. } => ErrorKind::Invalid,
            E::TooManyEndpoints { .. } | E::TooMuchMetadata { .. } | E::TooMany { .. } => {
                ErrorKind::LimitReached
            }
        };
        Self::new(kind, error.to_string())
    }
}

/// Tells whether a record answers those who wait: its actor is ready, and has said so itself.
fn is_present(record: &Record) -> bool {
    record.state == State::Ready && record.kept != Kept::Declared
}

fn check_endpoints(endpoints: &[Stamped]) -> Result<(), RegistryError> {
    if endpoints.len() > ENDPOINTS_MAX {
        return Err(RegistryError::TooManyEndpoints { count: endpoints.len() });
    }
    match endpoints.iter().find(|it| it.endpoint.is_bind_only()) {
        Some(it) => Err(RegistryError::BindOnly { endpoint: it.endpoint.clone() }),
        None => Ok(()),
    }
}

fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<(), RegistryError> {
    let bytes = metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > METADATA_BYTES_MAX {
        return Err(RegistryError::TooMuchMetadata { bytes });
    }
    Ok(())
}

fn deduplicate(endpoints: Vec<Stamped>) -> Vec<Stamped> {
    let mut kept: Vec<Stamped> = Vec::with_capacity(endpoints.len());
    for stamped in endpoints {
        if !kept.iter().any(|it| it.endpoint == stamped.endpoint) {
            kept.push(stamped);
        }
    }
    kept
}

/// How many entries one call goes through before others get their turn: about a millisecond.
const SCAN_MAX: usize = 20_000;
