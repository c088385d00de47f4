//! Owners by certificate, and what is closed without one.

use std::process::Command;

use rustix::process::geteuid;

use crate::{
    harness::{Node, Outcome, Room, Running},
    tls::{TLS, authority, settings},
};

const FEED: &str = "spiffe://callsign.internal/feed";
const DESK: &str = "spiffe://callsign.internal/desk";

/// A node over TLS with settings of names, and clients with certificates of its authority.
struct Market {
    room: Room,
}

impl Market {
    fn new(names: &str) -> Self {
        let room = Room::new();
        authority(&room, "keys");
        for name in ["feed", "desk"] {
            room.callsign(&["keys", "issue", "keys", name]).succeeds();
            settings(&room, &format!("{name}.toml"), "keys", name);
        }
        let dns = ["keys", "issue", "keys", "ticker", "--host", "ticker.example"];
        room.callsign(&dns).succeeds();
        settings(&room, "node.toml", "keys", "node");
        let written = std::fs::read_to_string(room.file("node.toml")).unwrap();
        room.write("node.toml", &format!("{written}{names}"));
        Self { room }
    }

    fn node(&self) -> Node<'_> {
        let unix = self.room.unix("registrar.sock");
        Node::start_with(&self.room, &[TLS, &unix], &["--config", "node.toml", "-v"])
    }
}

/// Starts a command with the certificate of one of them.
fn run(node: &Node<'_>, whose: &str, args: &[&str]) -> Running {
    node.run(&[&["--config", &format!("{whose}.toml")], args].concat())
}

fn ask(node: &Node<'_>, whose: &str, args: &[&str]) -> Outcome {
    run(node, whose, args).outcome()
}

#[test]
fn a_certificate_is_an_owner_wherever_users_are() {
    let market = Market::new("");
    let mut node = market.node();
    ask(&node, "feed", &["whoami"]).succeeds().prints(&[FEED]);
    let who = ask(&node, "feed", &["whoami", "--json"]).succeeds().json();
    assert!(who.to_string().contains(&format!("tls:{FEED}")), "{who}");

    let mut registrant = run(&node, "feed", &["register", "bid", "/unix/@bid-of-tls"]);
    registrant.line_with("registered");
    node.says(&format!("by={FEED}"));
    let found = ask(&node, "desk", &["find", "bid", "--json", "--all", "--owner", FEED]);
    assert_eq!(found.succeeds().json()[0]["owner"], format!("tls:{FEED}"));
    ask(&node, "desk", &["find", "bid", "--all", "--owner", DESK]).ends_with(1).says(&[FEED]);
    let others = ask(&node, "desk", &["status", "--owners"]).succeeds();
    others.prints(&[DESK]);

    // Nobody else changes what it has, and its name is its own.
    ask(&node, "desk", &["drain", "bid"]).ends_with(4).says(&[FEED, DESK]);
    let again = ["register", "bid", "/unix/@bid-of-others", "--ttl", "5m"];
    ask(&node, "desk", &again).ends_with(4).says(&[FEED]);
    // By another connection, with the same certificate.
    ask(&node, "feed", &["drain", "bid"]).succeeds();
}

#[test]
fn rules_and_quotas_hold_for_certificates() {
    let market = Market::new(&format!(
        "[names]\n\"bid\" = {{ register = [\"tls:{FEED}\"] }}\n\
         \"team.*\" = {{ register = [\"tls:spiffe://callsign.internal/*\"] }}\n\
         \"quiet\" = {{ find = [\"tls:{DESK}\"] }}\n\
         \"user\" = {{ register = [\"user:4711\"] }}\n\
         [quotas.\"tls:{DESK}\"]\ninstances = 1\n"
    ));
    let node = market.node();
    let register = |whose: &str, name: &str| {
        let place = format!("/unix/@{name}-of-{whose}");
        ask(&node, whose, &["register", name, &place, "--ttl", "5m", "--state", "ready"])
    };
    register("feed", "bid").succeeds();
    register("desk", "bid").ends_with(4).says(&["node.toml:"]);
    register("feed", "team.one").succeeds();
    register("feed", "user").ends_with(4);
    register("feed", "quiet").succeeds();
    ask(&node, "desk", &["find", "quiet"]).succeeds();
    register("desk", "team.two").succeeds();
    let beyond = register("desk", "team.three").ends_with(4);
    beyond.says(&[DESK, "instances"]);
}

/// The rules of a network: without `/tls` there is none, unless that is written.
#[test]
fn beyond_the_loopback_there_is_tls_or_the_word_insecure() {
    let room = Room::new();
    let outs = ["`/tls`", "`--insecure`", "`insecure = true`"];
    for listen in ["/ip4/0.0.0.0/tcp/0", "/ip6/::/tcp/0", "/ip4/192.0.2.7/tcp/1616"] {
        let closed = room.callsign(&["registrar", "--listen", listen]).ends_with(2);
        closed.says(&[listen, "has no TLS"]).says(&outs);
        // What the file says is known before.
        room.write("it.toml", &format!("[registrar]\nlisten = [\"/unix/@it\", \"{listen}\"]\n"));
        let check = |more: &[&str]| room.callsign(&[&["check", "it.toml"], more].concat());
        let refused = check(&[]).ends_with(2);
        let refused =
            refused.prints(&["error: `", listen, "it.toml:2:", "1 file checked: 1 error"]);
        refused.prints(&outs);
        check(&["--insecure"]).ends_with(0).prints(&["nothing wrong"]);
    }
    room.write(
        "it.toml",
        "[registrar]\nlisten = [\"/ip4/0.0.0.0/tcp/1616/tls\", \"/ip6/::1/tcp/1\"]\n",
    );
    let listen = "/ip4/0.0.0.0/tcp/1616/tls";
    let bare = room.callsign(&["check", "it.toml", "--insecure"]).ends_with(2);
    bare.prints(&[listen, "it.toml:2:", "needs a certificate", "`[tls]`", "1 error"]);
    room.callsign(&["registrar", "--config", "it.toml"]).ends_with(2).says(&["certificate"]);
    for command in ["ls", "registrar"] {
        let mut unclear = room.command(&[command]);
        unclear.env("CALLSIGN_INSECURE", "perhaps");
        let unclear = Running::start(unclear).outcome().ends_with(2);
        unclear.says(&["CALLSIGN_INSECURE:1:1", "it means neither", "CALLSIGN_INSECURE=true"]);
    }
    if !geteuid().is_root() || !Command::new("ip").arg("-V").status().is_ok_and(|it| it.success()) {
        eprintln!("skipped: it takes root, and `ip` of iproute2");
        return;
    }
    // A network of its own, in which this host has an address.
    let callsign = env!("CARGO_BIN_EXE_callsign");
    let (one, other) = (room.unix("one.sock"), room.file("ready").display().to_string());
    let script = format!(
        "ip link set lo up; ip address add 10.99.0.1/32 dev lo
         {callsign} registrar --insecure --listen /ip4/10.99.0.1/tcp/1616 --listen {one} \
             --ready-fd 3 3>{other} & node=$!
         while ! grep -q ready {other}; do sleep 0.05; done
         at=/ip4/10.99.0.1/tcp/1616
         echo '[registrar]\nlisten = \"/ip4/10.99.0.1/tcp/1616\"\ninsecure = true' > it.toml
         {callsign} ls --registrar $at; echo refused $?
         {callsign} ls --registrar $at --insecure; echo flag $?
         {callsign} ls --config it.toml; echo setting $?
         CALLSIGN_INSECURE=1 {callsign} ls --registrar $at; echo variable $?
         CALLSIGN_INSECURE=no {callsign} ls --registrar $at; echo against $?
         CALLSIGN_INSECURE=true CALLSIGN_LISTEN=/ip4/10.99.0.1/tcp/0 timeout -s INT 2 \
             {callsign} registrar
         {callsign} ls --registrar {one}; echo socket $?
         kill $node; wait $node"
    );
    let mut command = room.other_command("unshare");
    command.args(["-n", "sh", "-c", &script]);
    let outcome = Running::start(command).outcome();
    outcome.says(&["10.99.0.1", "has no TLS"]).says(&outs).prints(&[
        "refused 3",
        "flag 0",
        "setting 0",
        "variable 0",
        "against 3",
        "listening on /ip4/10.99.0.1/tcp/",
        "socket 0",
    ]);
}
