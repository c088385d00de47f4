//! The events of a watch.

use endpoints::InstanceId;
use serde::Serialize;
use wire::{Record, RemovalReason};

use crate::RegistrarFailures;

/// An event of a watch.
///
/// ```
/// # use callsign_discovery as callsign;
/// use callsign::Change;
///
/// fn line(change: &Change) -> Option<String> {
///     match change {
///         Change::Add { record } => Some(format!("+ {}", record.name)),
///         Change::Remove { instance, .. } => Some(format!("- {}", instance.name)),
///         _ => None,
///     }
/// }
/// assert_eq!(line(&Change::Synced), None);
/// ```
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
#[non_exhaustive]
pub enum Change {
    /// Forget everything: the present state follows, as [`Add`](Self::Add)s up to
    /// [`Synced`](Self::Synced). It comes at the beginning, and after a registrar has restarted or
    /// the watch could not keep up with it.
    Reset,
    /// Every instance has been reported.
    Synced,
    /// An instance is there.
    Add {
        /// The instance.
        record: Record,
    },
    /// Something about an instance is different.
    Update {
        /// The instance, as it is now.
        record: Record,
    },
    /// An instance is gone: no registrar within reach has it any more. An instance of a former
    /// registrar is not gone before it has had time to return to the next.
    Remove {
        /// The instance.
        instance: InstanceId,
        /// Why; `None` when the only registrar that had it is out of reach.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<RemovalReason>,
    },
    /// No registrar is within reach: earlier events may be out of date, until the next
    /// [`Synced`](Self::Synced).
    Stale {
        /// Each registrar, with its reason.
        #[serde(skip)]
        failures: RegistrarFailures,
    },
    /// Some registrars are out of reach, and others are not: what only those know is not seen. It
    /// comes whenever these are others than before; there are none when all are within reach again.
    Partial {
        /// Each registrar that is out of reach, with its reason.
        #[serde(skip)]
        failures: RegistrarFailures,
    },
}
