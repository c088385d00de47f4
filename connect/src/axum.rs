//! The caller of a handler, and listeners that prove their identity.
//!
//! axum serves a listener of callsign as it stands. Any program calls what listens there: curl,
//! another actor, a browser. An actor that is registered as
//! [one that proves its identity](discovery::Registration::proves) is served at a [`Proving`]
//! listener instead; its callers are those that speak the protocol's handshake, such as
//! `hyper::Connector`.
//!
//! ```no_run
//! # use callsign_connect as callsign;
//! use ::axum::{Router, extract::ConnectInfo, routing::get};
//! use callsign::axum::Caller;
//! use discovery::{Client, Registration};
//! use transport::Listener;
//!
//! async fn quote(ConnectInfo(caller): ConnectInfo<Caller>) -> String {
//!     format!("EURUSD 1.0842 for {caller}\n")
//! }
//!
//! # async fn run(client: Client) -> Result<(), Box<dyn std::error::Error>> {
//! let listener = Listener::bind(&"/unix/run/feed.sock".parse()?).await?;
//! let feed = Registration::new("feed").endpoints(listener.published());
//! let _kept = client.register(feed).await?;
//! let app = Router::new().route("/quote", get(quote));
//! axum::serve(listener, app.into_make_service_with_connect_info::<Caller>()).await?;
//! # Ok(())
//! # }
//! ```

use std::{fmt, io};

use ::axum::{
    extract::connect_info::Connected,
    serve::{self, IncomingStream},
};
use endpoints::{InstanceId, Plain};
use portal::Acceptor;
use transport::{Listener, Peer, Stream};

/// The program that has made a request, for `ConnectInfo`.
///
/// ```
/// # mod callsign { pub use {callsign_connect::*, discovery::*}; }
/// use axum::extract::ConnectInfo;
/// use callsign::axum::Caller;
///
/// /// A handler that greets whoever asks.
/// async fn greet(ConnectInfo(caller): ConnectInfo<Caller>) -> String {
///     format!("good morning, {caller}\n")
/// }
/// # let _ = greet;
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Caller {
    /// What the kernel says of it: its process and user over a Unix socket, its address over TCP.
    pub peer: Peer,
    /// The software, as it calls itself in the protocol's handshake; empty if there was none.
    pub agent: String,
    /// The actor that it claims to be in the handshake. It is not proved: trust
    /// [the kernel](Self::user) instead.
    pub instance: Option<InstanceId>,
}

impl Caller {
    /// Returns its user, if it calls over a Unix socket and the kernel knows it.
    ///
    /// ```
    /// # use callsign_connect as callsign;
    /// use callsign::axum::Caller;
    ///
    /// fn may_change_quotes(caller: &Caller) -> bool {
    ///     caller.user() == Some(1000)
    /// }
    /// ```
    pub fn user(&self) -> Option<u32> {
        match self.peer {
            Peer::Unix { uid, .. } => uid,
            _ => None,
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.peer.fmt(f)?;
        match &self.instance {
            Some(instance) => write!(f, ", which calls itself {instance}"),
            None if self.agent.is_empty() => Ok(()),
            None => write!(f, ", which calls itself {}", Plain(&self.agent)),
        }
    }
}

impl Connected<IncomingStream<'_, Listener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        Self { peer: *stream.remote_addr(), agent: String::new(), instance: None }
    }
}

impl Connected<IncomingStream<'_, Proving>> for Caller {
    fn connect_info(stream: IncomingStream<'_, Proving>) -> Self {
        stream.remote_addr().clone()
    }
}

/// A listener at which an actor proves its identity to each caller before the first request.
///
/// ```no_run
/// # use callsign_connect as callsign;
/// # use discovery::{Client, Registration};
/// # use portal::Acceptor;
/// # use transport::Listener;
/// use ::axum::Router;
/// use callsign::axum::{Caller, Proving};
///
/// # async fn run(client: Client, app: Router) -> Result<(), Box<dyn std::error::Error>> {
/// let listener = Listener::bind(&"/unix/run/feed.sock".parse()?).await?;
/// let feed = Registration::new("feed").endpoints(listener.published()).proves();
/// let kept = client.register(feed).await?;
/// let acceptor = Acceptor::new(listener, kept.identity().clone(), Default::default());
/// let app = app.into_make_service_with_connect_info::<Caller>();
/// axum::serve(Proving(acceptor), app).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Proving(pub Acceptor);

impl serve::Listener for Proving {
    type Io = Stream;
    type Addr = Caller;

    async fn accept(&mut self) -> (Stream, Caller) {
        let established = self.0.accept().await;
        let peer = *established.io.peer();
        let caller = Caller {
            peer,
            agent: established.peer.agent.clone(),
            instance: established.peer.instance.clone(),
        };
        (established.into_stream(), caller)
    }

    fn local_addr(&self) -> io::Result<Caller> {
        let peer = serve::Listener::local_addr(self.0.listener())?;
        Ok(Caller { peer, agent: String::new(), instance: None })
    }
}
