//! Wildcard addresses in a network with several devices.

use serde_json::Value;

use crate::{
    harness::{Outcome, Room, Running},
    programs::python,
};

/// A network namespace in which the device `d1` has 10.8.0.2, and `d2` has 10.9.0.2.
struct Network<'room> {
    room: &'room Room,
    holder: Running,
}

impl<'room> Network<'room> {
    /// Returns `None`, and says so, if there can be none here.
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    fn new(room: &'room Room) -> Option<Self> {
        let script = "ip link set lo up || exit
            for one in 1:10.8.0.2 2:10.9.0.2; do
                ip link add d${one%%:*} type veth peer name p${one%%:*} || exit
                ip link set d${one%%:*} up && ip link set p${one%%:*} up || exit
                ip addr add ${one#*:}/24 dev d${one%%:*} || exit
            done
            echo up && exec sleep 600";
        let mut command = room.other_command("unshare");
        command.args(["--net", "sh", "-c", script]);
        let mut holder = Running::start(command);
        if holder.line_or_end("up").is_none() {
            eprintln!("skipped: no network namespace with devices can be made here");
            return None;
        }
        Some(Self { room, holder })
    }

    fn run(&self, words: &[&str]) -> Running {
        let mut command = self.room.other_command("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.holder.pid())).args(words);
        command.env("CALLSIGN_REGISTRAR", self.room.unix("registrar.sock"));
        Running::start(command)
    }

    fn start(&self, args: &[&str]) -> Running {
        self.run(&[&[env!("CARGO_BIN_EXE_callsign")], args].concat())
    }

    fn callsign(&self, args: &[&str]) -> Outcome {
        self.start(args).outcome()
    }

    /// Takes the address of `d1` away, and gives it another.
    fn readdress(&self, from: &str, to: &str) {
        for (verb, ip) in [("del", from), ("add", to)] {
            let ip = format!("{ip}/24");
            self.run(&["ip", "addr", verb, &ip, "dev", "d1"]).outcome().succeeds();
        }
    }

    /// Returns the IPv4 addresses with the port 5010 of an actor's only instance.
    fn found(&self, name: &str) -> Vec<String> {
        let listed = self.callsign(&["ls", name, "--json"]).succeeds().json();
        assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
        let mut endpoints = endpoints_of(&listed[0]);
        endpoints.sort_unstable();
        let ip = |it: &str| Some(it.strip_prefix("/ip4/")?.strip_suffix("/tcp/5010")?.to_owned());
        endpoints.into_iter().filter_map(ip).collect()
    }

    fn registrar(&self) -> Running {
        let mut registrar =
            self.start(&["registrar", "--listen", &self.room.unix("registrar.sock")]);
        registrar.line_with("listening on");
        registrar
    }

    /// Starts a server at a wildcard address, bound to a device or to none (`""`).
    fn serve(&self, host: &str, port: &str, device: &str) -> Running {
        let code = "import socket, sys\n\
                    host, port, device = sys.argv[1:]\n\
                    s = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET)\n\
                    if device: s.setsockopt(socket.SOL_SOCKET, 25, device.encode())\n\
                    s.bind(socket.getaddrinfo(host, int(port), type=1)[0][4])\n\
                    s.listen()\n\
                    print('up', flush=True)\n\
                    while True: s.accept()[0].close()";
        let mut server = self.run(&[&python(), "-c", code, host, port, device]);
        server.line_with("up");
        server
    }
}

fn endpoints_of(record: &Value) -> Vec<&str> {
    let endpoints = record["endpoints"].as_array().unwrap().iter();
    endpoints.map(|it| it["endpoint"].as_str().unwrap()).collect()
}

#[test]
fn a_wildcard_of_one_device_is_published_at_its_addresses_alone() {
    let room = Room::new();
    let Some(network) = Network::new(&room) else { return };
    let _registrar = network.registrar();
    let check = |name: &str, (family, host): (&str, &str), device: &str, expected: &[&str]| {
        let _server = network.serve(host, "5010", device);
        let mut watch = network.start(&["watch", name, "--json"]);
        let registrant = network.start(&["register", name, &format!("/{family}/{host}/tcp/5010")]);
        let record = watch.json("it is ready", |it| it["state"] == "ready");
        let mut endpoints = endpoints_of(&record);
        endpoints.retain(|it| it.starts_with("/ip4"));
        endpoints.sort_unstable();
        assert_eq!(endpoints, expected, "{device}: {record}");
        registrant.stop();
    };
    let ipv4 = ("ip4", "0.0.0.0");
    let (first, second) = ("/ip4/10.8.0.2/tcp/5010", "/ip4/10.9.0.2/tcp/5010");
    let loopback = "/ip4/127.0.0.1/tcp/5010";
    check("first", ipv4, "d1", &[first]);
    check("second", ("ip6", "::"), "d2", &[second]);
    check("loopback", ipv4, "lo", &[loopback]);
    check("every", ipv4, "", &[first, second, loopback]);
}

#[test]
fn a_lease_of_a_wildcard_is_renewed_at_the_present_addresses() {
    let room = Room::new();
    let Some(network) = Network::new(&room) else { return };
    let _registrar = network.registrar();
    let check = |name: &str, (family, host): (&str, &str), again: bool| {
        let _server = network.serve(host, "5010", "");
        let place = format!("/{family}/{host}/tcp/5010");
        let register = ["register", name, &place, "--ttl", "10m"];
        network.callsign(&register).succeeds();
        assert_eq!(network.found(name), ["10.8.0.2", "10.9.0.2", "127.0.0.1"]);

        network.readdress("10.8.0.2", "10.8.0.3");
        if again {
            // The command that made it knows what was said.
            network.callsign(&register).succeeds();
        } else {
            let renewed = network.callsign(&["renew", name]).succeeds();
            renewed.says(&["this host has no longer /ip4/10.8.0.2/tcp/5010"]);
        }
        assert_eq!(network.found(name), ["10.8.0.3", "10.9.0.2", "127.0.0.1"]);

        // One that comes counts like one that goes.
        let address = |verb: &str| {
            network.run(&["ip", "addr", verb, "10.7.0.2/24", "dev", "d2"]).outcome().succeeds();
        };
        address("add");
        if again {
            network.callsign(&register).succeeds();
        } else {
            let renewed = network.callsign(&["renew", name]).succeeds();
            renewed.says(&["this host has got ", "/ip4/10.7.0.2/tcp/5010", "registered there too"]);
        }
        assert_eq!(network.found(name), ["10.7.0.2", "10.8.0.3", "10.9.0.2", "127.0.0.1"]);
        address("del");
        network.readdress("10.8.0.3", "10.8.0.2");
        network.callsign(&["unregister", name]).succeeds();
    };
    check("renewed", ("ip4", "0.0.0.0"), false);
    check("again", ("ip4", "0.0.0.0"), true);
    check("both", ("ip6", "::"), false);
}

#[test]
fn a_lease_of_an_address_that_is_gone_is_to_be_registered_again() {
    let room = Room::new();
    let Some(network) = Network::new(&room) else { return };
    let _registrar = network.registrar();
    let _server = network.serve("0.0.0.0", "5010", "");
    let places = ["/ip4/10.8.0.2/tcp/5010", "/ip4/10.9.0.2/tcp/5010"];
    network.callsign(&["register", "given", places[0], places[1], "--ttl", "10m"]).succeeds();
    network.readdress("10.8.0.2", "10.8.0.3");
    let renewed = network.callsign(&["renew", "given"]).succeeds();
    renewed.says(&["this host has no longer /ip4/10.8.0.2/tcp/5010; register it again"]);
    assert_eq!(network.found("given"), ["10.8.0.2", "10.9.0.2"]);
}

#[test]
fn a_lease_of_given_addresses_stays_at_those() {
    let room = Room::new();
    let Some(network) = Network::new(&room) else { return };
    let _registrar = network.registrar();
    let _server = network.serve("0.0.0.0", "5010", "");
    for (name, hosts) in [("local", ["127.0.0.1"].as_slice()), ("far", &["10.8.0.2", "10.9.0.2"])] {
        let places: Vec<_> = hosts.iter().map(|it| format!("/ip4/{it}/tcp/5010")).collect();
        let mut register = vec!["register", name, "--ttl", "10m"];
        register.extend(places.iter().map(String::as_str));
        network.callsign(&register).succeeds();
        let renewed = network.callsign(&["renew", name]).succeeds();
        assert_eq!(renewed.stderr, "", "{name}");
        assert_eq!(network.found(name), hosts);
    }
}

#[test]
fn an_address_that_was_said_is_withdrawn_when_the_host_loses_it() {
    let room = Room::new();
    let Some(network) = Network::new(&room) else { return };
    let _registrar = network.registrar();
    let address = |verb: &str, address: &str| {
        let bits = if address.contains(':') { "64" } else { "24" };
        let address = format!("{address}/{bits}");
        let words = ["ip", "addr", verb, &address, "dev", "d1"];
        let dad = if bits == "64" && verb == "add" { &["nodad"][..] } else { &[] };
        network.run(&[&words[..], dad].concat()).outcome().succeeds();
    };
    let python = python();
    let serve = "import socket, sys\n\
                 s = socket.create_server((sys.argv[1], 5010), family=socket.AF_INET6)\n\
                 while True: s.accept()[0].close()";
    let check = |name: &str, said: &[&str], more: &[&str], (lost, at): (&str, &str)| {
        address("add", at);
        let mut watch = network.start(&["watch", name, "--json"]);
        let register = [&["register", name], said, more].concat();
        let mut registrant = network.start(&register);
        let are_there = |it: &Value, expected: &[&str]| {
            it["endpoints"].is_array() && endpoints_of(it) == expected
        };
        watch.json("it is ready", |it| it["state"] == "ready" && are_there(it, said));

        address("del", at);
        let left: Vec<_> = said.iter().copied().filter(|it| *it != lost).collect();
        watch.json("it is withdrawn", |it| are_there(it, &left));
        let gone = "any more: this host no longer has that address";
        registrant.says(&format!("does not listen at {lost} {gone}"));
        // It is another host's now, and nobody is sent there.
        let stays = ["wait", name, "--timeout", "5m"];
        if !left.is_empty() {
            network.callsign(&stays).succeeds().prints(&left);
        }
        address("add", at);
        watch.json("it is back", |it| it["state"] == "ready" && are_there(it, said));
        registrant.says("again");
        registrant.stop();
        address("del", at);
    };
    let (first, second) = ("/ip4/10.8.0.7/tcp/5010", "/ip4/10.9.0.2/tcp/5010");
    {
        let _server = network.serve("0.0.0.0", "5010", "");
        check("alone", &[first], &[], (first, "10.8.0.7"));
        check("both", &[first, second], &[], (first, "10.8.0.7"));
        // Whoever vouches for it does not speak for another host.
        check("vouched", &[first, second], &["--state", "ready"], (first, "10.8.0.7"));
    }
    let sixth = "/ip6/fd77::7/tcp/5010";
    let command = ["--", &python, "-c", serve, "fd77::7"];
    check("program", &[sixth], &command, (sixth, "fd77::7"));
}

/// What the kernel's routes say decides: the loopback may lose an address too, and a route alone may make
/// one this host's.
#[test]
fn an_address_of_the_loopback_or_of_a_route_is_withdrawn_when_it_is_gone() {
    let room = Room::new();
    let Some(network) = Network::new(&room) else { return };
    let _registrar = network.registrar();
    let check = |name: &str, ip: &str, port: u16, [take, give]: [&str; 2]| {
        let port = port.to_string();
        let run = |script: &str| network.run(&["sh", "-c", script]).outcome().succeeds();
        if name == "route" {
            run(give);
        }
        let _server = network.serve(ip, &port, "");
        let endpoint = format!("/ip4/{ip}/tcp/{port}");
        let mut watch = network.start(&["watch", name, "--json"]);
        let mut registrant = network.start(&["register", name, &endpoint]);
        let is = |it: &Value, state: &str, count: usize| {
            it["state"] == state && it["endpoints"].as_array().is_some_and(|it| it.len() == count)
        };
        let record = watch.json("it is ready", |it| is(it, "ready", 1));
        let locality = if name == "route" { "this-host" } else { "loopback" };
        assert_eq!(record["locality"], locality, "{record}");
        assert_eq!(record["endpoints"][0]["verified"], true, "{record}");
        network.callsign(&["connect", name]).succeeds();
        run(take);
        watch.json("it is withdrawn", |it| is(it, "starting", 0));
        registrant.says(match name {
            "down" => "the loopback interface is down",
            _ => "this host no longer has that address",
        });
        run(give);
        watch.json("it is back", |it| is(it, "ready", 1));
        network.callsign(&["connect", name]).succeeds();
        registrant.stop();
    };
    let lo = ["ip addr del 127.0.0.1/8 dev lo", "ip addr add 127.0.0.1/8 dev lo"];
    check("loopback", "127.0.0.1", 5010, lo);
    check("below", "127.0.0.53", 5011, lo);
    // The kernel keeps its address and its routes then.
    check("down", "127.0.0.1", 5012, ["ip link set lo down", "ip link set lo up"]);
    let route = "local 192.0.2.0/24 dev lo";
    let routes = ["del", "add"].map(|verb| format!("ip route {verb} {route}"));
    check("route", "192.0.2.7", 5013, [&routes[0], &routes[1]]);

    // Of a wildcard, the other addresses stay.
    let _server = network.serve("0.0.0.0", "5014", "");
    let mut watch = network.start(&["watch", "every", "--json"]);
    let _registrant = network.start(&["register", "every", "/ip4/0.0.0.0/tcp/5014"]);
    let has_loopback = |it: &Value| {
        it["endpoints"].is_array() && endpoints_of(it).contains(&"/ip4/127.0.0.1/tcp/5014")
    };
    let is_elsewhere = |it: &Value| {
        it["endpoints"].is_array() && endpoints_of(it).contains(&"/ip4/10.9.0.2/tcp/5014")
    };
    watch.json("all", |it| is_elsewhere(it) && has_loopback(it));
    network.run(&["ip", "link", "set", "lo", "down"]).outcome().succeeds();
    watch.json("the others", |it| is_elsewhere(it) && !has_loopback(it));
    network.run(&["ip", "link", "set", "lo", "up"]).outcome().succeeds();
    watch.json("all again", |it| is_elsewhere(it) && has_loopback(it));
}

#[test]
fn an_address_of_a_device_with_another_name_is_not_confirmed() {
    let room = Room::new();
    let Some(network) = Network::new(&room) else { return };
    let _registrar = network.registrar();
    let add = ["ip", "addr", "add", "fe80::77:1/64", "dev", "d1", "nodad"];
    network.run(&add).outcome().succeeds();
    let _server = network.serve("fe80::77:1%d1", "5010", "");
    let mut watch = network.start(&["watch", "local", "--json"]);
    let endpoint = "/ip6zone/d1/ip6/fe80::77:1/tcp/5010";
    let _registrant = network.start(&["register", "local", endpoint]);
    watch.json("it is ready", |it| it["state"] == "ready");
    for (from, to, expected) in [("d1", "e1", "starting"), ("e1", "d1", "ready")] {
        network.run(&["ip", "link", "set", from, "name", to]).outcome().succeeds();
        watch.json(expected, |it| it["state"] == expected);
    }
}
