//! The processes of these tests, each in its own place. They run this program itself, and in it the
//! one test [`play`].

use std::{
    collections::BTreeMap,
    env,
    io::{Read, Write},
    time::Duration,
};

use callsign::{
    Acceptor, CancellationToken, Client, ClientOptions, DialOptions, Endpoint, FindError,
    HandshakeOptions, Listener, Outcome, Published, Registration, Stream, TlsFiles,
    registrar::{Node, NodeOptions},
    set_tls,
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};

use crate::{between, impostor, relay};

/// The variable that holds a [`Task`].
pub(crate) const TASK: &str = "CALLSIGN_TEST_TASK";

/// A caller's message to an actor, which nobody else may hear.
pub(crate) const SECRET: &str = "for the one that is meant";

/// The role of a process, and the root that it takes first.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Task {
    pub(crate) root: Option<String>,
    /// The certificate that it shows: a folder of keys, and a name in it.
    pub(crate) certificate: Option<(String, String)>,
    pub(crate) role: Role,
}

/// The role of a process. It lasts until its standard input ends.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) enum Role {
    /// Binds endpoints, and registers each as a separate actor: with a lease if it has a time to
    /// live, else for its session.
    Registrant { registrar: String, actors: Vec<Actor>, lease: Option<Duration> },
    /// Binds the same endpoints where it can.
    Impostor { endpoints: Vec<String> },
    /// Lets one process after another play a role, each with the same number: at each line that it
    /// reads, the last one is killed and the next begins.
    Relay { pid: u32, role: Box<Self> },
    /// Registers over the raw protocol, and gives its connection to a child that outlives it.
    Parent { registrar: String },
    /// Keeps the registry.
    Registrar { listen: Vec<String> },
    /// Listens at one place, and registers an actor as if it were at another.
    Behind { registrar: String, name: String, listen: String, at: String },
    /// Takes callers at one place, and passes on what they and an actor at another say.
    Between { listen: String, to: String },
    /// Looks up actors, connects to each, and ends.
    Caller { registrar: String, names: Vec<String> },
}

/// The description of an actor.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Actor {
    pub(crate) name: String,
    /// The endpoints to bind.
    pub(crate) endpoints: Vec<String>,
    /// Whether it speaks the protocol, and proves its identity.
    pub(crate) proves: bool,
}

/// The registrar's endpoints.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Listening {
    pub(crate) endpoints: Vec<String>,
}

/// A registrant's registrations: the endpoints of each actor.
pub(crate) type Registered = BTreeMap<String, Vec<String>>;

/// A loss that a registrant was told of.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Told {
    pub(crate) lost: String,
}

/// A caller's findings: the result for each actor.
pub(crate) type Found = BTreeMap<String, Call>;

/// The result of one look-up.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Call {
    /// The connected instance, if any, and its answer.
    pub(crate) heard: Option<(String, String)>,
    pub(crate) candidates: Vec<Candidate>,
}

/// A caller's judgement of one endpoint.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Candidate {
    pub(crate) endpoint: String,
    /// Its locality; `None` if it is left out.
    pub(crate) locality: Option<String>,
    /// The reason why it is left out, or the result of its dial.
    pub(crate) outcome: String,
}

/// Plays the role that the environment names. It does nothing in an ordinary run.
#[test]
fn play() {
    let Ok(task) = env::var(TASK) else { return };
    let task: Task = serde_json::from_str(&task).unwrap();
    if let Some(root) = &task.root {
        rustix::process::chroot(root).unwrap();
        env::set_current_dir("/").unwrap();
    }
    if let Some((folder, name)) = &task.certificate {
        let folder = std::path::Path::new(folder);
        let ca = folder.join("ca.pem");
        let [certificate, key] = ["pem", "key"].map(|end| folder.join(format!("{name}.{end}")));
        set_tls(TlsFiles { ca, certificate, key }).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match task.role {
        Role::Registrant { registrar, actors, lease } => {
            runtime.block_on(register(&registrar, &actors, lease));
        }
        Role::Parent { registrar } => relay::be_a_parent(&registrar),
        Role::Relay { pid, role } => relay::run(pid, &role),
        Role::Registrar { listen } => runtime.block_on(keep(&listen)),
        Role::Impostor { endpoints } => impostor::pose(&endpoints),
        Role::Behind { registrar, name, listen, at } => {
            runtime.block_on(register_behind(&registrar, &name, &listen, &at));
        }
        Role::Between { listen, to } => runtime.block_on(between::pass_on(&listen, &to)),
        Role::Caller { registrar, names } => say(&runtime.block_on(call_all(&registrar, &names))),
    }
}

/// Writes a line of JSON for the test.
pub(crate) fn say(what: &impl Serialize) {
    // The test harness may be in the middle of a line.
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "\n{}", serde_json::to_string(what).unwrap()).unwrap();
}

/// Waits for the end of standard input, on a separate thread.
pub(crate) async fn told_to_end() {
    let wait = || std::io::stdin().read_to_end(&mut Vec::new());
    tokio::task::spawn_blocking(wait).await.unwrap().unwrap();
}

async fn keep(listen: &[String]) {
    let listen: Vec<Endpoint> = listen.iter().map(|it| it.parse().unwrap()).collect();
    let settle_time = Duration::ZERO;
    let options = NodeOptions { settle_time, insecure: true, ..NodeOptions::default() };
    let node = Node::bind(&listen, options).await.unwrap();
    say(&Listening { endpoints: node.endpoints().iter().map(Endpoint::to_string).collect() });
    let stop = CancellationToken::new();
    let ending = async {
        told_to_end().await;
        stop.cancel();
    };
    tokio::join!(node.serve(stop.clone()), ending);
}

async fn register(registrar: &str, actors: &[Actor], lease: Option<Duration>) {
    let client = Client::connect_with([registrar], patient()).await.unwrap();
    let (mut serving, mut telling) = (JoinSet::new(), JoinSet::<()>::new());
    let mut kept = Vec::new();
    let mut said = Registered::new();
    for Actor { name, endpoints, proves } in actors {
        let mut listeners = Vec::new();
        for endpoint in endpoints {
            listeners.push(Listener::bind(&endpoint.parse().unwrap()).await.unwrap());
        }
        let published: Published = listeners.iter().map(Listener::published).collect();
        let mut registration = Registration::new(name).endpoints(published);
        if let Some(ttl) = lease {
            registration = registration.lease(ttl);
        }
        if *proves {
            registration = registration.proves();
        }
        let registered = client.register(registration).await.unwrap();
        let endpoints = registered.endpoints().iter().map(|it| it.endpoint.to_string()).collect();
        said.insert(name.clone(), endpoints);
        let mut losses = registered.losses();
        telling.spawn(async move {
            loop {
                say(&Told { lost: losses.next().await.to_string() });
            }
        });
        for listener in listeners {
            let instance = registered.instance().to_string();
            if *proves {
                let identity = registered.identity().clone();
                let acceptor = Acceptor::new(listener, identity, HandshakeOptions::default());
                serving.spawn(receive(acceptor, instance));
            } else {
                serving.spawn(serve(listener, instance));
            }
        }
        kept.push(registered);
    }
    say(&said);
    told_to_end().await;
    for registered in kept {
        registered.unregister().await;
    }
}

/// Returns the options of a client that waits for a busy machine.
fn patient() -> ClientOptions {
    let limit = Duration::from_secs(60);
    ClientOptions {
        insecure: true,
        dial_timeout: limit,
        handshake_timeout: limit,
        ask_timeout: limit,
        ..ClientOptions::default()
    }
}

/// Registers one actor at a place where it does not listen itself.
async fn register_behind(registrar: &str, name: &str, listen: &str, at: &str) {
    let client = Client::connect_with([registrar], patient()).await.unwrap();
    let listener = Listener::bind(&listen.parse().unwrap()).await.unwrap();
    let registration = Registration::new(name).endpoint(at).unwrap().proves();
    let registered = client.register(registration).await.unwrap();
    say(&Registered::from([(name.to_owned(), vec![at.to_owned()])]));
    let (identity, instance) = (registered.identity().clone(), registered.instance().to_string());
    let mut serving = JoinSet::new();
    let acceptor = Acceptor::new(listener, identity, HandshakeOptions::default());
    serving.spawn(receive(acceptor, instance));
    told_to_end().await;
    registered.unregister().await;
}

/// Converses with each caller after it has proved its identity.
async fn receive(mut acceptor: Acceptor, instance: String) {
    let mut conversations = JoinSet::new();
    loop {
        let stream = acceptor.accept().await.into_stream();
        conversations.spawn(converse(stream, instance.clone()));
    }
}

/// Converses with each caller, as a program that does not know of callsign.
async fn serve(listener: Listener, instance: String) {
    let mut conversations = JoinSet::new();
    loop {
        let stream = listener.accept().await.unwrap();
        conversations.spawn(converse(stream, instance.clone()));
    }
}

/// Tells a caller who this is and what it has received.
async fn converse(mut stream: Stream, instance: String) {
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await.unwrap();
    stream.write_all(answer(&instance, &heard).as_bytes()).await.unwrap();
}

/// Returns the message of an actor to a caller.
fn answer(instance: &str, heard: &str) -> String {
    format!("{instance} has heard: {heard}")
}

impl Call {
    /// Tells whether the message has reached the instance that it was meant for.
    pub(crate) fn is_answered(&self) -> bool {
        let is_its_own = |(instance, heard): &(String, String)| *heard == answer(instance, SECRET);
        self.heard.as_ref().is_some_and(is_its_own)
    }
}

async fn call_all(registrar: &str, names: &[String]) -> Found {
    // In turn and not by the clock, however slow the machine.
    let dial = DialOptions {
        timeout: Duration::from_secs(10),
        stagger_within_host: Duration::from_secs(10),
        stagger_beyond: Duration::from_secs(10),
        ..DialOptions::default()
    };
    let options = ClientOptions { dial, ..patient() };
    let client = Client::connect_with([registrar], options).await.unwrap();
    let mut found = Found::new();
    for name in names {
        found.insert(name.clone(), call(&client, name).await);
    }
    // The earlier reports are at the registrar once this is answered.
    client.status().await;
    found
}

/// Looks up an actor, and connects to it.
pub(crate) async fn call(client: &Client, name: &str) -> Call {
    let mut assurance = String::new();
    let (heard, explanation) = match client.find_actor(name).await {
        Ok(None) => panic!("`{name}` is not registered any more"),
        Ok(Some(mut connection)) => {
            connection.write_all(SECRET.as_bytes()).await.unwrap();
            connection.shutdown().await.unwrap();
            let mut heard = String::new();
            connection.read_to_string(&mut heard).await.unwrap();
            assurance = connection.assurance.to_string();
            (Some((connection.record.instance().to_string(), heard)), connection.explanation)
        }
        Err(FindError::NoneAnswered(none)) => (None, none.explanation),
        Err(error) => panic!("{error}"),
    };
    let candidates = explanation.candidates.iter().map(|it| Candidate {
        endpoint: it.stamped.endpoint.to_string(),
        locality: it.verdict.as_ref().ok().map(|it| it.to_string()),
        outcome: match (&it.verdict, &it.outcome) {
            (Err(why), _) => why.to_string(),
            (Ok(_), Outcome::Connected { .. }) => assurance.clone(),
            (Ok(_), Outcome::Failed { error, .. }) => error.to_string(),
            (Ok(_), _) => "not needed".to_owned(),
        },
    });
    Call { heard, candidates: candidates.collect() }
}
