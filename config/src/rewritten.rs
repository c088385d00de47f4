//! What has the wrong shape, written as it should be.
//!
//! What is written here is read again before it is shown, so that nobody is told to write what
//! is refused next.

use endpoints::Endpoint;
use humantime::parse_duration;
use toml::de::{DeTable, DeValue};

use crate::{
    quotas::COUNTS,
    settings::{SOCKET_GROUP, SOCKET_MODE},
    shape::{DURATION_KEYS, NUMBER_KEYS},
    values,
};

/// Writes a value that is no endpoint, and holds one, as TOML.
pub(crate) fn endpoint(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::Table(table) => of_table(table),
        // A port alone is one of this host's.
        DeValue::Integer(_) => pair("127.0.0.1", port(value).filter(|it| *it != 0)?),
        _ => None,
    }
}

/// Writes what stands without quotes as it should stand after `key`.
pub(crate) fn unquoted(key: &str, found: &str) -> Option<String> {
    let quoted = |text: &str| {
        let is_plain = !text.contains(['"', '\\']) && !text.contains(char::is_control);
        is_plain.then(|| format!("\"{text}\""))
    };
    match key {
        "tractor" => match &*found.to_ascii_lowercase() {
            "true" | "yes" | "on" | "y" => Some("true".to_owned()),
            "false" | "no" | "off" | "n" => Some("false".to_owned()),
            _ => None,
        },
        _ if DURATION_KEYS.contains(&key) => parse_duration(found).ok().and_then(|_| quoted(found)),
        _ if NUMBER_KEYS.contains(&key) => None,
        _ if COUNTS.iter().any(|it| it.key == key) => None,
        "id" | SOCKET_GROUP => quoted(found),
        "bytes" if found.ends_with("iB") => quoted(found),
        SOCKET_MODE => mode(found).map(|it| format!("\"{it}\"")),
        _ => multiaddr(found),
    }
}

/// Writes the digits of a mode with the zero that tells what they are.
pub(crate) fn mode(found: &str) -> Option<String> {
    let written = found.strip_prefix("0o").unwrap_or(found);
    values::read_mode(written).map(|it| format!("{it:04o}"))
}

/// Takes the parts of an endpoint that stand under names of their own.
fn of_table(table: &DeTable<'_>) -> Option<String> {
    let text_of = |names: &[&str]| {
        let is_named = |name: &str| names.iter().any(|it| name.eq_ignore_ascii_case(it));
        let (_, value) = table.iter().find(|(key, _)| is_named(key.get_ref()))?;
        value.get_ref().as_str()
    };
    let host = text_of(&["host", "hostname", "ip", "address", "addr", "bind"]);
    let written = table.iter().find(|(key, _)| key.get_ref().eq_ignore_ascii_case("port"));
    if let Some((_, port)) = written {
        return pair(host.unwrap_or("127.0.0.1"), self::port(port.get_ref())?);
    }
    if let Some(path) = text_of(&["path", "unix", "uds", "socket", "sock"]) {
        return multiaddr(path);
    }
    multiaddr(host.or(text_of(&["endpoint", "multiaddr", "url", "uri"]))?)
}

fn port(value: &DeValue<'_>) -> Option<u16> {
    match value {
        DeValue::Integer(number) => u16::from_str_radix(number.as_str(), number.radix()).ok(),
        DeValue::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn pair(host: &str, port: u16) -> Option<String> {
    match Endpoint::from_host_port(host, port) {
        Ok(_) => Some(format!("[{host:?}, {port}]")),
        Err(error) => error.suggestion().and_then(|it| toml_text(&it)),
    }
}

fn multiaddr(text: &str) -> Option<String> {
    let read = text.parse::<Endpoint>();
    toml_text(&read.or_else(|error| error.suggestion().ok_or(())).ok()?)
}

/// Writes an endpoint between quotes, which it must not hold itself.
fn toml_text(endpoint: &Endpoint) -> Option<String> {
    let text = endpoint.to_string();
    (!text.contains(['"', '\\', '`'])).then(|| format!("\"{text}\""))
}
