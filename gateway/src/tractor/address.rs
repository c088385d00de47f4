//! Addresses as tractor programs write them, in both forms.

use std::{collections::BTreeMap, path::Path};

use endpoints::{Endpoint, Host, ParseEndpointError, TcpAddress, UnixAddress};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use thiserror::Error;

use super::uid::Form;

/// An address as it was read, not yet understood: a list of texts and numbers, as a rule.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub(super) enum Address {
    List(Vec<Part>),
    Map(BTreeMap<String, IgnoredAny>),
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub(super) enum Part {
    Number(i64),
    Text(String),
    Other(IgnoredAny),
}

impl Address {
    /// Returns the endpoint that is meant, and the form in which it was written.
    pub(super) fn read(&self) -> Result<(Endpoint, Form), AddressError> {
        let unix = |path: &Path| Endpoint::from_unix_path(path).map_err(AddressError::Endpoint);
        let Self::List(parts) = self else { return Err(AddressError::Kind) };
        match &parts[..] {
            [Part::Text(host), Part::Number(port)] => Ok((tcp(host, *port)?, Form::Pairs)),
            [Part::Text(tag), Part::Text(host), Part::Number(port)] if tag == "tcp" => {
                Ok((tcp(host, *port)?, Form::Tagged))
            }
            [Part::Text(tag), Part::Text(path)] if is_unix(tag) && path.starts_with('/') => {
                Ok((unix(Path::new(path))?, Form::Tagged))
            }
            [Part::Text(tag), Part::Text(folder), Part::Text(file)] if is_unix(tag) => {
                Ok((unix(&Path::new(folder).join(file))?, Form::Tagged))
            }
            [Part::Text(folder), Part::Text(file)] => {
                Ok((unix(&Path::new(folder).join(file))?, Form::Pairs))
            }
            // Another kind has another tag, or is made of other parts.
            [Part::Text(tag), _, ..] if !is_unix(tag) && tag != "tcp" => Err(AddressError::Kind),
            parts if !parts.iter().any(|it| matches!(it, Part::Text(_))) && parts.len() > 1 => {
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
        // Other programs would be told it, and they take nothing but IP addresses.
        Endpoint::Tcp(tcp) if tcp.host.ip().is_none() => Err(AddressError::NoIp(host.to_owned())),
        _ => Ok(endpoint),
    }
}

/// Why an address cannot be used.
#[derive(Debug, Error)]
pub(super) enum AddressError {
    #[error(
        "an address is [host, port], [folder, file], [\"tcp\", host, port] or [\"unix\", path]"
    )]
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

/// An address to be sent.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Written {
    Tcp(String, u16),
    Unix(String, String),
    TaggedTcp(&'static str, String, u16),
    TaggedUnix(&'static str, String),
}

impl Written {
    /// Writes an endpoint; `None` where tractor has no word for it.
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
        fn to_part(&self) -> Part;
    }

    impl ToPart for &str {
        fn to_part(&self) -> Part {
            Part::Text((*self).to_owned())
        }
    }

    impl ToPart for i64 {
        fn to_part(&self) -> Part {
            Part::Number(*self)
        }
    }

    #[test]
    fn both_forms_are_read_and_written_back() {
        let check = |parts: &[&dyn ToPart], endpoint: &str, form: Form, written: Written| {
            let (read, read_form) = address(parts).read().unwrap();
            assert_eq!((read.to_string().as_str(), read_form), (endpoint, form));
            assert_eq!(Written::new(&read, form), Some(written));
        };
        let tcp = |host: &str, port| Written::Tcp(host.to_owned(), port);
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
            Written::Unix("/run/t".to_owned(), "a@7.sock".to_owned()),
        );
        check(
            &[&"tcp", &"10.0.0.9", &7],
            "/ip4/10.0.0.9/tcp/7",
            Form::Tagged,
            Written::TaggedTcp("tcp", "10.0.0.9".to_owned(), 7),
        );
        let tagged = || Written::TaggedUnix("unix", "/run/t/a@7.sock".to_owned());
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
        let any = || IgnoredAny;
        check(&Address::Map(BTreeMap::from([("proto".to_owned(), any())])));
        check(&Address::List(vec![Part::Text("tipc".to_owned()), Part::Other(any())]));
        check(&Address::List(vec![Part::Other(any()), Part::Other(any())]));
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
            assert_eq!(Written::new(&unsaid.parse().unwrap(), Form::Pairs), None);
        }
    }
}
