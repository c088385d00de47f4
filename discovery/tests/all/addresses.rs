//! What a wildcard address means is followed.

use std::{env, process::Command};

use callsign_discovery::Registration;
use endpoints::Endpoint;
use transport::Listener;

use crate::support::{Running, connect, soon, until};

#[test]
fn the_addresses_of_a_wildcard_come_and_go_with_those_of_the_host() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: to make a network namespace takes the rights of root");
        return;
    }
    // The child is this very program, run again as its one test below.
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
    ip("link set lo up");
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let listener = Listener::bind(&"/ip4/0.0.0.0/tcp/0".parse().unwrap()).await.unwrap();
    let named = Registration::new("all").endpoints(listener.published());
    let all = soon(client.register(named)).await.unwrap();
    // Who publishes one address alone has chosen it.
    let one = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse().unwrap()).await.unwrap();
    let named = Registration::new("one").endpoints(one.published());
    let one = soon(client.register(named)).await.unwrap();

    let published = |uuid| {
        let record = registrar.clerk.record(uuid).unwrap();
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
    // Where nobody listens any more, nothing is followed.
    drop(listener);
    ip("addr add 10.78.0.1/24 dev lo");
    until(|| transport::here().interfaces.iter().any(|it| it.ip.to_string() == "10.78.0.1")).await;
    assert!(!published(all.instance().uuid).contains(&"10.78.0.1".to_owned()));
}

fn ip(words: &str) {
    let done = Command::new("ip").args(words.split(' ')).status().unwrap();
    assert!(done.success(), "ip {words}");
}
