//! Remedies for an endpoint that cannot be bound.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs, UdpSocket},
    path::Path,
    slice,
};

use endpoints::{Endpoint, Host, TcpAddress, UnixAddress, UnixPath, is_plain};
use transport::{BindError, Holder, TlsError, is_loopback_up};

use super::{quoted, tls::NO_CERTIFICATE};

/// Explains what to do about an endpoint of a list that cannot be bound.
pub(crate) fn unbound(endpoint: &Endpoint, list: &[Endpoint], error: &BindError) -> Vec<String> {
    match error {
        BindError::InUse { holder } => in_use(endpoint, list, holder.as_ref()),
        BindError::Hidden { holder } => {
            let elsewhere = "to run another, say where: `callsign registrar --listen ENDPOINT`";
            who(holder).into_iter().chain([elsewhere.to_owned()]).collect()
        }
        BindError::Tls(TlsError::NoCertificate) => vec![NO_CERTIFICATE.to_owned()],
        BindError::NotASocket { .. } => vec![match linked_to(endpoint) {
            Some(linked) => format!("it leads to `{linked}`: let it listen there, or elsewhere"),
            None => "that file stays as it is: let the registrar listen elsewhere".to_owned(),
        }],
        BindError::NoFolder { folder } if can_be_made(folder) => {
            vec![format!("make it: `mkdir -p {}`", quoted(&folder.to_string_lossy()))]
        }
        BindError::NoPermission { .. } => match endpoint {
            Endpoint::Tcp(tcp) if tcp.port < unprivileged_port_start() => {
                let higher = TcpAddress { port: tcp.port + 8000, ..tcp.clone() };
                vec![format!("a higher port needs no privilege: `{}`", Endpoint::Tcp(higher))]
            }
            _ => Vec::new(),
        },
        BindError::NotInGroup { .. } => {
            vec!["add its user to the group (of a unit: `SupplementaryGroups=`)".to_owned()]
        }
        BindError::NotOurAddress => match endpoint {
            Endpoint::Tcp(tcp) => not_ours(tcp),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// Returns what to do about an address that this machine does not have: never to listen at more
/// addresses than that.
fn not_ours(tcp: &TcpAddress) -> Vec<String> {
    let other: IpAddr = match tcp.host {
        Host::Ip4(address) if address.is_loopback() => Ipv6Addr::LOCALHOST.into(),
        Host::Ip6(address) if address.is_loopback() => Ipv4Addr::LOCALHOST.into(),
        _ => return vec!["see the addresses of this machine: `ip address`".to_owned()],
    };
    if is_loopback_up() == Some(false) {
        return vec!["bring its loopback up: `ip link set lo up`".to_owned()];
    }
    if UdpSocket::bind((other, 0)).is_err() {
        return vec!["see the addresses of its loopback: `ip address show dev lo`".to_owned()];
    }
    let host = match other {
        IpAddr::V4(address) => Host::Ip4(address),
        IpAddr::V6(address) => Host::Ip6(address),
    };
    let loopback = Endpoint::Tcp(TcpAddress { host, ..tcp.clone() });
    vec![format!("the loopback of this machine is `{loopback}`")]
}

/// Returns the endpoint that a symbolic link at the path of one leads to, also if nothing is there.
fn linked_to(endpoint: &Endpoint) -> Option<Endpoint> {
    let Endpoint::Unix(UnixAddress::Path(path)) = endpoint else { return None };
    let target = fs::read_link(path.as_path()).ok()?;
    let target = path.parts().0.join(target);
    // Only the file system knows where `..` leads.
    let folder = fs::canonicalize(target.parent()?).ok()?;
    let linked = UnixPath::new(&folder.join(target.file_name()?)).ok()?;
    Some(Endpoint::Unix(UnixAddress::Path(linked)))
}

fn in_use(endpoint: &Endpoint, list: &[Endpoint], holder: Option<&Holder>) -> Vec<String> {
    if let Some(rival) = rival_in(list, endpoint) {
        return vec![format!("it is the same place as `{rival}`: leave one of them out")];
    }
    let mut hints: Vec<_> = held(endpoint, holder).into_iter().collect();
    if let Some(place) = asked_at(endpoint) {
        let command = format!("callsign status --registrar {}", quoted(&place.to_string()));
        hints.push(format!("if it is a registrar, it serves you too: `{command}`"));
    }
    hints.push("to run another, say where: `callsign registrar --listen ENDPOINT`".to_owned());
    hints
}

/// Returns the endpoint of a list that is the same place as another one of it, however both are written.
pub(crate) fn rival_in<'a>(list: &'a [Endpoint], endpoint: &Endpoint) -> Option<&'a Endpoint> {
    let is_rival = |it: &&Endpoint| {
        **it != *endpoint && (it.conflicts_in_list_with(endpoint) || is_same_place(it, endpoint))
    };
    list.iter().find(is_rival)
}

/// Tells whether two paths lead to one file, or two hosts to one address.
fn is_same_place(one: &Endpoint, other: &Endpoint) -> bool {
    match (one, other) {
        (Endpoint::Unix(UnixAddress::Path(one)), Endpoint::Unix(UnixAddress::Path(other))) => {
            let real = |path: &UnixPath| {
                let path = path.as_path();
                let folder = fs::canonicalize(path.parent()?).ok()?;
                Some(folder.join(path.file_name()?))
            };
            real(one).is_some_and(|it| Some(it) == real(other))
        }
        (Endpoint::Tcp(one), Endpoint::Tcp(other)) if one.port == other.port => {
            let addresses = |it: &TcpAddress| match &it.host {
                Host::Dns(name, _) => {
                    let found = (name.as_str(), it.port).to_socket_addrs();
                    found.map(|all| all.map(|it| it.ip().to_canonical()).collect())
                }
                host => Ok(host.ip().into_iter().collect::<Vec<_>>()),
            };
            let (Ok(one), Ok(other)) = (addresses(one), addresses(other)) else { return false };
            one.iter().any(|it| other.contains(it))
        }
        _ => false,
    }
}

/// Says who has an endpoint, or how to find out.
pub(crate) fn held(endpoint: &Endpoint, holder: Option<&Holder>) -> Option<String> {
    match (holder, endpoint) {
        (Some(holder), _) => who(holder),
        (None, Endpoint::Tcp(it)) => {
            Some(format!("see who has it: `ss -ltnp 'sport = :{}'`", it.port))
        }
        (None, _) => None,
    }
}

/// Returns the address at which a listener at an endpoint is asked from here.
fn asked_at(endpoint: &Endpoint) -> Option<Endpoint> {
    config::registrars(&[], None, slice::from_ref(endpoint), Path::new("/")).ok()?.pop()
}

/// Describes the holder of an endpoint, if visible.
fn who(holder: &Holder) -> Option<String> {
    let pid = holder.pid?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = command.split(|it| *it == 0).filter(|it| !it.is_empty());
    let words: Vec<_> = words.map(String::from_utf8_lossy).collect();
    let shown = shortened(&words.join(" "));
    (!shown.is_empty()).then(|| format!("process {pid} is `{shown}`"))
}

/// Cuts a command to what fits a line, and shows that it is cut.
fn shortened(command: &str) -> String {
    const CHARACTERS_MAX: usize = 60;

    let mut plain = command.chars().filter(|it| is_plain(*it) && *it != '`');
    let mut shown: String = plain.by_ref().take(CHARACTERS_MAX).collect();
    if plain.next().is_some() {
        shown.push('…');
    }
    shown
}

/// Tells whether a folder is missing only because nobody has made it.
fn can_be_made(folder: &Path) -> bool {
    let there = folder.ancestors().find_map(|it| match fs::symlink_metadata(it) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        status => Some((it, status)),
    });
    // A dangling link exists, and no folder can be made in its place.
    there.is_some_and(|(path, status)| status.is_ok() && path.is_dir())
}

/// The lowest port that everybody may listen at.
fn unprivileged_port_start() -> u16 {
    const USUAL: u16 = 1024;

    let file = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
    let text = fs::read_to_string(file).unwrap_or_default();
    text.trim().parse().unwrap_or(USUAL).min(u16::MAX - 8000)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{
        super::tests::{check_commands, endpoint},
        *,
    };

    #[test]
    fn a_place_that_is_taken() {
        let check = |place: &str, list: &[&str], expected: &[&str]| {
            let list: Vec<_> = list.iter().map(|it| endpoint(it)).collect();
            let error = BindError::InUse { holder: None };
            let hints = unbound(&endpoint(place), &list, &error);
            hints.iter().for_each(|it| check_commands(it));
            assert_eq!(hints, expected, "{place}");
        };
        let another = "to run another, say where: `callsign registrar --listen ENDPOINT`";
        let serves = |place: &str| {
            format!(
                "if it is a registrar, it serves you too: `callsign status --registrar {place}`"
            )
        };
        check("/unix/@r", &["/unix/@r"], &[&serves("/unix/@r"), another]);
        check("/unix/run/a$b", &["/unix/run/a$b"], &[&serves("'/unix/run/a$b'"), another]);
        let see = "see who has it: `ss -ltnp 'sport = :80'`";
        check("/ip4/0.0.0.0/tcp/80", &[], &[see, &serves("/ip4/127.0.0.1/tcp/80"), another]);
        check("/ip6/::/tcp/80", &[], &[see, &serves("/ip6/::1/tcp/80"), another]);
        check(
            "/ip4/127.0.0.1/tcp/80",
            &["/ip4/0.0.0.0/tcp/80", "/ip4/127.0.0.1/tcp/80"],
            &["it is the same place as `/ip4/0.0.0.0/tcp/80`: leave one of them out"],
        );
        check(
            "/dns/localhost/tcp/80",
            &["/ip4/127.0.0.1/tcp/80", "/dns/localhost/tcp/80"],
            &["it is the same place as `/ip4/127.0.0.1/tcp/80`: leave one of them out"],
        );
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        std::os::unix::fs::symlink(".", folder.join("link")).unwrap();
        let at = |path: &str| format!("/unix{}/{path}", folder.display());
        let same = format!("it is the same place as `{}`: leave one of them out", at("r.sock"));
        check(&at("link/r.sock"), &[&at("r.sock"), &at("link/r.sock")], &[&same]);
    }

    #[test]
    fn nobody_is_advised_to_listen_at_more_addresses() {
        let error = BindError::NotOurAddress;
        let hints = |place: &str| unbound(&endpoint(place), &[], &error).join(" ");
        for place in ["/ip4/127.0.0.1/tcp/1616", "/ip6/::1/tcp/1616", "/ip4/127.8.8.8/tcp/80"] {
            let hints = hints(place);
            assert!(hints.contains("loopback"), "{hints}");
            assert!(!hints.contains("0.0.0.0") && !hints.contains("/::/"), "{hints}");
        }
        for place in ["/ip4/192.0.2.9/tcp/1616", "/ip6/2001:db8::9/tcp/80"] {
            assert_eq!(hints(place), "see the addresses of this machine: `ip address`");
        }
    }

    #[test]
    fn nobody_is_advised_to_end_a_process() {
        let own = Holder { pid: Some(std::process::id() as i32), uid: 0, since: None };
        let init = Holder { pid: Some(1), uid: 0, since: None };
        for holder in [own, init] {
            let error = BindError::InUse { holder: Some(holder) };
            for hint in unbound(&endpoint("/unix/@r"), &[], &error) {
                assert!(!hint.contains("kill"), "{hint}");
                check_commands(&hint);
            }
        }
    }

    #[test]
    fn a_place_that_cannot_be_had() {
        let check = |place: &str, error: BindError, expected: &[&str]| {
            let hints = unbound(&endpoint(place), &[], &error);
            hints.iter().for_each(|it| check_commands(it));
            assert_eq!(hints, expected, "{place}");
        };
        let no_folder = |folder: PathBuf| BindError::NoFolder { folder };
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("a b");
        let mkdir = format!("make it: `mkdir -p '{}'`", folder.display());
        check("/unix/x", no_folder(folder.clone()), &[&mkdir]);
        fs::write(&folder, "").unwrap();
        check("/unix/x", no_folder(folder.clone()), &[]);
        check("/unix/x", no_folder(folder.join("c")), &[]);
        fs::remove_file(&folder).unwrap();
        std::os::unix::fs::symlink("/nowhere/at/all", &folder).unwrap();
        check("/unix/x", no_folder(folder.clone()), &[]);
        check("/unix/x", no_folder(folder.join("c")), &[]);

        let see = "see the addresses of this machine: `ip address`";
        check("/ip4/192.0.2.1/tcp/7001", BindError::NotOurAddress, &[see]);
        check("/ip6/2001:db8::1/tcp/7002", BindError::NotOurAddress, &[see]);
        check("/ip6zone/eth0/ip6/fe80::7/tcp/7002", BindError::NotOurAddress, &[see]);
        let elsewhere = "that file stays as it is: let the registrar listen elsewhere";
        check("/unix/etc/passwd", BindError::NotASocket { found: "a file" }, &[elsewhere]);

        // A link is not followed, but its target may be named, whether or not anything is there.
        let base = base.path().canonicalize().unwrap();
        let place = |name: &str| format!("/unix{}", base.join(name).display());
        for (name, target, meant) in [
            ("absolute", base.join("there.sock"), "there.sock"),
            ("relative", PathBuf::from("beside.sock"), "beside.sock"),
            ("above", PathBuf::from("./../r.sock"), "../r.sock"),
        ] {
            std::os::unix::fs::symlink(target, base.join(name)).unwrap();
            let meant = base.join(meant);
            let folder = meant.parent().unwrap().canonicalize().unwrap();
            let meant = folder.join(meant.file_name().unwrap());
            let leads = format!(
                "it leads to `/unix{}`: let it listen there, or elsewhere",
                meant.display()
            );
            let error = BindError::NotASocket { found: "a symbolic link" };
            check(&place(name), error, &[&leads]);
        }
        std::os::unix::fs::symlink("/nowhere/at/all", base.join("lost")).unwrap();
        check(&place("lost"), BindError::NotASocket { found: "a symbolic link" }, &[elsewhere]);
    }

    #[test]
    fn cut_text_shows_that_it_was_cut() {
        let check = |command: &str, expected: &str| assert_eq!(shortened(command), expected);
        check("callsign registrar", "callsign registrar");
        check(&"x".repeat(60), &"x".repeat(60));
        check(&"ö".repeat(61), &format!("{}…", "ö".repeat(60)));
        check("a\n`b`", "ab");
    }
}
