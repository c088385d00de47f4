//! Additions, updates and removals of entries, and their notifications.

use endpoints::{Name, Stamped};
use wire::{Epoch, Lifetime, Record, RemovalReason, registrar::Update};

use super::{
    Entry, Key, Outcome, Registry, RegistryError, Woken,
    checks::{check_endpoints, check_metadata, check_state, deduplicate},
    log::{Removal, Removed},
};

impl Registry {
    /// Enters an instance, which may have its name alone by a token.
    pub(super) fn put(
        &mut self,
        earlier: Option<Key>,
        (entry, token): (Entry, Option<u64>),
        endpoints: &[Stamped],
        outcome: &mut Outcome,
    ) {
        match earlier {
            Some(_) => self.totals.replaced += 1,
            None => self.totals.registered += 1,
        }
        // Those that watch what is registered here have to know that it no longer is.
        let is_remote = earlier.is_none_or(|it| self.entries[it].is_remote()) && entry.is_remote();
        let (key, known) = match earlier {
            Some(key) => (key, Some(self.reattach(key, entry, endpoints, outcome))),
            None => {
                let key = self.entries.insert(entry);
                self.attach(key, endpoints, outcome);
                (key, None)
            }
        };
        let account = self.entries[key].registrant.owner.account();
        self.tokens.note(key, token.map(|it| (it, account)));
        if token.is_some() {
            self.tokens.taken(&self.entries[key].name);
        }
        self.revision += 1;
        self.tell_as(key, known, is_remote, outcome);
    }

    /// Removes entries in one change.
    pub(super) fn remove_all(
        &mut self,
        keys: &[Key],
        reason: RemovalReason,
        outcome: &mut Outcome,
    ) {
        if keys.is_empty() {
            return;
        }
        self.revision += 1;
        let change = Removal { reason, revision: self.revision, end: None, is_logged: true };
        for key in keys {
            self.remove(*key, change, outcome);
        }
        self.shrink();
    }

    /// Removes an entry, as a part of a change.
    pub(super) fn remove(&mut self, key: Key, removal: Removal, outcome: &mut Outcome) {
        let visibility = self.logged_visibility(key);
        let epoch = self.detach(key);
        let entry = self.entries.remove(key);
        let (instance, is_remote) = (entry.instance(), entry.is_remote());
        self.totals.note_removal(removal.reason);
        let lost = removal.reason != RemovalReason::Unregistered;
        if let Some(token) = self.tokens.of(key) {
            self.decisions.release(&instance.name, token);
        }
        self.tokens.forget(key, &instance.name, lost);
        self.lines.freed(&instance.name);
        self.left_name(&instance.name);
        if removal.is_logged && self.log.is_wanted(removal.revision, self.watchers.len() > 0) {
            self.log.removed(Removed { instance, epoch, visibility, is_remote }, removal);
            self.watchers.tell(&self.log, &mut outcome.notified);
        }
    }

    pub(super) fn renew(&mut self, key: Key, now_ms: u64) -> Result<(), RegistryError> {
        let entry = &mut self.entries[key];
        let Lifetime::Lease { ttl_ms } = entry.lifetime else {
            return Err(RegistryError::NoLease { instance: entry.instance() });
        };
        if let Some(deadline_ms) = entry.lease_until_ms.replace(now_ms + ttl_ms) {
            self.leases.remove(&(deadline_ms, key));
        }
        self.leases.insert((now_ms + ttl_ms, key));
        self.totals.renewed += 1;
        Ok(())
    }

    pub(super) fn update(
        &mut self,
        key: Key,
        update: Update,
        outcome: &mut Outcome,
    ) -> Result<(), RegistryError> {
        let Update { uuid: _, endpoints, metadata, state } = update;
        endpoints.as_deref().map_or(Ok(()), check_endpoints)?;
        metadata.as_ref().map_or(Ok(()), check_metadata)?;
        state.map_or(Ok(()), check_state)?;

        let before = self.entries[key].record();
        let mut record = before.clone();
        record.endpoints = endpoints.map_or(record.endpoints, deduplicate);
        record.metadata = metadata.unwrap_or(record.metadata);
        record.state = state.unwrap_or(record.state);
        if record == before {
            return Ok(());
        }
        let changed = Entry::new(&record, self.entries[key].registrant, 0, &mut self.forms);
        self.check_quotas(&changed, record.endpoints.len(), Some(key))?;
        if record.endpoints != before.endpoints {
            self.disclaim(key);
            self.claim(key, &record.endpoints, outcome);
        }
        self.store(key, &record, outcome);
        Ok(())
    }

    /// Replaces the record of an instance.
    fn enter(&mut self, key: Key, record: &Record) {
        let state = self.entries[key].state;
        self.entries[key].store(record, &mut self.forms);
        let entry = &self.entries[key];
        if entry.state != state
            && let Some(crowd) = self.by_name.crowd_mut(entry.name.as_str(), &self.entries)
        {
            crowd.insert(key, entry);
        }
    }

    /// Makes a change to a record, and makes it known.
    pub(super) fn store(&mut self, key: Key, record: &Record, outcome: &mut Outcome) {
        self.revision += 1;
        self.enter(key, record);
        self.recharge_entry(key);
        self.tell(key, Some(record.epoch), outcome);
    }

    /// Notifies watchers of and waiters for the name. `known` is the epoch under which watchers
    /// know the instance, if they do.
    pub(super) fn tell(&mut self, key: Key, known: Option<Epoch>, outcome: &mut Outcome) {
        self.tell_as(key, known, self.entries[key].is_remote(), outcome);
    }

    fn tell_as(&mut self, key: Key, known: Option<Epoch>, is_remote: bool, outcome: &mut Outcome) {
        let is_wanted = self.log.is_wanted(self.revision, self.watchers.len() > 0);
        let entry = &self.entries[key];
        if is_wanted {
            let visibility = self.logged_visibility(key);
            self.log.put(entry, known, (visibility, is_remote), self.revision);
            self.watchers.tell(&self.log, &mut outcome.notified);
        }
        if entry.is_present() && self.waiters.len() > 0 {
            let name = entry.name.clone();
            self.wake(name, outcome);
        }
    }

    /// Notifies waiters for a name to look whether it is there.
    pub(super) fn wake(&mut self, name: Name, outcome: &mut Outcome) {
        let woken = self.waiters.take_sessions(&name).into_iter();
        outcome.woken.extend(woken.map(|session| Woken { session, name: name.clone() }));
    }
}
