//! The endpoints of one list, bound together.
//!
//! Two of them may have one port, as in every list that is meant for both families:
//! ```text
//! /ip4/0.0.0.0/tcp/1616   IPv4
//! /ip6/::/tcp/1616        IPv6 alone, for it stands beside an IPv4 address of that port
//! ```
//!
//! A lone `::` takes IPv4 too, which cannot be changed after the bind. So IPv4 goes first, whatever
//! the order of the list.
//!
//! Port 0 is one free port for both families, if both wildcards or both loopback addresses have it:
//! clients that know one port of a host try it over either family.

use std::{
    borrow::Borrow,
    net::{IpAddr, SocketAddr},
};

use endpoints::{Endpoint, TcpAddress};
use thiserror::Error;

use crate::{
    error::BindError,
    listen::{BindOptions, Listener},
    tcp,
};

impl Listener {
    /// Binds the endpoints of one list, and listens on them: each once, even if it is repeated, and
    /// in the order of the list. Either all of them are bound or none is.
    ///
    /// A wildcard `::` takes IPv6 only if the list has an IPv4 address of the same port, and IPv4
    /// too otherwise. Port 0 of both wildcards, or of both loopback addresses, is the same port if
    /// possible.
    ///
    /// ```
    /// # use transport as callsign;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::{BindOptions, Listener};
    ///
    /// let list = ["/unix/@feed-7".parse()?, "/ip4/127.0.0.1/tcp/0".parse()?];
    /// let listeners = Listener::bind_all(&list, BindOptions::default()).await?;
    /// assert_eq!(listeners[0].bound(), &list[0]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`BindAllError`], with the endpoint and the reason.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime that drives I/O and time.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future leaves nothing bound and no file behind.
    pub async fn bind_all(
        endpoints: &[Endpoint],
        options: BindOptions,
    ) -> Result<Vec<Self>, BindAllError> {
        Self::bind_all_beside::<Self>(&[], endpoints, options).await
    }

    /// Binds the endpoints of one list as [`bind_all`](Self::bind_all) does, some of which are
    /// already bound.
    ///
    /// ```
    /// # use transport as callsign;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::{BindOptions, Listener};
    ///
    /// let first = [Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse()?).await?];
    /// let more = ["/memory/0".parse()?];
    /// let listeners = Listener::bind_all_beside(&first, &more, BindOptions::default()).await?;
    /// assert_eq!(listeners.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`bind_all`](Self::bind_all).
    ///
    /// # Panics
    ///
    /// As [`bind_all`](Self::bind_all).
    ///
    /// # Cancel safety
    ///
    /// As [`bind_all`](Self::bind_all).
    pub async fn bind_all_beside<L: Borrow<Self>>(
        others: &[L],
        endpoints: &[Endpoint],
        options: BindOptions,
    ) -> Result<Vec<Self>, BindAllError> {
        let list = each_once(endpoints);
        let others: Vec<&Self> = others.iter().map(Borrow::borrow).collect();
        let mut ports = Ports { others: &others, ports: Vec::new() };
        for (at, endpoint) in list.iter().enumerate() {
            let Some(tcp) = plain_tcp(endpoint) else { continue };
            let addresses = tcp::resolve(tcp).await.map_err(|it| fail(endpoint, it.into()))?;
            ports.add(at, tcp, addresses);
        }
        let mut listeners = ports.bind(&list)?;
        for (endpoint, listener) in list.iter().zip(&mut listeners) {
            if listener.is_none() {
                let bound = Self::bind_with(endpoint, options).await;
                *listener = Some(bound.map_err(|it| fail(endpoint, it))?);
            }
        }
        Ok(listeners.into_iter().flatten().collect())
    }

    /// Binds places for which nobody else has a use, as [`bind_own`](Self::bind_own) does, and
    /// together as [`bind_all`](Self::bind_all) does.
    ///
    /// Returns `None` if there is a host name among them, whose address is to be waited for.
    ///
    /// ```
    /// # use transport as callsign;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::Listener;
    ///
    /// let places = ["/ip4/127.0.0.1/tcp/0".parse()?, "/memory/0".parse()?];
    /// let listeners = Listener::bind_all_own(&places)?.expect("none is a host name");
    /// assert_eq!(listeners.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`bind_all`](Self::bind_all).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime that drives I/O.
    pub fn bind_all_own(endpoints: &[Endpoint]) -> Result<Option<Vec<Self>>, BindAllError> {
        let list = each_once(endpoints);
        let mut ports = Ports { others: &[], ports: Vec::new() };
        for (at, endpoint) in list.iter().enumerate() {
            let Some(tcp) = plain_tcp(endpoint) else { continue };
            match tcp::literal(tcp).map_err(|it| fail(endpoint, it.into()))? {
                Some(address) => ports.add(at, tcp, vec![address]),
                None => return Ok(None),
            }
        }
        let mut listeners = ports.bind(&list)?;
        for (endpoint, listener) in list.iter().zip(&mut listeners) {
            if listener.is_none() {
                *listener = Self::bind_own(endpoint).map_err(|it| fail(endpoint, it))?;
            }
        }
        Ok(listeners.into_iter().collect())
    }
}

/// The endpoint of a list that could not be bound, and why.
///
/// ```
/// # use transport as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use callsign::{BindOptions, Listener};
///
/// let list = ["/ip4/127.0.0.1/tcp/0".parse()?, "/unix/no/such/folder/feed.sock".parse()?];
/// let error = Listener::bind_all(&list, BindOptions::default()).await.unwrap_err();
/// assert_eq!(error.endpoint, list[1]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Error)]
#[error("cannot listen on `{endpoint}`")]
pub struct BindAllError {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Why.
    pub source: BindError,
}

/// The TCP endpoints of one list.
struct Ports<'a> {
    /// The listeners that are already there.
    others: &'a [&'a Listener],
    ports: Vec<Port<'a>>,
}

struct Port<'a> {
    /// Its position in the list.
    at: usize,
    tcp: &'a TcpAddress,
    addresses: Vec<SocketAddr>,
}

impl<'a> Ports<'a> {
    fn add(&mut self, at: usize, tcp: &'a TcpAddress, addresses: Vec<SocketAddr>) {
        self.ports.push(Port { at, tcp, addresses });
    }

    /// Binds them, and returns each listener with its position in the list.
    fn bind(mut self, list: &[&Endpoint]) -> Result<Vec<Option<Listener>>, BindAllError> {
        let mut listeners: Vec<Option<Listener>> = list.iter().map(|_| None).collect();
        self.ports.sort_by_key(|it| it.is_ipv6());
        for (nth, port) in self.ports.iter().enumerate() {
            let partner = self.ports[..nth].iter().find(|it| it.is_one_port_with(port));
            let shared = partner.and_then(|it| self.bind_beside(port, it, &mut listeners));
            let bound = match shared {
                Some(listener) => Ok(listener),
                None => self.bind_one(port, port.tcp.port, &listeners),
            };
            listeners[port.at] = Some(bound.map_err(|it| fail(list[port.at], it))?);
        }
        Ok(listeners)
    }

    /// Binds the port that `partner` got. If that is in use for this family, `partner` gets another
    /// one. Returns `None` if that did not help.
    fn bind_beside(
        &self,
        port: &Port<'_>,
        partner: &Port<'_>,
        listeners: &mut [Option<Listener>],
    ) -> Option<Listener> {
        for _ in 0..DRAWS {
            let number = listeners[partner.at].as_ref().and_then(port_of)?;
            match self.bind_one(port, number, listeners) {
                Ok(listener) => return Some(listener),
                Err(BindError::InUse { .. }) => {}
                Err(_) => return None,
            }
            let drawn = self.bind_one(partner, 0, listeners).ok()?;
            listeners[partner.at] = Some(drawn);
        }
        None
    }

    /// Binds a port by number, beside those that are already bound.
    fn bind_one(
        &self,
        port: &Port<'_>,
        number: u16,
        listeners: &[Option<Listener>],
    ) -> Result<Listener, BindError> {
        let has_ipv4 = |it: &Listener| {
            let Endpoint::Tcp(bound) = it.bound() else { return false };
            bound.port == number && matches!(bound.host.ip(), Some(IpAddr::V4(_)))
        };
        let is_ipv6_only = number != 0
            && self.others.iter().copied().chain(listeners.iter().flatten()).any(has_ipv4);
        let mut addresses = port.addresses.clone();
        addresses.iter_mut().for_each(|it| it.set_port(number));
        Listener::bind_port(port.tcp, &addresses, is_ipv6_only)
    }
}

impl Port<'_> {
    fn is_ipv6(&self) -> bool {
        self.addresses.first().is_some_and(|it| it.ip().to_canonical().is_ipv6())
    }

    /// Tells whether this IPv4 address and that IPv6 address need one common free port.
    fn is_one_port_with(&self, other: &Self) -> bool {
        let are_free = self.tcp.port == 0 && other.tcp.port == 0;
        let (own, theirs) = (&self.tcp.host, &other.tcp.host);
        let are_alike =
            own.is_wildcard() && theirs.is_wildcard() || own.is_loopback() && theirs.is_loopback();
        are_free && are_alike && !self.is_ipv6() && other.is_ipv6()
    }
}

/// Returns the endpoint's TCP address, if it can be bound.
fn plain_tcp(endpoint: &Endpoint) -> Option<&TcpAddress> {
    match endpoint {
        Endpoint::Tcp(tcp) => Some(tcp),
        _ => None,
    }
}

fn port_of(listener: &Listener) -> Option<u16> {
    match listener.bound() {
        Endpoint::Tcp(tcp) => Some(tcp.port),
        _ => None,
    }
}

fn each_once(endpoints: &[Endpoint]) -> Vec<&Endpoint> {
    let mut list: Vec<&Endpoint> = Vec::with_capacity(endpoints.len());
    for endpoint in endpoints {
        if !list.contains(&endpoint) {
            list.push(endpoint);
        }
    }
    list
}

fn fail(endpoint: &Endpoint, source: BindError) -> BindAllError {
    BindAllError { endpoint: endpoint.clone(), source }
}

/// The most draws of a port that both families have free, before each gets its own. So many fail
/// only if nearly every port is in use.
const DRAWS: u32 = 16;
