//! Addresses that are valid, and at which nobody can be reached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use crate::{Endpoint, Host};

/// Why nobody can be reached at an address.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::{Endpoint, Nowhere};
///
/// let endpoint: Endpoint = "/ip4/224.0.0.1/tcp/80".parse()?;
/// assert!(matches!(endpoint.nowhere(), Some(Nowhere::Multicast { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Nowhere {
    /// It is valid on one link only, and no link is named.
    #[error("{ip} is a link-local address, which needs its interface")]
    ZoneMissing {
        /// The address.
        ip: Ipv6Addr,
    },
    /// It is the address of a group of hosts.
    #[error("{ip} is a multicast address; TCP connects to one host only")]
    Multicast {
        /// The address.
        ip: IpAddr,
    },
    /// It is the address of all hosts of a link.
    #[error("{} is the broadcast address; TCP connects to one host only", Ipv4Addr::BROADCAST)]
    Broadcast,
    /// No host has an address that begins so (RFC 1122, section 3.2.1.3).
    #[error("{ip} is not the address of a host: none begins with 0")]
    NoHost {
        /// The address.
        ip: Ipv4Addr,
    },
}

impl Nowhere {
    /// Returns a correction of an endpoint that leads there.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Endpoint;
    ///
    /// let endpoint: Endpoint = "/ip6/fe80::1/tcp/80".parse()?;
    /// let help = endpoint.nowhere().map(|it| it.help(&endpoint));
    /// assert_eq!(help.as_deref(), Some("write `/ip6zone/<interface>/ip6/fe80::1/tcp/80`"));
    /// # Ok::<(), endpoints::ParseEndpointError>(())
    /// ```
    pub fn help(&self, endpoint: &Endpoint) -> String {
        match self {
            Self::ZoneMissing { ip } => {
                let after = match endpoint {
                    Endpoint::Tcp(tcp) if tcp.port != 0 => {
                        format!("{}{}", tcp.port, if tcp.tls { "/tls" } else { "" })
                    }
                    _ => "<port>".to_owned(),
                };
                format!("write `/ip6zone/<interface>/ip6/{ip}/tcp/{after}`")
            }
            Self::Multicast { .. } | Self::Broadcast | Self::NoHost { .. } => {
                "write the address of one host".to_owned()
            }
        }
    }
}

impl Host {
    /// Returns why nobody can be reached there, wherever the caller is.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Endpoint;
    ///
    /// let Endpoint::Tcp(tcp) = "/ip4/224.0.0.1/tcp/80".parse()? else { panic!("it is TCP") };
    /// assert!(tcp.host.nowhere().is_some(), "it is a multicast address");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn nowhere(&self) -> Option<Nowhere> {
        let ip = self.ip()?;
        match (self, ip) {
            _ if ip.is_multicast() => Some(Nowhere::Multicast { ip }),
            (_, IpAddr::V4(Ipv4Addr::BROADCAST)) => Some(Nowhere::Broadcast),
            (_, IpAddr::V4(ip)) if ip.octets()[0] == 0 && !ip.is_unspecified() => {
                Some(Nowhere::NoHost { ip })
            }
            (Self::Ip6(ip), _) if ip.is_unicast_link_local() => {
                Some(Nowhere::ZoneMissing { ip: *ip })
            }
            _ => None,
        }
    }
}

impl Endpoint {
    /// Returns why nobody can be reached there, wherever the caller is. What can be bound and
    /// not dialed is another matter: [`is_bind_only`](Self::is_bind_only).
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Endpoint;
    ///
    /// let leads_nowhere = |text: &str| Ok(text.parse::<Endpoint>()?.nowhere().is_some());
    /// assert!(leads_nowhere("/ip6/ff02::1/tcp/80")? && leads_nowhere("/ip6/fe80::1/tcp/80")?);
    /// assert!(!leads_nowhere("/ip6zone/eth0/ip6/fe80::1/tcp/80")?);
    /// # Ok::<(), endpoints::ParseEndpointError>(())
    /// ```
    pub fn nowhere(&self) -> Option<Nowhere> {
        match self {
            Self::Tcp(tcp) => tcp.host.nowhere(),
            Self::Unix(_) | Self::Memory(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_correction_keeps_what_was_written_behind_the_host() {
        let check = |written: &str, expected: &str| {
            let help = match written.parse::<Endpoint>() {
                Ok(endpoint) => endpoint.nowhere().unwrap().help(&endpoint),
                Err(error) => error.help().unwrap().split("; ").nth(1).unwrap().to_owned(),
            };
            assert_eq!(help, format!("write `/ip6zone/<interface>/ip6/{expected}`"), "{written}");
        };
        check("/ip6/fe80::1/tcp/80", "fe80::1/tcp/80");
        check("/ip6/fe80::7/tcp/443/tls", "fe80::7/tcp/443/tls");
        check("[fe80::1]:81", "fe80::1/tcp/81");
        // None was written.
        check("fe80::1", "fe80::1/tcp/<port>");
        check("/ip6/fe80::9", "fe80::9/tcp/<port>");
        check("/ip6/fe80::9/tcp/0", "fe80::9/tcp/<port>");
    }

    #[test]
    fn addresses_of_no_host_lead_nowhere() {
        let check = |host: &str, expected: &str| {
            let endpoint: Endpoint = format!("{host}/tcp/80").parse().unwrap();
            let nowhere = endpoint.nowhere().map(|it| it.to_string()).unwrap_or_default();
            let first = nowhere.split(" is ").nth(1).unwrap_or_default();
            assert!(
                first.starts_with(expected) && first.is_empty() == expected.is_empty(),
                "{host}: {nowhere}"
            );
        };
        check("/ip4/224.0.0.1", "a multicast");
        check("/ip4/239.255.255.250", "a multicast");
        check("/ip6/ff02::1", "a multicast");
        check("/ip6zone/eth0/ip6/ff02::1", "a multicast");
        check("/ip6/::ffff:224.0.0.1", "a multicast");
        check("/ip4/255.255.255.255", "the broadcast");
        check("/ip6/::ffff:255.255.255.255", "the broadcast");
        check("/ip4/0.0.0.1", "not the address");
        check("/ip4/0.1.2.3", "not the address");
        check("/ip6/fe80::1", "a link-local");
        check("/ip6/febf::1", "a link-local");
        for good in [
            "/ip4/0.0.0.0",
            "/ip4/10.0.0.255",
            "/ip4/169.254.1.1",
            "/ip4/127.255.255.255",
            "/ip4/240.0.0.1",
            "/ip6/::",
            "/ip6/fc00::1",
            "/ip6/::ffff:0.0.0.0",
            "/ip6zone/eth0/ip6/fe80::1",
            "/dns/224.example",
        ] {
            check(good, "");
        }
    }
}
