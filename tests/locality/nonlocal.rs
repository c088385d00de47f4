//! Servers that listen at an address which their host does not have: the standby of a pair that shares
//! an address (`ip_nonlocal_bind`, `IP_FREEBIND`, `IP_TRANSPARENT`). Connections go to the other host.

use serde_json::Value;

use crate::{
    harness::{Room, Running},
    place::{Net, Place, can_make_namespaces},
    roles::{Listening, Registered, Role},
    row::{actor, heard},
};

/// The shared address.
const SHARED: &str = "10.77.0.100";

/// Two hosts, of which the other one has the shared address.
struct Pair {
    one: Net,
    other: Net,
    registrar: String,
    _registrar: Running,
    _master: Running,
}

impl Pair {
    /// Returns `None`, and says so, where there can be none.
    fn new(room: &Room) -> Option<Self> {
        if !can_make_namespaces(room) {
            return None;
        }
        let (one, other) = (Net::new(room), Net::new(room));
        one.link(room, ["eth0", "10.77.0.1/24"], &other, ["eth0", "10.77.0.2/24"]);
        other.place().run(room, &format!("ip address add {SHARED}/24 dev eth0"));
        one.place().run(room, "echo 1 >/proc/sys/net/ipv4/ip_nonlocal_bind");
        let registrar = room.unix("registrar.sock");
        let settings = format!(
            "[registrar]\nlisten = \"{registrar}\"\n\
             [declared]\nmaster = \"/ip4/{SHARED}/tcp/8001\"\n"
        );
        let config = room.write("callsign.toml", &settings);
        let mut serving = one.place().callsign(room, &["registrar", "--config", &config]);
        serving.line_with("listening on");
        let master = serve(room, &other.place(), "", &["8000", "8001", "8002"]);
        Some(Self { one, other, registrar, _registrar: serving, _master: master })
    }

    fn callsign(&self, room: &Room, args: &[&str]) -> Running {
        self.one.place().callsign(room, &[&["--registrar", &self.registrar], args].concat())
    }

    /// Gives one of them the shared address.
    fn give(&self, room: &Room, to_one: bool) {
        let (from, to) = if to_one { (&self.other, &self.one) } else { (&self.one, &self.other) };
        from.place().run(room, &format!("ip address del {SHARED}/24 dev eth0"));
        to.place().run(room, &format!("ip address add {SHARED}/24 dev eth0"));
    }
}

/// Accepts at ports of the shared address, with a socket option of IP set or none (`""`).
const SERVE: &str = "import socket, sys, threading\n\
    option, host, *ports = sys.argv[1:]\n\
    def serve(port):\n\
    \x20   s = socket.socket()\n\
    \x20   s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n\
    \x20   if option: s.setsockopt(socket.IPPROTO_IP, int(option), 1)\n\
    \x20   s.bind((host, int(port)))\n\
    \x20   s.listen()\n\
    \x20   print('up', flush=True)\n\
    \x20   while True:\n\
    \x20       caller = s.accept()[0]\n\
    \x20       caller.sendall(b'here\\n')\n\
    \x20       caller.close()\n\
    for port in ports: threading.Thread(target=serve, args=[port]).start()";

fn serve(room: &Room, place: &Place, option: &str, ports: &[&str]) -> Running {
    let args = [&["-c", SERVE, option, SHARED], ports].concat();
    let mut server = place.program(room, "python3", &args);
    for _ in ports {
        server.line("`up`", |line| line == "up");
    }
    server
}

fn is_at(record: &Value, state: &str, count: usize) -> bool {
    record["state"] == state && record["endpoints"].as_array().is_some_and(|it| it.len() == count)
}

#[test]
fn a_program_at_an_address_of_another_host_is_ready_when_the_address_comes() {
    let room = Room::new();
    let Some(pair) = Pair::new(&room) else { return };
    let near = "/ip4/10.77.0.1/tcp/8003";
    // `IP_FREEBIND` and `IP_TRANSPARENT`, beside the setting of the whole host.
    for (port, option) in [("8000", ""), ("8001", "15"), ("8002", "19")] {
        let shared = format!("/ip4/{SHARED}/tcp/{port}");
        let program = ["--", "python3", "-c", SERVE, option, SHARED, port];
        let mut watch = pair.callsign(&room, &["watch", "vip", "--json"]);
        let mut vip = pair.callsign(&room, &[&["register", "vip", &shared], &program[..]].concat());
        vip.says(&format!("this host has no address {SHARED}"));
        watch.json("it is not there", |it| is_at(it, "starting", 0));
        let connected = pair.callsign(&room, &["connect", "vip"]).outcome();
        assert_eq!(connected.code, Some(1), "{connected}");

        pair.give(&room, true);
        let record = watch.json("it has come", |it| is_at(it, "ready", 1));
        assert_eq!(record["endpoints"][0]["verified"], true, "{record}");
        assert_eq!(record["locality"], "this-host", "{record}");
        let connected = pair.callsign(&room, &["connect", "vip"]).outcome().succeeds();
        assert_eq!(connected.stdout, "here\n");

        pair.give(&room, false);
        watch.json("it has gone again", |it| is_at(it, "starting", 0));
        vip.stop();
    }

    // Beside another endpoint, that alone is published; who vouches for it does not change that.
    let _near = {
        let args = ["-c", SERVE, "", "10.77.0.1", "8003"];
        let mut server = pair.one.place().program(&room, "python3", &args);
        server.line("`up`", |line| line == "up");
        server
    };
    let _standby = serve(&room, &pair.one.place(), "", &["8000"]);
    let shared = format!("/ip4/{SHARED}/tcp/8000");
    for more in [&[][..], &["--state", "ready"]] {
        let mut watch = pair.callsign(&room, &["watch", "both", "--json"]);
        let words = [&["register", "both", near, &shared], more].concat();
        let mut both = pair.callsign(&room, &words);
        both.says(&format!("this host has no address {SHARED}"));
        watch.json("one of them", |it| is_at(it, "ready", 1) && it["nearest"] == near);
        pair.give(&room, true);
        watch.json("both", |it| is_at(it, "ready", 2));
        pair.give(&room, false);
        watch.json("one of them again", |it| is_at(it, "ready", 1) && it["nearest"] == near);
        both.stop();
    }

    // A lease is renewed by the same words when it has come.
    let lease = |words: &[&str]| {
        let register = [&["register", "lease"], words, &["--ttl", "10m"]].concat();
        let done = pair.callsign(&room, &register).outcome().succeeds();
        let listed = pair.callsign(&room, &["ls", "lease", "--json"]).outcome().succeeds().json();
        (done, listed)
    };
    let (done, listed) = lease(&[near, &shared]);
    done.says(&[&format!("this host has no address {SHARED}; register it again when it has it")]);
    assert!(is_at(&listed[0], "ready", 1) && listed[0]["nearest"] == near, "{listed}");
    pair.give(&room, true);
    let (_, listed) = lease(&[near, &shared]);
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    assert!(is_at(&listed[0], "ready", 2), "{listed}");
    pair.give(&room, false);
    pair.callsign(&room, &["unregister", "lease"]).outcome().succeeds();
    let (_, listed) = lease(&[&shared]);
    assert!(is_at(&listed[0], "starting", 0), "{listed}");
}

#[test]
fn an_address_of_another_hosts_server_is_registered_as_it_was_said() {
    let room = Room::new();
    let Some(pair) = Pair::new(&room) else { return };
    // One that listens at all addresses of this host says nothing of another host's.
    let args = ["-c", SERVE, "", "0.0.0.0", "8000"];
    let mut beside = pair.one.place().program(&room, "python3", &args);
    beside.line("`up`", |line| line == "up");
    let shared = format!("/ip4/{SHARED}/tcp/8000");
    let mut watch = pair.callsign(&room, &["watch", "db", "--json"]);
    for more in [&[][..], &["--", "sleep", "600"]] {
        let words = [&["register", "db", &shared], more].concat();
        let db = pair.callsign(&room, &words);
        watch.json("it is ready", |it| is_at(it, "ready", 1));
        let connected = pair.callsign(&room, &["connect", "db"]).outcome().succeeds();
        assert_eq!(connected.stdout, "here\n");
        db.stop();
    }

    // So is one that is declared, though a standby of it listens here.
    let _standby = serve(&room, &pair.one.place(), "", &["8001"]);
    let listed = pair.callsign(&room, &["ls", "master", "--json"]).outcome().succeeds().json();
    assert_eq!(listed[0]["locality"], "same-subnet", "{listed}");
    let connected = pair.callsign(&room, &["connect", "master"]).outcome().succeeds();
    assert_eq!(connected.stdout, "here\n");
}

#[test]
fn a_listener_of_the_library_is_published_when_its_address_comes() {
    let room = Room::new();
    let Some(pair) = Pair::new(&room) else { return };
    let listen = vec![room.unix("own.sock"), format!("/ip4/{SHARED}/tcp/0")];
    let mut registrar = pair.one.place().start(&room, Role::Registrar { listen });
    let near = heard::<Listening>(&mut registrar).endpoints[0].clone();
    let actors = vec![
        actor("alone", format!("/ip4/{SHARED}/tcp/0")),
        actor("loopback", "/ip4/127.0.0.1/tcp/0".to_owned()),
    ];
    let role = Role::Registrant { registrar: near.clone(), actors, lease: None };
    let mut registrant = pair.one.place().start(&room, role);
    let _registered: Registered = heard(&mut registrant);
    let watch = |name: &str| room.run(&["--registrar", &near, "watch", name, "--json"]);
    let count = |it: &Value| it["endpoints"].as_array().map(Vec::len);
    let find = ["--registrar", &near, "find", "registrar", "--json"];
    // Nobody is told of the registrar's own entry, so it is asked for until it is so.
    let own = |expected: usize| {
        while count(&room.run(&find).outcome().succeeds().json()) != Some(expected) {}
    };
    let mut alone = watch("alone");
    for _ in 0..2 {
        alone.json("it is not there", |it| count(it) == Some(0));
        own(1);
        pair.give(&room, true);
        alone.json("it has come", |it| count(it) == Some(1));
        own(2);
        pair.give(&room, false);
    }
    // The loopback is an interface like others.
    let mut loopback = watch("loopback");
    for script in ["ip address del 127.0.0.1/8 dev lo", "ip link set lo down"] {
        loopback.json("it is there", |it| count(it) == Some(1));
        pair.one.place().run(&room, script);
        loopback.json("it is withdrawn", |it| count(it) == Some(0));
        pair.one.place().run(&room, "ip link set lo up; ip address replace 127.0.0.1/8 dev lo");
    }
    loopback.json("it is back", |it| count(it) == Some(1));
    registrant.outcome().succeeds();
    registrar.outcome().succeeds();
}
