//! The connectors of the crate `connect`, as examples use them, with other people's programs at the
//! other end: curl, uvicorn, aiohttp and grpcio.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

mod grpc;
#[path = "../harness/mod.rs"]
mod harness;
mod python;
mod reqwests;
mod web;

use std::path::Path;

use crate::harness::{Node, Running};

/// Starts an example with a node as its registrar.
fn example(node: &Node<'_>, name: &str, args: &[&str]) -> Running {
    let path = Path::new(env!("CARGO_BIN_EXE_callsign")).parent().unwrap().join("examples");
    let path = path.join(name).display().to_string();
    assert!(Path::new(&path).exists(), "{name} is not built; run `cargo build --examples`");
    let mut command = node.room().other_command(&path);
    command.args(args);
    Running::start(command)
}

/// Waits until a name has so many ready instances.
fn until(node: &Node<'_>, name: &str, count: usize) {
    let mut watch = node.run(&["watch", name, "--json"]);
    loop {
        let found = node.callsign(&["ls", name, "--json"]).json();
        if found.as_array().unwrap().iter().filter(|it| it["state"] == "ready").count() == count {
            return;
        }
        watch.json("a change", |it| it["change"] != "reset");
    }
}
