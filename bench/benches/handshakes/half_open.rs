//! What a good client waits beside 2,000 handshakes of TLS that nobody goes on with.

use std::{
    io::{Read, Write},
    iter,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use callsign_bench::{
    Client, Quantiles, batches, certify, lookups, node_binary,
    server::{CLIENTS, ServerProcess, free_ports, place},
};
use endpoints::Endpoint;
use rustix::process::setpriority_process;

use crate::{runtime, settings};

/// Prints how long a look-up takes of a client that stays connected, and of one that comes with a full
/// handshake, alone and beside the others.
pub(crate) fn print(folder: &Path) {
    let Some(binary) = std::env::var_os("CALLSIGN_NODE").map(PathBuf::from).or_else(node_binary)
    else {
        println!("node: build it first with `cargo build --release`");
        return;
    };
    transport::raise_descriptor_limit().unwrap();
    place(None, CLIENTS);
    let hello = hello();
    for (what, sent) in [("begun a record", &hello[..5]), ("sent their hello", &hello[..])] {
        for (who, ask) in [("stays", stays as Ask), ("comes", comes as Ask)] {
            let rounds = (0..ROUNDS).map(|_| measure(&binary, folder, sent, ask));
            let rounds: Vec<_> = rounds.collect();
            let median = |part: fn(&Waits) -> Duration| {
                let mut parts: Vec<_> = rounds.iter().map(part).collect();
                parts.sort();
                parts[parts.len() / 2]
            };
            let [alone, coming, there] =
                [median(|it| it.alone), median(|it| it.coming), median(|it| it.there)];
            let times = |it: Duration| it.as_secs_f64() / alone.as_secs_f64();
            println!(
                "{HALF_OPEN} that have {what}; a client that {who}: p99 alone {alone:.1?}, as they \
                 come {coming:.1?} ({:.2}x), as they are there {there:.1?} ({:.2}x)",
                times(coming),
                times(there),
            );
        }
    }
}

/// What a good client does again and again.
type Ask = fn(&Endpoint, &Path) -> Box<dyn FnMut() -> Duration>;

fn stays(at: &Endpoint, _folder: &Path) -> Box<dyn FnMut() -> Duration> {
    let runtime = runtime();
    let mut client = runtime.block_on(Client::greet(at));
    let asked = batches(&lookups(iter::once("calm".to_owned())), 1).remove(0);
    Box::new(move || {
        let began = Instant::now();
        runtime.block_on(client.exchange(&asked, 1));
        began.elapsed()
    })
}

fn comes(at: &Endpoint, folder: &Path) -> Box<dyn FnMut() -> Duration> {
    let (runtime, at, folder) = (runtime(), at.clone(), folder.to_owned());
    let asked = batches(&lookups(iter::once("calm".to_owned())), 1).remove(0);
    Box::new(move || {
        // It resumes nothing.
        certify(&folder);
        let began = Instant::now();
        runtime.block_on(async {
            let mut client = Client::greet(&at).await;
            client.exchange(&asked, 1).await;
        });
        began.elapsed()
    })
}

/// The 99th percentiles of a good client's waits.
struct Waits {
    alone: Duration,
    coming: Duration,
    there: Duration,
}

fn measure(binary: &Path, folder: &Path, sent: &[u8], ask: Ask) -> Waits {
    let [port, _] = free_ports();
    let at = format!("/ip4/127.0.0.1/tcp/{port}/tls");
    let _node = ServerProcess::callsign(binary, &settings(folder), &["--listen", &at]);
    let mut ask = ask(&at.parse().unwrap(), folder);
    let started = Instant::now();
    calm(&mut ask, || started.elapsed() < SPAN / 2);
    let started = Instant::now();
    let alone = calm(&mut ask, || started.elapsed() < SPAN);

    let (all_came, is_over, begin) =
        (AtomicBool::new(false), AtomicBool::new(false), Barrier::new(2));
    let (coming, there) = thread::scope(|scope| {
        scope.spawn(|| {
            // It acts behind the good client, which would wait for that otherwise.
            _ = setpriority_process(None, 0);
            begin.wait();
            let mut held = Vec::new();
            for _ in 0..HALF_OPEN {
                let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
                stream.write_all(sent).unwrap();
                held.push(stream);
            }
            if sent.len() > 5 {
                // Each has its answer, which is the work of the server.
                for stream in &mut held {
                    stream.read_exact(&mut [0; 5]).unwrap();
                }
            }
            all_came.store(true, Ordering::Relaxed);
            while !is_over.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(10));
            }
        });
        begin.wait();
        let coming = calm(&mut ask, || !all_came.load(Ordering::Relaxed));
        let started = Instant::now();
        let there = calm(&mut ask, || started.elapsed() < SPAN);
        is_over.store(true, Ordering::Relaxed);
        (coming, there)
    });
    Waits { alone, coming, there }
}

/// Asks again and again, a millisecond apart, and returns what one in a hundred exceeds.
fn calm(ask: &mut dyn FnMut() -> Duration, mut goes_on: impl FnMut() -> bool) -> Duration {
    let mut times = vec![ask()];
    while goes_on() {
        times.push(ask());
        thread::sleep(Duration::from_millis(1));
    }
    Quantiles::of(times).p99
}

/// Returns the first message of a client, as it is sent.
fn hello() -> Vec<u8> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at = format!("/ip4/127.0.0.1/tcp/{}/tls", listener.local_addr().unwrap().port());
    let dialing = thread::spawn(move || {
        runtime().block_on(transport::dial(&at.parse().unwrap())).unwrap_err();
    });
    let (mut stream, _) = listener.accept().unwrap();
    let mut bytes = vec![0; 5];
    stream.read_exact(&mut bytes).unwrap();
    let length = usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
    bytes.resize(5 + length, 0);
    stream.read_exact(&mut bytes[5..]).unwrap();
    drop(stream);
    dialing.join().unwrap();
    bytes
}

const HALF_OPEN: usize = 2000;

const ROUNDS: usize = 3;

/// How long the good client asks.
const SPAN: Duration = Duration::from_secs(2);
