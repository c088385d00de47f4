//! Failures of registrars, and the errors made of them.

use std::{
    ffi::OsString, fmt, io, os::unix::ffi::OsStrExt, path::PathBuf, sync::Arc, time::Duration,
};

use endpoints::{Endpoint, NameError, ParseEndpointError, Plain};
use portal::{Closed, HandshakeError, WithCauses};
use thiserror::Error;
use transport::{DialError, HostKnown, ResolveError, TlsError, TlsFilesError};
use wire::{ErrorKind, Quota, QuotaExceeded, RemoteError, WireError, preface::PrefaceError};

use crate::Lost;

/// A registrar that gave no answer, and why.
///
/// ```
/// # use callsign_discovery as callsign;
/// use std::sync::Arc;
///
/// use callsign::{RegistrarFailure, LinkError};
///
/// let failure = RegistrarFailure { registrar: "/unix/@market".parse()?, error: Arc::new(LinkError::NotYet) };
/// assert_eq!(failure.to_string(), "/unix/@market: it has not answered yet");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct RegistrarFailure {
    /// The registrar's configured address.
    pub registrar: Endpoint,
    /// The failure.
    pub error: Arc<LinkError>,
}

impl fmt::Display for RegistrarFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A peer's text is untrusted: it has to stay on its line, and do no harm there.
        write!(f, "{}: {}", self.registrar, Plain(&WithCauses(&*self.error).to_string()))
    }
}

/// The registrars that gave no answer. It prints one a line, each indented by two spaces.
///
/// ```
/// # use callsign_discovery as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use callsign::{Client, ConnectError};
///
/// let connected = Client::connect(["/unix/run/no/registrar.sock"]).await;
/// let Err(ConnectError::Unreachable(failures)) = connected else { panic!("nobody is there") };
/// assert_eq!(failures.0.len(), 1);
/// assert!(!failures.have_refusal());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct RegistrarFailures(pub Vec<RegistrarFailure>);

impl RegistrarFailures {
    /// Tells whether a registrar was reached, and refused.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// use callsign::RegistrarFailures;
    ///
    /// assert!(!RegistrarFailures::default().have_refusal(), "nobody has refused");
    /// ```
    pub fn have_refusal(&self) -> bool {
        let is_refusal = |it: &RegistrarFailure| {
            matches!(
                *it.error,
                LinkError::Refused(_) | LinkError::QuotaExceeded { .. } | LinkError::TooManyWaits
            )
        };
        self.0.iter().any(is_refusal)
    }

    /// Tells whether a registrar was reached, and said no: to the request, to the connection, or to
    /// this version of the protocol.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// use callsign::RegistrarFailures;
    ///
    /// assert!(!RegistrarFailures::default().have_answer(), "nobody has answered");
    /// ```
    pub fn have_answer(&self) -> bool {
        let is_answer = |it: &RegistrarFailure| {
            matches!(
                *it.error,
                LinkError::Handshake(
                    HandshakeError::Refused(_)
                        | HandshakeError::Denied(_)
                        | HandshakeError::Preface(PrefaceError::OtherVersion { .. })
                )
            )
        };
        self.have_refusal() || self.0.iter().any(is_answer)
    }

    /// Tells whether one of those that were reached does not know, and no other has refused.
    pub(crate) fn are_undecided(&self) -> bool {
        let mut refusals = self.0.iter().filter_map(|it| match &*it.error {
            LinkError::Refused(error) => Some(error.kind == ErrorKind::Undecided),
            LinkError::QuotaExceeded { .. } | LinkError::TooManyWaits => Some(false),
            _ => None,
        });
        refusals.next().is_some_and(|first| first && refusals.all(|it| it))
    }

    /// Says in a few words how none of them was of use.
    pub(crate) fn in_brief(&self) -> &'static str {
        match (self.have_answer(), self.0.len()) {
            (false, _) => "no registrar can be reached",
            (true, _) if self.are_undecided() => "no registrar that was reached can tell",
            (true, 1) => "the registrar was reached, and refused",
            (true, _) => "a registrar was reached, and refused; no other answered",
        }
    }

    /// Tells whether all of them are refusals: then none carried out the request.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// use callsign::RegistrarFailures;
    ///
    /// assert!(!RegistrarFailures::default().are_denials(), "nobody has refused");
    /// ```
    pub fn are_denials(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|it| it.error.is_denial())
    }

    /// Tells whether one of them is a refusal: that is certain, whatever the others would say.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// use callsign::RegistrarFailures;
    ///
    /// assert!(!RegistrarFailures::default().have_denial(), "nobody has refused");
    /// ```
    pub fn have_denial(&self) -> bool {
        self.0.iter().any(|it| it.error.is_denial())
    }

    /// Tells whether one of them may pass by itself, as [`LinkError::may_pass`] does.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// use callsign::RegistrarFailures;
    ///
    /// // Where nothing is wrong, nothing passes.
    /// assert!(!RegistrarFailures::default().may_pass());
    /// ```
    pub fn may_pass(&self) -> bool {
        self.0.iter().any(|it| it.error.may_pass())
    }
}

impl fmt::Display for RegistrarFailures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, failure) in self.0.iter().enumerate() {
            f.write_str(if at == 0 { "  " } else { "\n  " })?;
            failure.fmt(f)?;
        }
        Ok(())
    }
}

/// Why a registrar gave no answer.
///
/// ```
/// # use callsign_discovery as callsign;
/// use callsign::{RegistrarFailure, LinkError};
///
/// fn is_busy(failure: &RegistrarFailure) -> bool {
///     matches!(&*failure.error, LinkError::NoAnswer(_) | LinkError::NotYet)
/// }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LinkError {
    /// It could not be dialed.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The conversation did not begin.
    #[error(transparent)]
    Handshake(HandshakeError),
    /// Something else listens there.
    #[error("the listener there is not a registrar{}", said_by(.agent))]
    NotARegistrar {
        /// Its software.
        agent: String,
    },
    /// It listens at a port that any program may have, and is neither this user's nor root's.
    #[error("{} listens there, and nobody has named it", whose(.user))]
    OthersPort {
        /// Its user, if the kernel says.
        user: Option<u32>,
    },
    /// It listens beyond the loopback without TLS, and that is not
    /// [allowed](crate::ClientOptions::insecure).
    #[error("it is beyond the loopback, and has no TLS")]
    Insecure,
    /// It did not answer in time.
    #[error("no answer within {0:?}")]
    NoAnswer(Duration),
    /// It is silent, though its connection lasts: it is stopped, or hangs.
    #[error("it has given no sign of life for {0:.1?}")]
    Silent(Duration),
    /// The connection ended.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// It stopped reporting changes, without a reason.
    #[error("it ended the watch")]
    Ended,
    /// It answered with an error.
    #[error("it refused: {0}")]
    Refused(RemoteError),
    /// It refused a call beyond a quota of this user. That may pass once the user uses less of it,
    /// but not by itself.
    #[error("it refused: {message}")]
    QuotaExceeded {
        /// The quota, its owner, and its limit.
        exceeded: QuotaExceeded,
        /// The same for people, with what to do about it.
        message: String,
    },
    /// So many names are awaited that the registrar is not asked to wait for another.
    #[error("too many names are awaited at once: at most {WAITS_MAX}")]
    TooManyWaits,
    /// Another instance has the exclusive name, and this one waits in line for it.
    #[error("another instance has the name, and this one waits in line{}", behind(*.ahead))]
    InLine {
        /// The number of waiters before it when it began to wait.
        ahead: u64,
    },
    /// The request is too long to be sent.
    #[error("the request is too long to be sent")]
    TooLong(#[source] WireError),
    /// Its answer has an unexpected type.
    #[error("its answer cannot be read")]
    Unreadable(#[source] WireError),
    /// No attempt to reach it has ended yet.
    #[error("it has not answered yet")]
    NotYet,
    /// This side has closed its client.
    #[error("this client is closed")]
    ClientClosed,
    /// The registration in question is no longer kept: another program has removed it.
    #[error("{0}")]
    Lost(Box<Lost>),
    /// The task that kept the connection has panicked, and restarts.
    #[error("the task that kept the connection has panicked, and restarts")]
    Panicked,
}

fn behind(ahead: u64) -> String {
    match ahead {
        0 => " as the next".to_owned(),
        1 => " behind one other".to_owned(),
        _ => format!(" behind {ahead} others"),
    }
}

impl From<HandshakeError> for LinkError {
    fn from(error: HandshakeError) -> Self {
        match error {
            HandshakeError::Denied(error) => Self::of_refusal(*error),
            other => Self::Handshake(other),
        }
    }
}

impl LinkError {
    /// Takes a registrar's error as the reason of its refusal.
    pub(crate) fn of_refusal(error: RemoteError) -> Self {
        match QuotaExceeded::of(&error) {
            Some(exceeded) => Self::QuotaExceeded { exceeded, message: error.message },
            None => Self::Refused(error),
        }
    }

    /// Tells whether it is the word of a registrar, or of the system, that this user may not, or
    /// not now.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # use transport::DialError;
    /// use callsign::LinkError;
    ///
    /// assert!(LinkError::Dial(DialError::NoPermission).is_denial());
    /// assert!(!LinkError::NotYet.is_denial());
    /// ```
    pub fn is_denial(&self) -> bool {
        match self {
            Self::Dial(error) => matches!(error, DialError::NoPermission),
            Self::Refused(error) => {
                matches!(error.kind, ErrorKind::Denied | ErrorKind::LimitReached)
            }
            Self::QuotaExceeded { .. } | Self::TooManyWaits => true,
            _ => false,
        }
    }

    /// Tells whether it may pass by itself: a registrar may start, come within reach, or continue.
    /// A refusal, or another program at its place, needs a remedy.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # use transport::DialError;
    /// use callsign::LinkError;
    ///
    /// assert!(LinkError::Dial(DialError::Refused).may_pass(), "it may start yet");
    /// assert!(!LinkError::Dial(DialError::NoPermission).may_pass());
    /// ```
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Dial(error) => {
                !matches!(
                    error,
                    DialError::NoPermission
                        | DialError::NotASocket { .. }
                        | DialError::BindOnly
                        | DialError::NoSuchHost(ResolveError::Nowhere(_))
                ) && !matches!(error, DialError::Tls(error) if !error.may_pass())
            }
            // A listener checks a certificate after its dialer has done with the handshake of TLS.
            Self::Handshake(HandshakeError::Broken(error)) => {
                TlsError::of(error).is_none_or(TlsError::may_pass)
            }
            Self::Handshake(error) => matches!(
                error,
                HandshakeError::TimedOut(_) | HandshakeError::Closed | HandshakeError::Refused(_)
            ),
            Self::NoAnswer(_)
            | Self::Silent(_)
            | Self::Closed(_)
            | Self::Ended
            | Self::NotYet
            | Self::OthersPort { .. }
            | Self::InLine { .. }
            | Self::Panicked => true,
            // A connection of the same user may end at any moment, and there is soon time again.
            Self::QuotaExceeded { exceeded, .. } => {
                matches!(exceeded.quota, Quota::Sessions | Quota::Cpu)
            }
            Self::NotARegistrar { .. }
            | Self::Refused(_)
            | Self::TooManyWaits
            | Self::TooLong(_)
            | Self::Unreadable(_)
            | Self::Insecure
            | Self::Lost(_)
            | Self::ClientClosed => false,
        }
    }
}

/// Why a client could not connect.
///
/// ```
/// # use callsign_discovery as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use callsign::{Client, ConnectError};
///
/// let nobody: [&str; 0] = [];
/// assert!(matches!(Client::connect(nobody).await, Err(ConnectError::NoRegistrar)));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// A registrar's address is invalid.
    #[error(transparent)]
    Endpoint(#[from] ParseEndpointError),
    /// The environment's settings are invalid.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// No registrar was named.
    #[error("no registrar is configured")]
    NoRegistrar,
    /// No registrar can be reached.
    #[error("{brief}:\n{0}", brief = .0.in_brief())]
    Unreachable(RegistrarFailures),
}

/// Why the environment names no registrar.
///
/// ```
/// # use callsign_discovery as callsign;
/// use callsign::{ConnectError, EnvironmentError};
///
/// fn is_without_file(error: &ConnectError) -> bool {
///     matches!(error, ConnectError::Environment(EnvironmentError::File { .. }))
/// }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// The settings file cannot be read.
    #[error("cannot read the settings file `{}`, which {CONFIG_VARIABLE} names", .path.display())]
    File {
        /// Its configured address.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A variable is not UTF-8, and says no place.
    #[error(
        "{variable} is no UTF-8: `{}`; in the path of an endpoint, `%FF` stands for such a byte",
        .value.as_bytes().escape_ascii()
    )]
    NotUtf8 {
        /// Its name.
        variable: &'static str,
        /// Its value.
        value: OsString,
    },
    /// The variable or the settings file has faults.
    #[error("{0}")]
    Settings(config::Diagnostics),
    /// The process already uses another host id than the settings file gives.
    #[error(transparent)]
    Host(#[from] HostKnown),
    /// The certificate that the settings file names cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsFilesError),
}

/// The variable of the environment that names the settings file.
pub(crate) const CONFIG_VARIABLE: &str = "CALLSIGN_CONFIG";

/// The most names that a client awaits concurrently, at each registrar: half the calls of a
/// connection, so that there is always room for others.
pub(crate) const WAITS_MAX: usize = 512;

fn whose(user: &Option<u32>) -> String {
    match user {
        Some(user) => format!("a registrar of user {user}"),
        None => "a registrar of a user that the kernel does not identify".to_owned(),
    }
}

fn said_by(agent: &str) -> String {
    if agent.is_empty() { String::new() } else { format!(": {}", agent.escape_debug()) }
}

/// Why a lookup has no answer.
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
/// use callsign::{Client, LookupError};
///
/// let client = Client::connect(&registrars).await?;
/// let error = client.query_actor("two words").await.unwrap_err();
/// assert!(matches!(error, LookupError::Name(_)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum LookupError {
    /// The argument is not a name or a pattern.
    #[error(transparent)]
    Name(#[from] NameError),
    /// No registrar can be reached: whether the name is registered is unknown.
    #[error("{brief}:\n{0}", brief = .0.in_brief())]
    Unreachable(RegistrarFailures),
    /// A registrar refused to answer, and none answered.
    #[error("{brief}:\n{0}", brief = .0.in_brief())]
    Refused(RegistrarFailures),
    /// The registrars that answered know nothing of it, and others did not answer: whether it is
    /// registered is unknown.
    #[error("it may be known to a registrar that did not answer:\n{0}")]
    Incomplete(RegistrarFailures),
}

impl From<RegistrarFailures> for LookupError {
    fn from(failures: RegistrarFailures) -> Self {
        if failures.have_refusal() { Self::Refused(failures) } else { Self::Unreachable(failures) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_one_line_whatever_the_peer_says() {
        let check = |error: LinkError, expected: &str| {
            let registrar = Endpoint::Memory(7);
            let failure = RegistrarFailure { registrar, error: Arc::new(error) };
            assert_eq!(failure.to_string(), format!("/memory/7: {expected}"));
        };
        check(DialError::Refused.into(), "connection refused: nobody listens there");
        check(LinkError::NoAnswer(Duration::from_secs(2)), "no answer within 2s");
        check(
            LinkError::NotARegistrar { agent: String::new() },
            "the listener there is not a registrar",
        );
        check(
            HandshakeError::Refused("go\n\x1b[31maway".to_owned()).into(),
            "the peer refused the connection: go\\n\\u{1b}[31maway",
        );
        check(
            LinkError::OthersPort { user: Some(1001) },
            "a registrar of user 1001 listens there, and nobody has named it",
        );
        let malformed = WireError::Malformed("not a map".to_owned());
        check(
            LinkError::Unreadable(malformed),
            "its answer cannot be read: malformed message: not a map",
        );
    }

    #[test]
    fn a_registrar_that_says_no_was_reached() {
        let check = |errors: Vec<LinkError>, expected: &str| {
            let failure = |error| {
                let registrar = Endpoint::Memory(7);
                RegistrarFailure { registrar, error: Arc::new(error) }
            };
            let failures = RegistrarFailures(errors.into_iter().map(failure).collect());
            assert_eq!(failures.in_brief(), expected);
            let error = ConnectError::Unreachable(failures.clone()).to_string();
            assert!(error.starts_with(expected), "{error}");
            let error = LookupError::from(failures).to_string();
            assert!(error.starts_with(expected), "{error}");
        };
        let (away, reached) =
            ("no registrar can be reached", "the registrar was reached, and refused");
        check(vec![DialError::Refused.into()], away);
        check(vec![HandshakeError::Closed.into(), LinkError::NotYet], away);
        check(vec![HandshakeError::Preface(PrefaceError::Tls).into()], away);
        check(
            vec![HandshakeError::Preface(PrefaceError::OtherVersion { theirs: 9 }).into()],
            reached,
        );
        check(vec![HandshakeError::Refused("it is full".to_owned()).into()], reached);
        let refused = || LinkError::Refused(RemoteError::new(ErrorKind::Denied, "no"));
        check(vec![refused()], reached);
        check(
            vec![DialError::Missing.into(), refused()],
            "a registrar was reached, and refused; no other answered",
        );
    }

    #[test]
    fn passing_failures_differ_from_lasting_ones() {
        let check = |error: LinkError, expected: bool| {
            assert_eq!(error.may_pass(), expected, "{error}");
            let of =
                |error| RegistrarFailure { registrar: Endpoint::Memory(7), error: Arc::new(error) };
            // A failure that may pass is worth the wait, whatever the others are.
            let failures = RegistrarFailures(vec![of(DialError::NoPermission.into()), of(error)]);
            assert_eq!(failures.may_pass(), expected);
        };
        check(DialError::Missing.into(), true);
        check(DialError::Refused.into(), true);
        check(DialError::Unreachable.into(), true);
        check(HandshakeError::TimedOut(Duration::from_secs(2)).into(), true);
        check(HandshakeError::Refused("too many sessions".to_owned()).into(), true);
        check(LinkError::Silent(Duration::from_secs(3)), true);
        check(DialError::NoPermission.into(), false);
        check(DialError::NotASocket { found: "a file" }.into(), false);
        check(DialError::Tls(TlsError::NotTls).into(), false);
        check(DialError::Tls(TlsError::Ended).into(), true);
        check(LinkError::NotARegistrar { agent: String::new() }, false);
        check(LinkError::Insecure, false);
        let denied = RemoteError::new(wire::ErrorKind::Denied, "no");
        check(LinkError::Refused(denied), false);
        assert!(!RegistrarFailures::default().may_pass());
    }
}
