//! Registrars that share what they know, through a real etcd.

#![expect(clippy::print_stderr, reason = "who runs a test reads what it says")]

use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use serde_json::json;

use crate::{
    dns::dig,
    echo,
    harness::{Node, Room, Running, free_port},
    http::{Answer, has_curl},
    tractor::{self, Actor},
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
        self.node_with(room, name, "")
    }

    /// Starts a node of a cluster with more settings.
    #[track_caller]
    fn node_with<'room>(&self, room: &'room Room, name: &str, more: &str) -> Node<'room> {
        let settings = format!(
            "[registrar]\nsettle_time = \"0s\"\n[cluster]\nengine = \"etcd\"\n\
             endpoints = [\"{}\"]\nnode = \"{name}\"\n{more}",
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

/// What has ended meanwhile looks the same, so nobody goes on because of it.
#[test]
fn a_registrar_that_is_cut_off_says_so_of_what_others_keep() {
    let room = Room::new();
    let Some(etcd) = Etcd::start(&room) else { return };
    let http = format!("[http]\nlisten = \"{}\"\n", room.unix("oslo.http"));
    let (rome, oslo) = (etcd.node(&room, "rome"), etcd.node_with(&room, "oslo", &http));
    let mut watch = oslo.run(&["watch", "--json"]);
    rome.callsign(&["register", "clock", "/ip4/127.0.0.1/tcp/9", "--ttl", "10m"]).succeeds();
    oslo.callsign(&["wait", "clock", "--anywhere"]).succeeds();
    drop(etcd);
    watch.json("clock", |it| it["change"] == "update" && it["suspicion"]["cut_off"] == true);
    let why = "the registrar is cut off from its cluster";
    oslo.callsign(&["find", "clock"]).succeeds().prints(&["ready, suspect for", why]);
    oslo.callsign(&["ls"]).succeeds().prints(&["ready, suspect"]);
    let waited = oslo.callsign(&["wait", "clock", "--anywhere", "--timeout", "100ms"]);
    assert!(waited.code == Some(1) && waited.stderr.contains(why), "{waited}");
    if has_curl() {
        let told = ask(&room, "oslo", &[], "/v1/actors/clock?wait=100ms");
        assert_eq!(told.json()[0]["suspicion"]["cut_off"], true, "{told:?}");
    }
}

/// Asks a node by HTTP.
#[track_caller]
fn ask(room: &Room, node: &str, words: &[&str], path: &str) -> Answer {
    let mut command = room.other_command("curl");
    command.args(["--silent", "--show-error", "--include", "--max-time", "240", "--unix-socket"]);
    command.arg(room.file(&format!("{node}.http"))).args(words);
    command.arg(format!("http://localhost{path}"));
    Answer::read(&Running::start(command).outcome().succeeds().stdout)
}

/// Whoever comes by HTTP or as a program of tractor has an exclusive name by the cluster's decision, too.
#[test]
fn an_exclusive_name_has_one_holder_whatever_door_it_comes_by() {
    let (true, Some(python)) = (has_curl(), tractor::python()) else { return };
    let room = Room::new();
    let Some(etcd) = Etcd::start(&room) else { return };
    let node = |name: &str| {
        let socket = room.unix(&format!("{name}.http"));
        let more =
            format!("[http]\nlisten = \"{socket}\"\n[names]\nleader = {{ exclusive = true }}\n");
        let node = etcd.node_with(&room, name, &more);
        while node.callsign(&["status"]).stdout.contains("cut off") {}
        node
    };
    let (rome, oslo) = (node("rome"), node("oslo"));
    let path = |number: u32| format!("/v1/instances/7d444840-9dc0-11d1-b245-5ffdce74fad{number}");
    let put = |node: &str, number: u32| {
        let body = format!(
            "{{\"name\": \"leader\", \"endpoints\": [\"/unix/@leader-{number}\"], \
             \"ttl_ms\": 240000}}"
        );
        ask(&room, node, &["-X", "PUT", "--data-binary", &body], &path(number))
    };
    let token = |answer: &Answer| answer.json()["token"].as_u64().unwrap();
    let first = put("rome", 1);
    assert_eq!(first.status, 201, "{first:?}");
    let renewed = put("rome", 1);
    assert_eq!((renewed.status, token(&renewed)), (200, token(&first)), "{renewed:?}");

    let second = put("oslo", 2);
    let said = second.json()["detail"].to_string();
    assert_eq!(second.status, 403, "{second:?}");
    assert!(said.contains("at the node `rome`") && !said.contains("--"), "{said}");
    let native = ["register", "leader", "/unix/@leader-3", "--ttl", "4min"];
    let refused = oslo.callsign(&native);
    assert!(refused.stderr.contains("at the node `rome`"), "{refused}");
    let mut foreign = Actor::start(&oslo, &python, "leader", "unix");
    assert_eq!(foreign.ask("register"), json!({"error": "PermissionError"}));

    assert_eq!(ask(&room, "rome", &["-X", "DELETE"], &path(1)).status, 204);
    while foreign.ask("register") != json!(null) {}
    let listed = oslo.callsign(&["ls", "--json"]).json();
    let held = listed[0]["token"].as_u64().unwrap();
    assert!(held > token(&first) && listed[0]["lifetime"] == "foreign", "{listed}");
    let refused = put("rome", 1);
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(refused.json()["detail"].to_string().contains("at the node `oslo`"), "{refused:?}");

    foreign.running.signal(Signal::KILL);
    let mut last = put("rome", 1);
    while last.status == 403 {
        last = put("rome", 1);
    }
    assert!(last.status == 201 && token(&last) > held, "{last:?}");
    // A node that is cut off gives no name.
    drop(etcd);
    while !rome.callsign(&["status"]).stdout.contains("cut off") {}
    // Until its lease at etcd has ended, its own have their names.
    let mut refused = put("rome", 4);
    while !refused.json()["detail"].to_string().contains("cut off") {
        assert_eq!(refused.status, 403, "{refused:?}");
        refused = put("rome", 4);
    }
    assert_eq!(
        (refused.status, &refused.json()["kind"]),
        (503, &"undecided".into()),
        "{refused:?}"
    );
    // Nothing was denied, and the same command may succeed later.
    let lead = ["register", "leader", "/ip4/127.0.0.1/tcp/9", "--state", "ready", "--ttl", "1m"];
    rome.callsign(&lead).ends_with(3).says(&["cut off from its cluster"]);
}

/// What tractor's programs have registered comes back after a restart of their node, by a new decision.
#[test]
fn a_program_of_tractor_has_its_exclusive_name_again_after_a_restart() {
    let Some(python) = tractor::python() else { return };
    let room = Room::new();
    let Some(etcd) = Etcd::start(&room) else { return };
    let node = || etcd.node_with(&room, "rome", "[names]\nsnake = { exclusive = true }\n");
    let rome = node();
    let mut snake = Actor::start(&rome, &python, "snake", "unix");
    while snake.ask("register") != json!(null) {}
    let token = |node: &Node<'_>| node.callsign(&["ls", "--json"]).json()[0]["token"].as_u64();
    let first = token(&rome).unwrap();
    rome.kill();
    let rome = node();
    let mut watch = rome.run(&["watch", "--json"]);
    watch.json("snake", |it| it["change"] == "add" && it["name"] == "snake");
    assert!(token(&rome).unwrap() > first);
}

/// "I cannot ask" is never "there is none".
#[test]
fn a_registrar_that_is_cut_off_does_not_say_no() {
    let room = Room::new();
    let Some(etcd) = Etcd::start(&room) else { return };
    let http = room.unix("oslo.http");
    let more = format!("[http]\nlisten = \"{http}\"\n[dns]\nlisten = \"127.0.0.1:0\"\n");
    let (rome, oslo) = (etcd.node(&room, "rome"), etcd.node_with(&room, "oslo", &more));
    rome.callsign(&["register", "clock", "/ip4/127.0.0.1/tcp/9", "--ttl", "10m"]).succeeds();
    oslo.callsign(&["wait", "clock", "--anywhere"]).succeeds();
    oslo.callsign(&["find", "two"]).ends_with(1);
    drop(etcd);
    rome.callsign(&["register", "two", "/ip4/127.0.0.1/tcp/9", "--ttl", "10m"]).succeeds();
    // Until a lease is over, others may still be as they were.
    while oslo.callsign(&["find", "two"]).code == Some(1) {}
    let why = "does not know `two`, and is cut off from its cluster for";
    oslo.callsign(&["find", "two"]).ends_with(3).says(&[why, "another node may have it"]);
    let brief = "no registrar that was reached can tell";
    oslo.callsign(&["resolve", "two"]).says(&[brief]).ends_with(3).says(&[why]);
    oslo.callsign(&["connect", "two"]).ends_with(3).says(&[why]);
    oslo.callsign(&["wait", "two", "--timeout", "100ms"]).ends_with(3).says(&[why]);
    oslo.callsign(&["find", "clock"]).succeeds().prints(&["ready, suspect for"]);
    let others = "actors of others may be missing";
    oslo.callsign(&["ls"]).succeeds().prints(&["clock"]).says(&[others]);
    oslo.callsign(&["ls", "two"]).succeeds().says(&[others]);
    rome.callsign(&["find", "two"]).succeeds();
    if let Some(told) = dig(&room, oslo.dns(), &["two.callsign"]) {
        assert!(told.contains("status: SERVFAIL"), "{told}");
    }
    if has_curl() {
        let told = ask(&room, "oslo", &[], "/v1/actors/two");
        assert_eq!(told.status, 503, "{told:?}");
        assert_eq!(told.json()["kind"], "undecided", "{told:?}");
        let told = ask(&room, "oslo", &[], "/v1/actors/clock");
        assert_eq!(told.status, 200, "{told:?}");
        assert!(told.header("callsign-cut-off-ms").parse::<u64>().is_ok(), "{told:?}");
        assert_eq!(ask(&room, "oslo", &[], "/readyz").status, 200, "it serves");
    }
}
