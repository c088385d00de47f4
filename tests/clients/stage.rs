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

use callsign::{
    Acceptor, BindOptions, Client, Identity, Listener, Published, Registered, Registration,
    TlsFiles,
};
use rustix::process::Signal;
use tokio::{io::AsyncWriteExt, runtime::Runtime, task::JoinSet};

use crate::{
    harness::{Node, Room},
    players::{Keys, Player},
    registrars::{self, Played},
    situation::Situation,
};

/// Stages a situation for a client, and asks it everything.
pub(crate) fn play(situation: &Situation, player: &mut Player) -> Vec<Option<String>> {
    let room = Room::new();
    let mut stage = Stage::new(&room, player.keys().clone());
    for step in &situation.stage {
        let words: Vec<_> = step.split(' ').collect();
        stage.set(step, &words);
    }
    // The example waits for no young registrar to know what it knew.
    let is_asked = player.waits_for_the_young() || !stage.is_young;
    let is_asked = is_asked && (player.speaks_tls() || !stage.is_over_tls);
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
    /// Whether the registrar or an actor speaks TLS.
    is_over_tls: bool,
    keys: Keys,
    /// The clients of this process, each of the registrar at a place.
    clients: HashMap<String, Client>,
}

impl<'room> Stage<'room> {
    fn new(room: &'room Room, keys: Keys) -> Self {
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
            is_over_tls: false,
            keys,
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
            ["tls", "registrar"] => self.registrar_over_tls("keys"),
            ["foreign", "tls", "registrar"] => self.registrar_over_tls("others"),
            ["misnamed", "tls", "registrar"] => {
                self.registrar_over_tls("keys");
                let place = self.places.pop().unwrap();
                self.places.push(place.replace("/ip4/127.0.0.1", "/dns4/localhost"));
            }
            ["tls", "to", "a", "plain", "registrar"] => {
                self.registrar_at_port(&[]);
                self.is_over_tls = true;
                let place = self.places.pop().unwrap();
                self.places.push(format!("{place}/tls"));
            }
            ["plain", "to", "a", "tls", "registrar"] => {
                self.registrar_over_tls("keys");
                let place = self.places.pop().unwrap();
                self.places.push(place.trim_end_matches("/tls").to_owned());
            }
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
            ["misnamed", name, "tls"] => self.misnamed(name),
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

    /// Starts a registrar with the certificate of one of the authorities.
    fn registrar_over_tls(&mut self, folder: &str) {
        let TlsFiles { ca, certificate, key } = self.keys.files(folder);
        let settings = format!(
            "[tls]\nca = {ca:?}\ncertificate = {certificate:?}\nkey = {key:?}\n\
             [registrar]\nsettle_time = \"0s\"\n"
        );
        let config = self.room.write("node.toml", &settings);
        self.registrar_at_port(&["--config", &config]);
        self.is_over_tls = true;
    }

    /// Starts a registrar at a port: of TLS, if it has settings with a certificate.
    fn registrar_at_port(&mut self, more: &[&str]) {
        let listen = if more.is_empty() { PLAIN } else { TLS };
        let node = Node::start_with(self.room, &[listen], more);
        self.places.push(node.endpoint().to_owned());
        self.nodes.push(node);
    }

    /// Plays a registrar that answers as `answers` does.
    fn plays(&mut self, answers: fn(&mut registrars::Caller)) {
        let path = self.room.file("registrar.sock");
        self.played.push(Played::start(&path, answers));
        self.places.push(self.room.unix("registrar.sock"));
    }

    /// Runs an actor in this process, which proves who it is.
    fn actor(&mut self, name: &str, kinds: &[&str]) {
        self.is_over_tls |= kinds.contains(&"tls");
        let places: Vec<_> = kinds.iter().map(|kind| self.place(name, kind)).collect();
        let bound = self.runtime.block_on(async {
            let places: Vec<_> = places.iter().map(|it| it.parse().unwrap()).collect();
            Listener::bind_all(&places, BindOptions::default()).await.unwrap()
        });
        let published: Published = bound.iter().map(Listener::published).collect();
        let registration = Registration::new(name).endpoints(published).proves();
        let identity = self.register(registration);
        for listener in bound {
            self.serve(listener, identity.clone());
        }
    }

    /// Greets whoever comes and has had its proof.
    fn serve(&mut self, listener: Listener, identity: Identity) {
        let mut acceptor = Acceptor::new(listener, identity, Default::default());
        let serve = async move {
            loop {
                let mut caller = acceptor.accept().await.into_stream();
                drop(caller.write_all(b"hello").await);
            }
        };
        self.tasks.spawn_on(serve, self.runtime.handle());
    }

    fn place(&mut self, name: &str, kind: &str) -> String {
        self.drawn += 1;
        let unique = format!("{name}{}", self.drawn);
        match kind {
            "path" => self.room.unix(&unique),
            "abstract" => self.room.abstract_unix(&unique),
            "loopback" => PLAIN.to_owned(),
            "tls" => TLS.to_owned(),
            _ => panic!("there is no kind `{kind}`"),
        }
    }

    /// Registers an actor by a name of this host that its certificate does not have.
    fn misnamed(&mut self, name: &str) {
        self.is_over_tls = true;
        let bound = self.runtime.block_on(Listener::bind(&TLS.parse().unwrap())).unwrap();
        let place = bound.bound().to_string().replace("/ip4/127.0.0.1", "/dns4/localhost");
        let identity = self.register(Registration::new(name).endpoint(place).unwrap().proves());
        self.serve(bound, identity);
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
    fn register(&mut self, registration: Registration) -> Identity {
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

/// Places for ports without TLS, and with it.
const PLAIN: &str = "/ip4/127.0.0.1/tcp/0";
const TLS: &str = "/ip4/127.0.0.1/tcp/0/tls";
