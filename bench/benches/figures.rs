//! Figures that are no rates: what an instance costs in memory, what a large registry costs in
//! time, how soon a node is ready, and what an idle one weighs. Each is printed once.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run had better stop")]
#![expect(clippy::print_stdout, reason = "it prints its figures")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::{
    io::Read,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use callsign_bench::{batches, lookups, registrations};
use portal::{Call, Replies, Service};
use registrar::{
    Session,
    registry::{Limits, Owner},
};
use rustix::time::{ClockId, clock_gettime};
use wire::Frame;

fn main() {
    // `cargo bench` passes flags that concern criterion alone.
    memory_and_size();
    server_cost();
    node();
}

/// Registers up to a million instances over sessions without a connection, and times look-ups
/// among few and among many.
fn memory_and_size() {
    let clerk = registrar::Clerk::unattended(Limits::default());
    let mut sessions: Vec<_> =
        (0..16).map(|_| Session::open(clerk.clone(), Owner::User(1000))).collect();
    let mut replies = Replies::default();
    let before = resident_bytes();
    let mut put = |range: std::ops::Range<usize>| {
        for at in range {
            let frames = registrations(std::iter::once(format!("feed-{at}")));
            serve(&mut sessions[at % 16], &frames, &mut replies);
        }
    };
    put(0..1000);
    let few = median_lookup(&clerk, 1000);
    put(1000..1_000_000);
    assert_eq!(clerk.status().instances, 1_000_000);
    let each = (resident_bytes() - before) / 1_000_000;
    let same_names = median_lookup(&clerk, 1000);
    let all_names = median_lookup(&clerk, 1_000_000);
    println!("memory of 1,000,000 instances: {each} bytes each (resident)");
    println!(
        "look-up, median of 101 rounds: {few:?} among 1,000 instances, {same_names:?} of the same \
         names among 1,000,000 ({:.2}x), {all_names:?} of any name among 1,000,000 ({:.2}x)",
        ratio(same_names, few),
        ratio(all_names, few),
    );
}

fn median_lookup(clerk: &registrar::Clerk, names: usize) -> Duration {
    let mut session = Session::open(clerk.clone(), Owner::User(1000));
    let mut replies = Replies::default();
    // Names far apart, so that neither the processor's caches nor the order of insertion help.
    let asked = lookups((0..10_000).map(|it| format!("feed-{}", it * 7919 % names)));
    let mut rounds: Vec<_> = (0..101)
        .map(|_| {
            let start = Instant::now();
            serve(&mut session, &asked, &mut replies);
            start.elapsed() / 10_000
        })
        .collect();
    rounds.sort();
    rounds[rounds.len() / 2]
}

/// Times the server's own work for a look-up, from the bytes of a call to the bytes of an answer.
fn server_cost() {
    let clerk = registrar::Clerk::unattended(Limits::default());
    let mut session = Session::open(clerk.clone(), Owner::User(1000));
    let mut replies = Replies::default();
    let names = || (0..1000).map(|it| format!("feed-{it}"));
    serve(&mut session, &registrations(names()), &mut replies);
    let asked = batches(&lookups(names()), 64);
    let rounds = 2000;
    let before = thread_time();
    for at in 0..rounds {
        serve(&mut session, &asked[at % 15], &mut replies);
    }
    let each = (thread_time() - before) / (rounds as u32 * 64);
    println!("server's work for a look-up, without the kernel's: {each:?} of processor time");
}

fn serve(session: &mut Session, frames: &[u8], replies: &mut Replies) {
    let mut reader = wire::FrameReader::default();
    reader.extend_from_slice(frames);
    while let Some(frame) = reader.next().unwrap() {
        let Frame::Call { id, method, body } = Frame::decode(&frame).unwrap() else {
            panic!("only calls were encoded");
        };
        session.call(Call { id, method, body }, replies);
        if replies.is_full() {
            *replies = Replies::default();
        }
    }
}

/// Starts the real binary, if it was built: how soon it is ready, and what it weighs then.
fn node() {
    let binary =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/callsign");
    let target = std::env::var_os("CARGO_TARGET_DIR").map(std::path::PathBuf::from);
    let binary = target.map_or(binary, |it| it.join("release/callsign"));
    if !binary.exists() {
        println!("node: build it first with `cargo build --release`");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("/unix{}/registrar.sock", folder.path().display());
    let mut starts = Vec::new();
    let mut weight = 0;
    for _ in 0..21 {
        let start = Instant::now();
        let mut node = Command::new(&binary)
            .args(["registrar", "--listen", &socket, "--listen", "/ip4/127.0.0.1/tcp/0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        node.stdout.as_mut().unwrap().read_exact(&mut [0; 1]).unwrap();
        starts.push(start.elapsed());
        weight = process_resident_bytes(&node.id().to_string());
        node.kill().unwrap();
        node.wait().unwrap();
    }
    starts.sort();
    println!("node: ready after {:?} (median of 21 starts)", starts[10]);
    println!("node: {:.1} MiB resident when idle", weight as f64 / (1024.0 * 1024.0));
}

fn resident_bytes() -> u64 {
    process_resident_bytes("self")
}

fn process_resident_bytes(process: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|it| it.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}
