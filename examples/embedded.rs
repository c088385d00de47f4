//! All in one process: a registrar, a watcher, and an actor that comes and goes.
//!
//! ```text
//! cargo run --example embedded
//! ```

#![expect(clippy::print_stdout, reason = "it talks to a person")]

use std::error::Error;

use callsign::{
    CancellationToken, Change, Client, Registration, State,
    registrar::{Node, NodeOptions},
};
use tokio::task::JoinSet;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // `/memory/0` takes a free place within this process; `endpoints` tells which.
    let node = Node::bind(&["/memory/0".parse()?], NodeOptions::default()).await?;
    let (registrar, stop) = (node.endpoints(), CancellationToken::new());
    let mut tasks = JoinSet::new();
    tasks.spawn(node.serve(stop.clone()));

    let callsign = Client::connect(&registrar).await?;
    let mut watch = callsign.watch("risk*")?;

    let risk = Registration::new("risk.eu").endpoint("/memory/7")?.state(State::Starting);
    let mut risk = Some(callsign.register(risk).await?);
    while let Some(change) = watch.next().await {
        match (change, &risk) {
            (Change::Add { record }, Some(risk)) => {
                println!("{} is {}", record.name, record.state);
                risk.set_state(State::Ready).await?;
            }
            (Change::Update { record }, _) => {
                println!("{} is {}", record.name, record.state);
                // Dropping it removes the actor from the registry.
                risk = None;
            }
            (Change::Remove { instance, .. }, _) => {
                println!("{} is gone", instance.name);
                break;
            }
            // At the beginning: the present instances follow a reset, up to synced.
            _ => {}
        }
    }

    callsign.close().await;
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    Ok(())
}
