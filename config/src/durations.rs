//! Durations as people write them.

use std::{fmt, ops::Range, time::Duration};

use endpoints::{Quoted, names_like};
use humantime::{DurationError, parse_duration};

/// Reads a duration, such as `5s` or `1h 30min`.
///
/// # Errors
///
/// [`DurationFault`] with the fault, its place and its remedy.
pub fn duration(text: &str) -> Result<Duration, DurationFault> {
    read_duration(text, |_| true)
}

/// The reason why a string is not a duration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DurationFault {
    /// The bytes at fault.
    pub span: Range<usize>,
    /// The fault.
    pub message: String,
    /// What to write, unless it depends on the limits of the duration.
    pub help: Option<String>,
}

impl std::error::Error for DurationFault {}

impl fmt::Display for DurationFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Reads a duration. What the error proposes `fits`.
pub(crate) fn read_duration(
    text: &str,
    fits: impl Fn(Duration) -> bool,
) -> Result<Duration, DurationFault> {
    let is_fit = |text: &String| parse_duration(text).is_ok_and(&fits);
    let whole = 0..text.len();
    let (span, message, help) = match parse_duration(text) {
        Ok(duration) => match month(text) {
            None => return Ok(duration),
            Some(at) => {
                let written = format!("{}m{}", &text[..at], &text[at + 1..]);
                let message = format!("`M` would be months in {}", Quoted(text));
                (at..at + 1, message, Some(format!("write `{written}` for minutes")))
            }
        },
        Err(DurationError::NumberOverflow) => {
            (whole, format!("{} is too long a time", Quoted(text)), None)
        }
        Err(DurationError::UnknownUnit { unit, .. }) if unit.is_empty() => {
            let number = text.trim();
            let written: Vec<_> = [("s", "seconds"), ("ms", "milliseconds")]
                .into_iter()
                .map(|(unit, name)| (format!("{number}{unit}"), name))
                .filter(|(text, _)| is_fit(text))
                .map(|(text, name)| format!("`{text}` for {name}"))
                .collect();
            let help = (!written.is_empty()).then(|| format!("write {}", written.join(", ")));
            (whole, format!("{} has no unit of time", Quoted(text)), help)
        }
        Err(DurationError::UnknownUnit { start, end, unit, .. }) => {
            let small = unit.to_lowercase();
            let near = names_like(&small, UNITS.iter().copied());
            let meant = [small.as_str()].into_iter().chain(near);
            let mut written = meant.map(|it| format!("{}{it}{}", &text[..start], &text[end..]));
            let help = match written.find(is_fit) {
                Some(written) => format!("did you mean `{written}`?"),
                None => DURATIONS.to_owned(),
            };
            (start..end, format!("{} is not a unit of time", Quoted(&unit)), Some(help))
        }
        Err(_) => {
            (whole, format!("{} is not a duration", Quoted(text)), Some(DURATIONS.to_owned()))
        }
    };
    Err(DurationFault { span, message, help })
}

/// Returns where a unit is a capital M, which hardly anybody means as that of months.
fn month(text: &str) -> Option<usize> {
    let is_letter = |at: Option<usize>| {
        at.and_then(|at| text.as_bytes().get(at)).is_some_and(u8::is_ascii_alphabetic)
    };
    text.match_indices('M')
        .map(|(at, _)| at)
        .find(|at| !is_letter(at.checked_sub(1)) && !is_letter(Some(at + 1)))
}

/// The units that people mean, as they are most often written.
const UNITS: &[&str] = &[
    "ns", "us", "ms", "msec", "millis", "s", "sec", "secs", "second", "seconds", "m", "min",
    "mins", "minute", "minutes", "h", "hr", "hour", "hours", "day", "days",
];

const DURATIONS: &str =
    "a duration is a number and a unit, such as `500ms`, `5s`, `2min` or `1h 30min`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_that_is_nearly_right_is_proposed() {
        let check = |text: &str, expected: &str| {
            let error = duration(text).unwrap_err();
            assert_eq!(format!("{error} | {}", error.help.clone().unwrap_or_default()), expected);
        };
        check("5S", "`S` is not a unit of time | did you mean `5s`?");
        check("5 Min", "`Min` is not a unit of time | did you mean `5 min`?");
        check("5M", "`M` would be months in `5M` | write `5m` for minutes");
        check("1h 5M", "`M` would be months in `1h 5M` | write `1h 5m` for minutes");
        assert!(duration("1month 2min").is_ok());
        check("5sek", "`sek` is not a unit of time | did you mean `5sec`?");
        check("1h 5minuets", "`minuets` is not a unit of time | did you mean `1h 5minutes`?");
        check("5msecs", "`msecs` is not a unit of time | did you mean `5msec`?");
        check("1x", &format!("`x` is not a unit of time | {DURATIONS}"));
        check("5 parsecs", &format!("`parsecs` is not a unit of time | {DURATIONS}"));
        check("5", "`5` has no unit of time | write `5s` for seconds, `5ms` for milliseconds");
        check("-1s", &format!("`-1s` is not a duration | {DURATIONS}"));
        check("", &format!("`` is not a duration | {DURATIONS}"));
        check("soon", &format!("`soon` is not a duration | {DURATIONS}"));
        check("99999999999999999999s", "`99999999999999999999s` is too long a time | ");
    }
}
