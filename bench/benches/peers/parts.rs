//! The parts of the comparison: each prepares its servers, and measures them in turns.

use std::{
    thread,
    time::{Duration, Instant},
};

use callsign_bench::server::ServerProcess;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{
    at_rest, cost_us, growth,
    link::Link,
    listing,
    peer::{Kind, Peer, Requests, name},
    table::{Row, Table},
};

type Part = fn(&[Peer], &mut Table);

pub(crate) const ALL: [(&str, Part); 10] = [
    ("common", common),
    ("once", once),
    ("list", list),
    ("names", names),
    ("million", million),
    ("ends", ends),
    ("watchers", watchers),
    ("instances", growth::instances),
    ("connections", growth::connections),
    ("idle", idle),
];

/// Look-ups and registrations among 100,000 names.
fn common(peers: &[Peer], table: &mut Table) {
    let mut all = crowded(peers, NAMES, |it| it.kind != Kind::Epmd);
    for round in 0..ROUNDS {
        for at in in_turn(all.len(), round) {
            let Crowded { peer, server, links, at, .. } = &mut all[at];
            let at = *at;
            let look_ups = peer.share(LOOK_UPS);
            let deep = peer.look_up(spread(look_ups, NAMES), 64);
            let each = cost_us(server, deep.count, || deep.run(&mut links[0]));
            table.note(&LOOK_UP_DEEP, at, each);

            let one = peer.look_up(spread(look_ups, NAMES), 1);
            let mut many: Vec<_> = (0..64).map(|_| peer.link(server)).collect();
            let each = cost_us(server, one.count, || run_over(&one, &mut many));
            table.note(&LOOK_UP_WIDE, at, each);

            if peer.kind == Kind::Bare {
                continue;
            }
            let names = || (0..peer.share(WRITES)).map(|it| format!("new-{it}"));
            let mut link = peer.link(server);
            let new = peer.register(names(), 64);
            table.note(&NEW, at, cost_us(server, new.count, || new.run(&mut link)));
            table.note(&AGAIN, at, cost_us(server, new.count, || new.run(&mut link)));
            let gone = peer.unregister(names(), &new, 64);
            table.note(&GONE, at, cost_us(server, gone.count, || gone.run(&mut link)));
        }
    }
}

/// Look-ups that each take a connection of their own, and say hello if they have to.
fn once(peers: &[Peer], table: &mut Table) {
    let mut all = crowded(peers, FEW, |_| true);
    for round in 0..ROUNDS {
        for at in in_turn(all.len(), round) {
            let Crowded { peer, server, at, .. } = &mut all[at];
            let one = peer.look_up(spread(CONNECTIONS, FEW), 1);
            let each = cost_us(server, one.count, || {
                for it in 0..one.count {
                    let mut link = peer.link(server);
                    one.send(it, &mut link);
                    one.wait_for_one(&mut link);
                }
            });
            table.note(&ONCE, *at, each);
        }
    }
}

/// The list of all names, by the command. The others have no such thing.
fn list(peers: &[Peer], table: &mut Table) {
    let all = crowded(peers, NAMES, |it| it.kind == Kind::Callsign);
    for _ in 0..ROUNDS {
        for Crowded { peer, server, at, .. } in &all {
            let Some(binary) = peer.binary() else { continue };
            let listing = listing::list(binary, server);
            table.note(&FIRST, *at, listing.first.as_secs_f64());
            table.note(&LAST, *at, listing.last.as_secs_f64());
            table.note(&LIST_PEAK, *at, listing.peak_bytes as f64 / f64::from(1 << 20));
        }
    }
}

/// Look-ups among more and more names.
fn names(peers: &[Peer], table: &mut Table) {
    for (row, count) in [(&AMONG_1K, 1_000), (&AMONG_10K, 10_000), (&AMONG_100K, 100_000)] {
        random(row, &mut crowded(peers, count, Peer::is_quick), count, table);
    }
}

/// Look-ups among a million names, and the memory of each.
fn million(peers: &[Peer], table: &mut Table) {
    let mut all = crowded(peers, 1_000_000, Peer::is_quick);
    for Crowded { server, empty_bytes, at, .. } in &all {
        table.note(&MEMORY, *at, (server.resident_bytes() - empty_bytes) as f64 / 1e6);
    }
    random(&AMONG_1M, &mut all, 1_000_000, table);
    for Crowded { server, links, empty_bytes, at, .. } in &mut all {
        links.clear();
        at_rest(server);
        thread::sleep(Duration::from_secs(3));
        table.note(&LEFT, *at, server.resident_bytes().saturating_sub(*empty_bytes) as f64 / 1e6);
    }
}

fn random(row: &'static Row, all: &mut [Crowded<'_>], names: usize, table: &mut Table) {
    for round in 0..ROUNDS {
        for at in in_turn(all.len(), round) {
            let Crowded { peer, server, links, at, .. } = &mut all[at];
            let deep = peer.look_up(spread(LOOK_UPS, names), 64);
            table.note(row, *at, cost_us(server, deep.count, || deep.run(&mut links[0])));
        }
    }
}

/// The end of a session that kept as much as one may. The others have no such thing.
fn ends(peers: &[Peer], table: &mut Table) {
    for round in 0..ROUNDS {
        for at in in_turn(peers.len(), round) {
            let peer = &peers[at];
            if peer.kind != Kind::Callsign {
                continue;
            }
            let server = peer.start(false);
            let mut link = peer.link(&server);
            peer.register((0..KEPT).map(name), 64).run(&mut link);
            at_rest(&server);
            table.note(&END, at, cost_us(&server, KEPT, || drop(link)));
        }
    }
}

/// Changes of one name that more and more watch.
fn watchers(peers: &[Peer], table: &mut Table) {
    for (count, row) in [(100, &EVENT_100), (1_000, &EVENT_1K), (MANY, &EVENT)] {
        for round in 0..ROUNDS {
            for at in in_turn(peers.len(), round) {
                if peers[at].is_quick() {
                    watched_by(count, row, &peers[at], at, table);
                }
            }
        }
    }
}

fn watched_by(count: usize, row: &'static Row, peer: &Peer, at: usize, table: &mut Table) {
    let server = peer.start(false);
    let mut watching: Vec<_> = (0..count).map(|_| peer.link(&server)).collect();
    if watching.iter_mut().any(|it| peer.watch(it, "watched").is_none()) {
        return;
    }
    let mut author = peer.link(&server);
    let times = EVENTS / count;
    let (changes, answers) = peer.changes("watched", times);
    at_rest(&server);
    let each = cost_us(&server, times * count, || {
        for at in 0..times {
            changes.send(at, &mut author);
            changes.wait_for_one(&mut author);
            watching.iter_mut().for_each(|it| it.wait(answers));
        }
    });
    table.note(row, at, each);
}

/// Connections that ask nothing, and answer pings.
fn idle(peers: &[Peer], table: &mut Table) {
    for (has_instances, percent, bytes) in
        [(false, &IDLE, &IDLE_BYTES), (true, &IDLE_KEEPING, &IDLE_KEEPING_BYTES)]
    {
        for (at, peer) in peers.iter().enumerate() {
            if !peer.is_quick() || has_instances && peer.kind != Kind::Callsign {
                continue;
            }
            let server = peer.start(true);
            let empty = server.resident_bytes();
            let mut links: Vec<_> = (0..MANY).map(|_| peer.link(&server)).collect();
            if has_instances {
                for (at, link) in links.iter_mut().enumerate() {
                    peer.register(std::iter::once(name(at)), 1).run(link);
                }
            }
            rest(&mut links, Duration::from_secs(2));
            let before = server.processor_time();
            rest(&mut links, IDLE_TIME);
            let ran = server.processor_time() - before;
            table.note(percent, at, 100.0 * ran.as_secs_f64() / IDLE_TIME.as_secs_f64());
            let held = server.resident_bytes() - empty;
            table.note(bytes, at, held as f64 / MANY as f64 / 1024.0);
        }
    }
}

/// A server with names in it, and the connections that keep them.
struct Crowded<'a> {
    peer: &'a Peer,
    server: ServerProcess,
    links: Vec<Link>,
    empty_bytes: u64,
    /// Which of the peers it is.
    at: usize,
}

/// Starts those that are to be measured, and enters names.
fn crowded(peers: &[Peer], names: usize, takes_part: fn(&Peer) -> bool) -> Vec<Crowded<'_>> {
    let crowd = |peer: &'_ Peer| {
        let server = peer.start(false);
        let empty_bytes = server.resident_bytes();
        (server, empty_bytes)
    };
    let part = peers.iter().enumerate().filter(|(_, it)| takes_part(it));
    part.map(|(at, peer)| {
        let (server, empty_bytes) = crowd(peer);
        let links = peer.fill(&server, names);
        at_rest(&server);
        Crowded { peer, server, links, empty_bytes, at }
    })
    .collect()
}

/// Names far apart.
pub(crate) fn spread(count: usize, names: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |it| name((it * 7_919 + it / names) % names))
}

/// Who is measured when: another one first in each round.
pub(crate) fn in_turn(peers: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..peers).map(move |it| (it + round) % peers)
}

/// Makes requests over many connections, one at a time over each.
pub(crate) fn run_over(requests: &Requests, links: &mut [Link]) {
    let (mut sent, mut done) = (0, 0);
    for link in links.iter_mut() {
        requests.send(sent, link);
        sent += 1;
    }
    while done < requests.count {
        for at in readable(links, None) {
            requests.wait_for_one(&mut links[at]);
            done += 1;
            if sent < requests.count {
                requests.send(sent, &mut links[at]);
                sent += 1;
            }
        }
    }
}

/// Does nothing for so long but to answer pings.
fn rest(links: &mut [Link], time: Duration) {
    let start = Instant::now();
    while let Some(left) = time.checked_sub(start.elapsed()) {
        for at in readable(links, Some(left)) {
            links[at].answer_pings();
        }
        // The pings of a moment are answered together.
        thread::sleep(Duration::from_millis(10).min(left));
    }
}

fn readable(links: &[Link], time: Option<Duration>) -> Vec<usize> {
    let mut polled: Vec<_> = links.iter().map(|it| PollFd::new(it, PollFlags::IN)).collect();
    let time = time.map(|it| Timespec::try_from(it).unwrap());
    poll(&mut polled, time.as_ref()).unwrap();
    let ready = polled.iter().enumerate().filter(|(_, it)| !it.revents().is_empty());
    ready.map(|(at, _)| at).collect()
}

static LOOK_UP_DEEP: Row =
    Row::us("look-up, 1 connection, 64 deep, among 100,000", "GET", Some((0.5, "of Redis")));
static LOOK_UP_WIDE: Row =
    Row::us("look-up, 64 connections, 1 at a time", "GET", Some((0.75, "of Redis")));
static NEW: Row = Row::us("register, new, 64 deep", "SET", Some((1.2, "of Redis")));
static AGAIN: Row =
    Row::us("register again, the same instance", "SET again", Some((1.5, "of Redis")));
static GONE: Row = Row::us("unregister, 64 deep", "DEL", Some((1.2, "of Redis")));
static ONCE: Row = Row::us("look-up over a connection of its own", "GET", None);
static FIRST: Row =
    Row::new("`callsign ls` of 100,000, to the first row", "", "s", Some((0.3, "s")));
static LAST: Row = Row::new("the same, to the last", "", "s", None);
static LIST_PEAK: Row = Row::new("the most memory of it", "", "MiB", Some((60.0, "MiB")));
static AMONG_1K: Row = Row::us("look-up, 64 deep, at random among 1,000", "GET", None);
static AMONG_10K: Row = Row::us("look-up, 64 deep, at random among 10,000", "GET", None);
static AMONG_100K: Row = Row::us("look-up, 64 deep, at random among 100,000", "GET", None);
static AMONG_1M: Row =
    Row::us("look-up, 64 deep, at random among 1,000,000", "GET", Some((0.6, "of Redis")));
static END: Row =
    Row::us("the end of a session with 65,536 instances, each", "", Some((1.5, "µs")));
static EVENT_100: Row = Row::us("a change to 100 watchers, each event", "PUBLISH", None);
static EVENT_1K: Row = Row::us("a change to 1,000 watchers, each event", "PUBLISH", None);
static EVENT: Row =
    Row::us("a change to 4,000 watchers, each event", "PUBLISH", Some((0.8, "of Redis")));
static MEMORY: Row =
    Row::new("memory of an instance, of a million", "a value", "bytes", Some((350.0, "bytes")));
static LEFT: Row = Row::new("the same, 3 s after they have gone", "", "bytes", None);
static IDLE: Row = Row::new("4,000 idle connections", "", "% of a CPU", Some((1.0, "%")));
static IDLE_BYTES: Row = Row::new("memory of each", "", "KiB", Some((4.0, "KiB")));
static IDLE_KEEPING: Row =
    Row::new("4,000 idle connections that keep an instance each", "", "% of a CPU", None);
static IDLE_KEEPING_BYTES: Row = Row::new("memory of each, with its instance", "", "KiB", None);

const ROUNDS: usize = 5;
const NAMES: usize = 100_000;
pub(crate) const LOOK_UPS: usize = 64_000;
const WRITES: usize = 12_800;
/// The names for connections of their own, which hold a connection each at Erlang's port mapper.
pub(crate) const FEW: usize = 256;
const CONNECTIONS: usize = 4_000;
const KEPT: usize = 65_536;
const MANY: usize = 4_000;
/// The events of a change to all watchers, times the changes.
const EVENTS: usize = 80_000;
const IDLE_TIME: Duration = Duration::from_secs(5);
