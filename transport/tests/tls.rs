//! Listening and dialing at `/tls` with the certificate of this process, which all of a process
//! shares: so these tests have a program of their own.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{sleep, timeout},
};
use transport::{BindError, DialError, Listener, TlsError, TlsFiles, dial, follow_tls, set_tls};

/// A bound against hanging.
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_listener_is_dialed_with_the_certificate_of_the_process() {
    let endpoint = "/ip4/127.0.0.1/tcp/0/tls".parse().unwrap();
    let none = Listener::bind(&endpoint).await.unwrap_err();
    assert!(matches!(none, BindError::Tls(TlsError::NoCertificate)), "{none}");

    let folder = tempfile::tempdir().unwrap();
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "it");
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    let files = TlsFiles {
        ca: folder.path().join("ca.pem"),
        certificate: folder.path().join("it.pem"),
        key: folder.path().join("it.key"),
    };
    fs::write(&files.ca, ca_pem).unwrap();
    fs::write(&files.certificate, certificate.pem()).unwrap();
    fs::write(&files.key, key.serialize_pem()).unwrap();
    fs::set_permissions(&files.key, Permissions::from_mode(0o600)).unwrap();
    files.check().unwrap();

    // Files that are not there yet are waited for.
    let later = TlsFiles { key: folder.path().join("later.key"), ..files.clone() };
    follow_tls(later.clone()).unwrap_err();
    let none = Listener::bind(&endpoint).await.unwrap_err();
    assert!(matches!(none, BindError::Tls(TlsError::Unusable(_))), "{none}");
    fs::copy(&files.key, &later.key).unwrap();
    let bound = async {
        while Listener::bind(&endpoint).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(120), bound).await.unwrap();

    set_tls(files.clone()).unwrap();
    // Files that cannot be used change nothing.
    let wrong = TlsFiles { key: files.ca.clone(), ..files };
    set_tls(wrong).unwrap_err();

    let listener = Listener::bind(&endpoint).await.unwrap();
    assert!(listener.bound().to_string().ends_with("/tls"), "{}", listener.bound());
    assert_eq!(&listener.published()[0].endpoint, listener.bound());
    let plain = listener.bound().to_string().replace("/tls", "").parse().unwrap();
    assert!(!listener.takes_in(&plain), "it does not speak without");
    let all = Listener::bind(&"/ip4/0.0.0.0/tcp/0/tls".parse().unwrap()).await.unwrap();
    let own = all.bound().to_string().replace("0.0.0.0", "127.0.0.1");
    assert!(all.takes_in(&own.parse().unwrap()));
    assert!(!all.takes_in(&own.replace("/tls", "").parse().unwrap()));

    let far = async {
        let mut far = listener.accept().await.unwrap();
        let mut heard = [0; 5];
        far.read_exact(&mut heard).await.unwrap();
        far.write_all(&heard).await.unwrap();
        far.flush().await.unwrap();
        far
    };
    let near = async {
        let mut near = dial(listener.bound()).await.unwrap();
        near.write_all(b"hello").await.unwrap();
        let mut heard = [0; 5];
        near.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
        near
    };
    let (far, near) = timeout(LIMIT, async { tokio::join!(far, near) }).await.unwrap();
    assert_eq!(far.who(), near.who(), "both are this user");
    assert!(far.tcp_ends().is_some() && far.fd().is_some());

    let by_name = listener.bound().to_string().replace("/ip4/127.0.0.1", "/dns4/localhost");
    let by_name = by_name.parse().unwrap();
    let error = timeout(LIMIT, async {
        let (dialed, accepted) = tokio::join!(dial(&by_name), async {
            let mut far = listener.accept().await.unwrap();
            far.read_to_end(&mut Vec::new()).await
        });
        accepted.unwrap_err();
        dialed.unwrap_err()
    });
    let error = error.await.unwrap();
    assert!(matches!(error, DialError::Tls(TlsError::OtherHost { .. })), "{error}");
}
