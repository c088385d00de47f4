//! Why an authority cannot be made or used, or does not issue a certificate.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use endpoints::SpiffeError;
use thiserror::Error;

/// Why no authority was made. Nothing is left behind.
#[derive(Debug, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant's message says what it is")]
pub enum CreateError {
    #[error("`{}` already exists, and is left as it is", .path.display())]
    Exists { path: PathBuf },
    #[error("cannot make the folder `{}`", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("cannot make a key, or a certificate of it")]
    Made(#[source] rcgen::Error),
    #[error("{WRONG_CLOCK}")]
    Clock,
}

/// Why a folder is no usable authority.
#[derive(Debug, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant's message says what it is")]
pub enum AuthorityError {
    #[error("there is no folder `{}`", .path.display())]
    Missing { path: PathBuf },
    #[error("`{}` is not a folder", .path.display())]
    NotAFolder { path: PathBuf },
    #[error("`{}` has no `{file}`, so it is not the folder of an authority", .path.display())]
    NoAuthority { path: PathBuf, file: &'static str },
    #[error("`{}` belongs to user {owner}, and this is user {user}", .path.display())]
    NotOurs { path: PathBuf, owner: u32, user: u32 },
    #[error("`{}` is open to other users (mode {mode:04o})", .path.display())]
    OpenToOthers { path: PathBuf, mode: u32, wanted: u32 },
    #[error("`{}` is not a regular file", .path.display())]
    NotAFile { path: PathBuf },
    #[error("`{}` is larger than 1 MiB", .path.display())]
    TooLarge { path: PathBuf },
    #[error("`{}` is not a certificate in PEM", .path.display())]
    NotACertificate { path: PathBuf },
    #[error("`{}` is not a private key in PEM (PKCS #8)", .path.display())]
    NotAKey { path: PathBuf },
    #[error("`{}` is the certificate of no authority: it may not sign others", .path.display())]
    MayNotSign { path: PathBuf },
    #[error("the key in `{}` is not that of the certificate `{}`", .key.display(), .certificate.display())]
    OtherKey { key: PathBuf, certificate: PathBuf },
    #[error("`{}` names no trust domain: it has no URI such as `spiffe://market.example`", .path.display())]
    NoDomain { path: PathBuf },
    #[error("cannot read `{}`", .path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl AuthorityError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { path: path.to_owned() },
            _ => Self::Io { path: path.to_owned(), source },
        }
    }
}

/// Why no certificate was issued. Nothing is left behind.
#[derive(Debug, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant's message says what it is")]
pub enum IssueError {
    #[error(transparent)]
    SpiffeId(#[from] SpiffeError),
    #[error("`ca` is the name of the authority itself")]
    OfAuthority,
    #[error("`{}` already exists, and is left as it is", .path.display())]
    Exists { path: PathBuf },
    #[error("a certificate of less than a minute is of no use")]
    TooShort,
    #[error("a certificate cannot outlast the authority, which has {} left", days(.left))]
    TooLong { left: Duration },
    #[error("the authority itself has expired")]
    Expired,
    #[error("cannot write `{}`", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("cannot make a key, or a certificate of it")]
    Made(#[source] rcgen::Error),
    #[error("{WRONG_CLOCK}")]
    Clock,
}

const WRONG_CLOCK: &str = "this machine's clock is wrong: by it, the year is not one of 1970 to 9999, in \
                           which a certificate is valid; set it first";

fn days(time: &Duration) -> String {
    match time.as_secs() / 86_400 {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}
