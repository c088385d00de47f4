//! Where the asker of a question is, so that the nearest endpoints come first.

use std::net::IpAddr;

use endpoints::{Endpoint, Here, Host, Interface, Locality, Stamped, Unreachable, locate};

use crate::surroundings::Surroundings;

/// Returns the place of an asker at an address, as far as this host can tell: one at an address of
/// this network namespace is in it.
pub(super) fn place_of(asker: IpAddr, surroundings: &Surroundings) -> Here {
    seen_from(asker.to_canonical(), &surroundings.here())
}

fn seen_from(asker: IpAddr, here: &Here) -> Here {
    if asker.is_loopback() || here.has_address(asker) {
        return here.clone();
    }
    // All that is known of another host is its address, and the subnets that it shares with this.
    let shared = here.interfaces.iter().filter(|it| it.reaches(asker));
    let interfaces = shared.map(|it| Interface { ip: asker, ..it.clone() }).collect();
    Here { interfaces, ..Here::default() }
}

/// Tells how near an endpoint is to an asker. Only endpoints that DNS can name are judged.
pub(super) fn judge(stamped: &Stamped, asker: &Here) -> Option<Locality> {
    // No record has a zone, not even for an asker who could use it.
    let is_named = |host: &Host| !matches!(host, Host::Ip6Zone { .. });
    if !matches!(&stamped.endpoint, Endpoint::Tcp(tcp) if is_named(&tcp.host)) {
        return None;
    }
    locate(stamped, asker, &|_| Err(Unreachable::Missing)).ok()
}

#[cfg(test)]
mod tests {
    use endpoints::{KernelId, NetnsId, Stamp};

    use super::*;

    #[test]
    fn what_is_near_depends_on_the_asker() {
        let interface = |name: &str, ip: &str, prefix_bits| Interface {
            name: name.to_owned(),
            ip: ip.parse().unwrap(),
            prefix_bits,
        };
        let here = Here {
            kernel: Some(KernelId(1)),
            netns: Some(NetnsId(2)),
            process: None,
            interfaces: vec![interface("lo", "127.0.0.1", 8), interface("eth0", "10.0.0.5", 24)],
        };
        let stamp = here.stamp();
        let elsewhere = Stamp { netns: Some(NetnsId(3)), ..stamp };
        let check = |endpoint: &str, stamp: Stamp, asker: &str, expected| {
            let stamped = Stamped { endpoint: endpoint.parse().unwrap(), stamp };
            let asker = seen_from(asker.parse().unwrap(), &here);
            assert_eq!(judge(&stamped, &asker), expected, "{endpoint} {asker:?}");
        };
        let loopback = "/ip4/127.0.0.1/tcp/80";
        for local in ["127.0.0.1", "127.0.0.53", "::1", "10.0.0.5"] {
            check(loopback, stamp, local, Some(Locality::Loopback));
            check(loopback, elsewhere, local, None);
            check("/ip4/10.0.0.5/tcp/80", stamp, local, Some(Locality::ThisHost));
        }
        for remote in ["10.0.0.9", "192.0.2.7"] {
            check(loopback, stamp, remote, None);
        }
        check("/ip4/10.0.0.5/tcp/80", stamp, "10.0.0.9", Some(Locality::SameSubnet));
        check("/ip4/10.0.0.9/tcp/80", Stamp::default(), "10.0.0.9", Some(Locality::ThisHost));
        check("/ip4/10.0.0.5/tcp/80", stamp, "192.0.2.7", Some(Locality::Remote));
        check("/dns/feed.example/tcp/80", Stamp::default(), "192.0.2.7", Some(Locality::Remote));
        for asker in ["10.0.0.9", "10.0.0.5", "::1"] {
            check("/ip6zone/eth0/ip6/fe80::1/tcp/80", stamp, asker, None);
            check("/ip6zone/lo/ip6/fe80::2/tcp/80", stamp, asker, None);
        }
        check("/unix/run/feed.sock", stamp, "127.0.0.1", None);
    }
}
