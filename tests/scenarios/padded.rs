//! Abstract names that are padded with NULs to their full length, as HAProxy's `abns@` and Node's are.

use super::programs::python;
use crate::harness::{Node, Room};

#[test]
fn a_padded_name_is_registered_found_explained_and_reached() {
    let room = Room::new();
    let node = Node::start(&room);
    let short = room.abstract_unix("pad");
    let name = short.strip_prefix("/unix/@").unwrap();
    let full = format!("{short}{}", "%00".repeat(107 - name.len()));
    let serve = format!(
        "import socket\n\
         s = socket.socket(socket.AF_UNIX)\n\
         s.bind(b'\\0' + {name:?}.encode().ljust(107, b'\\0'))\n\
         s.listen()\n\
         while True:\n  \
           c, _ = s.accept()\n  \
           c.sendall(b'it is me')\n  \
           c.close()"
    );
    let python = python();
    let program = [&python[..], "-c", &serve];

    // The name as written leads nowhere; the message shows the real one.
    let shorter = [&["register", "pad", &short, "--"], &program[..]].concat();
    let mut pad = node.run(&shorter);
    let said = pad.says("nobody listens there, but at the longer name");
    assert!(said.contains(&full), "{said}");
    pad.stop();

    let pad = node.run(&[&["register", "pad", &full, "--"], &program[..]].concat());
    node.callsign(&["wait", "pad", "--timeout", "5m"]).succeeds();
    node.callsign(&["find", "pad"]).succeeds().prints(&[&full, "unix socket"]);
    // A screen of 80 columns has to break it.
    node.callsign(&["resolve", "pad", "--explain"]).succeeds().prints(&["within reach"]);
    let resolved = node.callsign(&["resolve", "pad", "--json"]).succeeds();
    assert!(resolved.stdout.contains(&full), "{resolved}");
    node.callsign(&["connect", "pad"]).succeeds().prints(&["it is me"]);
    let listed = node.callsign(&["ls", "pad", "--json"]).succeeds();
    assert!(listed.stdout.contains(&full), "{listed}");

    // Who dials the name as written is told of the real one, be it an actor's or a registrar's.
    let wrong = node.run(&["register", "wrong", &short, "--state", "ready"]);
    node.callsign(&["wait", "wrong", "--timeout", "5m"]).succeeds();
    let dialed = [
        node.callsign(&["connect", "wrong"]),
        node.callsign(&["resolve", "wrong", "--probe"]),
        room.callsign(&["--registrar", &short, "ls"]),
    ];
    for outcome in dialed {
        let said: String = outcome.stderr.split_whitespace().collect();
        assert!(said.contains(&format!("somebodylistensthere:`{full}`")), "{outcome}");
    }
    wrong.stop();

    // A program that runs already, and a caller that uses the printed address.
    let held = node.run(&["register", "held", &full]);
    node.callsign(&["wait", "held", "--timeout", "5m"]).succeeds();
    node.callsign(&["connect", "held"]).succeeds().prints(&["it is me"]);
    held.stop();
    pad.stop();
}
