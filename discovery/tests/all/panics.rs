//! A panic within a connection's code, for instance in a log, does not lose the connector for good.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use callsign_discovery::{Client, ClientOptions, Registration};
use tokio::time::sleep;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::set_default,
};

use crate::support::{Running, soon, until};

/// A subscriber that panics at the first event with a certain message.
struct Broken {
    at: &'static str,
    has_panicked: AtomicBool,
}

impl Subscriber for Broken {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        if message.0 == self.at && !self.has_panicked.swap(true, Ordering::Relaxed) {
            panic!("the log cannot be written");
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

#[tokio::test]
async fn a_keeper_that_panics_is_started_again() {
    for at in ["not reached", "connected", "lost"] {
        let registrar = Running::start().await;
        let _log = set_default(Broken { at, has_panicked: AtomicBool::new(false) });
        let endpoint = registrar.endpoint.clone();
        let client = if at == "not reached" {
            let endpoint = registrar.stop().await;
            let client = Client::open([endpoint.clone()], ClientOptions::default()).unwrap();
            client.connected().await.unwrap_err();
            let registrar = Running::at(&[endpoint]).await;
            check(&client, &registrar).await;
            continue;
        } else {
            Client::open([endpoint], ClientOptions::default()).unwrap()
        };
        check(&client, &registrar).await;
        if at == "lost" {
            let registrar = Running::at(&[registrar.stop().await]).await;
            check(&client, &registrar).await;
        }
    }
}

/// Registers an actor as soon as possible, and checks that the registrar has it.
async fn check(client: &Client, registrar: &Running) {
    let registered = soon(async {
        loop {
            let registration = Registration::new("feed").endpoint("/unix/@feed").unwrap();
            match client.register(registration).await {
                Ok(registered) => break registered,
                Err(_) => sleep(Duration::from_millis(1)).await,
            }
        }
    });
    let registered = registered.await;
    until(|| registrar.registry.status().instances > 0).await;
    registered.unregister().await;
}
