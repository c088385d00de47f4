//! The stages of situations: registrars, actors, impostors.

use std::{
    collections::HashMap,
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixListener,
    thread,
    time::Duration,
};

use callsign::{Acceptor, BindOptions, Client, Listener, Published, Registered, Registration};
use rustix::process::Signal;
use tokio::{io::AsyncWriteExt, runtime::Runtime, task::JoinSet};

use crate::{
    harness::{Node, Room},
    players::Player,
    registrars::{self, Played},
    situation::Situation,
};

/// Stages a situation for a client, and asks it everything.
pub(crate) fn play(situation: &Situation, player: &mut Player) -> Vec<Option<String>> {
    let room = Room::new();
    let mut stage = Stage::new(&room);
    for step in &situation.stage {
        let words: Vec<_> = step.split(' ').collect();
        stage.set(step, &words);
    }
    // The example waits for no young registrar to know what it knew.
    let is_asked = player.waits_for_the_young() || !stage.is_young;
    let mut ask =
        |question: &String| is_asked.then(|| player.ask(&room, question, &stage.places)).flatten();
    let said = situation.questions.iter().map(&mut ask).collect();
    stage.strike();
    said
}

struct Stage<'room> {
    room: &'room Room,
    nodes: Vec<Node<'room>>,
    /// Where the client asks.
    places: Vec<String>,
    played: Vec<Played>,
    /// Where the actors of this process run.
    runtime: Runtime,
    tasks: JoinSet<()>,
    registered: Vec<Registered>,
    /// The sockets of those who only listen.
    sockets: Vec<UnixListener>,
    drawn: usize,
    /// Whether the registrar cannot say yet that a name does not exist.
    is_young: bool,
    /// The clients of this process, each of the registrar at a place.
    clients: HashMap<String, Client>,
}

impl<'room> Stage<'room> {
    fn new(room: &'room Room) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        Self {
            room,
            nodes: Vec::new(),
            places: Vec::new(),
            played: Vec::new(),
            runtime: builder.worker_threads(1).enable_all().build().unwrap(),
            tasks: JoinSet::new(),
            registered: Vec::new(),
            sockets: Vec::new(),
            drawn: 0,
            is_young: false,
            clients: HashMap::new(),
        }
    }

    fn set(&mut self, step: &str, words: &[&str]) {
        match *words {
            ["registrar"] => self.registrar("registrar", "0s"),
            ["settling", "registrar"] => {
                self.is_young = true;
                self.registrar("registrar", "60s");
            }
            ["second", "registrar"] => self.registrar("second", "0s"),
            ["no", "registrar"] => self.places.push(self.room.unix("registrar.sock")),
            ["absent", "second", "registrar"] => self.places.push(self.room.unix("second.sock")),
            ["slow", "registrar"] => self.plays(registrars::slow),
            ["later", "registrar"] => self.plays(registrars::later),
            ["big", "registrar"] => self.plays(registrars::big),
            ["other", "version"] => self.plays(registrars::other_version),
            ["no", "protocol"] => self.plays(registrars::no_protocol),
            ["full", "registrar"] => self.plays(registrars::full),
            ["restart"] => {
                let node = self.nodes.pop().unwrap();
                self.nodes.push(node.restart());
            }
            ["stop"] => self.nodes[0].process().signal(Signal::STOP),
            ["actor", name, ref kinds @ ..] => self.actor(name, kinds),
            ["foreign", name, "path"] => self.foreign(name),
            ["usurp", name] => {
                fs::remove_file(self.room.file(name)).unwrap();
                self.sockets.push(UnixListener::bind(self.room.file(name)).unwrap());
            }
            ["remove", name] => fs::remove_file(self.room.file(name)).unwrap(),
            ["impostor", name, "loopback"] => self.impostor(name),
            ["deserted", name, "abstract"] => {
                let place = self.room.abstract_unix(&format!("{name}-deserted"));
                self.register(Registration::new(name).endpoint(place).unwrap());
            }
            ["lease", name, ttl] => {
                let place = format!("/unix/@{name}");
                let args = ["register", name, &place, "--ttl", ttl];
                self.nodes[0].callsign(&args).succeeds();
            }
            // Each look is a process, which is pause enough.
            ["expired", name] => {
                while self.nodes[0].callsign(&["ls", name]).stdout.contains(name) {}
            }
            ["drain" | "unregister", name] => {
                self.nodes[0].callsign(&[words[0], name]).succeeds();
            }
            ["many", name, count] => {
                for at in 0..count.parse::<usize>().unwrap() {
                    let place = self.room.abstract_unix(&format!("{name}-{at}"));
                    self.register(Registration::new(name).endpoint(place).unwrap());
                }
            }
            _ => panic!("there is no step `{step}`"),
        }
    }

    fn registrar(&mut self, name: &str, settle_time: &str) {
        let place = self.room.unix(&format!("{name}.sock"));
        let more = ["--settle-time", settle_time];
        self.nodes.push(Node::start_with(self.room, &[&place], &more));
        self.places.push(place);
    }

    /// Plays a registrar that answers as `answers` does.
    fn plays(&mut self, answers: fn(&mut registrars::Caller)) {
        let path = self.room.file("registrar.sock");
        self.played.push(Played::start(&path, answers));
        self.places.push(self.room.unix("registrar.sock"));
    }

    /// Runs an actor in this process, which proves who it is.
    fn actor(&mut self, name: &str, kinds: &[&str]) {
        let places: Vec<_> = kinds.iter().map(|kind| self.place(name, kind)).collect();
        let bound = self.runtime.block_on(async {
            let places: Vec<_> = places.iter().map(|it| it.parse().unwrap()).collect();
            Listener::bind_all(&places, BindOptions::default()).await.unwrap()
        });
        let published: Published = bound.iter().map(Listener::published).collect();
        let registration = Registration::new(name).endpoints(published).proves();
        let identity = self.register(registration);
        for listener in bound {
            let mut acceptor = Acceptor::new(listener, identity.clone(), Default::default());
            let serve = async move {
                loop {
                    let mut caller = acceptor.accept().await.into_stream();
                    drop(caller.write_all(b"hello").await);
                }
            };
            self.tasks.spawn_on(serve, self.runtime.handle());
        }
    }

    fn place(&mut self, name: &str, kind: &str) -> String {
        self.drawn += 1;
        let unique = format!("{name}{}", self.drawn);
        match kind {
            "path" => self.room.unix(&unique),
            "abstract" => self.room.abstract_unix(&unique),
            "loopback" => "/ip4/127.0.0.1/tcp/0".to_owned(),
            _ => panic!("there is no kind `{kind}`"),
        }
    }

    /// Registers a socket of somebody who does not know the protocol.
    fn foreign(&mut self, name: &str) {
        self.sockets.push(UnixListener::bind(self.room.file(name)).unwrap());
        self.register(Registration::new(name).endpoint(self.room.unix(name)).unwrap());
    }

    /// Lets a web server listen where an actor is registered that proves who it is.
    fn impostor(&mut self, name: &str) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let serve = move |mut stream: TcpStream| {
            let mut said = [0; 256];
            if stream.read(&mut said).is_ok_and(|it| it > 0) {
                drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
            }
        };
        // It ends with the process: nobody has to be able to stop it.
        thread::spawn(move || listener.incoming().flatten().for_each(serve));
        let place = format!("/ip4/127.0.0.1/tcp/{port}");
        self.register(Registration::new(name).endpoint(place).unwrap().proves());
    }

    /// Registers with the last registrar of the stage, and returns once it is there.
    fn register(&mut self, registration: Registration) -> callsign::Identity {
        let place = self.nodes.last().unwrap().endpoint().to_owned();
        let client = self.clients.entry(place.clone()).or_insert_with(|| {
            self.runtime.block_on(async { Client::connect([&place]).await.unwrap() })
        });
        let registered = self.runtime.block_on(client.register(registration)).unwrap();
        let identity = registered.identity().clone();
        self.registered.push(registered);
        identity
    }

    /// Ends all of it.
    fn strike(mut self) {
        for node in &self.nodes {
            node.process().signal(Signal::CONT);
        }
        self.runtime.block_on(self.tasks.shutdown());
        drop((self.registered, self.clients));
        self.runtime.shutdown_timeout(Duration::from_secs(5));
    }
}
