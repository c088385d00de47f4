//! IPv4 addresses as `inet_aton` reads them, and with it `ping`, `curl` and browsers.

use std::net::Ipv4Addr;

/// Reads an address of fewer than four parts, whose last one fills the rest, or of parts in other
/// number systems. Returns `None` where a part has two meanings, as `010` has: eight to some
/// programs, and ten to others.
pub(super) fn short_ip4(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<_> = text.split('.').map(part).collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    let bits = match first.len() {
        // A number alone is an address only if it can be nothing else.
        0 if *last != 0 && *last < 1 << 24 => return None,
        count @ 0..=3 => 32 - 8 * count as u32,
        _ => return None,
    };
    if u64::from(*last) >= 1 << bits || first.iter().any(|it| *it > 255) {
        return None;
    }
    let high = first.iter().fold(0u64, |bits, it| bits << 8 | u64::from(*it));
    u32::try_from(high << bits | u64::from(*last)).ok().map(Ipv4Addr::from_bits)
}

fn part(text: &str) -> Option<u32> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u32::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'));
    }
    let is_number = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_number)?;
    (number < 8 || !text.starts_with('0')).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_addresses_are_read_where_they_have_one_meaning() {
        let check = |text: &str, expected: &str| {
            let read = short_ip4(text).map(|it| it.to_string()).unwrap_or_default();
            assert_eq!(read, expected, "{text}");
        };
        check("127.1", "127.0.0.1");
        check("10.1.2", "10.1.0.2");
        check("10.65536", "10.1.0.0");
        check("127.0.0.01", "127.0.0.1");
        check("0", "0.0.0.0");
        check("0x7f.1", "127.0.0.1");
        check("0x7f000001", "127.0.0.1");
        check("2130706433", "127.0.0.1");
        for neither in [
            "",
            ".",
            "1",
            "80",
            "65535",
            "16777215",
            "010.0.0.1",
            "10.0.0.300",
            "256.1",
            "1.2.3.4.5",
            "1..2",
            "10.16777216",
            "99999999999",
            "+1.2",
            "0x+1",
            "a.1",
            "1.b",
        ] {
            check(neither, "");
        }
    }
}
