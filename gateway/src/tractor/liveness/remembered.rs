//! The ledger's records of watched instances, for the next run of the node.

use std::{future::pending, os::unix::fs::MetadataExt, time::Duration};

use endpoints::{Endpoint, Stamped};
use registrar::{
    RegistryHandle,
    registry::{Foreign, Owner},
};
use tokio::time::Instant;
use tracing::debug;
use transport::{PeerProcess, ProcessMark};
use uuid::Uuid;
use wire::{Epoch, RemoteError};

use super::{LivenessMonitor, Process};
use crate::tractor::ledger::{Ledger, LedgerEntry};

/// An instance of an earlier run that is registered again.
#[derive(Debug)]
pub(super) struct Returned {
    uuid: Uuid,
    owner: Owner,
    mark: ProcessMark,
    /// Since when it is there, in milliseconds since 1970; 0 if that is unknown.
    since_ms: u64,
    /// Whether the kernel tells when its process ends.
    is_told_by_kernel: bool,
    /// Its registrations, and of which endpoints they are.
    places: Vec<(Epoch, Option<Endpoint>)>,
}

impl LivenessMonitor {
    /// Registers the instances that an earlier run of the node recorded. Each is looked at
    /// immediately.
    pub(in crate::tractor) fn restore(&mut self) {
        for line in self.ledger.as_ref().map(Ledger::read).unwrap_or_default() {
            let (uuid, owner, mark) = (line.uuid, line.owner(), line.process());
            // A program's own claim over TCP counts only once; the kernel has to report that it is
            // a process of the same user.
            let is_of_owner = || match owner {
                Owner::User(user) => user_of(mark) == Some(user),
                _ => false,
            };
            let is_told_by_kernel = line.endpoints.is_empty() || is_of_owner();
            let LedgerEntry { name, endpoints, metadata, since_ms, .. } = line;
            let mut endpoints: Vec<_> = endpoints.into_iter().map(Some).collect();
            if endpoints.is_empty() {
                endpoints.push(None);
            }
            let foreign = |endpoint| Foreign {
                name: name.clone(),
                uuid,
                endpoint,
                metadata: metadata.clone(),
            };
            let instances: Vec<_> = endpoints.into_iter().map(foreign).collect();
            let places = Vec::new();
            let mut of = Returned { uuid, owner, mark, since_ms, is_told_by_kernel, places };
            if self.registry.is_decided_elsewhere(&name) {
                self.returns.spawn(return_decided(self.registry.clone(), of, instances));
                continue;
            }
            for foreign in instances {
                let at = foreign.endpoint.clone();
                of.note(at, self.registry.remember_foreign(foreign, owner));
            }
            self.returned(of);
        }
    }

    /// Watches one that is registered again. It is looked at immediately.
    pub(super) fn returned(&mut self, returned: Returned) {
        let Returned { uuid, owner, mark, since_ms, is_told_by_kernel, places } = returned;
        for (epoch, endpoint) in places {
            if since_ms > 0 {
                self.registry.is_there_since(uuid, epoch, since_ms);
            }
            let held = if is_told_by_kernel { PeerProcess::find(mark).ok() } else { None };
            self.watch(uuid, epoch, endpoint, Process { held, mark: Some(mark) });
        }
        self.registry.settle(uuid, owner);
        self.doubt(uuid);
    }

    pub(super) fn is_to_write(&mut self) {
        if self.ledger.is_some() && self.write_at.is_none() {
            self.write_at = Some(self.write_after.max(Instant::now()));
        }
    }

    pub(super) fn write(&mut self) {
        self.write_at = None;
        let Some(ledger) = &self.ledger else { return };
        let begun = Instant::now();
        ledger.write(self.watched.iter().filter_map(|(uuid, watched)| {
            let mark = watched.mark?;
            let record = self.registry.record(*uuid).filter(|it| watched.is_about(it))?;
            let owner = self.registry.owner(*uuid)?;
            let instance = (record.name, *uuid, record.epoch, record.since_ms);
            LedgerEntry::new(instance, record.endpoints, record.metadata, owner, mark)
        }));
        // A crowd that comes together is written a few times, not once for each.
        self.write_after = begun + WRITE_PAUSE_MIN + 10 * begun.elapsed();
    }
}

impl Returned {
    fn note(&mut self, at: Option<Stamped>, entered: Result<Option<Epoch>, RemoteError>) {
        match entered {
            Ok(Some(epoch)) => self.places.push((epoch, at.map(|it| it.endpoint))),
            Ok(None) => {}
            Err(error) => debug!(uuid = %self.uuid, %error, "not registered again"),
        }
    }
}

/// Registers an instance again once the cluster has decided that it may have its name, for as long as
/// its process lives.
async fn return_decided(
    registry: RegistryHandle,
    mut returned: Returned,
    instances: Vec<Foreign>,
) -> Returned {
    let process = PeerProcess::find(returned.mark).ok().filter(|_| returned.is_told_by_kernel);
    let is_over = async {
        match process {
            Some(process) => drop(process.ended().await),
            None => pending().await,
        }
    };
    let owner = returned.owner;
    let registering = async {
        for foreign in instances {
            let at = foreign.endpoint.clone();
            let entered = registry.return_foreign(foreign, owner).await;
            returned.note(at, entered);
        }
    };
    tokio::select! {
        () = is_over => {}
        () = registering => {}
    }
    returned
}

impl Drop for LivenessMonitor {
    fn drop(&mut self) {
        if self.write_at.is_some() {
            self.write();
        }
    }
}

/// Returns the user of a process.
fn user_of(mark: ProcessMark) -> Option<u32> {
    Some(std::fs::metadata(format!("/proc/{}", mark.pid)).ok()?.uid())
}

/// The least time between two writings.
const WRITE_PAUSE_MIN: Duration = Duration::from_millis(20);
