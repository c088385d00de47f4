//! Folded records: what many records have in common is kept once for all of them.
//!
//! The records of a registrar have the same fields, and those of a host nearly the same stamps. A
//! record is folded into its *form*, which many records share, and its *values*, which are its own.
//! Both are pieces with their lengths before them. To unfold the record, its pieces are copied in
//! turns:
//!
//! ```text
//!   form      89 ┊ "endpoints", "/unix/run/"           ┊ "stamp", kernel ┊ …
//!   values                                 "feed.sock"                    inode
//! ```
//!
//! A record begins with how many fields it has, its name, its UUID and its epoch. These three are
//! known otherwise, and so are in neither.

use bytes::BytesMut;
use endpoints::{Endpoint, SocketId, Stamp, Stamped, UnixAddress};
use rmp::encode::{write_array_len, write_map_len, write_str_len};
use uuid::Uuid;

use crate::{Epoch, Lifetime, Owner, Record, State, decode_body, encode_body};

/// A folded record.
#[derive(Clone, Copy, Debug)]
pub struct FoldedRecord<'a> {
    /// The actor's name.
    pub name: &'a str,
    /// The identity of this run.
    pub uuid: Uuid,
    /// The number of the registration.
    pub epoch: Epoch,
    /// What it has in common with others, from [`Folding`].
    pub form: &'a [u8],
    /// What is its own, from the same.
    pub values: &'a [u8],
}

/// Folds records, one after another, in the same memory.
#[derive(Debug, Default)]
pub struct Folding {
    form: Pieces,
    values: Pieces,
    is_in_values: bool,
    /// The text of an endpoint, before its length is known.
    text: String,
}

/// Pieces of bytes, each with its length before it.
#[derive(Debug, Default)]
struct Pieces {
    bytes: Vec<u8>,
    /// Where the last of them begins.
    last: usize,
}

impl Folding {
    /// Folds a record, except for its name, UUID and epoch. Returns its form and its values.
    pub fn fold(&mut self, record: &Record) -> (&[u8], &[u8]) {
        self.form.clear();
        self.values.clear();
        self.is_in_values = false;
        self.form.bytes.push(0x80 | count(record) as u8);
        self.form.begin();
        self.record(record);
        let last = if self.is_in_values { &mut self.values } else { &mut self.form };
        last.end();
        (&self.form.bytes, &self.values.bytes)
    }

    /// Folds a record into a form that all records may have, and returns both: for one that has
    /// little in common with others.
    pub fn fold_whole(&mut self, record: &Record) -> (&[u8], &[u8]) {
        self.fold(record);
        let form = std::mem::take(&mut self.form.bytes);
        let values = std::mem::take(&mut self.values.bytes);
        let folded =
            FoldedRecord { name: "", uuid: Uuid::nil(), epoch: 0, form: &form, values: &values };
        self.form.clear();
        self.form.bytes.extend_from_slice(&[form[0], 0]);
        self.values.clear();
        self.values.begin();
        folded.pieces(|it| self.values.bytes.extend_from_slice(it));
        self.values.end();
        (&self.form.bytes, &self.values.bytes)
    }

    fn record(&mut self, record: &Record) {
        let Record { endpoints, metadata, state, lifetime, since_ms, .. } = record;
        let Record { suspicion, proves, owner, token, waiting, node, .. } = record;
        let common = self.common();
        common.extend_from_slice(b"\xa9endpoints");
        write_array_len(common, endpoints.len() as u32).expect(MEMORY);
        endpoints.iter().for_each(|it| self.stamped(it));
        if !metadata.is_empty() {
            let common = self.common();
            common.extend_from_slice(b"\xa8metadata");
            write_map_len(common, metadata.len() as u32).expect(MEMORY);
            for (key, value) in metadata {
                text(self.common(), key.as_bytes());
                text(self.own(), value.as_bytes());
            }
        }
        let common = self.common();
        common.extend_from_slice(b"\xa5state");
        match state {
            State::Ready => common.extend_from_slice(b"\xa5ready"),
            other => common.extend_from_slice(&encode_body(other)),
        }
        common.extend_from_slice(b"\xa8lifetime");
        match lifetime {
            Lifetime::Session => common.extend_from_slice(b"\xa7session"),
            other => common.extend_from_slice(&encode_body(other)),
        }
        self.own_number(b"\xa8since_ms", *since_ms);
        if let Some(suspicion) = suspicion {
            self.common().extend_from_slice(b"\xa9suspicion");
            self.own().extend_from_slice(&encode_body(suspicion));
        }
        if *proves {
            self.common().extend_from_slice(b"\xa6proves\xc3");
        }
        match owner {
            Some(Owner::User(user)) => number(self.common(), b"\xa4user", u64::from(*user)),
            Some(other) => {
                let common = self.common();
                common.extend_from_slice(b"\xa5owner");
                common.extend_from_slice(&encode_body(other));
            }
            None => {}
        }
        if let Some(token) = token {
            self.own_number(b"\xa5token", *token);
        }
        if *waiting != 0 {
            self.own_number(b"\xa7waiting", *waiting);
        }
        if let Some(node) = node {
            let common = self.common();
            common.extend_from_slice(b"\xa4node");
            text(common, node.as_str().as_bytes());
        }
    }

    fn stamped(&mut self, Stamped { endpoint, stamp }: &Stamped) {
        self.common().extend_from_slice(b"\x82\xa8endpoint");
        let mut written = std::mem::take(&mut self.text);
        written.clear();
        endpoint.append_to(&mut written);
        write_str_len(self.own(), written.len() as u32).expect(MEMORY);
        // The sockets of many actors are in one folder; hosts have many addresses.
        let is_path = matches!(endpoint, Endpoint::Unix(UnixAddress::Path(_)));
        let folder = written.rfind('/').filter(|_| is_path);
        let (folder, rest) = written.split_at(folder.map_or(0, |it| it + 1));
        if !folder.is_empty() {
            self.common().extend_from_slice(folder.as_bytes());
        }
        self.own().extend_from_slice(rest.as_bytes());
        self.text = written;

        let Stamp { kernel, netns, process, socket, root, user } = stamp;
        let numbers = [kernel.map(|it| it.0), netns.map(|it| it.0), process.map(|it| it.0)];
        let root = root.map(|it| it.0);
        let user = user.map(u64::from);
        let count = numbers.into_iter().chain([root, user]).flatten().count()
            + usize::from(socket.is_some());
        let common = self.common();
        common.extend_from_slice(b"\xa5stamp");
        common.push(0x80 | count as u8);
        for (key, value) in
            [&b"\xa6kernel"[..], b"\xa5netns", b"\xa7process"].into_iter().zip(numbers)
        {
            value.into_iter().for_each(|it| number(common, key, it));
        }
        if let Some(SocketId { dev, ino, born_ns }) = socket {
            common.extend_from_slice(b"\xa6socket");
            common.push(0x82 + u8::from(born_ns.is_some()));
            number(common, b"\xa3dev", *dev);
            self.own_number(b"\xa3ino", *ino);
            born_ns.iter().for_each(|it| self.own_number(b"\xa7born_ns", *it));
        }
        root.into_iter().for_each(|it| number(self.common(), b"\xa4root", it));
        user.into_iter().for_each(|it| number(self.common(), b"\xa4user", it));
    }

    /// Writes a number of its own under a key that many have.
    fn own_number(&mut self, key: &[u8], number: u64) {
        self.common().extend_from_slice(key);
        self.own().extend_from_slice(shortest(number, &mut [0; 9]));
    }

    /// Returns where to write what many records have in common.
    fn common(&mut self) -> &mut Vec<u8> {
        if self.is_in_values {
            self.values.end();
            self.form.begin();
            self.is_in_values = false;
        }
        &mut self.form.bytes
    }

    /// Returns where to write what is the record's own.
    fn own(&mut self) -> &mut Vec<u8> {
        if !self.is_in_values {
            self.form.end();
            self.values.begin();
            self.is_in_values = true;
        }
        &mut self.values.bytes
    }
}

impl Pieces {
    fn clear(&mut self) {
        self.bytes.clear();
    }

    fn begin(&mut self) {
        self.last = self.bytes.len();
        self.bytes.push(0);
    }

    /// Writes the length of the last piece: seven bits a byte, the lowest first.
    fn end(&mut self) {
        let mut left = self.bytes.len() - self.last - 1;
        let mut at = self.last;
        while left >= 0x80 {
            self.bytes[at] = 0x80 | left as u8;
            left >>= 7;
            at += 1;
            self.bytes.insert(at, 0);
        }
        self.bytes[at] = left as u8;
    }
}

impl FoldedRecord<'_> {
    /// Appends the encoded record, as [`encode_body`] writes it.
    pub fn unfold(&self, bytes: &mut BytesMut) {
        let Self { name, uuid, epoch, form, mut values } = *self;
        let start = bytes.len();
        let most = HEAD_BYTES_MAX + name.len() + form.len() + values.len();
        bytes.resize(start + most + PIECE_BYTES, 0);
        let mut writer = Writer { to: &mut bytes[start..], at: 0 };
        let (count, mut form) = form.split_first().expect("it begins with a count of fields");
        writer.put_all(&[*count]);
        writer.put_all(b"\xa4name");
        match name.len() {
            length @ ..32 => writer.put_all(&[0xa0 | length as u8]),
            length => {
                let mut head = [0; 5];
                let mut rest = &mut head[..];
                write_str_len(&mut rest, length as u32).expect(MEMORY);
                let left = rest.len();
                writer.put(&head, head.len() - left);
            }
        }
        writer.put(name.as_bytes(), name.len());
        writer.put_all(b"\xa4uuid\xc4\x10");
        writer.put_all(uuid.as_bytes());
        writer.put_all(b"\xa5epoch");
        let mut number = [0; 9];
        let length = shortest(epoch, &mut number).len();
        writer.put(&number, length);
        while !form.is_empty() {
            writer.put_piece(&mut form);
            if !values.is_empty() {
                writer.put_piece(&mut values);
            }
        }
        let written = writer.at;
        bytes.truncate(start + written);
    }

    /// Returns the record.
    pub fn to_record(&self) -> Record {
        let mut bytes = BytesMut::with_capacity(USUAL_RECORD_BYTES);
        self.unfold(&mut bytes);
        decode_body(&bytes).expect("it was a record when it was folded")
    }

    /// Goes through the pieces of the form and those of the values in turns.
    fn pieces(&self, mut take: impl FnMut(&[u8])) {
        let (mut form, mut values) = (&self.form[1..], self.values);
        while !form.is_empty() {
            take(piece(&mut form));
            if !values.is_empty() {
                take(piece(&mut values));
            }
        }
    }
}

/// Writes into memory that has more room than is needed: what is short is copied in one width, for
/// which nothing is called.
struct Writer<'a> {
    to: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    /// Writes bytes of a known number.
    fn put_all<const N: usize>(&mut self, bytes: &[u8; N]) {
        self.to[self.at..][..N].copy_from_slice(bytes);
        self.at += N;
    }

    /// Writes the first of some bytes.
    #[inline(always)]
    fn put(&mut self, from: &[u8], length: usize) {
        let to = &mut self.to[self.at..];
        match (from.first_chunk::<PIECE_BYTES>(), to.first_chunk_mut::<PIECE_BYTES>()) {
            (Some(from), Some(to)) if length <= PIECE_BYTES => *to = *from,
            _ => to[..length].copy_from_slice(&from[..length]),
        }
        self.at += length;
    }

    /// Writes the first of some pieces, and takes it from them.
    #[inline(always)]
    fn put_piece(&mut self, rest: &mut &[u8]) {
        let length = piece_length(rest);
        self.put(rest, length);
        *rest = &rest[length..];
    }
}

/// Takes a piece.
pub(crate) fn piece<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let length = piece_length(rest);
    let (piece, after) = rest.split_at(length);
    *rest = after;
    piece
}

/// Takes the length of a piece, which follows.
#[inline(always)]
fn piece_length(rest: &mut &[u8]) -> usize {
    match rest.split_first() {
        Some((length @ ..0x80, after)) => {
            *rest = after;
            usize::from(*length)
        }
        _ => long_piece_length(rest),
    }
}

#[cold]
fn long_piece_length(rest: &mut &[u8]) -> usize {
    let (mut length, mut shift) = (0, 0);
    while let Some((byte, after)) = rest.split_first() {
        *rest = after;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    length
}

/// Counts the fields of a record.
fn count(record: &Record) -> usize {
    let Record { metadata, suspicion, proves, owner, token, waiting, node, .. } = record;
    let optional = [
        !metadata.is_empty(),
        suspicion.is_some(),
        *proves,
        owner.is_some(),
        token.is_some(),
        *waiting != 0,
        node.is_some(),
    ];
    7 + optional.into_iter().filter(|it| *it).count()
}

fn text(bytes: &mut Vec<u8>, text: &[u8]) {
    write_str_len(bytes, text.len() as u32).expect(MEMORY);
    bytes.extend_from_slice(text);
}

fn number(bytes: &mut Vec<u8>, key: &[u8], number: u64) {
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(shortest(number, &mut [0; 9]));
}

/// Writes a number in its shortest form, as all that is encoded has it.
pub(crate) fn shortest(number: u64, bytes: &mut [u8; 9]) -> &[u8] {
    let width = match number {
        0..=0x7f => {
            bytes[0] = number as u8;
            return &bytes[..1];
        }
        0x80..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 4,
        _ => 8_usize,
    };
    bytes[0] = 0xcc + width.trailing_zeros() as u8;
    bytes[1..].copy_from_slice(&(number << (64 - 8 * width)).to_be_bytes());
    &bytes[..=width]
}

/// The most bytes of the beginning of a record, besides its name: 34, the length of the name, and the
/// epoch.
const HEAD_BYTES_MAX: usize = 34 + 5 + 9;

/// The width in which short pieces are copied.
const PIECE_BYTES: usize = 16;

/// What most records take at the most.
const USUAL_RECORD_BYTES: usize = 512;

const MEMORY: &str = "writing to memory does not fail";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use endpoints::{KernelId, Name, NetnsId, ProcessId, RootId};

    use super::*;
    use crate::Suspicion;

    #[test]
    fn records_are_unfolded_as_any_others_are_written() {
        let stamp = Stamp {
            kernel: Some(KernelId(u64::MAX)),
            netns: Some(NetnsId(1)),
            process: Some(ProcessId(300)),
            socket: Some(SocketId { dev: 23, ino: 70_000, born_ns: Some(1 << 60) }),
            root: Some(RootId(7)),
            user: Some(70_000),
        };
        let bare = Stamp::default();
        let unborn = Stamp { socket: Some(SocketId { dev: 1, ino: 2, born_ns: None }), ..bare };
        let long = format!("/unix/run/{}/feed.sock", "a".repeat(400));
        let middle = format!("/unix/run/{}/feed.sock", "ä".repeat(60));
        let texts = ["/memory/7", "/unix/@feed", "/ip4/10.1.2.3/tcp/80", &middle, &long];
        let place = |it: &&str, stamp| Stamped { endpoint: it.parse().unwrap(), stamp };
        let all = |stamp| texts.iter().map(|it| place(it, stamp)).collect::<Vec<_>>();
        let many = all(stamp).into_iter().cycle().take(64).collect();
        let suspicion = Suspicion { reports: 2, since_ms: 5, silent: true, cut_off: true };
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
            node: None,
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
            Record { node: Some(Name::new("rome").unwrap()), ..record.clone() },
            Record { suspicion: Some(suspicion), lifetime: Lifetime::Declared, ..record },
        ] {
            check(&record);
        }
    }

    fn check(record: &Record) {
        let mut folding = Folding::default();
        let encoded = encode_body(record);
        let check = |(form, values): (&[u8], &[u8])| {
            let Record { name, uuid, epoch, .. } = record;
            let (name, uuid, epoch) = (name.as_str(), *uuid, *epoch);
            let folded = FoldedRecord { name, uuid, epoch, form, values };
            let mut bytes = BytesMut::new();
            folded.unfold(&mut bytes);
            assert_eq!(bytes, encoded);
            assert_eq!(folded.to_record(), *record);
        };
        check(folding.fold(record));
        check(folding.fold_whole(record));
        check(folding.fold(record));
    }

    #[test]
    fn numbers_are_written_as_the_general_writer_writes_them() {
        for shift in 0..64 {
            for number in [(1_u64 << shift) - 1, 1 << shift, u64::MAX >> shift] {
                assert_eq!(shortest(number, &mut [0; 9]), encode_body(&number), "{number}");
            }
        }
    }

    #[test]
    fn what_differs_between_actors_of_a_host_is_not_in_the_form() {
        let record = |name: &str, number: u64| {
            let socket =
                SocketId { dev: 23, ino: 70_000 + number, born_ns: Some(1 << 60 | number) };
            let stamp =
                Stamp { kernel: Some(KernelId(7)), socket: Some(socket), ..Stamp::default() };
            let texts =
                [format!("/unix/run/market/{name}.sock"), format!("/ip4/10.0.0.{number}/tcp/80")];
            let place = |it: String| Stamped { endpoint: it.parse().unwrap(), stamp };
            Record {
                epoch: 300 + number,
                endpoints: texts.into_iter().map(place).collect(),
                metadata: BTreeMap::from([("zone".to_owned(), name.to_owned())]),
                since_ms: 1_795_000_000_000 + number,
                ..Record::new(Name::new(name).unwrap(), Uuid::from_u128(number.into()))
            }
        };
        let mut folding = Folding::default();
        let (form, values) = folding.fold(&record("feed", 1));
        let (form, values) = (form.to_vec(), values.to_vec());
        assert!(form.len() > 2 * values.len(), "{} and {}", form.len(), values.len());
        let (other, _) = folding.fold(&record("a.longer.name.than.that.of.most.actors", 255));
        assert_eq!(other, form);
        let (whole, _) = folding.fold_whole(&record("feed", 1));
        assert_eq!(whole, [0x88, 0]);
    }
}
