//! What an actor says of itself.

use std::{collections::BTreeMap, time::Duration};

use endpoints::{Endpoint, NameError, ParseEndpointError, Stamped};
use thiserror::Error;
use uuid::Uuid;
use wire::State;

use crate::IntoEndpoint;

/// What an actor says of itself to the registrars.
///
/// ```
/// use callsign_discovery::Registration;
///
/// let pricer = Registration::new("pricer")
///     .endpoint("/unix/run/pricer.sock")?
///     .metadata("desk", "rates");
/// # Ok::<(), callsign_discovery::RegistrationError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "it is registered by `Client::register`"]
pub struct Registration {
    name: String,
    uuid: Uuid,
    endpoints: Vec<Place>,
    metadata: BTreeMap<String, String>,
    state: State,
    lease: Option<Duration>,
}

/// An endpoint, with its stamp if it came with one.
#[derive(Clone, Debug)]
enum Place {
    /// To be stamped when it is registered.
    Unstamped(Endpoint),
    Stamped(Stamped),
}

impl Registration {
    /// Begins the registration of an actor that is ready. It is checked when it is registered.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            uuid: Uuid::new_v4(),
            endpoints: Vec::new(),
            metadata: BTreeMap::new(),
            state: State::Ready,
            lease: None,
        }
    }

    /// Adds where the actor listens. When it is registered it is stamped with where this process
    /// is, so the actor has to listen already, on this host.
    ///
    /// # Errors
    ///
    /// [`RegistrationError`] when a text is no endpoint, or none that can be dialed.
    pub fn endpoint(mut self, endpoint: impl IntoEndpoint) -> Result<Self, RegistrationError> {
        let endpoint = endpoint.into_endpoint()?;
        if endpoint.is_bind_only() {
            return Err(RegistrationError::BindOnly(endpoint));
        }
        self.endpoints.push(Place::Unstamped(endpoint));
        Ok(self)
    }

    /// Adds endpoints that are stamped already, as `transport::Listener::published` gives them.
    pub fn endpoints(mut self, endpoints: impl IntoIterator<Item = Stamped>) -> Self {
        self.endpoints.extend(endpoints.into_iter().map(Place::Stamped));
        self
    }

    /// Adds something else that is said of the actor.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Says how far the actor is in its life.
    pub fn state(mut self, state: State) -> Self {
        self.state = state;
        self
    }

    /// Keeps the registration for so long after each renewal, rather than for as long as the
    /// connection to the registrar lasts. [`Registered`](crate::Registered) renews it.
    pub fn lease(mut self, ttl: Duration) -> Self {
        self.lease = Some(ttl);
        self
    }

    /// Takes the place of an earlier registration of this very instance.
    pub fn uuid(mut self, uuid: Uuid) -> Self {
        self.uuid = uuid;
        self
    }

    pub(crate) fn parts(self) {
        _ = (self.name, self.uuid, self.endpoints, self.metadata, self.state, self.lease);
    }
}

/// What is wrong with a registration.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// The name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A text is no endpoint.
    #[error(transparent)]
    Endpoint(#[from] ParseEndpointError),
    /// An endpoint names no place that could be dialed.
    #[error(
        "`{0}` can be bound, not dialed: register the endpoints that the listener has got, with \
         the real port and address"
    )]
    BindOnly(Endpoint),
    /// There are too many endpoints.
    #[error("an instance has at most {} endpoints, not {count}", wire::registrar::ENDPOINTS_MAX)]
    TooManyEndpoints {
        /// How many there are.
        count: usize,
    },
    /// There is too much metadata.
    #[error(
        "the metadata of an instance has at most {} bytes, not {bytes}",
        wire::METADATA_BYTES_MAX
    )]
    MetadataTooLong {
        /// How long keys and values are together.
        bytes: usize,
    },
    /// The time to live is out of bounds.
    #[error("a lease lasts from 100ms to 24h, not {0:?}")]
    Lease(Duration),
}
