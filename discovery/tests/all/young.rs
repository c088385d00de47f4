//! A registrar that started recently: instances that it does not know may still return to it.

use std::time::Duration;

use callsign_discovery::{Change, Client, ClientOptions, Registered, Watch};
use endpoints::Endpoint;
use tokio::time::Instant;
use wire::State;

use crate::support::{Running, connect, nowhere, options, soon};

/// How long the registrars of these tests wait for returning clients: longer than any test with
/// returning clients takes.
const LONG: Duration = Duration::from_secs(600);

/// The same where no client returns.
const SHORT: Duration = Duration::from_millis(300);

async fn young(settle_time: Duration) -> Running {
    Running::settling(&[Endpoint::Memory(0)], settle_time).await
}

/// Stops a registrar, and starts another in its place.
async fn restart(registrar: Running, settle_time: Duration) -> Running {
    let endpoint = registrar.stop().await;
    Running::settling(&[endpoint], settle_time).await
}

/// Returns the changes that a watch reports up to a certain one, each as a word.
async fn told(watch: &mut Watch, last: &str) -> Vec<String> {
    let mut told = Vec::new();
    while told.last().is_none_or(|it| it != last) {
        told.push(match soon(watch.next()).await.unwrap() {
            Change::Reset => "reset".to_owned(),
            Change::Synced => "synced".to_owned(),
            Change::Add { record } => format!("+{}", record.name),
            Change::Update { record } => format!("~{}", record.name),
            Change::Remove { instance, reason } => format!("-{} {reason:?}", instance.name),
            Change::Stale { .. } => "stale".to_owned(),
            other => format!("{other:?}"),
        });
    }
    told
}

async fn registered(client: &Client, name: &str, number: u64) -> Registered {
    soon(client.register(nowhere(name, number))).await.unwrap()
}

#[tokio::test]
async fn a_look_up_waits_for_a_name_that_may_come_back() {
    let registrar = young(LONG).await;
    let client = connect([&registrar.endpoint]).await;
    let actors = connect([&registrar.endpoint]).await;
    let coming = async {
        registrar.until(|it| it.watchers > 0).await;
        registered(&actors, "feed", 1).await
    };
    let (found, _feed) = tokio::join!(soon(client.query_actor("feed")), coming);
    assert_eq!(found.unwrap().unwrap().name.as_str(), "feed");

    // An instance that is not ready is no answer for callers that want a ready one.
    let coming = async {
        registrar.until(|it| it.watchers > 0).await;
        let risk = nowhere("risk", 2).state(State::Starting);
        let risk = soon(actors.register(risk)).await.unwrap();
        assert!(client.query_all("risk").await.unwrap().records.len() == 1);
        risk.set_state(State::Ready).await.unwrap();
        risk
    };
    let (found, _risk) = tokio::join!(soon(client.locate_actor("risk")), coming);
    assert_eq!(found.unwrap().len(), 1);
    registrar.until(|it| it.watchers == 0).await;

    let list = client.list("*").await.unwrap();
    assert_eq!(list.records.len(), 2);
    assert!(list.settling.is_some_and(|it| it <= LONG) && client.settling().is_some());
}

#[tokio::test]
async fn a_no_is_final_once_all_should_be_back() {
    let registrar = young(SHORT).await;
    let client = connect([&registrar.endpoint]).await;
    assert!(soon(client.query_actor("feed")).await.unwrap().is_none());
    assert!(registrar.registry.settling().is_none());
    let list = client.list("*").await.unwrap();
    assert!(list.settling.is_none() && client.settling().is_none());
}

#[tokio::test]
async fn without_patience_a_no_is_final() {
    let registrar = young(LONG).await;
    let options = ClientOptions { patience: Some(Duration::ZERO), ..options() };
    let client = Client::connect_with([&registrar.endpoint], options).await.unwrap();
    let found = soon(client.query_ready("feed")).await.unwrap();
    assert!(found.records.is_empty() && found.settling.is_some());
    assert!(soon(client.find_actor("feed")).await.unwrap().is_none());
}

#[tokio::test]
async fn the_no_of_one_that_has_served_for_longer_is_not_that_of_another() {
    let (old, young) = (Running::start().await, young(LONG).await);
    let both = connect([&old.endpoint, &young.endpoint]).await;
    let actors = connect([&young.endpoint]).await;
    let risk = registered(&both, "risk", 1).await;
    risk.settled().await;
    let coming = async {
        young.until(|it| it.watchers > 0).await;
        registered(&actors, "feed", 2).await
    };
    let (found, _feed) = tokio::join!(soon(both.query_ready("feed")), coming);
    let found = found.unwrap();
    assert!(found.records.len() == 1 && found.settling.is_some_and(|it| it <= LONG));
    // The knowledge of one registrar is an answer, whatever the other says later.
    assert!(soon(both.query_actor("risk")).await.unwrap().is_some());
    assert!(both.settling().is_some());
}

#[tokio::test]
async fn a_restart_tells_of_no_death() {
    let mut registrar = young(LONG).await;
    let watcher = connect([&registrar.endpoint]).await;
    let (feed, risk) = (connect([&registrar.endpoint]).await, connect([&registrar.endpoint]).await);
    let (_feed, _risk) = (registered(&feed, "feed", 1).await, registered(&risk, "risk", 2).await);
    let mut watch = watcher.watch("*").unwrap();
    assert_eq!(told(&mut watch, "synced").await.len(), 4);
    for _ in 0..20 {
        registrar = restart(registrar, LONG).await;
        let mut told = told(&mut watch, "synced").await;
        told.sort();
        assert_eq!(told, ["stale", "synced", "~feed", "~risk"]);
    }
}

#[tokio::test(start_paused = true)]
async fn instances_that_do_not_return_in_time_are_gone() {
    let registrar = young(LONG).await;
    let watcher = connect([&registrar.endpoint]).await;
    let (feed, risk) = (connect([&registrar.endpoint]).await, connect([&registrar.endpoint]).await);
    let (_feed, risk) = (registered(&feed, "feed", 1).await, registered(&risk, "risk", 2).await);
    let mut watch = watcher.watch("*").unwrap();
    told(&mut watch, "synced").await;

    let endpoint = registrar.stop().await;
    assert_eq!(told(&mut watch, "stale").await, ["stale"]);
    drop(risk);
    let began = Instant::now();
    let _next = Running::settling(&[endpoint], SHORT).await;
    let told = told(&mut watch, "synced").await;
    assert!(began.elapsed() >= SHORT, "{told:?}");
    assert_eq!(told, ["~feed", "-risk Some(Missed)", "synced"]);
}

#[tokio::test]
async fn a_node_that_is_dropped_tells_of_no_death() {
    for _ in 0..20 {
        let registrar = young(LONG).await;
        let watcher = connect([&registrar.endpoint]).await;
        let actors = connect([&registrar.endpoint]).await;
        let _feed = registered(&actors, "feed", 1).await;
        let mut watch = watcher.watch("*").unwrap();
        assert_eq!(told(&mut watch, "synced").await, ["reset", "+feed", "synced"]);
        drop(registrar);
        assert_eq!(told(&mut watch, "stale").await, ["stale"]);
    }
}
