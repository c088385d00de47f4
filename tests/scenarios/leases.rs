//! Registrations with a lease.

use std::os::unix::net::UnixListener;

use rustix::process::Signal;

use crate::harness::{Node, Peer, Room, Running, register, registration};

#[test]
fn a_lease_runs_out_and_watchers_hear_of_it() {
    let room = Room::new();
    let node = Node::start(&room);
    let mut watch = watch(&node);

    let registered = node.callsign(&["register", "clock", "/unix/@clock", "--ttl", "200ms"]);
    registered.succeeds().prints(&["registered clock[", "for 200ms"]);
    let added = watch.json("an instance that is there", |it| it["change"] == "add");
    assert_eq!((&added["lifetime"], &added["ttl_ms"]), (&"lease".into(), &200.into()));
    let removed = watch.json("an instance that is gone", |it| it["change"] == "remove");
    assert_eq!(removed["reason"], "lease-expired");
    node.callsign(&["find", "clock"]).ends_with(1);
}

/// Nobody registers it again, and its server lives.
#[test]
fn a_lease_whose_folder_is_away_for_a_moment_stays() {
    let room = Room::new();
    let node = Node::start(&room);
    let (folder, away) = (room.file("run"), room.file("away"));
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("web.sock");
    let server = UnixListener::bind(&path).unwrap();
    let endpoint = format!("/unix{}", path.display());
    node.callsign(&["register", "web", &endpoint, "--ttl", "10m", "--state", "ready"]).succeeds();
    let mut watch = node.run(&["watch", "web", "--json"]);
    watch.json("the lease", |it| it["change"] == "add");

    std::fs::rename(&folder, &away).unwrap();
    let is_told = |it: &serde_json::Value| it["change"].is_string() && it["change"] != "synced";
    // Whoever does not reach it says so, and the registrar looks.
    node.callsign(&["connect", "web"]).ends_with(1);
    let doubted = watch.json("a doubt", is_told);
    assert_eq!(doubted["change"], "update", "{doubted}");
    assert!(doubted["suspicion"]["reports"].is_number(), "{doubted}");
    std::fs::rename(&away, &folder).unwrap();
    let cleared = watch.json("its end", is_told);
    assert!(cleared["change"] == "update" && cleared["suspicion"].is_null(), "{cleared}");

    // If it has ended too, it is taken out.
    std::fs::rename(&folder, &away).unwrap();
    drop(server);
    node.callsign(&["connect", "web"]).ends_with(1);
    let gone = watch.json("its removal", is_told);
    assert_eq!((&gone["change"], &gone["reason"]), (&"remove".into(), &"found-dead".into()));
}

/// The token of an exclusive name was told by `find` alone, and then perhaps of another holder.
#[test]
fn who_gets_an_exclusive_name_is_told_its_token() {
    let room = Room::new();
    room.write("node.toml", "[names]\nleader = { exclusive = true }\n");
    let node = Node::start_with(&room, &[&room.unix("r.sock")], &["--config", "node.toml"]);
    let lease = ["register", "leader", "/unix/@leader-of-token", "--ttl", "10m", "--wait"];
    let first = node.callsign(&[&lease[..], &["--json"]].concat()).succeeds().json();
    let token = first["token"].as_u64().unwrap();
    let again = node.callsign(&lease).succeeds();
    again.prints(&["renewed leader[", &format!("for 10m, with the fencing token {token}\n")]);
    node.callsign(&["unregister", "leader"]).succeeds();
    // The next holder has a higher one.
    let mut held = node.run(&["register", "leader", "/unix/@leader-of-token", "--json"]);
    let held = held.json("a registration", |it| it["name"] == "leader");
    assert!(held["token"].as_u64() > Some(token), "{held}");
    let other = node.callsign(&["register", "web", "/unix/@web-of-token", "--ttl", "10m"]);
    assert!(!other.succeeds().stdout.contains("token"));
}

/// One of the two values was registered, without a word.
#[test]
fn a_key_of_metadata_has_one_value() {
    let room = Room::new();
    let node = Node::start(&room);
    let register = ["register", "web", "/unix/@web-of-metadata", "--ttl", "10m", "--meta", "a=1"];
    let twice = node.callsign(&[&register[..], &["--meta", "a=2"]].concat()).ends_with(2);
    twice.says(&["`--meta` gives the key `a` twice", "leave out one"]);
    node.callsign(&[&register[..], &["--meta", "A=2"]].concat()).succeeds();
}

#[test]
fn a_lease_is_renewed_and_given_up() {
    let room = Room::new();
    let node = Node::start(&room);
    let mut watch = watch(&node);
    let register = ["register", "clock", "/unix/@clock", "--ttl", "10m", "--json"];
    let first = node.callsign(&register).succeeds().json();
    assert_eq!(first["renewed"], false);

    // The same command again renews the lease of the same instance.
    let again = node.callsign(&register).succeeds().json();
    assert_eq!((&again["renewed"], &again["uuid"]), (&true.into(), &first["uuid"]));
    let renewed = node.callsign(&["renew", "clock", "--json"]).succeeds().json();
    assert_eq!((&renewed["uuid"], &renewed["ttl_ms"]), (&first["uuid"], &600_000.into()));

    // Nor does it undo what an operator wants, whatever else it says anew.
    node.callsign(&["drain", "clock"]).succeeds();
    for more in [&[][..], &["--state", "ready"], &["--meta", "desk=fx"]] {
        let drained = node.callsign(&[&register[..], more].concat()).succeeds().json();
        assert_eq!((&drained["uuid"], &drained["state"]), (&first["uuid"], &"draining".into()));
    }
    let said = node.callsign(&["register", "clock", "/unix/@clock", "--ttl", "10m"]).succeeds();
    said.says(&["it is draining", "drain --undo"]);
    node.callsign(&["find", "clock"]).ends_with(1);
    node.callsign(&["drain", "--undo", "clock"]).succeeds();
    node.callsign(&["find", "clock"]).succeeds();

    let digits = &first["uuid"].as_str().unwrap()[..8];
    node.callsign(&["unregister", digits]).succeeds().prints(&["unregistered clock["]);
    let removed = watch.json("an instance that is gone", |it| it["change"] == "remove");
    assert_eq!(removed["reason"], "unregistered");
    node.callsign(&["renew", "clock"]).ends_with(1);
}

/// `connect` once left before it had reported what did not answer.
#[test]
fn a_lease_whose_actor_is_dead_goes_when_somebody_tries_to_connect() {
    let room = Room::new();
    let node = Node::start_with(&room, &[&room.unix("registrar.sock")], &["-v"]);
    let mut watch = watch(&node);
    let socket = UnixListener::bind(room.file("nobody.sock")).unwrap();
    let nobody = room.unix("nobody.sock");
    node.callsign(&["register", "clock", &nobody, "--ttl", "10m"]).succeeds();
    drop(socket);

    node.callsign(&["connect", "clock", "-vv"]).ends_with(1).says(&[
        "does not answer",
        &nobody,
        "DEBUG a candidate rank=1 name=clock uuid=",
        "locality=unix socket",
        "error=\"connection refused: nobody listens there\"",
    ]);
    let removed = watch.json("an instance that is gone", |it| it["change"] == "remove");
    assert_eq!(removed["reason"], "found-dead");
    node.stop().says(&[
        "INFO an endpoint is said not to answer uuid=",
        "evidence=Refused",
        "INFO looked into uuid=",
        "result=Dead",
        "INFO an endpoint is evicted uuid=",
    ]);
}

#[test]
fn a_lease_begins_without_a_registrar_and_is_there_when_one_is() {
    let room = Room::new();
    let place = room.unix("registrar.sock");
    let other = room.unix("other.sock");
    // The socket is made while no registrar answers, and gets its final stamp.
    let endpoint = room.unix("clock.sock");
    let register = |more: &[&str]| {
        let words = ["register", "clock", &endpoint, "--ttl", "10m", "--registrar", &place];
        room.run(&[&words[..], more].concat())
    };
    let mut plain = register(&[]);
    let mut json = register(&["--json", "--registrar", &other]);
    plain.says("no registrar answers; `clock` cannot be found");
    plain.says("it is registered when one answers");
    json.says("it is registered when one answers");
    let mut ended = register(&[]);
    ended.says("it is registered when one answers");
    assert_eq!(ended.stop_by(Signal::INT).signal, Some(2));
    let _socket = UnixListener::bind(room.file("clock.sock")).unwrap();

    let node = Node::start_with(&room, &[&place], &["--settle-time", "0s"]);
    let registered = plain.line_with("clock[");
    let plain = plain.outcome().succeeds();
    assert!(!plain.stderr.contains("nobody listens"), "{registered}\n{plain}");
    let said = json.json("the registration", |_| true);
    assert_eq!((&said["lifetime"], &said["ttl_ms"]), (&"lease".into(), &600_000.into()));
    json.outcome().succeeds();
    node.callsign(&["find", "clock"]).succeeds();
    // A registered instance is found: either one has renewed the lease of the other, or both are
    // there.
    let listed = node.callsign(&["ls", "clock", "--json"]).succeeds().json();
    assert!(listed[0]["nearest"] == *endpoint, "{listed}");

    // A stopped registrar is waited for in the same way; one that refuses is not.
    node.process().signal(Signal::STOP);
    let mut late = node.run(&["register", "late", "/unix/@late", "--ttl", "10m"]);
    late.says("it is registered when one answers");
    node.process().signal(Signal::CONT);
    late.outcome().succeeds().prints(&["registered late["]);
    let denied = ["register", "short", "/unix/@short", "--ttl", "1ms"];
    node.callsign(&denied).ends_with(2).says(&["a lease lasts from 100ms"]);
}

/// Watches the actor, which has no instance yet.
#[track_caller]
fn watch(node: &Node<'_>) -> Running {
    let mut watch = node.run(&["watch", "clock", "--json"]);
    watch.json("the end of the snapshot", |it| it["change"] == "synced");
    watch
}

#[test]
fn renew_of_an_ended_lease_says_what_may_have_ended_it() {
    let room = Room::new();
    let node = Node::start_with(&room, &[&room.unix("registrar.sock")], &["--settle-time", "0s"]);
    let register = ["register", "clock", "/unix/@clock", "--ttl", "10m", "--json"];
    let uuid = node.callsign(&register).succeeds().json()["uuid"].as_str().unwrap().to_owned();
    let node = node.restart();
    let ended = "a lease ends at its time, with its registrar, or when nobody is found there";
    let is_unknown = |target: &str| {
        let unknown = node.callsign(&["renew", target]).ends_with(1);
        unknown.says(&["register it again: ", ended]);
    };
    is_unknown("clock");
    is_unknown(&uuid[..8]);
    node.callsign(&register).succeeds();
    node.callsign(&["renew", "clock"]).succeeds();
    // Its registrar lives on.
    node.callsign(&["unregister", "clock"]).succeeds();
    is_unknown("clock");
}

/// Anybody may register a name that looks like another instance's UUID.
#[test]
fn digits_that_are_also_a_name_mean_no_other_actor() {
    let room = Room::new();
    let node = Node::start(&room);
    let lease = |name: &str| {
        let endpoint = room.abstract_unix(name);
        node.callsign(&["register", name, &endpoint, "--ttl", "5m"]).succeeds();
        node.callsign(&["ls", name, "--json"]).json()[0]["uuid"].as_str().unwrap().to_owned()
    };
    let uuid = lease("one");
    let short = uuid[..8].to_owned();
    node.callsign(&["renew", &short]).succeeds();
    lease(&short);
    lease(&uuid);

    // As before, it means that instance, or none.
    let twice = format!("`{short}` names an actor, and begins the UUID of another's instance");
    for command in ["renew", "drain", "unregister"] {
        node.callsign(&[command, &short]).ends_with(2).says(&[&twice, "NAME[UUID]"]);
    }
    node.callsign(&["renew", &uuid]).succeeds();
    node.callsign(&["unregister", &format!("{short}[{}]", lease(&short))]).succeeds();
    node.callsign(&["unregister", &uuid]).succeeds();
    let left = node.callsign(&["ls", "--json"]).json();
    assert_eq!((left.as_array().unwrap().len(), left[0]["name"].as_str()), (1, Some(&*uuid)));
}

/// A name of hexadecimal digits that is not registered, as `feed`, is not another's instance.
#[test]
fn a_short_name_means_nobody_elses_instance() {
    let room = Room::new();
    let node = Node::start(&room);
    let mut mail = registration("mail", vec![]);
    mail.uuid = "feed0000-5b1e-4c7a-9d1f-0b6c2a7e4d55".parse().unwrap();
    let mut registrant = Peer::greet(node.endpoint());
    let (method, body) = register(&mail);
    registrant.call(method, &body).unwrap();
    for command in ["renew", "drain", "unregister"] {
        for typed in ["feed", "feed000"] {
            let none = format!("no actor and no instance `{typed}` is registered");
            let meant = ["first 8 digits", "`feed0000` is of `mail`"];
            node.callsign(&[command, typed]).ends_with(1).says(&[&none]).says(&meant);
        }
    }
    let listed = node.callsign(&["ls", "--json"]).json();
    assert_eq!((&listed[0]["name"], &listed[0]["state"]), (&"mail".into(), &"ready".into()));
    node.callsign(&["unregister", "feed0000"]).succeeds().prints(&["mail[feed0000"]);
}
