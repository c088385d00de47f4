//! Leases by HTTP, asked for by curl.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::{
    harness::{Node, Room, Running},
    http::{Answer, ask, curl, has_curl, start},
};

#[test]
fn a_lease_is_made_renewed_and_removed() {
    if !has_curl() {
        return;
    }
    let room = Room::new();
    let node = start(&room, "");
    let uuid = "7d444840-9dc0-11d1-b245-5ffdce74fad2";
    let path = format!("/v1/instances/{uuid}");
    let put = |body: &str| ask(&room, &["-X", "PUT", "--data-binary", body], &path);
    let body = |more: &str| {
        format!("{{\"name\": \"feed\", \"endpoints\": [\"/ip4/127.0.0.1/tcp/5555\"]{more}}}")
    };
    let made = put(&body(", \"ttl_ms\": 240000, \"metadata\": {\"desk\": \"fx\"}"));
    assert_eq!((made.status, &made.json()["renewed"]), (201, &json!(false)), "{made:?}");
    let listed = node.callsign(&["ls", "--json"]).json();
    let of_here = format!("user:{}", rustix::process::geteuid().as_raw());
    assert_eq!(listed[0]["uuid"], uuid);
    assert_eq!((&listed[0]["owner"], &listed[0]["ttl_ms"]), (&json!(of_here), &json!(240_000)));
    assert_eq!(listed[0]["metadata"], json!({"desk": "fx"}));
    assert_eq!(listed[0]["locality"], "loopback", "the registrar has stamped it");
    let epoch = |listed: &Value| listed[0]["epoch"].as_u64().unwrap();

    let renewed = put(&body(", \"ttl_ms\": 240000, \"metadata\": {\"desk\": \"fx\"}"));
    assert_eq!((renewed.status, &renewed.json()["renewed"]), (200, &json!(true)), "{renewed:?}");
    let still = node.callsign(&["ls", "--json"]).json();
    assert_eq!(epoch(&still), epoch(&listed), "a renewal is no new registration");

    // Whoever repeats its request does not undo what an operator wants.
    node.callsign(&["drain", "feed"]).succeeds();
    for (more, status) in [(", \"metadata\": {\"desk\": \"fx\"}", 200), ("", 201)] {
        let again = put(&body(&format!(", \"ttl_ms\": 240000{more}")));
        assert_eq!(
            (again.status, &again.json()["state"]),
            (status, &json!("draining")),
            "{again:?}"
        );
    }
    node.callsign(&["find", "feed"]).ends_with(1).says(&["draining"]);
    let ready = put(&body(", \"ttl_ms\": 240000, \"state\": \"ready\""));
    assert_eq!((ready.status, &ready.json()["state"]), (201, &json!("ready")), "{ready:?}");

    let changed = put(&body(", \"ttl_ms\": 240000, \"state\": \"draining\""));
    assert_eq!(changed.status, 201, "{changed:?}");
    let now = node.callsign(&["ls", "--all", "--json"]).json();
    assert!(epoch(&now) > epoch(&listed) && now[0]["state"] == "draining", "{now}");

    let check = |body: &str, status: u16, said: &str| {
        let answer = put(body);
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(said), "{answer:?}");
    };
    check("", 400, "the body is empty");
    check("[]", 400, "the body is an array, not an object");
    check("{\"name\": feed}", 400, "line 1, column");
    check(&body(""), 400, "`ttl_ms` is missing");
    check(&body(", \"ttl_ms\": 1"), 400, "");
    check(&body(", \"ttl_ms\": \"1s\""), 400, "`ttl_ms` is the string `1s`, and should be");
    check(&body(", \"ttl\": \"1s\", \"ttl_ms\": 1000"), 400, "no field `ttl`");
    check(&body(", \"ttl_ms\": 1000, \"state\": \"up\""), 400, "`state` is `up`");
    check(&body(", \"ttl_ms\": 1000, \"token\": 7"), 400, "`token` and `resume`");
    let at = |name: &str, at: &str| {
        format!("{{\"name\": \"{name}\", \"endpoints\": [{at}], \"ttl_ms\": 1000}}")
    };
    check(&at("a b", "\"/unix/@x\""), 400, "`name`: ");
    check(&at("x", "\"nowhere\""), 400, "`endpoints[0]`: ");
    check(&at("x", ""), 400, "`endpoints` is empty");
    let long = room.write("long.json", &"x".repeat(200_000));
    check(&format!("@{long}"), 413, "");

    let delete = || ask(&room, &["-X", "DELETE"], &path);
    assert_eq!(delete().status, 204);
    assert_eq!(delete().status, 404);
    assert_eq!(ask(&room, &["-X", "DELETE"], "/v1/instances/x").status, 400);
    assert_eq!(node.callsign(&["ls", "--json"]).json(), json!([]));
    node.stop().succeeds();
}

/// Whoever has an exclusive name by a lease is told its token, and comes back with it.
#[test]
fn an_exclusive_name_has_a_token() {
    if !has_curl() {
        return;
    }
    let room = Room::new();
    let node = start(&room, "[names]\nleader = { exclusive = true }\n");
    let put = |number: u32, more: &str| {
        let path = format!("/v1/instances/7d444840-9dc0-11d1-b245-5ffdce74fad{number}");
        let body = format!(
            "{{\"name\": \"leader\", \"endpoints\": [\"/unix/@leader-{number}\"], \
             \"ttl_ms\": 240000{more}}}"
        );
        ask(&room, &["-X", "PUT", "--data-binary", &body], &path)
    };
    let first = put(1, "");
    let held = first.json();
    assert_eq!(first.status, 201, "{first:?}");
    let token = held["token"].as_u64().unwrap();
    let resume = held["resume"].as_str().unwrap();
    assert_eq!(node.callsign(&["ls", "--json"]).json()[0]["token"], token);
    let renewed = put(1, "").json();
    assert_eq!((&renewed["renewed"], &renewed["token"]), (&json!(true), &json!(token)));

    // The advice to others is in words of HTTP.
    let second = put(2, "");
    let said = second.json()["detail"].as_str().unwrap().to_owned();
    assert_eq!(second.status, 403, "{second:?}");
    assert!(said.contains("repeat the request until it is free") && !said.contains("--"), "{said}");

    // After a restart others are newcomers, and it is not, because it shows what it had.
    node.kill();
    let settings = room.file("callsign.toml").display().to_string();
    let more = ["--config", &*settings, "--settle-time", "1min"];
    let node = Node::start_with(&room, &[&room.unix("registrar.sock")], &more);
    let second = put(2, "");
    let said = second.json()["detail"].to_string();
    assert!(said.contains("repeat the request then") && !said.contains("--"), "{second:?}");
    let again = put(1, &format!(", \"token\": {token}, \"resume\": \"{resume}\""));
    assert_eq!((again.status, &again.json()["token"]), (201, &json!(token)), "{again:?}");
    let wrong = put(1, &format!(", \"token\": {token}, \"resume\": \"nonsense\""));
    assert_eq!(wrong.status, 400, "{wrong:?}");
    node.stop().succeeds();
}

#[test]
fn rules_and_rights_hold_as_over_the_registrars_own_protocol() {
    let is_root = rustix::process::geteuid().is_root();
    if !has_curl() || !is_root {
        eprintln!("skipped: it takes root to be other users");
        return;
    }
    let room = Room::new();
    let more = "[names.\"db*\"]\nfind = [\"user:4711\"]\nregister = [\"user:4711\"]\n";
    let settings = format!("[http]\nlisten = \"{}\"\n{more}", room.unix("http.sock"));
    let settings = room.write(
        "callsign.toml",
        &format!("[registrar]\nsettle_time = \"0s\"\nsocket_mode = \"0666\"\n{settings}"),
    );
    std::fs::set_permissions(room.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let node = Node::start_with(&room, &[&room.unix("registrar.sock")], &["--config", &settings]);
    let mode = std::fs::metadata(room.file("http.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666, "the mode is that of the registrar's socket");
    let uuid = "7d444840-9dc0-11d1-b245-5ffdce74fad2";
    let path = format!("/v1/instances/{uuid}");
    let body = "{\"name\": \"db\", \"endpoints\": [\"/unix/@db\"], \"ttl_ms\": 240000}";
    let as_user = |user: &str, words: &[&str], path: &str| {
        let curl = curl(&room, &[&["--include"], words].concat(), path);
        let mut command = room.other_command("setpriv");
        command.args(["--reuid", user, "--regid", user, "--clear-groups", "curl"]);
        command.args(curl.get_args());
        Answer::read(&Running::start(command).outcome().succeeds().stdout)
    };
    let put = ["-X", "PUT", "--data", body];
    assert_eq!(as_user("4712", &put, &path).status, 403);
    assert_eq!(as_user("4711", &put, &path).status, 201);
    assert_eq!(as_user("4712", &["-X", "DELETE"], &path).status, 404, "it is hidden");
    for (user, seen) in [("4711", true), ("4712", false), ("0", true)] {
        let listed = as_user(user, &[], "/v1/actors").json();
        assert_eq!(listed.as_array().unwrap().len(), usize::from(seen), "{user}: {listed}");
        let expected = if seen { 200 } else { 404 };
        assert_eq!(as_user(user, &[], "/v1/actors/db").status, expected, "{user}");
        assert_eq!(as_user(user, &[], "/v1/resolve/db").status, expected, "{user}");
    }
    assert_eq!(as_user("4711", &["-X", "DELETE"], &path).status, 204);
    node.stop().succeeds();
}
