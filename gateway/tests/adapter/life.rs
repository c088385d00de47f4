//! The whole life of a root and its child, in the original's steps: one connection for each.

use endpoints::Endpoint;
use serde_json::{Value, json};

use crate::support::{Actor, ForeignSession, Registrar, aid, pair};

#[tokio::test]
async fn a_root_and_its_child_live_over_tcp() {
    let registrar = Registrar::start().await;
    let root = Actor::listen("/ip4/127.0.0.1/tcp/0", "root", ROOT).await;
    let child = Actor::listen("/ip4/127.0.0.1/tcp/0", "child", CHILD).await;
    live(&registrar, &registrar.tcp, [root.addr.clone(), child.addr.clone()]).await;
    let tagged = |it: &Actor| json!(["tcp", it.addr[0], it.addr[1]]);
    live(&registrar, &registrar.tcp, [tagged(&root), tagged(&child)]).await;
}

#[tokio::test]
async fn a_root_and_its_child_live_over_unix_sockets() {
    let registrar = Registrar::start().await;
    let place = |name: &str| format!("/unix{}/{name}@7.sock", registrar.folder.path().display());
    let root = Actor::listen(&place("root"), "root", ROOT).await;
    let child = Actor::listen(&place("child"), "child", CHILD).await;
    live(&registrar, &registrar.unix, [root.addr.clone(), child.addr.clone()]).await;
    let path = |it: &Actor| it.endpoint.to_string().replacen("/unix", "", 1);
    let tagged = |it: &Actor| json!(["unix", path(it)]);
    live(&registrar, &registrar.unix, [tagged(&root), tagged(&child)]).await;
}

const ROOT: &str = "6f1b9a0e-0d0c-4e0e-8f5e-000000000001";
const CHILD: &str = "6f1b9a0e-0d0c-4e0e-8f5e-000000000002";

async fn live(registrar: &Registrar, at: &Endpoint, [root, child]: [Value; 2]) {
    // The root asks whether there is a registrar.
    let mut probe = ForeignSession::dial(at).await;
    let mut who = aid("registry-probe", "u");
    who["is_probe"] = json!(true);
    who["is_registrar"] = Value::Null;
    probe.send(&who).await;
    let answer = probe.next().await;
    assert_eq!((&answer["msg_type"], &answer["is_registrar"]), (&json!("Aid"), &json!(true)));
    assert_eq!(answer["is_probe"], json!(false));
    probe.ends().await;

    for (name, uuid, addr) in [("root", ROOT, &root), ("child", CHILD, &child)] {
        let mut session = ForeignSession::greet(at, name, uuid).await;
        let kwargs = json!({ "uid": [name, uuid], "addr": addr });
        assert_eq!(session.returned("register_actor", kwargs).await, Value::Null);
    }
    // Each gets its answer in the form in which it wrote its own address.
    let mut asker = ForeignSession::greet(at, "root", ROOT).await;
    let named = json!({ "name": "child" });
    assert_eq!(asker.returned("find_actor", named.clone()).await, json!([child]));
    assert_eq!(asker.returned("wait_for_actor", named.clone()).await, json!([child]));
    let registry = json!({ format!("root.{ROOT}"): [root], format!("child.{CHILD}"): [child] });
    let mut told = asker.returned("get_registry", json!({})).await;
    told.as_object_mut().unwrap().remove(&format!("registrar.{}", registrar.registry.registrar()));
    assert_eq!(told, registry);
    // A program that has registered nothing gets the original's answer.
    let mut stranger = ForeignSession::greet(at, "stranger", "s").await;
    let found = registrar.registry.instances(&"child".parse().unwrap());
    let pairs = json!([pair(&found[0].endpoints[0].endpoint)]);
    assert_eq!(stranger.returned("find_actor", named.clone()).await, pairs);

    for (name, uuid) in [("child", CHILD), ("root", ROOT)] {
        let mut session = ForeignSession::greet(at, name, uuid).await;
        let kwargs = json!({ "uid": [name, uuid] });
        assert_eq!(session.returned("unregister_actor", kwargs).await, Value::Null);
    }
    assert_eq!(asker.returned("find_actor", named).await, Value::Null);
    assert_eq!(registrar.registry.status().instances, 0);
}

/// The registrar accepts everything that the original accepts: all messages that real programs were
/// seen to send, and more.
#[tokio::test]
async fn messages_that_the_original_accepts_are_accepted() {
    let registrar = Registrar::start().await;
    let start = json!({
        "uid": ["a", "u"], "kwargs": { "name": "nobody" }, "func": "find_actor", "ns": "self",
        "more": [1, { "x": null }], "cid": "c", "msg_type": "Start",
    });
    let short_aid = json!({ "msg_type": "Aid", "name": "a", "uuid": "u" });
    let boasting = json!({
        "msg_type": "Aid", "name": "a", "uuid": "u", "is_registrar": true, "pid": u64::MAX / 2,
    });
    for aid in [&short_aid, &boasting] {
        // All in one write, and byte by byte.
        for part in [usize::MAX, 1] {
            let mut session = ForeignSession::dial(&registrar.tcp).await;
            let both = [crate::support::frame(aid), crate::support::frame(&start)].concat();
            for bytes in both.chunks(part) {
                session.send_bytes(bytes).await;
            }
            assert_eq!(session.next().await["msg_type"], "Aid");
            session.acknowledged("c").await;
            assert_eq!(session.result("c").await, Value::Null);
        }
    }
}

#[tokio::test]
async fn the_worked_frames_of_the_original_are_answered() {
    let registrar = Registrar::start().await;
    let golden = include_str!("../frames.txt");
    let bytes = |name: &str| {
        let line = golden.lines().find_map(|it| it.strip_prefix(&format!("{name}: ")));
        let digits: Vec<_> = line.unwrap().chars().collect();
        let pairs = digits.chunks(2).map(|it| it.iter().collect::<String>());
        pairs.map(|it| u8::from_str_radix(&it, 16).unwrap()).collect::<Vec<_>>()
    };
    let mut probe = ForeignSession::dial(&registrar.tcp).await;
    probe.send_bytes(&bytes("Aid")).await;
    assert_eq!(probe.next().await["msg_type"], "Aid");
    probe.ends().await;

    let mut session = ForeignSession::greet(&registrar.tcp, "a", "u").await;
    session.send_bytes(&bytes("Start")).await;
    session.acknowledged("c").await;
    assert_eq!(session.result("c").await, Value::Null);
    assert_eq!(registrar.find("a").await, json!([["127.0.0.1", 4321]]));
    // Answers without a call are ignored.
    for name in ["StartAck", "Return nil", "CancelAck", "Stop"] {
        session.send_bytes(&bytes(name)).await;
    }
    session.sync().await;
}
