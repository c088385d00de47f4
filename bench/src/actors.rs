//! Actors that come and go as processes of their own, and who watches them.

#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::{
    env,
    io::Read,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Instant,
};

use discovery::Change;
use endpoints::Endpoint;
use tokio::runtime::{Builder, Runtime};

use crate::{Client, registrations};

/// What a watcher has seen, and when.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// An actor is there.
    Added(Instant),
    /// An actor is gone.
    Removed(Instant),
}

/// Watches all actors at a registrar, on a thread of its own.
pub fn watch(registrar: String) -> mpsc::Receiver<Event> {
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

/// Starts an actor, which says hello, registers and waits: this program, which has to [act] then.
pub fn start_actor(registrar: &Endpoint) -> Child {
    let mut own = Command::new(env::current_exe().unwrap());
    own.args([ACTOR, &registrar.to_string()]).stdin(Stdio::piped()).spawn().unwrap()
}

/// The argument that makes a program an actor, before the registrar.
pub const ACTOR: &str = "actor";

/// Is an actor, until it is killed, or its parent is.
pub fn act(registrar: &Endpoint) {
    let name = format!("actor-{}", std::process::id());
    runtime().block_on(async {
        let mut client = Client::greet(registrar).await;
        client.exchange(&registrations([name].into_iter()), 1).await;
        drop(std::io::stdin().read(&mut [0]));
        drop(client);
    });
}

/// Returns a runtime of one thread.
pub fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}
