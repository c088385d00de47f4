//! What a child may ask of its parent.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
};

use bytes::Bytes;
use endpoints::Stamped;
use portal::Counterpart;
use uuid::Uuid;
use wire::{RemoteError, encode_body};

use crate::{
    actor::Core,
    spec::{Departure, Enrolment, REGISTER, UNREGISTER},
};

/// What is below an actor: which instances were registered through it, itself among them, and
/// where they listen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Below {
    instances: Arc<Mutex<BTreeMap<Uuid, Vec<Stamped>>>>,
}

impl Below {
    pub(crate) fn add(&self, enrolment: &Enrolment) {
        self.lock().insert(enrolment.uuid, enrolment.endpoints.clone());
    }

    /// Tells whether the child has children of its own.
    pub(crate) fn is_family(&self) -> bool {
        self.lock().len() > 1
    }

    /// Takes out all that is left.
    pub(crate) fn take(&self) -> BTreeMap<Uuid, Vec<Stamped>> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Uuid, Vec<Stamped>>> {
        self.instances.lock().expect("nothing panics while it holds the lock")
    }
}

/// What a child may ask of its parent: to register what is below it.
#[derive(Clone)]
pub(crate) struct Host {
    actor: Arc<Core>,
    below: Below,
    /// The channel to the child, once it is open.
    child: Arc<OnceLock<portal::Portal>>,
}

impl Host {
    pub(crate) fn new(actor: Arc<Core>, below: Below) -> Self {
        Self { actor, below, child: Arc::default() }
    }

    /// Says over which channel the child is reached.
    pub(crate) fn open(&self, child: portal::Portal) {
        // A channel is opened once.
        drop(self.child.set(child));
    }

    /// Registers an instance that is the child, or below it.
    pub(crate) async fn register(&self, enrolment: &Enrolment) -> Result<(), RemoteError> {
        self.below.add(enrolment);
        if let Some(child) = self.child.get() {
            self.actor.routes.add(enrolment.uuid, child.clone());
        }
        self.actor.uplink.register(enrolment).await
    }
}

impl Host {
    /// Answers a call of the child.
    pub(crate) async fn handle(self, call: Counterpart) -> Result<Bytes, RemoteError> {
        match call.method() {
            REGISTER => self.register(&call.args()?).await?,
            UNREGISTER => {
                let Departure { uuids } = call.args()?;
                for uuid in &uuids {
                    self.below.lock().remove(uuid);
                    self.actor.routes.remove(*uuid);
                }
                self.actor.uplink.unregister(uuids).await?;
            }
            _ => return Err(call.unknown()),
        }
        Ok(encode_body(&()).into())
    }
}
