//! Requests by name over TLS, with the certificate of this process, which all of a process shares:
//! so this test has a program of its own.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]
#![allow(dead_code, reason = "the support is that of the other tests too")]

#[path = "all/support.rs"]
mod support;

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use endpoints::{SpiffePath, TrustDomain};
use keys::{Authority, KeyKind};
use transport::{TlsFiles, set_tls};

use crate::support::{Registrar, Server, fetch, http};

#[tokio::test]
async fn a_request_by_name_goes_over_tls_where_the_server_speaks_it() {
    let folder = tempfile::tempdir().unwrap();
    set_tls(files(folder.path())).unwrap();
    let registrar = Registrar::start().await;
    let client = &registrar.client;
    let plain = Server::start(client, "plain", "/ip4/127.0.0.1/tcp/0/tls").await;
    let proving = Server::start_proving(client, "proving", "/ip4/127.0.0.1/tcp/0/tls").await;
    let http = http(client);
    for (name, server) in [("plain", plain), ("proving", proving)] {
        let ([host, uuid, caller], reached) = fetch(&http, format!("http://{name}/")).await;
        assert_eq!((host.as_str(), uuid), (name, server.uuid()));
        assert!(caller.starts_with("127.0.0.1:"), "{caller}");
        assert!(reached.endpoint.to_string().ends_with("/tls"), "{}", reached.endpoint);
    }
}

/// Makes an authority, and a certificate of it for the loopback.
fn files(folder: &Path) -> TlsFiles {
    let (keys, now) = (folder.join("keys"), SystemTime::now());
    let domain = TrustDomain::new("example.internal").unwrap();
    let authority = Authority::create(&keys, domain, KeyKind::default(), now).unwrap();
    let (path, host) = (SpiffePath::new("it").unwrap(), "127.0.0.1".parse().unwrap());
    authority.issue(path, &[host], Duration::from_secs(3600), now).unwrap();
    let [ca, certificate, key] = ["ca.pem", "it.pem", "it.key"].map(|it| keys.join(it));
    TlsFiles { ca, certificate, key }
}
