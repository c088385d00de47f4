//! `callsign resolve /dnsaddr/…`, answered by servers of all kinds.

use std::{net::UdpSocket, thread};

use crate::harness::{Node, Room};

/// Answers each question with the texts of its name, for as long as the test runs.
fn serve(texts: &'static [(&str, &[&str])]) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let mut question = [0; 2000];
        while let Ok((length, asker)) = socket.recv_from(&mut question) {
            let asked = &question[12..length];
            let end = asked.iter().position(|it| *it == 0).unwrap();
            let labels = String::from_utf8_lossy(&asked[..end]).replace(char::is_control, ".");
            let name = labels.trim_start_matches('.').trim_start_matches("_dnsaddr.").to_owned();
            let found = texts.iter().find(|(it, _)| *it == name).map(|(_, texts)| *texts);
            let code = if found.is_some() { 0x80 } else { 0x83 };
            let count = u8::try_from(found.unwrap_or_default().len()).unwrap();
            let mut answer = [&question[..2], &[0x81, code, 0, 1, 0, count, 0, 0, 0, 0]].concat();
            answer.extend_from_slice(&asked[..end + 5]);
            for text in found.unwrap_or_default() {
                let length = u8::try_from(text.len()).unwrap();
                answer.extend_from_slice(&[
                    0xc0,
                    12,
                    0,
                    16,
                    0,
                    1,
                    0,
                    0,
                    0,
                    0,
                    0,
                    length + 1,
                    length,
                ]);
                answer.extend_from_slice(text.as_bytes());
            }
            if name == "forged.example" {
                // What is no answer to this question comes first.
                let mut forged = answer.clone();
                forged[0] ^= 1;
                socket.send_to(&forged, asker).unwrap();
                socket.send_to(b"\xc0\x0c", asker).unwrap();
            }
            socket.send_to(&answer, asker).unwrap();
        }
    });
    address
}

const TEXTS: &[(&str, &[&str])] = &[
    ("one.example", &["dnsaddr=/ip4/192.0.2.7/tcp/80", "dnsaddr=/dnsaddr/two.example", "v=spf1"]),
    ("two.example", &["dnsaddr=/dnsaddr/one.example", "dnsaddr=/ip6/2001:db8::1/tcp/80"]),
    ("others.example", &["dnsaddr=/ip4/192.0.2.7/udp/80/quic-v1", "dnsaddr=", "dnsaddr=\u{1b}[2J"]),
    ("empty.example", &[]),
    ("circle.example", &["dnsaddr=/dnsaddr/circle.example"]),
    ("forged.example", &["dnsaddr=/ip4/192.0.2.7/tcp/80"]),
    ("deep.example", &["dnsaddr=/dnsaddr/absent.example", "dnsaddr=/ip4/192.0.2.7/tcp/80"]),
];

#[test]
fn texts_of_dns_are_endpoints_or_have_a_reason() {
    let room = Room::new();
    let server = serve(TEXTS);
    let resolve = |name: &str, more: &[&str]| {
        let name = format!("/dnsaddr/{name}");
        room.callsign(&[&["resolve", &name, "--dns", &server][..], more].concat())
    };
    let both = ["/ip4/192.0.2.7/tcp/80", "/ip6/2001:db8::1/tcp/80"];
    resolve("one.example", &[]).succeeds().prints(&both);
    let explained = resolve("one.example", &["--explain"]).succeeds().prints(&both);
    let left_out = ["`v=spf1` is left out", "does not begin with `dnsaddr=`"];
    explained.says(&left_out).says(&["`/dnsaddr/one.example` is left out: it leads back"]);
    resolve("circle.example", &["--explain"]).ends_with(1).says(&["it leads back to a name"]);
    resolve("circle.example", &[]).ends_with(1).says(&["--explain"]);
    resolve("", &[]).ends_with(2).says(&["`/dnsaddr/` names no domain", "/dnsaddr/feed.callsign"]);
    resolve("/tcp/80", &[]).ends_with(2).says(&["names no domain"]);
    let one = resolve("one.example/tcp/80", &["--json"]).succeeds().json();
    assert_eq!(one["candidates"].as_array().unwrap().len(), 1, "{one}");
    resolve("forged.example", &[]).succeeds().prints(&both[..1]);
    resolve("deep.example", &["--explain"]).succeeds().says(&["absent.example", "no such name"]);
    let others = resolve("others.example", &["--explain"]).ends_with(1);
    assert!(!others.stderr.contains('\u{1b}'), "{others}");
    others.says(&["udp", "dnsaddr="]);
    resolve("others.example", &[]).ends_with(1).says(&["none of its 3 texts", "--explain"]);
    resolve("empty.example", &[]).ends_with(1).says(&["it has no endpoint"]);
    resolve("absent.example", &[]).ends_with(1).says(&["DNS has no name", "--dns"]);
    resolve(&"x".repeat(70), &[]).ends_with(2).says(&["no domain name"]);

    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap().to_string();
    // Nobody is there any more.
    let words = ["resolve", "/dnsaddr/one.example", "--dns", &silent];
    let unsaid = room.callsign(&words).ends_with(3);
    let unsaid = unsaid.says(&["does not say", &silent, "ask another DNS server"]);
    assert!(!unsaid.stderr.contains("--registrar"), "no registrar was asked\n{unsaid}");
    let words = ["resolve", "/dnsaddr/one.example", "--dns", "resolver"];
    room.callsign(&words).ends_with(2).says(&["no address of a DNS server"]);
    room.callsign(&["resolve", "web", "--dns", "::1"]).ends_with(2).says(&["/dnsaddr/"]);
}

/// An answer that does not fit a datagram is asked for over TCP.
#[test]
fn many_endpoints_come_over_tcp() {
    let room = Room::new();
    let endpoints: Vec<_> = (1..=60).map(|it| format!("\"/ip4/192.0.2.{it}/tcp/80\"")).collect();
    let settings = format!(
        "[registrar]\nsettle_time = \"0s\"\n[dns]\nlisten = \"127.0.0.1:0\"\n[declared]\n\
         many = [{}]\n",
        endpoints.join(", ")
    );
    let settings = room.write("callsign.toml", &settings);
    let node = Node::start_with(&room, &[&room.unix("r.sock")], &["--config", &settings]);
    let server = node.dns().to_string();
    let words = ["resolve", "/dnsaddr/many.callsign", "--json", "--dns", &server];
    let found = node.callsign(&words).succeeds().json();
    assert_eq!(found["candidates"].as_array().unwrap().len(), 60);
}
