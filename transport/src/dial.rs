//! The dialer for every transport, and the errors of a dial.

use std::{io, os::unix::ffi::OsStrExt, path::Path, time::Duration};

use endpoints::{Endpoint, Host, SocketId, Stamped, UnixAddress, UnixPath};
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::{
    net::{TcpStream, UnixStream},
    time::{sleep, timeout},
};

use crate::{
    error::{DialError, ResolveError},
    linux::{Handle, Kind},
    looks::SeenSocket,
    memory,
    stream::Stream,
    tcp,
    tls::{self, Credentials, TlsError},
};

/// Connects to an endpoint, within [`DIAL_TIMEOUT`].
///
/// # Errors
///
/// [`DialError`], with the reason.
///
/// # Panics
///
/// Outside of a tokio runtime that drives I/O and time.
///
/// # Cancel safety
///
/// Cancel safe: dropping the future drops the attempt. A lookup of a host name runs to its end on
/// its own thread, and the result is dropped.
///
/// ```
/// # use transport as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use callsign::{DialError, Listener, dial};
///
/// let listener = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse()?).await?;
/// let stream = dial(listener.bound()).await?;
/// assert!(stream.fd().is_some());
///
/// let nowhere = dial(&"/unix/run/no/such.sock".parse()?).await;
/// assert!(matches!(nowhere, Err(DialError::Missing)));
/// # Ok(())
/// # }
/// ```
pub async fn dial(endpoint: &Endpoint) -> Result<Stream, DialError> {
    dial_within(endpoint, DIAL_TIMEOUT).await
}

/// Connects to an endpoint within `limit`. A busy one is dialed again until then; with a limit of
/// zero it is dialed once.
///
/// # Errors
///
/// [`DialError`], with the reason.
///
/// # Panics
///
/// As [`dial()`].
///
/// # Cancel safety
///
/// Cancel safe, as [`dial()`] is.
///
/// ```
/// # use transport as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use callsign::{Listener, dial_within};
///
/// let listener = Listener::bind(&"/memory/0".parse()?).await?;
/// dial_within(listener.bound(), Duration::from_secs(1)).await?;
/// # Ok(())
/// # }
/// ```
pub async fn dial_within(endpoint: &Endpoint, limit: Duration) -> Result<Stream, DialError> {
    dial_expecting(endpoint, Expected::default(), limit).await
}

/// Connects to an endpoint within `limit`; where it is a path whose socket is stamped, to that
/// socket and no other.
///
/// # Errors
///
/// [`DialError`] tells what happened.
///
/// # Panics
///
/// As [`dial()`].
///
/// # Cancel safety
///
/// Cancel safe, as [`dial()`] is.
///
/// ```
/// # use transport as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use callsign::{DIAL_TIMEOUT, Listener, dial_stamped};
///
/// let listener = Listener::bind(&"/memory/0".parse()?).await?;
/// let published = &listener.published()[0];
/// dial_stamped(published, DIAL_TIMEOUT).await?;
/// # Ok(())
/// # }
/// ```
pub async fn dial_stamped(stamped: &Stamped, limit: Duration) -> Result<Stream, DialError> {
    dial_seen(stamped, None, limit).await
}

/// Connects to an endpoint within `limit`, as [`dial_stamped`] does; where it is a path, by the file
/// that was [held](crate::Looks) when it was looked at, if that is given.
///
/// # Errors
///
/// [`DialError`] tells what happened.
///
/// # Panics
///
/// As [`dial()`].
///
/// # Cancel safety
///
/// Cancel safe, as [`dial()`] is.
///
/// ```
/// # use transport as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use callsign::{DIAL_TIMEOUT, Listener, Looks, dial_seen};
///
/// # let folder = tempfile::tempdir()?;
/// # let endpoint = format!("/unix{}/feed.sock", folder.path().display());
/// let listener = Listener::bind(&endpoint.parse()?).await?;
/// let published = &listener.published()[0];
/// let looks = Looks::default();
/// # let path = endpoints::UnixPath::new(&folder.path().join("feed.sock"))?;
/// let socket = looks.look(&path)?;
/// assert_eq!(Some(socket), published.stamp.socket);
/// dial_seen(published, looks.take(&published.endpoint), DIAL_TIMEOUT).await?;
/// # Ok(())
/// # }
/// ```
pub async fn dial_seen(
    stamped: &Stamped,
    seen: Option<SeenSocket>,
    limit: Duration,
) -> Result<Stream, DialError> {
    let expected = Expected { socket: stamped.stamp.socket, user: None, seen };
    dial_expecting(&stamped.endpoint, expected, limit).await
}

/// Connects to an endpoint within `limit`, as [`dial_stamped`] does; where it is a path, only to a
/// socket file that belongs to `user`. It is for a program that may open more than the one for whom
/// it dials.
///
/// # Errors
///
/// [`DialError`] tells what happened: [`NoPermission`](DialError::NoPermission) if the socket is
/// another user's.
///
/// # Panics
///
/// As [`dial()`].
///
/// # Cancel safety
///
/// Cancel safe, as [`dial()`] is.
///
/// ```
/// # use transport as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use callsign::{DIAL_TIMEOUT, DialError, Listener, dial_stamped_of};
///
/// # let folder = tempfile::tempdir()?;
/// # let endpoint = format!("/unix{}/feed.sock", folder.path().display());
/// let listener = Listener::bind(&endpoint.parse()?).await?;
/// let published = &listener.published()[0];
/// let nobodys = dial_stamped_of(published, 4_294_967_294, DIAL_TIMEOUT).await;
/// assert!(matches!(nobodys, Err(DialError::NoPermission)));
/// # Ok(())
/// # }
/// ```
pub async fn dial_stamped_of(
    stamped: &Stamped,
    user: u32,
    limit: Duration,
) -> Result<Stream, DialError> {
    let expected = Expected { user: Some(user), ..Expected::at(stamped.stamp.socket) };
    dial_expecting(&stamped.endpoint, expected, limit).await
}

/// Connects to the socket at a path, within [`DIAL_TIMEOUT`]; if one is expected, to that one
/// and no other.
///
/// The file is opened, looked at and connected to by one descriptor. So whatever is put in its
/// place meanwhile is not reached, and the path may be longer than `sun_path`.
///
/// # Errors
///
/// [`DialError`] tells what happened.
///
/// # Cancel safety
///
/// Cancel safe, as [`dial()`] is.
pub async fn dial_socket(path: &UnixPath, expected: Option<SocketId>) -> Result<Stream, DialError> {
    let dialing = connect_path(path, Expected::at(expected));
    timeout(DIAL_TIMEOUT, dialing).await.unwrap_or(Err(DialError::Busy))
}

/// The time limit of [`dial()`]. A lost first packet of TCP is sent again after 1, 3 and 7 seconds;
/// a host that has not answered by then hardly will.
///
/// ```
/// # use transport as callsign;
/// assert!(callsign::DIAL_TIMEOUT.as_secs() >= 1);
/// ```
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// What a path must lead to.
#[derive(Default)]
struct Expected {
    socket: Option<SocketId>,
    /// The user that it belongs to.
    user: Option<u32>,
    /// The file that it led to a moment ago.
    seen: Option<SeenSocket>,
}

impl Expected {
    fn at(socket: Option<SocketId>) -> Self {
        Self { socket, ..Self::default() }
    }
}

async fn dial_expecting(
    endpoint: &Endpoint,
    expected: Expected,
    limit: Duration,
) -> Result<Stream, DialError> {
    if endpoint.is_bind_only() {
        return Err(DialError::BindOnly);
    }
    // Within one kernel only a full queue makes a dial wait.
    let (dialed, late) = match endpoint {
        Endpoint::Unix(UnixAddress::Path(path)) => {
            (timeout(limit, connect_path(path, expected)).await, DialError::Busy)
        }
        Endpoint::Unix(UnixAddress::Abstract(name)) => {
            (timeout(limit, connect_abstract(name)).await, DialError::Busy)
        }
        Endpoint::Memory(number) => {
            (timeout(limit, memory::connect(*number)).await, DialError::Busy)
        }
        Endpoint::Tcp(tcp) => {
            // Whoever waits for as long as the dial may take learns what is silent.
            let limit_of_name = limit - limit / 8;
            let connecting = async {
                let credentials = tcp.tls.then(tls::current).transpose()?;
                let addresses = match timeout(limit_of_name, tcp::resolve(tcp)).await {
                    Ok(resolved) => resolved?,
                    Err(_) => match &tcp.host {
                        Host::Dns(name, _) => {
                            return Err(ResolveError::TimedOut { name: name.to_string() }.into());
                        }
                        _ => return Err(DialError::TimedOut),
                    },
                };
                let stream = tcp::connect(addresses).await?;
                match credentials {
                    // Boxed, because each dial would have the room for it.
                    Some(credentials) => {
                        Box::pin(connect_tls(stream, &tcp.host, &credentials)).await
                    }
                    None => Stream::try_from(stream).map_err(DialError::from_io),
                }
            };
            (timeout(limit, connecting).await, DialError::TimedOut)
        }
    };
    dialed.unwrap_or(Err(late))
}

async fn connect_tls(
    stream: TcpStream,
    host: &Host,
    credentials: &Credentials,
) -> Result<Stream, DialError> {
    let connected = Stream::connect_tls(stream, host, credentials).await;
    connected.map_err(|error| match TlsError::of(&error) {
        Some(error) => error.clone().into(),
        None => DialError::from_io(error),
    })
}

async fn connect_path(path: &UnixPath, expected: Expected) -> Result<Stream, DialError> {
    let SeenSocket { file, id, .. } = match expected.seen {
        Some(seen) if seen.path == *path => seen,
        _ => {
            let file = Handle::open(path.as_path()).map_err(DialError::from_io)?;
            match file.kind().map_err(DialError::Io)? {
                Kind::Other(found) => return Err(DialError::NotASocket { found }),
                Kind::Socket(id) => SeenSocket { path: path.clone(), file, id },
            }
        }
    };
    if expected.socket.is_some_and(|it| !it.is_same(&id)) {
        return Err(DialError::OtherSocket);
    }
    if let Some(user) = expected.user
        && user != file.user().map_err(DialError::Io)?
    {
        return Err(DialError::NoPermission);
    }
    match connect_while_busy(&file.path()).await {
        // The file is open, so `/proc` is missing. A dial that expects no particular socket can do
        // without.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            match (expected.socket, expected.user) {
                (None, None) => {
                    connect_while_busy(path.as_path()).await.map_err(DialError::from_io)
                }
                _ => Err(DialError::Io(error)),
            }
        }
        stream => stream.map_err(DialError::from_io),
    }
}

async fn connect_abstract(name: &str) -> Result<Stream, DialError> {
    connect_while_busy(Path::new(&format!("\0{name}"))).await.map_err(DialError::from_io)
}

/// Tries again while the queue of connections is full: the kernel does not report when there is
/// room.
async fn connect_while_busy(address: &Path) -> io::Result<Stream> {
    let mut pause = BUSY_PAUSE_MIN;
    loop {
        match connect_unix(address) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            stream => return stream.and_then(Stream::try_from),
        }
        sleep(pause).await;
        pause = BUSY_PAUSE_MAX.min(pause * 2);
    }
}

/// Connects at once, as the kernel does: the queue of a listener has room, or is full. The runtime
/// would be asked in vain whether the connection is there.
fn connect_unix(address: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let address = match address.as_os_str().as_bytes() {
        [0, name @ ..] => SocketAddrUnix::new_abstract_name(name)?,
        path => SocketAddrUnix::new(path)?,
    };
    net::connect(&socket, &address)?;
    UnixStream::from_std(socket.into())
}

/// The first pause before a busy socket is tried again: a listener that is awake empties its
/// queue in less.
const BUSY_PAUSE_MIN: Duration = Duration::from_millis(1);

/// The longest such pause. It bounds the cost of waiting, and the delay after there is room.
const BUSY_PAUSE_MAX: Duration = Duration::from_millis(50);
