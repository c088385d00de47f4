//! The authority: its folder, and the certificates that it issues.

use std::{
    fmt,
    fs::{self, Permissions},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use endpoints::{SpiffeId, SpiffePath, TrustDomain};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    rand::{GetRandomFlags, getrandom},
};

use crate::{
    contents::{Block, Certificate, Contents},
    error::{AuthorityError, CreateError, IssueError},
    files::{self, CERTIFICATE_MODE, Draft, FOLDER_MODE, KEY_MODE},
    host::CertifiedHost,
};

/// A certificate authority, in a folder of its owner.
///
/// The folder has `ca.pem`, the certificate that every host trusts, and `ca.key`, with which
/// whoever has it can be anybody. What is issued lies beside them: `NAME.pem` and `NAME.key`.
pub struct Authority {
    folder: PathBuf,
    domain: TrustDomain,
    issuer: Issuer<'static, KeyPair>,
    kind: KeyKind,
    until: SystemTime,
}

/// The kind of a key.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum KeyKind {
    /// ECDSA on the curve P-256, which everything that speaks TLS knows.
    #[default]
    P256,
    /// Ed25519.
    Ed25519,
}

/// What was issued.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Issued {
    /// Whose it is.
    pub spiffe_id: SpiffeId,
    /// The file of the certificate.
    pub certificate: PathBuf,
    /// The file of its key.
    pub key: PathBuf,
    /// The end of its validity.
    pub until: SystemTime,
}

impl Authority {
    /// Makes an authority in a new folder, which appears with all that is in it or not at all.
    ///
    /// # Errors
    ///
    /// [`CreateError`], with the obstacle.
    pub fn create(
        folder: &Path,
        domain: TrustDomain,
        kind: KeyKind,
        now: SystemTime,
    ) -> Result<Self, CreateError> {
        let fail = |source: io::Error| match source.kind() {
            ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty => {
                CreateError::Exists { path: folder.to_owned() }
            }
            _ => CreateError::Io { path: folder.to_owned(), source },
        };
        // Before the work; the exchange below decides.
        if folder.symlink_metadata().is_ok() {
            return Err(CreateError::Exists { path: folder.to_owned() });
        }
        let key = kind.generate().map_err(CreateError::Made)?;
        let until = end(now, AUTHORITY_LIFETIME).ok_or(CreateError::Clock)?;
        let mut params = params(now, until);
        params.distinguished_name.push(DnType::CommonName, shortened(domain.as_str()));
        params.subject_alt_names = vec![uri(&domain.to_string()).map_err(CreateError::Made)?];
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(CreateError::Made)?;

        let above = match folder.parent() {
            Some(above) if above != Path::new("") => above,
            _ => Path::new("."),
        };
        // It is removed again unless it gets its name.
        let closed = Permissions::from_mode(FOLDER_MODE);
        let draft =
            tempfile::Builder::new().prefix(".draft-").permissions(closed).tempdir_in(above);
        let draft = draft.map_err(fail)?;
        for (name, mode, text) in [
            (KEY_FILE, KEY_MODE, key.serialize_pem()),
            (CERTIFICATE_FILE, CERTIFICATE_MODE, certificate.pem()),
        ] {
            let file = Draft::write(draft.path().join(name), mode, &text);
            file.and_then(Draft::publish).map_err(fail)?;
        }
        rename_new(draft.path(), folder).map_err(fail)?;
        // There is nothing to remove at its former name.
        drop(draft.keep());
        let issuer = Issuer::new(params, key);
        Ok(Self { folder: folder.to_owned(), domain, issuer, kind, until })
    }

    /// Opens the authority of a folder.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`]: the folder and the key belong to this user, and nobody else can read
    /// them.
    pub fn open(folder: &Path) -> Result<Self, AuthorityError> {
        files::check_folder(folder)?;
        let read = |name: &'static str, is_secret| {
            files::read_own(&folder.join(name), is_secret).map_err(|error| match error {
                AuthorityError::Missing { .. } => {
                    AuthorityError::NoAuthority { path: folder.to_owned(), file: name }
                }
                error => error,
            })
        };
        let (path, key_path) = (folder.join(CERTIFICATE_FILE), folder.join(KEY_FILE));
        let text = read(CERTIFICATE_FILE, false)?;
        let Certificate { uris, until, may_sign, key: public, .. } = certificate(&text)
            .ok_or_else(|| AuthorityError::NotACertificate { path: path.clone() })?;
        if !may_sign {
            return Err(AuthorityError::MayNotSign { path });
        }
        let key = KeyPair::from_pem(&read(KEY_FILE, true)?)
            .map_err(|_| AuthorityError::NotAKey { path: key_path.clone() })?;
        if !public.is_of(&key.subject_public_key_info()) {
            return Err(AuthorityError::OtherKey { key: key_path, certificate: path });
        }
        let domain = uris.iter().find_map(|it| it.strip_prefix(SpiffeId::SCHEME));
        let domain = domain.and_then(|it| TrustDomain::new(it).ok());
        let domain = domain.ok_or_else(|| AuthorityError::NoDomain { path: path.clone() })?;
        let kind = KeyKind::of(&key);
        let issuer = Issuer::from_ca_cert_pem(&text, key)
            .map_err(|_| AuthorityError::NotACertificate { path })?;
        Ok(Self { folder: folder.to_owned(), domain, issuer, kind, until })
    }

    /// Issues a certificate and its key, both of which appear or neither.
    ///
    /// # Errors
    ///
    /// [`IssueError`], with the obstacle.
    pub fn issue(
        &self,
        path: SpiffePath,
        hosts: &[CertifiedHost],
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<Issued, IssueError> {
        let name = path.as_str().to_owned();
        let spiffe_id = SpiffeId::new(self.domain.clone(), path)?;
        if name == AUTHORITY_NAME {
            return Err(IssueError::OfAuthority);
        }
        let left = self.until.duration_since(now).map_err(|_| IssueError::Expired)?;
        if lifetime < LIFETIME_MIN {
            return Err(IssueError::TooShort);
        }
        if lifetime > left {
            return Err(IssueError::TooLong { left });
        }
        // A dot in the name is no extension.
        let (certificate, key) =
            (self.folder.join(format!("{name}.pem")), self.folder.join(format!("{name}.key")));
        for path in [&key, &certificate] {
            // Before the work; the names given below decide.
            if path.symlink_metadata().is_ok() {
                return Err(IssueError::Exists { path: path.clone() });
            }
        }
        let until = end(now, lifetime).ok_or(IssueError::Clock)?;
        let (key_text, certificate_text) =
            self.made(&spiffe_id, hosts, now, until).map_err(IssueError::Made)?;
        self.make_folders(&name)?;
        let fail = |path: &Path, source: io::Error| match source.kind() {
            ErrorKind::AlreadyExists => IssueError::Exists { path: path.to_owned() },
            _ => IssueError::Io { path: path.to_owned(), source },
        };
        let draft = |path: &PathBuf, mode, text: &str| {
            Draft::write(path.clone(), mode, text).map_err(|error| fail(path, error))
        };
        let key_draft = draft(&key, KEY_MODE, &key_text)?;
        let certificate_draft = draft(&certificate, CERTIFICATE_MODE, &certificate_text)?;
        key_draft.publish().map_err(|error| fail(&key, error))?;
        if let Err(error) = certificate_draft.publish() {
            // Nobody has used a key without its certificate.
            drop(fs::remove_file(&key));
            return Err(fail(&certificate, error));
        }
        Ok(Issued { spiffe_id, certificate, key, until })
    }

    /// Makes a key and its certificate, as PEM.
    fn made(
        &self,
        spiffe_id: &SpiffeId,
        hosts: &[CertifiedHost],
        now: SystemTime,
        until: SystemTime,
    ) -> Result<(String, String), rcgen::Error> {
        let key = self.kind.generate()?;
        let mut params = params(now, until);
        params.distinguished_name.push(DnType::CommonName, shortened(spiffe_id.path().as_str()));
        params.subject_alt_names = vec![uri(&spiffe_id.to_string())?];
        for host in hosts {
            params.subject_alt_names.push(match host {
                CertifiedHost::Name(name) => SanType::DnsName(name.as_str().try_into()?),
                CertifiedHost::Address(address) => SanType::IpAddress(*address),
            });
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok((key.serialize_pem(), certificate.pem()))
    }

    /// Makes the folders for a name of several parts.
    fn make_folders(&self, name: &str) -> Result<(), IssueError> {
        let Some((parts, _)) = name.rsplit_once('/') else { return Ok(()) };
        let path = self.folder.join(parts);
        let made = fs::DirBuilder::new().mode(FOLDER_MODE).recursive(true).create(&path);
        made.map_err(|source| IssueError::Io { path, source })
    }

    /// Returns the trust domain for which it signs.
    pub fn domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// Returns the file of its certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join(CERTIFICATE_FILE)
    }

    /// Returns the file of its key.
    pub fn key(&self) -> PathBuf {
        self.folder.join(KEY_FILE)
    }

    /// Returns the end of its validity.
    pub fn until(&self) -> SystemTime {
        self.until
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl KeyKind {
    fn generate(self) -> Result<KeyPair, rcgen::Error> {
        if self == Self::P256 {
            return KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256);
        }
        // rcgen writes a key of this kind with its public half (PKCS #8, version 2), which OpenSSL
        // 3.0 does not read.
        let mut der = [0; ED25519_PREFIX.len() + ED25519_SEED_BYTES];
        let (prefix, seed) = der.split_at_mut(ED25519_PREFIX.len());
        prefix.copy_from_slice(&ED25519_PREFIX);
        let drawn = getrandom(seed, GetRandomFlags::empty());
        if drawn != Ok(ED25519_SEED_BYTES) {
            return Err(rcgen::Error::KeyGenerationUnavailable);
        }
        KeyPair::try_from(der.as_slice())
    }

    /// Returns the kind for what a key signs.
    fn of(key: &KeyPair) -> Self {
        if key.is_compatible(&rcgen::PKCS_ED25519) { Self::Ed25519 } else { Self::P256 }
    }
}

/// What precedes the seed in a private key of Ed25519 (RFC 8410, section 7).
const ED25519_PREFIX: [u8; 16] =
    [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
const ED25519_SEED_BYTES: usize = 32;

/// The name of the authority's own files.
const AUTHORITY_NAME: &str = "ca";
const CERTIFICATE_FILE: &str = "ca.pem";
const KEY_FILE: &str = "ca.key";

/// How long an authority is valid: its end makes every certificate void at once, on all hosts.
pub const AUTHORITY_LIFETIME: Duration = Duration::from_secs(3650 * 24 * 3600);

/// The shortest life of a certificate: clocks differ by seconds.
pub const LIFETIME_MIN: Duration = Duration::from_secs(60);

/// How long before it is made a certificate begins to be valid: clocks of hosts differ.
const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// The last second of the year 9999, which is the last that a certificate can have.
const LAST_SECOND: u64 = 253_402_300_799;

/// The most bytes of a common name (RFC 5280, ub-common-name). It is only shown.
const COMMON_NAME_BYTES_MAX: usize = 64;

/// Returns the end of a certificate's validity, if a certificate can have those times.
fn end(now: SystemTime, lifetime: Duration) -> Option<SystemTime> {
    let until = now.checked_add(lifetime)?;
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(LAST_SECOND);
    (now >= SystemTime::UNIX_EPOCH && until <= last).then_some(until)
}

fn shortened(name: &str) -> &str {
    &name[..name.len().min(COMMON_NAME_BYTES_MAX)]
}

fn params(now: SystemTime, until: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "callsign");
    params.not_before = (now - CLOCK_SKEW).into();
    params.not_after = until.into();
    params
}

fn uri(text: &str) -> Result<SanType, rcgen::Error> {
    Ok(SanType::URI(text.try_into()?))
}

/// Reads the first certificate of a text.
fn certificate(text: &str) -> Option<Certificate> {
    let contents = Contents::parse(text.as_bytes()).ok()?;
    contents.into_iter().find_map(|it| match it {
        Block::Certificate(certificate) => Some(*certificate),
        _ => None,
    })
}

/// Gives a folder its name, unless something has it.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not all file systems can; theirs replaces at most an empty folder.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => fs::rename(from, to),
        renamed => Ok(renamed?),
    }
}
