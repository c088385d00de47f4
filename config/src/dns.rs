//! The DNS server of a registrar: converts its settings as written into settings as meant.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use endpoints::{Endpoint, Host, Quoted};

use crate::{
    claims::Claim,
    diagnostic::{Diagnostic, Place},
    names,
    text::Text,
    written::WrittenDns,
};

/// The DNS server of a registrar.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DnsSettings {
    /// The addresses at which it answers, over UDP and TCP; if empty, there is none.
    pub listen: Vec<SocketAddr>,
    /// The domain in which actors are found, in small letters and without a dot at its end.
    pub domain: String,
    /// The place of `listen`, file and line.
    pub place: Option<String>,
}

impl Default for DnsSettings {
    fn default() -> Self {
        Self { listen: Vec::new(), domain: DOMAIN.to_owned(), place: None }
    }
}

/// Converts the table, and notes its claims: a question over TCP needs the port as an actor does.
pub(crate) fn dns(
    written: &WrittenDns,
    claims: &mut Vec<Claim<'_>>,
    diagnostics: &mut Vec<Diagnostic>,
) -> DnsSettings {
    let mut dns = DnsSettings::default();
    for text in written.listen.iter().flatten() {
        match address(&text.value) {
            Ok(address) => {
                let endpoint = Endpoint::from(address);
                claims.push(Claim { table: "dns", actor: "[dns]", endpoint, place: text.inside() });
                if !dns.listen.contains(&address) {
                    dns.listen.push(address);
                }
            }
            Err((message, help)) => {
                diagnostics.push(Diagnostic::error(message, text.inside()).help(help));
            }
        }
    }
    if let Some(first) = written.listen.as_ref().and_then(|it| it.first()) {
        dns.place = Some(names::place(&first.place));
    }
    if let Some(text) = &written.domain {
        match domain(&text.value) {
            Ok(domain) => {
                diagnostics.extend(doubt(&domain, text));
                dns.domain = domain;
            }
            Err(message) => {
                let help =
                    format!("a domain is labels of letters, digits and `-`, such as `{DOMAIN}`");
                diagnostics.push(Diagnostic::error(message, text.inside()).help(help));
            }
        }
        if written.listen.is_none() {
            let message = "`domain` without `listen`: nothing answers for it";
            let help = format!("add listen = [\"{EXAMPLE}\"]");
            diagnostics.push(Diagnostic::warning(message, text.inside()).help(help));
        }
    }
    dns
}

/// Reads an address and a port. Otherwise tells what is wrong, and what is right.
fn address(text: &str) -> Result<SocketAddr, (String, String)> {
    let quoted = Quoted(text);
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() => {
            let message = format!("{quoted} is every address of this host");
            let help = format!(
                "name each address, as in `{}`: an answer comes from the address that was asked",
                SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
            );
            Err((message, help))
        }
        Ok(address) if is_of_many(address.ip()) => {
            let message = format!("{quoted} is no address of one host");
            Err((message, format!("name an address of this host, as in `{EXAMPLE}`")))
        }
        Ok(address) => Ok(address),
        Err(_) => {
            let meant = meant(text).unwrap_or_else(|| EXAMPLE.to_owned());
            let message = format!("{quoted} is not an IP address and a port");
            Err((message, format!("write `{meant}`")))
        }
    }
}

/// Tells whether an address is of several hosts, or of all.
fn is_of_many(ip: IpAddr) -> bool {
    ip.is_multicast() || ip == IpAddr::from(Ipv4Addr::BROADCAST)
}

/// Returns the address that was probably meant.
fn meant(text: &str) -> Option<String> {
    let with = |ip: IpAddr, port| SocketAddr::new(ip, port).to_string();
    let here = IpAddr::from(Ipv4Addr::LOCALHOST);
    let text = text.trim();
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    // Without its brackets, an IPv6 address and a port read as a longer address.
    if let (Ok(ip), true) = (host.parse::<Ipv6Addr>(), port.len() > 3 || port == "53")
        && let Ok(port) = port.parse()
    {
        return Some(with(ip.into(), port));
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Some(with(if ip.is_unspecified() { here } else { ip }, PORT));
    }
    if let Ok(Endpoint::Tcp(tcp)) = text.replace("/udp/", "/tcp/").parse::<Endpoint>() {
        let ip = match &tcp.host {
            Host::Dns(..) => here,
            host => host.ip()?,
        };
        return Some(with(ip, tcp.port));
    }
    let port = port.trim().parse().ok()?;
    match host.trim() {
        "" | "localhost" | "*" => Some(with(here, port)),
        host => Some(with(host.parse().ok()?, port)),
    }
}

/// Reads a domain. Otherwise tells what is wrong.
fn domain(text: &str) -> Result<String, String> {
    let quoted = Quoted(text);
    let domain = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if domain.is_empty() {
        return Err("actors cannot have the whole of DNS as their domain".to_owned());
    }
    if domain.len() > DOMAIN_BYTES_MAX {
        return Err(format!("{quoted} leaves no room for names: {DOMAIN_BYTES_MAX} bytes at most"));
    }
    let is_label = |it: &str| {
        (1..=63).contains(&it.len())
            && it.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-')
            && !it.starts_with('-')
            && !it.ends_with('-')
    };
    if domain.split('.').all(is_label) {
        Ok(domain)
    } else {
        Err(format!("{quoted} is not a domain"))
    }
}

/// Warns of domains that programs do not ask a server for.
fn doubt(domain: &str, text: &Text) -> Option<Diagnostic> {
    let last = domain.rsplit('.').next()?;
    let whose = match last {
        "local" => "multicast DNS (RFC 6762)",
        "localhost" => "the loopback (RFC 6761)",
        "onion" => "Tor (RFC 7686)",
        _ => return None,
    };
    let message = format!("`.{last}` belongs to {whose}, and many programs ask no server for it");
    let place: Place = text.inside();
    Some(Diagnostic::warning(message, place).help(format!("take another, such as `{DOMAIN}`")))
}

/// The usual domain.
const DOMAIN: &str = "callsign";

/// The port in examples: no other program has it by default, and it takes no root.
const PORT: u16 = 5300;
const EXAMPLE: &str = "127.0.0.1:5300";

/// A name of 255 bytes less this has room for most actors' names.
const DOMAIN_BYTES_MAX: usize = 100;
