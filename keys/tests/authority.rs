//! The authority in its folder: what it makes, keeps closed, never overwrites, and refuses.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use endpoints::{SpiffePath, TrustDomain};
use keys::{
    AUTHORITY_LIFETIME, Authority, AuthorityError, Block, Certificate, Contents, CreateError,
    IssueError, Issued, KeyKind, PublicKey,
};
use tempfile::TempDir;

const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn an_authority_is_made_whole_and_closed() {
    for (kind, name) in [(KeyKind::P256, "P-256"), (KeyKind::Ed25519, "Ed25519")] {
        let (base, authority) = made(kind);
        let folder = base.path().join("keys");
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(mode(&authority.key()), 0o600);
        assert_eq!(mode(&authority.certificate()), 0o644);
        assert_eq!(listed(base.path()), ["keys"], "nothing else is left");
        assert_eq!(listed(&folder), ["ca.key", "ca.pem"]);

        let shown = certificate(&authority.certificate());
        assert!(shown.may_sign && shown.is_self_signed());
        assert_eq!(shown.uris, ["spiffe://market.example"]);
        assert_eq!(shown.key.kind, name);
        assert_eq!(Some(&shown.key), key(&authority.key()).as_ref());
        assert_eq!(Authority::open(&folder).unwrap().domain(), authority.domain());
    }
}

#[test]
fn what_exists_is_no_place_for_an_authority() {
    let base = tempfile::tempdir().unwrap();
    let check = |name: &str| {
        let path = base.path().join(name);
        let error = create(&path).unwrap_err();
        assert!(matches!(&error, CreateError::Exists { path: it } if *it == path), "{error}");
    };
    fs::create_dir(base.path().join("folder")).unwrap();
    fs::write(base.path().join("file"), "mine").unwrap();
    symlink("nowhere", base.path().join("link")).unwrap();
    ["folder", "file", "link"].into_iter().for_each(check);
    assert_eq!(fs::read_to_string(base.path().join("file")).unwrap(), "mine");
    let error = create(&base.path().join("no/keys")).unwrap_err();
    assert!(matches!(&error, CreateError::Io { .. }), "{error}");
    assert_eq!(listed(base.path()), ["file", "folder", "link"]);
}

#[test]
fn a_certificate_is_issued_with_its_key() {
    for kind in [KeyKind::P256, KeyKind::Ed25519] {
        let (base, authority) = made(kind);
        let folder = base.path().join("keys");
        // By an authority that was opened, as by the one that was made.
        let opened = Authority::open(&folder).unwrap();
        let now = SystemTime::now();
        for (authority, name) in [(&authority, "feed"), (&opened, "desk/rates/feed.v2")] {
            let hosts = ["feed.example", "10.0.0.7", "2001:db8::7"].map(|it| it.parse().unwrap());
            let path = SpiffePath::new(name).unwrap();
            let issued = authority.issue(path, &hosts, 90 * DAY, now).unwrap();
            let Issued { spiffe_id, certificate: file, key: key_file, until, .. } = issued;
            assert_eq!(file, folder.join(format!("{name}.pem")));
            assert_eq!(key_file, folder.join(format!("{name}.key")));
            assert_eq!((mode(&key_file), mode(&file)), (0o600, 0o644));

            let shown = certificate(&file);
            assert_eq!(shown.uris, [spiffe_id.to_string()]);
            assert_eq!(spiffe_id.to_string(), format!("spiffe://market.example/{name}"));
            assert_eq!(shown.hosts, ["feed.example", "10.0.0.7", "2001:db8::7"]);
            assert_eq!(shown.issuer, certificate(&authority.certificate()).subject);
            assert!(!shown.may_sign && !shown.is_self_signed());
            assert!(shown.since < now && until.duration_since(shown.until).unwrap() < DAY);
            assert_eq!(Some(&shown.key), key(&key_file).as_ref());
        }
        assert_eq!(mode(&folder.join("desk/rates")), 0o700);
    }
}

#[test]
fn nothing_is_issued_over_others() {
    let (base, authority) = made(KeyKind::P256);
    let folder = base.path().join("keys");
    issue(&authority, "feed", DAY).unwrap();
    let kept = fs::read(folder.join("feed.key")).unwrap();
    let check = |name: &str, file: &str| {
        let error = issue(&authority, name, DAY).unwrap_err();
        let is_there = |path: &Path| path == folder.join(file);
        assert!(matches!(&error, IssueError::Exists { path } if is_there(path)), "{error}");
    };
    check("feed", "feed.key");
    // A certificate without its key, a key without its certificate, a link that leads nowhere.
    fs::remove_file(folder.join("feed.pem")).unwrap();
    check("feed", "feed.key");
    assert_eq!(fs::read(folder.join("feed.key")).unwrap(), kept);
    fs::write(folder.join("broker.pem"), "").unwrap();
    check("broker", "broker.pem");
    symlink("/nowhere/at/all", folder.join("link.key")).unwrap();
    check("link", "link.key");
    let error = issue(&authority, "ca", DAY).unwrap_err();
    assert!(matches!(error, IssueError::OfAuthority), "{error}");
    assert_eq!(
        listed(&folder),
        ["broker.pem", "ca.key", "ca.pem", "feed.key", "link.key"],
        "nothing is left behind"
    );
}

#[test]
fn a_life_is_within_that_of_the_authority() {
    let (_base, authority) = made(KeyKind::P256);
    let now = SystemTime::now();
    let issue = |lifetime, now| {
        authority.issue(SpiffePath::new("feed").unwrap(), &[], lifetime, now).unwrap_err()
    };
    assert!(matches!(issue(Duration::from_secs(59), now), IssueError::TooShort));
    assert!(matches!(issue(AUTHORITY_LIFETIME + DAY, now), IssueError::TooLong { .. }));
    let near_the_end = authority.until() - 2 * DAY;
    let error = issue(3 * DAY, near_the_end);
    let expected = "a certificate cannot outlast the authority, which has 2 days left";
    assert_eq!(error.to_string(), expected);
    assert!(matches!(issue(DAY, authority.until() + DAY), IssueError::Expired));
}

#[test]
fn an_authority_that_others_can_read_is_not_used() {
    let (base, authority) = made(KeyKind::P256);
    let folder = base.path().join("keys");
    let check = |path: &Path, mode: u32, own: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let error = Authority::open(&folder).unwrap_err();
        let AuthorityError::OpenToOthers { path: found, mode: seen, wanted } = &error else {
            panic!("{error}")
        };
        assert_eq!((found.as_path(), *seen, *wanted), (path, mode, own));
        fs::set_permissions(path, fs::Permissions::from_mode(own)).unwrap();
    };
    for mode in [0o750, 0o701, 0o777] {
        check(&folder, mode, 0o700);
    }
    for mode in [0o640, 0o604, 0o660] {
        check(&authority.key(), mode, 0o600);
    }
    Authority::open(&folder).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&folder, Some(7), None).unwrap();
        let error = Authority::open(&folder).unwrap_err();
        assert!(matches!(error, AuthorityError::NotOurs { owner: 7, .. }), "{error}");
    }
}

#[test]
fn a_folder_that_is_no_authority_is_told_from_one() {
    let check = |spoil: &dyn Fn(&Path), expected: &str| {
        let (base, _) = made(KeyKind::P256);
        let folder = base.path().join("keys");
        spoil(&folder);
        let error = Authority::open(&folder).unwrap_err().to_string();
        assert_eq!(error.replace(&*folder.to_string_lossy(), "F"), expected);
    };
    check(&|it| fs::remove_dir_all(it).unwrap(), "there is no folder `F`");
    check(
        &|it| {
            fs::remove_dir_all(it).unwrap();
            fs::write(it, "").unwrap();
        },
        "`F` is not a folder",
    );
    let none = "`F` has no `ca.pem`, so it is not the folder of an authority";
    check(&|it| fs::remove_file(it.join("ca.pem")).unwrap(), none);
    let none = "`F` has no `ca.key`, so it is not the folder of an authority";
    check(&|it| fs::remove_file(it.join("ca.key")).unwrap(), none);
    let none = "`F/ca.pem` is not a certificate in PEM";
    check(&|it| fs::write(it.join("ca.pem"), "hello").unwrap(), none);
    check(
        &|it| {
            fs::copy(it.join("ca.key"), it.join("ca.pem")).unwrap();
        },
        none,
    );
    let none = "`F/ca.key` is not a private key in PEM (PKCS #8)";
    check(&|it| fs::write(it.join("ca.key"), "").unwrap(), none);
    check(
        &|it| {
            fs::rename(it.join("ca.key"), it.join("other")).unwrap();
            symlink("other", it.join("ca.key")).unwrap();
        },
        "`F/ca.key` is not a regular file",
    );
    let other = "the key in `F/ca.key` is not that of the certificate `F/ca.pem`";
    let (other_base, _) = made(KeyKind::P256);
    let other_key = other_base.path().join("keys/ca.key");
    check(
        &|it| {
            fs::copy(&other_key, it.join("ca.key")).unwrap();
        },
        other,
    );
    check(
        &|it| {
            issue(&Authority::open(it).unwrap(), "feed", DAY).unwrap();
            fs::rename(it.join("feed.pem"), it.join("ca.pem")).unwrap();
            fs::rename(it.join("feed.key"), it.join("ca.key")).unwrap();
        },
        "`F/ca.pem` is the certificate of no authority: it may not sign others",
    );
}

#[test]
fn of_a_file_that_holds_nothing_is_told_why() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("it.pem");
    let check = |text: &[u8], expected: &str| {
        fs::write(&path, text).unwrap();
        assert_eq!(Contents::read(&path).unwrap_err().to_string(), expected);
    };
    check(b"", "it is empty");
    check(b" \n\n", "it is empty");
    let no_pem = "it is not PEM: it has no line `-----BEGIN …-----`";
    check(b"hello\n", no_pem);
    check(&[0x30, 0x82, 0, 0xff], no_pem);
    check(&[b'a'; 1024 * 1024 + 1], "it is larger than 1 MiB");
    let cut = b"-----BEGIN CERTIFICATE-----\nMIIB\n";
    check(cut, "its block 1 of PEM is damaged");
    check(
        &[&cut[..], b"!!!!\n-----END CERTIFICATE-----\n"].concat(),
        "its block 1 of PEM is damaged",
    );
    check(
        &[&cut[..], b"-----END CERTIFICATE-----\n"].concat(),
        "its block 1 of PEM is called CERTIFICATE, and is none",
    );
    // What follows a good block is read too.
    let (_base, authority) = made(KeyKind::Ed25519);
    let good = fs::read(authority.certificate()).unwrap();
    check(&[&good[..], cut].concat(), "its block 2 of PEM is damaged");
    fs::write(&path, [&good[..], &fs::read(authority.key()).unwrap()].concat()).unwrap();
    let contents = Contents::read(&path).unwrap();
    assert!(
        matches!(&contents.blocks[..], [Block::Certificate(_), Block::Key(_)])
            && contents.has_key()
    );
    let request = b"-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n";
    fs::write(&path, request).unwrap();
    let blocks = Contents::read(&path).unwrap().blocks;
    assert!(matches!(&blocks[..], [Block::Other(label)] if label == "CERTIFICATE REQUEST"));
}

fn made(kind: KeyKind) -> (TempDir, Authority) {
    let base = tempfile::tempdir().unwrap();
    let domain = TrustDomain::new("market.example").unwrap();
    let folder = base.path().join("keys");
    let authority = Authority::create(&folder, domain, kind, SystemTime::now()).unwrap();
    (base, authority)
}

fn create(folder: &Path) -> Result<Authority, CreateError> {
    let domain = TrustDomain::new("market.example").unwrap();
    Authority::create(folder, domain, KeyKind::P256, SystemTime::now())
}

fn issue(authority: &Authority, name: &str, lifetime: Duration) -> Result<Issued, IssueError> {
    authority.issue(SpiffePath::new(name).unwrap(), &[], lifetime, SystemTime::now())
}

fn certificate(path: &Path) -> Certificate {
    match Contents::read(path).unwrap().blocks.remove(0) {
        Block::Certificate(certificate) => *certificate,
        other => panic!("{other:?}"),
    }
}

fn key(path: &Path) -> Option<PublicKey> {
    match Contents::read(path).unwrap().blocks.remove(0) {
        Block::Key(key) => key.public,
        other => panic!("{other:?}"),
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn listed(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    let names: Vec<PathBuf> = entries.collect();
    let name = |it: &PathBuf| it.file_name().unwrap().to_string_lossy().into_owned();
    let mut names: Vec<_> = names.iter().map(name).collect();
    names.sort();
    names
}

#[test]
fn a_clock_that_is_wrong_makes_no_certificate() {
    let above = tempfile::tempdir().unwrap();
    let domain = || TrustDomain::new("example.org").unwrap();
    let before = SystemTime::UNIX_EPOCH - Duration::from_secs(3600);
    let far = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799) - DAY;
    for now in [before, far] {
        let folder = above.path().join("wrong");
        let error = Authority::create(&folder, domain(), KeyKind::P256, now).unwrap_err();
        assert!(matches!(error, CreateError::Clock), "{error}");
        assert!(!folder.exists());
    }
    let now = SystemTime::now();
    let authority =
        Authority::create(&above.path().join("right"), domain(), KeyKind::P256, now).unwrap();
    let path = SpiffePath::new("feed").unwrap();
    let error = authority.issue(path, &[], Duration::from_secs(3600), before).unwrap_err();
    assert!(matches!(error, IssueError::Clock | IssueError::TooLong { .. }), "{error}");
}
