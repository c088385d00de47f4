//! Lines of waiters for exclusive names.

use std::time::Duration;

use callsign_discovery::{LinkError, RegisterError, Registration};
use endpoints::Endpoint;
use registrar::registry::{Grantee, NameRule, NameRules, Names};

use crate::support::{Running, Sockets, Way, connect, nowhere, soon};

/// Starts a registrar with the exclusive name `leader`.
async fn start(endpoint: &Endpoint, settle_time: Duration) -> Running {
    let leader = NameRule {
        pattern: "leader".parse().unwrap(),
        register: Some(vec![Grantee::Any]),
        find: None,
        exclusive: true,
        instances_max: None,
        place: "this test".to_owned(),
    };
    let rules = NameRules::new(Names::Open, "this test".to_owned(), vec![leader]);
    Running::ruled(std::slice::from_ref(endpoint), settle_time, rules).await
}

fn leader(number: u64) -> Registration {
    nowhere("leader", number).wait_in_line()
}

#[tokio::test]
async fn each_has_the_name_in_its_turn_and_by_a_higher_token() {
    let registrar = start(&Endpoint::Memory(0), Duration::ZERO).await;
    let client = connect([&registrar.endpoint]).await;
    let first = soon(client.register(leader(1))).await.unwrap();
    let refused = soon(client.register(nowhere("leader", 9))).await.unwrap_err();
    assert!(matches!(refused, RegisterError::Refused(_)), "{refused}");

    let second = soon(client.register_patiently(leader(2))).await.unwrap();
    registrar.until(|it| it.in_line == 1).await;
    let mut third = Box::pin(client.register(leader(3)));
    tokio::select! {
        biased;
        registered = &mut third => panic!("{registered:?} out of turn"),
        () = registrar.until(|it| it.in_line == 2) => {}
    }
    let fourth = soon(client.register_patiently(leader(4))).await.unwrap();
    registrar.until(|it| it.in_line == 3).await;
    assert_eq!(soon(second.place_in_line()).await, Some(0));
    assert_eq!(soon(fourth.place_in_line()).await, Some(2));
    assert!(matches!(*fourth.missing()[0].error, LinkError::InLine { ahead: 2 }));
    assert_eq!((first.place_in_line().await, second.token()), (None, None));
    let held = soon(client.query_actor("leader")).await.unwrap().unwrap();
    assert_eq!(held.waiting, 3);

    let mut tokens = vec![first.token()];
    soon(first.unregister()).await;
    soon(second.accepted()).await.unwrap();
    tokens.push(second.token());
    // A waiter that gives up leaves the line.
    drop(third);
    registrar.until(|it| it.in_line == 1).await;
    assert_eq!(soon(fourth.place_in_line()).await, Some(0));
    drop(second);
    soon(fourth.accepted()).await.unwrap();
    tokens.push(fourth.token());
    assert!(tokens[0].is_some() && tokens.is_sorted_by(|one, next| one < next), "{tokens:?}");
    soon(fourth.unregister()).await;
    registrar.until(|it| it.instances == 0).await;
}

#[tokio::test]
async fn a_young_registrar_gives_the_name_away_once_nobody_came_back_for_it() {
    let registrar = start(&Endpoint::Memory(0), Duration::from_millis(300)).await;
    let client = connect([&registrar.endpoint]).await;
    let first = soon(client.register(nowhere("leader", 1))).await.unwrap();
    assert!(registrar.registry.settling().is_none());
    assert!(first.token().is_some());
    let refused = soon(client.register(nowhere("leader", 2))).await.unwrap_err();
    assert!(matches!(refused, RegisterError::Refused(_)), "{refused}");

    // A waiter that gives up meanwhile has left.
    let registrar = start(&Endpoint::Memory(0), Duration::from_secs(600)).await;
    let client = connect([&registrar.endpoint]).await;
    let mut asks = Box::pin(client.register_patiently(nowhere("leader", 3)));
    tokio::select! {
        biased;
        registered = &mut asks => panic!("{registered:?} too early"),
        () = registrar.until(|it| it.sessions == 1) => {}
    }
    drop(asks);
    assert!(soon(client.register(nowhere("other", 4))).await.unwrap().token().is_none());
    registrar.until(|it| it.instances == 0).await;
}

#[tokio::test]
async fn changes_made_while_in_line_hold_once_it_has_the_name() {
    let registrar = start(&Endpoint::Memory(0), Duration::ZERO).await;
    let [one, other] = [connect([&registrar.endpoint]).await, connect([&registrar.endpoint]).await];
    let first = soon(one.register(leader(1))).await.unwrap();
    let second = soon(other.register_patiently(leader(2))).await.unwrap();
    registrar.until(|it| it.in_line == 1).await;
    let metadata = [("zone".to_owned(), "b".to_owned())];
    soon(second.update_metadata(metadata.clone().into())).await.unwrap();
    // The holder's whole connection ends.
    soon(one.close()).await;
    drop(first);
    soon(second.accepted()).await.unwrap();
    let is_so = |it: &wire::Record| it.metadata == metadata.clone().into();
    let waited = soon(other.wait_for_one("leader", is_so)).await.unwrap();
    assert_eq!(waited.uuid, second.instance().uuid);
}

#[tokio::test]
async fn when_the_registrar_starts_again_the_holder_has_its_name_and_the_others_wait() {
    let sockets = Sockets::new();
    let place = sockets.endpoint("registrar.sock");
    let registrar = start(&place, Duration::ZERO).await;
    let mut way = Way::to(&place).await;
    let (holder, standby) = (connect([&way.endpoint]).await, connect([&place]).await);
    let held = soon(holder.register(nowhere("leader", 1))).await.unwrap();
    let waits = soon(standby.register_patiently(leader(2))).await.unwrap();
    registrar.until(|it| it.in_line == 1).await;
    let token = held.token();
    // It keeps its name to the end.
    registrar.stop().await;
    way.cut().await;

    // The waiters return first, and wait for the former holder.
    let registrar = start(&place, Duration::from_secs(600)).await;
    registrar.until(|it| it.in_line == 1).await;
    way.mend().await;
    registrar.until(|it| it.instances == 1).await;
    soon(held.accepted()).await.unwrap();
    assert_eq!(held.token(), token);
    assert_eq!(soon(waits.place_in_line()).await, Some(0));
}

#[tokio::test]
async fn a_late_returner_learns_that_another_has_its_name() {
    let sockets = Sockets::new();
    let place = sockets.endpoint("registrar.sock");
    let registrar = start(&place, Duration::ZERO).await;
    let mut way = Way::to(&place).await;
    let (holder, standby) = (connect([&way.endpoint]).await, connect([&place]).await);
    let held = soon(holder.register(leader(1))).await.unwrap();
    let waits = soon(standby.register_patiently(leader(2))).await.unwrap();
    registrar.until(|it| it.in_line == 1).await;
    way.cut().await;
    soon(waits.accepted()).await.unwrap();
    way.mend().await;
    let displaced = soon(held.displaced()).await;
    assert!(matches!(displaced, RegisterError::Refused(_)), "{displaced}");
    assert!(waits.token().is_some() && held.token().is_none());
    // It waits in line, and gets the name again in its turn.
    drop(waits);
    soon(held.accepted()).await.unwrap();
}
