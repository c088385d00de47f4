//! Totals since the start, for metrics.

use std::cell::Cell;

use wire::RemovalReason;

use super::Registry;

/// What has happened since the start.
///
/// ```
/// # use callsign_registrar as callsign;
/// use callsign::registry::Totals;
///
/// assert_eq!(Totals::default().removed.iter().sum::<u64>(), 0);
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Totals {
    /// Instances that were not there before.
    pub registered: u64,
    /// Registrations that replaced an earlier one of their instance.
    pub replaced: u64,
    /// Renewals of leases.
    pub renewed: u64,
    /// Removed instances, by the reasons of [`REASONS`](Self::REASONS).
    pub removed: [u64; Self::REASONS.len()],
    /// Look-ups of a name.
    pub looked_up: Cell<u64>,
    /// Times that an instance became suspect.
    pub suspected: Cell<u64>,
    /// Endpoints that were found dead and removed.
    pub evicted: Cell<u64>,
}

impl Totals {
    /// The reasons for which instances are removed.
    pub const REASONS: [RemovalReason; 6] = [
        RemovalReason::Unregistered,
        RemovalReason::SessionEnded,
        RemovalReason::LeaseExpired,
        RemovalReason::FoundDead,
        RemovalReason::ProcessEnded,
        RemovalReason::NodeLost,
    ];

    pub(super) fn note_removal(&mut self, reason: RemovalReason) {
        if let Some(at) = Self::REASONS.iter().position(|it| *it == reason) {
            self.removed[at] += 1;
        }
    }

    pub(super) fn note_look_up(&self) {
        self.looked_up.set(self.looked_up.get() + 1);
    }

    pub(crate) fn note_suspicion(&self) {
        self.suspected.set(self.suspected.get() + 1);
    }

    pub(crate) fn note_eviction(&self) {
        self.evicted.set(self.evicted.get() + 1);
    }
}

impl Registry {
    /// Returns what has happened since the start.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }
}
