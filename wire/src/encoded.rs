//! Messages of encoded records: a registrar keeps each record only in its encoded form, and copies
//! bytes.

use bytes::{BufMut, BytesMut};
use rmp::encode::{write_array_len, write_nil, write_uint};

use uuid::Uuid;

use crate::{Epoch, Proof, Revision, encode_body};

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

const MEMORY: &str = "writing to memory does not fail";

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, iter};

    use endpoints::{Name, Stamped};

    use super::*;
    use crate::{
        Challenge, Lifetime, ProofKey, ProofSecret, Record, State,
        registrar::{Answer, Change, Located, Page},
    };

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
    }
}
