//! The requirements of a registration.

use std::collections::BTreeMap;

use endpoints::Stamped;
use wire::{
    Lifetime, METADATA_BYTES_MAX, State,
    registrar::{ENDPOINTS_MAX, LEASE_MS_MAX, LEASE_MS_MIN, Register},
};

use super::{Caller, Entry, Registry, RegistryError, SessionId};

pub(super) fn check_lease(lease_ms: Option<u64>) -> Result<Lifetime, RegistryError> {
    match lease_ms {
        None => Ok(Lifetime::Session),
        Some(ttl_ms) if (LEASE_MS_MIN..=LEASE_MS_MAX).contains(&ttl_ms) => {
            Ok(Lifetime::Lease { ttl_ms })
        }
        Some(ttl_ms) => Err(RegistryError::LeaseLength { ttl_ms }),
    }
}

/// A registrar keeps only what it can act on.
pub(super) fn check_state(state: State) -> Result<(), RegistryError> {
    if state == State::Unknown { Err(RegistryError::UnknownState) } else { Ok(()) }
}

pub(super) fn check_endpoints(endpoints: &[Stamped]) -> Result<(), RegistryError> {
    if endpoints.len() > ENDPOINTS_MAX {
        return Err(RegistryError::TooManyEndpoints { count: endpoints.len() });
    }
    match endpoints.iter().find(|it| it.endpoint.is_bind_only()) {
        Some(it) => Err(RegistryError::BindOnly { endpoint: it.endpoint.clone() }),
        None => Ok(()),
    }
}

pub(super) fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<(), RegistryError> {
    let bytes = metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > METADATA_BYTES_MAX {
        return Err(RegistryError::TooMuchMetadata { bytes });
    }
    Ok(())
}

pub(super) fn deduplicate(endpoints: Vec<Stamped>) -> Vec<Stamped> {
    let is_repeated =
        |at: usize| endpoints[..at].iter().any(|it| it.endpoint == endpoints[at].endpoint);
    if !(1..endpoints.len()).any(is_repeated) {
        return endpoints;
    }
    let mut kept: Vec<Stamped> = Vec::with_capacity(endpoints.len());
    for stamped in endpoints {
        if !kept.iter().any(|it| it.endpoint == stamped.endpoint) {
            kept.push(stamped);
        }
    }
    kept
}

impl Registry {
    /// Checks that a registration may replace the earlier one of its instance.
    pub(super) fn check_replaces(
        &self,
        register: &Register,
        caller: &Caller,
        session: SessionId,
        earlier: &Entry,
    ) -> Result<(), RegistryError> {
        let (uuid, owner) = (register.uuid, caller.owner);
        if !self.shows(caller, earlier) {
            return Err(RegistryError::UuidTaken { uuid });
        }
        if uuid == self.registrar {
            return Err(RegistryError::IsRegistrar);
        }
        // To look whether both are of one program takes a hash, and is seldom needed.
        let is_of_one_program = || register.secret.is_some_and(|it| it.owns(uuid));
        if self.is_of_later_session(earlier, session) && is_of_one_program() {
            return Err(RegistryError::Superseded { uuid });
        }
        if !owner.may_change(earlier.registrant.owner) {
            let owners = earlier.registrant.owner;
            return Err(RegistryError::NotOwner { owner: owners, by: owner });
        }
        // Who may not change it anyway has nothing to mend.
        if earlier.name != register.name {
            return Err(RegistryError::OtherName { uuid });
        }
        Ok(())
    }
}
