//! What the kernel says of network addresses beyond their existence.

use std::{
    fs,
    net::{IpAddr, Ipv6Addr},
    os::{fd::AsRawFd, unix::net::UnixDatagram},
};

/// Tells whether an address belongs to a network interface, or to one that this one is the master of
/// (VRF). To the loopback interface belong the loopback addresses alone.
pub(crate) fn has_device(device: u32, ip: IpAddr) -> bool {
    if ip.is_unspecified() {
        return true;
    }
    let all = if_addrs::get_if_addrs().unwrap_or_default();
    all.iter().filter(|it| it.ip() == ip).any(|it| {
        // An alias has the name of its interface before a colon.
        let name = it.name.split(':').next().unwrap_or_default();
        it.index == Some(device) || master_of(name) == Some(device)
    })
}

/// Tells whether the loopback interface of this network namespace is up, also if it has no address;
/// `None` if the kernel does not say.
pub fn is_loopback_up() -> Option<bool> {
    let socket = UnixDatagram::unbound().ok()?;
    // SAFETY: all zeroes are a valid `ifreq`, which is plain data.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    // SAFETY: the kernel reads a name that ends in NUL, and writes flags into the same `ifreq`,
    // which outlives the call.
    let done =
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS as _, &raw mut request) };
    // SAFETY: after a call that succeeded, the flags are what the union holds.
    (done == 0).then(|| i32::from(unsafe { request.ifr_ifru.ifru_flags }) & libc::IFF_UP != 0)
}

fn master_of(interface: &str) -> Option<u32> {
    let path = format!("/sys/class/net/{interface}/master/ifindex");
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Returns the IPv6 addresses of this network namespace that are not to be published: those that
/// are deprecated, and those that are not in use yet, or never, because they may be another's.
pub(crate) fn unfit_addresses() -> Vec<IpAddr> {
    // Without IPv6 there is no such file.
    let list = fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap_or_default();
    list.lines().filter_map(unfit).collect()
}

/// Reads a line: the address, the interface, the prefix, the scope, the flags, and a name.
fn unfit(line: &str) -> Option<IpAddr> {
    let mut words = line.split_whitespace();
    let ip = u128::from_str_radix(words.next()?, 16).ok()?;
    let flags = u32::from_str_radix(words.nth(3)?, 16).ok()?;
    (flags & UNFIT != 0).then(|| Ipv6Addr::from_bits(ip).into())
}

/// `IFA_F_DADFAILED`, `IFA_F_DEPRECATED` and `IFA_F_TENTATIVE` of linux/if_addr.h.
const UNFIT: u32 = 0x08 | 0x20 | 0x40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_going_or_not_there_yet_are_unfit() {
        let check = |line: &str, expected: Option<&str>| {
            assert_eq!(unfit(line).map(|it| it.to_string()).as_deref(), expected, "{line}");
        };
        let line =
            |flags: &str| format!("20010db8000000000000000000000007 02 40 00 {flags}     eth0");
        check(&line("80"), None);
        check(&line("00"), None);
        for flags in ["20", "40", "48", "a0", "c8"] {
            check(&line(flags), Some("2001:db8::7"));
        }
        for broken in ["", "x", "20010db8000000000000000000000007 02 40"] {
            check(broken, None);
        }
    }

    #[test]
    fn to_the_loopback_interface_belong_the_loopback_addresses_alone() {
        let all = if_addrs::get_if_addrs().unwrap();
        let loopback = all.iter().find(|it| it.ip().to_string() == "127.0.0.1").unwrap();
        let device = loopback.index.unwrap();
        for interface in &all {
            let is_its = interface.index == Some(device);
            assert_eq!(has_device(device, interface.ip()), is_its, "{interface:?}");
        }
        assert!(!has_device(u32::MAX, loopback.ip()));
        assert!(!has_device(device, "203.0.113.7".parse().unwrap()));
    }
}
