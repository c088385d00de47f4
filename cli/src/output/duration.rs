//! Lengths of time, as people say them.

use std::time::Duration;

/// Writes an age in its largest unit: `3s`, `2m`, `5h`, `12d`.
pub(crate) fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..MINUTE => format!("{seconds}s"),
        MINUTE..HOUR => format!("{}m", seconds / MINUTE),
        HOUR..DAY => format!("{}h", seconds / HOUR),
        _ => format!("{}d", seconds / DAY),
    }
}

/// Writes a short time with up to three digits: `80 µs`, `1.2 ms`, `45 ms`, `3.1 s`.
pub(crate) fn brief(time: Duration) -> String {
    let micros = time.as_micros();
    let (value, unit) = match micros {
        0..1_000 => return format!("{micros} µs"),
        1_000..1_000_000 => (micros as f64 / 1e3, "ms"),
        _ => (micros as f64 / 1e6, "s"),
    };
    if value < 10.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_its_largest_unit() {
        let check = |seconds, expected: &str| {
            assert_eq!(age(Duration::from_secs(seconds)), expected);
        };
        check(0, "0s");
        check(59, "59s");
        check(60, "1m");
        check(3599, "59m");
        check(3600, "1h");
        check(86399, "23h");
        check(86400, "1d");
        check(86400 * 400, "400d");
    }

    #[test]
    fn a_short_time_has_few_digits() {
        let check = |micros, expected: &str| {
            assert_eq!(brief(Duration::from_micros(micros)), expected);
        };
        check(0, "0 µs");
        check(999, "999 µs");
        check(1_234, "1.2 ms");
        check(45_600, "46 ms");
        check(3_100_000, "3.1 s");
        check(75_000_000, "75 s");
    }
}
