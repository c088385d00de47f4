//! Names of actors.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use unicode_normalization::{UnicodeNormalization, is_nfc};
use uuid::Uuid;

use crate::{
    error::Quoted,
    plain::{is_mark, is_plain},
};

/// The name of an actor: 1 to 255 bytes of UTF-8 without white space, `/`, `*`, `?`, and characters
/// that are not [plain](is_plain): control characters, invisible ones, and those that change the
/// direction of text.
///
/// It does not begin with `-`, which commands would read as a flag, or with a combining mark, and
/// is neither `.` nor `..`. It is in the composed form of Unicode (NFC), so that equal text means
/// equal bytes. Letters of two scripts that look alike make two names. Names are not unique;
/// [instances](InstanceId) are.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::Name;
///
/// let name: Name = "feed.eurusd".parse()?;
/// assert_eq!(name.as_str(), "feed.eurusd");
/// assert!(Name::new("two words").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

impl Name {
    /// The most bytes that a name may have: what fits one byte of length, and a file name.
    pub const BYTES_MAX: usize = 255;

    /// Checks `text` and takes it as a name.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Name;
    ///
    /// assert!(Name::new("order.book").is_ok());
    /// assert!(Name::new("order book").is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// [`NameError`] says which rule `text` breaks.
    pub fn new(text: &str) -> Result<Self, NameError> {
        check(text, &['/', ' ', '*', '?'])?;
        Ok(Self(text.into()))
    }

    /// Returns the name as text.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Name;
    ///
    /// assert_eq!("feed".parse::<Name>()?.as_str(), "feed");
    /// # Ok::<(), endpoints::NameError>(())
    /// ```
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(&text)
    }
}

impl TryFrom<&str> for Name {
    type Error = NameError;

    fn try_from(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.as_str().to_owned()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One run of an actor. Two instances may share a name; no two share a `uuid`.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::{InstanceId, Name};
/// use uuid::Uuid;
///
/// let feed = InstanceId { name: Name::new("feed")?, uuid: Uuid::nil() };
/// assert_eq!(feed.to_string(), "feed[00000000-0000-0000-0000-000000000000]");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
pub struct InstanceId {
    /// The actor's name.
    pub name: Name,
    /// The identity of this run.
    pub uuid: Uuid,
}

impl InstanceId {
    /// The most endpoints of an instance. A listener of each kind makes a handful; a wildcard
    /// address of a large host stands for some dozens.
    pub const ENDPOINTS_MAX: usize = 64;
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.name, self.uuid)
    }
}

/// A name, or a pattern of names: `*` matches any run of characters, `?` any one.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::NamePattern;
///
/// let pattern = NamePattern::new("feed.*")?;
/// assert!(pattern.matches("feed.eurusd") && !pattern.matches("chart"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct NamePattern(Arc<str>);

impl NamePattern {
    /// Matches every name.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::NamePattern;
    ///
    /// assert!(NamePattern::any().matches("feed"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn any() -> Self {
        Self("*".into())
    }

    /// Validates a string as a pattern.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::NamePattern;
    ///
    /// assert!(NamePattern::new("feed.*").is_ok());
    /// assert!(NamePattern::new("a/b").is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// [`NameError`], by the rules of [`Name`], except that `*` and `?` are allowed.
    pub fn new(text: &str) -> Result<Self, NameError> {
        check(text, &['/', ' '])?;
        Ok(Self(text.into()))
    }

    /// Returns the pattern as text.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::NamePattern;
    ///
    /// assert_eq!(NamePattern::new("feed*")?.as_str(), "feed*");
    /// # Ok::<(), endpoints::NameError>(())
    /// ```
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the one name that the pattern matches, if it has no `*` and no `?`.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::NamePattern;
    ///
    /// let one = NamePattern::new("feed.eurusd")?;
    /// assert_eq!(one.exact().map(|it| it.to_string()).as_deref(), Some("feed.eurusd"));
    /// assert_eq!(NamePattern::any().exact(), None);
    /// # Ok::<(), endpoints::NameError>(())
    /// ```
    pub fn exact(&self) -> Option<Name> {
        Name::new(&self.0).ok()
    }

    /// Tells whether the pattern matches the whole of `name`, in time `O(pattern × name)`.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::NamePattern;
    ///
    /// let pattern = NamePattern::new("feed.*")?;
    /// assert!(pattern.matches("feed.eu") && !pattern.matches("chart"));
    /// # Ok::<(), endpoints::NameError>(())
    /// ```
    pub fn matches(&self, name: &str) -> bool {
        is_match(&self.0, name)
    }
}

/// Tells whether a pattern, as of names but of any characters, matches the whole of `text`, in
/// time `O(pattern × text)`.
pub fn is_match(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut rest) = (pattern, text);
    // The place to resume at when the part after the last `*` does not match: one character further
    // on.
    let mut resume: Option<(&str, &str)> = None;
    loop {
        let mut next = rest.chars();
        match (pattern.chars().next(), next.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                pattern = &pattern[1..];
                resume = Some((pattern, rest));
                continue;
            }
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
                pattern = &pattern[wanted.len_utf8()..];
                rest = next.as_str();
                continue;
            }
            _ => {}
        }
        let Some((after_star, from)) = resume else { return false };
        let mut shorter = from.chars();
        if shorter.next().is_none() {
            return false;
        }
        (pattern, rest) = (after_star, shorter.as_str());
        resume = Some((pattern, rest));
    }
}

impl FromStr for NamePattern {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl TryFrom<String> for NamePattern {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(&text)
    }
}

impl From<Name> for NamePattern {
    fn from(name: Name) -> Self {
        Self(name.0)
    }
}

impl From<NamePattern> for String {
    fn from(pattern: NamePattern) -> Self {
        pattern.as_str().to_owned()
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The reason why a string is not a name.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::{Name, NameError};
///
/// let error = Name::new("").unwrap_err();
/// assert_eq!(error, NameError::Empty);
/// assert_eq!(error.to_string(), "a name cannot be empty");
/// ```
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum NameError {
    /// The text has no characters.
    #[error("a name cannot be empty")]
    Empty,
    /// The text is longer than [`Name::BYTES_MAX`].
    #[error("a name has at most {} bytes, and this one has {bytes}", Name::BYTES_MAX)]
    TooLong {
        /// The length of the string.
        bytes: usize,
    },
    /// The text has a character that names do not have.
    #[error("a name cannot have {} in it, as {} has at character {position}", Shown(*.character), Quoted(.text))]
    Forbidden {
        /// The whole text.
        text: String,
        /// The first character that does not belong.
        character: char,
        /// The position of the character, from 1.
        position: usize,
    },
    /// The text begins with a character that names do not begin with.
    #[error("a name cannot begin with {}, as {} does: {}", Shown(*.character), Quoted(.text), why_not_first(*.character))]
    ForbiddenFirst {
        /// The whole text.
        text: String,
        /// The first character.
        character: char,
    },
    /// The text is `.` or `..`, which are folders to everybody else.
    #[error("{} means a folder, and cannot be a name", Quoted(.text))]
    Dots {
        /// The whole text.
        text: String,
    },
    /// The text is not in the composed form, so that another that looks the same is.
    #[error("a name is written in Unicode's composed form (NFC), as {} is not from character {position} on: it has {} for {}", Quoted(.text), CodePoints(.found), CodePoints(.composed))]
    NotComposed {
        /// The whole text.
        text: String,
        /// The position at which it differs from its composed form, from 1.
        position: usize,
        /// The characters there.
        found: String,
        /// The characters there in the composed form.
        composed: String,
    },
}

impl NameError {
    /// Returns what a name is made of.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Name;
    ///
    /// let error = Name::new("-feed").unwrap_err();
    /// assert!(error.help().starts_with("a name begins with a letter"));
    /// ```
    pub fn help(&self) -> &'static str {
        match self {
            Self::ForbiddenFirst { .. } => {
                "a name begins with a letter, a digit or another character that is drawn by itself"
            }
            Self::NotComposed { .. } => {
                "write it in the composed form: `uconv -x any-nfc` and most editors do"
            }
            _ => {
                "a name is 1 to 255 bytes without white space, `/`, `*`, `?`, control or invisible \
                 characters"
            }
        }
    }
}

/// A character that can be seen, or else its code point.
struct Shown(char);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ' ' => f.write_str("a space"),
            it if is_plain(it) && !is_mark(it) => write!(f, "`{it}`"),
            it => write!(f, "U+{:04X}", u32::from(it)),
        }
    }
}

/// Characters by their code points.
struct CodePoints<'a>(&'a str);

impl fmt::Display for CodePoints<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, character) in self.0.chars().enumerate() {
            let space = if at == 0 { "" } else { " " };
            write!(f, "{space}U+{:04X}", u32::from(character))?;
        }
        Ok(())
    }
}

fn why_not_first(character: char) -> &'static str {
    match character {
        '-' => "it would be taken for a flag",
        _ => "that is drawn onto the character before it",
    }
}

fn check(text: &str, forbidden: &[char]) -> Result<(), NameError> {
    let Some(first) = text.chars().next() else { return Err(NameError::Empty) };
    if text.len() > Name::BYTES_MAX {
        return Err(NameError::TooLong { bytes: text.len() });
    }
    let text_owned = || text.to_owned();
    let is_forbidden = |it: char| !is_plain(it) || forbidden.contains(&it);
    if let Some((at, character)) = text.chars().enumerate().find(|(_, it)| is_forbidden(*it)) {
        return Err(NameError::Forbidden { text: text_owned(), character, position: at + 1 });
    }
    if matches!(text, "." | "..") {
        return Err(NameError::Dots { text: text_owned() });
    }
    if first == '-' || (!first.is_ascii() && is_mark(first)) {
        return Err(NameError::ForbiddenFirst { text: text_owned(), character: first });
    }
    if text.is_ascii() || is_nfc(text) {
        return Ok(());
    }
    Err(not_composed(text))
}

/// Returns how a string first differs from its composed form.
fn not_composed(text: &str) -> NameError {
    let composed: String = text.nfc().collect();
    let same = text.chars().zip(composed.chars()).take_while(|(one, other)| one == other).count();
    let differing = text.chars().skip(same);
    // A character and the marks after it are composed together.
    let found: String = differing
        .enumerate()
        .take_while(|(at, it)| *at == 0 || is_mark(*it))
        .map(|(_, it)| it)
        .collect();
    NameError::NotComposed {
        text: text.to_owned(),
        position: same + 1,
        composed: found.nfc().collect(),
        found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules() {
        let long = "x".repeat(255);
        for good in ["a", "feed", "feed.eu-1", "Börse", "東京", "हिन्दी", "✓", ".x", "...", &long]
        {
            assert_eq!(Name::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a/b", "a\n", "a\u{a0}b", "f*", "f?", "\0", &"x".repeat(256)] {
            assert!(Name::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn invisible_characters_are_refused_in_names() {
        // Bidirectional controls, zero width, tags, variation selectors, blanks, other spaces.
        let unseen = "\u{202e}\u{2067}\u{61c}\u{200b}\u{200d}\u{2060}\u{feff}\u{ad}\u{34f}\
                      \u{e0041}\u{fe0f}\u{e0100}\u{180e}\u{3164}\u{115f}\u{2800}\u{3000}\
                      \u{2003}\u{2028}\u{1680}\u{85}\u{fff9}\u{e000}\u{fdd0}\u{378}\u{1d173}";
        for character in unseen.chars() {
            for text in [format!("web{character}"), format!("{character}web")] {
                let error = Name::new(&text).unwrap_err();
                assert!(matches!(error, NameError::Forbidden { .. }), "{text:?}: {error}");
                assert!(error.to_string().chars().all(is_plain), "{error:?}");
                NamePattern::new(&text).unwrap_err();
            }
        }
    }

    #[test]
    fn an_error_says_which_character_and_where() {
        let check = |text: &str, expected: &str| {
            assert_eq!(Name::new(text).unwrap_err().to_string(), expected);
        };
        check("a/b", "a name cannot have `/` in it, as `a/b` has at character 2");
        check("two words", "a name cannot have a space in it, as `two words` has at character 4");
        check(
            "ö\u{202e}bew",
            "a name cannot have U+202E in it, as `ö\\u{202e}bew` has at character 2",
        );
        check("-x", "a name cannot begin with `-`, as `-x` does: it would be taken for a flag");
        check(
            "--all",
            "a name cannot begin with `-`, as `--all` does: it would be taken for a flag",
        );
        check("..", "`..` means a folder, and cannot be a name");
        check(
            "\u{301}",
            "a name cannot begin with U+0301, as `\u{301}` does: that is drawn onto the character \
             before it",
        );
        check(
            "Bo\u{308}rse",
            "a name is written in Unicode's composed form (NFC), as `Bo\u{308}rse` is not from \
             character 2 on: it has U+006F U+0308 for U+00F6",
        );
        check(
            "5\u{212b}",
            "a name is written in Unicode's composed form (NFC), as `5\u{212b}` is not from \
             character 2 on: it has U+212B for U+00C5",
        );
    }

    #[test]
    fn patterns_match_whole_names() {
        let check = |pattern: &str, name: &str, expected: bool| {
            let matched = NamePattern::new(pattern).unwrap().matches(name);
            assert_eq!(matched, expected, "{pattern} on {name}");
        };
        check("feed", "feed", true);
        check("feed", "feeds", false);
        check("*", "anything", true);
        check("feed*", "feed", true);
        check("feed*", "feed.eu", true);
        check("*ed", "feed", true);
        check("f?ed", "feed", true);
        check("f?ed", "fed", false);
        check("f*e*d", "fxexexd", true);
        check("f*e*d", "fxexexdx", false);
        check("?", "ö", true);
        check("*ö?", "aböc", true);
        check("**a", "a", true);
    }

    #[test]
    fn a_pattern_that_backtracks_stays_quick() {
        let pattern = NamePattern::new(&"*a".repeat(120)).unwrap();
        assert!(!pattern.matches(&"ab".repeat(100)));
    }
}
