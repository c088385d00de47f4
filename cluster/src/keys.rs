//! The keys of a cluster in etcd, and what they hold.
//!
//! | key, after the prefix | value |
//! |---|---|
//! | `nodes/NODE` | the node: its registrar, endpoints and secret; written with every beat |
//! | `slots/NUMBER` | the node that issues the epochs of this number |
//! | `records/NODE/UUID` | a record that the node keeps |
//! | `names/NAME` | who has an exclusive name |
//! | `token-base` | from where tokens count; by no lease |
//! | `ended/NODE` | why the records are gone that it has removed in the same transaction |
//!
//! All other keys of a node live by its one lease. Values are written as the bodies of messages are: unknown
//! fields are ignored, and missing optional ones have their defaults.

use endpoints::{Name, Stamped};
use registrar::registry::{HomeNode, Remote};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
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
    Ended(Name),
    ExclusiveName(Name),
    /// A slot, a record of this node, or something of a later version.
    Other,
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

    /// Reads of which instance a record of this node is.
    pub(crate) fn own_record_of(&self, key: &[u8]) -> Option<Uuid> {
        Uuid::try_parse_ascii(key.strip_prefix(&self.own_records[..])?).ok()
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
                let (node, uuid) = rest.rsplit_once('/')?;
                Some(Place::Record(Name::new(node).ok()?, uuid.parse().ok()?))
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
pub(crate) fn decode_record(node: &Name, uuid: Uuid, value: &[u8]) -> Result<Remote, Fault> {
    let value = bounded(value)?;
    let RecordValue { record, has_key } = decode_body(value)
        .map_err(|_| Fault("it is no record, as far as this version can read"))?;
    if record.uuid != uuid {
        return Err(Fault("it is of another instance than its key"));
    }
    Ok(Remote { record: Record { node: Some(node.clone()), ..record }, has_key })
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
        assert_eq!((keys.own_record_of(&record), keys.place(&record)), (Some(uuid), Place::Other));
        let others = Keys::new("/x/", name("oslo"));
        assert_eq!(others.place(&record), Place::Record(name("rome"), uuid));
        assert_eq!(others.own_record_of(&record), None);
        assert_eq!(keys.place(&keys.own_ended()), Place::Ended(name("rome")));
        assert_eq!(keys.place(&keys.name(&name("a.b"))), Place::ExclusiveName(name("a.b")));
        assert_eq!(keys.slot_of(&keys.slot(12)), Some(12));
        for other in [
            "/x/slots/12",
            "/x/nodes/",
            "/x/nodes/a b",
            "/x/records/rome/7",
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
        let read = decode_record(&node, uuid, &good).unwrap();
        assert_eq!(
            read,
            Remote { record: Record { node: Some(node.clone()), ..record }, has_key: true }
        );
        assert!(decode_record(&node, Uuid::from_u128(8), &good).is_err());
        for cut in 0..good.len() {
            assert!(decode_record(&node, uuid, &good[..cut]).is_err(), "{cut}");
        }
        let long = [&good[..], &[0; VALUE_BYTES_MAX]].concat();
        assert_eq!(decode_record(&node, uuid, &long), Err(Fault("it is longer than 128 KiB")));
        assert!(NodeValue::decode(&good).is_err());
        assert!(decode_ended(&good).is_empty());
        let ended = [(uuid, RemovalReason::SessionEnded)];
        assert_eq!(decode_ended(&encode_ended(&ended)), ended);
    }
}
