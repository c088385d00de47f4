//! The DNS server, asked by other resolvers than dig: Knot's, NLnet Labs', dnspython, and c-ares
//! through Node.

#![expect(clippy::print_stderr, reason = "who runs a test reads what it says")]

use std::{path::Path, process::Command};

use crate::harness::{Node, Room, Running};

/// Starts a node that answers DNS, with actors in its settings.
#[track_caller]
fn start(room: &Room) -> Node<'_> {
    let many: Vec<_> = (1..=60).map(|it| format!("\"/ip4/192.0.2.{it}/tcp/{it}\"")).collect();
    let settings = format!(
        "[registrar]\nsettle_time = \"0s\"\n[dns]\nlisten = \"127.0.0.1:0\"\n[declared]\n\
         web = [\"/ip4/192.0.2.8/tcp/80\", \"/ip6/2001:db8::8/tcp/81\"]\n\
         idle = \"/unix/@idle\"\nmany = [{}]\n",
        many.join(", ")
    );
    let settings = room.write("callsign.toml", &settings);
    Node::start_with(room, &[&room.unix("registrar.sock")], &["--config", &settings])
}

/// Tells whether a program runs with these words.
fn runs(program: &str, words: &[&str]) -> bool {
    let runs = Command::new(program).args(words).output().is_ok_and(|it| it.status.success());
    if !runs {
        eprintln!("skipped: `{program} {}` does not run", words.join(" "));
    }
    runs
}

/// Runs a program, and returns what it prints.
#[track_caller]
fn said(room: &Room, program: &str, words: &[String]) -> String {
    let mut command = room.other_command(program);
    command.args(words);
    Running::start(command).outcome().succeeds().stdout
}

#[test]
fn knot_and_ldns_understand_every_answer() {
    let room = Room::new();
    let node = start(&room);
    let (ip, port) = (node.dns().ip(), node.dns().port().to_string());
    for (program, version) in [("kdig", "-V"), ("drill", "-v")] {
        if !runs(program, &[version]) {
            continue;
        }
        let ask = |name: &str, kind: &str, more: &[&str]| {
            let port = ["-p", &port];
            let words = port.iter().chain(more).map(|it| (*it).to_owned());
            let words = words.chain([format!("@{ip}"), name.to_owned(), kind.to_owned()]);
            said(&room, program, &words.collect::<Vec<_>>())
        };
        // Neither finds a fault in it, which each would say.
        let check = |name: &str, kind: &str, more: &[&str], expected: &[&str]| {
            let answer = ask(name, kind, more);
            for expected in expected {
                assert!(answer.contains(expected), "{program} {name} {kind}: {expected}: {answer}");
            }
            for fault in ["WARNING", "rror:", "malformed", "trailing"] {
                assert!(!answer.contains(fault), "{program} {name} {kind}: {answer}");
            }
        };
        let noerror = ["NOERROR"];
        check("web.callsign", "A", &[], &[&noerror[..], &["192.0.2.8"]].concat());
        check("web.callsign", "AAAA", &[], &[&noerror[..], &["2001:db8::8"]].concat());
        check(
            "_web._tcp.callsign",
            "SRV",
            &[],
            &["NOERROR", " 80 ", " 81 ", "addr.callsign.", "192.0.2.8"],
        );
        check("_dnsaddr.web.callsign", "TXT", &[], &["dnsaddr=/ip4/192.0.2.8/tcp/80"]);
        check("_services._dns-sd._udp.callsign", "PTR", &[], &["_web._tcp.callsign."]);
        check("idle.callsign", "A", &[], &["NOERROR", "SOA"]);
        check("nobody.callsign", "A", &[], &["NXDOMAIN", "SOA"]);
        check("other.example", "A", &[], &["REFUSED"]);
        // What is cut is whole records, and over TCP it is all.
        let cut = if program == "kdig" { ["+ignore", "+noedns"] } else { ["-b", "512"] };
        let cut = ask("many.callsign", "SRV", &cut);
        assert!(cut.contains("tc"), "{program}: {cut}");
        let tcp = if program == "kdig" { "+tcp" } else { "-t" };
        check("many.callsign", "A", &[tcp], &["NOERROR", "192.0.2.1", "192.0.2.60"]);
    }
    node.stop().succeeds();
}

/// dnspython refuses what has a byte too many.
#[test]
fn dnspython_understands_every_answer() {
    // The environment that `cargo xtask test` makes.
    let binary = Path::new(env!("CARGO_BIN_EXE_callsign"));
    let python = binary.ancestors().nth(2).unwrap().join("python/bin/python3");
    let python = python.to_str().unwrap();
    if !runs(python, &["-c", "import dns.resolver"]) {
        return;
    }
    let room = Room::new();
    let node = start(&room);
    let script = r#"
import sys, dns.message, dns.query, dns.rcode, dns.flags, dns.resolver
ip, port = sys.argv[1], int(sys.argv[2])
def ask(name, kind, **more):
    question = dns.message.make_query(name, kind, **more)
    return question, dns.query.udp(question, ip, timeout=60, port=port)
for payload in (None, 512, 700, 1232, 4096):
    more = {} if payload is None else {"use_edns": 0, "payload": payload}
    question, answer = ask("many.callsign", "SRV", **more)
    assert answer.flags & dns.flags.TC, payload
    assert len(answer.to_wire()) <= (payload or 512), payload
    whole = dns.query.tcp(question, ip, timeout=60, port=port)
    assert len(whole.answer[0]) == 60 and not whole.flags & dns.flags.TC
for name, kind, code in [("web", "A", "NOERROR"), ("idle", "A", "NOERROR"), ("nobody", "A", "NXDOMAIN")]:
    _, answer = ask(name + ".callsign", kind)
    assert dns.rcode.to_text(answer.rcode()) == code and answer.flags & dns.flags.AA, answer
    assert bool(answer.answer) == (name == "web"), answer
    assert bool(answer.authority) == (name != "web"), answer
assert dns.rcode.to_text(ask("other.example", "A")[1].rcode()) == "REFUSED"
resolver = dns.resolver.Resolver(configure=False)
resolver.nameservers, resolver.port = [ip], port
print(*sorted(str(it) for it in resolver.resolve("web.callsign", "A")))
print(*sorted(str(it.port) for it in resolver.resolve("_web._tcp.callsign", "SRV")))
try:
    resolver.resolve("idle.callsign", "A")
except dns.resolver.NoAnswer:
    print("no answer")
try:
    resolver.resolve("nobody.callsign", "A")
except dns.resolver.NXDOMAIN:
    print("no name")
"#;
    let (ip, port) = (node.dns().ip().to_string(), node.dns().port().to_string());
    let words = ["-c".to_owned(), script.to_owned(), ip, port];
    let said = said(&room, python, &words);
    assert_eq!(said.lines().collect::<Vec<_>>(), ["192.0.2.8", "80 81", "no answer", "no name"]);
    node.stop().succeeds();
}

/// Node asks by c-ares, and its callers dial a target of `.` on their own host: there is none.
#[test]
fn c_ares_understands_every_answer() {
    if !runs("node", &["--version"]) {
        return;
    }
    let room = Room::new();
    let node = start(&room);
    let script = r#"
const { Resolver } = require("dns").promises;
const resolver = new Resolver({ timeout: 60000, tries: 1 });
resolver.setServers([process.argv[1]]);
(async () => {
  console.log((await resolver.resolve4("web.callsign")).join(" "));
  console.log((await resolver.resolve6("web.callsign")).join(" "));
  const services = await resolver.resolveSrv("_web._tcp.callsign");
  console.log(services.map((it) => it.port).sort().join(" "));
  console.log((await resolver.resolve4(services.find((it) => it.port === 80).name)).join(" "));
  console.log((await resolver.resolveTxt("_dnsaddr.web.callsign")).map((it) => it.join("")).sort().join(" "));
  console.log((await resolver.resolveSrv("many.callsign")).length);
  for (const [name, kind] of [["idle", "resolve4"], ["idle", "resolveSrv"], ["nobody", "resolve4"]]) {
    try {
      console.log(await resolver[kind](name + ".callsign"));
    } catch (error) {
      console.log(error.code);
    }
  }
})();
"#;
    let words = ["-e".to_owned(), script.to_owned(), node.dns().to_string()];
    let said = said(&room, "node", &words);
    let expected = [
        "192.0.2.8",
        "2001:db8::8",
        "80 81",
        "192.0.2.8",
        "dnsaddr=/ip4/192.0.2.8/tcp/80 dnsaddr=/ip6/2001:db8::8/tcp/81",
        "60",
        "ENODATA",
        "ENODATA",
        "ENOTFOUND",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
    node.stop().succeeds();
}
