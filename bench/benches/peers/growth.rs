//! What costs more as more of something is there: instances of a name, watchers, connections.

use std::iter;

use callsign_bench::server::ServerProcess;

use crate::{
    at_rest, cost_us,
    link::Link,
    parts::{FEW, LOOK_UPS, in_turn, run_over, spread},
    peer::{Kind, Peer},
    table::{Row, Table},
};

/// Another instance of a name that has many, and the look-up of one that has some.
pub(crate) fn instances(peers: &[Peer], table: &mut Table) {
    for (has, row) in
        [(1, &BESIDE_1), (1_000, &BESIDE_1K), (10_000, &BESIDE_10K), (50_000, &BESIDE_50K)]
    {
        for round in 0..ROUNDS {
            for at in in_turn(peers.len(), round) {
                let peer = &peers[at];
                let Some((server, mut link)) = crowd_of(peer, has) else { continue };
                let more = peer.instances("crowd", has..has + MORE).expect("it has them");
                table.note(row, at, cost_us(&server, MORE, || more.run(&mut link)));
            }
        }
    }
    for (has, row) in [(1, &OF_1), (16, &OF_16), (256, &OF_256)] {
        for round in 0..ROUNDS {
            for at in in_turn(peers.len(), round) {
                let peer = &peers[at];
                let Some((server, mut link)) = crowd_of(peer, has) else { continue };
                let all = peer.look_up_instances("crowd", has, LOOK_UPS / has.max(8));
                table.note(row, at, cost_us(&server, all.count, || all.run(&mut link)));
            }
        }
    }
}

/// Starts a server with so many instances of one name, if it has instances.
fn crowd_of(peer: &Peer, has: usize) -> Option<(ServerProcess, Link)> {
    let there = peer.instances("crowd", 0..has)?;
    let server = peer.start(false);
    let mut link = peer.link(&server);
    there.run(&mut link);
    at_rest(&server);
    Some((server, link))
}

/// Look-ups over more and more connections, one at a time over each.
pub(crate) fn connections(peers: &[Peer], table: &mut Table) {
    for (count, row) in [(1, &OVER_1), (512, &OVER_512), (4_000, &OVER_4K)] {
        for round in 0..ROUNDS {
            for at in in_turn(peers.len(), round) {
                let peer = &peers[at];
                if !peer.is_quick() && peer.kind != Kind::Bare {
                    continue;
                }
                let server = peer.start(false);
                let _kept = peer.fill(&server, FEW);
                let mut links: Vec<_> =
                    iter::repeat_with(|| peer.link(&server)).take(count).collect();
                at_rest(&server);
                let one = peer.look_up(spread(LOOK_UPS / 4, FEW), 1);
                table.note(row, at, cost_us(&server, one.count, || run_over(&one, &mut links)));
            }
        }
    }
}

static BESIDE_1: Row = Row::us("register, new, beside 1 instance of its name", "HSET", None);
static BESIDE_1K: Row = Row::us("the same beside 1,000", "HSET", None);
static BESIDE_10K: Row = Row::us("the same beside 10,000", "HSET", None);
static BESIDE_50K: Row = Row::us("the same beside 50,000", "HSET", None);
static OF_1: Row = Row::us("look-up of a name with 1 instance, 64 deep", "HGETALL", None);
static OF_16: Row = Row::us("the same with 16", "HGETALL", None);
static OF_256: Row = Row::us("the same with 256", "HGETALL", None);
static OVER_1: Row = Row::us("look-up, 1 connection, 1 at a time, among 256", "GET", None);
static OVER_512: Row = Row::us("the same over 512 connections", "GET", None);
static OVER_4K: Row = Row::us("the same over 4,000 connections", "GET", None);

const ROUNDS: usize = 5;
/// The instances that come: all of them are of one session.
const MORE: usize = 6_400;
