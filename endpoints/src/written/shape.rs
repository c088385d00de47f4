//! The shapes in which endpoints stand in a file, and the words for what has none of them.
//!
//! serde tries the variants of an untagged enum in turn, and says only that none fits.

use std::{fmt, mem};

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, SeqAccess, Unexpected, Visitor},
};

use super::{Written, WrittenEndpoint};

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WrittenVisitor)
    }
}

impl<'de> Deserialize<'de> for WrittenEndpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EndpointVisitor)
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
        while let Some(part) = parts.next_element()? {
            list.push(part);
        }
        Ok(match list.as_mut_slice() {
            [Part::Endpoint(WrittenEndpoint::Text(host)), Part::Port(port)] => {
                Written::Pair(mem::take(host), *port)
            }
            _ => Written::Many(list.into_iter().map(Part::endpoint).collect::<Result<_, _>>()?),
        })
    }
}

/// What may stand in a list: an endpoint, or the port of the host before it.
enum Part {
    Endpoint(WrittenEndpoint),
    Port(i64),
}

impl Part {
    fn endpoint<E: de::Error>(self) -> Result<WrittenEndpoint, E> {
        match self {
            Self::Endpoint(endpoint) => Ok(endpoint),
            Self::Port(port) => Err(E::invalid_type(Unexpected::Signed(port), &EndpointVisitor)),
        }
    }
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PartVisitor)
    }
}

struct PartVisitor;

impl<'de> Visitor<'de> for PartVisitor {
    type Value = Part;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        EndpointVisitor.expecting(f)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Part, E> {
        EndpointVisitor.visit_str(text).map(Part::Endpoint)
    }

    fn visit_i64<E: de::Error>(self, port: i64) -> Result<Part, E> {
        Ok(Part::Port(port))
    }

    fn visit_u64<E: de::Error>(self, port: u64) -> Result<Part, E> {
        // Beyond that it is no port either way, and is told as one that is out of bounds.
        Ok(Part::Port(i64::try_from(port).unwrap_or(i64::MAX)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, parts: A) -> Result<Part, A::Error> {
        EndpointVisitor.visit_seq(parts).map(Part::Endpoint)
    }
}

struct EndpointVisitor;

impl<'de> Visitor<'de> for EndpointVisitor {
    type Value = WrittenEndpoint;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a multiaddr or a [host, port] pair")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<WrittenEndpoint, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<WrittenEndpoint, A::Error> {
        let missing = |length| de::Error::invalid_length(length, &self);
        let host = parts.next_element::<String>()?.ok_or_else(|| missing(0))?;
        let port = parts.next_element::<PortText>()?.ok_or_else(|| missing(1))?;
        let mut length = 2;
        while parts.next_element::<IgnoredAny>()?.is_some() {
            length += 1;
        }
        if length > 2 {
            return Err(missing(length));
        }
        Ok(match port {
            PortText::Number(port) => WrittenEndpoint::Pair(host, port),
            PortText::Text(port) => WrittenEndpoint::TextPair(host, port),
        })
    }
}

/// A port, or a text in its place.
enum PortText {
    Number(i64),
    Text(String),
}

impl<'de> Deserialize<'de> for PortText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PortVisitor;

        impl Visitor<'_> for PortVisitor {
            type Value = PortText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port, as the second part of a [host, port] pair")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<PortText, E> {
                Ok(PortText::Text(text.to_owned()))
            }

            fn visit_i64<E: de::Error>(self, port: i64) -> Result<PortText, E> {
                Ok(PortText::Number(port))
            }

            fn visit_u64<E: de::Error>(self, port: u64) -> Result<PortText, E> {
                Ok(PortText::Number(i64::try_from(port).unwrap_or(i64::MAX)))
            }
        }

        deserializer.deserialize_any(PortVisitor)
    }
}
