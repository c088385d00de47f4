//! Multiaddrs as text and as bytes: parsing, printing, and the errors of invalid ones.

use std::{net::SocketAddr, path::Path};

use endpoints::{DnsFamily, Endpoint, Host, TcpAddress, UnixAddress};

fn parse(text: &str) -> Endpoint {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn reads_every_kind_and_prints_it() {
    let check = |text: &str, printed: &str, encoded: &str| {
        let endpoint = parse(text);
        assert_eq!(endpoint.to_string(), printed, "{text} printed");
        assert_eq!(endpoint.to_encoded(), encoded, "{text} encoded");
        assert_eq!(parse(printed), endpoint);
        assert_eq!(parse(encoded), endpoint);
        assert_eq!(Endpoint::from_bytes(&endpoint.to_bytes()).unwrap(), endpoint);
    };
    let same = |text: &str| check(text, text, text);
    same("/ip4/127.0.0.1/tcp/5555");
    same("/ip4/0.0.0.0/tcp/0");
    same("/ip6/::1/tcp/65535");
    same("/ip6/2001:db8::7/tcp/443/tls");
    same("/ip6zone/eth0/ip6/fe80::1/tcp/5555");
    same("/dns/feed.example/tcp/5555");
    same("/dns4/feed.example/tcp/5555/tls");
    same("/dns6/localhost/tcp/5555");
    same("/memory/0");
    same("/memory/18446744073709551615");
    check("/ip6/0:0::0:1/tcp/1", "/ip6/::1/tcp/1", "/ip6/::1/tcp/1");
    check("/ip4/10.0.0.1/tcp/0080", "/ip4/10.0.0.1/tcp/80", "/ip4/10.0.0.1/tcp/80");
    check("/dns/Feed.Example./tcp/1", "/dns/feed.example./tcp/1", "/dns/feed.example./tcp/1");

    check("/unix/run/feed.sock", "/unix/run/feed.sock", "/unix/%2Frun%2Ffeed.sock");
    check("/unix/%2frun%2ffeed.sock", "/unix/run/feed.sock", "/unix/%2Frun%2Ffeed.sock");
    check("/unix/feed.sock", "/unix/feed.sock", "/unix/%2Ffeed.sock");
    check("/unix/tmp/tcp/80", "/unix/tmp/tcp/80", "/unix/%2Ftmp%2Ftcp%2F80");
    check("/unix/run/a%20b", "/unix/run/a%20b", "/unix/%2Frun%2Fa%20b");
    check("/unix/run/a b", "/unix/run/a%20b", "/unix/%2Frun%2Fa%20b");
    check("/unix/run/a%25b", "/unix/run/a%25b", "/unix/%2Frun%2Fa%25b");
    check("/unix/run/100%", "/unix/run/100%25", "/unix/%2Frun%2F100%25");
    check("/unix/run/b%C3%B6rse", "/unix/run/börse", "/unix/%2Frun%2Fb%C3%B6rse");
    check("/unix/@feed", "/unix/@feed", "/unix/@feed");
    check("/unix/@eu/feed 1", "/unix/@eu/feed%201", "/unix/@eu%2Ffeed%201");
    // HAProxy and others pad a name with NULs, which are part of it.
    check("/unix/@feed%00%00", "/unix/@feed%00%00", "/unix/@feed%00%00");
    check("/unix/%40a%00b", "/unix/@a%00b", "/unix/@a%00b");
    assert_ne!(parse("/unix/@feed%00"), parse("/unix/@feed"));
    // A path that begins with `@` has no greedy form.
    check("/unix/%2F@feed", "/unix/%2F@feed", "/unix/%2F@feed");
}

#[test]
fn reads_into_the_right_parts() {
    let Endpoint::Unix(UnixAddress::Path(path)) = parse("/unix/%2Frun%2Ffeed.sock") else {
        panic!("not a path")
    };
    assert_eq!(path.as_path(), Path::new("/run/feed.sock"));
    assert_eq!(parse("/unix/@feed"), Endpoint::Unix(UnixAddress::Abstract("feed".into())));
    assert_eq!(parse("/memory/7"), Endpoint::Memory(7));
    let address: SocketAddr = "[::1]:7".parse().unwrap();
    assert_eq!(parse("/ip6/::1/tcp/7"), address.into());
    let Endpoint::Tcp(TcpAddress { host, port: 7, tls: true }) = parse("/dns4/a.b/tcp/7/tls")
    else {
        panic!("not what was written")
    };
    assert!(matches!(host, Host::Dns(name, DnsFamily::V4) if name.as_str() == "a.b"));
}

#[test]
fn says_what_is_wrong_where_and_what_to_write() {
    /// `marked` is the text with the span between brackets.
    fn check(marked: &str, message: &str, help: &str) {
        let start = marked.find('«').unwrap();
        let end = marked.find('»').unwrap() - '«'.len_utf8();
        let text = marked.replace(['«', '»'], "");
        let error = text.parse::<Endpoint>().unwrap_err();
        assert_eq!(error.to_string(), message, "of {text}");
        assert_eq!(error.span(), start..end, "{message}");
        assert_eq!(error.help().as_deref().unwrap_or_default(), help, "{message}");
    }
    const EXAMPLES: &str =
        "an endpoint is a multiaddr, such as `/ip4/127.0.0.1/tcp/5555` or `/unix/run/feed.sock`";
    const SUPPORTED: &str = "supported are `/unix/<path>`, `/unix/@<name>`, \
         `/ip4|ip6|dns|dns4|dns6/<host>/tcp/<port>`, \
         `/ip6zone/<interface>/ip6/<address>/tcp/<port>`, \
         each with TLS as `/tcp/<port>/tls`, and `/memory/<number>`";

    // Texts that are not multiaddrs at all.
    check("«»", "an endpoint cannot be empty", EXAMPLES);
    check("«feed»", "no `/` at the beginning of `feed`", EXAMPLES);
    let no_slash = |text: &str, meant: &str| {
        let message = format!("no `/` at the beginning of `{text}`");
        check(&format!("«{text}»"), &message, &format!("did you mean `{meant}`?"));
    };
    no_slash("localhost:80", "/dns/localhost/tcp/80");
    no_slash("[::1]:80", "/ip6/::1/tcp/80");
    no_slash("tcp://10.0.0.1:80/", "/ip4/10.0.0.1/tcp/80");
    no_slash("unix:/run/feed.sock", "/unix/run/feed.sock");
    no_slash("unix:///run/feed.sock", "/unix/run/feed.sock");
    no_slash("@feed", "/unix/@feed");
    check("«/»", "a `/` with nothing after it in `/`", EXAMPLES);

    // Every error of any text fits on one line.
    check(
        "/unix/«/a\nb»",
        "a path with an empty part, `.` or `..` in `/unix//a\\nb`",
        "did you mean `/unix/a%0Ab`?",
    );

    // Protocols.
    check(
        "/ip4/127.0.0.1/«udp»/9999",
        "unsupported protocol `udp` in `/ip4/127.0.0.1/udp/9999`",
        SUPPORTED,
    );
    check("/«onion»/x", "unsupported protocol `onion` in `/onion/x`", SUPPORTED);
    check("/«wg»/x", "unknown protocol `wg` in `/wg/x`", SUPPORTED);
    check(
        "/«uds»/run/x.sock",
        "unknown protocol `uds` in `/uds/run/x.sock`",
        "a Unix socket is written `/unix/run/x.sock`",
    );
    check(
        "/ip4/10.0.0.1/«tpc»/80",
        "unknown protocol `tpc` in `/ip4/10.0.0.1/tpc/80`",
        "did you mean `/ip4/10.0.0.1/tcp/80`?",
    );
    check(
        "/«IP4»/10.0.0.1/tcp/80",
        "unknown protocol `IP4` in `/IP4/10.0.0.1/tcp/80`",
        "did you mean `/ip4/10.0.0.1/tcp/80`?",
    );
    check(
        "/«run»/feed.sock",
        "unknown protocol `run` in `/run/feed.sock`",
        "a Unix socket is written `/unix/run/feed.sock`",
    );

    // Values.
    let value = |marked: &str, message: &str, help: &str| {
        let text = marked.replace(['«', '»'], "");
        check(marked, &format!("{message} in `{text}`"), help);
    };
    value("/ip4/«10.0.0.300»/tcp/80", "`10.0.0.300` is not an IPv4 address", "");
    value(
        "/ip4/«localhost»/tcp/80",
        "`localhost` is not an IPv4 address",
        "did you mean `/dns/localhost/tcp/80`?",
    );
    value("/ip4/«::1»/tcp/80", "`::1` is not an IPv4 address", "did you mean `/ip6/::1/tcp/80`?");
    value(
        "/ip6/«fe80::1%eth0»/tcp/80",
        "`fe80::1%eth0` is not an IPv6 address",
        "did you mean `/ip6zone/eth0/ip6/fe80::1/tcp/80`?",
    );
    value(
        "/dns/«10.0.0.1»/tcp/80",
        "`10.0.0.1` is not a host name",
        "did you mean `/ip4/10.0.0.1/tcp/80`?",
    );
    value(
        "/dns/«a b»/tcp/80",
        "`a b` is not a host name",
        "a host name has letters, digits, - and dots",
    );
    value(
        "/ip4/10.0.0.1/tcp/«http»",
        "`http` is not a port (0 to 65535)",
        "a port is a number: `/ip4/10.0.0.1/tcp/80`",
    );
    value("/ip4/10.0.0.1/tcp/«65536»", "`65536` is not a port (0 to 65535)", "");
    value("/memory/«-1»", "`-1` is not a number (0 to 18446744073709551615)", "");
    value("/ip6zone/«eth0:1»/ip6/::1/tcp/1", "`eth0:1` is not the name of an interface", "");
    value("/ip4/10.0.0.1/tcp«»", "no value after `/tcp`", "add a port: `/ip4/10.0.0.1/tcp/5555`");
    value("/ip4/«»/tcp/80", "no value after `/ip4`", "");
    value("/unix«»", "no value after `/unix`", "");
    value("/unix/«»", "no value after `/unix`", "");

    // Order.
    value(
        "/ip4/10.0.0.1«»",
        "no `/tcp/<port>` after the host",
        "add a port: `/ip4/10.0.0.1/tcp/5555`",
    );
    value(
        "/ip4/10.0.0.1«/tls»",
        "no `/tcp/<port>` after the host",
        "add a port: `/ip4/10.0.0.1/tcp/5555/tls`",
    );
    value("«/tcp/80»", "no host before `/tcp`", "put a host before it: `/ip4/127.0.0.1/tcp/80`");
    value("«/tls»", "no host before `/tls`", "TLS comes last: `/ip4/127.0.0.1/tcp/5555/tls`");
    value("«/ip6zone/eth0»/ip4/10.0.0.1", "no `/ip6/<address>` after `/ip6zone/<interface>`", "");
    value(
        "/ip4/10.0.0.1/tcp/80«/ip4/10.0.0.2»/tcp/81",
        "something after the end of the endpoint: `/ip4/10.0.0.2`",
        "",
    );
    value("/memory/7«/tls»", "something after the end of the endpoint: `/tls`", "");
    value(
        "/ip4/10.0.0.1/tcp/80«/»",
        "a `/` with nothing after it",
        "leave out this slash: `/ip4/10.0.0.1/tcp/80`",
    );
    value(
        "/ip4/10.0.0.1«/»/tcp/80",
        "a `/` with nothing after it",
        "leave out this slash: `/ip4/10.0.0.1/tcp/80`",
    );
    value(
        "/ip4/10.0.0.1/tcp/80/«ws»",
        "unsupported protocol `ws`",
        "an endpoint is a place, not what is spoken there: `/ip4/10.0.0.1/tcp/80`",
    );

    // Unix paths.
    value(
        "/unix/«run%2Fx.sock»",
        "a relative path `run/x.sock`",
        "the path begins at the root: `/unix/run/x.sock`",
    );
    value(
        "/unix/«%2Frun/x.sock»",
        "something after the end of the endpoint: `/x.sock`",
        "did you mean `/unix/run/x.sock`?",
    );
    value(
        "/unix/«/run//x»",
        "a path with an empty part, `.` or `..`",
        "did you mean `/unix/run/x`?",
    );
    value(
        "/unix/«run/../x»",
        "a path with an empty part, `.` or `..`",
        "write the path without `..`",
    );
    value("/unix/«run/»", "a `/` with nothing after it", "leave out this slash: `/unix/run`");
    value("/unix/«a%00b»", "a NUL", "");
    value("/unix/«%FF»", "bytes that are not UTF-8", "");
    value("/unix/«@»", "an abstract name of 0 bytes, where Linux takes 1 to 107", "");
}

#[test]
fn paths_may_be_as_long_as_the_kernel_reaches() {
    let path = |folder: usize, file: usize| {
        let text = format!("/unix/{}/{}", "d".repeat(folder - 2), "f".repeat(file));
        text.parse::<Endpoint>().map_err(|error| error.kind().to_string())
    };
    let check = |folder, file, expected: Result<(), &str>| {
        let found = path(folder, file).map(|_| ());
        assert_eq!(found.as_ref().map_err(String::as_str).copied(), expected, "{folder} {file}");
    };
    check(4, 103, Ok(()));
    check(100, 85, Ok(()));
    check(4010, 85, Ok(()));
    check(4010, 86, Err("a path of 4096 bytes, where Linux takes 4095"));
    let unreachable =
        "a file name of 104 bytes at the end of a path of over 107, where 85 can be reached";
    check(4, 104, Err(unreachable));

    assert!(format!("/unix/@{}", "n".repeat(107)).parse::<Endpoint>().is_ok());
    assert!(format!("/unix/@{}", "n".repeat(108)).parse::<Endpoint>().is_err());
}

#[test]
fn messages_stay_on_one_line_and_short() {
    let check = |text: &str, message: &str| {
        assert_eq!(text.parse::<Endpoint>().unwrap_err().to_string(), message);
    };
    check("a\n\x1b[31m", "no `/` at the beginning of `a\\n\\u{1b}[31m`");
    let long = "x".repeat(1 << 20);
    check(&long, &format!("no `/` at the beginning of `{}…`", &long[..160]));
}

#[test]
fn pairs_and_paths_become_endpoints() {
    let check = |host: &str, expected: Result<&str, &str>| {
        let found = Endpoint::from_host_port(host, 80);
        let found = found.map(|it| it.to_string()).map_err(|it| it.to_string());
        assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned));
    };
    check("127.0.0.1", Ok("/ip4/127.0.0.1/tcp/80"));
    check("::1", Ok("/ip6/::1/tcp/80"));
    check("Feed.example", Ok("/dns/feed.example/tcp/80"));
    check("10.0.0.300", Err("`10.0.0.300` is not an IP address or a host name"));
    check("", Err("`` is not an IP address or a host name"));
    check("/run", Err("`/run` is not an IP address or a host name"));

    let check = |path: &str, expected: Result<&str, &str>| {
        let found = Endpoint::from_unix_path(Path::new(path));
        let found = found.map(|it| it.to_string()).map_err(|it| it.to_string());
        assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned));
    };
    check("/run/100%", Ok("/unix/run/100%25"));
    check("/@feed", Ok("/unix/%2F@feed"));
    check("run/x", Err("a relative path `run/x`"));
    check("", Err("a relative path ``"));
    check("/run/../x", Err("a path with an empty part, `.` or `..` in `/run/../x`"));
}

#[test]
fn bytes_are_those_of_other_languages() {
    let check = |bytes: &[u8], expected: Result<&str, &str>| {
        let found = Endpoint::from_bytes(bytes);
        let found = found.map(|it| it.to_string()).map_err(|it| it.to_string());
        assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{bytes:x?}");
    };
    // go-multiaddr keeps the leading slash of a path; py-multiaddr drops it.
    check(b"\x90\x03\x06/run/x", Ok("/unix/run/x"));
    check(b"\x90\x03\x05run/x", Ok("/unix/run/x"));
    assert_eq!(parse("/unix/run/x").to_bytes(), b"\x90\x03\x06/run/x");
    check(b"\x90\x03\x05@feed", Ok("/unix/@feed"));
    check(b"\x04\x7f\x00\x00\x01\x06\x15\xb3", Ok("/ip4/127.0.0.1/tcp/5555"));
    assert_eq!(parse("/ip4/127.0.0.1/tcp/5555").to_bytes(), b"\x04\x7f\x00\x00\x01\x06\x15\xb3");

    let long = format!("/unix/run/{}/x", "d".repeat(200));
    assert_eq!(parse(&long).to_bytes()[..4], [0x90, 0x03, 0x80 | (207 & 0x7f), 1]);

    check(b"", Err("an endpoint cannot be empty"));
    check(b"\x90\x03", Err("bytes that are not a multiaddr (no path length)"));
    check(b"\x90\x03\x80\x80\x01", Err("bytes that are not a multiaddr (no path length)"));
    check(b"\x90\x03\x02a", Err("bytes that are not a multiaddr (1 bytes where 2 were announced)"));
    check(
        b"\x90\x03\x01ab",
        Err("bytes that are not a multiaddr (2 bytes where 1 were announced)"),
    );
    check(b"\x90\x03\x01\xff", Err("bytes that are not UTF-8"));
    check(b"\x90\x03\x00", Err("a `/` with nothing after it"));
    check(b"\x04\x7f\x00\x00\x01", Err("no `/tcp/<port>` after the host"));
    check(b"\x04\x7f\x00\x00\x01\x91\x02\x00\x07", Err("no `/tcp/<port>` after the host"));
    check(b"\x91\x02\x00\x07", Err("unsupported protocol `udp`"));
    // A name with slashes is not read as further components.
    check(b"\x35\x07a/tcp/1\x06\x00\x50", Err("`a/tcp/1` is not a host name"));
}

#[test]
fn some_endpoints_bind_and_cannot_be_dialed() {
    let check = |text: &str, expected: bool| {
        assert_eq!(parse(text).is_bind_only(), expected, "{text}");
    };
    check("/ip4/0.0.0.0/tcp/80", true);
    check("/ip6/::/tcp/80", true);
    check("/ip6/::ffff:0.0.0.0/tcp/80", true);
    check("/ip4/10.0.0.1/tcp/0", true);
    check("/dns/feed/tcp/0", true);
    check("/memory/0", true);
    check("/ip4/10.0.0.1/tcp/80", false);
    check("/unix/run/x", false);
    check("/memory/1", false);
}

#[test]
fn serde_is_the_text() {
    let endpoint = parse("/unix/%2Frun%2Fx");
    let json = serde_json::to_string(&endpoint).unwrap();
    assert_eq!(json, "\"/unix/run/x\"");
    assert_eq!(serde_json::from_str::<Endpoint>(&json).unwrap(), endpoint);
    let error = serde_json::from_str::<Endpoint>("\"/udp/1\"").unwrap_err();
    assert!(error.to_string().starts_with("unsupported protocol `udp` in `/udp/1`"), "{error}");
}

#[test]
fn a_socket_address_is_had_of_what_has_one() {
    let check = |text: &str, expected: Option<&str>| {
        let address = parse(text).socket_addr().map(|it| it.to_string());
        assert_eq!(address.as_deref(), expected, "{text}");
    };
    check("/ip4/192.0.2.7/tcp/80", Some("192.0.2.7:80"));
    check("/ip4/0.0.0.0/tcp/0/tls", Some("0.0.0.0:0"));
    check("/ip6/::1/tcp/80", Some("[::1]:80"));
    check("/ip6zone/eth0/ip6/fe80::1/tcp/80", None);
    check("/dns/localhost/tcp/80", None);
    check("/unix/run/feed.sock", None);
    check("/memory/7", None);
}

#[test]
fn a_text_becomes_an_endpoint_by_any_conversion() {
    assert_eq!(Endpoint::try_from("/memory/7").unwrap(), Endpoint::Memory(7));
    assert_eq!(Endpoint::try_from("/memory/7".to_owned()).unwrap(), Endpoint::Memory(7));
    let error = Endpoint::try_from("feed").unwrap_err();
    assert_eq!(error.to_string(), "no `/` at the beginning of `feed`");
}
