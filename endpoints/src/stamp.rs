//! Stamps: the registrant's statement of where its endpoints are.
//!
//! A path or a loopback address proves nothing by itself: the same text means another socket in
//! another mount namespace or network namespace. A stamp names the kernel, the network namespace,
//! the socket and the process that were meant, so that a caller can compare them with its own.
//! Unreadable parts are absent, and an absent part never counts as local.
//!
//! The root takes no part in that: a caller below another root may well reach a socket, if its path
//! leads to the same file. The root tells a registrar whether it sees a path as its registrant
//! does. Only then does a missing file mean anything.

use std::{fmt, num::ParseIntError, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::Endpoint;

/// The registrant's statement of where an endpoint is.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::{KernelId, Stamp};
///
/// // Usually the library makes it: `callsign::stamp` for a place on this machine.
/// let stamp = Stamp { kernel: Some(KernelId(7)), ..Stamp::default() };
/// assert_ne!(stamp, Stamp::default());
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Deserialize, Serialize)]
pub struct Stamp {
    /// The running kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<KernelId>,
    /// The network namespace of that kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<NetnsId>,
    /// The process, for endpoints that are reachable only within it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessId>,
    /// The socket file, for Unix sockets bound to a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<SocketId>,
    /// Below which root, for Unix sockets bound to a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<RootId>,
    /// The user whose program listens there, for ports and abstract names of programs that cannot
    /// prove who they are: nothing else tells such a listener from a later one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<u32>,
}

/// An endpoint with its stamp.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::{Stamp, Stamped};
///
/// let elsewhere = Stamped::bare("/ip4/192.0.2.7/tcp/5555".parse()?);
/// assert_eq!(elsewhere.stamp, Stamp::default());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
pub struct Stamped {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Its stamp.
    #[serde(default)]
    pub stamp: Stamp,
}

impl Stamped {
    /// Wraps an endpoint without a stamp.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Stamped;
    ///
    /// let stamped = Stamped::bare("/ip4/10.0.0.7/tcp/80".parse()?);
    /// assert_eq!(stamped.stamp.kernel, None, "nobody takes it for local");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bare(endpoint: Endpoint) -> Self {
        Self { endpoint, stamp: Stamp::default() }
    }

    /// Tells whether its registrant has seen the place: it stamps what is on its own host. Of another
    /// host's address, or a host name, it can only say that somebody listens there, and a registrar
    /// cannot judge that either.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::{KernelId, Stamp, Stamped};
    ///
    /// let elsewhere = Stamped::bare("/dns/market.example/tcp/5555".parse()?);
    /// assert!(!elsewhere.is_verified());
    /// let stamp = Stamp { kernel: Some(KernelId(7)), ..Stamp::default() };
    /// assert!(Stamped { stamp, ..elsewhere }.is_verified());
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_verified(&self) -> bool {
        // Without a stamp, no other place is within anybody's reach.
        !matches!(self.endpoint, Endpoint::Tcp(_)) || self.stamp.kernel.is_some()
    }
}

/// A value that has an endpoint and can be ranked by it.
impl AsRef<Self> for Stamped {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// The identity of a socket file. The kernel reuses an inode number soon, so the time of birth is
/// compared too.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::SocketId;
///
/// // A new file may have the number of its predecessor.
/// let before = SocketId { dev: 1, ino: 2, born_ns: Some(3) };
/// let after = SocketId { born_ns: Some(4), ..before };
/// assert_ne!(before, after);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
pub struct SocketId {
    /// The device that holds the inode.
    pub dev: u64,
    /// The inode's number on that device.
    pub ino: u64,
    /// When the inode was made, in nanoseconds since 1970, where the file system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub born_ns: Option<u64>,
}

impl SocketId {
    /// Tells whether both may be the same socket: not all file systems tell when an inode was made,
    /// and not to everybody, so that what one side does not know speaks against nothing.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::SocketId;
    ///
    /// let seen = SocketId { dev: 1, ino: 2, born_ns: Some(3) };
    /// assert!(seen.is_same(&SocketId { born_ns: None, ..seen }), "that is not known there");
    /// assert!(!seen.is_same(&SocketId { born_ns: Some(4), ..seen }));
    /// ```
    pub fn is_same(&self, other: &Self) -> bool {
        let is_born_alike = match (self.born_ns, other.born_ns) {
            (Some(own), Some(theirs)) => own == theirs,
            _ => true,
        };
        (self.dev, self.ino) == (other.dev, other.ino) && is_born_alike
    }
}

/// Declares an identifier that is one opaque 64-bit number: hexadecimal where people read it,
/// a plain number where machines do.
macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIntError;

            fn from_str(text: &str) -> Result<Self, ParseIntError> {
                u64::from_str_radix(text, 16).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_u64(self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
                } else {
                    u64::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

opaque_id! {
    /// A running kernel: a keyed hash of its boot id, so that the boot id itself is not published.
    KernelId
}

opaque_id! {
    /// A network namespace: its cookie, which a kernel never reuses.
    NetnsId
}

opaque_id! {
    /// A process: a number that it draws when it starts.
    ProcessId
}

opaque_id! {
    /// A root folder of a mount namespace: a keyed hash of the mount's number and the folder's.
    /// Below one root, a path leads everybody to the same file.
    RootId
}
