//! Which of an actor's endpoints are published: those at which it is seen to listen.

use serde_json::Value;

use crate::{
    harness::{Node, Room, Running},
    presence::{Place, SERVER},
    programs::python,
};

/// Waits until watchers see an actor ready at exactly these endpoints.
#[track_caller]
fn until(watch: &mut Running, expected: &[&Place]) {
    watch.json("its endpoints", |it| it["state"] == "ready" && are(&it["endpoints"], expected));
}

fn are(endpoints: &Value, expected: &[&Place]) -> bool {
    let theirs = endpoints.as_array().cloned().unwrap_or_default();
    let is_there = |place: &&Place| theirs.iter().any(|it| it["endpoint"] == place.endpoint);
    theirs.len() == expected.len() && expected.iter().all(is_there)
}

#[test]
fn a_program_is_published_only_where_it_listens() {
    let room = Room::new();
    let node = Node::start(&room);
    let check = |name: &str, live: Place, late: Place, stolen: Place| {
        let mut watch = node.run(&["watch", name, "--json"]);
        watch.json("the end of the snapshot", |it| it["change"] == "synced");
        let register = ["register", name, &stolen.endpoint, &late.endpoint, &live.endpoint, "--"];
        let server = [&python()[..], "-c", SERVER, name, &live.bound];
        let mut program = node.run(&[&register[..], &server].concat());
        until(&mut watch, &[&live]);
        let silent = |place: &Place| format!("`{name}` does not listen at {}: ", place.endpoint);
        program.says(&silent(&stolen));
        program.says(&silent(&late));
        node.callsign(&["connect", name]).succeeds().prints(&[name]);

        program.type_line(&format!("bind {}", late.bound));
        program.says(&format!("`{name}` listens at {}", late.endpoint));
        until(&mut watch, &[&late, &live]);

        let stranger = stolen.serve(&room, "a stranger");
        program.says(&format!("{}process ", silent(&stolen)));
        stranger.kill();
        program.says(&silent(&stolen));
        let listed = node.callsign(&["ls", name, "--json"]).json();
        assert!(are(&listed[0]["endpoints"], &[&late, &live]), "{listed}");
        node.callsign(&["connect", name]).succeeds().prints(&[name]);
        program.stop();
    };
    let port = || Place::port("127.0.0.1");
    check("one", port(), Place::path(&room, "a.sock"), Place::name(&room, "b"));
    check("two", Place::path(&room, "c.sock"), port(), port());
}

#[test]
fn a_server_is_published_only_where_somebody_listens() {
    let room = Room::new();
    let node = Node::start(&room);
    let check = |name: &str, late: Place, live: Place| {
        let mut watch = node.run(&["watch", name, "--json"]);
        watch.json("the end of the snapshot", |it| it["change"] == "synced");
        let mut server = live.serve(&room, name);
        let mut registrant = node.run(&["register", name, &late.endpoint, &live.endpoint]);
        registrant.says(&format!("nobody listens at {} yet; it is published", late.endpoint));
        until(&mut watch, &[&live]);
        node.callsign(&["connect", name]).succeeds().prints(&[name]);

        server.type_line(&format!("bind {}", late.bound));
        registrant.says(&format!("`{name}` listens at {}", late.endpoint));
        until(&mut watch, &[&late, &live]);
        registrant.stop();
        server.kill();
    };
    check("one", Place::name(&room, "a"), Place::port("127.0.0.1"));
    check("two", Place::port("127.0.0.1"), Place::port("127.0.0.1"));
    check("three", Place::path(&room, "a.sock"), Place::name(&room, "c"));
}

/// A caller that was refused at one endpoint and served at the next once made the actor suspect.
#[test]
fn a_fallback_makes_nobody_suspect() {
    let room = Room::new();
    let node = Node::start(&room);
    for (index, dead) in [Place::name(&room, "dead"), Place::port("127.0.0.1")].iter().enumerate() {
        let name = format!("lease-{index}");
        let live = Place::port("127.0.0.1");
        let _server = live.serve(&room, "it");
        let register = ["register", &name, &dead.endpoint, &live.endpoint, "--ttl", "10m"];
        node.callsign(&register).succeeds();
        for _ in 0..3 {
            node.callsign(&["connect", &name]).succeeds().prints(&["it"]);
        }
        let listed = node.callsign(&["ls", &name, "--json"]).json();
        assert_eq!(listed[0]["suspicion"], Value::Null, "{listed}");
    }
}
