//! What a child may ask of its parent.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
};

use bytes::Bytes;
use endpoints::Stamped;
use portal::Counterpart;
use uuid::Uuid;
use wire::{ErrorKind, RemoteError, encode_body};

use crate::{
    actor::Core,
    routes::Way,
    spec::{Departure, Enrolment, REGISTER, UNREGISTER},
};

/// What is below an actor: which instances were registered through it, itself among them, and
/// where they listen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Below {
    state: Arc<Mutex<BelowState>>,
}

#[derive(Debug, Default)]
struct BelowState {
    instances: BTreeMap<Uuid, Vec<Stamped>>,
    /// Whether the child is gone, or given up: nothing is registered below it any more.
    is_over: bool,
}

impl Below {
    fn add(&self, enrolment: &Enrolment) -> Result<(), RemoteError> {
        let mut state = self.lock();
        if state.is_over {
            let why = "whoever is above it has ended";
            return Err(RemoteError::new(ErrorKind::Cancelled, why));
        }
        state.instances.insert(enrolment.uuid, enrolment.endpoints.clone());
        Ok(())
    }

    /// Tells whether the child has children of its own.
    pub(crate) fn is_family(&self) -> bool {
        self.lock().instances.len() > 1
    }

    /// Takes out all that is left, for good.
    pub(crate) fn take(&self) -> BTreeMap<Uuid, Vec<Stamped>> {
        let mut state = self.lock();
        state.is_over = true;
        std::mem::take(&mut state.instances)
    }

    fn lock(&self) -> MutexGuard<'_, BelowState> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }
}

/// What a child may ask of its parent: to register what is below it. One within the same process
/// has it at hand, and any other asks over its channel.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    actor: Arc<Core>,
    below: Below,
    /// The way to the child, once it is open.
    child: Arc<OnceLock<Way>>,
}

impl Host {
    pub(crate) fn new(actor: Arc<Core>, below: Below) -> Self {
        Self { actor, below, child: Arc::default() }
    }

    /// Says which way the child is reached.
    pub(crate) fn open(&self, child: Way) {
        // It is opened once.
        drop(self.child.set(child));
    }

    /// Registers an instance that is the child, or below it.
    pub(crate) async fn register(&self, enrolment: &Enrolment) -> Result<(), RemoteError> {
        self.note(enrolment)?;
        self.actor.uplink.register(enrolment).await
    }

    /// Registers an instance as [`register`](Self::register) does, where that takes no waiting.
    pub(crate) fn register_now(&self, enrolment: &Enrolment) -> Option<Result<(), RemoteError>> {
        if !self.is_near() {
            return None;
        }
        match self.note(enrolment) {
            Ok(()) => self.actor.uplink.register_now(enrolment),
            Err(error) => Some(Err(error)),
        }
    }

    /// Takes instances below the child out of the registry.
    pub(crate) async fn unregister(&self, uuids: Vec<Uuid>) -> Result<(), RemoteError> {
        for uuid in &uuids {
            self.below.lock().instances.remove(uuid);
            self.actor.routes.remove(*uuid);
        }
        self.actor.uplink.unregister(uuids).await
    }

    /// Tells whether the registrar is within this process.
    pub(crate) fn is_near(&self) -> bool {
        self.actor.uplink.is_near()
    }

    fn note(&self, enrolment: &Enrolment) -> Result<(), RemoteError> {
        self.below.add(enrolment)?;
        if let Some(child) = self.child.get() {
            self.actor.routes.add(enrolment.uuid, child.clone());
        }
        Ok(())
    }
}

impl Host {
    /// Answers a call of the child.
    pub(crate) async fn handle(self, call: Counterpart) -> Result<Bytes, RemoteError> {
        match call.method() {
            REGISTER => self.register(&call.args()?).await?,
            UNREGISTER => {
                let Departure { uuids } = call.args()?;
                self.unregister(uuids).await?;
            }
            _ => return Err(call.unknown()),
        }
        Ok(encode_body(&()).into())
    }
}
