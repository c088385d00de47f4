//! A port, a path or a name that passes to another actor while a call is in transit.
//!
//! A caller knows where an actor was a moment ago. The present holder has the same address, speaks
//! the same protocol, and may even have the same inode; only its identity differs. Every actor here
//! distinguishes a message for another from one for itself.

use std::{
    fmt,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use callsign::{
    Acceptor, Assurance, BindError, CancellationToken, Client, Connection, DialOptions, Endpoint,
    FindError, HandshakeOptions, Listener, NoneAnswered, Outcome, Registered, Registration,
    connect_nearest,
    registrar::{Node, NodeOptions},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::{JoinSet, yield_now},
    time::timeout,
};

use crate::harness::{LIMIT, Room, rounds};

/// The number of times that each place changes hands, unless set higher.
const FEW: usize = 300;

#[test]
fn a_port_that_goes_to_another_actor() {
    recycle("/ip4/127.0.0.1/tcp/0");
}

#[test]
fn a_path_that_goes_to_another_actor() {
    let room = Room::new();
    recycle(&room.unix("actor.sock"));
}

#[test]
fn an_abstract_name_that_goes_to_another_actor() {
    let room = Room::new();
    recycle(&room.abstract_unix("actor"));
}

/// Passes a place from actor to actor, each time at another moment of a call.
#[expect(clippy::print_stdout, reason = "it tells how often each outcome was tested")]
fn recycle(place: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let world = World::new().await;
        let counts = Counts::default();
        let first = Actor::start(&world, &place.parse().unwrap(), "actor-0", &counts).await;
        let (mut actor, rounds) = (first, rounds(FEW));
        for round in 1..=rounds {
            let change = world.change_hands(actor, round, &counts);
            actor = timeout(LIMIT, change).await.unwrap_or_else(|_| panic!("round {round} hangs"));
        }
        drop(actor);
        println!("{place}: {rounds} rounds, {counts}");
        assert_eq!(counts.wrong.load(Relaxed), 0, "{counts}");
        // The test covers both cases: each has happened.
        assert!(counts.right.load(Relaxed) > 0 && counts.refused.load(Relaxed) > 0, "{counts}");
    });
}

/// A registrar, a client with which actors are registered, and one that calls them.
struct World {
    registrants: Client,
    caller: Client,
    _node: JoinSet<()>,
}

impl World {
    async fn new() -> Self {
        let listen = ["/memory/0".parse().unwrap()];
        let node = Node::bind(
            &listen,
            NodeOptions { settle_time: Duration::ZERO, ..NodeOptions::default() },
        )
        .await
        .unwrap();
        let endpoints = node.endpoints();
        let mut tasks = JoinSet::new();
        tasks.spawn(node.serve(CancellationToken::new()));
        let [registrants, caller] = [
            Client::connect(&endpoints).await.unwrap(),
            Client::connect(&endpoints).await.unwrap(),
        ];
        Self { registrants, caller, _node: tasks }
    }

    /// Lets another actor take the place of one in the middle of a call of it, and returns the new
    /// one.
    async fn change_hands(&self, old: Actor, round: usize, counts: &Counts) -> Actor {
        let old_name = old.registered.instance().name.as_str().to_owned();
        let stale = self.caller.query_ready(&old_name).await.unwrap().records;
        assert_eq!(stale.len(), 1);
        let mut call = pin!(self.caller.find_actor(&old_name));
        // An undisturbed call is complete after three or four of these.
        let mut early = None;
        for _ in 0..round % 5 {
            tokio::select! {
                biased;
                done = &mut call => {
                    early = Some(done);
                    break;
                }
                () = yield_now() => {}
            }
        }

        let Actor { endpoint, registered, mut serving } = old;
        serving.shutdown().await;
        // In every other round the new one has another name.
        let name = format!("actor-{}", round / 2 % 2);
        let new = Actor::start(self, &endpoint, &name, counts).await;
        if new.registered.endpoints() == stale[0].endpoints {
            counts.twins.fetch_add(1, Relaxed);
        }
        let done = match early {
            Some(done) => done,
            None => call.await,
        };
        // The old one is still registered: nobody has noticed that it is gone.
        counts.settle(done).await;
        let stale = connect_nearest(&stale, &DialOptions::default()).await;
        counts.refuse(&stale.expect_err("a record of one that is gone leads to nobody"));
        if name != old_name {
            counts.settle(self.caller.find_actor(&old_name).await).await;
        }
        drop(registered);
        let found = self.caller.find_actor(&name).await;
        let found = found.unwrap_or_else(|error| panic!("{error}")).expect("it is there");
        assert_eq!(found.record.instance(), *new.registered.instance());
        counts.settle(Ok(Some(found))).await;
        new
    }
}

/// An actor that waits for messages meant for it.
struct Actor {
    endpoint: Endpoint,
    registered: Registered,
    serving: JoinSet<()>,
}

impl Actor {
    async fn start(world: &World, endpoint: &Endpoint, name: &str, counts: &Counts) -> Self {
        let listener = loop {
            match Listener::bind(endpoint).await {
                // A concurrent test has just forked, and has yet to close its copies.
                Err(BindError::InUse { .. }) => yield_now().await,
                bound => break bound.unwrap(),
            }
        };
        let endpoint = listener.bound().clone();
        let registration = Registration::new(name).endpoints(listener.published()).proves();
        let registered = world.registrants.register(registration).await.unwrap();
        let identity = registered.identity().clone();
        let acceptor = Acceptor::new(listener, identity, HandshakeOptions::default());
        let mut serving = JoinSet::new();
        serving.spawn(listen(acceptor, registered.instance().to_string(), counts.clone()));
        Self { endpoint, registered, serving }
    }
}

/// Reads each caller to its end, and answers.
async fn listen(mut acceptor: Acceptor, own: String, counts: Counts) {
    let mut conversations = JoinSet::new();
    loop {
        let mut stream = acceptor.accept().await.into_stream();
        let (own, counts) = (own.clone(), counts.clone());
        conversations.spawn(async move {
            let mut heard = String::new();
            // A peer that hangs up has sent nothing.
            if stream.read_to_string(&mut heard).await.is_ok() && !heard.is_empty() {
                let count = if heard == own { &counts.right } else { &counts.wrong };
                count.fetch_add(1, Relaxed);
                drop(stream.write_all(own.as_bytes()).await);
            }
        });
    }
}

/// The fate of all messages.
#[derive(Clone, Debug, Default)]
struct Counts {
    /// Read by the intended actor.
    right: Arc<AtomicU32>,
    /// Read by another actor.
    wrong: Arc<AtomicU32>,
    /// Not sent, because another actor was there.
    refused: Arc<AtomicU32>,
    /// Not sent, because nobody was there, or the path led to another socket.
    nobody: Arc<AtomicU32>,
    /// Sent to an actor that has just gone.
    gone: Arc<AtomicU32>,
    /// The number of times that a path has led to a socket with the previous one's stamp.
    twins: Arc<AtomicU32>,
}

impl Counts {
    /// Sends the reached actor its intended name, and checks that this actor answers.
    async fn settle(&self, found: Result<Option<Connection>, FindError>) {
        let mut connection = match found {
            Ok(Some(connection)) => connection,
            Ok(None) => {
                self.nobody.fetch_add(1, Relaxed);
                return;
            }
            Err(FindError::NoneAnswered(none)) => return self.refuse(&none),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(connection.assurance, Assurance::Proved);
        let meant = connection.record.instance().to_string();
        drop(connection.write_all(meant.as_bytes()).await);
        drop(connection.shutdown().await);
        let mut heard = String::new();
        // An actor that was reached just before it ended may not answer.
        drop(connection.read_to_string(&mut heard).await);
        assert!(heard.is_empty() || heard == meant, "{heard} answers, not {meant}");
        if heard.is_empty() {
            self.gone.fetch_add(1, Relaxed);
        }
    }

    fn refuse(&self, none: &NoneAnswered) {
        let mut candidates = none.explanation.candidates.iter();
        let is_refused = candidates.any(|it| matches!(it.outcome, Outcome::Failed { .. }));
        let count = if is_refused { &self.refused } else { &self.nobody };
        count.fetch_add(1, Relaxed);
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { right, wrong, refused, nobody, gone, twins } = self;
        let [right, wrong, refused, nobody, gone, twins] =
            [right, wrong, refused, nobody, gone, twins].map(|it| it.load(Relaxed));
        write!(
            f,
            "{right} words heard by the one that was meant, {wrong} by another; {refused} not said \
             because another was there, {nobody} because nobody was, {gone} to one that had just \
             gone; stamped as the one before: {twins}"
        )
    }
}
