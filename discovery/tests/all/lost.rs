//! A registrant is told when others remove its entry, and does not register it again.

use std::time::Duration;

use callsign_discovery::{RegisterError, Registration};
use endpoints::Stamped;
use registrar::registry::{Claimant, Event};
use transport::Listener;
use uuid::Uuid;
use wire::{State, callbacks::LostCause};

use crate::support::{Running, Sockets, Way, connect, nowhere, soon, two_registrars, until};

#[tokio::test]
async fn an_instance_removed_by_another_is_registered_nowhere() {
    let sockets = Sockets::new();
    let (places, [one, other], client) = two_registrars(&sockets).await;
    let feed = soon(client.register(nowhere("feed", 1))).await.unwrap();
    let stays = soon(client.register(nowhere("pricer", 2))).await.unwrap();
    assert!(soon(feed.settled()).await.is_empty());

    // An operator, who asks one registrar only.
    let operator = connect(&places[..1]).await;
    soon(operator.unregister(feed.instance().uuid)).await.unwrap();
    let lost = soon(feed.lost()).await;
    assert!(lost.is_final() && lost.cause == LostCause::Unregistered, "{lost:?}");
    assert_eq!(lost.registrar.as_ref(), Some(&places[0]));
    let me = rustix::process::geteuid().as_raw();
    assert_eq!(lost.to_string(), format!("user {me} has taken it out of the registry"));
    other.until(|it| it.instances == 1).await;

    // Only a new registration brings it back.
    let error = soon(feed.set_state(State::Ready)).await.unwrap_err();
    assert!(matches!(error, RegisterError::Lost(_)), "{error}");
    assert_eq!((feed.missing().len(), soon(feed.settled()).await.len()), (2, 2));
    let one = Running::at(&[one.stop().await]).await;
    one.until(|it| it.instances == 1).await;
    assert!(one.registry.record(stays.instance().uuid).is_some());
    let again = soon(client.register(nowhere("feed", 1))).await.unwrap();
    one.until(|it| it.instances == 2).await;

    // The former handle has no effect on it.
    drop(feed);
    soon(again.set_state(State::Draining)).await.unwrap();
    assert!(one.registry.record(again.instance().uuid).is_some());
}

#[tokio::test]
async fn an_instance_registered_by_another_is_left_to_it() {
    let registrar = Running::start().await;
    let (first, second) =
        (connect([&registrar.endpoint]).await, connect([&registrar.endpoint]).await);
    let uuid = Uuid::from_u128(7);
    let here = || Registration::new("feed").uuid(uuid).endpoint("/unix/@feed").unwrap();
    let old = soon(first.register(here())).await.unwrap();
    let new = soon(second.register(here())).await.unwrap();

    let lost = soon(old.lost()).await;
    assert_eq!(lost.cause, LostCause::Replaced, "{lost}");
    let epoch = registrar.registry.record(uuid).unwrap().epoch;
    soon(old.unregister()).await;
    soon(new.set_state(State::Draining)).await.unwrap();
    assert_eq!(registrar.registry.record(uuid).map(|it| it.epoch), Some(epoch));
    assert!(new.missing().is_empty());
}

#[tokio::test]
async fn an_instance_found_dead_returns_with_its_next_endpoints() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let feed = soon(client.register(nowhere("feed", 1))).await.unwrap();
    let mut losses = feed.losses();
    let uuid = feed.instance().uuid;
    let record = registrar.registry.record(uuid).unwrap();
    let stamped = record.endpoints[0].clone();
    let claimant = Claimant { uuid, epoch: record.epoch, stamped: stamped.clone() };
    registrar.registry.note(Event::Disowned(claimant));

    let lost = soon(losses.next()).await;
    assert!(!lost.is_final() && lost.cause == LostCause::FoundDead, "{lost:?}");
    assert_eq!(lost.endpoint.as_ref(), Some(&stamped.endpoint));
    assert!(registrar.registry.record(uuid).is_none());

    let next = "/unix/@next".parse().unwrap();
    let next = vec![Stamped { stamp: transport::stamp(&next), endpoint: next }];
    soon(feed.update_endpoints(next)).await.unwrap();
    until(|| registrar.registry.record(uuid).is_some()).await;
    soon(feed.set_state(State::Ready)).await.unwrap();
}

#[tokio::test]
async fn an_instance_found_dead_returns_when_its_sockets_are_in_their_places_again() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let room = tempfile::tempdir().unwrap();
    let [folder, away] = ["here", "away"].map(|it| room.path().join(it));
    std::fs::create_dir(&folder).unwrap();
    let path = format!("/unix{}/feed.sock", folder.display()).parse().unwrap();
    let listener = Listener::bind(&path).await.unwrap();
    let feed = Registration::new("feed").listener(&listener);
    let feed = soon(client.register(feed)).await.unwrap();
    let (uuid, mut losses) = (feed.instance().uuid, feed.losses());
    for _round in 0..2 {
        let before = registrar.registry.record(uuid).unwrap().epoch;
        std::fs::rename(&folder, &away).unwrap();
        let found = soon(client.find_actor("feed")).await;
        assert!(!matches!(found, Ok(Some(_))), "{found:?}");
        let lost = soon(losses.next()).await;
        assert_eq!((lost.cause, lost.endpoint.as_ref()), (LostCause::FoundDead, Some(&path)));
        std::fs::rename(&away, &folder).unwrap();
        let is_back = |it: wire::Record| it.epoch > before && !it.endpoints.is_empty();
        until(|| registrar.registry.record(uuid).is_some_and(is_back)).await;
        assert!(soon(client.find_actor("feed")).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn removing_oneself_is_not_a_loss() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let feed = soon(client.register(nowhere("feed", 1))).await.unwrap();
    let mut losses = feed.losses();
    soon(feed.unregister()).await;
    let again = soon(client.register(nowhere("feed", 1))).await.unwrap();
    let endpoints = again.endpoints();
    soon(again.update_endpoints(endpoints)).await.unwrap();
    let told = tokio::time::timeout(std::time::Duration::from_millis(50), losses.next()).await;
    assert!(told.is_err(), "{told:?}");
}

#[tokio::test]
async fn a_removal_while_the_client_is_away_lasts() {
    let registrar = Running::start().await;
    let mut way = Way::to(&registrar.endpoint).await;
    let (client, operator) = (connect([&way.endpoint]).await, connect([&registrar.endpoint]).await);
    let leased = |name: &str, number| nowhere(name, number).lease(Duration::from_secs(60));
    let feed = soon(client.register(leased("feed", 1))).await.unwrap();
    let _stays = soon(client.register(leased("pricer", 2))).await.unwrap();
    let (uuid, old) = (feed.instance().uuid, feed.instance().clone());

    way.cut().await;
    registrar.until(|it| it.sessions == 1).await;
    soon(operator.unregister(uuid)).await.unwrap();
    way.mend().await;
    let lost = soon(feed.lost()).await;
    assert!(lost.is_final() && lost.cause == LostCause::Unregistered, "{lost:?}");
    assert!(lost.by.is_some(), "{lost}");
    assert!(
        registrar.registry.record(uuid).is_none() && registrar.registry.status().instances == 1
    );

    // A new registration on purpose, with the same UUID too, is effective.
    let anew = soon(client.register(leased("feed", 1).uuid(uuid))).await.unwrap();
    assert_eq!(anew.instance(), &old);
    drop(feed);
    for _ in 0..2 {
        let before = registrar.registry.record(uuid).unwrap().epoch;
        way.cut().await;
        way.mend().await;
        until(|| registrar.registry.record(uuid).is_some_and(|it| it.epoch > before)).await;
    }
}
