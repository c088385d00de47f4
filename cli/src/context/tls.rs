//! The certificate of this program, as the settings name it.

use std::path::PathBuf;

use config::{Diagnostic, Diagnostics, TlsPath, TlsSettings};
use endpoints::Endpoint;
use transport::{TlsDoubt, TlsFile, TlsFiles, TlsFilesError, follow_tls, set_tls};

use super::Environment;
use crate::failure::{Exit, Failure};

/// The certificate of the settings cannot be used.
#[derive(Debug)]
pub(crate) struct Unusable {
    pub(crate) diagnostics: Diagnostics,
    /// Whether it may pass by itself.
    may_pass: bool,
}

impl From<Unusable> for Failure {
    fn from(unusable: Unusable) -> Self {
        let exit = if unusable.may_pass { Exit::Failed } else { Exit::Usage };
        Self { exit, ..Self::usage(unusable.diagnostics) }
    }
}

/// Returns the files of the certificate.
///
/// # Errors
///
/// [`Diagnostics`], if a path begins with the folder of a service's credentials, and there is none.
pub(crate) fn files(tls: &TlsSettings, environment: &Environment) -> Result<TlsFiles, Diagnostics> {
    let path = |it: &TlsPath| service_path(it, environment);
    Ok(TlsFiles { ca: path(&tls.ca)?, certificate: path(&tls.certificate)?, key: path(&tls.key)? })
}

/// Returns a path of the settings, which may begin with the folder of a service's credentials.
///
/// # Errors
///
/// [`Diagnostics`], if it does and there is none.
pub(crate) fn service_path(
    path: &TlsPath,
    environment: &Environment,
) -> Result<PathBuf, Diagnostics> {
    path.path(environment.raw(TlsPath::CREDENTIALS_VARIABLE)).ok_or_else(|| {
        let message = format!("`{}` is not set", TlsPath::CREDENTIALS);
        let help = "systemd sets it for a service with `LoadCredential=` or `SetCredential=`";
        Diagnostics(vec![path.fault(message, help)])
    })
}

/// Reads the files, and listens and dials with their certificate from now on.
///
/// # Errors
///
/// [`Unusable`] with the fault of a file, at the place of its path.
pub(super) fn take(tls: &TlsSettings, environment: &Environment) -> Result<(), Unusable> {
    read(tls, environment, set_tls)
}

/// Reads the files as [`take`] does, and if they cannot be used, waits until they can.
///
/// # Errors
///
/// As [`take`], for those who need TLS now.
pub(super) fn follow(tls: &TlsSettings, environment: &Environment) -> Result<(), Unusable> {
    read(tls, environment, follow_tls)
}

fn read(
    tls: &TlsSettings,
    environment: &Environment,
    read: impl FnOnce(TlsFiles) -> Result<(), TlsFilesError>,
) -> Result<(), Unusable> {
    let files = files(tls, environment);
    let files = files.map_err(|diagnostics| Unusable { diagnostics, may_pass: false })?;
    read(files).map_err(|error| {
        let diagnostics = Diagnostics(vec![fault(tls, &error)]);
        Unusable { diagnostics, may_pass: error.fault.may_pass() }
    })
}

/// Returns the fault of the files, or why those who dial a registrar that listens there cannot accept
/// its certificate.
pub(crate) fn check(
    tls: &TlsSettings,
    listening: &[Endpoint],
    environment: &Environment,
) -> Vec<Diagnostic> {
    let files = match files(tls, environment) {
        Ok(files) => files,
        Err(Diagnostics(faults)) => return faults,
    };
    match files.doubts(listening) {
        Ok(doubts) => doubts.iter().map(|it| doubted(tls, it)).collect(),
        Err(error) => vec![fault(tls, &error)],
    }
}

fn doubted(tls: &TlsSettings, doubt: &TlsDoubt) -> Diagnostic {
    let (path, remedy) = match doubt {
        TlsDoubt::EndsSoon { file: TlsFile::Ca, .. } => (&tls.ca, doubt.remedy()),
        TlsDoubt::EndsSoon { .. } => (&tls.certificate, doubt.remedy()),
        _ => {
            let help = format!("{}; in a file that only clients read, it may stay", doubt.remedy());
            (&tls.certificate, help)
        }
    };
    path.doubt(format!("`{}` {doubt}", path.written), &remedy)
}

fn fault(tls: &TlsSettings, error: &TlsFilesError) -> Diagnostic {
    let path = match error.file {
        TlsFile::Ca => &tls.ca,
        TlsFile::Certificate => &tls.certificate,
        TlsFile::Key => &tls.key,
    };
    path.fault(error.to_string(), &error.remedy())
}
