//! The server, bound.

use std::{
    fmt, mem,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    routing::{get, put},
};
use endpoints::Endpoint;
use registrar::{Accepted, ProtocolAdapter, Recognised, RegistryHandle, Serving};
use thiserror::Error;
use tokio::sync::Semaphore;
use transport::{Access, BindError, BindOptions, Listener, Stream};

use super::{
    actors, kept::Kept, lease, metrics, openapi, page, problem::Problem, requests::Requests, serve,
    shared::Shared, status, watch,
};
use crate::surroundings::Surroundings;

/// Answers HTTP from the registry of a node, at endpoints of its own.
///
/// ```
/// # mod callsign {
/// # pub use callsign_gateway::*;
/// # pub mod registrar { pub use registrar::{*, registry::*}; }
/// # }
/// use std::sync::Arc;
///
/// use callsign::http::HttpAdapter;
/// use callsign::registrar::{Node, NodeOptions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let http = HttpAdapter::bind(&["/ip4/127.0.0.1/tcp/0".parse()?], None).await?;
/// println!("look at {}", http.endpoints()[0]);
/// let options = NodeOptions { adapters: vec![Arc::new(http)], ..NodeOptions::default() };
/// let node = Node::bind(&["/memory/0".parse()?], options).await?;
/// # drop(node);
/// # Ok(())
/// # }
/// ```
pub struct HttpAdapter {
    endpoints: Vec<Endpoint>,
    /// Until the node takes them.
    listeners: Mutex<Vec<Listener>>,
    shared: Arc<Shared>,
}

/// Why HTTP cannot be answered.
///
/// ```
/// # use callsign_gateway as callsign;
/// use callsign::http::{HttpAdapter, HttpError};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let error = HttpAdapter::bind(&["/ip4/0.0.0.0/tcp/0".parse()?], None).await.unwrap_err();
/// assert!(matches!(error, HttpError::Exposed { .. }), "{error}");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HttpError {
    /// Other hosts could reach an endpoint without TLS.
    #[error("HTTP is answered to other hosts over TLS alone, and {endpoint} has none: add `/tls`")]
    Exposed {
        /// The endpoint.
        endpoint: Endpoint,
    },
    /// An endpoint cannot be listened at.
    #[error("cannot answer HTTP at {endpoint}")]
    Bind {
        /// The endpoint.
        endpoint: Endpoint,
        /// What is in the way.
        source: BindError,
    },
}

impl HttpAdapter {
    /// Binds Unix sockets, ports of the loopback, and ports with TLS, to answer HTTP there. `access` is
    /// that to the socket files; without it, the umask decides. TLS takes the certificate of this
    /// process ([`set_tls`](transport::set_tls)), and one of whoever asks, which says who that is.
    ///
    /// ```
    /// # mod callsign { pub use callsign_gateway::*; pub use registrar; }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::http::HttpAdapter;
    ///
    /// let http = HttpAdapter::bind(&["/ip4/127.0.0.1/tcp/0".parse()?], None).await?;
    /// assert_eq!(http.endpoints().len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`HttpError`]; nothing stays bound then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing bound.
    pub async fn bind(listen: &[Endpoint], access: Option<Access>) -> Result<Self, HttpError> {
        Self::bind_beside(Vec::new(), listen, access).await
    }

    /// Answers HTTP at listeners that are bound already, as by a service manager, and binds those of
    /// the endpoints that none of them takes in.
    ///
    /// ```
    /// # mod callsign { pub use {callsign_gateway::*, transport::*}; pub use registrar; }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::{Listener, http::HttpAdapter};
    ///
    /// let given = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse()?).await?;
    /// let endpoint = given.bound().clone();
    /// let http = HttpAdapter::bind_beside(vec![given], &[endpoint.clone()], None).await?;
    /// assert_eq!(http.endpoints(), [endpoint], "it is not bound again");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    ///
    /// # Cancel safety
    ///
    /// As [`bind`](Self::bind).
    pub async fn bind_beside(
        mut listeners: Vec<Listener>,
        listen: &[Endpoint],
        access: Option<Access>,
    ) -> Result<Self, HttpError> {
        if let Some(exposed) = listeners.iter().find(|it| !is_closed(it.bound())) {
            return Err(HttpError::Exposed { endpoint: exposed.bound().clone() });
        }
        let is_taken_in = |it: &&Endpoint| listeners.iter().any(|given| given.takes_in(it));
        let missing: Vec<_> = listen.iter().filter(|it| !is_taken_in(it)).collect();
        for endpoint in missing {
            if !is_closed(endpoint) {
                return Err(HttpError::Exposed { endpoint: endpoint.clone() });
            }
            let options = BindOptions { access, is_watched: true };
            let bound = Listener::bind_with(endpoint, options).await;
            listeners.push(
                bound.map_err(|source| HttpError::Bind { endpoint: endpoint.clone(), source })?,
            );
        }
        let endpoints = listeners.iter().map(|it| it.bound().clone()).collect();
        let shared = Arc::new(Shared {
            router: router(),
            surroundings: Surroundings::new(),
            root: transport::root(),
            requests: Requests::new(),
            kept: Kept::new(),
            beside: Semaphore::new(1),
        });
        Ok(Self { endpoints, listeners: Mutex::new(listeners), shared })
    }

    /// Returns where it listens, with the real ports in place of port 0.
    ///
    /// ```
    /// # mod callsign { pub use callsign_gateway::*; pub use registrar; }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::http::HttpAdapter;
    ///
    /// let http = HttpAdapter::bind(&["/ip4/127.0.0.1/tcp/0".parse()?], None).await?;
    /// assert_ne!(http.endpoints()[0], "/ip4/127.0.0.1/tcp/0".parse()?, "it has a real port");
    /// # Ok(())
    /// # }
    /// ```
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }
}

impl fmt::Debug for HttpAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpAdapter").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

impl ProtocolAdapter for HttpAdapter {
    fn serves(&self, _: &Endpoint) -> bool {
        false
    }

    fn recognises(&self, _: &[u8]) -> Recognised {
        Recognised::No
    }

    fn serve(&self, accepted: Accepted) -> Serving {
        Box::pin(serve::serve(accepted, self.shared.clone()))
    }

    fn take_listeners(&self) -> Vec<Listener> {
        mem::take(&mut *self.listeners.lock().expect("nothing panics while it holds the lock"))
    }

    fn turn_away(&self, stream: Stream, why: &str) {
        serve::turn_away(stream, why);
    }

    fn run(&self, _: RegistryHandle) -> Serving {
        // Each connection brings its access to the registry.
        Box::pin(std::future::ready(()))
    }
}

/// Tells whether nobody can ask there who is not known, by the kernel or by a certificate.
fn is_closed(endpoint: &Endpoint) -> bool {
    match endpoint {
        Endpoint::Unix(_) => true,
        Endpoint::Tcp(tcp) => {
            tcp.tls || tcp.host.ip().is_some_and(|ip| ip.to_canonical().is_loopback())
        }
        Endpoint::Memory(_) => false,
    }
}

fn router() -> Router {
    Router::new()
        .route("/v1/actors", get(actors::list))
        .route("/v1/actors/{name}", get(actors::instances))
        .route("/v1/resolve/{name}", get(actors::resolve))
        .route("/v1/tree", get(actors::tree))
        .route("/v1/status", get(status::status))
        .route("/v1/watch", get(watch::watch))
        .route("/v1/instances/{uuid}", put(lease::put).delete(lease::delete))
        .route("/v1/openapi.json", get(openapi::serve))
        .route("/metrics", get(metrics::metrics))
        .route("/", get(page::page))
        .route("/healthz", get(status::healthz))
        .route("/readyz", get(status::readyz))
        .fallback(async || {
            Problem::not_found("there is nothing at this path: /v1/openapi.json says what there is")
        })
        .method_not_allowed_fallback(async || Problem::not_allowed())
}
