//! What a file with certificates and keys holds.

use std::{
    fs::File,
    io,
    net::IpAddr,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime},
};

use rcgen::{KeyPair, PublicKeyData};
use sha2::{Digest, Sha256};
use thiserror::Error;
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    oid_registry::{
        OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521,
        OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519,
    },
    pem::Pem,
    prelude::FromDer,
    time::ASN1Time,
    x509::SubjectPublicKeyInfo,
};

use crate::{files, wrapped};

/// What a file holds, in its order.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Contents {
    /// The certificates and keys.
    pub blocks: Vec<Block>,
    /// The mode of the file.
    pub mode: u32,
}

/// One block of a file in PEM.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Block {
    /// A certificate.
    Certificate(Box<Certificate>),
    /// A private key.
    Key(Key),
    /// Something else, by its label, such as `CERTIFICATE REQUEST`.
    Other(String),
}

/// A certificate. Whoever made it chose its texts, so they may hold anything.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Certificate {
    /// The URIs that it is for, such as a SPIFFE ID.
    pub uris: Vec<String>,
    /// The DNS names and IP addresses that it is for.
    pub hosts: Vec<String>,
    /// Its subject.
    pub subject: String,
    /// The subject of the certificate that signed it.
    pub issuer: String,
    /// Whether it may sign other certificates.
    pub may_sign: bool,
    /// The beginning of its validity.
    pub since: SystemTime,
    /// The end of its validity.
    pub until: SystemTime,
    /// Its public key.
    pub key: PublicKey,
    /// The SHA-256 of the whole certificate.
    pub fingerprint: [u8; 32],
}

/// A private key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Key {
    /// Its public key; `None` for one that cannot be read here: encrypted, or of another kind.
    pub public: Option<PublicKey>,
    /// What its block is called, such as `PRIVATE KEY`.
    pub label: String,
}

/// A public key.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PublicKey {
    /// Its kind: `P-256`, `Ed25519`, `RSA 2048`.
    pub kind: String,
    /// The SHA-256 of the key, by which a certificate and its private key are recognised.
    pub id: [u8; 32],
}

/// Why nothing can be shown of a file.
#[derive(Debug, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant's message says what it is")]
pub enum ContentsError {
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    #[error("it is empty")]
    Empty,
    #[error("it is larger than 1 MiB")]
    TooLarge,
    #[error("it is not PEM: it has no line `-----BEGIN …-----`")]
    NotPem,
    #[error("its block {number} of PEM is damaged")]
    Damaged { number: usize },
    #[error("its block {number} of PEM is called CERTIFICATE, and is none")]
    NotACertificate { number: usize },
}

impl Contents {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`ContentsError`]: the file is in PEM, and what it calls a certificate is one.
    pub fn read(path: &Path) -> Result<Self, ContentsError> {
        let file = File::open(path)?;
        let mode = file.metadata()?.mode();
        Self::of(file, mode)
    }

    /// Reads what is open to its end, which may be a pipe; `mode` is that of its file.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn of(file: impl io::Read, mode: u32) -> Result<Self, ContentsError> {
        let mode = mode & 0o7777;
        let bytes = files::read_all(file)?.ok_or(ContentsError::TooLarge)?;
        Ok(Self { blocks: Self::parse(&bytes)?, mode })
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<Block>, ContentsError> {
        if bytes.trim_ascii().is_empty() {
            return Err(ContentsError::Empty);
        }
        let mut blocks = Vec::new();
        for (at, block) in Pem::iter_from_buffer(&without_headers(bytes)).enumerate() {
            let number = at + 1;
            let block = block.map_err(|_| ContentsError::Damaged { number })?;
            blocks.push(Block::of(&block, number)?);
        }
        if blocks.is_empty() { Err(ContentsError::NotPem) } else { Ok(blocks) }
    }

    /// Tells whether it has a private key.
    pub fn has_key(&self) -> bool {
        self.blocks.iter().any(|it| matches!(it, Block::Key(_)))
    }
}

impl Block {
    fn of(block: &Pem, number: usize) -> Result<Self, ContentsError> {
        match block.label.as_str() {
            "CERTIFICATE" | "X509 CERTIFICATE" => {
                let certificate = Certificate::of(&block.contents);
                let certificate = certificate.ok_or(ContentsError::NotACertificate { number })?;
                Ok(Self::Certificate(Box::new(certificate)))
            }
            label if label.ends_with("PRIVATE KEY") => {
                let wrapped = wrapped::in_pkcs8(label, &block.contents);
                let key = wrapped.as_deref().unwrap_or(&block.contents);
                let pair = KeyPair::try_from(key).ok();
                let public = pair.and_then(|it| PublicKey::read(&it.subject_public_key_info()));
                Ok(Self::Key(Key { public, label: label.to_owned() }))
            }
            label => Ok(Self::Other(label.to_owned())),
        }
    }
}

impl Certificate {
    fn of(der: &[u8]) -> Option<Self> {
        let (rest, certificate) = X509Certificate::from_der(der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let (mut uris, mut hosts) = (Vec::new(), Vec::new());
        let names = certificate.subject_alternative_name().ok()?;
        for name in names.into_iter().flat_map(|it| &it.value.general_names) {
            match name {
                GeneralName::URI(uri) => uris.push((*uri).to_owned()),
                GeneralName::DNSName(name) => hosts.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => hosts.push(address(bytes)?.to_string()),
                _ => {}
            }
        }
        let validity = certificate.validity();
        Some(Self {
            uris,
            hosts,
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            may_sign: certificate.is_ca(),
            since: time(validity.not_before)?,
            until: time(validity.not_after)?,
            key: PublicKey::of(certificate.public_key()),
            fingerprint: Sha256::digest(der).into(),
        })
    }

    /// Tells whether it signed itself, by its names.
    pub fn is_self_signed(&self) -> bool {
        self.subject == self.issuer
    }
}

impl PublicKey {
    fn read(der: &[u8]) -> Option<Self> {
        let (_, key) = SubjectPublicKeyInfo::from_der(der).ok()?;
        Some(Self::of(&key))
    }

    fn of(key: &SubjectPublicKeyInfo<'_>) -> Self {
        let algorithm = &key.algorithm.algorithm;
        let curve = key.algorithm.parameters.as_ref().and_then(|it| it.as_oid().ok());
        let kind = if *algorithm == OID_SIG_ED25519 {
            "Ed25519".to_owned()
        } else if *algorithm == OID_PKCS1_RSAENCRYPTION {
            let bits = key.parsed().map_or(0, |it| it.key_size());
            format!("RSA {bits}")
        } else if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
            let curves =
                [(OID_EC_P256, "P-256"), (OID_NIST_EC_P384, "P-384"), (OID_NIST_EC_P521, "P-521")];
            let named = curves.iter().find(|(oid, _)| curve.as_ref() == Some(oid));
            named.map_or("an elliptic curve", |(_, name)| name).to_owned()
        } else {
            algorithm.to_id_string()
        };
        Self { kind, id: Sha256::digest(key.raw).into() }
    }

    /// Tells whether this is that key, as its DER has it.
    pub(crate) fn is_of(&self, der: &[u8]) -> bool {
        Self::read(der).is_some_and(|it| it == *self)
    }
}

/// Leaves out the headers of blocks: older programs write so how a key is encrypted.
fn without_headers(bytes: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(bytes.len());
    let (mut begins, mut is_header) = (false, false);
    for line in bytes.split_inclusive(|it| *it == b'\n') {
        is_header |= begins && line.contains(&b':');
        begins = line.starts_with(b"-----BEGIN ");
        is_header &= !line.starts_with(b"-----");
        if is_header {
            // A blank line ends them.
            is_header = !line.trim_ascii().is_empty();
        } else {
            kept.extend_from_slice(line);
        }
    }
    kept
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// Converts a time; one before 1970 is 1970.
fn time(time: ASN1Time) -> Option<SystemTime> {
    let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}
