//! Addresses as data: endpoints, names, and the nearness of an endpoint.
//!
//! This is the lowest layer. It does no I/O, never waits, and reads no clock; every function is
//! pure, and every string may come from an untrusted peer. Transports are the business of
//! `transport`, and the registry that of `registrar`.
//!
//! - [`Endpoint`] is the address at which an actor listens, written as a multiaddr.
//! - [`Name`] and [`InstanceId`] identify an actor; [`NamePattern`] selects names, and a
//!   [`Matcher`] matches many of them.
//! - [`Stamp`] is the registrant's statement of where an endpoint is, and [`rank`] orders endpoints
//!   by what the stamps prove, nearest first.
//! - [`EndpointTable`] maps actors to their endpoints; [`parse_endpoints`] reads one.
//!
//! | module | its one idea |
//! |---|---|
//! | `endpoint`, `unix`, `tcp` | the endpoint as data |
//! | `parse` | text and bytes to an endpoint |
//! | `error`, `limits` | the faults of an endpoint's text; the length of a Unix address |
//! | `meant`, `help` | guesses at the intended endpoint; corrections |
//! | `slip` | valid text that hardly says what was meant |
//! | `name`, `matcher`, `near` | names of actors; compiled patterns; similar names |
//! | `specific` | the more specific of two patterns, and whether they overlap |
//! | `spiffe` | SPIFFE IDs |
//! | `stamp`, `host_id` | the registrant's statement of where its endpoints are |
//! | `locality`, `doubt` | the nearness of an endpoint; reasons why callers may not reach it |
//! | `nowhere` | addresses at which nobody can be reached |
//! | `table`, `written` | the endpoint table; such tables as written |
//! | `plain` | the characters that a screen shows unchanged |
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
mod nowhere;
mod parse;
mod plain;
mod slip;
mod specific;
mod spiffe;
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
pub use nowhere::Nowhere;
pub use plain::{Plain, PlainLines, is_plain, is_typographic_quote};
pub use slip::Slip;
pub use spiffe::{SpiffeError, SpiffeId, SpiffePath, TrustDomain};
pub use stamp::{KernelId, NetnsId, ProcessId, RootId, SocketId, Stamp, Stamped};
pub use table::{Actors, Conflict, EndpointTable};
pub use tcp::{DnsFamily, DnsName, Host, TcpAddress};
pub use unix::{UnixAddress, UnixPath};
pub use written::{TableError, TableErrors, TableFault, Written, WrittenEndpoint, parse_endpoints};
