//! A process number that passes from one actor to the next.

use std::{
    env, fs,
    io::{self, BufRead, Read},
    os::fd::AsFd,
    process::{Child, Command, Stdio},
};

use callsign::{Client, DialOptions, connect_nearest};

use crate::{
    harness::{LIMIT, Node, Peer, Room, now, register, registration, rounds},
    place::{Held, Place, can_make_namespaces},
    roles::{Registered, Role, TASK, Task, call},
    row::{actor, heard},
};

/// The number of times that the number changes hands, unless set higher. Each time a process is
/// killed and another started, which takes some 7 ms.
const FEW: usize = 100;

/// A number that no process of a young PID namespace has.
const PID: u32 = 1000;

#[test]
fn a_pid_and_a_path_that_go_to_another_actor() {
    let room = Room::new();
    if !can_make_namespaces(&room) {
        return;
    }
    let node = Node::start(&room);
    let world = Held::processes(&room, &Place::default(), "true");
    let registrar = node.endpoint().to_owned();
    let actors = vec![actor("actor", room.unix("actor.sock"))];
    let role = Box::new(Role::Registrant { registrar: registrar.clone(), actors, lease: None });
    let mut relay = world.place().start(&room, Role::Relay { pid: PID, role });

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = runtime.block_on(Client::connect([registrar])).unwrap();
    let mut stale = Vec::new();
    let rounds = rounds(FEW);
    for round in 0..rounds {
        relay = relay.write("next\n");
        drop(heard::<Registered>(&mut relay));
        runtime.block_on(async {
            // The former one was killed, which the registrar knows by now or soon will.
            let deadline = now() + LIMIT;
            let records = loop {
                // A busy machine may not let the registrar answer in time.
                let found = client.query_ready("actor").await.map(|it| it.records);
                match found {
                    Ok(records) if records.len() == 1 => break records,
                    found => assert!(now() < deadline, "{found:?}"),
                }
            };
            if round > 0 {
                let answered = connect_nearest(&stale, &DialOptions::default()).await;
                answered.expect_err("a record of one that is gone leads to nobody");
            }
            assert_ne!(records, stale);
            let call = call(&client, "actor").await;
            assert!(call.is_answered(), "round {round}: {call:#?}");
            stale = records;
        });
    }
    println!("{rounds} rounds");
}

/// A child has the connection, and another process the number; the process that connected is gone.
#[test]
fn a_process_is_gone_though_a_child_has_its_connection_and_another_its_pid() {
    let room = Room::new();
    if !can_make_namespaces(&room) {
        return;
    }
    let node = Node::start(&room);
    let mut watch = node.run(&["watch", "--json"]);
    watch.json("the end of the snapshot", |it| it["change"] == "synced");
    let world = Held::processes(&room, &Place::default(), "true");
    let role = Box::new(Role::Parent { registrar: node.endpoint().to_owned() });
    let mut relay = world.place().start(&room, Role::Relay { pid: PID, role });

    relay = relay.write("next\n");
    let mut last = watch.json("the first", |it| it["change"] == "add");
    for _ in 0..20 {
        relay = relay.write("next\n");
        let mut changes = [(); 2].map(|()| watch.json("a change", |it| it["change"].is_string()));
        // The next may be there before the end of the former one is known.
        changes.sort_by_key(|it| it["change"] == "add");
        let [gone, next] = changes;
        assert_eq!((&gone["change"], &gone["uuid"]), (&"remove".into(), &last["uuid"]));
        assert_eq!((&gone["reason"], &next["change"]), (&"session-ended".into(), &"add".into()));
        last = next;
    }
}

/// Plays [`Role::Parent`].
pub(crate) fn be_a_parent(registrar: &str) {
    let mut peer = Peer::greet(registrar);
    let child = Command::new("sleep")
        .arg("infinity")
        .stdin(peer.as_fd().try_clone_to_owned().unwrap())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (method, body) = register(&registration("parent", vec![]));
    peer.call(method, &body).unwrap();
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
    drop(child);
}

/// Plays [`Role::Relay`].
pub(crate) fn run(pid: u32, role: &Role) {
    let mut last: Option<Child> = None;
    for line in io::stdin().lock().lines() {
        line.unwrap();
        if let Some(mut last) = last.take() {
            last.kill().unwrap();
            last.wait().unwrap();
        }
        let child = start(pid, role);
        assert_eq!(child.id(), pid);
        last = Some(child);
    }
    if let Some(mut last) = last {
        last.kill().unwrap();
        last.wait().unwrap();
    }
}

/// Starts a process of a certain number.
fn start(pid: u32, role: &Role) -> Child {
    // The next process has the next number.
    fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
    let task = Task { root: None, certificate: None, role: role.clone() };
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "roles::play", "--nocapture", "--test-threads=1"])
        .env(TASK, serde_json::to_string(&task).unwrap())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap()
}
