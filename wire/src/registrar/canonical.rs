//! The quick way to read registrations, and their ends.
//!
//! Nearly all registrations are written just as [`encode_body`](crate::encode_body) writes them:
//! the fields in one order, each number in its shortest form. To read those needs no general
//! MessagePack reader and takes a sixth of its time. Whatever is written otherwise goes to the
//! general reader, and so does whatever cannot be read, which finds the words for the fault.

use std::collections::BTreeMap;

use endpoints::{KernelId, Name, NetnsId, ProcessId, RootId, SocketId, Stamp, Stamped};
use uuid::Uuid;

use super::register::{Register, Unregister};
use crate::{InstanceSecret, State, WireError, decode_body};

impl Register {
    /// Reads a registration, quickly if it is written just as [`encode_body`](crate::encode_body)
    /// writes it.
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

fn unregister(bytes: &[u8]) -> Option<Unregister> {
    let mut rest = Rest(bytes);
    rest.skip(b"\x81\xa4uuid")?;
    let uuid = Uuid::from_bytes(rest.binary()?);
    rest.0.is_empty().then_some(Unregister { uuid })
}

/// Reads a registration that is written in the usual way; `None` if it is not.
fn register(bytes: &[u8]) -> Option<Register> {
    let mut rest = Rest(bytes);
    let count = rest.fixed_map()?;
    rest.skip(b"\xa4name")?;
    let name = Name::new(rest.text()?).ok()?;
    rest.skip(b"\xa4uuid")?;
    let uuid = Uuid::from_bytes(rest.binary()?);
    rest.skip(b"\xa9endpoints")?;
    let mut endpoints = Vec::new();
    for _ in 0..rest.fixed_array()? {
        endpoints.push(rest.stamped()?);
    }
    rest.skip(b"\xa8metadata")?;
    let mut metadata = BTreeMap::new();
    for _ in 0..rest.fixed_map()? {
        metadata.insert(rest.text()?.to_owned(), rest.text()?.to_owned());
    }
    rest.skip(b"\xa5state")?;
    let state = match rest.text()? {
        "ready" => State::Ready,
        "starting" => State::Starting,
        "draining" => State::Draining,
        _ => return None,
    };
    let mut register = Register { endpoints, metadata, state, ..Register::new(name, uuid) };
    let mut read = 5;
    let mut has = |rest: &mut Rest<'_>, key: &[u8]| {
        let is_there = rest.skip(key).is_some();
        read += usize::from(is_there);
        is_there
    };
    if has(&mut rest, b"\xa8lease_ms") {
        register.lease_ms = Some(rest.number()?);
    }
    register.proves = has(&mut rest, b"\xa6proves\xc3");
    if has(&mut rest, b"\xa5again") {
        register.again = Some(rest.number()?);
    }
    register.wait = has(&mut rest, b"\xa4wait\xc3");
    if has(&mut rest, b"\xa5token") {
        register.token = Some(rest.number()?);
    }
    if has(&mut rest, b"\xa6secret") {
        register.secret = Some(InstanceSecret::new(rest.binary()?));
    }
    (read == count && rest.0.is_empty()).then_some(register)
}

/// The bytes that are still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn skip(&mut self, expected: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(expected)?;
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    /// Reads how many pairs a short map has.
    fn fixed_map(&mut self) -> Option<usize> {
        self.byte().filter(|it| it & 0xf0 == 0x80).map(|it| usize::from(it & 0x0f))
    }

    /// Reads how many values a short array has.
    fn fixed_array(&mut self) -> Option<usize> {
        self.byte().filter(|it| it & 0xf0 == 0x90).map(|it| usize::from(it & 0x0f))
    }

    fn number(&mut self) -> Option<u64> {
        let width = match self.byte()? {
            number @ 0..=0x7f => return Some(u64::from(number)),
            marker @ 0xcc..=0xcf => 1 << (marker - 0xcc),
            _ => return None,
        };
        Some(self.bytes(width)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = match self.byte()? {
            marker @ 0xa0..=0xbf => usize::from(marker & 0x1f),
            0xd9 => usize::from(self.byte()?),
            0xda => usize::from(u16::from_be_bytes([self.byte()?, self.byte()?])),
            _ => return None,
        };
        str::from_utf8(self.bytes(length)?).ok()
    }

    fn binary<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.skip(&[0xc4, u8::try_from(N).ok()?])?;
        self.bytes(N)?.try_into().ok()
    }

    fn stamped(&mut self) -> Option<Stamped> {
        self.skip(b"\x82\xa8endpoint")?;
        let endpoint = self.text()?.parse().ok()?;
        self.skip(b"\xa5stamp")?;
        let count = self.fixed_map()?;
        let kernel = self.optional(b"\xa6kernel")?.map(KernelId);
        let netns = self.optional(b"\xa5netns")?.map(NetnsId);
        let process = self.optional(b"\xa7process")?.map(ProcessId);
        let socket = match self.skip(b"\xa6socket") {
            Some(()) => Some(self.socket()?),
            None => None,
        };
        let root = self.optional(b"\xa4root")?.map(RootId);
        let read = [
            kernel.is_some(),
            netns.is_some(),
            process.is_some(),
            socket.is_some(),
            root.is_some(),
        ];
        let stamp = Stamp { kernel, netns, process, socket, root };
        let read = read.into_iter().filter(|it| *it).count();
        (read == count).then_some(Stamped { endpoint, stamp })
    }

    fn socket(&mut self) -> Option<SocketId> {
        let count = self.fixed_map()?;
        self.skip(b"\xa3dev")?;
        let dev = self.number()?;
        self.skip(b"\xa3ino")?;
        let ino = self.number()?;
        let born_ns = self.optional(b"\xa7born_ns")?;
        (count == 2 + usize::from(born_ns.is_some())).then_some(SocketId { dev, ino, born_ns })
    }

    /// Reads a number if its key comes next. It may be absent, and it may be unreadable.
    fn optional(&mut self, key: &[u8]) -> Option<Option<u64>> {
        match self.skip(key) {
            Some(()) => self.number().map(Some),
            None => Some(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::encode_body;

    fn stamp(parts: [bool; 5], number: u64) -> Stamp {
        let [kernel, netns, process, socket, root] = parts;
        let socket_id = SocketId { dev: 23, ino: number, born_ns: root.then_some(number) };
        Stamp {
            kernel: kernel.then_some(KernelId(number)),
            netns: netns.then_some(NetnsId(7)),
            process: process.then_some(ProcessId(number)),
            socket: socket.then_some(socket_id),
            root: root.then_some(RootId(300)),
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
