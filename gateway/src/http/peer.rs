//! The one who asks.

use std::sync::Arc;

use registrar::{ForeignSession, Holding};
use tokio_util::sync::CancellationToken;
use transport::Peer as TransportPeer;

use super::{
    problem::Problem,
    seen::Viewpoint,
    shared::Shared,
    socket::{Socket, Way},
};

/// The one who asks over a connection.
pub(super) struct Peer {
    pub(super) session: ForeignSession,
    pub(super) from: TransportPeer,
    /// To see it go.
    pub(super) socket: Socket,
    pub(super) shared: Arc<Shared>,
    /// Cancelled when the node stops.
    pub(super) stop: CancellationToken,
}

impl Peer {
    /// Charges bytes that wait to be written to the owner of the connection, until the result is
    /// dropped.
    pub(super) fn charge(&self, bytes: usize) -> Result<Holding, Problem> {
        let mut holding = self.session.holding();
        holding.set(bytes)?;
        Ok(holding)
    }

    /// Lets `look` see records from here.
    pub(super) fn seen<T>(&self, look: impl FnOnce(&Viewpoint<'_>) -> T) -> T {
        let surroundings = &self.shared.surroundings;
        let here = surroundings.here();
        look(&Viewpoint { here: &here, root: self.shared.root, surroundings })
    }

    /// Returns by which way it asks.
    pub(super) fn way(&self) -> Way {
        self.socket.way()
    }
}
