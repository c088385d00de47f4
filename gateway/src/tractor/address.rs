//! Addresses as tractor programs write them, in both forms.

use std::{fmt, path::Path};

use endpoints::{Endpoint, Host, ParseEndpointError, TcpAddress, UnixAddress};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor},
};
use thiserror::Error;

use super::uid::Form;

/// An address as it was read, not yet understood: a list of texts and numbers, as a rule.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Address {
    List(Vec<AddressPart>),
    Map,
}

/// A part of an address.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum AddressPart {
    Number(i64),
    Text(String),
    Other,
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AddressVisitor)
    }
}

struct AddressVisitor;

impl<'de> Visitor<'de> for AddressVisitor {
    type Value = Address;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an address: {FORMS}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Address, A::Error> {
        let mut read = Vec::new();
        while let Some(part) = parts.next_element()? {
            read.push(part);
        }
        Ok(Address::List(read))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Address, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Address::Map)
    }
}

impl<'de> Deserialize<'de> for AddressPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PartVisitor)
    }
}

struct PartVisitor;

impl<'de> Visitor<'de> for PartVisitor {
    type Value = AddressPart;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a part of an address: a string or a number")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<AddressPart, E> {
        Ok(AddressPart::Number(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<AddressPart, E> {
        Ok(i64::try_from(number).map_or(AddressPart::Other, AddressPart::Number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<AddressPart, E> {
        Ok(AddressPart::Text(text.to_owned()))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<AddressPart, E> {
        match str::from_utf8(bytes) {
            Ok(text) => self.visit_str(text),
            Err(_) => Err(E::invalid_value(Unexpected::Bytes(bytes), &"a string in UTF-8")),
        }
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<AddressPart, E> {
        Ok(AddressPart::Other)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<AddressPart, E> {
        Ok(AddressPart::Other)
    }

    fn visit_unit<E: Error>(self) -> Result<AddressPart, E> {
        Ok(AddressPart::Other)
    }

    fn visit_none<E: Error>(self) -> Result<AddressPart, E> {
        Ok(AddressPart::Other)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, other: D) -> Result<AddressPart, D::Error> {
        IgnoredAny::deserialize(other).map(|_| AddressPart::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<AddressPart, A::Error> {
        while parts.next_element::<IgnoredAny>()?.is_some() {}
        Ok(AddressPart::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AddressPart, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(AddressPart::Other)
    }
}

impl Address {
    /// Returns the intended endpoint, and the form in which it was written.
    pub(super) fn read(&self) -> Result<(Endpoint, Form), AddressError> {
        let unix = |path: &Path| Endpoint::from_unix_path(path).map_err(AddressError::Endpoint);
        let Self::List(parts) = self else { return Err(AddressError::Kind) };
        match &parts[..] {
            [AddressPart::Text(host), AddressPart::Number(port)] => {
                Ok((tcp(host, *port)?, Form::Pairs))
            }
            [AddressPart::Text(tag), AddressPart::Text(host), AddressPart::Number(port)]
                if tag == "tcp" =>
            {
                Ok((tcp(host, *port)?, Form::Tagged))
            }
            [AddressPart::Text(tag), AddressPart::Text(path)]
                if is_unix(tag) && path.starts_with('/') =>
            {
                Ok((unix(Path::new(path))?, Form::Tagged))
            }
            [AddressPart::Text(tag), AddressPart::Text(folder), AddressPart::Text(file)]
                if is_unix(tag) =>
            {
                Ok((unix(&Path::new(folder).join(file))?, Form::Tagged))
            }
            [AddressPart::Text(folder), AddressPart::Text(file)] => {
                Ok((unix(&Path::new(folder).join(file))?, Form::Pairs))
            }
            // Another kind has another tag, or is made of other parts.
            [AddressPart::Text(tag), _, ..] if !is_unix(tag) && tag != "tcp" => {
                Err(AddressError::Kind)
            }
            parts
                if !parts.iter().any(|it| matches!(it, AddressPart::Text(_)))
                    && parts.len() > 1 =>
            {
                Err(AddressError::Kind)
            }
            _ => Err(AddressError::Shape),
        }
    }
}

fn is_unix(tag: &str) -> bool {
    matches!(tag, "unix" | "uds")
}

fn tcp(host: &str, port: i64) -> Result<Endpoint, AddressError> {
    let port = u16::try_from(port).map_err(|_| AddressError::Port(port))?;
    let endpoint = Endpoint::from_host_port(host, port).map_err(AddressError::Endpoint)?;
    match &endpoint {
        // Other programs would get it, and they accept only IP addresses.
        Endpoint::Tcp(tcp) if tcp.host.ip().is_none() => Err(AddressError::NoIp(host.to_owned())),
        _ => Ok(endpoint),
    }
}

/// Why an address cannot be used.
#[derive(Debug, Error)]
pub(super) enum AddressError {
    #[error("an address is {FORMS}")]
    Shape,
    #[error("this kind of address is not known here")]
    Kind,
    #[error("{0} is not a port")]
    Port(i64),
    #[error("`{0}` is not an IP address")]
    NoIp(String),
    #[error(transparent)]
    Endpoint(ParseEndpointError),
}

/// The ways to write an address.
const FORMS: &str = "[host, port], [folder, file], [\"tcp\", host, port] or [\"unix\", path]";

/// An address to be sent.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum AddressToSend {
    Tcp(String, u16),
    Unix(String, String),
    TaggedTcp(&'static str, String, u16),
    TaggedUnix(&'static str, String),
}

impl AddressToSend {
    /// Writes an endpoint; `None` if tractor cannot express it.
    pub(super) fn new(endpoint: &Endpoint, form: Form) -> Option<Self> {
        match (endpoint, form) {
            (Endpoint::Tcp(TcpAddress { host, port, tls: false }), form) => {
                let host = match host {
                    Host::Ip4(ip) => ip.to_string(),
                    Host::Ip6(ip) => ip.to_string(),
                    Host::Ip6Zone { .. } | Host::Dns(..) => return None,
                };
                Some(match form {
                    Form::Pairs => Self::Tcp(host, *port),
                    Form::Tagged => Self::TaggedTcp("tcp", host, *port),
                })
            }
            (Endpoint::Unix(UnixAddress::Path(path)), Form::Tagged) => {
                Some(Self::TaggedUnix("unix", path.as_str().to_owned()))
            }
            (Endpoint::Unix(UnixAddress::Path(path)), Form::Pairs) => {
                let folder = path.as_path().parent()?.to_str()?;
                let file = path.as_path().file_name()?.to_str()?;
                Some(Self::Unix(folder.to_owned(), file.to_owned()))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(parts: &[&dyn ToPart]) -> Address {
        Address::List(parts.iter().map(|it| it.to_part()).collect())
    }

    trait ToPart {
        fn to_part(&self) -> AddressPart;
    }

    impl ToPart for &str {
        fn to_part(&self) -> AddressPart {
            AddressPart::Text((*self).to_owned())
        }
    }

    impl ToPart for i64 {
        fn to_part(&self) -> AddressPart {
            AddressPart::Number(*self)
        }
    }

    #[test]
    fn both_forms_are_read_and_written_back() {
        let check = |parts: &[&dyn ToPart], endpoint: &str, form: Form, written: AddressToSend| {
            let (read, read_form) = address(parts).read().unwrap();
            assert_eq!((read.to_string().as_str(), read_form), (endpoint, form));
            assert_eq!(AddressToSend::new(&read, form), Some(written));
        };
        let tcp = |host: &str, port| AddressToSend::Tcp(host.to_owned(), port);
        check(
            &[&"127.0.0.1", &1616],
            "/ip4/127.0.0.1/tcp/1616",
            Form::Pairs,
            tcp("127.0.0.1", 1616),
        );
        check(&[&"::1", &9], "/ip6/::1/tcp/9", Form::Pairs, tcp("::1", 9));
        check(
            &[&"/run/t", &"a@7.sock"],
            "/unix/run/t/a@7.sock",
            Form::Pairs,
            AddressToSend::Unix("/run/t".to_owned(), "a@7.sock".to_owned()),
        );
        check(
            &[&"tcp", &"10.0.0.9", &7],
            "/ip4/10.0.0.9/tcp/7",
            Form::Tagged,
            AddressToSend::TaggedTcp("tcp", "10.0.0.9".to_owned(), 7),
        );
        let tagged = || AddressToSend::TaggedUnix("unix", "/run/t/a@7.sock".to_owned());
        for tag in ["unix", "uds"] {
            check(&[&tag, &"/run/t/a@7.sock"], "/unix/run/t/a@7.sock", Form::Tagged, tagged());
            check(&[&tag, &"/run/t", &"a@7.sock"], "/unix/run/t/a@7.sock", Form::Tagged, tagged());
        }
    }

    #[test]
    fn a_kind_that_is_not_known_is_told_from_a_fault() {
        let check = |address: &Address| {
            assert!(matches!(address.read(), Err(AddressError::Kind)), "{address:?}");
        };
        check(&address(&[&"udp", &"127.0.0.1", &80]));
        check(&address(&[&"quic", &"127.0.0.1", &80, &"key"]));
        check(&address(&[&4242, &7, &0]));
        check(&Address::Map);
        check(&Address::List(vec![AddressPart::Text("tipc".to_owned()), AddressPart::Other]));
        check(&Address::List(vec![AddressPart::Other, AddressPart::Other]));
    }

    #[test]
    fn every_address_is_read_or_refused_in_words() {
        let check = |json: &str, expected: Address| {
            let value: serde_json::Value = serde_json::from_str(json).unwrap();
            let packed = rmp_serde::to_vec(&value).unwrap();
            assert_eq!(rmp_serde::from_slice::<Address>(&packed).unwrap(), expected, "{json}");
        };
        let text = |it: &str| AddressPart::Text(it.to_owned());
        check(
            r#"["127.0.0.1", 80]"#,
            Address::List(vec![text("127.0.0.1"), AddressPart::Number(80)]),
        );
        check(r#"["x", -1, null, true, 1.5]"#, {
            let others = [AddressPart::Other, AddressPart::Other, AddressPart::Other];
            Address::List([text("x"), AddressPart::Number(-1)].into_iter().chain(others).collect())
        });
        check(
            r#"[["deep", [1]], {"a": [2]}, 18446744073709551615]"#,
            Address::List(vec![AddressPart::Other, AddressPart::Other, AddressPart::Other]),
        );
        check(r#"{"proto": "tipc", "node": [7]}"#, Address::Map);

        for other in ["7", "\"/run/x\"", "null", "true"] {
            let value: serde_json::Value = serde_json::from_str(other).unwrap();
            let packed = rmp_serde::to_vec(&value).unwrap();
            let error = rmp_serde::from_slice::<Address>(&packed).unwrap_err().to_string();
            assert!(error.contains("expected an address: [host, port], [folder, file]"), "{error}");
        }
    }

    #[test]
    fn other_addresses_are_refused() {
        let check = |parts: &[&dyn ToPart]| {
            assert!(address(parts).read().is_err(), "{:?}", address(parts));
        };
        check(&[]);
        check(&[&"127.0.0.1"]);
        check(&[&7]);
        check(&[&"127.0.0.1", &"80"]);
        check(&[&"localhost", &80]);
        check(&[&"127.0.0.1", &65_536]);
        check(&[&"127.0.0.1", &-1]);
        check(&[&"run", &"a.sock"]);
        check(&[&"tcp", &"127.0.0.1", &80, &80]);
        for unsaid in ["/unix/@feed", "/memory/7", "/dns/host/tcp/7", "/ip4/1.2.3.4/tcp/7/tls"] {
            assert_eq!(AddressToSend::new(&unsaid.parse().unwrap(), Form::Pairs), None);
        }
    }
}
