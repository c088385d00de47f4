//! The table `[cluster]`: its meaning, and the diagnostics of faulty ones.

#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

mod told;

use std::time::Duration;

use config::{ClusterSettings, read};

use self::told::told;

fn cluster(table: &str) -> ClusterSettings {
    let (settings, warnings) = read(&format!("[cluster]\n{table}"), "test.toml").unwrap();
    assert!(warnings.0.is_empty(), "{warnings:?}");
    settings.cluster.unwrap()
}

#[test]
fn a_cluster_is_read() {
    assert_eq!(read("", "test.toml").unwrap().0.cluster, None);
    let usual = cluster("engine = \"etcd\"\nendpoints = \"http://127.0.0.1:2379\"\n");
    assert_eq!(usual.endpoints, ["http://127.0.0.1:2379"]);
    assert_eq!(usual.place(), "test.toml:1");
    assert_eq!(
        (&*usual.prefix, usual.node, usual.lease),
        ("/callsign/", None, Duration::from_secs(3))
    );
    assert_eq!((usual.user, usual.ca, usual.identity), (None, None, None));

    let all = cluster(
        "engine = \"etcd\"\nendpoints = [\"https://[::1]:1/\", \"https://etcd-2:2\", \"https://[::1]:1\"]\n\
         prefix = \"/x/\"\nnode = \"rome\"\nlease = \"5s\"\nuser = \"callsign\"\npassword_file = \"p\"\n\
         ca = \"a\"\ncertificate = \"c\"\nkey = \"$CREDENTIALS_DIRECTORY/k\"\n",
    );
    assert_eq!(all.endpoints, ["https://[::1]:1", "https://etcd-2:2"]);
    assert_eq!((&*all.prefix, all.lease), ("/x/", Duration::from_secs(5)));
    assert_eq!(all.node.unwrap().as_str(), "rome");
    let (user, password) = all.user.unwrap();
    assert_eq!((&*user, &*password.written), ("callsign", "p"));
    let (certificate, key) = all.identity.unwrap();
    assert_eq!((&*certificate.written, &*all.ca.unwrap().written), ("c", "a"));
    assert_eq!(key.path(Some("/run/it".as_ref())), Some("/run/it/k".into()));
}

#[track_caller]
fn check(table: &str, expected: &[&str]) {
    let found = config::check(&format!("[cluster]\n{table}"), "test.toml", |_| Vec::new());
    assert_eq!(told(&found), expected, "in\n{table}");
}

#[test]
fn invalid_endpoints() {
    for (written, meant) in [
        ("127.0.0.1", "http://127.0.0.1:2379"),
        ("127.0.0.1:2380", "http://127.0.0.1:2380"),
        ("https://etcd", "https://etcd:2379"),
        ("http://etcd:1/v3", "http://etcd:1"),
        ("grpc://etcd:1", "http://etcd:1"),
        ("/ip4/10.0.0.7/tcp/1/tls", "https://10.0.0.7:1"),
        ("http://etcd:99999", "http://127.0.0.1:2379"),
        ("http://a b:1", "http://127.0.0.1:2379"),
        ("", "http://127.0.0.1:2379"),
    ] {
        let expected = format!("3:15 `{written}` is not where etcd can be | write `{meant}`");
        check(&format!("engine = \"etcd\"\nendpoints = [\"{written}\"]\n"), &[&expected]);
    }
}

/// What was made of them had no endpoint, and a registrar said that beside it.
#[test]
fn nothing_is_made_of_faulty_settings() {
    let cluster = |endpoints: &str| {
        let text = format!("[cluster]\nengine = \"etcd\"\nendpoints = [{endpoints}]\n");
        let mut cluster = None;
        drop(config::check(&text, "node.toml", |settings| {
            cluster = settings.cluster;
            Vec::new()
        }));
        cluster
    };
    assert!(cluster("\"http://a:1\"").is_some());
    for faulty in ["\"127.0.0.1:2379\"", "\"http://a:1\", \"b\"", "\"https://a:1\"", ""] {
        assert_eq!(cluster(faulty), None, "{faulty}");
    }
}

#[test]
fn faulty_tables() {
    check(
        "",
        &[
            "1:2 `[cluster]` has no `engine` | add engine = \"etcd\"",
            "1:2 `[cluster]` has no `endpoints` | say where etcd is: endpoints = [\"http://127.0.0.1:2379\"]",
        ],
    );
    let good = "endpoints = \"http://a:1\"\nengine = \"etcd\"\n";
    for (more, expected) in [
        (
            "prefix = \"\"\n",
            "4:11 the prefix is empty, or too long | 1 to 256 bytes, such as `/callsign/`",
        ),
        (
            "user = \"a\"\n",
            "4:9 `user` without `password_file` | add `password_file`, or leave out both",
        ),
        ("key = \"a\"\n", "4:8 `key` without `certificate` | add `certificate`, or leave out both"),
        (
            "lease = 3\n",
            "4:9 found a number where a duration is expected | write the unit: lease = \"3s\"",
        ),
        ("ttl = \"3s\"\n", "4:1 unknown key `ttl` in `[cluster]` | did you mean `lease`?"),
    ] {
        check(&format!("{good}{more}"), &[expected]);
    }
    check(
        "endpoints = \"http://a:1\"\nengine = \"consul\"\n",
        &["3:11 `consul` is not an engine | write engine = \"etcd\""],
    );
    check(
        "endpoints = \"https://a:1\"\nengine = \"etcd\"\n",
        &[
            "1:2 `https` without `ca`: nothing tells etcd from another | name the certificate of its \
           authority: ca = \"/etc/callsign/etcd-ca.pem\"",
        ],
    );
    let found = config::check(
        &format!("[cluster]\n{good}user = \"a\"\npassword_file = \"p\"\n"),
        "test.toml",
        |_| Vec::new(),
    );
    assert!(!found.has_errors(), "a warning suffices");
    assert!(told(&found)[0].contains("the password of etcd goes over the network as it is"));
}
