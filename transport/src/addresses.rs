//! Changes of this host's addresses, from the kernel (rtnetlink(7)).

use std::{io, os::fd::OwnedFd};

use rustix::net::{
    AddressFamily, RecvFlags, SocketFlags, SocketType, bind, netlink, recv, socket_with,
};
use tokio::io::unix::AsyncFd;

use crate::{diag, linux::await_readable};

/// Receives changes of addresses and interfaces of a network namespace: the one of the thread that
/// made this.
#[derive(Debug)]
pub(crate) struct AddressChanges(AsyncFd<OwnedFd>);

impl AddressChanges {
    /// Begins to listen. Changes are reported from now on.
    ///
    /// # Errors
    ///
    /// The error of the system call.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime that drives I/O.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, None)?;
        bind(&socket, &netlink::SocketAddrNetlink::new(0, GROUPS))?;
        Ok(Self(await_readable(socket)?))
    }

    /// Waits for a change. Several together count as one.
    ///
    /// # Errors
    ///
    /// The error of the system call.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the next call reports a change that was not reported.
    pub(crate) async fn changed(&self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            let mut has_changed = false;
            // The caller reads the addresses; but routes to other hosts change all the time.
            let mut buffer = [0; 4096];
            loop {
                match recv(&self.0, &mut buffer[..], RecvFlags::TRUNC) {
                    Ok((read, _)) => has_changed |= diag::concerns_own_address(&buffer[..read]),
                    Err(rustix::io::Errno::AGAIN) => break,
                    // More has changed than the kernel kept for this socket.
                    Err(rustix::io::Errno::NOBUFS) => has_changed = true,
                    Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            ready.clear_ready();
            if has_changed {
                return Ok(());
            }
        }
    }
}

/// Interfaces, and the addresses and routes of both families (`RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR`,
/// `RTMGRP_IPV4_ROUTE`, `RTMGRP_IPV6_IFADDR`, `RTMGRP_IPV6_ROUTE`).
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
