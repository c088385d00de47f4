//! Names of actors as labels of a domain name, and back.
//!
//! DNS takes letters of either case for equal, and some resolvers change the case of what they ask,
//! so only small letters stand for themselves.

use std::mem;

use endpoints::Name;

/// Writes a name as labels, the outermost last.
///
/// - A dot between two parts of a name separates labels.
/// - `a` to `z`, `0` to `9` and, within a part, `-` stand for themselves. Every other byte of the
///   name's UTF-8 is `_` and two hexadecimal digits.
/// - A part longer than a label is continued in the next label: one that ends with a lone `_`. The
///   first label of a name leaves room for the `_` that makes it a service's.
/// - A part that would be [`ADDRESSES`] is escaped where that would be read as the domain of
///   addresses.
pub(super) fn labels(name: &Name) -> Vec<String> {
    let mut labels = Vec::new();
    let parts: Vec<_> = parts(name.as_str());
    let last = parts.len() - 1;
    for (at, part) in parts.into_iter().enumerate() {
        let is_reserved = at == last && at > 0 && part == ADDRESSES;
        let written: Vec<_> = part
            .bytes()
            .enumerate()
            .map(|(index, byte)| {
                let is_plain = match byte {
                    b'-' => index > 0 && index + 1 < part.len(),
                    _ => byte.is_ascii_lowercase() || byte.is_ascii_digit(),
                };
                if is_plain && !(is_reserved && index == 0) {
                    char::from(byte).to_string()
                } else {
                    format!("_{byte:02x}")
                }
            })
            .collect();
        let mut left: usize = written.iter().map(String::len).sum();
        let mut label = String::new();
        for written in written {
            let max = if labels.is_empty() { LABEL_BYTES_MAX - 1 } else { LABEL_BYTES_MAX };
            // What follows it in the label: the rest of the part, or the mark of a continuation.
            let is_last = label.len() + left <= max;
            if !is_last && label.len() + written.len() + 1 > max {
                label.push('_');
                labels.push(mem::take(&mut label));
            }
            left -= written.len();
            label.push_str(&written);
        }
        labels.push(label);
    }
    labels
}

/// Splits a name at the dots that stand between two other characters.
fn parts(name: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = 0;
    for (at, _) in name.match_indices('.') {
        let is_between = at > rest && !name[at + 1..].starts_with('.') && at + 1 < name.len();
        if is_between {
            parts.push(&name[rest..at]);
            rest = at + 1;
        }
    }
    parts.push(&name[rest..]);
    parts
}

/// Reads labels, in small letters. `None` if they are not what [`labels`] writes for any name, so
/// that every name has one spelling.
pub(super) fn name(written: &[&str]) -> Option<Name> {
    let mut bytes = Vec::new();
    let mut is_continued = true;
    for label in written {
        if !is_continued {
            bytes.push(b'.');
        }
        is_continued = false;
        let mut rest = label.as_bytes();
        loop {
            rest = match rest {
                [] => break,
                [b'_'] => {
                    is_continued = true;
                    break;
                }
                [b'_', digits @ ..] => {
                    let (digits, rest) = digits.split_at_checked(2)?;
                    bytes.push(u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?);
                    rest
                }
                [byte, rest @ ..] => {
                    bytes.push(*byte);
                    rest
                }
            };
        }
    }
    let name = Name::new(str::from_utf8(&bytes).ok()?).ok()?;
    (labels(&name) == written).then_some(name)
}

/// The label of the domain in which each endpoint has a host name.
pub(super) const ADDRESSES: &str = "addr";

/// The most bytes of a label (RFC 1035, section 2.3.4).
const LABEL_BYTES_MAX: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_one_spelling() {
        let check = |text: &str, expected: &[&str]| {
            let actor = Name::new(text).unwrap();
            assert_eq!(labels(&actor), expected, "{text}");
            assert_eq!(name(expected), Some(actor), "{text}");
        };
        check("feed", &["feed"]);
        check("feed.eurusd", &["feed", "eurusd"]);
        check("price-feed2", &["price-feed2"]);
        check("Feed", &["_46eed"]);
        check("order_book", &["order_5fbook"]);
        check("a..b", &["a_2e", "b"]);
        check(".a.", &["_2ea_2e"]);
        check("a.-b-.c", &["a", "_2db_2d", "c"]);
        check("größe", &["gr_c3_b6_c3_9fe"]);
        check("addr", &["addr"]);
        check("x.addr", &["x", "_61ddr"]);
        check("addr.x", &["addr", "x"]);
        check(&"a".repeat(62), &["a".repeat(62).as_str()]);
        let (first, second) = (format!("{}_", "a".repeat(61)), "a".repeat(2));
        check(&"a".repeat(63), &[&first, &second]);
        let whole = "a".repeat(63);
        check(&format!("x.{whole}"), &["x", &whole]);
        let first = format!("{}_", "a".repeat(62));
        check(&format!("x.{whole}a"), &["x", &first, "aa"]);
        // An escape is not cut in two.
        let first = format!("{}_", "a".repeat(59));
        check(&format!("{}É", "a".repeat(59)), &[&first, "_c3_89"]);
    }

    #[test]
    fn what_no_name_is_written_as_is_no_name() {
        for labels in [
            &[""][..],
            &["Feed"],
            &["a_"],
            &["_4"],
            &["_zz"],
            &["_61"],
            &["a_2eb"],
            &["_2dx"],
            &["a_", "b"],
            &["x", "addr"],
            &["_ff"],
            &["_2f"],
            &["-x"],
        ] {
            assert_eq!(name(labels), None, "{labels:?}");
        }
    }

    #[test]
    fn random_names_come_back() {
        // A linear congruential generator, so that every run is the same.
        let mut state = 7_u64;
        let mut next = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % bound
        };
        let letters: Vec<char> = "ab-._A9é+addr".chars().collect();
        let mut names = 0;
        for _ in 0..20_000 {
            let text: String = (0..1 + next(90)).map(|_| letters[next(letters.len())]).collect();
            let Ok(actor) = Name::new(&text) else { continue };
            let written = labels(&actor);
            assert!(written.iter().all(|it| (1..=LABEL_BYTES_MAX).contains(&it.len())), "{text}");
            let written: Vec<_> = written.iter().map(String::as_str).collect();
            assert_eq!(name(&written), Some(actor), "{text}");
            names += 1;
        }
        assert!(names > 10_000, "most of them are names");
    }
}
