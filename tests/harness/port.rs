//! Ports for programs that take no open socket.

use std::{
    fs, mem,
    net::{Ipv4Addr, Ipv6Addr, TcpListener},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
};

/// Returns a port at which nobody listens, and that is given to nobody else while this process
/// lives: neither to another test, nor by the kernel.
#[track_caller]
pub(crate) fn free_port() -> u16 {
    // Each process starts with a different port.
    let begin = (std::process::id() % 1000) as u16 * 22;
    let mut ports = (FIRST + begin..LAST).chain(FIRST..FIRST + begin);
    let end = drawn_by_the_kernel();
    let port = ports.find(|it| *it < end && is_reserved(*it) && is_free(*it));
    port.expect("some port is free")
}

/// Takes a port for this process, with a socket that other processes see and that ends with it.
fn is_reserved(port: u16) -> bool {
    let name = format!("callsign-test-port-{port}");
    let address = SocketAddr::from_abstract_name(name).unwrap();
    UnixListener::bind_addr(&address).map(mem::forget).is_ok()
}

fn is_free(port: u16) -> bool {
    let has_ipv6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
        && (!has_ipv6 || TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).is_ok())
}

/// Returns the first port of the kernel's ephemeral range.
fn drawn_by_the_kernel() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = range.split_whitespace().next().and_then(|it| it.parse().ok());
    // If the range covers all ports, only luck remains.
    first.filter(|it| *it > FIRST).unwrap_or(LAST)
}

/// Above the ports of well-known services, and below the default ephemeral range.
const FIRST: u16 = 10_000;
const LAST: u16 = 32_000;
