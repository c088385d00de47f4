//! Commands as they would be typed.

/// Breaks a long command between words, as a shell allows. An option stays with its value.
pub(super) fn broken_up(line: &str, width: usize) -> String {
    let mut text = String::new();
    let mut column = 0;
    let mut words = line.split(' ').peekable();
    while let Some(word) = words.next() {
        let value = words.next_if(|next| word.starts_with("--") && !next.starts_with('-'));
        let length = word.chars().count() + value.map_or(0, |it| it.chars().count() + 1);
        // There has to be room for ` \` beside it.
        if column > 0 && column + 1 + length + 2 > width {
            text += " \\\n    ";
            column = 4;
        } else if column > 0 {
            text += " ";
            column += 1;
        }
        text += word;
        if let Some(value) = value {
            text += " ";
            text += value;
        }
        column += length;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_commands_are_broken_between_words() {
        let check = |line, expected: &str| assert_eq!(broken_up(line, 20), expected);
        check("callsign ls", "callsign ls");
        check("callsign find abcdef", "callsign find \\\n    abcdef");
        check("callsign register -- true", "callsign register \\\n    -- true");
        check("callsign demo --act feed &", "callsign demo \\\n    --act feed &");
        check("abcdefghijklmnopqrstuvwxyz", "abcdefghijklmnopqrstuvwxyz");
    }
}
