//! How much of a registrar one owner may use.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Owner, RemoteError};

/// What of a registrar one owner may use only so much of.
///
/// ```
/// # use callsign_wire as callsign;
/// use callsign::Quota;
///
/// assert_eq!(Quota::Instances.to_string(), "instances");
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Quota {
    /// Connections.
    Sessions,
    /// Registered instances.
    Instances,
    /// Calls that wait for a name.
    Waits,
    /// Watches.
    Watches,
    /// Bytes of memory: of connections, of what is registered, waited for and watched, of frames
    /// that have arrived in part, and of answers that nobody reads.
    Bytes,
    /// Looks at endpoints on its account: those that wait or are under way.
    Looks,
    /// Time of a processor, in percent of one. Whoever uses more is not refused anything: it waits.
    Cpu,
    /// One that this version does not know.
    #[serde(other)]
    Other,
}

impl Quota {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 7] = [
        Self::Sessions,
        Self::Instances,
        Self::Waits,
        Self::Watches,
        Self::Bytes,
        Self::Looks,
        Self::Cpu,
    ];

    /// Returns what it is called in settings, in errors and over a connection.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Instances => "instances",
            Self::Waits => "waits",
            Self::Watches => "watches",
            Self::Bytes => "bytes",
            Self::Looks => "looks",
            Self::Cpu => "cpu",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Says that a registrar has refused what would have taken an owner beyond a quota. It comes with a
/// [`RemoteError`] of the kind [`QuotaExceeded`](crate::ErrorKind::QuotaExceeded).
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct QuotaExceeded {
    /// Which quota.
    pub quota: Quota,
    /// Whose.
    pub owner: Owner,
    /// How much the owner uses.
    pub used: u64,
    /// How much more was asked for.
    pub asked: u64,
    /// How much the owner may use.
    pub limit: u64,
}

impl QuotaExceeded {
    /// What an [error's payload](RemoteError::payload) is called that has one.
    pub const TYPE_NAME: &'static str = "callsign.QuotaExceeded";

    /// Returns which quota an error tells of, if it does.
    pub fn of(error: &RemoteError) -> Option<Self> {
        error.payload(Self::TYPE_NAME).ok().flatten()
    }
}

/// What an owner uses of something, and how much it may.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct Use {
    /// How much.
    pub used: u64,
    /// How much it may be; nothing where only the registrar's own bounds say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<u64>,
}

/// What one owner uses of a registrar.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct OwnerUse {
    /// Whose it is.
    pub owner: Owner,
    /// Connections.
    pub sessions: Use,
    /// Registered instances.
    pub instances: Use,
    /// Calls that wait for a name.
    pub waits: Use,
    /// Watches.
    pub watches: Use,
    /// Bytes of memory.
    pub bytes: Use,
    /// Looks at endpoints that wait or are under way.
    pub looks: Use,
    /// Time of a processor, in percent of one, of late.
    #[serde(default)]
    pub cpu: Use,
    /// The same in all, in milliseconds, since its first connection of those that are there.
    #[serde(default)]
    pub cpu_ms: u64,
}

impl OwnerUse {
    /// Returns what it uses of something.
    pub fn of(&self, quota: Quota) -> Option<Use> {
        match quota {
            Quota::Sessions => Some(self.sessions),
            Quota::Instances => Some(self.instances),
            Quota::Waits => Some(self.waits),
            Quota::Watches => Some(self.watches),
            Quota::Bytes => Some(self.bytes),
            Quota::Looks => Some(self.looks),
            Quota::Cpu => Some(self.cpu),
            Quota::Other => None,
        }
    }
}
