//! Where this process's own listeners are found is followed, not remembered.

use std::sync::Arc;

use transport::Changes;

use super::Hub;

/// Keeps what is published of this process's listeners up to date, until the client is closed.
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
