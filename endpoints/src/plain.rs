//! Plain characters, which a screen shows unchanged, and escapes for the others.

use std::fmt::{self, Write};

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// A foreign text as it may stand on a line of a screen: what a terminal would obey, would not
/// show, or would turn the text around for stands escaped, as `\u{202e}`.
#[derive(Clone, Copy, Debug)]
pub struct Plain<'a>(pub &'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_plain(f, self.0.chars(), is_plain)
    }
}

/// A text of several lines as it may stand on a screen: like [`Plain`], but its lines stay.
#[derive(Clone, Copy, Debug)]
pub struct PlainLines<'a>(pub &'a str);

impl fmt::Display for PlainLines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_plain(f, self.0.chars(), |it| it == '\n' || is_plain(it))
    }
}

/// Writes characters, and escapes those that are not plain.
pub(crate) fn write_plain(
    f: &mut impl Write,
    characters: impl Iterator<Item = char>,
    is_plain: impl Fn(char) -> bool,
) -> fmt::Result {
    for character in characters {
        if is_plain(character) {
            f.write_char(character)?
        } else {
            write!(f, "{}", character.escape_default())?
        }
    }
    Ok(())
}

/// Tells whether a screen shows a character unchanged. That excludes characters that control a
/// terminal, change the direction of text, have no width or shape, are a space other than U+0020,
/// or are private or unassigned.
pub fn is_plain(character: char) -> bool {
    use GeneralCategory as Category;

    if character.is_ascii() {
        return !character.is_ascii_control();
    }
    let is_without_shape = matches!(
        character.general_category(),
        Category::Control
            | Category::Format
            | Category::Surrogate
            | Category::PrivateUse
            | Category::Unassigned
            | Category::SpaceSeparator
            | Category::LineSeparator
            | Category::ParagraphSeparator
    );
    !is_without_shape && !BLANK.iter().any(|(first, last)| (*first..=*last).contains(&character))
}

/// Tells whether a character is a quote of documents, which no program takes for one of a keyboard's.
///
/// ```
/// use endpoints::is_typographic_quote;
///
/// assert!("“”‘’„«»".chars().all(is_typographic_quote));
/// assert!(!"\"'`".contains(is_typographic_quote));
/// ```
pub fn is_typographic_quote(character: char) -> bool {
    matches!(character, '\u{2018}'..='\u{201f}' | '«' | '»' | '‹' | '›' | '\u{ff02}' | '\u{ff07}')
}

/// Tells whether a character is drawn onto the one before it.
pub(crate) fn is_mark(character: char) -> bool {
    use GeneralCategory as Category;

    let category = character.general_category();
    matches!(category, Category::NonspacingMark | Category::SpacingMark | Category::EnclosingMark)
}

/// Invisible characters that the category does not tell: those of the property
/// `Default_Ignorable_Code_Point` that are neither format characters nor unassigned, and three
/// blank or replacement symbols.
const BLANK: &[(char, char)] = &[
    ('\u{34f}', '\u{34f}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fffc}', '\u{fffc}'),
    ('\u{1d159}', '\u{1d159}'),
    ('\u{e0100}', '\u{e01ef}'),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_has_nothing_to_obey_and_hides_nothing() {
        let check = |text: &str, expected: &str| {
            assert_eq!(Plain(text).to_string(), expected, "{text:?}");
        };
        check("callsign/0.1.0", "callsign/0.1.0");
        check("größer ✓ 東京 हिन्दी 😀", "größer ✓ 東京 हिन्दी 😀");
        check("\u{1b}[2Jgone\r\n", "\\u{1b}[2Jgone\\r\\n");
        check("\u{202e}bew", "\\u{202e}bew");
        check("web\u{200b}", "web\\u{200b}");
        check("a\u{a0}b\u{3000}c", "a\\u{a0}b\\u{3000}c");
        check("\u{2066}x\u{2069}\u{feff}", "\\u{2066}x\\u{2069}\\u{feff}");
        check("tag\u{e0041}", "tag\\u{e0041}");
        check("❤\u{fe0f}\u{200d}", "❤\\u{fe0f}\\u{200d}");
        check("\u{3164}\u{2800}\u{34f}", "\\u{3164}\\u{2800}\\u{34f}");
        check("\u{e000}\u{378}\u{85}\u{2028}", "\\u{e000}\\u{378}\\u{85}\\u{2028}");
        assert_eq!(PlainLines("a\n\tb\u{7f}").to_string(), "a\n\\tb\\u{7f}");
    }
}
