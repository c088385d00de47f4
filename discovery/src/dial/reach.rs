//! One candidate: dialing it, and checking its identity.

use std::fmt;

use endpoints::{InstanceId, Stamped};
use portal::{HandshakeError, Options, ProveError, handshake_actor};
use thiserror::Error;
use tokio::time::Instant;
use transport::{
    DialError, Peer, SeenSocket, Stream, dial_seen, strangers_at, user_ids_are_global,
};
use wire::{Challenge, ChannelBinding, Hello, Owed, Wanted, registrar::Evidence};

use crate::DialOptions;

/// How certain it is that the right instance answers.
///
/// ```
/// # use callsign_discovery as callsign;
/// use callsign::Assurance;
///
/// assert_ne!(Assurance::Claimed, Assurance::Proved);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Assurance {
    /// Only its endpoint was stamped: its program does not know the protocol.
    Unproved,
    /// It claims to be the intended instance. Its source of records had no challenge for it.
    Claimed,
    /// It has answered a registrar's challenge.
    Proved,
}

impl fmt::Display for Assurance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unproved => "unproved",
            Self::Claimed => "claimed",
            Self::Proved => "proved",
        })
    }
}

/// A registrar's challenge for one instance, and the response that the instance owes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    pub(crate) challenge: Challenge,
    pub(crate) owed: Owed,
}

/// The instance to reach, and its endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) instance: InstanceId,
    pub(crate) stamped: Stamped,
    pub(crate) proves: bool,
    pub(crate) user: Option<u32>,
    pub(crate) ticket: Option<Ticket>,
}

/// An instance that answers.
#[derive(Debug)]
pub(crate) struct Reached {
    pub(crate) stream: Stream,
    /// Its introduction, if it speaks the protocol.
    pub(crate) peer: Option<Hello>,
    pub(crate) assurance: Assurance,
}

impl Target {
    /// Dials, by the socket that was seen there if one was, and checks the identity. Until that is
    /// done, the application sends no byte.
    pub(crate) async fn reach(
        self,
        seen: Option<SeenSocket>,
        options: DialOptions,
    ) -> Result<Reached, ReachError> {
        let deadline = Instant::now() + options.timeout;
        let stream = dial_seen(&self.stamped, seen, options.timeout).await?;
        if !self.proves {
            self.check_user(&stream)?;
            return Ok(Reached { stream, peer: None, assurance: Assurance::Unproved });
        }

        let conversation = Options {
            hello: Hello { agent: options.agent, ..Hello::default() },
            handshake_timeout: deadline.saturating_duration_since(Instant::now()),
            ..Options::default()
        };
        let wanted =
            Wanted { instance: self.instance, challenge: self.ticket.map(|it| it.challenge) };
        let channel = stream.channel_binding().map(ChannelBinding::new);
        let expected = match self.ticket {
            None => None,
            // Over TLS a proof that does not cover the connection proves nothing.
            Some(ticket) => Some(ticket.owed.on(channel.as_ref()).ok_or(ProveError::NoProof)?),
        };
        let mut greeted = handshake_actor(stream, &conversation, wanted, expected).await?;
        let assurance = if expected.is_some() { Assurance::Proved } else { Assurance::Claimed };
        let peer = Some(std::mem::take(&mut greeted.peer));
        Ok(Reached { stream: greeted.into_stream(), peer, assurance })
    }

    /// Makes sure that the socket of a program that cannot prove who it is belongs to the user
    /// who registered it.
    fn check_user(&self, stream: &Stream) -> Result<(), ReachError> {
        let stamp = self.stamped.stamp;
        let (Peer::Unix { uid: Some(found), .. }, Some(registrant)) = (stream.peer(), self.user)
        else {
            let found = strangers_at(&[(&self.stamped, self.user)]).pop().flatten();
            return match (found, stamp.user) {
                (Some(found), Some(registrant)) => Err(ReachError::OtherUser { found, registrant }),
                _ => Ok(()),
            };
        };
        let is_of_stamp = stamp.user == Some(*found);
        let has_inode = stamp.socket.is_some();
        if is_of_stamp || may_listen_for(*found, registrant, has_inode) || !user_ids_are_global() {
            return Ok(());
        }
        Err(ReachError::OtherUser { found: *found, registrant })
    }
}

/// Tells whether a socket on which one user listens may be another's registration.
///
/// The kernel reports the user that called `listen`. That may be root, which listens for others at
/// boot; and a program that root registered may have changed its user since, for which only the
/// socket's own inode can vouch.
fn may_listen_for(found: u32, registrant: u32, has_inode: bool) -> bool {
    found == registrant || found == ROOT || (registrant == ROOT && has_inode)
}

const ROOT: u32 = 0;

/// Why a candidate is not taken.
///
/// ```
/// # use callsign_discovery as callsign;
/// # use transport::DialError;
/// use callsign::ReachError;
///
/// let error = ReachError::Dial(DialError::Refused);
/// assert!(error.evidence().is_some(), "it speaks against the actor");
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReachError {
    /// It could not be dialed.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The peer is not the right instance, or did not say.
    #[error(transparent)]
    Identity(#[from] ProveError),
    /// The socket is another user's.
    #[error("user {found} listens there, and it is user {registrant}'s")]
    OtherUser {
        /// The user that listens.
        found: u32,
        /// The user that registered the instance, or whose program listened when it was registered.
        registrant: u32,
    },
}

impl ReachError {
    /// Returns what this tells against the instance, if it does.
    ///
    /// ```
    /// # mod callsign { pub use {callsign_discovery::*, transport::*}; }
    /// use callsign::ReachError;
    /// use callsign::DialError;
    ///
    /// assert!(ReachError::Dial(DialError::Refused).evidence().is_some());
    /// assert!(ReachError::Dial(DialError::Busy).evidence().is_none());
    /// ```
    pub fn evidence(&self) -> Option<Evidence> {
        match self {
            Self::Dial(DialError::Refused) => Some(Evidence::Refused),
            Self::Dial(DialError::Missing) => Some(Evidence::Missing),
            Self::Dial(DialError::NotASocket { .. }) => Some(Evidence::NotASocket),
            Self::Dial(DialError::OtherSocket) => Some(Evidence::OtherIdentity),
            Self::Dial(DialError::TimedOut) => Some(Evidence::TimedOut),
            Self::Dial(DialError::NoPermission) => Some(Evidence::NoPermission),
            // These concern the dialer.
            Self::Dial(_) => None,
            Self::Identity(error) if error.is_other_identity() => Some(Evidence::OtherIdentity),
            Self::Identity(ProveError::Handshake(HandshakeError::TimedOut(_))) => {
                Some(Evidence::TimedOut)
            }
            Self::Identity(_) => Some(Evidence::Other),
            Self::OtherUser { .. } => Some(Evidence::OtherIdentity),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_programs_socket_is_its_registrants() {
        let (one, other) = (1000, 1001);
        for (found, registrant, has_inode, may) in [
            (one, one, false, true),
            (ROOT, one, false, true),
            (other, one, false, false),
            (other, one, true, false),
            (one, ROOT, true, true),
            (one, ROOT, false, false),
        ] {
            assert_eq!(may_listen_for(found, registrant, has_inode), may, "{found} {registrant}");
        }
    }
}
