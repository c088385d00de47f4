//! Quotas of the settings file: their owners, the errors beyond them, and their reload while a
//! registrar serves.

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Room, Running};

fn settings(place: &str, more: &str) -> String {
    format!("[registrar]\nlisten = \"{place}\"\n{more}\n")
}

/// Registers an actor for some time.
fn register(room: &Room, place: &str, name: &str) -> crate::harness::Outcome {
    let at = format!("/unix/@{name}-of-quotas");
    let args = ["register", name, &at, "--ttl", "1h", "--state", "ready", "--registrar", place];
    room.callsign(&args)
}

#[test]
fn the_settings_say_how_much_an_owner_may_use_and_are_read_again() {
    let room = Room::new();
    let place = room.unix("registrar.sock");
    let file = room.write("callsign.toml", &settings(&place, "[quotas.trusted]\ninstances = 2"));
    let mut registrar = Running::start(room.command(&["registrar", "--config", &file]));
    registrar.line_with("listening");
    register(&room, &place, "one").succeeds();
    register(&room, &place, "two").succeeds();
    let refused = register(&room, &place, "three").ends_with(4);
    refused.says(&["has 2 instances here, of at most 2: take some out", "raise `instances`"]);
    // The same instance again is not another one.
    register(&room, &place, "two").succeeds();

    let status = ["status", "--owners", "--registrar", &place];
    room.callsign(&status).succeeds().prints(&["OWNER", "instances", "bytes"]);
    let shown = || room.callsign(&[&status[..], &["--json"]].concat()).succeeds().json();
    let mut shown_now = shown();
    // An earlier client may still be connected.
    while shown_now[0]["owners"][0]["sessions"]["used"] != 1 {
        shown_now = shown();
    }
    let own = &shown_now[0]["owners"][0];
    assert_eq!(own["instances"], json!({ "used": 2, "quota": 2 }));
    assert_eq!(shown_now[0]["owners_total"], json!(1));

    room.write("callsign.toml", &settings(&place, "[quotas.trusted]\ninstances = 3"));
    registrar.signal(Signal::HUP);
    registrar.says("has been read again");
    register(&room, &place, "three").succeeds();
    // An owner that has more than its new quota keeps it, and gets no more.
    room.write("callsign.toml", &settings(&place, "[quotas.trusted]\ninstances = 1"));
    registrar.signal(Signal::HUP);
    registrar.says("has been read again");
    register(&room, &place, "four").ends_with(4).says(&["has 3 instances here, of at most 1"]);
    room.callsign(&["find", "three", "--all", "--registrar", &place]).succeeds();

    // After a fault they stay as they were.
    let faulty = settings(&place, "[quotas.\"user:nobody-of-that-name\"]\ninstances = 9");
    let file = room.write("callsign.toml", &faulty);
    registrar.signal(Signal::HUP);
    registrar.says("there is no user `nobody-of-that-name`");
    registrar.says("the settings stay as they were");
    room.callsign(&["check", &file]).ends_with(2).prints(&["there is no user", "getent passwd"]);
    registrar.stop().succeeds();
}
