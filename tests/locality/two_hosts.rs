//! Two hosts with a link between them, over TLS: who belongs together finds, connects and proves, and
//! who does not is told why, on both sides, while nothing else is harmed.

use std::time::{Duration, SystemTime};

use endpoints::SpiffePath;
use keys::Authority;

use crate::{
    harness::{Outcome, Room, Running},
    place::{Place, can_make_namespaces},
    roles::{Actor, Found, Registered, Role},
    row::{ONE, OTHER, Pair, actor, heard},
};

/// Two hosts, and two authorities that know nothing of each other.
struct Stage {
    room: Room,
    pair: Pair,
}

impl Stage {
    /// Returns `None` where namespaces cannot be made.
    fn new() -> Option<Self> {
        let room = Room::new();
        if !can_make_namespaces(&room) {
            return None;
        }
        let pair = Pair::new(&room);
        for folder in ["keys", "others"] {
            room.callsign(&["keys", "init", folder]).succeeds();
            // A certificate for each host, and one for a host that is neither.
            for (name, host) in [("one", ONE), ("other", OTHER), ("elsewhere", "10.99.0.9")] {
                room.callsign(&["keys", "issue", folder, name, "--host", host]).succeeds();
                settings(&room, &format!("{folder}-{name}.toml"), folder, name);
            }
        }
        room.write("none.toml", "");
        Some(Self { room, pair })
    }

    fn one(&self) -> Place {
        self.pair.one.place()
    }

    fn other(&self) -> Place {
        self.pair.other.place()
    }

    /// Starts a registrar on the first host, and returns where it listens.
    fn registrar(&self, config: &str, listen: &[&str]) -> (Running, Vec<String>) {
        let mut words = vec!["registrar", "--config", config, "-v"];
        words.extend(listen.iter().flat_map(|it| ["--listen", *it]));
        let mut node = self.one().callsign(&self.room, &words);
        let mut endpoints = Vec::new();
        for _ in listen {
            let line = node.line_with("listening on ");
            endpoints.push(line.split(' ').next_back().unwrap().to_owned());
        }
        (node, endpoints)
    }

    /// Asks a registrar from the other host.
    fn ask(&self, config: &str, registrar: &str) -> Outcome {
        let words = ["--config", config, "--registrar", registrar, "ls"];
        self.other().callsign(&self.room, &words).outcome()
    }
}

fn settings(room: &Room, file: &str, folder: &str, name: &str) {
    let tls = format!(
        "[tls]\nca = \"{folder}/ca.pem\"\ncertificate = \"{folder}/{name}.pem\"\n\
         key = \"{folder}/{name}.key\"\n"
    );
    room.write(file, &tls);
}

fn over_tls(host: &str) -> String {
    format!("/ip4/{host}/tcp/0/tls")
}

#[test]
fn two_hosts_find_connect_and_prove() {
    let Some(stage) = Stage::new() else { return };
    let (node, endpoints) = stage.registrar("keys-one.toml", &[&over_tls(ONE)]);
    let registrar = &endpoints[0];
    let folder = stage.room.file("keys").display().to_string();
    let (one, other) = (
        stage.one().with_certificate(&folder, "one"),
        stage.other().with_certificate(&folder, "other"),
    );
    let mut registrants = Vec::new();
    for (name, place, host) in [("near", &one, ONE), ("far", &other, OTHER)] {
        let actors = vec![actor(name, over_tls(host))];
        let role = Role::Registrant { registrar: registrar.clone(), actors, lease: None };
        let mut registrant = place.start(&stage.room, role);
        drop(heard::<Registered>(&mut registrant));
        registrants.push(registrant);
    }
    for place in [&one, &other] {
        let names = vec!["near".to_owned(), "far".to_owned()];
        let role = Role::Caller { registrar: registrar.clone(), names };
        let found: Found = heard(&mut place.start(&stage.room, role));
        for (name, call) in &found {
            assert!(call.is_answered(), "{name}: {call:#?}");
            let [candidate] = &call.candidates[..] else { panic!("{name}: {call:#?}") };
            assert!(candidate.endpoint.ends_with("/tls"), "{candidate:?}");
            assert_eq!(candidate.outcome, "proved", "{candidate:?}");
        }
    }
    // Whom the certificate of a registrant names has the entry.
    let find = ["--config", "keys-other.toml", "--registrar", registrar, "find", "far"];
    let found = stage.other().callsign(&stage.room, &find).outcome().succeeds();
    found.prints(&["owner     spiffe://callsign.internal/other"]);
    for registrant in registrants {
        registrant.outcome().succeeds();
    }
    node.stop().succeeds();
}

/// An actor whose certificate is not for its host, or of another authority, is not spoken to; nor
/// does it speak to such a caller.
#[test]
fn an_actor_with_another_certificate_gets_no_payload() {
    let Some(stage) = Stage::new() else { return };
    // Both hosts see its socket, which keeps the keys of proofs to itself.
    let listen = vec![stage.room.unix("registrar.sock")];
    let mut registrar = stage.one().start(&stage.room, Role::Registrar { listen });
    let endpoints = heard::<crate::roles::Listening>(&mut registrar).endpoints;
    let path = |folder: &str| stage.room.file(folder).display().to_string();
    let check = |of_actor: (&str, &str), of_caller: (&str, &str), expected: &str| {
        let (place, name) = (stage.one(), format!("{}-{}", of_actor.0, of_actor.1));
        let actors = vec![Actor { name: name.clone(), ..actor("", over_tls(ONE)) }];
        let role = Role::Registrant { registrar: endpoints[0].clone(), actors, lease: None };
        let place = place.with_certificate(&path(of_actor.0), of_actor.1);
        let mut registrant = place.start(&stage.room, role);
        drop(heard::<Registered>(&mut registrant));
        let role = Role::Caller { registrar: endpoints[0].clone(), names: vec![name.clone()] };
        let caller = stage.other().with_certificate(&path(of_caller.0), of_caller.1);
        let found: Found = heard(&mut caller.start(&stage.room, role));
        let call = &found[&name];
        let outcome = &call.candidates[0].outcome;
        assert!(outcome.contains(expected), "{expected}: {call:#?}");
        assert_eq!(call.is_answered(), expected == "proved", "{call:#?}");
        assert_eq!(call.heard.is_some(), expected == "proved", "{call:#?}");
        registrant.outcome().succeeds();
    };
    check(("keys", "one"), ("keys", "other"), "proved");
    check(("keys", "elsewhere"), ("keys", "other"), "10.77.0.1");
    let unsigned = "no authority that is trusted here signed the certificate";
    check(("others", "one"), ("keys", "other"), unsigned);
    check(("keys", "one"), ("others", "other"), unsigned);
    // A caller needs no host in its certificate.
    check(("keys", "one"), ("keys", "elsewhere"), "proved");
    registrar.outcome().succeeds();
}

#[test]
fn each_side_says_what_is_wrong_and_others_are_served() {
    let Some(stage) = Stage::new() else { return };
    let room = &stage.room;
    // It ends while this test runs.
    let now = SystemTime::now();
    let authority = Authority::open(&room.file("keys")).unwrap();
    let hosts = [ONE.parse().unwrap()];
    let (lifetime, left) = (Duration::from_secs(120), Duration::from_secs(40));
    authority
        .issue(SpiffePath::new("short").unwrap(), &hosts, lifetime, now + left - lifetime)
        .unwrap();
    settings(room, "keys-short.toml", "keys", "short");

    let unix = room.unix("it.sock");
    let listen = [&*over_tls(ONE), &format!("/ip4/{ONE}/tcp/0"), &unix];
    let mut config = std::fs::read_to_string(room.file("keys-one.toml")).unwrap();
    config += "[registrar]\ninsecure = true\n";
    room.write("one.toml", &config);
    let (mut node, endpoints) = stage.registrar("one.toml", &listen);
    let [tls, plain, _] = &endpoints[..] else { panic!("{endpoints:?}") };
    let (to_tls, to_plain) = (tls.trim_end_matches("/tls").to_owned(), format!("{plain}/tls"));
    let (mut short, short_at) = stage.registrar("keys-short.toml", &[&over_tls(ONE)]);
    // Whoever is there stays there.
    let words = ["--config", "keys-other.toml", "--registrar", tls, "watch", "--json"];
    let mut watch = stage.other().callsign(room, &words);
    watch.json("the present state", |it| it["change"] == "synced");

    let mut check = |config: &str, registrar: &str, near: &str, far: &str| {
        let words = ["--insecure", "--config", config, "--registrar", registrar, "ls"];
        let refused = stage.other().callsign(room, &words).outcome().ends_with(3);
        refused.says(&[registrar, near]);
        node.says(far);
        stage.ask("keys-other.toml", tls).succeeds();
    };
    let not_accepted = "does not accept this side's certificate";
    check("others-other.toml", tls, "signed the certificate", not_accepted);
    check("keys-other.toml", &to_plain, "it may not speak TLS", "does the endpoint lack `/tls`?");
    check("none.toml", &to_tls, "does the endpoint lack `/tls`?", "does not speak TLS");
    // A key that is not that of the certificate is noticed before anything is sent.
    std::fs::copy(room.file("keys/other.pem"), room.file("keys/swapped.pem")).unwrap();
    std::fs::copy(room.file("keys/one.key"), room.file("keys/swapped.key")).unwrap();
    settings(room, "swapped.toml", "keys", "swapped");
    let swapped = stage.ask("swapped.toml", tls).ends_with(2);
    swapped.says(&["swapped.toml:4:8", "is not the key of the certificate"]);

    // A registrar whose certificate is for another host.
    let (mut elsewhere, at) = stage.registrar("keys-elsewhere.toml", &[&over_tls(ONE)]);
    let refused = stage.ask("keys-other.toml", &at[0]).ends_with(3);
    refused.says(&[&at[0], "is not for `10.77.0.1`, but for", "10.99.0.9"]);
    elsewhere.says(not_accepted);
    elsewhere.stop().succeeds();

    // The certificate of a registrar that runs on ends.
    let said = loop {
        let asked = stage.ask("keys-other.toml", &short_at[0]);
        // On a busy machine it may be late with an answer.
        if asked.code != Some(0) && !asked.stderr.contains("no answer in time") {
            break asked.ends_with(3);
        }
    };
    said.says(&[&short_at[0], "the certificate of the other side has expired"]);
    short.says("expired");
    short.stop().succeeds();
    stage.ask("keys-other.toml", tls).succeeds();
    let there = ["register", "web", "/unix/@web-of-two-hosts", "--ttl", "5m"];
    let local = [&["--registrar", &*unix], &there[..]].concat();
    stage.one().callsign(room, &local).outcome().succeeds();
    watch.json("an instance that is there", |it| it["change"] == "add");
    node.stop().succeeds();
}
