//! Registration and removal of actors: up the tree, to the root.
//!
//! Children hold no session with a registrar. A child's registration goes to its parent, and on to
//! the root, whose one client registers the whole tree. So a parent that sees an actor die can
//! remove it from the registry, with everything below it.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
};

use discovery::{Client, Losses, Lost, RegisterError, Registered, Registration};
use endpoints::Endpoint;
use portal::{CallError, Key, Portal, Request, WithCauses};
use registrar::LocalClient;
use tokio::{runtime::Handle, sync::watch, task::JoinSet};
use uuid::Uuid;
use wire::{ErrorKind, RemoteError, registrar::Register};

use super::routes::Routes;
use crate::messages::{
    Keys, Loss, REGISTER, RELOCATE, RegisterRequest, RelocateRequest, UNREGISTER, UnregisterRequest,
};

/// The way in which an actor registers its children.
#[derive(Clone, Debug)]
pub(crate) enum Uplink {
    /// With the root's own client.
    Root(Arc<TreeRegistry>),
    /// Through the parent, in another process.
    Parent(Portal),
    /// Through the parent, in this process.
    Within(Arc<dyn Parent>),
}

/// A parent within this process, with which its child registers.
pub(crate) trait Parent: fmt::Debug + Send + Sync {
    /// Registers an instance that is the child, or below it.
    fn register<'a>(&'a self, request: &'a RegisterRequest) -> Answer<'a>;

    /// Takes instances below the child out of the registry.
    fn unregister(&self, uuids: Vec<Uuid>) -> Answer<'_>;

    /// Records the present endpoints of an instance, and passes them on.
    fn relocate<'a>(&'a self, request: &'a RelocateRequest) -> Answer<'a>;

    /// Tells whether the registrar is within this process.
    fn is_near(&self) -> bool;
}

/// The answer of a parent.
pub(crate) type Answer<'a> = Pin<Box<dyn Future<Output = Result<(), RemoteError>> + Send + 'a>>;

impl Uplink {
    /// Registers an actor, or changes its state if it is registered already.
    pub(crate) async fn register(&self, request: &RegisterRequest) -> Result<(), RemoteError> {
        match self {
            Self::Root(registry) => registry.register(request).await,
            Self::Parent(parent) => {
                parent.call(Request::new(REGISTER, request)).await.map_err(relayed)
            }
            Self::Within(parent) => parent.register(request).await,
        }
    }

    /// Removes actors from the registry, those that are in it.
    pub(crate) async fn unregister(&self, uuids: Vec<Uuid>) -> Result<(), RemoteError> {
        match self {
            Self::Root(registry) => registry.unregister(uuids).await,
            Self::Parent(parent) => parent
                .call(Request::new(UNREGISTER, &UnregisterRequest { uuids }))
                .await
                .map_err(relayed),
            Self::Within(parent) => parent.unregister(uuids).await,
        }
    }

    /// Updates the endpoints of an actor.
    pub(crate) async fn relocate(&self, request: &RelocateRequest) -> Result<(), RemoteError> {
        match self {
            Self::Root(registry) => registry.relocate(request).await,
            Self::Parent(parent) => {
                parent.call(Request::new(RELOCATE, request)).await.map_err(relayed)
            }
            Self::Within(parent) => parent.relocate(request).await,
        }
    }

    /// Tells whether the registrar is within this process, so that registering takes no waiting.
    pub(crate) fn is_near(&self) -> bool {
        match self {
            Self::Root(registry) => matches!(registry.registry, Registry::Own(_)),
            Self::Parent(_) => false,
            Self::Within(parent) => parent.is_near(),
        }
    }
}

/// The actors of a tree that its root keeps registered.
#[derive(Debug)]
pub(crate) struct TreeRegistry {
    registry: Registry,
    routes: Routes,
    registered: Mutex<BTreeMap<Uuid, Entry>>,
    /// The root's own, which outlasts those of all threads.
    runtime: Handle,
    /// The task that passes on losses that the root's own registrar reports.
    _courier: JoinSet<()>,
}

/// The registrars of a root.
#[derive(Debug)]
pub(crate) enum Registry {
    /// The root's own registrar.
    Own(LocalClient),
    /// Registrars that the root is a client of.
    Others(Client),
}

#[derive(Debug)]
enum Entry {
    Own,
    Others {
        registered: Arc<Registered>,
        /// The tasks that pass on the keys of the instance, and its losses.
        _courier: JoinSet<()>,
    },
}

impl TreeRegistry {
    /// Makes an empty registry; the root's own registrar is at `place`.
    pub(crate) fn new(mut registry: Registry, routes: Routes, place: Endpoint) -> Self {
        let mut courier = JoinSet::new();
        if let Registry::Own(local_client) = &mut registry
            && let Some(mut losses) = local_client.take_losses()
        {
            let routes = routes.clone();
            courier.spawn(async move {
                while let Some(said) = losses.recv().await {
                    let uuid = said.uuid;
                    tell(&routes, uuid, Lost::told_by(place.clone(), said));
                }
            });
        }
        let runtime = Handle::current();
        Self { registry, routes, registered: Mutex::default(), runtime, _courier: courier }
    }

    async fn register(&self, request: &RegisterRequest) -> Result<(), RemoteError> {
        let client = match &self.registry {
            Registry::Own(local_client) => return self.register_own(local_client, request),
            Registry::Others(client) => client,
        };
        let RegisterRequest { name, uuid, endpoints, metadata, state, secret } = request.clone();
        let earlier = match self.lock().get(&uuid) {
            Some(Entry::Others { registered, .. }) => Some(registered.clone()),
            _ => None,
        };
        if let Some(registered) = earlier {
            return unless_away(registered.set_state(state).await);
        }
        self.check_room()?;
        let registration = Registration::new(name.as_str());
        let registration = match secret.filter(|it| it.owns(uuid)) {
            Some(secret) => registration.secret(secret),
            None => registration.uuid(uuid),
        };
        let registration = registration.endpoints(endpoints).state(state).proves();
        let registration =
            metadata.into_iter().fold(registration, |it, (key, value)| it.metadata(key, value));
        // If the registrars are away, it is registered when they are back.
        let registered =
            client.register_patiently(registration).await.map_err(|it| refused(&it))?;
        let mut courier = JoinSet::new();
        let keys = registered.identity().keys();
        // Not on the runtime of a thread below, which ends before.
        courier.spawn_on(carry(keys, uuid, self.routes.clone()), &self.runtime);
        let losses = pass_on(registered.losses(), uuid, self.routes.clone());
        courier.spawn_on(losses, &self.runtime);
        let entry = Entry::Others { registered: Arc::new(registered), _courier: courier };
        self.lock().insert(uuid, entry);
        Ok(())
    }

    fn register_own(
        &self,
        local_client: &LocalClient,
        request: &RegisterRequest,
    ) -> Result<(), RemoteError> {
        let RegisterRequest { name, uuid, endpoints, metadata, state, secret } = request.clone();
        if self.lock().contains_key(&uuid) {
            return local_client.set_state(uuid, state);
        }
        self.check_room()?;
        let (proves, new) = (true, Register::new(name, uuid));
        let register = Register { endpoints, metadata, state, proves, secret, ..new };
        let registered = local_client.register(register)?;
        self.lock().insert(uuid, Entry::Own);
        let (registrar, epoch) = (local_client.registrar(), registered.epoch);
        let keys = registered.key.into_iter().map(|key| Key { registrar, epoch, key }).collect();
        self.routes.deliver(Keys { uuid, keys });
        Ok(())
    }

    async fn relocate(&self, request: &RelocateRequest) -> Result<(), RemoteError> {
        let RelocateRequest { uuid, endpoints } = request.clone();
        let registered = match (&self.registry, self.lock().get(&uuid)) {
            (Registry::Own(local_client), Some(_)) => {
                return local_client.update_endpoints(uuid, endpoints);
            }
            (_, Some(Entry::Others { registered, .. })) => registered.clone(),
            _ => return Ok(()),
        };
        // A client of this process has followed already.
        if registered.endpoints() != endpoints {
            unless_away(registered.update_endpoints(endpoints).await)?;
        }
        Ok(())
    }

    fn check_room(&self) -> Result<(), RemoteError> {
        if self.lock().len() >= INSTANCES_MAX {
            let why = format!("a tree has at most {INSTANCES_MAX} actors");
            return Err(RemoteError::new(ErrorKind::LimitReached, why));
        }
        Ok(())
    }

    async fn unregister(&self, uuids: Vec<Uuid>) -> Result<(), RemoteError> {
        let gone: Vec<_> = {
            let mut registered = self.lock();
            uuids.iter().filter_map(|uuid| registered.remove(uuid)).collect()
        };
        if let Registry::Own(local_client) = &self.registry {
            return local_client.unregister_all(uuids);
        }
        // A registration that is being changed at this moment is removed after the change.
        let registered = gone.into_iter().filter_map(|it| match it {
            Entry::Own => None,
            Entry::Others { registered, .. } => Arc::try_unwrap(registered).ok(),
        });
        Registered::unregister_all(registered.collect()).await;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Uuid, Entry>> {
        self.registered.lock().expect("nothing panics while it holds the lock")
    }
}

/// Passes on the reason why a parent refused a request.
fn relayed(error: CallError) -> RemoteError {
    match error {
        CallError::Remote(error) => error,
        error => RemoteError::new(ErrorKind::Internal, WithCauses(&error).to_string()),
    }
}

/// Passes on the keys of an instance, present and future ones.
async fn carry(mut keys: watch::Receiver<VecDeque<Key>>, uuid: Uuid, routes: Routes) {
    loop {
        let known: Vec<Key> = keys.borrow_and_update().iter().copied().collect();
        if !known.is_empty() {
            routes.deliver(Keys { uuid, keys: known });
        }
        if keys.changed().await.is_err() {
            return;
        }
    }
}

/// Counts a change as made while the registrars are away: they catch up.
fn unless_away(changed: Result<(), RegisterError>) -> Result<(), RemoteError> {
    match changed {
        Err(RegisterError::Unreachable(_)) => Ok(()),
        changed => changed.map_err(|error| refused(&error)),
    }
}

/// Passes on what an instance loses.
pub(crate) async fn pass_on(mut losses: Losses, uuid: Uuid, routes: Routes) {
    loop {
        tell(&routes, uuid, losses.next().await);
    }
}

/// Reports a loss to the log and to the instance.
fn tell(routes: &Routes, uuid: Uuid, lost: Lost) {
    tracing::warn!(target: "callsign", %uuid, %lost, "an actor has lost its entry");
    routes.tell(Loss { uuid, lost });
}

fn refused(error: &RegisterError) -> RemoteError {
    RemoteError::new(ErrorKind::Denied, WithCauses(error).to_string())
}

/// The most actors of one tree: what one session of a registrar keeps.
const INSTANCES_MAX: usize = 65_536;
