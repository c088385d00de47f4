//! Single values: text to an endpoint, a duration, a number. Faults go into `diagnostics`.

use std::{fmt::Display, time::Duration};

use endpoints::{Endpoint, Quoted, Slip, TableFault};
use humantime::{format_duration, parse_duration};

use crate::{
    diagnostic::{Diagnostic, Place},
    durations::{DurationFault, read_duration},
    keys::Limits,
    text::{Number, Text},
    uses::Use,
    written::WrittenEndpoint,
};

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
                    Ok(endpoint) => {
                        diagnostics.extend(place.fault(&endpoint, written.place()));
                        return Some(endpoint);
                    }
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
            diagnostics.extend(slip(text, &endpoint, place));
            diagnostics.extend(place.fault(&endpoint, text.inside()));
            Some(endpoint)
        }
        Err(error) => {
            let diagnostic = Diagnostic::error(error.to_string(), text.part(error.span()));
            let help =
                if text.is_quoted() { place.help_in_toml(&error) } else { place.help(&error) };
            diagnostics.push(diagnostic.help(help));
            None
        }
    }
}

/// Warns of unlikely values. Addresses at which nobody can listen are not for dialing.
fn slip(text: &Text, endpoint: &Endpoint, place: Use) -> Option<Diagnostic> {
    let slip = Slip::find(&text.value, endpoint)?;
    let tell = match (place, endpoint) {
        (Use::Dialed, Endpoint::Unix(_)) => Diagnostic::error,
        _ => Diagnostic::warning,
    };
    Some(tell(slip.message, text.part(slip.span)).help(slip.help))
}

/// Reads a duration within its limits.
pub(crate) fn duration(
    text: &Text,
    limits: &Limits<Duration>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Duration> {
    let fits = |it: Duration| (limits.min..=limits.max).contains(&it);
    let error = match read_duration(&text.value, fits) {
        Ok(read) if fits(read) => return Some(read),
        Ok(_) => {
            let message = format!("{} is out of range for `{}`", Quoted(&text.value), limits.key);
            DurationFault { span: 0..text.value.len(), message, help: None }
        }
        Err(error) => error,
    };
    let help = error.help.unwrap_or_else(|| range(limits));
    diagnostics.push(Diagnostic::error(error.message, text.part(error.span)).help(help));
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

/// Writes a number with the unit that puts it nearest to the default, within the limits.
pub(crate) fn with_likely_unit(number: &str, limits: &Limits<Duration>) -> Option<String> {
    let default = limits.default.as_millis().max(1);
    let times_default = |text: &str| {
        let millis = parse_duration(text).map_or(0, |it| it.as_millis()).max(1);
        millis.max(default) / millis.min(default)
    };
    with_units(number, limits).map(|(text, _)| text).min_by_key(|text| times_default(text))
}

/// Describes the range of a duration.
pub(crate) fn range(limits: &Limits<Duration>) -> String {
    format!("it may be from {} to {}", format_duration(limits.min), format_duration(limits.max))
}

/// Reads the mode of a socket file.
pub(crate) fn socket_mode(text: &Text, diagnostics: &mut Vec<Diagnostic>) -> Option<u32> {
    let name = Quoted(&text.value);
    let written = text.value.trim();
    let Some(mode) = read_mode(written.strip_prefix("0o").unwrap_or(written)) else {
        let (why, help) = if is_octal(written) {
            (
                "lets nobody connect",
                "write permission lets connect: `0600` its user, `0660` its group too",
            )
        } else {
            ("is not a mode", "write three octal digits, for user, group and others: `0660`")
        };
        let help = match mode_of_letters(written) {
            Some(mode) => format!("write `{mode:04o}`"),
            None => help.to_owned(),
        };
        diagnostics.push(Diagnostic::error(format!("{name} {why}"), text.inside()).help(help));
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

/// Reads the octal digits of a mode that allows anybody to connect.
pub(crate) fn read_mode(digits: &str) -> Option<u32> {
    let mode = u32::from_str_radix(digits, 8).ok().filter(|_| is_octal(digits))?;
    (mode & 0o222 != 0).then_some(mode)
}

/// Reads a mode as `ls` shows it, such as `rw-rw----`.
fn mode_of_letters(text: &str) -> Option<u32> {
    let letters = match text.len() {
        10 => text.strip_prefix(['s', '-'])?,
        _ => text,
    };
    if letters.len() != 9 {
        return None;
    }
    let mut mode = 0;
    for (letter, set) in letters.bytes().zip(b"rwx".iter().cycle()) {
        match letter {
            _ if letter == *set => mode = mode << 1 | 1,
            b'-' => mode <<= 1,
            _ => return None,
        }
    }
    // An execute permission means nothing for a socket.
    read_mode(&format!("{:03o}", mode & 0o666))
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
        let help = "name one that exists (`getent group`), or create it (`groupadd`)";
        Diagnostic::error(format!("there is no group {name}"), self.place.clone())
            .help(help.to_owned())
    }
}

/// Reads the group of a socket file.
pub(crate) fn socket_group(text: &Text, diagnostics: &mut Vec<Diagnostic>) -> Option<SocketGroup> {
    let name = text.value.trim();
    if name.is_empty() || name.contains([':', '\0']) || name.contains(char::is_whitespace) {
        let message = format!("{} is not a group", Quoted(&text.value));
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
