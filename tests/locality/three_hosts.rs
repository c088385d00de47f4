//! Three hosts with links between them that share what they know through etcd. Each has a member of
//! it, a registrar that others reach by TLS alone, and a certificate.

use std::process::Command;

use crate::{
    harness::{Room, Running},
    place::{Net, Place, Switch},
    roles::{Actor, Found, Registered, Role},
    row::{actor, heard},
};

const NAMES: [&str; 3] = ["rome", "oslo", "kyiv"];
const IPS: [&str; 3] = ["10.77.1.1", "10.77.1.2", "10.77.1.3"];

/// A host, with what runs there.
struct Host {
    _net: Net,
    place: Place,
    member: Running,
    node: Running,
    registrar: String,
    /// The arguments with which commands ask its registrar.
    asking: [String; 4],
}

impl Host {
    /// Starts what runs at the host with this number.
    fn start(room: &Room, switch: &Switch, number: usize) -> Self {
        let (name, ip) = (NAMES[number], IPS[number]);
        let net = Net::new(room);
        switch.join(room, &net, name, &format!("{ip}/24"));
        let keys = room.file("keys").display().to_string();
        let place = net.place().with_certificate(&keys, name);

        let [clients, peers] = [2379, 2380].map(|port| format!("http://{ip}:{port}"));
        let cluster: Vec<_> =
            NAMES.iter().zip(IPS).map(|(name, ip)| format!("{name}=http://{ip}:2380")).collect();
        let data = room.file(&format!("etcd-{name}")).display().to_string();
        let mut words = vec!["--name", name, "--data-dir", &data, "--log-level", "error"];
        words.extend(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        words.extend(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        let cluster = cluster.join(",");
        words.extend(["--initial-cluster", &cluster]);
        // A busy machine elects nobody anew, and ends no lease.
        words.extend(["--heartbeat-interval", "200", "--election-timeout", "2000"]);
        let member = place.program(room, "etcd", &words);

        room.callsign(&["keys", "issue", &keys, name, "--host", ip]).succeeds();
        let registrar = format!("/ip4/{ip}/tcp/1616/tls");
        let members = IPS.map(|ip| format!("http://{ip}:2379"));
        let settings = format!(
            "[registrar]\nlisten = [\"{registrar}\"]\nsettle_time = \"0s\"\n\
             [cluster]\nengine = \"etcd\"\nendpoints = {members:?}\nnode = \"{name}\"\n\
             lease = \"10s\"\n\
             [tls]\nca = \"{keys}/ca.pem\"\ncertificate = \"{keys}/{name}.pem\"\n\
             key = \"{keys}/{name}.key\"\n"
        );
        let config = room.write(&format!("{name}.toml"), &settings);
        let mut node = place.callsign(room, &["registrar", "--config", &config]);
        node.line_with("listening on ");
        let asking = ["--config", &config, "--registrar", &registrar].map(str::to_owned);
        Self { _net: net, place, member, node, registrar, asking }
    }

    /// Runs a command that asks its registrar.
    fn ask(&self, room: &Room, args: &[&str]) -> Running {
        let asking: Vec<_> = self.asking.iter().map(String::as_str).collect();
        self.place.callsign(room, &[&asking[..], args].concat())
    }

    /// Registers an actor with its registrar.
    fn register(&self, room: &Room, actor: Actor) -> Running {
        let registrar = self.registrar.clone();
        let role = Role::Registrant { registrar, actors: vec![actor], lease: None };
        let mut registrant = self.place.start(room, role);
        drop(heard::<Registered>(&mut registrant));
        registrant
    }
}

#[test]
fn three_hosts_share_what_they_know_through_cuts_and_deaths() {
    if Command::new("etcd").arg("--version").output().is_err() {
        eprintln!("skipped: `etcd` cannot be started (on Debian: apt-get install etcd-server)");
        return;
    }
    let room = Room::new();
    let Some(switch) = Switch::new(&room) else { return };
    room.callsign(&["keys", "init", "keys"]).succeeds();
    let [rome, oslo, kyiv] = [0, 1, 2].map(|it| Host::start(&room, &switch, it));
    let mut watch = oslo.ask(&room, &["watch", "--json"]);
    let mut next = |of: &str| watch.json(of, |it| it["name"] == of && it["change"].is_string());

    // What is registered at one host is found at another, and proves itself over the network.
    let feed = rome.register(&room, actor("feed", format!("/ip4/{}/tcp/0/tls", IPS[0])));
    let added = next("feed");
    assert_eq!((&added["change"], &added["node"]), (&"add".into(), &"rome".into()), "{added}");
    kyiv.ask(&room, &["wait", "feed"]).outcome().succeeds();
    let role = Role::Caller { registrar: kyiv.registrar.clone(), names: vec!["feed".to_owned()] };
    let found: Found = heard(&mut kyiv.place.start(&room, role));
    let [candidate] = &found["feed"].candidates[..] else { panic!("{found:#?}") };
    assert_eq!(candidate.outcome, "proved", "{found:#?}");
    assert!(found["feed"].is_answered(), "{found:#?}");

    // A host that is cut off is gone for the others, and goes on by itself.
    switch.cut(&room, NAMES[0]);
    let gone = next("feed");
    assert_eq!((&gone["change"], &gone["reason"]), (&"remove".into(), &"node-lost".into()));
    rome.ask(&room, &["find", "feed"]).outcome().succeeds();
    let clock = kyiv.register(&room, actor("clock", format!("/ip4/{}/tcp/0/tls", IPS[2])));
    assert_eq!(next("clock")["node"], "kyiv");
    switch.heal(&room, NAMES[0]);
    let back = next("feed");
    assert_eq!((&back["change"], &back["node"]), (&"add".into(), &"rome".into()), "{back}");
    assert_eq!(back["uuid"], added["uuid"]);
    rome.ask(&room, &["wait", "clock"]).outcome().succeeds();

    // A member of etcd that dies is missed by nobody; and clients of a registrar that dies move to
    // another host's, which watchers see as a change, and never as a gap.
    oslo.member.kill();
    rome.node.kill();
    let (update, mut was_in_doubt) = ("update".into(), false);
    loop {
        let moved = next("feed");
        assert_eq!((&moved["change"], &moved["uuid"]), (&update, &added["uuid"]), "{moved}");
        if moved["node"] != "rome" {
            break;
        }
        // The next leader may take a while, and for so long this host has not heard of the others.
        was_in_doubt |= moved["suspicion"]["cut_off"] == true;
        assert!(was_in_doubt, "{moved}");
    }
    feed.outcome().succeeds();
    let gone = next("feed");
    assert_eq!((&gone["change"], &gone["reason"]), (&"remove".into(), &"unregistered".into()));
    clock.outcome().succeeds();
    for node in [oslo.node, kyiv.node] {
        node.stop().succeeds();
    }
}
