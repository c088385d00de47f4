//! Corrections of values with a wrong shape.
//!
//! A correction is parsed before it is shown, so that no suggestion is refused in turn.

use endpoints::{Endpoint, ParseEndpointError};
use humantime::parse_duration;
use toml::de::{DeTable, DeValue};

use crate::{
    keys::{COUNTS, DURATION_KEYS, NUMBER_KEYS, SOCKET_GROUP, SOCKET_MODE},
    names::{self, KINDS, POLICIES},
    uses::{Use, toml_text},
    values, words,
};

/// Writes a value that contains an endpoint, but is not one, as TOML.
pub(crate) fn endpoint(value: &DeValue<'_>, place: Use) -> Option<String> {
    match value {
        DeValue::Table(table) => of_table(table, place),
        // A port without a host belongs to this host.
        DeValue::Integer(_) => pair("127.0.0.1", port(value)?, place),
        _ => None,
    }
}

/// Writes a pair whose port comes first. Nothing is written for other pairs.
pub(crate) fn turned(first: &DeValue<'_>, second: &DeValue<'_>, place: Use) -> Option<String> {
    pair(second.as_str()?, port(first)?, place)
}

/// Writes a list in which hosts and ports alternate as a list of pairs: each host with the ports
/// after it, or all with the port before them.
pub(crate) fn pairs(list: &[DeValue<'_>], place: Use) -> Option<String> {
    let parts: Vec<_> = list.iter().map(HostOrPort::of).collect::<Option<_>>()?;
    let host_at = |at: usize| match parts.get(at) {
        Some(HostOrPort::Host(host)) => Some(*host),
        _ => None,
    };
    let port_at = |at: usize| match parts.get(at) {
        Some(HostOrPort::Port(port)) => Some(*port),
        _ => None,
    };
    let hosts = (0..parts.len()).filter_map(host_at).count();
    let pairs: Vec<_> = if hosts == 1 {
        let host = (0..parts.len()).find_map(host_at)?;
        (0..parts.len()).filter_map(port_at).map(|port| (host, port)).collect()
    } else if hosts * 2 == parts.len() {
        let host_is_first = host_at(0).is_some();
        let pair = |at: usize| {
            if host_is_first {
                Some((host_at(at)?, port_at(at + 1)?))
            } else {
                Some((host_at(at + 1)?, port_at(at)?))
            }
        };
        (0..parts.len()).step_by(2).map(pair).collect::<Option<_>>()?
    } else {
        return None;
    };
    let written: Vec<_> =
        pairs.iter().map(|(host, port)| pair(host, *port, place)).collect::<Option<_>>()?;
    match &written[..] {
        [] => None,
        [one] => Some(one.clone()),
        _ => Some(format!("[{}]", written.join(", "))),
    }
}

/// An element of a list of hosts and ports.
enum HostOrPort<'a> {
    Host(&'a str),
    Port(u16),
}

impl<'a> HostOrPort<'a> {
    fn of(value: &'a DeValue<'_>) -> Option<Self> {
        match (port(value), value) {
            (Some(port), _) => Some(Self::Port(port)),
            (None, DeValue::String(host)) => Some(Self::Host(host)),
            _ => None,
        }
    }
}

/// Writes what is not in quotes as it should stand after `key`.
pub(crate) fn unquoted(key: &str, found: &str, place: Use) -> Option<String> {
    let quoted = |text: &str| {
        let is_plain = !text.contains(['"', '\\']) && !text.contains(char::is_control);
        is_plain.then(|| format!("\"{text}\""))
    };
    match key {
        "tractor" if place == Use::Registrar => words::switch(found).map(|it| it.to_string()),
        "exclusive" if words::switch(found).is_some() => {
            words::switch(found).map(|it| it.to_string())
        }
        "names" if place == Use::Registrar => POLICIES.meant(found).and_then(quoted),
        "register" | "find" if is_owner(found) => quoted(found),
        _ if DURATION_KEYS.contains(&key) => parse_duration(found).ok().and_then(|_| quoted(found)),
        _ if NUMBER_KEYS.contains(&key) => None,
        _ if COUNTS.iter().any(|it| it.key == key) => None,
        "id" | SOCKET_GROUP => quoted(found),
        "bytes" if found.ends_with("iB") => quoted(found),
        SOCKET_MODE => mode(found).map(|it| format!("\"{it}\"")),
        _ => multiaddr(found, place),
    }
}

/// Writes a rule for what stands in the place of one.
pub(crate) fn rule(found: &DeValue<'_>) -> String {
    let rule = match found {
        DeValue::String(text) if **text == *"exclusive" => None,
        DeValue::String(_) | DeValue::Array(_) => Some(format!("register = {}", owners(found))),
        DeValue::Boolean(is_exclusive) => Some(format!("exclusive = {is_exclusive}")),
        DeValue::Integer(_) => {
            number(found).filter(|it| *it > 0).map(|most| format!("max_instances = {most}"))
        }
        _ => None,
    };
    format!("{{ {} }}", rule.as_deref().unwrap_or("exclusive = true"))
}

fn number(value: &DeValue<'_>) -> Option<u32> {
    let number = value.as_integer()?;
    u32::from_str_radix(number.as_str(), number.radix()).ok()
}

/// Writes a list of owners for what stands in the place of one; everybody, if nobody is named.
fn owners(found: &DeValue<'_>) -> String {
    let written: Option<Vec<_>> = match found {
        DeValue::Array(items) if !items.is_empty() => {
            items.iter().map(|it| owner(it.get_ref())).collect()
        }
        other => owner(other).map(|it| vec![it]),
    };
    written.map_or_else(|| "[\"any\"]".to_owned(), |it| format!("[{}]", it.join(", ")))
}

/// Writes the owner that is meant by a word, or by the number of a user.
pub(crate) fn owner(found: &DeValue<'_>) -> Option<String> {
    let meant = match found {
        DeValue::String(text) => names::meant(text)
            .or_else(|| names::is_account(text).then(|| format!("user:{text}")))?,
        DeValue::Integer(_) => format!("user:{}", number(found)?),
        _ => return None,
    };
    let is_plain = !meant.contains(['"', '\\']) && !meant.contains(char::is_control);
    is_plain.then(|| format!("\"{meant}\""))
}

/// Tells whether a word says whom a rule means.
fn is_owner(found: &str) -> bool {
    found == "any" || found.split_once(':').is_some_and(|(kind, _)| KINDS.known.contains(&kind))
}

/// Writes the octal digits of a mode with the zero that marks them.
pub(crate) fn mode(found: &str) -> Option<String> {
    let written = found.strip_prefix("0o").unwrap_or(found);
    values::read_mode(written).map(|it| format!("{it:04o}"))
}

/// Reads the parts of an endpoint from separate keys. If one of them is unknown, the table may mean
/// something else.
fn of_table(table: &DeTable<'_>, place: Use) -> Option<String> {
    let (mut host, mut number, mut path, mut whole) = (None, None, None, None);
    for (key, value) in table {
        let value = value.get_ref();
        let taken = match &*key.get_ref().to_ascii_lowercase() {
            "host" | "hostname" | "ip" | "address" | "addr" | "bind" => {
                host.replace(value.as_str()?).is_none()
            }
            "port" => number.replace(port(value)?).is_none(),
            "path" | "unix" | "uds" | "socket" | "sock" => path.replace(value.as_str()?).is_none(),
            "endpoint" | "multiaddr" | "url" | "uri" | "listen" => {
                whole.replace(value.as_str()?).is_none()
            }
            "tcp" => match port(value) {
                Some(port) => number.replace(port).is_none(),
                None => whole.replace(value.as_str()?).is_none(),
            },
            "protocol" | "proto" | "transport" | "type" => {
                matches!(value.as_str()?, "tcp" | "unix" | "uds")
            }
            _ => false,
        };
        if !taken {
            return None;
        }
    }
    match (host, number, path, whole) {
        (host, Some(port), None, None) => pair(host.unwrap_or("127.0.0.1"), port, place),
        (None, None, Some(text), None) => {
            multiaddr(text, place).filter(|it| it.starts_with("\"/unix/"))
        }
        (Some(text), None, None, None) | (None, None, None, Some(text)) => multiaddr(text, place),
        _ => None,
    }
}

fn port(value: &DeValue<'_>) -> Option<u16> {
    match value {
        DeValue::Integer(number) => u16::from_str_radix(number.as_str(), number.radix()).ok(),
        DeValue::String(text) if text.bytes().all(|it| it.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    }
    // Port 0 means any port; the host is still meant.
    .filter(|it| *it != 0)
}

fn pair(host: &str, port: u16, place: Use) -> Option<String> {
    match Endpoint::from_host_port(host, port) {
        Ok(endpoint) => place.takes(&endpoint).then(|| format!("[{host:?}, {port}]")),
        Err(error) => toml_text(&meant(&error, place)?),
    }
}

fn multiaddr(text: &str, place: Use) -> Option<String> {
    let endpoint = match text.parse::<Endpoint>() {
        Ok(endpoint) => Some(endpoint).filter(|it| place.takes(it)),
        Err(error) => meant(&error, place),
    };
    toml_text(&endpoint?)
}

/// Returns the intended value if it was written completely: no port is invented.
fn meant(error: &ParseEndpointError, place: Use) -> Option<Endpoint> {
    let with_example = |port| {
        let mut meant = None;
        error.help_for(port, |it| {
            meant = Some(it);
            None
        });
        meant
    };
    let meant = with_example(1)?;
    (with_example(2).as_ref() == Some(&meant) && place.takes(&meant)).then_some(meant)
}
