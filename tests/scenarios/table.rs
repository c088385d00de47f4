//! A table of actors, with endpoints in every spelling.

use serde_json::Value;

use crate::harness::{Node, Room, Running};

#[test]
fn seven_actors_with_mixed_spellings() {
    let room = Room::new();
    let folder = room.path().display().to_string();
    let encoded = folder.replace('/', "%2F");
    let table = format!(
        r#"
[network]
greedy = "/unix{folder}/greedy.sock"
encoded = "/unix/{encoded}%2Fencoded.sock"
abstract = ["/unix/@abstract-of-seven"]
pair = ["127.0.0.1", 7001]
several = ["/unix{folder}/several.sock", "/unix/{encoded}%2Fseveral.sock", ["127.0.0.1", 7002], "/ip4/127.0.0.1/tcp/7002"]
six = "/ip6/::1/tcp/7003"
wildcard = "/ip4/0.0.0.0/tcp/7004"
any-port = "/ip4/127.0.0.1/tcp/0"
"#
    );
    let table = room.write("table.toml", &table);
    room.callsign(&["check", &table]).succeeds();

    let node = Node::start_with(&room, &[&room.unix("registrar.sock")], &["--config", &table]);
    let expected = [
        ("greedy", vec![room.unix("greedy.sock")]),
        ("encoded", vec![room.unix("encoded.sock")]),
        ("abstract", vec!["/unix/@abstract-of-seven".to_owned()]),
        ("pair", vec!["/ip4/127.0.0.1/tcp/7001".to_owned()]),
        ("several", vec![room.unix("several.sock"), "/ip4/127.0.0.1/tcp/7002".to_owned()]),
        ("six", vec!["/ip6/::1/tcp/7003".to_owned()]),
        ("wildcard", vec!["/ip4/127.0.0.1/tcp/7004".to_owned()]),
    ];
    let register = |(name, _): &(&str, Vec<String>)| -> Running {
        let mut registrant = node.run(&["register", name, "--config", &table]);
        registrant.line_with("registered");
        registrant
    };
    let registrants: Vec<_> = expected.iter().map(register).collect();

    for (name, endpoints) in &expected {
        let found = node.callsign(&["find", name, "--all", "--json"]).succeeds();
        let mut found = endpoints_of(&found.json()[0]);
        // A wildcard is found at every address of this host.
        if *name == "wildcard" {
            assert!(!found.iter().any(|it| it.contains("0.0.0.0")), "{found:?}");
            found.retain(|it| endpoints.contains(it));
        }
        found.sort();
        let mut endpoints = endpoints.clone();
        endpoints.sort();
        assert_eq!(found, endpoints, "{name}");
    }

    // The kernel's choice of a port cannot be published beforehand; the real one is.
    let refused = node.callsign(&["register", "any-port", "--config", &table]).ends_with(2);
    refused.says(&["does not say which port"]);
    let real = "/ip4/127.0.0.1/tcp/7005";
    node.callsign(&["register", "any-port", real, "--ttl", "10m"]).succeeds();
    node.callsign(&["find", "any-port"]).succeeds().prints(&[real]);

    let listed = node.callsign(&["ls"]).succeeds();
    assert_eq!(listed.stdout.lines().count(), 1 + expected.len() + 1, "{listed}");
    drop(registrants);
    node.comes_to(crate::harness::Counts { instances: 1, sessions: 0, waiters: 0, watchers: 0 });
}

fn endpoints_of(record: &Value) -> Vec<String> {
    let endpoints = record["endpoints"].as_array().unwrap();
    endpoints.iter().map(|it| it["endpoint"].as_str().unwrap().to_owned()).collect()
}
