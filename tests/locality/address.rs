//! An address that an interface loses, and has again later: another host may have it in between.

use serde_json::Value;

use crate::{
    harness::Room,
    place::{Net, can_make_namespaces},
    roles::{Actor, Listening, Registered, Role, Told},
    row::{actor, heard},
};

#[test]
fn an_address_that_an_interface_loses_is_not_published_meanwhile() {
    let room = Room::new();
    if !can_make_namespaces(&room) {
        return;
    }
    let (one, other) = (Net::new(&room), Net::new(&room));
    one.link(&room, ["eth0", "10.77.0.1/24"], &other, ["eth0", "10.77.0.2/24"]);
    let change = |verb: &str| {
        let script = format!(
            "ip address {verb} 10.77.0.9/24 dev eth0; ip address {verb} fd77::9/64 dev eth0 {}",
            if verb == "add" { "nodad" } else { "" }
        );
        one.place().run(&room, &script);
    };
    change("add");
    let listen = vec![room.unix("registrar.sock"), "/ip4/10.77.0.9/tcp/0".to_owned()];
    let mut registrar = one.place().start(&room, Role::Registrar { listen });
    let endpoints = heard::<Listening>(&mut registrar).endpoints;
    let near = &endpoints[0];
    let name = |name: &str, endpoints: &[&str]| Actor {
        endpoints: endpoints.iter().map(|it| (*it).to_owned()).collect(),
        ..actor(name, String::new())
    };
    let actors = vec![
        name("alone", &["/ip4/10.77.0.9/tcp/0"]),
        name("both", &["/ip6/fd77::9/tcp/0", "/ip4/10.77.0.1/tcp/0"]),
        // Beside a wildcard, which is told of the same change.
        name("beside", &["/ip4/10.77.0.9/tcp/0", "/ip4/0.0.0.0/tcp/0"]),
    ];
    let role = Role::Registrant { registrar: near.clone(), actors, lease: None };
    let mut registrant = one.place().start(&room, role);
    let registered: Registered = heard(&mut registrant);
    let watch = |name: &str| room.run(&["--registrar", near, "watch", name, "--json"]);
    let mut watches: Vec<_> = registered.keys().map(|it| watch(it)).collect();
    let at = |it: &Value| -> Option<Vec<String>> {
        let mut at: Vec<_> = it["endpoints"]
            .as_array()?
            .iter()
            .map(|it| it["endpoint"].as_str().unwrap_or_default().to_owned())
            .collect();
        at.sort();
        Some(at)
    };
    let sorted = |endpoints: &[String]| {
        let mut endpoints = endpoints.to_vec();
        endpoints.sort();
        endpoints
    };
    let is_lost = |it: &String| it.contains("10.77.0.9") || it.contains("fd77::9");
    let left = |all: &[String]| all.iter().filter(|it| !is_lost(it)).cloned().collect::<Vec<_>>();
    // Nobody is told of the registrar's own entry, so it is asked for until it is so.
    let find = ["--registrar", near, "find", "registrar", "--json"];
    let own_at = |expected: &[String]| loop {
        if at(&room.run(&find).outcome().succeeds().json()).as_deref() == Some(expected) {
            return;
        }
    };
    for _ in 0..2 {
        for (watch, endpoints) in watches.iter_mut().zip(registered.values()) {
            watch.json("all", |it| at(it) == Some(sorted(endpoints)));
        }
        own_at(&sorted(&endpoints));

        change("del");
        for (watch, endpoints) in watches.iter_mut().zip(registered.values()) {
            watch.json("what is left", |it| at(it) == Some(sorted(&left(endpoints))));
        }
        own_at(&sorted(&left(&endpoints)));
        let mut told: Vec<_> = (0..3).map(|_| heard::<Told>(&mut registrant).lost).collect();
        told.sort();
        let lost = |name: &str| {
            let lost = registered[name].iter().find(|it| is_lost(it)).unwrap();
            format!("this host no longer has the address of {lost}")
        };
        assert_eq!(told, sorted(&["alone", "both", "beside"].map(lost)));
        change("add");
    }
    registrant.outcome().succeeds();
    registrar.outcome().succeeds();
}
