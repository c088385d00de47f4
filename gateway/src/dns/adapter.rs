//! The server, bound and run.

use std::{
    io, mem,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use endpoints::Endpoint;
use hickory_proto::rr::Name;
use registrar::{Accepted, ProtocolAdapter, Recognised, RegistryHandle, Serving};
use thiserror::Error;
use tokio::{
    net::{TcpListener, UdpSocket},
    task::JoinSet,
};

use super::{
    serve::{CONNECTIONS_MAX, Places, bind_missing, serve_connections, serve_datagrams},
    zone::Zone,
};
use crate::{cached::Cached, surroundings::Surroundings};

/// Answers questions of DNS from the registry of a node, at addresses of its own.
///
/// ```
/// # mod callsign {
/// # pub use callsign_gateway::*;
/// # pub mod registrar { pub use registrar::{*, registry::*}; }
/// # }
/// use std::sync::Arc;
///
/// use callsign::dns::DnsAdapter;
/// use callsign::registrar::{Node, NodeOptions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let dns = DnsAdapter::bind(&["127.0.0.1:0".parse()?], "callsign").await?;
/// println!("ask for feed.callsign at {}", dns.addresses()[0]);
/// let options = NodeOptions { adapters: vec![Arc::new(dns)], ..NodeOptions::default() };
/// let node = Node::bind(&["/memory/0".parse()?], options).await?;
/// # drop(node);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct DnsAdapter {
    domain: Name,
    addresses: Vec<SocketAddr>,
    /// Until the node runs the adapter.
    sockets: Mutex<Vec<(UdpSocket, TcpListener)>>,
    connections_max: usize,
}

/// Why questions cannot be answered.
///
/// ```
/// # use callsign_gateway as callsign;
/// use callsign::dns::{DnsAdapter, DnsError};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let error = DnsAdapter::bind(&[], "a..b").await.unwrap_err();
/// assert!(matches!(error, DnsError::Domain { .. }), "{error}");
/// # }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DnsError {
    /// The domain is no domain name.
    #[error("`{domain}` is no domain name")]
    Domain {
        /// As it was given.
        domain: String,
    },
    /// An address cannot be listened at.
    #[error("cannot answer DNS at {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
}

/// Sockets that are bound already.
///
/// ```
/// # mod callsign { pub use callsign_gateway::*; pub use registrar; }
/// use callsign::dns::DnsSockets;
///
/// let datagrams = std::net::UdpSocket::bind("127.0.0.1:0")?;
/// let given = DnsSockets { datagrams: vec![datagrams], ..DnsSockets::default() };
/// assert!(given.connections.is_empty(), "those are bound beside");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct DnsSockets {
    /// Those for datagrams.
    pub datagrams: Vec<std::net::UdpSocket>,
    /// Those that listen for connections.
    pub connections: Vec<std::net::TcpListener>,
}

fn adopt_datagrams(socket: &std::net::UdpSocket) -> io::Result<UdpSocket> {
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket.try_clone()?)
}

fn adopt_connections(listener: &std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener.try_clone()?)
}

impl DnsAdapter {
    /// Binds a UDP socket and a TCP listener at each address, to answer for a domain.
    ///
    /// ```
    /// # mod callsign { pub use callsign_gateway::*; pub use registrar; }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::dns::DnsAdapter;
    ///
    /// let dns = DnsAdapter::bind(&["127.0.0.1:0".parse()?], "callsign").await?;
    /// println!("dig @127.0.0.1 -p {} feed.callsign", dns.addresses()[0].port());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`DnsError`]; nothing stays bound then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing bound.
    pub async fn bind(listen: &[SocketAddr], domain: &str) -> Result<Self, DnsError> {
        Self::bind_beside(DnsSockets::default(), listen, domain).await
    }

    /// Answers at sockets that are bound already, as by a service manager, as far as their addresses
    /// are among those to listen at, and binds the others.
    ///
    /// ```
    /// # mod callsign { pub use callsign_gateway::*; pub use registrar; }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::dns::{DnsAdapter, DnsError, DnsSockets};
    ///
    /// /// Answers at the sockets that a service manager has bound.
    /// async fn adopt(given: DnsSockets) -> Result<DnsAdapter, DnsError> {
    ///     let addresses = given.datagrams.iter().filter_map(|it| it.local_addr().ok());
    ///     let listen: Vec<_> = addresses.collect();
    ///     DnsAdapter::bind_beside(given, &listen, "callsign").await
    /// }
    ///
    /// let none = adopt(DnsSockets::default()).await?;
    /// assert!(none.addresses().is_empty());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    ///
    /// # Cancel safety
    ///
    /// As [`bind`](Self::bind).
    pub async fn bind_beside(
        given: DnsSockets,
        listen: &[SocketAddr],
        domain: &str,
    ) -> Result<Self, DnsError> {
        let mut name = Name::from_ascii(domain)
            .map_err(|_| DnsError::Domain { domain: domain.to_owned() })?
            .to_lowercase();
        name.set_fqdn(true);
        let (mut addresses, mut sockets) = (Vec::new(), Vec::new());
        for &address in listen {
            let failed = |source| DnsError::Bind { address, source };
            let at = |of: io::Result<SocketAddr>| of.is_ok_and(|it| it == address);
            let socket = given.datagrams.iter().find(|it| at(it.local_addr()));
            let socket = socket.map(adopt_datagrams).transpose().map_err(failed)?;
            let listener = given.connections.iter().find(|it| at(it.local_addr()));
            let listener = listener.map(adopt_connections).transpose().map_err(failed)?;
            let bound = bind_missing(address, socket, listener).await;
            let (socket, listener) = bound.map_err(failed)?;
            addresses.push(socket.local_addr().map_err(failed)?);
            sockets.push((socket, listener));
        }
        let (sockets, connections_max) = (Mutex::new(sockets), CONNECTIONS_MAX);
        Ok(Self { domain: name, addresses, sockets, connections_max })
    }

    /// Has it keep at most so many connections; one user of this host, or one address, has a quarter
    /// of them.
    ///
    /// ```
    /// # mod callsign { pub use callsign_gateway::*; pub use registrar; }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::dns::DnsAdapter;
    ///
    /// let dns = DnsAdapter::bind(&["127.0.0.1:0".parse()?], "callsign").await?.at_most(40);
    /// assert_eq!(dns.addresses().len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn at_most(self, connections_max: usize) -> Self {
        Self { connections_max, ..self }
    }

    /// Returns where it listens, with the real ports in place of port 0.
    ///
    /// ```
    /// # mod callsign { pub use callsign_gateway::*; pub use registrar; }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::dns::DnsAdapter;
    ///
    /// let dns = DnsAdapter::bind(&["127.0.0.1:0".parse()?], "callsign").await?;
    /// assert_ne!(dns.addresses()[0].port(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

impl ProtocolAdapter for DnsAdapter {
    fn serves(&self, _: &Endpoint) -> bool {
        false
    }

    fn recognises(&self, _: &[u8]) -> Recognised {
        Recognised::No
    }

    fn serve(&self, accepted: Accepted) -> Serving {
        // No connection to an endpoint of the node is recognised as one.
        Box::pin(async move { drop(accepted) })
    }

    fn run(&self, registry: RegistryHandle) -> Serving {
        let sockets =
            mem::take(&mut *self.sockets.lock().expect("nothing panics while it holds the lock"));
        let zone = Arc::new(Zone {
            domain: self.domain.clone(),
            registry,
            servers: self.addresses.clone(),
            surroundings: Surroundings::new(),
            types: Cached::new(),
            above: Cached::new(),
        });
        let places = Arc::new(Places::new(self.connections_max));
        Box::pin(async move {
            let mut serving = JoinSet::new();
            for (socket, listener) in sockets {
                serving.spawn(serve_datagrams(socket, zone.clone()));
                serving.spawn(serve_connections(listener, zone.clone(), places.clone()));
            }
            // A panic is the node's.
            serving.join_all().await;
        })
    }
}
