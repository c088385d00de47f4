//! How soon others know: what is registered at one node, and who is killed there, is an event at another.
//!
//! ```text
//!   actor ──▶ rome ──▶ etcd ──▶ oslo ──▶ watcher
//!                                ▲
//!              at all nodes: 1,000 look-ups and 50 registrations a second
//! ```

use std::{
    env,
    io::Read,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use callsign_bench::{Client, Quantiles, lookups, registrations};
use discovery::Change;
use endpoints::Endpoint;
use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
    time::interval,
};

use crate::{load, stage::Stage};

/// How many actors come, and how many are killed.
const EVENTS: usize = 1000;

pub(crate) async fn measure(binary: &Path, delay: Duration) {
    let Some(stage) = Stage::set(binary, Some(delay)).await else { return };
    let places: Vec<_> = stage.nodes.iter().map(|it| it.endpoint.clone()).collect();
    // All that blocks is on threads of its own: the relays run here.
    let measured = tokio::task::spawn_blocking(move || {
        let stops: Vec<_> = places.iter().map(|it| start_load(it.clone())).collect();
        let events = watch(places[1].to_string());
        let come = comings(&places[0], &events);
        let gone = goings(&places[0], &events);
        drop(stops);
        (come, gone)
    });
    let (come, gone) = measured.await.unwrap();
    for (what, times) in [("registered", come), ("killed", gone)] {
        let longest = times.iter().max().copied().unwrap();
        println!(
            "events: {what} at one node, an event at another: {}, longest {longest:.1?}, of {EVENTS}; \
             {delay:?} in each direction, load {}",
            Quantiles::of(times),
            load()
        );
    }
}

/// Registers one after another.
fn comings(place: &Endpoint, events: &mpsc::Receiver<Event>) -> Vec<Duration> {
    let once = |number| {
        let runtime = runtime();
        let mut client = runtime.block_on(Client::greet(place));
        let request = registrations([format!("actor-{number}")].into_iter());
        let began = Instant::now();
        runtime.block_on(client.exchange(&request, 1));
        let Event::Added(seen) = events.recv().unwrap() else { panic!("it comes first") };
        drop(client);
        let Event::Removed(_) = events.recv().unwrap() else { panic!("then it goes") };
        seen - began
    };
    (0..EVENTS).map(once).collect()
}

/// Kills one actor after another.
fn goings(place: &Endpoint, events: &mpsc::Receiver<Event>) -> Vec<Duration> {
    let once = |_| {
        let mut actor = start_actor(place);
        let Event::Added(_) = events.recv().unwrap() else { panic!("it comes first") };
        let killed = Instant::now();
        actor.kill().unwrap();
        let Event::Removed(seen) = events.recv().unwrap() else { panic!("then it goes") };
        actor.wait().unwrap();
        seen - killed
    };
    (0..EVENTS).map(once).collect()
}

enum Event {
    Added(Instant),
    Removed(Instant),
}

/// Watches on a thread of its own.
fn watch(registrar: String) -> mpsc::Receiver<Event> {
    let (sender, events) = mpsc::sync_channel(16);
    let (watching, is_watching) = mpsc::sync_channel(1);
    thread::spawn(move || {
        runtime().block_on(async {
            let client = discovery::Client::connect([registrar]).await.unwrap();
            let mut watch = client.watch("actor-*").unwrap();
            // It ends with the receiver.
            while let Some(change) = watch.next().await {
                let sent = match change {
                    Change::Add { .. } => sender.send(Event::Added(Instant::now())),
                    Change::Remove { .. } => sender.send(Event::Removed(Instant::now())),
                    _ => {
                        _ = watching.try_send(());
                        Ok(())
                    }
                };
                if sent.is_err() {
                    break;
                }
            }
        });
    });
    is_watching.recv().unwrap();
    events
}

/// Starts an actor, which says hello, registers and waits.
fn start_actor(registrar: &Endpoint) -> Child {
    let mut own = Command::new(env::current_exe().unwrap());
    own.args([ACTOR, &registrar.to_string()]).stdin(Stdio::piped()).spawn().unwrap()
}

/// The argument that makes this program an actor.
pub(crate) const ACTOR: &str = "actor";

pub(crate) fn act(registrar: &Endpoint) {
    let name = format!("actor-{}", std::process::id());
    runtime().block_on(async {
        let mut client = Client::greet(registrar).await;
        client.exchange(&registrations([name].into_iter()), 1).await;
        // Until it is killed, or its parent is.
        drop(std::io::stdin().read(&mut [0]));
        drop(client);
    });
}

/// Looks up and registers at a node, on a thread of its own, until what it returns is dropped. What was
/// registered goes with its session, after a while.
fn start_load(registrar: Endpoint) -> oneshot::Sender<()> {
    let (stop, mut stopped) = oneshot::channel();
    thread::spawn(move || {
        runtime().block_on(async {
            let mut asker = Client::greet(&registrar).await;
            let question = lookups(["feed-0".to_owned()].into_iter());
            let mut due = interval(Duration::from_millis(3));
            let (mut session, mut count) = (Client::greet(&registrar).await, 0);
            loop {
                tokio::select! {
                    _ = &mut stopped => return,
                    _ = due.tick() => {}
                }
                asker.exchange(&question, 1).await;
                count += 1;
                if count % 20 == 0 {
                    let name = format!("feed-{count}");
                    session.exchange(&registrations([name].into_iter()), 1).await;
                }
                if count % 2000 == 0 {
                    session = Client::greet(&registrar).await;
                }
            }
        });
    });
    stop
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}
