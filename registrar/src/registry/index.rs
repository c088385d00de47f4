//! The indexes of the registry: every entry is in each of them, or in none.

use std::mem;

use smallvec::SmallVec;

use endpoints::{InstanceId, Stamped};
use wire::{Epoch, Lifetime, registrar::ALSO_MAX};

use super::{Contested, Entry, Key, Outcome, Owner, Registry, Unfolded, shards::SHARDS};

impl Registry {
    /// Enters an entry into every index.
    pub(super) fn attach(&mut self, key: Key, endpoints: &[Stamped], outcome: &mut Outcome) {
        let entry = &self.entries[key];
        let Entry { epoch, lease_until_ms, lifetime, .. } = entry;
        if *lifetime == Lifetime::Foreign {
            self.foreign.add(entry.registrant.owner.account());
        }
        self.by_uuid.insert(key, &self.entries);
        self.by_name.insert(key, &self.entries);
        self.by_epoch.insert(*epoch, key);
        if let Some(session) = entry.keeper() {
            self.sessions[session].keys.insert(*epoch, key);
        }
        if let Some(deadline_ms) = lease_until_ms {
            self.leases.insert((*deadline_ms, key));
        }
        self.claim(key, endpoints, outcome);
        self.charge_entry(key);
    }

    /// Takes an entry out of every index, and returns its epoch.
    pub(super) fn detach(&mut self, key: Key) -> Epoch {
        if self.entries[key].charged == 0 {
            self.accounts.note_freed(self.entries[key].held_bytes());
        }
        self.give_back_entry(key);
        let entry = &self.entries[key];
        let Entry { epoch, lease_until_ms, lifetime, .. } = entry;
        if *lifetime == Lifetime::Foreign {
            self.foreign.take_out(entry.registrant.owner.account());
        }
        self.by_uuid.remove(key, &self.entries);
        self.by_name.remove(key, &self.entries);
        self.by_epoch.remove(*epoch);
        if let Some(session) = entry.keeper()
            && let Some(own) = self.sessions.get_mut(session)
        {
            own.keys.remove(*epoch);
        }
        if let Some(deadline_ms) = lease_until_ms {
            self.leases.remove(&(*deadline_ms, key));
        }
        for hash in &entry.claimed {
            self.claims.remove(*hash, (*epoch, key));
        }
        *epoch
    }

    /// Replaces an entry by another of the same instance, in every index, and returns its former
    /// epoch. Whatever stays as it is is left where it is: programs register themselves again when
    /// nothing has changed.
    pub(super) fn reattach(
        &mut self,
        key: Key,
        mut new: Entry,
        endpoints: &[Stamped],
        outcome: &mut Outcome,
    ) -> Epoch {
        let old = &self.entries[key];
        let is_alike = old.registrant == new.registrant
            && old.lifetime == new.lifetime
            && old.is_remote() == new.is_remote()
            && old.lease_until_ms.is_none()
            && new.lease_until_ms.is_none()
            && !old.is_gone;
        let is_same = |(stamped, hash): (&Stamped, &u64)| self.claims.hash(stamped) == *hash;
        let claims_the_same =
            old.claimed.len() == endpoints.len() && endpoints.iter().zip(&old.claimed).all(is_same);
        if !is_alike || !claims_the_same {
            let before = self.detach(key);
            self.entries[key] = new;
            self.attach(key, endpoints, outcome);
            return before;
        }
        let (before, epoch) = (old.epoch, new.epoch);
        new.charged = old.charged;
        if let Some(crowd) = self.by_name.crowd_mut(new.name.as_str(), &self.entries) {
            new.shares.set(true);
            crowd.remove(old);
            crowd.insert(key, &new);
        }
        new.claimed = mem::take(&mut self.entries[key].claimed);
        self.entries[key] = new;
        self.by_epoch.remove(before);
        self.by_epoch.insert(epoch, key);
        if let Some(session) = self.entries[key].keeper() {
            let keys = &mut self.sessions[session].keys;
            keys.remove(before);
            keys.insert(epoch, key);
        }
        for (at, stamped) in endpoints.iter().enumerate() {
            let hash = self.entries[key].claimed[at];
            let entries = &self.entries;
            let others = self.claims.renew(hash, before, (epoch, key), |it| entries[it].epoch);
            entries[key].shares.set(entries[key].shares.get() || !others.is_empty());
            self.contest(key, stamped, others, outcome);
        }
        self.recharge_entry(key);
        before
    }

    /// Takes an entry out of the index of claims.
    pub(super) fn disclaim(&mut self, key: Key) {
        let Entry { epoch, claimed, .. } = &mut self.entries[key];
        for hash in mem::take(claimed) {
            self.claims.remove(hash, (*epoch, key));
        }
    }

    /// Enters the claims of an entry, and returns the older claims to the same endpoints that they
    /// contest. Their records are not read for that: the check finds out whether a claim still
    /// stands. A claim does not contest another owner's, or anybody could have that actor checked
    /// at a moment when it does not listen; root's claims do.
    pub(super) fn claim(&mut self, key: Key, endpoints: &[Stamped], outcome: &mut Outcome) {
        let epoch = self.entries[key].epoch;
        let hashes: SmallVec<[u64; 2]> = endpoints.iter().map(|it| self.claims.hash(it)).collect();
        for (stamped, hash) in endpoints.iter().zip(&hashes) {
            let entries = &self.entries;
            let older = self.claims.insert(*hash, (epoch, key), |it| entries[it].epoch);
            if !older.is_empty() {
                older.iter().chain([&key]).for_each(|it| entries[*it].shares.set(true));
            }
            self.contest(key, stamped, older, outcome);
        }
        self.entries[key].claimed = hashes;
    }

    fn contest(&self, key: Key, stamped: &Stamped, older: Vec<Key>, outcome: &mut Outcome) {
        let by = self.entries[key].registrant.owner;
        for older in older {
            let Entry { lifetime, uuid, epoch, registrant, .. } = &self.entries[older];
            if by.may_change(registrant.owner) && *lifetime != Lifetime::Declared {
                let endpoint = stamped.endpoint.clone();
                let (uuid, epoch) = (*uuid, *epoch);
                outcome.contested.push(Contested { uuid, epoch, endpoint, by });
            }
        }
    }

    /// Returns the other instances of the same owner whose places this registration has claimed
    /// again.
    pub(super) fn also(&self, owner: Owner, outcome: &Outcome) -> Vec<InstanceId> {
        let mut also: Vec<InstanceId> = Vec::new();
        for Contested { uuid, .. } in &outcome.contested {
            let Some(entry) = self.live(*uuid).map(|it| &self.entries[it]) else { continue };
            let is_new = !also.iter().any(|it| it.uuid == *uuid);
            if entry.registrant.owner == owner && is_new && also.len() < ALSO_MAX {
                also.push(entry.instance());
            }
        }
        also
    }

    /// Lets every lease last longer.
    pub(super) fn prolong_all(&mut self, by_ms: u64) {
        let leases = mem::take(&mut self.leases);
        let prolonged = leases.into_iter().map(|(deadline_ms, key)| (deadline_ms + by_ms, key));
        self.leases = prolonged.collect();
        for (deadline_ms, key) in &self.leases {
            self.entries[*key].lease_until_ms = Some(*deadline_ms);
        }
    }

    /// Requests that the room of a crowd that has left is freed, in parts.
    pub(super) fn shrink(&mut self) {
        if self.by_uuid.has_much_room() {
            self.deferred.begin_to_shrink();
        }
    }

    /// Frees a part of it. Returns the part still to be freed.
    pub(super) fn shrink_some(&mut self, at: usize) -> Option<usize> {
        if at == SHARDS {
            self.has_shrunk = true;
            return None;
        }
        self.by_uuid.shrink(at, &self.entries);
        self.by_name.shrink(at, &self.entries);
        self.claims.shrink(at);
        Some(at + 1)
    }
}

impl Registry {
    /// Frees all room of owners that have left, before memory is returned to the system; some of it
    /// in parts. Recent changes are forgotten if nobody watches, because they lie scattered among
    /// the freed memory.
    pub fn forget_the_gone(&mut self) {
        if self.watchers.len() == 0 {
            self.log.forget();
        }
        self.forms.shrink();
        self.unfolded = Unfolded::default();
        self.waiters.shrink();
        self.watchers.shrink();
        self.sessions.shrink_to_fit();
        self.shrink();
    }
}
