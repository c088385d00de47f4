//! Bytes between processes: listen, dial, and what this machine says of itself.
//!
//! This crate turns an [`Endpoint`](endpoints::Endpoint) into a stream of bytes, over Unix
//! sockets, TCP or memory, and reads from the machine what proves that an endpoint is near. It
//! does not know what the bytes mean (that is `wire`), does not choose among endpoints (that is
//! `discovery`), and does not know names (that is `registrar`). It speaks no TLS.
//!
//! - [`Listener`] binds an endpoint, accepts, and says what is to be published of it.
//! - [`dial()`] connects to an endpoint; [`dial_stamped`] only to the very socket that was stamped.
//! - [`Stream`] is one connection, and [`Peer`] what the machine says of its other end.
//! - [`here()`], [`stamp`] and [`look`] say where this process stands, for `endpoints::rank`.
//!
//! | module | its one idea |
//! |---|---|
//! | `listen` | one listener over every transport; what it publishes |
//! | `incoming` | the connections that come to a listener, through passing failures |
//! | `together` | the endpoints of one list, bound together: who takes IPv4, who shares a port |
//! | `dial` | one dialer over every transport |
//! | `error` | why an endpoint cannot be bound or dialed |
//! | `stream` | one connection over every transport; its peer |
//! | `flow` | how far what was written to a connection has come |
//! | `place` | a listener at a socket path, which sees to it that the path leads to it |
//! | `adopt` | a listener out of a socket that somebody else has made |
//! | `handed` | what a service manager has handed to this process |
//! | `claim` | who may have a socket path: lock file, stale files, unlinking one's own alone |
//! | `lock` | the lock beside a socket path, and who holds it |
//! | `dead` | removes sockets that nobody listens at |
//! | `access` | who may connect to a socket file |
//! | `whereabouts` | where this process's listeners are found, for whoever has published it |
//! | `published` | what is published of listeners, and what follows it |
//! | `moves` | sockets that were bound again |
//! | `watch` | hears of changes at a socket path |
//! | `identity` | whether the number of a user or a group is somebody's |
//! | `tcp` | from a host to addresses, and Happy Eyeballs |
//! | `memory` | the table of places within this process |
//! | `listening` | who listens at an endpoint, by the word of the kernel |
//! | `holders` | which processes hold a socket, and where a process listens |
//! | `port` | a port for a program that is told which one to take |
//! | `mounts` | whether another process finds at a path what this one does |
//! | `addresses` | when this host's addresses change |
//! | `wildcards` | what the wildcard addresses of this process mean now |
//! | `diag` | the kernel's list of sockets |
//! | `here` | this kernel, network namespace, process and interfaces, as stamps |
//! | `folder` | the folder for sockets of this user |
//! | `signals` | how a process ends by a signal that it has heard |
//! | `who` | who is at the other end of a connection, by the word of the kernel |
//! | `linux` | all that only Linux has, and nearly all `unsafe` code |
//!
//! ```
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use transport::{Listener, dial};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse()?).await?;
//! let mut caller = dial(listener.bound()).await?;
//! let mut called = listener.accept().await?;
//!
//! caller.write_all(b"hello").await?;
//! let mut heard = [0; 5];
//! called.read_exact(&mut heard).await?;
//! assert_eq!(&heard, b"hello");
//! # Ok(())
//! # }
//! ```

mod access;
mod addresses;
mod adopt;
mod claim;
mod dead;
mod diag;
mod dial;
mod error;
mod flow;
mod folder;
mod handed;
mod here;
mod holders;
mod identity;
mod incoming;
mod linux;
mod listen;
mod listening;
mod lock;
mod memory;
mod mounts;
mod moves;
mod place;
mod port;
mod published;
mod signals;
mod stream;
mod tcp;
mod together;
mod watch;
mod whereabouts;
mod who;
mod wildcards;

pub use access::{Access, group_id};
pub use adopt::AdoptError;
pub use dead::{clear_dead_socket, remove_dangling_link, remove_dead_socket, remove_own_socket};
pub use dial::{DIAL_TIMEOUT, dial, dial_socket, dial_stamped, dial_within};
pub use error::{BindError, DialError, ResolveError};
pub use flow::Flows;
pub use folder::{RuntimeDirError, closed_folder, private_folder, runtime_dir, runtime_dir_path};
pub use handed::{Handed, HandedError};
pub use here::{
    HostKnown, expand, here, here_for, is_in_place, is_there, look, root, set_host_id, stamp,
};
pub use holders::{Holder, Process, Whose, any_listens, endpoints_of, holders, whose};
pub use incoming::Incoming;
pub use linux::{
    Flow, PeerProcess, ProcessMark, die_with_parent, free_at_once, raise_descriptor_limit,
    release_memory, user_ids_are_global,
};
pub use listen::{BindOptions, Listener};
pub use listening::{Listening, ListeningSocket, Silence, listening};
pub use mounts::shares_folder;
pub use moves::current_socket;
pub use port::draw_port;
pub use published::Published;
pub use signals::end_by_signal;
pub use stream::TcpEnds;
pub use stream::{Peer, ReadHalf, Stream, WriteHalf};
pub use together::BindAllError;
pub use whereabouts::{Changes, Whereabouts};
pub use who::Who;
