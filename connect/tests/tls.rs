//! Requests by name over TLS, with the certificate of this process, which all of a process shares:
//! so this test has a program of its own.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]
#![allow(dead_code, reason = "the support is that of the other tests too")]

#[path = "all/support.rs"]
mod support;

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
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
fn files(folder: &std::path::Path) -> TlsFiles {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    let files = TlsFiles {
        ca: folder.join("ca.pem"),
        certificate: folder.join("it.pem"),
        key: folder.join("it.key"),
    };
    fs::write(&files.ca, ca_pem).unwrap();
    fs::write(&files.certificate, certificate.pem()).unwrap();
    fs::write(&files.key, key.serialize_pem()).unwrap();
    fs::set_permissions(&files.key, Permissions::from_mode(0o600)).unwrap();
    files
}
