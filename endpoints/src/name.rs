//! What actors are called.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

/// The name of an actor: 1 to 255 bytes of UTF-8 without control characters, white space, `/`,
/// `*` or `?`. Names are not unique; [instances](InstanceId) are.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

impl Name {
    /// The most bytes that a name may have: what fits one byte of length, and a file name.
    pub const BYTES_MAX: usize = 255;

    /// Checks `text` and takes it as a name.
    ///
    /// # Errors
    ///
    /// [`NameError`] says which rule `text` breaks.
    pub fn new(text: &str) -> Result<Self, NameError> {
        check(text, |it| matches!(it, '*' | '?'))?;
        Ok(Self(text.into()))
    }

    /// Returns the name as text.
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
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
pub struct InstanceId {
    /// What the actor is called.
    pub name: Name,
    /// What tells this run from every other.
    pub uuid: Uuid,
}

impl InstanceId {
    /// The most endpoints that an instance may have. One of each kind is a handful; a
    /// wildcard address that stands for every interface of a large host takes some dozens.
    pub const ENDPOINTS_MAX: usize = 64;
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.name, self.uuid)
    }
}

/// A name, or a pattern of names: `*` stands for any run of characters, `?` for any one.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct NamePattern(Arc<str>);

impl NamePattern {
    /// Matches every name.
    pub fn any() -> Self {
        Self("*".into())
    }

    /// Checks `text` and takes it as a pattern.
    ///
    /// # Errors
    ///
    /// [`NameError`], by the rules of [`Name`] save that `*` and `?` may stand in it.
    pub fn new(text: &str) -> Result<Self, NameError> {
        check(text, |_| false)?;
        Ok(Self(text.into()))
    }

    /// Returns the pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the one name that the pattern matches, if it has no `*` and no `?`.
    pub fn exact(&self) -> Option<Name> {
        Name::new(&self.0).ok()
    }

    /// Tells whether the pattern matches the whole of `name`, in time `O(pattern × name)`.
    pub fn matches(&self, name: &str) -> bool {
        let (mut pattern, mut rest) = (&*self.0, name);
        // Where to resume when what follows the last `*` does not fit: one character further on.
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

/// Why a text is not a name.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum NameError {
    /// The text has no characters.
    #[error("a name cannot be empty")]
    Empty,
    /// The text is longer than [`Name::BYTES_MAX`].
    #[error("a name has at most {} bytes, and this one has {bytes}", Name::BYTES_MAX)]
    TooLong {
        /// How long the text is.
        bytes: usize,
    },
    /// The text has a character that names do not have.
    #[error("a name cannot have {character:?} in it, as {text:?} has")]
    Forbidden {
        /// The whole text.
        text: String,
        /// The first character that does not belong.
        character: char,
    },
}

impl NameError {
    /// Returns what a name is made of.
    pub fn help(&self) -> &'static str {
        "a name is 1 to 255 bytes without white space, control characters, `/`, `*` or `?`"
    }
}

fn check(text: &str, also_forbidden: impl Fn(char) -> bool) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > Name::BYTES_MAX {
        return Err(NameError::TooLong { bytes: text.len() });
    }
    let forbidden =
        |it: char| it == '/' || it.is_control() || it.is_whitespace() || also_forbidden(it);
    match text.chars().find(|it| forbidden(*it)) {
        Some(character) => Err(NameError::Forbidden { text: text.to_owned(), character }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules() {
        for good in ["a", "feed", "feed.eu-1", "Börse", &"x".repeat(255)] {
            assert_eq!(Name::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a/b", "a\n", "a\u{a0}b", "f*", "f?", "\0", &"x".repeat(256)] {
            assert!(Name::new(bad).is_err(), "{bad:?}");
        }
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
