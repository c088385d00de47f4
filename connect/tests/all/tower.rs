//! The instances of a name, and load balanced over them.

use std::{collections::BTreeSet, convert::Infallible};

use callsign_connect::{
    hyper::Connector,
    tower::{Instance, Instances},
};
use discovery::{Client, Registration};
use futures_util::StreamExt;
use http::Request;
use hyper_util::{client::legacy, rt::TokioExecutor};
use tower::{
    Service, ServiceExt,
    balance::p2c::Balance,
    discover::Change,
    load::{CompleteOnResponse, PendingRequestsDiscover},
};
use uuid::Uuid;
use wire::State;

use crate::support::{Registrar, Server, words};

#[tokio::test]
async fn instances_come_and_go() {
    let registrar = Registrar::start().await;
    let mut instances =
        Instances::new(&registrar.client, "feed", |it: Instance| it.record().uuid).unwrap();
    let mut servers = Vec::new();
    for endpoint in ["/memory/0", "/ip4/127.0.0.1/tcp/0"] {
        let server = Server::start(&registrar.client, "feed", endpoint).await;
        let uuid = server.registered.instance().uuid;
        assert_eq!(next(&mut instances).await, (uuid, Some(uuid)));
        servers.push(server);
    }
    // One that is out of reach, and one of another name.
    let far = Registration::new("feed").endpoint("/unix/run/no/feed.sock").unwrap();
    let _far = registrar.client.register(far).await.unwrap();
    let _other = Server::start(&registrar.client, "feed.eu", "/memory/0").await;

    let killed = servers.remove(0);
    let uuid = killed.registered.instance().uuid;
    drop(killed);
    assert_eq!(next(&mut instances).await, (uuid, None));
    let server = servers.remove(0);
    let uuid = server.registered.instance().uuid;
    server.registered.set_state(State::Draining).await.unwrap();
    assert_eq!(next(&mut instances).await, (uuid, None));
    registrar.client.close().await;
    assert!(instances.next().await.is_none());
}

#[tokio::test]
async fn load_is_balanced_over_the_instances_that_live() {
    let registrar = Registrar::start().await;
    let mut servers = Vec::new();
    for endpoint in ["/memory/0", "/ip4/127.0.0.1/tcp/0", "/memory/0"] {
        servers.push(Server::start(&registrar.client, "feed", endpoint).await);
    }
    let mut balance = balanced(&registrar.client);
    let all: BTreeSet<_> = servers.iter().map(Server::uuid).collect();
    let mut heard = BTreeSet::new();
    while heard != all {
        heard.insert(ask(&mut balance).await);
    }

    let killed = servers.remove(1).uuid();
    let mut watch = registrar.client.watch("feed").unwrap();
    let rest = all.iter().filter(|it| **it != killed).cloned().collect();
    // The balancer hears of the death as this watch does.
    while registrar.client.query_ready("feed").await.unwrap().records.len() > 2 {
        watch.next().await;
    }
    let mut heard = BTreeSet::new();
    while heard != rest {
        heard.insert(ask(&mut balance).await);
        assert!(!heard.contains(&killed), "it is dead");
    }
}

type Http = legacy::Client<Connector, String>;
type Balanced<F> = Balance<PendingRequestsDiscover<Instances<Http, F>>, Request<String>>;

fn balanced(client: &Client) -> Balanced<impl FnMut(Instance) -> Http + Unpin + use<>> {
    let make = |instance: Instance| {
        legacy::Client::builder(TokioExecutor::new()).build(instance.connector())
    };
    let instances = Instances::new(client, "feed", make).unwrap();
    Balance::new(PendingRequestsDiscover::new(instances, CompleteOnResponse::default()))
}

async fn ask<F>(balance: &mut Balanced<F>) -> String
where
    F: FnMut(Instance) -> Http + Unpin,
{
    let request = Request::get("http://feed/").body(String::new()).unwrap();
    let response = balance.ready().await.unwrap().call(request).await.unwrap();
    let [_, uuid, _] = words(response).await;
    uuid
}

/// Returns whom the next change concerns, and what was made of it if it came.
async fn next<S, F>(instances: &mut Instances<S, F>) -> (Uuid, Option<S>)
where
    Instances<S, F>: futures_util::Stream<Item = Result<Change<Uuid, S>, Infallible>> + Unpin,
{
    match instances.next().await.unwrap().unwrap() {
        Change::Insert(uuid, made) => (uuid, Some(made)),
        Change::Remove(uuid) => (uuid, None),
    }
}
