//! A registrar and an actor within one process.

use discovery::{Client, Registration};
use endpoints::Endpoint;
use registrar::{Node, NodeOptions};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use transport::Listener;

use crate::harness::LIMIT;

#[tokio::test]
async fn an_actor_is_found_within_its_process() {
    timeout(LIMIT, async {
        let node = Node::bind(&[Endpoint::Memory(0)], NodeOptions::default()).await.unwrap();
        let registrar = node.endpoints()[0].clone();
        let listener = Listener::bind(&Endpoint::Memory(0)).await.unwrap();
        let endpoint = listener.bound().clone();
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(node.serve(stop.clone()));
        tasks.spawn(async move {
            let mut stream = listener.accept().await.unwrap();
            stream.write_all(b"hello").await.unwrap();
        });

        let client = Client::connect([registrar]).await.unwrap();
        assert!(client.find_actor("greeter").await.unwrap().is_none());
        let registration = Registration::new("greeter").endpoint(&endpoint).unwrap();
        let kept = client.register(registration).await.unwrap();
        let mut connection = client.find_actor("greeter").await.unwrap().unwrap();
        assert_eq!(connection.endpoint, endpoint);
        let mut heard = String::new();
        connection.stream.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "hello");

        kept.unregister().await;
        assert!(client.query_actor("greeter").await.unwrap().is_none());
        client.close().await;
        stop.cancel();
        let ended = async { while tasks.join_next().await.is_some() {} };
        timeout(LIMIT, ended).await.unwrap();
    })
    .await
    .unwrap();
}
