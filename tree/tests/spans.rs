//! An actor's events are in its span, and filters find them by that.
#![expect(clippy::unwrap_used, reason = "a test may unwrap")]

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use callsign_tree::{Actor, AnyError, Kind, Root};
use tokio::task::{JoinSet, yield_now};
use tracing::debug;
use tracing_subscriber::{EnvFilter, fmt};

#[callsign_tree::export(crate = callsign_tree)]
async fn work() {
    let actor = Actor::current().unwrap();
    debug!("{} begins", actor.path());
    yield_now().await;
    debug!("{} goes on", actor.path());
    let elsewhere = async move {
        actor.scope(async { debug!("{} is at it elsewhere", actor.path()) }).await;
    };
    JoinSet::from_iter([elsewhere]).join_all().await;
}

/// Both actors do the same and end alike; the filter passes one of them, including its parent's
/// work for it, and drops events that concern neither.
#[test]
fn filters_find_actors_by_their_spans() {
    let log = Log::default();
    let writer = log.clone();
    fmt()
        .with_env_filter(EnvFilter::new("off,[actor{name=feed}]=debug"))
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .init();
    let folder = tempfile::tempdir().unwrap();
    let registrar = format!("/unix{}/registrar.sock", folder.path().display());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let options = Root::options().registrar(&registrar).dumps(folder.path()).name("base");
    runtime.block_on(options.run(both)).unwrap();

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for told in ["begins", "goes on", "is at it elsewhere"] {
        let told = format!("/base/feed {told}");
        let lines: Vec<_> = log.lines().filter(|it| it.ends_with(&told)).collect();
        assert_eq!(lines.len(), 2, "as a task, and as a thread: {told}\n{log}");
        for line in lines {
            assert!(line.contains(" actor{path=/base/feed name=\"feed\" uuid="), "{line}");
        }
    }
    assert!(log.lines().any(|it| it.ends_with(": is being registered")), "{log}");
    assert!(log.lines().any(|it| it.ends_with(": returned")), "{log}");
    assert!(!log.contains("/base/desk"), "{log}");
    assert!(log.lines().all(|it| it.contains("actor{path=/base/feed ")), "{log}");
}

async fn both(root: Root) -> Result<(), AnyError> {
    for kind in [Kind::Task, Kind::Thread] {
        root.nursery(async |n| {
            n.spawn("desk").kind(kind).start(work()).await?;
            n.spawn("feed").kind(kind).start(work()).await?;
            Ok(())
        })
        .await?;
    }
    Ok(())
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
