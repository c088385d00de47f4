//! What a calm client waits beside one that does its worst within the bounds, and Redis's beside the
//! same kind of flood in the same run; and what a node makes of look-ups and registrations when
//! nobody does. The node is the real binary, `CALLSIGN_NODE` if that is set, so that two of them can
//! be compared in turns. Words after `--` choose the floods that have one of them in their names.
//!
//! Both servers are on a processor of their own, and the clients on another where there are two, and
//! all of them go before what else the machine does, as far as this user may say so.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run had better stop")]
#![expect(clippy::print_stdout, reason = "it prints its figures")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

mod floods;
mod node;
mod rates;
mod redis;

use std::{
    path::PathBuf,
    process::Command,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use callsign_bench::{
    Quantiles, node_binary,
    server::{CLIENTS, place},
};
use endpoints::Endpoint;
use rustix::process::setpriority_process;

use floods::FLOODS;
use node::Node;
use redis::Redis;

fn main() {
    let Some(binary) = std::env::var_os("CALLSIGN_NODE").map(PathBuf::from).or_else(node_binary)
    else {
        println!("node: build it first with `cargo build --release`");
        return;
    };
    let has_redis = Redis::is_there();
    if !has_redis {
        println!("redis: it is not there (Debian: redis-server), and is left out");
    }
    place(None, CLIENTS);
    let chosen: Vec<_> = std::env::args().skip(1).filter(|it| !it.starts_with("--")).collect();
    if chosen.is_empty() || chosen.iter().any(|it| it == "rates") {
        rates::print(&Node::start(&binary));
    }
    for Flood { what, callsign, redis } in &FLOODS {
        if !chosen.is_empty() && !chosen.iter().any(|it| what.contains(it.as_str())) {
            continue;
        }
        let (mut own, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let node = Node::start(&binary);
            own.push(measure(&mut node.asks(), || callsign(&node.endpoint)));
            if let Some(flood) = redis.filter(|_| has_redis) {
                let redis = Redis::start();
                theirs.push(measure(&mut redis.asks(), || flood(redis.socket())));
            }
        }
        print(what, &own, &theirs);
    }
}

/// What one client does to the others of a server, and Redis's like, if there is one.
struct Flood {
    what: &'static str,
    callsign: fn(&Endpoint) -> Act,
    redis: Option<fn(&std::path::Path) -> Act>,
}

/// What is done again and again while a calm client asks, once all is prepared.
type Act = Box<dyn FnMut()>;

/// What a calm client waits.
struct Waits {
    alone: Quantiles,
    beside: Quantiles,
    longest: Duration,
}

fn measure(ask: &mut dyn FnMut(), flood: impl FnOnce() -> Act + Send) -> Waits {
    let started = Instant::now();
    let alone = calm(ask, || started.elapsed() < ALONE);
    let (is_over, prepared) = (AtomicBool::new(false), Barrier::new(2));
    let beside = thread::scope(|scope| {
        scope.spawn(|| {
            // It makes its calls behind the calm client, which would wait for that otherwise.
            _ = setpriority_process(None, BEHIND);
            fall_behind_in_real_time();
            let mut act = flood();
            prepared.wait();
            let started = Instant::now();
            while started.elapsed() < FLOODED {
                act();
            }
            is_over.store(true, Ordering::Relaxed);
        });
        prepared.wait();
        calm(ask, || !is_over.load(Ordering::Relaxed))
    });
    Waits { alone: alone.0, beside: beside.0, longest: beside.1 }
}

/// Asks again and again, a millisecond apart.
fn calm(ask: &mut dyn FnMut(), mut goes_on: impl FnMut() -> bool) -> (Quantiles, Duration) {
    let mut times = Vec::new();
    while goes_on() {
        let asking = Instant::now();
        ask();
        times.push(asking.elapsed());
        thread::sleep(Duration::from_millis(1));
    }
    let longest = times.iter().copied().max().unwrap();
    (Quantiles::of(times), longest)
}

fn print(what: &str, own: &[Waits], theirs: &[Waits]) {
    let (node, redis) = (Summary::of(own), Summary::of(theirs));
    let times = |part: Duration, whole: Duration| part.as_secs_f64() / whole.as_secs_f64();
    let Some(node) = node else { return };
    let mut line = format!("{what}: {node}, {:.1}x alone", times(node.beside, node.alone));
    if let Some(redis) = redis {
        line += &format!("; Redis {redis}; {:.2}x of Redis", times(node.beside, redis.beside));
    }
    println!("{line}");
}

/// The medians of the 99th percentiles of some rounds.
struct Summary {
    alone: Duration,
    beside: Duration,
    longest: Duration,
}

impl Summary {
    fn of(rounds: &[Waits]) -> Option<Self> {
        let median = |part: fn(&Waits) -> Duration| {
            let mut parts: Vec<_> = rounds.iter().map(part).collect();
            parts.sort();
            parts.get(parts.len() / 2).copied()
        };
        Some(Self {
            alone: median(|it| it.alone.p99)?,
            beside: median(|it| it.beside.p99)?,
            longest: median(|it| it.longest)?,
        })
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { alone, beside, longest } = self;
        write!(f, "p99 alone {alone:.1?}, beside {beside:.1?}, longest {longest:.1?}")
    }
}

/// Puts this thread behind the others where all were started with real-time priority
/// (`chrt --rr 2`), of which the usual one has no say.
fn fall_behind_in_real_time() {
    let thread = rustix::thread::gettid().to_string();
    let mut chrt = Command::new("chrt");
    let shown = chrt.args(["--pid", &thread]).output();
    if shown.is_ok_and(|it| String::from_utf8_lossy(&it.stdout).contains("SCHED_RR")) {
        let lower = Command::new("chrt").args(["--rr", "--pid", "1", &thread]).status();
        assert!(lower.is_ok_and(|it| it.success()));
    }
}

/// That of whoever floods.
const BEHIND: i32 = 0;

const ROUNDS: usize = 3;
const ALONE: Duration = Duration::from_millis(500);
const FLOODED: Duration = Duration::from_millis(1000);
