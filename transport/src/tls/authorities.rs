//! The authorities that sign the certificates of peers, as the files have them.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use rustls::{RootCertStore, pki_types::CertificateDer};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _, x509::X509Name};

use super::files::{Secrecy, TlsFault, certificates, read};

/// Authorities. Those that have expired are not trusted.
#[derive(Debug)]
pub(super) struct Authorities {
    pub(super) trusted: RootCertStore,
    known: Vec<Authority>,
}

#[derive(Debug)]
struct Authority {
    /// Its name, as a certificate that it signed has it.
    subject: Vec<u8>,
    ends_at: SystemTime,
}

impl Authorities {
    /// Reads those of a file, or of all files of a folder.
    pub(super) fn read(path: &Path, now: SystemTime) -> Result<Self, TlsFault> {
        let mut all = Self { trusted: RootCertStore::empty(), known: Vec::new() };
        if !path.is_dir() {
            all.add(path, now)?;
            return Ok(all);
        }
        for entry in fs::read_dir(path).map_err(TlsFault::Io)? {
            let path = entry.map_err(TlsFault::Io)?.path();
            // Other files may lie beside them, and hidden ones are not meant.
            let is_meant =
                path.extension().is_some_and(|it| ["pem", "crt"].iter().any(|one| it == *one));
            let is_hidden = |it: &std::ffi::OsStr| it.as_encoded_bytes().starts_with(b".");
            if is_meant && !path.file_name().is_some_and(is_hidden) {
                all.add(&path, now)?;
            }
        }
        if all.known.is_empty() { Err(TlsFault::EmptyFolder) } else { Ok(all) }
    }

    fn add(&mut self, path: &Path, now: SystemTime) -> Result<(), TlsFault> {
        for certificate in certificates(&read(path, Secrecy::Public)?)? {
            let (_, parsed) =
                X509Certificate::from_der(&certificate).map_err(|_| TlsFault::BadCertificate)?;
            let (subject, ends_at) = (parsed.subject().as_raw().to_owned(), end(&certificate));
            if ends_at > now {
                let added = self.trusted.add(certificate.clone());
                added.map_err(|_| TlsFault::BadCertificate)?;
            }
            self.known.push(Authority { subject, ends_at });
        }
        Ok(())
    }

    /// Returns when the next of them expires.
    pub(super) fn next_end(&self, now: SystemTime) -> Option<SystemTime> {
        self.known.iter().map(|it| it.ends_at).filter(|it| *it > now).min()
    }

    /// Returns when the authority expires, or expired, that signed the last certificate of a chain.
    pub(super) fn end_of_signer(&self, chain: &[CertificateDer<'_>]) -> Option<SystemTime> {
        let (_, last) = X509Certificate::from_der(chain.last()?).ok()?;
        let issuer = last.issuer().as_raw();
        self.known.iter().filter(|it| it.subject == issuer).map(|it| it.ends_at).max()
    }
}

/// Returns who signed the last certificate of a chain.
pub(super) fn signer(chain: &[CertificateDer<'_>]) -> String {
    let last = chain.last().and_then(|it| X509Certificate::from_der(it).ok());
    last.map_or_else(|| "another".to_owned(), |(_, it)| called(it.issuer()))
}

fn called(name: &X509Name<'_>) -> String {
    let common = name.iter_common_name().next().and_then(|it| it.as_str().ok());
    common.map_or_else(|| name.to_string(), str::to_owned)
}

/// Returns when a certificate expires, which rustls has read.
pub(super) fn end(certificate: &CertificateDer<'_>) -> SystemTime {
    let read = X509Certificate::from_der(certificate).ok();
    let end = read.map_or(0, |(_, it)| it.validity().not_after.timestamp());
    SystemTime::UNIX_EPOCH + Duration::from_secs(end.try_into().unwrap_or(0))
}
