//! A host between an actor and its caller: the program there passes on what it gets, keeps a copy, and
//! still knows nothing of what they say.

use std::sync::{Arc, Mutex};

use callsign::{Endpoint, Listener, ProveError, Stream, dial};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split},
    task::JoinSet,
};

use crate::{
    harness::Room,
    place::{Net, can_make_namespaces},
    roles::{Found, Listening, Registered, Role, SECRET, say, told_to_end},
    row::heard,
};

/// The bytes that passed, as the program between sees them.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Passed {
    /// How many there were to the actor, and from it.
    bytes: (usize, usize),
    /// Whether the caller's message was among them.
    secret: bool,
    /// Whether an answer of the actor was, which answers whoever has a certificate.
    answer: bool,
}

/// Plays [`Role::Between`].
pub(crate) async fn pass_on(listen: &str, to: &str) {
    let to: Endpoint = to.parse().unwrap();
    let listener = Listener::bind(&listen.parse().unwrap()).await.unwrap();
    say(&Listening { endpoints: vec![listener.bound().to_string()] });
    let (there, back) = (Copied::default(), Copied::default());
    let mut passing = JoinSet::new();
    let mut end = std::pin::pin!(told_to_end());
    loop {
        tokio::select! {
            caller = listener.accept() => {
                let (caller, to) = (caller.unwrap(), to.clone());
                let (there, back) = (there.clone(), back.clone());
                passing.spawn(async move {
                    let (from_caller, to_caller) = split(caller);
                    let Ok(actor) = dial(&to).await else { return };
                    let (from_actor, to_actor) = split(actor);
                    tokio::join!(
                        copy(from_caller, to_actor, there),
                        copy(from_actor, to_caller, back),
                    );
                });
            }
            () = &mut end => break,
        }
    }
    passing.shutdown().await;
    let has = |copied: &Copied, text: &str| {
        copied.lock().unwrap().windows(text.len()).any(|it| it == text.as_bytes())
    };
    let [to_actor, from_actor] = [&there, &back].map(|it| it.lock().unwrap().len());
    say(&Passed {
        bytes: (to_actor, from_actor),
        secret: has(&there, SECRET) || has(&back, SECRET),
        answer: has(&back, "has heard"),
    });
}

type Copied = Arc<Mutex<Vec<u8>>>;

async fn copy(mut from: ReadHalf<Stream>, mut to: WriteHalf<Stream>, copied: Copied) {
    let mut bytes = vec![0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        copied.lock().unwrap().extend_from_slice(&bytes[..count]);
        if to.write_all(&bytes[..count]).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
    drop(to.shutdown().await);
}

/// The address of the host between, as the caller sees it, and of the actor, as that host sees it.
const BETWEEN: &str = "10.77.0.3";
const ACTOR: &str = "10.78.0.1";

#[test]
fn a_host_between_passes_on_what_it_cannot_use() {
    let room = Room::new();
    if !can_make_namespaces(&room) {
        return;
    }
    let (actor, between, caller) = (Net::new(&room), Net::new(&room), Net::new(&room));
    between.link(&room, ["eth0", "10.77.0.3/24"], &caller, ["eth0", "10.77.0.2/24"]);
    between.link(&room, ["eth1", "10.78.0.3/24"], &actor, ["eth0", "10.78.0.1/24"]);
    room.callsign(&["keys", "init", "keys"]).succeeds();
    // The actor is dialed at the address of the host between, which is not its own.
    let actors = ["--host", BETWEEN, "--host", ACTOR];
    room.callsign(&[&["keys", "issue", "keys", "actor"][..], &actors].concat()).succeeds();
    for (name, host) in [("caller", "10.77.0.2"), ("between", BETWEEN), ("elsewhere", "10.99.0.9")]
    {
        room.callsign(&["keys", "issue", "keys", name, "--host", host]).succeeds();
    }
    let folder = room.file("keys").display().to_string();
    // All hosts see its socket, which keeps the keys of proofs to itself.
    let role = Role::Registrar { listen: vec![room.unix("registrar.sock")] };
    let mut node = actor.place().start(&room, role);
    let registrar = heard::<Listening>(&mut node).endpoints.remove(0);
    let call = |ends: &str, certificate: &str| {
        let name = "feed";
        let role = Role::Behind {
            registrar: registrar.clone(),
            name: name.to_owned(),
            listen: format!("/ip4/{ACTOR}/tcp/7001/tls"),
            at: format!("/ip4/{BETWEEN}/tcp/7000/tls"),
        };
        let place = actor.place().with_certificate(&folder, "actor");
        let mut registrant = place.start(&room, role);
        drop(heard::<Registered>(&mut registrant));
        let role = Role::Between {
            listen: format!("/ip4/{BETWEEN}/tcp/7000{ends}"),
            to: format!("/ip4/{ACTOR}/tcp/7001{ends}"),
        };
        let place = between.place().with_certificate(&folder, certificate);
        let mut passer = place.start(&room, role);
        drop(heard::<Listening>(&mut passer));
        let role = Role::Caller { registrar: registrar.clone(), names: vec![name.to_owned()] };
        let place = caller.place().with_certificate(&folder, "caller");
        let mut found: Found = heard(&mut place.start(&room, role));
        passer.close_input();
        let passed: Passed = heard(&mut passer);
        registrant.outcome().succeeds();
        (found.remove(name).unwrap(), passed)
    };

    // It ends no TLS: the two have a channel of their own through it.
    let (called, passed) = call("", "between");
    assert!(called.is_answered(), "{called:#?}");
    assert_eq!(called.candidates[0].outcome, "proved", "{called:#?}");
    assert!(passed.bytes.0 > SECRET.len() && passed.bytes.1 > 0, "{passed:?}");
    assert!(!passed.secret && !passed.answer, "{passed:?}");

    // It ends TLS with a certificate that the caller trusts, for the very host: the proof that it
    // passes on is of another channel.
    let (called, passed) = call("/tls", "between");
    assert!(called.heard.is_none(), "{called:#?}");
    let no_proof = ProveError::NoProof.to_string();
    assert!(called.candidates[0].outcome.contains(&no_proof), "{called:#?}");
    assert!(passed.bytes.0 > 0 && passed.bytes.1 > 0, "{passed:?}");
    assert!(!passed.secret, "{passed:?}");

    // With one for another host it does not even hear who is meant.
    let (called, passed) = call("/tls", "elsewhere");
    assert!(called.heard.is_none(), "{called:#?}");
    let other_host = format!("is not for `{BETWEEN}`, but for");
    assert!(called.candidates[0].outcome.contains(&other_host), "{called:#?}");
    assert_eq!(passed.bytes, (0, 0), "{passed:?}");
    node.outcome().succeeds();
}
