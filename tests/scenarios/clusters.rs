//! Registrars that share what they know, through a real etcd.

#![expect(clippy::print_stderr, reason = "who runs a test reads what it says")]

use std::process::{Child, Command, Stdio};

use crate::{
    echo,
    harness::{Node, Room, free_port},
};

/// An etcd of one member. Dropping it kills it.
struct Etcd {
    child: Child,
    endpoint: String,
}

impl Etcd {
    /// Starts it; registrars wait for it by themselves. `None` where there is none.
    fn start(room: &Room) -> Option<Self> {
        if Command::new("etcd").arg("--version").output().is_err() {
            eprintln!("skipped: `etcd` cannot be started (on Debian: apt-get install etcd-server)");
            return None;
        }
        let endpoint = format!("http://127.0.0.1:{}", free_port());
        let peers = format!("http://127.0.0.1:{}", free_port());
        let child = Command::new("etcd")
            .args(["--name", "n0", "--data-dir"])
            .arg(room.file("etcd"))
            .args(["--listen-client-urls", &endpoint, "--advertise-client-urls", &endpoint])
            .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &format!("n0={peers}")])
            .args(["--logger", "zap", "--log-level", "error"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Some(Self { child: child.unwrap(), endpoint })
    }

    /// Starts a node of a cluster.
    #[track_caller]
    fn node<'room>(&self, room: &'room Room, name: &str) -> Node<'room> {
        let settings = format!(
            "[registrar]\nsettle_time = \"0s\"\n[cluster]\nengine = \"etcd\"\n\
             endpoints = [\"{}\"]\nnode = \"{name}\"\n",
            self.endpoint
        );
        let settings = room.write(&format!("{name}.toml"), &settings);
        let socket = room.unix(&format!("{name}.sock"));
        Node::start_with(room, &[&socket], &["--config", &settings])
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn what_one_registrar_knows_the_others_tell() {
    let room = Room::new();
    let Some(etcd) = Etcd::start(&room) else { return };
    let (rome, oslo) = (etcd.node(&room, "rome"), etcd.node(&room, "oslo"));
    let mut watch = oslo.run(&["watch", "--json"]);
    let endpoint = echo::listen(&room.unix("feed.sock")).unwrap();
    let feed = rome.run(&["register", "feed", &endpoint]);
    let ready = watch.json("feed", |it| it["change"] == "add" && it["name"] == "feed");
    assert_eq!(ready["node"], "rome");

    oslo.callsign(&["find", "feed"]).succeeds().prints(&["node", "rome"]);
    rome.callsign(&["ls"]).succeeds().prints(&["feed", "session "]);
    oslo.callsign(&["ls"]).succeeds().prints(&["feed", "session at rome"]);
    for (node, at, expected) in [
        ("rome", &oslo, true),
        ("rome", &rome, true),
        ("oslo", &oslo, false),
        ("oslo", &rome, false),
    ] {
        let listed = at.callsign(&["ls", "--node", node, "--json"]);
        assert_eq!(listed.stdout.contains("\"feed\""), expected, "{node}: {listed}");
    }
    // The numbers are those of the last beat.
    let mut status = oslo.callsign(&["status"]).succeeds();
    while !status.stdout.contains("rome  1 records, heard") {
        status = oslo.callsign(&["status"]).succeeds();
    }
    status.prints(&["the node oslo, through etcd at"]);
    let refused = oslo.callsign(&["unregister", "feed"]);
    assert!(refused.stderr.contains("the node `rome` of the cluster keeps"), "{refused}");

    feed.kill();
    let gone = watch.json("feed", |it| it["change"] == "remove");
    assert_eq!((&gone["name"], &gone["reason"]), (&"feed".into(), &"session-ended".into()));

    rome.callsign(&["register", "clock", "/unix/@clock", "--ttl", "10m"]).succeeds();
    watch.json("clock", |it| it["change"] == "add" && it["name"] == "clock");
    rome.kill();
    let gone = watch.json("clock", |it| it["change"] == "remove");
    assert_eq!((&gone["name"], &gone["reason"]), (&"clock".into(), &"node-lost".into()));
}

#[test]
fn a_registrar_without_etcd_answers_and_says_so() {
    let room = Room::new();
    let Some(etcd) = Etcd::start(&room) else { return };
    let oslo = etcd.node(&room, "oslo");
    oslo.callsign(&["register", "clock", "/unix/@clock", "--ttl", "10m"]).succeeds();
    drop(etcd);
    let mut node = oslo;
    node.says("not connected to etcd");
    node.callsign(&["find", "clock"]).succeeds();
    let status = node.callsign(&["status"]).succeeds();
    status.prints(&["the node oslo, cut off; what it says of others is"]);
}
