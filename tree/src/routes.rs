//! Which way down the tree an instance is.
//!
//! The root registers all of the tree, and so it is the root that gets the keys with which each
//! instance proves who it is. They go down the way that the registration came up.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use portal::{CallError, Identity, Key, Portal};
use uuid::Uuid;

use crate::spec::{KEYS, Keys};

/// Which way down the tree an instance is, as one actor sees it.
#[derive(Clone, Debug)]
pub(crate) struct Routes {
    own: Identity,
    below: Arc<Mutex<HashMap<Uuid, Way>>>,
}

/// The way to a child.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    /// Its channel.
    Channel(Portal),
    /// It is within this process.
    Within(Routes),
}

impl Routes {
    pub(crate) fn new(own: Identity) -> Self {
        Self { own, below: Arc::default() }
    }

    /// Returns the identity of the actor itself.
    pub(crate) fn own(&self) -> &Identity {
        &self.own
    }

    /// Says that an instance is that child, or below it.
    pub(crate) fn add(&self, uuid: Uuid, child: Way) {
        self.lock().insert(uuid, child);
    }

    pub(crate) fn remove(&self, uuid: Uuid) {
        self.lock().remove(&uuid);
    }

    /// Passes keys on to the instance that they are for. One that is gone needs none.
    pub(crate) fn deliver(&self, keys: Keys) {
        if keys.uuid == self.own.instance().uuid {
            for Key { registrar, epoch, key } in keys.keys {
                self.own.insert(registrar, epoch, key);
            }
            return;
        }
        let child = self.lock().get(&keys.uuid).cloned();
        match child {
            Some(Way::Channel(child)) => {
                // Whose channel has ended needs none either.
                if let Err(error @ CallError::TooMany(_)) = child.send(KEYS, &keys) {
                    tracing::warn!(target: "callsign", %error, "an actor has no key yet");
                }
            }
            Some(Way::Within(child)) => child.deliver(keys),
            None => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Way>> {
        self.below.lock().expect("nothing panics while it holds the lock")
    }
}
