//! Bytes between processes: listening, dialing, and the identity of this machine.
//!
//! This crate turns an [`Endpoint`](endpoints::Endpoint) into a stream of bytes, over Unix sockets,
//! TCP or memory, and reads from the machine the facts that prove an endpoint near. It does not
//! interpret the bytes (that is `wire`), choose among endpoints (that is `discovery`), or know
//! names (that is `registrar`).
//!
//! - [`Listener`] binds an endpoint, accepts connections, and returns the endpoints to publish.
//! - [`dial()`] connects to an endpoint; [`dial_stamped`] only to the very socket of the stamp.
//! - [`Stream`] is a connection, and [`Peer`] the machine's description of its other end.
//! - [`here()`], [`stamp`] and [`look`] describe this process's location for `endpoints::rank`.
//!
//! | module | its one idea |
//! |---|---|
//! | `listen` | the listener for every transport; the endpoints that it publishes |
//! | `incoming` | the accept loop, through passing failures |
//! | `together` | the endpoints of one list, bound together: both families of one port |
//! | `dial` | the dialer for every transport |
//! | `looks` | sockets that were looked at, held for the dial |
//! | `error` | the errors of binding and dialing |
//! | `stream` | the connection for every transport; its peer |
//! | `flow` | the progress of data written to a connection |
//! | `place` | a listener that maintains its socket path |
//! | `adopt` | a listener from a socket that already exists |
//! | `handed` | descriptors from a service manager |
//! | `claim` | the claim to a socket path: lock file, stale files, removal of our own only |
//! | `lock` | the lock beside a socket path, and its holder |
//! | `dead` | removal of sockets without a listener |
//! | `access` | the mode and the group of a socket file |
//! | `whereabouts` | present addresses of this process's listeners, for their publishers |
//! | `published` | the published endpoints of listeners, and how they follow changes |
//! | `moves` | sockets that were bound again |
//! | `numbers` | the numbers of processes in `/proc` |
//! | `watch` | changes at a socket path |
//! | `identity` | whether the number of a user or a group identifies anybody |
//! | `tcp` | host to addresses, and Happy Eyeballs |
//! | `tls` | encrypted connections at `…/tls`, and the certificate of this process |
//! | `memory` | the table of places within this process |
//! | `listeners` | the listeners of this network namespace at a moment, for many questions |
//! | `listening` | the listener at an endpoint, as the kernel reports it |
//! | `listening::picked` | the Unix sockets at certain places, from the kernel's list of all |
//! | `strangers` | other users' listeners in the places of programs that cannot prove who they are |
//! | `beyond` | listeners of a program that nobody reaches from here |
//! | `holders` | the processes that hold a socket, and the listeners of a process |
//! | `port` | a port for a program that is told which one to bind |
//! | `mounts` | whether a path means the same to another process |
//! | `addresses` | changes of this host's addresses |
//! | `wildcards` | the present addresses of this process's wildcards |
//! | `diag` | the kernel's list of sockets |
//! | `random` | random bytes from the kernel |
//! | `here` | this kernel, network namespace, process and interfaces, as stamps |
//! | `folder` | the folder for this user's sockets |
//! | `beside` | work that blocks, on a thread beside the runtime |
//! | `private_file` | files of this user alone, for its next run |
//! | `serve` | listeners that axum serves |
//! | `signals` | ending a process by a signal that it has handled |
//! | `standard` | whether this process was started with a standard output |
//! | `who` | the peer's identity, from the kernel |
//! | `linux` | Linux-only code, and nearly all `unsafe` code |
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
mod beside;
mod beyond;
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
mod listeners;
mod listening;
mod lock;
mod looks;
mod memory;
mod mounts;
mod moves;
mod numbers;
mod place;
mod port;
mod private_file;
mod published;
mod random;
#[cfg(feature = "axum")]
mod serve;
mod signals;
mod standard;
mod strangers;
mod stream;
mod tcp;
mod tls;
mod together;
mod watch;
mod whereabouts;
mod who;
mod wildcards;

pub use access::{Access, group_id};
pub use adopt::AdoptError;
pub use beside::beside;
pub use beyond::{Beyond, beyond};
pub use dead::{clear_dead_socket, remove_dangling_link, remove_dead_socket, remove_own_socket};
pub use dial::{
    DIAL_TIMEOUT, dial, dial_seen, dial_socket, dial_stamped, dial_stamped_of, dial_within,
};
pub use error::{BindError, DialError, ResolveError};
pub use flow::Flows;
pub use folder::{RuntimeDirError, closed_folder, private_folder, runtime_dir, runtime_dir_path};
pub use handed::{Handed, HandedError};
pub use here::{
    HostKnown, expand, here, here_for, is_in_place, is_there, look, root, set_host_id, socket_user,
    stamp, stamp_listener,
};
pub use holders::{
    Holder, Process, Whose, any_listens, endpoints_of, holders, is_descendant, whose,
};
pub use incoming::Incoming;
pub use linux::{
    Flow, PeerProcess, ProcessMark, die_with_parent, free_at_once, is_loopback_up, may_speak_for,
    raise_descriptor_limit, release_memory, user_ids_are_global,
};
pub use listen::{BindOptions, Listener};
pub use listeners::Listeners;
pub use listening::{
    Listening, ListeningSocket, Silence, is_of_other_host, listening, listening_at_each,
    listens_elsewhere, lost_address, without_address,
};
pub use looks::{Looks, SeenSocket};
pub use mounts::shares_folder;
pub use moves::current_socket;
pub use numbers::ProcessNumbers;
pub use port::draw_port;
pub use private_file::{PrivateFileError, read_private, remove_private, write_private};
pub use published::Published;
pub use random::random_bytes;
pub use signals::end_by_signal;
pub use standard::stdout_closed;
pub use strangers::{keep_users, stamp_users, stranger_among, strangers_at};
pub use stream::TcpEnds;
pub use stream::{Peer, ReadHalf, Stream, WriteHalf};
pub use tcp::unknown_host;
pub use tls::{
    TlsDoubt, TlsError, TlsFault, TlsFile, TlsFiles, TlsFilesError, follow_tls, look_at_tls_files,
    set_tls, tls_files,
};
pub use together::BindAllError;
pub use whereabouts::{Changes, Looked, Whereabouts};
pub use who::Who;
