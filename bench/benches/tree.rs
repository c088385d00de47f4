//! What an actor of a tree costs, of each kind: from the order to its portal, and on until it has
//! ended and left the registry, beside what it runs in when that is bare; how long a hundred processes take to be cancelled; and what calls
//! and dialogues with a process cost beside bare frames to another one.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run had better stop")]
#![expect(clippy::print_stdout, reason = "it prints its figures")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use callsign_bench::{Client, Server, batches};
use endpoints::Endpoint;
use serde_bytes::ByteBuf;
use tokio::{runtime::Builder, sync::oneshot, task::JoinSet};
use tree::{AnyError, Context, Ended, Kind, Never, Portal, Root};
use wire::Frame;

/// How many children are spawned of each kind, one after the other.
const CHILDREN: usize = 200;

/// How many processes are cancelled at once.
const TREE: usize = 100;

/// How many calls are made one at a time; of those 64 deep there are as many in all.
const CALLS: usize = 25_600;

/// How many items a dialogue sends.
const ITEMS: u64 = 20_000;

const ITEM_BYTES: usize = 64 * 1024;

fn main() {
    tree::init();
    // Sockets stand in memory, as in `XDG_RUNTIME_DIR`, unless another place is asked for.
    let memory = std::env::var("TMPDIR").unwrap_or_else(|_| "/dev/shm".to_owned());
    let folder = tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()).unwrap();
    let registrar = format!("/unix{}/registrar.sock", folder.path().display());
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let options = Root::options().registrar(&registrar).dumps(folder.path());
    runtime.block_on(options.run(measure)).unwrap();
}

async fn measure(root: Root) -> Result<(), AnyError> {
    for kind in Kind::ALL {
        let mut times = Vec::new();
        for _ in 0..CHILDREN {
            let bare = start_bare(kind).await;
            let start = Instant::now();
            let ready = root
                .nursery(async |n| {
                    let ordered = Instant::now();
                    n.spawn("child").kind(kind).await?;
                    Ok(ordered.elapsed())
                })
                .await?;
            times.push([bare, ready, start.elapsed()]);
        }
        // The first starts what all use.
        let [bare, ready, reaped] =
            [0, 1, 2].map(|at| median(times.iter().skip(1).map(|it| it[at])));
        println!(
            "{kind}: order to portal {ready:?}, to reaped {reaped:?}; bare {bare:?} (medians)"
        );
    }

    for kind in [Kind::Process, Kind::Forkserver] {
        let start = std::cell::Cell::new(Instant::now());
        root.nursery(async |n| {
            let mut children = Vec::new();
            for at in 0..TREE {
                children.push(n.spawn(format!("child-{at}")).kind(kind).await?);
            }
            start.set(Instant::now());
            n.cancel();
            Ok(())
        })
        .await?;
        println!("{kind}: {TREE} cancelled and reaped in {:?}", start.get().elapsed());
    }
    talk(&root).await
}

/// Starts what an actor of that kind runs in, with nothing in it, and waits until it runs: a
/// process until it has ended.
async fn start_bare(kind: Kind) -> Duration {
    let start = Instant::now();
    let (runs, is_running) = oneshot::channel();
    match kind {
        Kind::Task => {
            let mut tasks = JoinSet::new();
            tasks.spawn(async move { runs.send(()).unwrap() });
            is_running.await.unwrap();
            start.elapsed()
        }
        Kind::Thread => {
            let thread = thread::spawn(move || {
                let runtime = Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async move { runs.send(()).unwrap() });
            });
            is_running.await.unwrap();
            let took = start.elapsed();
            thread.join().unwrap();
            took
        }
        Kind::Process | Kind::Forkserver => {
            Command::new("true").status().unwrap();
            start.elapsed()
        }
    }
}

/// Talks to two processes: an actor, and one that answers frames and does nothing else.
async fn talk(root: &Root) -> Result<(), AnyError> {
    let folder = tempfile::tempdir()?;
    let place = format!("/unix{}/echo.sock", folder.path().display());
    root.nursery(async |n| {
        let expose = [double::EXPORT, flood::EXPORT];
        let actor = n.spawn("actor").process().expose(&expose).await?;
        n.spawn("frames").process().start(answer_frames(place.clone())).await?;
        let endpoint: Endpoint = place.parse()?;
        while !folder.path().join("echo.sock").exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut client = Client::connect(&endpoint).await;
        let mut requests = BytesMut::new();
        for id in 0..64 {
            Frame::Call { id, method: METHOD, body: BODY, within_ms: None }
                .encode(&mut requests)?;
        }
        for depth in [1, 64] {
            let batch = batches(&requests, depth).remove(0);
            let (mut bare, mut called) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                let (batch, mut tasks) = (batch.clone(), JoinSet::new());
                let start = Instant::now();
                // In a task, as the calls are.
                tasks.spawn(async move {
                    for _ in 0..CALLS / depth {
                        client.exchange(&batch, depth).await;
                    }
                    client
                });
                client = tasks.join_all().await.remove(0);
                bare.push(start.elapsed());
                let start = Instant::now();
                call(&actor, depth).await;
                called.push(start.elapsed());
            }
            let [bare, called] = [bare, called].map(|it| median(it.into_iter()));
            let each = |it: Duration| it / CALLS as u32;
            let ratio = called.as_secs_f64() / bare.as_secs_f64();
            println!(
                "calls to a process, {depth} deep: {:?} each, bare frames {:?} ({ratio:.2}x)",
                each(called),
                each(bare)
            );
        }
        let start = Instant::now();
        let taking = async |(), mut stream: tree::Stream<ByteBuf, Never>| {
            while let Some(item) = stream.recv().await.unwrap() {
                assert_eq!(item.len(), ITEM_BYTES);
            }
        };
        actor.context(flood(ITEMS), taking).await?;
        let rate = (ITEMS as usize * ITEM_BYTES) as f64 / start.elapsed().as_secs_f64();
        println!("items of 64 KiB from a process: {:.2} GiB/s", rate / f64::from(1 << 30));
        n.cancel();
        Ok(())
    })
    .await?;
    Ok(())
}

/// Calls in as many tasks as `depth` says, in each one at a time.
async fn call(actor: &Portal, depth: usize) {
    let mut tasks = JoinSet::new();
    for _ in 0..depth {
        let actor = actor.clone();
        tasks.spawn(async move {
            for _ in 0..CALLS / depth {
                assert_eq!(actor.call(double(21)).await.unwrap(), 42);
            }
        });
    }
    tasks.join_all().await;
}

#[tree::export(crate = tree)]
async fn double(number: u64) -> u64 {
    2 * number
}

#[tree::export(crate = tree)]
async fn flood(context: &mut Context<(), Never, ByteBuf>, items: u64) -> Result<(), Ended> {
    let stream = context.started(()).await?;
    let item = ByteBuf::from(vec![7; ITEM_BYTES]);
    for _ in 0..items {
        stream.send(item.clone()).await?;
    }
    Ok(())
}

/// Answers every frame with one as long as an answer of the actor.
#[tree::export(crate = tree)]
async fn answer_frames(place: String) {
    let mut answer = BytesMut::new();
    Frame::Return { id: 0, body: b"\x2a" }.encode(&mut answer).unwrap();
    let _echo = Server::echo(&place.parse().unwrap(), answer).await;
    std::future::pending().await
}

/// As the calls of the actor are.
const METHOD: &str = "export.tree::double";

/// As long as a fingerprint and a number.
const BODY: &[u8] = &[7; 12];

/// How often both are measured, in turns.
const ROUNDS: usize = 5;

fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<_> = times.collect();
    times.sort();
    times[times.len() / 2]
}
