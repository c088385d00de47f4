//! Masks for everything that differs between runs.

/// Returns a text with instances and durations replaced by a word for each, and white space
/// between words made one space.
pub(crate) fn masked(text: &str) -> String {
    let line = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        if let ["owner", _] = words[..] {
            return "owner OWNER".to_owned();
        }
        let mut masked = Vec::new();
        for (at, word) in words.iter().enumerate() {
            let is_number = word.bytes().all(|it| it.is_ascii_digit());
            let has_unit = words.get(at + 1).is_some_and(|it| UNITS.contains(it));
            if is_number && has_unit {
                masked.push("NUMBER".to_owned())
            } else {
                masked.push(masked_word(word))
            }
        }
        masked.join(" ")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn masked_word(word: &str) -> String {
    let is_part = |it: char| it.is_ascii_alphanumeric() || it == '-';
    let part = |part: &str| {
        let is_hex = |it: u8| it == b'-' || it.is_ascii_digit() || (b'a'..=b'f').contains(&it);
        let number = part.trim_end_matches(char::is_alphabetic);
        let is_time = number.bytes().all(|it| it.is_ascii_digit())
            && !number.is_empty()
            && UNITS.contains(&&part[number.len()..]);
        match part.len() {
            8 | 36 if part.bytes().all(is_hex) => "INSTANCE".to_owned(),
            _ if is_time => "TIME".to_owned(),
            _ => part.to_owned(),
        }
    };
    let mut masked = String::new();
    let mut rest = word;
    while let Some(char) = rest.chars().next() {
        let length = rest.find(|it| !is_part(it)).unwrap_or(rest.len()).max(char.len_utf8());
        let (one, after) = rest.split_at(length);
        masked += &if is_part(char) { part(one) } else { one.to_owned() };
        rest = after;
    }
    masked
}

const UNITS: [&str; 6] = ["µs", "ms", "s", "m", "h", "d"];

#[test]
fn only_varying_text_is_masked() {
    let check = |text: &str, expected: &str| assert_eq!(masked(text), expected);
    check("feed[b9e83998-70ff-49f7-8d50-186709cc8197]", "feed[INSTANCE]");
    check("chart  b9e83998   ready", "chart INSTANCE ready");
    check("age  12s", "age TIME");
    check("  owner     alice", "owner OWNER");
    check("answers in  11 ms", "answers in NUMBER ms");
    check("/ip4/127.0.0.1/tcp/7616 +1", "/ip4/127.0.0.1/tcp/7616 +1");
}
