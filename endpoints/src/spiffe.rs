//! SPIFFE IDs, by which certificates say whose they are.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::error::Quoted;

/// Whose a certificate is: `spiffe://DOMAIN/PATH`, by the rules of the SPIFFE ID standard.
///
/// ```
/// use endpoints::SpiffeId;
///
/// let id: SpiffeId = "spiffe://market.example/feed/eurusd".parse()?;
/// assert_eq!(id.domain().as_str(), "market.example");
/// assert_eq!(id.path().as_str(), "feed/eurusd");
/// assert_eq!(id.to_string(), "spiffe://market.example/feed/eurusd");
/// # Ok::<(), endpoints::SpiffeError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SpiffeId {
    domain: TrustDomain,
    path: SpiffePath,
}

impl SpiffeId {
    /// The scheme of the URI, with what separates it from the domain.
    pub const SCHEME: &str = "spiffe://";

    /// The most bytes of the URI.
    pub const BYTES_MAX: usize = 2048;

    /// Joins a trust domain and a path.
    ///
    /// ```
    /// use endpoints::{SpiffeId, SpiffePath, TrustDomain};
    ///
    /// let (domain, path) = (TrustDomain::new("market.example")?, SpiffePath::new("feed")?);
    /// assert_eq!(SpiffeId::new(domain, path)?.to_string(), "spiffe://market.example/feed");
    /// # Ok::<(), endpoints::SpiffeError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SpiffeError::TooLong`], if they are together.
    pub fn new(domain: TrustDomain, path: SpiffePath) -> Result<Self, SpiffeError> {
        let bytes = Self::SCHEME.len() + domain.0.len() + 1 + path.0.len();
        if bytes > Self::BYTES_MAX {
            return Err(SpiffeError::TooLong { bytes });
        }
        Ok(Self { domain, path })
    }

    /// Returns the trust domain, for which one authority signs, or several.
    pub fn domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// Returns who it is within the trust domain.
    pub fn path(&self) -> &SpiffePath {
        &self.path
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeError;

    fn from_str(text: &str) -> Result<Self, SpiffeError> {
        let rest = text
            .strip_prefix(Self::SCHEME)
            .ok_or_else(|| SpiffeError::Scheme { text: text.to_owned() })?;
        let (domain, path) = rest.split_once('/').unwrap_or((rest, ""));
        Self::new(TrustDomain::new(domain)?, SpiffePath::new(path)?)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)
    }
}

/// The trust domain of a SPIFFE ID: 1 to 255 lower-case letters, digits, `.`, `-` and `_`.
///
/// ```
/// use endpoints::TrustDomain;
///
/// assert_eq!(TrustDomain::new("market.example")?.to_string(), "spiffe://market.example");
/// assert!(TrustDomain::new("Market").is_err());
/// # Ok::<(), endpoints::SpiffeError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TrustDomain(Box<str>);

impl TrustDomain {
    /// The most bytes of a trust domain.
    pub const BYTES_MAX: usize = 255;

    /// Checks `text` and takes it as a trust domain.
    ///
    /// # Errors
    ///
    /// [`SpiffeError`] says which rule `text` breaks.
    pub fn new(text: &str) -> Result<Self, SpiffeError> {
        let is_good = |it: char| matches!(it, 'a'..='z' | '0'..='9' | '.' | '-' | '_');
        let strange = text.chars().find(|it| !is_good(*it));
        let domain = || text.to_owned();
        match (text, strange) {
            ("", _) => Err(SpiffeError::NoDomain),
            (_, Some(strange)) => Err(SpiffeError::DomainCharacter { domain: domain(), strange }),
            _ if text.len() > Self::BYTES_MAX => {
                Err(SpiffeError::DomainTooLong { bytes: text.len() })
            }
            _ => Ok(Self(text.into())),
        }
    }

    /// Returns the name alone, without the scheme.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Writes the SPIFFE ID of the domain itself, which its authority has: `spiffe://DOMAIN`.
impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", SpiffeId::SCHEME, self.0)
    }
}

/// The path of a SPIFFE ID: parts of letters, digits, `.`, `-` and `_`, with `/` between them.
///
/// ```
/// use endpoints::SpiffePath;
///
/// assert_eq!(SpiffePath::new("feed/eurusd")?.as_str(), "feed/eurusd");
/// assert!(SpiffePath::new("feed/../root").is_err());
/// # Ok::<(), endpoints::SpiffeError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SpiffePath(Box<str>);

impl SpiffePath {
    /// Checks `text`, which has no `/` at its beginning, and takes it as a path.
    ///
    /// # Errors
    ///
    /// [`SpiffeError`] says which rule `text` breaks.
    pub fn new(text: &str) -> Result<Self, SpiffeError> {
        let is_good = |it: char| it.is_ascii_alphanumeric() || matches!(it, '.' | '-' | '_');
        let path = || text.to_owned();
        if text.is_empty() {
            return Err(SpiffeError::NoPath);
        }
        for part in text.split('/') {
            match (part, part.chars().find(|it| !is_good(*it))) {
                ("", _) => return Err(SpiffeError::EmptyPart { path: path() }),
                ("." | "..", _) => return Err(SpiffeError::Dots { path: path() }),
                (_, Some(strange)) => {
                    return Err(SpiffeError::PathCharacter { path: path(), strange });
                }
                _ => {}
            }
        }
        Ok(Self(text.into()))
    }

    /// Returns the path, without a `/` at its beginning.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SpiffePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The rule of a SPIFFE ID that a text breaks.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant's message says what it is")]
pub enum SpiffeError {
    #[error("{} does not begin with `spiffe://`", Quoted(.text))]
    Scheme { text: String },
    #[error("a trust domain has at least one character")]
    NoDomain,
    #[error(
        "a trust domain has lower-case letters, digits, `.`, `-` and `_`: {} in {} is none of them",
        Quoted(&.strange.to_string()), Quoted(.domain)
    )]
    DomainCharacter { domain: String, strange: char },
    #[error("a trust domain has at most 255 bytes; this one has {bytes}")]
    DomainTooLong { bytes: usize },
    #[error("the path of a SPIFFE ID has at least one character")]
    NoPath,
    #[error(
        "the path of a SPIFFE ID has letters, digits, `.`, `-`, `_`, and `/` between its parts: \
         {} in {} is none of them",
        Quoted(&.strange.to_string()), Quoted(.path)
    )]
    PathCharacter { path: String, strange: char },
    #[error("no part of the path of a SPIFFE ID is empty, and one of {} is", Quoted(.path))]
    EmptyPart { path: String },
    #[error("no part of the path of a SPIFFE ID is `.` or `..`, and one of {} is", Quoted(.path))]
    Dots { path: String },
    #[error("a SPIFFE ID has at most 2048 bytes; this one would have {bytes}")]
    TooLong { bytes: usize },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spiffe_id_is_read_as_it_is_written() {
        let long = format!("spiffe://{}/{}", "a".repeat(255), "b".repeat(1783));
        let deep = format!("spiffe://a/{}", "b".repeat(2037));
        for text in
            ["spiffe://a/b", "spiffe://a-b_c.9/B/c.d/..e", "spiffe://1.2.3.4/x", &long, &deep]
        {
            assert_eq!(text.parse::<SpiffeId>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_refused_with_the_rule() {
        let check = |text: &str, expected: &str| {
            let error = text.parse::<SpiffeId>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        };
        check("https://a/b", "does not begin with `spiffe://`");
        check("SPIFFE://a/b", "does not begin with `spiffe://`");
        check("spiffe:///b", "a trust domain has at least one character");
        check("spiffe://A/b", "`A` in `A` is none of them");
        check("spiffe://a:80/b", "`:` in `a:80` is none of them");
        check("spiffe://u@a/b", "`@` in `u@a` is none of them");
        check("spiffe://a", "at least one character");
        check("spiffe://a/", "at least one character");
        check("spiffe://a/b/", "no part");
        check("spiffe://a//b", "no part");
        check("spiffe://a/./b", "`.` or `..`");
        check("spiffe://a/b/..", "`.` or `..`");
        check("spiffe://a/b?q", "`?` in `b?q` is none of them");
        check("spiffe://a/b#f", "`#` in `b#f` is none of them");
        check("spiffe://a/%41", "`%` in `%41` is none of them");
        check("spiffe://a/ä", "`ä` in `ä` is none of them");
        check(&format!("spiffe://{}/b", "a".repeat(256)), "at most 255 bytes");
        check(&format!("spiffe://a/{}", "b".repeat(2038)), "at most 2048 bytes");
    }
}
