//! What an operation costs a server in processor time, by the scheduler's count, beside Redis,
//! memcached, etcd and Erlang's port mapper in the same run: all do the same thing in turns, driven by
//! one closed loop on another processor. Processor time hardly depends on what else the machine does, so
//! that a busy one will do.
//!
//! `CALLSIGN_NODES` names registrars to compare with each other. Words after `--` choose the parts
//! to run; `--write FOLDER` writes a page and a chart there.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run had better stop")]
#![expect(clippy::print_stdout, reason = "it prints its figures")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

mod bare;
mod chart;
mod growth;
mod link;
mod listing;
mod page;
mod parts;
mod peer;
mod table;

use std::{path::PathBuf, time::Duration};

use callsign_bench::server::{CLIENTS, ServerProcess, place};

use peer::Peer;
use table::Table;

fn main() {
    let mut words = std::env::args().skip(1).peekable();
    if words.next_if_eq(bare::SERVE).is_some() {
        bare::serve(words.next().unwrap().as_ref());
    }
    let (peers, missing) = Peer::all();
    if peers.iter().all(|it| it.kind != peer::Kind::Callsign) {
        println!("node: build it first with `cargo build --release`");
        return;
    }
    for program in &missing {
        println!("{program}: it is not there, and is left out");
    }
    let (mut chosen, mut folder) = (Vec::new(), None);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--write" => folder = words.next().map(PathBuf::from),
            "--bench" => {}
            _ => chosen.push(word),
        }
    }
    place(None, CLIENTS);
    let mut table = Table::of(&peers);
    for (name, part) in parts::ALL {
        if chosen.is_empty() || chosen.iter().any(|it| it == name) {
            part(&peers, &mut table);
        }
    }
    println!("{table}");
    if let Some(folder) = folder {
        page::write(&folder, &table, &missing);
    }
}

/// Runs what a peer is asked, and returns how long its server ran for each of `count` operations, in
/// microseconds.
fn cost_us(server: &ServerProcess, count: usize, act: impl FnOnce()) -> f64 {
    let before = server.processor_time();
    act();
    (at_rest(server) - before).as_secs_f64() * 1e6 / count as f64
}

/// Waits until a server has nothing left to do, and returns for how long it has run in all.
fn at_rest(server: &ServerProcess) -> Duration {
    let (mut ran, mut quiet, mut looks) = (server.processor_time(), 0, 0);
    // On a busy machine it may be a while until it runs at all, and some are never quiet.
    while quiet < 10 && looks < LOOKS_MAX {
        looks += 1;
        std::thread::sleep(Duration::from_millis(20));
        let now = server.processor_time();
        // Its clock wakes it from time to time.
        let is_quiet = now.saturating_sub(ran) < Duration::from_micros(200);
        quiet = if is_quiet { quiet + 1 } else { 0 };
        ran = now;
    }
    ran
}

/// The most looks at a server that may have nothing left to do: three seconds.
const LOOKS_MAX: usize = 150;
