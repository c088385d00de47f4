//! Returns to exclusive names after a restart of the registrar: only the former holder gets its
//! name.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    path::PathBuf,
};

use wire::{
    ErrorKind, decode_body, encode_body,
    registrar::{Register, Registered, UNREGISTER, Unregister},
};

use crate::harness::{Node, Peer, Room, register, registration};

/// Starts a node with the exclusive name `leader`, and with this much time for its former holders
/// to return.
fn start<'room>(room: &'room Room, place: &str, settle_time: &str) -> Node<'room> {
    let file = room.write("market.toml", "[names]\nleader = { exclusive = true }\n");
    let words = ["--config", &file, "--settle-time", settle_time, "--drain-timeout", "100ms"];
    Node::start_with(room, &[place], &words)
}

/// Starts a node to which no client can return, and registers an instance under the name. Returns
/// its resume token.
fn hold(room: &Room, place: &str) -> Register {
    let node = start(room, place, "0s");
    let held = registration("leader", Vec::new());
    let mut holder = Peer::greet(node.endpoint());
    let Registered { token, resume, .. } = ask(&mut holder, &held).unwrap();
    assert!(token.is_some() && resume.is_some());
    node.kill();
    Register { token, resume, ..held }
}

fn ask(peer: &mut Peer, registration: &Register) -> Result<Registered, ErrorKind> {
    let (method, body) = register(registration);
    let answer = peer.call(method, &body).map_err(|it| it.kind)?;
    Ok(decode_body(&answer).unwrap())
}

/// Returns the path at which the node records the holders of names.
fn written(room: &Room) -> PathBuf {
    let folder = fs::read_dir(room.path().join("callsign")).unwrap();
    // A node that was killed while it wrote leaves its draft beside it.
    let is_it = |it: &PathBuf| {
        it.file_name().unwrap().to_str().unwrap().starts_with("tokens-") && it.extension().is_none()
    };
    folder.map(|it| it.unwrap().path()).find(is_it).unwrap()
}

#[test]
fn a_forged_resume_token_makes_a_newcomer() {
    let room = Room::new();
    let place = room.unix("registrar.sock");
    let back = hold(&room, &place);
    let node = start(&room, &place, "1m");
    let token = back.token.unwrap();
    let forged = [
        Register { token: Some(1), resume: None, ..registration("leader", Vec::new()) },
        Register { token: Some(1), ..back.clone() },
        Register { resume: None, ..back.clone() },
        Register { token: Some(token + 1), ..back.clone() },
        Register { uuid: registration("leader", Vec::new()).uuid, ..back.clone() },
    ];
    let mut forger = Peer::greet(node.endpoint());
    for forged in &forged {
        assert_eq!(ask(&mut forger, forged), Err(ErrorKind::Unsettled), "{forged:?}");
    }
    let mut holder = Peer::greet(node.endpoint());
    assert_eq!(ask(&mut holder, &back).unwrap().token, Some(token));
    // For the instance itself it would be an ordinary registration.
    for forged in forged.iter().filter(|it| it.uuid != back.uuid) {
        assert_eq!(ask(&mut forger, forged), Err(ErrorKind::Denied), "{forged:?}");
    }
    assert_eq!(fs::metadata(written(&room)).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn without_the_tokens_file_all_are_newcomers() {
    let room = Room::new();
    let place = room.unix("registrar.sock");
    let check = |spoil: &dyn Fn(&PathBuf)| {
        let back = hold(&room, &place);
        spoil(&written(&room));
        let node = start(&room, &place, "1m");
        let mut holder = Peer::greet(node.endpoint());
        assert_eq!(ask(&mut holder, &back), Err(ErrorKind::Unsettled));
        drop(node);
        // And the next run has all that it takes.
        let back = hold(&room, &place);
        let node = start(&room, &place, "1m");
        let mut holder = Peer::greet(node.endpoint());
        assert_eq!(ask(&mut holder, &back).unwrap().token, back.token);
    };
    check(&|file| fs::remove_file(file).unwrap());
    check(&|file| fs::write(file, "\0").unwrap());
    check(&|file| fs::set_permissions(file, Permissions::from_mode(0o644)).unwrap());
    check(&|file| {
        let elsewhere = room.file("elsewhere");
        fs::rename(file, &elsewhere).unwrap();
        symlink(elsewhere, file).unwrap();
    });
}

#[test]
fn a_node_that_is_asked_to_end_knows_the_last_who_had_the_name() {
    let room = Room::new();
    let place = room.unix("registrar.sock");
    let begun = start(&room, &place, "0s");
    let [first, next] =
        [false, true].map(|wait| Register { wait, ..registration("leader", Vec::new()) });
    let [mut one, mut two] = [(); 2].map(|()| Peer::greet(begun.endpoint()));
    let back = |register: &Register, registered: Registered| {
        let Registered { token, resume, .. } = registered;
        Register { token, resume, wait: false, ..register.clone() }
    };
    let held = ask(&mut one, &first).unwrap();
    let former = back(&first, held);
    let (method, body) = register(&next);
    two.begin(method, &body);
    // It leaves the name to the next in line, just before the end.
    one.call(UNREGISTER, &encode_body(&Unregister { uuid: former.uuid })).unwrap();
    let (_, granted) = two.answer();
    let latest = back(&next, decode_body(&granted.unwrap()).unwrap());
    assert!(latest.token > former.token && latest.resume.is_some());
    begun.stop();

    let node = start(&room, &place, "1m");
    let [mut one, mut two] = [(); 2].map(|()| Peer::greet(node.endpoint()));
    assert_eq!(ask(&mut one, &former), Err(ErrorKind::Unsettled));
    assert_eq!(ask(&mut two, &latest).unwrap().token, latest.token);
}
