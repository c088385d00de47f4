//! Why an actor is not registered.

use thiserror::Error;

use crate::{Lost, RegistrarFailures, RegistrationError};

/// Why an actor is not registered, or a change to it not made.
///
/// ```
/// # use callsign_discovery as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use registrar::{Node, NodeOptions};
/// # let node = Node::bind(&["/memory/0".parse()?], NodeOptions::default()).await?;
/// # let registrars = node.endpoints();
/// # let mut tasks = tokio::task::JoinSet::new();
/// # tasks.spawn(node.serve(tokio_util::sync::CancellationToken::new()));
///
/// use callsign::{Client, RegisterError, Registration};
///
/// let client = Client::connect(&registrars).await?;
/// let error = client.register(Registration::new("two words")).await.unwrap_err();
/// assert!(matches!(error, RegisterError::Invalid(_)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The registration cannot be made as it is.
    #[error(transparent)]
    Invalid(#[from] RegistrationError),
    /// A registrar refused it, and none accepted it.
    #[error("no registrar accepts it:\n{0}")]
    Refused(RegistrarFailures),
    /// No registrar can be reached.
    #[error("{brief}:\n{0}", brief = .0.in_brief())]
    Unreachable(RegistrarFailures),
    /// The actor is no longer kept registered: another program has removed it.
    #[error("it is not registered any more: {0}")]
    Lost(Box<Lost>),
}
