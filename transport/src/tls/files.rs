//! The files of a certificate: how they are read, and what can be wrong with them.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
};

use rustls::pki_types::{CertificateDer, pem::PemObject};
use thiserror::Error as ThisError;

/// What is wrong with a file, as the end of a sentence.
///
/// ```
/// # use transport as callsign;
/// use callsign::{TlsFault, TlsFilesError};
///
/// /// Tells whether a key has to be closed to others.
/// fn is_open(error: &TlsFilesError) -> bool {
///     matches!(error.fault, TlsFault::OpenToOthers { .. })
/// }
/// ```
#[derive(Debug, ThisError)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant's message says what it is")]
pub enum TlsFault {
    #[error("cannot be read: {0}")]
    Io(io::Error),
    #[error("is not a regular file")]
    NotAFile,
    #[error("is empty")]
    Empty,
    #[error("is larger than 4 MiB")]
    TooLarge,
    #[error("holds no certificate in PEM")]
    NoCertificate,
    #[error("holds no private key in PEM")]
    NoKey,
    #[error("is a folder without a certificate")]
    EmptyFolder,
    #[error("holds a certificate that cannot be read")]
    BadCertificate,
    #[error("holds a private key that cannot be read")]
    BadKey,
    #[error("can be read by others (mode {mode:04o})")]
    OpenToOthers { mode: u32 },
    #[error("belongs to user {owner}, and this is user {user}")]
    NotOurs { owner: u32, user: u32 },
    #[error("is not the key of the certificate")]
    OtherKey,
    #[error("holds the certificate of the key, but not first")]
    NotFirst,
    #[error("is not signed by an authority of `ca`")]
    OtherAuthority { signer: String, has_namesake: bool },
    #[error("has the authority that signed the certificate, and that one has expired")]
    ExpiredAuthority,
    #[error("{0}")]
    Unacceptable(&'static str),
    #[error("has expired")]
    Expired,
    #[error("is not valid yet: check the clock")]
    NotYetValid,
    #[error("is not for TLS servers and clients")]
    OtherPurpose,
    #[error("cannot be used: {0}")]
    Other(String),
}

impl TlsFault {
    /// Tells whether it may pass by itself: a certificate is renewed, and a clock is set.
    ///
    /// ```
    /// # use transport as callsign;
    /// use callsign::TlsFault;
    ///
    /// assert!(TlsFault::NotYetValid.may_pass());
    /// assert!(!TlsFault::OtherKey.may_pass(), "somebody has to name the right one");
    /// ```
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Expired | Self::ExpiredAuthority | Self::NotYetValid)
    }
}

pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    if pem.trim_ascii().is_empty() {
        return Err(TlsFault::Empty);
    }
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if all.is_empty() => Err(TlsFault::NoCertificate),
        Ok(all) => Ok(all),
        Err(_) => Err(TlsFault::BadCertificate),
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Secrecy {
    Public,
    Secret,
}

pub(super) fn read(path: &Path, secrecy: Secrecy) -> Result<Vec<u8>, TlsFault> {
    let status = fs::metadata(path).map_err(TlsFault::Io)?;
    if !status.is_file() {
        return Err(TlsFault::NotAFile);
    }
    let file = File::open(path).map_err(TlsFault::Io)?;
    if secrecy == Secrecy::Secret {
        check_access(&file.metadata().map_err(TlsFault::Io)?)?;
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(TlsFault::Io)?;
    match bytes.len() as u64 {
        0 => Err(TlsFault::Empty),
        1..=BYTES_MAX => Ok(bytes),
        _ => Err(TlsFault::TooLarge),
    }
}

/// Checks that nobody else reads a key: it is this user's alone, or root's and of a group. Service
/// managers pass credentials in the latter form too.
fn check_access(status: &fs::Metadata) -> Result<(), TlsFault> {
    let (owner, user) = (status.uid(), rustix::process::geteuid().as_raw());
    if ![0, user].contains(&owner) {
        return Err(TlsFault::NotOurs { owner, user });
    }
    let mode = status.mode() & 0o7777;
    let closed = if owner == 0 { 0o037 } else { 0o077 };
    if mode & closed != 0 {
        return Err(TlsFault::OpenToOthers { mode });
    }
    Ok(())
}

/// The most bytes of a file: a thousand authorities.
const BYTES_MAX: u64 = 4 * 1024 * 1024;
