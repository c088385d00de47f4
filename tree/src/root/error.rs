//! The errors of a root.

use std::io;

use config::Diagnostics;
use discovery::{ConnectError, RegisterError};
use endpoints::{Endpoint, NameError, ParseEndpointError};
use registrar::NodeError;
use thiserror::Error;
use transport::BindError;

use crate::{AnyError, CancelReason, NurseryError};

/// The reason why there is no root, or the error with which it ended.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::RootError;
///
/// fn remedy(error: &RootError) -> &'static str {
///     match error {
///         RootError::NoRegistrar => "name a registrar",
///         RootError::Occupied(_) => "something else listens there: name another place",
///         _ => "",
///     }
/// }
///
/// assert_eq!(remedy(&RootError::NoRegistrar), "name a registrar");
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RootError {
    /// This process has a root.
    #[error("this process has a root already, opened at {first}; a second would be another tree")]
    Second {
        /// The place in the source where it was opened.
        first: String,
    },
    /// Its name is invalid.
    #[error("the root cannot have that name")]
    Name(#[from] NameError),
    /// A text is no endpoint.
    #[error("the root cannot use an endpoint that it was given")]
    Endpoint(#[from] ParseEndpointError),
    /// The certificate of its settings cannot be used, and it needs one.
    #[error(transparent)]
    Certificate(Diagnostics),
    /// No registrar was named.
    #[error("no registrar is configured: set the address of one, or the endpoint for a new one")]
    NoRegistrar,
    /// Another program is where a registrar should be, and no registrar answers elsewhere.
    #[error("{}", occupied(.0))]
    Occupied(Vec<(Endpoint, String)>),
    /// It was to become the registrar, but there is one.
    #[error("there is a registrar at `{0}` already, and this root was to become it")]
    NotRegistrar(Endpoint),
    /// It could not become the registrar.
    #[error("no registrar answers, and this root cannot become it")]
    Registrar(#[source] NodeError),
    /// No registrar can be reached any more.
    #[error("the registrars cannot be reached")]
    Connect(#[source] ConnectError),
    /// It cannot listen.
    #[error("the root cannot listen at `{endpoint}`")]
    Bind {
        /// The place.
        endpoint: Endpoint,
        /// Why.
        #[source]
        source: BindError,
    },
    /// It cannot be registered.
    #[error("the root cannot be registered")]
    Register(#[source] RegisterError),
    /// Signals cannot be handled.
    #[error("signals cannot be handled")]
    Signals(#[source] io::Error),
    /// A signal came before it was open.
    #[error("stopped by {0} before the root was open")]
    Stopped(&'static str),
    /// It was asked to end.
    #[error(transparent)]
    Cancelled(CancelledRoot),
    /// A scope of it failed.
    #[error(transparent)]
    Nursery(NurseryError),
    /// Its body failed.
    #[error(transparent)]
    Body(AnyError),
}

/// The root was asked to end, and all of the tree has ended.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::{CancelledRoot, RootError};
///
/// /// Tells who asked the root to end, if that is why it did.
/// fn by(error: &RootError) -> Option<String> {
///     match error {
///         RootError::Cancelled(CancelledRoot(reason)) => Some(reason.by.to_string()),
///         _ => None,
///     }
/// }
/// ```
#[derive(Clone, Debug, Error)]
#[error("{0}")]
pub struct CancelledRoot(pub CancelReason);

impl RootError {
    pub(super) fn body(error: AnyError) -> Self {
        match error.downcast::<NurseryError>() {
            Ok(nursery) => Self::Nursery(*nursery),
            Err(error) => Self::Body(error),
        }
    }
}

fn occupied(places: &[(Endpoint, String)]) -> String {
    let mut text = "no registrar answers, and something else is where one should be:".to_owned();
    for (endpoint, why) in places {
        text.push_str(&format!("\n  `{endpoint}`: {why}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn the_bodys_error_keeps_its_causes() {
        #[derive(Debug, Error)]
        #[error("the book cannot be read")]
        struct Unread(#[source] io::Error);

        let error = RootError::body(Unread(io::Error::other("the disk is gone")).into());
        assert_eq!(error.to_string(), "the book cannot be read");
        assert_eq!(error.source().unwrap().to_string(), "the disk is gone");
    }
}
