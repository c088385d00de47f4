//! Endpoint tables as they are written, and what may be wrong with them.

mod shape;

use std::{collections::HashSet, fmt, mem};

use serde::Serialize;
use thiserror::Error;

use crate::{Endpoint, EndpointTable, Name, NameError, ParseEndpointError, error::Quoted};

/// Reads a table of actors and their endpoints.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::{Written, parse_endpoints};
///
/// let table = parse_endpoints([
///     ("feed", Written::from_iter(["/unix/run/feed.sock", "/ip4/0.0.0.0/tcp/5555"])),
///     ("chart", Written::from("/unix/@chart")),
///     ("broker", Written::from(("10.0.0.7", 5556))),
/// ])?;
/// assert_eq!(table.get("feed").map(<[_]>::len), Some(2));
/// # Ok::<(), endpoints::TableErrors>(())
/// ```
///
/// # Errors
///
/// [`TableErrors`] with every fault of the table, not only the first.
pub fn parse_endpoints<N: AsRef<str>>(
    written: impl IntoIterator<Item = (N, Written)>,
) -> Result<EndpointTable, TableErrors> {
    let mut table = EndpointTable::default();
    let mut errors = Vec::new();
    let mut names = HashSet::new();
    for (name, endpoints) in written {
        let actor = name.as_ref();
        let mut fail = |index, fault| {
            errors.push(TableError { actor: actor.to_owned(), index, fault });
        };
        if !names.insert(actor.to_owned()) {
            fail(None, TableFault::DuplicateName);
        }
        let name = Name::new(actor).map_err(|error| fail(None, error.into()));
        let mut read = Vec::new();
        for (index, endpoint) in endpoints.into_endpoints().iter().enumerate() {
            match endpoint.read() {
                Ok(endpoint) => read.push(endpoint),
                Err(fault) => fail(Some(index), fault),
            }
        }
        if let Ok(name) = name {
            table.insert(name, read);
        }
    }
    if errors.is_empty() { Ok(table) } else { Err(TableErrors(errors)) }
}

/// The endpoints of one actor, as they may be written in a table.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::Written;
///
/// let one = Written::from("/unix/run/feed.sock");
/// let several = Written::from_iter(["/unix/run/feed.sock", "/ip4/0.0.0.0/tcp/5555"]);
/// assert_eq!((one.into_endpoints().len(), several.into_endpoints().len()), (1, 2));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Written {
    /// A multiaddr.
    One(String),
    /// A `[host, port]` pair.
    Pair(String, i64),
    /// Any number of either.
    Many(Vec<WrittenEndpoint>),
}

impl Written {
    /// Returns the endpoints, one by one.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Written;
    ///
    /// let written = Written::from(("127.0.0.1", 80)).into_endpoints();
    /// assert_eq!(written[0].read()?, "/ip4/127.0.0.1/tcp/80".parse()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_endpoints(self) -> Vec<WrittenEndpoint> {
        match self {
            Self::One(text) => vec![WrittenEndpoint::Text(text)],
            Self::Pair(host, port) => vec![WrittenEndpoint::Pair(host, port)],
            Self::Many(mut endpoints) => match endpoints.as_mut_slice() {
                // A pair whose port is a string looks like a list of two multiaddrs.
                [WrittenEndpoint::Text(first), WrittenEndpoint::Text(second)]
                    if !first.starts_with('/')
                        && !second.starts_with('/')
                        && (is_number(first) || is_number(second)) =>
                {
                    vec![WrittenEndpoint::TextPair(mem::take(first), mem::take(second))]
                }
                _ => endpoints,
            },
        }
    }
}

impl From<&str> for Written {
    fn from(text: &str) -> Self {
        Self::One(text.to_owned())
    }
}

impl From<(&str, u16)> for Written {
    fn from((host, port): (&str, u16)) -> Self {
        Self::Pair(host.to_owned(), port.into())
    }
}

impl<T: Into<WrittenEndpoint>> FromIterator<T> for Written {
    fn from_iter<I: IntoIterator<Item = T>>(endpoints: I) -> Self {
        Self::Many(endpoints.into_iter().map(Into::into).collect())
    }
}

/// An endpoint as it may be written in a table.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::WrittenEndpoint;
///
/// let endpoint = WrittenEndpoint::from(("127.0.0.1", 5555)).read()?;
/// assert_eq!(endpoint.to_string(), "/ip4/127.0.0.1/tcp/5555");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum WrittenEndpoint {
    /// A multiaddr.
    Text(String),
    /// A `[host, port]` pair.
    Pair(String, i64),
    /// A pair whose second part is a string. It is never correct; it is parsed to say so.
    TextPair(String, String),
}

impl WrittenEndpoint {
    /// Reads the endpoint.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::WrittenEndpoint;
    ///
    /// let error = WrittenEndpoint::Pair("db".to_owned(), 70000).read().unwrap_err();
    /// assert_eq!(error.to_string(), "70000 is not a port (0 to 65535)");
    /// ```
    ///
    /// # Errors
    ///
    /// [`TableFault`] with the fault.
    pub fn read(&self) -> Result<Endpoint, TableFault> {
        match self {
            Self::Text(text) => Ok(text.parse()?),
            Self::Pair(host, port) => {
                let port = u16::try_from(*port).map_err(|_| TableFault::Port(*port))?;
                Ok(Endpoint::from_host_port(host, port)?)
            }
            Self::TextPair(host, port) if is_number(port) => {
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

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit())
}

/// Every fault of a table.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::{Written, parse_endpoints};
///
/// let table = [("feed", Written::from("/udp/1")), ("chart", Written::from("chart.sock"))];
/// let errors = parse_endpoints(table).unwrap_err();
/// assert_eq!(errors.0.len(), 2, "all are told");
/// ```
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

/// A fault of a table, and its place.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::{Written, parse_endpoints};
///
/// let errors = parse_endpoints([("feed", Written::from("/udp/1"))]).unwrap_err();
/// let error = &errors.0[0];
/// assert_eq!((error.actor.as_str(), error.index), ("feed", Some(0)));
/// ```
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub struct TableError {
    /// The actor, as written.
    pub actor: String,
    /// The index of the endpoint, from 0; `None` if the actor's name is at fault.
    pub index: Option<usize>,
    /// The fault.
    #[source]
    pub fault: TableFault,
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            // People count from one.
            Some(index) => {
                write!(f, "endpoint {} of actor {}", index + 1, Quoted(&self.actor))
            }
            None => write!(f, "actor {}", Quoted(&self.actor)),
        }
    }
}

/// The fault of an entry of a table.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::WrittenEndpoint;
///
/// let fault = WrittenEndpoint::from("h:80").read().unwrap_err();
/// assert_eq!(fault.help().as_deref(), Some("did you mean `/dns/h/tcp/80`?"));
/// ```
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum TableFault {
    /// The actor's name is invalid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The text is not an endpoint.
    #[error(transparent)]
    Endpoint(#[from] ParseEndpointError),
    /// The number is not a port.
    #[error("{0} is not a port (0 to 65535)")]
    Port(i64),
    /// The name appears twice in the table.
    #[error("its name appears twice")]
    DuplicateName,
    /// The port is a string.
    #[error("the port in [{host:?}, {port:?}] is a string, not a number")]
    NumericString {
        /// The first part.
        host: String,
        /// The second part.
        port: String,
    },
    /// The pair is neither a host and a port nor anything else.
    #[error("[{first:?}, {second:?}] is not a [host, port] pair")]
    TwoTexts {
        /// The first part.
        first: String,
        /// The second part.
        second: String,
    },
}

impl TableFault {
    /// Returns a correction, if one can be guessed.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::WrittenEndpoint;
    ///
    /// let written = WrittenEndpoint::TextPair("10.0.0.7".to_owned(), "80".to_owned());
    /// let fault = written.read().unwrap_err();
    /// assert_eq!(fault.help().as_deref(), Some(r#"write it without quotes: ["10.0.0.7", 80]"#));
    /// ```
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Name(error) => Some(error.help().to_owned()),
            Self::Endpoint(error) => error.help(),
            Self::NumericString { host, port } => as_pair(host, port, "write it without quotes"),
            Self::TwoTexts { first, second } if is_number(first) && !second.starts_with('/') => {
                as_pair(second, first, "the host comes first, and the port without quotes")
            }
            Self::TwoTexts { first, .. } if Endpoint::from_host_port(first, 0).is_ok() => {
                Some("the port is a number, without quotes".to_owned())
            }
            Self::TwoTexts { .. } => {
                Some("a Unix socket is written as a multiaddr: \"/unix/<path>\"".to_owned())
            }
            Self::Port(_) | Self::DuplicateName => None,
        }
    }
}

/// Describes how to write a host and a port.
fn as_pair(host: &str, port: &str, how: &str) -> Option<String> {
    let port = port.parse::<u16>().ok()?;
    match Endpoint::from_host_port(host, port) {
        Ok(_) => Some(format!("{how}: [{host:?}, {port}]")),
        Err(error) => error.help(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Reads a table from JSON, which has the same shapes as TOML.
    fn table(json: &str) -> Result<EndpointTable, TableErrors> {
        parse_endpoints(serde_json::from_str::<BTreeMap<String, Written>>(json).unwrap())
    }

    #[test]
    fn every_spelling_is_read_and_what_is_empty_is_kept() {
        let check = |json: &str, expected: &str| {
            let read = table(json).unwrap_or_else(|errors| panic!("{json}: {errors}"));
            assert_eq!(serde_json::to_string(&read).unwrap(), expected);
        };
        check("{}", "{}");
        check(r#"{"a":[]}"#, r#"{"a":[]}"#);
        check(r#"{"a":"/unix/@a"}"#, r#"{"a":["/unix/@a"]}"#);
        check(r#"{"a":["/unix/@a"]}"#, r#"{"a":["/unix/@a"]}"#);
        check(r#"{"a":["10.0.0.1",80]}"#, r#"{"a":["/ip4/10.0.0.1/tcp/80"]}"#);
        check(
            r#"{"b":[["::1",80],"/memory/7",["Host",0]],"a":[["10.0.0.1",80]]}"#,
            r#"{"a":["/ip4/10.0.0.1/tcp/80"],"b":["/ip6/::1/tcp/80","/memory/7","/dns/host/tcp/0"]}"#,
        );
        // Written three times, bound once.
        check(
            r#"{"a":["/unix/run/x","/unix/%2Frun%2Fx",["::1",8],"/ip6/0::1/tcp/8"]}"#,
            r#"{"a":["/unix/run/x","/ip6/::1/tcp/8"]}"#,
        );
    }

    #[test]
    fn every_fault_is_told() {
        let check = |json: &str, expected: &str| {
            assert_eq!(table(json).unwrap_err().to_string(), expected, "{json}");
        };
        check(
            r#"{"a":["/udp/1",["h",70000],["h","80"]],"b c":"x"}"#,
            "endpoint 1 of actor `a`: unsupported protocol `udp` in `/udp/1`; \
             endpoint 2 of actor `a`: 70000 is not a port (0 to 65535); \
             endpoint 3 of actor `a`: the port in [\"h\", \"80\"] is a string, not a number; \
             actor `b c`: a name cannot have a space in it, as `b c` has at character 2; \
             endpoint 1 of actor `b c`: no `/` at the beginning of `x`",
        );
        check(
            r#"{"a":["127.0.0.1","80"]}"#,
            "endpoint 1 of actor `a`: the port in [\"127.0.0.1\", \"80\"] is a string, not a number",
        );
        check(
            r#"{"a":[["/run","x.sock"]]}"#,
            "endpoint 1 of actor `a`: [\"/run\", \"x.sock\"] is not a [host, port] pair",
        );
        let twice = [("a", Written::from("/memory/1")), ("a", Written::from("/memory/2"))];
        let errors = parse_endpoints(twice).unwrap_err();
        assert_eq!(errors.to_string(), "actor `a`: its name appears twice");
    }

    #[test]
    fn values_of_other_types_are_refused_in_words() {
        let check = |json: &str, expected: &str| {
            let error = serde_json::from_str::<Written>(json).unwrap_err().to_string();
            let (error, _place) = error.rsplit_once(" at line").unwrap();
            assert_eq!(error, expected, "{json}");
        };
        let any = "expected a multiaddr, a [host, port] pair, or a list of them";
        check("7", &format!("invalid type: integer `7`, {any}"));
        check("{}", &format!("invalid type: map, {any}"));
        check("null", &format!("invalid type: null, {any}"));
        let one = "expected a multiaddr or a [host, port] pair";
        check("[80]", &format!("invalid type: integer `80`, {one}"));
        check(r#"["a", true]"#, &format!("invalid type: boolean `true`, {one}"));
        check(r#"["h", 1, 2]"#, &format!("invalid type: integer `1`, {one}"));
        check(r#"[["h"]]"#, &format!("invalid length 1, {one}"));
        check(r#"[["h", 1, 2]]"#, &format!("invalid length 3, {one}"));
        let port = "expected a port, as the second part of a [host, port] pair";
        check(r#"[["h", null]]"#, &format!("invalid type: null, {port}"));
    }

    #[test]
    fn help_says_what_to_write() {
        let check = |written: WrittenEndpoint, expected: Option<&str>| {
            assert_eq!(written.read().unwrap_err().help().as_deref(), expected);
        };
        let texts = |a: &str, b: &str| WrittenEndpoint::TextPair(a.to_owned(), b.to_owned());
        check(texts("h", "80"), Some("write it without quotes: [\"h\", 80]"));
        check(texts("h", "99999"), None);
        let turned = "the host comes first, and the port without quotes: [\"h\", 80]";
        check(texts("80", "h"), Some(turned));
        check(
            texts("/run", "x"),
            Some("a Unix socket is written as a multiaddr: \"/unix/<path>\""),
        );
        check(texts("h", "http"), Some("the port is a number, without quotes"));
        let zoned = "did you mean `/ip6zone/eth0/ip6/fe80::1/tcp/80`?";
        check(texts("fe80::1%eth0", "80"), Some(zoned));
        check(("fe80::1%eth0", 80).into(), Some(zoned));
        check("h:80".into(), Some("did you mean `/dns/h/tcp/80`?"));
    }
}
