//! The worked example of `docs/wire.md`, checked against the codec.

#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

use std::{collections::BTreeMap, fs, path::Path};

use bytes::{BufMut, BytesMut};
use callsign_wire::{
    Frame, FrameReader, Hello, Lifetime, Record, State, encode_body,
    preface::{self, PREFACE_BYTES},
    registrar::{Answer, QUERY, Query},
};
use endpoints::{KernelId, Name, NetnsId, Stamp, Stamped};
use uuid::Uuid;

#[test]
fn the_document_shows_the_bytes_that_are_sent() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/wire.md");
    let text = fs::read_to_string(path).unwrap();
    let shown: Vec<_> = text.split("```hex\n").skip(1).map(bytes_of).collect();

    let sent = [opening(client()), opening(registrar()), query(), answer()];
    assert_eq!(shown.len(), sent.len());
    for (shown, sent) in shown.iter().zip(&sent) {
        assert_eq!(hex(shown), hex(sent));
    }

    // A reader that is given everything the client sends understands it.
    let mut reader = FrameReader::default();
    reader.extend_from_slice(&[&shown[0][..], &shown[2]].concat());
    let begin = reader.take(PREFACE_BYTES).unwrap();
    assert_eq!(preface::check(begin.first_chunk().unwrap()), Ok(()));
    let hello = reader.next().unwrap().unwrap();
    assert_eq!(Frame::decode(&hello), Ok(Frame::Hello(Box::new(client()))));
    let call = reader.next().unwrap().unwrap();
    let Ok(Frame::Call { id: 0, method: QUERY, body, .. }) = Frame::decode(&call) else {
        panic!("{call:?}")
    };
    assert_eq!(Query::decode(body), Ok(Query::of("feed")));
    assert!(reader.peek().is_empty());
}

fn client() -> Hello {
    Hello { agent: "demo/1".to_owned(), ..Hello::default() }
}

fn registrar() -> Hello {
    let registrar = Some(Uuid::from_u128(0xd0d1_d2d3_d4d5_4677_8899_aabb_ccdd_eeff));
    Hello { agent: "callsign/0.1.0".to_owned(), registrar, ..Hello::default() }
}

fn opening(hello: Hello) -> BytesMut {
    let mut bytes = BytesMut::from(&preface::preface()[..]);
    Frame::Hello(Box::new(hello)).encode(&mut bytes).unwrap();
    bytes
}

fn query() -> BytesMut {
    let body = encode_body(&Query::of("feed"));
    let mut bytes = BytesMut::new();
    Frame::Call { id: 0, method: QUERY, body: &body, within_ms: None }.encode(&mut bytes).unwrap();
    bytes
}

fn answer() -> BytesMut {
    let stamp = Stamp {
        kernel: Some(KernelId(0x0123_4567_89ab_cdef)),
        netns: Some(NetnsId(1)),
        ..Stamp::default()
    };
    let record = Record {
        name: Name::new("feed").unwrap(),
        uuid: Uuid::from_u128(0x0011_2233_4455_4677_8899_aabb_ccdd_eeff),
        epoch: 1_795_000_000_000_001,
        endpoints: vec![Stamped { endpoint: "/unix/@feed".parse().unwrap(), stamp }],
        metadata: BTreeMap::new(),
        state: State::Ready,
        lifetime: Lifetime::Session,
        since_ms: 1_795_000_000_500,
        suspicion: None,
        proves: false,
        owner: None,
        token: None,
        waiting: 0,
        node: None,
    };
    let answer = Answer {
        revision: 1_795_000_000_000_001,
        now_ms: 1_795_000_002_000,
        total: 1,
        records: vec![record],
    };
    let mut bytes = BytesMut::new();
    let body = encode_body(&answer);
    callsign_wire::encode_return(&mut bytes, 0, |bytes| bytes.put_slice(&body)).unwrap();
    bytes
}

/// Reads the bytes of a block, up to its end. The text after a `#` is for people.
fn bytes_of(block: &str) -> Vec<u8> {
    let lines = block.split("```").next().unwrap().lines();
    let digits = lines.flat_map(|line| line.split('#').next().unwrap().split_whitespace());
    digits.map(|it| u8::from_str_radix(it, 16).unwrap()).collect()
}

/// Writes bytes for comparison.
fn hex(bytes: &[u8]) -> String {
    let lines = bytes.chunks(16).map(|line| line.iter().map(|it| format!("{it:02x} ")).collect());
    lines.collect::<Vec<String>>().join("\n")
}
