//! The keys of a cluster in etcd, and what they hold.
//!
//! | key, after the prefix | value |
//! |---|---|
//! | `nodes/NODE` | the node: its registrar, endpoints and secret; written with every beat |
//! | `slots/NUMBER` | the node that issues the epochs of this number |
//! | `records/NODE/UUID` | a record that the node keeps |
//! | `records/NODE/+NUMBER` | a bundle of such records, each as it would be by itself |
//! | `names/NAME` | who has an exclusive name |
//! | `token-base` | from where tokens count; by no lease |
//! | `ended/NODE` | why the records are gone that it has removed in the same transaction |
//!
//! All other keys of a node live by its one lease. Values are written as the bodies of messages are: unknown
//! fields are ignored, and missing optional ones have their defaults.

use std::num::NonZeroU64;

use endpoints::{Name, Stamped};
use registrar::registry::{HomeNode, Remote};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf, Bytes};
use uuid::Uuid;
use wire::{ProofSecret, Record, RemovalReason, decode_body, encode_body};

/// The keys of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: Vec<u8>,
    own: Name,
    own_records: Vec<u8>,
}

/// What a key is of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    Node(Name),
    Record(Name, Uuid),
    Bundle(Name, BundleId),
    Ended(Name),
    ExclusiveName(Name),
    /// A slot, a record of this node, or something of a later version.
    Other,
}

/// The number of a bundle, of all that a node writes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct BundleId(NonZeroU64);

impl BundleId {
    /// Returns a number from which bundles may be counted. It is drawn, so that none is like one that
    /// etcd still has, or that others still know.
    pub(crate) fn draw() -> Self {
        Self(NonZeroU64::new(fastrand::u64(..)).unwrap_or(NonZeroU64::MIN))
    }

    pub(crate) fn next(self) -> Self {
        Self(self.0.checked_add(1).unwrap_or(NonZeroU64::MIN))
    }

    fn parse(text: &str) -> Option<Self> {
        Some(Self(NonZeroU64::new(u64::from_str_radix(text.strip_prefix('+')?, 16).ok()?)?))
    }
}

/// What a key of this node's own records holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum OwnPlace {
    Record(Uuid),
    Bundle(BundleId),
}

impl Keys {
    pub(crate) fn new(prefix: &str, own: Name) -> Self {
        let own_records = format!("{prefix}records/{own}/").into_bytes();
        Self { prefix: prefix.as_bytes().to_vec(), own, own_records }
    }

    /// Returns what all of them begin with.
    pub(crate) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    pub(crate) fn nodes(&self) -> Vec<u8> {
        self.key("nodes/")
    }

    pub(crate) fn records(&self) -> Vec<u8> {
        self.key("records/")
    }

    pub(crate) fn own_node(&self) -> Vec<u8> {
        self.key(&format!("nodes/{}", self.own))
    }

    pub(crate) fn own_records(&self) -> Vec<u8> {
        self.own_records.clone()
    }

    pub(crate) fn own_record(&self, uuid: Uuid) -> Vec<u8> {
        let mut text = Uuid::encode_buffer();
        [&self.own_records, uuid.hyphenated().encode_lower(&mut text).as_bytes()].concat()
    }

    pub(crate) fn own_bundle(&self, BundleId(number): BundleId) -> Vec<u8> {
        [&self.own_records, format!("+{number:x}").as_bytes()].concat()
    }

    /// Reads what a key of this node's records holds.
    pub(crate) fn own_place_of(&self, key: &[u8]) -> Option<OwnPlace> {
        let text = str::from_utf8(key.strip_prefix(&self.own_records[..])?).ok()?;
        let bundle = BundleId::parse(text).map(OwnPlace::Bundle);
        bundle.or_else(|| text.parse().ok().map(OwnPlace::Record))
    }

    pub(crate) fn own_ended(&self) -> Vec<u8> {
        self.key(&format!("ended/{}", self.own))
    }

    pub(crate) fn names(&self) -> Vec<u8> {
        self.key("names/")
    }

    pub(crate) fn name(&self, name: &Name) -> Vec<u8> {
        self.key(&format!("names/{name}"))
    }

    pub(crate) fn token_base(&self) -> Vec<u8> {
        self.key("token-base")
    }

    pub(crate) fn slots(&self) -> Vec<u8> {
        self.key("slots/")
    }

    pub(crate) fn slot(&self, number: u64) -> Vec<u8> {
        self.key(&format!("slots/{number}"))
    }

    /// Reads the number of a slot.
    pub(crate) fn slot_of(&self, key: &[u8]) -> Option<u64> {
        std::str::from_utf8(key.strip_prefix(&self.slots()[..])?).ok()?.parse().ok()
    }

    /// Reads a key.
    pub(crate) fn place(&self, key: &[u8]) -> Place {
        // Each of them comes back from etcd.
        if key.starts_with(&self.own_records) {
            return Place::Other;
        }
        let text = key.strip_prefix(&self.prefix[..]).and_then(|it| std::str::from_utf8(it).ok());
        let known = text.and_then(|it| it.split_once('/')).and_then(|(kind, rest)| match kind {
            "nodes" => Some(Place::Node(Name::new(rest).ok()?)),
            "ended" => Some(Place::Ended(Name::new(rest).ok()?)),
            "names" => Some(Place::ExclusiveName(Name::new(rest).ok()?)),
            "records" => {
                let (node, rest) = rest.rsplit_once('/')?;
                let node = Name::new(node).ok()?;
                match BundleId::parse(rest) {
                    Some(number) => Some(Place::Bundle(node, number)),
                    None => Some(Place::Record(node, rest.parse().ok()?)),
                }
            }
            _ => None,
        });
        known.unwrap_or(Place::Other)
    }

    fn key(&self, rest: &str) -> Vec<u8> {
        [&self.prefix, rest.as_bytes()].concat()
    }
}

/// What a node says of itself.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct NodeValue {
    pub(crate) registrar: Uuid,
    pub(crate) secret: ByteArray<32>,
    /// The registrar's own record, which says where it is found.
    #[serde(default)]
    pub(crate) own: Option<Record>,
    /// Which epochs it issues.
    pub(crate) slot: u64,
    /// Grows with every beat.
    pub(crate) beat: u64,
    /// Whether all of its records are there.
    pub(crate) whole: bool,
}

impl NodeValue {
    pub(crate) fn encode(&self) -> Vec<u8> {
        encode_body(self)
    }

    pub(crate) fn decode(value: &[u8]) -> Result<Self, Fault> {
        let value = bounded(value)?;
        decode_body(value).map_err(|_| Fault("it is no node, as far as this version can read"))
    }

    pub(crate) fn home(&self, name: Name) -> HomeNode {
        let secret = ProofSecret::new(self.secret.into_array());
        HomeNode { name, registrar: self.registrar, secret }
    }

    /// Returns where the registrar is found, as far as this version can read that.
    pub(crate) fn places(&self) -> Vec<Stamped> {
        let places = self.own.iter().flat_map(|it| &it.endpoints);
        places.take(PLACES_MAX).cloned().collect()
    }
}

/// A record in etcd.
#[derive(Debug, Deserialize)]
struct RecordValue {
    record: Record,
    #[serde(default)]
    has_key: bool,
}

#[derive(Serialize)]
struct RecordToWrite<'a> {
    record: &'a Record,
    has_key: bool,
}

/// Writes a record of this node.
pub(crate) fn encode_record(record: &Record, has_key: bool) -> Vec<u8> {
    encode_body(&RecordToWrite { record, has_key })
}

/// Reads a record of a node.
pub(crate) fn decode_record(node: &Name, value: &[u8]) -> Result<Remote, Fault> {
    let value = bounded(value)?;
    let RecordValue { record, has_key } = decode_body(value)
        .map_err(|_| Fault("it is no record, as far as this version can read"))?;
    Ok(Remote { record: Record { node: Some(node.clone()), ..record }, has_key })
}

/// Reads of which instance a record is that this node has written.
pub(crate) fn decode_own_uuid(value: &[u8]) -> Option<Uuid> {
    decode_body(value).ok().map(|RecordValue { record, .. }| record.uuid)
}

/// Writes a bundle of records.
pub(crate) fn encode_bundle<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    encode_body(&values.into_iter().map(Bytes::new).collect::<Vec<_>>())
}

/// Reads the values of a bundle.
pub(crate) fn decode_bundle(value: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
    let values: Vec<ByteBuf> = decode_body(bounded(value)?)
        .map_err(|_| Fault("it is no bundle, as far as this version can read"))?;
    Ok(values.into_iter().map(ByteBuf::into_vec).collect())
}

/// Writes why records are gone.
pub(crate) fn encode_ended(ended: &[(Uuid, RemovalReason)]) -> Vec<u8> {
    encode_body(ended)
}

/// Reads why records are gone; nothing, if it cannot be read.
pub(crate) fn decode_ended(value: &[u8]) -> Vec<(Uuid, RemovalReason)> {
    bounded(value).ok().and_then(|it| decode_body(it).ok()).unwrap_or_default()
}

/// Why a value in etcd is left out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Fault(pub(crate) &'static str);

fn bounded(value: &[u8]) -> Result<&[u8], Fault> {
    match value.len() {
        // Those that are too long are not kept.
        0 => Err(Fault("it is empty, or longer than 128 KiB")),
        length if length > VALUE_BYTES_MAX => Err(Fault("it is longer than 128 KiB")),
        _ => Ok(value),
    }
}

/// The longest value: the longest record that a registrar accepts is a third of that.
pub(crate) const VALUE_BYTES_MAX: usize = 128 * 1024;

/// The most endpoints of a registrar that are read.
const PLACES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written() {
        let name = |it: &str| Name::new(it).unwrap();
        let (keys, uuid) = (Keys::new("/x/", name("rome")), Uuid::from_u128(7));
        assert_eq!(keys.place(&keys.own_node()), Place::Node(name("rome")));
        let record = keys.own_record(uuid);
        let number = BundleId(NonZeroU64::MAX);
        let bundle = keys.own_bundle(number);
        let others = Keys::new("/x/", name("oslo"));
        for (key, own, place) in [
            (&record, OwnPlace::Record(uuid), Place::Record(name("rome"), uuid)),
            (&bundle, OwnPlace::Bundle(number), Place::Bundle(name("rome"), number)),
        ] {
            assert_eq!((keys.own_place_of(key), keys.place(key)), (Some(own), Place::Other));
            assert_eq!((others.own_place_of(key), others.place(key)), (None, place));
        }
        assert_eq!(keys.place(&keys.own_ended()), Place::Ended(name("rome")));
        assert_eq!(keys.place(&keys.name(&name("a.b"))), Place::ExclusiveName(name("a.b")));
        assert_eq!(keys.slot_of(&keys.slot(12)), Some(12));
        for other in [
            "/x/slots/12",
            "/x/nodes/",
            "/x/nodes/a b",
            "/x/records/rome/7",
            "/x/records/rome/+",
            "/x/records/rome/+0",
            "/x/records/rome/+g",
            "/x/records/rome/+10000000000000000",
            "/x/records/00000000-0000-0000-0000-000000000007",
            "/x/later/rome",
            "/y/nodes/rome",
            "",
        ] {
            assert_eq!(keys.place(other.as_bytes()), Place::Other, "{other}");
        }
        assert_eq!(keys.place(b"/x/nodes/\xff"), Place::Other);
    }

    #[test]
    fn a_faulty_value_is_left_out() {
        let (node, uuid) = (Name::new("rome").unwrap(), Uuid::from_u128(7));
        let record = Record::new(Name::new("feed").unwrap(), uuid);
        let good = encode_record(&record, true);
        let read = decode_record(&node, &good).unwrap();
        assert_eq!(
            read,
            Remote { record: Record { node: Some(node.clone()), ..record }, has_key: true }
        );
        assert_eq!(decode_own_uuid(&good), Some(uuid));
        let bundle = encode_bundle([&good[..], b"", &good]);
        assert_eq!(decode_bundle(&bundle).unwrap(), [&good[..], b"", &good]);
        for cut in 0..good.len() {
            assert!(decode_record(&node, &good[..cut]).is_err(), "{cut}");
            assert!(decode_bundle(&bundle[..cut]).is_err(), "{cut}");
        }
        let long = [&good[..], &[0; VALUE_BYTES_MAX]].concat();
        assert_eq!(decode_record(&node, &long), Err(Fault("it is longer than 128 KiB")));
        assert!(decode_bundle(&long).is_err() && decode_bundle(&good).is_err());
        assert!(NodeValue::decode(&good).is_err());
        assert!(decode_ended(&good).is_empty());
        let ended = [(uuid, RemovalReason::SessionEnded)];
        assert_eq!(decode_ended(&encode_ended(&ended)), ended);
    }
}
