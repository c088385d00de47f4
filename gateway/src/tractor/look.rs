//! A look at one endpoint of a registered actor: whether that very actor is there.

use std::time::Duration;

use endpoints::{Stamped, Unreachable, locate};
use transport::{DialError, dial_stamped, here_for};

use super::{
    Uid,
    channel::{Channel, ChannelError},
    message::Aid,
};

/// What was seen of an endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ProbeResult {
    /// The actor is there.
    Alive,
    /// It is not: nobody is, or another.
    Dead,
    /// Somebody is there and says nothing. It may be stopped by a debugger.
    Mute,
    /// It cannot be judged from here, or not now.
    Unclear,
}

/// Looks whether an actor is at an endpoint, by the word with which tractor programs ask the
/// same: a greeting that says it is a probe.
pub(super) async fn look_at(stamped: &Stamped, uid: &Uid, own: &Aid) -> ProbeResult {
    let is_local = match locate(stamped, &here_for([&stamped.endpoint]), &transport::look) {
        Ok(locality) => locality.is_within_host(),
        Err(Unreachable::Missing | Unreachable::NotASocket | Unreachable::OtherSocket) => {
            return ProbeResult::Dead;
        }
        Err(_) => return ProbeResult::Unclear,
    };
    let stream = match dial_stamped(stamped, LOOK_TIMEOUT).await {
        Ok(stream) => stream,
        Err(DialError::Busy) => return ProbeResult::Mute,
        // Beyond this host a refusal may be a firewall's.
        Err(error) if is_local && error.is_evidence() => return ProbeResult::Dead,
        Err(_) => return ProbeResult::Unclear,
    };
    let probe = Aid { is_registrar: None, is_probe: true, ..own.clone() };
    match Channel::greet(stream, &probe, LOOK_TIMEOUT).await {
        Ok((_, aid)) if aid.uid() == *uid => ProbeResult::Alive,
        // Another actor, or a program that speaks otherwise.
        Ok(_) | Err(ChannelError::NoAid | ChannelError::Unreadable(_)) => ProbeResult::Dead,
        Err(ChannelError::TooLong(_)) => ProbeResult::Dead,
        Err(ChannelError::TimedOut) => ProbeResult::Mute,
        // It may be about to end, or too busy to answer.
        Err(_) => ProbeResult::Unclear,
    }
}

/// How long a connection and a greeting may take, each: the original gives its own probes a
/// second.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);
