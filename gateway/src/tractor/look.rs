//! A look at one endpoint of a registered actor: whether that very actor is there.

use std::time::Duration;

use endpoints::{Stamped, Unreachable, locate};
use registrar::{Look, RegistryHandle};
use transport::{DialError, here_for, listens_elsewhere};
use uuid::Uuid;

use super::{
    Uid,
    channel::{Channel, ChannelError},
    message::Aid,
};

/// The result of a look at an endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ProbeResult {
    /// The actor is there.
    Alive,
    /// It is not: nobody is, or another actor.
    Dead,
    /// It listens, but says nothing, or cannot be reached now: a debugger may have stopped it, or
    /// the folder of its socket is away.
    Mute,
    /// It cannot be judged from here, or not now.
    Unclear,
}

/// Checks whether an actor is at an endpoint with tractor's own probe: a greeting that says it is a
/// probe. It connects only where the registrant could connect as well; elsewhere it relies on the
/// kernel.
pub(super) async fn look_at(
    registry: &RegistryHandle,
    (uuid, uid): (Uuid, &Uid),
    stamped: &Stamped,
    own: &Aid,
) -> ProbeResult {
    match registry.look_at(uuid, stamped).await {
        None => {}
        // It never registers again.
        Some(Look::Dead) if listens_elsewhere(stamped) => return ProbeResult::Mute,
        Some(Look::Dead) => return ProbeResult::Dead,
        Some(Look::Alive) => return ProbeResult::Alive,
        Some(Look::Unclear) => return ProbeResult::Unclear,
    }
    let is_local = match locate(stamped, &here_for([&stamped.endpoint]), &transport::look) {
        Ok(locality) => locality.is_within_host(),
        Err(Unreachable::Missing | Unreachable::NotASocket | Unreachable::OtherSocket) => {
            return ProbeResult::Dead;
        }
        Err(_) => return ProbeResult::Unclear,
    };
    let stream = match registry.dial(uuid, stamped, LOOK_TIMEOUT).await {
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

/// The time limit for a connection and for a greeting: the original gives its own probes a second.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, net::TcpListener, os::unix::net::UnixListener};

    use endpoints::Endpoint;
    use registrar::registry::{Foreign, Limits, Owner};

    use super::*;

    /// Returns the result of a look at a registered endpoint.
    async fn look(endpoint: &Endpoint, owner: Owner) -> ProbeResult {
        let stamped = Stamped { stamp: transport::stamp(endpoint), endpoint: endpoint.clone() };
        look_stamped(stamped, owner).await
    }

    async fn look_stamped(stamped: Stamped, owner: Owner) -> ProbeResult {
        let registry = RegistryHandle::unattended(Limits::default());
        let uuid = Uuid::from_u128(7);
        let (name, metadata) = ("feed".parse().unwrap(), BTreeMap::new());
        let endpoint = Some(stamped.clone());
        registry.remember_foreign(Foreign { name, uuid, endpoint, metadata }, owner).unwrap();
        let own = Aid::new("registrar".to_owned(), "u".to_owned(), Some(true));
        let uid = Uid("feed".to_owned(), "u".to_owned());
        look_at(&registry, (uuid, &uid), &stamped, &own).await
    }

    #[tokio::test]
    async fn looks_connect_only_where_the_owner_could() {
        let own = rustix::process::geteuid().as_raw();
        let (own, other) = (Owner::User(own), Owner::User(own + 22_222));
        let host = |it: &str| Owner::Host(it.parse().unwrap());

        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        tcp.set_nonblocking(true).unwrap();
        let at: Endpoint =
            format!("/ip4/127.0.0.1/tcp/{}", tcp.local_addr().unwrap().port()).parse().unwrap();
        for stranger in [other, host("192.0.2.7")] {
            assert_eq!(look(&at, stranger).await, ProbeResult::Unclear, "{stranger}");
            assert!(tcp.accept().is_err(), "{stranger} has had it dialed");
        }
        for owner in [own, host("127.0.0.1")] {
            assert_eq!(look(&at, owner).await, ProbeResult::Mute, "{owner}");
            assert!(tcp.accept().is_ok(), "{owner}");
        }

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("feed.sock");
        let unix = UnixListener::bind(&path).unwrap();
        unix.set_nonblocking(true).unwrap();
        let at = Endpoint::from_unix_path(&path).unwrap();
        for stranger in [other, host("127.0.0.1"), host("192.0.2.7")] {
            assert_eq!(look(&at, stranger).await, ProbeResult::Alive, "the kernel shows it");
            assert!(unix.accept().is_err(), "{stranger} has had it dialed");
        }
        assert_eq!(look(&at, own).await, ProbeResult::Mute);
        assert!(unix.accept().is_ok());

        // Its folder may be away for a moment.
        let away = folder.path().with_extension("away");
        let stamped = Stamped { stamp: transport::stamp(&at), endpoint: at.clone() };
        std::fs::rename(folder.path(), &away).unwrap();
        for owner in [own, other] {
            assert_eq!(look_stamped(stamped.clone(), owner).await, ProbeResult::Mute, "{owner}");
        }
        std::fs::rename(&away, folder.path()).unwrap();

        drop((tcp, unix));
        assert_eq!(look(&at, other).await, ProbeResult::Dead);
        // Beyond this host, any caller except the peer itself.
        let beyond = "/ip4/192.0.2.9/tcp/22".parse().unwrap();
        for stranger in [own, other, host("192.0.2.7")] {
            assert_eq!(look(&beyond, stranger).await, ProbeResult::Unclear, "{stranger}");
        }
    }
}
