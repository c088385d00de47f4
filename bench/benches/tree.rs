//! What an actor of a tree costs, of each kind: from the order to its portal, and on until it has
//! ended and left the registry; and how long a hundred processes take to be cancelled.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run had better stop")]
#![expect(clippy::print_stdout, reason = "it prints its figures")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tree::{AnyError, Kind, Root};

/// How many children are spawned of each kind, one after the other.
const CHILDREN: usize = 200;

/// How many processes are cancelled at once.
const TREE: usize = 100;

fn main() {
    tree::init();
    let folder = tempfile::tempdir().unwrap();
    let registrar = format!("/unix{}/registrar.sock", folder.path().display());
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let options = Root::options().registrar(&registrar).dumps(folder.path());
    runtime.block_on(options.run(measure)).unwrap();
}

async fn measure(root: Root) -> Result<(), AnyError> {
    for kind in Kind::ALL {
        let mut times = Vec::new();
        for _ in 0..CHILDREN {
            let start = Instant::now();
            let ready = root
                .nursery(async |n| {
                    n.spawn("child").kind(kind).await?;
                    Ok(start.elapsed())
                })
                .await?;
            times.push([ready, start.elapsed()]);
        }
        // The first starts what all use.
        let [ready, reaped] = [0, 1].map(|at| median(times.iter().skip(1).map(|it| it[at])));
        println!("{kind}: order to portal {ready:?}, to reaped {reaped:?} (medians)");
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
    Ok(())
}

fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<_> = times.collect();
    times.sort();
    times[times.len() / 2]
}
