//! The caller at the other end of a connection.

use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::geteuid;
use transport::{Stream, Who};

use crate::registry::{Caller, Certified, Owner};

/// Asks the kernel for the identity of a connection's peer: once, at its beginning. `None` if the
/// peer has gone, because its messages would be charged to nobody.
///
/// ```
/// # use callsign_registrar as callsign;
/// use callsign::registry::Owner;
/// use transport::Stream;
///
/// let (near, _far) = Stream::pair();
/// let caller = callsign::caller(&near).expect("it is there");
/// assert_eq!(caller.owner, Owner::Registrar, "a connection within this process");
/// ```
pub fn caller(stream: &Stream) -> Option<Caller> {
    let caller = match stream.who() {
        Who::Gone => return None,
        Who::User { uid, groups } => {
            let is_trusted = uid == 0 || uid == geteuid().as_raw();
            Caller { is_trusted, groups: groups.into(), ..Owner::User(uid).into() }
        }
        Who::Address(ip) => Owner::Host(ip).into(),
        Who::Here => Owner::Registrar.into(),
        _ => Owner::Unknown(UNKNOWN.fetch_add(1, Ordering::Relaxed)).into(),
    };
    Some(Caller { is_private: stream.is_private(), ..caller })
}

/// Returns whom the certificate of a connection's peer names, once the handshake of TLS is done. What
/// the kernel knows of its user counts no more: that is the same however far away it is.
pub(crate) fn certified(stream: &Stream) -> Option<Caller> {
    let name = Certified::new(&stream.certified_name()?)?;
    Some(Owner::Certified(name).into())
}

/// Counts the connections of those whose user is unknown.
static UNKNOWN: AtomicU64 = AtomicU64::new(0);

#[cfg(test)]
mod tests {
    use std::net::Shutdown;

    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn a_closed_loopback_peer_is_unknown_and_a_half_closed_one_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let connect = async || TcpStream::connect(at).await.unwrap().into_std().unwrap();
        let closed = connect().await;
        drop(closed);
        let half = connect().await;
        half.shutdown(Shutdown::Write).unwrap();
        let mut callers = Vec::new();
        for _ in 0..2 {
            let stream = Stream::try_from(listener.accept().await.unwrap().0).unwrap();
            callers.push(caller(&stream).map(|it| it.owner));
        }
        assert_eq!(callers, [None, Some(Owner::User(geteuid().as_raw()))]);
    }
}
