//! The quotas of owners.

use std::collections::HashMap;

use wire::Quota;

use crate::registry::Account;

/// The limits of one owner's use.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// use callsign::registrar::{QuotaRules, Quotas};
///
/// let few = Quotas { instances: 100, ..Quotas::default() };
/// let rules = QuotaRules { others: few, ..QuotaRules::default() };
/// assert!(rules.trusted.instances > rules.others.instances);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quotas {
    /// Connections.
    pub sessions: usize,
    /// Registered instances.
    pub instances: usize,
    /// Calls that wait for a name.
    pub waits: usize,
    /// Watches.
    pub watches: usize,
    /// Bytes of memory.
    pub bytes: usize,
    /// Looks at endpoints that wait or are under way.
    pub looks: usize,
    /// Processor time, in percent. An owner above it is not refused, but waits.
    pub cpu: usize,
}

impl Quotas {
    /// As much as the node has.
    pub const UNLIMITED: Self = Self {
        sessions: usize::MAX,
        instances: usize::MAX,
        waits: usize::MAX,
        watches: usize::MAX,
        bytes: usize::MAX,
        looks: usize::MAX,
        cpu: usize::MAX,
    };

    /// The limits of those that may end the node anyway: user 0, and the user of the node. All
    /// except memory: a mistake uses that up as well.
    pub const TRUSTED: Self = Self { bytes: 96 * 1024 * 1024, looks: LOOKS, ..Self::UNLIMITED };

    /// Returns how much of something it is.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # use wire::Quota;
    /// use callsign::registrar::Quotas;
    ///
    /// let few = Quotas { watches: 10, ..Quotas::default() };
    /// assert_eq!(few.of(Quota::Watches), 10);
    /// ```
    pub fn of(&self, quota: Quota) -> usize {
        match quota {
            Quota::Sessions => self.sessions,
            Quota::Instances => self.instances,
            Quota::Waits => self.waits,
            Quota::Watches => self.watches,
            Quota::Bytes => self.bytes,
            Quota::Looks => self.looks,
            Quota::Cpu => self.cpu,
            _ => usize::MAX,
        }
    }
}

impl Default for Quotas {
    /// The limits of all others. The sessions are half of the node's, whatever this says.
    fn default() -> Self {
        Self {
            sessions: usize::MAX,
            instances: 100_000,
            waits: 20_000,
            watches: 5_000,
            bytes: 64 * 1024 * 1024,
            looks: LOOKS,
            cpu: 100,
        }
    }
}

/// A quarter of the queue.
const LOOKS: usize = 256;

/// The quotas of owners.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// use callsign::registrar::{QuotaRules, Quotas, Account};
///
/// let backup = Quotas { watches: 50_000, ..Quotas::default() };
/// let named = [(Account::User(34), backup)].into();
/// let rules = QuotaRules { named, ..QuotaRules::default() };
/// assert_eq!(rules.others, Quotas::default());
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct QuotaRules {
    /// Those of user 0, and of the user as whom the node runs.
    pub trusted: Quotas,
    /// Those of everybody else.
    pub others: Quotas,
    /// Those of single owners.
    pub named: HashMap<Account, Quotas>,
}

impl Default for QuotaRules {
    fn default() -> Self {
        Self { trusted: Quotas::TRUSTED, others: Quotas::default(), named: HashMap::new() }
    }
}
