//! A port for a program that is told which one to bind.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
};

use endpoints::TcpAddress;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with};

use crate::{random::random_bytes, tcp};

/// Draws a port that is free at all of these hosts, whatever ports they name, for a program that
/// binds it by itself.
///
/// Nothing can hold the port until then: many programs cannot bind a port that another has bound.
/// So it is drawn at random from the ports that the kernel gives only to programs that ask for them
/// by number, if there are enough of these (those outside `net.ipv4.ip_local_port_range`).
///
/// # Errors
///
/// The error of the system call that could not bind a host, or [`io::ErrorKind::AddrInUse`].
pub fn draw_port(hosts: &[TcpAddress]) -> io::Result<u16> {
    let drawable = drawable(&fs::read_to_string(RANGE).unwrap_or_default());
    for _ in 0..DRAWS_MAX {
        let drawn = match (&drawable, hosts) {
            (Some(ports), _) => drawn_of(ports),
            (None, [first, ..]) => bound(first, 0)?.port(),
            (None, []) => return Err(io::ErrorKind::InvalidInput.into()),
        };
        // One after the other, because some of them cannot be bound side by side.
        match hosts.iter().try_for_each(|host| bound(host, drawn).map(drop)) {
            Ok(()) => return Ok(drawn),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// Returns the ports that the kernel gives only on request, if there are enough of them.
fn drawable(range: &str) -> Option<RangeInclusive<u16>> {
    let mut bounds = range.split_ascii_whitespace().map(str::parse);
    let (Some(Ok(first)), Some(Ok(last))) = (bounds.next(), bounds.next()) else { return None };
    let below = DRAWN_MIN..=u16::saturating_sub(first, 1);
    let above = DRAWN_MIN.max(u16::saturating_add(last, 1))..=u16::MAX;
    let wider = if below.len() >= above.len() { below } else { above };
    (wider.len() >= DRAWABLE_MIN).then_some(wider)
}

fn drawn_of(ports: &RangeInclusive<u16>) -> u16 {
    let nth = u32::from_ne_bytes(random_bytes()) as usize % ports.len();
    ports.clone().nth(nth).unwrap_or(*ports.start())
}

/// Binds a port of a host for a moment, without reuse, and returns the bound address.
fn bound(host: &TcpAddress, port: u16) -> io::Result<SocketAddr> {
    let address = match tcp::literal(&TcpAddress { port, ..host.clone() }) {
        Ok(Some(address)) => address,
        // How the program resolves a name is unknown.
        Ok(None) => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port),
        Err(error) => return Err(io::Error::other(error)),
    };
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &address)?;
    Ok(SocketAddr::try_from(getsockname(&socket)?)?)
}

/// The first and the last of the ports that the kernel gives out.
const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// The lowest port that is drawn. Most well-known ports are below it.
const DRAWN_MIN: u16 = 20_000;

/// The least number of ports to draw from: two simultaneous draws should hardly collide.
const DRAWABLE_MIN: usize = 2_000;

/// The most draws: with every other port taken, one in a million fails.
const DRAWS_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use endpoints::Endpoint;

    use super::*;

    fn tcp(text: &str) -> TcpAddress {
        let Endpoint::Tcp(tcp) = text.parse().unwrap() else { panic!("{text} is no TCP address") };
        tcp
    }

    #[test]
    fn ports_are_those_that_the_kernel_does_not_give_out() {
        let check = |range: &str, expected| assert_eq!(drawable(range), expected, "{range}");
        check("32768\t60999\n", Some(20_000..=32_767));
        check("10000 30000", Some(30_001..=65_535));
        check("1024 65535", None);
        check("21000 65000", None);
        check("", None);
        check("many few", None);
    }

    #[test]
    fn a_port_that_is_drawn_can_be_bound_and_one_that_is_taken_is_not_drawn() {
        let wildcards = [tcp("/ip4/0.0.0.0/tcp/0"), tcp("/ip6/::/tcp/0")];
        let port = draw_port(&wildcards).unwrap();
        assert!(TcpListener::bind(("0.0.0.0", port)).is_ok());

        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = held.local_addr().unwrap().port();
        let error = bound(&tcp("/ip4/0.0.0.0/tcp/0"), taken).err().map(|it| it.kind());
        assert_eq!(error, Some(io::ErrorKind::AddrInUse));

        // An address of another host cannot be drawn.
        let error = draw_port(&[tcp("/ip4/203.0.113.7/tcp/0")]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
    }
}
