//! Suggestions keep the host, the port and the path that were written, and add no others.

#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

use std::net::IpAddr;

use endpoints::{Endpoint, Host, TcpAddress, UnixAddress};

const SCHEMES: &[&str] = &[
    "tcp",
    "tcp4",
    "tcp6",
    "unix",
    "http",
    "https",
    "http+unix",
    "redis",
    "rediss",
    "redis+socket",
    "fd",
    "ipc",
    "inproc",
    "udp",
    "ws",
    "wss",
    "tls",
    "tls+tcp",
    "tcp+tls",
    "grpc",
    "grpcs",
    "postgresql",
    "postgresql+psycopg",
    "amqp",
    "mqtt",
    "nats",
    "vsock",
    "npipe",
    "systemd",
    "sd",
    "dns",
    "ipv4",
    "ipv6",
    "unix-abstract",
    "abstract",
    "file",
    "stdio",
    "quic",
    "foo",
    "ssh",
    "tcp-listen",
    "TCP4-LISTEN",
    "UNIX-CONNECT",
    "unixgram",
    "xds",
    "memory",
    "zmq+tcp",
    "local",
];

const HOSTS: &[&str] = &[
    "",
    "*",
    "10.0.0.1",
    "0.0.0.0",
    "127.0.0.1",
    "db",
    "db.example.com",
    "localhost",
    "[::1]",
    "[::]",
    "[2001:db8::7]",
    "[fe80::1%eth0]",
    "[fe80::1%25eth0]",
    "run",
    "7",
];

const PORTS: &[&str] = &["", ":80", ":0", ":http", ":70000"];

const ENDS: &[&str] =
    &["", "/", "/0", "/run/x.sock", "?a=1", "/a%20b?x=/run/y.sock", "#x", ",fork"];

const PATHS: &[&str] = &[
    "/run/x.sock",
    "run/x.sock",
    "%2Frun%2Fx.sock",
    "@x",
    "/run/x.sock?db=1",
    "/run/x.sock:/v1",
    "/run/a%20b.sock",
    "user:word@/run/x.sock",
    "./x.sock",
    "/tmp/feed",
    "localhost/run/x.sock",
];

const OF_NO_STREAM: &[&str] = &[
    "fd",
    "inproc",
    "udp",
    "vsock",
    "npipe",
    "systemd",
    "sd",
    "stdio",
    "quic",
    "unixgram",
    "xds",
    "memory",
    "tcp-listen",
    "tcp4-listen",
];

#[test]
fn a_url_keeps_its_host_and_its_port() {
    let mut kept = Kept::default();
    for scheme in SCHEMES {
        for (host, port, end) in each(HOSTS, PORTS, ENDS) {
            for between in ["://", ":", ":/", ":///", "@"] {
                let text = format!("{scheme}{between}{host}{port}{end}");
                kept.look(&text, scheme, host, port);
            }
        }
    }
    kept.all(2000);
}

#[test]
fn a_url_keeps_its_path() {
    let mut kept = Kept::default();
    for scheme in SCHEMES {
        for path in PATHS {
            for between in ["://", ":", "@"] {
                let text = format!("{scheme}{between}{path}");
                kept.look(&text, scheme, "", "");
            }
        }
    }
    kept.all(100);
}

#[test]
fn a_place_without_a_scheme_is_kept() {
    let mut kept = Kept::default();
    let hosts: Vec<_> = HOSTS.iter().copied().filter(|it| *it != "7").collect();
    for (host, port, end) in each(&hosts, PORTS, ENDS) {
        for text in [
            format!("{host}{port}{end}"),
            format!("/{host}{port}{end}"),
            format!("/ip4/{host}{port}{end}"),
            format!("/dns/{host}/tcp/{port}{end}"),
            format!("/tcp/{host}{port}{end}"),
            format!("{}:{host}{end}", port.replace(':', "")),
            format!("{host} {}{end}", port.replace(':', "")),
        ] {
            kept.look(&text, "", host, port);
        }
    }
    kept.all(200);
}

/// A suggestion, and the parts of it that were not written.
#[derive(Default)]
struct Kept {
    suggested: usize,
    faults: Vec<String>,
}

impl Kept {
    /// Checks a text's suggestions, if there are any: they parse, and all their parts were written.
    fn look(&mut self, text: &str, scheme: &str, host: &str, port: &str) {
        let Err(error) = text.parse::<Endpoint>() else { return };
        // `fd::80` is an address.
        if text.parse::<IpAddr>().is_ok() {
            return;
        }
        let Some(suggestion) = error.suggestion() else { return };
        self.suggested += 1;
        let scheme = scheme.to_ascii_lowercase();
        // Without slashes this may be a host and its port: `grpc:80`.
        let has_scheme = text.contains("://");
        let is_right = match &suggestion {
            Endpoint::Tcp(tcp) => {
                !(has_scheme && OF_NO_STREAM.contains(&&*scheme))
                    && keeps_host(text, &scheme, tcp, host)
                    && keeps_port(text, tcp, port)
                    && (!has_scheme || tcp.tls == OVER_TLS.contains(&&*scheme))
            }
            Endpoint::Unix(UnixAddress::Path(path)) => {
                let decoded = text.replace("%2F", "/").replace("%20", " ").replace("%25", "%");
                let bare = path.as_str().trim_start_matches('/');
                let is_written = text.contains(bare) || decoded.contains(bare);
                // Text that begins at the root is a path, whatever it contains.
                let begins = &text[scheme.len()..].trim_start_matches([':', '@']);
                let is_path = begins.starts_with("///")
                    || begins.starts_with('/') && !begins.starts_with("//")
                    || ["", "run", "localhost"].contains(&host) && port.is_empty();
                !OF_NO_STREAM.contains(&&*scheme) && is_written && is_path
            }
            Endpoint::Unix(UnixAddress::Abstract(_)) => {
                let name = suggestion.to_string();
                text.contains(&name.trim_start_matches("/unix/@").replace("%25", "%"))
            }
            Endpoint::Memory(_) => false,
        };
        let is_read = suggestion.to_string().parse().as_ref() == Ok(&suggestion);
        if !is_right || !is_read {
            self.faults.push(format!("{text} became {suggestion}"));
        }
    }

    #[track_caller]
    fn all(&self, suggested_min: usize) {
        assert!(self.faults.is_empty(), "{}: {}", self.faults.len(), self.faults.join("\n"));
        assert!(self.suggested >= suggested_min, "{} are suggested", self.suggested);
    }
}

fn keeps_host(text: &str, scheme: &str, tcp: &TcpAddress, host: &str) -> bool {
    let host = host.trim_matches(['[', ']']).replace("%25", "%");
    match &tcp.host {
        Host::Dns(name, _) => {
            name.to_string() == host || text.starts_with(&format!("{name}:{host}"))
        }
        Host::Ip6Zone { zone, ip } => host == format!("{ip}%{zone}"),
        it => {
            let ip = it.ip().unwrap();
            let is_of_family = match scheme {
                "tcp4" | "ipv4" => ip.is_ipv4(),
                "tcp6" | "ipv6" => ip.is_ipv6(),
                _ => true,
            };
            let is_any = host == "*" && ip.is_unspecified();
            // A port alone means one of this host.
            let is_here = (host.is_empty() || host.parse::<u16>().is_ok()) && ip.is_loopback();
            is_of_family && (is_any || is_here || host.parse() == Ok(ip))
        }
    }
}

fn keeps_port(text: &str, tcp: &TcpAddress, port: &str) -> bool {
    match port.trim_start_matches(':').parse::<u16>() {
        Err(_) if port == ":http" => tcp.port == 80,
        Ok(port) => tcp.port == port,
        // An example, or the usual port of the service, where none was written.
        Err(_) if port.is_empty() => {
            USUAL_PORTS.contains(&tcp.port) || text.contains(&tcp.port.to_string())
        }
        Err(_) => false,
    }
}

const OVER_TLS: &[&str] = &["https", "wss", "rediss", "tls", "tls+tcp", "tcp+tls", "grpcs"];

const USUAL_PORTS: &[u16] = &[5555, 80, 443, 6379, 5432, 5672, 1883, 4222, 22];

fn each<'a>(
    hosts: &'a [&'a str],
    ports: &'a [&'a str],
    ends: &'a [&'a str],
) -> impl Iterator<Item = (&'a str, &'a str, &'a str)> {
    let with_ports = hosts.iter().flat_map(|host| ports.iter().map(move |port| (host, port)));
    with_ports.flat_map(|(host, port)| ends.iter().map(move |end| (*host, *port, *end)))
}
