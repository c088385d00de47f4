//! The files of a process's certificate, their faults, and the settings of rustls made of them.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::SystemTime,
};

use endpoints::Quoted;
use rustls::{
    CertificateError, ClientConfig, Error, InconsistentKeys, ServerConfig,
    client::{Resumption, WebPkiServerVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::WebPkiClientVerifier,
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};
use thiserror::Error as ThisError;

use super::{
    authorities::{Authorities, end, signer},
    files::{Secrecy, TlsFault, certificates, read},
    reason::reason,
};

/// The files of a process's certificate, all in PEM.
///
/// ```
/// # use transport as callsign;
/// use callsign::TlsFiles;
///
/// let files = TlsFiles {
///     ca: "/etc/callsign/ca.pem".into(),
///     certificate: "/etc/callsign/feed.pem".into(),
///     key: "/etc/callsign/feed.key".into(),
/// };
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsFiles {
    /// The authorities that sign the certificates of peers: a file, or a folder of files.
    pub ca: PathBuf,
    /// The certificate of this process, and those between it and the authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl TlsFiles {
    /// Checks that they can be used now.
    ///
    /// ```
    /// # use transport as callsign;
    /// use callsign::TlsFiles;
    ///
    /// /// Says whether a certificate can be used, before it is.
    /// fn tell(files: &TlsFiles) {
    ///     match files.check() {
    ///         Ok(()) => println!("`{}` is good", files.certificate.display()),
    ///         Err(error) => println!("{error}"),
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`TlsFilesError`] names the file and its fault.
    pub fn check(&self) -> Result<(), TlsFilesError> {
        Credentials::read(self, SystemTime::now()).map(drop)
    }

    pub(super) fn of(&self, file: TlsFile) -> &Path {
        match file {
            TlsFile::Ca => &self.ca,
            TlsFile::Certificate => &self.certificate,
            TlsFile::Key => &self.key,
        }
    }
}

/// One of the [`TlsFiles`].
///
/// ```
/// # use transport as callsign;
/// use callsign::TlsFile;
///
/// fn setting(file: TlsFile) -> &'static str {
///     match file {
///         TlsFile::Ca => "ca",
///         TlsFile::Certificate => "certificate",
///         TlsFile::Key => "key",
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TlsFile {
    /// The authorities.
    Ca,
    /// The certificate.
    Certificate,
    /// The key.
    Key,
}

/// A file that cannot be used.
///
/// ```
/// # use transport as callsign;
/// use callsign::{TlsFile, TlsFilesError};
///
/// /// Tells whether another certificate is needed, and nothing else.
/// fn is_of_certificate(error: &TlsFilesError) -> bool {
///     error.file == TlsFile::Certificate
/// }
/// ```
#[derive(Debug, ThisError)]
#[error("`{}` {fault}", .path.display())]
pub struct TlsFilesError {
    /// Its part.
    pub file: TlsFile,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: TlsFault,
}

/// A certificate that was read and checked, as rustls uses it.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
    /// The certificate, and those between it and the authority.
    pub(crate) chain: Arc<[CertificateDer<'static>]>,
    /// What checks the certificate of a listener.
    pub(crate) verifier: Arc<WebPkiServerVerifier>,
    /// Which of the files ends first, and when: the certificate, or one of those between it and the
    /// authority; or that authority.
    pub(crate) ends: (TlsFile, SystemTime),
    /// When one more of the authorities is no longer to be trusted.
    pub(crate) outdated_at: Option<SystemTime>,
}

impl Credentials {
    /// Reads the files, and checks that they belong together at that time.
    pub(crate) fn read(files: &TlsFiles, now: SystemTime) -> Result<Self, TlsFilesError> {
        let fail = |file, path: &Path, fault| TlsFilesError { file, path: path.to_owned(), fault };
        let of_ca = |fault| fail(TlsFile::Ca, &files.ca, fault);
        let of_certificate = |fault| fail(TlsFile::Certificate, &files.certificate, fault);
        let of_key = |fault| fail(TlsFile::Key, &files.key, fault);

        let authorities = Authorities::read(&files.ca, now).map_err(of_ca)?;
        let chain = read(&files.certificate, Secrecy::Public).and_then(|it| certificates(&it));
        let chain = chain.map_err(of_certificate)?;
        let key = read(&files.key, Secrecy::Secret).map_err(of_key)?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| of_key(TlsFault::NoKey))?;
        let paired = |chain: &[CertificateDer<'static>]| {
            CertifiedKey::from_der(chain.to_vec(), key.clone_key(), &PROVIDER)
        };
        let certified = paired(&chain).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                let is_later = chain.chunks(1).skip(1).any(|it| paired(it).is_ok());
                if is_later {
                    of_certificate(TlsFault::NotFirst)
                } else {
                    of_key(TlsFault::OtherKey)
                }
            }
            Error::InvalidCertificate(_) => of_certificate(fault(&error, &chain)),
            _ => of_key(TlsFault::BadKey),
        })?;

        let signer_ends_at = authorities.end_of_signer(&chain);
        let outdated = || of_ca(TlsFault::ExpiredAuthority);
        if authorities.trusted.is_empty() {
            return Err(outdated());
        }
        let outdated_at = authorities.next_end(now);
        let roots = Arc::new(authorities.trusted);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), PROVIDER.clone());
        let verifier = verifier.build().map_err(|it| of_ca(TlsFault::Other(it.to_string())))?;
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let at = UnixTime::since_unix_epoch(since);
        let verified = verifier.verify_client_cert(&chain[0], &chain[1..], at);
        verified.map_err(|error| match fault(&error, &chain) {
            TlsFault::OtherAuthority { .. } if signer_ends_at.is_some_and(|it| it <= now) => {
                outdated()
            }
            TlsFault::OtherAuthority { signer, .. } => {
                let has_namesake = signer_ends_at.is_some();
                of_certificate(TlsFault::OtherAuthority { signer, has_namesake })
            }
            other => of_certificate(other),
        })?;
        let ends_at = chain.iter().map(end).min().expect("a chain has a certificate");
        let ends = match signer_ends_at {
            Some(authority) if authority < ends_at => (TlsFile::Ca, authority),
            _ => (TlsFile::Certificate, ends_at),
        };

        let unusable = |error: Error| of_certificate(TlsFault::Other(error.to_string()));
        let certified = Arc::new(SingleCertAndKey::from(certified));
        let server = ServerConfig::builder_with_provider(PROVIDER.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(unusable)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(certified.clone());
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, PROVIDER.clone());
        let verifier = verifier.build().map_err(|it| of_ca(TlsFault::Other(it.to_string())))?;
        let mut client = ClientConfig::builder_with_provider(PROVIDER.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(unusable)?
            .with_webpki_verifier(verifier.clone())
            .with_client_cert_resolver(certified);
        client.resumption = Resumption::in_memory_sessions(RESUMED_MAX);
        let (server, client) = (Arc::new(server), Arc::new(client));
        Ok(Self { server, client, chain: chain.into(), verifier, ends, outdated_at })
    }
}

impl TlsFilesError {
    /// Returns what to do about it, as a part of a sentence; nothing where the fault says it all.
    ///
    /// ```
    /// # use transport as callsign;
    /// use callsign::TlsFilesError;
    ///
    /// fn tell(error: &TlsFilesError) {
    ///     println!("{error}; {}", error.remedy());
    /// }
    /// ```
    pub fn remedy(&self) -> Cow<'static, str> {
        let remedy = match &self.fault {
            TlsFault::OtherAuthority { signer, has_namesake: true } => {
                let signer = Quoted(signer);
                return format!("another authority called {signer} signed it: name that one")
                    .into();
            }
            TlsFault::OtherAuthority { signer, .. } => {
                let signer = Quoted(signer);
                return format!(
                    "{signer} signed it: if that lies between it and an authority of `ca`, append its \
                     certificate to the file; if not, name it in `ca`, or issue another"
                )
                .into();
            }
            TlsFault::OpenToOthers { .. } => {
                "give it mode 0600; if others may have read the key, issue another"
            }
            TlsFault::Expired => "issue another, for instance by `callsign keys issue`",
            TlsFault::OtherKey => "name the two files that were issued together",
            TlsFault::NotFirst => "put it first, and after it those between it and the authority",
            TlsFault::ExpiredAuthority => {
                "make another, for instance by `callsign keys init`, and issue certificates of it"
            }
            TlsFault::BadKey => {
                "a key is one of P-256, P-384, Ed25519, or RSA of 2048 bits or more"
            }
            TlsFault::BadCertificate | TlsFault::Unacceptable(_) => {
                "issue another, for instance by `callsign keys issue`"
            }
            TlsFault::NoCertificate | TlsFault::NoKey | TlsFault::Empty => {
                "`callsign keys show` tells what is in a file"
            }
            TlsFault::EmptyFolder => "its files are to end in `.pem` or `.crt`",
            TlsFault::OtherPurpose => "issue one for both, as `callsign keys issue` does",
            _ => "",
        };
        remedy.into()
    }
}

/// Returns what is wrong with the certificate of a chain.
fn fault(error: &Error, chain: &[CertificateDer<'_>]) -> TlsFault {
    match error {
        Error::InvalidCertificate(error) => match error {
            error if let Some(reason) = reason(error) => TlsFault::Unacceptable(reason),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                TlsFault::Expired
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                TlsFault::NotYetValid
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                TlsFault::OtherAuthority { signer: signer(chain), has_namesake: false }
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                TlsFault::OtherPurpose
            }
            CertificateError::BadEncoding => TlsFault::BadCertificate,
            error => TlsFault::Other(error.to_string()),
        },
        error => TlsFault::Other(error.to_string()),
    }
}

/// The cryptography of all connections.
static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));

/// The most peers whose last connection a dialer remembers, to resume it at less cost.
const RESUMED_MAX: usize = 1024;
