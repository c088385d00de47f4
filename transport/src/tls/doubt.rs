//! Why those who dial a listener cannot accept its certificate: known before anybody dials.

use std::{net::IpAddr, time::SystemTime};

use endpoints::{Endpoint, Host, TcpAddress};
use rustls::{
    CertificateError, Error,
    client::danger::ServerCertVerifier as _,
    pki_types::{DnsName, ServerName, UnixTime},
};
use thiserror::Error as ThisError;

use super::{
    credentials::{Credentials, TlsFile, TlsFiles, TlsFilesError},
    current::{DAY_SECONDS, WARNED_BEFORE},
    error::listed,
    name::hosts,
    stream::server_name,
};

/// Why those who dial a listener cannot accept its certificate, as the end of a sentence that begins
/// with its file.
///
/// ```
/// # use transport as callsign;
/// use callsign::TlsDoubt;
///
/// let doubt = TlsDoubt::NoHost;
/// assert_eq!(doubt.to_string(), "is for no host: whoever dials it with TLS refuses it");
/// ```
#[derive(Clone, Debug, Eq, PartialEq, ThisError)]
#[non_exhaustive]
pub enum TlsDoubt {
    /// It names no host.
    #[error("is for no host: whoever dials it with TLS refuses it")]
    NoHost,
    /// It names other hosts.
    #[error("is not for `{host}`, but for {}: whoever dials that refuses it", listed(.certified))]
    OtherHost {
        /// The host at which it is shown.
        host: String,
        /// The hosts that it names.
        certified: Vec<String>,
    },
    /// It expires soon, or the authority that signed it does.
    #[error("expires in {}", listed_days(*.days))]
    EndsSoon {
        /// The certificate, or the authorities.
        file: TlsFile,
        /// The whole days that are left.
        days: u64,
    },
    /// It is for clients alone.
    #[error("is not for TLS servers: whoever dials it with TLS refuses it")]
    NotForServers,
}

fn listed_days(days: u64) -> String {
    match days {
        0 => "less than a day".to_owned(),
        1 => "a day".to_owned(),
        days => format!("{days} days"),
    }
}

impl TlsDoubt {
    /// Returns what to do about it.
    ///
    /// ```
    /// # use transport as callsign;
    /// use callsign::TlsDoubt;
    ///
    /// let doubt = TlsDoubt::OtherHost { host: "10.0.0.7".into(), certified: vec!["10.0.0.8".into()] };
    /// assert!(doubt.remedy().ends_with("--host 10.0.0.7`"));
    /// ```
    pub fn remedy(&self) -> String {
        match self {
            Self::EndsSoon { file: TlsFile::Ca, .. } => {
                "make another authority before that, for instance by `callsign keys init`, and have \
                 both in `ca` until all certificates are of the new one"
                    .to_owned()
            }
            Self::EndsSoon { .. } => {
                "issue another before that, for instance by `callsign keys issue`".to_owned()
            }
            Self::NoHost => "issue one with the hosts by which it is dialed: `callsign keys issue \
                             DIR NAME --host HOST`"
                .to_owned(),
            Self::OtherHost { host, .. } => {
                format!("issue one for it: `callsign keys issue DIR NAME --host {host}`")
            }
            Self::NotForServers => {
                "issue one for servers and clients, as `callsign keys issue` does".to_owned()
            }
        }
    }
}

impl TlsFiles {
    /// Tells why those who dial these endpoints cannot accept the certificate. Endpoints without TLS
    /// raise no doubt. Neither does a wildcard address, nor an address where the certificate names
    /// hosts by name, unless it is certain that nobody accepts it.
    ///
    /// ```
    /// # mod callsign { pub use {endpoints::*, transport::*}; }
    /// use callsign::{TlsFiles, TlsFilesError};
    /// use callsign::Endpoint;
    ///
    /// fn tell(files: &TlsFiles, listening: &[Endpoint]) -> Result<(), TlsFilesError> {
    ///     for doubt in files.doubts(listening)? {
    ///         println!("{} {doubt}; {}", files.certificate.display(), doubt.remedy());
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub fn doubts(&self, listening: &[Endpoint]) -> Result<Vec<TlsDoubt>, TlsFilesError> {
        let now = SystemTime::now();
        let credentials = Credentials::read(self, now)?;
        let mut doubts: Vec<_> = credentials.ends_soon(now).into_iter().collect();
        for doubt in listening.iter().filter_map(|it| credentials.doubt(it, now)) {
            if !doubts.contains(&doubt) {
                doubts.push(doubt);
            }
        }
        Ok(doubts)
    }
}

impl Credentials {
    fn ends_soon(&self, now: SystemTime) -> Option<TlsDoubt> {
        let (file, ends_at) = self.ends;
        let left = ends_at.duration_since(now).unwrap_or_default();
        let days = left.as_secs() / DAY_SECONDS;
        (left <= WARNED_BEFORE).then_some(TlsDoubt::EndsSoon { file, days })
    }

    /// Tells why those who dial that endpoint cannot accept the certificate, if that is certain.
    pub(crate) fn doubt(&self, listening: &Endpoint, now: SystemTime) -> Option<TlsDoubt> {
        let Endpoint::Tcp(TcpAddress { host, tls: true, .. }) = listening else { return None };
        let (own, between) = self.chain.split_first()?;
        // Under a wildcard it is dialed by a host that is not known here.
        let asked = if host.is_wildcard() {
            ServerName::DnsName(DnsName::try_from_str("host.invalid").ok()?)
        } else {
            server_name(host).ok()?
        };
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let at = UnixTime::since_unix_epoch(since);
        let refusal = self.verifier.verify_server_cert(own, between, &asked, &[], at).err()?;
        let Error::InvalidCertificate(refusal) = refusal else { return None };
        let certified = hosts(own);
        match refusal {
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Some(TlsDoubt::NotForServers)
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                if certified.is_empty() {
                    return Some(TlsDoubt::NoHost);
                }
                // A name of the certificate may be one of the address.
                let has_name = || certified.iter().any(|it| it.parse::<IpAddr>().is_err());
                let is_by_name = matches!(host, Host::Dns(..));
                let may_be_dialed = host.is_wildcard() || !is_by_name && has_name();
                let host = asked.to_str().into_owned();
                (!may_be_dialed).then_some(TlsDoubt::OtherHost { host, certified })
            }
            // Whatever else is wrong is a fault of the files.
            _ => None,
        }
    }
}
