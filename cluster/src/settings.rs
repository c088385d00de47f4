//! What a node has to know of its cluster.

use std::{fmt, time::Duration};

use endpoints::Name;
use portal::WithCauses;
use thiserror::Error;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

/// How a node shares what it knows.
///
/// ```
/// # use callsign_cluster as callsign;
/// use callsign::ClusterSettings;
///
/// let settings = ClusterSettings::new("rome".parse()?, ["http://127.0.0.1:2379".to_owned()]);
/// assert_eq!(settings.prefix, "/callsign/");
/// # Ok::<(), endpoints::NameError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// What this node is called: no other of the cluster has the same name.
    pub node: Name,
    /// Where the members of etcd are, as `http://HOST:PORT` or `https://HOST:PORT`.
    pub endpoints: Vec<String>,
    /// With what every key of the cluster begins.
    pub prefix: String,
    /// For how long the others keep the records of a node that is gone.
    pub lease: Duration,
    /// By what etcd is recognised, and recognises this node, over `https`.
    pub tls: EtcdTls,
    /// As whom etcd knows this node.
    pub user: Option<EtcdUser>,
}

impl ClusterSettings {
    /// Takes what has no default.
    pub fn new(node: Name, endpoints: impl IntoIterator<Item = String>) -> Self {
        Self {
            node,
            endpoints: endpoints.into_iter().collect(),
            prefix: "/callsign/".to_owned(),
            lease: Duration::from_secs(3),
            tls: EtcdTls::default(),
            user: None,
        }
    }

    /// Returns the settings of TLS, if any endpoint needs them.
    pub(crate) fn checked(&self) -> Result<Option<ClientTlsConfig>, ClusterError> {
        if self.endpoints.is_empty() {
            return Err(ClusterError::NoEndpoint);
        }
        if self.prefix.is_empty() || self.prefix.len() > PREFIX_BYTES_MAX {
            return Err(ClusterError::Prefix);
        }
        if self.lease < LEASE_MIN || self.lease > LEASE_MAX {
            return Err(ClusterError::Lease { lease: self.lease });
        }
        let EtcdTls { authority, identity } = &self.tls;
        let mut tls = ClientTlsConfig::new();
        if let Some(pem) = authority {
            tls = tls.ca_certificate(Certificate::from_pem(pem));
        }
        if let Some((certificate, key)) = identity {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        for endpoint in &self.endpoints {
            let is_tls = endpoint.starts_with("https://");
            let fault = |why: String| ClusterError::Endpoint { endpoint: endpoint.clone(), why };
            if !is_tls && !endpoint.starts_with("http://") {
                return Err(fault("it begins with neither `http://` nor `https://`".to_owned()));
            }
            if is_tls && authority.is_none() {
                return Err(fault("nothing tells which authority etcd is to have".to_owned()));
            }
            let dialed = Endpoint::from_shared(endpoint.clone());
            let dialed =
                dialed.and_then(|it| if is_tls { it.tls_config(tls.clone()) } else { Ok(it) });
            dialed.map_err(|error| fault(WithCauses(&error).to_string()))?;
        }
        let has_tls = self.endpoints.iter().any(|it| it.starts_with("https://"));
        Ok(has_tls.then_some(tls))
    }
}

/// By what etcd is recognised, and recognises a node: the contents of PEM files.
///
/// ```
/// # use callsign_cluster as callsign;
/// use callsign::EtcdTls;
///
/// assert!(EtcdTls::default().authority.is_none(), "etcd is asked over `http`");
/// ```
#[derive(Clone, Default)]
pub struct EtcdTls {
    /// The certificates of the authority that etcd's are of.
    pub authority: Option<Vec<u8>>,
    /// The certificate of this node, and its key.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for EtcdTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EtcdTls(_)")
    }
}

/// As whom etcd knows a node.
///
/// ```
/// # use callsign_cluster as callsign;
/// use callsign::EtcdUser;
///
/// let user = EtcdUser { name: "callsign".to_owned(), password: "secret".to_owned() };
/// assert!(!format!("{user:?}").contains("secret"), "it is not for logs");
/// ```
#[derive(Clone)]
pub struct EtcdUser {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for EtcdUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdUser").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why a node cannot share with others by its settings.
#[derive(Debug, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant's message says what it is")]
pub enum ClusterError {
    #[error("no endpoint of etcd is given")]
    NoEndpoint,
    #[error("the endpoint `{endpoint}` of etcd cannot be used: {why}")]
    Endpoint { endpoint: String, why: String },
    #[error("the prefix of the keys is empty, or longer than {PREFIX_BYTES_MAX} bytes")]
    Prefix,
    #[error("a lease of {lease:?} is shorter than {LEASE_MIN:?}, or longer than {LEASE_MAX:?}")]
    Lease { lease: Duration },
}

/// The longest prefix: it is in every key.
const PREFIX_BYTES_MAX: usize = 256;

/// The shortest lease: etcd counts in seconds, and prolongs one below two of its elections. The
/// longest: nobody waits longer for the dead.
const LEASE_MIN: Duration = Duration::from_secs(2);
const LEASE_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl Fn(&mut ClusterSettings), expected: &str) {
        let node = "rome".parse().unwrap();
        let mut settings = ClusterSettings::new(node, ["http://[::1]:2379".to_owned()]);
        assert!(settings.checked().unwrap().is_none());
        change(&mut settings);
        let message = settings.checked().unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        check(|it| it.endpoints.clear(), "no endpoint");
        check(|it| it.endpoints.push("127.0.0.1:2379".to_owned()), "neither `http://` nor");
        check(|it| it.endpoints.push("http://a b".to_owned()), "`http://a b` of etcd cannot be");
        check(|it| it.endpoints.push("https://a:1".to_owned()), "which authority");
        check(|it| it.prefix.clear(), "prefix");
        check(|it| it.prefix = "x".repeat(257), "prefix");
        check(|it| it.lease = Duration::from_millis(1), "1ms is shorter");
        check(|it| it.lease = Duration::from_secs(61), "61s is shorter");
    }
}
