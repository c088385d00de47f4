//! What became of the addresses of a lease, which nobody follows between two renewals.

use std::collections::BTreeSet;

use endpoints::{Endpoint, Host, InstanceId, Stamped, TcpAddress};
use transport::{Listening, expand, here, is_there, listening, stamp};

/// The endpoints of a lease of which this host has lost addresses, or whose wildcard has got others.
#[derive(Debug)]
pub(super) struct Moved {
    pub(super) gone: Vec<Endpoint>,
    pub(super) come: Vec<Endpoint>,
    /// All endpoints from now on; `None` if that cannot be told, as a record does not keep whether an
    /// address was given or meant by a wildcard.
    pub(super) now: Option<Vec<Stamped>>,
}

impl Moved {
    /// Returns `None` if the addresses are the same, or those of another host.
    pub(super) fn of(endpoints: &[Stamped]) -> Option<Self> {
        let is_here = |it: &&Stamped| tcp(it).is_some() && is_there(it).is_some();
        let is_gone = |it: &&Stamped| tcp(it).is_some() && is_there(it) == Some(false);
        let here: Vec<_> = endpoints.iter().filter(is_here).collect();
        let (mut come, mut is_known) = (Vec::new(), true);
        for (at, one) in here.iter().enumerate() {
            if here[..at].iter().any(|it| is_beside(it, one)) {
                continue;
            }
            let beside: Vec<_> = endpoints.iter().filter(|it| is_beside(it, one)).collect();
            match meant(&beside) {
                Some(meant) => come.extend(meant),
                None => is_known &= !beside.iter().any(is_gone),
            }
        }
        let (gone, mut now): (Vec<_>, Vec<_>) =
            endpoints.iter().cloned().partition(|it| is_gone(&it));
        let count = now.len();
        now.extend(come);
        now.truncate(InstanceId::ENDPOINTS_MAX);
        let listed = |all: &[Stamped]| all.iter().map(|it| it.endpoint.clone()).collect::<Vec<_>>();
        let (gone, come) = (listed(&gone), listed(&now[count.min(now.len())..]));
        let is_same = gone.is_empty() && come.is_empty();
        (!is_same).then(|| Self { gone, come, now: is_known.then_some(now) })
    }
}

/// Returns the other addresses at which a wildcard listener answers that these were the addresses
/// of. They were if a loopback address is among them: only a wildcard means that together with
/// the addresses of a network. Loopback addresses alone may have been given.
fn meant(beside: &[&Stamped]) -> Option<Vec<Stamped>> {
    let is_loopback = |it: &&&Stamped| tcp(it).is_some_and(|it| it.host.is_loopback());
    let loopback = beside.iter().filter(is_loopback);
    let is_of_network = |it: &&&Stamped| tcp(it).is_some_and(|it| !it.host.is_loopback());
    beside.iter().find(is_of_network)?;
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
