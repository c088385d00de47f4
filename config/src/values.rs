//! Single values: from text to an endpoint, a duration, a number. What is wrong with a value goes
//! into `faults`.

use std::{fmt::Display, time::Duration};

use endpoints::{Endpoint, Quoted, TableFault};
use humantime::{DurationError, format_duration, parse_duration};

use crate::{
    fault::Fault,
    settings::Limits,
    text::{Number, Text},
    written::WrittenEndpoint,
};

/// Reads an endpoint in any of its spellings.
pub(crate) fn endpoint(written: &WrittenEndpoint, faults: &mut Vec<Fault>) -> Option<Endpoint> {
    let fault = match written {
        WrittenEndpoint::Text(text) => return multiaddr(text, faults),
        WrittenEndpoint::Pair { host, port, .. } => {
            match port.value.and_then(|it| u16::try_from(it).ok()) {
                Some(number) => match Endpoint::from_host_port(&host.value, number) {
                    Ok(endpoint) => return Some(endpoint),
                    Err(error) => Fault::error(error.to_string(), host.inside()).help(error.help()),
                },
                None => {
                    let message = format!("{} is not a port (0 to 65535)", port.text.value);
                    Fault::error(message, port.text.place.clone())
                }
            }
        }
        WrittenEndpoint::TextPair { first, second } => {
            let pair = (first.value.clone(), second.value.clone());
            match endpoints::WrittenEndpoint::TextPair(pair.0, pair.1).read() {
                Ok(endpoint) => return Some(endpoint),
                Err(fault) => {
                    let place = match fault {
                        TableFault::NumericString { .. } => second.place.clone(),
                        _ => written.place(),
                    };
                    Fault::error(fault.to_string(), place).help(fault.help())
                }
            }
        }
    };
    faults.push(fault);
    None
}

/// Reads an endpoint that is written as a multiaddr.
pub(crate) fn multiaddr(text: &Text, faults: &mut Vec<Fault>) -> Option<Endpoint> {
    match text.value.parse() {
        Ok(endpoint) => {
            faults.extend(swallowed_protocol(text, &endpoint));
            Some(endpoint)
        }
        Err(error) => {
            let fault = Fault::error(error.to_string(), text.part(error.span()));
            faults.push(fault.help(error.help()));
            None
        }
    }
}

/// Warns of a protocol in a greedy path, which swallows all that follows `/unix/`.
fn swallowed_protocol(text: &Text, endpoint: &Endpoint) -> Option<Fault> {
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
            return Some(Fault::warning(message, text.part(at..at + part.len())).help(help));
        }
        at += part.len() + 1;
    }
    None
}

/// Protocols that people put after an address, and that are hardly the names of folders.
const SWALLOWED: &[&str] =
    &["ip4", "ip6", "ip6zone", "dns4", "dns6", "tcp", "tls", "udp", "quic", "quic-v1", "ws", "wss"];

/// Reads a duration within its limits.
pub(crate) fn duration(
    text: &Text,
    limits: &Limits<Duration>,
    faults: &mut Vec<Fault>,
) -> Option<Duration> {
    let (place, message, help) = match parse_duration(&text.value) {
        Ok(read) if (limits.min..=limits.max).contains(&read) => return Some(read),
        Ok(_) | Err(DurationError::NumberOverflow) => {
            let message = format!("{} is out of range for `{}`", Quoted(&text.value), limits.key);
            let (min, max) = (format_duration(limits.min), format_duration(limits.max));
            (text.inside(), message, format!("it may be from {min} to {max}"))
        }
        Err(DurationError::UnknownUnit { unit, .. }) if unit.is_empty() => {
            let message = format!("{} has no unit of time", Quoted(&text.value));
            let number = text.value.trim();
            let help = format!("write `{number}s` for seconds, `{number}ms` for milliseconds");
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
    faults.push(Fault::error(message, place).help(help));
    None
}

const DURATIONS: &str =
    "a duration is a number and a unit, such as `500ms`, `5s`, `2min` or `1h 30min`";

/// Reads a number within its limits.
pub(crate) fn number<T>(number: &Number, limits: &Limits<T>, faults: &mut Vec<Fault>) -> Option<T>
where
    T: Copy + Display + PartialOrd + TryFrom<i64>,
{
    let read = number.value.and_then(|it| T::try_from(it).ok());
    let read = read.filter(|it| (limits.min..=limits.max).contains(it));
    if read.is_none() {
        let text = &number.text;
        let why = match number.is_integer() {
            true => format!("is out of range for `{}`", limits.key),
            false => "is not a number".to_owned(),
        };
        let help = format!("it may be from {} to {}", limits.min, limits.max);
        let message = format!("{} {why}", Quoted(&text.value));
        faults.push(Fault::error(message, text.inside()).help(help));
    }
    read
}
