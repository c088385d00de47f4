//! Changes to a node while it serves.

use std::{
    sync::{Arc, Mutex, MutexGuard, Weak},
    time::Duration,
};

use endpoints::EndpointTable;
use portal::Heartbeat;
use tracing::warn;
use transport::{Access, Listener};

use crate::{
    NodeError, NodeOptions, RegistryHandle,
    places::{NoPlace, Place, Places},
    registry::{Account, NameRules},
    scheduler::Scheduler,
};

/// Changes a node while it serves. Clones change the same one.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use endpoints::EndpointTable;
/// use callsign::registrar::{Node, NodeOptions};
///
/// let node = Node::bind(&["/memory/0".parse()?], NodeOptions::default()).await?;
/// let controls = node.controls().clone();
/// // Beside `node.serve(…)`, whenever the settings have changed:
/// controls.tune(&NodeOptions { sessions_max: 100, ..NodeOptions::default() });
/// controls.declare(&EndpointTable::default());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Controls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    registry: RegistryHandle,
    tuning: Mutex<Tuning>,
    places: Places,
    scheduler: Scheduler,
    /// The node's remaining listeners.
    listeners: Vec<Weak<Listener>>,
    /// The access to its socket files.
    access: Mutex<Option<Access>>,
}

/// The options of a node that may change while it serves, with their present values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuning {
    pub(crate) handshake_timeout: Duration,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) sessions_max: usize,
    pub(crate) drain_timeout: Duration,
}

impl Controls {
    pub(crate) fn new<'a>(
        registry: RegistryHandle,
        listeners: impl Iterator<Item = &'a Arc<Listener>>,
        options: &NodeOptions,
    ) -> Self {
        let tuning = Mutex::new(Tuning::of(options));
        let listeners = listeners.map(Arc::downgrade).collect();
        let access = Mutex::new(options.access);
        let places = Places::new(registry.accounts().clone());
        let scheduler = Scheduler::new(registry.accounts().clone());
        registry.charge_by(scheduler.clone());
        Self(Arc::new(Shared { registry, tuning, places, scheduler, listeners, access }))
    }

    /// Applies new time limits for handshakes and for the end, a new heartbeat, a new limit of
    /// connections and new quotas, to later connections. Existing ones stay, even above the limits.
    ///
    /// ```
    /// # use callsign_registrar as callsign;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use callsign::{Node, NodeOptions};
    /// use std::time::Duration;
    ///
    /// # let node = Node::bind(&["/memory/0".parse()?], NodeOptions::default()).await?;
    /// let patient = Duration::from_secs(60);
    /// let options = NodeOptions { handshake_timeout: patient, ..NodeOptions::default() };
    /// node.controls().tune(&options);
    /// # Ok(())
    /// # }
    /// ```
    pub fn tune(&self, options: &NodeOptions) {
        self.0.registry.accounts().set(options.quotas.clone(), options.sessions_max);
        self.0.scheduler.quotas_have_changed();
        *self.tuning() = Tuning::of(options);
    }

    /// Declares these actors, instead of the present ones. An actor in both lists stays as it is.
    ///
    /// ```
    /// # mod callsign {
    /// # pub use endpoints::*;
    /// # pub mod registrar { pub use callsign_registrar::{*, registry::*}; }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use callsign::registrar::{Node, NodeOptions};
    /// use callsign::EndpointTable;
    ///
    /// # let node = Node::bind(&["/memory/0".parse()?], NodeOptions::default()).await?;
    /// let mut declared = EndpointTable::default();
    /// declared.insert("db".parse()?, vec!["/ip4/192.0.2.7/tcp/5432".parse()?]);
    /// node.controls().declare(&declared);
    /// assert_eq!(node.registry().instances(&"db".parse()?).len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn declare(&self, declared: &EndpointTable) {
        self.0.registry.declare(declared);
    }

    /// Replaces the rules of names. Registered instances stay.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use callsign::registrar::{Node, NodeOptions};
    /// use callsign::registrar::NameRules;
    ///
    /// # let node = Node::bind(&["/memory/0".parse()?], NodeOptions::default()).await?;
    /// // As for a node without rules.
    /// node.controls().set_rules(NameRules::default());
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_rules(&self, rules: NameRules) {
        self.0.registry.set_rules(rules);
    }

    /// Changes the access to the socket files that the node has made, now and for later binds.
    /// Existing connections stay.
    ///
    /// ```
    /// # mod callsign {
    /// # pub use transport::*;
    /// # pub mod registrar { pub use callsign_registrar::{*, registry::*}; }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use callsign::registrar::{Node, NodeOptions};
    /// use callsign::Access;
    ///
    /// # let node = Node::bind(&["/memory/0".parse()?], NodeOptions::default()).await?;
    /// // From now on the group of the process may connect too.
    /// node.controls().grant(Access { mode: 0o660, group: None })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NodeError::Access`], with the file that cannot be changed; all are as before then.
    pub fn grant(&self, access: Access) -> Result<(), NodeError> {
        let mut now = self.0.access.lock().expect("nothing panics while it holds the lock");
        let listeners: Vec<_> = self.0.listeners.iter().filter_map(Weak::upgrade).collect();
        for (at, listener) in listeners.iter().enumerate() {
            let Err(source) = listener.set_access(access) else { continue };
            for changed in &listeners[..at] {
                if let Some(Err(error)) = now.map(|before| changed.set_access(before)) {
                    warn!(endpoint = %changed.bound(), %error, "who may connect has changed");
                }
            }
            return Err(NodeError::Access { endpoint: listener.bound().clone(), source });
        }
        *now = Some(access);
        Ok(())
    }

    pub(crate) fn now(&self) -> Tuning {
        *self.tuning()
    }

    pub(crate) fn scheduler(&self) -> &Scheduler {
        &self.0.scheduler
    }

    /// Takes a place for one more connection, if there is one.
    pub(crate) fn place(&self, account: Account) -> Result<Place, NoPlace> {
        if self.0.scheduler.is_overdrawn(account) {
            return Err(NoPlace::Quota(self.0.registry.accounts().cpu_exceeded(account)));
        }
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
