//! Actors over TLS: they are found, prove who they are, and nobody in between takes their place.

use std::fs;

use discovery::{Assurance, Client, FindError, Registered, Registration};
use futures_util::future::join_all;
use portal::{Identity, Options, ProveError};
use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    runtime::Builder,
    time::timeout,
};
use transport::{Listener, Stream, TlsFiles, dial, set_tls};

use crate::{
    harness::{LIMIT, Node, Room, rounds},
    tls::{TLS, authority, settings},
};

/// Runs a dialogue between actors of this process, which all show the certificate of one node.
fn with_certificate(work: impl AsyncFn(&Client)) {
    let room = Room::new();
    authority(&room, "keys");
    let [ca, certificate, key] =
        ["ca.pem", "node.pem", "node.key"].map(|it| room.file("keys").join(it));
    set_tls(TlsFiles { ca, certificate, key }).unwrap();
    let node = Node::start(&room);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::connect([node.endpoint()]).await.unwrap();
        timeout(LIMIT, work(&client)).await.unwrap();
    });
}

async fn listener(endpoint: &str) -> Listener {
    Listener::bind(&endpoint.parse().unwrap()).await.unwrap()
}

/// Registers an actor that is said to be where one of them listens.
async fn registered(client: &Client, name: &str, listener: &Listener) -> Registered {
    let registration = Registration::new(name).endpoints(listener.published()).proves();
    client.register(registration).await.unwrap()
}

/// Answers one caller as an actor, and returns what the application gets.
async fn answer(identity: &Identity, listener: &Listener) -> Vec<u8> {
    let caller = listener.accept().await.unwrap();
    let Ok(greeted) = identity.accept(caller, &Options::default()).await else {
        return Vec::new();
    };
    let mut stream = greeted.into_stream();
    let mut heard = Vec::new();
    // It ends with the caller, however that ends.
    drop(stream.read_to_end(&mut heard).await);
    heard
}

/// Says something to the actor that is found.
async fn call(client: &Client, name: &str) -> Result<Assurance, FindError> {
    let mut found = client.find_actor(name).await?.expect("it is registered");
    found.write_all(b"the payload").await.unwrap();
    found.shutdown().await.unwrap();
    Ok(found.assurance)
}

/// Takes one caller, and passes everything on to the actor.
async fn relay(near: &Listener, far: &Listener) {
    let mut caller = near.accept().await.unwrap();
    let mut actor: Stream = dial(far.bound()).await.unwrap();
    // It ends with either side.
    drop(copy_bidirectional(&mut caller, &mut actor).await);
}

#[test]
fn an_actor_proves_who_it_is_over_tls() {
    with_certificate(async |client| {
        let own = listener(TLS).await;
        let feed = registered(client, "feed", &own).await;
        let (called, heard) = tokio::join!(call(client, "feed"), answer(feed.identity(), &own));
        assert_eq!(called.unwrap(), Assurance::Proved);
        assert_eq!(heard, b"the payload");
    });
}

/// The relay has a certificate that the caller trusts, for the very host, and a connection to the
/// actor. The proof that it passes on is that of its own connection.
#[test]
fn a_relay_gets_no_payload() {
    with_certificate(async |client| {
        for actors in [TLS, "/ip4/127.0.0.1/tcp/0"] {
            let (between, own) = (listener(TLS).await, listener(actors).await);
            let name = if actors == TLS { "over-tls" } else { "without" };
            // The caller is led to the relay.
            let feed = registered(client, name, &between).await;
            let (called, heard, ()) = tokio::join!(
                call(client, name),
                answer(feed.identity(), &own),
                relay(&between, &own),
            );
            let Err(FindError::NoneAnswered(none)) = called else { panic!("{called:?}") };
            let said = ProveError::NoProof.to_string();
            assert!(none.to_string().contains(&said), "{none}");
            assert_eq!(heard, b"");
        }
    });
}

/// The certificates of the registrar and of its client change all the time, and no look-up fails: of
/// a client that stays connected, nor of those that come.
#[test]
fn look_ups_go_on_while_certificates_change() {
    let room = Room::new();
    authority(&room, "keys");
    for other in ["second", "third"] {
        let issue = ["keys", "issue", "keys", other, "--host", "127.0.0.1"];
        room.callsign(&issue).succeeds();
    }
    fs::create_dir(room.file("now")).unwrap();
    let put = |name: &str| {
        for end in ["pem", "key"] {
            let new = room.file("now/new");
            fs::copy(room.file(&format!("keys/{name}.{end}")), &new).unwrap();
            fs::rename(new, room.file(&format!("now/node.{end}"))).unwrap();
        }
    };
    fs::copy(room.file("keys/ca.pem"), room.file("now/ca.pem")).unwrap();
    put("node");
    settings(&room, "node.toml", "now", "node");
    let [ca, certificate, key] =
        ["ca.pem", "node.pem", "node.key"].map(|it| room.file("now").join(it));
    let files = TlsFiles { ca, certificate, key };
    set_tls(files.clone()).unwrap();
    let node = Node::start_with(&room, &[TLS], &["--config", "node.toml"]);
    let at = node.endpoint().parse().unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let asked = async {
        let stays = Client::connect([node.endpoint()]).await.unwrap();
        let rotations = rounds(100);
        let mut asked = 0;
        for round in 0..rotations {
            let name = ["second", "third", "node"][round % 3];
            put(name);
            // Both sides would read the files within half a second, and do so at once.
            set_tls(files.clone()).unwrap();
            node.process().signal(Signal::HUP);
            let expected = format!("spiffe://callsign.internal/{name}");
            loop {
                // Those that come are as many, while the registrar has one certificate or the other.
                let seen = dial(&at).await.unwrap().certified_name().unwrap();
                let comes = Client::connect([node.endpoint()]).await.unwrap();
                for client in [&stays, &comes] {
                    let look_ups = (0..50).map(|_| client.query_actor("nobody"));
                    for answer in join_all(look_ups).await {
                        assert!(answer.unwrap().is_none());
                        asked += 1;
                    }
                }
                if seen == expected {
                    break;
                }
            }
        }
        assert!(asked >= 100 * rotations, "{asked} look-ups");
    };
    runtime.block_on(async { timeout(LIMIT, asked).await.unwrap() });
}
