//! Work outside the turns of connections, charged to whose it is.

use std::time::Duration;

use endpoints::Endpoint;
use tracing::debug;
use transport::Listening;
use uuid::Uuid;
use wire::{Epoch, registrar::Evidence};

use super::RegistryHandle;
use crate::{
    jobs::{Check, Job, Why},
    lookout::Sighting,
    registry::{Account, Owner},
    scheduler::Scheduler,
};

impl RegistryHandle {
    /// Lets owners wait for their turns by what is charged to them.
    pub(crate) fn charge_by(&self, scheduler: Scheduler) {
        self.0.scheduler.get_or_init(|| scheduler);
    }

    /// Charges an owner for processor time outside the turns of its connections.
    pub(crate) fn charge(&self, account: Account, ran: Duration) {
        match self.0.scheduler.get() {
            Some(scheduler) => scheduler.charge(account, ran),
            None => self.0.accounts.meter(account).add(ran),
        }
    }

    /// Asks the kernel for the listener at an endpoint, on somebody's account.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn listening(&self, endpoint: &Endpoint, account: Account) -> Listening {
        match self.0.lookout.ask(endpoint).await {
            Some(Sighting { listening, cost }) => {
                self.charge(account, cost);
                listening
            }
            None => Listening::Unknown,
        }
    }

    /// Records a report that an endpoint of an instance does not answer. It deletes nothing: the
    /// registrar looks for itself, where it may, on the account of who says so.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # use wire::{Record, registrar::Evidence};
    /// use callsign::registrar::{RegistryHandle, Owner};
    ///
    /// /// Says that the first endpoint of an instance refused.
    /// fn refused(registry: &RegistryHandle, record: &Record) {
    ///     if let Some(first) = record.endpoints.first() {
    ///         let by = Owner::Registrar;
    ///         registry.report(record.uuid, record.epoch, &first.endpoint, Evidence::Refused, by);
    ///     }
    /// }
    /// ```
    pub fn report(
        &self,
        uuid: Uuid,
        epoch: Epoch,
        endpoint: &Endpoint,
        evidence: Evidence,
        by: Owner,
    ) {
        let claimant = self.read(|registry| registry.claimant(uuid, epoch, endpoint));
        if let Some(claimant) = claimant {
            let check = Check { claimant, why: Why::Reported(evidence), by };
            if !self.send(Job::LookInto(check), by) {
                debug!(%endpoint, %by, "too much to look into; it may be reported again");
            }
        }
    }

    /// Queues a job, charged to an account. Tells whether there was room for it.
    pub(crate) fn send(&self, job: Job, by: Owner) -> bool {
        let share = self.0.shares.take(by.account(), self.now_ms());
        share.is_some_and(|share| self.0.jobs.try_send((job, share)).is_ok())
    }
}
