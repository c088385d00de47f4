//! The endpoints of an actor: given ones, or ones drawn for it.

use std::{
    borrow::Cow,
    env,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    path::Path,
};

use endpoints::{Endpoint, Host, Name, TcpAddress, UnixAddress};
use rustix::fs::{Access, access};
use serde::{Deserialize, Serialize};
use transport::{BindAllError, BindOptions, Listener};
use uuid::Uuid;
use wire::{ErrorKind, RemoteError};

use crate::Kind;

/// The endpoints at which an actor is to listen.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Places {
    pub(crate) endpoints: Vec<Endpoint>,
    /// Whether they were drawn for this actor, so that nobody else wants them.
    pub(crate) are_own: bool,
}

impl Places {
    /// Listens at all of them, if they are the actor's own, and that takes no waiting. Obstacles
    /// are left to [`listen`](Self::listen) to report.
    pub(crate) fn listen_now(&self) -> Option<Vec<Listener>> {
        if self.are_own { Listener::bind_all_own(&self.endpoints).ok().flatten() } else { None }
    }

    /// Listens at all of them.
    pub(crate) async fn listen(&self) -> Result<Vec<Listener>, RemoteError> {
        if let Some(listeners) = self.listen_now() {
            return Ok(listeners);
        }
        let listeners = Listener::bind_all(&self.endpoints, BindOptions::default()).await;
        listeners.map_err(|BindAllError { endpoint, source }| {
            let why = format!("cannot listen at `{endpoint}`: {}", portal::WithCauses(&source));
            RemoteError::new(ErrorKind::Denied, why)
        })
    }
}

/// Returns places for an actor, one for each kind of place among `others`: beside their sockets, or
/// in the folder for this user's sockets if it may not create files there; and on their hosts at
/// free ports. Sockets in a folder have the mark of `parent`, by which they are found when nobody
/// is left who knows them; a root has none.
pub(crate) fn like(
    others: &[Endpoint],
    name: &Name,
    parent: Uuid,
    uuid: Uuid,
    kind: Kind,
) -> Vec<Endpoint> {
    let id = uuid.simple().to_string();
    let mut places: Vec<Endpoint> = Vec::new();
    for other in others {
        let place = match other {
            Endpoint::Unix(UnixAddress::Path(path)) => {
                let beside = path.as_path().parent().unwrap_or(Path::new("/"));
                let Some(folder) = writable(beside) else { continue };
                // The name is for people, and need not be whole: file names have 255 bytes.
                let shown: String = name.as_str().chars().take(NAME_CHARS_MAX).collect();
                let file = format!("{shown}-{}-{}.sock", mark(parent), mark(uuid));
                let socket = folder.join(file);
                let Some(place) = socket.to_str().and_then(|it| format!("/unix{it}").parse().ok())
                else {
                    continue;
                };
                place
            }
            Endpoint::Unix(UnixAddress::Abstract(_)) => apart(&id),
            Endpoint::Tcp(tcp) => Endpoint::Tcp(TcpAddress { port: 0, ..tcp.clone() }),
            // Nobody beyond the process could reach it there.
            Endpoint::Memory(_) if kind.is_process() => continue,
            Endpoint::Memory(_) => Endpoint::Memory(0),
        };
        if !places.contains(&place) {
            places.push(place);
        }
    }
    if places.is_empty() {
        places.push(apart(&id));
    }
    places
}

/// Returns these places, and instead of the address of another host that of this one by which they are
/// reached: what listens there is to be reached from them too.
pub(crate) async fn on_this_host(others: &[Endpoint]) -> Vec<Endpoint> {
    let mut here = Vec::new();
    for other in others {
        let own = match other {
            Endpoint::Tcp(tcp) => own_address(tcp).await,
            Endpoint::Unix(_) | Endpoint::Memory(_) => None,
        };
        here.push(own.unwrap_or_else(|| other.clone()));
    }
    here
}

/// Returns the own address on the way to another host; `None` if that is this one, or there is no way.
async fn own_address(far: &TcpAddress) -> Option<Endpoint> {
    let ip = match &far.host {
        Host::Dns(name, _) => {
            tokio::net::lookup_host((name.as_str(), far.port)).await.ok()?.next()?.ip()
        }
        // It has to be given as it is.
        Host::Ip6Zone { .. } => return None,
        host => host.ip()?,
    };
    let any: IpAddr =
        if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // Nothing is sent: the kernel chooses the address that it would send from.
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((ip, far.port.max(1))).ok()?;
    let own = socket.local_addr().ok()?.ip();
    match Endpoint::from(SocketAddr::new(own, far.port)) {
        Endpoint::Tcp(near) if own != ip => {
            Some(Endpoint::Tcp(TcpAddress { tls: far.tls, ..near }))
        }
        _ => None,
    }
}

/// Returns the folder itself if this user may make sockets in it, or else the folder for this
/// user's sockets, if there can be one: the other may belong to another user's registrar.
fn writable(folder: &Path) -> Option<Cow<'_, Path>> {
    let is_writable = access(folder, Access::WRITE_OK | Access::EXEC_OK);
    if is_writable.is_ok() || !folder.exists() {
        return Some(folder.into());
    }
    let xdg_runtime_dir = env::var_os("XDG_RUNTIME_DIR");
    let own = transport::runtime_dir(xdg_runtime_dir.as_deref(), &env::temp_dir());
    own.inspect_err(|error| {
        let error = portal::WithCauses(error);
        tracing::warn!(target: "callsign", %error, "an actor listens at an abstract socket");
    })
    .ok()
    .map(Cow::from)
}

/// Returns the mark of an instance in the names of files.
pub(crate) fn mark(uuid: Uuid) -> String {
    uuid.simple().to_string()[..MARK_CHARS].to_owned()
}

/// Returns the name of the socket and the mark of the parent, if a file is the socket of an actor
/// at a drawn place, or the lock beside it.
pub(crate) fn read(file: &str) -> Option<(&str, &str)> {
    let is_mark =
        |it: &str| it.len() == MARK_CHARS && it.bytes().all(|byte| byte.is_ascii_hexdigit());
    let socket = file.strip_suffix(".lock").unwrap_or(file);
    let mut parts = socket.strip_suffix(".sock")?.rsplitn(3, '-');
    let (own, parent, _name) = (parts.next()?, parts.next()?, parts.next()?);
    (is_mark(own) && is_mark(parent)).then_some((socket, parent))
}

/// Returns a name for a socket without a folder.
fn apart(id: &str) -> Endpoint {
    format!("/unix/@callsign-{id}").parse().expect("such names are endpoints")
}

/// The part of an actor's name in a file name.
const NAME_CHARS_MAX: usize = 40;

/// The part of a UUID in a file name: the chance that two of a thousand coincide is one in ten
/// thousand, and then the second bind fails with an error.
const MARK_CHARS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_listen_beside_their_parents() {
        let check = |others: &[&str], kind, expected: &[&str]| {
            let others: Vec<Endpoint> = others.iter().map(|it| it.parse().unwrap()).collect();
            let name = Name::new("feed").unwrap();
            let places = like(&others, &name, Uuid::max(), Uuid::nil(), kind);
            let places: Vec<_> = places.iter().map(ToString::to_string).collect();
            assert_eq!(places, expected);
        };
        check(&["/unix/none/root.sock"], Kind::Task, &["/unix/none/feed-ffffffff-00000000.sock"]);
        check(
            &["/unix/none/a", "/unix/none/b"],
            Kind::Task,
            &["/unix/none/feed-ffffffff-00000000.sock"],
        );
        check(
            &["/ip4/127.0.0.1/tcp/7", "/ip4/127.0.0.1/tcp/8", "/ip6/::1/tcp/9"],
            Kind::Process,
            &["/ip4/127.0.0.1/tcp/0", "/ip6/::1/tcp/0"],
        );
        check(&["/memory/7"], Kind::Thread, &["/memory/0"]);
        let apart = "/unix/@callsign-00000000000000000000000000000000";
        check(&["/memory/7"], Kind::Process, &[apart]);
        check(&["/unix/@root"], Kind::Task, &[apart]);
        check(&[], Kind::Task, &[apart]);
    }

    #[tokio::test]
    async fn a_place_of_this_host_stays() {
        for place in ["/ip4/127.0.0.1/tcp/7", "/ip6/::1/tcp/7/tls", "/unix/@root", "/memory/7"] {
            let place: Endpoint = place.parse().unwrap();
            assert_eq!(on_this_host(std::slice::from_ref(&place)).await, [place]);
        }
    }

    #[test]
    fn a_file_tells_whose_child_made_it() {
        let check = |file: &str, expected: Option<(&str, &str)>| assert_eq!(read(file), expected);
        let socket = "feed-eu-0123abcd-00000000.sock";
        check(socket, Some((socket, "0123abcd")));
        check("feed-eu-0123abcd-00000000.sock.lock", Some((socket, "0123abcd")));
        for other in ["registrar.sock", "feed-00000000.sock", "feed-0123abcg-00000000.sock", "a-b"]
        {
            check(other, None);
        }
    }
}
