//! Messages of encoded records: a registrar keeps each record only in its encoded form, and copies
//! bytes.

use std::io::Write as _;

use bytes::{BufMut, BytesMut};
use endpoints::{InstanceId, SocketId, Stamp, Stamped};
use rmp::encode::{write_array_len, write_map_len, write_nil, write_str_len, write_uint};
use uuid::Uuid;

use crate::{
    Epoch, Lifetime, Owner, Proof, Record, RemovalReason, Revision, State, encode_body,
    registrar::{Changed, Registered},
};

/// Appends an [`Answer`](crate::registrar::Answer).
pub fn encode_answer<'a>(
    bytes: &mut BytesMut,
    revision: Revision,
    now_ms: u64,
    total: u64,
    records: impl ExactSizeIterator<Item = &'a [u8]>,
) {
    head(bytes, revision, now_ms);
    let mut counts = *b"\xa5total_\xa7records_";
    if total < 0x80 && records.len() < 0x10 {
        // Nearly every answer is short, and then both counts are a byte each.
        counts[6] = total as u8;
        counts[15] = 0x90 | records.len() as u8;
        bytes.put_slice(&counts);
        records.for_each(|record| bytes.put_slice(record));
    } else {
        bytes.put_slice(&counts[..6]);
        uint(bytes, total);
        self::records(bytes, records);
    }
}

/// Appends a [`Located`](crate::registrar::Located), whose answer `answer` appends and returns
/// the proofs for.
pub fn encode_located(
    bytes: &mut BytesMut,
    registrar: Uuid,
    nonce: Uuid,
    answer: impl FnOnce(&mut BytesMut) -> Vec<Option<Proof>>,
) {
    bytes.put_slice(b"\x84\xa6answer");
    let proofs = answer(bytes);
    bytes.put_slice(b"\xa9registrar");
    bytes.put_slice(&encode_body(&registrar));
    bytes.put_slice(b"\xa5nonce");
    bytes.put_slice(&encode_body(&nonce));
    bytes.put_slice(b"\xa6proofs");
    bytes.put_slice(&encode_body(&proofs));
}

/// Encodes a record, as [`encode_body`] does in five times the time.
pub fn encode_record(record: &Record) -> Vec<u8> {
    let Record { name, uuid, epoch, endpoints, metadata, state, lifetime, since_ms, .. } = record;
    let Record { suspicion, proves, owner, token, waiting, .. } = record;
    let optional = [
        !metadata.is_empty(),
        suspicion.is_some(),
        *proves,
        owner.is_some(),
        token.is_some(),
        *waiting != 0,
    ];
    let count = 7 + optional.into_iter().filter(|it| *it).count();
    let mut bytes = Vec::with_capacity(USUAL_RECORD_BYTES);
    bytes.push(0x80 | count as u8);
    bytes.extend_from_slice(b"\xa4name");
    text(&mut bytes, name.as_str());
    bytes.extend_from_slice(b"\xa4uuid\xc4\x10");
    bytes.extend_from_slice(uuid.as_bytes());
    number(&mut bytes, b"\xa5epoch", *epoch);
    bytes.extend_from_slice(b"\xa9endpoints");
    write_array_len(&mut bytes, endpoints.len() as u32).expect(MEMORY);
    endpoints.iter().for_each(|it| stamped(&mut bytes, it));
    if !metadata.is_empty() {
        bytes.extend_from_slice(b"\xa8metadata");
        write_map_len(&mut bytes, metadata.len() as u32).expect(MEMORY);
        for (key, value) in metadata {
            text(&mut bytes, key);
            text(&mut bytes, value);
        }
    }
    bytes.extend_from_slice(b"\xa5state");
    match state {
        State::Ready => bytes.extend_from_slice(b"\xa5ready"),
        other => bytes.extend_from_slice(&encode_body(other)),
    }
    bytes.extend_from_slice(b"\xa8lifetime");
    match lifetime {
        Lifetime::Session => bytes.extend_from_slice(b"\xa7session"),
        other => bytes.extend_from_slice(&encode_body(other)),
    }
    number(&mut bytes, b"\xa8since_ms", *since_ms);
    if let Some(suspicion) = suspicion {
        bytes.extend_from_slice(b"\xa9suspicion");
        bytes.extend_from_slice(&encode_body(suspicion));
    }
    if *proves {
        bytes.extend_from_slice(b"\xa6proves\xc3");
    }
    match owner {
        Some(Owner::User(user)) => number(&mut bytes, b"\xa4user", u64::from(*user)),
        Some(other) => {
            bytes.extend_from_slice(b"\xa5owner");
            bytes.extend_from_slice(&encode_body(other));
        }
        None => {}
    }
    if let Some(token) = token {
        number(&mut bytes, b"\xa5token", *token);
    }
    if *waiting != 0 {
        number(&mut bytes, b"\xa7waiting", *waiting);
    }
    bytes
}

fn stamped(bytes: &mut Vec<u8>, Stamped { endpoint, stamp }: &Stamped) {
    bytes.extend_from_slice(b"\x82\xa8endpoint");
    // The length of its text is known when it is written. Few are shorter than 32 bytes.
    let start = bytes.len();
    bytes.extend_from_slice(&[0xd9, 0]);
    write!(bytes, "{endpoint}").expect(MEMORY);
    match u8::try_from(bytes.len() - start - 2) {
        Ok(length @ 32..) => bytes[start + 1] = length,
        _ => {
            let written = bytes.split_off(start);
            write_str_len(bytes, written.len() as u32 - 2).expect(MEMORY);
            bytes.extend_from_slice(&written[2..]);
        }
    }
    bytes.extend_from_slice(b"\xa5stamp");
    let Stamp { kernel, netns, process, socket, root } = stamp;
    let numbers = [kernel.map(|it| it.0), netns.map(|it| it.0), process.map(|it| it.0)];
    let root = root.map(|it| it.0);
    let count = numbers.into_iter().chain([root]).flatten().count() + usize::from(socket.is_some());
    bytes.push(0x80 | count as u8);
    for (key, value) in [&b"\xa6kernel"[..], b"\xa5netns", b"\xa7process"].into_iter().zip(numbers)
    {
        value.into_iter().for_each(|it| number(bytes, key, it));
    }
    if let Some(SocketId { dev, ino, born_ns }) = socket {
        bytes.extend_from_slice(b"\xa6socket");
        bytes.push(0x82 + u8::from(born_ns.is_some()));
        number(bytes, b"\xa3dev", *dev);
        number(bytes, b"\xa3ino", *ino);
        born_ns.iter().for_each(|it| number(bytes, b"\xa7born_ns", *it));
    }
    root.into_iter().for_each(|it| number(bytes, b"\xa4root", it));
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    write_str_len(bytes, text.len() as u32).expect(MEMORY);
    bytes.extend_from_slice(text.as_bytes());
}

fn number(bytes: &mut Vec<u8>, key: &[u8], number: u64) {
    bytes.extend_from_slice(key);
    write_uint(bytes, number).expect(MEMORY);
}

/// Appends a [`Registered`].
pub fn encode_registered(bytes: &mut BytesMut, registered: &Registered) {
    let Registered { epoch, revision, key, token, resume, lost, also } = registered;
    let is_usual = token.is_none() && resume.is_none() && lost.is_none() && also.is_empty();
    let (Some(key), true) = (key, is_usual) else {
        return bytes.put_slice(&encode_body(registered));
    };
    bytes.put_slice(b"\x83\xa5epoch");
    uint(bytes, *epoch);
    bytes.put_slice(b"\xa8revision");
    uint(bytes, *revision);
    bytes.put_slice(b"\xa3key\xc4\x20");
    bytes.put_slice(key.as_bytes());
}

/// Appends a [`Changed`].
pub fn encode_changed(bytes: &mut BytesMut, Changed { revision }: Changed) {
    bytes.put_slice(b"\x81\xa8revision");
    uint(bytes, revision);
}

/// Appends a [`Page`](crate::registrar::Page).
pub fn encode_page<'a>(
    bytes: &mut BytesMut,
    revision: Revision,
    now_ms: u64,
    next: Option<Epoch>,
    records: impl ExactSizeIterator<Item = &'a [u8]>,
) {
    head(bytes, revision, now_ms);
    bytes.put_slice(b"\xa4next");
    match next {
        Some(epoch) => uint(bytes, epoch),
        None => write_nil(&mut bytes.writer()).expect(MEMORY),
    }
    self::records(bytes, records);
}

/// Returns a [`Change::Add`](crate::registrar::Change::Add).
pub fn encode_add(record: &[u8], revision: Revision) -> Vec<u8> {
    change(b"\x81\xa3add\x82\xa6record", record, revision)
}

/// Returns a [`Change::Update`](crate::registrar::Change::Update).
pub fn encode_update(record: &[u8], revision: Revision) -> Vec<u8> {
    change(b"\x81\xa6update\x82\xa6record", record, revision)
}

/// Returns a [`Change::Remove`](crate::registrar::Change::Remove).
pub fn encode_remove(
    instance: &InstanceId,
    epoch: Epoch,
    reason: RemovalReason,
    revision: Revision,
) -> Vec<u8> {
    let InstanceId { name, uuid } = instance;
    let mut bytes = Vec::with_capacity(REMOVAL_BYTES + name.as_str().len());
    bytes.extend_from_slice(b"\x81\xa6remove\x84\xa8instance\x82\xa4name");
    text(&mut bytes, name.as_str());
    bytes.extend_from_slice(b"\xa4uuid\xc4\x10");
    bytes.extend_from_slice(uuid.as_bytes());
    number(&mut bytes, b"\xa5epoch", epoch);
    bytes.extend_from_slice(b"\xa6reason");
    match reason {
        RemovalReason::SessionEnded => text(&mut bytes, "session-ended"),
        RemovalReason::Unregistered => text(&mut bytes, "unregistered"),
        other => bytes.extend_from_slice(&encode_body(&other)),
    }
    number(&mut bytes, b"\xa8revision", revision);
    bytes
}

/// The bytes of a usual removal besides the name.
const REMOVAL_BYTES: usize = 112;

fn change(head: &[u8], record: &[u8], revision: Revision) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(head.len() + record.len() + 18);
    bytes.extend_from_slice(head);
    bytes.extend_from_slice(record);
    bytes.extend_from_slice(b"\xa8revision");
    write_uint(&mut bytes, revision).expect(MEMORY);
    bytes
}

/// Begins a map of four fields, and writes two of them. Both numbers exceed 32 bits for any real
/// clock, so fixed widths lose nothing.
fn head(bytes: &mut BytesMut, revision: Revision, now_ms: u64) {
    let mut head = *b"\x84\xa8revision\xcf________\xa6now_ms\xcf________";
    head[11..19].copy_from_slice(&revision.to_be_bytes());
    head[27..35].copy_from_slice(&now_ms.to_be_bytes());
    bytes.put_slice(&head);
}

fn records<'a>(bytes: &mut BytesMut, records: impl ExactSizeIterator<Item = &'a [u8]>) {
    bytes.put_slice(b"\xa7records");
    write_array_len(&mut bytes.writer(), records.len() as u32).expect(MEMORY);
    for record in records {
        bytes.put_slice(record);
    }
}

fn uint(bytes: &mut BytesMut, number: u64) {
    write_uint(&mut bytes.writer(), number).expect(MEMORY);
}

/// What most records take at the most, before one is cut to its size.
const USUAL_RECORD_BYTES: usize = 512;

const MEMORY: &str = "writing to memory does not fail";

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, iter};

    use endpoints::{Name, Stamped};

    use endpoints::{KernelId, NetnsId, ProcessId, RootId};

    use super::*;
    use crate::{
        Challenge, ProofKey, ProofSecret, Suspicion,
        registrar::{Answer, Change, Located, Page},
    };

    #[test]
    fn records_are_written_as_any_others() {
        let stamp = Stamp {
            kernel: Some(KernelId(u64::MAX)),
            netns: Some(NetnsId(1)),
            process: Some(ProcessId(300)),
            socket: Some(SocketId { dev: 23, ino: 70_000, born_ns: Some(1 << 60) }),
            root: Some(RootId(7)),
        };
        let bare = Stamp::default();
        let unborn = Stamp { socket: Some(SocketId { dev: 1, ino: 2, born_ns: None }), ..bare };
        let long = format!("/unix/run/{}/feed.sock", "a".repeat(400));
        let middle = format!("/unix/run/{}/feed.sock", "ä".repeat(60));
        let texts = ["/memory/7", "/unix/@feed", "/ip4/10.1.2.3/tcp/80", &middle, &long];
        let place = |it: &&str, stamp| Stamped { endpoint: it.parse().unwrap(), stamp };
        let all = |stamp| texts.iter().map(|it| place(it, stamp)).collect::<Vec<_>>();
        let many = all(stamp).into_iter().cycle().take(64).collect();
        let suspicion = Suspicion { reports: 2, since_ms: 5, silent: true };
        let metadata = BTreeMap::from([("zone".to_owned(), "x".repeat(300))]);
        let record = Record {
            name: Name::new("feed").unwrap(),
            uuid: Uuid::from_u128(5),
            epoch: 1 << 50,
            endpoints: Vec::new(),
            metadata: BTreeMap::new(),
            state: State::Ready,
            lifetime: Lifetime::Session,
            since_ms: 1_795_000_000_000,
            suspicion: None,
            proves: false,
            owner: None,
            token: None,
            waiting: 0,
        };
        let (user, address) = (Owner::User(1000), Owner::Address([192, 0, 2, 7].into()));
        let lease = Lifetime::Lease { ttl_ms: 30_000 };
        let name = Name::new(&"n".repeat(255)).unwrap();
        for record in [
            Record { endpoints: all(stamp), owner: Some(user), ..record.clone() },
            Record { endpoints: all(bare), owner: Some(address), ..record.clone() },
            Record { endpoints: all(unborn), proves: true, waiting: 300, ..record.clone() },
            Record { endpoints: many, metadata, token: Some(7), ..record.clone() },
            Record { state: State::Draining, lifetime: lease, name, ..record.clone() },
            Record { suspicion: Some(suspicion), lifetime: Lifetime::Declared, ..record },
        ] {
            assert_eq!(encode_record(&record), encode_body(&record));
        }
    }

    #[test]
    fn answers_to_registrants_are_written_as_any_others() {
        let key = ProofKey::derive(&ProofSecret::new([7; 32]), Uuid::nil(), 1);
        let usual = Registered {
            epoch: 1 << 50,
            revision: 7,
            key: Some(key),
            token: None,
            resume: None,
            lost: None,
            also: Vec::new(),
        };
        let rare = Registered { token: Some(5), ..usual.clone() };
        for registered in [Registered { key: None, ..usual.clone() }, usual, rare] {
            let mut bytes = BytesMut::new();
            encode_registered(&mut bytes, &registered);
            assert_eq!(bytes, encode_body(&registered));
        }
        let mut bytes = BytesMut::new();
        encode_changed(&mut bytes, Changed { revision: 300 });
        assert_eq!(bytes, encode_body(&Changed { revision: 300 }));
    }

    #[test]
    fn messages_of_encoded_records_are_the_messages() {
        let record = |name: &str, epoch: u64| Record {
            name: Name::new(name).unwrap(),
            uuid: Uuid::from_u128(epoch.into()),
            epoch,
            endpoints: vec![Stamped::bare("/unix/run/feed.sock".parse().unwrap())],
            metadata: BTreeMap::from([("zone".to_owned(), "eu".to_owned())]),
            state: State::Ready,
            lifetime: Lifetime::Lease { ttl_ms: 30_000 },
            since_ms: 1_795_000_000_000,
            suspicion: None,
            proves: false,
            owner: None,
            token: None,
            waiting: 0,
        };
        let records = vec![record("feed", 1), record("feed", 70_000)];
        let encoded: Vec<_> = records.iter().map(encode_body).collect();
        let encoded = || encoded.iter().map(Vec::as_slice);
        let (revision, now_ms) = (9 << 40, 1_795_000_000_001);

        for (copies, total) in [(1, 2), (7, 127), (7, 128), (8, 16), (200, 400)] {
            let mut bytes = BytesMut::new();
            let encoded: Vec<_> = iter::repeat_n(encoded(), copies).flatten().collect();
            encode_answer(&mut bytes, revision, now_ms, total, encoded.into_iter());
            let records = iter::repeat_n(&records, copies).flatten().cloned().collect();
            let answer = Answer { revision, now_ms, total, records };
            assert_eq!(bytes, encode_body(&answer));
        }

        let nonce = Uuid::from_u128(5);
        let challenge = Challenge { registrar: Uuid::from_u128(9), epoch: 1, nonce };
        let key = ProofKey::derive(&ProofSecret::new([7; 32]), Uuid::from_u128(1), 1);
        let proofs = vec![Some(key.prove(&records[0].instance(), &challenge)), None];
        let mut bytes = BytesMut::new();
        encode_located(&mut bytes, challenge.registrar, nonce, |bytes| {
            encode_answer(bytes, revision, now_ms, 2, encoded());
            proofs.clone()
        });
        let answer = Answer { revision, now_ms, total: 2, records: records.clone() };
        assert_eq!(
            bytes,
            encode_body(&Located { answer, registrar: challenge.registrar, nonce, proofs })
        );

        for next in [None, Some(70_000)] {
            let mut bytes = BytesMut::new();
            encode_page(&mut bytes, revision, now_ms, next, encoded());
            let page = Page { revision, now_ms, next, records: records.clone() };
            assert_eq!(bytes, encode_body(&page));
        }
        let [record, _] = &records[..] else { unreachable!() };
        let add = Change::Add { record: record.clone(), revision };
        assert_eq!(encode_add(&encode_body(record), revision), encode_body(&add));
        let update = Change::Update { record: record.clone(), revision };
        assert_eq!(encode_update(&encode_body(record), revision), encode_body(&update));
        use crate::RemovalReason as Reason;
        for reason in [Reason::SessionEnded, Reason::Unregistered, Reason::FoundDead] {
            let (instance, epoch) = (record.instance(), record.epoch);
            let removed = encode_remove(&instance, epoch, reason, revision);
            let remove = Change::Remove { instance, epoch, reason, revision };
            assert_eq!(removed, encode_body(&remove));
        }
    }
}
