//! The names of a certificate: its holder's, and those of the hosts that it is for.

use std::net::IpAddr;

use endpoints::{DnsName, SpiffeId};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

/// Returns the name of a certificate's holder: its SPIFFE ID, or else its first DNS name that is no
/// wildcard. A certificate with several URIs, or another URI than a SPIFFE ID, names nobody, as
/// SPIFFE demands.
pub(super) fn holder(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = &certificate.subject_alternative_name().ok()??.value.general_names;
    let mut uris = names.iter().filter_map(|it| match it {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    if let Some(uri) = uris.next() {
        let id: Option<SpiffeId> = uri.parse().ok().filter(|_| uris.next().is_none());
        return id.map(|it| it.to_string());
    }
    names.iter().find_map(|it| match it {
        GeneralName::DNSName(name) => {
            DnsName::new(name).ok().map(|it| it.as_str().to_ascii_lowercase())
        }
        _ => None,
    })
}

/// Returns the hosts that a certificate is for: DNS names, perhaps with a wildcard, and addresses.
pub(super) fn hosts(certificate: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let host = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let ip = four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            ip.ok().map(|it| it.to_string())
        }
        _ => None,
    };
    names.value.general_names.iter().filter_map(host).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    #[test]
    fn a_certificate_names_one_holder_or_none() {
        let uri = |it: &str| SanType::URI(it.try_into().unwrap());
        let dns = |it: &str| SanType::DnsName(it.try_into().unwrap());
        let check = |names: Vec<SanType>, expected: Option<&str>| {
            let mut params = CertificateParams::default();
            params.subject_alt_names = names;
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            assert_eq!(holder(certificate.der()).as_deref(), expected);
        };
        let feed = "spiffe://callsign.internal/feed";
        check(vec![uri(feed)], Some(feed));
        check(vec![dns("feed.example"), uri(feed)], Some(feed));
        check(vec![dns("Feed.Example"), dns("other.example")], Some("feed.example"));
        check(vec![dns("*.example"), dns("feed.example")], Some("feed.example"));
        check(vec![uri(feed), uri("spiffe://callsign.internal/desk")], None);
        check(vec![uri("https://feed.example/"), dns("feed.example")], None);
        check(vec![uri("spiffe://callsign.internal/../feed")], None);
        check(vec![SanType::IpAddress([10, 0, 0, 7].into())], None);
        check(Vec::new(), None);
        assert_eq!(holder(b"no certificate"), None);
    }
}
