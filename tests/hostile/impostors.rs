//! Other users of a host, who would like to pass for a calm one, or be rid of it.

use std::{
    fs,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            fs::PermissionsExt,
            net::{SocketAddr, UnixListener},
        },
    },
    process::Command,
    thread,
};

use rustix::process::geteuid;
use uuid::Uuid;
use wire::{
    ErrorKind, Owner, State, encode_body,
    registrar::{
        FIND, Query, REGISTER, RENEW, Register, Renew, UNREGISTER, UNREGISTER_ALL, UPDATE,
        Unregister, UnregisterAll, Update,
    },
};

use crate::{
    chance::become_user,
    harness::{Node, Peer, Room, Running, registration, stamped},
};

const CALM: u32 = 4710;
const STRANGER: u32 = 4711;

/// Does something as a user.
fn as_user<T: Send>(user: u32, what: impl FnOnce() -> T + Send) -> T {
    let run = || {
        become_user(user);
        what()
    };
    thread::scope(|scope| scope.spawn(run).join()).unwrap()
}

#[expect(clippy::print_stderr, reason = "who runs it is to see that it is skipped")]
fn is_root() -> bool {
    let is_root = geteuid().is_root();
    if !is_root {
        eprintln!("skipped: it takes root to be other users");
    }
    is_root
}

/// Listens in an actor's place, so that nobody finds it dead.
fn listen_at(place: &str) -> UnixListener {
    let name = place.strip_prefix("/unix/@").expect("it is an abstract name");
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap()
}

/// A room that other users may enter.
fn open_room() -> Room {
    let room = Room::new();
    fs::set_permissions(room.path(), fs::Permissions::from_mode(0o755)).unwrap();
    room
}

/// Tries all that ends an instance of another, changes it, or takes its place. Returns what was let.
fn attack(peer: &mut Peer, victim: &Register) -> Vec<&'static str> {
    let uuid = victim.uuid;
    let again = |name: &str| Register {
        uuid,
        endpoints: victim.endpoints.clone(),
        ..registration(name, vec![])
    };
    let drain = Update { uuid, endpoints: None, metadata: None, state: Some(State::Draining) };
    let move_it = Update { endpoints: Some(vec![]), state: None, ..drain.clone() };
    let calls = [
        ("unregister", UNREGISTER, encode_body(&Unregister { uuid })),
        ("drain", UPDATE, encode_body(&drain)),
        ("move", UPDATE, encode_body(&move_it)),
        ("renew", RENEW, encode_body(&Renew { uuid })),
        ("register its UUID", REGISTER, encode_body(&again(victim.name.as_str()))),
        ("register its UUID by another name", REGISTER, encode_body(&again("other"))),
    ];
    let mut let_through: Vec<_> = calls
        .into_iter()
        .filter(|(_, method, body)| peer.call(method, body).is_ok())
        .map(|(what, ..)| what)
        .collect();
    // Of many, those that are one's own are taken out.
    let all = UnregisterAll { uuids: vec![uuid, Uuid::new_v4()] };
    drop(peer.call(UNREGISTER_ALL, &encode_body(&all)));
    let found = peer.call(FIND, &encode_body(&Query::of(victim.name.as_str()))).unwrap();
    if !contains(&found, victim.uuid) {
        let_through.push("take it out with others");
    }
    let_through
}

fn contains(answer: &[u8], uuid: Uuid) -> bool {
    answer.windows(16).any(|it| it == uuid.as_bytes())
}

/// Whoever is newer is found first, so that is what somebody else would like to be.
#[test]
fn a_newer_feed_of_another_user_is_nobodys_feed() {
    if !is_root() {
        return;
    }
    let room = open_room();
    let listen = [&*room.abstract_unix("r"), "/ip4/127.0.0.1/tcp/0"];
    let open = "[names]\nopen = { register = [\"any\"] }\n";
    let settings = room.write("callsign.toml", open);
    let node = Node::start_with(&room, &listen, &["--config", &settings]);

    for endpoint in node.endpoints() {
        let place = room.abstract_unix(&format!("calm-{}", Uuid::new_v4().simple()));
        let _listener = listen_at(&place);
        let victims = ["feed", "open"].map(|it| registration(it, vec![stamped(&place)]));
        let mut calm = as_user(CALM, || Peer::greet(endpoint));
        for victim in &victims {
            calm.call(REGISTER, &encode_body(victim)).unwrap();
        }
        for other in node.endpoints() {
            as_user(STRANGER, || {
                let mut stranger = Peer::greet(other);
                for victim in &victims {
                    assert_eq!(attack(&mut stranger, victim), [""; 0], "{}", victim.name);
                }
                // At the very same place, ready, for a while, or in line: the name is not his.
                let newer = registration("feed", victims[0].endpoints.clone());
                let leased = Register { lease_ms: Some(60_000), ..newer.clone() };
                let waiting = Register { wait: true, ..newer.clone() };
                for forged in [newer, leased, waiting] {
                    let denied = stranger.call(REGISTER, &encode_body(&forged)).unwrap_err();
                    assert_eq!(denied.kind, ErrorKind::Denied, "{denied:?}");
                }
                // Where a rule lets anybody, those are told apart by who they are.
                let newer = registration("open", victims[1].endpoints.clone());
                stranger.call(REGISTER, &encode_body(&newer)).unwrap();
                let of_calm = Query { owner: Some(Owner::User(CALM)), ..Query::of("open") };
                let found = stranger.call(FIND, &encode_body(&of_calm)).unwrap();
                assert!(contains(&found, victims[1].uuid) && !contains(&found, newer.uuid));
            });
        }
        let found = node.callsign(&["find", "feed", "--json"]).succeeds().json();
        assert_eq!(
            (&found["owner"], &found["uuid"]),
            (&format!("user:{CALM}").into(), &victims[0].uuid.to_string().into(),)
        );
        drop(calm);
        node.comes_to(crate::harness::Counts {
            instances: 0,
            sessions: 0,
            waiters: 0,
            watchers: 0,
        });
    }
    node.stop().succeeds();
}

/// They are all the same number there, which is nobody's.
#[test]
fn whom_a_user_namespace_does_not_map_has_nothing_of_the_others() {
    if !is_root() {
        return;
    }
    let room = open_room();
    let listen = [&*room.abstract_unix("r"), "/ip4/127.0.0.1/tcp/0"];
    let mut command = room.other_command("unshare");
    command.args(["--user", "--map-root-user", env!("CARGO_BIN_EXE_callsign"), "registrar"]);
    for endpoint in &listen {
        command.args(["--listen", endpoint]);
    }
    let mut registrar = Running::start(command);
    let listening = "listening on ";
    let endpoints = listen.map(|_| registrar.line_with(listening).replace(listening, ""));

    for endpoint in &endpoints {
        let place = room.abstract_unix(&format!("calm-{}", Uuid::new_v4().simple()));
        let _listener = listen_at(&place);
        let victim = registration("feed", vec![stamped(&place)]);
        let mut calm = as_user(CALM, || Peer::greet(endpoint));
        calm.call(REGISTER, &encode_body(&victim)).unwrap();
        // Nor has another connection of the same user.
        for (user, other) in [STRANGER, CALM, 65_534].into_iter().zip(endpoints.iter().cycle()) {
            as_user(user, || {
                let mut stranger = Peer::greet(other);
                assert_eq!(attack(&mut stranger, &victim), [""; 0], "user {user}");
                let newer = registration("feed", victim.endpoints.clone());
                let denied = stranger.call(REGISTER, &encode_body(&newer)).unwrap_err();
                assert_eq!(denied.kind, ErrorKind::Denied, "{denied:?}");
            });
        }
        calm.call(UNREGISTER, &encode_body(&Unregister { uuid: victim.uuid })).unwrap();
    }
    registrar.stop().succeeds();
}

/// The usual port belongs to whoever binds it first.
#[test]
fn a_registrar_of_another_user_at_the_usual_port_is_not_asked() {
    if !is_root() {
        return;
    }
    let room = open_room();
    let program = room.file("callsign");
    fs::copy(env!("CARGO_BIN_EXE_callsign"), &program).unwrap();
    let mut network = room.other_command("unshare");
    network.args(["--net", "sh", "-c", "ip link set lo up && echo up && exec sleep infinity"]);
    let mut network = Running::start(network);
    network.line_with("up");
    let namespace = format!("--net=/proc/{}/ns/net", network.pid());
    let by = |user: u32, args: &[&str]| {
        let home = room.file(&format!("home-{user}"));
        if fs::create_dir(&home).is_ok() {
            std::os::unix::fs::chown(&home, Some(user), Some(user)).unwrap();
        }
        let mut command: Command = room.other_command("nsenter");
        let number = user.to_string();
        command.args([&namespace, "setpriv", "--reuid", &number, "--regid", &number]);
        command.arg("--clear-groups").arg(&program).args(args);
        command.env("HOME", &home).env("XDG_RUNTIME_DIR", &home);
        Running::start(command)
    };
    let port = "/ip4/127.0.0.1/tcp/1616";
    let lease = |name, place| ["register", name, place, "--ttl", "5m"];

    let mut strange = by(STRANGER, &["registrar"]);
    strange.line_with(&format!("listening on {port}"));
    for name in ["feed", "clock"] {
        by(STRANGER, &lease(name, "/unix/@strange")).outcome().succeeds();
    }
    // Whatever it has, nobody else is led there, or leaves anything there.
    for user in [CALM, 0] {
        for command in [
            &["find", "feed"][..],
            &["resolve", "feed"],
            &["connect", "feed"],
            &["ls"],
            &["wait", "feed", "--timeout", "100ms"],
        ] {
            let asked = by(user, command).outcome().ends_with(3);
            asked.says(&[&format!("a registrar of user {STRANGER}")]);
        }
        let mut waiting = by(user, &lease("web", "/unix/@calm"));
        waiting.says(&format!("a registrar of user {STRANGER} listens there"));
        waiting.stop();
    }
    let there = by(STRANGER, &["ls", "--json"]).outcome().succeeds().stdout;
    assert!(there.contains("clock") && !there.contains("web"), "{there}");

    // One's own goes first, and the stranger's newer instance is not seen.
    let mut own = by(CALM, &["registrar"]);
    own.line_with("listening on /unix/");
    by(CALM, &lease("feed", "/unix/@calm")).outcome().succeeds();
    by(STRANGER, &lease("feed", "/unix/@strange")).outcome().succeeds();
    let found = by(CALM, &["find", "feed", "--all", "--json"]).outcome().succeeds().json();
    let owners: Vec<_> = found.as_array().unwrap().iter().map(|it| &it["owner"]).collect();
    assert_eq!(owners, [&format!("user:{CALM}")], "{found}");
    by(CALM, &["find", "clock"]).outcome().ends_with(1);
    own.stop().succeeds();
    strange.stop().succeeds();
}
