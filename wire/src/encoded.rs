//! Messages of folded records: a registrar keeps each record only in that form, and copies bytes.

use bytes::{BufMut, BytesMut};
use endpoints::InstanceId;
use rmp::encode::{write_array_len, write_nil, write_str_len};
use uuid::Uuid;

use crate::{
    Epoch, FoldedRecord, Owed, Proof, RemovalReason, Revision, encode_body,
    folded::shortest,
    registrar::{Changed, Registered},
};

/// Appends an [`Answer`](crate::registrar::Answer).
pub fn encode_answer<'a>(
    bytes: &mut BytesMut,
    revision: Revision,
    now_ms: u64,
    total: u64,
    records: impl ExactSizeIterator<Item = FoldedRecord<'a>>,
) {
    head(bytes, revision, now_ms);
    let mut counts = *b"\xa5total_\xa7records_";
    if total < 0x80 && records.len() < 0x10 {
        // Nearly every answer is short, and then both counts are a byte each.
        counts[6] = total as u8;
        counts[15] = 0x90 | records.len() as u8;
        bytes.put_slice(&counts);
        records.for_each(|record| record.unfold(bytes));
    } else {
        bytes.put_slice(&counts[..6]);
        uint(bytes, total);
        self::records(bytes, records);
    }
}

/// Appends an [`Answer`](crate::registrar::Answer) with the only instance of a name, whose record
/// `write` appends, encoded.
pub fn encode_only(
    bytes: &mut BytesMut,
    revision: Revision,
    now_ms: u64,
    write: impl FnOnce(&mut BytesMut),
) {
    let mut head =
        *b"\x84\xa8revision\xcf________\xa6now_ms\xcf________\xa5total\x01\xa7records\x91";
    head[11..19].copy_from_slice(&revision.to_be_bytes());
    head[27..35].copy_from_slice(&now_ms.to_be_bytes());
    bytes.put_slice(&head);
    write(bytes);
}

/// The proof that an instance owes, and the registrar in whose name it is challenged, if that is
/// another than the one that answers.
pub type OwedTo = (Owed, Option<Uuid>);

/// Appends a [`Located`](crate::registrar::Located), whose answer `answer` appends and returns
/// the proofs for.
pub fn encode_located(
    bytes: &mut BytesMut,
    registrar: Uuid,
    nonce: Uuid,
    answer: impl FnOnce(&mut BytesMut) -> Vec<Option<OwedTo>>,
) {
    let head = bytes.len();
    bytes.put_slice(b"\x84\xa6answer");
    let owed = answer(bytes);
    bytes.put_slice(b"\xa9registrar\xc4\x10");
    bytes.put_slice(registrar.as_bytes());
    bytes.put_slice(b"\xa5nonce\xc4\x10");
    bytes.put_slice(nonce.as_bytes());
    bytes.put_slice(b"\xa6proofs");
    of_each(bytes, &owed, |(it, _)| Some(it.proof.as_bytes()));
    if owed.iter().flatten().any(|(it, _)| it.over_tls.is_some()) {
        bytes[head] += 1;
        bytes.put_slice(b"\xa8over_tls");
        of_each(bytes, &owed, |(it, _)| it.over_tls.as_ref().map(Proof::as_bytes));
    }
    if owed.iter().flatten().any(|(_, home)| home.is_some()) {
        bytes[head] += 1;
        bytes.put_slice(b"\xa5homes");
        of_each(bytes, &owed, |(_, home)| home.as_ref().map(Uuid::as_bytes));
    }
}

/// Appends a part of what each instance owes.
fn of_each(
    bytes: &mut BytesMut,
    owed: &[Option<OwedTo>],
    part: impl Fn(&OwedTo) -> Option<&[u8; 16]>,
) {
    write_array_len(&mut bytes.writer(), owed.len() as u32).expect(MEMORY);
    for owed in owed {
        match owed.as_ref().and_then(&part) {
            Some(part) => {
                bytes.put_slice(b"\xc4\x10");
                bytes.put_slice(part);
            }
            None => bytes.put_u8(0xc0),
        }
    }
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
    records: impl ExactSizeIterator<Item = FoldedRecord<'a>>,
) {
    head(bytes, revision, now_ms);
    bytes.put_slice(b"\xa4next");
    match next {
        Some(epoch) => uint(bytes, epoch),
        None => write_nil(&mut bytes.writer()).expect(MEMORY),
    }
    self::records(bytes, records);
}

/// Appends a [`Change::Add`](crate::registrar::Change::Add).
pub fn encode_add(bytes: &mut BytesMut, record: FoldedRecord<'_>, revision: Revision) {
    change(bytes, b"\x81\xa3add\x82\xa6record", record, revision);
}

/// Appends a [`Change::Update`](crate::registrar::Change::Update).
pub fn encode_update(bytes: &mut BytesMut, record: FoldedRecord<'_>, revision: Revision) {
    change(bytes, b"\x81\xa6update\x82\xa6record", record, revision);
}

/// Appends a [`Change::Remove`](crate::registrar::Change::Remove).
pub fn encode_remove(
    bytes: &mut BytesMut,
    instance: &InstanceId,
    epoch: Epoch,
    reason: RemovalReason,
    revision: Revision,
) {
    let InstanceId { name, uuid } = instance;
    bytes.reserve(REMOVAL_BYTES + name.as_str().len());
    bytes.put_slice(b"\x81\xa6remove\x84\xa8instance\x82\xa4name");
    text(bytes, name.as_str());
    bytes.put_slice(b"\xa4uuid\xc4\x10");
    bytes.put_slice(uuid.as_bytes());
    bytes.put_slice(b"\xa5epoch");
    uint(bytes, epoch);
    bytes.put_slice(b"\xa6reason");
    match reason {
        RemovalReason::SessionEnded => text(bytes, "session-ended"),
        RemovalReason::Unregistered => text(bytes, "unregistered"),
        other => bytes.put_slice(&encode_body(&other)),
    }
    bytes.put_slice(b"\xa8revision");
    uint(bytes, revision);
}

/// The bytes of a usual removal besides the name.
const REMOVAL_BYTES: usize = 112;

fn change(bytes: &mut BytesMut, head: &[u8], record: FoldedRecord<'_>, revision: Revision) {
    bytes.reserve(USUAL_CHANGE_BYTES);
    bytes.put_slice(head);
    record.unfold(bytes);
    bytes.put_slice(b"\xa8revision");
    uint(bytes, revision);
}

/// What most changes take at the most.
const USUAL_CHANGE_BYTES: usize = 512;

fn text(bytes: &mut BytesMut, text: &str) {
    write_str_len(&mut bytes.writer(), text.len() as u32).expect(MEMORY);
    bytes.put_slice(text.as_bytes());
}

/// Begins a map of four fields, and writes two of them. Both numbers exceed 32 bits for any real
/// clock, so fixed widths lose nothing.
fn head(bytes: &mut BytesMut, revision: Revision, now_ms: u64) {
    let mut head = *b"\x84\xa8revision\xcf________\xa6now_ms\xcf________";
    head[11..19].copy_from_slice(&revision.to_be_bytes());
    head[27..35].copy_from_slice(&now_ms.to_be_bytes());
    bytes.put_slice(&head);
}

fn records<'a>(bytes: &mut BytesMut, records: impl ExactSizeIterator<Item = FoldedRecord<'a>>) {
    bytes.put_slice(b"\xa7records");
    write_array_len(&mut bytes.writer(), records.len() as u32).expect(MEMORY);
    records.for_each(|record| record.unfold(bytes));
}

fn uint(bytes: &mut BytesMut, number: u64) {
    bytes.put_slice(shortest(number, &mut [0; 9]));
}

const MEMORY: &str = "writing to memory does not fail";

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, iter};

    use endpoints::{Name, Stamped};

    use super::*;
    use crate::{
        Challenge, Folding, Lifetime, ProofKey, ProofSecret, Record, State, decode_body,
        registrar::{Answer, Change, Located, Page},
    };

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
            node: None,
        };
        let records = vec![record("feed", 1), record("feed", 70_000)];
        let folded = |record: &Record| {
            let mut folding = Folding::default();
            let (form, values) = folding.fold(record);
            (form.to_vec(), values.to_vec())
        };
        let folded: Vec<_> = records.iter().map(folded).collect();
        let encoded = || {
            records.iter().zip(&folded).map(|(record, (form, values))| FoldedRecord {
                name: record.name.as_str(),
                uuid: record.uuid,
                epoch: record.epoch,
                form,
                values,
            })
        };
        let (revision, now_ms) = (9 << 40, 1_795_000_000_001);

        for (copies, total) in [(1, 2), (7, 127), (7, 128), (8, 16), (200, 400)] {
            let mut bytes = BytesMut::new();
            let encoded: Vec<_> = iter::repeat_n(encoded(), copies).flatten().collect();
            encode_answer(&mut bytes, revision, now_ms, total, encoded.into_iter());
            let records = iter::repeat_n(&records, copies).flatten().cloned().collect();
            let answer = Answer { revision, now_ms, total, records };
            assert_eq!(bytes, encode_body(&answer));
        }

        let (mut only, mut same) = (BytesMut::new(), BytesMut::new());
        encode_only(&mut only, revision, now_ms, |bytes| encoded().next().unwrap().unfold(bytes));
        encode_answer(&mut same, revision, now_ms, 1, encoded().take(1));
        assert_eq!(only, same);

        let nonce = Uuid::from_u128(5);
        let challenge = Challenge { registrar: Uuid::from_u128(9), epoch: 1, nonce };
        let key = ProofKey::derive(&ProofSecret::new([7; 32]), Uuid::from_u128(1), 1);
        let other = Uuid::from_u128(7);
        let of = [(false, None), (true, None), (false, Some(other)), (true, Some(other))];
        for (has_tls, home) in of {
            let owed = key.owed(&records[0].instance(), &challenge, has_tls);
            let mut bytes = BytesMut::from(&b"before"[..]);
            encode_located(&mut bytes, challenge.registrar, nonce, |bytes| {
                encode_answer(bytes, revision, now_ms, 2, encoded());
                vec![Some((owed, home)), None]
            });
            let answer = Answer { revision, now_ms, total: 2, records: records.clone() };
            let located = Located {
                answer,
                registrar: challenge.registrar,
                nonce,
                proofs: vec![Some(owed.proof), None],
                over_tls: if has_tls { vec![owed.over_tls, None] } else { Vec::new() },
                homes: home.iter().flat_map(|it| [Some(*it), None]).collect(),
            };
            assert_eq!(located.challenger(0), home.unwrap_or(challenge.registrar));
            assert_eq!(located.challenger(1), challenge.registrar);
            assert_eq!(bytes[6..], encode_body(&located));
            let read: Located = decode_body(&bytes[6..]).unwrap();
            let [Some(read), None] = read.owed().collect::<Vec<_>>()[..] else {
                panic!("{read:?}")
            };
            assert_eq!((read.proof, read.over_tls), (owed.proof, owed.over_tls));
        }

        for next in [None, Some(70_000)] {
            let mut bytes = BytesMut::new();
            encode_page(&mut bytes, revision, now_ms, next, encoded());
            let page = Page { revision, now_ms, next, records: records.clone() };
            assert_eq!(bytes, encode_body(&page));
        }
        let [record, _] = &records[..] else { unreachable!() };
        let written = |write: &dyn Fn(&mut BytesMut)| {
            let mut bytes = BytesMut::new();
            write(&mut bytes);
            bytes
        };
        let first = encoded().next().unwrap();
        let add = Change::Add { record: record.clone(), revision };
        assert_eq!(written(&|it| encode_add(it, first, revision)), encode_body(&add));
        let update = Change::Update { record: record.clone(), revision };
        assert_eq!(written(&|it| encode_update(it, first, revision)), encode_body(&update));
        use crate::RemovalReason as Reason;
        for reason in [Reason::SessionEnded, Reason::Unregistered, Reason::FoundDead] {
            let (instance, epoch) = (record.instance(), record.epoch);
            let removed = written(&|it| encode_remove(it, &instance, epoch, reason, revision));
            let remove = Change::Remove { instance, epoch, reason, revision };
            assert_eq!(removed, encode_body(&remove));
        }
    }
}
