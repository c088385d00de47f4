//! What is wrong with a certificate beside its time, its host and its authority, in words of ours.

use rustls::{CertificateError, OtherError};
use webpki::Error;

/// Says what is wrong with a certificate, as the end of a sentence; `None` if another says it better.
pub(super) fn reason(error: &CertificateError) -> Option<&'static str> {
    Some(match error {
        CertificateError::UnhandledCriticalExtension => {
            "has a critical extension that is not understood here"
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => ALGORITHM,
        CertificateError::Other(OtherError(other)) => match other.downcast_ref::<Error>()? {
            Error::CaUsedAsEndEntity => {
                "is the certificate of an authority, not of one that it issued"
            }
            Error::EndEntityUsedAsCa => "is signed by a certificate that is not an authority's",
            Error::NameConstraintViolation => {
                "is for a name outside of those for which its authority may sign"
            }
            Error::PathLenConstraintViolated => {
                "has more authorities between it and its root than that allows"
            }
            Error::UnsupportedCertVersion => "is of an old version of X.509: it takes version 3",
            Error::InvalidSerialNumber => "has a serial number that is not allowed (RFC 5280)",
            _ => return None,
        },
        _ => return None,
    })
}

const ALGORITHM: &str =
    "is signed with an algorithm that is not accepted: ECDSA, Ed25519 or RSA with SHA-2 are";
