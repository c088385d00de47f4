//! Lines that fit a screen.

use anstream::adapter::strip_str;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Breaks a line that exceeds `width`: between words, and within a word, such as an address, only
/// if it would not fit a separate line. The line begins at column `start`, and continues at column
/// `hang`.
pub(crate) fn fitted(line: &str, width: Option<u16>, start: usize, hang: usize) -> String {
    let Some(width) = width.map(usize::from).filter(|it| start + line.width() > *it) else {
        return line.to_owned();
    };
    // With less than half of the width, a line would hold little; and a UUID stays in one piece.
    let mut hang = hang.min(width / 2);
    if let Some(room) = width.checked_sub(UUID_CHARS + 1).filter(|_| uuid_in(line).is_some()) {
        hang = hang.min(room);
    }
    let room = width - hang;
    let mut fitted = String::new();
    let mut column = start;
    let mut rest = line;
    let mut has_word = false;
    while !rest.is_empty() {
        let (gap, word, behind) = next_word(rest);
        rest = behind;
        // A word that is already at its column is not moved; nor is one that is broken before its
        // UUID anyway.
        let head = match uuid_in(word) {
            Some(at) if at > 0 && word.width() > room => word[..at].width(),
            _ => word.width(),
        };
        if has_word && column + gap.len() + head > width && column + gap.len() > hang {
            fitted += &format!("\n{:hang$}", "");
            column = hang;
        } else {
            fitted += gap;
            column += gap.len();
        }
        let mut word = word;
        while column + word.width() > width {
            let taken = match width.saturating_sub(column) {
                _ if column == hang => break_of(word, room),
                0 => 0,
                left => break_of(word, left),
            };
            let piece = &word[..taken];
            fitted += &format!("{piece}\n{:hang$}", "");
            column = hang;
            word = &word[piece.len()..];
        }
        fitted += word;
        column += word.width();
        has_word = true;
    }
    fitted
}

/// Fits lines that are laid out already: continuations are indented by two columns more.
pub(crate) fn fitted_lines(text: &str, width: Option<u16>) -> String {
    let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let lines: Vec<_> = text.split('\n').map(|it| fitted(it, width, 0, indent(it) + 2)).collect();
    lines.join("\n")
}

/// Fits lines that may be coloured: broken lines lose their colours.
pub(crate) fn fitted_styled(text: &str, width: Option<u16>) -> String {
    let fitted = |line: &str| {
        let plain = strip_str(line).to_string();
        if super::fits(&plain, width) { line.to_owned() } else { fitted_lines(&plain, width) }
    };
    text.split('\n').map(fitted).collect::<Vec<_>>().join("\n")
}

/// Returns the blanks before the next word, the word, and the rest.
fn next_word(text: &str) -> (&str, &str, &str) {
    let word = text.trim_start_matches(' ');
    let gap = &text[..text.len() - word.len()];
    let end = word.find(' ').unwrap_or(word.len());
    (gap, &word[..end], &word[end..])
}

/// Returns where to break a word that has this much room: after one of its signs, if there is one.
/// It is at least one character.
fn break_of(word: &str, room: usize) -> usize {
    let mut taken = 0;
    let (mut fits, mut sign) = (0, 0);
    for (at, character) in word.char_indices() {
        taken += character.width().unwrap_or(0);
        if taken > room {
            break;
        }
        fits = at + character.len_utf8();
        if "/-,:@[=&?".contains(character) && fits > 1 {
            sign = fits;
        }
    }
    let first = word.chars().next().map_or(0, char::len_utf8);
    let end = if sign > 0 { sign } else { fits.max(first) };
    match uuid_in(word) {
        Some(at) if at > 0 && at < end && end < at + UUID_CHARS => at,
        _ => end,
    }
}

/// Returns where the first UUID of a text begins.
fn uuid_in(text: &str) -> Option<usize> {
    let is_one = |it: &[u8]| {
        let dashes = [8, 13, 18, 23];
        let fits = |(at, byte): (usize, &u8)| {
            (*byte == b'-') == dashes.contains(&at) && (*byte == b'-' || byte.is_ascii_hexdigit())
        };
        it.iter().enumerate().all(fits)
    };
    text.as_bytes().windows(UUID_CHARS).position(is_one)
}

/// The length of a UUID as it is written.
const UUID_CHARS: usize = 36;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_addresses_at_their_signs() {
        let check = |line: &str, width, start, hang, expected: &str| {
            let fitted = fitted(line, Some(width), start, hang);
            assert_eq!(fitted, expected);
            for line in fitted.lines().skip(1) {
                assert!(line.width() <= usize::from(width), "{fitted}");
            }
        };
        check("it fits", 7, 0, 2, "it fits");
        check("it does not", 7, 0, 2, "it does\n  not");
        check("error is here", 14, 7, 7, "error\n       is here");
        check("  state     ready", 12, 0, 12, "  state\n      ready");
        check("at /unix/run/callsign/x.sock", 20, 0, 3, "at /unix/run/\n   callsign/x.sock");
        check("is at /unix/run/callsign/x", 20, 0, 3, "is at\n   /unix/run/\n   callsign/x");
        check("xxxxxxxxxxxx", 5, 0, 1, "xxxxx\n xxxx\n xxx");
        check("東京東京", 3, 0, 0, "東\n京\n東\n京");
        check("a  b", 80, 0, 0, "a  b");
        // A UUID is for copying.
        let uuid = "1d61dfad-5c8d-85a7-ac53-d58244bb5f40";
        let line = format!("  instance  dead[{uuid}]");
        check(&line, 40, 0, 12, &format!("  instance  dead[\n   {uuid}]"));
        check(&line, 60, 0, 12, &line);
        let line = format!("registered dead[{uuid}] for 1m");
        check(&line, 40, 0, 2, &format!("registered dead[\n  {uuid}]\n  for 1m"));
        check(&format!("at {uuid}"), 38, 0, 2, &format!("at\n {uuid}"));
        check("    at x", 2, 4, 4, "    \n a\n t\n x");
        assert_eq!(fitted(&"x".repeat(200), None, 0, 0).len(), 200);
    }

    #[test]
    fn every_width_has_its_lines() {
        let words = |text: &str| text.split_whitespace().collect::<String>();
        for line in ["", "error: /unix/run/callsign/x.sock is 東京", "      a     b"] {
            for width in 1..=20 {
                for (start, hang) in (0..=25).flat_map(|it| [(0, it), (it, 0), (it, it)]) {
                    let fitted = fitted(line, Some(width), start, hang);
                    assert_eq!(words(&fitted), words(line), "{width} {start} {hang}");
                }
            }
        }
    }

    #[test]
    fn each_line_of_several_is_fitted() {
        let text = "no registrar can be reached:\n  /unix/x: nobody listens there";
        assert_eq!(
            fitted_lines(text, Some(20)),
            "no registrar can be\n  reached:\n  /unix/x: nobody\n    listens there"
        );
    }
}
