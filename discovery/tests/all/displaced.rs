//! Sockets that disappear while in use: those of actors, and those of registrars.

use std::fs;

use callsign_discovery::Registration;
use endpoints::{Endpoint, Stamped};
use tokio::task::JoinSet;
use transport::Listener;

use crate::support::{Running, Sockets, connect, nowhere, soon, until};

#[tokio::test]
async fn an_actor_whose_socket_vanished_is_found_again() {
    let sockets = Sockets::new();
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let endpoint = sockets.endpoint("feed.sock");
    let listener = Listener::bind(&endpoint).await.unwrap();
    let stale = listener.published();
    let other = Stamped::bare("/ip4/192.0.2.7/tcp/7".parse().unwrap());
    let feed = Registration::new("feed").endpoints(stale.clone()).endpoints([other.clone()]);
    let feed = soon(client.register(feed)).await.unwrap();
    let before = soon(client.query_actor("feed")).await.unwrap().unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        loop {
            listener.accept().await.unwrap();
        }
    });

    for _again in 0..2 {
        let vanished = feed.endpoints();
        fs::remove_file(sockets.path("feed.sock")).unwrap();
        until(|| feed.endpoints() != vanished).await;
        assert!(soon(feed.settled()).await.is_empty());
        let after = soon(client.query_actor("feed")).await.unwrap().unwrap();
        assert_eq!(after.epoch, before.epoch);
        assert_eq!(after.endpoints, feed.endpoints());
        assert_eq!(after.endpoints[0].stamp, transport::stamp(&endpoint));
        assert_eq!(after.endpoints[1], other, "what did not vanish stays as it was");
        assert!(soon(client.find_actor("feed")).await.is_ok());
    }
}

#[tokio::test]
async fn a_registrar_whose_socket_vanished_is_there_again() {
    let sockets = Sockets::new();
    let endpoint = sockets.endpoint("registrar.sock");
    let registrar = Running::at(std::slice::from_ref(&endpoint)).await;
    let client = connect([&endpoint]).await;
    let _feed = soon(client.register(nowhere("feed", 1))).await.unwrap();

    fs::remove_file(sockets.path("registrar.sock")).unwrap();
    until(|| sockets.path("registrar.sock").exists()).await;
    let late = connect([&endpoint]).await;
    assert!(soon(late.query_actor("feed")).await.unwrap().is_some());
    assert_eq!(registrar.registry.status().endpoints, [endpoint]);
}

/// Clients of the place that another registrar took move there; clients of the other places stay.
#[tokio::test]
async fn clients_of_a_displaced_registrar_move_to_its_successor() {
    let sockets = Sockets::new();
    let [place, aside] = ["registrar.sock", "aside.sock"].map(|it| sockets.endpoint(it));
    let displaced = Running::at(&[place.clone(), aside.clone()]).await;
    let (here, there) = (connect([&place]).await, connect([&aside]).await);
    let _feed = soon(here.register(nowhere("feed", 1))).await.unwrap();
    let _desk = soon(there.register(nowhere("desk", 2))).await.unwrap();

    for file in ["registrar.sock", "registrar.sock.lock"] {
        fs::remove_file(sockets.path(file)).unwrap();
    }
    let taker = Running::at(std::slice::from_ref(&place)).await;
    taker.until(|it| it.instances == 1).await;
    let late = connect([&place]).await;
    assert!(soon(late.query_actor("feed")).await.unwrap().is_some());
    assert_eq!(displaced.registry.status().endpoints, [aside]);
    assert!(soon(there.query_actor("desk")).await.unwrap().is_some());
    let places: Vec<Endpoint> = taker.registry.status().endpoints;
    assert_eq!(places, [place]);
}

/// A registrar that has lost all its places ends, so that its owner notices.
#[tokio::test]
async fn a_registrar_that_nobody_can_reach_ends() {
    let sockets = Sockets::new();
    let place = sockets.endpoint("registrar.sock");
    let displaced = Running::at(std::slice::from_ref(&place)).await;
    let client = connect([&place]).await;
    let _feed = soon(client.register(nowhere("feed", 1))).await.unwrap();
    for file in ["registrar.sock", "registrar.sock.lock"] {
        fs::remove_file(sockets.path(file)).unwrap();
    }
    let taker = Running::at(std::slice::from_ref(&place)).await;
    soon(displaced.ended()).await;
    taker.until(|it| it.instances == 1).await;
}
