//! Values of flags as they are typed.

use std::time::Duration;

use wire::registrar::{LEASE_MS_MAX, LEASE_MS_MIN};

/// Reads a duration.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    config::duration(text).map_err(|error| match &error.help {
        Some(help) => format!("{error}; {help}"),
        None => error.to_string(),
    })
}

/// Reads the time to live of a lease.
pub(crate) fn time_to_live(text: &str) -> Result<Duration, String> {
    let limits = Duration::from_millis(LEASE_MS_MIN)..=Duration::from_millis(LEASE_MS_MAX);
    let ttl = duration(text)?;
    if limits.contains(&ttl) {
        return Ok(ttl);
    }
    Err("a lease lasts from 100ms to 24h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_that_is_none_is_told_what_to_write() {
        let check = |text: &str, expected: &str| {
            assert_eq!(time_to_live(text).unwrap_err(), expected, "{text}");
        };
        check("5", "`5` has no unit of time; write `5s` for seconds, `5ms` for milliseconds");
        check("5S", "`S` is not a unit of time; did you mean `5s`?");
        let bounds = "a lease lasts from 100ms to 24h";
        for text in ["0s", "99ms", "24h 1s", "1year"] {
            check(text, bounds);
        }
        assert_eq!(time_to_live("1h 30min"), Ok(Duration::from_secs(5400)));
    }
}
