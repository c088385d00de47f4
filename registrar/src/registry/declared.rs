//! The entries that the registrar's settings declare.
//!
//! Only the settings make, move and remove them: whoever else has registered something with such a
//! UUID, that is no declared entry, and gives way to one.

use endpoints::{Name, Stamped};
use uuid::Uuid;
use wire::{Lifetime, Record, RemovalReason, callbacks::LostCause};

use super::{Entry, Key, Outcome, Owner, Registrant, Registry};

impl Registry {
    /// Enters a declared actor, unless it is there. Anybody can work out its UUID beforehand: an
    /// instance of others with that UUID is removed, and none waits in line.
    pub fn declare(
        &mut self,
        name: Name,
        uuid: Uuid,
        endpoints: Vec<Stamped>,
        now_ms: u64,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        self.make_way(uuid, &mut outcome);
        if self.declared_key(uuid).is_some() {
            return outcome;
        }
        let record = Record {
            epoch: self.take_epoch(),
            endpoints,
            lifetime: Lifetime::Declared,
            since_ms: now_ms,
            owner: Some(Owner::Registrar.into()),
            ..Record::new(name, uuid)
        };
        let registrant = Registrant { owner: Owner::Registrar, session: None };
        let entry = Entry::new(&record, registrant, now_ms, &mut self.forms);
        self.leave_line_of(uuid, &mut outcome);
        if let Some(squatter) = self.by_uuid.get(uuid, &self.entries) {
            let is_told = self.may_tell(&self.entries[squatter], &entry);
            let by = is_told.then(|| Owner::Registrar.to_string());
            self.lose(squatter, LostCause::Replaced, None, by, &mut outcome);
            self.remove_all(&[squatter], RemovalReason::Unregistered, &mut outcome);
        }
        self.tombstones.remove(uuid);
        self.put(None, (entry, None), &record.endpoints, &mut outcome);
        outcome
    }

    /// Removes declared actors.
    pub fn undeclare(&mut self, uuids: &[Uuid]) -> Outcome {
        let keys: Vec<_> = uuids.iter().filter_map(|it| self.declared_key(*it)).collect();
        let mut outcome = Outcome::default();
        self.remove_many(&keys, RemovalReason::Unregistered, &mut outcome);
        outcome
    }

    /// Returns the record of a declared actor.
    pub fn declared(&self, uuid: Uuid) -> Option<Record> {
        self.declared_key(uuid).map(|it| self.entries[it].record())
    }

    /// Replaces the stamps of a declared actor, if its endpoints are still the same.
    pub fn restamp_declared(&mut self, uuid: Uuid, restamped: Vec<Stamped>) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(key) = self.declared_key(uuid) else { return outcome };
        let before = self.entries[key].record();
        let is_same = before
            .endpoints
            .iter()
            .map(|it| &it.endpoint)
            .eq(restamped.iter().map(|it| &it.endpoint));
        if is_same && before.endpoints != restamped {
            self.disclaim(key);
            self.claim(key, &restamped, &mut outcome);
            self.store(key, &Record { endpoints: restamped, ..before }, &mut outcome);
        }
        outcome
    }

    fn declared_key(&self, uuid: Uuid) -> Option<Key> {
        self.live(uuid).filter(|it| self.entries[*it].lifetime == Lifetime::Declared)
    }
}
