//! A node that is cut off from its cluster: what it does not know, another may have.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use endpoints::Name;
use wire::{RemoteError, registrar::Query};

use super::RegistryHandle;
use crate::registry::{Caller, RegistryError};

/// Since when it is cut off: by the time since its start, in milliseconds and one more; 0 if it is
/// not.
#[derive(Debug, Default)]
pub(super) struct CutOff(AtomicU64);

impl RegistryHandle {
    /// Records that nothing has been heard of its cluster for so long that "there is none" is no
    /// knowledge any more; `None` once it hears of it again.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use std::time::Duration;
    ///
    /// use callsign::registrar::{Limits, RegistryHandle};
    ///
    /// let registry = RegistryHandle::unattended(Limits::default());
    /// assert_eq!(registry.cut_off(), None, "it is of no cluster");
    /// registry.set_cut_off(Some(Duration::ZERO));
    /// assert!(registry.cut_off().is_some());
    /// registry.set_cut_off(None);
    /// assert_eq!(registry.cut_off(), None);
    /// ```
    pub fn set_cut_off(&self, unheard: Option<Duration>) {
        let uptime_ms = self.0.clock.uptime_ms();
        let since = |it: Duration| uptime_ms.saturating_sub(it.as_millis() as u64) + 1;
        self.0.cut_off.0.store(unheard.map_or(0, since), Ordering::Relaxed);
    }

    /// Returns for how long it has heard nothing of its cluster, if it is cut off from it. Until it
    /// hears of it again, that a name is not there is no knowledge.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::{Limits, RegistryHandle};
    ///
    /// assert_eq!(RegistryHandle::unattended(Limits::default()).cut_off(), None, "it is alone");
    /// ```
    pub fn cut_off(&self) -> Option<Duration> {
        let since_ms = self.0.cut_off.0.load(Ordering::Relaxed).checked_sub(1)?;
        Some(Duration::from_millis(self.0.clock.uptime_ms().saturating_sub(since_ms)))
    }

    /// Tells whether "there is none" is knowledge: it has neither just started, nor is it cut off from its
    /// cluster.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use std::time::Duration;
    ///
    /// use callsign::registrar::{Limits, RegistryHandle};
    ///
    /// let registry = RegistryHandle::unattended(Limits::default());
    /// assert!(registry.knows_all());
    /// registry.set_cut_off(Some(Duration::from_secs(9)));
    /// assert!(!registry.knows_all());
    /// ```
    pub fn knows_all(&self) -> bool {
        self.settling().is_none() && self.cut_off().is_none()
    }

    /// Fails if the answer to a query would be a "no" that it cannot know. A registrar that has just
    /// started says that in another way.
    pub(crate) fn may_answer(&self, query: &Query<'_>, by: &Caller) -> Result<(), RemoteError> {
        match self.cut_off() {
            None => Ok(()),
            Some(unheard) => self.knows(query, by, unheard),
        }
    }

    #[cold]
    fn knows(&self, query: &Query<'_>, by: &Caller, unheard: Duration) -> Result<(), RemoteError> {
        // What is no name is nobody's.
        let Ok(name) = Name::new(query.name) else { return Ok(()) };
        let (state, _looked) = self.look_at_declared(query.name);
        match state.registry.lacks(query, by) {
            Some(is_known) if self.settling().is_none() => {
                let for_ms = unheard.as_millis() as u64;
                Err(RegistryError::Unheard { name, is_known, for_ms }.into())
            }
            _ => Ok(()),
        }
    }
}
