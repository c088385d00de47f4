//! The registrar's own entry, which follows its listeners.

use std::sync::Weak;

use transport::{Changes, Listener};

use crate::RegistryHandle;

/// The entry, with the remaining listeners.
pub(super) struct Own {
    pub(super) registry: RegistryHandle,
    pub(super) listeners: Vec<Weak<Listener>>,
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
        self.registry.move_own(published.collect());
    }
}
