//! The registration of an actor.

use std::{collections::BTreeMap, time::Duration};

use endpoints::{Endpoint, Name, NameError, Nowhere, ParseEndpointError, Stamped};
use rustix::process::geteuid;
use thiserror::Error;
use transport::{
    Listener, Listening, Published, Whereabouts, keep_users, listening_at_each, may_speak_for,
    stamp_users,
};
use uuid::Uuid;
use wire::{
    InstanceSecret, METADATA_BYTES_MAX, State,
    registrar::{ENDPOINTS_MAX, LEASE_MS_MAX, LEASE_MS_MIN, Register},
};

use crate::IntoEndpoint;

/// The registration of an actor: its description for the registrars.
///
/// ```
/// # use callsign_discovery as callsign;
/// use callsign::Registration;
///
/// let pricer = Registration::new("pricer")
///     .endpoint("/unix/run/pricer.sock")?
///     .metadata("desk", "rates");
/// # Ok::<(), callsign::RegistrationError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "it is registered by `Client::register`"]
pub struct Registration {
    name: String,
    uuid: Uuid,
    /// The secret from which the UUID derives, unless the caller chose it.
    secret: Option<InstanceSecret>,
    endpoints: Vec<GivenEndpoint>,
    /// The listeners, whose endpoints change.
    followed: Whereabouts,
    metadata: BTreeMap<String, String>,
    state: State,
    lease: Option<Duration>,
    proves: bool,
    wait: bool,
}

/// An endpoint, with its stamp if it came with one.
#[derive(Clone, Debug)]
enum GivenEndpoint {
    /// To be stamped when it is registered.
    Unstamped(Endpoint),
    Stamped(Stamped),
}

impl Registration {
    /// Begins the registration of an actor that is ready. It is checked when it is registered.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// use callsign::Registration;
    ///
    /// let feed = Registration::new("feed").endpoint("/unix/@feed")?.proves();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(name: impl Into<String>) -> Self {
        let secret = InstanceSecret::new(Uuid::new_v4().into_bytes());
        Self {
            name: name.into(),
            uuid: secret.uuid(),
            secret: Some(secret),
            endpoints: Vec::new(),
            followed: Whereabouts::default(),
            metadata: BTreeMap::new(),
            state: State::Ready,
            lease: None,
            proves: false,
            wait: false,
        }
    }

    /// Adds an endpoint. The registration stamps it with this process's location, so the actor must
    /// already listen, on this host. Where another user listens, unless that is root, an actor that
    /// is ready is refused: callers would be led to that user's program.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// use callsign::{Registration, RegistrationError};
    ///
    /// let feed = Registration::new("feed").endpoint("/ip4/10.0.0.7/tcp/5555")?;
    /// let error = feed.endpoint("/ip4/0.0.0.0/tcp/5555").unwrap_err();
    /// assert!(matches!(error, RegistrationError::BindOnly(_)));
    /// # Ok::<(), RegistrationError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RegistrationError`] if a string is not an endpoint, or one that cannot be dialed.
    pub fn endpoint(mut self, endpoint: impl IntoEndpoint) -> Result<Self, RegistrationError> {
        let endpoint = endpoint.into_endpoint()?;
        check_endpoint(&endpoint)?;
        self.endpoints.push(GivenEndpoint::Unstamped(endpoint));
        Ok(self)
    }

    /// Adds a listener with its present endpoints: the addresses of a wildcard come and go, and it
    /// may have none yet, if no network is up. A client follows all of that.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use transport::Listener;
    /// use callsign::Registration;
    ///
    /// let listener = Listener::bind(&"/ip4/0.0.0.0/tcp/0".parse()?).await?;
    /// let feed = Registration::new("feed").listener(&listener);
    /// # Ok(())
    /// # }
    /// ```
    pub fn listener(self, listener: &Listener) -> Self {
        self.endpoints(listener.published())
    }

    /// Adds endpoints that are already stamped. The results of `transport::Listener::published` are
    /// followed as [`listener`](Self::listener) does, whole or collected from several listeners;
    /// single endpoints taken from them are not.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(listener: transport::Listener) {
    /// use callsign::Registration;
    ///
    /// let feed = Registration::new("feed").endpoints(listener.published());
    /// # drop(feed);
    /// # }
    /// ```
    pub fn endpoints(mut self, endpoints: impl Into<Published>) -> Self {
        let (stamped, followed) = endpoints.into().into_parts();
        self.endpoints.extend(stamped.into_iter().map(GivenEndpoint::Stamped));
        self.followed = self.followed.and(followed);
        self
    }

    /// Adds metadata of the actor.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// use callsign::Registration;
    ///
    /// let feed = Registration::new("feed").metadata("desk", "rates");
    /// ```
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Says how far the actor is in its life.
    ///
    /// ```
    /// # mod callsign { pub use {callsign_discovery::*, wire::*}; }
    /// use callsign::Registration;
    /// use callsign::State;
    ///
    /// // Nobody finds it before it says that it is ready.
    /// let feed = Registration::new("feed").state(State::Starting);
    /// ```
    pub fn state(mut self, state: State) -> Self {
        self.state = state;
        self
    }

    /// Keeps the registration for so long after each renewal, rather than for as long as the
    /// connection to the registrar lasts. [`Registered`](crate::Registered) renews it.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// use std::time::Duration;
    ///
    /// use callsign::Registration;
    ///
    /// let feed = Registration::new("feed").lease(Duration::from_secs(30));
    /// ```
    pub fn lease(mut self, ttl: Duration) -> Self {
        self.lease = Some(ttl);
        self
    }

    /// Says that the actor speaks the protocol: each of its listeners answers callers by
    /// [`Registered::identity`](crate::Registered::identity), and proves its identity. Callers then
    /// send nothing before it has.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// use callsign::Registration;
    ///
    /// // Its listener is at a `Acceptor`, which answers by `Registered::identity`.
    /// let feed = Registration::new("feed").endpoint("/unix/@feed")?.proves();
    /// # drop(feed);
    /// # Ok::<(), callsign::RegistrationError>(())
    /// ```
    pub fn proves(mut self) -> Self {
        self.proves = true;
        self
    }

    /// Waits in line where the registrar's rules let one instance have the name at a time, and
    /// another has it. The first to ask is the first to have it: when the other ends, is removed,
    /// or its lease runs out. Without this, it is refused.
    ///
    /// [`Client::register`](crate::Client::register) is done when it has the name; dropping that
    /// leaves the line. [`Registered::token`](crate::Registered::token) fences off who had it
    /// before.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(client: callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::Registration;
    ///
    /// let leader = Registration::new("leader").endpoint("/unix/@leader")?.wait_in_line();
    /// let kept = client.register(leader).await?;
    /// println!("leads, by token {:?}", kept.token());
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_in_line(mut self) -> Self {
        self.wait = true;
        self
    }

    /// Replaces an earlier registration of this very instance. Any program that reads a chosen UUID
    /// in a listing can register it too, and keeps it then; nobody can register that of
    /// [`new`](Self::new), which derives from a secret.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// use callsign::Registration;
    /// use uuid::Uuid;
    ///
    /// // The same program under the same name is the same instance.
    /// let own = Uuid::new_v5(&Uuid::NAMESPACE_DNS, b"feed-1.example.org");
    /// let feed = Registration::new("feed").uuid(own);
    /// ```
    pub fn uuid(mut self, uuid: Uuid) -> Self {
        (self.uuid, self.secret) = (uuid, None);
        self
    }

    /// Sets the UUID to the one derived from a secret, which only its owner knows.
    ///
    /// ```
    /// # mod callsign { pub use {callsign_discovery::*, wire::*}; }
    /// use callsign::Registration;
    /// use uuid::Uuid;
    /// use callsign::InstanceSecret;
    ///
    /// // Drawn once, and stored where nobody else can read it: the same instance for good.
    /// let secret = InstanceSecret::new(Uuid::new_v4().into_bytes());
    /// let feed = Registration::new("feed").secret(secret);
    /// ```
    pub fn secret(mut self, secret: InstanceSecret) -> Self {
        (self.uuid, self.secret) = (secret.uuid(), Some(secret));
        self
    }

    /// Checks everything that can be checked without a registrar: a wrong registration would be
    /// refused by all.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// use std::time::Duration;
    ///
    /// use callsign::Registration;
    ///
    /// assert!(Registration::new("feed").check().is_ok());
    /// assert!(Registration::new("feed").lease(Duration::ZERO).check().is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// [`RegistrationError`].
    pub fn check(&self) -> Result<(), RegistrationError> {
        self.clone().into_register().map(drop)
    }

    /// Checks the registration, and stamps endpoints without a stamp.
    pub(crate) fn into_register(self) -> Result<(Register, Whereabouts), RegistrationError> {
        let name = Name::new(&self.name)?;
        let mut unstamped = Vec::new();
        let stamped = |place| match place {
            GivenEndpoint::Stamped(stamped) => stamped,
            GivenEndpoint::Unstamped(endpoint) => {
                unstamped.push(endpoint.clone());
                Stamped { stamp: transport::stamp_listener(&endpoint), endpoint }
            }
        };
        let mut endpoints = check_endpoints(self.endpoints.into_iter().map(stamped))?;
        if self.state == State::Ready && !self.proves {
            check_listeners(&unstamped)?;
        }
        check_metadata(&self.metadata)?;
        let lease_ms = self.lease.map(lease_ms).transpose()?;
        if lease_ms.is_some() && !self.proves {
            stamp_users_of_lease(&mut endpoints, &[]);
        }
        let Self { uuid, secret, metadata, state, proves, wait, followed, .. } = self;
        let register = Register {
            endpoints,
            metadata,
            state,
            lease_ms,
            proves,
            wait,
            secret,
            ..Register::new(name, uuid)
        };
        Ok((register, followed))
    }
}

/// Checks that endpoints can be dialed and are not too many, and keeps each once.
pub(crate) fn check_endpoints(
    endpoints: impl IntoIterator<Item = Stamped>,
) -> Result<Vec<Stamped>, RegistrationError> {
    let mut kept: Vec<Stamped> = Vec::new();
    for stamped in endpoints {
        check_endpoint(&stamped.endpoint)?;
        if !kept.iter().any(|it| it.endpoint == stamped.endpoint) {
            kept.push(stamped);
        }
    }
    match kept.len() {
        ..=ENDPOINTS_MAX => Ok(kept),
        count => Err(RegistrationError::TooManyEndpoints { count }),
    }
}

/// Checks that an endpoint leads somewhere.
fn check_endpoint(endpoint: &Endpoint) -> Result<(), RegistrationError> {
    if endpoint.is_bind_only() {
        return Err(RegistrationError::BindOnly(endpoint.clone()));
    }
    endpoint.nowhere().map_or(Ok(()), |it| Err(it.into()))
}

/// Checks that no other user listens at the places of an actor that is ready, as far as the kernel
/// tells: callers would be led to that user's program.
fn check_listeners(places: &[Endpoint]) -> Result<(), RegistrationError> {
    for (place, listening) in places.iter().zip(listening_at_each(places)) {
        let Listening::Sockets(sockets) = listening else { continue };
        let users = sockets.iter().filter_map(|it| it.uid);
        if let Some(user) = users.into_iter().find(|it| !may_speak_for(*it)) {
            return Err(RegistrationError::OthersListener { endpoint: place.clone(), user });
        }
    }
    Ok(())
}

/// Stamps the endpoints of a lease with the users who listen there, unless they have been given or are
/// those of former stamps. Nobody follows a lease, and whoever takes a port is not to be taken for it.
pub(crate) fn stamp_users_of_lease(endpoints: &mut [Stamped], former: &[Stamped]) {
    let mut asked = endpoints.to_vec();
    stamp_users(&mut asked, Some(geteuid().as_raw()));
    keep_users(&mut asked, former);
    for (endpoint, asked) in endpoints.iter_mut().zip(asked) {
        endpoint.stamp.user = endpoint.stamp.user.or(asked.stamp.user);
    }
}

/// Checks that metadata is not too long.
pub(crate) fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<(), RegistrationError> {
    let bytes = metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > METADATA_BYTES_MAX {
        return Err(RegistrationError::MetadataTooLong { bytes });
    }
    Ok(())
}

fn lease_ms(ttl: Duration) -> Result<u64, RegistrationError> {
    match u64::try_from(ttl.as_millis()) {
        Ok(ms) if (LEASE_MS_MIN..=LEASE_MS_MAX).contains(&ms) => Ok(ms),
        _ => Err(RegistrationError::Lease(ttl)),
    }
}

/// The fault of a registration.
///
/// ```
/// # use callsign_discovery as callsign;
/// use callsign::{Registration, RegistrationError};
///
/// let error = Registration::new("feed").endpoint("127.0.0.1:80").unwrap_err();
/// assert!(matches!(error, RegistrationError::Endpoint(_)));
/// ```
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// The name is invalid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A text is not an endpoint.
    #[error(transparent)]
    Endpoint(#[from] ParseEndpointError),
    /// An endpoint cannot be dialed.
    #[error(
        "`{0}` can be bound, not dialed: register the endpoints that the listener has got, with \
         the real port and address"
    )]
    BindOnly(Endpoint),
    /// An endpoint leads nowhere.
    #[error(transparent)]
    Nowhere(#[from] Nowhere),
    /// Another user listens at an endpoint, and only that user, or root, can speak for it.
    #[error("user {user} listens at `{endpoint}`, and not you")]
    OthersListener {
        /// The endpoint.
        endpoint: Endpoint,
        /// The user that listens.
        user: u32,
    },
    /// There are too many endpoints.
    #[error("an instance has at most {ENDPOINTS_MAX} endpoints, not {count}")]
    TooManyEndpoints {
        /// The number of endpoints.
        count: usize,
    },
    /// There is too much metadata.
    #[error("the metadata of an instance has at most {METADATA_BYTES_MAX} bytes, not {bytes}")]
    MetadataTooLong {
        /// The total length of keys and values.
        bytes: usize,
    },
    /// The time to live is out of bounds.
    #[error("a lease lasts from 100ms to 24h, not {}", in_words(*.0))]
    Lease(Duration),
}

/// Writes a duration in the largest unit that leaves no fraction.
fn in_words(duration: Duration) -> String {
    match (duration.as_secs(), duration.subsec_millis()) {
        (seconds, 0) => format!("{seconds}s"),
        _ => format!("{}ms", duration.as_millis()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_registrations_are_refused_with_a_reason() {
        let check = |registration: Result<Registration, RegistrationError>, expected: &str| {
            let error = registration.and_then(Registration::into_register).unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        let feed = || Registration::new("feed");
        check(Ok(Registration::new("")), "a name cannot be empty");
        check(feed().endpoint("127.0.0.1:80"), "no `/` at the beginning of `127.0.0.1:80`");
        check(
            feed().endpoint("/ip4/0.0.0.0/tcp/80"),
            "`/ip4/0.0.0.0/tcp/80` can be bound, not dialed: register the endpoints that the \
             listener has got, with the real port and address",
        );
        let bare = Stamped::bare("/ip4/127.0.0.1/tcp/0".parse().unwrap());
        check(
            Ok(feed().endpoints([bare])),
            "`/ip4/127.0.0.1/tcp/0` can be bound, not dialed: register the endpoints that the \
             listener has got, with the real port and address",
        );
        let many: Vec<_> = (1..=65).map(|it| Stamped::bare(Endpoint::Memory(it))).collect();
        check(Ok(feed().endpoints(many)), "an instance has at most 64 endpoints, not 65");
        check(
            Ok(feed().metadata("note", "x".repeat(16 * 1024))),
            "the metadata of an instance has at most 16384 bytes, not 16388",
        );
        check(
            Ok(feed().lease(Duration::from_millis(99))),
            "a lease lasts from 100ms to 24h, not 99ms",
        );
        check(Ok(feed().lease(Duration::ZERO)), "a lease lasts from 100ms to 24h, not 0s");
        let days = Duration::from_secs(2 * 86400);
        check(Ok(feed().lease(days)), "a lease lasts from 100ms to 24h, not 172800s");
    }

    #[test]
    fn endpoints_are_stamped_and_kept_once() {
        let registration = Registration::new("feed")
            .endpoint("/ip4/127.0.0.1/tcp/80")
            .and_then(|it| it.endpoint("/unix/@feed"))
            .and_then(|it| it.endpoint("/unix/%40feed"))
            .unwrap()
            .endpoints([Stamped::bare("/ip4/192.0.2.1/tcp/80".parse().unwrap())]);
        let endpoints = registration.into_register().unwrap().0.endpoints;
        let here = transport::here();
        let kernels: Vec<_> = endpoints.iter().map(|it| it.stamp.kernel).collect();
        assert_eq!(kernels, [here.kernel, here.kernel, None]);
    }
}
