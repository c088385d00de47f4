//! A caller that looks up the same name all the time: it follows the name, and reads from memory who
//! has it. The registrar is in this process, and goes away and comes back.
//!
//! ```text
//! cargo run --example follow
//! ```

#![expect(clippy::print_stdout, reason = "it talks to a person")]

use std::{error::Error, time::Duration};

use callsign::{
    CancellationToken, Client, Endpoint, Followed, Registration,
    registrar::{Node, NodeOptions},
};
use tokio::task::JoinSet;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (place, registrar) = start("/memory/0".parse()?).await?;
    let callsign = Client::connect([&place]).await?;

    let feed = callsign.follow("feed")?;
    feed.synced().await?;
    print(&feed);
    let kept = callsign.register(Registration::new("feed").endpoint("/memory/7")?).await?;
    until(&feed, "current", 1).await;

    // The registrar goes, and nobody knows what happens meanwhile.
    registrar.stop().await;
    until(&feed, "unreachable", 1).await;
    // It comes back, and so does the actor: its client registers it again.
    let (_, registrar) = start(place).await?;
    until(&feed, "current", 1).await;
    kept.unregister().await;
    until(&feed, "current", 0).await;

    callsign.close().await;
    registrar.stop().await;
    Ok(())
}

/// Waits for a view that is so fresh and has so many instances, and prints it.
async fn until(feed: &Followed, freshness: &str, instances: usize) {
    let mut view = feed.view();
    while view.freshness().to_string() != freshness || view.len() != instances {
        view = feed.changed(view.revision()).await;
    }
    print(feed);
}

fn print(feed: &Followed) {
    // A read takes some tens of nanoseconds, and waits for nobody.
    let view = feed.view();
    let place =
        view.actor("feed").map_or("nobody".to_owned(), |it| it.endpoints[0].endpoint.to_string());
    let known = if view.knows("feed") { "known" } else { "as it was" };
    println!("{}: {place}, {known}", view.freshness());
}

/// A registrar that runs until it is stopped.
struct Running {
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

async fn start(place: Endpoint) -> Result<(Endpoint, Running), Box<dyn Error>> {
    let options = NodeOptions { settle_time: Duration::ZERO, ..NodeOptions::default() };
    let node = Node::bind(&[place], options).await?;
    let (place, stop) = (node.endpoints()[0].clone(), CancellationToken::new());
    let mut tasks = JoinSet::new();
    tasks.spawn(node.serve(stop.clone()));
    Ok((place, Running { stop, tasks }))
}

impl Running {
    async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}
