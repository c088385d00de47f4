//! The files of a process's certificate, their faults, and the settings of rustls made of them.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime},
};

use rustls::{
    CertificateError, ClientConfig, Error, InconsistentKeys, RootCertStore, ServerConfig,
    client::{Resumption, WebPkiServerVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::WebPkiClientVerifier,
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};
use thiserror::Error as ThisError;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

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
    #[error("is not signed by an authority of `ca`")]
    OtherAuthority,
    #[error("has expired")]
    Expired,
    #[error("is not valid yet: check the clock")]
    NotYetValid,
    #[error("is not for TLS servers and clients")]
    OtherPurpose,
    #[error("cannot be used: {0}")]
    Other(String),
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
    /// When it expires, or the first of those between it and the authority.
    pub(crate) ends_at: SystemTime,
}

impl Credentials {
    /// Reads the files, and checks that they belong together at that time.
    pub(crate) fn read(files: &TlsFiles, now: SystemTime) -> Result<Self, TlsFilesError> {
        let fail = |file, path: &Path, fault| TlsFilesError { file, path: path.to_owned(), fault };
        let of_ca = |fault| fail(TlsFile::Ca, &files.ca, fault);
        let of_certificate = |fault| fail(TlsFile::Certificate, &files.certificate, fault);
        let of_key = |fault| fail(TlsFile::Key, &files.key, fault);

        let roots = Arc::new(authorities(&files.ca).map_err(of_ca)?);
        let chain = read(&files.certificate, Secrecy::Public).and_then(|it| certificates(&it));
        let chain = chain.map_err(of_certificate)?;
        let key = read(&files.key, Secrecy::Secret).map_err(of_key)?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| of_key(TlsFault::NoKey))?;
        let certified = CertifiedKey::from_der(chain.clone(), key, &PROVIDER);
        let certified = certified.map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => of_key(TlsFault::OtherKey),
            Error::InvalidCertificate(_) => of_certificate(TlsFault::BadCertificate),
            _ => of_key(TlsFault::BadKey),
        })?;

        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), PROVIDER.clone());
        let verifier = verifier.build().map_err(|it| of_ca(TlsFault::Other(it.to_string())))?;
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let at = UnixTime::since_unix_epoch(since);
        let verified = verifier.verify_client_cert(&chain[0], &chain[1..], at);
        verified.map_err(|it| of_certificate(TlsFault::of(&it)))?;
        let ends_at = chain.iter().map(end).min().expect("a chain has a certificate");

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
        Ok(Self { server, client, chain: chain.into(), verifier, ends_at })
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
    pub fn remedy(&self) -> &'static str {
        match &self.fault {
            TlsFault::OpenToOthers { .. } => {
                "give it mode 0600; if others may have read the key, issue another"
            }
            TlsFault::Expired => "issue another, for instance by `callsign keys issue`",
            TlsFault::OtherKey => "name the two files that were issued together",
            TlsFault::OtherAuthority => "name the authority that issued it, or issue another",
            TlsFault::NoCertificate | TlsFault::NoKey | TlsFault::Empty => {
                "`callsign keys show` tells what is in a file"
            }
            TlsFault::EmptyFolder => "its files are to end in `.pem` or `.crt`",
            TlsFault::OtherPurpose => "issue one for both, as `callsign keys issue` does",
            _ => "",
        }
    }
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
        matches!(self, Self::Expired | Self::NotYetValid)
    }

    fn of(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(error) => match error {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    Self::Expired
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    Self::NotYetValid
                }
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    Self::OtherAuthority
                }
                CertificateError::InvalidPurpose
                | CertificateError::InvalidPurposeContext { .. } => Self::OtherPurpose,
                CertificateError::BadEncoding => Self::BadCertificate,
                error => Self::Other(error.to_string()),
            },
            error => Self::Other(error.to_string()),
        }
    }
}

/// Returns when a certificate expires, which rustls has read.
fn end(certificate: &CertificateDer<'_>) -> SystemTime {
    let read = X509Certificate::from_der(certificate).ok();
    let end = read.map_or(0, |(_, it)| it.validity().not_after.timestamp());
    SystemTime::UNIX_EPOCH + Duration::from_secs(end.try_into().unwrap_or(0))
}

/// Reads the authorities of a file, or of all files of a folder.
fn authorities(path: &Path) -> Result<RootCertStore, TlsFault> {
    let mut roots = RootCertStore::empty();
    let mut add = |path: &Path| {
        for certificate in certificates(&read(path, Secrecy::Public)?)? {
            roots.add(certificate).map_err(|_| TlsFault::BadCertificate)?;
        }
        Ok(())
    };
    if !path.is_dir() {
        add(path)?;
        return Ok(roots);
    }
    for entry in fs::read_dir(path).map_err(TlsFault::Io)? {
        let path = entry.map_err(TlsFault::Io)?.path();
        // Other files may lie beside them, and hidden ones are not meant.
        let is_meant =
            path.extension().is_some_and(|it| ["pem", "crt"].iter().any(|one| it == *one));
        if is_meant && !path.file_name().is_some_and(|it| it.as_encoded_bytes().starts_with(b".")) {
            add(&path)?;
        }
    }
    if roots.is_empty() { Err(TlsFault::EmptyFolder) } else { Ok(roots) }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
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
enum Secrecy {
    Public,
    Secret,
}

fn read(path: &Path, secrecy: Secrecy) -> Result<Vec<u8>, TlsFault> {
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

/// The cryptography of all connections.
static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));

/// The most bytes of a file: a thousand authorities.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The most peers whose last connection a dialer remembers, to resume it at less cost.
const RESUMED_MAX: usize = 1024;
