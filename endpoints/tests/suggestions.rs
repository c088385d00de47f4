//! Every suggestion for an invalid endpoint is a valid one.

use endpoints::{Endpoint, ParseEndpointError, Plain, Written, parse_endpoints};
use proptest::prelude::*;

/// Returns the error of a text, and checks that every endpoint in its help parses.
fn error(text: &str) -> ParseEndpointError {
    let error = text.parse::<Endpoint>().expect_err(text);
    check_help(text, &error.help().unwrap_or_default());
    error
}

fn check_help(text: &str, help: &str) {
    // Every other piece between backticks is quoted text, with what is invisible escaped.
    let shown = Plain(text).to_string();
    for quoted in help.split('`').skip(1).step_by(2) {
        let is_template = quoted.contains('<') || quoted == "..";
        let is_quoted_back = shown.contains(quoted) || quoted == "/etc/services";
        assert!(
            is_template || is_quoted_back || quoted.parse::<Endpoint>().is_ok(),
            "{text:?}: {help}"
        );
    }
}

#[track_caller]
fn meant(text: &str, expected: &str) {
    let error = error(text);
    let suggestion = error.suggestion().map(|it| it.to_string()).unwrap_or_default();
    assert_eq!(suggestion, expected, "for {text:?}");
    let help = error.help().unwrap_or_default();
    assert!(expected.is_empty() || help.contains(&format!("`{expected}`")), "{text:?}: {help}");
}

#[test]
fn hosts_and_ports_as_people_write_them() {
    meant("localhost:80", "/dns/localhost/tcp/80");
    meant("db:5432", "/dns/db/tcp/5432");
    meant("redis:6379", "/dns/redis/tcp/6379");
    meant("db.example.com:5432/", "/dns/db.example.com/tcp/5432");
    meant("127.0.0.1:8500", "/ip4/127.0.0.1/tcp/8500");
    meant("0.0.0.0:80", "/ip4/0.0.0.0/tcp/80");
    meant("*:80", "/ip4/0.0.0.0/tcp/80");
    meant(":8080", "/ip4/127.0.0.1/tcp/8080");
    meant("5432", "/ip4/127.0.0.1/tcp/5432");
    meant("[::1]:80", "/ip6/::1/tcp/80");
    meant("::1:80", "/ip6/::1/tcp/80");
    meant("[::]:80", "/ip6/::/tcp/80");
    meant(":::80", "/ip6/::/tcp/80");
    meant("[fe80::1%eth0]:80", "/ip6zone/eth0/ip6/fe80::1/tcp/80");
    meant("[fe80::1%25eth0]:80", "/ip6zone/eth0/ip6/fe80::1/tcp/80");
    meant("fe80::1%eth0", "/ip6zone/eth0/ip6/fe80::1/tcp/5555");
    meant("127.0.0.1", "/ip4/127.0.0.1/tcp/5555");
    meant("::1", "/ip6/::1/tcp/5555");
    meant("2001:db8::7", "/ip6/2001:db8::7/tcp/5555");
    meant("localhost", "/dns/localhost/tcp/5555");
    meant(" 127.0.0.1:80\n", "/ip4/127.0.0.1/tcp/80");
    meant("\"localhost:80\",", "/dns/localhost/tcp/80");
    meant("“localhost:80”", "/dns/localhost/tcp/80");
    meant("‘127.0.0.1:80’,", "/ip4/127.0.0.1/tcp/80");
    meant("“/unix/run/feed.sock”", "/unix/run/feed.sock");
}

#[test]
fn urls() {
    meant("tcp://10.0.0.1:80/", "/ip4/10.0.0.1/tcp/80");
    meant("TCP://10.0.0.1:80", "/ip4/10.0.0.1/tcp/80");
    meant("tcp:10.0.0.1:80", "/ip4/10.0.0.1/tcp/80");
    meant("tcp:80", "/ip4/127.0.0.1/tcp/80");
    meant("tcp://[::1]:80", "/ip6/::1/tcp/80");
    meant("tcp://*:5555", "/ip4/0.0.0.0/tcp/5555");
    meant("tls://host:80", "/dns/host/tcp/80/tls");
    meant("http://host:80/", "/dns/host/tcp/80");
    meant("http://host/a/b?c", "/dns/host/tcp/80");
    meant("https://user:word@host/a", "/dns/host/tcp/443/tls");
    meant("wss://host:8443/feed", "/dns/host/tcp/8443/tls");
    meant("postgres://u:p@db:5432/market", "/dns/db/tcp/5432");
    meant("redis://cache", "/dns/cache/tcp/6379");
    meant("dns:///db:5432", "/dns/db/tcp/5432");
    meant("ipv4:10.0.0.1:80", "/ip4/10.0.0.1/tcp/80");
    meant("unix:/run/feed.sock", "/unix/run/feed.sock");
    meant("unix:///run/feed.sock", "/unix/run/feed.sock");
    meant("unix://run/feed.sock", "/unix/run/feed.sock");
    meant("UNIX:/run/Feed.sock", "/unix/run/Feed.sock");
    meant("unix:@feed", "/unix/@feed");
    meant("unix://@feed", "/unix/@feed");
    meant("unix-abstract:feed", "/unix/@feed");
    meant("unix:path=/run/user/1000/bus,guid=7", "/unix/run/user/1000/bus");
    meant("unix:abstract=/tmp/bus,guid=7", "/unix/@/tmp/bus");
    meant("ipc:///tmp/feed", "/unix/tmp/feed");
    meant("@feed", "/unix/@feed");
    // Addresses that cannot be reached from here, or whose host is unknown.
    meant("udp://10.0.0.1:80", "");
    meant("udp:80", "");
    meant("quic://host:80", "");
    meant("unix:feed.sock", "");
    meant("unix:", "");
    meant("tcp://", "");
    meant("unix:feed", "");
    meant("vsock://3:80", "");
    meant("vsock:3:80", "");
}

#[test]
fn multiaddrs_with_a_slip() {
    meant("/ip4/127.0.0.1:8500", "/ip4/127.0.0.1/tcp/8500");
    meant("/ip4/127.0.0.1/8500", "/ip4/127.0.0.1/tcp/8500");
    meant("/ip4/127.0.0.1/port/8500", "/ip4/127.0.0.1/tcp/8500");
    meant("/dns/db:5432", "/dns/db/tcp/5432");
    meant("/dns4/db/5432", "/dns4/db/tcp/5432");
    meant("/ip6/[::1]/tcp/80", "/ip6/::1/tcp/80");
    meant("/ip6/[::1]:80", "/ip6/::1/tcp/80");
    meant(" /ip4/127.0.0.1/tcp/80", "/ip4/127.0.0.1/tcp/80");
    meant("\u{feff}/ip4/127.0.0.1/tcp/80", "/ip4/127.0.0.1/tcp/80");
    meant("/ip4/127.0.0.1/tcp/80 ", "/ip4/127.0.0.1/tcp/80");
    meant("/ip4/ 127.0.0.1 /tcp/80", "/ip4/127.0.0.1/tcp/80");
    meant("/IP4/127.0.0.1/TCP/80", "/ip4/127.0.0.1/tcp/80");
    meant("/DNS/Db.Example/TCP/80/TLS", "/dns/db.example/tcp/80/tls");
    meant("ip4/127.0.0.1/tcp/80", "/ip4/127.0.0.1/tcp/80");
    meant("IP4/127.0.0.1/tcp/80", "/ip4/127.0.0.1/tcp/80");
    meant("unix/run/x.sock", "/unix/run/x.sock");
    meant("/ip4/10.0.0.1", "/ip4/10.0.0.1/tcp/5555");
    meant("/ip4/10.0.0.1/tcp", "/ip4/10.0.0.1/tcp/5555");
    meant("/ip4/10.0.0.1/tls", "/ip4/10.0.0.1/tcp/5555/tls");
    meant("/ip4/127.0.0.1/tls/tcp/80", "/ip4/127.0.0.1/tcp/80/tls");
    meant("/tls/ip4/127.0.0.1/tcp/80", "/ip4/127.0.0.1/tcp/80/tls");
    meant("/tcp/80", "/ip4/127.0.0.1/tcp/80");
    meant("/tcp/80/tls", "/ip4/127.0.0.1/tcp/80/tls");
    meant("/tcp/127.0.0.1:80", "/ip4/127.0.0.1/tcp/80");
    meant("/tcp/127.0.0.1/80", "/ip4/127.0.0.1/tcp/80");
    meant("/tcp/80/ip4/10.0.0.1", "/ip4/10.0.0.1/tcp/80");
    meant("/127.0.0.1/tcp/80", "/ip4/127.0.0.1/tcp/80");
    meant("/127.0.0.1:80", "/ip4/127.0.0.1/tcp/80");
    meant("//127.0.0.1:80", "/ip4/127.0.0.1/tcp/80");
    meant("/localhost/tcp/80", "/dns/localhost/tcp/80");
    meant("/ip4/10.0.0.1//tcp//80", "/ip4/10.0.0.1/tcp/80");
    meant("/ip4/10.0.0.1/tcp/80/", "/ip4/10.0.0.1/tcp/80");
    meant("/ip/10.0.0.1/tpc/80", "/ip4/10.0.0.1/tcp/80");
    meant("/ipv6/::1/tcp/80", "/ip6/::1/tcp/80");
    meant("/ip4/localhost/tcp/80", "/dns/localhost/tcp/80");
    meant("/ip4/::1/tcp/80", "/ip6/::1/tcp/80");
    meant("/dns/10.0.0.1/tcp/80", "/ip4/10.0.0.1/tcp/80");
    meant("/mem/7", "/memory/7");
    // The protocol spoken there is not part of an endpoint.
    meant("/ip4/10.0.0.1/tcp/80/ws", "/ip4/10.0.0.1/tcp/80");
    meant("/ip4/10.0.0.1/tcp/80/wss", "/ip4/10.0.0.1/tcp/80/tls");
    meant("/ip4/10.0.0.1/tcp/80/http", "/ip4/10.0.0.1/tcp/80");
    meant("/dns/host/tcp/443/tls/ws", "/dns/host/tcp/443/tls");
    let peer = "12D3KooWNWxYxFgBqXQSXTp3yQQCnKZQTGNSBzCfKBpzEgkNUgrM";
    meant(&format!("/ip4/10.0.0.1/tcp/4001/p2p/{peer}"), "/ip4/10.0.0.1/tcp/4001");
}

#[test]
fn text_around_an_address_is_left_out() {
    meant("localhost:80/path", "/dns/localhost/tcp/80");
    meant("10.0.0.1:80/a/b?c=d", "/ip4/10.0.0.1/tcp/80");
    meant("[::1]:80/x", "/ip6/::1/tcp/80");
    meant("localhost/80", "/dns/localhost/tcp/80");
    meant("localhost 80", "/dns/localhost/tcp/80");
    meant("localhost, 80", "/dns/localhost/tcp/80");
    meant("10.0.0.1 80", "/ip4/10.0.0.1/tcp/80");
    meant("localhost/tcp/80", "/dns/localhost/tcp/80");
    meant("10.0.0.1/tcp/80", "/ip4/10.0.0.1/tcp/80");
    meant("80/tcp", "/ip4/127.0.0.1/tcp/80");
    meant("/dev/tcp/localhost/80", "/dns/localhost/tcp/80");
    meant(r"\dns\db\tcp\80", "/dns/db/tcp/80");
    meant(r"\ip4\127\tcp\90", "/ip4/127.0.0.1/tcp/90");
    meant("/ip4/127/80", "/ip4/127.0.0.1/tcp/80");
    meant("/ip4/80", "/ip4/127.0.0.1/tcp/80");
    meant("::80", "/ip6/::/tcp/80");
    meant(r"unix:\run\x.sock", "/unix/run/x.sock");
    meant(r"\run\x.sock", "/unix/run/x.sock");
    meant(r"/unix\run\x.sock", "/unix/run/x.sock");
}

#[test]
fn services_and_short_addresses() {
    meant("/tcp/http", "/ip4/127.0.0.1/tcp/80");
    meant("/ip4/10.0.0.1/tcp/http", "/ip4/10.0.0.1/tcp/80");
    meant("/dns/host/tcp/HTTPS", "/dns/host/tcp/443");
    meant("tcp://host:http", "/dns/host/tcp/80");
    meant("db:postgresql", "/dns/db/tcp/5432");
    meant("127.1", "/ip4/127.0.0.1/tcp/5555");
    meant("127.1:80", "/ip4/127.0.0.1/tcp/80");
    meant("/ip4/127.1/tcp/80", "/ip4/127.0.0.1/tcp/80");
    meant("/ip4/10.1.2/tcp/80", "/ip4/10.1.0.2/tcp/80");
    meant("/ip4/127.0.0.01/tcp/80", "/ip4/127.0.0.1/tcp/80");
    meant("0:80", "/ip4/0.0.0.0/tcp/80");
    meant("/ip4/0/tcp/80", "/ip4/0.0.0.0/tcp/80");
    meant("/ip4/*/tcp/80", "/ip4/0.0.0.0/tcp/80");
    meant("2130706433:80", "/ip4/127.0.0.1/tcp/80");
    meant("0x7f.1:80", "/ip4/127.0.0.1/tcp/80");
    meant("/ip4/127.0.0.1/tcp/+80", "");
}

#[test]
fn blanks() {
    meant("/unix/run/x.sock ", "/unix/run/x.sock");
    meant("/unix/run/x.sock\t", "/unix/run/x.sock");
    meant("/unix/run/x.sock\u{a0}", "/unix/run/x.sock");
    meant("/unix/run/x.sock\u{200b}", "/unix/run/x.sock");
    meant("/unix/ run/x.sock", "/unix/run/x.sock");
    meant("/unix/run /x.sock", "/unix/run/x.sock");
    meant("/unix/@name ", "/unix/@name");
    meant("/unix/@ name", "/unix/@name");
    meant("/dns/host /tcp/80", "/dns/host/tcp/80");
    for good in ["/unix/run/my file.sock", "/unix/run/x.sock%20", "/unix/@my name"] {
        assert!(good.parse::<Endpoint>().is_ok(), "{good}");
    }
}

#[test]
fn several_in_one_text_are_told_apart() {
    let check = |text: &str, expected: &[&str]| {
        let error = error(text);
        let several: Vec<_> = error.several().iter().map(ToString::to_string).collect();
        assert_eq!(several, expected, "{text}");
        if let [_, ..] = expected {
            let written: Vec<_> = expected.iter().map(|it| format!("`{it}`")).collect();
            let help = format!("write them separately: {}", written.join(", "));
            assert_eq!(error.help(), Some(help), "{text}");
            assert_eq!(error.suggestion(), None, "{text}");
        }
    };
    check("/unix/a,/unix/b", &["/unix/a", "/unix/b"]);
    check("/unix/run/a.sock, /unix/run/b.sock", &["/unix/run/a.sock", "/unix/run/b.sock"]);
    check("/unix/@a;/ip4/10.0.0.1/tcp/80", &["/unix/@a", "/ip4/10.0.0.1/tcp/80"]);
    check("/ip4/10.0.0.1/tcp/80 /unix/@a", &["/ip4/10.0.0.1/tcp/80", "/unix/@a"]);
    check("/run/a.sock,/run/b.sock", &["/unix/run/a.sock", "/unix/run/b.sock"]);
    check("a:80,b:81", &["/dns/a/tcp/80", "/dns/b/tcp/81"]);
    check("tcp://a:80|unix:/run/b", &["/dns/a/tcp/80", "/unix/run/b"]);
    check("/ip4/10.0.0.1/tcp/80,81", &["/ip4/10.0.0.1/tcp/80", "/ip4/10.0.0.1/tcp/81"]);
    check("[/unix/a, /unix/b]", &[]);
    check("a:80,b", &[]);
    check("/ip4/10.0.0.1/tcp/80,x", &[]);
    // A path may contain it, written like this.
    for path in ["/unix/%2Fa,%2Funix%2Fb", "/unix/a,b", "/unix/a,/b"] {
        let endpoint: Endpoint = path.parse().unwrap();
        assert_eq!(endpoint.to_string().parse(), Ok(endpoint), "{path}");
    }
}

#[test]
fn without_a_proposal_the_rule_is_quoted() {
    let check = |text: &str, expected: &str| {
        let help = error(text).help().unwrap_or_default();
        assert!(help.starts_with(expected), "{text}: {help}");
    };
    check("/ip4/127.0.0.1/tcp/$PORT", "`$PORT` is not expanded here: write");
    check("~/x.sock", "`~` is not expanded here");
    check("/ip4/127.0.0.1/tcp/{port}", "`{port}` works in a program's arguments only");
    check(r"C:\run\x.sock", "a Unix socket is written with slashes");
    check("udp://10.0.0.1:80", "supported are");
    check("vsock://3:80", "supported are");
    check("quic:80", "supported are");
    check("/udp/80", "supported are");
    check("/ip4/10.0.0.1/tcp/nosuch", "a port is a number");
    check("/dns4/-bad/tcp/80", "each part of a host name begins and ends with a letter");
    check("/dns4/bad-.example/tcp/80", "each part of a host name begins and ends with a letter");
    check("/dns4/xn--/tcp/80", "nothing follows xn--");
    check("/dns/a..b/tcp/80", "no part of a host name is empty");
    check("/dns/.a/tcp/80", "no part of a host name is empty");
    check("/dns/_http._tcp.host/tcp/80", "a part that begins with _ names a service");
    check("/dns/bücher.example/tcp/80", "write letters beyond a to z in the form of DNS");
    check("/dns/10.0.0.300/tcp/80", "a host name cannot end in a number");
    let label = "a".repeat(64);
    check(&format!("/dns/{label}/tcp/80"), "each part of a host name has at most 63 bytes");
    let long = ["a".repeat(63).as_str(); 4].join(".");
    check(&format!("/dns/{long}/tcp/80"), "a host name has at most 253 bytes");
    check("fe80::1", "fe80::1 is a link-local address");
    check("224.0.0.1:80", "224.0.0.1 is a multicast address");
    for good in ["my_host", "a-b", "a--b", "r3---sn", "xn--bcher-kva.example", "a.", "3com"] {
        assert!(format!("/dns/{good}/tcp/80").parse::<Endpoint>().is_ok(), "{good}");
    }
}

#[test]
fn zones() {
    let zoned = "/ip6zone/eth0/ip6/fe80::1/tcp/80";
    meant("/ip6/fe80::1%eth0/tcp/80", zoned);
    meant("/ip6/fe80::1%25eth0/tcp/80", zoned);
    meant("/ip6/fe80::1/ip6zone/eth0/tcp/80", zoned);
    meant("/ip6/fe80::1/tcp/80/ip6zone/eth0", zoned);
    meant("/ip6/[fe80::1%eth0]:80", zoned);
    meant("/zone/eth0/ip6/fe80::1/tcp/80", zoned);
    meant("/ip6zone/eth0/fe80::1/tcp/80", zoned);
    // An interface's name is not a number, and an address without a scope takes no zone.
    meant("/ip6/fe80::1%2/tcp/80", "");
    meant("/ip6/fe80::1%/tcp/80", "");
    meant("/ip6zone/eth0/ip4/10.0.0.1", "");
    meant("/ip6/fe80::1%waytoolongforlinux/tcp/80", "");
}

#[test]
fn paths() {
    meant("/run/feed.sock", "/unix/run/feed.sock");
    meant("/tmp/x", "/unix/tmp/x");
    meant("/home/a/feed", "/unix/home/a/feed");
    meant("/feed.sock", "/unix/feed.sock");
    meant("//run//feed.sock", "/unix/run/feed.sock");
    meant("/uds/run/x.sock", "/unix/run/x.sock");
    meant("/uds//tmp/x.sock", "/unix/tmp/x.sock");
    meant("/uds/tmp/x/", "/unix/tmp/x");
    meant("/UNIX/run/X.sock", "/unix/run/X.sock");
    meant("/unix//run/x.sock", "/unix/run/x.sock");
    meant("/unix/./run/x.sock", "/unix/run/x.sock");
    meant("/unix/run/x.sock/", "/unix/run/x.sock");
    meant("/unix/run%2Fx.sock", "/unix/run/x.sock");
    meant("/unix/%2Frun/x.sock", "/unix/run/x.sock");
    meant("/ip4/127.0.0.1/unix/run/x.sock", "/unix/run/x.sock");
    meant("/unix//a\nb", "/unix/a%0Ab");
    // The target of `..` depends on the file system, and a folder is not a socket.
    meant("/uds/../x.sock", "");
    meant("/unix/run/../x.sock", "");
    meant("/tmp", "");
    meant("/run/", "");
    meant("/unix/", "");
    meant("run/x.sock", "");
    meant("./x.sock", "");
    meant("~/x.sock", "");
    meant("x.sock", "");
}

#[test]
fn ambiguous_text_gets_no_address() {
    for text in [
        "",
        "/",
        "//",
        "feed",
        "/feed",
        "70000",
        "0x50",
        "host:70000",
        "host:",
        "a b:80",
        "/tls",
        // Of a database, whose URL has a path of another meaning.
        "postgresql:///db?host=/run",
        "redis:///0",
        "/udp/80",
        "/ip4/127.0.0.1/udp/80",
        "/ip4/127.0.0.1/udp/80/quic-v1",
        "/quic-v1",
        "/ws",
        "/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
        "/onion3/x:80",
        "/dnsaddr/host",
        "/ip4/127.0.0.1/ip4/127.0.0.2/tcp/80",
        "/ip4/10.0.0.300/tcp/80",
        "/ip4/tcp/80",
        "/ip4//tcp/80",
        "/ip4/10.0.0.1/tcp/nosuchservice",
        "tcp://host:nosuchservice",
        "host:port",
        "10.0.0.0/24",
        "10.0.0.1/32",
        "80/udp",
        "/ip4/10.0.0.1/tcp/65536",
        "/memory/-1",
        "/ip4/10.0.0.1/tcp/80/81",
        "/ip4/10.0.0.1:80/tcp/81",
        "/memory/7/tls",
        "10.0.0.300:80",
        "/ip4/10.0.0.0/ipcidr/24",
        "/dns/a b/tcp/80",
        "/ip4/10.0.0.1/tcp/80/p2p-circuit",
        "[::1]80",
        "[::1",
        "010.0.0.1:80",
        "1.2.3.4.5:80",
        r"C:\run\x.sock",
        "C:/run/x.sock",
        r"\\.\pipe\feed",
        "//./pipe/feed",
        "$HOST:80",
        "host:$PORT",
        "/ip4/127.0.0.1/tcp/${PORT}",
        "/ip4/127.0.0.1/tcp/{port}",
        "/ip4/${HOST:-127.0.0.1}/tcp/80",
        "/unix~/x.sock",
        "unix://~/x.sock",
        "$XDG_RUNTIME_DIR/x.sock",
        "%t/x.sock",
        // Two endpoints.
        "/unix/a,/unix/b",
        "a:80,b:81",
        "\u{0}",
        "/unix/@",
        "/unix/a%00b",
        "host:80:81",
        "/ip4/10.0.0.1/tcp/80/certhash/x",
        "/unix/`",
        "`",
    ] {
        if text.parse::<Endpoint>().is_err() {
            meant(text, "");
        }
    }
}

#[test]
fn a_suggestion_is_fit_for_its_place() {
    let error = error("0.0.0.0:80");
    let nothing = error.help_for(7, |_| None).unwrap();
    assert!(!nothing.contains("0.0.0.0"), "{nothing}");
    let loopback = "/ip4/127.0.0.1/tcp/80".parse().ok();
    let help = error.help_for(7, |_| loopback.clone()).unwrap();
    assert_eq!(help, "did you mean `/ip4/127.0.0.1/tcp/80`?");
    let help = self::error("::1").help_for(1616, Some).unwrap();
    assert_eq!(help, "add a port: `/ip6/::1/tcp/1616`");
}

#[test]
fn pairs_keep_their_port() {
    let check = |host: &str, expected: &str| {
        let error = Endpoint::from_host_port(host, 80).unwrap_err();
        let suggestion = error.suggestion().map(|it| it.to_string()).unwrap_or_default();
        assert_eq!(suggestion, expected, "{host}");
        check_help(host, &error.help().unwrap_or_default());
    };
    check("fe80::1%eth0", "/ip6zone/eth0/ip6/fe80::1/tcp/80");
    check("[::1]", "/ip6/::1/tcp/80");
    check("localhost:80", "/dns/localhost/tcp/80");
    check("localhost:81", "");
    check("http://host", "/dns/host/tcp/80");
    check("/ip4/10.0.0.1", "/ip4/10.0.0.1/tcp/80");
    check("/run/x.sock", "");
    check("*", "/ip4/0.0.0.0/tcp/80");
    check(" 10.0.0.1", "/ip4/10.0.0.1/tcp/80");
    check("10.0.0.300", "");
    check("", "");
    check("0", "/ip4/0.0.0.0/tcp/80");
    check("127.1", "/ip4/127.0.0.1/tcp/80");
    // A protocol is not a host.
    check("tcp", "/ip4/127.0.0.1/tcp/80");
    check("TCP", "/ip4/127.0.0.1/tcp/80");
    check("ip4", "");
    check("unix", "");
    check("udp", "");
    check("$HOST", "");
    assert!(Endpoint::from_host_port("dns", 53).is_ok(), "a host may be called so");
}

proptest! {
    #[test]
    fn every_suggestion_can_be_read(text in mutated()) {
        if let Err(error) = text.parse::<Endpoint>() {
            check_help(&text, &error.help().unwrap_or_default());
            if let Some(endpoint) = error.suggestion() {
                prop_assert_eq!(endpoint.to_string().parse::<Endpoint>(), Ok(endpoint));
            }
        }
        for port in [0, 80] {
            if let Err(error) = Endpoint::from_host_port(&text, port) {
                check_help(&text, &error.help().unwrap_or_default());
            }
        }
        let pair = Written::from_iter([(text.as_str(), 80)]);
        if let Err(errors) = parse_endpoints([("a", pair)]) {
            for error in errors.0 {
                check_help(&text, &error.fault.help().unwrap_or_default());
            }
        }
    }
}

/// Addresses with a few slips: a part missing, doubled, in capitals, or with something inserted.
fn mutated() -> impl Strategy<Value = String> {
    let whole = prop_oneof![
        "/(ip4|ipv4|ip|dns|DNS4)/(127[.]0[.]0[.]1|localhost|::1|\\[::1\\])(:80|/tcp/80|/80|)(/tls|/ws|/|)",
        "/(ip6|ip6zone/eth0/ip6|ip6/[a-f0-9:]{2,9}/ip6zone)/(fe80::1|fe80::1%eth0|eth0)(/tcp/[0-9]{1,6}|)",
        "/?(unix|uds|ipc|UNIX)(:|:/|://|/)[/@.a-z%20-9]{0,12}([.]sock)?",
        "(tcp|http|https|unix|udp|foo)?(:|://)?[a-z0-9.\\[\\]:*@%]{0,12}(:[0-9]{1,5})?[/?a-z]{0,4}",
        "/(tcp|tls|memory|udp|run|tmp)/[a-z0-9./:]{0,10}",
    ];
    let slip =
        (0usize..40, prop_oneof!["[/:@%. `\u{202e}\n~]", "(/tcp|/tls|/unix|%2F|25|//|[.][.])", ""]);
    (whole, proptest::collection::vec(slip, 0..3)).prop_map(|(mut text, slips)| {
        for (at, put) in slips {
            let at = (0..=at.min(text.len())).rev().find(|it| text.is_char_boundary(*it));
            let at = at.unwrap_or_default();
            match put.is_empty() {
                true if at < text.len() => drop(text.remove(at)),
                true => {}
                false => text.insert_str(at, &put),
            }
        }
        text
    })
}

#[test]
fn what_is_invisible_is_quoted_as_it_is_shown() {
    let help = error("/unix:/~.sock\u{202e}").help().unwrap();
    assert!(help.contains("`~.sock\\u{202e}`"), "{help}");
}
