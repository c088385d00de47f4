//! The owner of a registration.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The owner of a registration, as the registrar's kernel reports it: the only one that may change
/// it. The registrant has no say in it.
///
/// Its text is its form on the wire, and the one that people read and write.
///
/// ```
/// # use callsign_wire as callsign;
/// use callsign::Owner;
///
/// assert_eq!(Owner::User(1000).to_string(), "user:1000");
/// assert_eq!("address:10.0.0.7".parse(), Ok(Owner::Address([10, 0, 0, 7].into())));
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Owner {
    /// The registrar's own settings, or a caller within its process.
    Registrar,
    /// A user of the registrar's host, by the number that the registrar's kernel has for it.
    User(u32),
    /// A user of the registrar's host without a number in its kernel; nobody can tell whether two
    /// of them are the same.
    Unknown,
    /// The peers at an address.
    Address(IpAddr),
    /// The peers in an IPv6 network, by its first 64 bits. It owns no record, only
    /// [quotas](crate::Quota), because a host has all addresses of its network.
    Network(Ipv6Addr),
    /// The holder of a certificate, by its name there: a SPIFFE ID, or a DNS name.
    Certified(String),
    /// A kind that this version does not know, as it is written.
    Other(String),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registrar => f.pad("registrar"),
            Self::User(user) => write!(f, "user:{user}"),
            Self::Unknown => f.pad("unknown"),
            Self::Address(address) => write!(f, "address:{address}"),
            Self::Network(network) => write!(f, "network:{network}/64"),
            Self::Certified(name) => write!(f, "tls:{name}"),
            Self::Other(text) => f.pad(text),
        }
    }
}

impl FromStr for Owner {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = match text.split_once(':') {
            None if text == "registrar" => Some(Self::Registrar),
            None if text == "unknown" => Some(Self::Unknown),
            Some(("user", number)) => number.parse().ok().map(Self::User),
            Some(("tls", name)) => (!name.is_empty()).then(|| Self::Certified(name.to_owned())),
            Some(("address", address)) => address.parse().ok().map(Self::Address),
            Some(("network", network)) => {
                network.strip_suffix("/64").and_then(|it| it.parse().ok()).map(Self::Network)
            }
            _ => None,
        };
        Ok(known.unwrap_or_else(|| Self::Other(text.to_owned())))
    }
}

impl Serialize for Owner {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Owner {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Ok(owner) = std::borrow::Cow::<'_, str>::deserialize(from)?.parse();
        Ok(owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_reads_as_it_is_written() {
        for text in [
            "registrar",
            "unknown",
            "user:0",
            "user:4294967295",
            "address:10.0.0.7",
            "address:fe80::1",
            "tls:spiffe://market/feed",
            "tls:feed.example",
            "tls:",
            "badge:feed",
            "user:-1",
            "address:nowhere",
            "network:2001:db8::/64",
            "network:2001:db8::/48",
            "",
        ] {
            let owner: Owner = text.parse().unwrap();
            assert_eq!(owner.to_string(), text);
            let is_known = !matches!(owner, Owner::Other(_));
            let is_whole = !matches!(
                text,
                "user:-1" | "address:nowhere" | "network:2001:db8::/48" | "tls:" | ""
            );
            assert_eq!(is_known, is_whole && !text.starts_with("badge"), "{text}");
        }
    }
}
