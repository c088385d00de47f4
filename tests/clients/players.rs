//! The clients that play.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use callsign::{Client, ClientOptions, DialOptions, LookupResult, TlsFiles, set_tls};
use tokio::time::timeout;

use crate::harness::{LIMIT, Room, Running};

/// A client that can be asked.
#[derive(Debug)]
pub(crate) struct Player {
    name: &'static str,
    /// The process that asks, if it is one for all questions.
    process: Option<Running>,
    keys: Keys,
}

/// Certificates for this host: of the authority that all clients and actors trust, whose certificate
/// they show, and of another.
#[derive(Clone, Debug)]
pub(crate) struct Keys(PathBuf);

impl Keys {
    fn new(room: &Room) -> Self {
        for folder in ["keys", "others"] {
            room.callsign(&["keys", "init", folder]).succeeds();
            room.callsign(&["keys", "issue", folder, "it", "--host", "127.0.0.1"]).succeeds();
        }
        Self(room.path().to_owned())
    }

    /// Returns the files of the certificate of one of the authorities.
    pub(crate) fn files(&self, folder: &str) -> TlsFiles {
        let [ca, certificate, key] =
            ["ca.pem", "it.pem", "it.key"].map(|it| self.0.join(folder).join(it));
        TlsFiles { ca, certificate, key }
    }
}

impl Player {
    /// Returns those that this machine has what they need for.
    #[expect(clippy::print_stderr, reason = "who runs it is to see that it is skipped")]
    pub(crate) fn available(room: &Room) -> Vec<Self> {
        let keys = Keys::new(room);
        let tls = keys.files("keys");
        set_tls(tls.clone()).unwrap();
        let player = |name, process| Self { name, process, keys: keys.clone() };
        let mut players = vec![player("rust", None)];
        if !python().exists() {
            eprintln!(
                "SKIPPED: `cargo xtask test` has installed no packages for the Python client"
            );
            return players;
        }
        for backend in ["asyncio", "trio"] {
            let mut command = room.other_command(&python().display().to_string());
            command.env("PYTHONPATH", workspace().join("clients/python/src"));
            command.env("PYTHONDONTWRITEBYTECODE", "1");
            command.arg(workspace().join("tests/clients/player.py")).arg(backend);
            command.args([&tls.ca, &tls.certificate, &tls.key]);
            players.push(player(backend, Some(Running::start(command))));
        }
        players.push(player("lookup.py", None));
        players
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Tells whether a look-up waits for a registrar that has just started.
    pub(crate) fn waits_for_the_young(&self) -> bool {
        self.name != "lookup.py"
    }

    /// Tells whether it speaks TLS.
    pub(crate) fn speaks_tls(&self) -> bool {
        self.name != "lookup.py"
    }

    /// Returns the certificates of the stage.
    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Puts a question to registrars; `None` if the client does not have it.
    pub(crate) fn ask(&mut self, room: &Room, question: &str, at: &[String]) -> Option<String> {
        let (what, name) = question.rsplit_once(' ').unwrap();
        let said = match &mut self.process {
            Some(process) => {
                let words: Vec<_> =
                    [what, name].into_iter().chain(at.iter().map(|it| &**it)).collect();
                process.type_line(&words.join("\t"));
                process.line("an answer", |_| true)
            }
            None if self.name == "rust" => runtime().block_on(ask_rust(what, name, at)),
            None if what == "query" => lookup(room, at, name)?,
            None => return None,
        };
        Some(masked(&said, room))
    }
}

async fn ask_rust(question: &str, name: &str, registrars: &[String]) -> String {
    let (is_hasty, question) = match question.strip_prefix("hasty ") {
        Some(question) => (true, question),
        None => (false, question),
    };
    let patience = is_hasty.then_some(Duration::ZERO);
    // On a busy machine the nearest may take longer than its head start.
    let dial = DialOptions { stagger_within_host: LIMIT, ..DialOptions::default() };
    let options = ClientOptions { patience, dial, ..ClientOptions::default() };
    let client = Client::open(registrars, options).unwrap();
    let said = match question {
        "query" => client.query_ready(name).await.and_then(LookupResult::complete).map(found),
        "query all" => client.query_all(name).await.and_then(LookupResult::complete).map(found),
        "list" => client.list(name).await.and_then(LookupResult::complete).map(listed),
        "wait" => client.wait_for_actor(name).await.map(|it| {
            found(LookupResult { records: vec![it], total: 1, ..LookupResult::default() })
        }),
        "briefly wait" => {
            match timeout(Duration::from_millis(300), client.wait_for_actor(name)).await {
                Ok(came) => came.map(|it| format!("{} came", it.name)),
                Err(_) => Ok("waits".to_owned()),
            }
        }
        "find" => {
            return match client.find_actor(name).await {
                Ok(Some(it)) => format!("{} ({}), {}", it.endpoint, it.locality, it.assurance),
                Ok(None) => "none".to_owned(),
                Err(error) => error.to_string().replace('\n', " |"),
            };
        }
        other => panic!("there is no question `{other}`"),
    };
    said.unwrap_or_else(|error| error.to_string().replace('\n', " |"))
}

fn found(answer: LookupResult) -> String {
    let Some(first) = answer.records.first() else { return "none".to_owned() };
    let more = if answer.unanswered.is_empty() { "" } else { "; not all registrars answered" };
    let places: Vec<_> = first.endpoints.iter().map(|it| it.endpoint.to_string()).collect();
    let (count, total) = (answer.records.len(), answer.total);
    let (name, state, lifetime) = (&first.name, first.state, first.lifetime);
    format!("{count} of {total}: {name}, {state}, {lifetime}, at {}{more}", places.join(" "))
}

fn listed(answer: LookupResult) -> String {
    let mut names: Vec<_> = answer.records.iter().map(|it| it.name.to_string()).collect();
    names.dedup();
    if names.is_empty() {
        return "none".to_owned();
    }
    format!("{} of {}", answer.records.len(), names.join(", "))
}

/// Runs the example program, which knows one registrar and waits for none.
fn lookup(room: &Room, registrars: &[String], name: &str) -> Option<String> {
    let [registrar] = registrars else { return None };
    let mut command = room.other_command(&python().display().to_string());
    command.arg(workspace().join("examples/lookup.py")).args([registrar, name]);
    let outcome = Running::start(command).outcome();
    let lines = outcome.stdout.lines().count();
    Some(match outcome.stdout.lines().next() {
        Some(first) => format!("{lines}: {}", first.splitn(3, ' ').nth(2).unwrap_or_default()),
        None => outcome.stderr.lines().last().unwrap_or_default().to_owned(),
    })
}

/// Masks what differs from run to run: the room, ports, and durations.
fn masked(said: &str, room: &Room) -> String {
    let folder = room.path().file_name().unwrap().to_str().unwrap();
    let said = said.replace(&room.path().display().to_string(), "/ROOM").replace(folder, "ROOM");
    let mut masked = String::new();
    let mut rest = &*said;
    while let Some((before, after)) = rest.split_once("/tcp/") {
        masked.push_str(before);
        masked.push_str("/tcp/PORT");
        rest = after.trim_start_matches(|it: char| it.is_ascii_digit());
    }
    masked.push_str(rest);
    // Of two limits of 2 s, either may be the first to end.
    let masked = masked.replace("the peer did not complete the handshake", "no answer");
    // The duration of a dial stands in brackets at the end of a line.
    let lines = masked.split(" |").map(|line| match line.rsplit_once(" (") {
        Some((line, took)) if took.ends_with("s)") => line.to_owned(),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join(" |")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn python() -> PathBuf {
    let binary = Path::new(env!("CARGO_BIN_EXE_callsign"));
    binary.ancestors().nth(2).unwrap().join("python-client/bin/python3")
}

fn workspace() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}
