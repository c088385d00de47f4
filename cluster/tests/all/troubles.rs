//! What the nodes of a cluster do when etcd, or one of them, is gone.

use std::time::Duration;

use callsign_cluster::ClusterSettings;

use crate::{
    etcd::Etcd,
    node::{Node, home, register, rome_and_oslo},
    relay::Relay,
};

#[tokio::test]
async fn a_node_that_dies_takes_its_records_with_it() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let (rome, oslo, mut watcher) = rome_and_oslo(&etcd).await;
    let client = rome.client();
    register(&client, "feed", 1);
    assert_eq!(watcher.next().await, "add feed 1 at rome");
    rome.crash().await;
    assert_eq!(watcher.next().await, "remove feed 1: its node is gone");
    assert!(oslo.find("feed").is_empty());
    oslo.until(|it| it.nodes.is_empty()).await;
    // The next run of the node takes its name again.
    let rome = Node::start("rome", etcd.endpoints()).await;
    register(&rome.client(), "brief", 2);
    let client = rome.client();
    register(&client, "feed", 3);
    while watcher.next().await != "add feed 3 at rome" {}
}

#[tokio::test]
async fn a_name_of_a_node_is_given_once() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let rome = Node::start("rome", etcd.endpoints()).await;
    rome.until_connected().await;
    let other = Node::start("rome", etcd.endpoints()).await;
    let is_refused = |it: &String| it.contains("another registrar is the node `rome`");
    other.until(|it| it.error.as_ref().is_some_and(is_refused)).await;
    rome.crash().await;
    other.until_connected().await;
}

#[tokio::test]
async fn etcd_that_comes_back_changes_nothing() {
    let Some(mut etcd) = Etcd::start(1).await else { return };
    let (rome, oslo, mut watcher) = rome_and_oslo(&etcd).await;
    let client = rome.client();
    register(&client, "feed", 1);
    assert_eq!(watcher.next().await, "add feed 1 at rome");
    for number in 0..3 {
        etcd.kill(0).await;
        oslo.until(|it| it.error.is_some()).await;
        rome.until(|it| it.error.is_some()).await;
        assert_eq!(oslo.find("feed").len(), 1, "it is answered from memory");
        // What happens meanwhile is told afterwards.
        register(&client, "meanwhile", 10 + number);
        etcd.run(0);
        assert_eq!(watcher.next().await, format!("add meanwhile {} at rome", 10 + number));
    }
    assert_eq!(oslo.find("feed").len(), 1);
}

#[tokio::test]
async fn an_etcd_with_empty_disks_is_filled_again() {
    let Some(mut etcd) = Etcd::start(1).await else { return };
    let (rome, oslo, mut watcher) = rome_and_oslo(&etcd).await;
    let (client, short) = (rome.client(), rome.client());
    register(&client, "feed", 1);
    assert_eq!(watcher.next().await, "add feed 1 at rome");
    register(&short, "brief", 2);
    assert_eq!(watcher.next().await, "add brief 2 at rome");
    etcd.kill(0).await;
    oslo.until(|it| it.error.is_some()).await;
    rome.until(|it| it.error.is_some()).await;
    drop(short);
    etcd.wipe(0);
    etcd.run(0);
    assert_eq!(watcher.next().await, "remove brief 2: gone", "and nothing else has changed");
    register(&client, "feed", 3);
    assert_eq!(watcher.next().await, "add feed 3 at rome");
    let bern = Node::start("bern", etcd.endpoints()).await;
    let mut watcher = bern.watch();
    let mut seen = [watcher.next().await, watcher.next().await];
    seen.sort_unstable();
    assert_eq!(seen, ["add feed 1 at rome", "add feed 3 at rome"]);
}

#[tokio::test]
async fn what_etcd_has_forgotten_is_read_anew() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let rome = Node::start("rome", etcd.endpoints()).await;
    let relay = Relay::start(etcd.place(0)).await;
    let oslo = lasting("oslo", relay.endpoint()).await;
    let mut watcher = oslo.watch();
    let (client, short) = (rome.client(), rome.client());
    register(&client, "stays", 1);
    assert_eq!(watcher.next().await, "add stays 1 at rome");
    register(&short, "goes", 2);
    assert_eq!(watcher.next().await, "add goes 2 at rome");
    let place = relay.cut().await;
    oslo.until(|it| it.error.is_some()).await;
    let before = etcd.revision(0).await.unwrap();
    drop(short);
    register(&client, "comes", 3);
    register(&client, "stays", 1);
    // The first is that of the changes, if it is no beat.
    etcd.passes(before + 1).await;
    etcd.compact().await;
    let _relay = Relay::start_at(place, etcd.place(0)).await;
    let mut seen = [watcher.next().await, watcher.next().await, watcher.next().await];
    seen.sort_unstable();
    let expected = ["add comes 3 at rome", "remove goes 2: gone", "update stays 1 at rome"];
    assert_eq!(seen, expected);
    register(&client, "done", 4);
    assert_eq!(watcher.next().await, "add done 4 at rome");
}

/// Whoever asks a node that is cut off learns that it tells what it knew.
#[tokio::test]
async fn a_node_that_is_cut_off_for_long_puts_what_others_keep_in_doubt() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let rome = Node::start("rome", etcd.endpoints()).await;
    let relay = Relay::start(etcd.place(0)).await;
    let oslo = Node::start("oslo", vec![relay.endpoint()]).await;
    let mut watcher = oslo.watch();
    let (client, short) = (rome.client(), rome.client());
    register(&client, "stays", 1);
    assert_eq!(watcher.next().await, "add stays 1 at rome");
    register(&short, "goes", 2);
    assert_eq!(watcher.next().await, "add goes 2 at rome");
    let place = relay.cut().await;
    drop(short);
    let doubts = |name: &str| {
        let found = oslo.find(name);
        found.first().map(|it| it.suspicion)
    };
    let cut_off = |name: &str| doubts(name).flatten().is_some_and(|it| it.cut_off);
    oslo.until(|_| cut_off("stays") && cut_off("goes")).await;
    let since_ms = doubts("stays").flatten().unwrap().since_ms;
    assert!(oslo.registry.now_ms() >= since_ms + oslo.cluster().lease_ms);
    let _relay = Relay::start_at(place, etcd.place(0)).await;
    assert_eq!(watcher.next().await, "remove goes 2: gone");
    oslo.until(|_| doubts("stays") == Some(None)).await;
    assert!(!rome.find("stays").is_empty());
}

/// What is removed in the very revision that etcd has compacted is in no watch that begins there.
#[tokio::test]
async fn a_removal_in_the_last_revision_that_etcd_has_forgotten_is_seen() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let rome = lasting("rome", etcd.endpoints().remove(0)).await;
    let relay = Relay::start(etcd.place(0)).await;
    let oslo = lasting("oslo", relay.endpoint()).await;
    let mut watcher = oslo.watch();
    let (client, short) = (rome.client(), rome.client());
    register(&short, "goes", 1);
    assert_eq!(watcher.next().await, "add goes 1 at rome");
    // The first beats of both are over, and nothing else is written for a while.
    oslo.until(|it| it.lag_ms.is_some()).await;
    register(&client, "stays", 3);
    assert_eq!(watcher.next().await, "add stays 3 at rome");
    let place = relay.cut().await;
    oslo.until(|it| it.error.is_some()).await;
    let before = etcd.revision(0).await.unwrap();
    drop(short);
    etcd.passes(before).await;
    etcd.compact().await;
    let _relay = Relay::start_at(place, etcd.place(0)).await;
    assert_eq!(watcher.next().await, "remove goes 1: gone");
    register(&client, "done", 2);
    assert_eq!(watcher.next().await, "add done 2 at rome");
}

/// Starts a node with a lease that outlasts a cut, so that its watch goes on from where it was, and
/// which beats seldom.
async fn lasting(name: &str, endpoint: String) -> Node {
    let lease = Duration::from_secs(60);
    let settings = ClusterSettings::new(name.parse().unwrap(), [endpoint]);
    Node::start_with(ClusterSettings { lease, ..settings }).await
}

/// Tried one after another, those that hang would take longer than the lease.
#[tokio::test]
async fn a_node_whose_member_hangs_finds_one_that_does_not_before_its_lease_ends() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let mut relays = Vec::new();
    for _ in 0..8 {
        relays.push(Relay::start(etcd.place(0)).await);
    }
    let endpoints = relays.iter().map(Relay::endpoint).collect::<Vec<_>>();
    let lease = Duration::from_secs(6);
    let settings = |name: &str, endpoints: Vec<String>| {
        let settings = ClusterSettings::new(name.parse().unwrap(), endpoints);
        ClusterSettings { lease, ..settings }
    };
    let oslo = Node::start_with(settings("oslo", etcd.endpoints())).await;
    let mut watcher = oslo.watch();
    let rome = Node::start_with(settings("rome", endpoints.clone())).await;
    let client = rome.client();
    register(&client, "feed", 1);
    assert_eq!(watcher.next().await, "add feed 1 at rome");
    relays[..7].iter().for_each(Relay::hang);
    rome.until(|it| it.endpoint.as_ref() == Some(&endpoints[7])).await;
    register(&client, "feed", 2);
    assert_eq!(watcher.next().await, "add feed 2 at rome", "and nothing was removed meanwhile");
    // Each of the two writes a beat every two seconds.
    let now = etcd.revision(0).await.unwrap();
    etcd.passes(now + 6).await;
    register(&client, "feed", 3);
    assert_eq!(watcher.next().await, "add feed 3 at rome");
}

/// A member that follows passes keep-alives on to the leader by a link of its own: transactions get
/// through another, and keep-alives do not.
#[tokio::test]
async fn a_leader_that_the_others_cannot_reach_takes_no_lease_with_it() {
    let delay = Some(Duration::from_millis(1));
    let Some(mut etcd) = Etcd::start_apart(3, delay).await else { return };
    let leader = etcd.leader().await;
    let mut endpoints = etcd.endpoints();
    let last = endpoints.remove(leader);
    endpoints.push(last);
    let rome = Node::start("rome", endpoints.clone()).await;
    endpoints.reverse();
    let oslo = Node::start("oslo", endpoints).await;
    let mut watcher = oslo.watch();
    let client = rome.client();
    register(&client, "feed", 1);
    assert_eq!(watcher.next().await, "add feed 1 at rome");
    etcd.relays[leader].sever().await;
    let before = etcd.revision(leader).await;
    // Each of the two writes a beat a second.
    etcd.passes_at(leader, before.unwrap_or_default() + 20).await;
    register(&client, "feed", 2);
    assert_eq!(watcher.next().await, "add feed 2 at rome", "and nothing was removed meanwhile");
}

#[tokio::test]
async fn any_member_may_die() {
    let Some(mut etcd) = Etcd::start(3).await else { return };
    let rome = Node::start("rome", etcd.endpoints()).await;
    let mut endpoints = etcd.endpoints();
    endpoints.rotate_left(1);
    let oslo = Node::start("oslo", endpoints).await;
    let mut watcher = oslo.watch();
    let client = rome.client();
    register(&client, "feed", 100);
    assert_eq!(watcher.next().await, "add feed 100 at rome");
    // One of them leads.
    for member in 0..3 {
        etcd.kill(member).await;
        register(&client, "feed", member as u128);
        assert_eq!(watcher.next().await, format!("add feed {member} at rome"));
        assert_eq!(oslo.find("feed").len(), member + 2);
        etcd.run(member);
        etcd.answers(member).await;
    }
    assert!(oslo.find("feed").iter().all(|it| home(it) == Some("rome")));
}
