//! Last good answers, for callers that allow them up to some age.

use std::time::Duration;

use crate::support::{Running, Sockets, actor, connect, soon};
use callsign_discovery::{FindError, LookupError, LookupOptions, ResolveError};
use wire::State;

#[tokio::test]
async fn an_answer_of_earlier_is_given_with_its_age_and_only_where_it_is_allowed() {
    let sockets = Sockets::new();
    let endpoint = sockets.endpoint("registrar.sock");
    let registrar = Running::at(std::slice::from_ref(&endpoint)).await;
    let client = connect([&endpoint]).await;
    let (_listener, feed) = actor("feed").await;
    let feed = soon(client.register(feed)).await.unwrap();
    let within = |seconds| LookupOptions {
        max_age: Some(Duration::from_secs(seconds)),
        ..LookupOptions::default()
    };

    // While a registrar answers, the last good answer is not used.
    for name in ["feed", "nobody"] {
        let found = soon(client.query_with(name, within(60))).await.unwrap();
        assert_eq!(found.age, None);
    }
    let connection = soon(client.find_actor_with("feed", within(60))).await.unwrap().unwrap();
    assert_eq!(connection.age, None);
    assert!(soon(client.find_actor_with("nobody", within(60))).await.unwrap().is_none());
    // This look-up does not allow it, so the answer is not remembered.
    assert_eq!(soon(client.query_all("feed")).await.unwrap().records.len(), 1);

    registrar.stop().await;
    let unreachable = |error: LookupError| matches!(error, LookupError::Unreachable(_));
    soon(async { while client.query_ready("feed").await.is_ok() {} }).await;
    assert!(unreachable(soon(client.query_ready("feed")).await.unwrap_err()));
    let now = LookupOptions::default();
    assert!(unreachable(soon(client.query_with("feed", now)).await.unwrap_err()));
    assert!(unreachable(soon(client.query_with("feed", within(0))).await.unwrap_err()));
    let all = LookupOptions { all: true, ..within(60) };
    assert!(unreachable(soon(client.query_with("feed", all)).await.unwrap_err()));
    assert!(unreachable(soon(client.query_with("unasked", within(60))).await.unwrap_err()));

    let found = soon(client.query_with("feed", within(60))).await.unwrap();
    assert_eq!(found.records[0].uuid, feed.instance().uuid);
    assert!(found.age.is_some_and(|it| it < Duration::from_secs(60)));
    assert_eq!(found.unanswered.len(), 1, "and why it is not one of now");
    let connection = soon(client.find_actor_with("feed", within(60))).await.unwrap().unwrap();
    assert!(connection.age.is_some());
    // A remembered "not found" has an age too, and does not count as a present absence.
    let found = soon(client.query_with("nobody", within(60))).await.unwrap();
    assert!(found.records.is_empty() && found.age.is_some());
    let error = soon(client.find_actor_with("nobody", within(60))).await.unwrap_err();
    let FindError::Resolve(ResolveError::Lookup(error)) = error else { panic!("{error}") };
    assert!(unreachable(error));

    // The answer of the returned registrar counts, not the remembered one.
    let registrar = Running::at(&[endpoint]).await;
    registrar.until(|it| it.instances == 1).await;
    soon(client.drain(feed.instance().uuid)).await.unwrap();
    assert_eq!(feed.state(), State::Draining);
    let found = soon(client.query_with("feed", within(60))).await.unwrap();
    assert!(found.records.is_empty() && found.age.is_none());
}
