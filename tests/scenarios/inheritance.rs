//! A child may keep a connection open after the process that made it. That process counts as gone.

use bytes::BytesMut;
use wire::{Frame, Hello, preface};

use crate::{
    harness::{Node, Room, Running, register, registration, stamped},
    programs::python,
};

#[test]
fn a_process_is_gone_though_a_child_holds_its_connection() {
    let room = Room::new();
    let node = Node::start(&room);
    let mut watch = node.run(&["watch", "--json"]);
    watch.json("the end of the snapshot", |it| it["change"] == "synced");

    let socket = node.endpoint().strip_prefix("/unix").unwrap();
    let program = room.write("leaves_a_child.py", LEAVES_A_CHILD);
    let mut parent = room.other_command(&python());
    parent.args([&program, socket, &hello_and_registration()]);
    // The child outlives the parent, and ends with this handle's pipe to it.
    let mut family = Running::start(parent);
    watch.json("the instance", |it| it["change"] == "add");
    family.line_with("the child holds the connection");

    let removed = watch.json("the end of the instance", |it| it["change"] == "remove");
    assert_eq!(removed["reason"], "session-ended");
}

/// Sends its hello, registers, leaves the connection to a child, and ends. The child ends with its
/// standard input.
const LEAVES_A_CHILD: &str = "
import os, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
connection.sendall(bytes.fromhex(sys.argv[2]))
connection.recv(4096)
if os.fork() == 0:
    print('the child holds the connection', flush=True)
    sys.stdin.read()
    os._exit(0)
os._exit(0)
";

fn hello_and_registration() -> String {
    let mut bytes = BytesMut::from(&preface::preface()[..]);
    Frame::Hello(Box::<Hello>::default()).encode(&mut bytes).unwrap();
    let registration = registration("orphan", vec![stamped("/ip4/192.0.2.1/tcp/1")]);
    let (method, body) = register(&registration);
    Frame::Call { id: 0, method, body: &body, within_ms: None }.encode(&mut bytes).unwrap();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
