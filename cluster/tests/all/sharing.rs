//! What the nodes of a cluster know of each other while all is well.

use std::time::Duration;

use discovery::{Client, Registration};
use endpoints::Stamped;
use tokio::time::{sleep, timeout};
use uuid::Uuid;
use wire::State;

use crate::{
    etcd::Etcd,
    node::{LIMIT, Node, home, register, registration, rome_and_oslo},
};

#[tokio::test]
async fn what_is_registered_at_one_node_is_found_at_the_others() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let (rome, oslo, mut watcher) = rome_and_oslo(&etcd).await;
    let client = rome.client();
    let registered = register(&client, "feed", 1);
    assert_eq!(watcher.next().await, "add feed 1 at rome");
    let found = oslo.find("feed");
    assert_eq!((found[0].epoch, home(&found[0])), (registered.epoch, Some("rome")));
    assert_eq!(home(&rome.find("feed")[0]), None, "it is rome's own there");

    client.set_state(Uuid::from_u128(1), State::Draining).unwrap();
    assert_eq!(watcher.next().await, "update feed 1 at rome");
    assert!(oslo.find("feed").is_empty(), "it accepts no more");

    register(&client, "feed", 2);
    assert_eq!(watcher.next().await, "add feed 2 at rome");
    client.unregister_all(vec![Uuid::from_u128(2)]).unwrap();
    assert_eq!(watcher.next().await, "remove feed 2: unregistered");
    drop(client);
    assert_eq!(watcher.next().await, "remove feed 1: its session ended");

    // A node that comes later knows what was before.
    let client = oslo.client();
    let at_oslo = register(&client, "pricer", 3);
    let bern = Node::start("bern", etcd.endpoints()).await;
    assert_eq!(bern.watch().next().await, "add pricer 3 at oslo");
    let theirs = register(&bern.client(), "pricer", 4);
    assert!(theirs.epoch > at_oslo.epoch, "what is registered later has a higher epoch");
    assert_ne!(theirs.epoch % 128, at_oslo.epoch % 128, "and never that of another node");
    rome.until(|it| it.nodes.len() == 2 && it.nodes.iter().all(|it| it.lives)).await;
    let cluster = rome.cluster();
    assert_eq!(cluster.node.as_str(), "rome");
    assert!(cluster.lag_ms.is_some() && cluster.faulty == 0, "{cluster:?}");
}

#[tokio::test]
async fn many_records_arrive_and_go_together() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let (rome, oslo, mut watcher) = rome_and_oslo(&etcd).await;
    let client = rome.client();
    let count = 3000;
    for uuid in 0..count {
        register(&client, &format!("feed-{uuid}"), uuid);
    }
    let mut added = Vec::new();
    for _ in 0..count {
        added.push(watcher.next().await);
    }
    added.sort_unstable();
    let mut expected: Vec<_> = (0..count).map(|it| format!("add feed-{it} {it} at rome")).collect();
    expected.sort_unstable();
    assert_eq!(added, expected);
    oslo.until(|it| it.nodes.iter().any(|it| it.records == count as u64)).await;
    let before = etcd.revision(0).await.unwrap();
    drop(client);
    for _ in 0..count {
        let removed = watcher.next().await;
        assert!(removed.starts_with("remove ") && removed.ends_with("its session ended"));
    }
    assert_eq!(etcd.count("/callsign/records/").await, 0);
    let transactions = etcd.revision(0).await.unwrap() - before;
    assert!(transactions < count as i64 / 10, "{transactions} transactions for {count} records");
}

#[tokio::test]
async fn what_changes_while_it_is_written_ends_as_it_was_changed_last() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let link = etcd.slow_relay(0, Duration::from_millis(5)).await;
    let rome = Node::start("rome", vec![link.endpoint()]).await;
    let oslo = Node::start("oslo", etcd.endpoints()).await;
    let client = rome.client();
    (0..4).for_each(|it| drop(register(&client, "feed", it)));
    let at = |port| vec![Stamped::bare(format!("/ip4/10.0.0.7/tcp/{port}").parse().unwrap())];
    for change in 0..200 {
        client.update_endpoints(Uuid::from_u128(change % 4), at(1 + change)).unwrap();
        // So that some transactions are under way, and each writes some of them.
        etcd.revision(0).await.unwrap();
    }
    let is_last = |uuid| {
        let known = oslo.registry.record(Uuid::from_u128(uuid));
        known.is_some_and(|it| it.endpoints == at(197 + uuid))
    };
    let comparing = async {
        while !(0..4).all(is_last) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, comparing).await.unwrap();
}

#[tokio::test]
async fn an_instance_that_moves_is_updated_everywhere() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let rome = Node::start("rome", etcd.endpoints()).await;
    let oslo = Node::start("oslo", etcd.endpoints()).await;
    let bern = Node::start("bern", etcd.endpoints()).await;
    let (mut at_oslo, mut at_bern) = (oslo.watch(), bern.watch());
    let client = rome.client();
    let first = register(&client, "feed", 1);
    assert_eq!(at_oslo.next().await, "add feed 1 at rome");
    assert_eq!(at_bern.next().await, "add feed 1 at rome");
    rome.crash().await;
    let moved = oslo.client();
    let second = register(&moved, "feed", 1);
    assert!(second.epoch > first.epoch);
    assert_eq!(at_oslo.next().await, "update feed 1");
    assert_eq!(at_bern.next().await, "update feed 1 at oslo");
    // Once the lease of the former node has ended, nothing is left of it, and nothing happens.
    bern.until(|it| it.nodes.len() == 1).await;
    register(&moved, "done", 2);
    assert_eq!(at_oslo.next().await, "add done 2");
    assert_eq!(at_bern.next().await, "add done 2 at oslo");
}

#[tokio::test]
async fn a_client_goes_to_another_node_when_its_own_dies() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let rome = Node::start("rome", etcd.endpoints()).await;
    let oslo = Node::start("oslo", etcd.endpoints()).await;
    let bern = Node::start("bern", etcd.endpoints()).await;
    // It learns of the others as it connects.
    rome.until(|it| it.nodes.iter().filter(|it| it.lives && !it.places.is_empty()).count() == 2)
        .await;
    let client = Client::connect([rome.endpoint.to_string()]).await.unwrap();
    let (mut at_bern, mut at_oslo) = (bern.watch(), oslo.watch());
    let kept = bern.client();
    register(&kept, "feed", 7);
    assert_eq!(at_oslo.next().await, "add feed 7 at bern");
    assert_eq!(at_bern.next().await, "add feed 7");
    let mut own = client.watch("feed").unwrap();
    let feed = Registration::new("feed").endpoints([at("/ip4/10.0.0.7/tcp/80")]);
    let feed = client.register(feed).await.unwrap();
    let uuid = feed.instance().uuid.as_u128();
    assert_eq!(at_bern.next().await, format!("add feed {uuid} at rome"));
    assert_eq!(at_oslo.next().await, format!("add feed {uuid} at rome"));
    let mut seen = Vec::new();
    see(&mut own, &mut seen, &format!("add {uuid}")).await;
    rome.crash().await;
    for mut watcher in [at_bern, at_oslo] {
        let moved = watcher.next().await;
        assert!(moved.starts_with(&format!("update feed {uuid}")), "no gap: {moved}");
    }
    assert!(client.query_actor("feed").await.is_ok());
    // The client's own watch goes on where it was: it sees the move, and nothing twice.
    register(&kept, "feed", 8);
    see(&mut own, &mut seen, "add 8").await;
    // That may have come to the first node before the client did, or later than its own.
    assert_eq!(seen.extract_if(.., |it| it == "add 7").count(), 1);
    assert_eq!(seen, [&format!("add {uuid}"), &format!("update {uuid}"), "add 8"]);
}

/// Reads a watch until it has said something.
async fn see(watch: &mut discovery::Watch, seen: &mut Vec<String>, last: &str) {
    while seen.last().is_none_or(|it| it != last) {
        let change = timeout(LIMIT, watch.next()).await.unwrap().unwrap();
        seen.extend(words(&change));
    }
}

fn words(change: &discovery::Change) -> Option<String> {
    use discovery::Change as C;
    Some(match change {
        C::Add { record } => format!("add {}", record.uuid.as_u128()),
        C::Update { record } => format!("update {}", record.uuid.as_u128()),
        C::Remove { instance, .. } => format!("remove {}", instance.uuid.as_u128()),
        _ => return None,
    })
}

/// What a dead node has of it, for as long as its lease lasts, is outdated.
#[tokio::test]
async fn an_instance_that_moves_and_leaves_does_not_return() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let rome = Node::start("rome", etcd.endpoints()).await;
    let oslo = Node::start("oslo", etcd.endpoints()).await;
    let bern = Node::start("bern", etcd.endpoints()).await;
    let (mut at_oslo, mut at_bern) = (oslo.watch(), bern.watch());
    register(&rome.client(), "brief", 2);
    let client = rome.client();
    register(&client, "feed", 1);
    while at_oslo.next().await != "add feed 1 at rome" {}
    while at_bern.next().await != "add feed 1 at rome" {}
    rome.crash().await;
    let moved = oslo.client();
    register(&moved, "feed", 1);
    assert_eq!(at_oslo.next().await, "update feed 1");
    assert_eq!(at_bern.next().await, "update feed 1 at oslo");
    moved.unregister_all(vec![Uuid::from_u128(1)]).unwrap();
    bern.until(|it| it.nodes.len() == 1).await;
    register(&moved, "done", 3);
    for watcher in [&mut at_oslo, &mut at_bern] {
        assert_eq!(watcher.next().await, "remove feed 1: unregistered");
        assert!(watcher.next().await.starts_with("add done 3"));
    }
}

/// A client knows of one that has come after it, and has one session to all that it is told of.
#[tokio::test]
async fn a_client_learns_of_later_nodes_and_keeps_one_session() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let rome = Node::start("rome", etcd.endpoints()).await;
    rome.until_connected().await;
    let client = Client::connect([rome.endpoint.to_string()]).await.unwrap();
    let feed = Registration::new("feed").endpoints([at("/ip4/10.0.0.7/tcp/80")]);
    let _feed = client.register(feed).await.unwrap();
    let oslo = Node::start("oslo", etcd.endpoints()).await;
    oslo.until_connected().await;
    let mut watcher = oslo.watch();
    assert!(watcher.next().await.ends_with("at rome"));
    rome.until(|it| it.nodes.iter().any(|it| it.lives && !it.places.is_empty())).await;
    let both = [rome.endpoint.to_string(), oslo.endpoint.to_string()];
    let other = Client::connect(both).await.unwrap();
    let pricer = Registration::new("pricer").endpoints([at("/ip4/10.0.0.7/tcp/81")]);
    let _pricer = other.register(pricer).await.unwrap();
    assert!(watcher.next().await.ends_with("at rome"), "and not at both");
    rome.crash().await;
    let mut moved = [watcher.next().await, watcher.next().await];
    moved.sort_unstable();
    assert!(
        moved[0].starts_with("update feed") && moved[1].starts_with("update pricer"),
        "{moved:?}"
    );
    assert_eq!((oslo.find("feed").len(), oslo.find("pricer").len()), (1, 1));
}

fn at(endpoint: &str) -> Stamped {
    Stamped::bare(endpoint.parse().unwrap())
}

#[tokio::test]
async fn what_nobody_understands_costs_only_itself() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let (rome, oslo, mut watcher) = rome_and_oslo(&etcd).await;
    let client = rome.client();
    register(&client, "feed", 1);
    assert_eq!(watcher.next().await, "add feed 1 at rome");
    let uuid = Uuid::from_u128(1);
    let long = vec![b'x'; 200_000];
    for (key, value) in [
        ("/callsign/".to_owned(), &b"x"[..]),
        ("/callsign/nodes/bern".to_owned(), b"\x80"),
        ("/callsign/nodes/ ".to_owned(), b"x"),
        ("/callsign/records/bern/7".to_owned(), b"x"),
        (format!("/callsign/records/bern/{uuid}"), b"\xc0"),
        (format!("/callsign/records/bern/{}", Uuid::from_u128(2)), &long),
        ("/callsign/ended/rome".to_owned(), b"\xff"),
        ("/callsign/slots/x".to_owned(), b"x"),
    ] {
        etcd.put(&key, value).await;
    }
    client.register(registration("feed", 3)).unwrap();
    assert_eq!(watcher.next().await, "add feed 3 at rome");
    oslo.until(|it| it.faulty >= 3).await;
    // Its own node's record, spoilt by others, is the only one that is gone.
    etcd.put(&format!("/callsign/records/rome/{uuid}"), b"\x80").await;
    assert_eq!(watcher.next().await, "remove feed 1: gone");
    assert_eq!(oslo.find("feed").len(), 1);
}

/// Nobody tells its former node, as a session does by its end.
#[tokio::test]
async fn a_lease_has_one_home_wherever_it_is_renewed() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let (rome, oslo, _) = rome_and_oslo(&etcd).await;
    rome.until_connected().await;
    oslo.until_connected().await;
    let sessions = [rome.registry.own_session(), oslo.registry.own_session()];
    let put = async |at: usize| {
        sessions[at].register_lease(60_000, registration("feed", 1)).await.unwrap();
    };
    let is_at = async |expected: [Option<&str>; 2]| {
        let is_so = || {
            let found = [rome.find("feed"), oslo.find("feed")];
            found.iter().all(|it| it.len() == 1)
                && [home(&found[0][0]), home(&found[1][0])] == expected
        };
        while !is_so() || etcd.count("/callsign/records/").await != 1 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    for _ in 0..3 {
        put(0).await;
        is_at([None, Some("rome")]).await;
        put(1).await;
        is_at([Some("oslo"), None]).await;
    }
    assert!(sessions[0].unregister(Uuid::from_u128(1)).is_err(), "its node is another");
    sessions[1].unregister(Uuid::from_u128(1)).unwrap();
    while !rome.find("feed").is_empty() || etcd.count("/callsign/records/").await > 0 {
        sleep(Duration::from_millis(5)).await;
    }
}
