//! The connector for hyper's client.

use std::error::Error;

use discovery::{Assurance, Registration};
use http::Request;
use wire::State;

use crate::support::{Registrar, Server, fetch, gone, http};

#[tokio::test]
async fn a_uri_reaches_the_actor_of_its_host_over_any_transport() {
    let registrar = Registrar::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = format!("/unix{}", folder.path().join("feed.sock").display());
    let http = http(&registrar.client);
    for (name, endpoint, host) in [
        ("feed", &*path, "feed"),
        ("feed.eurusd", "/ip4/127.0.0.1/tcp/0", "feed.eurusd"),
        ("risk", "/memory/0", "risk"),
        ("Market:feed", "/ip4/127.0.0.1/tcp/0", "=4darket=3afeed"),
        ("börse@ffm", "/memory/0", "b=c3=b6rse=40ffm"),
    ] {
        let server = Server::start(&registrar.client, name, endpoint).await;
        let uri = callsign_connect::uri(&name.parse().unwrap());
        for _ in 0..2 {
            let ([said_host, uuid, _], reached) = fetch(&http, uri.clone()).await;
            assert_eq!((said_host.as_str(), uuid), (host, server.uuid()), "{name}");
            assert_eq!(&reached.instance, server.registered.instance());
            assert_eq!(reached.assurance, Assurance::Unproved);
        }
    }
}

#[tokio::test]
async fn it_dials_anew_after_a_death_whichever_transport_the_next_instance_has() {
    let registrar = Registrar::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = format!("/unix{}", folder.path().join("feed.sock").display());
    let http = http(&registrar.client);
    let mut watch = registrar.client.watch("feed").unwrap();
    for endpoint in [&*path, "/ip4/127.0.0.1/tcp/0", &*path, "/memory/0"] {
        let server = Server::start(&registrar.client, "feed", endpoint).await;
        let ([_, uuid, _], reached) = fetch(&http, "http://feed/").await;
        assert_eq!((uuid, &reached.instance), (server.uuid(), server.registered.instance()));
        drop(server);
        gone(&mut watch).await;
    }
}

#[tokio::test]
async fn an_instance_that_proves_its_identity_does_so_before_the_first_request() {
    let registrar = Registrar::start().await;
    let server = Server::start_proving(&registrar.client, "feed", "/ip4/127.0.0.1/tcp/0").await;
    let ([host, uuid, _], reached) = fetch(&http(&registrar.client), "http://feed/").await;
    assert_eq!((host.as_str(), uuid), ("feed", server.uuid()));
    assert_eq!(reached.assurance, Assurance::Proved);
}

#[tokio::test]
async fn an_error_says_what_the_command_line_says() {
    let registrar = Registrar::start().await;
    let starting = Registration::new("young").endpoint("/unix/@young").unwrap();
    let starting = starting.state(State::Starting);
    let _young = registrar.client.register(starting).await.unwrap();
    let dead = Registration::new("dead").endpoint("/unix/run/no/dead.sock").unwrap();
    let _dead = registrar.client.register(dead).await.unwrap();
    let place = registrar.client.registrars().next().unwrap().to_string();

    let http = http(&registrar.client);
    for (uri, why) in [
        ("http://fed/", format!("no actor `fed` is registered at {place}")),
        ("http://young/", "no instance of `young` is ready: it has 1 starting".to_owned()),
        ("http://dead/", "`dead` is registered, and".to_owned()),
        ("http://feed:80/", "the registrar tells its port".to_owned()),
        ("http://a=2fb/", "a name cannot have".to_owned()),
    ] {
        let request = Request::get(uri).body(String::new()).unwrap();
        let error = http.request(request).await.unwrap_err();
        let cause = error.source().unwrap().to_string();
        assert!(cause.contains(&why), "{uri}: {cause}");
    }
}
