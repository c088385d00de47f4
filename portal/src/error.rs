//! The errors of a conversation.

use std::{error, fmt, io, sync::Arc, time::Duration};

use endpoints::InstanceId;
use thiserror::Error;
use wire::{RemoteError, WireError, preface::PrefaceError};

/// Why a connection ended.
///
/// ```
/// # use callsign_portal as callsign;
/// use callsign::Closed;
///
/// let closed = Closed::Goodbye("the registrar is stopping".to_owned());
/// assert!(closed.to_string().contains("the registrar is stopping"));
/// ```
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum Closed {
    /// This side closed it, or dropped its driver.
    #[error("the connection was closed on this side")]
    Here,
    /// The other side closed it.
    #[error("the peer closed the connection")]
    ByPeer,
    /// The other side closed it, and said why.
    #[error("the peer closed the connection: {0}")]
    Goodbye(String),
    /// The other side gave it up, and will begin another.
    #[error("the peer gave the connection up for now: {0}")]
    ForNow(String),
    /// The other side gave no sign of life.
    #[error("the peer was silent for {:?}", rounded(*.0))]
    Silent(Duration),
    /// The other side sent what the protocol does not allow.
    #[error("the peer broke the protocol")]
    Protocol(#[source] WireError),
    /// This side's service refuses to continue, with a reason.
    #[error("the connection was ended on this side: {0}")]
    Dismissed(String),
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] Arc<io::Error>),
}

impl From<io::Error> for Closed {
    fn from(error: io::Error) -> Self {
        Self::Broken(Arc::new(error))
    }
}

/// Why a call has no result.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum CallError {
    /// The other side says so.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The connection ended first. Whether the call was carried out is not known.
    #[error("the connection ended before the answer came")]
    Closed(#[source] Closed),
    /// The call took longer than was allowed. Whether it was carried out is not known.
    #[error("the call took longer than {0:?}")]
    TimedOut(Duration),
    /// Of calls whose results nobody waits for, too many are unanswered.
    #[error("{0} calls without an awaited result are unanswered")]
    TooMany(usize),
    /// The call is too long to be sent.
    #[error("the call is too long to be sent")]
    TooLong(#[source] WireError),
    /// The answer has an unexpected type.
    #[error("the answer cannot be read")]
    Unreadable(#[source] WireError),
}

/// Why a conversation did not begin.
///
/// ```
/// # use callsign_portal as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use callsign_portal::{NoService, Options, connect};
/// # use transport::Stream;
/// use callsign::HandshakeError;
///
/// let (near, far) = Stream::pair();
/// drop(far);
/// let error = connect(near, Options::default(), NoService).await.unwrap_err();
/// assert!(matches!(error, HandshakeError::Closed | HandshakeError::Broken(_)));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The other side did not speak in time.
    #[error("the peer did not complete the handshake within {:?}", rounded(*.0))]
    TimedOut(Duration),
    /// The other side went away.
    #[error("the peer closed the connection during the handshake")]
    Closed,
    /// The other side closed the connection, and said why.
    #[error("the peer refused the connection: {0}")]
    Refused(String),
    /// The other side closed the connection, and said why in a way that programs read.
    #[error("the peer refused the connection: {0}")]
    Denied(Box<RemoteError>),
    /// The other side speaks another protocol, or another version of this one.
    #[error(transparent)]
    Preface(#[from] PrefaceError),
    /// The other side sent what the protocol does not allow.
    #[error("the peer broke the protocol")]
    Protocol(#[from] WireError),
    /// The other side means another actor than the one that listens here.
    #[error("the peer means {0}")]
    MeantForAnother(InstanceId),
    /// The connection broke.
    #[error("the connection broke during the handshake")]
    Broken(#[from] io::Error),
}

/// Why a peer is not taken for the actor that was dialed.
///
/// ```
/// # use callsign_portal as callsign;
/// use callsign::ProveError;
///
/// fn is_impostor(error: &ProveError) -> bool {
///     error.is_other_identity()
/// }
/// assert!(is_impostor(&ProveError::NoProof));
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProveError {
    /// It did not introduce itself.
    #[error("the peer does not say who it is")]
    Handshake(#[from] HandshakeError),
    /// It is another actor.
    #[error("{0} is there, not the actor that was meant")]
    OtherInstance(InstanceId),
    /// It is no actor.
    #[error("the peer is no actor: it calls itself {agent:?}")]
    NoInstance {
        /// The software that it names.
        agent: String,
    },
    /// It says that it is the one that was meant, and cannot prove it.
    #[error("the peer claims to be the actor that was meant, and cannot prove it")]
    NoProof,
}

impl ProveError {
    /// Tells whether another program is at the endpoint. Any other error may be temporary.
    ///
    /// ```
    /// # use callsign_portal as callsign;
    /// use callsign::ProveError;
    ///
    /// assert!(ProveError::NoProof.is_other_identity(), "another program is there");
    /// ```
    pub fn is_other_identity(&self) -> bool {
        match self {
            Self::OtherInstance(_) | Self::NoInstance { .. } | Self::NoProof => true,
            Self::Handshake(HandshakeError::Preface(it)) => {
                matches!(it, PrefaceError::OtherProtocol | PrefaceError::Tls)
            }
            Self::Handshake(_) => false,
        }
    }
}

/// Writes an error and what caused it on one line. A cause that only repeats the one before is left
/// out.
#[derive(Clone, Copy, Debug)]
pub struct WithCauses<'a>(pub &'a (dyn error::Error + 'static));

impl fmt::Display for WithCauses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        f.write_str(&last)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if text != last {
                write!(f, ": {text}")?;
                last = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

/// A time limit to the millisecond: what was left of a longer one would show nine digits.
fn rounded(limit: Duration) -> Duration {
    Duration::from_millis((limit.as_secs_f64() * 1000.0).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Error)]
    #[error("{0}")]
    struct Said(&'static str, #[source] Option<Box<Self>>);

    #[test]
    fn a_cause_that_repeats_the_one_before_is_left_out() {
        let said = |causes: &[&'static str]| {
            let link = |cause, said: &&'static str| Some(Box::new(Said(said, cause)));
            let error = causes.iter().rev().fold(None, link).unwrap();
            WithCauses(&*error).to_string()
        };
        assert_eq!(said(&["cut", "refused"]), "cut: refused");
        assert_eq!(said(&["cut", "cut", "refused", "refused"]), "cut: refused");
        assert_eq!(said(&["cut", "refused", "cut"]), "cut: refused: cut");
    }
}
