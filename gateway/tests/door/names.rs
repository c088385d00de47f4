//! Who is found under a name, and by whom.

use discovery::Registration;
use serde_json::{Value, json};
use tokio::time::timeout;
use transport::Listener;
use wire::{Gone, Kept};

use crate::support::{Actor, LIMIT, Registrar, Visitor, pair, removed};

#[tokio::test]
async fn of_one_name_the_newest_is_found_and_a_uuid_is_no_name() {
    let registrar = Registrar::start().await;
    let [first, second] = [
        Actor::listen("/ip4/127.0.0.1/tcp/0", "twin", "u1").await,
        Actor::listen("/ip4/127.0.0.1/tcp/0", "twin", "u2").await,
    ];
    registrar.register("twin", "u1", &first.addr).await;
    registrar.register("twin", "u2", &second.addr).await;
    assert_eq!(registrar.find("twin").await, json!([second.addr]));
    assert_eq!(registrar.find("u1").await, Value::Null);

    let mut visitor = registrar.visit("twin", "u2").await;
    let waited = visitor.returned("wait_for_actor", json!({ "name": "twin" })).await;
    assert_eq!(waited, json!([second.addr]));
    let registry = visitor.returned("get_registry", json!({})).await;
    assert_eq!(registry, json!({ "twin.u1": [first.addr], "twin.u2": [second.addr] }));
    visitor.returned("unregister_actor", json!({ "uid": ["twin", "u2"] })).await;
    assert_eq!(registrar.find("twin").await, json!([first.addr]));
}

#[tokio::test]
async fn who_waits_gets_all_endpoints_at_once() {
    let registrar = Registrar::start().await;
    let unix = format!("/unix{}/both@7.sock", registrar.folder.path().display());
    let [tcp, unix] = [
        Actor::listen("/ip4/127.0.0.1/tcp/0", "both", "u").await,
        Actor::listen(&unix, "both", "u").await,
    ];
    let mut waiter = registrar.visit("waiter", "w").await;
    let cid = waiter.start("wait_for_actor", json!({ "name": "both" })).await;
    waiter.acknowledged(&cid).await;
    // It waits for nothing else meanwhile.
    waiter.sync().await;

    let mut actor = registrar.visit("both", "u").await;
    for addr in [&tcp.addr, &unix.addr] {
        actor.returned("register_actor", json!({ "uid": ["both", "u"], "addr": addr })).await;
    }
    assert_eq!(waiter.result(&cid).await, json!([tcp.addr, unix.addr]));
}

#[tokio::test]
async fn a_call_that_waits_can_be_cancelled_and_ends_with_its_connection() {
    let registrar = Registrar::start().await;
    let mut waiter = registrar.visit("waiter", "w").await;
    let waiting = waiter.start("wait_for_actor", json!({ "name": "late" })).await;
    waiter.acknowledged(&waiting).await;
    let ending = waiter.start("_cancel_task", json!({ "cid": waiting })).await;
    let error = waiter.next().await;
    assert_eq!(error["src_type_str"], "ContextCancelled");
    assert_eq!((&error["canceller"], &error["cid"]), (&json!(["waiter", "w"]), &json!(waiting)));
    waiter.acknowledged(&ending).await;
    let ack = json!({ "msg_type": "CancelAck", "cid": ending, "pld": true });
    assert_eq!(waiter.next().await, ack);
    assert_eq!(registrar.clerk.status().waiters, 0);

    let waiting = waiter.start("wait_for_actor", json!({ "name": "late" })).await;
    waiter.acknowledged(&waiting).await;
    assert_eq!(registrar.clerk.status().waiters, 1);
    drop(waiter);
    let gone = async {
        while registrar.clerk.status().sessions > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, gone).await.unwrap();
    assert_eq!(registrar.clerk.status().waiters, 0);
}

#[tokio::test]
async fn callsign_finds_tractors_actors_as_foreign_ones() {
    let registrar = Registrar::start().await;
    let callsign = registrar.callsign().await;
    let mut watch = registrar.watch("snake*").await;
    let snake = Actor::listen("/ip4/127.0.0.1/tcp/0", "snake", "not a uuid").await;
    registrar.register("snake", "not a uuid", &snake.addr).await;

    let record = timeout(LIMIT, callsign.wait_for_actor("snake")).await.unwrap().unwrap();
    assert_eq!(record.kept, Kept::Foreign);
    assert!(!record.proves);
    assert_eq!(record.metadata["tractor.uuid"], "not a uuid");
    assert_eq!(record.endpoints[0].stamp, transport::stamp(&snake.endpoint));
    let connection = callsign.find_actor("snake").await.unwrap().unwrap();
    assert_eq!(connection.endpoint, snake.endpoint);

    let mut visitor = registrar.visit("snake", "not a uuid").await;
    visitor.returned("unregister_actor", json!({ "uid": ["snake", "not a uuid"] })).await;
    assert_eq!(removed(&mut watch).await, Gone::Unregistered);
}

#[tokio::test]
async fn tractor_finds_callsigns_actors_where_it_can_reach_them() {
    let registrar = Registrar::start().await;
    let callsign = registrar.callsign().await;
    let tcp = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse().unwrap()).await.unwrap();
    let memory = Listener::bind(&"/memory/0".parse().unwrap()).await.unwrap();
    let feed = Registration::new("feed").endpoints(memory.published()).endpoints(tcp.published());
    let _feed = callsign.register(feed).await.unwrap();
    let hidden = Registration::new("hidden").endpoints(memory.published());
    let _hidden = callsign.register(hidden).await.unwrap();

    assert_eq!(registrar.find("feed").await, json!([pair(tcp.bound())]));
    assert_eq!(registrar.find("hidden").await, Value::Null);
    let mut waiter = registrar.visit("waiter", "w").await;
    let cid = waiter.start("wait_for_actor", json!({ "name": "hidden" })).await;
    waiter.acknowledged(&cid).await;
    assert_eq!(waiter.error(Some(&cid)).await, "ValueError");
}

#[tokio::test]
async fn nobody_changes_what_another_keeps() {
    let registrar = Registrar::start().await;
    let callsign = registrar.callsign().await;
    let feed = callsign.register(Registration::new("feed")).await.unwrap();
    let uuid = feed.instance().uuid.to_string();
    let addr = json!(["127.0.0.1", 7]);

    let mut thief = registrar.visit("feed", &uuid).await;
    let kwargs = json!({ "uid": ["feed", uuid], "addr": addr });
    assert_eq!(thief.refused("register_actor", kwargs).await, "ValueError");
    thief.returned("unregister_actor", json!({ "uid": ["feed", uuid] })).await;
    assert_eq!(registrar.clerk.instances(&"feed".parse().unwrap()).len(), 1);

    // Who registered over the loopback is nobody whom the kernel knows.
    registrar.register("snake", "u", &addr).await;
    let mut user = Visitor::greet(&registrar.unix, "snake", "u").await;
    let unregister = json!({ "uid": ["snake", "u"] });
    if rustix::process::geteuid().as_raw() == 0 {
        // User 0 may change everything.
        user.returned("unregister_actor", unregister).await;
        assert_eq!(registrar.find("snake").await, Value::Null);
    } else {
        assert_eq!(user.refused("unregister_actor", unregister).await, "PermissionError");
        // To say again what is there is no change.
        let again = json!({ "uid": ["snake", "u"], "addr": addr });
        assert_eq!(user.returned("register_actor", again).await, Value::Null);
    }
}
