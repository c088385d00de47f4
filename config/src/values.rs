//! Single values: text to an endpoint, a duration, a number. Faults go into `diagnostics`.

use std::{
    fmt::Display,
    net::{Ipv4Addr, Ipv6Addr},
    ops::Range,
    time::Duration,
};

use endpoints::{Endpoint, Host, ParseEndpointError, Quoted, TableFault, TcpAddress};
use humantime::{DurationError, format_duration, parse_duration};

use crate::{
    diagnostic::{Diagnostic, Place},
    keys::Limits,
    text::{Number, Text},
    written::WrittenEndpoint,
};

/// The endpoints that a setting accepts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Use {
    /// Endpoints that an actor binds: all.
    Actor,
    /// Endpoints that a registrar binds: those that other processes can dial.
    Registrar,
    /// Endpoints that are published as written: those that others can dial.
    Declared,
    /// Endpoints that this process dials.
    Dialed,
}

impl Use {
    /// Returns which endpoints a table takes.
    pub(crate) fn of_table(table: &str) -> Self {
        match table {
            "registrar" => Self::Registrar,
            "declared" => Self::Declared,
            _ => Self::Actor,
        }
    }

    pub(crate) fn takes(self, endpoint: &Endpoint) -> bool {
        match self {
            Self::Actor => true,
            Self::Registrar => !matches!(endpoint, Endpoint::Memory(_)) && !is_encrypted(endpoint),
            Self::Declared => !matches!(endpoint, Endpoint::Memory(_)) && !endpoint.is_bind_only(),
            Self::Dialed => Self::Declared.takes(endpoint) && !is_encrypted(endpoint),
        }
    }

    /// Returns a correction for a string that is not an endpoint.
    fn help(self, error: &ParseEndpointError) -> Option<String> {
        let port = match self {
            Self::Actor | Self::Declared => EXAMPLE_PORT,
            Self::Registrar | Self::Dialed => DEFAULT_PORT,
        };
        error.help_for(port, |endpoint| match self {
            Self::Dialed => seen_from_here(&endpoint).filter(|it| self.takes(it)),
            _ => Some(endpoint).filter(|it| self.takes(it)),
        })
    }
}

/// Tells whether an endpoint takes TLS, which this version does not speak.
fn is_encrypted(endpoint: &Endpoint) -> bool {
    matches!(endpoint, Endpoint::Tcp(TcpAddress { tls: true, .. }))
}

/// A port for examples, above those of well-known services.
const EXAMPLE_PORT: u16 = 5555;

/// The port of a registrar, where nothing else is said.
pub const DEFAULT_PORT: u16 = 1616;

/// Returns the endpoint at which a listener on this host can be dialed, if known.
pub fn seen_from_here(bound: &Endpoint) -> Option<Endpoint> {
    match bound {
        Endpoint::Tcp(tcp) if tcp.port == 0 => None,
        Endpoint::Tcp(tcp) if tcp.host.is_wildcard() => {
            let host = match tcp.host {
                Host::Ip4(_) => Host::Ip4(Ipv4Addr::LOCALHOST),
                _ => Host::Ip6(Ipv6Addr::LOCALHOST),
            };
            Some(Endpoint::Tcp(TcpAddress { host, ..tcp.clone() }))
        }
        // A number is known only within the process that bound it.
        Endpoint::Memory(_) => None,
        other => Some(other.clone()),
    }
}

/// Reads an endpoint in any of its spellings.
pub(crate) fn endpoint(
    written: &WrittenEndpoint,
    place: Use,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Endpoint> {
    let diagnostic = match written {
        WrittenEndpoint::Text(text) => return multiaddr(text, place, diagnostics),
        WrittenEndpoint::Pair { host, port, .. } => {
            match port.value.and_then(|it| u16::try_from(it).ok()) {
                Some(number) => match Endpoint::from_host_port(&host.value, number) {
                    Ok(endpoint) => return Some(endpoint),
                    Err(error) => {
                        Diagnostic::error(error.to_string(), host.inside()).help(place.help(&error))
                    }
                },
                None => {
                    let message = format!("{} is not a port (0 to 65535)", port.text.value);
                    Diagnostic::error(message, port.text.place.clone())
                }
            }
        }
        WrittenEndpoint::TextPair { first, second } => {
            let pair = (first.value.clone(), second.value.clone());
            match endpoints::WrittenEndpoint::TextPair(pair.0, pair.1).read() {
                Ok(endpoint) => return Some(endpoint),
                Err(diagnostic) => {
                    let at = match diagnostic {
                        TableFault::NumericString { .. } => second.place.clone(),
                        _ => written.place(),
                    };
                    let read = |host: &Text, port: &Text| {
                        Some(Endpoint::from_host_port(&host.value, port.value.parse().ok()?))
                    };
                    let help = match read(first, second).or_else(|| read(second, first)) {
                        Some(Ok(endpoint)) => diagnostic.help().filter(|_| place.takes(&endpoint)),
                        Some(Err(error)) => place.help(&error),
                        None => diagnostic.help(),
                    };
                    Diagnostic::error(diagnostic.to_string(), at).help(help)
                }
            }
        }
    };
    diagnostics.push(diagnostic);
    None
}

/// Reads an endpoint that is written as a multiaddr.
pub(crate) fn multiaddr(
    text: &Text,
    place: Use,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Endpoint> {
    match text.value.parse() {
        Ok(endpoint) => {
            diagnostics.extend(swallowed_protocol(text, &endpoint));
            diagnostics.extend(unexpanded(text, &endpoint));
            Some(endpoint)
        }
        Err(error) => {
            let diagnostic = Diagnostic::error(error.to_string(), text.part(error.span()));
            diagnostics.push(diagnostic.help(place.help(&error)));
            None
        }
    }
}

/// Warns of a protocol in a greedy path, which swallows all that follows `/unix/`.
fn swallowed_protocol(text: &Text, endpoint: &Endpoint) -> Option<Diagnostic> {
    let path = text.value.strip_prefix("/unix/")?;
    // An escaped slash or an abstract name has been written on purpose.
    if path.starts_with('@') || path.to_ascii_lowercase().contains("%2f") {
        return None;
    }
    let (first, _) = path.split_once('/')?;
    let mut at = "/unix/".len() + first.len() + 1;
    for part in text.value[at..].split('/') {
        if SWALLOWED.contains(&part) {
            let message = format!("`{part}` is taken for a part of the path");
            let encoded = endpoint.to_encoded();
            let help = format!("if it is one, write `{encoded}`; a Unix socket has no `/{part}`");
            return Some(Diagnostic::warning(message, text.part(at..at + part.len())).help(help));
        }
        at += part.len() + 1;
    }
    None
}

/// Warns of what a shell would put something in for, and callsign does not.
fn unexpanded(text: &Text, endpoint: &Endpoint) -> Option<Diagnostic> {
    let Endpoint::Unix(_) = endpoint else { return None };
    let span = home(&text.value).or_else(|| variable(&text.value))?;
    let written = Quoted(&text.value[span.clone()]).to_string();
    let message = format!("{written} is taken as it stands; nothing is put in for it");
    let help = "write out the path that is meant";
    Some(Diagnostic::warning(message, text.part(span)).help(help.to_owned()))
}

/// Finds a `~` or `~user` that begins a path.
fn home(text: &str) -> Option<Range<usize>> {
    let start = "/unix/".len();
    let (first, _) = text.strip_prefix("/unix/")?.split_once('/')?;
    first.starts_with('~').then(|| start..start + first.len())
}

/// Finds the first `${NAME}` or `$NAME`. Within a name, `$` and small letters are no variable.
fn variable(text: &str) -> Option<Range<usize>> {
    text.match_indices('$').find_map(|(start, _)| {
        let rest = &text[start + 1..];
        let (braces, rest) = match rest.strip_prefix('{') {
            Some(inside) => (2, inside.split_once('}')?.0),
            None => (0, rest),
        };
        let end = rest.find(|it: char| !it.is_ascii_alphanumeric() && it != '_');
        let name = &rest[..end.unwrap_or(rest.len())];
        let first = name.chars().next().filter(|it| !it.is_ascii_digit())?;
        let is_variable = match braces {
            0 => !first.is_ascii_lowercase() || text[..start].ends_with('/'),
            _ => name.len() == rest.len(),
        };
        is_variable.then(|| start..start + 1 + braces + name.len())
    })
}

/// Protocols that people put after an address, and that are hardly the names of folders.
const SWALLOWED: &[&str] =
    &["ip4", "ip6", "ip6zone", "dns4", "dns6", "tcp", "tls", "udp", "quic", "quic-v1", "ws", "wss"];

/// Reads a duration within its limits.
pub(crate) fn duration(
    text: &Text,
    limits: &Limits<Duration>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Duration> {
    let (place, message, help) = match parse_duration(&text.value) {
        Ok(read) if (limits.min..=limits.max).contains(&read) => return Some(read),
        Ok(_) | Err(DurationError::NumberOverflow) => {
            let message = format!("{} is out of range for `{}`", Quoted(&text.value), limits.key);
            (text.inside(), message, range(limits))
        }
        Err(DurationError::UnknownUnit { unit, .. }) if unit.is_empty() => {
            let message = format!("{} has no unit of time", Quoted(&text.value));
            let written = with_units(text.value.trim(), limits);
            let written: Vec<_> = written.map(|(it, name)| format!("`{it}` for {name}")).collect();
            let help = if written.is_empty() {
                range(limits)
            } else {
                format!("write {}", written.join(", "))
            };
            (text.inside(), message, help)
        }
        Err(DurationError::UnknownUnit { start, end, unit, .. }) => {
            let message = format!("{} is not a unit of time", Quoted(&unit));
            (text.part(start..end), message, DURATIONS.to_owned())
        }
        Err(_) => {
            let message = format!("{} is not a duration", Quoted(&text.value));
            (text.inside(), message, DURATIONS.to_owned())
        }
    };
    diagnostics.push(Diagnostic::error(message, place).help(help));
    None
}

/// Writes a number with the units that put it within the limits, each with its name.
pub(crate) fn with_units(
    number: &str,
    limits: &Limits<Duration>,
) -> impl Iterator<Item = (String, &'static str)> {
    let units = [("s", "seconds"), ("ms", "milliseconds")];
    let fits =
        |text: &str| parse_duration(text).is_ok_and(|it| (limits.min..=limits.max).contains(&it));
    let written = units.map(|(unit, name)| (format!("{number}{unit}"), name));
    written.into_iter().filter(move |(text, _)| fits(text))
}

/// Says between what a duration may be.
pub(crate) fn range(limits: &Limits<Duration>) -> String {
    format!("it may be from {} to {}", format_duration(limits.min), format_duration(limits.max))
}

const DURATIONS: &str =
    "a duration is a number and a unit, such as `500ms`, `5s`, `2min` or `1h 30min`";

/// Reads the mode of a socket file.
pub(crate) fn socket_mode(text: &Text, diagnostics: &mut Vec<Diagnostic>) -> Option<u32> {
    let name = Quoted(&text.value);
    let written = text.value.trim();
    let Some(mode) = read_mode(written.strip_prefix("0o").unwrap_or(written)) else {
        let (why, help) = if is_octal(written) {
            (
                "lets nobody connect",
                "who may write may connect: its user by `0600`, its group by `0660`",
            )
        } else {
            ("is no mode", "write three octal digits, for user, group and others: `0660`")
        };
        diagnostics
            .push(Diagnostic::error(format!("{name} {why}"), text.inside()).help(help.to_owned()));
        return None;
    };
    let classes = [(6, "its own user"), (3, "its group"), (0, "all others")];
    let readers = classes.iter().filter(|(shift, _)| mode >> shift & 0o6 == 0o4);
    let who: Vec<_> = readers.clone().map(|(_, who)| *who).collect();
    if !who.is_empty() {
        let bits: u32 = readers.map(|(shift, _)| 0o2 << shift).sum();
        let message = format!("{name} lets {} read, but not connect", who.join(" and "));
        let help = format!("to let them connect: `{:04o}`", mode | bits);
        diagnostics.push(Diagnostic::warning(message, text.inside()).help(help));
    }
    Some(mode)
}

/// Reads the octal digits of a mode by which anybody could connect.
pub(crate) fn read_mode(digits: &str) -> Option<u32> {
    let mode = u32::from_str_radix(digits, 8).ok().filter(|_| is_octal(digits))?;
    (mode & 0o222 != 0).then_some(mode)
}

/// Tells whether a string consists of the digits for user, group and others.
fn is_octal(text: &str) -> bool {
    let digits = match text.len() {
        4 => text.strip_prefix('0').unwrap_or_default(),
        _ => text,
    };
    digits.len() == 3 && digits.bytes().all(|it| (b'0'..=b'7').contains(&it))
}

/// A group of users by name or number. Only the program that uses the settings knows whether it
/// exists.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SocketGroup {
    /// Its name, or its number.
    pub name: String,
    pub(crate) place: Place,
}

impl SocketGroup {
    /// Returns the fault that there is no such group.
    pub fn unknown(&self) -> Diagnostic {
        let name = Quoted(&self.name);
        let help = "name one that is there (`getent group`), or make it (`groupadd`)";
        Diagnostic::error(format!("there is no group {name}"), self.place.clone())
            .help(help.to_owned())
    }
}

/// Reads which group a socket file is given.
pub(crate) fn socket_group(text: &Text, diagnostics: &mut Vec<Diagnostic>) -> Option<SocketGroup> {
    let name = text.value.trim();
    if name.is_empty() || name.contains([':', '\0']) || name.contains(char::is_whitespace) {
        let message = format!("{} is no group", Quoted(&text.value));
        let help = "name one group, as `getent group` lists them, or give its number";
        diagnostics.push(Diagnostic::error(message, text.inside()).help(help.to_owned()));
        return None;
    }
    Some(SocketGroup { name: name.to_owned(), place: text.inside() })
}

/// Reads a number within its limits.
pub(crate) fn number<T>(
    number: &Number,
    limits: &Limits<T>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<T>
where
    T: Copy + Display + PartialOrd + TryFrom<i64>,
{
    let read = number.value.and_then(|it| T::try_from(it).ok());
    let read = read.filter(|it| (limits.min..=limits.max).contains(it));
    if read.is_none() {
        let text = &number.text;
        let why = if number.is_integer() {
            format!("is out of range for `{}`", limits.key)
        } else {
            "is not a number".to_owned()
        };
        let help = format!("it may be from {} to {}", limits.min, limits.max);
        let message = format!("{} {why}", Quoted(&text.value));
        diagnostics.push(Diagnostic::error(message, text.inside()).help(help));
    }
    read
}
