//! One row of the matrix: an actor's place, a caller's, and the result.

use std::time::Duration;

use crate::{
    harness::{Node, Room, Running},
    impostor::Ears,
    place::{Net, Place},
    roles::{Actor, Candidate, Found, Registered, Role},
    table::Section,
};

/// The address of the actor's end of a link, and of the other.
pub(crate) const ONE: &str = "10.77.0.1";
pub(crate) const OTHER: &str = "10.77.0.2";

/// The lifetime of the actors' entries. The registrar may remove an actor with a lease because of
/// what it sees itself; a session vouches for its actors.
pub(crate) const LEASE: Option<Duration> = Some(Duration::from_secs(600));

/// Two network namespaces with a link between them.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) one: Net,
    pub(crate) other: Net,
}

impl Pair {
    #[track_caller]
    pub(crate) fn new(room: &Room) -> Self {
        let (one, other) = (Net::new(room), Net::new(room));
        one.link(room, ["eth0", &format!("{ONE}/24")], &other, ["eth0", &format!("{OTHER}/24")]);
        Self { one, other }
    }

    /// Gives both ends IPv6 addresses as well: a link-local one, and another.
    #[track_caller]
    pub(crate) fn add_ipv6(&self, room: &Room) {
        for (net, last) in [(&self.one, 1), (&self.other, 2)] {
            // The kernel's own choice would differ each time.
            let script = format!(
                "ip link set eth0 addrgenmode none; ip -6 address flush dev eth0
                 ip address add fe80::77:{last}/64 dev eth0 nodad
                 ip address add fd77::{last}/64 dev eth0 nodad"
            );
            net.place().run(room, &script);
        }
    }
}

/// Returns an actor of each kind and one of all kinds, and a foreign program of each.
fn actors(room: &Room) -> Vec<Actor> {
    vec![
        actor("path", room.unix("sockets/actor.sock")),
        actor("abstract", room.abstract_unix("actor")),
        actor("loopback", "/ip4/127.0.0.1/tcp/0".to_owned()),
        actor("address", format!("/ip4/{ONE}/tcp/0")),
        actor("wildcard", "/ip4/0.0.0.0/tcp/0".to_owned()),
        Actor {
            name: "everywhere".to_owned(),
            endpoints: vec![
                format!("/ip4/{ONE}/tcp/0"),
                "/ip4/127.0.0.1/tcp/0".to_owned(),
                room.abstract_unix("everywhere"),
                room.unix("sockets/everywhere.sock"),
            ],
            proves: true,
        },
        foreign("path", room.unix("sockets/foreign.sock")),
        foreign("abstract", room.abstract_unix("foreign")),
        foreign("loopback", "/ip4/127.0.0.1/tcp/0".to_owned()),
        foreign("address", format!("/ip4/{ONE}/tcp/0")),
        foreign("wildcard", "/ip4/0.0.0.0/tcp/0".to_owned()),
    ]
}

/// Returns actors that listen over IP version 6.
pub(crate) fn ipv6_actors() -> Vec<Actor> {
    vec![
        actor("loopback", "/ip6/::1/tcp/0".to_owned()),
        actor("address", "/ip6/fd77::1/tcp/0".to_owned()),
        actor("link-local", "/ip6zone/eth0/ip6/fe80::77:1/tcp/0".to_owned()),
        actor("wildcard", "/ip6/::/tcp/0".to_owned()),
        foreign("link-local", "/ip6zone/eth0/ip6/fe80::77:1/tcp/0".to_owned()),
    ]
}

/// Returns the folder of the actors' socket files.
pub(crate) fn sockets(room: &Room) -> String {
    room.file("sockets").display().to_string()
}

/// One row of the matrix.
#[derive(Debug)]
pub(crate) struct Row {
    title: String,
    actor: Place,
    caller: Place,
    impostor: Place,
    actors: Vec<Actor>,
    misleads: bool,
}

impl Row {
    /// Sets the place of the actor, which has the address [`ONE`], and that of the caller.
    pub(crate) fn new(title: &str, actor: &Place, caller: &Place) -> Self {
        let (actor, caller, impostor) = (actor.clone(), caller.clone(), caller.clone());
        let (title, actors) = (title.to_owned(), Vec::new());
        Self { title, actor, caller, impostor, actors, misleads: false }
    }

    /// Sets these actors instead of one of each kind.
    pub(crate) fn actors(self, actors: Vec<Actor>) -> Self {
        Self { actors, ..self }
    }

    /// Puts the impostor elsewhere than in the caller's place.
    pub(crate) fn impostor(self, place: &Place) -> Self {
        Self { impostor: place.clone(), ..self }
    }

    /// Declares that an address leads a caller to the impostor. For actors without a proof the
    /// address is all that a caller has; it is told that the connection is unproved.
    pub(crate) fn misleads_who_asks_for_no_proof(self) -> Self {
        Self { misleads: true, ..self }
    }

    /// Lets all of them act, and compares the results.
    #[track_caller]
    pub(crate) fn check(&self, room: &Room) {
        let node = Node::start(room);
        self.make_registrar_seen_below_roots(room);
        let registrar = node.endpoint().to_owned();
        let mut watch = node.run(&["watch", "--json"]);
        watch.json("the end of the snapshot", |it| it["change"] == "synced");

        let actors = match &self.actors[..] {
            [] => actors(room),
            actors => actors.to_vec(),
        };
        let names: Vec<_> = actors.iter().map(|it| it.name.clone()).collect();
        let role = Role::Registrant { registrar: registrar.clone(), actors, lease: LEASE };
        let mut registrant = self.actor.start(room, role);
        let registered: Registered = heard(&mut registrant);
        let endpoints = registered.values().flatten().cloned().collect();
        let mut impostor = self.impostor.start(room, Role::Impostor { endpoints });
        drop(heard::<Ears>(&mut impostor));

        let call = || Role::Caller { registrar: registrar.clone(), names: names.clone() };
        let found: Found = heard(&mut self.caller.start(room, call()));
        impostor.close_input();
        let ears: Ears = heard(&mut impostor);
        self.always_holds(&found, &ears);

        // A caller that could not reach it has not harmed it.
        let found_near: Found = heard(&mut self.actor.start(room, call()));
        for (name, call) in &found_near {
            assert!(call.is_answered(), "{}: {name}: {call:#?}", self.title);
        }
        registrant.outcome().succeeds();
        for _ in &names {
            let gone = watch.json("the end of an actor", |it| it["change"] == "remove");
            assert_eq!(gone["reason"], "unregistered", "{}: {gone}", self.title);
        }
        node.stop().succeeds();

        let mut section = Section::new(&self.title, room);
        for name in &names {
            for candidate in &found[name].candidates {
                section.line([
                    name,
                    &candidate.endpoint,
                    candidate.locality.as_deref().unwrap_or("left out"),
                    match ears.get(&candidate.endpoint) {
                        None => "-",
                        Some(it) if it.connections == 0 => "not dialed",
                        Some(it) if it.secret => "TOLD",
                        Some(_) => "not told",
                    },
                    &candidate.outcome,
                ]);
            }
        }
        section.matches_golden();
    }

    /// Checks what holds in every row.
    #[track_caller]
    fn always_holds(&self, found: &Found, ears: &Ears) {
        for (name, call) in found {
            let context = format!("{}: {name}: {call:#?}\n{ears:#?}", self.title);
            let is_misled = self.misleads && is_foreign(name);
            let is_right = call.heard.is_none() || call.is_answered();
            assert!(is_right || is_misled, "another has answered\n{context}");
            let assurance = if is_foreign(name) { "unproved" } else { "proved" };
            let is_connected = |it: &Candidate| it.outcome == assurance;
            let connected = call.candidates.iter().position(is_connected);
            assert_eq!(connected.is_some(), call.heard.is_some(), "{context}");
            assert!(connected.is_none_or(|at| at == 0), "not the nearest\n{context}");
            for candidate in call.candidates.iter().filter(|it| it.locality.is_none()) {
                let dialed = ears.get(&candidate.endpoint).map_or(0, |it| it.connections);
                assert_eq!(dialed, 0, "one that is left out was dialed\n{context}");
            }
            for candidate in call.candidates.iter().filter(|_| !is_misled) {
                let is_told = ears.get(&candidate.endpoint).is_some_and(|it| it.secret);
                assert!(!is_told, "the impostor was told\n{context}");
            }
        }
    }

    /// Gives the registrar's socket a second name, so that it is at the same path below another
    /// root.
    fn make_registrar_seen_below_roots(&self, room: &Room) {
        for root in [&self.actor, &self.caller].into_iter().filter_map(Place::root) {
            let socket = room.file("registrar.sock");
            let other_name = format!("{root}{}", socket.display());
            drop(std::fs::remove_file(&other_name));
            std::fs::hard_link(&socket, other_name).unwrap();
        }
    }
}

/// Returns an actor that proves its identity.
pub(crate) fn actor(name: &str, endpoint: String) -> Actor {
    Actor { name: name.to_owned(), endpoints: vec![endpoint], proves: true }
}

/// Returns a program that does not know of callsign.
fn foreign(kind: &str, endpoint: String) -> Actor {
    Actor { name: format!("{FOREIGN}{kind}"), endpoints: vec![endpoint], proves: false }
}

fn is_foreign(name: &str) -> bool {
    name.starts_with(FOREIGN)
}

/// The prefix of the names of foreign programs.
const FOREIGN: &str = "foreign-";

/// Waits for the next line of JSON, and reads it.
#[track_caller]
pub(crate) fn heard<T: serde::de::DeserializeOwned>(process: &mut Running) -> T {
    let value = process.json("what it says", |it| it.is_object());
    serde_json::from_value(value).unwrap()
}
