//! Masks for everything that differs between runs.

use serde_json::Value;

/// Returns a text with instances, ages and process ids replaced by a word for each. In columns, a
/// word has the length of the original.
pub(crate) fn masked(text: &str) -> String {
    let mut masked = String::new();
    for line in text.lines() {
        let line = masked_words(line);
        let line = match line.trim_start().strip_prefix("owner ") {
            Some(owner) => line[..line.len() - owner.trim_start().len()].to_owned() + "OWNER",
            None => line,
        };
        let line = aged_in_row(&line);
        let is_aged = line.contains("INSTANCE ") || line.starts_with("  age ");
        let line = match line.rsplit_once(' ') {
            Some((rest, last)) if is_aged && is_duration(last) => format!("{rest} AGE"),
            _ => line,
        };
        masked += &line;
        masked += "\n";
    }
    masked
}

/// Returns lines of JSON, pretty-printed, with the varying values masked.
pub(crate) fn masked_json(text: &str) -> String {
    let mut masked = String::new();
    for line in text.lines() {
        match serde_json::from_str(line) {
            Ok(mut value) => {
                mask_values(&mut value);
                masked += &serde_json::to_string_pretty(&value).unwrap();
            }
            Err(_) => masked += line,
        }
        masked += "\n";
    }
    masked
}

fn mask_values(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(mask_values),
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), &value) {
                    (_, Value::Null) => {}
                    ("stamp", _) => *value = "STAMP".into(),
                    ("uuid", _) => *value = "UUID".into(),
                    ("owner", _) => *value = "OWNER".into(),
                    ("age_ms" | "since_ms" | "epoch" | "took_us" | "user", _) => {
                        *value = "NUMBER".into()
                    }
                    _ => mask_values(value),
                }
            }
        }
        Value::String(text) => *text = masked_words(text),
        _ => {}
    }
}

/// Masks UUIDs and their first digits.
fn masked_words(line: &str) -> String {
    let is_part = |it: char| it.is_ascii_alphanumeric() || it == '-';
    let mut masked = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let is_word = is_part(first);
        let length = rest.find(|it| is_part(it) != is_word).unwrap_or(rest.len());
        let (part, after) = rest.split_at(length);
        let is_hex = part.bytes().all(|it| matches!(it, b'-' | b'0'..=b'9' | b'a'..=b'f'));
        masked += match part.len() {
            36 if is_hex => "UUID",
            8 if is_hex && !part.contains('-') => "INSTANCE",
            _ => part,
        };
        rest = after;
    }
    masked
}

/// Masks the age of an instance that has columns behind it, and keeps those aligned.
fn aged_in_row(line: &str) -> String {
    if !line.contains("INSTANCE ") {
        return line.to_owned();
    }
    let mut at = 0;
    for word in line.split(' ') {
        let behind = &line[at + word.len()..];
        let pad = "AGE".len().saturating_sub(word.len());
        if is_duration(word) && behind.starts_with(&" ".repeat(pad + 2)) {
            return format!("{}AGE{}", &line[..at], &behind[pad..]);
        }
        at += word.len() + 1;
    }
    line.to_owned()
}

fn is_duration(word: &str) -> bool {
    let number = word.trim_end_matches(char::is_alphabetic);
    let unit = &word[number.len()..];
    !number.is_empty()
        && number.bytes().all(|it| it.is_ascii_digit())
        && ["ms", "s", "m", "h", "d"].contains(&unit)
}

#[test]
fn only_varying_text_is_masked() {
    let check = |text: &str, expected: &str| assert_eq!(masked(text), format!("{expected}\n"));
    check("feed[b9e83998-70ff-49f7-8d50-186709cc8197]", "feed[UUID]");
    check("feed  b9e83998  ready  lease  12ms", "feed  INSTANCE  ready  lease  AGE");
    check("far  b9e83998  lease  0s   no socket", "far  INSTANCE  lease  AGE  no socket");
    check("far  b9e83998  lease  12s  no socket", "far  INSTANCE  lease  AGE  no socket");
    check("  age       0s", "  age       AGE");
    check("  lifetime  lease of 30s", "  lifetime  lease of 30s");
    check("  owner     alice", "  owner     OWNER");
    check("--------", "--------");
}
