//! gRPC by name: a server that streams quotes, and a client whose stream goes on when the server
//! has been started again, wherever it listens then.
//!
//! ```text
//! cargo run --example grpc --features axum,tonic -- serve /unix/@market /unix/@market-quotes
//! cargo run --example grpc --features axum,tonic -- watch /unix/@market
//! ```
//!
//! The messages are written by hand here; code that is generated from a `.proto` works alike.

#![expect(clippy::print_stdout, reason = "it talks to a person")]

use std::{convert::Infallible, error::Error, time::Duration};

use axum::{Router, extract, response::IntoResponse, routing::post};
use callsign::{Client, Listener, Registration};
use futures_util::stream;
use http::uri::PathAndQuery;
use tokio::time::sleep;
use tonic::{Request, Response, Status, client, server};
use tonic_prost::ProstCodec;
use tower::service_fn;

#[derive(Clone, PartialEq, prost::Message)]
struct Pair {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Quote {
    #[prost(string, tag = "1")]
    pair: String,
    #[prost(uint64, tag = "2")]
    number: u64,
}

const WATCH: &str = "/market.Quotes/Watch";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", registrar, endpoint] => serve(registrar, endpoint).await,
        ["watch", registrar] => watch(registrar).await,
        _ => Err("usage: grpc serve REGISTRAR ENDPOINT, or grpc watch REGISTRAR".into()),
    }
}

async fn serve(registrar: &str, endpoint: &str) -> Result<(), Box<dyn Error>> {
    let listener = Listener::bind(&endpoint.parse()?).await?;
    let callsign = Client::connect([registrar]).await?;
    let quotes = Registration::new("quotes").endpoints(listener.published());
    let registered = callsign.register(quotes).await?;
    println!("quotes listens at {}", listener.bound());
    // tonic's services are routes of axum, which serves the listener as it stands.
    axum::serve(listener, Router::new().route(WATCH, post(stream_quotes))).await?;
    drop(registered);
    Ok(())
}

async fn stream_quotes(request: extract::Request) -> impl IntoResponse {
    let quotes = service_fn(async |request: Request<Pair>| {
        let pair = request.into_inner().name;
        let quotes = stream::unfold(1, move |number| {
            let pair = pair.clone();
            async move {
                sleep(Duration::from_millis(20)).await;
                Some((Ok::<_, Status>(Quote { pair, number }), number + 1))
            }
        });
        Ok::<_, Status>(Response::new(Box::pin(quotes)))
    });
    server::Grpc::new(ProstCodec::<Quote, Pair>::default()).server_streaming(quotes, request).await
}

async fn watch(registrar: &str) -> Result<(), Box<dyn Error>> {
    let callsign = Client::connect([registrar]).await?;
    // It connects when it is used, and again whenever its connection has ended.
    let mut quotes = client::Grpc::new(callsign::tonic::channel(&callsign, "quotes")?);
    loop {
        callsign.wait_for_actor("quotes").await?;
        let Err(ended) = print_quotes(&mut quotes).await;
        println!("the stream has ended: {}", ended.code());
        sleep(Duration::from_millis(20)).await;
    }
}

async fn print_quotes(
    quotes: &mut client::Grpc<tonic::transport::Channel>,
) -> Result<Infallible, Status> {
    quotes.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let pair = Request::new(Pair { name: "EURUSD".to_owned() });
    let (path, codec) = (PathAndQuery::from_static(WATCH), ProstCodec::default());
    let mut stream = quotes.server_streaming(pair, path, codec).await?.into_inner();
    loop {
        let quote: Quote = stream.message().await?.ok_or(Status::unavailable("no more quotes"))?;
        println!("{} number {}", quote.pair, quote.number);
    }
}
