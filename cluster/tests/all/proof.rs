//! Proof of identity across nodes.

use std::time::Duration;

use discovery::{Client, Registration};
use endpoints::Stamped;
use portal::Acceptor;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinSet,
    time::timeout,
};
use transport::Listener;
use wire::registrar::Register;

use crate::{
    etcd::Etcd,
    node::{LIMIT, registration, rome_and_oslo},
};

#[tokio::test]
async fn an_asker_at_another_node_has_an_instance_prove_itself() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let (rome, oslo, mut watcher) = rome_and_oslo(&etcd).await;
    let at_rome = Client::connect([rome.endpoint.to_string()]).await.unwrap();
    let at_oslo = Client::connect([oslo.endpoint.to_string()]).await.unwrap();

    let listener = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse().unwrap()).await.unwrap();
    let feed = Registration::new("feed").endpoints(listener.published()).proves();
    let feed = at_rome.register(feed).await.unwrap();
    let mut tasks = JoinSet::new();
    let identity = feed.identity().clone();
    tasks.spawn(async move {
        let mut acceptor = Acceptor::new(listener, identity, Default::default());
        let mut caller = acceptor.accept().await.into_stream();
        caller.write_all(b"a quote").await.unwrap();
        caller.shutdown().await.unwrap();
    });
    while !watcher.next().await.starts_with("add feed") {}
    let connection = timeout(LIMIT, at_oslo.find_actor("feed")).await.unwrap();
    let mut connection = connection.unwrap().expect("it is there");
    assert!(connection.record.proves, "it is asked to prove itself");
    let mut quote = String::new();
    connection.read_to_string(&mut quote).await.unwrap();
    assert_eq!(quote, "a quote");

    // Whoever listens there instead cannot.
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = other.local_addr().unwrap().port();
    let client = rome.client();
    let endpoint = Stamped {
        stamp: transport::stamp(&"/ip4/127.0.0.1/tcp/1".parse().unwrap()),
        endpoint: format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap(),
    };
    let liar = Register { endpoints: vec![endpoint], proves: true, ..registration("liar", 7) };
    client.register(liar).unwrap();
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = other.accept().await {
            drop(stream.write_all(b"a quote").await);
            drop(timeout(Duration::from_secs(1), stream.read(&mut [0; 1024])).await);
        }
    });
    while !watcher.next().await.starts_with("add liar") {}
    let connection = timeout(LIMIT, at_oslo.find_actor("liar")).await.unwrap();
    assert!(!matches!(connection, Ok(Some(_))), "nobody proves to be that one");
}
