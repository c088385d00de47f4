//! An etcd, and nodes that share through it.

use std::{io::Read, path::Path, process::Stdio, time::Duration};

use callsign_bench::server::ServerProcess;
use discovery::{Client, Standing};
use endpoints::Endpoint;
use tokio::time::sleep;
use wire::registrar::{ClusterStatus, Status};

use crate::{
    etcd::{self, Etcd},
    relay::Relay,
    wire::{BETWEEN, Wire},
};

/// The names of the nodes.
pub(crate) const NODES: [&str; 3] = ["rome", "oslo", "bern"];

/// Three members of an etcd and three nodes.
pub(crate) struct Stage {
    pub(crate) nodes: Vec<Node>,
    pub(crate) etcd: Etcd,
    _relays: Vec<Relay>,
    _wire: Option<Wire>,
}

/// A node.
pub(crate) struct Node {
    pub(crate) server: ServerProcess,
    pub(crate) endpoint: Endpoint,
    client: Client,
}

impl Stage {
    /// Starts members and nodes between which bytes take some time, if they do; then on hosts of their own, if
    /// there can be such.
    pub(crate) async fn set(binary: &Path, delay: Option<Duration>) -> Option<Self> {
        let wire = delay.and_then(|_| Wire::lay(NODES.len()));
        let etcd = match &wire {
            None => Etcd::start_apart(NODES.len(), delay).await?,
            Some(wire) => {
                let grounds = wire.hosts.iter().map(|it| it.ground(etcd::PROGRAM.as_ref()));
                Etcd::start_on(grounds.collect(), BETWEEN, delay).await?
            }
        };
        let (mut nodes, mut relays) = (Vec::new(), Vec::new());
        for (at, name) in NODES.iter().enumerate() {
            let mut places = Vec::new();
            for member in 0..NODES.len() {
                let place = (at + member) % NODES.len();
                places.push(match delay {
                    None => etcd.endpoints().swap_remove(place),
                    Some(delay) => {
                        relays.push(etcd.slow_relay(place, delay).await);
                        relays.last().unwrap().endpoint()
                    }
                });
            }
            let host = wire.as_ref().map(|it| it.hosts[at].ground(binary).program);
            nodes.push(Node::start(host.as_deref().unwrap_or(binary), name, &places).await);
        }
        let stage = Self { nodes, etcd, _relays: relays, _wire: wire };
        for node in &stage.nodes {
            node.until(|it, _| it.nodes.iter().filter(|it| it.lives).count() == 2).await;
        }
        Some(stage)
    }
}

impl Node {
    pub(crate) async fn start(binary: &Path, name: &str, places: &[String]) -> Self {
        Self::of(ServerProcess::callsign_anywhere(binary, &settings(name, places), CALM)).await
    }

    pub(crate) async fn of(server: ServerProcess) -> Self {
        let endpoint: Endpoint = format!("/unix{}", server.socket.display()).parse().unwrap();
        let client = Client::connect([endpoint.to_string()]).await.unwrap();
        Self { server, endpoint, client }
    }

    pub(crate) async fn status(&self) -> Status {
        match self.client.status().await.remove(0).standing {
            Standing::Up { status, .. } => *status,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until a node is as wanted. Nothing tells that, so it is asked for.
    pub(crate) async fn until(&self, is_so: impl Fn(&ClusterStatus, u64) -> bool) {
        loop {
            let status = self.status().await;
            if status.cluster.is_some_and(|it| it.error.is_none() && is_so(&it, status.instances)) {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Tells whether a binary and this machine can share, and says so if not.
pub(crate) async fn can_share(binary: &Path) -> bool {
    let Some(etcd) = Etcd::start(1).await else { return false };
    let folder = tempfile::tempdir().unwrap();
    let settings = settings("rome", &etcd.endpoints());
    let mut child = ServerProcess::command(binary, folder.path(), &settings)
        .args(CALM)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // What it says first is where it listens.
    let listens = child.stdout.as_mut().unwrap().read(&mut [0; 1]).unwrap() > 0;
    child.kill().unwrap();
    child.wait().unwrap();
    if !listens {
        println!("cluster: build the node with `cargo build --release --features etcd`");
    }
    listens
}

fn settings(name: &str, places: &[String]) -> String {
    format!("[cluster]\nengine = \"etcd\"\nnode = \"{name}\"\nendpoints = {places:?}\n")
}

/// The bench's own clients answer no heartbeat.
pub(crate) const CALM: &[&str] = &["--heartbeat", "1h"];
