//! The messages between a process and its forkserver: all of one size, over a socket that keeps
//! them apart.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{BorrowedFd, OwnedFd},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use crate::held::Ended;

/// A message. `launch` is the number that the caller gave to the child.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Message {
    /// To the forkserver, with three descriptors: fork a child that has them as its channel, its
    /// standard output and its standard error.
    Fork { launch: u64 },
    /// From the forkserver, with one descriptor: the child's process.
    Forked { launch: u64, pid: i32 },
    /// From the forkserver: there is no child, with the system's error.
    NotForked { launch: u64, errno: i32 },
    /// From the forkserver: the child has ended.
    Ended { launch: u64, ended: Ended },
}

/// The most descriptors in a message.
const DESCRIPTORS_MAX: usize = 3;

/// The size of a message: tag, launch, two numbers.
const MESSAGE_BYTES: usize = 1 + 8 + 4 + 4;

/// Sends a message. It waits while the socket is full.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    message: Message,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    send_bytes(socket, &message.to_bytes(), descriptors)
}

/// Receives a message and its descriptors, or `None` when the other end is closed. A message whose
/// descriptors found no room in this process has none.
pub(crate) fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
    let mut bytes = [0; MESSAGE_BYTES];
    match receive_bytes(socket, &mut bytes)? {
        (0, _) => Ok(None),
        (MESSAGE_BYTES, descriptors) => {
            let message = Message::from_bytes(&bytes).ok_or(io::ErrorKind::InvalidData)?;
            Ok(Some((message, descriptors)))
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Sends bytes, and descriptors with them.
pub(crate) fn send_bytes(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let slices = [IoSlice::new(bytes)];
    let flags = SendFlags::NOSIGNAL;
    rustix::io::retry_on_intr(|| rustix::net::sendmsg(socket, &slices, &mut ancillary, flags))?;
    Ok(())
}

/// Receives bytes, and the descriptors that came with them: none, if they found no room here.
pub(crate) fn receive_bytes(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(bytes)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(socket, &mut slices, &mut ancillary, flags)
    })?;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        descriptors.clear();
    }
    Ok((received.bytes, descriptors))
}

/// Makes the socket's two ends.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType};
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    Ok(rustix::net::socketpair(family, kind, SocketFlags::CLOEXEC, None)?)
}

impl Message {
    fn to_bytes(self) -> [u8; MESSAGE_BYTES] {
        let (tag, launch, first, second) = match self {
            Self::Fork { launch } => (0, launch, 0, 0),
            Self::Forked { launch, pid } => (1, launch, pid, 0),
            Self::NotForked { launch, errno } => (2, launch, errno, 0),
            Self::Ended { launch, ended: Ended::Code(code) } => (3, launch, code, 0),
            Self::Ended { launch, ended: Ended::Signal { signal, core_dumped } } => {
                (4, launch, signal, i32::from(core_dumped))
            }
        };
        let mut bytes = [tag; MESSAGE_BYTES];
        bytes[1..9].copy_from_slice(&launch.to_le_bytes());
        bytes[9..13].copy_from_slice(&first.to_le_bytes());
        bytes[13..].copy_from_slice(&second.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; MESSAGE_BYTES]) -> Option<Self> {
        let ([tag], bytes) = bytes.split_first_chunk()?;
        let (launch, bytes) = bytes.split_first_chunk()?;
        let (first, second) = bytes.split_first_chunk()?;
        let launch = u64::from_le_bytes(*launch);
        let first = i32::from_le_bytes(*first);
        let second = i32::from_le_bytes(second.try_into().ok()?);
        Some(match tag {
            0 => Self::Fork { launch },
            1 => Self::Forked { launch, pid: first },
            2 => Self::NotForked { launch, errno: first },
            3 => Self::Ended { launch, ended: Ended::Code(first) },
            4 => {
                let ended = Ended::Signal { signal: first, core_dumped: second != 0 };
                Self::Ended { launch, ended }
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn messages_arrive_with_their_descriptors() {
        let (near, far) = pair().unwrap();
        let launch = u64::MAX - 1;
        let messages = [
            Message::Fork { launch },
            Message::Forked { launch, pid: 4711 },
            Message::NotForked { launch, errno: 11 },
            Message::Ended { launch, ended: Ended::Code(-1) },
            Message::Ended { launch, ended: Ended::Signal { signal: 9, core_dumped: true } },
        ];
        for (count, message) in messages.into_iter().enumerate() {
            let given = vec![near.as_fd(); count.min(DESCRIPTORS_MAX)];
            send(near.as_fd(), message, &given).unwrap();
            let (received, descriptors) = receive(far.as_fd()).unwrap().unwrap();
            assert_eq!(received, message);
            assert_eq!(descriptors.len(), given.len());
        }
        drop(near);
        assert!(receive(far.as_fd()).unwrap().is_none());
    }

    #[test]
    fn other_bytes_are_an_error() {
        let (near, far) = pair().unwrap();
        for bytes in [&[9; MESSAGE_BYTES][..], b"short"] {
            rustix::io::write(&near, bytes).unwrap();
            assert!(receive(far.as_fd()).is_err());
        }
    }
}
