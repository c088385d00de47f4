//! The node that is flooded.

use std::{iter, path::Path};

use callsign_bench::{Client, batches, lookups, server::ServerProcess};
use endpoints::Endpoint;

use crate::floods::runtime;

/// A node of its own process.
pub(crate) struct Node {
    _process: ServerProcess,
    pub(crate) endpoint: Endpoint,
}

impl Node {
    pub(crate) fn start(binary: &Path) -> Self {
        let process = ServerProcess::callsign(binary, "", &[]);
        let endpoint = format!("/unix{}", process.socket.display()).parse().unwrap();
        Self { _process: process, endpoint }
    }

    /// Returns what a calm client asks.
    pub(crate) fn asks(&self) -> impl FnMut() + use<> {
        let runtime = runtime();
        let mut client = runtime.block_on(Client::greet(&self.endpoint));
        let asked = batches(&lookups(iter::once("calm".to_owned())), 1).remove(0);
        move || runtime.block_on(client.exchange(&asked, 1))
    }
}
