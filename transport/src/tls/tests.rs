//! Encrypted connections between two processes' worth of files, right and wrong ones.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, SystemTime},
};

use endpoints::{Endpoint, Host, TcpAddress};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::{Credentials, TlsDoubt, TlsError, TlsFile, TlsFiles, TlsFilesError};
use crate::Stream;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A bound against hanging.
const LIMIT: Duration = Duration::from_secs(60);

/// An authority of a test.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        Self::with_path(name, 0)
    }

    /// Makes one below which there may be others.
    fn with_path(name: &str, length: u8) -> Self {
        Self::made(name, length, SystemTime::now() + 1000 * DAY)
    }

    fn until(name: &str, end: SystemTime) -> Self {
        Self::made(name, 0, end)
    }

    fn made(name: &str, length: u8, end: SystemTime) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.not_after = end.into();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(length));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Writes the files of a certificate that is valid from now on, or was until a day ago.
    fn issue(&self, folder: &Path, hosts: &[&str], is_expired: bool) -> TlsFiles {
        let hosts: Vec<_> = hosts.iter().map(|it| (*it).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(hosts).unwrap();
        let now = SystemTime::now();
        params.not_before = (now - 30 * DAY).into();
        params.not_after = if is_expired { now - DAY } else { now + 30 * DAY }.into();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files = TlsFiles {
            ca: folder.join("ca.pem"),
            certificate: folder.join("it.pem"),
            key: folder.join("it.key"),
        };
        fs::write(&files.ca, &self.pem).unwrap();
        fs::write(&files.certificate, certificate.pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        closed(&files.key, 0o600);
        files
    }

    /// Returns a certificate as a process has it that started when the certificate was valid.
    fn credentials(&self, hosts: &[&str], is_expired: bool) -> Credentials {
        let folder = tempfile::tempdir().unwrap();
        let files = self.issue(folder.path(), hosts, is_expired);
        let then = SystemTime::now() - if is_expired { 2 * DAY } else { Duration::ZERO };
        Credentials::read(&files, then).unwrap()
    }
}

fn closed(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Connects, sends a word each way, and returns what each side says: the dialer, then the listener.
async fn talk(
    dialing: Option<&Credentials>,
    listening: Option<&Credentials>,
    host: &str,
) -> [Result<String, String>; 2] {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let text = format!("{host}/tcp/{}", at.port());
    let Endpoint::Tcp(TcpAddress { host, .. }) = text.parse().unwrap() else { panic!("{text}") };
    let near = async {
        let tcp = TcpStream::connect(at).await.unwrap();
        let mut near = match dialing {
            Some(credentials) => Stream::connect_tls(tcp, &host, credentials).await?,
            None => Stream::try_from(tcp).unwrap(),
        };
        exchange(&mut near, b"hello").await
    };
    let far = async {
        let (tcp, from) = listener.accept().await.unwrap();
        let mut far = match listening {
            Some(credentials) => Stream::accept_tls(tcp, from, credentials)?,
            None => Stream::tcp(tcp, from).unwrap(),
        };
        exchange(&mut far, b"world").await
    };
    let (near, far) = timeout(LIMIT, async { tokio::join!(near, far) }).await.unwrap();
    [near, far].map(|it| it.map_err(|error| error.to_string()))
}

async fn exchange(stream: &mut Stream, word: &[u8]) -> std::io::Result<String> {
    stream.write_all(word).await?;
    stream.flush().await?;
    let mut heard = [0; 5];
    stream.read_exact(&mut heard).await?;
    Ok(String::from_utf8_lossy(&heard).into_owned())
}

#[tokio::test]
async fn two_that_trust_one_authority_talk() {
    let authority = Authority::new("one");
    let server = authority.credentials(&["127.0.0.1", "feed.example"], false);
    let client = authority.credentials(&[], false);
    for host in ["/ip4/127.0.0.1", "/ip6/::ffff:127.0.0.1", "/dns/feed.example"] {
        let [near, far] = talk(Some(&client), Some(&server), host).await;
        assert_eq!((near.as_deref(), far.as_deref()), (Ok("world"), Ok("hello")), "{host}");
    }
}

#[tokio::test]
async fn each_side_says_what_is_wrong() {
    let (authority, other) = (Authority::new("one"), Authority::new("other"));
    let hosts = ["127.0.0.1"];
    let server = authority.credentials(&hosts, false);
    let client = authority.credentials(&[], false);
    let check = async |dialing: Option<&Credentials>,
                       listening: Option<&Credentials>,
                       host: &str,
                       near: &str,
                       far: &str| {
        let said = talk(dialing, listening, host).await.map(|it| it.unwrap_err());
        assert!(said[0].contains(near), "the dialer says {said:?}, not {near}");
        assert!(said[1].contains(far), "the listener says {said:?}, not {far}");
    };
    let ip = "/ip4/127.0.0.1";
    let foreign = "no authority that is trusted here signed the certificate of the other side";
    let unknown = "no authority that is trusted there signed it";
    check(Some(&client), Some(&other.credentials(&hosts, false)), ip, foreign, unknown).await;
    check(Some(&other.credentials(&[], false)), Some(&server), ip, foreign, unknown).await;
    let expired = "the certificate of the other side has expired";
    let end = "it has expired";
    check(Some(&client), Some(&authority.credentials(&hosts, true)), ip, expired, end).await;
    check(Some(&authority.credentials(&[], true)), Some(&server), ip, end, expired).await;
    let elsewhere = "not for `broker.example`, but for `127.0.0.1`";
    check(Some(&client), Some(&server), "/dns/broker.example", elsewhere, "it does not say more")
        .await;
    let elsewhere = "not for `127.0.0.1`, but for no host at all";
    check(Some(&client), Some(&client), ip, elsewhere, "it does not say more").await;
}

#[tokio::test]
async fn a_side_without_tls_is_noticed() {
    let authority = Authority::new("one");
    let server = authority.credentials(&["127.0.0.1"], false);
    let not_tls = "the other side does not speak TLS";
    let [near, far] = talk(Some(&server), None, "/ip4/127.0.0.1").await;
    assert_eq!(near.unwrap_err(), not_tls);
    // It reads the beginning of a handshake.
    assert_ne!(far.unwrap_or_default(), "hello");
    let [near, far] = talk(None, Some(&server), "/ip4/127.0.0.1").await;
    assert_ne!(near.unwrap_or_default(), "world");
    assert_eq!(far.unwrap_err(), not_tls);
}

#[tokio::test]
async fn the_halves_of_an_encrypted_stream_end_apart() {
    let authority = Authority::new("one");
    let credentials = authority.credentials(&["127.0.0.1"], false);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, from) = listener.accept().await.unwrap();
    let mut far = Stream::accept_tls(accepted, from, &credentials).unwrap();
    let host = Host::Ip4([127, 0, 0, 1].into());
    let near = Stream::connect_tls(tcp, &host, &credentials);
    let (near, hello) =
        timeout(LIMIT, async { tokio::join!(near, far.write_all(b"four")) }).await.unwrap();
    hello.unwrap();
    let near = near.unwrap();
    assert!(near.fd().is_some() && near.tcp_ends().is_some());
    let (mut reading, mut writing) = near.into_split();
    let big = vec![7; 1_000_000];
    let write = async {
        writing.write_all(&big).await.unwrap();
        writing.flush().await.unwrap();
        drop(writing);
    };
    let mut heard = Vec::new();
    let (_, read) =
        timeout(LIMIT, async { tokio::join!(write, far.read_to_end(&mut heard)) }).await.unwrap();
    read.unwrap();
    assert!(heard == big);
    far.shutdown().await.unwrap();
    drop(far);
    let mut rest = String::new();
    reading.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "four");
}

#[tokio::test]
async fn an_end_is_told_from_a_cut() {
    let authority = Authority::new("one");
    let credentials = authority.credentials(&["127.0.0.1"], false);
    for is_cut in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, from) = listener.accept().await.unwrap();
        let mut far = Stream::accept_tls(accepted, from, &credentials).unwrap();
        let host = Host::Ip4([127, 0, 0, 1].into());
        let near = Stream::connect_tls(tcp, &host, &credentials);
        let both = async { tokio::join!(near, far.write_all(b"word")) };
        let (near, said) = timeout(LIMIT, both).await.unwrap();
        said.unwrap();
        let near = near.unwrap();
        if is_cut {
            let socket = rustix::net::Shutdown::Write;
            rustix::net::shutdown(near.fd().unwrap(), socket).unwrap();
        } else {
            drop(near);
        }
        let read = timeout(LIMIT, far.read(&mut [0; 5])).await.unwrap();
        match read {
            Ok(length) => assert!(!is_cut && length == 0, "{length} bytes"),
            Err(error) => assert_eq!((is_cut, TlsError::of(&error)), (true, Some(&TlsError::Cut))),
        }
    }
}

#[test]
fn each_fault_of_the_files_is_named() {
    let (authority, other) = (Authority::new("one"), Authority::new("other"));
    let check = |spoil: &dyn Fn(&TempDir, &mut TlsFiles), file: TlsFile, expected: &str| {
        let folder = tempfile::tempdir().unwrap();
        let mut files = authority.issue(folder.path(), &["127.0.0.1"], false);
        spoil(&folder, &mut files);
        let error = Credentials::read(&files, SystemTime::now()).unwrap_err();
        let said = error.to_string().replace(&*folder.path().to_string_lossy(), "F");
        assert_eq!(said, expected);
        assert_eq!(error.file, file);
    };
    let write = |path: &Path, text: &str| fs::write(path, text).unwrap();
    use TlsFile::{Ca, Certificate, Key};
    let gone = "cannot be read: No such file or directory (os error 2)";
    check(&|_, it| fs::remove_file(&it.ca).unwrap(), Ca, &format!("`F/ca.pem` {gone}"));
    check(&|_, it| fs::remove_file(&it.key).unwrap(), Key, &format!("`F/it.key` {gone}"));
    check(&|_, it| write(&it.ca, ""), Ca, "`F/ca.pem` is empty");
    check(&|_, it| write(&it.certificate, "\n"), Certificate, "`F/it.pem` is empty");
    check(&|_, it| write(&it.key, ""), Key, "`F/it.key` is empty");
    check(&|_, it| write(&it.ca, "hello"), Ca, "`F/ca.pem` holds no certificate in PEM");
    check(&|_, it| write(&it.key, "hello"), Key, "`F/it.key` holds no private key in PEM");
    check(
        &|_, it| it.certificate.clone_from(&it.key),
        Certificate,
        "`F/it.key` holds no certificate in PEM",
    );
    check(
        &|_, it| it.key.clone_from(&it.certificate),
        Key,
        "`F/it.pem` can be read by others (mode 0644)",
    );
    check(&|_, it| closed(&it.key, 0o604), Key, "`F/it.key` can be read by others (mode 0604)");
    check(&|_, it| closed(&it.key, 0o620), Key, "`F/it.key` can be read by others (mode 0620)");
    let damaged = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    check(
        &|_, it| write(&it.ca, damaged),
        Ca,
        "`F/ca.pem` holds a certificate that cannot be read",
    );
    check(
        &|_, it| write(&it.certificate, damaged),
        Certificate,
        "`F/it.pem` holds a certificate that cannot be read",
    );
    check(
        &|it, files| files.certificate = it.path().into(),
        Certificate,
        "`F` is not a regular file",
    );
    check(
        &|it, files| {
            fs::create_dir(it.path().join("cas")).unwrap();
            files.ca = it.path().join("cas");
        },
        Ca,
        "`F/cas` is a folder without a certificate",
    );
    check(
        &|_, it| {
            let folder = tempfile::tempdir().unwrap();
            fs::copy(authority.issue(folder.path(), &[], false).key, &it.key).unwrap();
        },
        Key,
        "`F/it.key` is not the key of the certificate",
    );
    check(
        &|_, it| write(&it.ca, &other.pem),
        Certificate,
        "`F/it.pem` is not signed by an authority of `ca`",
    );
    check(
        &|_, it| write(&it.ca, &Authority::new("one").pem),
        Certificate,
        "`F/it.pem` is not signed by an authority of `ca`",
    );
    check(
        &|it, files| *files = authority.issue(it.path(), &[], true),
        Certificate,
        "`F/it.pem` has expired",
    );
}

#[test]
fn the_authorities_may_be_in_a_folder() -> Result<(), TlsFilesError> {
    let (authority, other) = (Authority::new("one"), Authority::new("other"));
    let folder = tempfile::tempdir().unwrap();
    let files = authority.issue(folder.path(), &[], false);
    let cas = folder.path().join("cas");
    fs::create_dir(&cas).unwrap();
    for (name, text) in [("a.pem", &other.pem), ("b.crt", &authority.pem)] {
        fs::write(cas.join(name), text).unwrap();
    }
    // What lies beside them, and what an editor leaves.
    fs::write(cas.join("README"), "hello").unwrap();
    fs::write(cas.join(".a.pem"), "hello").unwrap();
    let now = SystemTime::now();
    let files = TlsFiles { ca: cas, ..files };
    let ends_at = Credentials::read(&files, now)?.ends.1;
    assert!(now + 29 * DAY < ends_at && ends_at <= now + 30 * DAY, "{ends_at:?}");
    Ok(())
}

#[test]
fn a_certificate_that_no_client_can_accept_is_doubted() {
    let authority = Authority::new("one");
    let doubt = |hosts: &[&str], at: &str| {
        let doubt =
            authority.credentials(hosts, false).doubt(&at.parse().unwrap(), SystemTime::now());
        doubt.map(|it| it.to_string()).unwrap_or_default()
    };
    let check = |hosts: &[&str], at: &str, expected: &str| {
        let said = doubt(hosts, at);
        assert!(
            said.starts_with(expected) && said.is_empty() == expected.is_empty(),
            "{hosts:?} at {at}: {said}"
        );
    };
    let fixed = "/ip4/127.0.0.1/tcp/7/tls";
    check(&[], fixed, "is for no host: whoever");
    check(&[], "/ip4/0.0.0.0/tcp/7/tls", "is for no host: whoever");
    check(&[], "/dns/feed.example/tcp/7/tls", "is for no host: whoever");
    check(&["10.9.9.9"], fixed, "is not for `127.0.0.1`, but for `10.9.9.9`");
    check(
        &["10.9.9.9", "::1"],
        "/ip6/::2/tcp/7/tls",
        "is not for `::2`, but for `10.9.9.9`, `::1`",
    );
    check(&["10.9.9.9"], "/dns/feed.example/tcp/7/tls", "is not for `feed.example`");
    check(&["*.feed.example"], "/dns/a.b.feed.example/tcp/7/tls", "is not for `a.b.feed.example`");
    // Those that somebody may accept.
    check(&["127.0.0.1"], fixed, "");
    check(&["127.0.0.1"], "/ip6/::ffff:127.0.0.1/tcp/7/tls", "");
    check(&["localhost"], fixed, "");
    check(&["10.9.9.9"], "/ip4/0.0.0.0/tcp/7/tls", "");
    check(&["feed.example"], "/ip6/::/tcp/7/tls", "");
    check(&["*.feed.example"], "/dns/b.feed.example/tcp/7/tls", "");
    // Without TLS none is shown.
    check(&[], "/ip4/127.0.0.1/tcp/7", "");
    check(&[], "/unix/run/feed.sock", "");
}

#[test]
fn a_certificate_for_clients_alone_is_doubted() -> Result<(), TlsFilesError> {
    let authority = Authority::new("one");
    let folder = tempfile::tempdir().unwrap();
    let files = authority.issue(folder.path(), &[], false);
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&key, &authority.issuer).unwrap();
    fs::write(&files.certificate, certificate.pem()).unwrap();
    fs::write(&files.key, key.serialize_pem()).unwrap();
    let places = ["/ip4/127.0.0.1/tcp/7/tls", "/ip4/0.0.0.0/tcp/7/tls", "/unix/run/feed.sock"];
    let listening = places.map(|it| it.parse().unwrap());
    // It is said once for all of them.
    assert_eq!(files.doubts(&listening)?, [TlsDoubt::NotForServers]);
    assert_eq!(files.doubts(&listening[2..])?, []);
    Ok(())
}

#[test]
fn what_is_wrong_with_a_certificate_does_not_pass() {
    assert!(TlsError::Ended.may_pass());
    assert!(!TlsError::Expired.may_pass() && !TlsError::NotTls.may_pass());
}

/// Makes an authority below another one.
fn between(above: &Authority, name: &str, key: &KeyPair) -> (String, CertificateParams) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    (params.signed_by(key, &above.issuer).unwrap().pem(), params)
}

#[test]
fn what_is_wrong_with_a_chain_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let root = Authority::with_path("Root", 1);
    let key = KeyPair::generate().unwrap();
    let (between, params) = between(&root, "Between", &key);
    let lower = Authority { issuer: Issuer::new(params, key), pem: root.pem.clone() };
    let files = lower.issue(folder.path(), &["127.0.0.1"], false);
    let leaf = fs::read_to_string(&files.certificate).unwrap();
    let check = |written: &str, expected: &str, remedy: &str| {
        fs::write(&files.certificate, written).unwrap();
        let error =
            files.check().map_or_else(|it| format!("{it}; {}", it.remedy()), |()| "".into());
        assert!(error.contains(expected) && error.contains(remedy), "{error}");
    };
    check(&leaf, "is not signed by an authority of `ca`", "`Between` signed it: if that lies");
    check(&(between.clone() + &leaf), "the certificate of the key, but not first", "put it first");
    check(&(leaf.clone() + &between), "", "");
    files.check().unwrap();
}

#[test]
fn an_authority_that_has_expired_is_not_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let old = Authority::until("Old", now + DAY);
    let files = old.issue(folder.path(), &["127.0.0.1"], false);
    let read = |at| Credentials::read(&files, at);
    let credentials = read(now).unwrap();
    assert_eq!(credentials.ends.0, TlsFile::Ca);
    assert_eq!(credentials.outdated_at, Some(credentials.ends.1));
    let soon = TlsDoubt::EndsSoon { file: TlsFile::Ca, days: 0 };
    assert_eq!(files.doubts(&[]).unwrap(), [soon]);

    let said = |error: TlsFilesError| (error.file, error.to_string());
    let (file, text) = said(read(now + 2 * DAY).unwrap_err());
    assert_eq!(file, TlsFile::Ca);
    assert!(text.contains("has the authority") && text.contains("has expired"), "{text}");
    // Beside others, too; and what the others sign is good.
    let new = Authority::new("New");
    fs::write(&files.ca, old.pem.clone() + &new.pem).unwrap();
    assert_eq!(said(read(now + 2 * DAY).unwrap_err()), (file, text));
    let other = tempfile::tempdir().unwrap();
    let issued = new.issue(other.path(), &["127.0.0.1"], false);
    fs::write(&issued.ca, old.pem + &new.pem).unwrap();
    let credentials = Credentials::read(&issued, now + 2 * DAY).unwrap();
    assert_eq!(credentials.ends.0, TlsFile::Certificate);
}

#[test]
fn the_certificate_of_an_authority_is_no_ones_own() {
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let root = Authority::with_path("Root", 1);
    let (pem, _) = between(&root, "Between", &key);
    let files = root.issue(folder.path(), &[], false);
    fs::write(&files.certificate, pem).unwrap();
    fs::write(&files.key, key.serialize_pem()).unwrap();
    let error = files.check().unwrap_err().to_string();
    assert!(error.contains("is the certificate of an authority"), "{error}");
}
