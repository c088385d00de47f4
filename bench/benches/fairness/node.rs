//! The node that is flooded.

use std::{
    io::Read,
    iter,
    path::Path,
    process::{Child, Command, Stdio},
};

use callsign_bench::{Client, batches, lookups};
use endpoints::Endpoint;
use rustix::process::Pid;

use crate::{SERVER, floods::runtime, place};

/// A node of its own process.
pub(crate) struct Node {
    child: Child,
    pub(crate) endpoint: Endpoint,
    _folder: tempfile::TempDir,
}

impl Node {
    pub(crate) fn start(binary: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = format!("/unix{}/registrar.sock", folder.path().display());
        let mut child = Command::new(binary)
            .args(["registrar", "--settle-time", "0s", "--listen", &socket])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        place(Some(Pid::from_child(&child)), SERVER);
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 1]).unwrap();
        Self { child, endpoint: socket.parse().unwrap(), _folder: folder }
    }

    /// Returns what a calm client asks.
    pub(crate) fn asks(&self) -> impl FnMut() + use<> {
        let runtime = runtime();
        let mut client = runtime.block_on(Client::greet(&self.endpoint));
        let asked = batches(&lookups(iter::once("calm".to_owned())), 1).remove(0);
        move || runtime.block_on(client.exchange(&asked, 1))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
