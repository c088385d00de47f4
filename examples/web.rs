//! A web server behind a name: axum at listeners of callsign, which tell it who calls.
//!
//! ```text
//! callsign registrar --config examples/market.toml
//! cargo run --example web --features axum -- /unix/@market /unix/tmp/web.sock /ip4/127.0.0.1/tcp/0
//! cargo run --example fetch --features hyper -- /unix/@market http://web/quote
//! curl --unix-socket /tmp/web.sock http://web/quote
//! ```

#![expect(clippy::print_stdout, reason = "it talks to a person")]

use std::error::Error;

use axum::{Router, extract::ConnectInfo, http::HeaderMap, routing::get};
use callsign::{BindOptions, Client, Endpoint, Listener, Published, Registration, axum::Caller};
use tokio::task::JoinSet;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let registrar = args.next().ok_or("usage: web REGISTRAR ENDPOINT...")?;

    let endpoints = args.map(|it| it.parse()).collect::<Result<Vec<Endpoint>, _>>()?;
    let listeners = Listener::bind_all(&endpoints, BindOptions::default()).await?;
    let published: Published = listeners.iter().map(Listener::published).collect();
    let callsign = Client::connect([registrar]).await?;
    // Without `proves`: browsers and curl may call as well.
    let registered = callsign.register(Registration::new("web").endpoints(published)).await?;

    let app = Router::new().route("/quote", get(quote));
    let mut servers = JoinSet::new();
    for listener in listeners {
        println!("web listens at {}", listener.bound());
        let app = app.clone().into_make_service_with_connect_info::<Caller>();
        servers.spawn(async move { axum::serve(listener, app).await });
    }
    while let Some(ended) = servers.join_next().await {
        ended??;
    }
    drop(registered);
    Ok(())
}

async fn quote(ConnectInfo(caller): ConnectInfo<Caller>, headers: HeaderMap) -> String {
    let host = headers.get("host").and_then(|it| it.to_str().ok()).unwrap_or("nobody");
    format!("EURUSD 1.0842 1.0843 from {host} for {caller}\n")
}
