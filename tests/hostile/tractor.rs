//! Programs of tractor's in numbers: each of their steps is a connection.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use serde_json::{Value, json};

use crate::{
    endure,
    harness::{Counts, LIMIT, Node, Room, now, rounds, tcp_address},
};

/// As fast as they can be made.
#[test]
fn many_short_connections_leave_nothing_behind() {
    let connections = rounds(1000);
    endure(|node, endpoint| {
        let before = node.descriptors();
        let done = AtomicUsize::new(0);
        thread::scope(|scope| {
            for visitor in 0..VISITORS {
                let done = &done;
                scope.spawn(move || {
                    for step in 0..connections / VISITORS {
                        visit(endpoint, visitor, step);
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(done.into_inner(), connections);
        comes_to(node, before);
    });
}

/// A program that registers again and again from one process keeps no descriptor each time.
#[test]
fn instances_that_come_and_go_leave_no_descriptor_behind() {
    endure(|node, endpoint| {
        let before = node.descriptors();
        let mut stream = dial(endpoint);
        converse(&mut stream, &[&aid("a", "u")], "Aid");
        for number in 0..rounds(200) {
            let uid = json!(["a", number.to_string()]);
            let kwargs = json!({ "uid": uid, "addr": ["127.0.0.1", 7] });
            converse(&mut stream, &[&call("register_actor", &kwargs, ["a", "u"])], "Return");
            let kwargs = json!({ "uid": uid });
            converse(&mut stream, &[&call("unregister_actor", &kwargs, ["a", "u"])], "Return");
        }
        drop(stream);
        comes_to(node, before);
    });
}

/// Half of a message is charged to its owner, as half of a frame is.
#[test]
fn messages_that_are_never_finished_are_held_against_a_quota() {
    let room = Room::new();
    let place = room.unix("registrar.sock");
    let node = Node::listen(&room, &[&place]);
    let before_kib = node.resident_kib();
    let mut programs = Vec::new();
    for number in 0..1500 {
        let mut stream = dial(&place);
        converse(&mut stream, &[&aid("a", &number.to_string())], "Aid");
        programs.push(stream);
    }
    for stream in &mut programs {
        drop(stream.write_all(&(250_u32 << 10).to_le_bytes()));
        drop(stream.write_all(&[0xc0; 240 << 10]));
    }
    node.callsign(&["status", "--owners"]).succeeds().prints(&["bytes"]);
    let during_kib = node.resident_kib();
    assert!(during_kib < 256 * 1024, "{before_kib} KiB before, {during_kib} KiB during");
    drop(programs);
    node.comes_to(Counts { instances: 0, sessions: 0, waiters: 0, watchers: 0 });
    node.stop().succeeds();
}

/// Registers, looks up or unregisters, as the steps of a program go.
fn visit(endpoint: &str, visitor: usize, step: usize) {
    let (name, uuid) = (format!("actor-{visitor}"), (step / 3).to_string());
    let uid = json!([name, uuid]);
    let (func, kwargs) = match step % 3 {
        0 => ("register_actor", json!({ "uid": uid, "addr": ["127.0.0.1", 7] })),
        1 => ("find_actor", json!({ "name": "nobody" })),
        _ => ("unregister_actor", json!({ "uid": uid })),
    };
    let mut stream = dial(endpoint);
    converse(&mut stream, &[&aid(&name, &uuid), &call(func, &kwargs, [&name, &uuid])], "Return");
}

/// Sends messages in one write, and reads until a message of a type has come.
fn converse(stream: &mut Box<dyn Stream>, messages: &[&Value], until: &str) {
    let bytes: Vec<_> = messages.iter().flat_map(|it| frame(it)).collect();
    stream.write_all(&bytes).unwrap();
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut body = vec![0; u32::from_le_bytes(length) as usize];
        stream.read_exact(&mut body).unwrap();
        let message: Value = wire::decode_body(&body).unwrap();
        assert_ne!(message["msg_type"], "Error", "{message}");
        if message["msg_type"] == until {
            return;
        }
    }
}

fn aid(name: &str, uuid: &str) -> Value {
    json!({ "msg_type": "Aid", "name": name, "uuid": uuid, "pid": 7, "is_registrar": false })
}

fn call(func: &str, kwargs: &Value, uid: [&str; 2]) -> Value {
    json!({
        "msg_type": "Start", "cid": "c", "ns": "self", "func": func, "kwargs": kwargs, "uid": uid,
    })
}

fn frame(message: &Value) -> Vec<u8> {
    let body = wire::encode_body(message);
    [&(body.len() as u32).to_le_bytes()[..], &body].concat()
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

fn dial(endpoint: &str) -> Box<dyn Stream> {
    match endpoint.strip_prefix("/unix") {
        Some(path) => {
            let stream = UnixStream::connect(path).unwrap();
            stream.set_read_timeout(Some(LIMIT)).unwrap();
            Box::new(stream)
        }
        None => {
            let stream = TcpStream::connect(tcp_address(endpoint)).unwrap();
            stream.set_read_timeout(Some(LIMIT)).unwrap();
            Box::new(stream)
        }
    }
}

/// Waits until the node has no more descriptors open than before. Its good client has a connection
/// to it at times, which takes two.
fn comes_to(node: &Node<'_>, before: usize) {
    let deadline = now() + LIMIT;
    while node.descriptors() > before + 2 {
        assert!(now() < deadline, "{before} before, {} after", node.descriptors());
        thread::yield_now();
    }
}

/// The number of concurrent visitors.
const VISITORS: usize = 8;
