//! Options of a client.

use std::time::Duration;

use endpoints::{Endpoint, ParseEndpointError};
use portal::Heartbeat;
use transport::DialError;
use wire::Owner;

use crate::{LinkError, RegistrarFailure};

/// Options of a client. The defaults suit a program on the host of its registrar.
///
/// ```
/// # use callsign_discovery as callsign;
/// use std::time::Duration;
///
/// use callsign::ClientOptions;
///
/// let options = ClientOptions { dial_timeout: Duration::from_millis(500), ..Default::default() };
/// ```
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The name of this side's software, for people.
    pub agent: String,
    /// The time limit for a dial of a registrar.
    pub dial_timeout: Duration,
    /// The time limit for the handshake with a registrar.
    pub handshake_timeout: Duration,
    /// The time limit for a registrar's answer. One that takes longer counts as down; its
    /// connection is dropped, and a new one is made.
    pub ask_timeout: Duration,
    /// The time for which a look-up or a request that one registrar has answered waits for others;
    /// and a look-up, for one that has just started and does not know the name yet. `None` waits as
    /// long as they may take: [`ask_timeout`](Self::ask_timeout), and until the registrar says that
    /// all clients should be back. With zero, the first answer counts as it is.
    pub patience: Option<Duration>,
    /// The heartbeat for registrars. Over TCP, the connection to a silent one is dropped; over a
    /// Unix socket, it counts as out of reach until it is heard again.
    pub heartbeat: Option<Heartbeat>,
    /// The pause before a registrar is dialed again.
    pub backoff: BackoffOptions,
    /// Options for dialing actors.
    pub dial: DialOptions,
    /// The trust in registrars.
    pub trust: Trust,
    /// Whether it talks to a registrar beyond the loopback without TLS: then whoever can read the
    /// network reads everything, and changes what it likes.
    pub insecure: bool,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            agent: concat!("callsign/", env!("CARGO_PKG_VERSION")).to_owned(),
            dial_timeout: ASK_TIMEOUT,
            handshake_timeout: portal::HANDSHAKE_TIMEOUT,
            ask_timeout: ASK_TIMEOUT,
            patience: None,
            heartbeat: Some(Heartbeat::default()),
            backoff: BackoffOptions::default(),
            dial: DialOptions::default(),
            trust: Trust::default(),
            insecure: false,
        }
    }
}

/// The trust in registrars.
///
/// ```
/// # use callsign_discovery as callsign;
/// use callsign::{ClientOptions, Trust};
///
/// assert_eq!(ClientOptions::default().trust, Trust::Named);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Trust {
    /// All of them, equally: they were configured.
    #[default]
    Named,
    /// They are the configured addresses of one registrar. An answer at one of them suffices, and
    /// nobody is missed at the others.
    Addresses,
    /// They are the default places, which were not configured, and any program may listen at the
    /// port. So a listener at a port is trusted only if the kernel says that it belongs to the user
    /// of this process, or to root. If one of them knows a name, those after it in the list are not
    /// asked. An empty place is no fault; a silent registrar is missed.
    Usual,
}

impl Trust {
    /// Tells whether a registrar is missed that did not answer while another did: it may know a
    /// name that the other does not.
    pub(crate) fn misses(self, failure: &RegistrarFailure) -> bool {
        match self {
            Self::Named => true,
            Self::Addresses => false,
            // A listener at a port that any program may have is no registrar before it has said so.
            Self::Usual => match &*failure.error {
                LinkError::Dial(DialError::Busy | DialError::TimedOut)
                | LinkError::Handshake(_) => {
                    matches!(failure.registrar, Endpoint::Unix(_))
                }
                LinkError::Dial(_)
                | LinkError::NotARegistrar { .. }
                | LinkError::OthersPort { .. }
                | LinkError::NotYet => false,
                _ => true,
            },
        }
    }
}

/// Options of a look-up.
///
/// ```
/// # use callsign_discovery as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use registrar::{Node, NodeOptions};
/// # let options = NodeOptions { settle_time: std::time::Duration::ZERO, ..Default::default() };
/// # let node = Node::bind(&["/memory/0".parse()?], options).await?;
/// # let registrars = node.endpoints();
/// # let mut tasks = tokio::task::JoinSet::new();
/// # tasks.spawn(node.serve(tokio_util::sync::CancellationToken::new()));
///
/// use std::time::Duration;
///
/// use callsign::{Client, LookupOptions};
///
/// let client = Client::connect(&registrars).await?;
/// // When no registrar can be reached, what was known a minute ago will do.
/// let options = LookupOptions { max_age: Some(Duration::from_secs(60)), ..Default::default() };
/// assert!(client.query_with("feed", options).await?.records.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LookupOptions {
    /// Whether instances that are starting or draining are wanted too.
    pub all: bool,
    /// The most age of an answer when no registrar can be reached: then the last good one to a
    /// look-up of the same name is returned, if that one was made with a `max_age` too. `None`
    /// allows no remembered answer.
    ///
    /// It is for long-lived clients: a program cannot remember a name that it has never looked up.
    /// The answers to the latest names are kept, with 4096 records in all.
    pub max_age: Option<Duration>,
    /// The required owner of an instance, as the kernel of its registrar reports it; instances of
    /// others are neither returned nor dialed, and however many there are, they hide none of the
    /// right ones.
    pub owner: Option<Owner>,
}

/// Options for dialing actors.
///
/// ```
/// # use callsign_discovery as callsign;
/// use std::time::Duration;
///
/// use callsign::DialOptions;
///
/// let options = DialOptions { timeout: Duration::from_secs(1), ..DialOptions::default() };
/// assert!(options.stagger_within_host < options.stagger_beyond);
/// ```
#[derive(Clone, Debug)]
pub struct DialOptions {
    /// The name of this side's software, for people.
    pub agent: String,
    /// The time limit for a dial, including the proof of identity.
    pub timeout: Duration,
    /// After how long the next candidate is dialed too, when the last one is on this host.
    pub stagger_within_host: Duration,
    /// After how long the next candidate is dialed too, when the last one is beyond this host.
    pub stagger_beyond: Duration,
}

impl Default for DialOptions {
    /// 5 s a dial. The next begins after 10 ms within the host, where a dial takes some 0.1 ms,
    /// and after 250 ms beyond, as RFC 8305 recommends.
    fn default() -> Self {
        Self {
            agent: concat!("callsign/", env!("CARGO_PKG_VERSION")).to_owned(),
            timeout: Duration::from_secs(5),
            stagger_within_host: Duration::from_millis(10),
            stagger_beyond: Duration::from_millis(250),
        }
    }
}

/// The pause before a registrar is dialed again: a random time up to a bound, which begins at
/// `first` and doubles with each failure up to `most`.
///
/// ```
/// # use callsign_discovery as callsign;
/// use std::time::Duration;
///
/// use callsign::BackoffOptions;
///
/// let eager = BackoffOptions { most: Duration::from_millis(200), ..BackoffOptions::default() };
/// assert!(eager.first < eager.most);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BackoffOptions {
    /// The bound of the first wait.
    pub first: Duration,
    /// The bound that no wait exceeds.
    pub most: Duration,
}

impl Default for BackoffOptions {
    /// From 50 ms to 2 s. A registrar that starts again has all its clients back within 5 s, and
    /// a thousand of them, spread over 2 s, come at one every 2 ms.
    fn default() -> Self {
        Self { first: Duration::from_millis(50), most: Duration::from_secs(2) }
    }
}

/// A value that reads as an endpoint: an [`Endpoint`], or its text.
///
/// ```
/// # use callsign_discovery as callsign;
/// # use endpoints::{Endpoint, ParseEndpointError};
/// use callsign::IntoEndpoint;
///
/// fn read(place: impl IntoEndpoint) -> Result<Endpoint, ParseEndpointError> {
///     place.into_endpoint()
/// }
/// assert_eq!(read("/memory/7")?, read(Endpoint::Memory(7))?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait IntoEndpoint {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// [`ParseEndpointError`] when the text is no endpoint.
    fn into_endpoint(self) -> Result<Endpoint, ParseEndpointError>;
}

impl IntoEndpoint for Endpoint {
    fn into_endpoint(self) -> Result<Endpoint, ParseEndpointError> {
        Ok(self)
    }
}

impl IntoEndpoint for &Endpoint {
    fn into_endpoint(self) -> Result<Endpoint, ParseEndpointError> {
        Ok(self.clone())
    }
}

impl IntoEndpoint for &str {
    fn into_endpoint(self) -> Result<Endpoint, ParseEndpointError> {
        self.parse()
    }
}

impl IntoEndpoint for String {
    fn into_endpoint(self) -> Result<Endpoint, ParseEndpointError> {
        self.parse()
    }
}

impl IntoEndpoint for &String {
    fn into_endpoint(self) -> Result<Endpoint, ParseEndpointError> {
        self.parse()
    }
}

/// The time limit for a registrar's answer: a thousand times the usual, and no longer than a person
/// would wait.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
