//! Following a name or a pattern.

use endpoints::{InstanceId, NameError};
use serde::Serialize;
use wire::{Gone, Record};

use crate::{Client, Faults};

impl Client {
    /// Follows the instances of a name or a pattern, as all registrars together know them.
    ///
    /// # Errors
    ///
    /// [`NameError`] when `pattern` is none.
    pub fn watch(&self, pattern: &str) -> Result<Watch, NameError> {
        _ = pattern;
        todo!()
    }
}

/// What follows a pattern. It makes progress only while [`next`](Self::next) is waited for; a
/// registrar resets a watcher that falls behind, so that nothing piles up.
#[derive(Debug)]
pub struct Watch {
    client: Client,
}

impl Watch {
    /// Returns the next change; `None` when the client is closed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no change is lost.
    pub async fn next(&mut self) -> Option<Change> {
        _ = &self.client;
        todo!()
    }
}

/// What a watcher is told.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
#[non_exhaustive]
pub enum Change {
    /// Forget everything: what is there now follows, as [`Add`](Self::Add)s up to
    /// [`Synced`](Self::Synced).
    Reset,
    /// All that is there has been told.
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
    /// An instance is gone: no registrar within reach has it any more.
    Remove {
        /// The instance.
        instance: InstanceId,
        /// Why; `None` when the only registrar that had it is out of reach.
        #[serde(skip_serializing_if = "Option::is_none")]
        gone: Option<Gone>,
    },
    /// No registrar is within reach: what was told may be out of date, until the next
    /// [`Synced`](Self::Synced).
    Stale {
        /// Each registrar, with its reason.
        #[serde(skip)]
        faults: Faults,
    },
}
