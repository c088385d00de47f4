//! One of several registrars does not answer: the answers of the others are incomplete.

use std::time::Duration;

use callsign_discovery::{
    Change, Client, ClientOptions, FindError, LookupError, LookupOptions, RegistrarFailures,
    RequestError, Resolve, ResolveError, Trust,
};
use endpoints::Endpoint;
use portal::Heartbeat;
use tokio::task::JoinSet;
use transport::Listener;
use wire::State;

use crate::support::{Running, Sockets, connect, nowhere, options, soon};

/// A place that accepts connections and stays silent.
struct Mute {
    endpoint: Endpoint,
    _takes: JoinSet<()>,
}

impl Mute {
    async fn at(endpoint: &Endpoint) -> Self {
        let listener = Listener::bind(endpoint).await.unwrap();
        let endpoint = listener.bound().clone();
        let mut takes = JoinSet::new();
        takes.spawn(async move {
            let mut taken = Vec::new();
            while let Ok(stream) = listener.accept().await {
                taken.push(stream);
            }
        });
        Self { endpoint, _takes: takes }
    }
}

/// Options of a client that gives up soon.
fn hasty() -> ClientOptions {
    let heartbeat = Heartbeat { interval: Duration::from_millis(50), misses: 2 };
    ClientOptions {
        ask_timeout: Duration::from_millis(100),
        heartbeat: Some(heartbeat),
        ..options()
    }
}

/// Produces each way of not answering: an absent registrar, and a silent one.
async fn silent_ones() -> (Vec<Endpoint>, Mute) {
    let mute = Mute::at(&Endpoint::Memory(0)).await;
    (vec![Endpoint::Memory(700_100), mute.endpoint.clone()], mute)
}

/// Checks that the error names the registrar that did not answer.
fn names(failures: &RegistrarFailures, silent: &Endpoint) {
    let named: Vec<_> = failures.0.iter().map(|it| &it.registrar).collect();
    assert_eq!(named, [silent]);
}

#[tokio::test(start_paused = true)]
async fn a_no_that_only_some_gave_is_an_error() {
    let (silent, _mute) = silent_ones().await;
    let well = Running::start().await;
    for silent in &silent {
        let client = Client::connect_with([&well.endpoint, silent], hasty()).await.unwrap();
        let incomplete = |error: LookupError| match error {
            LookupError::Incomplete(failures) => names(&failures, silent),
            other => panic!("{other}"),
        };
        incomplete(soon(client.query_actor("feed")).await.unwrap_err());
        incomplete(soon(client.locate_actor("feed")).await.unwrap_err());
        incomplete(soon(client.probe_actor("feed")).await.unwrap_err());
        incomplete(soon(client.names("feed*")).await.unwrap_err());
        match soon(client.find_actor("feed")).await {
            Err(FindError::Resolve(ResolveError::Lookup(error))) => incomplete(error),
            other => panic!("{other:?}"),
        }
        match soon(client.resolve(&"feed".parse().unwrap())).await {
            Err(ResolveError::Lookup(error)) => incomplete(error),
            other => panic!("{other:?}"),
        }
        // Where the result has room for it, the failure is reported beside the answer.
        for found in [
            soon(client.query_ready("feed")).await.unwrap(),
            soon(client.list("*")).await.unwrap(),
            soon(client.list_within("*", Duration::from_millis(50))).await.unwrap(),
        ] {
            names(&RegistrarFailures(found.unanswered.clone()), silent);
            incomplete(found.complete().unwrap_err());
        }
        // A positive answer is complete.
        let feed = soon(client.register(nowhere("feed", 1))).await.unwrap();
        assert!(soon(client.query_actor("feed")).await.unwrap().is_some());
        assert!(soon(client.query_ready("feed")).await.unwrap().complete().is_ok());
        let found = soon(client.names("*")).await.unwrap();
        assert_eq!(found.names, ["feed".parse().unwrap()]);
        names(&RegistrarFailures(found.unanswered), silent);
        drop(feed);
        well.until(|it| it.instances == 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn partial_success_is_reported_as_partial() {
    let (silent, _mute) = silent_ones().await;
    let well = Running::start().await;
    for silent in &silent {
        let client = Client::connect_with([&well.endpoint, silent], hasty()).await.unwrap();
        let others = connect([&well.endpoint]).await;
        let feed = soon(others.register(nowhere("feed", 1).lease(Duration::from_secs(600)))).await;
        let uuid = feed.unwrap().leave().uuid;
        let partly = |done: Result<(), RequestError>| match done {
            Err(RequestError::Partly(failures)) => names(&failures, silent),
            other => panic!("{other:?}"),
        };
        partly(soon(client.renew(uuid)).await);
        partly(soon(client.drain(uuid)).await);
        let drained = soon(client.query_all("feed")).await.unwrap();
        assert_eq!(drained.records[0].state, State::Draining, "it is done");
        partly(soon(client.unregister(uuid)).await);
        assert!(soon(others.query_all("feed")).await.unwrap().records.is_empty(), "it is done");
        match soon(client.unregister(uuid)).await {
            Err(RequestError::Incomplete(failures)) => names(&failures, silent),
            other => panic!("{other:?}"),
        }
        // The other registrar learns of this client's own registrations once it is there.
        let own = soon(client.register(nowhere("own", 1))).await.unwrap();
        soon(client.drain(own.instance().uuid)).await.unwrap();
    }
}

#[tokio::test]
async fn a_watch_tells_who_is_missed() {
    let sockets = Sockets::new();
    let places = ["one.sock", "other.sock"].map(|it| sockets.endpoint(it));
    let one = Running::at(&places[..1]).await;
    let client = connect(&places).await;
    let mut watch = client.watch("*").unwrap();
    let mut told = async || match soon(watch.next()).await.unwrap() {
        Change::Partial { failures } => format!("partial {}", failures.0.len()),
        Change::Stale { failures } => format!("stale {}", failures.0.len()),
        change => format!("{change:?}").to_lowercase(),
    };
    assert_eq!([told().await, told().await, told().await], ["reset", "partial 1", "synced"]);
    let other = Running::at(&places[1..]).await;
    assert_eq!(told().await, "partial 0");
    other.stop().await;
    assert_eq!(told().await, "partial 1");
    one.stop().await;
    assert_eq!(told().await, "stale 2");
    let _one = Running::at(&places[..1]).await;
    assert_eq!([told().await, told().await], ["partial 1", "synced"]);
}

#[tokio::test(start_paused = true)]
async fn with_default_registrars_only_present_ones_are_missed() {
    let sockets = Sockets::new();
    let (silent, absent) = (sockets.endpoint("silent.sock"), sockets.endpoint("absent.sock"));
    let well = Running::start().await;
    let _mute = Mute::at(&silent).await;
    let tcp = Mute::at(&"/ip4/127.0.0.1/tcp/0".parse().unwrap()).await;
    let check = async |silent: &Endpoint, trust: Trust, is_missed: bool| {
        let options = ClientOptions { trust, ..hasty() };
        let client = Client::connect_with([silent, &well.endpoint], options).await.unwrap();
        let answer = soon(client.query_actor("feed")).await;
        assert_eq!(answer.is_err(), is_missed, "{silent} {trust:?}: {answer:?}");
        let answer = soon(client.unregister(uuid::Uuid::new_v4())).await;
        let is_sure = matches!(answer, Err(RequestError::NotFound));
        assert_eq!(!is_sure, is_missed, "{silent} {trust:?}: {answer:?}");
    };
    check(&absent, Trust::Usual, false).await;
    check(&silent, Trust::Usual, true).await;
    // The listener there has not shown that it is a registrar.
    check(&tcp.endpoint, Trust::Usual, false).await;
    // The one registrar with these addresses has answered.
    check(&absent, Trust::Addresses, false).await;
    check(&silent, Trust::Addresses, false).await;
    check(&absent, Trust::Named, true).await;
    check(&tcp.endpoint, Trust::Named, true).await;
}

#[tokio::test]
async fn a_no_that_only_some_gave_does_not_take_the_place_of_what_was_known() {
    let sockets = Sockets::new();
    let places = ["one.sock", "other.sock"].map(|it| sockets.endpoint(it));
    let (_one, other) = (Running::at(&places[..1]).await, Running::at(&places[1..]).await);
    let client = connect(&places).await;
    let actors = connect(&places[1..]).await;
    let _feed = soon(actors.register(nowhere("feed", 1))).await.unwrap();
    let of_late =
        || LookupOptions { max_age: Some(Duration::from_secs(600)), ..Default::default() };
    let now = soon(client.query_with("feed", of_late())).await.unwrap();
    assert!(now.age.is_none() && now.records.len() == 1);
    other.stop().await;
    for _ in 0..2 {
        let then = soon(client.query_with("feed", of_late())).await.unwrap();
        assert!(then.age.is_some() && then.records.len() == 1 && then.unanswered.len() == 1);
    }
}
