//! How soon a watcher knows that an actor was killed, while others look up names.
//!
//! ```text
//!   kill ──▶ actor ──(its end of the session closes)──▶ node ──▶ watcher
//!                                                        ▲
//!                                      100 look-ups a millisecond
//! ```
//!
//! The node is the real binary, each actor is a process, and what is timed is from before the
//! signal to the watcher's event.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run had better stop")]
#![expect(clippy::print_stdout, reason = "it prints its figures")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use callsign_bench::{
    Client, Quantiles,
    actors::{ACTOR, Event, act, runtime, start_actor, watch},
    batches, lookups, node_binary, registrations,
};
use tokio::time::{MissedTickBehavior, interval};

/// How many actors are killed, over each transport.
const KILLS: usize = 1000;

/// How many look-ups come in each millisecond.
const LOOKUPS: usize = 100;

fn main() {
    // `cargo bench` passes flags that concern criterion alone.
    let args: Vec<_> = env::args().collect();
    if let [_, role, registrar] = &args[..]
        && role == ACTOR
    {
        return act(&registrar.parse().unwrap());
    }
    let Some(binary) = node_binary() else {
        println!("deaths: build the node first with `cargo build --release`");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let unix = format!("/unix{}/registrar.sock", folder.path().display());
    let mut node = Command::new(binary)
        .args(["registrar", "--listen", &unix, "--listen", "/ip4/127.0.0.1/tcp/0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(node.stdout.take().unwrap()).lines();
    let listening: Vec<String> = lines
        .take(2)
        .map(|it| it.unwrap().strip_prefix("listening on ").unwrap().to_owned())
        .collect();

    let load = Load::start(&unix);
    let events = watch(unix.clone());
    for (transport, registrar) in [("unix", &listening[0]), ("tcp", &listening[1])] {
        let before = (load.answered.load(Relaxed), Instant::now());
        let mut times = Vec::new();
        for _ in 0..KILLS {
            let mut actor = start_actor(&registrar.parse().unwrap());
            let Event::Added(_) = events.recv().unwrap() else { panic!("an actor comes first") };
            let killed = Instant::now();
            actor.kill().unwrap();
            let Event::Removed(seen) = events.recv().unwrap() else { panic!("then it goes") };
            times.push(seen - killed);
            actor.wait().unwrap();
        }
        let answered = load.answered.load(Relaxed) - before.0;
        let rate = answered as f64 / before.1.elapsed().as_secs_f64() / 1000.0;
        let slowest = times.iter().max().copied().unwrap();
        println!(
            "{transport}: a watcher knows of a kill after {}, at most {slowest:.1?}, at {rate:.0} \
             look-ups a millisecond",
            Quantiles::of(times)
        );
    }
    load.stop();
    node.kill().unwrap();
    node.wait().unwrap();
}

/// Looks up names all the while, on a thread of its own.
struct Load {
    answered: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Load {
    fn start(registrar: &str) -> Self {
        let (answered, is_over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (count, over) = (answered.clone(), is_over.clone());
        let registrar = registrar.parse().unwrap();
        let thread = thread::spawn(move || {
            runtime().block_on(async {
                let mut client = Client::greet(&registrar).await;
                let names = || (0..LOOKUPS).map(|it| format!("feed-{it}"));
                client.exchange(&registrations(names()), LOOKUPS).await;
                let requests = batches(&lookups(names()), LOOKUPS).remove(0);
                let mut due = interval(Duration::from_millis(1));
                // What comes too late comes all the same.
                due.set_missed_tick_behavior(MissedTickBehavior::Burst);
                while !over.load(Relaxed) {
                    due.tick().await;
                    client.exchange(&requests, LOOKUPS).await;
                    count.fetch_add(LOOKUPS, Relaxed);
                }
            });
        });
        Self { answered, is_over, thread }
    }

    fn stop(self) {
        self.is_over.store(true, Relaxed);
        self.thread.join().unwrap();
    }
}
