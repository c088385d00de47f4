//! The listener for every transport, and the endpoints that it publishes.

use std::{io, net::SocketAddr, sync::Arc};

use endpoints::{Endpoint, Host, Stamp, Stamped, TcpAddress, UnixAddress};
use rustix::net::sockopt::ipv6_v6only;
use tokio::net::{TcpListener, UnixListener};

use crate::{
    access::Access,
    claim::Claim,
    error::BindError,
    here,
    here::socket_stamp,
    holders::Holder,
    listening::{Listening, listening},
    memory::MemoryListener,
    place::Place,
    published::Published,
    stream::Stream,
    tcp, tls,
    whereabouts::{Changes, Whereabouts},
    wildcards::{Bound, Wildcard},
};

/// Listens on one endpoint.
///
/// Dropping it stops listening, and removes the socket file unless that now belongs to another.
///
/// While it waits for connections it maintains its path: a vanished socket file, as when its folder
/// is removed or renamed, is bound again within a second, and its publishers learn of that
/// ([`Whereabouts`](crate::Whereabouts)).
///
/// ```
/// # use transport as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use callsign::Listener;
///
/// let listener = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse()?).await?;
/// // The kernel has drawn a port, which is published.
/// assert_eq!(&listener.published()[0].endpoint, listener.bound());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Listener {
    kind: Kind,
    bound: Endpoint,
    stamp: Stamp,
    /// Its entry in the list of wildcards, if it is one.
    wildcard: Option<Arc<Bound>>,
}

/// Options of a listener.
///
/// ```
/// # use transport as callsign;
/// use callsign::{Access, BindOptions};
///
/// let access = Some(Access { mode: 0o600, group: None });
/// let options = BindOptions { access, ..BindOptions::default() };
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct BindOptions {
    /// The access to a socket file; without it, the umask decides.
    pub access: Option<Access>,
    /// Whether a vanished socket file is noticed immediately, instead of within a second. It takes
    /// an inotify instance, of which a user has 128 by default.
    pub is_watched: bool,
}

#[derive(Debug)]
enum Kind {
    Path(Box<Place>),
    Abstract(UnixListener),
    Tcp(TcpListener),
    Memory(MemoryListener),
}

impl Listener {
    /// Binds an endpoint and listens on it.
    ///
    /// The folder of a socket path must exist. A socket file of a dead process is removed; a live
    /// socket and other files never are. `<path>.lock` lies beside the socket for as long as this
    /// listens.
    ///
    /// A wildcard `::` takes IPv4 too; beside an IPv4 address of the same port, use
    /// [`bind_all`](Self::bind_all). Port 0 and `/memory/0` take a free place. For a host name, the
    /// first address that can be bound is used.
    ///
    /// ```
    /// # use transport as callsign;
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::Listener;
    ///
    /// let listener = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse()?).await?;
    /// println!("listening on {}", listener.bound());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`BindError`], with the obstacle.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime that drives I/O and time.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future leaves nothing bound and no file behind.
    pub async fn bind(endpoint: &Endpoint) -> Result<Self, BindError> {
        Self::bind_with(endpoint, BindOptions::default()).await
    }

    /// Binds an endpoint as [`bind`](Self::bind) does, with options.
    ///
    /// ```
    /// # use transport as callsign;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let endpoint = format!("/unix{}/feed.sock", folder.path().display()).parse()?;
    /// use callsign::{Access, BindOptions, Listener};
    ///
    /// // Nobody but this user may connect.
    /// let access = Some(Access { mode: 0o600, group: None });
    /// let options = BindOptions { access, ..BindOptions::default() };
    /// let listener = Listener::bind_with(&endpoint, options).await?;
    /// # drop(listener);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    ///
    /// # Panics
    ///
    /// As [`bind`](Self::bind).
    ///
    /// # Cancel safety
    ///
    /// As [`bind`](Self::bind).
    pub async fn bind_with(endpoint: &Endpoint, options: BindOptions) -> Result<Self, BindError> {
        match endpoint {
            Endpoint::Unix(UnixAddress::Path(path)) => {
                let bound = Claim::bind(path, options.access).await?;
                let mut place = Place::new(path, options.access, bound);
                if options.is_watched
                    && let Err(error) = place.watch()
                {
                    tracing::debug!(%endpoint, %error, "its folder cannot be watched");
                }
                Ok(Self::at_path(endpoint, place))
            }
            Endpoint::Unix(UnixAddress::Abstract(name)) => {
                let listener = match UnixListener::bind(abstract_address(name)) {
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                        let holder = match listening(endpoint) {
                            Listening::Sockets(sockets) => Holder::of(&sockets),
                            Listening::Nobody(_) | Listening::Unknown => None,
                        };
                        return Err(BindError::InUse { holder });
                    }
                    listener => listener,
                };
                Self::bind_name(name, listener)
            }
            Endpoint::Tcp(tcp) => Self::bind_port(tcp, &tcp::resolve(tcp).await?, false),
            Endpoint::Memory(number) => Self::in_memory(*number),
        }
    }

    /// Binds a place that nobody else uses, and listens on it: a port 0, or a socket whose name
    /// this process has drawn at random. It does not wait, and costs a tenth of
    /// [`bind`](Self::bind): it needs no lock file, looks for no previous holder, and fails if
    /// anything is there.
    ///
    /// Returns `None` for a host name, because looking it up takes a wait.
    ///
    /// ```
    /// # use transport as callsign;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::Listener;
    ///
    /// let port = Listener::bind_own(&"/ip4/127.0.0.1/tcp/0".parse()?)?;
    /// assert!(port.is_some(), "it is no host name");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`BindError`], with the obstacle.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime that drives I/O.
    pub fn bind_own(endpoint: &Endpoint) -> Result<Option<Self>, BindError> {
        let listener = match endpoint {
            Endpoint::Unix(UnixAddress::Path(path)) => {
                let bound = Claim::bind_own(path, None)?;
                Self::at_path(endpoint, Place::new(path, None, bound))
            }
            Endpoint::Unix(UnixAddress::Abstract(name)) => {
                Self::bind_name(name, UnixListener::bind(abstract_address(name)))?
            }
            Endpoint::Tcp(tcp) => match tcp::literal(tcp)? {
                Some(address) => Self::bind_port(tcp, &[address], false)?,
                None => return Ok(None),
            },
            Endpoint::Memory(number) => Self::in_memory(*number)?,
        };
        Ok(Some(listener))
    }

    fn bind_name(name: &str, listener: io::Result<UnixListener>) -> Result<Self, BindError> {
        let listener = listener
            .map_err(|error| BindError::from_io(error, || format!("bind the name `@{name}`")))?;
        Ok(Self::at_name(name, listener))
    }

    pub(crate) fn bind_port(
        tcp: &TcpAddress,
        addresses: &[SocketAddr],
        is_ipv6_only: bool,
    ) -> Result<Self, BindError> {
        if tcp.tls {
            tls::current()?;
        }
        let fail = |error| BindError::from_io(error, || format!("bind port {}", tcp.port));
        let listener = tcp::listen(addresses, is_ipv6_only).map_err(fail)?;
        let bound = bound_tcp(tcp, listener.local_addr().map_err(fail)?);
        tls::listens_at(&bound);
        Ok(Self::at_port(bound, listener))
    }

    pub(crate) fn at_path(endpoint: &Endpoint, place: Place) -> Self {
        let stamp = place.stamp().unwrap_or_default();
        Self { kind: Kind::Path(Box::new(place)), bound: endpoint.clone(), stamp, wildcard: None }
    }

    pub(crate) fn at_name(name: &str, listener: UnixListener) -> Self {
        let bound = Endpoint::Unix(UnixAddress::Abstract(name.into()));
        let stamp = socket_stamp(&listener);
        Self { kind: Kind::Abstract(listener), bound, stamp, wildcard: None }
    }

    pub(crate) fn at_port(bound: Endpoint, listener: TcpListener) -> Self {
        let stamp = socket_stamp(&listener);
        let is_wildcard = matches!(&bound, Endpoint::Tcp(tcp) if tcp.host.is_wildcard());
        let wildcard = is_wildcard.then(|| {
            // An IPv4 socket has no such option.
            let is_ipv6_only = ipv6_v6only(&listener).unwrap_or(false);
            Bound::list(bound.clone(), stamp, is_ipv6_only)
        });
        Self { kind: Kind::Tcp(listener), bound, stamp, wildcard }
    }

    fn in_memory(number: u64) -> Result<Self, BindError> {
        let listener = MemoryListener::bind(number).ok_or(BindError::InUse { holder: None })?;
        let bound = Endpoint::Memory(listener.number());
        let stamp = here::stamp(&bound);
        Ok(Self { kind: Kind::Memory(listener), bound, stamp, wildcard: None })
    }

    /// Waits for the next connection, and maintains the path of a socket file meanwhile.
    ///
    /// ```
    /// # use transport as callsign;
    /// # async fn example(listener: callsign::Listener) -> Result<(), Box<dyn std::error::Error>> {
    /// use tokio::io::AsyncWriteExt;
    ///
    /// loop {
    ///     let mut stream = listener.accept().await?;
    ///     stream.write_all(b"EURUSD 1.0842").await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The error of the system call. It concerns one connection, or a temporary lack of
    /// descriptors; the listener stays usable. Wait a little before the next call.
    ///
    /// [`io::ErrorKind::AddrInUse`], once, if another socket now listens at its path. It has
    /// stopped listening then ([`is_displaced`](Self::is_displaced)). The next call waits until
    /// nobody has listened there for some seconds, binds the path again, and goes on; the path of a
    /// socket that another process made stays given up.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a connection is either returned or still waiting.
    pub async fn accept(&self) -> io::Result<Stream> {
        match &self.kind {
            Kind::Path(place) => Ok(Stream::try_from(place.accept().await?)?.accepted()),
            Kind::Abstract(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok(Stream::try_from(stream)?.accepted())
            }
            Kind::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                if matches!(&self.bound, Endpoint::Tcp(tcp) if tcp.tls) {
                    let credentials = tls::current().map_err(io::Error::other)?;
                    return Stream::accept_tls(stream, address, &credentials);
                }
                Ok(Stream::tcp(stream, address)?.accepted())
            }
            Kind::Memory(listener) => listener.accept().await,
        }
    }

    /// Returns the bound endpoint: with the real port and the real address, if a free port or a
    /// host name was requested. A wildcard address stays one.
    ///
    /// ```
    /// # use transport as callsign;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::Listener;
    ///
    /// let listener = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse()?).await?;
    /// assert!(!listener.bound().to_string().ends_with("/tcp/0"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn bound(&self) -> &Endpoint {
        &self.bound
    }

    /// Returns the endpoints to publish: a wildcard address is replaced by the present addresses of
    /// this machine's interfaces, and each endpoint is stamped as it was when bound. A client that
    /// registers all of them follows when the addresses change, even if there is none yet.
    ///
    /// ```
    /// # use transport as callsign;
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::Listener;
    ///
    /// let listener = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse()?).await?;
    /// let [published] = &listener.published()[..] else { panic!("it listens at one address") };
    /// assert_eq!(&published.endpoint, listener.bound());
    /// # Ok(())
    /// # }
    /// ```
    pub fn published(&self) -> Published {
        match &self.wildcard {
            Some(wildcard) => Published::of_wildcard(Wildcard::of(wildcard), wildcard.meant()),
            None => vec![Stamped { endpoint: self.bound.clone(), stamp: self.stamp() }].into(),
        }
    }

    /// Tells whether a dial of an endpoint reaches this listener, so that the endpoint need not,
    /// and could not, be bound: it is the same, or a wildcard address includes it.
    ///
    /// ```
    /// # use transport as callsign;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::Listener;
    ///
    /// let listener = Listener::bind(&"/ip4/0.0.0.0/tcp/0".parse()?).await?;
    /// let loopback = listener.bound().to_string().replace("0.0.0.0", "127.0.0.1");
    /// assert!(listener.takes_in(&loopback.parse()?));
    /// # Ok(())
    /// # }
    /// ```
    pub fn takes_in(&self, endpoint: &Endpoint) -> bool {
        self.bound == *endpoint || self.wildcard.as_ref().is_some_and(|it| it.takes_in(endpoint))
    }

    /// Changes the access to its socket file, now and for later binds. A listener without such a
    /// file, or with one that another process made, stays as it is.
    ///
    /// # Errors
    ///
    /// [`BindError`], with the obstacle; everything stays as it was.
    ///
    /// ```
    /// # use transport as callsign;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::os::unix::fs::PermissionsExt;
    ///
    /// use callsign::{Access, Listener};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("feed.sock");
    /// let listener = Listener::bind(&format!("/unix{}", path.display()).parse()?).await?;
    /// listener.set_access(Access { mode: 0o666, group: None })?;
    /// assert_eq!(path.metadata()?.permissions().mode() & 0o777, 0o666);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_access(&self, access: Access) -> Result<(), BindError> {
        match &self.kind {
            Kind::Path(place) => place.set_access(access),
            Kind::Abstract(_) | Kind::Tcp(_) | Kind::Memory(_) => Ok(()),
        }
    }

    /// Returns its wildcard address, if it listens at one.
    pub(crate) fn wildcard(&self) -> Option<Wildcard> {
        self.wildcard.as_ref().map(Wildcard::of)
    }

    /// Tells whether it listens at an address that this host may lose, or at a wildcard, which stands
    /// for different addresses over time.
    fn may_lose_address(&self) -> bool {
        matches!(self.kind, Kind::Tcp(_))
    }

    /// Tells whether another socket now listens at its path, so that this one does not until that is
    /// gone.
    ///
    /// ```
    /// # use transport as callsign;
    /// use callsign::{Listener, Stream};
    ///
    /// /// Accepts connections until another socket has taken the path.
    /// async fn serve(listener: &Listener, greet: impl Fn(Stream)) {
    ///     loop {
    ///         match listener.accept().await {
    ///             Ok(stream) => greet(stream),
    ///             Err(_) if listener.is_displaced() => return,
    ///             Err(_) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
    ///         }
    ///     }
    /// }
    /// # let _ = |listener: &Listener| drop(serve(listener, drop));
    /// ```
    pub fn is_displaced(&self) -> bool {
        matches!(&self.kind, Kind::Path(place) if place.stamp().is_none())
    }

    /// Returns the present stamp, or the last one.
    fn stamp(&self) -> Stamp {
        match &self.kind {
            Kind::Path(place) => place.stamp().unwrap_or(self.stamp),
            _ => self.stamp,
        }
    }

    /// Stops listening, as dropping does, and tells whether the socket file could be removed.
    ///
    /// ```
    /// # use transport as callsign;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// use callsign::Listener;
    ///
    /// let path = folder.path().join("feed.sock");
    /// let listener = Listener::bind(&format!("/unix{}", path.display()).parse()?).await?;
    /// listener.close()?;
    /// assert!(!path.exists());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The error of the system call; the file is then left behind, and the next to bind the path
    /// removes it.
    pub fn close(self) -> io::Result<()> {
        match self.kind {
            Kind::Path(place) => place.close(),
            Kind::Abstract(_) | Kind::Tcp(_) | Kind::Memory(_) => Ok(()),
        }
    }
}

fn abstract_address(name: &str) -> String {
    format!("\0{name}")
}

/// Returns the bound endpoint: the host as written, unless that is a name.
fn bound_tcp(asked: &TcpAddress, address: SocketAddr) -> Endpoint {
    match &asked.host {
        Host::Dns(..) => match address.into() {
            Endpoint::Tcp(tcp) => Endpoint::Tcp(TcpAddress { tls: asked.tls, ..tcp }),
            other => other,
        },
        host => Endpoint::Tcp(TcpAddress { host: host.clone(), port: address.port(), ..*asked }),
    }
}

impl Whereabouts {
    /// Follows the addresses of these listeners, including those without an address yet.
    ///
    /// ```
    /// # use transport as callsign;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::{Listener, Whereabouts};
    ///
    /// let listener = Listener::bind(&"/ip4/0.0.0.0/tcp/0".parse()?).await?;
    /// let other = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse()?).await?;
    /// let both = Whereabouts::of_listeners([&listener]).and(Whereabouts::of_listeners([&other]));
    /// # Ok(())
    /// # }
    /// ```
    pub fn of_listeners<'a>(listeners: impl IntoIterator<Item = &'a Listener>) -> Self {
        let (mut wildcards, mut others) = (Vec::new(), Vec::new());
        for listener in listeners {
            match listener.wildcard() {
                Some(wildcard) => wildcards.push(wildcard),
                None => others.extend(listener.published()),
            }
        }
        Self::of_bound(wildcards.into_iter(), &others)
    }
}

impl Changes {
    /// Tells from now on of what may change where these listeners are found.
    ///
    /// ```
    /// # use transport as callsign;
    /// use callsign::{Changes, Listener};
    ///
    /// /// Shows where an actor is found, and again whenever that may be elsewhere.
    /// async fn show(listeners: Vec<Listener>) {
    ///     let mut changes = Changes::of(&listeners);
    ///     loop {
    ///         let published: Vec<_> = listeners.iter().flat_map(Listener::published).collect();
    ///         println!("{} endpoints", published.len());
    ///         changes.next().await;
    ///     }
    /// }
    /// ```
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new).
    pub fn of(listeners: &[Listener]) -> Self {
        if listeners.iter().any(Listener::may_lose_address) {
            Self::new()
        } else {
            Self::of_sockets()
        }
    }
}
