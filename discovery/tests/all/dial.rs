//! From a name to a connection, over the nearest endpoint that answers.

use std::time::Duration;

use crate::support::{Running, Sockets, actor, connect, nowhere, soon};
use callsign_discovery::{
    DialOptions, FindError, Located, MemorySource, Outcome, Registration, Resolve, TableSource,
    connect_first, connect_nearest, dial, probe,
};
use endpoints::{Endpoint, EndpointTable, Locality, Name, Stamped, Unreachable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use transport::Listener;

fn table(actors: &[(&str, &str)]) -> EndpointTable {
    let mut table = EndpointTable::default();
    for (name, endpoint) in actors {
        table.insert(Name::new(name).unwrap(), [endpoint.parse().unwrap()]);
    }
    table
}

#[tokio::test]
async fn the_nearest_endpoint_is_connected() {
    let (registrar, sockets) = (Running::start().await, Sockets::new());
    let client = connect([&registrar.endpoint]).await;
    let tcp = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse().unwrap()).await.unwrap();
    let unix = Listener::bind(&sockets.endpoint("feed.sock")).await.unwrap();
    let feed = Registration::new("feed").endpoints(tcp.published()).endpoints(unix.published());
    let _feed = soon(client.register(feed)).await.unwrap();

    let mut connection = soon(client.find_actor("feed")).await.unwrap().unwrap();
    assert_eq!(connection.endpoint, *unix.bound());
    assert_eq!(connection.locality, Locality::UnixSocket);
    let mut accepted = soon(unix.accept()).await.unwrap();
    connection.write_all(b"hello").await.unwrap();
    let mut heard = [0; 5];
    accepted.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");

    assert!(soon(client.find_actor("broker")).await.unwrap().is_none());
}

#[tokio::test]
async fn silent_endpoints_are_skipped_and_reported() {
    let (registrar, sockets) = (Running::start().await, Sockets::new());
    let client = connect([&registrar.endpoint]).await;
    let (listener, well) = actor("feed").await;
    let well = soon(client.register(well)).await.unwrap();
    // A newer instance has died silently; its lease has not expired.
    let died = Listener::bind(&sockets.endpoint("died.sock")).await.unwrap();
    let dead = Registration::new("feed").endpoints(died.published()).lease(Duration::from_secs(60));
    let dead = soon(client.register(dead)).await.unwrap().leave();
    drop(died);

    let newest = soon(client.query_actor("feed")).await.unwrap().unwrap();
    assert_eq!(newest.uuid, dead.uuid);
    let connection = soon(client.find_actor("feed")).await.unwrap().unwrap();
    assert_eq!(connection.record.instance(), *well.instance());
    assert_eq!(connection.endpoint, *listener.bound());
    let verdict = &connection.explanation.candidates[1].verdict;
    assert_eq!(*verdict, Err(Unreachable::Missing));
    // The registrar has looked, and found it dead.
    registrar.until(|it| it.instances == 1).await;
}

#[tokio::test]
async fn a_looked_up_actor_can_be_dialed_later() {
    let (registrar, sockets) = (Running::start().await, Sockets::new());
    let client = connect([&registrar.endpoint]).await;
    let listener = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse().unwrap()).await.unwrap();
    let well = Registration::new("feed").endpoints(listener.published());
    let well = soon(client.register(well)).await.unwrap();
    let dies = Listener::bind(&sockets.endpoint("dies.sock")).await.unwrap();
    let dead = Registration::new("feed").endpoints(dies.published()).lease(Duration::from_secs(60));
    let dead = soon(client.register(dead)).await.unwrap().leave();
    let far = soon(client.register(nowhere("feed", 700_005))).await.unwrap();

    let located = soon(client.locate_actor("feed")).await.unwrap();
    let uuids: Vec<_> = located.iter().map(|it| it.record().uuid).collect();
    // A socket is nearer than a port; unreachable endpoints come last.
    assert_eq!(uuids, [dead.uuid, well.instance().uuid, far.instance().uuid]);
    drop(dies);
    let connected = soon(connect_first(located, Located::connect)).await.unwrap();
    assert_eq!(connected.record.instance(), *well.instance());
    assert_eq!(connected.endpoint, *listener.bound());
    // The registrar has looked, and found it dead.
    registrar.until(|it| it.instances == 2).await;

    drop(listener);
    let located = soon(client.locate_actor("feed")).await.unwrap();
    let errors = soon(connect_first(located, Located::connect)).await.unwrap_err();
    let lines: Vec<_> = errors.iter().map(|it| it.to_string().lines().count()).collect();
    assert_eq!(lines, [2, 2], "each has a reason");
    assert!(soon(client.locate_actor("fed")).await.unwrap().is_empty());
}

#[tokio::test]
async fn when_nothing_answers_every_candidate_is_told() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let here = transport::stamp(&Endpoint::Memory(1)).kernel;
    let refused = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse().unwrap()).await.unwrap();
    let endpoints = refused.published();
    let refused_at = refused.bound().clone();
    drop(refused);
    let feed = nowhere("feed", 700_004).endpoints(endpoints);
    let _feed = soon(client.register(feed)).await.unwrap();

    let error = soon(client.find_actor("feed")).await.unwrap_err();
    let text = error.to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "`feed` is registered, and does not answer:");
    let refusal = format!("  {refused_at} (loopback): connection refused: nobody listens there (");
    assert!(lines[1].starts_with(&refusal), "{text}");
    let left_out = "  /memory/700004 (left out): its registrant did not say where it is";
    assert_eq!(lines[2], left_out);
    assert!(here.is_some() && matches!(error, FindError::NoneAnswered(_)));

    let _far = soon(client.register(nowhere("far", 700_004))).await.unwrap();
    let error = soon(client.find_actor("far")).await.unwrap_err().to_string();
    let expected = format!("`far` is registered, and cannot be reached from here:\n{left_out}");
    assert_eq!(error, expected);
    let _empty = soon(client.register(Registration::new("empty"))).await.unwrap();
    let error = soon(client.find_actor("empty")).await.unwrap_err().to_string();
    assert_eq!(error, "the actor is registered without an endpoint");
}

#[tokio::test]
async fn another_socket_on_the_same_path_is_never_dialed() {
    let sockets = Sockets::new();
    let endpoint = sockets.endpoint("feed.sock");
    let meant = Listener::bind(&endpoint).await.unwrap();
    let source = MemorySource::default();
    let mut record = TableSource::new(&table(&[("feed", &endpoint.to_string())]))
        .resolve(&Name::new("feed").unwrap())
        .await
        .unwrap()
        .remove(0);
    record.endpoints = meant.published().into();
    source.insert(record.clone());
    let options = DialOptions::default();
    let name = Name::new("feed").unwrap();
    assert!(soon(dial::find(&source, &name, &options)).await.unwrap().is_some());
    soon(meant.accept()).await.unwrap();
    drop(meant);

    let impostor = Listener::bind(&endpoint).await.unwrap();
    let error = soon(dial::find(&source, &name, &options)).await.unwrap_err();
    let FindError::NoneAnswered(none) = error else { panic!("{error}") };
    let candidate = &none.explanation.candidates[0];
    assert_eq!(candidate.verdict, Err(Unreachable::OtherSocket));
    assert!(matches!(candidate.outcome, Outcome::NotDialed));
    let accepted = tokio::time::timeout(Duration::from_millis(20), impostor.accept()).await;
    assert!(accepted.is_err(), "nobody has come");

    assert_eq!(source.remove(record.uuid).unwrap(), record);
    assert!(soon(dial::find(&source, &name, &options)).await.unwrap().is_none());
}

#[tokio::test]
async fn a_table_is_a_source_too() {
    let sockets = Sockets::new();
    let here = Listener::bind(&sockets.endpoint("feed.sock")).await.unwrap();
    let endpoint = here.bound().to_string();
    let source = table(&[("feed", &endpoint), ("broker", "/unix/run/missing.sock")]);
    let source = TableSource::new(&source);
    let options = DialOptions::default();

    let find =
        async |name: &str| soon(dial::find(&source, &Name::new(name).unwrap(), &options)).await;
    assert_eq!(find("feed").await.unwrap().unwrap().endpoint, *here.bound());
    assert!(find("risk").await.unwrap().is_none());
    assert!(matches!(find("broker").await, Err(FindError::NoneAnswered(_))));
}

#[tokio::test]
async fn a_probe_tells_how_each_candidate_does() {
    let (listener, _) = actor("feed").await;
    let source = TableSource::new(&table(&[("feed", "/memory/700005")]));
    let mut records = source.resolve(&Name::new("feed").unwrap()).await.unwrap();
    records[0].endpoints.extend(listener.published());
    records[0].endpoints.push(Stamped::bare("/unix/run/feed.sock".parse().unwrap()));
    let explanation = soon(probe(&records, &DialOptions::default())).await;
    let lines: Vec<_> = explanation.to_string().lines().map(str::to_owned).collect();
    let expected = [
        "  /memory/700005 (in process): connection refused: nobody listens there (",
        &format!("  {} (in process): connected in ", listener.bound()),
        "  /unix/run/feed.sock (left out): its registrant did not say where it is",
    ];
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}");
    }
    assert!(soon(connect_nearest(&records, &DialOptions::default())).await.is_ok());
}
