//! The registrar's own entry.
//!
//! A query for its name returns it, after all other instances of the name. It is nobody's
//! registration: it counts for no limit, lists and watches of patterns leave it out, and nobody
//! removes or changes it.

use endpoints::{InstanceId, Name, Stamped};
use wire::{Record, registrar::List};

use super::{Entry, Owner, Registrant, Registry};

impl Registry {
    /// Enters the registrar itself, before anything is registered.
    pub fn enter_own(&mut self, name: Name, mut endpoints: Vec<Stamped>, user: u32, now_ms: u64) {
        endpoints.truncate(InstanceId::ENDPOINTS_MAX);
        let record = Record {
            epoch: self.take_epoch(),
            endpoints,
            since_ms: now_ms,
            owner: Some(wire::Owner::User(user)),
            ..Record::new(name, self.registrar)
        };
        let registrant = Registrant { owner: Owner::User(user), session: None };
        let entry = Entry::new(&record, registrant, now_ms, &mut self.forms);
        let key = self.entries.insert(entry);
        self.by_uuid.insert(key, &self.entries);
        self.by_name.insert(key, &self.entries);
        self.own = Some(key);
    }

    /// Updates the registrar's own endpoints.
    pub fn move_own(&mut self, mut endpoints: Vec<Stamped>) {
        endpoints.truncate(InstanceId::ENDPOINTS_MAX);
        let Some(key) = self.own else { return };
        let record = Record { endpoints, ..self.entries[key].record() };
        self.entries[key].store(&record, &mut self.forms);
    }

    /// Returns where the registrar itself is found.
    pub fn own_endpoints(&self) -> Vec<Stamped> {
        self.own.map(|it| self.entries[it].record().endpoints).unwrap_or_default()
    }

    /// Returns the registrar itself, if the first page of a list asks for its name.
    pub(super) fn own_for(&self, list: &List) -> Option<&Entry> {
        let own = &self.entries[self.own?];
        (list.after == 0 && list.pattern.as_str() == own.name.as_str()).then_some(own)
    }
}
