//! The endpoints behind a multiaddr `/dnsaddr/…`, which DNS has as texts.
//!
//! A text `dnsaddr=/ip4/…/tcp/…` of `_dnsaddr.feed.callsign` is an endpoint of
//! `/dnsaddr/feed.callsign`; it may itself begin with `/dnsaddr/`, and then leads on.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, SocketAddr},
};

use anyhow::anyhow;
use endpoints::{Endpoint, Quoted};
use gateway::dns::{TextsError, texts_of};

use crate::failure::{Exit, Failure};

/// The endpoints of a domain name, and what else its texts say.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) endpoints: Vec<Endpoint>,
    /// What is not an endpoint here: each text with the reason.
    pub(crate) left_out: Vec<(String, String)>,
}

/// Returns the domain name and the rest of `/dnsaddr/…`; `None` if it is another text.
pub(crate) fn parts(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix("/dnsaddr/")?;
    let (domain, suffix) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    Some((domain, suffix.trim_end_matches('/')))
}

/// Asks a DNS server for the endpoints of `/dnsaddr/…`: the given one, or those of the system.
pub(crate) async fn resolve(text: &str, server: Option<&str>) -> Result<Found, Failure> {
    if parts(text).is_some_and(|(domain, _)| domain.is_empty()) {
        let error = anyhow!("{} names no domain", Quoted(text));
        return Err(Failure::usage(error).hint("write it behind: `/dnsaddr/feed.callsign`"));
    }
    let servers = match server {
        Some(text) => vec![read_server(text)?],
        None => servers_of_system(),
    };
    if servers.is_empty() {
        let error = anyhow!("{RESOLV_CONF} names no DNS server");
        return Err(Failure::usage(error).hint("name one: `--dns 127.0.0.1:5300`"));
    }
    let mut found = Found::default();
    let mut asked = BTreeSet::new();
    let mut due = vec![(text.to_owned(), 0)];
    while let Some((text, depth)) = due.pop() {
        let Some((domain, suffix)) = parts(&text) else { continue };
        if !asked.insert(domain.to_ascii_lowercase()) {
            found
                .left_out
                .push((text, "it leads back to a name that was asked already".to_owned()));
            continue;
        }
        if depth > DEPTH_MAX || asked.len() > QUESTIONS_MAX {
            let reason = format!(
                "it leads on too often: at most {DEPTH_MAX} times, to {QUESTIONS_MAX} names"
            );
            found.left_out.push((text, reason));
            continue;
        }
        let texts = match ask(&servers, domain).await {
            Ok(texts) => texts,
            // What another name says stays true.
            Err(error) if depth > 0 => {
                found.left_out.push((text, error.to_string()));
                continue;
            }
            Err(error) => return Err(failed(domain, &servers, error)),
        };
        for text in texts {
            let Some(address) = text.strip_prefix("dnsaddr=") else {
                found.left_out.push((text, "it does not begin with `dnsaddr=`".to_owned()));
                continue;
            };
            if !address.ends_with(suffix) {
                found.left_out.push((text, format!("it does not end with `{suffix}`")));
            } else if parts(address).is_some() {
                due.push((address.to_owned(), depth + 1));
            } else if found.endpoints.len() == ENDPOINTS_MAX {
                found.left_out.push((text, format!("there are {ENDPOINTS_MAX} already")));
            } else {
                match address.parse::<Endpoint>() {
                    Ok(endpoint) if found.endpoints.contains(&endpoint) => {}
                    Ok(endpoint) => found.endpoints.push(endpoint),
                    Err(error) => found.left_out.push((text, error.to_string())),
                }
            }
            if found.left_out.len() > ENDPOINTS_MAX {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

/// Asks the servers, one after another, until one answers.
async fn ask(servers: &[SocketAddr], domain: &str) -> Result<Vec<String>, TextsError> {
    let mut failure = TextsError::Silent;
    for server in servers {
        match texts_of(*server, &format!("_dnsaddr.{domain}")).await {
            Err(error @ (TextsError::Silent | TextsError::Io(_) | TextsError::Refused(_))) => {
                failure = error;
            }
            certain => return certain,
        }
    }
    Err(failure)
}

fn failed(domain: &str, servers: &[SocketAddr], error: TextsError) -> Failure {
    let asked: Vec<_> = servers.iter().map(ToString::to_string).collect();
    let asked = asked.join(", ");
    match error {
        TextsError::NoDomainName => {
            Failure::usage(error).context(format!("cannot ask for {}", Quoted(domain)))
        }
        TextsError::NoSuchName => {
            Failure::not_found(anyhow!("DNS has no name `_dnsaddr.{domain}` (asked: {asked})"))
                .hint("ask the registrar's own server, if the system's does not ask it: `--dns`")
        }
        error => Failure { exit: Exit::Unreachable, ..Failure::usage(error) }
            .context(format!("DNS does not say what `_dnsaddr.{domain}` is (asked: {asked})"))
            .hint("ask another DNS server: `--dns ADDRESS`"),
    }
}

/// Reads a server's address; without a port it is DNS's own.
fn read_server(text: &str) -> Result<SocketAddr, Failure> {
    let address = text.parse().ok();
    let with_port = || text.parse::<IpAddr>().ok().map(|it| SocketAddr::new(it, DNS_PORT));
    address.or_else(with_port).ok_or_else(|| {
        Failure::usage(anyhow!("{} is no address of a DNS server", Quoted(text)))
            .hint("write an IP address, and a port unless it is 53: `--dns 127.0.0.1:5300`")
    })
}

/// Returns the DNS servers that the system asks.
fn servers_of_system() -> Vec<SocketAddr> {
    servers_in(&fs::read_to_string(RESOLV_CONF).unwrap_or_default())
}

fn servers_in(text: &str) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|it| *it == "nameserver").and(words.next())?;
        Some(SocketAddr::new(address.parse().ok()?, DNS_PORT))
    };
    text.lines().filter_map(server).take(SERVERS_MAX).collect()
}

const RESOLV_CONF: &str = "/etc/resolv.conf";

const DNS_PORT: u16 = 53;

/// As many as the system's own resolver asks.
const SERVERS_MAX: usize = 3;

/// How often a text may lead on to another name. Nobody is known to use more than two.
const DEPTH_MAX: usize = 8;

/// The names that are asked for: each may have many texts that lead on.
const QUESTIONS_MAX: usize = 32;

/// The endpoints that are taken: more than one actor has.
const ENDPOINTS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read() {
        assert_eq!(parts("/dnsaddr/feed.callsign"), Some(("feed.callsign", "")));
        assert_eq!(parts("/dnsaddr/x.y/p2p/Qm/"), Some(("x.y", "/p2p/Qm")));
        assert_eq!(parts("/dns/x.y/tcp/7"), None);
        assert_eq!(read_server("127.0.0.1:5300").unwrap().port(), 5300);
        assert_eq!(read_server("::1").unwrap().port(), 53);
        assert!(read_server("resolver.example").is_err());
        let conf = "# x\nsearch example\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\n nameserver ::1 # y\n";
        let servers: Vec<_> = servers_in(conf).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.1:53", "[::1]:53"]);
    }
}
