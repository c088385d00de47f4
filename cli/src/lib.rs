//! Finds actors by name and connects to them over the nearest transport that provably reaches
//! them.
//!
//! This is the facade: it re-exports what an application needs from the crates below it, and has
//! no code itself. A [`Client`] talks to registrars; a [`Registration`] describes an actor; a
//! [`Connection`] is the result of looking one up. A program that keeps the names itself runs a
//! [`registrar::Node`].
//!
//! It sends nothing over its connections but the handshake: the bytes that follow belong to the
//! application. Any server that does not speak the protocol is registered without
//! [`Registration::proves`]. The settings file and the command line belong to the binary.
//!
//! ```
//! use std::time::Duration;
//!
//! use callsign::{Assurance, CancellationToken, Client, Listener, Acceptor, Registration};
//! use callsign::registrar::{Node, NodeOptions};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A registrar within this process; most programs connect to a running one. It has no predecessor
//! // whose clients may return.
//! let options = NodeOptions { settle_time: Duration::ZERO, ..NodeOptions::default() };
//! let node = Node::bind(&["/memory/0".parse()?], options).await?;
//! let registrar = node.endpoints();
//! let mut tasks = tokio::task::JoinSet::new();
//! tasks.spawn(node.serve(CancellationToken::new()));
//!
//! // An actor: it listens, is registered for as long as `kept` lives, and proves its identity.
//! let listener = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse()?).await?;
//! let callsign = Client::connect(&registrar).await?;
//! let feed = Registration::new("feed").endpoints(listener.published()).proves();
//! let kept = callsign.register(feed).await?;
//! let mut acceptor = Acceptor::new(listener, kept.identity().clone(), Default::default());
//! tasks.spawn(async move {
//!     let mut caller = acceptor.accept().await.into_stream();
//!     caller.write_all(b"EURUSD 1.0842").await.expect("the caller reads");
//! });
//!
//! // A caller: it needs only the name.
//! let record = callsign.wait_for_actor("feed").await?;
//! assert_eq!(record.name.as_str(), "feed");
//! let mut stream = callsign.find_actor("feed").await?.expect("it was there a moment ago");
//! assert_eq!(stream.assurance, Assurance::Proved);
//! let mut quote = String::new();
//! stream.read_to_string(&mut quote).await?;
//! assert_eq!(quote, "EURUSD 1.0842");
//!
//! // An unknown name is `None`; an absent registrar is an error.
//! assert!(callsign.find_actor("fed").await?.is_none());
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

#[cfg(feature = "dns")]
pub mod dns;
#[cfg(feature = "http")]
pub mod http;
pub mod registrar;
pub mod tractor;

#[cfg(feature = "tree")]
pub use tree;

#[cfg(any(feature = "hyper", feature = "tower"))]
pub use connect::ReachActorError;
#[cfg(feature = "axum")]
pub use connect::axum;
#[cfg(feature = "hyper")]
pub use connect::hyper;
#[cfg(feature = "tonic")]
pub use connect::tonic;
#[cfg(feature = "tower")]
pub use connect::tower;
#[cfg(feature = "hyper")]
pub use connect::{UriError, host, uri};

pub use config::{Diagnostic, Diagnostics, Place, Related, Severity, Source};
pub use discovery::{
    Assurance, BackoffOptions, Candidate, Change, Client, ClientOptions, ConnectError, Connection,
    DialOptions, EnvironmentError, Explanation, FindError, Followed, FollowedView, Freshness,
    IntoEndpoint, LinkError, Listed, Located, LookupError, LookupOptions, LookupResult, Losses,
    Lost, MemorySource, NamesResult, NoneAnswered, Outcome, ReachError, RegisterError, Registered,
    Registrar, RegistrarFailure, RegistrarFailures, Registration, RegistrationError, RequestError,
    Resolve, ResolveError, Standing, TableSource, Trust, Watch, connect_first, connect_nearest,
    explain, probe,
};
pub use endpoints::{
    Actors, Conflict, DnsFamily, DnsName, Doubt, Endpoint, EndpointTable, Here, Host, HostId,
    HostIdError, InstanceId, Interface, KernelId, Locality, Look, Name, NameError, NamePattern,
    NetnsId, Nowhere, ParseEndpointError, ParseEndpointErrorKind, ProcessId, RootId, SocketId,
    Stamp, Stamped, TableError, TableErrors, TableFault, TcpAddress, UnixAddress, UnixPath,
    Unreachable, Written, WrittenEndpoint, parse_endpoints, prefer_addr,
};
pub use portal::{
    Acceptor, Closed, Established, HandshakeError, Heartbeat, Identity, OnSilence,
    Options as HandshakeOptions, ProveError, handshake_actor,
};
pub use tokio_util::sync::CancellationToken;
pub use transport::{
    Access, AdoptError, BindAllError, BindError, BindOptions, Changes, DIAL_TIMEOUT, DialError,
    Handed, HandedError, HostKnown, Listener, Looked, Peer, PeerProcess, Published, ReadHalf,
    ResolveError as ResolveHostError, RuntimeDirError, Stream, TlsDoubt, TlsError, TlsFault,
    TlsFile, TlsFiles, TlsFilesError, Whereabouts, WriteHalf, dial, dial_stamped, dial_within,
    here, look, set_host_id, set_tls, stamp, tls_files,
};
#[cfg(feature = "tree")]
#[doc(inline)]
pub use tree::{
    Actor, ActorPath, AnyError, BodyError, Call, CallError, CalleeBacktrace, CalleeError,
    CancelReason, CancelledRoot, ChildError, ChildState, Context, Dialogue, Ended, Exit, Export,
    Intensity, Kind, Leaf, LeafBacktrace, LookupActorError, Never, Nursery, NurseryError,
    NurseryOptions, Panic, Phase, Portal, Pressure, Reached, Restart, Root, RootError, RootOptions,
    RunError, SettingsError, SettingsSource, Spawn, SpawnError, Strategy, Termination, cache,
    export, init, main, run,
};
pub use uuid::Uuid;
pub use wire::{
    Challenge, ChannelBinding, Epoch, ErrorDetails, ErrorKind, ErrorPayload, Hello, InstanceSecret,
    Lifetime, NameRight, Owed, Owner, OwnerUse, Proof, ProofKey, ProofSecret, Quota, QuotaExceeded,
    Record, RemoteError, RemovalReason, State, Suspicion, Use, Wanted, Whoami, WireError,
    callbacks::LostCause,
    preface::PrefaceError,
    registrar::{Evidence, Owners, Report},
};
