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

use harness::{Counts, Node, Outcome, Room};
use witness::Witness;

/// Lets strangers loose on a node, at each of its endpoints, while a good client asks on.
#[track_caller]
fn endure(strangers: impl Fn(&Node<'_>, &str)) {
    let ended = outlast(strangers);
    assert_eq!(ended.stderr, "", "a stranger is nothing to tell of\n{ended}");
}

/// As [`endure`], and returns what the node has told.
#[track_caller]
fn outlast(strangers: impl Fn(&Node<'_>, &str)) -> Outcome {
    let room = Room::new();
    let (unix, tcp) = (room.unix("registrar.sock"), "/ip4/127.0.0.1/tcp/0");
    // A peer without a hello is cut soon; the good client has this long on a busy machine.
    let patience = ["--handshake-timeout", "2s"];
    let node = Node::start_with(&room, &[&unix, tcp], &patience);
    stays_as_it_was(node, 0, |node| node.endpoints().iter().for_each(|it| strangers(node, it)))
}

/// Lets strangers come and go, while a good client asks on: nothing of them is left at the node, which
/// keeps so many instances. Returns how it has ended, when it is asked to.
#[track_caller]
fn stays_as_it_was(node: Node<'_>, instances: u64, strangers: impl FnOnce(&Node<'_>)) -> Outcome {
    let witness = Witness::start(&node);
    let before_kib = node.resident_kib();
    strangers(&node);
    witness.was_always_answered();
    node.comes_to(Counts { instances, sessions: 0, waiters: 0, watchers: 0 });
    let after_kib = node.resident_kib();
    assert!(
        after_kib < before_kib + KEPT_KIB_MAX,
        "{before_kib} KiB were resident before, and {after_kib} KiB are after"
    );
    node.stop().succeeds()
}

/// The growth of a node's memory after strangers came. It includes memory that the allocator keeps.
const KEPT_KIB_MAX: u64 = 16 * 1024;
