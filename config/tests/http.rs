//! The table `[http]`: its meaning, and the diagnostics of faulty ones.

mod told;

use config::read;

use self::told::told;

#[test]
fn http_is_answered_at_its_endpoints() {
    let http = |source: &str| {
        let (settings, warnings) = read(source, "test.toml").unwrap();
        assert!(warnings.0.is_empty(), "{warnings:?}");
        settings.http
    };
    assert!(http("").listen.is_empty());
    let one = http("[http]\nlisten = \"/unix/run/callsign/http.sock\"\n");
    assert_eq!(one.listen, ["/unix/run/callsign/http.sock".parse().unwrap()]);
    assert_eq!(one.place.as_deref(), Some("test.toml:2"));
    let several = http(
        "[http]\nlisten = [\"/ip4/127.0.0.1/tcp/8080\", \"/unix/@http\", \"/ip6/::1/tcp/0\"]\n",
    );
    assert_eq!(several.listen.len(), 3);
}

#[track_caller]
fn check(table: &str, expected: &[&str]) {
    let found = config::check(table, "test.toml", |_| Vec::new());
    assert_eq!(told(&found), expected, "in\n{table}");
}

#[test]
fn other_hosts_are_kept_out() {
    for (endpoint, near) in [
        ("/ip4/0.0.0.0/tcp/8080", "/ip4/127.0.0.1/tcp/8080"),
        ("/ip4/10.0.0.7/tcp/80", "/ip4/127.0.0.1/tcp/80"),
        ("/ip6/::/tcp/8080", "/ip6/::1/tcp/8080"),
        ("/dns/localhost/tcp/8080", "/ip4/127.0.0.1/tcp/8080"),
    ] {
        let expected = format!(
            "2:11 `{endpoint}` can be reached from other hosts, and HTTP is not encrypted there \
             | add `/tls`, and a table `[tls]`: callers then need a certificate too; or write \
             `{near}`, or a Unix socket"
        );
        check(&format!("[http]\nlisten = \"{endpoint}\"\n"), &[&expected]);
    }
    check(
        "[http]\nlisten = \"/memory/7\"\n",
        &["2:11 `/memory/7` can be reached from within the same process alone \
           | let it listen at a Unix socket or a port"],
    );
}

/// With TLS it is for all hosts, and takes a certificate.
#[test]
fn with_tls_other_hosts_are_let_in() {
    let tls = "[tls]\nca = \"ca.pem\"\ncertificate = \"it.pem\"\nkey = \"it.key\"\n";
    for endpoint in [
        "/ip4/0.0.0.0/tcp/8443/tls",
        "/ip4/127.0.0.1/tcp/80/tls",
        "/ip6/::/tcp/0/tls",
        "/dns/registrar.example/tcp/8443/tls",
    ] {
        let table = format!("[http]\nlisten = \"{endpoint}\"\n");
        check(&format!("{table}{tls}"), &[]);
        let expected = format!(
            "2:11 `{endpoint}` needs a certificate, and there is no table `[tls]` \
             | name `ca`, `certificate` and `key` there, as `callsign keys` makes them"
        );
        check(&table, &[&expected]);
    }
}

#[test]
fn the_registrars_own_place_is_doubtful() {
    let port = "2:11 `/ip4/127.0.0.1/tcp/1616` is where a registrar itself listens by default \
                | answer HTTP elsewhere, such as at `/ip4/127.0.0.1/tcp/8080`, or say where the \
                registrar listens: `[registrar] listen`";
    check("[http]\nlisten = \"/ip4/127.0.0.1/tcp/1616\"\n", &[port]);
    for folder in ["/run/callsign", "/run/user/1000/callsign", "/tmp/callsign-1000"] {
        let expected = format!(
            "2:11 `/unix{folder}/registrar.sock` is where a registrar itself listens by default \
             | answer HTTP elsewhere, such as at `http.sock` beside it, or say where the registrar \
             listens: `[registrar] listen`"
        );
        let table = format!("[http]\nlisten = \"/unix{folder}/registrar.sock\"\n");
        check(&table, &[&expected]);
        // It may be told to listen elsewhere.
        check(&format!("{table}[registrar]\nlisten = \"/unix/@mine\"\n"), &[]);
    }
    check("[http]\nlisten = \"/unix/run/callsign/http.sock\"\n", &[]);
}

#[test]
fn other_keys_and_other_places() {
    check("[http]\nport = 80\n", &["2:1 unknown key `port` in `[http]` | did you mean `listen`?"]);
    check(
        "[http]\ncors = true\n",
        &["2:1 unknown key `cors` in `[http]` | its only key is `listen`"],
    );
    check(
        "[registrar]\nlisten = \"/ip4/127.0.0.1/tcp/80\"\n[http]\nlisten = \"/ip4/127.0.0.1/tcp/80\"\n",
        &["4:11 `/ip4/127.0.0.1/tcp/80` is claimed by `registrar` and by `[http]` \
           | give one of them another endpoint; two actors cannot listen at one"],
    );
}
