//! Why there is no encrypted connection, in words of ours.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};
use thiserror::Error;

use super::reason::reason;

/// Why an encrypted connection could not be made, or broke.
///
/// ```
/// # use transport as callsign;
/// use callsign::TlsError;
///
/// assert_eq!(TlsError::NotTls.to_string(), "the other side does not speak TLS");
/// ```
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum TlsError {
    /// This process has no certificate.
    #[error("TLS needs a certificate, and this program has none")]
    NoCertificate,
    /// This process's certificate cannot be used.
    #[error("TLS needs a certificate, and this program's cannot be used: {0}")]
    Unusable(String),
    /// The other side does not speak TLS.
    #[error("the other side does not speak TLS")]
    NotTls,
    /// It ended the connection within the handshake.
    #[error(
        "the other side ended the connection within the handshake of TLS: it may not speak TLS"
    )]
    Ended,
    /// The connection ended, and the other side did not say so.
    #[error("the connection ended, and the other side did not say so")]
    Cut,
    /// The other side shows no certificate.
    #[error("the other side shows no certificate")]
    Anonymous,
    /// An authority that is not trusted here signed the certificate of the other side.
    #[error("no authority that is trusted here signed the certificate of the other side")]
    OtherAuthority,
    /// The certificate of the other side has expired.
    #[error("the certificate of the other side has expired")]
    Expired,
    /// The certificate of the other side is not valid yet.
    #[error("the certificate of the other side is not valid yet: check the clocks")]
    NotYetValid,
    /// The certificate of the other side is for other hosts than the dialed one.
    #[error("the certificate of the other side is not for `{host}`, but for {}", listed(.certified))]
    OtherHost {
        /// The host that was dialed.
        host: String,
        /// The hosts of the certificate.
        certified: Vec<String>,
    },
    /// The certificate of the other side cannot be accepted.
    #[error("the certificate of the other side {0}")]
    Unacceptable(&'static str),
    /// The certificate of the other side may not be used for this.
    #[error("the certificate of the other side is not one for TLS servers and clients")]
    OtherPurpose,
    /// The other side did not accept the certificate of this side.
    #[error("the other side does not accept this side's certificate: {reason}")]
    Refused {
        /// Its reason, as far as it gives one.
        reason: &'static str,
    },
    /// The other side speaks only versions before TLS 1.3.
    #[error("the other side does not speak TLS 1.3")]
    OtherVersion,
    /// Anything else.
    #[error("TLS fails: {0}")]
    Other(String),
}

impl TlsError {
    /// Finds the error of TLS in one of a connection.
    ///
    /// ```
    /// # use transport as callsign;
    /// use callsign::TlsError;
    ///
    /// let broken = std::io::Error::other(TlsError::NotTls);
    /// assert_eq!(TlsError::of(&broken), Some(&TlsError::NotTls));
    /// ```
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Tells whether it may pass by itself. What is wrong with a certificate needs a remedy.
    ///
    /// ```
    /// # use transport as callsign;
    /// use callsign::TlsError;
    ///
    /// assert!(!TlsError::Expired.may_pass(), "it takes another certificate");
    /// assert!(TlsError::Ended.may_pass());
    /// ```
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Ended | Self::Cut | Self::Other(_))
    }
}

impl From<&Error> for TlsError {
    fn from(error: &Error) -> Self {
        match error {
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            ) => Self::NotTls,
            Error::NoCertificatesPresented => Self::Anonymous,
            Error::InvalidCertificate(error) => Self::of_certificate(error),
            Error::AlertReceived(alert) => Self::of_alert(*alert),
            Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::Tls13RequiredForQuic,
            ) => Self::OtherVersion,
            error => Self::Other(error.to_string()),
        }
    }
}

impl TlsError {
    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                Self::OtherAuthority
            }
            CertificateError::NotValidForNameContext { expected, presented } => Self::OtherHost {
                host: expected.to_str().into_owned(),
                certified: named(presented),
            },
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Self::OtherPurpose
            }
            error => match reason(error) {
                Some(reason) => Self::Unacceptable(reason),
                None => Self::Other(error.to_string()),
            },
        }
    }

    fn of_alert(alert: AlertDescription) -> Self {
        let reason = match alert {
            AlertDescription::CertificateExpired => "it has expired",
            AlertDescription::UnknownCA => "no authority that is trusted there signed it",
            AlertDescription::CertificateRequired => "there is none",
            AlertDescription::BadCertificate => {
                "it does not say more, as where the certificate is not for the host that it dialed"
            }
            AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::AccessDenied => "it does not say more",
            AlertDescription::DecryptError => {
                "its signature does not hold there: another authority of the same name signed it"
            }
            AlertDescription::ProtocolVersion => return Self::OtherVersion,
            alert => return Self::Other(format!("the other side reports {alert:?}")),
        };
        Self::Refused { reason }
    }
}

/// Returns the hosts of a certificate as rustls describes them: `DnsName("feed.example")`.
fn named(presented: &[String]) -> Vec<String> {
    let bare = |it: &String| match it.split_once('(') {
        Some((_, inner)) => inner.trim_end_matches(')').trim_matches('"').to_owned(),
        None => it.clone(),
    };
    presented.iter().map(bare).collect()
}

pub(super) fn listed(hosts: &[String]) -> String {
    match hosts {
        [] => "no host at all".to_owned(),
        hosts => hosts.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", "),
    }
}

/// Puts our words in the place of those of rustls.
pub(super) fn explained(error: io::Error) -> io::Error {
    let Some(inner) = error.get_ref().and_then(|it| it.downcast_ref::<Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), TlsError::Cut),
            _ => error,
        };
    };
    io::Error::new(error.kind(), TlsError::from(inner))
}
