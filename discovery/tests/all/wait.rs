//! Waiting for names.

use std::time::Duration;

use crate::support::{Running, Sockets, actor, connect, nowhere, options, soon};
use callsign_discovery::{Client, LookupError};
use tokio::{task::JoinSet, time::timeout};
use wire::State;

#[tokio::test]
async fn a_wait_ends_when_the_actor_is_ready() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let waiter = client.clone();
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { waiter.wait_for_actor("feed").await });
    registrar.until(|it| it.waiters == 1).await;

    let feed = nowhere("feed", 1).state(State::Starting);
    let feed = soon(client.register(feed)).await.unwrap();
    assert_eq!(registrar.registry.status().waiters, 1, "it is not ready yet");
    soon(feed.set_state(State::Ready)).await.unwrap();
    let found = soon(waiting.join_next()).await.unwrap().unwrap().unwrap();
    assert_eq!(found.instance(), *feed.instance());
    // An actor that is already there is found immediately.
    let found = soon(client.wait_for_actor("feed")).await.unwrap();
    assert_eq!(found.instance(), *feed.instance());
    assert!(matches!(soon(client.wait_for_actor("")).await, Err(LookupError::Name(_))));
}

#[tokio::test]
async fn a_wait_outlives_the_registrar() {
    let sockets = Sockets::new();
    let endpoint = sockets.endpoint("registrar.sock");
    let registrar = Running::at(std::slice::from_ref(&endpoint)).await;
    let client = connect([&endpoint]).await;
    let waiter = client.clone();
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { waiter.wait_for_actor("feed").await });
    registrar.until(|it| it.waiters == 1).await;
    registrar.stop().await;

    let registrar = Running::at(&[endpoint]).await;
    registrar.until(|it| it.waiters == 1).await;
    let feed = soon(client.register(nowhere("feed", 1))).await.unwrap();
    let found = soon(waiting.join_next()).await.unwrap().unwrap().unwrap();
    assert_eq!(found.instance(), *feed.instance());
}

#[tokio::test]
async fn a_wait_begins_before_the_registrar() {
    let sockets = Sockets::new();
    let endpoint = sockets.endpoint("registrar.sock");
    let client = Client::open([&endpoint], options()).unwrap();
    let coming = async {
        assert!(client.connected().await.is_err_and(|it| it.may_pass()));
        let registrar = Running::at(std::slice::from_ref(&endpoint)).await;
        registrar.until(|it| it.waiters == 2).await;
        let (listener, feed) = actor("feed").await;
        (soon(client.register(feed)).await.unwrap(), listener, registrar)
    };
    let waits = (client.wait_for_actor("feed"), client.wait_within_reach("feed"));
    let (one, other, (feed, ..)) = tokio::join!(soon(waits.0), soon(waits.1), coming);
    assert_eq!(one.unwrap().instance(), *feed.instance());
    assert_eq!(other.unwrap().instance(), *feed.instance());
}

#[tokio::test]
async fn a_wait_goes_on_until_an_instance_is_within_reach() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let far = soon(client.register(nowhere("feed", 1))).await.unwrap();
    let wait = async || {
        let waiter = client.clone();
        let mut waiting = JoinSet::new();
        waiting.spawn(async move { waiter.wait_within_reach("feed").await });
        registrar.until(|it| it.watchers == 1).await;
        waiting
    };

    // Another instance is within reach, and so is an older one.
    let mut waiting = wait().await;
    let (_listener, near) = actor("feed").await;
    let near = soon(client.register(near.state(State::Starting))).await.unwrap();
    let newest = soon(client.register(nowhere("feed", 2))).await.unwrap();
    near.set_state(State::Ready).await.unwrap();
    let found = soon(waiting.join_next()).await.unwrap().unwrap().unwrap();
    assert_eq!(found.instance(), *near.instance());

    // An instance comes within reach.
    near.unregister().await;
    newest.unregister().await;
    let mut waiting = wait().await;
    let (listener, _) = actor("feed").await;
    soon(far.update_endpoints(listener.published())).await.unwrap();
    let found = soon(waiting.join_next()).await.unwrap().unwrap().unwrap();
    assert_eq!(found.instance(), *far.instance());

    assert!(matches!(soon(client.wait_within_reach("")).await, Err(LookupError::Name(_))));
    registrar.until(|it| it.watchers == 0).await;
}

#[tokio::test]
async fn abandoned_waits_leave_nothing_behind() {
    let (one, two) = (Running::start().await, Running::start().await);
    let both = connect([&one.endpoint, &two.endpoint]).await;
    let only_two = connect([&two.endpoint]).await;

    // The caller gives up.
    let wait = both.wait_for_actor("feed");
    assert!(timeout(Duration::from_millis(20), wait).await.is_err());
    one.until(|it| it.waiters == 0).await;
    two.until(|it| it.waiters == 0).await;

    // The other registrar answers.
    let mut waiting = JoinSet::new();
    let waiter = both.clone();
    waiting.spawn(async move { waiter.wait_for_actor("feed").await });
    one.until(|it| it.waiters == 1).await;
    two.until(|it| it.waiters == 1).await;
    let feed = soon(only_two.register(nowhere("feed", 1))).await.unwrap();
    let found = soon(waiting.join_next()).await.unwrap().unwrap().unwrap();
    assert_eq!(found.instance(), *feed.instance());
    one.until(|it| it.waiters == 0).await;
    two.until(|it| it.waiters == 0).await;
}

#[tokio::test]
async fn the_number_of_waits_is_bounded() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let mut waiting = JoinSet::new();
    for number in 0..512 {
        let waiter = client.clone();
        waiting.spawn(async move { waiter.wait_for_actor(&format!("feed.{number}")).await });
    }
    registrar.until(|it| it.waiters == 512).await;
    let error = soon(client.wait_for_actor("broker")).await.unwrap_err();
    assert!(matches!(error, LookupError::Refused(_)), "{error}");
    // Everything else goes on.
    assert!(soon(client.query_actor("broker")).await.unwrap().is_none());
    waiting.shutdown().await;
    registrar.until(|it| it.waiters == 0).await;
}
