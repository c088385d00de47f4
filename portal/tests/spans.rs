//! Events during a call are in the spans of its connection and its call, and filters find them by
//! these.
#![expect(clippy::unwrap_used, reason = "a test may unwrap")]

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use callsign_portal::{Handlers, IncomingCall, NoService, Options, Request, accept, connect};
use tokio::{io::duplex, task::JoinSet, task::yield_now};
use tracing::info;
use tracing_subscriber::{EnvFilter, fmt};
use wire::{Hello, RemoteError, encode_body};

#[tokio::test]
async fn events_of_a_call_are_in_its_spans() {
    let log = logged("info").await;
    for (method, told) in [("at once", "begins"), ("at once", "goes on"), ("aside", "goes on")] {
        let line = line(&log, method, told);
        assert!(line.contains("connection{id="), "{line}");
        assert!(line.contains(r#" peer="caller/1"}:call{id="#), "{line}");
        assert!(line.contains(&format!("method={method:?}}}")), "{line}");
    }
}

#[tokio::test]
async fn filters_find_calls_by_their_spans() {
    let log = logged("off,[call{method=aside}]=info").await;
    line(&log, "aside", "begins");
    line(&log, "aside", "goes on");
    assert!(!log.contains("at once"), "{log}");

    let log = logged("off,[connection{peer=nobody}]=info").await;
    assert_eq!(log, "");
}

fn line<'a>(log: &'a str, method: &str, told: &str) -> &'a str {
    let told = format!("{method} {told}");
    log.lines()
        .find(|it| it.ends_with(&told))
        .unwrap_or_else(|| panic!("`{told}` is not in\n{log}"))
}

/// Makes two calls, and returns the events of their handlers that a filter lets through.
async fn logged(filter: &str) -> String {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);

    let (near, far) = duplex(1024);
    let caller = Options {
        hello: Hello { agent: "caller/1".to_owned(), ..Hello::default() },
        ..Options::default()
    };
    let (dialed, accepted) = tokio::try_join!(
        connect(near, caller, NoService),
        accept(far, Options::default(), Handlers::new(handle)),
    )
    .unwrap();
    let mut drivers = JoinSet::new();
    drivers.spawn(dialed.driver);
    drivers.spawn(accepted.driver);
    for method in ["at once", "aside"] {
        dialed.portal.call::<()>(Request::new(method, &())).await.unwrap();
    }
    let bytes = log.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

async fn handle(call: IncomingCall) -> Result<Bytes, RemoteError> {
    if call.method() == "aside" {
        call.offload().await;
    }
    info!("{} begins", call.method());
    yield_now().await;
    info!("{} goes on", call.method());
    Ok(encode_body(&()).into())
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
