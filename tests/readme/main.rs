//! Tests that the documented behaviour in README.md and `examples/` is real.
//!
//! The console blocks of README.md are one session: [`session`] types their commands into a shell
//! and compares the output, with everything that differs between runs masked by [`mask`].
//! [`library`] compiles the program, and the examples run here as well.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

mod library;
mod mask;
mod session;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use callsign::{
    CancellationToken, Client, Endpoint, Registration,
    registrar::{Node, NodeOptions},
};
use tempfile::TempDir;
use tokio::{task::JoinSet, time::timeout};

use self::{mask::masked, session::Session};

#[test]
fn the_session_in_the_readme_is_what_happens() {
    if !runs("bash") || !runs("python3") {
        eprintln!("skipped: the session needs bash and python3");
        return;
    }
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let mut session = Session::start();
    let mut anew = String::new();
    for (at, part) in readme.split("```console\n").enumerate() {
        let (block, prose) = match at {
            0 => ("", part),
            _ => part.split_once("```").expect("every block ends"),
        };
        if at > 0 {
            anew += "```console\n";
            for step in block.split("$ ").skip(1) {
                let (command, shown) = step.split_once('\n').unwrap();
                anew += &format!("$ {command}\n{}", updated(shown, &session.run(command, shown)));
            }
            anew += "```";
        }
        anew += prose;
    }
    drop(session);
    let (shown, happened) = (masked(&readme), masked(&anew));
    if shown != happened {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("README.md");
        fs::write(&path, &anew).unwrap();
        let mut lines = shown.lines().zip(happened.lines()).enumerate();
        let differ = lines.find(|(_, (one, other))| one != other);
        let (at, (shown, happened)) = differ.unwrap_or((0, ("less", "more")));
        panic!(
            "README.md:{}: shows     {shown}\nwhat happens is {happened}\n\
             README.md as it should be is in {}; look at the difference",
            at + 1,
            path.display()
        );
    }
}

#[test]
fn the_example_embedded_shows_an_actor_come_and_go() {
    let output = Command::new(example("embedded")).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, "risk.eu is starting\nrisk.eu is ready\nrisk.eu is gone\n");
}

#[test]
fn the_example_follow_sees_its_registrar_go_and_come_back() {
    let output = Command::new(example("follow")).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let expected = "current: nobody, known\n\
                    current: /memory/7, known\n\
                    unreachable: /memory/7, as it was\n\
                    current: /memory/7, known\n\
                    current: nobody, known\n";
    assert_eq!((text.as_str(), output.status.success()), (expected, true));
}

#[test]
fn the_example_cache_opens_once_and_closes_once() {
    let output = Command::new(example("cache")).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let expected = "market: opened\nmarket: closed\narchive: opened\narchive: closed\n";
    assert_eq!((text.as_str(), output.status.success()), (expected, true));
}

#[tokio::test]
async fn a_client_written_from_the_protocol_document_finds_an_actor() {
    if !runs("python3") {
        eprintln!("skipped: the client needs python3");
        return;
    }
    let folder = TempDir::new().unwrap();
    let socket = Endpoint::from_unix_path(&folder.path().join("registrar.sock")).unwrap();
    let listen = [socket, "/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    let node = Node::bind(&listen, NodeOptions::default()).await.unwrap();
    let (registrars, stop) = (node.endpoints(), CancellationToken::new());
    let mut tasks = JoinSet::new();
    tasks.spawn(node.serve(stop.clone()));
    let client = Client::connect(&registrars[..1]).await.unwrap();
    let feed = Registration::new("feed").endpoint("/unix/@feed").unwrap();
    let feed = feed.endpoint("/ip4/127.0.0.1/tcp/5554").unwrap();
    let registered = client.register(feed).await.unwrap();

    let uuid = registered.instance().uuid.simple();
    let found = format!("feed {uuid} /unix/@feed /ip4/127.0.0.1/tcp/5554\n");
    for registrar in &registrars {
        assert_eq!(lookup(registrar, "feed").await, (true, found.clone(), String::new()));
        let nobody = "no actor fed is ready\n".to_owned();
        assert_eq!(lookup(registrar, "fed").await, (false, String::new(), nobody));
    }

    client.close().await;
    stop.cancel();
    while tasks.join_next().await.is_some() {}
}

/// Returns the output, with the document's lines where those match as well.
fn updated(shown: &str, printed: &str) -> String {
    let mut shown = shown.lines();
    let mut line = |printed: &str| {
        let shown = shown.next().filter(|it| masked(it) == masked(printed));
        shown.unwrap_or(printed).trim_end().to_owned() + "\n"
    };
    printed.lines().map(&mut line).collect()
}

/// Runs `examples/lookup.py`; tells whether it succeeded, with its output.
async fn lookup(registrar: &Endpoint, name: &str) -> (bool, String, String) {
    let mut python = tokio::process::Command::new("python3");
    python.arg(root().join("examples/lookup.py")).args([&registrar.to_string(), name]);
    let output = timeout(LONG, python.kill_on_drop(true).output()).await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

/// Longer than any of this takes on a busy machine.
const LONG: Duration = Duration::from_secs(120);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is a folder")
}

/// Returns the folder of the binary; that of the examples is below it.
fn programs() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_callsign")).parent().expect("a program lies in a folder")
}

fn example(name: &str) -> PathBuf {
    let path = programs().join("examples").join(name);
    assert!(path.exists(), "{name} is not built; run `cargo build --examples`");
    path
}

fn runs(program: &str) -> bool {
    let mut command = Command::new(program);
    let quiet = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|it| it.success())
}
