//! The errors of binding, dialing, and looking up a host.

use std::{io, net::IpAddr, path::PathBuf};

use endpoints::Nowhere;
use thiserror::Error;

use crate::{holders::Holder, tls::TlsError};

/// Why an endpoint could not be bound.
///
/// ```
/// # use transport as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use callsign::{BindError, Listener};
///
/// let listener = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse()?).await?;
/// let second = Listener::bind(listener.bound()).await;
/// assert!(matches!(second, Err(BindError::InUse { .. })));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// A listener is already there.
    #[error("it is in use{}", .holder.as_ref().map(|it| format!(" by {it}")).unwrap_or_default())]
    InUse {
        /// The holder, if known.
        holder: Option<Holder>,
    },
    /// Another listener holds the path, and cannot be reached there.
    #[error("it is held by {holder}, whose socket file was removed: nobody can reach it")]
    Hidden {
        /// The holder.
        holder: Holder,
    },
    /// Another process made the socket, and only that process can bind it again.
    #[error("the maker of the socket has to make it again")]
    NotOurs,
    /// Another file is in the way, and is left as it is.
    #[error("{found} already exists at that path; it was not touched")]
    NotASocket {
        /// A description of the file.
        found: &'static str,
    },
    /// The folder of the socket does not exist.
    #[error("there is no folder `{}`", .folder.display())]
    NoFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// Another file is where its path has a folder.
    #[error("`{}` is not a folder, so nothing can be below it", .path.display())]
    NotAFolder {
        /// The faulty group.
        path: PathBuf,
    },
    /// This user may not do it.
    #[error("no permission to {what}")]
    NoPermission {
        /// The attempted operation.
        what: String,
    },
    /// This process is not in the group for its socket file.
    #[error("this user is not in group {group}, and so may not give it the socket")]
    NotInGroup {
        /// The number of the group.
        group: u32,
    },
    /// No interface of this machine has the address.
    #[error("no interface of this machine has that address")]
    NotOurAddress,
    /// It requires TLS, which this process cannot speak.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Its host has no address.
    #[error(transparent)]
    NoSuchHost(#[from] ResolveError),
    /// Anything else.
    #[error("cannot {what}")]
    Io {
        /// The attempted operation.
        what: String,
        /// The system's error.
        source: io::Error,
    },
}

impl BindError {
    pub(crate) fn from_io(error: io::Error, what: impl FnOnce() -> String) -> Self {
        match error.kind() {
            io::ErrorKind::AddrInUse => Self::InUse { holder: None },
            io::ErrorKind::AddrNotAvailable => Self::NotOurAddress,
            io::ErrorKind::PermissionDenied => Self::NoPermission { what: what() },
            _ => Self::Io { what: what(), source: error },
        }
    }
}

/// Why an endpoint could not be dialed.
///
/// ```
/// # use transport as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use callsign::{DialError, dial};
///
/// let error = dial(&"/ip4/127.0.0.1/tcp/0".parse()?).await.unwrap_err();
/// assert!(matches!(error, DialError::BindOnly));
/// assert!(!error.is_evidence(), "it says nothing of an actor");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DialError {
    /// Nobody listens there, though the address is valid.
    #[error("connection refused: nobody listens there")]
    Refused,
    /// There is no such file.
    #[error("there is no such socket file")]
    Missing,
    /// The path leads to something else.
    #[error("there is {found} in its place, not a stream socket")]
    NotASocket {
        /// A description of the target.
        found: &'static str,
    },
    /// The path leads to another socket than the expected one.
    #[error("the path leads to another socket than the one meant")]
    OtherSocket,
    /// This user may not connect to it, or not see it.
    #[error("no permission to connect to it")]
    NoPermission,
    /// Its queue of connections stayed full. It lives.
    #[error("it is busy: its queue of new connections is full")]
    Busy,
    /// It did not answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// There is no route to its host or network.
    #[error("no route leads to its host")]
    Unreachable,
    /// The loopback interface is down, as it is in a new network namespace.
    #[error("the loopback interface is down here; `ip link set lo up` brings it up")]
    LoopbackDown,
    /// This host has no such address, though its loopback interface is up: it may be without IPv4,
    /// or without IPv6.
    #[error(
        "this host has no address {address}{}",
        .instead.map(|it| format!("; its loopback is {it}")).unwrap_or_default()
    )]
    NoLoopback {
        /// An address of the loopback.
        address: IpAddr,
        /// That of the loopback which this host has.
        instead: Option<IpAddr>,
    },
    /// It is a place to bind, not one to dial.
    #[error("a wildcard address or port 0 can be bound, not dialed")]
    BindOnly,
    /// No encrypted connection can be made, or none to the one that was meant.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Its host has no address.
    #[error(transparent)]
    NoSuchHost(#[from] ResolveError),
    /// Anything else.
    #[error("the connection cannot be made")]
    Io(#[source] io::Error),
}

impl DialError {
    /// Tells whether this is evidence that nobody serves the endpoint, at least as seen from
    /// here. All other failures say nothing of the one that was dialed.
    ///
    /// ```
    /// # use transport as callsign;
    /// use callsign::DialError;
    ///
    /// assert!(DialError::Refused.is_evidence());
    /// assert!(!DialError::NoPermission.is_evidence(), "that says more of the one who dials");
    /// ```
    pub fn is_evidence(&self) -> bool {
        matches!(self, Self::Refused | Self::Missing | Self::NotASocket { .. } | Self::OtherSocket)
    }

    pub(crate) fn from_io(error: io::Error) -> Self {
        if error.raw_os_error() == Some(libc::EPROTOTYPE) {
            return Self::NotASocket { found: "a socket of another type" };
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing,
            io::ErrorKind::PermissionDenied => Self::NoPermission,
            io::ErrorKind::WouldBlock => Self::Busy,
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => Self::Unreachable,
            _ => Self::Io(error),
        }
    }
}

/// Why a host has no address.
///
/// ```
/// # use transport as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use callsign::{DialError, dial};
///
/// let nowhere = dial(&"/dns/no-such-host.invalid/tcp/80".parse()?).await;
/// assert!(matches!(nowhere, Err(DialError::NoSuchHost(_))));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The lookup of its name failed.
    #[error("the host name `{name}` cannot be looked up")]
    Lookup {
        /// The name.
        name: String,
        /// The system resolver's error.
        source: io::Error,
    },
    /// The lookup of its name took too long.
    #[error("the host name `{name}` is not looked up in time: no DNS server answers")]
    TimedOut {
        /// The name.
        name: String,
    },
    /// Its name has no address of the family that was asked for.
    #[error("the host name `{name}` has no {family} address")]
    NoAddress {
        /// The name.
        name: String,
        /// `IPv4`, `IPv6` or `IP`.
        family: &'static str,
    },
    /// Its zone is not an interface of this host.
    #[error("this host has no network interface `{zone}` with an address")]
    NoInterface {
        /// The name of the interface.
        zone: String,
    },
    /// Its address leads nowhere.
    #[error(transparent)]
    Nowhere(#[from] Nowhere),
}
