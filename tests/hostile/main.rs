//! A registrar among strangers: whatever they send, it costs at most their own connection.
//!
//! The node is the real program. While strangers do their worst, a good client asks continually and
//! is answered each time; afterwards the node's counts and memory are as before.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

mod calm;
mod chance;
mod crowds;
mod dns;
mod fair;
#[path = "../harness/mod.rs"]
mod harness;
mod http;
mod impostors;
mod memory;
mod places;
mod quotas;
mod reports;
mod sockets;
mod storm;
mod strange_bytes;
mod stranger;
mod tractor;
mod witness;

use harness::{Counts, Node, Room};
use witness::Witness;

/// Lets strangers loose on a node, at each of its endpoints, while a good client asks on.
#[track_caller]
fn endure(strangers: impl Fn(&Node<'_>, &str)) {
    let room = Room::new();
    let (unix, tcp) = (room.unix("registrar.sock"), "/ip4/127.0.0.1/tcp/0");
    // A peer without a hello is cut soon; the good client has this long on a busy machine.
    let patience = ["--handshake-timeout", "2s"];
    let node = Node::start_with(&room, &[&unix, tcp], &patience);
    let witness = Witness::start(&node);
    let before_kib = node.resident_kib();

    for endpoint in node.endpoints() {
        strangers(&node, endpoint);
    }

    witness.was_always_answered();
    node.comes_to(Counts { instances: 0, sessions: 0, waiters: 0, watchers: 0 });
    let after_kib = node.resident_kib();
    assert!(
        after_kib < before_kib + KEPT_KIB_MAX,
        "{before_kib} KiB were resident before, and {after_kib} KiB are after"
    );
    let ended = node.stop().succeeds();
    // A client that speaks TLS was meant to be served, and is not.
    let told = ended.stderr.lines().filter(|it| !it.contains("the peer speaks TLS")).count();
    assert_eq!(told, 0, "a stranger is nothing to tell of\n{ended}");
}

/// The growth of a node's memory after strangers came. It includes memory that the allocator keeps.
const KEPT_KIB_MAX: u64 = 16 * 1024;
