//! Evidence against actors, and the registrar's conclusions: real sockets, and callers that err or
//! lie.

use std::time::Duration;

use callsign_discovery::{Change, Client, Registered, Registration};
use endpoints::{Endpoint, InstanceId, KernelId, RootId, SocketId, Stamped};
use tokio::task::JoinSet;
use transport::Listener;
use uuid::Uuid;
use wire::{
    Record, Suspicion,
    registrar::{Evidence, Report},
};

use crate::support::{Running, Sockets, actor, connect, nowhere, soon};

const ALL_EVIDENCE: [Evidence; 7] = [
    Evidence::Refused,
    Evidence::Missing,
    Evidence::NotASocket,
    Evidence::OtherIdentity,
    Evidence::TimedOut,
    Evidence::NoPermission,
    Evidence::Other,
];

#[tokio::test]
async fn no_caller_can_talk_a_healthy_actor_out_of_the_registry() {
    let (registrar, sockets) = (Running::start().await, Sockets::new());
    let client = connect([&registrar.endpoint]).await;
    // One instance proves its identity; foreign ones are there over each transport.
    let tcp = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse().unwrap()).await.unwrap();
    let path = Listener::bind(&sockets.endpoint("feed.sock")).await.unwrap();
    let proving = Listener::bind(&sockets.endpoint("proving.sock")).await.unwrap();
    let (memory, registration) = actor("feed").await;
    let foreign = registration.endpoints(tcp.published()).endpoints(path.published());
    let foreign = soon(client.register(foreign)).await.unwrap();
    let proving_one = Registration::new("feed").endpoints(proving.published()).proves();
    let proving_one = soon(client.register(proving_one)).await.unwrap();
    let mut actors = JoinSet::new();
    for listener in [tcp, path, memory] {
        actors.spawn(async move { while listener.accept().await.is_ok() {} });
    }
    let identity = proving_one.identity().clone();
    actors.spawn(async move {
        loop {
            let stream = proving.accept().await.unwrap();
            drop(identity.accept(stream, &portal::Options::default()).await);
        }
    });

    let liar = connect([&registrar.endpoint]).await;
    let mut watch = liar.watch("feed").unwrap();
    let before = records(&client, "feed").await;
    drop(soon(watch.next()).await);
    for _ in 0..50 {
        for record in &before {
            for stamped in &record.endpoints {
                for evidence in ALL_EVIDENCE {
                    liar.report(&report(record, stamped, evidence));
                }
            }
        }
    }
    // The last report is true. Its result shows that the earlier reports were checked.
    let sentinel = lease_of_the_dead(&client, &sockets).await;
    liar.report(&report(&sentinel, &sentinel.endpoints[0], Evidence::Refused));
    registrar.until(|it| it.instances == 2).await;
    suspicion(&client, &foreign, |it| it.is_none()).await;
    suspicion(&client, &proving_one, |it| it.is_none()).await;
    assert_eq!(records(&client, "feed").await, before, "nothing has changed");

    let marker = soon(client.register(nowhere("feed", 1))).await.unwrap();
    loop {
        match soon(watch.next()).await.unwrap() {
            Change::Remove { instance, .. } => panic!("{instance} was removed"),
            Change::Add { record } if record.uuid == marker.instance().uuid => break,
            Change::Update { record } => {
                let is_same =
                    |it: &&Record| it.uuid == record.uuid && it.endpoints == record.endpoints;
                assert!(before.iter().any(|it| is_same(&it)), "{record:?}");
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_silent_endpoint_makes_no_instance_suspect_that_listens_at_another() {
    let (registrar, sockets) = (Running::start().await, Sockets::new());
    let client = connect([&registrar.endpoint]).await;
    let caller = connect([&registrar.endpoint]).await;
    let local = || "/ip4/127.0.0.1/tcp/0".parse::<Endpoint>().unwrap();
    let port = Listener::bind(&local()).await.unwrap();
    let path = Listener::bind(&sockets.endpoint("feed.sock")).await.unwrap();
    let mut dead = Vec::<Stamped>::new();
    for _ in 0..2 {
        let silent = Listener::bind(&local()).await.unwrap();
        dead.push(silent.published()[0].clone());
    }

    let registration = |dead: &Stamped, it: &Listener| {
        Registration::new("feed").endpoints([dead.clone()]).endpoints(it.published())
    };
    let session = soon(client.register(registration(&dead[0], &path))).await.unwrap();
    let lease = registration(&dead[1], &port).lease(Duration::from_secs(60));
    let lease = soon(client.register(lease)).await.unwrap().leave();
    for record in records(&caller, "feed").await {
        for evidence in [Evidence::Refused, Evidence::TimedOut] {
            for silent in record.endpoints.iter().filter(|it| dead.contains(it)) {
                caller.report(&report(&record, silent, evidence));
            }
        }
    }
    let sentinel = lease_of_the_dead(&client, &sockets).await;
    caller.report(&report(&sentinel, &sentinel.endpoints[0], Evidence::Refused));
    registrar.until(|it| it.instances == 2).await;
    for instance in [session.instance(), &lease] {
        until_record(&caller, instance, |it| it.endpoints.len() == 2).await;
        let records = records(&caller, "feed").await;
        let record = records.iter().find(|it| it.uuid == instance.uuid).unwrap();
        assert_eq!(record.suspicion, None);
    }

    // One that listens nowhere any more is suspect.
    drop(path);
    let records = records(&caller, "feed").await;
    let record = records.iter().find(|it| it.uuid == session.instance().uuid).unwrap();
    caller.report(&report(record, &dead[0], Evidence::Refused));
    suspicion(&caller, &session, |it| it.is_some()).await;
}

#[tokio::test]
async fn the_registrant_confirms_what_the_registrar_cannot_judge() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let elsewhere = "/ip4/127.0.0.1/tcp/1".parse::<Endpoint>().unwrap();
    let mut stamped = Stamped { stamp: transport::stamp(&elsewhere), endpoint: elsewhere };
    // The stamp of an actor on another kernel, where the registrar cannot look.
    stamped.stamp.kernel = stamped.stamp.kernel.map(|it| KernelId(!it.0));
    let far = soon(client.register(Registration::new("far").endpoints([stamped.clone()]))).await;
    let _far = far.unwrap();

    let caller = connect([&registrar.endpoint]).await;
    let mut watch = caller.watch("far").unwrap();
    let record = records(&caller, "far").await.remove(0);
    for _ in 0..3 {
        caller.report(&report(&record, &stamped, Evidence::TimedOut));
        let suspicion = loop {
            match soon(watch.next()).await.unwrap() {
                Change::Update { record } => break record.suspicion,
                Change::Remove { .. } => panic!("it was removed"),
                _ => {}
            }
        };
        assert_eq!(suspicion.map(|it| it.reports), Some(1));
        let cleared = soon(watch.next()).await.unwrap();
        assert!(matches!(cleared, Change::Update { record } if record.suspicion.is_none()));
    }
}

#[tokio::test]
async fn of_files_that_it_may_not_see_the_registrar_does_not_judge() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let nowhere = "/unix/nowhere/feed.sock".parse::<Endpoint>().unwrap();
    let mut stamped = Stamped { stamp: transport::stamp(&nowhere), endpoint: nowhere };
    // The stamp of an actor in another mount namespace of this kernel.
    stamped.stamp.socket = Some(SocketId { dev: 1, ino: 2, born_ns: None });
    stamped.stamp.root = stamped.stamp.root.map(|it| RootId(!it.0));
    let far = Registration::new("far").endpoints([stamped]).lease(Duration::from_secs(60));
    drop(soon(client.register(far)).await.unwrap().leave());
    let dead = records(&client, "far").await.remove(0);
    for reports in 1..=3 {
        client.report(&report(&dead, &dead.endpoints[0], Evidence::Missing));
        let is_counted = |it: &Record| it.suspicion.is_some_and(|it| it.reports == reports);
        until_record(&client, &dead.instance(), is_counted).await;
    }
}

#[tokio::test]
async fn a_silent_instance_stays_suspect_and_is_counted() {
    let registrar = Running::start().await;
    let stream = transport::dial(&registrar.endpoint).await.unwrap();
    let connected = portal::connect(stream, portal::Options::default(), portal::NoService);
    let portal::Connected { portal, driver } = connected.await.unwrap();
    let mut drivers = JoinSet::new();
    drivers.spawn(driver);
    let elsewhere = "/ip4/127.0.0.1/tcp/1".parse::<Endpoint>().unwrap();
    let mut stamped = Stamped { stamp: transport::stamp(&elsewhere), endpoint: elsewhere };
    stamped.stamp.kernel = stamped.stamp.kernel.map(|it| KernelId(!it.0));
    let register = wire::registrar::Register {
        endpoints: vec![stamped.clone()],
        ..wire::registrar::Register::new("far".parse().unwrap(), Uuid::from_u128(7))
    };
    let registered = portal
        .call::<wire::registrar::Registered>(portal::Request::new(
            wire::registrar::REGISTER,
            &register,
        ))
        .await;
    assert_eq!(registered.unwrap().lost, None);

    let caller = connect([&registrar.endpoint]).await;
    let record = records(&caller, "far").await.remove(0);
    for reports in 1..=3 {
        caller.report(&report(&record, &stamped, Evidence::TimedOut));
        let is_counted =
            |it: &Record| it.suspicion.is_some_and(|it| it.reports == reports && !it.silent);
        until_record(&caller, &record.instance(), is_counted).await;
    }
}

#[tokio::test]
async fn a_registrant_disowns_a_socket_that_is_not_its_own_any_more() {
    let (registrar, sockets) = (Running::start().await, Sockets::new());
    let client = connect([&registrar.endpoint]).await;
    let caller = connect([&registrar.endpoint]).await;
    let tcp = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse().unwrap()).await.unwrap();
    let path = Listener::bind(&sockets.endpoint("feed.sock")).await.unwrap();
    let feed = Registration::new("feed").endpoints(tcp.published()).endpoints(path.published());
    let feed = soon(client.register(feed)).await.unwrap();
    let before = records(&caller, "feed").await.remove(0);
    let [at_tcp, at_path] = &before.endpoints[..] else { panic!("{before:?}") };

    // Another program has taken its path without its notice.
    drop(path);
    let _other = Listener::bind(&sockets.endpoint("feed.sock")).await.unwrap();
    caller.report(&report(&before, at_path, Evidence::OtherIdentity));
    let is_left = |it: &Record| it.endpoints == [at_tcp.clone()] && it.suspicion.is_none();
    until_record(&caller, feed.instance(), is_left).await;

    // Nobody listens at the other endpoint; the process lives, and may listen there again.
    drop(tcp);
    caller.report(&report(&before, at_tcp, Evidence::Refused));
    suspicion(&caller, &feed, |it| it.is_some_and(|it| it.reports == 1)).await;

    // It binds again, and is found by its name again.
    let tcp = Listener::bind(&at_tcp.endpoint).await.unwrap();
    soon(feed.update_endpoints(tcp.published())).await.unwrap();
    caller.report(&report(&before, at_tcp, Evidence::Refused));
    suspicion(&caller, &feed, |it| it.is_none()).await;
}

fn report(record: &Record, stamped: &Stamped, evidence: Evidence) -> Report {
    let Record { uuid, epoch, .. } = *record;
    Report { uuid, epoch, endpoint: stamped.endpoint.clone(), evidence }
}

async fn records(client: &Client, name: &str) -> Vec<Record> {
    soon(client.query_all(name)).await.unwrap().records
}

/// Asks for the record of an instance until it is as expected.
async fn until_record(client: &Client, instance: &InstanceId, wanted: impl Fn(&Record) -> bool) {
    soon(async {
        loop {
            let records = client.query_all(instance.name.as_str()).await.unwrap().records;
            let record = records.iter().find(|it| it.uuid == instance.uuid);
            if wanted(record.expect("it is still there")) {
                return;
            }
        }
    })
    .await;
}

/// Waits until the suspicion of an actor is as expected.
async fn suspicion(
    client: &Client,
    registered: &Registered,
    wanted: impl Fn(Option<Suspicion>) -> bool,
) {
    until_record(client, registered.instance(), |it| wanted(it.suspicion)).await;
}

/// Registers a dead actor with a lease.
async fn lease_of_the_dead(client: &Client, sockets: &Sockets) -> Record {
    let died = Listener::bind(&sockets.endpoint("died.sock")).await.unwrap();
    let lease = Duration::from_secs(60);
    let dead = Registration::new("dead").endpoints(died.published()).lease(lease);
    drop(soon(client.register(dead)).await.unwrap().leave());
    drop(died);
    records(client, "dead").await.remove(0)
}
