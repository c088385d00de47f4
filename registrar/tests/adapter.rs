//! Two protocols at one endpoint.
#![expect(clippy::unwrap_used, reason = "a test may unwrap")]

use std::{sync::Arc, time::Duration};

use callsign_registrar::{
    Accepted, Node, NodeOptions, ProtocolAdapter, Recognised, RegistryHandle, Serving,
};
use endpoints::Endpoint;
use portal::{NoService, Options, connect};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use transport::dial;

/// Recognises `hey`, and echoes it with the rest until it is told to stop.
#[derive(Debug)]
struct Hey;

impl ProtocolAdapter for Hey {
    fn serves(&self, endpoint: &Endpoint) -> bool {
        !matches!(endpoint, Endpoint::Memory(_))
    }

    fn recognises(&self, first_bytes: &[u8]) -> Recognised {
        match first_bytes {
            [b'h', b'e', b'y', ..] => Recognised::Yes,
            it if b"hey".starts_with(it) => Recognised::NeedMore,
            _ => Recognised::No,
        }
    }

    fn serve(&self, accepted: Accepted) -> Serving {
        Box::pin(async move {
            let Accepted { mut stream, session, stop } = accepted;
            let mut heard = [0; 5];
            stream.read_exact(&mut heard).await.unwrap();
            stream.write_all(&heard).await.unwrap();
            stop.cancelled().await;
            drop(session);
        })
    }

    fn run(&self, _: RegistryHandle) -> Serving {
        Box::pin(async {})
    }
}

#[tokio::test]
async fn each_protocol_is_told_by_its_first_bytes() {
    let adapters: Vec<Arc<dyn ProtocolAdapter>> = vec![Arc::new(Hey)];
    let handshake_timeout = Duration::from_secs(1);
    let options = NodeOptions { adapters, handshake_timeout, ..NodeOptions::default() };
    let node = Node::bind(&["/ip4/127.0.0.1/tcp/0".parse().unwrap()], options).await.unwrap();
    let (endpoint, registry) = (node.endpoints()[0].clone(), node.registry().clone());
    let stop = CancellationToken::new();
    let mut serving = JoinSet::new();
    serving.spawn(node.serve(stop.clone()));

    // All in one write, and byte by byte.
    let mut visits = Vec::new();
    for part in [5, 1] {
        let mut stream = dial(&endpoint).await.unwrap();
        for bytes in b"hey 1".chunks(part) {
            stream.write_all(bytes).await.unwrap();
        }
        let mut heard = [0; 5];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hey 1");
        visits.push(stream);
    }
    assert_eq!(registry.status().sessions, 2);

    let stream = dial(&endpoint).await.unwrap();
    let connected = connect(stream, Options::default(), NoService).await.unwrap();
    assert_eq!(connected.portal.peer().registrar, Some(registry.registrar()));

    // Unknown protocols, and peers that send too little for too long, are turned away.
    for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"he", b""] {
        let mut stream = dial(&endpoint).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut heard = Vec::new();
        let read = timeout(Duration::from_secs(240), stream.read_to_end(&mut heard)).await.unwrap();
        assert!(read.is_err() || heard.is_empty(), "{heard:?}");
    }
    stop.cancel();
    timeout(Duration::from_secs(240), serving.join_next()).await.unwrap();
}

/// An adapter whose own work panics.
#[derive(Debug)]
struct Panicking;

impl ProtocolAdapter for Panicking {
    fn serves(&self, _: &Endpoint) -> bool {
        true
    }

    fn recognises(&self, _: &[u8]) -> Recognised {
        Recognised::No
    }

    fn serve(&self, _: Accepted) -> Serving {
        Box::pin(async {})
    }

    fn run(&self, _: RegistryHandle) -> Serving {
        Box::pin(async { panic!("the log cannot be written") })
    }
}

#[tokio::test]
async fn a_part_that_panics_does_not_leave_a_node_behind_that_looks_well() {
    let adapters: Vec<Arc<dyn ProtocolAdapter>> = vec![Arc::new(Hey), Arc::new(Panicking)];
    let options = NodeOptions { adapters, ..NodeOptions::default() };
    let node = Node::bind(&[Endpoint::Memory(0)], options).await.unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(node.serve(CancellationToken::new()));
    let ended = timeout(Duration::from_secs(240), serving.join_next()).await.unwrap();
    assert!(ended.unwrap().unwrap_err().is_panic());
}
