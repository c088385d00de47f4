//! The first bytes of every connection, which identify callsign's protocol.
//!
//! Eight bytes: a magic of six, then the protocol's version as a little-endian `u16`. The first
//! byte is no ASCII letter (so not HTTP) and not 22 (so not TLS); the first four, read as a length,
//! are over a gigabyte (so no frame of a protocol that begins with a bounded length); the line
//! ending reveals a transport that alters text, as in PNG's signature
//! (<https://www.w3.org/TR/png-3/#5PNG-file-signature>).

use thiserror::Error;

/// The length of the preface in bytes.
pub const PREFACE_BYTES: usize = 8;

/// The version that this library speaks.
pub const VERSION: u16 = 1;

/// Returns the preface of this library's version.
pub fn preface() -> [u8; PREFACE_BYTES] {
    let [low, high] = VERSION.to_le_bytes();
    let [a, b, c, d, e, f] = MAGIC;
    [a, b, c, d, e, f, low, high]
}

/// Tells whether `bytes`, possibly cut short, may be the beginning of a preface.
pub fn may_begin(bytes: &[u8]) -> bool {
    let length = bytes.len().min(MAGIC.len());
    bytes[..length] == MAGIC[..length]
}

/// Names the fault of first bytes that are no preface, however few they are.
pub fn other(bytes: &[u8]) -> PrefaceError {
    match bytes {
        // The kind of a record of TLS, and the first part of its version.
        [20..=23, 3, ..] => PrefaceError::Tls,
        _ => PrefaceError::OtherProtocol,
    }
}

/// Checks a peer's preface.
///
/// # Errors
///
/// [`PrefaceError`] when the peer speaks another protocol, or another version of this one.
pub fn check(bytes: &[u8; PREFACE_BYTES]) -> Result<(), PrefaceError> {
    if !may_begin(bytes) {
        return Err(other(bytes));
    }
    match u16::from_le_bytes([bytes[6], bytes[7]]) {
        VERSION => Ok(()),
        theirs => Err(PrefaceError::OtherVersion { theirs }),
    }
}

/// Why a connection does not begin as it should.
///
/// ```
/// # use callsign_wire::preface as callsign;
/// use callsign::PrefaceError;
///
/// /// Tells whether an endpoint lacks its `/tls`.
/// fn lacks_tls(error: &PrefaceError) -> bool {
///     matches!(error, PrefaceError::Tls)
/// }
/// ```
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum PrefaceError {
    /// The first bytes are not callsign's.
    #[error("the peer does not speak callsign's protocol")]
    OtherProtocol,
    /// The first bytes are those of TLS.
    #[error("the peer speaks TLS, and this side does not: does the endpoint lack `/tls`?")]
    Tls,
    /// The version is not ours.
    #[error(
        "the peer speaks version {theirs} of callsign's protocol, and this is version {VERSION}"
    )]
    OtherVersion {
        /// The version of the peer.
        theirs: u16,
    },
}

const MAGIC: [u8; 6] = [0xC5, b'S', b'G', b'N', b'\r', b'\n'];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefaces_are_told_apart() {
        assert_eq!(check(&preface()), Ok(()));
        assert_eq!(check(b"GET / HT"), Err(PrefaceError::OtherProtocol));
        assert_eq!(check(b"\x16\x03\x01\x02\x00\x01\x00\x01"), Err(PrefaceError::Tls));
        assert_eq!(other(b"\x15\x03\x03\x00\x02\x02\x32"), PrefaceError::Tls);
        assert_eq!(other(b"\x16"), PrefaceError::OtherProtocol);
        assert_eq!(check(b"\xC5SGN\n\x01\x00\x00"), Err(PrefaceError::OtherProtocol));
        assert_eq!(check(b"\xC5SGN\r\n\x02\x01"), Err(PrefaceError::OtherVersion { theirs: 258 }));
        for length in 0..=PREFACE_BYTES {
            assert!(may_begin(&preface()[..length]));
        }
        assert!(!may_begin(b"\x16\x03\x01"));
    }
}
