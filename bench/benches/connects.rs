//! From a name to a connection: look-up, dial and proof, against a bare connection and one echo
//! over it. Both ends of both are on one thread, and they take turns.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run had better stop")]
#![expect(clippy::print_stdout, reason = "it prints its figures")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::time::{Duration, Instant};

use callsign_bench::{Quantiles, Server, transports};
use discovery::{Assurance, Client, Registration};
use endpoints::Endpoint;
use portal::Acceptor;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::Builder,
    task::JoinSet,
};
use transport::{Listener, Stream, dial};

/// How often each is done.
const ROUNDS: usize = 20_000;

/// What is sent to the echo, and comes back: as long as a short quote.
const WORD: [u8; 64] = [7; 64];

fn main() {
    // `cargo bench` passes flags that concern criterion alone.
    let folder = tempfile::tempdir().unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    for ((transport, registrar), (_, echo)) in
        transports(folder.path()).into_iter().zip(transports(folder.path()))
    {
        let (_, actor) =
            transports(folder.path()).into_iter().find(|it| it.0 == transport).unwrap();
        runtime.block_on(measure(transport, [&registrar, &echo, &actor]));
    }
}

async fn measure(transport: &str, [registrar, echo, actor]: [&Endpoint; 3]) {
    let (server, _clerk) = Server::registrar(registrar).await;
    let mut tasks = JoinSet::new();
    let echo = Listener::bind(echo).await.unwrap();
    let echo_endpoint = echo.bound().clone();
    tasks.spawn(async move {
        let mut conversations = JoinSet::new();
        loop {
            conversations.spawn(echo_once(echo.accept().await.unwrap()));
            while conversations.try_join_next().is_some() {}
        }
    });

    let client = Client::connect([&server.endpoint]).await.unwrap();
    let listener = Listener::bind(actor).await.unwrap();
    let registration = Registration::new("feed").endpoints(listener.published()).proves();
    let registered = client.register(registration).await.unwrap();
    let mut acceptor = Acceptor::new(listener, registered.identity().clone(), Default::default());
    tasks.spawn(async move {
        loop {
            drop(acceptor.accept().await);
        }
    });

    let (mut bare, mut found) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(connect_and_echo(&echo_endpoint).await);

        let start = Instant::now();
        let connection = client.find_actor("feed").await.unwrap().unwrap();
        found.push(start.elapsed());
        assert_eq!(connection.assurance, Assurance::Proved);
    }
    let (bare, found) = (Quantiles::of(bare), Quantiles::of(found));
    println!(
        "{transport}: found and connected {found}; bare connection and echo {bare}; {:.2} x",
        found.p50.as_secs_f64() / bare.p50.as_secs_f64()
    );
}

async fn connect_and_echo(endpoint: &Endpoint) -> Duration {
    let start = Instant::now();
    let mut stream = dial(endpoint).await.unwrap();
    stream.write_all(&WORD).await.unwrap();
    stream.read_exact(&mut [0; WORD.len()]).await.unwrap();
    start.elapsed()
}

async fn echo_once(mut stream: Stream) {
    let mut word = WORD;
    stream.read_exact(&mut word).await.unwrap();
    stream.write_all(&word).await.unwrap();
}
