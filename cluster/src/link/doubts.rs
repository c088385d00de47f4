//! What a node that is cut off from etcd says of the instances of others: it has not heard of them.

use std::time::Duration;

use tokio::{task::yield_now, time::Instant};
use uuid::Uuid;

use super::{Link, TURN};

impl Link {
    /// Puts what others keep in doubt, if nothing has been heard for longer than a lease: whatever has
    /// ended meanwhile is still there.
    pub(super) async fn doubt(&mut self) {
        let unheard = Instant::now().saturating_duration_since(self.heard_at);
        if unheard > self.settings.lease && !std::mem::replace(&mut self.is_in_doubt, true) {
            self.registry.set_cut_off(Some(unheard));
            let doubted = self.view.doubt();
            self.judge(&doubted, Some(unheard)).await;
        }
    }

    /// Takes what others keep for the present again, once their beats have come too. This node's own has
    /// come back, and with it all that has happened before.
    pub(super) async fn trust(&mut self) {
        self.is_in_doubt = false;
        self.registry.set_cut_off(None);
        let trusted = self.view.trust();
        self.judge(&trusted, None).await;
    }

    /// Changes the evidence against instances, and lets others run in between.
    async fn judge(&self, uuids: &[Uuid], unheard: Option<Duration>) {
        for some in uuids.chunks(TURN) {
            self.registry.doubt_remote(some, unheard);
            yield_now().await;
        }
    }
}
