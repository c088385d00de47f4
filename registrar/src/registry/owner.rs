//! Owners, and the accounts that are charged.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

/// The one that may change a registration: its registrant.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// use callsign::registrar::Owner;
///
/// let owner = Owner::Host("192.0.2.7".parse()?);
/// assert_eq!(owner.to_string(), "a program at 192.0.2.7");
/// assert_eq!(owner.account().to_string(), "192.0.2.7");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Owner {
    /// The registrar's own settings, or a caller within its process.
    Registrar,
    /// A user of this host, vouched for by the kernel.
    User(u32),
    /// A user without a number in this kernel, by a number for each connection: nobody can tell
    /// whether two of them are the same.
    Unknown(u64),
    /// The peers at an address.
    Host(IpAddr),
    /// The holder of a certificate.
    Certified(Certified),
}

/// The name of a certificate's holder: a SPIFFE ID, or a DNS name. Each name is kept once, for as
/// long as the process runs, so that an owner remains a value that is copied and compared at once.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// use callsign::registrar::{Certified, Owner};
///
/// let feed = Certified::new("spiffe://callsign.internal/feed").ok_or("too many names")?;
/// assert_eq!(Owner::Certified(feed).account().to_string(), feed.as_str());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Certified(&'static str);

impl Certified {
    /// Takes a name. `None` if it is too long, or there are too many.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::Certified;
    ///
    /// assert_eq!(Certified::new("desk.example"), Certified::new("desk.example"));
    /// assert_eq!(Certified::new(&"x".repeat(3000)), None, "no certificate names that");
    /// ```
    pub fn new(name: &str) -> Option<Self> {
        static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = names.get(name) {
            return Some(Self(known));
        }
        if name.len() > CERTIFIED_BYTES_MAX || names.len() == CERTIFIED_MAX {
            return None;
        }
        let kept: &'static str = name.to_owned().leak();
        names.insert(kept);
        Some(Self(kept))
    }

    /// Returns the name.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::Certified;
    ///
    /// let desk = Certified::new("desk.example").ok_or("too many names")?;
    /// assert_eq!(desk.as_str(), "desk.example");
    /// # Ok::<(), &str>(())
    /// ```
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

/// The longest SPIFFE ID that its specification allows.
const CERTIFIED_BYTES_MAX: usize = 2048;

/// The most names of certificates in the life of a process. Only trusted authorities make new ones.
const CERTIFIED_MAX: usize = 65_536;

impl Owner {
    /// Returns on whose account it uses the node.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::Owner;
    ///
    /// // The addresses of a network of IPv6 are easily had, and count as one.
    /// let [one, other] = ["2001:db8::7", "2001:db8::8"].map(|it| it.parse().map(Owner::Host));
    /// assert_eq!(one?.account(), other?.account());
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    pub fn account(self) -> Account {
        match self {
            Self::Registrar => Account::Registrar,
            Self::User(user) => Account::User(user),
            Self::Unknown(_) => Account::Unknown,
            Self::Certified(name) => Account::Certified(name),
            Self::Host(IpAddr::V6(address)) => {
                let [network @ .., _, _, _, _, _, _, _, _] = address.octets();
                Account::Network(network)
            }
            Self::Host(IpAddr::V4(address)) => Account::Host(address),
        }
    }

    /// Tells whether it is the same at its next connection.
    pub(super) fn is_known(self) -> bool {
        !matches!(self, Self::Unknown(_))
    }

    /// Returns advice that names it, unless no rule can.
    pub(super) fn if_known(self, advice: String) -> String {
        if self.is_known() { advice } else { String::new() }
    }

    pub(super) fn may_change(self, other: Self) -> bool {
        self == other || self.may_change_all()
    }

    pub(super) fn may_change_all(self) -> bool {
        matches!(self, Self::Registrar | Self::User(0))
    }
}

impl From<Owner> for wire::Owner {
    fn from(owner: Owner) -> Self {
        match owner {
            Owner::Registrar => Self::Registrar,
            Owner::User(user) => Self::User(user),
            Owner::Unknown(_) => Self::Unknown,
            Owner::Host(address) => Self::Address(address),
            Owner::Certified(name) => Self::Certified(name.as_str().to_owned()),
        }
    }
}

impl From<Account> for wire::Owner {
    fn from(account: Account) -> Self {
        match account {
            Account::Registrar => Self::Registrar,
            Account::User(user) => Self::User(user),
            Account::Unknown => Self::Unknown,
            Account::Host(address) => Self::Address(address.into()),
            Account::Network(network) => Self::Network(network_address(network)),
            Account::Certified(name) => Self::Certified(name.as_str().to_owned()),
        }
    }
}

fn network_address(network: [u8; 8]) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets[..8].copy_from_slice(&network);
    octets.into()
}

/// On whose account the node is used. Owners that one machine or person may have as many of as it
/// likes have one account together.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// use callsign::registrar::{Account, Owner};
///
/// // All hosts of a network of IPv6 are one.
/// let (one, other) = ("2001:db8::1".parse()?, "2001:db8::2".parse()?);
/// assert_eq!(Owner::Host(one).account(), Owner::Host(other).account());
/// assert_eq!(Account::User(1000).to_string(), "user 1000");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Account {
    /// The registrar itself, or a caller within its process.
    Registrar,
    /// A user of this host.
    User(u32),
    /// All users without a number in this kernel.
    Unknown,
    /// The peers at an address.
    Host(Ipv4Addr),
    /// The peers in an IPv6 network (the first 64 bits): any host in one has all of its addresses.
    Network([u8; 8]),
    /// The holder of a certificate.
    Certified(Certified),
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registrar => f.write_str("the registrar itself"),
            Self::User(user) => write!(f, "user {user}"),
            Self::Unknown => f.write_str("users who are unknown in this user namespace"),
            Self::Host(address) => write!(f, "{address}"),
            Self::Network(network) => write!(f, "{}/64", network_address(*network)),
            Self::Certified(name) => f.write_str(name.as_str()),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registrar => f.write_str("the registrar's own settings"),
            Self::User(user) => write!(f, "user {user}"),
            Self::Unknown(_) => {
                f.write_str("a user that this registrar's kernel does not identify")
            }
            Self::Host(address) => write!(f, "a program at {address}"),
            Self::Certified(name) => f.write_str(name.as_str()),
        }
    }
}

/// The caller of a connection: its registrations belong to its owner, and rules know it by its
/// groups too.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// use callsign::registrar::{Caller, Owner};
///
/// assert!(Caller::from(Owner::User(0)).is_trusted);
/// let caller = Caller { groups: [27].into(), ..Owner::User(1000).into() };
/// assert!(!caller.is_trusted);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Caller {
    /// The owner of its registrations.
    pub owner: Owner,
    /// The user's groups, as far as the kernel reports them: over a Unix socket only.
    pub groups: Arc<[u32]>,
    /// Whether it is exempt from the rules of names: user 0, the node's own user, and the node
    /// itself.
    pub is_trusted: bool,
    /// Whether nobody else can read its connection: only then it is given the key of a registration.
    pub is_private: bool,
}

impl From<Owner> for Caller {
    fn from(owner: Owner) -> Self {
        let is_trusted = owner.may_change_all();
        Self { owner, groups: Arc::new([]), is_trusted, is_private: true }
    }
}
