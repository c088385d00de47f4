//! Programs that die silently, and evidence against programs that live.

use std::process::Stdio;

use discovery::{Change, Watch};
use endpoints::Stamp;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
    time::timeout,
};
use transport::Listener;
use wire::{Lifetime, RemovalReason, State};

use crate::support::{Actor, ForeignSession, LIMIT, Registrar, aid, frame, pair, removed};

/// The process is killed, and its descriptor reports it.
#[tokio::test]
async fn a_killed_process_is_gone() {
    let registrar = Registrar::start().await;
    let Some(mut process) = register_elsewhere(&registrar, &[]).await else { return };
    let instances = registrar.registry.instances(&"snake".parse().unwrap());
    assert_eq!(instances[0].lifetime, Lifetime::Foreign);

    let mut watch = registrar.watch("snake").await;
    process.kill().await.unwrap();
    assert_eq!(removed(&mut watch).await, RemovalReason::ProcessEnded);
}

/// Its 127.0.0.1 is not the registrar's, though they share a socket file.
#[tokio::test]
async fn an_address_in_another_network_is_not_taken_for_one_in_this() {
    let registrar = Registrar::start().await;
    let unshare = ["unshare", "--user", "--map-root-user", "--net"];
    let Some(_process) = register_elsewhere(&registrar, &unshare).await else { return };
    let record = &registrar.registry.instances(&"snake".parse().unwrap())[0];
    assert_eq!(record.endpoints[0].stamp, Stamp::default());
    assert_eq!(registrar.find("snake").await, Value::Null);
}

/// Starts a process that registers over the Unix socket, closes the connection, and lives on.
async fn register_elsewhere(registrar: &Registrar, wrapper: &[&str]) -> Option<Child> {
    let start = json!({
        "msg_type": "Start", "cid": "c", "ns": "self", "func": "register_actor",
        "kwargs": { "uid": ["snake", "u"], "addr": ["127.0.0.1", 7] }, "uid": ["snake", "u"],
    });
    let words = [frame(&aid("snake", "u")), frame(&start)].concat();
    let words: String = words.iter().map(|it| format!("{it:02x}")).collect();
    let program = "\
import socket, sys, time
registrar = socket.socket(socket.AF_UNIX)
registrar.connect(sys.argv[1])
registrar.sendall(bytes.fromhex(sys.argv[2]))
heard = b''
while b'Return' not in heard:
    heard += registrar.recv(4096)
registrar.close()
print('registered', flush=True)
time.sleep(600)
";
    let path = registrar.unix.to_string().replacen("/unix", "", 1);
    let command = [wrapper, &["python3", "-c", program, &path, &words]].concat();
    let spawned = Command::new(command[0])
        .args(&command[1..])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut process = match spawned {
        Ok(process) => process,
        Err(error) => {
            eprintln!("SKIPPED: {} cannot be started: {error}", command[0]);
            return None;
        }
    };
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let line = timeout(LIMIT, lines.next_line()).await.unwrap().unwrap();
    if line.is_none() && !wrapper.is_empty() {
        eprintln!("SKIPPED: this machine makes no network namespace");
        return None;
    }
    assert_eq!(line.as_deref(), Some("registered"));
    Some(process)
}

/// The end of a program that registered over TCP shows only in its silence.
#[tokio::test]
async fn an_actor_that_does_not_answer_any_more_is_gone() {
    let registrar = Registrar::start().await;
    let [stays, mut goes_away] = [
        Actor::listen("/ip4/127.0.0.1/tcp/0", "stays", "s").await,
        Actor::listen("/ip4/127.0.0.1/tcp/0", "goes", "g").await,
    ];
    registrar.register("stays", "s", &stays.addr).await;
    registrar.register("goes", "g", &goes_away.addr).await;
    let mut watch = registrar.watch("goes").await;
    // Both are seen alive, until the next look is as late as possible.
    goes_away.was_probed(2).await;
    drop(goes_away);
    assert_eq!(removed(&mut watch).await, RemovalReason::FoundDead);
    assert_eq!(registrar.find("stays").await, json!([stays.addr]));
}

#[tokio::test]
async fn a_report_of_death_does_not_remove_a_living_actor() {
    let registrar = Registrar::start().await;
    let actor = Actor::listen("/ip4/127.0.0.1/tcp/0", "snake", "u").await;
    registrar.register("snake", "u", &actor.addr).await;
    let mut liar = registrar.visit("liar", "l").await;
    let said = json!({ "addr": actor.addr });
    assert_eq!(liar.returned("delete_addr", said.clone()).await, Value::Null);
    assert_eq!(registrar.find("snake").await, json!([actor.addr]));
    let unknown = json!({ "addr": ["127.0.0.1", 1] });
    assert_eq!(liar.returned("delete_addr", unknown).await, Value::Null);

    drop(actor);
    assert_eq!(liar.returned("delete_addr", said).await, json!(["snake", "u"]));
    assert_eq!(registrar.find("snake").await, Value::Null);
}

/// The port has since gone to another actor, which answers with its own name.
#[tokio::test]
async fn an_actor_in_the_place_of_another_shows_that_the_other_is_gone() {
    let registrar = Registrar::start().await;
    let other = Actor::listen("/ip4/127.0.0.1/tcp/0", "other", "o").await;
    registrar.register("snake", "u", &other.addr).await;
    let mut teller = registrar.visit("teller", "t").await;
    let said = json!({ "addr": other.addr });
    assert_eq!(teller.returned("delete_addr", said).await, json!(["snake", "u"]));

    // No report is needed: the newer claim to the place is evidence.
    registrar.register("snake", "u", &other.addr).await;
    let mut watch = registrar.watch("snake").await;
    registrar.register("other", "o", &other.addr).await;
    assert_eq!(removed(&mut watch).await, RemovalReason::FoundDead);
    assert_eq!(registrar.find("other").await, json!([other.addr]));
}

/// A program stopped by a debugger accepts connections and stays silent. It becomes suspect, and
/// stays registered.
#[tokio::test]
async fn a_program_that_is_stopped_is_suspect_until_it_answers() {
    let registrar = Registrar::start().await;
    let listener = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse().unwrap()).await.unwrap();
    registrar.register("snake", "u", &pair(listener.bound())).await;
    let mut watch = registrar.watch("snake").await;
    let mut teller = registrar.visit("teller", "t").await;
    let said = json!({ "addr": pair(listener.bound()) });
    assert_eq!(teller.returned("delete_addr", said.clone()).await, Value::Null);
    let is_suspect = suspicion(&mut watch).await;
    assert!(is_suspect);
    assert_eq!(registrar.find("snake").await, json!([pair(listener.bound())]));

    let answering = async {
        loop {
            let mut stream = listener.accept().await.unwrap();
            drop(stream.write_all(&frame(&aid("snake", "u"))).await);
        }
    };
    tokio::select! {
        () = answering => {}
        is_suspect = suspicion(&mut watch) => assert!(!is_suspect),
    }
}

/// A second registrant of the same instance has nothing to do with its life, and may end.
#[tokio::test]
async fn a_registration_said_again_is_not_kept_by_who_said_it() {
    let registrar = Registrar::start().await;
    let actor = Actor::listen("/ip4/127.0.0.1/tcp/0", "snake", "u").await;
    registrar.register("snake", "u", &actor.addr).await;
    let record = || registrar.registry.instances(&"snake".parse().unwrap()).remove(0);
    // The instance is ready once the connection that registered it has ended.
    while record().state != State::Ready {
        tokio::task::yield_now().await;
    }
    let before = record();
    let mut again = ForeignSession::greet(&registrar.unix, "snake", "u").await;
    let kwargs = json!({ "uid": ["snake", "u"], "addr": actor.addr });
    assert_eq!(again.returned("register_actor", kwargs).await, Value::Null);
    assert_eq!(record(), before, "it is the registration of the first");
}

/// Waits for the next change of an instance, and returns whether it is suspect then.
async fn suspicion(watch: &mut Watch) -> bool {
    let changed = async {
        loop {
            if let Some(Change::Update { record }) = watch.next().await {
                return record.suspicion.is_some();
            }
        }
    };
    timeout(LIMIT, changed).await.unwrap()
}

/// A dial of a silent program may take forever.
#[tokio::test]
async fn a_mute_actor_is_suspect_until_it_answers_and_hides_nobody() {
    for unix in [false, true] {
        let registrar = Registrar::start().await;
        let at = if unix { &registrar.unix } else { &registrar.tcp };
        let register = async |uuid: &str, addr: &Value| {
            let mut session = ForeignSession::greet(at, "twin", uuid).await;
            let kwargs = json!({ "uid": ["twin", uuid], "addr": addr });
            session.returned("register_actor", kwargs).await;
        };
        let healthy = Actor::listen("/ip4/127.0.0.1/tcp/0", "twin", "u1").await;
        register("u1", &healthy.addr).await;
        let path = format!("/unix{}/twin@7.sock", registrar.folder.path().display());
        let mute = Listener::bind(&path.parse().unwrap()).await.unwrap();
        let addr = pair(mute.bound());
        register("u2", &addr).await;
        assert_eq!(registrar.find("twin").await, json!([addr]), "the newest");

        let mut watch = registrar.watch("twin").await;
        is_suspect(&mut watch, true).await;
        assert_eq!(registrar.find("twin").await, json!([healthy.addr]));
        let mut session = registrar.visit("asker", "asker").await;
        let waited = session.returned("wait_for_actor", json!({ "name": "twin" })).await;
        assert_eq!(waited, json!([healthy.addr]));

        let _serving = Actor::serve(mute, "twin", "u2");
        is_suspect(&mut watch, false).await;
        assert_eq!(registrar.find("twin").await, json!([addr]));
    }
}

/// Waits until an instance is reported as suspect, or as cleared.
async fn is_suspect(watch: &mut Watch, expected: bool) {
    let told = async {
        loop {
            if let Some(Change::Update { record }) = watch.next().await
                && record.suspicion.is_some() == expected
            {
                return;
            }
        }
    };
    timeout(LIMIT, told).await.unwrap();
}
