//! Hosts with a configured id.

use crate::harness::{Node, Room};

#[test]
fn only_who_goes_by_the_same_host_id_takes_an_actor_for_its_own_hosts() {
    let room = Room::new();
    let [one, other] = ["one", "other"]
        .map(|it| room.write(&format!("{it}.toml"), &format!("[host]\nid = \"{it}\"\n")));
    let node = Node::start_with(&room, &[&room.unix("registrar.sock")], &["--config", &one]);
    let place = room.abstract_unix("feed");
    let mut registrant =
        node.run(&["register", "feed", &place, "--config", &one, "--state", "ready"]);
    registrant.line_with("registered");

    let found = node.callsign(&["find", "feed", "--config", &one]).succeeds();
    found.prints(&[&place, "unix socket"]);
    let elsewhere = ["it is on another host"];
    node.callsign(&["find", "feed", "--config", &other]).ends_with(1).says(&elsewhere);
    node.callsign(&["find", "feed"]).ends_with(1).says(&elsewhere);
    node.callsign(&["connect", "feed", "--config", &other]).ends_with(1).says(&elsewhere);
}
