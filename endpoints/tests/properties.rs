//! Properties of every endpoint, every text, and any bytes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use endpoints::{
    Endpoint, Name, NamePattern, UnixAddress, Written, WrittenEndpoint, parse_endpoints,
};
use proptest::prelude::*;

proptest! {
    #[test]
    fn reading_undoes_printing(endpoint in endpoints()) {
        prop_assert_eq!(&endpoint.to_string().parse::<Endpoint>().unwrap(), &endpoint);
        prop_assert_eq!(&endpoint.to_encoded().parse::<Endpoint>().unwrap(), &endpoint);
        prop_assert_eq!(&Endpoint::from_bytes(&endpoint.to_bytes()).unwrap(), &endpoint);
        prop_assert!(endpoint.to_encoded().is_ascii());
        prop_assert!(!endpoint.to_string().contains(char::is_whitespace));
        let mut text = "at ".to_owned();
        endpoint.append_to(&mut text);
        prop_assert_eq!(text, format!("at {endpoint}"));
    }

    #[test]
    fn a_path_is_read_as_it_is_taken(path in "/[a.]{0,3}(/[a.]{0,4}){0,3}/?") {
        let taken = Endpoint::from_unix_path(Path::new(&path)).ok();
        prop_assert_eq!(format!("/unix{path}").parse::<Endpoint>().ok(), taken);
    }

    #[test]
    fn printing_undoes_reading(text in hostile_text()) {
        if let Ok(endpoint) = text.parse::<Endpoint>() {
            prop_assert_eq!(&endpoint.to_string().parse::<Endpoint>().unwrap(), &endpoint);
            prop_assert_eq!(&endpoint.to_encoded().parse::<Endpoint>().unwrap(), &endpoint);
        }
    }

    #[test]
    fn no_text_panics(text in hostile_text()) {
        if let Err(error) = text.parse::<Endpoint>() {
            // The span ends at character boundaries, and the message is one line.
            prop_assert!(error.text().get(error.span()).is_some());
            prop_assert!(!error.to_string().contains(char::is_control));
            drop(error.help());
        }
        drop(Endpoint::from_host_port(&text, 1));
        drop(Endpoint::from_unix_path(Path::new(&text)));
        let pair = WrittenEndpoint::TextPair(text.clone(), text.clone());
        let written = Written::from_iter([WrittenEndpoint::Text(text.clone()), pair]);
        if let Err(errors) = parse_endpoints([(&text, written)]) {
            prop_assert!(!errors.to_string().contains(char::is_control));
        }
    }

    #[test]
    fn no_bytes_panic(bytes in hostile_bytes()) {
        if let Ok(endpoint) = Endpoint::from_bytes(&bytes) {
            prop_assert_eq!(&Endpoint::from_bytes(&endpoint.to_bytes()).unwrap(), &endpoint);
            prop_assert_eq!(&endpoint.to_string().parse::<Endpoint>().unwrap(), &endpoint);
        }
    }

    #[test]
    fn a_pattern_matches_what_it_was_made_from(name in "[a-zö][a-z.ö]{0,11}", cuts in any::<[u8; 4]>()) {
        prop_assert!(Name::new(&name).is_ok());
        let mut pattern: Vec<_> = name.chars().collect();
        for (cut, wild) in cuts.iter().zip(['?', '*', '?', '*']) {
            let at = usize::from(*cut) % pattern.len();
            if pattern[at] != '*' {
                pattern[at] = wild;
            }
        }
        let pattern = NamePattern::new(&String::from_iter(pattern)).unwrap();
        prop_assert!(pattern.matches(&name), "{pattern} on {name}");
    }
}

fn endpoints() -> impl Strategy<Value = Endpoint> {
    let read = |text: String| text.parse::<Endpoint>().unwrap();
    let host = prop_oneof![
        any::<std::net::Ipv4Addr>().prop_map(|it| format!("/ip4/{it}")),
        any::<std::net::Ipv6Addr>().prop_map(|it| format!("/ip6/{it}")),
        ("[a-z%@.]{3,15}", any::<std::net::Ipv6Addr>())
            .prop_map(|(zone, ip)| format!("/ip6zone/{zone}/ip6/{ip}")),
        ("dns[46]?", "[A-Za-z]([A-Za-z0-9_-]{0,20}[a-z0-9])?([.][a-z]{1,8}){0,3}[.]?")
            .prop_map(|(protocol, name)| format!("/{protocol}/{name}")),
    ];
    let tcp = (host, any::<u16>(), any::<bool>()).prop_map(|(host, port, tls)| {
        format!("{host}/tcp/{port}{}", if tls { "/tls" } else { "" })
    });
    prop_oneof![
        tcp.prop_map(read),
        any::<u64>().prop_map(Endpoint::Memory),
        "(/[^/\0]{1,12}){1,6}"
            .prop_filter("plain", |path| !path.split('/').any(|it| it == "." || it == ".."))
            .prop_map(|path| Endpoint::from_unix_path(Path::new(&path)).unwrap()),
        "/[@%. \u{85}é]{3,6}".prop_map(|path| Endpoint::from_unix_path(Path::new(&path)).unwrap()),
        "[^\0]{1,26}".prop_map(|name| Endpoint::Unix(UnixAddress::Abstract(name.into()))),
        // Texts that would be read as a list.
        "[ ,;|/@uix]{0,6}/unix/[,;|/ ]{1,3}x"
            .prop_map(|name| Endpoint::Unix(UnixAddress::Abstract(name.into()))),
    ]
}

/// Texts close to being endpoints, and texts far from it.
fn hostile_text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "/(unix|ip4|ip6|ip6zone|dns|dns4|tcp|tls|memory|udp|onion3?|p2p|ipfs|certhash|garlic64)",
        "/(127[.]0[.]0[.]1|::1|80|eth0|localhost|@|%2F|%40|%00|%FF|[.][.]|-1|ö)",
        "(/|%|@|%2|x|/x)",
    ];
    prop_oneof![
        any::<String>(),
        proptest::collection::vec(part, 0..8).prop_map(|parts| parts.concat()),
        "(tcp|unix|http)?:?(//)?[a-z@/.\\[]{0,6}:?[0-9]{0,6}",
    ]
}

fn hostile_bytes() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just(vec![0x90, 0x03]),
        Just(vec![4, 127, 0, 0, 1]),
        Just(vec![6, 0, 80]),
        Just(vec![0x2a]),
        Just(vec![0x35, 3, b'a', b'/', b'b']),
        Just(vec![0xa5, 0x03, 0x02, 1, 2]),
        proptest::collection::vec(any::<u8>(), 0..12),
    ];
    proptest::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}
