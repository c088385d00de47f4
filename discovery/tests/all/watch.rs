//! Watches of names at several registrars.

use std::pin::Pin;

use crate::support::{Running, Sockets, Way, connect, nowhere, soon};
use callsign_discovery::{Change, Watch};
use futures_util::Stream;
use wire::{RemovalReason, State};

/// Waits for the next changes, as many as are expected, and compares them.
async fn told(watch: &mut Watch, expected: &[&str]) {
    for (at, expected) in expected.iter().enumerate() {
        let change = soon(watch.next()).await.unwrap();
        let text = match &change {
            Change::Reset => "reset".to_owned(),
            Change::Synced => "synced".to_owned(),
            Change::Add { record } => format!("add {}", record.name),
            Change::Update { record } => format!("update {} {}", record.name, record.state),
            Change::Remove { instance, reason } => match reason {
                Some(RemovalReason::Unregistered) => format!("remove {}", instance.name),
                reason => format!("remove {} {reason:?}", instance.name),
            },
            Change::Stale { failures } => format!("stale {}", failures.0.len()),
            other => panic!("{other:?}"),
        };
        assert_eq!(text, *expected, "the change number {at}");
    }
}

#[tokio::test]
async fn a_watch_tells_what_is_there_and_then_what_changes() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let feed = soon(client.register(nowhere("feed.eu", 1))).await.unwrap();
    let _broker = soon(client.register(nowhere("broker", 2))).await.unwrap();

    let mut watch = client.watch("feed*").unwrap();
    told(&mut watch, &["reset", "add feed.eu", "synced"]).await;
    let other = soon(client.register(nowhere("feed.us", 3))).await.unwrap();
    soon(feed.set_state(State::Draining)).await.unwrap();
    soon(other.unregister()).await;
    drop(feed);
    let expected = ["add feed.us", "update feed.eu draining", "remove feed.us", "remove feed.eu"];
    told(&mut watch, &expected).await;

    assert_eq!(registrar.registry.status().watchers, 1);
    drop(watch);
    registrar.until(|it| it.watchers == 0).await;
    assert!(client.watch("feed eu").is_err());
}

#[tokio::test]
async fn an_instance_of_two_registrars_is_added_once_and_removed_once() {
    let (one, two) = (Running::start().await, Running::start().await);
    let both = connect([&one.endpoint, &two.endpoint]).await;
    let only_two = connect([&two.endpoint]).await;
    let mut watch = both.watch("*").unwrap();
    told(&mut watch, &["reset", "synced"]).await;

    let feed = soon(both.register(nowhere("feed", 1))).await.unwrap();
    let broker = soon(only_two.register(nowhere("broker", 2))).await.unwrap();
    one.until(|it| it.instances == 1).await;
    two.until(|it| it.instances == 2).await;
    soon(feed.unregister()).await;
    soon(broker.unregister()).await;
    let mut changes = Vec::new();
    for _ in 0..4 {
        changes.push(match soon(watch.next()).await.unwrap() {
            Change::Add { record } => format!("add {}", record.name),
            Change::Remove { instance, .. } => format!("remove {}", instance.name),
            other => panic!("{other:?}"),
        });
    }
    changes.sort();
    assert_eq!(changes, ["add broker", "add feed", "remove broker", "remove feed"]);
}

#[tokio::test]
async fn a_registrar_that_starts_again_resets_the_watch() {
    let sockets = Sockets::new();
    let endpoint = sockets.endpoint("registrar.sock");
    let registrar = Running::at(std::slice::from_ref(&endpoint)).await;
    let client = connect([&endpoint]).await;
    let _feed = soon(client.register(nowhere("feed", 1))).await.unwrap();
    let mut watch = client.watch("*").unwrap();
    told(&mut watch, &["reset", "add feed", "synced"]).await;

    registrar.stop().await;
    told(&mut watch, &["stale 1"]).await;
    let registrar = Running::at(&[endpoint]).await;
    registrar.until(|it| it.instances == 1).await;
    told(&mut watch, &["reset", "add feed", "synced"]).await;
}

#[tokio::test]
async fn a_watch_goes_on_where_the_connection_was_cut() {
    let registrar = Running::start().await;
    let mut way = Way::to(&registrar.endpoint).await;
    let (cut, well) = (connect([&way.endpoint]).await, connect([&registrar.endpoint]).await);
    let feed = soon(well.register(nowhere("feed", 1))).await.unwrap();
    let mut watch = cut.watch("*").unwrap();
    told(&mut watch, &["reset", "add feed", "synced"]).await;

    way.cut().await;
    told(&mut watch, &["stale 1"]).await;
    soon(feed.unregister()).await;
    let _broker = soon(well.register(nowhere("broker", 2))).await.unwrap();
    way.mend().await;
    told(&mut watch, &["synced", "remove feed", "add broker"]).await;
}

#[tokio::test]
async fn a_watcher_that_falls_behind_is_reset() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let mut watch = client.watch("feed").unwrap();
    told(&mut watch, &["reset", "synced"]).await;
    let feed = soon(client.register(nowhere("feed", 1))).await.unwrap();
    for number in 0..4500 {
        let metadata = [("number".to_owned(), number.to_string())];
        soon(feed.update_metadata(metadata.into())).await.unwrap();
    }
    let mut known = None;
    let mut resets = 0;
    while known.as_deref() != Some("4499") {
        match soon(watch.next()).await.unwrap() {
            Change::Reset => resets += 1,
            Change::Add { record } | Change::Update { record } => {
                known = record.metadata.get("number").cloned();
            }
            Change::Synced => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(resets, 1);
}

#[tokio::test]
async fn a_watch_is_a_stream_that_tasks_may_share() {
    fn check<T: Stream<Item = Change> + Send + Sync + Unpin>(watch: &mut T) -> &mut T {
        watch
    }
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let _feed = soon(client.register(nowhere("feed", 1))).await.unwrap();
    let mut watch = client.watch("feed").unwrap();
    let mut told = Vec::new();
    while told.last().is_none_or(|it| it != "synced") {
        let next = std::future::poll_fn(|cx| Pin::new(check(&mut watch)).poll_next(cx));
        told.push(match soon(next).await.unwrap() {
            Change::Reset => "reset".to_owned(),
            Change::Add { record } => record.name.to_string(),
            Change::Synced => "synced".to_owned(),
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(told, ["reset", "feed", "synced"]);
    client.close().await;
    // The registrar is lost first.
    while let Some(change) =
        soon(std::future::poll_fn(|cx| Pin::new(check(&mut watch)).poll_next(cx))).await
    {
        assert!(matches!(change, Change::Stale { .. }), "{change:?}");
    }
}
