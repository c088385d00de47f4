//! An actor: it listens at a given endpoint, registers itself as `feed`, and sends each caller a
//! quote.
//!
//! ```text
//! callsign registrar --config examples/market.toml
//! cargo run --example feed -- /unix/@market /unix/@market-feed /ip4/127.0.0.1/tcp/0
//! ```

#![expect(clippy::print_stdout, reason = "it talks to a person")]

use std::error::Error;

use callsign::{Acceptor, BindOptions, Client, Endpoint, Listener, Published, Registration};
use tokio::{io::AsyncWriteExt, task::JoinSet};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let registrar = args.next().ok_or("usage: feed REGISTRAR ENDPOINT...")?;

    // Listen first: an actor that is registered can be dialed.
    let endpoints = args.map(|it| it.parse()).collect::<Result<Vec<Endpoint>, _>>()?;
    let listeners = Listener::bind_all(&endpoints, BindOptions::default()).await?;
    let published: Published = listeners.iter().map(Listener::published).collect();
    let registration =
        Registration::new("feed").endpoints(published).metadata("pair", "EURUSD").proves();

    // Registered for as long as `registered` lives; if the registrar starts again, once more.
    let callsign = Client::connect([registrar]).await?;
    let registered = callsign.register(registration).await?;
    println!("registered as {}", registered.instance().name);

    let mut acceptors = JoinSet::new();
    for listener in listeners {
        let identity = registered.identity().clone();
        acceptors.spawn(quote(Acceptor::new(listener, identity, Default::default())));
    }
    while let Some(ended) = acceptors.join_next().await {
        ended?;
    }
    Ok(())
}

/// Sends a quote to each caller of a listener, once it has been proved to whom it speaks.
async fn quote(mut acceptor: Acceptor) {
    loop {
        let mut caller = acceptor.accept().await.into_stream();
        // A caller that does not stay to listen is no concern of the next one.
        if caller.write_all(b"EURUSD 1.0842 1.0843\n").await.is_ok() {
            drop(caller.shutdown().await);
        }
    }
}
