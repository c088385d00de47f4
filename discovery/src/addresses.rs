//! What wildcard addresses mean is followed, not remembered.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use transport::AddressChanges;

use crate::link::Hub;

/// Keeps what is published of this process's wildcard addresses in step with the addresses that
/// this host has, until the client is closed.
pub(crate) async fn follow_addresses(hub: Arc<Hub>) {
    let mut changes = AddressChanges::new().inspect_err(told).ok();
    loop {
        let changed = async {
            match &changes {
                Some(changes) => changes.changed().await,
                None => {
                    sleep(PAUSE).await;
                    Ok(())
                }
            }
        };
        let heard = tokio::select! {
            biased;
            () = hub.closing.cancelled() => return,
            heard = changed => heard,
        };
        if let Err(error) = heard {
            told(&error);
            changes = None;
        }
        hub.board.follow_addresses();
    }
}

fn told(error: &std::io::Error) {
    tracing::debug!(%error, "the kernel does not tell of addresses; they are looked at instead");
}

/// How often the addresses are looked at where the kernel does not tell of changes: an address that
/// has come is published within two seconds.
const PAUSE: Duration = Duration::from_secs(1);
