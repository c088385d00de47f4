//! Strange bytes, each in a connection of its own.

use bytes::BytesMut;
use wire::{
    ErrorKind, FRAME_BYTES_MAX, Frame, Hello, encode_body,
    preface::{VERSION, preface},
    registrar::{LIST, List, QUERY, REGISTER, WAIT, WATCH, Wait, Watch},
};

use crate::{
    endure,
    harness::{Peer, query, register, registration},
    outlast,
};

#[test]
fn invalid_beginnings_are_turned_away() {
    let hello = framed(&Frame::Hello(Box::default()));
    let long_hello =
        framed(&Frame::Hello(Box::new(Hello { agent: "x".repeat(5000), ..Hello::default() })));
    let call =
        framed(&Frame::Call { id: 0, method: QUERY, body: &query("good").1, within_ms: None });
    let other_version = [&preface()[..6], &(VERSION + 1).to_le_bytes()].concat();
    let mut garbage: Vec<u8> =
        (0..100_000_u32).map(|it| (it.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    garbage[0] = 0;
    let openings: &[(&str, Vec<u8>)] = &[
        ("nothing", vec![]),
        ("one byte", vec![0]),
        ("garbage", garbage),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: registrar\r\n\r\n".to_vec()),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("TLS", [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &[7; 508]].concat()),
        ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()),
        ("half a preface", preface()[..5].to_vec()),
        ("a preface that text mode has spoilt", b"\xc5SGN\n\x01\x00\x00".to_vec()),
        ("another version", other_version),
        ("a preface alone", preface().to_vec()),
        ("half a length", after_preface(&[1, 0])),
        ("half a hello", after_preface(&hello[..hello.len() / 2])),
        ("a hello that is too long", after_preface(&long_hello)),
        ("a frame of 4 GiB", after_preface(&u32::MAX.to_le_bytes())),
        ("a frame of nothing", after_preface(&[0; 4])),
        ("a call before the hello", after_preface(&call)),
        ("a hello of another type", after_preface(&as_frame(b"\x81\xa5hello\x01"))),
        ("a hello that is deeply nested", after_preface(&as_frame(&[0x91; 4000]))),
    ];
    let ended = outlast(|_, endpoint| {
        // All in parallel, because the silent ones take time.
        let come = |(what, bytes): &(&'static str, Vec<u8>)| {
            let mut stranger = Peer::dial(endpoint);
            // It may be turned away before it has sent all.
            drop(stranger.try_send_bytes(bytes));
            (*what, stranger)
        };
        let strangers: Vec<_> = openings.iter().map(come).collect();
        for (what, stranger) in strangers {
            println!("{endpoint}: {what}");
            stranger.closes();
        }
    });
    // A client that speaks TLS was meant to be served, and is not; one comes to each of two endpoints.
    let told: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(told.len(), 2, "other strangers are nothing to tell of\n{ended}");
    assert!(told.iter().all(|it| it.contains("the peer speaks TLS")), "{ended}");
}

#[test]
fn a_peer_that_leaves_in_the_middle_of_a_frame_leaves_nothing() {
    let call =
        framed(&Frame::Call { id: 0, method: QUERY, body: &query("good").1, within_ms: None });
    let hello = framed(&Frame::Hello(Box::default()));
    let conversation = [after_preface(&hello), call].concat();
    endure(|_, endpoint| {
        for length in 0..conversation.len() {
            let mut stranger = Peer::dial(endpoint);
            stranger.send_bytes(&conversation[..length]);
            // Half of them shut down properly, and half just disappear.
            if length % 2 == 0 {
                stranger.close_writing();
                stranger.closes();
            }
        }
    });
}

#[test]
fn a_breach_of_the_protocol_ends_the_connection() {
    let nested = |depth: usize| vec![0x91; depth];
    let nested_field =
        |depth| [&b"\x81\xa4call\x81\xa5other"[..], &nested(depth), b"\xc0"].concat();
    let breaches: &[(&str, Vec<u8>)] = &[
        ("a frame of 4 GiB", u32::MAX.to_le_bytes().to_vec()),
        ("a frame a byte too long", (FRAME_BYTES_MAX as u32 + 1).to_le_bytes().to_vec()),
        ("the longest frame, of zeroes", as_frame(&vec![0; FRAME_BYTES_MAX])),
        ("the longest frame, nested", as_frame(&nested(FRAME_BYTES_MAX))),
        ("a frame of nothing", vec![0; 4]),
        ("a number", as_frame(b"\x07")),
        ("a text", as_frame(b"\xa5hello")),
        ("an array", as_frame(b"\x92\xa4call\x01")),
        ("an unknown kind", as_frame(b"\x81\xa5order\x81\xa2id\x01")),
        ("two kinds at once", as_frame(b"\x82\xa6cancel\x81\xa2id\x01\xa4ping\x81\xa5nonce\x01")),
        ("a number where there is text", as_frame(b"\x81\xa4call\x83\xa2id\x01\xa6method\x01")),
        ("a negative number", as_frame(b"\x81\xa6cancel\x81\xa2id\xff")),
        ("text that is no UTF-8", as_frame(b"\x81\xa7goodbye\x81\xa6reason\xa2\xff\xff")),
        ("a map that lacks what it announces", as_frame(b"\x81\xa6cancel\xdf\xff\xff\xff\xff")),
        ("bytes that end too soon", as_frame(b"\x81\xa6return\x82\xa2id\x01\xa4body\xc6\xff\xff")),
        ("a byte that MessagePack never uses", as_frame(b"\xc1")),
        ("nested deeply", as_frame(&nested(100_000))),
        ("an unknown field, nested deeply", as_frame(&nested_field(100_000))),
        ("a second hello", framed(&Frame::Hello(Box::default()))),
    ];
    endure(|_, endpoint| {
        for (what, bytes) in breaches {
            println!("{endpoint}: {what}");
            let mut stranger = Peer::greet(endpoint);
            // It may be cut off before it has sent all.
            drop(stranger.try_send_bytes(bytes));
            stranger.closes();
        }
    });
}

#[test]
fn invalid_arguments_are_refused_and_the_connection_continues() {
    use ErrorKind::{Invalid, LimitReached, NoSuchMethod};

    let wait = encode_body(&Wait { name: "nobody".parse().unwrap() });
    let deep = |depth: usize| [&vec![0x91; depth][..], b"\xc0"].concat();
    let uuid = "\0".repeat(16);
    let no_endpoints = format!("\u{1}{uuid}");
    let calls: &[(&str, &[u8], ErrorKind)] = &[
        ("", b"", NoSuchMethod),
        ("registrar.destroy", b"\xc0", NoSuchMethod),
        ("registrar.query\0", b"\xc0", NoSuchMethod),
        (&"m".repeat(100_000), b"\xc0", NoSuchMethod),
        ("\u{1b}[2J", b"\xc0", NoSuchMethod),
        (QUERY, b"", Invalid),
        (QUERY, b"\xc0", Invalid),
        (QUERY, b"\x81\xa4name\x07", Invalid),
        (QUERY, &deep(100_000), Invalid),
        (WAIT, &[&b"\x81\xa4name"[..], &deep(100_000)].concat(), Invalid),
        (WAIT, b"\x81\xa4name\xa0", Invalid),
        (WAIT, b"\x81\xa4name\xa3a/b", Invalid),
        (WAIT, &[&b"\x81\xa4name\xda\x01\x00"[..], &[b'n'; 256]].concat(), Invalid),
        (WATCH, b"\x81\xa7pattern\x81", Invalid),
        (REGISTER, b"\x80", Invalid),
        (REGISTER, no_endpoints.as_bytes(), Invalid),
        (REGISTER, &[0xdf, 0xff, 0xff, 0xff, 0xff], Invalid),
    ];
    let remarks: &[Frame<'_>] = &[
        Frame::Credit { id: 4711, items: 7 },
        Frame::Cancel { id: 4711 },
        Frame::Cancel { id: u64::MAX },
        Frame::Return { id: 1, body: b"\xc0" },
        Frame::Started { id: 1, body: b"\xc0" },
        Frame::Item { id: 1, body: b"\xc0" },
        Frame::Pong { nonce: u64::MAX },
        Frame::Ping { nonce: u64::MAX },
    ];
    endure(|_, endpoint| {
        let mut stranger = Peer::greet(endpoint);
        for (method, body, kind) in calls {
            let shown: String = method.chars().take(40).collect();
            println!("{endpoint}: {shown:?} with {} bytes", body.len());
            let error = stranger.call(method, body).expect_err("nobody can answer that");
            assert_eq!(error.kind, *kind, "{error}");
        }
        for remark in remarks {
            println!("{endpoint}: {remark:?}");
            stranger.send(remark);
            stranger.sync();
        }

        println!("{endpoint}: the same number for two calls that wait, and for two watches");
        for (method, body) in [(WAIT, &wait), (WATCH, &encode_body(&every()))] {
            let twice = Frame::Call { id: 1_000_000, method, body, within_ms: None };
            stranger.send(&twice);
            stranger.send(&twice);
            let (id, answer) = stranger.answer();
            assert_eq!(id, 1_000_000);
            answer.expect_err("the second is refused");
            stranger.send(&Frame::Cancel { id });
            stranger.sync();
        }

        println!("{endpoint}: more credit than can be counted");
        let id = stranger.begin(WATCH, &encode_body(&every()));
        for _ in 0..3 {
            stranger.send(&Frame::Credit { id, items: u32::MAX });
        }
        stranger.sync();

        println!("{endpoint}: more waits than a session may have");
        let mut refused = 0;
        let waits: Vec<_> = (0..2000).map(|_| stranger.begin(WAIT, &wait)).collect();
        let last = stranger.begin("registrar.none", b"\xc0");
        loop {
            match stranger.answer() {
                (id, _) if id == last => break,
                (id, Err(error)) if waits.contains(&id) => {
                    assert_eq!(error.kind, LimitReached, "{error}");
                    refused += 1;
                }
                (id, answer) => panic!("{answer:?} for call {id}"),
            }
        }
        assert_eq!(refused, 2000 - 1024);
    });
}

#[test]
fn a_pattern_of_many_stars_takes_no_time() {
    endure(|_, endpoint| {
        let mut stranger = Peer::greet(endpoint);
        let long = "a".repeat(255);
        let (method, body) = register(&registration(&long, vec![]));
        stranger.call(method, &body).unwrap();
        let pattern = "*a".repeat(126) + "*b";
        let list = List { pattern: pattern.parse().unwrap(), after: 0 };
        for _ in 0..100 {
            stranger.call(LIST, &encode_body(&list)).unwrap();
        }
    });
}

/// Returns the arguments of a watch of everything.
fn every() -> Watch {
    Watch { pattern: "*".parse().unwrap(), seen: None }
}

fn after_preface(bytes: &[u8]) -> Vec<u8> {
    [&preface()[..], bytes].concat()
}

/// Puts a length before bytes.
fn as_frame(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_le_bytes()[..], bytes].concat()
}

fn framed(frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    frame.encode(&mut bytes).unwrap();
    bytes.to_vec()
}
