//! Why a node cannot be reached.

use endpoints::Endpoint;
use thiserror::Error;
use transport::BindError;

/// Why a node cannot be reached.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use callsign::registrar::{Node, NodeError, NodeOptions};
///
/// let nowhere = Node::bind(&[], NodeOptions::default()).await;
/// assert!(matches!(nowhere, Err(NodeError::NoEndpoint)));
/// # }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NodeError {
    /// There is nothing to listen on.
    #[error("a registrar needs at least one endpoint to listen on")]
    NoEndpoint,
    /// An endpoint cannot be bound.
    #[error("cannot listen on `{endpoint}`")]
    Bind {
        /// The endpoint.
        endpoint: Endpoint,
        /// Why.
        source: BindError,
    },
    /// An endpoint without TLS is beyond the loopback, and that is not
    /// [allowed](crate::NodeOptions::insecure).
    #[error("`{endpoint}` is beyond the loopback, and has no TLS")]
    Insecure {
        /// The endpoint.
        endpoint: Endpoint,
    },
    /// A socket file cannot be given another group or mode.
    #[error("`{endpoint}` keeps its former access")]
    Access {
        /// The endpoint.
        endpoint: Endpoint,
        /// Why.
        source: BindError,
    },
}
