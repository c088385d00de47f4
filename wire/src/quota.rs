//! Quotas: the limits of an owner's use of a registrar.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Owner, RemoteError, optional::or_default};

/// A resource of a registrar that each owner may use to a limit.
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
    /// Bytes of memory: of connections, registrations, waits and watches, of frames that have
    /// arrived in part, and of unread answers.
    Bytes,
    /// Looks at endpoints on its account, queued and running.
    Looks,
    /// Processor time, in percent of one processor. An owner above it is not refused, but waits.
    Cpu,
    /// A quota that this version does not know.
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

    /// Returns its name in settings, in errors and on the wire.
    ///
    /// ```
    /// # use callsign_wire as callsign;
    /// assert_eq!(callsign::Quota::Sessions.name(), "sessions");
    /// ```
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
///
/// ```
/// # use callsign_wire as callsign;
/// use callsign::{QuotaExceeded, RemoteError};
///
/// /// Says what a registrar has too much of, if that is why it refuses.
/// fn explain(error: &RemoteError) -> Option<String> {
///     let QuotaExceeded { quota, used, limit, .. } = QuotaExceeded::of(error)?;
///     Some(format!("{used} of {limit} {quota}"))
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct QuotaExceeded {
    /// The quota.
    pub quota: Quota,
    /// Its owner.
    pub owner: Owner,
    /// The owner's present use.
    pub used: u64,
    /// The additional amount asked for.
    pub asked: u64,
    /// The limit.
    pub limit: u64,
}

impl QuotaExceeded {
    /// The type name of such an [error's payload](RemoteError::payload).
    pub const TYPE_NAME: &'static str = "callsign.QuotaExceeded";

    /// Returns which quota an error tells of, if it does.
    ///
    /// ```
    /// # use callsign_wire as callsign;
    /// use callsign::{QuotaExceeded, RemoteError};
    ///
    /// /// Says what a registrar has too much of, if that is why it refuses.
    /// fn explain(error: &RemoteError) -> Option<String> {
    ///     let QuotaExceeded { quota, used, limit, .. } = QuotaExceeded::of(error)?;
    ///     Some(format!("{used} of {limit} {quota}"))
    /// }
    /// ```
    pub fn of(error: &RemoteError) -> Option<Self> {
        error.payload(Self::TYPE_NAME).ok().flatten()
    }
}

/// An owner's use of a resource, and its limit.
///
/// ```
/// # use callsign_wire as callsign;
/// use callsign::Use;
///
/// let instances = Use { used: 12, quota: Some(1000) };
/// assert!(instances.quota.is_none_or(|it| instances.used < it), "there is room");
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct Use {
    /// The present use.
    pub used: u64,
    /// The limit; `None` if only the registrar's own bounds apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<u64>,
}

/// An owner's use of a registrar.
///
/// ```
/// # use callsign_wire as callsign;
/// use callsign::{OwnerUse, Quota};
///
/// /// Tells whether an owner may open another connection.
/// fn has_room(owner: &OwnerUse) -> bool {
///     let sessions = owner.of(Quota::Sessions).unwrap_or_default();
///     sessions.quota.is_none_or(|it| sessions.used < it)
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct OwnerUse {
    /// The owner.
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
    #[serde(default, deserialize_with = "or_default")]
    pub cpu: Use,
    /// The total processor time, in milliseconds, since the first of its present connections.
    #[serde(default, deserialize_with = "or_default")]
    pub cpu_ms: u64,
}

impl OwnerUse {
    /// Returns its use of a resource.
    ///
    /// ```
    /// # use callsign_wire as callsign;
    /// use callsign::{OwnerUse, Quota};
    ///
    /// /// Tells whether an owner may open another connection.
    /// fn has_room(owner: &OwnerUse) -> bool {
    ///     let sessions = owner.of(Quota::Sessions).unwrap_or_default();
    ///     sessions.quota.is_none_or(|it| sessions.used < it)
    /// }
    /// ```
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
