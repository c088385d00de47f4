//! Declared actors, from the settings: they never register themselves.

use std::mem;

use endpoints::{Endpoint, EndpointTable, Name, Stamped};
use uuid::Uuid;
use wire::registrar::Update;

use super::{RegistryHandle, RegistryState};
use crate::registry::{Event, Owner};

impl RegistryHandle {
    /// Enters the declared actors, stamped as this process sees them. Actors that are no longer
    /// declared are removed.
    pub(crate) fn declare(&self, declared: &EndpointTable) {
        let now_ms = self.now_ms();
        let mut state = self.state();
        let wanted: Vec<_> =
            declared.iter().map(|(name, it)| (name, it, declared_uuid(name, it))).collect();
        let mut uuids = mem::take(&mut state.declared_uuids);
        uuids.retain(|uuid| wanted.iter().all(|(.., it)| it != uuid));
        let gone = Event::UnregisterAll { uuids, by: Owner::Registrar };
        let removed = state.registry.apply(gone, now_ms).expect("the registrar may take out all");
        self.deliver(&mut state, removed);
        state.declared.clear();
        for (name, endpoints, uuid) in wanted {
            state.declared_uuids.push(uuid);
            if endpoints.iter().any(Endpoint::is_socket_file) {
                state.declared.insert(name.clone(), uuid);
            }
            if state.registry.record(uuid).is_some() {
                continue;
            }
            let stamped = endpoints.iter().map(stamped).collect();
            let outcome = state.registry.declare(name.clone(), uuid, stamped, now_ms);
            self.deliver(&mut state, outcome);
        }
    }

    /// Updates the stamps of a declared actor's socket files: they were bound by others, so they
    /// may have come and gone since.
    pub(super) fn refresh_declared(&self, state: &mut RegistryState, name: &str) {
        if state.declared.is_empty() {
            return;
        }
        let Some(uuid) = state.declared.get(name).copied() else { return };
        let Some(record) = state.registry.record(uuid) else { return };
        let restamped: Vec<_> = record.endpoints.iter().map(|it| stamped(&it.endpoint)).collect();
        if restamped == record.endpoints {
            return;
        }
        let update = Update { uuid, endpoints: Some(restamped), metadata: None, state: None };
        let event = Event::Update { update, by: Owner::Registrar };
        let updated = state.registry.apply(event, self.now_ms());
        self.deliver(state, updated.expect("the settings' endpoints were checked"));
    }

    /// Updates the stamps of every declared actor's socket files.
    pub(crate) fn refresh_all_declared(&self) {
        let mut state = self.state();
        let names: Vec<_> = state.declared.keys().cloned().collect();
        for name in names {
            self.refresh_declared(&mut state, name.as_str());
        }
    }
}

/// Derives the identity of a declared actor from its declaration, so that registrars with the same
/// settings mean the same instance.
fn declared_uuid(name: &Name, endpoints: &[Endpoint]) -> Uuid {
    let mut declared = name.to_string();
    for endpoint in endpoints {
        declared += &endpoint.to_string();
    }
    Uuid::new_v5(&DECLARED_NAMESPACE, declared.as_bytes())
}

/// The name space of declared actors' identities (RFC 9562, section 6.5): drawn once, at random.
const DECLARED_NAMESPACE: Uuid = Uuid::from_u128(0x6c1d_27f1_53ab_4d0e_9b1c_f29e_30c4_7a55);

fn stamped(endpoint: &Endpoint) -> Stamped {
    Stamped { endpoint: endpoint.clone(), stamp: transport::stamp(endpoint) }
}
