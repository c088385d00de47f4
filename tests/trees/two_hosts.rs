//! Two network namespaces with a link between them, and a tree in each.

use std::time::{Duration, SystemTime};

use callsign::Kind;
use endpoints::SpiffePath;
use keys::Authority;

use crate::{
    harness::{Room, Running},
    place::{Net, can_make_namespaces},
    roles::{Called, Role},
};

const ONE: &str = "10.77.0.1";
const OTHER: &str = "10.77.0.2";

struct Stage {
    room: Room,
    one: Net,
    other: Net,
}

impl Stage {
    /// Returns `None` where namespaces cannot be made.
    fn new() -> Option<Self> {
        let room = Room::new();
        if !can_make_namespaces(&room) {
            return None;
        }
        let (one, other) = (Net::new(&room), Net::new(&room));
        one.link(&room, ["eth0", &format!("{ONE}/24")], &other, ["eth0", &format!("{OTHER}/24")]);
        for folder in ["keys", "others"] {
            room.callsign(&["keys", "init", folder]).succeeds();
            for (name, host) in [("one", ONE), ("other", OTHER)] {
                room.callsign(&["keys", "issue", folder, name, "--host", host]).succeeds();
            }
        }
        Some(Self { room, one, other })
    }

    /// Writes the settings of a tree with these files of a certificate, and returns their path.
    fn settings(&self, file: &str, registrar: &str, ca: &str, certificate: &str) -> String {
        let text = format!(
            "[registrar]\nlisten = \"{registrar}\"\n[tls]\nca = \"{ca}\"\n\
             certificate = \"{certificate}.pem\"\nkey = \"{certificate}.key\"\n"
        );
        self.room.write(file, &text);
        self.room.file(file).display().to_string()
    }

    /// Starts a registrar on the first host, at a port and at a socket that both hosts see.
    fn registrar(&self) -> (Running, [String; 2]) {
        let config = self.settings("node.toml", "/unix/@none", "keys/ca.pem", "keys/one");
        let listen = [format!("/ip4/{ONE}/tcp/0/tls"), self.room.unix("registrar.sock")];
        let words =
            ["registrar", "--config", &config, "--listen", &listen[0], "--listen", &listen[1]];
        let mut node = self.one.place().callsign(&self.room, &words);
        let endpoints = [(); 2].map(|()| {
            let line = node.line_with("listening on ");
            line.split(' ').next_back().unwrap().to_owned()
        });
        (node, endpoints)
    }

    fn market(&self, registrar: &str) -> Running {
        let settings = self.settings("market.toml", registrar, "keys/ca.pem", "keys/one");
        let role = Role::Market { settings, bind: format!("/ip4/{ONE}/tcp/0/tls") };
        let mut market = self.one.place().start(&self.room, role);
        market.json("its actors", |it| it["up"].is_array());
        market
    }

    /// Lets a tree of the other host call all actors of the market.
    fn calls(&self, settings: String) -> Vec<Result<Called, String>> {
        let role = Role::Desk { settings, names: names() };
        let mut desk = self.other.place().start(&self.room, role);
        let said = desk.json("what came of its calls", serde_json::Value::is_array);
        desk.outcome().succeeds();
        serde_json::from_value(said).unwrap()
    }
}

fn names() -> Vec<String> {
    Kind::ALL.iter().map(|it| format!("feed-{it}")).collect()
}

/// The callee is an actor of each kind, and the caller is a process that a root has started.
pub(crate) fn find_call_and_cancel() {
    let Some(stage) = Stage::new() else { return };
    let (node, [registrar, _]) = stage.registrar();
    let market = stage.market(&registrar);
    let settings = stage.settings("desk.toml", &registrar, "keys/ca.pem", "keys/other");
    let called = stage.calls(settings);
    assert_eq!(called.len(), names().len());
    for (name, called) in names().iter().zip(called) {
        let called = called.unwrap_or_else(|error| panic!("{name}: {error}"));
        let (endpoint, assurance) = &called.reached;
        assert!(endpoint.starts_with(&format!("/ip4/{ONE}/tcp/")), "{name}: {called:?}");
        assert!(endpoint.ends_with("/tls"), "{name}: {called:?}");
        assert_eq!(assurance, "proved", "{name}: {called:?}");
        assert_eq!((called.doubled, called.dropped), (42, 1), "{name}: {called:?}");
        assert!(called.goes_on.contains("is ended by its own user alone"), "{name}: {called:?}");
    }
    // Their owner is whom the certificate of the tree names.
    let find = ["--config", "desk.toml", "find", "feed-process", "--all"];
    let found = stage.other.place().callsign(&stage.room, &find).outcome().succeeds();
    found.prints(&["spiffe://callsign.internal/one"]);
    market.outcome().succeeds();
    node.stop().succeeds();
}

/// They learn where the actors are from a registrar that asks for no certificate.
pub(crate) fn strangers_are_refused() {
    let Some(stage) = Stage::new() else { return };
    let (node, [_, registrar]) = stage.registrar();
    let market = stage.market(&registrar);
    // One trusts another authority, and one both, with a certificate of the other.
    let both = stage.room.file("both");
    std::fs::create_dir(&both).unwrap();
    for folder in ["keys", "others"] {
        let copy = both.join(format!("{folder}.pem"));
        std::fs::copy(stage.room.file(folder).join("ca.pem"), copy).unwrap();
    }
    let strangers = [
        ("others/ca.pem", "no authority that is trusted here signed the certificate"),
        ("both", "does not accept this side's certificate"),
    ];
    for (ca, expected) in strangers {
        let settings = stage.settings("stranger.toml", &registrar, ca, "others/other");
        for (name, called) in names().iter().zip(stage.calls(settings.clone())) {
            let refused = called.expect_err("it is a stranger");
            assert!(refused.contains(expected), "{name}: {refused}");
        }
        // Nobody else is harmed.
        let settings = stage.settings("desk.toml", &registrar, "keys/ca.pem", "keys/other");
        for called in stage.calls(settings) {
            assert_eq!(called.unwrap().reached.1, "proved");
        }
    }
    market.outcome().succeeds();
    node.stop().succeeds();
}

/// A root that needs its certificate ends where the setting is, and one that does not goes on.
pub(crate) fn faults_are_told() {
    let Some(stage) = Stage::new() else { return };
    let (node, [over_tls, socket]) = stage.registrar();
    let authority = Authority::open(&stage.room.file("keys")).unwrap();
    let (day, now) = (Duration::from_secs(24 * 3600), SystemTime::now());
    authority.issue(SpiffePath::new("late").unwrap(), &[], day, now - 10 * day).unwrap();
    std::fs::copy(stage.room.file("keys/one.pem"), stage.room.file("keys/swapped.pem")).unwrap();
    std::fs::copy(stage.room.file("keys/other.key"), stage.room.file("keys/swapped.key")).unwrap();
    let faults = [
        ("keys/ca.pem", "keys/late", "bad.toml:5:16", "has expired"),
        ("keys/ca.pem", "keys/swapped", "bad.toml:6:8", "is not the key of the certificate"),
        ("others/ca.pem", "keys/one", "bad.toml:5:16", "is not signed by an authority of `ca`"),
        ("keys/ca.pem", "keys/none", "bad.toml:5:16", "cannot be read"),
    ];
    let desk = |settings: String| {
        let role = Role::Desk { settings, names: Vec::new() };
        stage.one.place().start(&stage.room, role).outcome()
    };
    for (ca, certificate, place, fault) in faults {
        let settings = stage.settings("bad.toml", &over_tls, ca, certificate);
        desk(settings).ends_with(2).says(&[place, fault]);
        let settings = stage.settings("bad.toml", &socket, ca, certificate);
        desk(settings).succeeds();
    }
    node.stop().succeeds();
}
