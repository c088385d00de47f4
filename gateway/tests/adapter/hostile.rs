//! Messages that end or hang the original's process cost at most their own connection here.

use serde_json::{Value, json};

use crate::support::{ForeignSession, Registrar, aid, frame};

/// Each is sent over a connection of its own after the handshake. A good connection continues
/// beside it.
#[tokio::test]
async fn messages_that_end_the_original_cost_one_connection_at_most() {
    enum Then {
        /// The call fails, and the connection continues.
        Fails(&'static str),
        /// The connection gets an error, and ends.
        Ends,
    }
    use Then::{Ends, Fails};

    let start = |change: &dyn Fn(&mut Value)| {
        let mut start = json!({
            "msg_type": "Start", "cid": "c", "ns": "self", "func": "find_actor",
            "kwargs": { "name": "nobody" }, "uid": ["a", "u"], "pld_spec": "typing.Any",
        });
        change(&mut start);
        start
    };
    let without = |key: &str| start(&|it| drop(it.as_object_mut().unwrap().remove(key)));
    let with = |key: &str, value: Value| start(&|it| it[key] = value.clone());
    let calling = |func: &str, kwargs: Value| {
        start(&|it| (it["func"], it["kwargs"]) = (func.into(), kwargs.clone()))
    };
    let registering =
        |addr: Value| calling("register_actor", json!({ "uid": ["a", "u"], "addr": addr }));
    let table = [
        (with("func", json!("no_such_method")), Fails("AttributeError")),
        (with("func", json!("__init__")), Fails("AttributeError")),
        (with("ns", json!("os")), Fails("ModuleNotExposed")),
        (with("uid", json!(["a", "other"])), Fails("PermissionError")),
        (without("uid"), Fails("MsgTypeError")),
        (without("func"), Fails("MsgTypeError")),
        (without("kwargs"), Fails("TypeError")),
        (without("cid"), Ends),
        (with("cid", json!(7)), Ends),
        (with("cid", json!("c".repeat(300))), Ends),
        (with("uid", json!("a")), Fails("MsgTypeError")),
        (with("kwargs", json!([1])), Fails("TypeError")),
        (with("kwargs", json!({ "name": 7 })), Fails("TypeError")),
        (aid("a", "u"), Ends),
        (json!({ "msg_type": "SpawnSpec", "reg_addrs": [] }), Ends),
        (json!({ "msg_type": "NoSuchMessage" }), Ends),
        (json!({ "msg_type": "NoSuchMessage", "cid": "c" }), Fails("MsgTypeError")),
        (json!({ "msg_type": 7 }), Ends),
        (json!({}), Ends),
        (json!(["Start"]), Ends),
        (json!(7), Ends),
        (registering(json!(["127.0.0.1", 0])), Fails("ValueError")),
        (registering(json!(["0.0.0.0", 80])), Fails("ValueError")),
        (registering(json!(["localhost", 80])), Fails("ValueError")),
        (registering(json!(["127.0.0.1", "80"])), Fails("ValueError")),
        (registering(json!(["127.0.0.1", 65_536])), Fails("ValueError")),
        (registering(json!(["/run", "../a.sock"])), Fails("ValueError")),
        (registering(json!([])), Fails("ValueError")),
        (registering(json!(null)), Fails("TypeError")),
        (
            calling("register_actor", json!({ "uid": ["", "u"], "addr": ["::1", 7] })),
            Fails("ValueError"),
        ),
        (calling("delete_addr", json!({ "addr": ["localhost", 7] })), Fails("ValueError")),
        (calling("wait_for_actor", json!({ "name": "" })), Fails("ValueError")),
    ];
    let registrar = Registrar::start().await;
    let mut good = registrar.visit("good", "g").await;
    for (message, then) in table {
        let mut session = registrar.visit("a", "u").await;
        session.send(&message).await;
        match then {
            Fails(kind) => {
                assert_eq!(session.error(Some("c")).await, kind, "{message}");
                session.sync().await;
            }
            Ends => {
                assert_eq!(session.error(None).await, "MsgTypeError", "{message}");
                session.ends().await;
            }
        }
        good.sync().await;
    }
    assert_eq!(registrar.registry.status().instances, 0);
}

#[tokio::test]
async fn bytes_that_end_the_original_cost_one_connection() {
    let registrar = Registrar::start().await;
    let mut good = registrar.visit("good", "g").await;
    let nested = [&[0x81, 0xa1, b'x'][..], &[0x91; 100_000], &[0xc0]].concat();
    let framed = |body: &[u8]| [&(body.len() as u32).to_le_bytes()[..], body].concat();
    let whole = frame(&aid("a", "u"));
    let table = [
        framed(b"\x81"),
        framed(b"\xc1"),
        framed(&nested),
        framed(b"\xdf\xff\xff\xff\xff"),
        framed(b"\x81\xa8msg_type\xdb\xff\xff\xff\xffAid"),
        framed(b""),
        (256_u32 << 10).wrapping_add(1).to_le_bytes().to_vec(),
        u32::MAX.to_le_bytes().to_vec(),
        100_u32.to_be_bytes().to_vec(),
    ];
    for bytes in &table {
        let mut session = registrar.visit("a", "u").await;
        session.send_bytes(bytes).await;
        // After a valid length, the registrar waits for the message.
        assert_eq!(session.error(None).await, "MsgTypeError", "{bytes:02x?}");
        session.ends().await;
        good.sync().await;
    }
    // Connections that end in the middle of the handshake and of a later message.
    for cut in [2, 4, 5, whole.len() - 1] {
        let mut session = ForeignSession::dial(&registrar.tcp).await;
        session.send_bytes(&whole[..cut]).await;
        drop(session);
        let mut session = registrar.visit("a", "u").await;
        session.send_bytes(&whole[..cut]).await;
        drop(session);
        good.sync().await;
    }
    // Before the handshake there is no call that could be answered.
    for bytes in table.iter().filter(|it| matches!(it.get(3..5), Some([0, 0x81 | 0xdf]))) {
        let mut session = ForeignSession::dial(&registrar.tcp).await;
        session.send_bytes(bytes).await;
        assert_eq!(session.next().await["msg_type"], "Aid");
        session.ends().await;
        good.sync().await;
    }
}

#[tokio::test]
async fn nobody_ends_the_registrar() {
    let registrar = Registrar::start().await;
    let mut session = registrar.visit("a", "u").await;
    let cid = session.start("cancel", json!({})).await;
    session.acknowledged(&cid).await;
    let refused = json!({ "msg_type": "CancelAck", "cid": cid, "pld": false });
    assert_eq!(session.next().await, refused);
    session.sync().await;
    registrar.visit("b", "v").await.sync().await;
}

#[tokio::test]
async fn calls_that_wait_are_bounded() {
    let registrar = Registrar::start().await;
    let mut session = registrar.visit("a", "u").await;
    for _ in 0..64 {
        let cid = session.start("wait_for_actor", json!({ "name": "late" })).await;
        session.acknowledged(&cid).await;
    }
    assert_eq!(session.refused("wait_for_actor", json!({ "name": "late" })).await, "RuntimeError");
    session.sync().await;
}
