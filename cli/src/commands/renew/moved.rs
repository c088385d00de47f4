//! What became of the addresses of a lease, which nobody follows between two renewals.

use std::collections::BTreeSet;

use endpoints::{Endpoint, Host, Stamped, TcpAddress};
use transport::{Listening, expand, here, is_there, listening, stamp};

/// The endpoints of a lease of which this host has lost addresses.
#[derive(Debug)]
pub(super) struct Moved {
    pub(super) gone: Vec<Endpoint>,
    /// All endpoints from now on; `None` if that cannot be told, as a record does not keep whether an
    /// address was given or meant by a wildcard.
    pub(super) now: Option<Vec<Stamped>>,
}

impl Moved {
    /// Returns `None` if this host has all addresses, or is another.
    pub(super) fn of(endpoints: &[Stamped]) -> Option<Self> {
        let is_gone = |it: &&Stamped| tcp(it).is_some() && is_there(it) == Some(false);
        let gone: Vec<_> = endpoints.iter().filter(is_gone).collect();
        let mut now: Vec<_> = endpoints.iter().filter(|it| !is_gone(it)).cloned().collect();
        let mut is_known = !gone.is_empty();
        for (at, lost) in gone.iter().enumerate() {
            if gone[..at].iter().any(|it| is_beside(it, lost)) {
                continue;
            }
            let beside: Vec<_> = endpoints.iter().filter(|it| is_beside(it, lost)).collect();
            match meant(&beside) {
                Some(meant) => now.extend(meant),
                None => is_known = false,
            }
        }
        let gone: Vec<_> = gone.into_iter().map(|it| it.endpoint.clone()).collect();
        (!gone.is_empty()).then(|| Self { gone, now: is_known.then_some(now) })
    }
}

/// Returns the other addresses at which a wildcard listener answers that these were the addresses
/// of. They were if a loopback address is among them: only a wildcard means that together with
/// the addresses of a network.
fn meant(beside: &[&Stamped]) -> Option<Vec<Stamped>> {
    let is_loopback = |it: &&&Stamped| tcp(it).is_some_and(|it| it.host.is_loopback());
    let loopback = beside.iter().filter(is_loopback);
    let sockets: BTreeSet<u64> = loopback.flat_map(|it| sockets_at(&it.endpoint)).collect();
    let is_ipv6 = |it: &TcpAddress| it.host.ip().is_some_and(|ip| ip.is_ipv6());
    let host = if beside.iter().filter_map(|it| tcp(it)).any(is_ipv6) {
        Host::Ip6(std::net::Ipv6Addr::UNSPECIFIED)
    } else {
        Host::Ip4(std::net::Ipv4Addr::UNSPECIFIED)
    };
    let wildcard = Endpoint::Tcp(TcpAddress { host, ..tcp(beside.first()?)?.clone() });
    let answers = |it: &Endpoint| {
        let there = sockets_at(it);
        !there.is_empty() && there.is_subset(&sockets)
    };
    let answering: Vec<_> =
        expand(&wildcard, &here().interfaces).into_iter().filter(answers).collect();
    let is_told = |it: &Endpoint| beside.iter().any(|one| one.endpoint == *it);
    let is_network = |it: &Endpoint| matches!(it, Endpoint::Tcp(it) if !it.host.is_loopback());
    // A listener at the loopback alone is no wildcard.
    answering.iter().any(is_network).then(|| {
        let more = answering.into_iter().filter(|it| !is_told(it));
        more.map(|endpoint| Stamped { stamp: stamp(&endpoint), endpoint }).collect()
    })
}

fn sockets_at(endpoint: &Endpoint) -> BTreeSet<u64> {
    match listening(endpoint) {
        Listening::Sockets(sockets) => sockets.iter().map(|it| it.inode).collect(),
        Listening::Nobody(_) | Listening::Unknown => BTreeSet::new(),
    }
}

fn tcp(stamped: &Stamped) -> Option<&TcpAddress> {
    match &stamped.endpoint {
        Endpoint::Tcp(tcp) => Some(tcp),
        _ => None,
    }
}

/// Tells whether both have the same port, in the same network.
fn is_beside(one: &Stamped, other: &Stamped) -> bool {
    let place = |it: &Stamped| {
        let TcpAddress { port, tls, .. } = *tcp(it)?;
        Some((port, tls, it.stamp.kernel, it.stamp.netns))
    };
    place(one).is_some() && place(one) == place(other)
}
