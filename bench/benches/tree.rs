//! What an actor of a tree costs, of each kind: from the order to its portal, and on until it has
//! ended and left the registry, beside what it runs in when that is bare; and how long a hundred
//! processes take to be cancelled.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run had better stop")]
#![expect(clippy::print_stdout, reason = "it prints its figures")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use tokio::{runtime::Builder, sync::oneshot, task::JoinSet};
use tree::{Actor, AnyError, Kind, NurseryError, Root};

/// How many children are spawned of each kind, one after the other.
const CHILDREN: usize = 200;

/// How many processes are cancelled at once.
const TREE: usize = 100;

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
    // The body of a program's root has a thread of its own, which hands each task to a worker.
    for kind in Kind::ALL {
        spawn_many(&root, kind, "from the root").await?;
    }
    root.nursery(async |n| Ok(n.spawn("parent").task().run(spawn_from_a_task()).await?)).await?;

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
    Ok(())
}

/// An actor's function runs on a worker.
#[tree::export(crate = tree)]
async fn spawn_from_a_task() {
    let actor = Actor::current().unwrap();
    for kind in Kind::ALL {
        spawn_many(&actor, kind, "from a task").await.unwrap();
    }
}

/// Spawns one child after the other.
async fn spawn_many(actor: &Actor, kind: Kind, from: &str) -> Result<(), NurseryError> {
    let mut times = Vec::new();
    for _ in 0..CHILDREN {
        let bare = start_bare(kind).await;
        let start = Instant::now();
        let ready = actor
            .nursery(async |n| {
                let ordered = Instant::now();
                n.spawn("child").kind(kind).await?;
                Ok(ordered.elapsed())
            })
            .await?;
        times.push([bare, ready, start.elapsed()]);
    }
    // The first starts what all use.
    let [bare, ready, reaped] = [0, 1, 2].map(|at| median(times.iter().skip(1).map(|it| it[at])));
    println!(
        "{kind} {from}: order to portal {ready:?}, to reaped {reaped:?}; bare {bare:?} (medians)"
    );
    Ok(())
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

fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<_> = times.collect();
    times.sort();
    times[times.len() / 2]
}
