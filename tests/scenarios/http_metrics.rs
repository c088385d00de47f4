//! Metrics, as Prometheus reads them.

use std::process::Command;

use serde_json::Value;

use crate::{
    harness::{Counts, LIMIT, Peer, Room, Running, free_port, now, query, register, registration},
    http::{actor, get, has_curl, start},
};

#[test]
fn metrics_count_what_happens_and_promtool_finds_no_fault() {
    if !has_curl() {
        return;
    }
    let room = Room::new();
    let node = start(&room, "");
    let feed = actor(&node, "feed");
    feed.kill();
    let deadline = now() + LIMIT;
    while get(&room, "/v1/actors/feed").status != 404 {
        assert!(now() < deadline, "it has not gone");
    }
    // Every 64th look-up of a session, and every 8th registration, has its time taken.
    let mut peer = Peer::greet(node.endpoint());
    let (find, body) = query("nobody");
    for _ in 0..64 {
        peer.call(find, &body).unwrap();
    }
    for at in 0..8 {
        let (method, body) = register(&registration(&format!("more-{at}"), vec![]));
        peer.call(method, &body).unwrap();
    }
    drop(peer);
    node.comes_to(Counts { instances: 0, sessions: 0, waiters: 0, watchers: 0 });
    let metrics = get(&room, "/metrics");
    assert_eq!(metrics.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let value = |name: &str| {
        let line = metrics.body.lines().find_map(|it| it.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name}: {}", metrics.body)).parse::<f64>().unwrap()
    };
    assert_eq!(value("callsign_instances"), 0.0);
    assert_eq!(value("callsign_registrations_total"), 9.0);
    assert_eq!(value("callsign_removals_total{reason=\"session-ended\"}"), 9.0);
    assert_eq!(value("callsign_suspects"), 0.0);
    for what in ["lookup", "registration"] {
        let name = format!("callsign_{what}_duration_seconds");
        assert!(value(&format!("{name}_sum")) > 0.0, "{}", metrics.body);
        assert_eq!(
            value(&format!("{name}_bucket{{le=\"+Inf\"}}")),
            value(&format!("{name}_count"))
        );
    }
    for what in ["instances", "sessions", "jobs_waiting"] {
        let name = format!("callsign_{what}");
        assert!(value(&format!("{name}_limit")) > value(&name), "{name}");
    }
    assert!(value("callsign_lookups_total") > 0.0 && value("process_open_fds") > 0.0);
    let missing = "callsign_http_requests_total{route=\"/v1/actors/{name}\",code=\"404\"}";
    assert!(value(missing) > 0.0);

    let mut promtool = room.other_command("promtool");
    promtool.args(["check", "metrics"]);
    if Command::new("promtool").arg("--version").output().is_err() {
        eprintln!("skipped: `promtool` cannot be started");
    } else {
        let checked = Running::start(promtool).write(&metrics.body).outcome().succeeds();
        assert_eq!((&*checked.stdout, &*checked.stderr), ("", ""), "{checked}");
    }
    node.stop().succeeds();
}

/// Prometheus finds the metrics, and what the dashboard asks for is there.
#[test]
fn prometheus_scrapes_what_the_dashboard_shows() {
    let is_there = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if !has_curl() || !is_there("prometheus") {
        eprintln!("skipped: `prometheus` cannot be started");
        return;
    }
    let room = Room::new();
    let node = start(&room, "");
    let _feed = actor(&node, "feed");
    let target = node.http()[1].rsplit('/').next().unwrap();
    let config = room.write(
        "prometheus.yml",
        &format!(
            "global:\n  scrape_interval: 1s\nscrape_configs:\n  - job_name: callsign\n    \
             static_configs:\n      - targets: [\"127.0.0.1:{target}\"]\n"
        ),
    );
    let place = free_port();
    let mut command = room.other_command("prometheus");
    command.arg(format!("--config.file={config}"));
    command.arg(format!("--storage.tsdb.path={}", room.file("series").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{place}"));
    let prometheus = Running::start(command);
    let ask = |query: &str| {
        let mut curl = room.other_command("curl");
        curl.args(["--silent", "--get", "--data-urlencode", &format!("query={query}")]);
        curl.arg(format!("http://127.0.0.1:{place}/api/v1/query"));
        let answer: Value =
            serde_json::from_slice(&curl.output().unwrap().stdout).unwrap_or_default();
        answer["data"]["result"].as_array().cloned().unwrap_or_default()
    };
    let deadline = now() + LIMIT;
    while ask("callsign_instances == 1").is_empty() {
        assert!(now() < deadline, "it has scraped nothing");
    }
    // Every series of the dashboard is known, apart from the way in which it is shown.
    let dashboard = include_str!("../../docs/grafana.json");
    let dashboard: Value = serde_json::from_str(dashboard).unwrap();
    let targets = dashboard["panels"].as_array().unwrap().iter();
    let targets = targets.flat_map(|it| it["targets"].as_array().unwrap());
    let mut asked = 0;
    for target in targets {
        let expression = target["expr"].as_str().unwrap();
        let expression = expression.replace("$instance", ".*").replace("$__rate_interval", "1m");
        while ask(&expression).is_empty() {
            assert!(now() < deadline, "there is nothing for {expression}");
        }
        asked += 1;
    }
    assert!(asked > 20, "{asked}");
    drop(prometheus);
    node.stop().succeeds();
}
