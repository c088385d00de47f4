//! A link that is cut, or loses one direction: sent data is lost, and neither side is notified.

use crate::{
    harness::Room,
    place::{Net, Place, Switch},
    roles::{Listening, Registered, Role},
    row::{ONE, OTHER, actor, heard},
};

/// A way to cut a link: the place, and the commands that cut and heal it.
type Cut<'a> = (&'a Place, [&'a str; 2]);

#[test]
fn an_actor_behind_a_cut_link_is_gone_and_comes_back_once() {
    let room = Room::new();
    let Some(switch) = Switch::new(&room) else { return };
    let [one, other] = [(); 2].map(|()| Net::new(&room));
    switch.join(&room, &one, "one", &format!("{ONE}/24"));
    switch.join(&room, &other, "other", &format!("{OTHER}/24"));

    let listen = vec![room.unix("registrar.sock"), format!("/ip4/{ONE}/tcp/0")];
    let mut registrar = one.place().start(&room, Role::Registrar { listen });
    let listening: Listening = heard(&mut registrar);
    let [near, far] = &listening.endpoints[..] else { panic!("{listening:?}") };
    let ask = |args: &[&str]| room.run(&[&["--registrar", near], args].concat());
    let mut watch = ask(&["watch", "--json"]);
    watch.json("the end of the snapshot", |it| it["change"] == "synced");

    let actors = vec![actor("actor", format!("/ip4/{OTHER}/tcp/0"))];
    let role = Role::Registrant { registrar: far.clone(), actors, lease: None };
    let mut registrant = other.place().start(&room, role);
    drop(heard::<Registered>(&mut registrant));
    let is_change = |it: &serde_json::Value| it["change"].is_string();
    let mut added = watch.json("the actor", is_change);
    assert_eq!(added["change"], "add", "{added}");

    // If a neighbour has another's hardware address, only the frames sent to it are lost.
    let [to_one, to_other] = [ONE, OTHER].map(|it| {
        let lose = format!("ip neighbor replace {it} lladdr 02:00:00:00:00:99 dev eth0");
        [format!("{lose} nud permanent"), format!("ip neighbor delete {it} dev eth0")]
    });
    let middle = switch.place();
    let both: Cut = (&middle, ["ip link set other nomaster", "ip link set other master bridge"]);
    let [one, other] = [one.place(), other.place()];
    let to_registrant: Cut = (&one, to_other.each_ref().map(|it| &**it));
    let to_registrar: Cut = (&other, to_one.each_ref().map(|it| &**it));
    for (place, [lose, heal]) in [both, to_registrant, to_registrar, to_registrant, both] {
        place.run(&room, lose);
        // The waits of a test are far shorter than the kernel's time to give up a connection.
        let gone = watch.json("the end of the actor", is_change);
        assert_eq!((&gone["change"], &gone["reason"]), (&"remove".into(), &"session-ended".into()));

        place.run(&room, heal);
        let back = watch.json("the actor again", is_change);
        assert_eq!((&back["change"], &back["uuid"]), (&"add".into(), &added["uuid"]));
        assert!(back["epoch"].as_u64() > added["epoch"].as_u64(), "{back}");
        added = back;
        let listed = ask(&["ls", "actor", "--json"]).outcome().succeeds().json();
        assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    }
    registrant.outcome().succeeds();
    let gone = watch.json("the end of the actor", is_change);
    assert_eq!((&gone["change"], &gone["reason"]), (&"remove".into(), &"unregistered".into()));
}
