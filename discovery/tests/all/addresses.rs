//! Publishers follow the addresses that a wildcard stands for.

use std::{env, process::Command};

use callsign_discovery::{Client, Registration};
use endpoints::{Endpoint, Stamped};
use transport::{Listener, Published};

use crate::support::{Running, connect, soon, until};

#[test]
fn the_addresses_of_a_wildcard_come_and_go_with_those_of_the_host() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: to make a network namespace takes the rights of root");
        return;
    }
    // The child is this program itself, which runs only the test below.
    let child = Command::new("unshare")
        .arg("-n")
        .arg(env::current_exe().unwrap())
        .args(["--exact", "addresses::in_a_network_of_its_own"])
        .env("CALLSIGN_TEST_OWN_NETWORK", "1")
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
}

#[tokio::test]
async fn in_a_network_of_its_own() {
    if env::var_os("CALLSIGN_TEST_OWN_NETWORK").is_none() {
        return;
    }
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    follows_what_means_nothing_yet(&registrar, &client).await;
    let listener = Listener::bind(&"/ip4/0.0.0.0/tcp/0".parse().unwrap()).await.unwrap();
    let named = Registration::new("all").endpoints(listener.published());
    let all = soon(client.register(named)).await.unwrap();
    // A program that publishes one address has chosen it.
    let one = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse().unwrap()).await.unwrap();
    let named = Registration::new("one").endpoints(one.published());
    let one = soon(client.register(named)).await.unwrap();

    let published = |uuid| {
        let record = registrar.registry.record(uuid).unwrap();
        let host = |it: &Endpoint| it.to_string().split('/').nth(2).unwrap().to_owned();
        record.endpoints.iter().map(|it| host(&it.endpoint)).collect::<Vec<_>>()
    };
    assert_eq!(published(all.instance().uuid), ["127.0.0.1"]);
    ip("addr add 10.77.0.1/24 dev lo");
    until(|| published(all.instance().uuid) == ["127.0.0.1", "10.77.0.1"]).await;
    assert!(all.endpoints().iter().all(|it| it.stamp == all.endpoints()[0].stamp));
    ip("addr add 10.77.0.9/24 dev lo");
    ip("addr del 10.77.0.1/24 dev lo");
    until(|| !published(all.instance().uuid).contains(&"10.77.0.1".to_owned())).await;
    assert_eq!(published(one.instance().uuid), ["127.0.0.1"]);
    follows_its_own_addresses().await;
    // Endpoints without a listener are not followed.
    drop(listener);
    ip("addr add 10.78.0.1/24 dev lo");
    until(|| transport::here().interfaces.iter().any(|it| it.ip.to_string() == "10.78.0.1")).await;
    assert!(!published(all.instance().uuid).contains(&"10.78.0.1".to_owned()));
}

/// A wildcard that was bound while no network was up is followed once the network is up, however it
/// was registered.
async fn follows_what_means_nothing_yet(registrar: &Running, client: &Client) {
    let mut listeners = Vec::new();
    for _ in 0..5 {
        listeners.push(Listener::bind(&"/ip4/0.0.0.0/tcp/0".parse().unwrap()).await.unwrap());
    }
    let [one, other, moved, own, none] = &listeners[..] else { panic!("there are five") };
    assert!(one.published().is_empty());
    let feed = || Registration::new("feed");
    let both: Published = [one, other].into_iter().map(Listener::published).collect();
    let memory = Stamped::bare(Endpoint::Memory(700_090));
    let registrations = [
        (feed().endpoints(one.published()), 1),
        (feed().endpoints(both), 2),
        (feed().endpoints([memory.clone()]).endpoints(own.published()), 2),
        // An endpoint is taken out of the published ones on purpose.
        (feed().endpoints(none.published().to_vec()), 0),
    ];
    let mut kept = Vec::new();
    for (registration, expected) in registrations {
        kept.push((soon(client.register(registration)).await.unwrap(), expected));
    }
    let later = soon(client.register(feed().endpoints([memory]))).await.unwrap();
    soon(later.update_endpoints(moved.published())).await.unwrap();
    kept.push((later, 1));
    ip("link set lo up");
    for (registered, expected) in &kept {
        let count =
            || registrar.registry.record(registered.instance().uuid).unwrap().endpoints.len();
        until(|| count() == *expected).await;
    }
}

/// A registrar publishes its own addresses, of both families, and the present place of its socket.
async fn follows_its_own_addresses() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registrar.sock");
    let own = format!("/unix{}", path.display());
    let list = [&*own, "/ip6/::/tcp/0", "/ip4/0.0.0.0/tcp/0"].map(|it| it.parse().unwrap());
    let registrar = Running::at(&list).await;
    let client = connect([&registrar.endpoint]).await;
    let tells = async |host: &str| {
        let Some(record) = client.query_actor("registrar").await.unwrap() else { return false };
        let has = |it: &Endpoint| it.to_string().starts_with(&format!("{host}/tcp/"));
        let is_told = record.endpoints.iter().any(|it| has(&it.endpoint));
        assert!(registrar.registry.status().published.iter().any(has) || !is_told);
        is_told
    };
    let until_it_tells = async |host: &str, expected: bool| {
        soon(async {
            while tells(host).await != expected {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        })
        .await;
    };
    until_it_tells("/ip4/127.0.0.1", true).await;
    for (address, host) in [("10.79.0.1/24", "/ip4/10.79.0.1"), ("fd79::1/64", "/ip6/fd79::1")] {
        until_it_tells(host, false).await;
        ip(&format!("addr add {address} dev lo"));
        until_it_tells(host, true).await;
        ip(&format!("addr del {address} dev lo"));
        until_it_tells(host, false).await;
    }
    // The socket file disappears, and returns with another inode.
    let socket = async || {
        let record = client.query_actor("registrar").await.unwrap().unwrap();
        record.endpoints[0].stamp.socket
    };
    let before = socket().await;
    std::fs::remove_file(&path).unwrap();
    soon(async {
        while socket().await == before {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    })
    .await;
}

fn ip(words: &str) {
    let done = Command::new("ip").args(words.split(' ')).status().unwrap();
    assert!(done.success(), "ip {words}");
}
