//! The routes down a tree, by instance.
//!
//! The root registers the whole tree, so the root gets the keys with which each instance proves its
//! identity, and the reports of losses. Both go down the way that the registration came up.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use discovery::Lost;
use portal::{CallError, Identity, Key, Portal, Request};
use tokio::sync::watch;
use uuid::Uuid;

use crate::messages::{KEYS, Keys, LOST, Loss};

/// The routes from one actor to the instances below it.
#[derive(Clone, Debug)]
pub(crate) struct Routes {
    own: Identity,
    /// The loss of the actor's own entry.
    lost: watch::Sender<Option<Lost>>,
    below: Arc<Mutex<HashMap<Uuid, Route>>>,
}

/// The route to a child.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    /// Its channel.
    Channel(Portal),
    /// It is within this process.
    Within(Routes),
}

impl Routes {
    pub(crate) fn new(own: Identity) -> Self {
        Self { own, lost: watch::Sender::new(None), below: Arc::default() }
    }

    /// Returns the identity of the actor itself.
    pub(crate) fn own(&self) -> &Identity {
        &self.own
    }

    /// Records that an instance is that child, or below it.
    pub(crate) fn add(&self, uuid: Uuid, child: Route) {
        self.lock().insert(uuid, child);
    }

    pub(crate) fn remove(&self, uuid: Uuid) {
        self.lock().remove(&uuid);
    }

    /// Passes keys on to their instance. An instance that is gone needs none.
    pub(crate) fn deliver(&self, keys: Keys) {
        if keys.uuid == self.own.instance().uuid {
            for Key { registrar, epoch, key } in keys.keys {
                self.own.insert(registrar, epoch, key);
            }
            return;
        }
        let child = self.lock().get(&keys.uuid).cloned();
        match child {
            Some(Route::Channel(child)) => {
                // An instance whose channel has ended needs none either.
                if let Err(error @ CallError::TooMany(_)) = child.send(Request::new(KEYS, &keys)) {
                    tracing::warn!(target: "callsign", %error, "an actor has no key yet");
                }
            }
            Some(Route::Within(child)) => child.deliver(keys),
            None => {}
        }
    }

    /// Passes a loss on to its instance.
    pub(crate) fn tell(&self, loss: Loss) {
        if loss.uuid == self.own.instance().uuid {
            self.lost.send_replace(Some(loss.lost));
            return;
        }
        let child = self.lock().get(&loss.uuid).cloned();
        match child {
            Some(Route::Channel(child)) => {
                if let Err(error @ CallError::TooMany(_)) = child.send(Request::new(LOST, &loss)) {
                    tracing::warn!(target: "callsign", %error, "an actor is not told of its loss");
                }
            }
            Some(Route::Within(child)) => child.tell(loss),
            None => {}
        }
    }

    /// Waits until the actor itself has lost its entry.
    pub(crate) async fn lost(&self) -> Lost {
        let mut losses = self.lost.subscribe();
        let lost = losses.wait_for(Option::is_some).await.expect("the routes own the sender");
        lost.clone().expect("it was waited for")
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Route>> {
        self.below.lock().expect("nothing panics while it holds the lock")
    }
}
