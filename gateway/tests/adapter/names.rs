//! Look-ups by name across both protocols.

use discovery::Registration;
use serde_json::{Value, json};
use tokio::time::timeout;
use transport::Listener;
use wire::{Lifetime, RemovalReason};

use crate::support::{Actor, ForeignSession, LIMIT, Registrar, pair, removed};

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

    let mut session = registrar.visit("twin", "u2").await;
    let waited = session.returned("wait_for_actor", json!({ "name": "twin" })).await;
    assert_eq!(waited, json!([second.addr]));
    let registry = registrar.registry().await;
    assert_eq!(registry, json!({ "twin.u1": [first.addr], "twin.u2": [second.addr] }));
    session.returned("unregister_actor", json!({ "uid": ["twin", "u2"] })).await;
    assert_eq!(registrar.find("twin").await, json!([first.addr]));
}

#[tokio::test]
async fn a_waiter_gets_all_endpoints_together() {
    let registrar = Registrar::start().await;
    let unix = format!("/unix{}/both@7.sock", registrar.folder.path().display());
    let [tcp, unix] = [
        Actor::listen("/ip4/127.0.0.1/tcp/0", "both", "u").await,
        Actor::listen(&unix, "both", "u").await,
    ];
    let mut waiter = registrar.visit("waiter", "w").await;
    let cid = waiter.start("wait_for_actor", json!({ "name": "both" })).await;
    waiter.acknowledged(&cid).await;
    // The registrar waits for nothing else meanwhile.
    waiter.sync().await;

    let mut actor = registrar.visit("both", "u").await;
    // The registrar waits only a moment for further endpoints. Here time advances while all tasks
    // are idle.
    tokio::time::pause();
    for addr in [&tcp.addr, &unix.addr] {
        actor.returned("register_actor", json!({ "uid": ["both", "u"], "addr": addr })).await;
    }
    assert_eq!(waiter.result(&cid).await, json!([tcp.addr, unix.addr]));
}

#[tokio::test]
async fn a_young_node_waits_for_those_who_may_come_back() {
    // Longer than the test takes, and a moment.
    let registrar = Registrar::settling(3 * LIMIT).await;
    let client = registrar.callsign().await;
    let mut finder = registrar.visit("finder", "f").await;
    // One of callsign's and one of tractor's, whose name is not valid in callsign.
    let names = ["late", "late one"];
    let mut finds = Vec::new();
    for name in names {
        finds.push(finder.start("find_actor", json!({ "name": name })).await);
        finder.acknowledged(finds.last().unwrap()).await;
    }
    let cancelled = finder.start("find_actor", json!({ "name": "nobody" })).await;
    finder.acknowledged(&cancelled).await;

    let listener = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse().unwrap()).await.unwrap();
    let late = Registration::new("late").endpoints(listener.published());
    let _late = client.register(late).await.unwrap();
    assert_eq!(finder.result(&finds[0]).await, json!([pair(listener.bound())]));
    let actor = Actor::listen("/ip4/127.0.0.1/tcp/0", "late one", "u").await;
    registrar.register("late one", "u", &actor.addr).await;
    assert_eq!(finder.result(&finds[1]).await, json!([actor.addr]));

    let ending = finder.start("_cancel_task", json!({ "cid": cancelled })).await;
    assert_eq!(finder.next().await["src_type_str"], "ContextCancelled");
    finder.acknowledged(&ending).await;
    assert_eq!(registrar.registry.status().waiters, 0);

    // Once all former programs should have returned, the answer is no.
    let registrar = Registrar::settling(std::time::Duration::from_millis(200)).await;
    assert_eq!(registrar.find("late").await, Value::Null);
    assert!(registrar.registry.settling().is_none());
    assert_eq!(registrar.registry.status().waiters, 0);
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
    assert_eq!(registrar.registry.status().waiters, 0);

    let waiting = waiter.start("wait_for_actor", json!({ "name": "late" })).await;
    waiter.acknowledged(&waiting).await;
    assert_eq!(registrar.registry.status().waiters, 1);
    drop(waiter);
    let gone = async {
        while registrar.registry.status().sessions > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, gone).await.unwrap();
    assert_eq!(registrar.registry.status().waiters, 0);
}

#[tokio::test]
async fn callsign_finds_tractors_actors_as_foreign_ones() {
    let registrar = Registrar::start().await;
    let callsign = registrar.callsign().await;
    let mut watch = registrar.watch("snake*").await;
    let snake = Actor::listen("/ip4/127.0.0.1/tcp/0", "snake", "not a uuid").await;
    registrar.register("snake", "not a uuid", &snake.addr).await;

    let record = timeout(LIMIT, callsign.wait_for_actor("snake")).await.unwrap().unwrap();
    assert_eq!(record.lifetime, Lifetime::Foreign);
    assert!(!record.proves);
    assert_eq!(record.metadata["tractor.uuid"], "not a uuid");
    assert_eq!(record.endpoints[0].stamp, transport::stamp(&snake.endpoint));
    let connection = callsign.find_actor("snake").await.unwrap().unwrap();
    assert_eq!(connection.endpoint, snake.endpoint);

    let mut session = registrar.visit("snake", "not a uuid").await;
    session.returned("unregister_actor", json!({ "uid": ["snake", "not a uuid"] })).await;
    assert_eq!(removed(&mut watch).await, RemovalReason::Unregistered);
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
async fn no_program_changes_the_entries_of_another() {
    let registrar = Registrar::start().await;
    let callsign = registrar.callsign().await;
    let feed = callsign.register(Registration::new("feed")).await.unwrap();
    let uuid = feed.instance().uuid.to_string();
    let addr = json!(["127.0.0.1", 7]);

    let mut thief = registrar.visit("feed", &uuid).await;
    let kwargs = json!({ "uid": ["feed", uuid], "addr": addr });
    assert_eq!(thief.refused("register_actor", kwargs).await, "ValueError");
    thief.returned("unregister_actor", json!({ "uid": ["feed", uuid] })).await;
    assert_eq!(registrar.registry.instances(&"feed".parse().unwrap()).len(), 1);

    // The kernel does not identify a registrant over the loopback.
    registrar.register("snake", "u", &addr).await;
    let mut user = ForeignSession::greet(&registrar.unix, "snake", "u").await;
    let unregister = json!({ "uid": ["snake", "u"] });
    if rustix::process::geteuid().as_raw() == 0 {
        // User 0 may change everything.
        user.returned("unregister_actor", unregister).await;
        assert_eq!(registrar.find("snake").await, Value::Null);
    } else {
        assert_eq!(user.refused("unregister_actor", unregister).await, "PermissionError");
        // Registering the same again changes nothing.
        let again = json!({ "uid": ["snake", "u"], "addr": addr });
        assert_eq!(user.returned("register_actor", again).await, Value::Null);
    }
}

#[tokio::test]
async fn the_registrar_is_found_by_its_name() {
    let registrar = Registrar::start().await;
    let places = json!([pair(&registrar.tcp), pair(&registrar.unix)]);
    assert_eq!(registrar.find("registrar").await, places);
    let mut session = registrar.visit("asker", "asker").await;
    let named = json!({ "name": "registrar" });
    assert_eq!(session.returned("wait_for_actor", named.clone()).await, places);
    assert_eq!(registrar.registry().await, json!({}));

    // An instance of that name is another one, and hides it from nobody.
    let other = Actor::listen("/ip4/127.0.0.1/tcp/0", "registrar", "u").await;
    registrar.register("registrar", "u", &other.addr).await;
    assert_eq!(registrar.find("registrar").await, places);
    assert_eq!(session.returned("wait_for_actor", named).await, places);
    let registry = registrar.registry().await;
    assert_eq!(registry, json!({ "registrar.u": [other.addr] }));

    // It does not count, and nobody can remove it.
    assert_eq!(registrar.registry.status().instances, 1);
    let own = registrar.registry.registrar().to_string();
    let mut thief = ForeignSession::greet(&registrar.unix, "registrar", &own).await;
    let uid = json!(["registrar", own]);
    thief.returned("unregister_actor", json!({ "uid": uid })).await;
    let stolen = json!({ "uid": uid, "addr": ["127.0.0.1", 7] });
    assert_eq!(thief.refused("register_actor", stolen).await, "ValueError");
    assert_eq!(registrar.find("registrar").await, places);
}

#[tokio::test]
async fn callsign_finds_the_registrar_and_lists_it_if_it_is_asked_for() {
    let registrar = Registrar::start().await;
    let callsign = registrar.callsign().await;
    let own = registrar.registry.registrar();
    let waited = timeout(LIMIT, callsign.wait_for_actor("registrar")).await.unwrap().unwrap();
    assert_eq!((waited.uuid, waited.endpoints.len()), (own, 2));
    let listed = |pattern| {
        let callsign = &callsign;
        async move {
            let found = callsign.list(pattern).await.unwrap();
            found.records.iter().map(|it| it.uuid).collect::<Vec<_>>()
        }
    };
    assert_eq!(listed("registrar").await, [own]);
    for pattern in ["*", "reg*", "registra?"] {
        assert!(listed(pattern).await.is_empty(), "{pattern}");
    }
    // Over callsign's own protocol, the latest instance of the name comes first.
    let namesake = callsign.register(Registration::new("registrar")).await.unwrap();
    let found = callsign.query_all("registrar").await.unwrap();
    let uuids: Vec<_> = found.records.iter().map(|it| it.uuid).collect();
    assert_eq!(uuids, [namesake.instance().uuid, own]);
}

#[tokio::test]
async fn names_that_callsign_does_not_have_are_told_as_they_were() {
    let registrar = Registrar::start().await;
    let callsign = registrar.callsign().await;
    let check = async |name: &str, escaped: &str| {
        let actor = Actor::listen("/ip4/127.0.0.1/tcp/0", name, "u").await;
        registrar.register(name, "u", &actor.addr).await;
        assert_eq!(registrar.find(name).await, json!([actor.addr]));
        let mut session = registrar.visit(name, "u").await;
        let waited = session.returned("wait_for_actor", json!({ "name": name })).await;
        assert_eq!(waited, json!([actor.addr]));
        assert_eq!(registrar.registry().await, json!({ format!("{name}.u"): [actor.addr] }));
        let record = timeout(LIMIT, callsign.wait_for_actor(escaped)).await.unwrap().unwrap();
        assert_eq!(record.name.as_str(), escaped);
        session.returned("unregister_actor", json!({ "uid": [name, "u"] })).await;
        assert_eq!(registrar.find(name).await, Value::Null);
    };
    check("market feed", "market%20feed").await;
    check("market/feed", "market%2Ffeed").await;
    check("a*?\n", "a%2A%3F%0A").await;
    check("100%", "100%").await;
    check("a%20b", "a%2520b").await;

    // An actor of callsign's is reported under a name that finds it.
    for (own, told) in [("b%20c", "b c"), ("b%2c", "b%2c")] {
        let tcp = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse().unwrap()).await.unwrap();
        let registration = Registration::new(own).endpoints(tcp.published());
        let registered = callsign.register(registration).await.unwrap();
        let key = format!("{told}.{}", registered.instance().uuid);
        assert_eq!(registrar.registry().await, json!({ key: [pair(tcp.bound())] }));
        assert_eq!(registrar.find(told).await, json!([pair(tcp.bound())]));
        registered.unregister().await;
    }
}

#[tokio::test]
async fn an_address_of_a_kind_that_is_not_known_costs_that_address() {
    let registrar = Registrar::start().await;
    let actor = Actor::listen("/ip4/127.0.0.1/tcp/0", "many", "u").await;
    let mut session = registrar.visit("many", "u").await;
    let kinds = [
        json!(["quic", "127.0.0.1", 4433]),
        json!(["tipc", 4242, 7, { "scope": "node" }]),
        json!([4242, 7]),
        json!({ "proto": "tcp" }),
    ];
    for addr in kinds.iter().chain([&actor.addr]).chain(&kinds) {
        let register = json!({ "uid": ["many", "u"], "addr": addr });
        assert_eq!(session.returned("register_actor", register).await, Value::Null, "{addr}");
    }
    assert_eq!(registrar.find("many").await, json!([actor.addr]));
    let unknown = json!({ "addr": kinds[0] });
    assert_eq!(session.returned("delete_addr", unknown).await, Value::Null);

    // Without any other, it stays as long as its process lives.
    let mut odd = ForeignSession::greet(&registrar.unix, "odd", "o").await;
    let register = json!({ "uid": ["odd", "o"], "addr": kinds[0] });
    odd.returned("register_actor", register).await;
    assert_eq!(registrar.registry().await, json!({ "many.u": [actor.addr], "odd.o": [] }));
    assert_eq!(registrar.find("odd").await, Value::Null);
}
