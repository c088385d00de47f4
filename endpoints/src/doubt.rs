//! Why callers may not reach an actor, as far as its registrant can tell.

use thiserror::Error;

use crate::{Endpoint, Here, Host, Stamped};

/// The reason why callers may not reach a registered endpoint, though the registration itself is
/// correct.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::Doubt;
///
/// fn is_for_everybody(doubts: &[Doubt]) -> bool {
///     !doubts.iter().any(|it| matches!(it, Doubt::HostOnly { .. }))
/// }
/// ```
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Doubt {
    /// Callers treat an endpoint as local only if its stamp has their kernel.
    #[error(
        "cannot learn which kernel this is (/proc/sys/kernel/random/boot_id): others on this \
         host will not reach it; `[host] id` of the settings says it instead"
    )]
    KernelUnknown,
    /// Callers take a loopback or an abstract name for theirs only within their network namespace.
    #[error(
        "cannot learn which network namespace this is (SO_NETNS_COOKIE of Linux 5.14): others \
         will not reach `{endpoint}`; a Unix socket at a path needs none"
    )]
    NetnsUnknown {
        /// The first endpoint that needs it.
        endpoint: Endpoint,
    },
    /// The registrar serves other hosts, and none of these endpoints does.
    #[error(
        "only callers on this host reach it, and the registrar {registrar} is on another: \
         register an address of this host too"
    )]
    HostOnly {
        /// The registrar on another host.
        registrar: Endpoint,
    },
    /// The registrar, and so others, find something else at a path.
    #[error(
        "the registrar at {registrar} finds another folder there, or none: `{endpoint}` is in a \
         mount namespace of its own (PrivateTmp, a container), and others will not reach it; use \
         a folder that both have"
    )]
    OtherMounts {
        /// The owner of the path.
        endpoint: Endpoint,
        /// The registrar that does not find it.
        registrar: Endpoint,
    },
}

/// Tells why callers may not reach an actor that is registered with `registrars` from `here`.
pub fn doubts<'a>(
    endpoints: &[Stamped],
    registrars: impl IntoIterator<Item = &'a Endpoint>,
    here: &Here,
) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    let local = || endpoints.iter().filter(|it| is_host_only(&it.endpoint));
    if local().any(|it| it.stamp.kernel.is_none()) {
        doubts.push(Doubt::KernelUnknown);
    } else if let Some(it) = local().find(|it| needs_netns(it) && it.stamp.netns.is_none()) {
        doubts.push(Doubt::NetnsUnknown { endpoint: it.endpoint.clone() });
    }
    let is_elsewhere = |it: &&Endpoint| match it {
        // The address of a name is unknown without a query.
        Endpoint::Tcp(tcp) => tcp.host.ip().is_some_and(|ip| {
            !ip.is_loopback() && !here.interfaces.iter().any(|own| own.ip.to_canonical() == ip)
        }),
        Endpoint::Unix(_) | Endpoint::Memory(_) => false,
    };
    if !endpoints.is_empty()
        && !here.interfaces.is_empty()
        && endpoints.iter().all(|it| is_host_only(&it.endpoint))
        && let Some(registrar) = registrars.into_iter().find(is_elsewhere)
    {
        doubts.push(Doubt::HostOnly { registrar: registrar.clone() });
    }
    doubts
}

/// Tells whether callers on other hosts can never reach an endpoint.
fn is_host_only(endpoint: &Endpoint) -> bool {
    match endpoint {
        Endpoint::Unix(_) => true,
        Endpoint::Tcp(tcp) => tcp.host.is_loopback(),
        // Within one process nobody else is concerned.
        Endpoint::Memory(_) => false,
    }
}

fn needs_netns(stamped: &Stamped) -> bool {
    match &stamped.endpoint {
        Endpoint::Unix(crate::UnixAddress::Abstract(_)) => true,
        Endpoint::Tcp(tcp) => !matches!(tcp.host, Host::Dns(..)) || tcp.host.is_loopback(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Interface, KernelId, NetnsId, Stamp};

    #[test]
    fn unreachable_endpoints_are_reported() {
        let interface = |ip: &str| Interface {
            name: "eth0".to_owned(),
            ip: ip.parse().unwrap(),
            prefix_bits: 24,
        };
        let here = Here {
            interfaces: vec![interface("10.0.0.1"), interface("2001:db8::1")],
            ..Here::default()
        };
        let check =
            |kernel: bool, netns: bool, own: &[&str], registrar: &str, expected: &[&str]| {
                let stamp = Stamp {
                    kernel: kernel.then_some(KernelId(1)),
                    netns: netns.then_some(NetnsId(1)),
                    ..Stamp::default()
                };
                let stamped = |it: &&str| Stamped { endpoint: it.parse().unwrap(), stamp };
                let own: Vec<_> = own.iter().map(stamped).collect();
                let registrar = registrar.parse().unwrap();
                let doubts = doubts(&own, [&registrar], &here);
                let words = ["kernel", "namespace", "on another"];
                let word = |it: &Doubt| {
                    let text = it.to_string();
                    words
                        .into_iter()
                        .find(|word| {
                            text.contains(&format!("{word} ")) || text.contains(&format!("{word}:"))
                        })
                        .unwrap()
                };
                assert_eq!(doubts.iter().map(word).collect::<Vec<_>>(), expected, "{doubts:?}");
            };
        let local = "/unix/@r";
        check(true, true, &["/unix/run/x", "/unix/@x", "/ip4/127.0.0.1/tcp/7"], local, &[]);
        for own in ["/unix/run/x", "/unix/@x", "/ip6/::1/tcp/7", "/dns/localhost/tcp/7"] {
            check(false, true, &[own], local, &["kernel"]);
            check(false, false, &[own, "/ip4/10.0.0.1/tcp/7"], local, &["kernel"]);
        }
        for own in ["/unix/@x", "/ip4/127.0.0.1/tcp/7", "/dns/localhost/tcp/7"] {
            check(true, false, &["/unix/run/x", own], local, &["namespace"]);
        }
        check(true, false, &["/unix/run/x", "/ip4/10.0.0.1/tcp/7"], local, &[]);
        check(false, false, &["/ip4/10.0.0.1/tcp/7", "/dns/host/tcp/7"], local, &[]);
        check(false, false, &[], local, &[]);

        let elsewhere = ["/ip4/10.0.0.9/tcp/1616", "/ip6/2001:db8::9/tcp/1616"];
        for registrar in elsewhere {
            check(true, true, &["/unix/run/x"], registrar, &["on another"]);
            check(true, true, &["/unix/@x", "/ip4/127.0.0.1/tcp/7"], registrar, &["on another"]);
            check(true, true, &["/unix/@x", "/ip4/10.0.0.1/tcp/7"], registrar, &[]);
            check(true, true, &[], registrar, &[]);
        }
        for registrar in ["/ip4/10.0.0.1/tcp/1616", "/ip6/2001:db8::1/tcp/1", "/dns/r/tcp/1"] {
            check(true, true, &["/unix/run/x"], registrar, &[]);
        }
    }
}
