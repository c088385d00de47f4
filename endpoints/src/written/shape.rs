//! The shapes in which endpoints may be written, and the errors for anything else.
//!
//! serde tries the variants of an untagged enum in turn, and reports only that none fits.

use std::{fmt, mem};

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, IgnoredAny, SeqAccess, Unexpected, Visitor},
};

use super::{Written, WrittenEndpoint};

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WrittenVisitor)
    }
}

impl<'de> Deserialize<'de> for WrittenEndpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ENDPOINT.deserialize(deserializer)?.endpoint()
    }
}

struct WrittenVisitor;

impl<'de> Visitor<'de> for WrittenVisitor {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a multiaddr, a [host, port] pair, or a list of them")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Written, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Written, A::Error> {
        let mut list = Vec::new();
        while let Some(part) = parts.next_element_seed(IN_LIST)? {
            list.push(part);
        }
        Ok(match list.as_mut_slice() {
            [ListElement::Text(host), ListElement::Port(port)] => {
                Written::Pair(mem::take(host), *port)
            }
            _ => Written::Many(
                list.into_iter().map(ListElement::endpoint).collect::<Result<_, _>>()?,
            ),
        })
    }
}

/// An element of a list or a pair.
enum ListElement {
    Text(String),
    Port(i64),
    Pair(WrittenEndpoint),
}

impl ListElement {
    fn endpoint<E: de::Error>(self) -> Result<WrittenEndpoint, E> {
        match self {
            Self::Text(text) => Ok(WrittenEndpoint::Text(text)),
            Self::Pair(pair) => Ok(pair),
            Self::Port(port) => Err(E::invalid_type(Unexpected::Signed(port), &ENDPOINT)),
        }
    }
}

/// The parts allowed at a place besides a string, with the text that names what is expected there.
#[derive(Clone, Copy)]
struct Shape {
    expected: &'static str,
    takes_ports: bool,
    takes_pairs: bool,
}

const ENDPOINT: Shape =
    Shape { expected: "a multiaddr or a [host, port] pair", takes_ports: false, takes_pairs: true };

/// An endpoint, or the port of the host before it.
const IN_LIST: Shape = Shape { takes_ports: true, ..ENDPOINT };

/// A port, or a string in its place.
const PORT: Shape = Shape {
    expected: "a port, as the second part of a [host, port] pair",
    takes_ports: true,
    takes_pairs: false,
};

impl<'de> DeserializeSeed<'de> for Shape {
    type Value = ListElement;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<ListElement, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Shape {
    type Value = ListElement;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ListElement, E> {
        Ok(ListElement::Text(text.to_owned()))
    }

    fn visit_i64<E: de::Error>(self, port: i64) -> Result<ListElement, E> {
        if self.takes_ports {
            Ok(ListElement::Port(port))
        } else {
            Err(E::invalid_type(Unexpected::Signed(port), &self))
        }
    }

    fn visit_u64<E: de::Error>(self, port: u64) -> Result<ListElement, E> {
        // A larger number is not a port either way, and is reported as out of bounds.
        self.visit_i64(i64::try_from(port).unwrap_or(i64::MAX))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<ListElement, A::Error> {
        if !self.takes_pairs {
            return Err(de::Error::invalid_type(Unexpected::Seq, &self));
        }
        let missing = |length| de::Error::invalid_length(length, &ENDPOINT);
        let host = parts.next_element::<String>()?.ok_or_else(|| missing(0))?;
        let port = parts.next_element_seed(PORT)?.ok_or_else(|| missing(1))?;
        let mut length = 2;
        while parts.next_element::<IgnoredAny>()?.is_some() {
            length += 1;
        }
        if length > 2 {
            return Err(missing(length));
        }
        Ok(ListElement::Pair(match port {
            ListElement::Port(port) => WrittenEndpoint::Pair(host, port),
            ListElement::Text(port) => WrittenEndpoint::TextPair(host, port),
            ListElement::Pair(pair) => pair,
        }))
    }
}
