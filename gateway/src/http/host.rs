//! Which requests are meant for this server: what a web page makes a browser send is refused.
//!
//! A page of another site can let its own name stand for the loopback (DNS rebinding), and read what
//! a server there answers. Such a request has that name as its host.

use std::net::IpAddr;

use axum::http::{
    HeaderMap, Uri, Version,
    header::{HOST, ORIGIN},
    uri::Authority,
};

use super::problem::Problem;

/// Checks for whom a request is meant, and from which page it comes.
pub(super) fn check(
    uri: &Uri,
    version: Version,
    headers: &HeaderMap,
    is_port: bool,
) -> Result<(), Problem> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => {
            let host = host.to_str().ok().and_then(|it| it.parse::<Authority>().ok());
            Some(host.ok_or_else(|| Problem::invalid("`Host` is no host and port"))?)
        }
        (None, _) if version == Version::HTTP_10 && !is_port => None,
        (None, _) => return Err(Problem::invalid("`Host` is missing")),
        (Some(_), Some(_)) => return Err(Problem::invalid("there is more than one `Host`")),
    };
    let names = [uri.authority(), host.as_ref()];
    if let Some(other) = names.into_iter().flatten().find(|it| is_port && !is_own(it.host())) {
        let detail = format!("`{other}` is not this server: write `localhost` or its address");
        return Err(Problem::denied(detail));
    }
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let is_same = host.is_some_and(|it| origin.strip_prefix("http://") == Some(it.as_str()));
    if is_same {
        Ok(())
    } else {
        Err(Problem::denied("pages of other sites may not ask this server"))
    }
}

/// Tells whether a host is this one, whatever anybody resolves.
fn is_own(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|it| it.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_hosts_and_other_pages_are_refused() {
        let check = |target: &str, lines: &[(&str, &str)], expected: [Option<u16>; 2]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(
                    name.parse::<axum::http::HeaderName>().unwrap(),
                    value.parse().unwrap(),
                );
            }
            let uri = target.parse().unwrap();
            let said = [true, false].map(|is_port| {
                check(&uri, Version::HTTP_11, &headers, is_port).err().map(|it| it.status())
            });
            assert_eq!(said, expected, "{target} {lines:?}");
        };
        let fine = [None; 2];
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.8.8.8", "[::1]:80"] {
            check("/", &[("host", host)], fine);
        }
        for host in ["evil.example", "localhost.evil.example:80", "10.0.0.7", "[::2]", "0.0.0.0"] {
            check("/", &[("host", host)], [Some(403), None]);
        }
        check("http://evil.example/", &[("host", "localhost")], [Some(403), None]);
        check("/", &[("host", "")], [Some(400); 2]);
        check("/", &[("host", "a b")], [Some(400); 2]);
        check("/", &[], [Some(400); 2]);
        check("/", &[("host", "localhost"), ("host", "localhost")], [Some(400); 2]);
        let host = ("host", "localhost:8080");
        check("/", &[host, ("origin", "http://localhost:8080")], fine);
        for origin in ["http://evil.example", "https://localhost:8080", "http://localhost", "null"]
        {
            check("/", &[host, ("origin", origin)], [Some(403); 2]);
        }
    }
}
