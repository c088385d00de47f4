//! Totals since the start, for metrics.

use std::cell::Cell;

use wire::RemovalReason;

use super::{Limits, Registry};

/// What has happened since the start.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// use callsign::registrar::Totals;
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
    /// Counts the suspect instances of one part of the registry, and returns the next part.
    pub fn suspects(&self, part: usize) -> (u64, Option<usize>) {
        match self.entries.chunk(part) {
            Some(entries) => (entries.filter(|it| it.is_suspect).count() as u64, Some(part + 1)),
            None => (0, None),
        }
    }

    /// Returns the limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns what has happened since the start.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }
}
