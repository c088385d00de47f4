//! Exclusive names of a cluster.

use std::time::Duration;

use callsign_cluster::ClusterSettings;
use discovery::{Client, Registered, Registration};
use registrar::registry::{NameRule, NameRules, Names};
use tokio::time::timeout;
use wire::callbacks::LostCause;

use crate::{
    etcd::Etcd,
    node::{LIMIT, Node},
    relay::Relay,
};

async fn start(name: &str, endpoints: Vec<String>) -> Node {
    start_with(ClusterSettings::new(name.parse().unwrap(), endpoints)).await
}

async fn start_with(settings: ClusterSettings) -> Node {
    let rule = NameRule {
        pattern: "leader*".parse().unwrap(),
        register: None,
        find: None,
        exclusive: true,
        instances_max: None,
        place: "line 3".to_owned(),
    };
    let rules = NameRules::new(Names::Open, String::new(), vec![rule]);
    let node = Node::start_ruled(settings, rules).await;
    node.until_connected().await;
    node
}

async fn client(node: &Node) -> Client {
    Client::connect([node.endpoint.to_string()]).await.unwrap()
}

fn leader() -> Registration {
    let endpoint = endpoints::Stamped::bare("/ip4/10.0.0.7/tcp/80".parse().unwrap());
    Registration::new("leader").endpoints([endpoint])
}

/// Registers one that waits in line, for as long as it takes.
async fn wait(client: &Client) -> Registered {
    client.register_patiently(leader().wait_in_line()).await.unwrap()
}

async fn has_it(registered: &Registered) -> u64 {
    timeout(LIMIT, registered.accepted()).await.unwrap().unwrap();
    registered.token().expect("it has the name")
}

#[tokio::test]
async fn an_exclusive_name_has_one_holder_in_the_cluster_and_growing_tokens() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let rome = start("rome", etcd.endpoints()).await;
    let oslo = start("oslo", etcd.endpoints()).await;
    let (at_rome, at_oslo) = (client(&rome).await, client(&oslo).await);
    let first = at_rome.register(leader()).await.unwrap();
    let token = first.token().expect("it has the name");
    let error = at_oslo.register(leader()).await.unwrap_err().to_string();
    let uuid = first.instance().uuid.to_string();
    assert!(error.contains(&uuid) && error.contains("at the node `rome`"), "{error}");

    // One that waits at the other node gets it as soon as it is free.
    let second = wait(&at_oslo).await;
    first.unregister().await;
    let later = has_it(&second).await;
    assert!(later > token, "{later} {token}");
    // And back, after a node has died.
    let third = wait(&at_rome).await;
    drop((second, at_oslo));
    let latest = has_it(&third).await;
    assert!(latest > later, "{latest} {later}");
}

#[tokio::test]
async fn of_those_who_ask_at_once_at_several_nodes_one_gets_it() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let rome = start("rome", etcd.endpoints()).await;
    let oslo = start("oslo", etcd.endpoints()).await;
    let (at_rome, at_oslo) = (client(&rome).await, client(&oslo).await);
    let mut latest = 0;
    for _ in 0..10 {
        let (one, other) = tokio::join!(at_rome.register(leader()), at_oslo.register(leader()));
        let held: Vec<_> = [one, other].into_iter().filter_map(Result::ok).collect();
        assert_eq!(held.len(), 1, "one, and not both");
        let token = held[0].token().unwrap();
        assert!(token > latest, "{token} {latest}");
        latest = token;
        for registered in held {
            registered.unregister().await;
        }
        while etcd.count("/callsign/names/").await > 0
            || !oslo.find("leader").is_empty()
            || !rome.find("leader").is_empty()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn a_node_that_is_cut_off_gives_no_name_and_takes_those_it_gave() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let relay = Relay::start(etcd.place(0)).await;
    let rome = start("rome", vec![relay.endpoint()]).await;
    let oslo = start("oslo", etcd.endpoints()).await;
    let (at_rome, at_oslo) = (client(&rome).await, client(&oslo).await);
    let first = at_rome.register(leader()).await.unwrap();
    let token = first.token().unwrap();
    let second = wait(&at_oslo).await;
    let place = relay.cut().await;
    let lost = timeout(LIMIT, first.lost()).await.unwrap();
    assert_eq!(lost.cause, LostCause::NameLost);
    assert!(rome.find("leader").iter().all(|it| it.uuid != first.instance().uuid));
    let other = Registration::new("leader.two").endpoint("/ip4/10.0.0.7/tcp/81").unwrap();
    let error = at_rome.register(other).await.unwrap_err().to_string();
    assert!(error.contains("cut off from its cluster"), "{error}");
    // Another has it only after that.
    assert!(has_it(&second).await > token);
    let _relay = Relay::start_at(place, etcd.place(0)).await;
    rome.until_connected().await;
    let error = at_rome.register(leader()).await.unwrap_err().to_string();
    assert!(error.contains("at the node `oslo`"), "{error}");
}

#[tokio::test]
async fn an_instance_that_moves_keeps_its_name() {
    let Some(etcd) = Etcd::start(1).await else { return };
    // A busy machine may take longer than a usual lease until the client has moved.
    let rome = ClusterSettings::new("rome".parse().unwrap(), etcd.endpoints());
    let rome = start_with(ClusterSettings { lease: Duration::from_secs(20), ..rome }).await;
    let oslo = start("oslo", etcd.endpoints()).await;
    rome.until(|it| it.nodes.iter().any(|it| it.lives && !it.places.is_empty())).await;
    let (moves, waits) = (client(&rome).await, client(&oslo).await);
    let first = moves.register(leader()).await.unwrap();
    let token = first.token().unwrap();
    let second = wait(&waits).await;
    rome.crash().await;
    // It is there again before the lease of its node ends, and before all that wait.
    let mut watcher = oslo.watch();
    while oslo.find("leader").first().is_none_or(|it| it.node.is_some()) {
        watcher.next().await;
    }
    let found = oslo.find("leader");
    assert_eq!((found.len(), found[0].uuid), (1, first.instance().uuid));
    assert!(found[0].token.unwrap() > token);
    first.unregister().await;
    assert!(has_it(&second).await > token);
}

#[tokio::test]
async fn tokens_grow_also_after_etcd_has_lost_everything() {
    let Some(mut etcd) = Etcd::start(1).await else { return };
    let rome = start("rome", etcd.endpoints()).await;
    let at_rome = client(&rome).await;
    let first = at_rome.register(leader()).await.unwrap();
    let token = first.token().unwrap();
    etcd.kill(0).await;
    rome.until(|it| it.error.is_some()).await;
    etcd.wipe(0);
    etcd.run(0);
    let lost = timeout(LIMIT, first.lost()).await.unwrap();
    assert_eq!(lost.cause, LostCause::NameLost);
    rome.until_connected().await;
    let second = wait(&at_rome).await;
    assert!(has_it(&second).await > token);
}

/// It has the name, and does not wait for it, though it is asked for in the same line as by others.
#[tokio::test]
async fn one_that_has_waited_for_its_name_moves_with_it() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let rome = ClusterSettings::new("rome".parse().unwrap(), etcd.endpoints());
    let rome = start_with(ClusterSettings { lease: Duration::from_secs(20), ..rome }).await;
    let oslo = start("oslo", etcd.endpoints()).await;
    rome.until(|it| it.nodes.iter().any(|it| it.lives && !it.places.is_empty())).await;
    let moves = client(&rome).await;
    let first = wait(&moves).await;
    let token = has_it(&first).await;
    let mut watcher = oslo.watch();
    rome.crash().await;
    let moved = async {
        while oslo.find("leader").first().is_none_or(|it| it.node.is_some()) {
            watcher.next().await;
        }
    };
    tokio::select! {
        biased;
        error = first.displaced() => panic!("it still has the name: {error}"),
        () = moved => {}
    }
    assert!(oslo.find("leader")[0].token.unwrap() > token);
    first.unregister().await;
    while etcd.count("/callsign/names/").await > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whoever has waited, and is gone just as the name is given, leaves nothing behind.
#[tokio::test]
async fn a_name_is_free_after_one_that_gave_up() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let oslo = start("oslo", etcd.endpoints()).await;
    for turn in 0..30 {
        let at_oslo = client(&oslo).await;
        let registered = wait(&at_oslo).await;
        tokio::time::sleep(Duration::from_micros(300 * turn)).await;
        drop((registered, at_oslo));
    }
    while etcd.count("/callsign/names/").await > 0 || !oslo.find("leader").is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
