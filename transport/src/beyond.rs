//! Listeners of a program that nobody reaches from here: in a network namespace of their own, or for
//! datagrams. The kernel shows them in `/proc`.

use std::{collections::HashSet, fmt, fs, path::PathBuf};

use endpoints::{Endpoint, UnixAddress};

use crate::holders::{DESCRIPTORS_MAX, Process, family_of, sockets_of};

/// What a program has at a place instead of a listener that is reached from here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Beyond {
    /// This process listens there, in another network namespace than this one.
    OtherNetwork(Process),
    /// This process takes datagrams at the port of that number (UDP).
    Datagrams(Process),
}

impl fmt::Display for Beyond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherNetwork(process) => {
                write!(f, "{process} listens there, in a network namespace of its own")
            }
            Self::Datagrams(process) => {
                write!(f, "{process} takes datagrams at that port (UDP), and no connections (TCP)")
            }
        }
    }
}

/// Finds what certain processes and their descendants have at a port or an abstract name where nobody
/// listens, as far as it is visible from here. It is for a message: it reads the sockets of each network
/// namespace in which such a process is.
///
/// ```
/// # use transport as callsign;
/// use callsign::{Beyond, Process, beyond};
///
/// let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
/// let endpoint = socket.local_addr()?.into();
/// let own = Process::own().expect("/proc is mounted");
/// assert_eq!(beyond(&[own], &endpoint), Some(Beyond::Datagrams(own)));
/// drop(socket);
/// assert_eq!(beyond(&[own], &endpoint), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn beyond(meant: &[Process], endpoint: &Endpoint) -> Option<Beyond> {
    let mut family: Vec<i32> = family_of(meant).into_iter().collect();
    family.sort_unstable();
    let namespace = |entry: &str| fs::read_link(format!("/proc/{entry}/ns/net")).ok();
    let own = namespace("thread-self")?;
    // The same listeners are shown by all processes of a namespace.
    let mut listed: Vec<(PathBuf, HashSet<u64>)> = Vec::new();
    let mut descriptors_left = DESCRIPTORS_MAX;
    for pid in family {
        let Some(there) = namespace(&pid.to_string()) else { continue };
        if !listed.iter().any(|it| it.0 == there) {
            listed.push((there.clone(), listeners(pid, endpoint, there == own)));
        }
        let wanted = listed.iter().find(|it| it.0 == there).map(|it| &it.1)?;
        let has_one = !wanted.is_empty()
            && sockets_of(pid, &mut descriptors_left).is_ok_and(|it| !it.is_disjoint(wanted));
        if let Some(process) = Process::seen(pid).filter(|_| has_one) {
            let is_own = there == own;
            let beyond = if is_own { Beyond::Datagrams } else { Beyond::OtherNetwork };
            return Some(beyond(process));
        }
    }
    None
}

/// Returns the sockets in the network namespace of a process that are at a port, or listen at an
/// abstract name; in its own one, those for datagrams.
fn listeners(pid: i32, endpoint: &Endpoint, is_own: bool) -> HashSet<u64> {
    let read =
        |list: &str| fs::read_to_string(format!("/proc/{pid}/net/{list}")).unwrap_or_default();
    match endpoint {
        Endpoint::Tcp(tcp) => {
            let (lists, state) =
                if is_own { (["udp", "udp6"], BOUND) } else { (["tcp", "tcp6"], LISTENS) };
            let at_port = |line: &str| at_port(line, tcp.port, state);
            lists
                .iter()
                .flat_map(|it| read(it).lines().filter_map(at_port).collect::<Vec<_>>())
                .collect()
        }
        Endpoint::Unix(UnixAddress::Abstract(name)) if !is_own => {
            read("unix").lines().filter_map(|line| at_name(line, name)).collect()
        }
        _ => HashSet::new(),
    }
}

/// Reads a line of `/proc/net/tcp` and the like: the number of a socket at that port, in that state.
fn at_port(line: &str, port: u16, state: &str) -> Option<u64> {
    let mut fields = line.split_whitespace().skip(1);
    let (_, its_port) = fields.next()?.rsplit_once(':')?;
    let is_it = u16::from_str_radix(its_port, 16).ok()? == port && fields.nth(1)? == state;
    fields.nth(5)?.parse().ok().filter(|_| is_it)
}

/// Reads a line of `/proc/net/unix`: the number of a socket that listens at that abstract name.
fn at_name(line: &str, name: &str) -> Option<u64> {
    let mut fields = line.split_whitespace();
    let is_listening = fields.nth(3)? == "00010000";
    let inode = fields.nth(2)?.parse().ok()?;
    let its_name = fields.next()?.strip_prefix('@')?;
    (is_listening && its_name == name).then_some(inode)
}

/// The states of a TCP socket that listens, and of a UDP socket that is bound.
const LISTENS: &str = "0A";
const BOUND: &str = "07";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lists_are_read() {
        let tcp = "   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 \
                   0 4711 1 0000000000000000 100 0 0 10 0";
        assert_eq!(at_port(tcp, 8000, LISTENS), Some(4711));
        assert_eq!(at_port(tcp, 8001, LISTENS), None);
        assert_eq!(at_port(tcp, 8000, BOUND), None);
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  \
                    timeout inode";
        assert_eq!(at_port(head, 8000, LISTENS), None);
        let unix = "0000000000000000: 00000002 00000000 00010000 0001 01 4712 @feed";
        assert_eq!(at_name(unix, "feed"), Some(4712));
        assert_eq!(at_name(unix, "fee"), None);
        assert_eq!(
            at_name("0000000000000000: 00000003 00000000 00000000 0001 03 4713", "feed"),
            None
        );
    }
}
