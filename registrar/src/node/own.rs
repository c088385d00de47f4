//! The registrar's own entry, which follows its listeners.

use std::sync::{Mutex, PoisonError, Weak};

use endpoints::Stamped;
use transport::{Changes, Listener, Whereabouts};

use crate::RegistryHandle;

/// The entry, with the remaining listeners.
pub(super) struct Own {
    pub(super) registry: RegistryHandle,
    pub(super) listeners: Vec<Weak<Listener>>,
    pub(super) whereabouts: Mutex<Whereabouts>,
}

impl Own {
    pub(super) async fn follow(&self, mut changes: Changes) {
        loop {
            changes.next().await;
            self.tell();
        }
    }

    pub(super) fn tell(&self) {
        let there = self.listeners.iter().filter_map(Weak::upgrade);
        let published = there.filter(|it| !it.is_displaced()).flat_map(|it| it.published());
        let mut published: Vec<Stamped> = published.collect();
        let mut whereabouts = self.whereabouts.lock().unwrap_or_else(PoisonError::into_inner);
        whereabouts.withhold(&mut published);
        drop(whereabouts);
        self.registry.move_own(published);
    }
}
