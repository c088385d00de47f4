//! The socket files of this process's actors, for removal when the actor itself cannot: its thread
//! is stuck, or the end of its process is forced.

pub(crate) mod sweep;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use endpoints::{Endpoint, SocketId, Stamped, UnixAddress, UnixPath};
use transport::{Listener, current_socket};

/// Records the endpoints of an actor of this process, until the result is dropped. Drop it when the
/// actor has stopped listening.
pub(crate) fn list(listeners: &[Listener]) -> ListedSockets {
    let has_file = |it: &&Listener| it.bound().is_socket_file();
    let endpoints: Vec<_> =
        listeners.iter().filter(has_file).flat_map(Listener::published).collect();
    let own: Vec<_> = files(&endpoints).map(|(path, socket)| (path.clone(), socket)).collect();
    listed().extend(own.iter().cloned());
    ListedSockets(own)
}

/// Removes the socket files of an actor of this process that still listens, and cannot be ended.
/// Files of anything else stay.
pub(crate) fn remove(endpoints: &[Stamped]) {
    for (path, socket) in files(endpoints) {
        if take(path, socket) {
            remove_file(path, socket);
        }
    }
}

/// Removes the socket files of all actors of this process: it is about to end.
pub(crate) fn remove_all() {
    let all = std::mem::take(&mut *listed());
    all.iter().for_each(|(path, socket)| remove_file(path, *socket));
}

/// The record of where an actor listens.
#[derive(Debug)]
pub(crate) struct ListedSockets(Vec<(UnixPath, SocketId)>);

impl Drop for ListedSockets {
    fn drop(&mut self) {
        for (path, socket) in &self.0 {
            take(path, *socket);
        }
    }
}

/// Takes a socket off the list, and tells whether it was on it: another may be in its place.
fn take(path: &UnixPath, socket: SocketId) -> bool {
    let mut listed = listed();
    let is_it = |it: &SocketId| *it == socket || current_socket(path, *it) == socket;
    let is_on_it = listed.get(path).is_some_and(is_it);
    if is_on_it {
        listed.remove(path);
    }
    is_on_it
}

fn files(endpoints: &[Stamped]) -> impl Iterator<Item = (&UnixPath, SocketId)> {
    endpoints.iter().filter_map(|it| match &it.endpoint {
        Endpoint::Unix(UnixAddress::Path(path)) => Some((path, it.stamp.socket?)),
        _ => None,
    })
}

fn remove_file(path: &UnixPath, socket: SocketId) {
    if let Err(error) = transport::remove_own_socket(path, current_socket(path, socket)) {
        let path = path.as_str();
        tracing::warn!(target: "callsign", %error, path, "a socket is left behind");
    }
}

fn listed() -> MutexGuard<'static, BTreeMap<UnixPath, SocketId>> {
    LISTED.lock().unwrap_or_else(PoisonError::into_inner)
}

static LISTED: Mutex<BTreeMap<UnixPath, SocketId>> = Mutex::new(BTreeMap::new());
