//! Two users and the root of a container on one node, over a Unix socket and over the loopback:
//! none of them evicts, replaces, drains, shadows or exhausts another, or borrows its rights.

use std::{
    fs,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
    path::Path,
};

use serde_json::{Value, json};

use crate::{
    harness::{Outcome, Running, tcp_address},
    owners::{ALICE, BOB, Users},
};

/// The users of the node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Party {
    Alice,
    Bob,
    /// Root in a separate user namespace, and user 4713 outside.
    Container,
}

use Party::{Alice, Bob, Container};

const PARTIES: [Party; 3] = [Alice, Bob, Container];

/// A way to the node.
struct Way<'a> {
    users: &'a Users,
    registrar: &'a str,
}

impl Way<'_> {
    fn start(&self, party: Party, args: &[&str]) -> Running {
        match party {
            Alice => self.users.run(ALICE, self.registrar, args),
            Bob => self.users.run(BOB, self.registrar, args),
            Container => self.users.run_in_container(self.registrar, args),
        }
    }

    #[track_caller]
    fn run(&self, party: Party, args: &[&str]) -> Outcome {
        self.start(party, args).outcome()
    }

    #[track_caller]
    fn is_denied(&self, party: Party, args: &[&str]) -> Outcome {
        let denied = self.run(party, args).ends_with(4);
        assert!(denied.stdout.is_empty(), "{denied}");
        denied
    }

    /// Returns the answers of everybody for a name, without ages.
    #[track_caller]
    fn found(&self, name: &str) -> Value {
        let mut found = self.run(Alice, &["find", name, "--all", "--json"]).succeeds().json();
        for record in found.as_array_mut().unwrap() {
            record.as_object_mut().unwrap().remove("age_ms");
        }
        found
    }
}

const RULES: &str = "\
[quotas]
instances = 5
sessions = 6
waits = 3
watches = 3
[names]
leader = { register = [\"any\"], exclusive = true }
few = { register = [\"any\"], max_instances = 6 }
";

#[test]
fn no_party_changes_the_entries_of_another() {
    let Some(users) = Users::new() else { return };
    let file = users.room.write("market.toml", RULES);
    let node = users.node_with(&["/ip4/127.0.0.1/tcp/0"], &["--config", &file]);
    let registrars = node.endpoints().to_vec();
    // Only the victim may open this; a user that makes the registrar open it borrows its rights.
    let private = users.room.file("home-0/private.sock");
    let secret = UnixListener::bind(&private).unwrap();
    secret.set_nonblocking(true).unwrap();
    let private = format!("/unix{}", private.display());
    for (at, registrar) in registrars.iter().enumerate() {
        let way = Way { users: &users, registrar };
        for victim in PARTIES {
            let name = &format!("of-{victim:?}-{at}").to_lowercase();
            let place = users.room.abstract_unix(name);
            let address = SocketAddr::from_abstract_name(place.trim_start_matches("/unix/@"));
            let _listener = UnixListener::bind_addr(&address.unwrap()).unwrap();
            let lease = |place: &str| ["register", name, place, "--ttl", "10m"].map(str::to_owned);
            let mine = lease(&place);
            way.run(victim, &mine.each_ref().map(String::as_str)).succeeds();
            way.run(victim, &["register", "leader", &place, "--ttl", "10m"]).succeeds();
            let before = (way.found(name), way.found("leader"));
            for attacker in PARTIES.into_iter().filter(|it| *it != victim) {
                // Evicts, drains, renews.
                for verb in ["unregister", "drain", "renew"] {
                    way.is_denied(attacker, &[verb, name]);
                    way.is_denied(attacker, &[verb, "leader"]);
                }
                // A replacement: the same command from another user, and other ones.
                way.is_denied(attacker, &mine.each_ref().map(String::as_str));
                let other =
                    [&mine.each_ref().map(String::as_str)[..], &["--meta", "by=me"]].concat();
                way.is_denied(attacker, &other);
                // Shadows: under the name, under a name of a single instance, and at the same
                // place.
                let elsewhere = lease("/unix/@elsewhere");
                let denied = way.is_denied(attacker, &elsewhere.each_ref().map(String::as_str));
                denied.says(&["take another name", "[names]"]);
                let denied =
                    way.is_denied(attacker, &["register", "leader", "/unix/@x", "--ttl", "1m"]);
                denied.says(&["--wait", "market.toml:7"]);
                let own = &format!("by-{attacker:?}-{at}").to_lowercase();
                way.run(attacker, &["register", own, &place, "--ttl", "5m"]).succeeds();
                // Borrows: makes the registrar look where the attacker may not.
                let lure = &format!("lure-{attacker:?}-{at}").to_lowercase();
                way.run(attacker, &["register", lure, &private, "--ttl", "5m"]).succeeds();
                assert_ne!(way.run(attacker, &["connect", lure]).code, Some(0));
                let told = way.run(attacker, &["whoami", "--json"]).succeeds().json();
                assert_eq!(told[0]["whoami"]["is_trusted"], false, "{told}");
                way.run(attacker, &["unregister", own]).succeeds();
                let lured = way.run(attacker, &["unregister", lure]);
                // It may be gone already, found dead.
                assert!(matches!(lured.code, Some(0 | 1)), "{lured}");
            }
            assert_eq!((way.found(name), way.found("leader")), before, "{victim:?}");
            way.run(victim, &["unregister", "leader"]).succeeds();
            way.run(victim, &["unregister", name]).succeeds();
        }
    }
    node.stop().succeeds();
    let nobody = secret.accept().unwrap_err();
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock, "nobody was led there");
}

#[test]
fn an_exhausted_quota_does_not_affect_other_owners() {
    let Some(users) = Users::new() else { return };
    let file = users.room.write("market.toml", RULES);
    let node = users.node_with(&["/ip4/127.0.0.1/tcp/0"], &["--config", &file]);
    let registrars = node.endpoints().to_vec();
    for registrar in &registrars {
        let way = Way { users: &users, registrar };
        for greedy in PARTIES {
            let mut numbers = 0..;
            let mut lease = |party: Party, name: &str| {
                let place = format!("/unix/@lease-{party:?}-{:?}", numbers.next());
                way.run(party, &["register", name, &place, "--ttl", "10m"])
            };
            let others = || PARTIES.into_iter().filter(|it| *it != greedy);
            for _ in 0..5 {
                lease(greedy, "few").succeeds();
            }
            let refused = lease(greedy, "few").ends_with(4);
            refused.says(&["of at most 5", "take some out", "[quotas]"]);
            for party in others() {
                lease(party, &format!("own-{party:?}").to_lowercase()).succeeds();
                way.run(party, &["unregister", &format!("own-{party:?}").to_lowercase()])
                    .succeeds();
            }
            // A name that several may have has room for another.
            let [other, _] = others().collect::<Vec<_>>()[..] else { unreachable!() };
            lease(other, "few").succeeds();
            lease(other, "few")
                .ends_with(4)
                .says(&["all the instances that its rule lets it have"]);
            way.run(other, &["find", "few"]).succeeds();
            for party in [greedy, other] {
                let own = ["unregister", "few", "--all"];
                assert!(way.run(party, &own).code.is_some());
            }

            let mut waiting = Vec::new();
            for _ in 0..3 {
                waiting.push(way.start(greedy, &["wait", "nobody"]));
            }
            let status = || {
                let told = way.run(Alice, &["status", "--json"]).succeeds().json();
                told[0]["status"].clone()
            };
            while status()["waiters"] != 3 {}
            way.run(greedy, &["wait", "nobody"]).ends_with(4).says(&["waiting calls"]);
            for party in others() {
                way.run(party, &["wait", "nobody", "--timeout", "100ms"]).ends_with(1);
            }
            for _ in 0..3 {
                let mut watch = way.start(greedy, &["watch", "nobody", "--json"]);
                watch.json("that it has begun", |it| it["change"] == "synced");
                waiting.push(watch);
            }
            // So are its connections.
            assert_ne!(way.run(greedy, &["status"]).code, Some(0));
            for party in others() {
                way.run(party, &["status"]).succeeds();
                let mut watch = way.start(party, &["watch", "nobody", "--json"]);
                watch.json("that it has begun", |it| it["change"] == "synced");
            }
            for running in waiting {
                running.stop();
            }
            while status()["sessions"] != 1 {}
        }
    }
}

/// Programs of tractor's belong to their users too.
#[test]
fn a_tractor_program_changes_nothing_of_another_user() {
    let Some(users) = Users::new() else { return };
    // A program that users other than root may start.
    let python = "/usr/bin/python3";
    if !Path::new(python).exists() {
        return;
    }
    let node = users.node(&["/ip4/127.0.0.1/tcp/0"]);
    let script = users.room.write("say.py", SAY);
    for (at, registrar) in node.endpoints().iter().enumerate() {
        let (way, name) = (Way { users: &users, registrar }, format!("chat-{at}"));
        let ask = |user: u32, calls: &[Value]| -> Running {
            let own = json!({
                "msg_type": "Aid", "name": name, "uuid": "u", "pid": 7, "is_registrar": false,
            });
            let messages = [&[own][..], calls].concat();
            let bytes: Vec<u8> = messages.iter().flat_map(frame).collect();
            let said = users.room.file(&format!("said-{user}-{at}-{}", calls.len()));
            fs::write(&said, bytes).unwrap();
            let place = match registrar.strip_prefix("/unix") {
                Some(path) => path.to_owned(),
                None => tcp_address(registrar).1.to_string(),
            };
            let mut command = users.command_as(user, python);
            command.args([&script, &place]).arg(said);
            Running::start(command)
        };
        let call = |func: &str, kwargs: Value| {
            json!({
                "msg_type": "Start", "cid": "c", "ns": "self", "func": func, "kwargs": kwargs,
                "uid": [name, "u"],
            })
        };
        let uid = json!([name, "u"]);
        let register = |uid: &Value, port: u16| {
            call("register_actor", json!({ "uid": uid, "addr": ["127.0.0.1", port] }))
        };
        // The registrar looks who listens there: it is Alice.
        let mut own = ask(ALICE, &[register(&uid, OWN_PORT)]);
        let port: u16 = own.line_with("port ").trim_start_matches("port ").parse().unwrap();
        own.line_with("answered");
        // A listener that never answers becomes suspect, whoever asks.
        let found = || {
            let mut found = way.found(&name);
            found[0]["suspicion"].take();
            found
        };
        way.run(Alice, &["wait", &name, "--timeout", "5m"]).succeeds();
        let before = found();
        assert_eq!(before[0]["owner"], format!("user:{ALICE}"), "{before}");
        for calls in [
            vec![call("unregister_actor", json!({ "uid": uid }))],
            vec![register(&uid, 1)],
            vec![register(&json!([name, "another"]), port)],
            vec![call("delete_addr", json!({ "addr": ["127.0.0.1", port] }))],
        ] {
            let mut by_bob = ask(BOB, &calls);
            by_bob.line("an answer or an error", |it| it == "answered" || it == "refused");
            by_bob.close_input();
            assert_eq!(found(), before, "{calls:?}");
        }
        way.is_denied(Bob, &["unregister", &name]);
        own.close_input();
    }
}

fn frame(message: &Value) -> Vec<u8> {
    let body = wire::encode_body(message);
    [&(body.len() as u32).to_le_bytes()[..], &body].concat()
}

/// Stands for the port of the listener.
const OWN_PORT: u16 = 0xbeef;

/// Sends the contents of a file to a registrar, prints whether it was answered, and stays until its
/// input ends. If the file names its own port, it listens there.
const SAY: &str = r#"
import socket, struct, sys

place, said = sys.argv[1:]
if place.startswith("/"):
    stream = socket.socket(socket.AF_UNIX)
    stream.connect(place)
else:
    stream = socket.create_connection(("127.0.0.1", int(place)))
said = open(said, "rb").read()
if b"\xcd\xbe\xef" in said:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    print("port", port, flush=True)
    said = said.replace(b"\xcd\xbe\xef", b"\xcd" + struct.pack(">H", port))
stream.sendall(said)
incoming = stream.makefile("rb")
while True:
    length = incoming.read(4)
    if len(length) < 4:
        print("refused", flush=True)
        break
    body = incoming.read(struct.unpack("<I", length)[0])
    if b"Error" in body or b"Return" in body:
        print("refused" if b"Error" in body else "answered", flush=True)
        break
sys.stdin.read()
"#;
