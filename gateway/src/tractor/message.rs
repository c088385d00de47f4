//! The messages as data, and their encoding.
//!
//! Each is a MessagePack map. Sent messages have all fields in the original's order; received ones
//! may have them in any order, and more.

use std::collections::BTreeMap;

use bytes::{BufMut, BytesMut};
use rmp::{
    Marker,
    decode::{read_map_len, read_str_from_slice},
};
use rmp_serde::{Deserializer, decode::Error};
use serde::{
    Deserialize, Serialize,
    de::{Error as _, IgnoredAny},
};

use super::Uid;

/// The introduction of one side of a connection: the first message of each.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub(super) struct Aid {
    pub(super) name: String,
    pub(super) uuid: String,
    #[serde(default)]
    pub(super) pid: Option<i64>,
    #[serde(default)]
    pub(super) is_registrar: Option<bool>,
    /// Whether its sender only wants to know who is there.
    #[serde(default)]
    pub(super) is_probe: bool,
}

impl Aid {
    /// Introduces a registrar or an actor, or leaves open which of them it is.
    pub(super) fn new(name: String, uuid: String, is_registrar: Option<bool>) -> Self {
        Self { name, uuid, pid: None, is_registrar, is_probe: false }
    }

    pub(super) fn uid(&self) -> Uid {
        Uid(self.name.clone(), self.uuid.clone())
    }
}

/// A sent message. `P` is a payload: the arguments of a call, or a result.
#[derive(Debug, Serialize)]
#[serde(tag = "msg_type")]
pub(super) enum Message<'a, P: Serialize> {
    Aid(&'a Aid),
    Start { cid: &'a str, ns: &'a str, func: &'a str, kwargs: P, uid: &'a Uid, pld_spec: &'a str },
    StartAck { cid: &'a str, functype: &'a str },
    Return { cid: &'a str, pld: P },
    CancelAck { cid: &'a str, pld: bool },
    Error(Box<Failed<'a>>),
}

/// A message without a payload.
pub(super) type BareMessage<'a> = Message<'a, ()>;

/// The failure of a call.
#[derive(Debug, Serialize)]
pub(super) struct Failed<'a> {
    pub(super) src_uid: &'a Uid,
    pub(super) src_type_str: &'a str,
    pub(super) boxed_type_str: &'a str,
    pub(super) relay_path: &'a [&'a Uid],
    pub(super) message: Option<&'a str>,
    pub(super) tb_str: &'a str,
    pub(super) canceller: Option<&'a Uid>,
    pub(super) sender: Option<&'a Uid>,
    pub(super) cid: Option<&'a str>,
    #[serde(rename = "_bad_msg")]
    pub(super) bad_msg: (),
    #[serde(rename = "_bad_msg_as_dict")]
    pub(super) bad_msg_as_dict: (),
}

/// The fields of a message, each still encoded, so that one that is invalid spoils no other.
#[derive(Debug)]
pub(super) struct Fields<'a>(Vec<(&'static str, &'a [u8])>);

impl<'a> Fields<'a> {
    /// Reads a message, or a map within one, and keeps the fields of these names.
    pub(super) fn read(mut map: &'a [u8], names: &[&'static str]) -> Result<Self, Error> {
        let length = read_map_len(&mut map).map_err(|_| Error::custom("a message is a map"))?;
        let mut fields = Vec::with_capacity(names.len());
        for _ in 0..length {
            let name = match read_str_from_slice(map) {
                Ok((name, rest)) => {
                    map = rest;
                    names.iter().find(|it| **it == name)
                }
                // A field of the original has a string as its name.
                Err(_) => {
                    skip(&mut map)?;
                    None
                }
            };
            let value = skip(&mut map)?;
            let Some(name) = name else { continue };
            if fields.iter().any(|(it, _)| it == name) {
                return Err(Error::duplicate_field(name));
            }
            fields.push((*name, value));
        }
        Ok(Self(fields))
    }

    /// Decodes a field.
    pub(super) fn get<T: Deserialize<'a>>(&self, name: &'static str) -> Result<T, Error> {
        decode(self.bytes(name).ok_or_else(|| Error::missing_field(name))?)
    }

    /// Decodes a field that may be absent.
    pub(super) fn find<T: Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, Error> {
        self.bytes(name).map_or(Ok(None), decode)
    }

    /// Returns a field as it was sent.
    pub(super) fn bytes(&self, name: &str) -> Option<&'a [u8]> {
        self.0.iter().find(|(it, _)| *it == name).map(|(_, value)| *value)
    }
}

/// Returns the next value, and moves past it.
fn skip<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Error> {
    let whole = *bytes;
    let mut deserializer = Deserializer::new(&mut *bytes);
    deserializer.set_max_depth(DEPTH_MAX - 1);
    IgnoredAny::deserialize(&mut deserializer)?;
    Ok(&whole[..whole.len() - bytes.len()])
}

/// Appends a message with its length.
pub(super) fn encode<P: Serialize>(
    message: &Message<'_, P>,
    bytes: &mut BytesMut,
) -> Result<(), rmp_serde::encode::Error> {
    let start = bytes.len();
    bytes.put_u32_le(0);
    rmp_serde::encode::write_named(&mut bytes.writer(), message)?;
    set_length(bytes, start)
}

/// Writes the length of the message that begins there.
fn set_length(bytes: &mut BytesMut, start: usize) -> Result<(), rmp_serde::encode::Error> {
    let length = bytes.len() - start - LENGTH_BYTES;
    let length = u32::try_from(length).map_err(|error| {
        rmp_serde::encode::Error::Syntax(format!("the message is too long: {error}"))
    })?;
    bytes[start..][..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// A result that is a map, encoded entry by entry.
#[derive(Debug)]
pub(super) struct ReturnedMap {
    bytes: BytesMut,
    /// The position of the number of entries.
    count_at: usize,
    pub(super) count: u32,
}

impl ReturnedMap {
    pub(super) fn new(cid: &str) -> Result<Self, rmp_serde::encode::Error> {
        let mut bytes = BytesMut::new();
        let pld = BTreeMap::<&str, ()>::new();
        encode(&Message::Return { cid, pld }, &mut bytes)?;
        // The empty map is the last byte.
        bytes.truncate(bytes.len() - 1);
        bytes.put_u8(Marker::Map32.to_u8());
        let count_at = bytes.len();
        bytes.put_u32(0);
        Ok(Self { bytes, count_at, count: 0 })
    }

    pub(super) fn insert(
        &mut self,
        key: &str,
        value: &impl Serialize,
    ) -> Result<(), rmp_serde::encode::Error> {
        rmp_serde::encode::write_named(&mut (&mut self.bytes).writer(), key)?;
        rmp_serde::encode::write_named(&mut (&mut self.bytes).writer(), value)?;
        self.count += 1;
        Ok(())
    }

    /// Returns how much memory it takes.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    pub(super) fn encoded_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the whole message.
    pub(super) fn finish(mut self) -> Result<BytesMut, rmp_serde::encode::Error> {
        self.bytes[self.count_at..][..size_of::<u32>()].copy_from_slice(&self.count.to_be_bytes());
        set_length(&mut self.bytes, 0)?;
        Ok(self.bytes)
    }
}

/// Decodes a value.
pub(super) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Error> {
    let mut deserializer = Deserializer::from_read_ref(bytes);
    deserializer.set_max_depth(DEPTH_MAX);
    T::deserialize(&mut deserializer)
}

/// Tells whether a MessagePack map begins with a byte.
pub(super) fn is_map(marker: u8) -> bool {
    matches!(marker, 0x80..=0x8f | 0xde | 0xdf)
}

/// The deepest nesting of a message. Each level takes some room on the stack, which a peer must not
/// exhaust; messages to a registrar have five, and few results have ten.
const DEPTH_MAX: usize = 64;

/// The bytes of the length before a message.
pub(super) const LENGTH_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    /// The golden file has a name, a colon and the bytes of a frame on each line.
    #[test]
    fn the_worked_frames_are_made_to_the_byte() {
        let golden = include_str!("../../tests/frames.txt");
        let mut frames = golden.lines().filter(|it| !it.starts_with('#')).map(|line| {
            let (name, hex) = line.split_once(": ").unwrap();
            let pairs = hex.as_bytes().chunks(2).map(|it| std::str::from_utf8(it).unwrap());
            (name, pairs.map(|it| u8::from_str_radix(it, 16).unwrap()).collect::<Vec<_>>())
        });
        let mut check = |expected: &str, bytes: BytesMut| {
            let (name, golden) = frames.next().unwrap();
            assert_eq!(name, expected);
            assert_eq!(bytes, golden, "{name}");
        };
        fn of<P: Serialize>(message: Message<'_, P>) -> BytesMut {
            let mut bytes = BytesMut::new();
            encode(&message, &mut bytes).unwrap();
            bytes
        }

        let aid = Aid::new("registry-probe".to_owned(), "u".to_owned(), None);
        let aid = Aid { pid: Some(7), is_probe: true, ..aid };
        check("Aid", of(BareMessage::Aid(&aid)));
        #[derive(Serialize)]
        struct Kwargs {
            uid: (&'static str, &'static str),
            addr: (&'static str, u16),
        }
        let start = Message::Start {
            cid: "c",
            ns: "self",
            func: "register_actor",
            kwargs: Kwargs { uid: ("a", "u"), addr: ("127.0.0.1", 4321) },
            uid: &Uid("a".to_owned(), "u".to_owned()),
            pld_spec: "typing.Any",
        };
        check("Start", of(start));
        check("StartAck", of(BareMessage::StartAck { cid: "c", functype: "asyncfunc" }));
        check("Return nil", of(Message::Return { cid: "c", pld: () }));
        let addresses = (("127.0.0.1", 4321_u16), ("/run/user/1000/tractor", "a@7.sock"));
        check("Return addresses", of(Message::Return { cid: "c", pld: addresses }));
        check("CancelAck", of(BareMessage::CancelAck { cid: "c", pld: true }));
        // `Stop` is only read. Its bytes are those of a message with a tag and a call.
        let (name, stop) = frames.next().unwrap();
        assert_eq!(name, "Stop");
        let fields = Fields::read(&stop[LENGTH_BYTES..], &["msg_type", "cid"]).unwrap();
        let [msg_type, cid] = ["msg_type", "cid"].map(|it| fields.get::<String>(it).unwrap());
        assert_eq!((msg_type.as_str(), cid.as_str()), ("Stop", "c"));
        assert!(frames.next().is_none());
    }

    #[test]
    fn messages_are_read_in_any_order_and_width() {
        let check = |message: &[u8], expected: &Aid| {
            let fields = Fields::read(message, &["msg_type"]).unwrap();
            assert_eq!(fields.get::<String>("msg_type").unwrap(), "Aid");
            assert_eq!(decode::<Aid>(message).unwrap(), *expected);
        };
        let mut aid = Aid::new("a".to_owned(), "u".to_owned(), None);
        check(b"\x83\xa4name\xa1a\xa4uuid\xa1u\xa8msg_type\xa3Aid", &aid);
        aid.pid = Some(7);
        check(
            b"\xdf\0\0\0\x05\xdb\0\0\0\x03pid\xd3\0\0\0\0\0\0\0\x07\xa4more\x92\x01\x80\
              \xd9\x04name\xda\0\x01a\xa4uuid\xdb\0\0\0\x01u\xa8msg_type\xa3Aid",
            &aid,
        );
        assert!(Fields::read(b"\x92\xa3Aid\xa1c", &["msg_type"]).is_err());
    }
}
