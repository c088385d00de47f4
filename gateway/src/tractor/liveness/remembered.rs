//! The ledger's records of watched instances, for the next run of the node.

use std::{os::unix::fs::MetadataExt, time::Duration};

use endpoints::Stamped;
use registrar::registry::{Foreign, Owner};
use tokio::time::Instant;
use tracing::debug;
use transport::{PeerProcess, ProcessMark};

use super::{LivenessMonitor, Process};
use crate::tractor::ledger::{Ledger, LedgerEntry};

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
            let LedgerEntry { name, endpoints, metadata, .. } = line;
            let mut endpoints: Vec<_> = endpoints.into_iter().map(Some).collect();
            if endpoints.is_empty() {
                endpoints.push(None);
            }
            for endpoint in endpoints {
                let held = if is_told_by_kernel { PeerProcess::find(mark).ok() } else { None };
                let at = endpoint.as_ref().map(|it: &Stamped| it.endpoint.clone());
                let (name, metadata) = (name.clone(), metadata.clone());
                let foreign = Foreign { name, uuid, endpoint, metadata };
                match self.registry.remember_foreign(foreign, owner) {
                    Ok(Some(epoch)) => {
                        self.watch(uuid, epoch, at, Process { held, mark: Some(mark) });
                    }
                    Ok(None) => {}
                    Err(error) => debug!(%uuid, %error, "not registered again"),
                }
            }
            self.registry.settle(uuid, owner);
            self.doubt(uuid);
        }
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
            LedgerEntry::new((record.name, *uuid), record.endpoints, record.metadata, owner, mark)
        }));
        // A crowd that comes together is written a few times, not once for each.
        self.write_after = begun + WRITE_PAUSE_MIN + 10 * begun.elapsed();
    }
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
