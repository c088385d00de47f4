//! The host id: a configured name for a host whose kernel identity is not usable.

use std::fmt;

use thiserror::Error;

use crate::plain::is_plain;

/// A configured name of a host, which replaces the identity that its kernel draws when it boots:
/// for containers of one kernel that see different identities, and for copied machines that share
/// one.
///
/// All programs on one kernel must have the same id, and no others. Two machines with one id take
/// each other's loopback addresses and abstract sockets for their own; without proof of identity, a
/// caller then reaches its own machine's actor and takes it for the other's.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::HostId;
///
/// let host = HostId::new("rack-7")?;
/// assert_eq!(host.as_str(), "rack-7");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct HostId(Box<str>);

impl HostId {
    /// Accepts 1 to 255 bytes without white space, control characters and others that are not
    /// [plain](is_plain).
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::HostId;
    ///
    /// assert_eq!(HostId::new("rack-7")?.as_str(), "rack-7");
    /// assert!(HostId::new("").is_err());
    /// # Ok::<(), endpoints::HostIdError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`HostIdError`] for any other string.
    pub fn new(text: &str) -> Result<Self, HostIdError> {
        let is_strange = |it: char| it == ' ' || !is_plain(it);
        match text {
            "" => Err(HostIdError::Empty),
            _ if text.len() > BYTES_MAX => Err(HostIdError::TooLong { bytes: text.len() }),
            _ if text.contains(is_strange) => Err(HostIdError::Strange),
            _ => Ok(Self(text.into())),
        }
    }

    /// Returns the text.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::HostId;
    ///
    /// assert_eq!(HostId::new("rack7-node3")?.as_str(), "rack7-node3");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The reason why a string is not a host id.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::{HostId, HostIdError};
///
/// assert_eq!(HostId::new("").unwrap_err(), HostIdError::Empty);
/// ```
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant's message says what it is")]
pub enum HostIdError {
    #[error("a host id cannot be empty")]
    Empty,
    #[error("a host id has at most {BYTES_MAX} bytes, and this has {bytes}")]
    TooLong { bytes: usize },
    #[error("a host id cannot have white space, control or invisible characters")]
    Strange,
}

/// As long as a host name may be, and a little more.
const BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_id_is_one_plain_word() {
        let check = |text: &str, expected: Option<HostIdError>| {
            assert_eq!(HostId::new(text).err(), expected, "{text}");
        };
        check("rack7-node3", None);
        check("größe", None);
        check(&"x".repeat(255), None);
        check("", Some(HostIdError::Empty));
        check(&"x".repeat(256), Some(HostIdError::TooLong { bytes: 256 }));
        check("two words", Some(HostIdError::Strange));
        check("line\n", Some(HostIdError::Strange));
    }
}
