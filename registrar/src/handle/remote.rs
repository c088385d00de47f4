//! What the nodes of a cluster tell each other.

use std::{sync::atomic::Ordering, time::Duration};

use endpoints::{Name, Stamped};
use portal::Portal;
use tracing::debug;
use uuid::Uuid;
use wire::{ProofSecret, RemovalReason, registrar::ClusterStatus};

use super::RegistryHandle;
use crate::{
    ForeignSession,
    jobs::Job,
    registry::{HomeNode, Outcome, Owner, RegistryError, Remote, Stride},
};

impl RegistryHandle {
    /// Opens a session in the registrar's own name, which sees everything.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::{RegistryHandle, Limits};
    ///
    /// let registry = RegistryHandle::unattended(Limits::default());
    /// let session = registry.own_session();
    /// assert!(session.caller().is_trusted);
    /// assert_eq!(registry.status().sessions, 1);
    /// ```
    pub fn own_session(&self) -> ForeignSession {
        ForeignSession::new(self.clone(), Owner::Registrar.into())
    }

    /// Returns from what the keys of all registrations derive: who has it can pass for any instance.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::{RegistryHandle, Limits};
    ///
    /// let one = RegistryHandle::unattended(Limits::default());
    /// let other = RegistryHandle::unattended(Limits::default());
    /// assert_ne!(one.proof_secret().to_bytes(), other.proof_secret().to_bytes());
    /// ```
    pub fn proof_secret(&self) -> ProofSecret {
        self.0.secret.clone()
    }

    /// Tells whether an instance has a key with which it proves its identity.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::{RegistryHandle, Limits};
    ///
    /// let registry = RegistryHandle::unattended(Limits::default());
    /// assert!(!registry.holds_key(uuid::Uuid::new_v4()), "nobody has registered it");
    /// ```
    pub fn holds_key(&self, uuid: Uuid) -> bool {
        self.read(|registry| registry.has_key(uuid))
    }

    /// Lets the epochs differ from those of the other nodes of a cluster.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::{RegistryHandle, Limits, Stride};
    ///
    /// let registry = RegistryHandle::unattended(Limits::default());
    /// registry.set_stride(Stride::of(7).unwrap());
    /// ```
    pub fn set_stride(&self, stride: Stride) {
        self.with(|registry| registry.set_stride(stride));
    }

    /// Records another node of the cluster, or its new registrar. `false` if there are too many.
    ///
    /// ```
    /// # mod callsign { pub use {endpoints::*, wire::*};
    /// # pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # use callsign::registrar::{Limits, RegistryHandle};
    /// # let registry = RegistryHandle::unattended(Limits::default());
    /// use callsign::registrar::HomeNode;
    ///
    /// let (name, secret) = ("rome".parse()?, registry.proof_secret());
    /// let rome = HomeNode { name, registrar: uuid::Uuid::new_v4(), secret };
    /// assert!(registry.know_node(rome));
    /// # Ok::<(), callsign::NameError>(())
    /// ```
    pub fn know_node(&self, node: HomeNode) -> bool {
        self.with(|registry| registry.know_node(node))
    }

    /// Enters or replaces a record of another node of the cluster.
    ///
    /// ```
    /// # mod callsign {
    /// # pub use wire::*;
    /// # pub mod registrar { pub use callsign_registrar::{*, registry::*}; }
    /// # }
    /// use callsign::registrar::{RegistryHandle, Limits, Remote};
    /// use callsign::Record;
    ///
    /// let registry = RegistryHandle::unattended(Limits::default());
    /// let record = Record::new("feed".parse()?, uuid::Uuid::new_v4());
    /// let stray = registry.enter_remote(Remote { record, has_key: false });
    /// assert!(stray.is_err(), "nothing is known of its node");
    /// # Ok::<(), endpoints::NameError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// That of the registry; nothing has changed then.
    pub fn enter_remote(&self, remote: Remote) -> Result<(), RegistryError> {
        let entered = self.change(|registry, now_ms| {
            Ok(match registry.enter_remote(remote, now_ms) {
                Ok(outcome) => (Ok(()), outcome),
                Err(error) => (Err(error), Outcome::default()),
            })
        });
        entered.expect("a refusal is a result here")
    }

    /// Removes instances that another node of the cluster has kept, in one change.
    ///
    /// ```
    /// # mod callsign {
    /// # pub use wire::*;
    /// # pub mod registrar { pub use callsign_registrar::{*, registry::*}; }
    /// # }
    /// use callsign::registrar::{RegistryHandle, Limits};
    /// use callsign::RemovalReason;
    ///
    /// let registry = RegistryHandle::unattended(Limits::default());
    /// registry.remove_remote(&"rome".parse()?, &[uuid::Uuid::new_v4()], RemovalReason::NodeLost);
    /// # Ok::<(), endpoints::NameError>(())
    /// ```
    pub fn remove_remote(&self, node: &Name, uuids: &[Uuid], reason: RemovalReason) {
        let removed =
            self.change(|registry, _| Ok(((), registry.remove_remote(node, uuids, reason))));
        removed.expect("what a node has lost may always go");
    }

    /// Says of instances of other nodes that this one has been cut off from those for some time, or,
    /// with `None`, that it hears of them again.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::{RegistryHandle, Limits};
    /// use std::time::Duration;
    ///
    /// let registry = RegistryHandle::unattended(Limits::default());
    /// registry.doubt_remote(&[uuid::Uuid::new_v4()], Some(Duration::from_secs(9)));
    /// ```
    pub fn doubt_remote(&self, uuids: &[Uuid], unheard: Option<Duration>) {
        let doubted = self.change(|registry, now_ms| {
            let since_ms = unheard.map(|it| now_ms.saturating_sub(it.as_millis() as u64));
            Ok(((), registry.doubt_remote(uuids, since_ms)))
        });
        doubted.expect("what is not known here is passed over");
    }

    /// Returns where the other registrars of its cluster are, as far as they live.
    pub(crate) fn others(&self) -> Vec<Stamped> {
        let cluster = self.0.cluster.lock().expect(UNPOISONED);
        let nodes = cluster.iter().flat_map(|(it, _)| &it.nodes).filter(|it| it.lives);
        nodes.flat_map(|it| it.places.iter().cloned()).take(OTHERS_MAX).collect()
    }

    /// Records how it shares with others.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::{RegistryHandle, Limits};
    ///
    /// /// Says that the cluster is out of reach.
    /// fn cut(registry: &RegistryHandle) {
    ///     if let Some(mut cluster) = registry.cluster() {
    ///         cluster.error = Some("no member answers".to_owned());
    ///         registry.set_cluster(cluster);
    ///     }
    /// }
    /// ```
    pub fn set_cluster(&self, status: ClusterStatus) {
        let before = self.others();
        let noted = (status, self.now_ms());
        *self.0.cluster.lock().expect(UNPOISONED) = Some(noted);
        // If there is no place in the queue, clients learn it as they connect.
        if self.others() != before && !self.send(Job::TellCluster, Owner::Registrar) {
            debug!("too many jobs to tell the clients of the cluster");
        }
    }

    /// Records a number that all nodes of its cluster have in common.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::{RegistryHandle, Limits};
    ///
    /// let registry = RegistryHandle::unattended(Limits::default());
    /// registry.set_cluster_number(7);
    /// ```
    pub fn set_cluster_number(&self, number: u64) {
        self.0.cluster_number.store(number, Ordering::Relaxed);
    }

    /// Returns the number that all nodes of its cluster have in common.
    pub(crate) fn cluster_number(&self) -> Option<u64> {
        Some(self.0.cluster_number.load(Ordering::Relaxed)).filter(|it| *it > 0)
    }

    /// Returns the peers that can be called.
    pub(crate) fn portals(&self) -> Vec<Portal> {
        self.state().sessions.values().filter_map(|it| it.portal()).collect()
    }

    /// Returns how it shares with others, if it is a node of a cluster. Ages are those of now.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::{RegistryHandle, Limits};
    ///
    /// let registry = RegistryHandle::unattended(Limits::default());
    /// assert_eq!(registry.cluster(), None, "it is alone");
    /// ```
    pub fn cluster(&self) -> Option<ClusterStatus> {
        let (mut status, at_ms) = self.0.cluster.lock().expect(UNPOISONED).clone()?;
        let since_ms = self.now_ms().saturating_sub(at_ms);
        status.age_ms += since_ms;
        status.nodes.iter_mut().for_each(|it| it.heard_ms += since_ms);
        Some(status)
    }
}

const UNPOISONED: &str = "nothing panics while it holds the lock";

/// The most places of other registrars that a client is told: enough to find one that lives.
const OTHERS_MAX: usize = 32;
