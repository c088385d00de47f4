//! Records that are written in bundles.

use std::time::Duration;

use tokio::{
    task::yield_now,
    time::{sleep, timeout},
};
use uuid::Uuid;
use wire::{Epoch, State};

use crate::{
    etcd::Etcd,
    node::{LIMIT, Node, register, rome_and_oslo},
    relay::Relay,
};

const RECORDS: &str = "/callsign/records/";

#[tokio::test]
async fn what_leaves_a_bundle_leaves_nothing_else() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let (rome, _oslo, mut watcher) = rome_and_oslo(&etcd).await;
    rome.until_connected().await;
    let client = rome.client();
    // Nothing else runs until all are there.
    (0..40).for_each(|it| drop(register(&client, "feed", it)));
    for _ in 0..40 {
        assert!(watcher.next().await.starts_with("add feed "));
    }
    assert_eq!(etcd.count(RECORDS).await, 3, "two bundles of 16, and one of 8");

    let gone = [5, 6, 7].map(Uuid::from_u128).to_vec();
    client.unregister_all(gone).unwrap();
    for uuid in 5..8 {
        assert_eq!(watcher.next().await, format!("remove feed {uuid}: unregistered"));
    }
    client.set_state(Uuid::from_u128(8), State::Draining).unwrap();
    assert_eq!(watcher.next().await, "update feed 8 at rome");
    assert_eq!(etcd.count(RECORDS).await, 4, "what has changed stands by itself");
    for uuid in [1, 9, 30] {
        client.set_state(Uuid::from_u128(uuid), State::Draining).unwrap();
    }
    let mut updated = [watcher.next().await, watcher.next().await, watcher.next().await];
    updated.sort_unstable();
    assert_eq!(updated, [1, 30, 9].map(|it| format!("update feed {it} at rome")));
    assert_eq!(etcd.count(RECORDS).await, 6, "those that change together are a bundle again");
    // One that comes later reads all of them, and they go together.
    let bern = Node::start("bern", etcd.endpoints()).await;
    let mut at_bern = bern.watch();
    for _ in 0..37 {
        assert!(at_bern.next().await.starts_with("add feed "));
    }
    drop(client);
    for watcher in [&mut watcher, &mut at_bern] {
        for _ in 0..37 {
            let removed = watcher.next().await;
            assert!(removed.ends_with("its session ended"), "{removed}");
        }
    }
    assert_eq!(etcd.count(RECORDS).await, 0);
}

/// A node that has lost its connection finds its own bundles, and needs to write none of them again.
#[tokio::test]
async fn bundles_that_are_there_stay_as_they_are() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let relay = Relay::start(etcd.place(0)).await;
    let rome = Node::start("rome", vec![relay.endpoint()]).await;
    let oslo = Node::start("oslo", etcd.endpoints()).await;
    rome.until_connected().await;
    let (client, mut watcher) = (rome.client(), oslo.watch());
    (0..16).for_each(|it| drop(register(&client, "feed", it)));
    for _ in 0..16 {
        assert!(watcher.next().await.starts_with("add feed "));
    }
    let before = etcd.versions(RECORDS).await;
    assert_eq!(before.len(), 1);
    let place = relay.cut().await;
    rome.until(|it| it.error.is_some()).await;
    let _relay = Relay::start_at(place, etcd.place(0)).await;
    register(&client, "done", 16);
    assert_eq!(watcher.next().await, "add done 16 at rome");
    let after = etcd.versions(RECORDS).await;
    assert_eq!(after.iter().filter(|it| before.contains(it)).count(), 1, "{before:?} {after:?}");
}

/// Whatever changes, alone or together, all nodes know the same in the end.
#[tokio::test]
async fn all_know_the_same_whatever_changes_together() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let (rome, oslo, _watcher) = rome_and_oslo(&etcd).await;
    let client = rome.client();
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..400 {
        for _ in 0..random.u8(1..12) {
            let uuid = random.u128(0..60);
            match random.u8(0..4) {
                0 => drop(client.unregister_all(vec![Uuid::from_u128(uuid)])),
                1 => drop(client.set_state(Uuid::from_u128(uuid), State::Draining)),
                _ => drop(register(&client, &format!("feed-{}", uuid % 7), uuid)),
            }
        }
        // Some of it is written together, and some while other transactions are under way.
        for _ in 0..random.u8(0..3) {
            yield_now().await;
        }
        if random.u8(0..8) == 0 {
            etcd.revision(0).await.unwrap();
        }
    }
    let bern = Node::start("bern", etcd.endpoints()).await;
    let expected = known(&rome);
    assert!(expected.len() > 10, "{}", expected.len());
    for node in [oslo, bern] {
        let comparing = async {
            while known(&node) != expected {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LIMIT, comparing).await.unwrap();
    }
}

/// Returns what a node knows of each instance.
fn known(node: &Node) -> Vec<(Uuid, String, Epoch, State)> {
    let records = (0..60).filter_map(|it| node.registry.record(Uuid::from_u128(it)));
    records.map(|it| (it.uuid, it.name.to_string(), it.epoch, it.state)).collect()
}
