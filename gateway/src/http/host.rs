//! Which requests are meant for this server: what a web page makes a browser send is refused.
//!
//! A page of another site can let its own name stand for the loopback (DNS rebinding), and read what
//! a server there answers. Such a request has that name as its host. Over TLS the certificate of this
//! server is not one for that name, so that the browser sends nothing, and the host may be any.

use std::net::IpAddr;

use axum::http::{
    HeaderMap, Uri, Version,
    header::{HOST, ORIGIN},
    uri::Authority,
};

use super::{problem::Problem, socket::Way};

/// Checks for whom a request is meant, and from which page it comes.
pub(super) fn check(
    uri: &Uri,
    version: Version,
    headers: &HeaderMap,
    way: Way,
) -> Result<(), Problem> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => {
            let host = host.to_str().ok().and_then(|it| it.parse::<Authority>().ok());
            Some(host.ok_or_else(|| Problem::invalid("`Host` is no host and port"))?)
        }
        (None, _) if version == Version::HTTP_10 && way == Way::Unix => None,
        (None, _) => return Err(Problem::invalid("`Host` is missing")),
        (Some(_), Some(_)) => return Err(Problem::invalid("there is more than one `Host`")),
    };
    let names = [uri.authority(), host.as_ref()];
    let is_other = |it: &&Authority| way == Way::Port && !is_own(it.host());
    if let Some(other) = names.into_iter().flatten().find(is_other) {
        let detail = format!("`{other}` is not this server: write `localhost` or its address");
        return Err(Problem::denied(detail));
    }
    let said = |name| headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or_default();
    // A browser names no origin where a page of another site includes an image, for instance. A
    // person may follow a link.
    let is_of_others = matches!(said("sec-fetch-site"), "cross-site" | "same-site");
    if is_of_others && said("sec-fetch-mode") != "navigate" {
        return Err(Problem::denied(OTHER_PAGE));
    }
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let scheme = if way == Way::Tls { "https://" } else { "http://" };
    let is_same = host.is_some_and(|it| origin.strip_prefix(scheme) == Some(it.as_str()));
    if is_same { Ok(()) } else { Err(Problem::denied(OTHER_PAGE)) }
}

const OTHER_PAGE: &str = "pages of other sites may not ask this server";

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
        let check = |target: &str, lines: &[(&str, &str)], expected: [Option<u16>; 3]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(
                    name.parse::<axum::http::HeaderName>().unwrap(),
                    value.parse().unwrap(),
                );
            }
            let uri = target.parse().unwrap();
            let said = [Way::Port, Way::Unix, Way::Tls].map(|way| {
                check(&uri, Version::HTTP_11, &headers, way).err().map(|it| it.status())
            });
            assert_eq!(said, expected, "{target} {lines:?}");
        };
        let fine = [None; 3];
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.8.8.8", "[::1]:80"] {
            check("/", &[("host", host)], fine);
        }
        for host in ["evil.example", "localhost.evil.example:80", "10.0.0.7", "[::2]", "0.0.0.0"] {
            check("/", &[("host", host)], [Some(403), None, None]);
        }
        check("http://evil.example/", &[("host", "localhost")], [Some(403), None, None]);
        check("/", &[("host", "")], [Some(400); 3]);
        check("/", &[("host", "a b")], [Some(400); 3]);
        check("/", &[], [Some(400); 3]);
        check("/", &[("host", "localhost"), ("host", "localhost")], [Some(400); 3]);
        let host = ("host", "localhost:8080");
        check("/", &[host, ("origin", "http://localhost:8080")], [None, None, Some(403)]);
        check("/", &[host, ("origin", "https://localhost:8080")], [Some(403), Some(403), None]);
        let (site, mode) = ("sec-fetch-site", "sec-fetch-mode");
        check("/", &[host, (site, "cross-site"), (mode, "no-cors")], [Some(403); 3]);
        check("/", &[host, (site, "same-site"), (mode, "no-cors")], [Some(403); 3]);
        check("/", &[host, (site, "cross-site"), (mode, "navigate")], fine);
        check("/", &[host, (site, "same-origin"), (mode, "cors")], fine);
        check("/", &[host, (site, "none"), (mode, "navigate")], fine);
        for origin in ["http://evil.example", "https://evil.example", "http://localhost", "null"] {
            check("/", &[host, ("origin", origin)], [Some(403); 3]);
        }
    }
}
