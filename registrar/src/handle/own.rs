//! The registrar's own status and endpoints.

use std::sync::MutexGuard;

use endpoints::{Endpoint, Name, Stamped};
use wire::{Revision, registrar::Status};

use super::{OWN_NAME, RegistryHandle};
use crate::{
    accounts::Accounts,
    latencies::Latencies,
    registry::{Counts, Totals},
};

impl RegistryHandle {
    /// Returns how the registrar is.
    ///
    /// ```
    /// # use callsign_registrar as callsign;
    /// # use callsign::{RegistryHandle, registry::Limits};
    /// # let registry = RegistryHandle::unattended(Limits::default());
    /// let status = registry.status();
    /// println!("{} instances, {} callers wait", status.instances, status.waiters);
    /// ```
    pub fn status(&self) -> Status {
        let (revision, counts, own) = self
            .read(|registry| (registry.revision(), registry.counts(), registry.own_endpoints()));
        let Counts { sessions, instances, waiters, watchers, in_line } = counts;
        Status {
            registrar: self.0.registrar,
            agent: self.0.agent.clone(),
            revision,
            uptime_ms: self.0.clock.uptime_ms(),
            sessions: sessions as u64,
            instances: instances as u64,
            waiters: waiters as u64,
            watchers: watchers as u64,
            in_line: in_line as u64,
            endpoints: self.endpoints().clone(),
            published: own.into_iter().map(|it| it.endpoint).collect(),
            cluster: self.cluster().map(Box::new),
            settling_ms: self.settling().map(|it| it.as_millis().max(1) as u64),
        }
    }

    /// Returns what has happened since the start.
    ///
    /// ```
    /// # use callsign_registrar as callsign;
    /// # use callsign::{RegistryHandle, registry::Limits};
    /// let registry = RegistryHandle::unattended(Limits::default());
    /// assert_eq!(registry.totals().registered, 0);
    /// ```
    pub fn totals(&self) -> Totals {
        self.read(|registry| registry.totals().clone())
    }

    /// Returns the revision of the latest change, unless the registry is about to change, or is cut
    /// off from its cluster: as long as it is the same, answers are too.
    ///
    /// ```
    /// # use callsign_registrar as callsign;
    /// # use callsign::{RegistryHandle, registry::Limits};
    /// let registry = RegistryHandle::unattended(Limits::default());
    /// assert_eq!(registry.settled_revision(), Some(registry.revision()));
    /// ```
    pub fn settled_revision(&self) -> Option<Revision> {
        let knows_all = self.knows_all();
        self.read(|registry| (knows_all && !registry.has_deferred()).then(|| registry.revision()))
    }

    /// Returns how long one of 64 look-ups took, each.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # use callsign::registrar::{Limits, RegistryHandle};
    /// # let registry = RegistryHandle::unattended(Limits::default());
    /// let calls: u64 = registry.look_up_latencies().buckets().map(|(_, calls)| calls).sum();
    /// assert_eq!(calls, 0, "nobody has asked");
    /// ```
    pub fn look_up_latencies(&self) -> &Latencies {
        &self.0.looked_up
    }

    /// Returns how long one of 8 registrations took, each.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # use callsign::registrar::{Limits, RegistryHandle};
    /// # let registry = RegistryHandle::unattended(Limits::default());
    /// let latencies = registry.registration_latencies();
    /// let calls: u64 = latencies.buckets().map(|(_, calls)| calls).sum();
    /// println!("{:?} s on average", latencies.sum() / calls as f64);
    /// ```
    pub fn registration_latencies(&self) -> &Latencies {
        &self.0.registered
    }

    /// Counts the suspect instances, a part of the registry at a time: begins at a place, and returns
    /// the next, until there is none.
    ///
    /// ```
    /// # use callsign_registrar as callsign;
    /// # use callsign::{RegistryHandle, registry::Limits};
    /// let registry = RegistryHandle::unattended(Limits::default());
    /// assert_eq!(registry.suspects(0), (0, None));
    /// ```
    pub fn suspects(&self, from: usize) -> (u64, Option<usize>) {
        self.read(|registry| registry.suspects(from))
    }

    /// Returns how many sessions there may be.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::RegistryHandle;
    ///
    /// /// Tells whether nine of ten places are taken.
    /// fn is_nearly_full(registry: &RegistryHandle) -> bool {
    ///     registry.status().sessions > registry.sessions_max() as u64 / 10 * 9
    /// }
    /// ```
    pub fn sessions_max(&self) -> usize {
        self.0.accounts.ledger().sessions_max
    }

    /// Returns how many instances there may be.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::{Limits, RegistryHandle};
    ///
    /// let limits = Limits { instances_max: 1000, ..Limits::default() };
    /// assert_eq!(RegistryHandle::unattended(limits).instances_max(), 1000);
    /// ```
    pub fn instances_max(&self) -> usize {
        self.read(|registry| registry.limits().instances_max)
    }

    /// Returns how many jobs wait, such as looks at endpoints, and how many may.
    ///
    /// ```
    /// # use callsign_registrar as callsign;
    /// # use callsign::{RegistryHandle, registry::Limits};
    /// let registry = RegistryHandle::unattended(Limits::default());
    /// let (waiting, most) = registry.jobs();
    /// assert!(waiting == 0 && most > 0);
    /// ```
    pub fn jobs(&self) -> (usize, usize) {
        let most = self.0.jobs.max_capacity();
        (most - self.0.jobs.capacity(), most)
    }

    /// Returns the revision of the latest change.
    ///
    /// ```
    /// # use callsign_registrar as callsign;
    /// # use callsign::{RegistryHandle, registry::Limits};
    /// # let registry = RegistryHandle::unattended(Limits::default());
    /// assert_eq!(registry.revision(), registry.status().revision);
    /// ```
    pub fn revision(&self) -> Revision {
        self.read(|registry| registry.revision())
    }

    /// Returns what each owner uses.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # use callsign::registrar::{RegistryHandle, Limits};
    /// # use wire::Quota;
    /// use callsign::registrar::Account;
    ///
    /// # let registry = RegistryHandle::unattended(Limits::default());
    /// let room = registry.accounts().room(Account::User(1000), Quota::Instances);
    /// assert!(room > 0, "nobody has used it up");
    /// ```
    pub fn accounts(&self) -> &Accounts {
        &self.0.accounts
    }

    pub(crate) fn set_endpoints(&self, endpoints: Vec<Endpoint>) {
        *self.endpoints() = endpoints;
    }

    /// Records that the node does not listen at an endpoint any more.
    pub(crate) fn remove_endpoint(&self, endpoint: &Endpoint) {
        self.endpoints().retain(|it| it != endpoint);
    }

    fn endpoints(&self) -> MutexGuard<'_, Vec<Endpoint>> {
        self.0.endpoints.lock().expect("nothing panics while it holds the lock")
    }

    /// Makes the registrar findable by its name, where it listens.
    pub(crate) fn enter_own(&self, endpoints: Vec<Stamped>) {
        let name = Name::new(OWN_NAME).expect("it is written as names are");
        let (user, now_ms) = (rustix::process::geteuid().as_raw(), self.now_ms());
        self.with(|registry| registry.enter_own(name, endpoints, user, now_ms));
    }

    /// Updates the registrar's own endpoints.
    pub(crate) fn move_own(&self, endpoints: Vec<Stamped>) {
        self.with(|registry| registry.move_own(endpoints));
    }
}
