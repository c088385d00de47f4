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
    /// # use callsign_registrar as callsign;
    /// use callsign::{RegistryHandle, registry::Limits};
    ///
    /// let registry = RegistryHandle::unattended(Limits::default());
    /// registry.let_decide(Err("no member answers".to_owned()));
    /// ```
    pub fn let_decide(&self, can_decide: Result<(), String>) {
        self.decided(|registry| registry.let_decide(can_decide));
    }

    /// Waits until there are requests about exclusive names, and returns some of them.
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
    pub fn decide(&self, name: &Name, uuid: Uuid, decision: Decision) {
        self.decided(|registry| registry.decide(name, uuid, decision));
    }

    /// Records that another node has let a name go.
    pub fn name_freed(&self, name: &Name) {
        self.decided(|registry| registry.name_freed(name));
    }

    /// Takes a name from its holder here, and tells it so: another node has given it away by a later
    /// token.
    pub fn name_taken(&self, name: &Name, token: u64) {
        self.decided(|registry| registry.name_taken(name, token));
    }

    /// Takes all exclusive names from their holders here, and tells them so.
    pub fn lose_names(&self) {
        self.decided(Registry::lose_names);
    }

    /// Tells whether an instance of this registrar has a name by a token, or is about to take it.
    ///
    /// ```
    /// # use callsign_registrar as callsign;
    /// use callsign::{RegistryHandle, registry::Limits};
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
