//! Reading a name that is followed: alone, while another thread registers and unregisters all the
//! time, and one of 100,000 names. A single-threaded look-up in a map of the standard library
//! stands beside it.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run had better stop")]
#![expect(clippy::print_stdout, reason = "it prints its figures")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::{
    collections::HashMap,
    hint::black_box,
    thread,
    time::{Duration, Instant},
};

use callsign_bench::{Server, transports};
use discovery::{Client, Followed, Registration};
use rustix::time::{ClockId, clock_gettime};
use tokio::{runtime::Builder, sync::oneshot};

/// The reads of a round, and the rounds of which the median is printed.
const READS: u32 = 1_000_000;
const ROUNDS: usize = 9;

const NAMES: usize = 100_000;

fn main() {
    // `cargo bench` passes flags that concern criterion alone.
    let folder = tempfile::tempdir().unwrap();
    let [(_, endpoint), _] = transports(folder.path());
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let (server, _registry) = Server::registrar(&endpoint).await;
        let client = Client::connect([&server.endpoint]).await.unwrap();
        let one = Registration::new("feed").endpoint("/unix/@feed").unwrap();
        let _kept = client.register(one).await.unwrap();
        let one = client.follow("feed").unwrap();
        until(&one, 1).await;
        let plain: HashMap<_, _> =
            one.view().names().map(|(it, at)| (it.clone(), at.len())).collect();
        figure("a map of the standard library", || plain.contains_key("feed"));
        figure("one name", || one.view().actor("feed").is_some());

        let (stop, mut stopped) = oneshot::channel::<()>();
        let busy = client.clone();
        let changes = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut changes = 0_u64;
                while stopped.try_recv().is_err() {
                    let again = Registration::new("feed").endpoint("/unix/@other").unwrap();
                    busy.register(again).await.unwrap().unregister().await;
                    changes += 2;
                }
                changes
            })
        });
        let before = one.view().revision();
        figure("the same while it changes", || one.view().actor("feed").is_some());
        let views = one.view().revision() - before;
        stop.send(()).unwrap();
        println!("({views} views meanwhile, {} changes)", changes.join().unwrap());

        let mut kept = Vec::new();
        for number in 0..NAMES {
            let name = format!("feed-{number}");
            let many = Registration::new(&name).endpoint("/unix/@feed").unwrap();
            kept.push(client.register(many).await.unwrap());
        }
        let start = Instant::now();
        let all = client.follow("*").unwrap();
        until(&all, NAMES + 1).await;
        println!("{NAMES} names are known after {:.2?}", start.elapsed());
        figure("the same of 100,000 names", || all.view().actor("feed-7").is_some());
        let names: Vec<_> = (0..NAMES).map(|it| format!("feed-{}", it * 7919 % NAMES)).collect();
        let mut at = 0;
        figure("100,000 names at random", || {
            at = (at + 1) % NAMES;
            all.view().actor(&names[at]).is_some()
        });
    });
    // A hundred thousand registrations need not end one by one.
    std::process::exit(0);
}

async fn until(followed: &Followed, instances: usize) {
    let mut view = followed.view();
    while view.len() != instances {
        view = followed.changed(view.revision()).await;
    }
}

/// Prints the median processor time of a read, which hardly depends on what else the machine does.
fn figure(what: &str, mut read: impl FnMut() -> bool) {
    let mut rounds = [0; ROUNDS].map(|_| {
        let start = spent();
        for _ in 0..READS {
            assert!(black_box(read()));
        }
        (spent() - start) / READS
    });
    rounds.sort();
    println!("{what}: {:?} a read", rounds[ROUNDS / 2]);
}

/// Returns the processor time of this thread.
fn spent() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}
