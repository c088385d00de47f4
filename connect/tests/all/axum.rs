//! Listeners that axum serves, and what a handler learns of its caller.

use std::{os::unix::net::UnixStream, process};

use axum::serve;
use http::Uri;
use rustix::process::geteuid;
use transport::{Listener, Peer};

use crate::support::{Registrar, Server, fetch, http};

#[tokio::test]
async fn a_handler_learns_who_calls() {
    let registrar = Registrar::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| format!("/unix{}/{name}", folder.path().display());
    let http = http(&registrar.client);
    let me = format!("process {} of user {}", process::id(), geteuid().as_raw());

    let plain = Server::start(&registrar.client, "plain", &path("plain")).await;
    let ([_, uuid, caller], _) = fetch(&http, Uri::from_static("http://plain/")).await;
    assert_eq!((uuid, caller), (plain.uuid(), me.clone()));

    let proving = Server::start_proving(&registrar.client, "proving", &path("proving")).await;
    let ([_, uuid, caller], _) = fetch(&http, Uri::from_static("http://proving/")).await;
    let agent = concat!("callsign/", env!("CARGO_PKG_VERSION"));
    assert_eq!((uuid, caller), (proving.uuid(), format!("{me}, which calls itself {agent}")));

    let _tcp = Server::start(&registrar.client, "tcp", "/ip4/127.0.0.1/tcp/0").await;
    let ([_, _, caller], _) = fetch(&http, Uri::from_static("http://tcp/")).await;
    assert!(caller.starts_with("127.0.0.1:"), "{caller}");
}

#[tokio::test]
async fn a_listener_tells_its_own_place_as_its_callers_see_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feed.sock");
    let endpoint = format!("/unix{}", path.display()).parse().unwrap();
    let mut listener = Listener::bind(&endpoint).await.unwrap();
    let _caller = UnixStream::connect(&path).unwrap();
    let (_stream, peer) = serve::Listener::accept(&mut listener).await;
    let me = process::id().cast_signed();
    assert!(matches!(peer, Peer::Unix { pid: Some(pid), .. } if pid == me), "{peer}");
    assert_eq!(serve::Listener::local_addr(&listener).unwrap(), peer);

    let tcp = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse().unwrap()).await.unwrap();
    let Peer::Tcp(address) = serve::Listener::local_addr(&tcp).unwrap() else { panic!("no TCP") };
    std::net::TcpStream::connect(address).unwrap();
    let memory = Listener::bind(&"/memory/0".parse().unwrap()).await.unwrap();
    assert_eq!(serve::Listener::local_addr(&memory).unwrap(), Peer::Memory);
}
