//! The Unix sockets at certain places, picked from the kernel's list of all.
//!
//! The kernel finds none of them by its name or its file, so the list is read. Of its sockets, whose
//! number is anybody's choice, only those are kept that somebody has asked for.

use std::{collections::HashMap, ffi::OsStr, io, os::unix::ffi::OsStrExt, path::Path};

use endpoints::{Endpoint, SocketId, UnixAddress, UnixPath};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::{Listening, ListeningSocket, Silence};
use crate::{
    diag::{self, UnixSocket},
    linux::{Handle, Kind},
};

/// A socket file.
pub(super) struct SocketFile<'a> {
    id: SocketId,
    /// The last part of the path that led to it.
    name: Option<&'a OsStr>,
}

impl<'a> SocketFile<'a> {
    /// Returns what is open, if it is a socket.
    pub(super) fn of(handle: &Handle, path: &'a UnixPath) -> io::Result<Result<Self, Silence>> {
        Ok(match handle.kind()? {
            Kind::Socket(id) => Ok(Self { id, name: path.as_path().file_name() }),
            Kind::Other(found) => Err(Silence::NotASocket { found }),
        })
    }

    fn ino(&self) -> u32 {
        self.id.ino as u32
    }
}

/// The wanted places, with the sockets that are found there.
#[derive(Default)]
pub(super) struct Picked<'a> {
    by_file: HashMap<(u32, u32), Option<UnixSocket>>,
    /// By half of an inode number, then by the name of the file.
    by_file_name: HashMap<u32, HashMap<&'a OsStr, Option<UnixSocket>>>,
    by_name: HashMap<&'a [u8], Vec<UnixSocket>>,
    /// Longer names in use that differ by NULs at the end.
    padded: HashMap<&'a [u8], Option<UnixSocket>>,
}

impl<'a> Picked<'a> {
    pub(super) fn want_file(&mut self, file: &SocketFile<'a>) {
        self.by_file.entry(file_number(file.id)).or_default();
        if let Some(name) = file.name {
            self.by_file_name.entry(file.ino()).or_default().entry(name).or_default();
        }
    }

    pub(super) fn want_name(&mut self, name: &'a str) {
        self.by_name.entry(name.as_bytes()).or_default();
        self.padded.entry(without_padding(name.as_bytes())).or_default();
    }

    /// Reads the list, if anything is wanted.
    pub(super) fn pick(mut self) -> io::Result<Self> {
        if !self.by_file.is_empty() || !self.by_name.is_empty() {
            diag::each_unix_socket(|it| self.take(it))?;
        }
        Ok(self)
    }

    fn take(&mut self, socket: UnixSocket) {
        if let [0, name @ ..] = &socket.name[..] {
            if let Some(padded) = self.padded.get_mut(without_padding(name))
                && padded.is_none()
                && socket.is_listening
                && str::from_utf8(name).is_ok()
            {
                *padded = Some(socket.clone());
            }
            if let Some(found) = self.by_name.get_mut(name) {
                found.push(socket);
            }
            return;
        }
        let Some((ino, device)) = socket.file else { return };
        if let Some(by_name) = self.by_file_name.get_mut(&ino) {
            let path = socket.name.strip_suffix(b"\0").unwrap_or(&socket.name);
            let name = Path::new(OsStr::from_bytes(path)).file_name();
            if let Some(found @ None) = name.and_then(|it| by_name.get_mut(it)) {
                *found = Some(socket.clone());
            }
        }
        if let Some(found @ None) = self.by_file.get_mut(&(ino, device)) {
            *found = Some(socket);
        }
    }

    /// Returns the listener at a wanted file.
    pub(super) fn at_file(&self, handle: &Handle, file: &SocketFile<'_>) -> io::Result<Listening> {
        let by_number = || self.by_file.get(&file_number(file.id))?.as_ref();
        // Some file systems (overlayfs, btrfs) report another device than the kernel has; then the
        // name under which the socket was bound decides.
        let by_name = || self.by_file_name.get(&file.ino())?.get(file.name?)?.as_ref();
        match by_number().or_else(by_name) {
            Some(socket) => Ok(of_unix([socket], Some(file.id))),
            None => bound_anywhere(handle),
        }
    }

    /// Returns the listener at a wanted abstract name.
    pub(super) fn at_name(&self, name: &str) -> Listening {
        let found = self.by_name.get(name.as_bytes()).map(Vec::as_slice).unwrap_or_default();
        if !found.is_empty() {
            // A stream socket and a datagram socket may have the same name.
            return of_unix(found, None);
        }
        let padded = self.padded.get(without_padding(name.as_bytes())).and_then(Option::as_ref);
        let padded = padded.and_then(|it| str::from_utf8(it.name.get(1..)?).ok());
        Listening::Nobody(padded.map_or(Silence::NotListening, |it| Silence::Padded {
            at: Endpoint::Unix(UnixAddress::Abstract(it.into())),
        }))
    }
}

fn without_padding(name: &[u8]) -> &[u8] {
    let length = name.iter().rposition(|it| *it != 0).map_or(0, |last| last + 1);
    &name[..length]
}

/// Asks whether anybody has bound a socket file, in whatever network namespace. A datagram socket
/// that connects to it sends nothing, and if the types differ reaches nobody at all.
fn bound_anywhere(handle: &Handle) -> io::Result<Listening> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let probe = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    match connect(&probe, &SocketAddrUnix::new(handle.path())?) {
        Ok(()) => Ok(Listening::Nobody(Silence::OtherType { found: "datagram" })),
        Err(rustix::io::Errno::CONNREFUSED) => Ok(Listening::Nobody(Silence::NotListening)),
        // The name is in use but not visible, or may not be tried.
        Err(_) => Ok(Listening::Unknown),
    }
}

/// Tells whether a socket listens that was bound to this path and has that file, wherever that is.
pub(super) fn is_listening(file: SocketId, path: &UnixPath) -> io::Result<bool> {
    let (mut is_listening, (number, _)) = (false, file_number(file));
    diag::each_unix_socket(|it| {
        let bound = it.name.strip_suffix(b"\0").unwrap_or(&it.name);
        let is_bound =
            || Path::new(OsStr::from_bytes(bound)).file_name() == path.as_path().file_name();
        // Some file systems report another device than the kernel has.
        let is_file = it.file.is_some_and(|(ino, _)| ino == number);
        is_listening |= it.is_listening && is_file && is_bound();
    })?;
    Ok(is_listening)
}

/// Describes the sockets of one name.
fn of_unix<'a>(
    found: impl IntoIterator<Item = &'a UnixSocket>,
    file: Option<SocketId>,
) -> Listening {
    let mut silence = Silence::NotListening;
    let mut sockets = Vec::new();
    for socket in found {
        match i32::from(socket.socket_type) {
            libc::SOCK_STREAM if socket.is_listening => {
                sockets.push(ListeningSocket { inode: socket.inode, uid: socket.uid, file });
            }
            libc::SOCK_STREAM => silence = Silence::Bound,
            libc::SOCK_DGRAM => silence = Silence::OtherType { found: "datagram" },
            libc::SOCK_SEQPACKET => silence = Silence::OtherType { found: "seqpacket" },
            _ => {}
        }
    }
    if sockets.is_empty() { Listening::Nobody(silence) } else { Listening::Sockets(sockets) }
}

/// Numbers a file as sock_diag does: half of its inode number, and the device as it is within the
/// kernel, with twenty bits for the minor number.
fn file_number(id: SocketId) -> (u32, u32) {
    let device = rustix::fs::major(id.dev) << 20 | rustix::fs::minor(id.dev);
    (id.ino as u32, device)
}
