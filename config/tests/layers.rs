//! Environment variables and flags over the file, and the registrars that are asked as a result.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::HashMap, path::Path};

use config::{Diagnostics, Layer, Overrides, Settings, overlay, read, registrars};
use endpoints::Endpoint;

const FILE: &str = r#"
    [registrar]
    listen = ["/unix/run/file.sock"]
    heartbeat = "2s"
    heartbeat_misses = 2

    [network]
    feed = "/ip4/10.0.0.1/tcp/5555"
    registrar = "/ip4/127.0.0.1/tcp/7"
"#;

/// Lays an environment and flags over [`FILE`], each written as `KEY=value` lines, and prints the
/// result.
fn outcome(environment: &str, flags: Overrides) -> String {
    let pairs = environment.lines().map(|it| it.trim().split_once('=').unwrap());
    let variables: HashMap<_, _> = pairs.collect();
    let environment =
        Overrides::from_environment(|name| variables.get(name).map(|it| (*it).to_owned()));
    let (settings, _) = read(FILE, "file.toml").unwrap();
    match overlay(settings, &[environment, flags]) {
        Ok((Settings { registrar, .. }, warnings)) => {
            let listen: Vec<_> = registrar.listen.iter().map(ToString::to_string).collect();
            let mut text = format!(
                "{} {:?} {:?} {} {} {:?}",
                listen.join(" "),
                registrar.handshake_timeout,
                registrar.heartbeat,
                registrar.heartbeat_misses,
                registrar.sessions_max,
                registrar.drain_timeout,
            );
            if !warnings.0.is_empty() {
                text += &format!("\n{warnings}");
            }
            text
        }
        Err(diagnostics) => diagnostics.to_string(),
    }
}

#[test]
fn a_later_layer_goes_over_an_earlier_one() {
    let none = || Overrides::none(Layer::Flags);
    let flags = |listen: &[&str], heartbeat: Option<&str>, misses: Option<&str>| Overrides {
        listen: listen.iter().map(|it| (*it).to_owned()).collect(),
        heartbeat: heartbeat.map(str::to_owned),
        heartbeat_misses: misses.map(str::to_owned),
        ..none()
    };
    let check = |environment: &str, flags: Overrides, expected: &str| {
        assert_eq!(outcome(environment, flags), expected, "{environment}");
    };

    check("", none(), "/unix/run/file.sock 5s 2s 2 4096 5s");
    // What the file says in vain is told, where it is a variable that hides it.
    let in_vain = |keys: &[&str]| {
        let told = keys.iter().map(|key| {
            let variable = format!("CALLSIGN_{}", key.to_uppercase());
            format!(
                "\n{variable}:1:1: warning: `{key}` of the settings file does not count (this \
                 variable hides it: unset {variable})"
            )
        });
        told.collect::<String>()
    };
    let hidden = "/unix/run/file.sock 5s 3s 2 4096 5s".to_owned() + &in_vain(&["heartbeat"]);
    check("CALLSIGN_HEARTBEAT=3s", none(), &hidden);
    check("CALLSIGN_HEARTBEAT= ", none(), "/unix/run/file.sock 5s 2s 2 4096 5s");
    check(
        "CALLSIGN_LISTEN=/unix/@a, /ip4/127.0.0.1/tcp/0,,/unix/@a
         CALLSIGN_HANDSHAKE_TIMEOUT=1s
         CALLSIGN_HEARTBEAT=3s
         CALLSIGN_HEARTBEAT_MISSES=5
         CALLSIGN_SESSIONS_MAX= 9
         CALLSIGN_DRAIN_TIMEOUT=1min",
        none(),
        &("/unix/@a /ip4/127.0.0.1/tcp/0 1s 3s 5 9 60s".to_owned()
            + &in_vain(&["listen", "heartbeat", "heartbeat_misses"])),
    );
    check(
        "CALLSIGN_LISTEN=/unix/@a
         CALLSIGN_HEARTBEAT=3s
         CALLSIGN_SESSIONS_MAX=9",
        flags(&["/unix/run/a,b", "/ip4/127.0.0.1/tcp/7"], Some("4s"), None),
        // Whoever types flags knows of them.
        "/unix/run/a,b /ip4/127.0.0.1/tcp/7 5s 4s 2 9 5s",
    );

    // Each diagnostic names the variable or flag, and the position in it.
    check(
        "CALLSIGN_LISTEN=/unix/@a /udp/1,/ip4/10.0.0.1/tcp/5555
         CALLSIGN_HEARTBEAT=5 parsecs
         CALLSIGN_SESSIONS_MAX=many
         CALLSIGN_DRAIN_TIMEOUT=5",
        flags(&["/ip4/10.0.0.1"], Some("0s"), Some("-1")),
        "CALLSIGN_LISTEN:1:11: error: unsupported protocol `udp` in `/udp/1` (supported are \
         `/unix/<path>`, `/unix/@<name>`, `/ip4|ip6|dns|dns4|dns6/<host>/tcp/<port>`, \
         `/ip6zone/<interface>/ip6/<address>/tcp/<port>`, each with TLS as \
         `/tcp/<port>/tls`, and `/memory/<number>`)\n\
         CALLSIGN_LISTEN:1:17: error: `/ip4/10.0.0.1/tcp/5555` is claimed by the actor `feed` of \
         the settings file (let the registrar listen elsewhere)\n\
         CALLSIGN_HEARTBEAT:1:3: error: `parsecs` is not a unit of time (a duration is a number \
         and a unit, such as `500ms`, `5s`, `2min` or `1h 30min`)\n\
         CALLSIGN_SESSIONS_MAX:1:1: error: `many` is not a number (it may be from 1 to 1000000)\n\
         CALLSIGN_DRAIN_TIMEOUT:1:1: error: `5` has no unit of time (write `5s` for seconds, \
         `5ms` for milliseconds)\n\
         --listen:1:14: error: no `/tcp/<port>` after the host in `/ip4/10.0.0.1` (add a port: \
         `/ip4/10.0.0.1/tcp/1616`)\n\
         --heartbeat:1:1: error: `0s` is out of range for `heartbeat` (it may be from 10ms to 1h)\n\
         --heartbeat-misses:1:1: error: `-1` is out of range for `heartbeat_misses` (it may be \
         from 1 to 100)",
    );
    check(
        "CALLSIGN_LISTEN=/unix/tmp/x/tls",
        none(),
        "/unix/tmp/x/tls 5s 2s 2 4096 5s\n\
         CALLSIGN_LISTEN:1:13: warning: `tls` is taken for a part of the path (if it is one, \
         write `/unix/%2Ftmp%2Fx%2Ftls`; a Unix socket has no `/tls`)\n\
         CALLSIGN_LISTEN:1:1: warning: `listen` of the settings file does not count (this \
         variable hides it: unset CALLSIGN_LISTEN)",
    );
}

#[test]
fn a_place_by_default_gives_way_to_the_file() {
    let check = |file: &str, environment: &str, expected: &str| {
        let pairs = environment.lines().map(|it| it.trim().split_once('=').unwrap());
        let variables: HashMap<_, _> = pairs.collect();
        let environment =
            Overrides::from_environment(|name| variables.get(name).map(|it| (*it).to_owned()));
        let (settings, _) = read(file, "file.toml").unwrap();
        let (settings, warnings) = overlay(settings, &[environment]).unwrap();
        let listen: Vec<_> = settings.registrar.listen.iter().map(ToString::to_string).collect();
        assert_eq!(listen.join(" "), expected);
        assert!(warnings.0.is_empty(), "{warnings}");
    };
    let default = "CALLSIGN_LISTEN_DEFAULT=/unix/@a";
    check("", default, "/unix/@a");
    check("registrar.listen = '/unix/@b'", default, "/unix/@b");
    check("", &format!("{default}\nCALLSIGN_LISTEN=/unix/@c"), "/unix/@c");
}

#[test]
fn the_registrars_that_are_asked() {
    let check = |flags: &[&str], variable: Option<&str>, listen: &[&str], expected: &str| {
        let flags: Vec<_> = flags.iter().map(|it| (*it).to_owned()).collect();
        let listen: Vec<Endpoint> = listen.iter().map(|it| it.parse().unwrap()).collect();
        let join =
            |it: Vec<Endpoint>| it.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let found =
            registrars(&flags, variable, &listen, Path::new("/run/user/7/callsign")).map(join);
        assert_eq!(
            found.unwrap_or_else(|diagnostics: Diagnostics| diagnostics.to_string()),
            expected
        );
    };
    let usual = "/unix/run/user/7/callsign/registrar.sock /ip4/127.0.0.1/tcp/1616";

    check(&[], None, &[], usual);
    check(&[], Some(" "), &[], usual);
    check(&[], None, &["/unix/@r", "/ip4/10.0.0.1/tcp/7"], "/unix/@r /ip4/10.0.0.1/tcp/7");
    check(
        &[],
        None,
        &["/ip4/0.0.0.0/tcp/7/tls", "/ip6/::/tcp/7", "/ip4/127.0.0.1/tcp/0"],
        "/ip4/127.0.0.1/tcp/7/tls /ip6/::1/tcp/7",
    );
    check(
        &[],
        None,
        &["/ip4/127.0.0.1/tcp/0"],
        "[registrar] listen:1:1: error: the registrar of the settings file listens only at ports \
         that are not known in advance (say where it is: --registrar <endpoint>)",
    );
    let variable = Some("/unix/@a,/unix/@b /unix/@a\t/memory/1");
    check(&[], variable, &["/unix/@r"], "/unix/@a /unix/@b /memory/1");
    check(&["/dns/host/tcp/7", "/unix/@c"], variable, &["/unix/@r"], "/dns/host/tcp/7 /unix/@c");

    check(
        &["/ip4/0.0.0.0/tcp/7", "host:7", "/ip4/10.0.0.1/tcp/0"],
        None,
        &[],
        "--registrar:1:1: error: `/ip4/0.0.0.0/tcp/7` can be bound, but not dialed (did you mean \
         `/ip4/127.0.0.1/tcp/7`?)\n\
         --registrar:1:1: error: no `/` at the beginning of `host:7` (did you mean \
         `/dns/host/tcp/7`?)\n\
         --registrar:1:1: error: `/ip4/10.0.0.1/tcp/0` can be bound, but not dialed",
    );
    check(
        &[],
        Some("/unix/@a\u{3000}/unix"),
        &[],
        "CALLSIGN_REGISTRAR:1:15: error: no value after `/unix` in `/unix`",
    );
}
