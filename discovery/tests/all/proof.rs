//! The instance that was meant answers, or the dial fails before any byte of the application is
//! sent.

use std::time::Duration;

use crate::support::{Running, actor, connect, soon};
use callsign_discovery::{
    Assurance, Client, Connection, DialOptions, FindError, NoneAnswered, Registered, Registration,
    connect_nearest,
};
use endpoints::Endpoint;
use portal::{Acceptor, Established, Identity, Options};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};
use transport::{Listener, Stream};
use wire::Hello;

/// An actor that proves its identity at its listener.
async fn proving(client: &Client, name: &str, listener: &Listener) -> Registered {
    let registration = Registration::new(name).endpoints(listener.published()).proves();
    soon(client.register(registration)).await.unwrap()
}

async fn loopback() -> Listener {
    Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse().unwrap()).await.unwrap()
}

/// Connects to `name` while `identity` answers at a listener.
async fn meet(
    client: &Client,
    name: &str,
    listener: &Listener,
    identity: &Identity,
) -> (Result<Connection, FindError>, Result<Established<Stream>, portal::HandshakeError>) {
    let found = async { soon(client.find_actor(name)).await.map(|it| it.expect("it is there")) };
    let answered = async {
        let caller = soon(listener.accept()).await.unwrap();
        soon(identity.accept(caller, &Options::default())).await
    };
    tokio::join!(found, answered)
}

fn none_answered(found: Result<Connection, FindError>) -> NoneAnswered {
    match found {
        Err(FindError::NoneAnswered(none)) => none,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_actor_proves_who_it_is_and_then_the_bytes_are_the_applications() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let listener = loopback().await;
    let feed = proving(&client, "feed", &listener).await;

    let (found, greeted) = meet(&client, "feed", &listener, feed.identity()).await;
    let (mut near, mut far) = (found.unwrap(), greeted.unwrap().into_stream());
    assert_eq!(near.assurance, Assurance::Proved);
    assert_eq!(near.peer.as_ref().unwrap().instance.as_ref(), Some(feed.instance()));
    near.write_all(b"bid?").await.unwrap();
    far.write_all(b"1.08").await.unwrap();
    let (mut asked, mut told) = ([0; 4], [0; 4]);
    far.read_exact(&mut asked).await.unwrap();
    near.read_exact(&mut told).await.unwrap();
    assert_eq!((&asked, &told), (b"bid?", b"1.08"));

    // Records alone have no challenge.
    let records = soon(client.query_ready("feed")).await.unwrap().records;
    let (options, identity) = (DialOptions::default(), feed.identity());
    let (claimed, _) = tokio::join!(connect_nearest(&records, &options), async {
        identity.accept(listener.accept().await.unwrap(), &Options::default()).await.unwrap()
    });
    assert_eq!(claimed.unwrap().assurance, Assurance::Claimed);
}

#[tokio::test]
async fn a_foreign_program_is_unproved() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let (listener, registration) = actor("chart").await;
    let _chart = soon(client.register(registration)).await.unwrap();
    let connection = soon(client.find_actor("chart")).await.unwrap().unwrap();
    assert_eq!((connection.assurance, connection.peer), (Assurance::Unproved, None));
    drop(listener);
}

#[tokio::test]
async fn another_actor_on_the_same_port_gets_nothing() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let listener = loopback().await;
    let feed = proving(&client, "feed", &listener).await;
    // The port passes to another actor of the same name while the first is still registered.
    let other = Identity::new(endpoints::InstanceId {
        name: feed.instance().name.clone(),
        uuid: uuid::Uuid::new_v4(),
    });

    let (found, greeted) = meet(&client, "feed", &listener, &other).await;
    let text = none_answered(found).to_string();
    assert!(text.contains(&format!("{} is there, not the actor", other.instance())), "{text}");
    let meant = feed.instance().to_string();
    assert_eq!(greeted.unwrap_err().to_string(), format!("the peer means {meant}"));
}

#[tokio::test]
async fn an_impostor_gets_no_byte_of_the_application() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let listener = loopback().await;
    let feed = proving(&client, "feed", &listener).await;
    let instance = feed.instance().clone();

    // An impostor knows everything that can be looked up, and even a proof made for itself.
    let hello = Hello { instance: Some(instance.clone()), ..Hello::default() };
    let options = Options { hello, ..Options::default() };
    let impostor = async {
        let caller = soon(listener.accept()).await.unwrap();
        portal::accept(caller, options, portal::NoService).await.map(drop)
    };
    let found = async { soon(client.find_actor("feed")).await.map(Option::unwrap) };
    let (found, answered) = tokio::join!(found, impostor);
    let text = none_answered(found).to_string();
    assert!(text.contains("claims to be the actor that was meant, and cannot prove it"), "{text}");
    answered.unwrap();
}

#[tokio::test]
async fn another_protocol_or_silence_gets_only_a_hello() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let check = async |name: &str, answer: &'static [u8], expected: &str| {
        let listener = loopback().await;
        let _actor = proving(&client, name, &listener).await;
        let heard = async {
            let mut caller = soon(listener.accept()).await.unwrap();
            caller.write_all(answer).await.unwrap();
            caller.shutdown().await.unwrap();
            let mut heard = Vec::new();
            // The caller may reset the connection once it knows enough.
            drop(caller.read_to_end(&mut heard).await);
            heard
        };
        let found = async { soon(client.find_actor(name)).await.map(Option::unwrap) };
        let (found, heard) = tokio::join!(found, heard);
        let text = none_answered(found).to_string();
        assert!(text.contains(expected), "{text}");
        assert!(heard.len() < 512, "a hello is short");
    };
    check(
        "web",
        b"HTTP/1.0 400 Bad Request\r\n\r\n",
        "the peer does not speak callsign's protocol",
    )
    .await;
    check("mute", b"", "the peer closed the connection during the handshake").await;
}

#[tokio::test]
async fn an_actor_stays_itself_while_its_registrar_starts_again() {
    let registrar = Running::at(&["/ip4/127.0.0.1/tcp/0".parse().unwrap()]).await;
    let client = connect([&registrar.endpoint]).await;
    let listener = loopback().await;
    let feed = proving(&client, "feed", &listener).await;
    for _ in 0..2 {
        let (found, greeted) = meet(&client, "feed", &listener, feed.identity()).await;
        assert_eq!(found.unwrap().assurance, Assurance::Proved);
        greeted.unwrap();
    }

    let endpoint: Endpoint = registrar.stop().await;
    let registrar = Running::at(&[endpoint]).await;
    registrar.until(|it| it.instances == 1).await;
    let (found, _) = meet(&client, "feed", &listener, feed.identity()).await;
    assert_eq!(found.unwrap().assurance, Assurance::Proved);
}

#[tokio::test]
async fn a_caller_that_is_faster_than_the_registrants_own_answer_waits_for_it() {
    let registrar = Running::start().await;
    let (near, far) = (connect([&registrar.endpoint]).await, connect([&registrar.endpoint]).await);
    // The caller waits for the name, so it learns of it together with the registrar.
    for round in 0..50 {
        let name = format!("feed-{round}");
        let listener = loopback().await;
        let (registered, connection) = tokio::join!(
            async {
                let registered = proving(&near, &name, &listener).await;
                let caller = soon(listener.accept()).await.unwrap();
                registered.identity().accept(caller, &Options::default()).await.unwrap();
                registered
            },
            async {
                soon(far.wait_for_actor(&name)).await.unwrap();
                soon(far.find_actor(&name)).await.unwrap().unwrap()
            }
        );
        assert_eq!(connection.assurance, Assurance::Proved);
        drop(registered);
    }
}

#[tokio::test]
async fn a_mute_caller_keeps_no_other_waiting() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let listener = loopback().await;
    let feed = proving(&client, "feed", &listener).await;
    let endpoint = listener.bound().clone();
    let _mute = transport::dial(&endpoint).await.unwrap();

    let options = Options { handshake_timeout: Duration::from_secs(60), ..Options::default() };
    let mut acceptor = Acceptor::new(listener, feed.identity().clone(), options);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let mut caller = acceptor.accept().await.into_stream();
            caller.write_all(b"1.08").await.unwrap();
        }
    });
    for _ in 0..3 {
        let mut connection = soon(client.find_actor("feed")).await.unwrap().unwrap();
        let mut told = String::new();
        soon(connection.read_to_string(&mut told)).await.unwrap();
        assert_eq!(told, "1.08");
    }
}
