//! Updates of this process's own published endpoints.

use std::sync::Arc;

use transport::Changes;

use super::Hub;

/// Keeps this process's published endpoints up to date, until the client is closed.
pub(crate) async fn follow_whereabouts(hub: Arc<Hub>) {
    let mut changes = Changes::new();
    loop {
        tokio::select! {
            biased;
            () = hub.closing.cancelled() => return,
            () = changes.next() => hub.desired.follow_whereabouts(),
        }
    }
}
