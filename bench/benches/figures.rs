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

use callsign_bench::{Client, Server, batches, lookups, node_binary, registrations, transports};
use portal::{Call, Replies, Service};
use registrar::{
    Session,
    registry::{Limits, Owner},
};
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, Runtime};
use wire::Frame;

fn main() {
    // `cargo bench` passes flags that concern criterion alone.
    memory_and_size();
    server_cost();
    node();
}

/// Registers up to a million instances, and times look-ups among few and among many, as a client
/// sees them: over a Unix socket, one at a time.
fn memory_and_size() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let [(_, endpoint), _] = transports(folder.path());
    let (server, registry) = runtime.block_on(Server::registrar(&endpoint));
    let mut client = runtime.block_on(Client::greet(&server.endpoint));
    let mut sessions: Vec<_> =
        (0..16).map(|_| Session::open(registry.clone(), Owner::User(1000))).collect();
    let mut replies = Replies::default();
    let before = resident_bytes();
    let mut put = |hundreds: std::ops::Range<usize>| {
        for at in hundreds {
            let frames = registrations((100 * at..100 * (at + 1)).map(|it| format!("feed-{it}")));
            serve(&mut sessions[at % 16], &frames, &mut replies);
        }
    };
    put(0..10);
    let few = median_lookup(&runtime, &mut client, 1000);
    put(10..10_000);
    assert_eq!(registry.status().instances, 1_000_000);
    let each = (resident_bytes() - before) / 1_000_000;
    let same = median_lookup(&runtime, &mut client, 1000);
    let any = median_lookup(&runtime, &mut client, 1_000_000);
    let ratio = |time: Duration| time.as_secs_f64() / few.as_secs_f64();
    println!("memory of 1,000,000 instances: {each} bytes each (local_client)");
    println!(
        "look-up over a Unix socket, median: {few:?} among 1,000 instances; among 1,000,000, \
         {same:?} of the same 1,000 names ({:.2}x), {any:?} of names at random ({:.2}x)",
        ratio(same),
        ratio(any),
    );
}

/// Looks up names far apart, so that the processor's caches do not help.
fn median_lookup(runtime: &Runtime, client: &mut Client, names: usize) -> Duration {
    let asked = lookups((0..20_000).map(|it| format!("feed-{}", it * 7919 % names)));
    let mut times: Vec<_> = batches(&asked, 1)
        .into_iter()
        .map(|request| {
            let start = Instant::now();
            runtime.block_on(client.exchange(&request, 1));
            start.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

/// Times the server's own work for a look-up, from the bytes of a call to the bytes of an answer.
fn server_cost() {
    let registry = registrar::RegistryHandle::unattended(Limits::default());
    let mut session = Session::open(registry.clone(), Owner::User(1000));
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
        let Frame::Call { id, method, body, .. } = Frame::decode(&frame).unwrap() else {
            panic!("only calls were encoded");
        };
        session.call(Call { id, method, body, within: None }, replies);
        if replies.is_full() {
            *replies = Replies::default();
        }
    }
}

/// Starts the real binary, if it was built: how soon it is ready, and what it weighs then.
fn node() {
    let Some(binary) = node_binary() else {
        println!("node: build it first with `cargo build --release`");
        return;
    };
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
    println!("node: {} local_client when idle", mebibytes(weight));
    crowd(&binary, &socket);
}

/// Registers 60,000 instances over one connection, and closes it: what the node weighs in between
/// and after it.
fn crowd(binary: &std::path::Path, socket: &str) {
    let mut node = Command::new(binary)
        .args(["registrar", "--listen", socket])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    node.stdout.as_mut().unwrap().read_exact(&mut [0; 1]).unwrap();
    let (id, endpoint) = (node.id().to_string(), socket.parse().unwrap());
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut weights = Vec::new();
    for _ in 0..3 {
        runtime.block_on(async {
            let mut client = Client::greet(&endpoint).await;
            for hundreds in 0..600 {
                let names = (100 * hundreds..100 * (hundreds + 1)).map(|it| format!("feed-{it}"));
                client.exchange(&registrations(names), 100).await;
            }
            weights.push(process_resident_bytes(&id));
            drop(client);
            // The end of that session is handled before a later connection is.
            let mut client = Client::greet(&endpoint).await;
            client.exchange(&lookups(std::iter::once("feed-1".to_owned())), 1).await;
            weights.push(process_resident_bytes(&id));
        });
    }
    node.kill().unwrap();
    node.wait().unwrap();
    let weights: Vec<_> = weights.into_iter().map(mebibytes).collect();
    println!("node: 60,000 instances come and go three times: {}", weights.join(", "));
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1024.0 * 1024.0))
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
