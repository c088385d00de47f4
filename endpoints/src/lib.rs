//! Addresses as data: where an actor listens, what it is called, and how near it is from here.
//!
//! This is the lowest layer. Nothing in it does I/O, waits, or reads a clock; every function is
//! pure, and every text it takes may come from a stranger. It does not know how bytes travel
//! (that is `transport`), nor who keeps the names (that is `registrar`).
//!
//! - [`Endpoint`] is where an actor listens, written as a multiaddr.
//! - [`Name`], [`InstanceId`] and [`NamePattern`] say who it is; a [`Matcher`] holds many names
//!   against a pattern.
//! - [`Stamp`] is what the registrant says about where an endpoint lives, and [`rank`] orders
//!   endpoints by what the stamps prove, nearest first.
//! - [`EndpointTable`] is the table of actors and their endpoints, made by [`parse_endpoints`].
//!
//! | module | its one idea |
//! |---|---|
//! | `endpoint`, `unix`, `tcp` | where an actor listens, as data |
//! | `parse` | from text and bytes to an endpoint |
//! | `error`, `limits` | what is wrong with a text that is not one; how long a Unix address may be |
//! | `meant`, `help` | the endpoint that was probably meant; what to write instead |
//! | `name`, `matcher`, `near` | what actors are called; patterns, made ready for many names; names alike |
//! | `specific` | which of two patterns says more, and whether they have a name in common |
//! | `stamp`, `host_id` | what a registrant says about where its endpoints live |
//! | `locality`, `doubt` | how near an endpoint is; why callers may not reach it |
//! | `table`, `written` | which actor listens where; such tables as they are written |
//! | `plain` | which characters a screen shows as what they are |
//!
//! ```
//! use endpoints::Endpoint;
//!
//! let greedy: Endpoint = "/unix/run/feed.sock".parse()?;
//! let encoded: Endpoint = "/unix/%2Frun%2Ffeed.sock".parse()?;
//! assert_eq!(greedy, encoded);
//! assert_eq!(encoded.to_string(), "/unix/run/feed.sock");
//! # Ok::<(), endpoints::ParseEndpointError>(())
//! ```

#![forbid(unsafe_code)]

mod doubt;
mod endpoint;
mod error;
mod help;
mod host_id;
mod limits;
mod locality;
mod matcher;
mod meant;
mod name;
mod near;
mod parse;
mod plain;
mod specific;
mod stamp;
mod table;
mod tcp;
mod unix;
mod written;

pub use doubt::{Doubt, doubts};
pub use endpoint::Endpoint;
pub use error::{ParseEndpointError, ParseEndpointErrorKind, Quoted};
pub use host_id::{HostId, HostIdError};
pub use locality::{
    Here, Interface, Locality, Look, Ranked, Unreachable, locate, prefer_addr, rank,
};
pub use matcher::Matcher;
pub use name::{InstanceId, Name, NameError, NamePattern, is_match};
pub use near::names_like;
pub use plain::{Plain, PlainLines, is_plain};
pub use stamp::{KernelId, NetnsId, ProcessId, RootId, SocketId, Stamp, Stamped};
pub use table::{Actors, Conflict, EndpointTable};
pub use tcp::{DnsFamily, DnsName, Host, TcpAddress};
pub use unix::{UnixAddress, UnixPath};
pub use written::{TableError, TableErrors, TableFault, Written, WrittenEndpoint, parse_endpoints};
