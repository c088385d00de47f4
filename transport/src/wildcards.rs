//! The wildcard addresses at which this process listens, with their present meaning.
//!
//! A publisher of a wildcard publishes the addresses of a moment. Addresses come and go with
//! networks; so a publisher of all of them can find the listener by them, hold on to it, and ask
//! for its present addresses.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use endpoints::{Endpoint, Host, Stamp, Stamped};

use crate::here::{expand, interfaces};

/// A wildcard address that this process listens at.
#[derive(Clone, Debug)]
pub(crate) struct Wildcard(Weak<Bound>);

/// A wildcard address that was bound. It is listed for as long as it lives.
#[derive(Debug)]
pub(crate) struct Bound {
    endpoint: Endpoint,
    stamp: Stamp,
    /// Whether `::` takes IPv6 only.
    is_ipv6_only: bool,
}

impl Bound {
    /// Records a bound wildcard.
    pub(crate) fn list(endpoint: Endpoint, stamp: Stamp, is_ipv6_only: bool) -> Arc<Self> {
        let bound = Arc::new(Self { endpoint, stamp, is_ipv6_only });
        let mut listed = lock();
        listed.retain(|it| it.strong_count() > 0);
        listed.push(Arc::downgrade(&bound));
        bound
    }

    /// Tells whether connections to an endpoint arrive here.
    pub(crate) fn takes_in(&self, endpoint: &Endpoint) -> bool {
        let (Endpoint::Tcp(own), Endpoint::Tcp(other)) = (&self.endpoint, endpoint) else {
            return false;
        };
        let is_of_family = match (&own.host, &other.host) {
            (Host::Ip4(_), Host::Ip6(_) | Host::Ip6Zone { .. }) => false,
            (_, Host::Ip4(_)) => !self.is_ipv6_only,
            _ => true,
        };
        is_of_family && own.tls == other.tls && self.endpoint.conflicts_with(endpoint)
    }

    /// Returns its present addresses.
    pub(crate) fn meant(&self) -> Vec<Stamped> {
        let interfaces = interfaces().unwrap_or_else(|error| {
            tracing::warn!(%error, "the network interfaces cannot be read");
            Vec::new()
        });
        let is_ipv4 =
            |it: &Endpoint| matches!(it, Endpoint::Tcp(tcp) if matches!(tcp.host, Host::Ip4(_)));
        let endpoints = expand(&self.endpoint, &interfaces).into_iter();
        endpoints
            .filter(|it| !self.is_ipv6_only || !is_ipv4(it))
            .map(|endpoint| Stamped { endpoint, stamp: self.stamp })
            .collect()
    }
}

impl Wildcard {
    pub(crate) fn of(bound: &Arc<Bound>) -> Self {
        Self(Arc::downgrade(bound))
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0.ptr_eq(&other.0)
    }

    /// Returns its present endpoints, as `Listener::published` does; `None` once nobody listens
    /// there any more.
    pub(crate) fn meant(&self) -> Option<Vec<Stamped>> {
        self.0.upgrade().map(|it| it.meant())
    }
}

/// Returns the wildcards of this process with all of their endpoints among these, each with its
/// addresses.
pub(crate) fn wildcards_in(endpoints: &[Stamped]) -> Vec<(Wildcard, Vec<Stamped>)> {
    let port = |it: &Endpoint| match it {
        Endpoint::Tcp(tcp) => Some(tcp.port),
        _ => None,
    };
    let listed: Vec<_> = lock().iter().filter_map(Weak::upgrade).collect();
    let mut found = Vec::new();
    for bound in listed {
        if !endpoints.iter().any(|it| port(&it.endpoint) == port(&bound.endpoint)) {
            continue;
        }
        let meant = bound.meant();
        if !meant.is_empty() && meant.iter().all(|it| endpoints.contains(it)) {
            found.push((Wildcard(Arc::downgrade(&bound)), meant));
        }
    }
    found
}

fn lock() -> MutexGuard<'static, Vec<Weak<Bound>>> {
    LISTED.lock().unwrap_or_else(PoisonError::into_inner)
}

static LISTED: Mutex<Vec<Weak<Bound>>> = Mutex::new(Vec::new());
