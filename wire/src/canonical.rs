//! The quick way to read what is written in the usual way: the fields in one order, each number in its
//! shortest form. To read that needs no general MessagePack reader and takes a sixth of its time.
//! Whatever is written otherwise goes to the general reader, and so does whatever cannot be read,
//! which finds the words for the fault.

use std::collections::BTreeMap;

use endpoints::{KernelId, Name, NetnsId, ProcessId, RootId, SocketId, Stamp, Stamped};
use uuid::Uuid;

use crate::{Lifetime, Owner, Record, State, Suspicion};

/// The bytes that are still to be read.
pub(crate) struct Rest<'a>(pub(crate) &'a [u8]);

impl<'a> Rest<'a> {
    /// Skips bytes of a known number, which are compared without a call.
    pub(crate) fn skip<const N: usize>(&mut self, expected: &[u8; N]) -> Option<()> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = (first == expected).then_some(rest)?;
        Some(())
    }

    /// Skips bytes of any number.
    pub(crate) fn skip_all(&mut self, expected: &[u8]) -> Option<()> {
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
    pub(crate) fn fixed_map(&mut self) -> Option<usize> {
        self.byte().filter(|it| it & 0xf0 == 0x80).map(|it| usize::from(it & 0x0f))
    }

    /// Reads how many values a short array has.
    fn fixed_array(&mut self) -> Option<usize> {
        self.byte().filter(|it| it & 0xf0 == 0x90).map(|it| usize::from(it & 0x0f))
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let width = match self.byte()? {
            number @ 0..=0x7f => return Some(u64::from(number)),
            marker @ 0xcc..=0xcf => 1 << (marker - 0xcc),
            _ => return None,
        };
        Some(self.bytes(width)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let length = match self.byte()? {
            marker @ 0xa0..=0xbf => usize::from(marker & 0x1f),
            0xd9 => usize::from(self.byte()?),
            0xda => usize::from(u16::from_be_bytes([self.byte()?, self.byte()?])),
            _ => return None,
        };
        str::from_utf8(self.bytes(length)?).ok()
    }

    pub(crate) fn binary<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.skip(&[
            0xc4,
            const {
                assert!(N < 256, "it has a length of one byte");
                N as u8
            },
        ])?;
        self.bytes(N)?.try_into().ok()
    }

    pub(crate) fn uuid(&mut self) -> Option<Uuid> {
        self.skip(b"\xa4uuid")?;
        self.binary().map(Uuid::from_bytes)
    }

    pub(crate) fn metadata(&mut self) -> Option<BTreeMap<String, String>> {
        let pairs = 0..self.fixed_map()?;
        pairs.map(|_| Some((self.text()?.to_owned(), self.text()?.to_owned()))).collect()
    }

    pub(crate) fn state(&mut self) -> Option<State> {
        self.skip(b"\xa5state")?;
        match self.text()? {
            "ready" => Some(State::Ready),
            "starting" => Some(State::Starting),
            "draining" => Some(State::Draining),
            _ => None,
        }
    }

    /// Reads endpoints after their key.
    pub(crate) fn endpoints(&mut self) -> Option<Vec<Stamped>> {
        self.skip(b"\xa9endpoints")?;
        let places = 0..self.fixed_array()?;
        places.map(|_| self.stamped()).collect()
    }

    /// Reads records after their key.
    pub(crate) fn records(&mut self) -> Option<Vec<Record>> {
        self.skip(b"\xa7records")?;
        self.list(Self::record)
    }

    /// Reads a list.
    pub(crate) fn list<T>(&mut self, read: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = match self.byte()? {
            marker @ 0x90..=0x9f => usize::from(marker & 0x0f),
            0xdc => usize::from(u16::from_be_bytes([self.byte()?, self.byte()?])),
            _ => return None,
        };
        // Room is made as they come: so many may not follow.
        (0..count).map(|_| read(self)).collect()
    }

    fn record(&mut self) -> Option<Record> {
        let count = self.fixed_map()?;
        self.skip(b"\xa4name")?;
        let name = Name::new(self.text()?).ok()?;
        let mut record = Record::new(name, self.uuid()?);
        self.skip(b"\xa5epoch")?;
        record.epoch = self.number()?;
        record.endpoints = self.endpoints()?;
        let mut read = 7;
        if self.has(b"\xa8metadata", &mut read) {
            record.metadata = self.metadata()?;
        }
        record.state = self.state()?;
        record.lifetime = self.lifetime()?;
        self.skip(b"\xa8since_ms")?;
        record.since_ms = self.number()?;
        if self.has(b"\xa9suspicion", &mut read) {
            record.suspicion = Some(self.suspicion()?);
        }
        record.proves = self.has(b"\xa6proves\xc3", &mut read);
        if let Some(owner) = self.owner() {
            read += 1;
            record.owner = owner;
        }
        if self.has(b"\xa5token", &mut read) {
            record.token = Some(self.number()?);
        }
        if self.has(b"\xa7waiting", &mut read) {
            record.waiting = self.number()?;
        }
        if self.has(b"\xa4node", &mut read) {
            record.node = Some(Name::new(self.text()?).ok()?);
        }
        (read == count).then_some(record)
    }

    /// Reads an owner under its key, if it comes next. It may be one that nobody knows.
    pub(crate) fn owner(&mut self) -> Option<Option<Owner>> {
        if self.skip(b"\xa4user").is_some() {
            return Some(Some(Owner::User(self.number()?.try_into().ok()?)));
        }
        self.skip(b"\xa5owner")?;
        self.text().map(|it| it.parse().ok())
    }

    /// Tells whether a key comes next, which is skipped and counted then.
    pub(crate) fn has<const N: usize>(&mut self, key: &[u8; N], read: &mut usize) -> bool {
        let is_there = self.skip(key).is_some();
        *read += usize::from(is_there);
        is_there
    }

    fn lifetime(&mut self) -> Option<Lifetime> {
        self.skip(b"\xa8lifetime")?;
        if self.skip(b"\x81\xa5lease\x81\xa6ttl_ms").is_some() {
            return self.number().map(|ttl_ms| Lifetime::Lease { ttl_ms });
        }
        match self.text()? {
            "session" => Some(Lifetime::Session),
            "declared" => Some(Lifetime::Declared),
            "foreign" => Some(Lifetime::Foreign),
            _ => None,
        }
    }

    fn suspicion(&mut self) -> Option<Suspicion> {
        let count = self.fixed_map()?;
        self.skip(b"\xa7reports")?;
        let reports = self.number()?.try_into().ok()?;
        self.skip(b"\xa8since_ms")?;
        let since_ms = self.number()?;
        let silent = self.skip(b"\xa6silent\xc3").is_some();
        let cut_off = self.skip(b"\xa7cut_off\xc3").is_some();
        let read = 2 + usize::from(silent) + usize::from(cut_off);
        (read == count).then_some(Suspicion { reports, since_ms, silent, cut_off })
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
        let user = match self.optional(b"\xa4user")? {
            Some(user) => Some(u32::try_from(user).ok()?),
            None => None,
        };
        let read = [
            kernel.is_some(),
            netns.is_some(),
            process.is_some(),
            socket.is_some(),
            root.is_some(),
            user.is_some(),
        ];
        let stamp = Stamp { kernel, netns, process, socket, root, user };
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
    fn optional<const N: usize>(&mut self, key: &[u8; N]) -> Option<Option<u64>> {
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
    use crate::{decode_body, encode_body};

    fn read(bytes: &[u8]) -> Option<Record> {
        let mut rest = Rest(bytes);
        rest.record().filter(|_| rest.0.is_empty())
    }

    fn record(parts: [bool; 6], number: u64, lifetime: usize, owner: usize) -> Record {
        let [metadata, suspicion, proves, token, waiting, node] = parts;
        let socket = SocketId { dev: 23, ino: number, born_ns: proves.then_some(number) };
        let stamp = Stamp {
            kernel: Some(KernelId(number)),
            socket: waiting.then_some(socket),
            ..Stamp::default()
        };
        let lifetimes = [
            Lifetime::Session,
            Lifetime::Declared,
            Lifetime::Foreign,
            Lifetime::Lease { ttl_ms: number },
        ];
        let owners = ["user:7", "address:10.0.0.7", "tls:feed", "user:4294967296", "badge"];
        let texts = &["/unix/run/market/feed.sock", "/ip4/10.1.2.3/tcp/5555"][..owner % 3];
        Record {
            epoch: number,
            endpoints: texts
                .iter()
                .map(|it| Stamped { endpoint: it.parse().unwrap(), stamp })
                .collect(),
            metadata: [("desk".to_owned(), "rates".to_owned())]
                .into_iter()
                .filter(|_| metadata)
                .collect(),
            state: [State::Ready, State::Starting, State::Draining][lifetime % 3],
            lifetime: lifetimes[lifetime],
            since_ms: number,
            suspicion: suspicion.then_some(Suspicion {
                reports: 3,
                since_ms: number,
                silent: token,
                cut_off: waiting,
            }),
            proves,
            owner: owners.get(owner).map(|it| it.parse().unwrap()),
            token: token.then_some(number),
            waiting: if waiting { 300 } else { 0 },
            node: node.then(|| "rome".parse().unwrap()),
            ..Record::new("feed.eurusd".parse().unwrap(), Uuid::from_u128(number.into()))
        }
    }

    proptest! {
        #[test]
        fn records_read_the_same_either_way(
            parts in any::<[bool; 6]>(),
            number in any::<u64>(),
            lifetime in 0..4_usize,
            owner in 0..6_usize,
            spoilt in any::<(bool, u16, u8)>(),
        ) {
            let one = record(parts, number, lifetime, owner);
            let mut bytes = encode_body(&one);
            prop_assert_eq!(read(&bytes), Some(one));
            for end in 0..bytes.len() {
                prop_assert_eq!(read(&bytes[..end]), None);
            }
            if let (true, at, byte) = spoilt {
                let at = usize::from(at) % bytes.len();
                bytes[at] = byte;
            }
            if let Some(record) = read(&bytes) {
                prop_assert_eq!(decode_body::<Record>(&bytes), Ok(record));
            }
        }
    }
}
