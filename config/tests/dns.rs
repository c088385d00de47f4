//! The table `[dns]`: its meaning, and the diagnostics of faulty ones.

mod told;

use config::read;

use self::told::told;

#[test]
fn a_dns_server_answers_at_its_addresses() {
    let dns = |source: &str| {
        let (settings, warnings) = read(source, "test.toml").unwrap();
        assert!(warnings.0.is_empty(), "{warnings:?}");
        settings.dns
    };
    let none = dns("");
    assert_eq!((&none.listen[..], &*none.domain), (&[][..], "callsign"));
    let one = dns("[dns]\nlisten = \"127.0.0.1:5300\"\n");
    assert_eq!(one.listen, ["127.0.0.1:5300".parse().unwrap()]);
    assert_eq!(one.place.as_deref(), Some("test.toml:2"));
    let two = dns("[dns]\nlisten = [\"10.0.0.7:53\", \"[::1]:0\"]\ndomain = \"Actors.Example.\"\n");
    assert_eq!(two.listen, ["10.0.0.7:53".parse().unwrap(), "[::1]:0".parse().unwrap()]);
    assert_eq!(two.domain, "actors.example");
}

#[track_caller]
fn check(table: &str, expected: &[&str]) {
    let found = config::check(&format!("[dns]\n{table}"), "test.toml", |_| Vec::new());
    assert_eq!(told(&found), expected, "in\n{table}");
}

#[test]
fn invalid_addresses() {
    for (written, meant) in [
        ("127.0.0.1", "127.0.0.1:5300"),
        ("5301", "127.0.0.1:5301"),
        (":53", "127.0.0.1:53"),
        ("localhost:5300", "127.0.0.1:5300"),
        ("::1", "[::1]:5300"),
        ("[::1]", "[::1]:5300"),
        ("::1:5301", "[::1]:5301"),
        ("2001:db8::7:53", "[2001:db8::7]:53"),
        ("2001:db8::7:8", "[2001:db8::7:8]:5300"),
        ("::", "127.0.0.1:5300"),
        ("/ip4/10.0.0.7/udp/53", "10.0.0.7:53"),
        ("/ip6/::1/tcp/53", "[::1]:53"),
        ("127.0.0.1:99999", "127.0.0.1:5300"),
        ("here", "127.0.0.1:5300"),
    ] {
        let expected =
            format!("2:11 `{written}` is not an IP address and a port | write `{meant}`");
        check(&format!("listen = \"{written}\"\n"), &[&expected]);
    }
    for (written, meant) in [("0.0.0.0:53", "127.0.0.1:53"), ("[::]:5300", "127.0.0.1:5300")] {
        let expected = format!(
            "2:12 `{written}` is every address of this host | name each address, as in `{meant}`: \
             an answer comes from the address that was asked"
        );
        check(&format!("listen = [\"{written}\"]\n"), &[&expected]);
    }
    for written in ["224.0.0.1:53", "[ff02::fb]:5300", "255.255.255.255:53"] {
        let expected = format!(
            "2:12 `{written}` is no address of one host | name an address of this host, as in \
             `127.0.0.1:5300`"
        );
        check(&format!("listen = [\"{written}\"]\n"), &[&expected]);
    }
    check(
        "listen = 5300\n",
        &["2:10 found a number where a list is expected | write listen = [\"127.0.0.1:5300\"]"],
    );
    check(
        "listen = [5300]\n",
        &["2:11 found a number where a string is expected | write it as in \"127.0.0.1:5300\""],
    );
    check(
        "zone = \"x\"\nmoons = 1\n",
        &[
            "2:1 unknown key `zone` in `[dns]` | did you mean `domain`?",
            "3:1 unknown key `moons` in `[dns]` | its keys are `listen`, `domain`",
        ],
    );
}

#[test]
fn invalid_domains() {
    let listen = "listen = \"127.0.0.1:5300\"\n";
    let help = "a domain is labels of letters, digits and `-`, such as `callsign`";
    for domain in ["a..b", "-a", "a_b", "größe", "a b"] {
        let expected = format!("3:11 `{domain}` is not a domain | {help}");
        check(&format!("{listen}domain = \"{domain}\"\n"), &[&expected]);
    }
    let expected = format!("3:11 actors cannot have the whole of DNS as their domain | {help}");
    check(&format!("{listen}domain = \".\"\n"), &[&expected]);
    check(
        &format!("{listen}domain = \"feeds.local\"\n"),
        &[
            "3:11 `.local` belongs to multicast DNS (RFC 6762), and many programs ask no server for it \
           | take another, such as `callsign`",
        ],
    );
    check(
        "domain = \"actors\"\n",
        &["2:11 `domain` without `listen`: nothing answers for it \
           | add listen = [\"127.0.0.1:5300\"]"],
    );
}

#[test]
fn no_one_else_has_its_addresses() {
    check(
        "listen = [\"127.0.0.1:5300\", \"127.0.0.1:5300\"]\n",
        &["2:30 `[dns]` has `/ip4/127.0.0.1/tcp/5300` twice | leave it out here; it binds once"],
    );
    let help = "give one of them another port";
    let both = "give one of them another endpoint; two actors cannot listen at one";
    check(
        "listen = [\"127.0.0.1:5300\"]\n[registrar]\nlisten = [\"/ip4/127.0.0.1/tcp/5300\"]\n",
        &[&format!(
            "4:12 `/ip4/127.0.0.1/tcp/5300` is claimed by `[dns]` and by `registrar` | {both}"
        )],
    );
    check(
        "listen = [\"[::1]:5300\"]\n[network]\nfeed = [\"/ip6/::/tcp/5300\"]\n",
        &[&format!(
            "4:10 `/ip6/::/tcp/5300` of `feed` is the same place as `/ip6/::1/tcp/5300` of `[dns]` \
             | {help}"
        )],
    );
}
