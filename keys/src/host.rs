//! Hosts that a certificate is for.

use std::{fmt, net::IpAddr, str::FromStr};

use endpoints::{DnsName, Quoted};
use thiserror::Error;

/// A host as a certificate names it: by a DNS name or an IP address.
///
/// ```
/// use keys::CertifiedHost;
///
/// assert_eq!("Feed.example".parse(), Ok(CertifiedHost::Name("feed.example".to_owned())));
/// assert_eq!("::1".parse(), Ok(CertifiedHost::Address("::1".parse()?)));
/// assert!("10.0.0.256".parse::<CertifiedHost>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CertifiedHost {
    /// A DNS name, in lower case, without a dot at its end.
    Name(String),
    /// An IP address.
    Address(IpAddr),
}

impl FromStr for CertifiedHost {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        let fail = |rule| HostError { host: text.to_owned(), rule };
        if let Ok(address) = text.parse::<IpAddr>() {
            let address = address.to_canonical();
            if address.is_unspecified() {
                return Err(fail("a wildcard address is no host: name each of its addresses"));
            }
            return Ok(Self::Address(address));
        }
        if text.starts_with('/') {
            return Err(fail("write the host alone, without its protocol"));
        }
        if text.contains('%') {
            return Err(fail("a certificate has no zones: write the address without `%…`"));
        }
        if text.contains([':', '[', ']']) {
            return Err(fail("write the host alone, without a port or brackets"));
        }
        let name = DnsName::new(text).map_err(fail)?;
        Ok(Self::Name(name.as_str().trim_end_matches('.').to_owned()))
    }
}

impl fmt::Display for CertifiedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.pad(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Why a text is no host that a certificate can name.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{} is neither a DNS name nor an IP address: {rule}", Quoted(.host))]
pub struct HostError {
    host: String,
    rule: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address() {
        let check = |text: &str, expected: &str| {
            assert_eq!(text.parse::<CertifiedHost>().unwrap().to_string(), expected, "{text}");
        };
        check("feed", "feed");
        check("Feed.Example.", "feed.example");
        check("10.0.0.7", "10.0.0.7");
        check("2001:DB8::7", "2001:db8::7");
        check("::ffff:10.0.0.7", "10.0.0.7");
    }

    #[test]
    fn other_texts_are_refused_with_the_reason() {
        let check = |text: &str, rule: &str| {
            let error = text.parse::<CertifiedHost>().unwrap_err().to_string();
            assert!(error.contains(rule), "{text}: {error}");
        };
        check("", "no part of a host name is empty");
        check("a..b", "no part of a host name is empty");
        check("*.example", "letters, digits, - and dots");
        check("a b", "letters, digits, - and dots");
        check("-a", "begins and ends with a letter or a digit");
        check("1.2.3", "cannot end in a number");
        check("münchen.example", "xn--");
        check("feed:80", "without a port");
        check("[::1]", "brackets");
        check("fe80::1%eth0", "no zones");
        check("0.0.0.0", "a wildcard address");
        check("::", "a wildcard address");
        check("/ip4/10.0.0.7", "without its protocol");
    }
}
