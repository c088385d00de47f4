//! One listener over every transport, and what is to be published of it.

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
    tcp,
    whereabouts::{Changes, Whereabouts},
    wildcards::{Bound, Wildcard},
};

/// Listens on one endpoint.
///
/// Dropping it stops listening, and removes the socket file unless that has become another's.
///
/// While it waits for connections it keeps its path: where the socket file vanishes, as when
/// somebody removes or renames its folder, it is bound again within a second, and whoever has
/// published it learns of that ([`Whereabouts`](crate::Whereabouts)).
///
/// ```
/// # use transport as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use callsign::Listener;
///
/// let listener = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse()?).await?;
/// // The kernel has drawn a port, and that is what others are told.
/// assert_eq!(&listener.published()[0].endpoint, listener.bound());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Listener {
    kind: Kind,
    bound: Endpoint,
    stamp: Stamp,
    /// What it is listed by, if it is a wildcard address.
    wildcard: Option<Arc<Bound>>,
}

/// How a listener is bound.
///
/// ```
/// use transport::{Access, BindOptions};
///
/// let access = Some(Access { mode: 0o600, group: None });
/// let options = BindOptions { access, ..BindOptions::default() };
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct BindOptions {
    /// Who may connect to a socket file; where nothing is said, the umask tells.
    pub access: Option<Access>,
    /// Whether a vanished socket file is noticed at once, and not within a second. It takes an
    /// inotify instance, of which a user has 128 by default.
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
    /// The folder of a socket path must exist. A socket file that a dead process left there is
    /// removed; a living one never is, nor anything else. Beside the socket stands
    /// `<path>.lock`, for as long as this listens.
    ///
    /// A wildcard `::` takes IPv4 too; beside an IPv4 address of the same port it is bound by
    /// [`bind_all`](Self::bind_all). Port 0 and `/memory/0` take a free place. Of a host name,
    /// the first address that can be bound is.
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
    /// [`BindError`] tells what is in the way.
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
            Endpoint::Tcp(tcp) if tcp.tls => Err(BindError::TlsUnsupported),
            Endpoint::Tcp(tcp) => Self::bind_port(tcp, &tcp::resolve(tcp).await?, false),
            Endpoint::Memory(number) => Self::in_memory(*number),
        }
    }

    /// Binds a place for which nobody else has a use, and listens on it: a port 0, or a socket
    /// whose name this process has drawn at random. It does not wait, and costs a tenth of
    /// [`bind`](Self::bind): no lock stands beside the socket, nobody who was there before is
    /// looked for, and whatever is there is an error.
    ///
    /// Returns `None` for a host name, whose address is to be waited for.
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
    /// [`BindError`] tells what is in the way.
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
            Endpoint::Tcp(tcp) if tcp.tls => return Err(BindError::TlsUnsupported),
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
        let fail = |error| BindError::from_io(error, || format!("bind port {}", tcp.port));
        let listener = tcp::listen(addresses, is_ipv6_only).map_err(fail)?;
        let bound = bound_tcp(tcp, listener.local_addr().map_err(fail)?);
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
            // Of an IPv4 socket it cannot be asked.
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

    /// Waits for the next connection, and meanwhile keeps the path of a socket file.
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
    /// The error of the system call. It concerns one connection, or a lack of descriptors that
    /// may pass; the listener stays good. Wait a little before the next call.
    ///
    /// [`io::ErrorKind::AddrInUse`] says once that somebody else listens at its path now. It has
    /// stopped listening then ([`is_displaced`](Self::is_displaced)), and nobody comes any more.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a connection is either returned or still waiting.
    pub async fn accept(&self) -> io::Result<Stream> {
        match &self.kind {
            Kind::Path(place) => Stream::try_from(place.accept().await?),
            Kind::Abstract(listener) => {
                let (stream, _) = listener.accept().await?;
                Stream::try_from(stream)
            }
            Kind::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Stream::tcp(stream, address)
            }
            Kind::Memory(listener) => listener.accept().await,
        }
    }

    /// Returns what was bound: with the real port and the real address, where a free port or a
    /// host name was asked for. A wildcard address stays one.
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

    /// Returns what is to be published: a wildcard address is replaced by those that this
    /// machine's interfaces have now, and each endpoint is stamped as it was when bound. A client
    /// that registers all of them follows when the addresses change, also where there is none yet.
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

    /// Tells whether whoever dials an endpoint comes to this, so that it need not be bound, and
    /// could not be: it is the same, or a wildcard address takes it in.
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

    /// Changes who may connect to its socket file: at once, and whenever that is bound again. What has
    /// no such file, or one that somebody else has made, stays as it is.
    ///
    /// # Errors
    ///
    /// [`BindError`] tells what is in the way; all is as before then.
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

    /// Returns the wildcard address that it listens at, if it is one.
    pub(crate) fn wildcard(&self) -> Option<Wildcard> {
        self.wildcard.as_ref().map(Wildcard::of)
    }

    /// Tells whether it listens at a wildcard address, which means others from time to time.
    pub(crate) fn is_wildcard(&self) -> bool {
        self.wildcard.is_some()
    }

    /// Tells whether somebody else listens at its path by now, and this does not any more.
    ///
    /// ```
    /// # use transport as callsign;
    /// use callsign::{Listener, Stream};
    ///
    /// /// Takes connections until somebody else has taken the path.
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

    /// Returns the stamp as it is now, or was last.
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

/// Returns what was really bound: the host as it was written, unless that is a name.
fn bound_tcp(asked: &TcpAddress, address: SocketAddr) -> Endpoint {
    match &asked.host {
        Host::Dns(..) => address.into(),
        host => Endpoint::Tcp(TcpAddress { host: host.clone(), port: address.port(), tls: false }),
    }
}

impl Whereabouts {
    /// Follows where these are found, also those that mean no address yet.
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
    /// # let _ = both;
    /// # Ok(())
    /// # }
    /// ```
    pub fn of_listeners<'a>(listeners: impl IntoIterator<Item = &'a Listener>) -> Self {
        Self::of_wildcards(listeners.into_iter().filter_map(Listener::wildcard))
    }
}

impl Changes {
    /// Tells from now on of what may change where these listeners are found.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new).
    pub fn of(listeners: &[Listener]) -> Self {
        if listeners.iter().any(Listener::is_wildcard) { Self::new() } else { Self::of_sockets() }
    }
}
