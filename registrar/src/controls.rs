//! What may change while a node serves.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use endpoints::EndpointTable;
use portal::Heartbeat;

use crate::{
    Clerk, NodeOptions,
    places::{NoPlace, Place, Places},
    registry::Account,
};

/// Changes a node while it serves. Clones change the same one.
#[derive(Clone, Debug)]
pub struct Controls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clerk: Clerk,
    tuning: Mutex<Tuning>,
    places: Places,
}

/// The options of a node that may change while it serves, as they are now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuning {
    pub(crate) handshake_timeout: Duration,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) sessions_max: usize,
    pub(crate) drain_timeout: Duration,
}

impl Controls {
    pub(crate) fn new(clerk: Clerk, options: &NodeOptions) -> Self {
        let tuning = Mutex::new(Tuning::of(options));
        Self(Arc::new(Shared { clerk, tuning, places: Places::default() }))
    }

    /// Takes over, for connections from now on, how long a handshake and the end may take, how
    /// signs of life are asked for, and how many connections there may be. Those that are there
    /// stay, also where there are more of them now.
    pub fn tune(&self, options: &NodeOptions) {
        *self.tuning() = Tuning::of(options);
    }

    /// Declares these actors, in place of all that were declared before. Who is in both stays as
    /// it is.
    pub fn declare(&self, declared: &EndpointTable) {
        self.0.clerk.declare(declared);
    }

    pub(crate) fn now(&self) -> Tuning {
        *self.tuning()
    }

    /// Takes a place for one more connection, if there is one.
    pub(crate) fn place(&self, account: Account) -> Result<Place, NoPlace> {
        self.0.places.take(account, self.now().sessions_max)
    }

    fn tuning(&self) -> MutexGuard<'_, Tuning> {
        self.0.tuning.lock().expect("nothing panics while it holds the lock")
    }
}

impl Tuning {
    fn of(options: &NodeOptions) -> Self {
        let NodeOptions { handshake_timeout, heartbeat, sessions_max, drain_timeout, .. } =
            *options;
        Self { handshake_timeout, heartbeat, sessions_max, drain_timeout }
    }
}
