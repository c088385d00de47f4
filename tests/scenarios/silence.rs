//! Processes that live and do nothing: stopped, as by a debugger.

use std::{fs, time::Duration};

use discovery::{Client, ClientOptions, FindError, Registration};
use portal::Heartbeat;
use rustix::process::Signal;
use serde_json::Value;
use tokio::{
    runtime::Builder,
    time::{sleep, timeout},
};

use super::programs::python;
use crate::harness::{Counts, LIMIT, Node, Room, Running};

#[test]
fn a_stopped_process_is_suspect_until_it_goes_on() {
    let room = Room::new();
    let heartbeat = ["--heartbeat", "200ms", "-v"];
    let node = Node::start_with(&room, &[&room.unix("registrar.sock")], &heartbeat);
    let mut watch = node.run(&["watch", "clock", "--json"]);
    watch.json("the end of the snapshot", |it| it["change"] == "synced");
    let mut registrant =
        node.run(&["register", "clock", &room.abstract_unix("clock"), "--state", "ready"]);
    registrant.line_with("registered");
    let added = watch.json("an instance", |it| it["change"] == "add");
    assert!(added["suspicion"].is_null(), "{added}");

    for _ in 0..2 {
        registrant.signal(Signal::STOP);
        let update = watch.json("word of its silence", |it| it["suspicion"]["silent"] == true);
        assert_eq!(
            (&update["change"], &update["suspicion"]["reports"]),
            (&"update".into(), &0.into())
        );
        assert_eq!(update["uuid"], added["uuid"]);
        // It is found at the same place.
        node.callsign(&["ls"]).succeeds().prints(&["ready, suspect"]);
        node.callsign(&["find", "clock"]).succeeds();

        registrant.signal(Signal::CONT);
        let is_cleared = |it: &Value| it["change"] == "update" && it["suspicion"].is_null();
        let update = watch.json("word that it is heard again", is_cleared);
        assert_eq!((&update["uuid"], &update["epoch"]), (&added["uuid"], &added["epoch"]));
    }

    // Stopped or not, a process that dies is gone immediately.
    registrant.signal(Signal::STOP);
    watch.json("word that it is silent", |it| it["suspicion"]["silent"] == true);
    registrant.kill();
    let removed = watch.json("its end", |it| it["change"] == "remove");
    assert_eq!(removed["reason"], "session-ended");
    node.stop().says(&[
        "INFO a session gives no sign of life silence=",
        "INFO an instance is suspect uuid=",
        " reports=0 silent=true since_ms=",
        "INFO a session is heard again in ",
        "INFO an instance is cleared uuid=",
    ]);
}

#[test]
fn over_tcp_a_stopped_process_is_gone_and_comes_back() {
    let room = Room::new();
    let node = Node::start_with(
        &room,
        &[&room.unix("registrar.sock"), "/ip4/127.0.0.1/tcp/0"],
        &["--heartbeat", "200ms"],
    );
    let mut watch = node.run(&["watch", "clock", "--json"]);
    watch.json("the end of the snapshot", |it| it["change"] == "synced");
    let tcp = node.endpoints()[1].clone();
    let mut registrant =
        room.run(&["--registrar", &tcp, "register", "clock", &room.abstract_unix("clock")]);
    registrant.line_with("registered");
    let added = watch.json("an instance", |it| it["change"] == "add");

    registrant.signal(Signal::STOP);
    let removed = watch.json("its end", |it| it["change"] == "remove");
    assert_eq!(removed["reason"], "session-ended");

    registrant.signal(Signal::CONT);
    let back = watch.json("the instance", |it| it["change"] == "add");
    assert_eq!(back["uuid"], added["uuid"]);
    registrant.stop().succeeds();
}

#[test]
fn a_registrar_that_was_stopped_suspects_nobody_and_tells_of_no_death() {
    let room = Room::new();
    let node = Node::start_with(
        &room,
        &[&room.unix("registrar.sock"), "/ip4/127.0.0.1/tcp/0"],
        &["--heartbeat", "700ms", "--settle-time", "1m"],
    );
    let places = node.endpoints().to_vec();
    let over = |place: &str, args: &[&str]| room.run(&[&["--registrar", place], args].concat());
    let mut watches: Vec<_> = places.iter().map(|it| over(it, &["watch", "--json"])).collect();
    let mut registrants = Vec::new();
    for (at, place) in places.iter().enumerate() {
        // An instance of a session, and one with a lease that its program renews.
        for more in [&[][..], &["--ttl", "2s", "--", "sleep", "600"]] {
            let (name, kept) = (format!("clock-{at}-{}", more.len()), more);
            let register = ["register", &name, &room.abstract_unix(&name), "--state", "ready"];
            let mut registrant = over(place, &[&register[..], kept].concat());
            if kept.is_empty() {
                registrant.line_with("registered");
            }
            node.callsign(&["wait", &name, "--timeout", "5m"]).succeeds();
            registrants.push(registrant);
        }
    }
    for _ in 0..2 {
        node.process().signal(Signal::STOP);
        // Longer than any lease lasts, and than any heartbeat waits.
        registrants.iter_mut().for_each(|it| {
            it.says("no registrar answers");
        });
        node.process().signal(Signal::CONT);
        registrants.iter_mut().for_each(|it| {
            it.says("is registered again");
        });
    }
    node.callsign(&["register", "last", "/unix/@last", "--ttl", "10m"]).succeeds();
    for watch in &mut watches {
        watch.json("the last", |it| {
            assert_ne!(it["change"], "remove", "{it}");
            assert!(it["suspicion"].is_null(), "{it}");
            it["name"] == "last"
        });
    }
    // Ends are reported as ever.
    registrants.drain(..).for_each(|it| drop(it.stop()));
    for watch in &mut watches {
        for _ in 0..4 {
            watch.json("an end", |it| it["change"] == "remove");
        }
    }
}

/// A registrar that hangs gives up its place without closing a connection.
#[test]
fn the_clients_of_a_stopped_registrar_move_to_its_successor() {
    let room = Room::new();
    fs::create_dir(room.file("deep")).unwrap();
    // The socket goes with its lock, or with all of its folder.
    let of_file = |place: &str| {
        fs::remove_file(room.file(place)).unwrap();
        fs::remove_file(room.file(&format!("{place}.lock"))).unwrap();
    };
    let of_folder = |_: &str| {
        fs::remove_dir_all(room.file("deep")).unwrap();
        fs::create_dir(room.file("deep")).unwrap();
    };
    let check = |file: &str, replace: &dyn Fn(&str)| {
        let place = room.unix(file);
        let options = ["--settle-time", "1m"];
        let first = Node::start_with(&room, &[&place], &options);
        let at = room.abstract_unix("feed");
        let mut registrant = first.run(&["register", "feed", &at, "--state", "ready"]);
        registrant.line_with("registered");
        let mut watch = first.run(&["watch", "--json"]);
        watch.json("the actor", |it| it["change"] == "add" && it["name"] == "feed");
        let late = first.run(&["wait", "late", "--json"]);
        first.comes_to(Counts { instances: 1, sessions: 3, waiters: 1, watchers: 1 });

        first.process().signal(Signal::STOP);
        replace(file);
        let second = Node::start_with(&room, &[&place], &options);
        second.comes_to(Counts { instances: 1, sessions: 3, waiters: 1, watchers: 1 });
        second.callsign(&["find", "feed"]).succeeds().prints(&["ready"]);
        second.callsign(&["register", "late", "/unix/@late", "--ttl", "10m"]).succeeds();
        assert_eq!(late.outcome().succeeds().json()["name"], "late");
        watch.json("the one that comes to the successor", |it| {
            assert_ne!(it["change"], "remove", "{it}");
            it["name"] == "late"
        });

        // It finds its place taken when it goes on.
        first.process().signal(Signal::CONT);
        first.outcome().ends_with(5).says(&["nobody can reach the registrar any more"]);
        second.callsign(&["find", "feed"]).succeeds();
        registrant.stop();
        watch.json("the end", |it| it["change"] == "remove" && it["name"] == "feed");
    };
    check("registrar.sock", &of_file);
    check("deep/registrar.sock", &of_folder);
}

/// Nobody moves as long as it is only silent.
#[test]
fn the_clients_of_a_stopped_registrar_stay_when_it_goes_on() {
    let room = Room::new();
    let node = Node::start(&room);
    let at = room.abstract_unix("feed");
    let mut registrant = node.run(&["register", "feed", &at, "--state", "ready", "--json"]);
    let registered = registrant.json("the instance", |it| it["uuid"].is_string());
    let epoch = || node.callsign(&["find", "feed", "--json"]).succeeds().json()["epoch"].clone();
    let before = epoch();
    node.process().signal(Signal::STOP);
    registrant.says("no registrar answers");
    node.process().signal(Signal::CONT);
    registrant.says("is registered again");
    let found = node.callsign(&["find", "feed", "--json"]).succeeds().json();
    assert_eq!((&found["uuid"], &found["epoch"]), (&registered["uuid"], &before), "{found}");
}

#[test]
fn a_stopped_registrar_is_reported_as_not_answering() {
    let room = Room::new();
    let node = Node::listen(&room, &[&room.unix("registrar.sock"), "/ip4/127.0.0.1/tcp/0"]);
    node.callsign(&["register", "clock", "/unix/@clock", "--ttl", "10m"]).succeeds();
    let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for place in node.endpoints() {
            let client = Client::connect([&**place]).await.unwrap();
            let clients = [client, Client::connect([&**place]).await.unwrap()];
            for client in &clients {
                assert!(client.query_actor("clock").await.unwrap().is_some());
            }
            node.process().signal(Signal::STOP);
            // One asks immediately, and one has heard nothing for a while.
            let [asks, _] = &clients;
            let bounded = timeout(LIMIT, asks.query_actor("clock")).await.unwrap();
            let error = bounded.unwrap_err().to_string();
            assert!(error.contains("no answer within 2s"), "{error}");
            for client in &clients {
                match timeout(LIMIT, client.find_actor("clock")).await.unwrap() {
                    Err(FindError::Resolve(error)) => {
                        assert!(error.to_string().contains(&**place), "{error}");
                    }
                    other => panic!("{other:?}"),
                }
            }
            node.process().signal(Signal::CONT);
            for client in &clients {
                let answered = async {
                    while client.query_actor("clock").await.is_err() {
                        tokio::task::yield_now().await;
                    }
                };
                timeout(LIMIT, answered).await.unwrap();
            }
        }
    });
}

/// A client that waits for less time than a registrar needs to notice that it was stopped.
#[test]
fn an_impatient_client_stays_registered() {
    let room = Room::new();
    let settle = ["--settle-time", "1m"];
    let places = [&*room.unix("registrar.sock"), "/ip4/127.0.0.1/tcp/0"];
    let node = Node::start_with(&room, &places, &settle);
    let mut watch = node.run(&["watch", "--json"]);
    watch.json("the end of the snapshot", |it| it["change"] == "synced");
    let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
    let heartbeat = Heartbeat { interval: Duration::from_millis(50), misses: 2 };
    let clients = node.endpoints().iter().map(|place| {
        // One abandons an answer, the other misses heartbeats.
        let asks = ClientOptions {
            ask_timeout: Duration::from_millis(100),
            heartbeat: None,
            ..ClientOptions::default()
        };
        let listens = ClientOptions { heartbeat: Some(heartbeat), ..ClientOptions::default() };
        [(place, asks), (place, listens)]
    });
    runtime.block_on(async {
        let mut kept = Vec::new();
        for (at, (place, options)) in clients.flatten().enumerate() {
            let client = Client::connect_with([&**place], options).await.unwrap();
            let name = format!("clock-{at}");
            // A busy registrar may take longer than this client waits.
            let registered = client.register_patiently(Registration::new(&name)).await.unwrap();
            kept.push((registered, client));
            watch.json("the instance", |it| it["change"] == "add" && it["name"] == *name);
        }
        for _ in 0..2 {
            node.process().signal(Signal::STOP);
            for (registered, client) in &kept {
                let given_up = async {
                    while client.query_actor("clock-0").await.is_ok() {}
                    while registered.missing().is_empty() {
                        sleep(Duration::from_millis(1)).await;
                    }
                };
                timeout(LIMIT, given_up).await.unwrap();
            }
            node.process().signal(Signal::CONT);
            for (registered, _) in &kept {
                let back = async {
                    while !registered.missing().is_empty() {
                        sleep(Duration::from_millis(1)).await;
                    }
                };
                timeout(LIMIT, back).await.unwrap();
            }
        }
        kept.push({
            let client = Client::connect([node.endpoint()]).await.unwrap();
            (client.register(Registration::new("last")).await.unwrap(), client)
        });
        watch.json("the last", |it| {
            assert_ne!(it["change"], "remove", "{it}");
            it["name"] == "last"
        });
        // A session that ends disappears as ever.
        for (registered, client) in kept {
            registered.unregister().await;
            client.close().await;
            watch.json("an end", |it| it["change"] == "remove");
        }
    });
}

#[test]
fn a_stopped_registrar_is_noticed_and_goes_on() {
    let room = Room::new();
    let node = Node::start(&room);
    let mut registrant =
        node.run(&["register", "clock", &room.abstract_unix("clock"), "--state", "ready"]);
    registrant.line_with("registered");
    let mut watch = node.run(&["watch", "--json"]);
    watch.json("the end of the snapshot", |it| it["change"] == "synced");
    let before = node.callsign(&["find", "clock", "--json"]).succeeds().stdout;

    for _ in 0..2 {
        node.process().signal(Signal::STOP);
        let stale = watch.json("a change", |it| it["change"] != "update");
        assert_eq!(stale["change"], "stale", "{stale}");
        let error = stale["registrars"][0]["error"].as_str().unwrap_or_default();
        assert!(error.contains("no sign of life"), "{stale}");
        registrant.says("no sign of life");

        // It is the same instance, and no event, removal or suspicion is reported.
        node.process().signal(Signal::CONT);
        let synced = watch.json("a change", |_| true);
        assert_eq!(synced["change"], "synced", "{synced}");
        registrant.says("is registered again");
    }
    let uuid = |text: &str| {
        let json: Value = serde_json::from_str(text).unwrap();
        (json["uuid"].clone(), json["epoch"].clone())
    };
    let after = node.callsign(&["find", "clock", "--json"]).succeeds().stdout;
    assert_eq!(uuid(&after), uuid(&before));
    node.callsign(&["unregister", "clock"]).succeeds();
}

/// `status` and `whoami` said only that nobody had answered.
#[test]
fn a_silent_name_server_is_what_does_not_answer() {
    let room = Room::new();
    room.write("resolv.conf", "nameserver 127.0.0.1\n");
    let silent = "import socket, subprocess, sys\n\
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 53))\n\
        for command in ['ls', 'status', 'whoami', 'find']:\n  \
          words = [sys.argv[1], command, '--registrar', '/dns/market.example/tcp/1616']\n  \
          words += ['feed'] if command == 'find' else []\n  \
          run = subprocess.run(words, capture_output=True, text=True)\n  \
          print(command, run.returncode, 'no DNS server answers' in ' '.join((run.stdout + run.stderr).split()))\n";
    let enter = "ip link set lo up && mount --bind resolv.conf /etc/resolv.conf || exit 77\n\
                 exec \"$@\"";
    let callsign = room.command(&[]);
    let mut command = room.other_command("unshare");
    command.args(["--net", "--mount", "sh", "-c", enter, "sh", &python(), "-c", silent]);
    command.arg(callsign.get_program());
    let said = Running::start(command).outcome();
    if said.code != Some(0) && said.stdout.is_empty() {
        println!("skipped: it takes namespaces and Python: {said}");
        return;
    }
    let expected = ["ls", "status", "whoami", "find"].map(|it| format!("{it} 3 True\n"));
    assert_eq!(said.stdout, expected.concat(), "{said}");
}
