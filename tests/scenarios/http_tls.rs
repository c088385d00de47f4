//! HTTP over TLS, asked by curl: whoever asks is whom a certificate names.

use std::{fs, process::Command};

use serde_json::json;

use crate::{
    harness::{LIMIT, Node, Outcome, Room, Running, now},
    http::{Answer, has_curl},
    tls::{authority, settings},
};

const UUID: &str = "7d444840-9dc0-11d1-b245-5ffdce74fad2";
const FEED: &str = "spiffe://callsign.internal/feed";
const BODY: &str =
    "{\"name\": \"bid\", \"endpoints\": [\"/ip4/192.0.2.7/tcp/5555\"], \"ttl_ms\": 240000}";

/// Makes certificates of two authorities, and starts a node that answers HTTP over TLS, with more
/// settings.
fn start<'room>(room: &'room Room, names: &str) -> Node<'room> {
    for folder in ["keys", "others"] {
        authority(room, folder);
        for name in ["feed", "desk"] {
            room.callsign(&["keys", "issue", folder, name]).succeeds();
        }
    }
    settings(room, "node.toml", "keys", "node");
    let tls = fs::read_to_string(room.file("node.toml")).unwrap();
    let http = "[registrar]\nsettle_time = \"0s\"\n[http]\nlisten = \"/ip4/127.0.0.1/tcp/0/tls\"\n";
    room.write("node.toml", &format!("{tls}{http}{names}"));
    Node::start_with(room, &[&room.unix("registrar.sock")], &["--config", "node.toml", "-v"])
}

/// The address of the node's HTTP server, for curl.
fn place(node: &Node<'_>) -> String {
    let endpoint = &node.http()[0];
    assert!(endpoint.ends_with("/tls"), "{endpoint}");
    format!("127.0.0.1:{}", endpoint.split('/').nth(4).unwrap())
}

/// A curl that trusts the node, and shows a certificate, if one is given.
fn curl(node: &Node<'_>, whose: Option<&str>, words: &[&str], path: &str) -> Command {
    let mut command = node.room().other_command("curl");
    command.args(["--silent", "--show-error", "--include", "--no-buffer", "--max-time", "240"]);
    command.args(["--cacert", "keys/ca.pem"]);
    if let Some(whose) = whose {
        command.args(["--cert", &format!("{whose}.pem"), "--key", &format!("{whose}.key")]);
    }
    command.args(words).arg(format!("https://{}{path}", place(node)));
    command
}

fn run(node: &Node<'_>, whose: Option<&str>, words: &[&str], path: &str) -> Outcome {
    Running::start(curl(node, whose, words, path)).outcome()
}

#[track_caller]
fn ask(node: &Node<'_>, whose: &str, words: &[&str], path: &str) -> Answer {
    Answer::read(&run(node, Some(&format!("keys/{whose}")), words, path).succeeds().stdout)
}

#[test]
fn whoever_has_a_certificate_registers_from_afar() {
    if !has_curl() {
        return;
    }
    let room = Room::new();
    let node = start(&room, "");
    let path = format!("/v1/instances/{UUID}");
    let put = ["-X", "PUT", "--data", BODY];
    let made = ask(&node, "feed", &put, &path);
    assert_eq!((made.status, &made.json()["renewed"]), (201, &json!(false)), "{made:?}");
    let listed = node.callsign(&["ls", "--json"]).json();
    assert_eq!(
        (&listed[0]["uuid"], &listed[0]["owner"]),
        (&json!(UUID), &json!(format!("tls:{FEED}")))
    );
    assert_eq!(ask(&node, "desk", &[], "/v1/actors").json()[0]["owner"], listed[0]["owner"]);

    // By another connection with the same certificate it is renewed; nobody else changes it.
    let renewed = ask(&node, "feed", &put, &path);
    assert_eq!((renewed.status, &renewed.json()["renewed"]), (200, &json!(true)), "{renewed:?}");
    for words in [&put[..], &["-X", "DELETE"]] {
        let denied = ask(&node, "desk", words, &path);
        assert_eq!((denied.status, &denied.json()["kind"]), (403, &json!("denied")), "{denied:?}");
    }

    // A wait ends with what it waits for, and a wait whose asker goes ends too.
    let waiting = |query: &str| {
        let path = format!("/v1/actors/bid?{query}");
        let waiting = Running::start(curl(&node, Some("keys/desk"), &[], &path));
        comes_to(&node, 1);
        waiting
    };
    let revision = ask(&node, "desk", &[], "/v1/actors/bid").header("callsign-revision");
    let since = format!("wait=240s&after={revision}");
    waiting(&since).kill();
    comes_to(&node, 0);
    let told = waiting(&since);
    assert_eq!(ask(&node, "feed", &["-X", "DELETE"], &path).status, 204);
    assert_eq!(Answer::read(&told.outcome().succeeds().stdout).status, 404);

    // More than fits a record of TLS, and what the kernel takes at once.
    let long = "x".repeat(4000);
    for number in 10..80 {
        let body = BODY.replace("}", &format!(", \"metadata\": {{\"long\": \"{long}\"}}}}"));
        let put = ["-X", "PUT", "--data", &*body];
        let path = format!("/v1/instances/7d444840-9dc0-11d1-b245-5ffdce74fa{number}");
        assert_eq!(ask(&node, "feed", &put, &path).status, 201);
    }
    let all = ask(&node, "desk", &[], "/v1/actors?pattern=bid").json();
    assert_eq!(all.as_array().unwrap().len(), 70);

    // Pages of other sites have no more rights than over a port.
    let origin = |scheme: &str| format!("Origin: {scheme}://{}", place(&node));
    for (origin, status) in [(origin("https"), 200), (origin("http"), 403)] {
        assert_eq!(ask(&node, "desk", &["--header", &origin], "/v1/status").status, status);
    }
    node.stop().succeeds();
}

/// Waits until so many wait or watch.
#[track_caller]
fn comes_to(node: &Node<'_>, watchers: u64) {
    let deadline = now() + LIMIT;
    while node.counts().watchers != watchers {
        assert!(now() < deadline, "{watchers} watchers");
    }
}

#[test]
fn rules_of_names_hold_for_certificates() {
    if !has_curl() {
        return;
    }
    let room = Room::new();
    let rules = format!(
        "[names]\nbid = {{ register = [\"tls:{FEED}\"], find = [\"tls:{FEED}\"] }}\n\
         [quotas.\"tls:{FEED}\"]\ninstances = 1\n"
    );
    let node = start(&room, &rules);
    let path = format!("/v1/instances/{UUID}");
    let put = ["-X", "PUT", "--data", BODY];
    let denied = ask(&node, "desk", &put, &path);
    assert_eq!((denied.status, &denied.json()["kind"]), (403, &json!("denied")), "{denied:?}");
    assert_eq!(ask(&node, "feed", &put, &path).status, 201);
    for (whose, status) in [("feed", 200), ("desk", 404)] {
        assert_eq!(ask(&node, whose, &[], "/v1/actors/bid").status, status, "{whose}");
    }
    let second = "/v1/instances/7d444840-9dc0-11d1-b245-5ffdce74fad3";
    let beyond = ask(&node, "feed", &put, second);
    assert_eq!(
        (beyond.status, &beyond.json()["kind"]),
        (429, &json!("quota-exceeded")),
        "{beyond:?}"
    );
    node.stop().succeeds();
}

#[test]
fn nobody_else_is_answered() {
    if !has_curl() {
        return;
    }
    let room = Room::new();
    let mut node = start(&room, "");
    let path = format!("/v1/instances/{UUID}");
    let put = ["-X", "PUT", "--data", BODY];
    // Not even to read: on a network that would be anybody.
    for words in [&[][..], &put] {
        let none = run(&node, None, words, &path);
        assert!(none.code != Some(0) && none.stdout.is_empty(), "{none}");
        node.says("the other side shows no certificate");
        let foreign = run(&node, Some("others/feed"), words, &path);
        assert!(foreign.code != Some(0) && foreign.stdout.is_empty(), "{foreign}");
        node.says("no authority that is trusted here signed the certificate");
    }
    // It is no server of another authority to a client.
    let wrong = run(&node, Some("keys/feed"), &["--cacert", "others/ca.pem"], "/v1/status");
    assert!(wrong.code != Some(0) && wrong.stdout.is_empty(), "{wrong}");

    let mut plain = room.other_command("curl");
    plain.args(["--silent", "--show-error", "--include", "--max-time", "240"]);
    plain.arg(format!("http://{}/v1/status", place(&node)));
    let plain = Running::start(plain).outcome();
    assert!(plain.code != Some(0) && !plain.stdout.contains("200"), "{plain}");
    node.says("does not speak TLS");
    assert_eq!(ask(&node, "feed", &[], "/v1/status").status, 200);
    assert_eq!(node.callsign(&["ls", "--json"]).json(), json!([]));
    node.stop().succeeds();
}

/// The files are read again when they change, and connections that are open stay.
#[test]
fn certificates_are_rotated() {
    if !has_curl() {
        return;
    }
    let room = Room::new();
    let node = start(&room, "");
    let mut watch = Running::start(curl(&node, Some("keys/desk"), &[], "/v1/watch"));
    watch.line("synced", |it| it == "event: synced");
    // From now on both trust the other authority alone.
    for file in ["ca.pem", "node.pem", "node.key"] {
        fs::copy(room.file(&format!("others/{file}")), room.file("keys/new")).unwrap();
        fs::rename(room.file("keys/new"), room.file(&format!("keys/{file}"))).unwrap();
    }
    let deadline = now() + LIMIT;
    while run(&node, Some("others/feed"), &[], "/v1/status").code != Some(0) {
        assert!(now() < deadline, "the new certificate is not used");
    }
    let former = run(&node, Some("keys/feed"), &[], "/v1/status");
    assert_ne!(former.code, Some(0), "{former}");
    let put = ["-X", "PUT", "--data", BODY];
    let made = run(&node, Some("others/feed"), &put, &format!("/v1/instances/{UUID}"));
    assert_eq!(Answer::read(&made.succeeds().stdout).status, 201);
    watch.line("add", |it| it == "event: add");
    node.stop().succeeds();
}

#[test]
fn a_certificate_is_missing() {
    let room = Room::new();
    authority(&room, "keys");
    let at = "[http]\nlisten = \"/ip4/127.0.0.1/tcp/0/tls\"\n";
    room.write("it.toml", at);
    let said = ["it.toml:2:11", "needs a certificate", "no table `[tls]`"];
    room.callsign(&["check", "it.toml"]).ends_with(2).prints(&said);
    let listen = room.unix("registrar.sock");
    let start = ["registrar", "--config", "it.toml", "--listen", &listen];
    room.callsign(&start).ends_with(2).says(&said);
    settings(&room, "it.toml", "keys", "none");
    let tls = fs::read_to_string(room.file("it.toml")).unwrap();
    room.write("it.toml", &format!("{tls}{at}"));
    room.callsign(&start).ends_with(2).says(&["it.toml:3:16", "cannot be read"]);
}
