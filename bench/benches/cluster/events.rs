//! How soon others know: what is registered at one node, and who is killed there, is an event at another.
//!
//! ```text
//!   actor ──▶ rome ──▶ etcd ──▶ oslo ──▶ watcher
//!                                ▲
//!              at all nodes: 1,000 look-ups and 50 registrations a second
//! ```

use std::{
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use callsign_bench::{
    Client, Quantiles,
    actors::{Event, runtime, start_actor, watch},
    lookups, registrations,
};
use endpoints::Endpoint;
use tokio::{sync::oneshot, time::interval};

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
