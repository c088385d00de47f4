//! How actors get into the registry, and out of it: up the tree, to the root.
//!
//! Children hold no session of their own with a registrar. What a child says of itself goes to its
//! parent, and on to the root, whose one client registers all of the tree. So whoever sees an
//! actor die can take it out of the registry, with all that is below it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use discovery::{Client, RegisterError, Registered, Registration};
use portal::{CallError, Key, Portal, WithCauses};
use tokio::{sync::watch, task::JoinSet};
use uuid::Uuid;
use wire::{ErrorKind, RemoteError};

use crate::{
    routes::Routes,
    spec::{Departure, Enrolment, Keys, REGISTER, UNREGISTER},
};

/// Where an actor has its children registered.
#[derive(Clone, Debug)]
pub(crate) enum Uplink {
    /// With the root's own client.
    Root(Arc<Roll>),
    /// Through the parent.
    Parent(Portal),
}

impl Uplink {
    /// Registers an actor, or changes its state if it is registered already.
    pub(crate) async fn register(&self, enrolment: &Enrolment) -> Result<(), RemoteError> {
        match self {
            Self::Root(roll) => roll.register(enrolment).await,
            Self::Parent(parent) => parent.call(REGISTER, enrolment).await.map_err(relayed),
        }
    }

    /// Takes actors out of the registry, those that are in it.
    pub(crate) async fn unregister(&self, uuids: Vec<Uuid>) -> Result<(), RemoteError> {
        match self {
            Self::Root(roll) => {
                roll.unregister(&uuids).await;
                Ok(())
            }
            Self::Parent(parent) => {
                parent.call(UNREGISTER, &Departure { uuids }).await.map_err(relayed)
            }
        }
    }
}

/// What the root keeps registered.
#[derive(Debug)]
pub(crate) struct Roll {
    client: Client,
    routes: Routes,
    registered: Mutex<BTreeMap<Uuid, Entry>>,
}

#[derive(Debug)]
struct Entry {
    registered: Arc<Registered>,
    /// The task that passes on the keys of the instance.
    _courier: JoinSet<()>,
}

impl Roll {
    pub(crate) fn new(client: Client, routes: Routes) -> Self {
        Self { client, routes, registered: Mutex::default() }
    }

    async fn register(&self, enrolment: &Enrolment) -> Result<(), RemoteError> {
        let Enrolment { name, uuid, endpoints, metadata, state } = enrolment.clone();
        let earlier = self.lock().get(&uuid).map(|it| it.registered.clone());
        if let Some(registered) = earlier {
            return registered.set_state(state).await.map_err(|error| refused(&error));
        }
        if self.lock().len() >= INSTANCES_MAX {
            let why = format!("a tree has at most {INSTANCES_MAX} actors");
            return Err(RemoteError::new(ErrorKind::LimitReached, why));
        }
        let registration =
            Registration::new(name.as_str()).uuid(uuid).endpoints(endpoints).state(state).proves();
        let registration =
            metadata.into_iter().fold(registration, |it, (key, value)| it.metadata(key, value));
        let registered = self.client.register(registration).await.map_err(|it| refused(&it))?;
        let mut courier = JoinSet::new();
        courier.spawn(carry(registered.identity().keys(), uuid, self.routes.clone()));
        let entry = Entry { registered: Arc::new(registered), _courier: courier };
        self.lock().insert(uuid, entry);
        Ok(())
    }

    async fn unregister(&self, uuids: &[Uuid]) {
        let gone: Vec<_> = {
            let mut registered = self.lock();
            uuids.iter().filter_map(|uuid| registered.remove(uuid)).collect()
        };
        // One that is being changed at this moment goes when the change is over.
        let gone = gone.into_iter().filter_map(|it| Arc::try_unwrap(it.registered).ok());
        Registered::unregister_all(gone.collect()).await;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Uuid, Entry>> {
        self.registered.lock().expect("nothing panics while it holds the lock")
    }
}

/// Passes on why a parent has not done what it was asked.
fn relayed(error: CallError) -> RemoteError {
    match error {
        CallError::Remote(error) => error,
        error => RemoteError::new(ErrorKind::Internal, WithCauses(&error).to_string()),
    }
}

/// Passes on the keys of an instance, those that there are and those that come.
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

fn refused(error: &RegisterError) -> RemoteError {
    RemoteError::new(ErrorKind::Denied, WithCauses(error).to_string())
}

/// The most actors of one tree: what one session of a registrar keeps.
const INSTANCES_MAX: usize = 65_536;
