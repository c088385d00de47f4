//! What floods a node: the floods of one client within the bounds.

use std::collections::BTreeMap;

use bytes::BytesMut;
use callsign_bench::{Client, registrations};
use endpoints::{Endpoint, NamePattern, Stamped};
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;
use wire::{
    Frame, decode_body, encode_body,
    registrar::{
        Evidence, LIST, List, Page, REGISTER, REPORT, Register, Report, WAIT, WATCH, Wait, Watch,
    },
};

use crate::{Act, Flood, redis};

pub(crate) const FLOODS: [Flood; 10] = [
    Flood {
        what: "a list by a stubborn pattern over 20,000 long names",
        callsign: list,
        redis: Some(redis::list),
    },
    Flood {
        what: "500 such lists in one write (of Redis 10)",
        callsign: lists,
        redis: Some(redis::lists),
    },
    Flood {
        what: "4,096 registrations in one write",
        callsign: writes,
        redis: Some(redis::writes),
    },
    Flood {
        what: "20 registrations beside 256 stubborn watches of 16 sessions",
        callsign: watches,
        redis: Some(redis::watches),
    },
    Flood {
        what: "200 registrations of 64 endpoints that others hold too",
        callsign: claims,
        redis: Some(redis::claims),
    },
    Flood {
        what: "waits of 50 sessions, then a long registration",
        callsign: waits,
        redis: Some(redis::waits),
    },
    Flood {
        what: "65,536 registrations, and the end of their session",
        callsign: ends,
        redis: Some(redis::ends),
    },
    Flood { what: "100 sessions with half a frame", callsign: halves, redis: Some(redis::halves) },
    Flood { what: "500 mute connections", callsign: mute, redis: Some(redis::mute) },
    Flood { what: "100 reports", callsign: reports, redis: None },
];

fn list(place: &Endpoint) -> Act {
    let (runtime, mut client) = crowded(place);
    Box::new(move || {
        runtime.block_on(async {
            let mut after = Some(0);
            while let Some(from) = after {
                let answer = client.ask(&calls(&[listing(from)])).await;
                let Frame::Return { body, .. } = Frame::decode(&answer[4..]).unwrap() else {
                    panic!("a list is answered");
                };
                after = decode_body::<Page>(body).unwrap().next;
            }
        });
    })
}

fn lists(place: &Endpoint) -> Act {
    let (runtime, mut client) = crowded(place);
    let asked = calls(&vec![listing(0); 500]);
    Box::new(move || runtime.block_on(client.exchange(&asked, 500)))
}

fn writes(place: &Endpoint) -> Act {
    let (runtime, place) = (runtime(), place.clone());
    Box::new(move || {
        runtime.block_on(async {
            let mut client = Client::greet(&place).await;
            let names = (0..4096).map(|it| format!("feed-{it}"));
            client.exchange(&registrations(names), 4096).await;
        });
    })
}

fn watches(place: &Endpoint) -> Act {
    let runtime = runtime();
    let (watching, mut client) = runtime.block_on(async {
        let mut watching = Vec::new();
        for session in 0..16 {
            let mut client = Client::greet(place).await;
            let watches: Vec<_> = (0..256)
                .map(|it| {
                    let pattern = "*a".repeat(120) + &format!("x{session}-{it}");
                    let pattern = NamePattern::new(&pattern).unwrap();
                    (WATCH, encode_body(&Watch { pattern, seen: None }))
                })
                .collect();
            let mut frames = calls(&watches);
            for id in 0..256 {
                Frame::Credit { id: 2 * id, items: 1000 }.encode(&mut frames).unwrap();
            }
            client.exchange(&frames, 3 * 256).await;
            watching.push(client);
        }
        (watching, Client::greet(place).await)
    });
    Box::new(move || {
        let _watching = &watching;
        runtime.block_on(fill(&mut client, (0..20).map(long_name)));
    })
}

fn claims(place: &Endpoint) -> Act {
    let (runtime, place) = (runtime(), place.clone());
    let endpoint =
        |it: u32| Stamped::bare(format!("/ip4/10.1.2.3/tcp/{}", 1000 + it).parse().unwrap());
    let endpoints: Vec<_> = (0..64).map(endpoint).collect();
    Box::new(move || {
        let registering = |it: usize| {
            let endpoints = endpoints.clone();
            (REGISTER, encode_body(&Register { endpoints, ..register(&format!("n{it}")) }))
        };
        let asked = calls(&(0..200).map(registering).collect::<Vec<_>>());
        runtime.block_on(async { Client::greet(&place).await.exchange(&asked, 200).await });
    })
}

fn waits(place: &Endpoint) -> Act {
    let (runtime, place) = (runtime(), place.clone());
    let wait = (WAIT, encode_body(&Wait { name: "fat".parse().unwrap() }));
    let waits = calls(&vec![wait; 1024]);
    let text = BTreeMap::from([("text".to_owned(), "x".repeat(16_000))]);
    let fat = Register { metadata: text, ..register("fat") };
    Box::new(move || {
        runtime.block_on(async {
            let mut waiting = Vec::new();
            for _ in 0..50 {
                let mut client = Client::greet(&place).await;
                client.send(&waits).await;
                waiting.push(client);
            }
            let mut client = Client::greet(&place).await;
            client.exchange(&calls(&[(REGISTER, encode_body(&fat))]), 1).await;
            for waiting in &mut waiting {
                waiting.exchange(b"", 1).await;
            }
        });
    })
}

fn ends(place: &Endpoint) -> Act {
    let (runtime, place) = (runtime(), place.clone());
    Box::new(move || {
        runtime.block_on(async {
            let mut client = Client::greet(&place).await;
            for part in 0..64 {
                let names = (0..1024).map(|it| format!("feed-{part}-{it}"));
                client.exchange(&registrations(names), 1024).await;
            }
        });
    })
}

fn halves(place: &Endpoint) -> Act {
    let (runtime, place) = (runtime(), place.clone());
    Box::new(move || {
        runtime.block_on(async {
            let mut strangers = Vec::new();
            for _ in 0..100 {
                let mut client = Client::greet(&place).await;
                let half = [&(128_u32 << 10).to_le_bytes()[..], &[0xc0; 100 * 1024]].concat();
                client.send(&half).await;
                strangers.push(client);
            }
        });
    })
}

fn mute(place: &Endpoint) -> Act {
    let (runtime, place) = (runtime(), place.clone());
    Box::new(move || {
        runtime.block_on(async {
            let mut strangers = Vec::new();
            for _ in 0..500 {
                strangers.push(Client::connect(&place).await);
            }
        });
    })
}

fn reports(place: &Endpoint) -> Act {
    let runtime = runtime();
    let endpoint: Endpoint = "/ip4/127.0.0.1/tcp/9".parse().unwrap();
    let one = Register { endpoints: vec![Stamped::bare(endpoint.clone())], ..register("reported") };
    let uuid = one.uuid;
    let mut client = runtime.block_on(async {
        let mut client = Client::greet(place).await;
        client.exchange(&calls(&[(REGISTER, encode_body(&one))]), 1).await;
        client
    });
    let report = Report { uuid, epoch: 0, endpoint, evidence: Evidence::Refused };
    let reports = calls(&vec![(REPORT, encode_body(&report)); 100]);
    Box::new(move || runtime.block_on(client.exchange(&reports, 100)))
}

/// A client that has registered 20,000 long names.
fn crowded(place: &Endpoint) -> (Runtime, Client) {
    let runtime = runtime();
    let client = runtime.block_on(async {
        let mut client = Client::greet(place).await;
        fill(&mut client, (0..20_000).map(long_name)).await;
        client
    });
    (runtime, client)
}

pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

pub(crate) fn long_name(number: usize) -> String {
    format!("{}{number:05}", "ab".repeat(125))
}

fn listing(after: u64) -> (&'static str, Vec<u8>) {
    let pattern = NamePattern::new(&("*a".repeat(120) + "x")).unwrap();
    (LIST, encode_body(&List { pattern, after }))
}

fn register(name: &str) -> Register {
    Register::new(name.parse().unwrap(), Uuid::new_v4())
}

async fn fill(client: &mut Client, names: impl Iterator<Item = String>) {
    let all: Vec<_> = names.map(|it| (REGISTER, encode_body(&register(&it)))).collect();
    for some in all.chunks(100) {
        client.exchange(&calls(some), some.len()).await;
    }
}

fn calls(bodies: &[(&str, Vec<u8>)]) -> BytesMut {
    let mut frames = BytesMut::new();
    for (at, (method, body)) in bodies.iter().enumerate() {
        let id = 2 * at as u64;
        Frame::Call { id, method, body, within_ms: None }.encode(&mut frames).unwrap();
    }
    frames
}
