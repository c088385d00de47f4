//! A claim to a place, and what is known of who listens there.

use std::{
    fs,
    os::unix::{fs::symlink, net::UnixListener},
};

use crate::{
    harness::{Node, Room, Running, free_port},
    owners::{ALICE, BOB, Users},
    programs::python,
};

/// Starts a node whose log says what it looks into.
fn telling(room: &Room) -> Node<'_> {
    Node::start_with(room, &[&room.unix("registrar.sock")], &["-v"])
}

/// Returns the endpoints that an actor is registered at.
fn endpoints(node: &Node<'_>, name: &str) -> Vec<String> {
    let listed = node.callsign(&["ls", name, "--json"]).succeeds().json();
    let endpoints = listed[0]["endpoints"].as_array().cloned().unwrap_or_default();
    endpoints.iter().map(|it| it["endpoint"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn where_nobody_listens_a_claim_takes_the_place_from_nobody() {
    let room = Room::new();
    let mut node = telling(&room);
    let (lease, ready) = (&["--ttl", "10m"][..], &["--state", "ready"][..]);
    let mut number = 0;
    for (first, second) in [(ready, ready), (ready, lease), (lease, ready), (lease, lease)] {
        number += 1;
        let by_port = format!("/ip4/127.0.0.1/tcp/{}", free_port());
        let by_name = room.abstract_unix(&format!("place-{number}"));
        let by_path = room.unix(&format!("place-{number}.sock"));
        for place in [&by_port, &by_name, &by_path] {
            let register = |name: &str, how: &[&str]| {
                let mut running = node.run(&[&["register", name, place], how].concat());
                running.line_with("registered");
                running
            };
            let alpha = register("alpha", first);
            let mut beta = register("beta", second);
            beta.says("`beta` is registered at the same endpoint as `alpha`");
            node.says(&format!("endpoint={place} why=Contested"));
            for name in ["alpha", "beta"] {
                assert_eq!(endpoints(&node, name), [place.as_str()], "{name}");
                let listed = node.callsign(&["ls", name, "--json"]).json();
                let (state, suspicion) = (&listed[0]["state"], &listed[0]["suspicion"]);
                assert!(state == "ready" && suspicion.is_null(), "{listed}");
            }
            for (running, how) in [(alpha, first), (beta, second)] {
                if how == lease {
                    running.outcome().succeeds()
                } else {
                    running.stop()
                };
            }
            for (name, how) in [("alpha", first), ("beta", second)] {
                if how == lease {
                    node.callsign(&["unregister", name]).succeeds();
                }
            }
        }
    }
}

#[test]
fn whoever_listens_has_the_place_of_one_that_does_not() {
    let room = Room::new();
    let node = Node::start(&room);
    let (place, file) = (room.unix("feed.sock"), room.file("feed.sock"));
    let former = UnixListener::bind(&file).unwrap();
    node.callsign(&["register", "alpha", &place, "--ttl", "10m"]).succeeds();
    // Its socket is gone, and that of another is there.
    fs::remove_file(&file).unwrap();
    let _present = UnixListener::bind(&file).unwrap();
    let mut watch = node.run(&["watch", "alpha", "--json"]);
    watch.json("the end of the snapshot", |it| it["change"] == "synced");
    node.callsign(&["register", "beta", &place, "--ttl", "10m"]).succeeds();
    watch.json("the end of the first", |it| it["reason"] == "found-dead");
    assert_eq!(endpoints(&node, "beta"), [place]);
    drop(former);
}

#[test]
fn what_is_in_the_way_of_a_socket_is_named_with_a_command_and_without() {
    let room = Room::new();
    let node = Node::start(&room);
    fs::create_dir(room.file("folder")).unwrap();
    room.write("file", "");
    symlink("nowhere", room.file("dangling")).unwrap();
    let missing = format!("there is no folder `{}`", room.file("none").display());
    let no_folder = format!("`{}` on the way to it is not a folder", room.file("file").display());
    for (name, obstacle) in [
        ("folder", "there is a folder in its place, not a socket"),
        ("file", "there is a regular file in its place, not a socket"),
        ("dangling", "there is a symbolic link in its place, not a socket"),
        ("none/below/a.sock", &*missing),
        ("file/a.sock", &*no_folder),
    ] {
        let place = room.unix(name);
        let mut alone = node.run(&["register", "web", &place]);
        let said = alone.says("nobody listens at");
        assert!(said.contains(obstacle), "{said}");
        alone.stop();
        node.callsign(&["register", "web", &place, "--ttl", "10m"]).succeeds();
        let mut kept = node.run(&["register", "web", &place, "--", "sleep", "600"]);
        kept.says("`web` does not answer yet");
        kept.says(obstacle);
        kept.stop();
    }
}

#[test]
fn a_symbolic_link_is_registered_as_the_socket_that_it_leads_to() {
    let room = Room::new();
    let node = Node::start(&room);
    let _listener = UnixListener::bind(room.file("real.sock")).unwrap();
    symlink("real.sock", room.file("link.sock")).unwrap();
    symlink(room.file("link.sock"), room.file("far.sock")).unwrap();
    for link in ["link.sock", "far.sock"] {
        let mut web = node.run(&["register", "web", &room.unix(link)]);
        web.line_with("registered");
        web.says("is a symbolic link, registered as");
        node.callsign(&["wait", "web", "--timeout", "5m"]).succeeds();
        assert_eq!(endpoints(&node, "web"), [room.unix("real.sock")]);
        web.stop();
        node.callsign(&["register", "job", &room.unix(link), "--ttl", "10m"]).succeeds();
        node.callsign(&["find", "job"]).succeeds().prints(&[&room.unix("real.sock")]);
        node.callsign(&["unregister", "job"]).succeeds();
    }
    // Who is started binds where the link leads.
    let code = "import os, socket, sys; place = os.path.realpath(sys.argv[1])\n\
                s = socket.socket(socket.AF_UNIX); os.unlink(place); s.bind(place); s.listen()\n\
                import time; time.sleep(600)";
    let words =
        ["register", "kept", &room.unix("link.sock"), "--", &python(), "-c", code, "{path}"];
    let kept = node.run(&words);
    node.callsign(&["wait", "kept", "--timeout", "5m"]).succeeds();
    assert_eq!(endpoints(&node, "kept"), [room.unix("real.sock")]);
    kept.stop();
}

#[test]
fn what_nobody_has_tried_is_not_said_to_be_verified() {
    let room = Room::new();
    let node = Node::start(&room);
    // An address for documentation, which no host has.
    let elsewhere = "/ip4/192.0.2.7/tcp/80";
    let mut tried = node.run(&["register", "tried", elsewhere]);
    tried.says(&format!("nobody answers at {elsewhere} yet: "));
    let listed = node.callsign(&["ls", "tried", "--json"]).json();
    assert_eq!(listed[0]["state"], "starting", "{listed}");
    tried.stop();

    let name = "/dns/no-such-host.invalid/tcp/80";
    let zone = "/ip6zone/no-such-zone/ip6/fe80::1/tcp/80";
    for (place, doubt) in [
        (elsewhere, None),
        (name, Some("nobody is found at")),
        (zone, Some("no network interface `no-such-zone`")),
    ] {
        let mut vouched = node.run(&["register", "vouched", place, "--state", "ready"]);
        vouched.line_with("registered");
        doubt.inspect(|it| drop(vouched.says(it)));
        let leased = node.callsign(&["register", "leased", place, "--ttl", "10m"]).succeeds();
        leased.says(doubt.as_slice());
        for actor in ["vouched", "leased"] {
            node.callsign(&["ls", actor]).succeeds().prints(&["ready, unverified"]);
            let found = node.callsign(&["find", actor, "--all"]).succeeds();
            found.prints(&["ready, unverified: its registrant alone says where it listens"]);
            let found = node.callsign(&["find", actor, "--all", "--json"]).succeeds().json();
            assert_eq!(found[0]["endpoints"][0]["verified"], false, "{found}");
            let resolved = ["resolve", actor, "--explain", "--json"];
            let resolved = Running::start(
                node.room().command(&[&["--registrar", node.endpoint()], &resolved[..]].concat()),
            );
            let resolved = resolved.outcome().json();
            assert_eq!(resolved["candidates"][0]["verified"], false, "{resolved}");
        }
        vouched.stop();
        node.callsign(&["unregister", "leased"]).succeeds();
    }
    let explained = node.callsign(&["register", "leased", elsewhere, "--ttl", "10m"]);
    explained.succeeds();
    node.callsign(&["resolve", "leased", "--explain"]).prints(&["unproved, unverified"]);

    // Of what is here there is nothing to be said.
    let _listener = UnixListener::bind(room.file("here.sock")).unwrap();
    for place in [room.unix("here.sock"), format!("/ip4/127.0.0.1/tcp/{}", free_port())] {
        node.callsign(&["register", "here", &place, "--ttl", "10m"]).succeeds();
        let listed = node.callsign(&["ls", "here"]).succeeds();
        assert!(!listed.stdout.contains("unverified"), "{listed}");
        node.callsign(&["unregister", "here"]).succeeds();
    }
}

#[test]
fn where_only_a_connection_tells_the_actor_is_ready_when_somebody_answers() {
    let room = Room::new();
    let node = Node::start(&room);
    let mut web = node.run(&["register", "web", &room.unix("web.sock")]);
    web.says("nobody listens at");
    let mut watch = node.run(&["watch", "web", "--json"]);
    watch.json("a start", |it| it["state"] == "starting");
    // The kernel shows no sockets of another network.
    let code = "import socket, sys\n\
                s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()\n\
                while True: s.accept()[0].close()";
    let mut server = room.other_command("unshare");
    let file = room.file("web.sock").display().to_string();
    server.args(["--user", "--map-root-user", "--net", &python(), "-c", code, &file]);
    let _server = Running::start(server);
    watch.json("ready", |it| it["state"] == "ready");
    web.says("`web` is ready: ");
    web.stop();
}

#[test]
fn nobody_speaks_for_the_listener_of_another_user() {
    let Some(users) = Users::new() else { return };
    let node = users.node(&[]);
    let registrar = node.endpoint().to_owned();
    let file = users.room.file("open/bob.sock").display().to_string();
    let (port, name) = (free_port(), users.room.abstract_unix("bob"));
    let code = format!(
        "import os, socket\n\
         a = socket.socket(socket.AF_UNIX); a.bind({file:?}); a.listen(); os.chmod({file:?}, 0o666)\n\
         b = socket.socket(); b.bind(('127.0.0.1', {port})); b.listen()\n\
         c = socket.socket(socket.AF_UNIX); c.bind('\\0{}'); c.listen()\n\
         print('up', flush=True)\n\
         while True: a.accept()[0].close()",
        &name["/unix/@".len()..]
    );
    let serve = |user: u32| {
        // Not everybody may start it.
        let change =
            format!("import os, socket; os.setgroups([]); os.setgid(4700); os.setuid({user})");
        let mut command = users.room.other_command(&python());
        command.args(["-c", &format!("{change}\n{code}")]);
        let mut server = Running::start(command);
        server.line_with("up");
        server
    };
    let places = [format!("/unix{file}"), format!("/ip4/127.0.0.1/tcp/{port}"), name];
    let server = serve(BOB);
    for (number, place) in places.iter().enumerate() {
        let actor = format!("mine-{number}");
        let mut mine = users.run(ALICE, &registrar, &["register", &actor, place]);
        mine.says("of user");
        let listed = node.callsign(&["ls", &actor, "--json"]).json();
        assert_eq!(listed[0]["state"], "starting", "{listed}");
        node.callsign(&["connect", &actor]).ends_with(1);
        mine.stop();
        let lease = users.run(ALICE, &registrar, &["register", &actor, place, "--ttl", "10m"]);
        lease.outcome().succeeds().says(&["of user", "and not you"]);
        // Who owns it may, and root.
        for user in [BOB, 0] {
            let actor = format!("his-{user}-{number}");
            let mut his = users.run(user, &registrar, &["register", &actor, place]);
            his.line_with("registered");
            users.run(user, &registrar, &["wait", &actor]).outcome().succeeds();
            let ended = his.stop();
            assert!(!ended.stderr.contains("and not you"), "{ended}");
        }
    }
    server.kill();
    drop(fs::remove_file(&file));
    // Root listens for everybody.
    let _server = serve(0);
    for (number, place) in places.iter().enumerate() {
        let actor = format!("of-root-{number}");
        let mut mine = users.run(ALICE, &registrar, &["register", &actor, place]);
        mine.line_with("registered");
        users.run(ALICE, &registrar, &["wait", &actor]).outcome().succeeds();
        mine.stop();
    }
}
