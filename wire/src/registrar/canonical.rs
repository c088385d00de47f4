//! The quick way to read registrations and their ends, the answers to look-ups, and the pages of a
//! list: nearly all are written just as [`encode_body`](crate::encode_body) writes them.

use endpoints::Name;
use uuid::Uuid;

use super::{
    Answer, Located, Page,
    register::{Register, Unregister},
};
use crate::{InstanceSecret, Proof, WireError, canonical::Rest, decode_body};

impl Register {
    /// Reads a registration, quickly if it is written just as [`encode_body`](crate::encode_body)
    /// writes it.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_wire::registrar::*; } }
    /// use callsign::registrar::Register;
    ///
    /// assert!(Register::decode(b"no registration").is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// [`WireError::Malformed`] when the bytes are no registration.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        match register(bytes) {
            Some(register) => Ok(register),
            None => decode_body(bytes),
        }
    }
}

impl Unregister {
    /// Reads which instance it is, quickly if it is written just as
    /// [`encode_body`](crate::encode_body) writes it.
    ///
    /// # Errors
    ///
    /// [`WireError::Malformed`] when the bytes are no such call.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        match unregister(bytes) {
            Some(unregister) => Ok(unregister),
            None => decode_body(bytes),
        }
    }
}

impl Page {
    /// Reads a page, quickly if it is written just as [`encode_body`](crate::encode_body) writes it.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_wire::registrar::*; } }
    /// use callsign::registrar::Page;
    ///
    /// assert!(Page::decode(b"no page").is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// [`WireError::Malformed`] when the bytes are no page.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        match page(bytes) {
            Some(page) => Ok(page),
            None => decode_body(bytes),
        }
    }
}

impl Answer {
    /// Reads an answer, quickly if it is written just as [`encode_body`](crate::encode_body) writes
    /// it.
    ///
    /// # Errors
    ///
    /// [`WireError::Malformed`] when the bytes are no answer.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut rest = Rest(bytes);
        match answer(&mut rest).filter(|_| rest.0.is_empty()) {
            Some(answer) => Ok(answer),
            None => decode_body(bytes),
        }
    }
}

impl Located {
    /// Reads an answer with its challenges, quickly if it is written just as
    /// [`encode_body`](crate::encode_body) writes it.
    ///
    /// # Errors
    ///
    /// [`WireError::Malformed`] when the bytes are no such answer.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        match located(bytes) {
            Some(located) => Ok(located),
            None => decode_body(bytes),
        }
    }
}

fn answer(rest: &mut Rest<'_>) -> Option<Answer> {
    rest.skip(b"\x84\xa8revision")?;
    let revision = rest.number()?;
    rest.skip(b"\xa6now_ms")?;
    let now_ms = rest.number()?;
    rest.skip(b"\xa5total")?;
    let total = rest.number()?;
    Some(Answer { revision, now_ms, total, records: rest.records()? })
}

/// Reads an answer with its challenges that is written in the usual way; `None` if it is not, or if it
/// has not as many proofs as records.
fn located(bytes: &[u8]) -> Option<Located> {
    let mut rest = Rest(bytes);
    let count = rest.fixed_map()?;
    rest.skip(b"\xa6answer")?;
    let answer = answer(&mut rest)?;
    let instances = answer.records.len();
    let of_each = |rest: &mut Rest<'_>, key: &[u8]| {
        rest.skip_all(key)?;
        rest.list(optional).filter(|it| it.len() == instances)
    };
    rest.skip(b"\xa9registrar")?;
    let registrar = rest.binary().map(Uuid::from_bytes)?;
    rest.skip(b"\xa5nonce")?;
    let nonce = rest.binary().map(Uuid::from_bytes)?;
    let proofs = |read: Vec<Option<[u8; 16]>>| -> Vec<_> {
        read.into_iter().map(|it| it.map(Proof::from)).collect()
    };
    let owed = proofs(of_each(&mut rest, b"\xa6proofs")?);
    let (over_tls, homes) = (Vec::new(), Vec::new());
    let mut located = Located { answer, registrar, nonce, proofs: owed, over_tls, homes };
    let mut read = 4;
    if rest.0.starts_with(b"\xa8over_tls") {
        located.over_tls = proofs(of_each(&mut rest, b"\xa8over_tls")?);
        read += 1;
    }
    if rest.0.starts_with(b"\xa5homes") {
        let homes = of_each(&mut rest, b"\xa5homes")?;
        located.homes = homes.into_iter().map(|it| it.map(Uuid::from_bytes)).collect();
        read += 1;
    }
    (read == count && rest.0.is_empty()).then_some(located)
}

fn optional(rest: &mut Rest<'_>) -> Option<Option<[u8; 16]>> {
    match rest.skip(b"\xc0") {
        Some(()) => Some(None),
        None => rest.binary().map(Some),
    }
}

fn page(bytes: &[u8]) -> Option<Page> {
    let mut rest = Rest(bytes);
    rest.skip(b"\x84\xa8revision")?;
    let revision = rest.number()?;
    rest.skip(b"\xa6now_ms")?;
    let now_ms = rest.number()?;
    rest.skip(b"\xa4next")?;
    let next = match rest.skip(b"\xc0") {
        Some(()) => None,
        None => Some(rest.number()?),
    };
    let records = rest.records()?;
    rest.0.is_empty().then_some(Page { revision, now_ms, next, records })
}

fn unregister(bytes: &[u8]) -> Option<Unregister> {
    let mut rest = Rest(bytes);
    rest.skip(b"\x81")?;
    let uuid = rest.uuid()?;
    rest.0.is_empty().then_some(Unregister { uuid })
}

/// Reads a registration that is written in the usual way; `None` if it is not.
fn register(bytes: &[u8]) -> Option<Register> {
    let mut rest = Rest(bytes);
    let count = rest.fixed_map()?;
    rest.skip(b"\xa4name")?;
    let name = Name::new(rest.text()?).ok()?;
    let uuid = rest.uuid()?;
    let endpoints = rest.endpoints()?;
    rest.skip(b"\xa8metadata")?;
    let metadata = rest.metadata()?;
    let state = rest.state()?;
    let mut register = Register { endpoints, metadata, state, ..Register::new(name, uuid) };
    let mut read = 5;
    if rest.has(b"\xa8lease_ms", &mut read) {
        register.lease_ms = Some(rest.number()?);
    }
    register.proves = rest.has(b"\xa6proves\xc3", &mut read);
    if rest.has(b"\xa5again", &mut read) {
        register.again = Some(rest.number()?);
    }
    register.wait = rest.has(b"\xa4wait\xc3", &mut read);
    if rest.has(b"\xa5token", &mut read) {
        register.token = Some(rest.number()?);
    }
    if rest.has(b"\xa6secret", &mut read) {
        register.secret = Some(InstanceSecret::new(rest.binary()?));
    }
    (read == count && rest.0.is_empty()).then_some(register)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use endpoints::{KernelId, NetnsId, ProcessId, RootId, SocketId, Stamp, Stamped};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::{Record, State, encode_body};

    fn stamp(parts: [bool; 5], number: u64) -> Stamp {
        let [kernel, netns, process, socket, root] = parts;
        let socket_id = SocketId { dev: 23, ino: number, born_ns: root.then_some(number) };
        Stamp {
            kernel: kernel.then_some(KernelId(number)),
            netns: netns.then_some(NetnsId(7)),
            process: process.then_some(ProcessId(number)),
            socket: socket.then_some(socket_id),
            root: root.then_some(RootId(300)),
            user: netns.then_some(number as u32),
        }
    }

    fn registration(texts: &[&str], parts: [bool; 5], number: u64, metadata: usize) -> Register {
        let stamp = stamp(parts, number);
        let stamped = |it: &&str| Stamped { endpoint: it.parse().unwrap(), stamp };
        let [lease, again, token, secret, wait] = parts;
        Register {
            endpoints: texts.iter().map(stamped).collect(),
            metadata: (0..metadata).map(|it| (format!("k{it}"), "v".repeat(90 * it))).collect(),
            state: if lease { State::Starting } else { State::Ready },
            lease_ms: lease.then_some(number),
            proves: secret,
            again: again.then_some(number),
            wait,
            token: token.then_some(5),
            secret: secret.then(|| InstanceSecret::new([9; 16])),
            ..Register::new("feed.eurusd".parse().unwrap(), Uuid::from_u128(number.into()))
        }
    }

    const TEXTS: [&str; 4] =
        ["/unix/run/market/feed.sock", "/ip4/10.1.2.3/tcp/5555", "/unix/@feed", "/memory/7"];

    proptest! {
        #[test]
        fn registrations_read_the_same_either_way(
            count in 0..4_usize,
            parts in any::<[bool; 5]>(),
            number in any::<u64>(),
            metadata in 0..6_usize,
            spoilt in any::<(bool, u16, u8)>(),
        ) {
            let one = registration(&TEXTS[..count], parts, number, metadata);
            let mut bytes = encode_body(&one);
            prop_assert_eq!(register(&bytes), Some(one));
            for end in 0..bytes.len() {
                prop_assert_eq!(register(&bytes[..end]), None);
            }
            if let (true, at, byte) = spoilt {
                let at = usize::from(at) % bytes.len();
                bytes[at] = byte;
            }
            if let Some(read) = register(&bytes) {
                prop_assert_eq!(decode_body::<Register>(&bytes), Ok(read));
            }
        }
    }

    #[test]
    fn pages_read_the_same_either_way() {
        let record = |it: u32| Record::new(format!("feed-{it}").parse().unwrap(), Uuid::nil());
        for (count, next) in [(0, None), (15, Some(7)), (16, Some(u64::MAX)), (256, None)] {
            let records = (0..count).map(record).collect();
            let one = Page { revision: 1 << 50, now_ms: 1 << 40, next, records };
            let bytes = encode_body(&one);
            assert_eq!(page(&bytes), Some(one));
            assert_eq!(page(&bytes[..bytes.len() - 1]), None);
            assert_eq!(page(&[&bytes[..], &[0xc0]].concat()), None);
        }
        // So many are announced, and none comes.
        let head = b"\x84\xa8revision\x01\xa6now_ms\x01\xa4next\xc0\xa7records\xdc\xff\xff";
        assert_eq!(page(head), None);
    }

    #[test]
    fn answers_read_the_same_either_way() {
        let record = |it: usize| Record::new(format!("feed-{it}").parse().unwrap(), Uuid::nil());
        let located = |count, over_tls, homes| {
            let records = (0..count).map(record).collect();
            let answer = Answer { revision: 1 << 50, now_ms: 1 << 40, total: 300, records };
            let of_each = |is_there: bool, byte: u8| {
                let some = move |at| (at % 3 > 0).then_some([byte; 16]);
                (0..if is_there { count } else { 0 }).map(some)
            };
            let proofs = |it, byte| of_each(it, byte).map(|it| it.map(Proof::from)).collect();
            Located {
                answer,
                registrar: Uuid::from_u128(7),
                nonce: Uuid::from_u128(9),
                proofs: proofs(true, 1),
                over_tls: proofs(over_tls, 2),
                homes: of_each(homes, 3).map(|it| it.map(Uuid::from_bytes)).collect(),
            }
        };
        for (count, over_tls, homes) in [
            (0, false, false),
            (1, false, false),
            (3, true, false),
            (16, false, true),
            (4, true, true),
        ] {
            let one = located(count, over_tls, homes);
            let bytes = encode_body(&one);
            assert_eq!(super::located(&bytes).as_ref(), Some(&one));
            assert_eq!(decode_body::<Located>(&bytes).as_ref(), Ok(&one));
            for end in 0..bytes.len() {
                assert_eq!(super::located(&bytes[..end]), None);
            }
            assert_eq!(super::located(&[&bytes[..], &[0xc0]].concat()), None);
            for at in 0..bytes.len() {
                let mut spoilt = bytes.clone();
                spoilt[at] ^= 1;
                if let Some(read) = super::located(&spoilt) {
                    assert_eq!(decode_body::<Located>(&spoilt), Ok(read));
                }
            }

            let bytes = encode_body(&one.answer);
            assert_eq!(Answer::decode(&bytes).as_ref(), Ok(&one.answer));
            assert!(answer(&mut Rest(&bytes)).is_some());
            assert!(Answer::decode(&bytes[..bytes.len() - 1]).is_err());
        }
        // Proofs of other instances, or of fewer, go to the general reader.
        for proofs in [vec![], vec![None; 2]] {
            let other = Located { proofs, ..located(1, false, false) };
            let bytes = encode_body(&other);
            assert_eq!(super::located(&bytes), None);
            assert!(Located::decode(&bytes).is_ok());
        }
    }

    #[test]
    fn ends_read_the_same_either_way() {
        let one = Unregister { uuid: Uuid::from_u128(5) };
        let bytes = encode_body(&one);
        assert_eq!(unregister(&bytes), Some(one));
        let longer = [&bytes[..], &[0xc0]].concat();
        assert_eq!(unregister(&longer), None);
        for other in [&bytes[..bytes.len() - 1], b"\x82", b""] {
            assert_eq!(unregister(other), None);
            assert!(Unregister::decode(other).is_err());
        }
        let text = rmp_serde::to_vec_named(&BTreeMap::from([("uuid", "x")])).unwrap();
        assert!(Unregister::decode(&text).is_err());
    }

    #[test]
    fn what_is_written_otherwise_is_left_to_the_general_reader() {
        let bytes = encode_body(&registration(&TEXTS[..1], [true; 5], 5, 1));
        let check = |from: &[u8], to: &[u8]| {
            let at = bytes.windows(from.len()).position(|it| it == from).unwrap();
            let other = [&bytes[..at], to, &bytes[at + from.len()..]].concat();
            assert_eq!(register(&other), None, "{to:?}");
        };
        check(b"\xa5state", b"\xa5later");
        check(b"\xa8starting", b"\xa6paused");
        check(b"/run/market", b"/run/../mar");
        check(b"\xa9endpoints\x91", b"\xa9endpoints\xdc\x00\x01");
        check(b"feed.eurusd", b"feed/eurusd");
    }
}
