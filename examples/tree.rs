//! A tree of actors: processes and a thread that serve, fail and find each other.
//!
//! `cargo run --example tree`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use callsign::{Actor, Context, Ended, NurseryError, Root, RunError, tree::CallError};
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize, Serialize, thiserror::Error)]
#[error("no quote for {0}")]
struct NoQuote(String);

#[callsign::export]
async fn quote(symbol: String) -> Result<f64, NoQuote> {
    if symbol == "EURUSD" { Ok(1.0842) } else { Err(NoQuote(symbol)) }
}

/// A dialogue: a started value, then a price for each symbol. The faster side waits.
#[callsign::export]
async fn prices(context: &mut Context<String, String, f64>) -> Result<u32, Ended> {
    let mut stream = context.started("ask me".to_owned()).await?;
    let mut count = 0;
    while let Some(symbol) = stream.recv().await? {
        stream.send(1.0 + symbol.len() as f64 / 100.0).await?;
        count += 1;
    }
    Ok(count)
}

/// Asks the feed, wherever in the tree it is, over the nearest transport.
#[callsign::export]
async fn ask_the_feed() -> String {
    let actor = Actor::current().expect("an exported function runs in an actor");
    let feed = actor.wait_for_actor("feed").await.expect("the registrar is there");
    format!("{:?} over {}", feed.call(quote("EURUSD".into())).await, feed.endpoints()[0])
}

#[callsign::main(config = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/tree.toml"))]
async fn main(root: Root) -> Result<(), NurseryError> {
    root.nursery(async |n| {
        let feed = n.spawn("feed").process().expose(&[quote::EXPORT, prices::EXPORT]).await?;
        println!("EURUSD is {}", feed.call(quote("EURUSD".into())).await?);
        let talk = feed.context(prices(), async |started, mut stream| {
            println!("the feed says: {started}");
            stream.send("GBPUSD".into()).await?;
            stream.recv().await
        });
        println!("a price, and how many were asked for: {:?}", talk.await?);
        println!("{}", n.spawn("sibling").thread().run(ask_the_feed()).await?);
        match n.spawn("gold").forkserver().run(quote("XAUUSD".into())).await {
            Err(RunError::Call(CallError::App(NoQuote(symbol)))) => println!("no {symbol}"),
            other => println!("unexpected: {other:?}"),
        }
        n.cancel();
        Ok(())
    })
    .await
}
