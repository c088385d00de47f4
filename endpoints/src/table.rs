//! The endpoint table: which actor listens where.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Endpoint, Host, Name, NameError, ParseEndpointError, TcpAddress};

/// Which actor listens where, in the order in which it was written. No actor has an endpoint
/// twice; an actor may have none.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct EndpointTable(BTreeMap<Name, Vec<Endpoint>>);

impl EndpointTable {
    /// Returns the endpoints of an actor, or `None` if the table does not name it.
    pub fn get(&self, name: &str) -> Option<&[Endpoint]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// Adds endpoints to those of an actor. One that it has already is not added again, however
    /// it is spelled.
    pub fn insert(&mut self, name: Name, endpoints: impl IntoIterator<Item = Endpoint>) {
        let own = self.0.entry(name).or_default();
        for endpoint in endpoints {
            if !own.contains(&endpoint) {
                own.push(endpoint);
            }
        }
    }

    /// Goes through the actors, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &[Endpoint])> {
        self.0.iter().map(|(name, endpoints)| (name, endpoints.as_slice()))
    }

    /// Returns how many actors the table names.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether the table names no actor.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the pairs of actors that cannot both have what the table gives them: the very
    /// same endpoint, or a port that one binds on every address and the other on one.
    pub fn conflicts(&self) -> Vec<Conflict> {
        let claims: Vec<_> = self
            .iter()
            .flat_map(|(name, endpoints)| endpoints.iter().map(move |it| (name, it)))
            .collect();
        let mut conflicts = Vec::new();
        for (at, (first, kept)) in claims.iter().enumerate() {
            for (second, claimed) in &claims[at + 1..] {
                if first != second && kept.conflicts_with(claimed) {
                    conflicts.push(Conflict {
                        first: ((*first).clone(), (*kept).clone()),
                        second: ((*second).clone(), (*claimed).clone()),
                    });
                }
            }
        }
        conflicts
    }
}

/// Two actors that claim the same place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Conflict {
    /// The actor that comes first by name, and its claim.
    pub first: (Name, Endpoint),
    /// The other actor, and its claim.
    pub second: (Name, Endpoint),
}

impl Endpoint {
    /// Tells whether one process binding `self` keeps another from binding `other`.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(own), Self::Tcp(theirs)) => {
                own.port != 0 && own.port == theirs.port && hosts_overlap(own, theirs)
            }
            _ => self == other && !self.is_bind_only(),
        }
    }
}

fn hosts_overlap(own: &TcpAddress, theirs: &TcpAddress) -> bool {
    let covers = |wildcard: &Host, other: &Host| match (wildcard, other) {
        // `::` takes IPv4 too (net.ipv6.bindv6only is 0 by default).
        (Host::Ip6(ip), Host::Ip4(_) | Host::Ip6(_) | Host::Ip6Zone { .. }) => ip.is_unspecified(),
        (Host::Ip4(ip), Host::Ip4(_)) => ip.is_unspecified(),
        _ => false,
    };
    own.host == theirs.host || covers(&own.host, &theirs.host) || covers(&theirs.host, &own.host)
}

/// The endpoints of one actor, as they may be written in a table.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Written {
    /// One multiaddr.
    One(String),
    /// Any number of them.
    Many(Vec<WrittenEndpoint>),
}

impl From<&str> for Written {
    fn from(text: &str) -> Self {
        Self::One(text.to_owned())
    }
}

impl<T: Into<WrittenEndpoint>> FromIterator<T> for Written {
    fn from_iter<I: IntoIterator<Item = T>>(endpoints: I) -> Self {
        Self::Many(endpoints.into_iter().map(Into::into).collect())
    }
}

/// One endpoint, as it may be written in a table.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum WrittenEndpoint {
    /// A multiaddr.
    Text(String),
    /// A `[host, port]` pair.
    Pair(String, i64),
    /// A pair whose second part is a text. It is never right; it is read to say so.
    TextPair(String, String),
}

impl WrittenEndpoint {
    /// Reads the endpoint.
    ///
    /// # Errors
    ///
    /// [`TableFault`] says what is wrong with it.
    pub fn read(&self) -> Result<Endpoint, TableFault> {
        match self {
            Self::Text(text) => Ok(text.parse()?),
            Self::Pair(host, port) => {
                let port = u16::try_from(*port).map_err(|_| TableFault::Port(*port))?;
                Ok(Endpoint::from_host_port(host, port)?)
            }
            Self::TextPair(host, port) if port.parse::<u16>().is_ok() => {
                Err(TableFault::NumericString { host: host.clone(), port: port.clone() })
            }
            Self::TextPair(first, second) => {
                Err(TableFault::TwoTexts { first: first.clone(), second: second.clone() })
            }
        }
    }
}

impl From<&str> for WrittenEndpoint {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<(&str, u16)> for WrittenEndpoint {
    fn from((host, port): (&str, u16)) -> Self {
        Self::Pair(host.to_owned(), port.into())
    }
}

/// Reads a table of actors and their endpoints.
///
/// ```
/// use endpoints::{Written, parse_endpoints};
///
/// let table = parse_endpoints([
///     ("feed", Written::from_iter(["/unix/run/feed.sock", "/ip4/0.0.0.0/tcp/5555"])),
///     ("chart", Written::from("/unix/@chart")),
/// ])?;
/// assert_eq!(table.get("feed").map(<[_]>::len), Some(2));
/// # Ok::<(), endpoints::TableErrors>(())
/// ```
///
/// # Errors
///
/// [`TableErrors`] holds every fault of the table, not the first alone.
pub fn parse_endpoints<N: AsRef<str>>(
    written: impl IntoIterator<Item = (N, Written)>,
) -> Result<EndpointTable, TableErrors> {
    let mut table = EndpointTable::default();
    let mut errors = Vec::new();
    for (name, endpoints) in written {
        let actor = name.as_ref();
        let mut fail = |index, fault| {
            errors.push(TableError { actor: actor.to_owned(), index, fault });
        };
        let endpoints = match endpoints {
            Written::One(text) => vec![WrittenEndpoint::Text(text)],
            Written::Many(endpoints) => endpoints,
        };
        let mut read = Vec::with_capacity(endpoints.len());
        for (index, endpoint) in endpoints.iter().enumerate() {
            match endpoint.read() {
                Ok(endpoint) => read.push(endpoint),
                Err(fault) => fail(Some(index), fault),
            }
        }
        match Name::new(actor) {
            Ok(name) => table.insert(name, read),
            Err(error) => fail(None, error.into()),
        }
    }
    if errors.is_empty() { Ok(table) } else { Err(TableErrors(errors)) }
}

/// Every fault of a table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TableErrors(pub Vec<TableError>);

impl std::error::Error for TableErrors {}

impl fmt::Display for TableErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{error}")?;
            if let Some(source) = std::error::Error::source(error) {
                write!(f, ": {source}")?;
            }
        }
        Ok(())
    }
}

/// One fault of a table, and where it stands.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub struct TableError {
    /// The actor, as written.
    pub actor: String,
    /// Which of its endpoints, from 0; `None` if the actor's name itself is at fault.
    pub index: Option<usize>,
    /// What is wrong.
    #[source]
    pub fault: TableFault,
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "endpoint {index} of actor {:?}", self.actor),
            None => write!(f, "actor {:?}", self.actor),
        }
    }
}

/// What is wrong with an entry of a table.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum TableFault {
    /// The actor's name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The text is no endpoint.
    #[error(transparent)]
    Endpoint(#[from] ParseEndpointError),
    /// The number is no port.
    #[error("{0} is not a port (0 to 65535)")]
    Port(i64),
    /// The port is written as a text.
    #[error("the port of [{host:?}, {port:?}] is a text; write the number: [{host:?}, {port}]")]
    NumericString {
        /// The first part.
        host: String,
        /// The second part.
        port: String,
    },
    /// The pair is neither a host and a port nor anything else.
    #[error(
        "[{first:?}, {second:?}] is no [host, port] pair; \
         write a Unix socket as a multiaddr: \"/unix/<path>\""
    )]
    TwoTexts {
        /// The first part.
        first: String,
        /// The second part.
        second: String,
    },
}
