//! Who reaches whom: five kinds of endpoints, from each place of a caller.
//!
//! Each test has an actor's place and a caller's. The actor binds an endpoint of each kind and
//! registers it; an impostor binds the same texts in the caller's place, wherever possible; the
//! caller looks up each and connects. The results are compared with `matrix.txt`. Whatever that
//! file says, some rules always hold: the nearest eligible endpoint is used, an ineligible one is
//! not dialed, nobody else receives the actor's messages, and the actor is still registered
//! afterwards for a caller that can reach it.

use crate::{
    harness::{Node, Room},
    place::{Held, Net, Place, can, can_make_namespaces},
    roles::{Found, Listening, Registered, Role},
    row::{LEASE, ONE, Pair, Row, actor, heard, ipv6_actors, sockets},
};

#[test]
fn the_same_place() {
    let Some((room, pair)) = pair() else { return };
    let place = pair.one.place();
    Row::new("the same place", &place, &place).check(&room);
}

#[test]
fn another_network_namespace_with_a_link_between() {
    let Some((room, pair)) = pair() else { return };
    let (actor, caller) = (pair.one.place(), pair.other.place());
    Row::new("another network namespace, with a link between", &actor, &caller).check(&room);
}

#[test]
fn another_network_namespace_without_a_way_between() {
    let Some((room, pair)) = pair() else { return };
    let alone = Net::new(&room);
    let (actor, caller) = (pair.one.place(), alone.place());
    Row::new("another network namespace, no way between", &actor, &caller).check(&room);
}

#[test]
fn another_network_namespace_with_the_same_addresses() {
    let Some((room, pair)) = pair() else { return };
    let twin = Pair::new(&room);
    let (actor, caller) = (pair.one.place(), twin.one.place());
    Row::new("another network namespace, with the same addresses", &actor, &caller).check(&room);
}

#[test]
fn another_network_namespace_whose_neighbour_has_the_address() {
    let Some((room, pair)) = pair() else { return };
    let twin = Pair::new(&room);
    let (actor, caller) = (pair.one.place(), twin.other.place());
    Row::new("another network namespace, whose neighbour has the address", &actor, &caller)
        .impostor(&twin.one.place())
        .misleads_who_asks_for_no_proof()
        .check(&room);
}

#[test]
fn another_mount_namespace_with_another_socket_at_the_path() {
    let Some((room, pair)) = pair() else { return };
    let here = pair.one.place();
    let script = format!("mount -t tmpfs none {}", sockets(&room));
    let other = Held::mounts(&room, &here, &script);
    both_ways("another mount namespace, another folder at the path", &here, &other.place(), &room);
}

#[test]
fn another_root() {
    let Some((room, pair)) = pair() else { return };
    let jail = jail(&room);
    let script = format!("mkdir -p {jail}/proc; mount -t proc none {jail}/proc");
    let mounts = Held::mounts(&room, &pair.one.place(), &script);
    let outside = mounts.place();
    both_ways("another root (chroot)", &outside, &outside.below(&jail), &room);
}

/// Without `/proc` a process cannot tell on which host it is, and takes nothing for local.
#[test]
fn another_root_without_proc() {
    let Some((room, pair)) = pair() else { return };
    let outside = pair.one.place();
    let inside = outside.below(&jail(&room));
    Row::new("another root (chroot), without /proc", &outside, &inside).check(&room);
}

#[test]
fn a_bind_mount_under_another_path() {
    let Some((room, pair)) = pair() else { return };
    let here = pair.one.place();
    let volume = volume(&room);
    let script = format!("mount --bind {volume} {}", sockets(&room));
    let other = Held::mounts(&room, &here, &script);
    both_ways("a bind mount of a folder under another path", &here, &other.place(), &room);
}

#[test]
fn a_bind_mount_under_the_same_path() {
    let Some((room, pair)) = pair() else { return };
    let volume = volume(&room);
    let script = format!("mount --bind {volume} {}", sockets(&room));
    let one = Held::mounts(&room, &pair.one.place(), &script);
    let other = Held::mounts(&room, &pair.one.place(), &script);
    let title = "two mount namespaces, one folder at the path";
    Row::new(title, &one.place(), &other.place()).check(&room);
}

#[test]
fn an_overlay_and_what_is_below_it() {
    let Some((room, pair)) = pair() else { return };
    let Some(merged) = overlay(&room, &pair.one.place()) else { return };
    let script = format!("mount --bind {}/upper {}", volume(&room), sockets(&room));
    let upper = Held::mounts(&room, &merged.place(), &script);
    both_ways("an overlay, and its upper folder", &merged.place(), &upper.place(), &room);
}

#[test]
fn one_overlay_in_two_mount_namespaces() {
    let Some((room, pair)) = pair() else { return };
    let Some(merged) = overlay(&room, &pair.one.place()) else { return };
    let other = Held::mounts(&room, &merged.place(), "true");
    let title = "one overlay, in two mount namespaces";
    Row::new(title, &merged.place(), &other.place()).check(&room);
}

#[test]
fn another_pid_namespace() {
    let Some((room, pair)) = pair() else { return };
    let here = pair.one.place();
    let other = Held::processes(&room, &here, "true");
    both_ways("another PID namespace", &here, &other.place(), &room);
}

#[test]
fn another_user_namespace() {
    let Some((room, pair)) = pair() else { return };
    let here = pair.one.place();
    let other = here.then(&["unshare", "--user", "--map-root-user"]);
    both_ways("another user namespace", &here, &other, &room);
}

#[test]
fn another_user_namespace_that_knows_no_user() {
    let Some((room, pair)) = pair() else { return };
    let here = pair.one.place();
    let other = here.then(&["unshare", "--user"]);
    both_ways("another user namespace, without a user map", &here, &other, &room);
}

/// Link-local addresses contain the name of the link, which another namespace may have given to
/// another link.
#[test]
fn ip_version_6() {
    let Some((room, pair)) = pair() else { return };
    if !can(&room, "have IP version 6", "test -e /proc/net/if_inet6") {
        return;
    }
    let twin = Pair::new(&room);
    pair.add_ipv6(&room);
    twin.add_ipv6(&room);
    let actor = pair.one.place();
    for (title, caller) in [
        ("IPv6: the same place", pair.one.place()),
        ("IPv6: another network namespace, with a link between", pair.other.place()),
        ("IPv6: another network namespace, with the same addresses", twin.one.place()),
    ] {
        Row::new(title, &actor, &caller).actors(ipv6_actors()).check(&room);
    }
}

/// As with containers: all namespaces differ, and a folder is shared.
#[test]
fn a_container_with_a_shared_folder() {
    let Some((room, pair)) = pair() else { return };
    let (here, there) = (pair.one.place(), pair.other.place());
    let container = Held::processes(&room, &there, "mount -t tmpfs none /run");
    let other = container.place().then(&["unshare", "--user", "--map-root-user"]);
    let title = "a container, with a link and a shared folder";
    Row::new(title, &here, &other).check(&room);
}

/// Two actors with the same texts, each in its own mount namespace: neither blocks the other, and
/// the registrar, which sees neither socket, removes neither.
#[test]
fn one_path_in_two_mount_namespaces_is_two_places() {
    let Some((room, _pair)) = pair() else { return };
    let script = format!("mount -t tmpfs none {}", sockets(&room));
    let worlds = [(); 2].map(|()| Held::mounts(&room, &Place::default(), &script));
    let node = Node::start(&room);
    let mut registrants = Vec::new();
    for (world, name) in worlds.iter().zip(["one", "two"]) {
        let actors = vec![actor(name, room.unix("sockets/actor.sock"))];
        let registrar = node.endpoint().to_owned();
        let role = Role::Registrant { registrar, actors, lease: LEASE };
        let mut registrant = world.place().start(&room, role);
        drop(heard::<Registered>(&mut registrant));
        registrants.push(registrant);
    }
    for (world, name) in worlds.iter().zip(["one", "two"]) {
        let names = vec![name.to_owned()];
        let role = Role::Caller { registrar: node.endpoint().to_owned(), names };
        let found: Found = heard(&mut world.place().start(&room, role));
        assert!(found[name].is_answered(), "{found:#?}");
    }
    for name in ["one", "two"] {
        let record = node.callsign(&["ls", name, "--json"]).succeeds().json();
        assert!(record[0]["suspicion"].is_null(), "{record}");
    }
}

/// A neighbour of the registrar has the actor's address, and refuses. That is no evidence against
/// the actor, which is in another network.
#[test]
fn a_refusal_by_a_neighbour_with_the_same_address_takes_out_nobody() {
    let Some((room, pair)) = pair() else { return };
    let twin = Pair::new(&room);
    let listen = vec![room.unix("registrar.sock")];
    let mut registrar = twin.other.place().start(&room, Role::Registrar { listen });
    let registrar = heard::<Listening>(&mut registrar).endpoints.remove(0);
    let mut watch = room.run(&["--registrar", &registrar, "watch", "--json"]);
    watch.json("the end of the snapshot", |it| it["change"] == "synced");

    let actors = vec![actor("actor", format!("/ip4/{ONE}/tcp/0"))];
    let role = Role::Registrant { registrar: registrar.clone(), actors, lease: LEASE };
    let mut registrant = pair.one.place().start(&room, role);
    drop(heard::<Registered>(&mut registrant));
    let call = || Role::Caller { registrar: registrar.clone(), names: vec!["actor".to_owned()] };
    let found: Found = heard(&mut twin.other.place().start(&room, call()));
    assert_eq!(found["actor"].candidates[0].outcome, "connection refused: nobody listens there");

    let changed = watch.json("what the registrar makes of it", |it| {
        it["change"] == "remove" || it["suspicion"].is_object()
    });
    assert_eq!(changed["change"], "update", "{changed}");
    let found: Found = heard(&mut pair.other.place().start(&room, call()));
    assert!(found["actor"].is_answered(), "{found:#?}");
}

/// Checks a row with the caller in the other place, and one with the actor there.
#[track_caller]
fn both_ways(title: &str, here: &Place, other: &Place, room: &Room) {
    Row::new(&format!("{title}; the caller is there"), here, other).check(room);
    Row::new(&format!("{title}; the actor is there"), other, here).check(room);
}

/// Makes a room and two linked network namespaces, or reports that this machine cannot.
fn pair() -> Option<(Room, Pair)> {
    let room = Room::new();
    std::fs::create_dir(sockets(&room)).unwrap();
    if !can_make_namespaces(&room) {
        return None;
    }
    let pair = Pair::new(&room);
    Some((room, pair))
}

/// Makes a folder for use as a root, with its own folder at the path of the sockets.
fn jail(room: &Room) -> String {
    let jail = room.file("jail").display().to_string();
    std::fs::create_dir_all(format!("{jail}{}", sockets(room))).unwrap();
    jail
}

/// Makes a folder for use as a mount elsewhere.
fn volume(room: &Room) -> String {
    let volume = room.file("volume").display().to_string();
    std::fs::create_dir_all(&volume).unwrap();
    volume
}

/// Mounts an overlay over the folder of the sockets, or reports that this machine cannot.
fn overlay(room: &Room, from: &Place) -> Option<Held> {
    let (volume, sockets) = (volume(room), sockets(room));
    // An overlay's upper folder cannot be on another overlay, which the room may be on.
    let script = format!(
        "mount -t tmpfs none {volume}
         cd {volume}
         mkdir lower upper work
         mount -t overlay none -o lowerdir=lower,upperdir=upper,workdir=work {sockets}"
    );
    let tried = format!("unshare --mount --propagation private sh -ec '{script}'");
    can(room, "mount an overlay", &tried).then(|| Held::mounts(room, from, &script))
}
