//! Registrations of the registrar's own process, without a connection.

use std::sync::Arc;

use endpoints::Stamped;
use tokio::sync::mpsc;
use uuid::Uuid;
use wire::{
    RemoteError, State,
    callbacks::Lost,
    registrar::{Register, Registered, Update},
};

use crate::{
    RegistryHandle,
    registry::{Caller, Event, Owner, SessionId},
    session_handle::SessionHandle,
};

/// Registrations of the registrar's own process, without a connection. It counts as a session of
/// that process: when it is dropped, its registrations are gone.
///
/// It never waits. When a method returns, the change is made, and visible to all.
///
/// The registrar makes no calls to it: everything registered here is wanted, because an owner that
/// no longer wants an entry removes it.
///
/// ```
/// # use callsign_registrar as callsign;
/// # use std::collections::BTreeMap;
/// # use uuid::Uuid;
/// use callsign::{RegistryHandle, LocalClient, registry::{Limits, Owner}};
/// use wire::{State, registrar::Register};
///
/// let registry = RegistryHandle::unattended(Limits::default());
/// let local_client = LocalClient::open(registry.clone(), Owner::Registrar);
/// local_client.register(Register {
///     proves: true,
///     ..Register::new("feed".parse()?, Uuid::new_v4())
/// })?;
/// assert_eq!(registry.status().instances, 1);
/// drop(local_client);
/// assert_eq!(registry.status().instances, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LocalClient {
    registry: RegistryHandle,
    id: SessionId,
    owner: Owner,
    losses: Option<mpsc::Receiver<Lost>>,
}

impl LocalClient {
    /// Opens a session. Its registrations may be changed by all that may change those of `owner`.
    pub fn open(registry: RegistryHandle, owner: Owner) -> Self {
        let (handle, losses) = SessionHandle::local_client();
        let id = registry.open_session(Arc::new(handle), &owner.into());
        Self { registry, id, owner, losses: Some(losses) }
    }

    /// Returns, once, a receiver of this session's losses by another's doing.
    pub fn take_losses(&mut self) -> Option<mpsc::Receiver<Lost>> {
        self.losses.take()
    }

    /// Returns which registrar it is.
    pub fn registrar(&self) -> Uuid {
        self.registry.registrar()
    }

    /// Registers an instance, and returns the key of its proof of identity.
    ///
    /// # Errors
    ///
    /// That of the registry; nothing has changed then.
    pub fn register(&self, register: Register) -> Result<Registered, RemoteError> {
        let caller = Caller { is_trusted: true, ..self.owner.into() };
        self.registry.register(register, &caller, self.id).0
    }

    /// Says how far an instance is in its life.
    ///
    /// # Errors
    ///
    /// That of the registry; nothing has changed then.
    pub fn set_state(&self, uuid: Uuid, state: State) -> Result<(), RemoteError> {
        let update = Update { uuid, endpoints: None, metadata: None, state: Some(state) };
        self.registry.update(update, &self.owner.into(), self.id).map(|_| ())
    }

    /// Replaces where an instance listens.
    ///
    /// # Errors
    ///
    /// That of the registry; nothing has changed then.
    pub fn update_endpoints(&self, uuid: Uuid, endpoints: Vec<Stamped>) -> Result<(), RemoteError> {
        let update = Update { uuid, endpoints: Some(endpoints), metadata: None, state: None };
        self.registry.update(update, &self.owner.into(), self.id).map(|_| ())
    }

    /// Removes instances from the registry, those that are in it, in one change.
    ///
    /// # Errors
    ///
    /// That of the registry; nothing has changed then.
    pub fn unregister_all(&self, uuids: Vec<Uuid>) -> Result<(), RemoteError> {
        let event = Event::UnregisterAll { uuids: uuids.clone(), by: self.owner };
        self.registry.unregister(event, &uuids, &self.owner.into(), self.id).map(|_| ())
    }
}

impl Drop for LocalClient {
    fn drop(&mut self) {
        self.registry.close_session(self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use endpoints::{Endpoint, Name};
    use tokio::{
        task::JoinSet,
        time::{sleep, timeout},
    };
    use tokio_util::sync::CancellationToken;
    use transport::{Listener, root};
    use wire::registrar::Evidence;

    use super::*;
    use crate::{
        Node, NodeOptions,
        callbacks::{Answer, vouch},
        registry::{Claimant, Limits},
    };

    fn register(uuid: Uuid, endpoints: Vec<Stamped>) -> Register {
        Register { endpoints, proves: true, ..Register::new(Name::new("feed").unwrap(), uuid) }
    }

    #[test]
    fn entries_of_a_local_client_appear_at_once_and_end_with_it() {
        let registry = RegistryHandle::unattended(Limits::default());
        let local_client = LocalClient::open(registry.clone(), Owner::User(7));
        let [one, other, third] = [1, 2, 3].map(Uuid::from_u128);
        for uuid in [one, other, third] {
            let registered = local_client.register(register(uuid, Vec::new())).unwrap();
            assert_eq!(registered.key, Some(registry.proof_key(uuid, registered.epoch)));
        }
        assert_eq!(registry.record(one).unwrap().user(), Some(7));
        local_client.set_state(one, State::Draining).unwrap();
        assert_eq!(registry.record(one).unwrap().state, State::Draining);

        let before = registry.status().revision;
        local_client.unregister_all(vec![one, other]).unwrap();
        assert_eq!(registry.status().revision, before + 1, "in one change");
        assert_eq!(registry.status().instances, 1);
        drop(local_client);
        assert_eq!((registry.status().instances, registry.status().sessions), (0, 0));
    }

    #[tokio::test]
    async fn reports_are_judged_without_asking_the_registrant() {
        let node = Node::bind(&[Endpoint::Memory(0)], NodeOptions::default()).await.unwrap();
        let (registry, stop) = (node.registry().clone(), CancellationToken::new());
        let mut serving = JoinSet::new();
        serving.spawn(node.serve(stop.clone()));
        let local_client = LocalClient::open(registry.clone(), Owner::Registrar);

        let folder = tempfile::tempdir().unwrap();
        let place = format!("/unix{}/feed.sock", folder.path().display()).parse().unwrap();
        let listener = Listener::bind(&place).await.unwrap();
        let mut stamped = listener.published().remove(0);
        assert_eq!(stamped.stamp.root, root());
        // As if it were unknown whether the path means the same file to both.
        stamped.stamp.root = None;
        let uuid = Uuid::from_u128(1);
        let registered = local_client.register(register(uuid, vec![stamped.clone()])).unwrap();
        let claimant = Claimant { uuid, epoch: registered.epoch, stamped };
        assert_eq!(vouch(&claimant), Answer::Confirmed);

        drop(listener);
        assert_eq!(vouch(&claimant), Answer::Disowned);
        registry.report(uuid, registered.epoch, &place, Evidence::Refused, Owner::Registrar);
        let gone = async {
            while registry.record(uuid).is_some_and(|it| !it.endpoints.is_empty()) {
                sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(Duration::from_secs(30), gone).await.unwrap();
        stop.cancel();
        serving.join_all().await;
    }
}
