//! Exclusive names that a cluster decides about.

use endpoints::Name;
use uuid::Uuid;

use super::RegistryHandle;
use crate::registry::{Decision, NameRequest, Outcome, Registry};

impl RegistryHandle {
    /// Lets a cluster decide about exclusive names from now on; or says why it cannot at present, so
    /// that nobody is given one.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::{RegistryHandle, Limits};
    ///
    /// let registry = RegistryHandle::unattended(Limits::default());
    /// registry.let_decide(Err("no member answers".to_owned()));
    /// ```
    pub fn let_decide(&self, can_decide: Result<(), String>) {
        self.decided(|registry| registry.let_decide(can_decide));
    }

    /// Waits until there are requests about exclusive names, and returns some of them.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::{Decision, NameRequest, RegistryHandle};
    ///
    /// /// Answers every claim as a cluster without a majority does.
    /// async fn cut_off(registry: RegistryHandle) {
    ///     loop {
    ///         for request in registry.name_requests().await {
    ///             if let NameRequest::Claim { name, uuid, .. } = request {
    ///                 registry.decide(&name, uuid, Decision::CutOff("no majority".to_owned()));
    ///             }
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is taken before it is returned.
    pub async fn name_requests(&self) -> Vec<NameRequest> {
        loop {
            let there = self.0.name_requests.notified();
            let requests = self.with(Registry::take_name_requests);
            if !requests.is_empty() {
                return requests;
            }
            there.await;
        }
    }

    /// Records what the cluster says to the claim of an instance to a name.
    ///
    /// ```
    /// # mod callsign { pub use {endpoints::*, wire::*};
    /// # pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::{Name, registrar::{Decision, RegistryHandle}};
    ///
    /// /// Gives a name to an instance that has claimed it.
    /// fn give(registry: &RegistryHandle, name: &Name, uuid: uuid::Uuid, token: u64) {
    ///     registry.decide(name, uuid, Decision::Granted(token));
    /// }
    /// ```
    pub fn decide(&self, name: &Name, uuid: Uuid, decision: Decision) {
        self.decided(|registry| registry.decide(name, uuid, decision));
    }

    /// Records that another node has let a name go.
    ///
    /// ```
    /// # mod callsign { pub use {endpoints::*, wire::*};
    /// # pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # use callsign::registrar::{Limits, RegistryHandle};
    /// # let registry = RegistryHandle::unattended(Limits::default());
    /// registry.let_decide(Ok(()));
    /// // Whoever waits for it here may have it now, once the cluster says so.
    /// registry.name_freed(&"leader".parse()?);
    /// # Ok::<(), callsign::NameError>(())
    /// ```
    pub fn name_freed(&self, name: &Name) {
        self.decided(|registry| registry.name_freed(name));
    }

    /// Takes a name from its holder here, and tells it so: another node has given it away by a later
    /// token.
    ///
    /// ```
    /// # mod callsign { pub use {endpoints::*, wire::*};
    /// # pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # use callsign::registrar::{Limits, RegistryHandle};
    /// # let registry = RegistryHandle::unattended(Limits::default());
    /// let leader = "leader".parse()?;
    /// registry.name_taken(&leader, 8);
    /// assert!(!registry.has_name_by(&leader, 7), "that token is old");
    /// # Ok::<(), callsign::NameError>(())
    /// ```
    pub fn name_taken(&self, name: &Name, token: u64) {
        self.decided(|registry| registry.name_taken(name, token));
    }

    /// Takes all exclusive names from their holders here, and tells them so.
    ///
    /// ```
    /// # mod callsign { pub use {endpoints::*, wire::*};
    /// # pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # use callsign::registrar::{Limits, RegistryHandle};
    /// # let registry = RegistryHandle::unattended(Limits::default());
    /// // The cluster cannot be reached for so long that others may have the names.
    /// registry.let_decide(Err("no member answers".to_owned()));
    /// registry.lose_names();
    /// ```
    pub fn lose_names(&self) {
        self.decided(Registry::lose_names);
    }

    /// Tells whether an instance of this registrar has a name by a token, or is about to take it.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::{RegistryHandle, Limits};
    ///
    /// let registry = RegistryHandle::unattended(Limits::default());
    /// assert!(!registry.has_name_by(&"feed".parse()?, 7), "nobody has it");
    /// # Ok::<(), endpoints::NameError>(())
    /// ```
    pub fn has_name_by(&self, name: &Name, token: u64) -> bool {
        self.read(|registry| registry.has_name_by(name, token))
    }

    fn decided(&self, change: impl FnOnce(&mut Registry) -> Outcome) {
        let changed = self.change(|registry, _| Ok(((), change(registry))));
        changed.expect("what the cluster says always holds");
    }
}
