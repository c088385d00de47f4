//! Access to the socket of a registrar, whatever the umask of its starter.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::Path,
};

use rustix::process::geteuid;

use crate::harness::{Room, Running};

/// Starts a registrar from a shell that first runs `prelude`, and waits until it listens.
fn start(room: &Room, prelude: &str, args: &[&str]) -> Running {
    let mut command = room.other_command("sh");
    command.args(["-c", &format!("{prelude}; exec \"$0\" \"$@\"")]);
    command.args([env!("CARGO_BIN_EXE_callsign"), "registrar"]).args(args);
    let mut registrar = Running::start(command);
    registrar.line_with("listening");
    registrar
}

/// Returns the mode and the group of a file in the room.
fn access(room: &Room, name: &str) -> (u32, u32) {
    let status = fs::symlink_metadata(room.file(name)).unwrap();
    (status.mode() & 0o7777, status.gid())
}

#[test]
fn the_mode_of_a_socket_is_what_is_said_and_not_the_umask() {
    let room = Room::new();
    let place = room.unix("r.sock");
    let file = |text: &str| {
        let text = format!("[registrar]\nlisten = \"{place}\"\n{text}\n");
        room.write("callsign.toml", &text)
    };
    let check = |umask: &str, text: &str, args: &[&str], expected: u32| {
        let file = file(text);
        let args = [&["--config", &file], args].concat();
        let registrar = start(&room, &format!("umask {umask}"), &args);
        assert_eq!(access(&room, "r.sock").0, expected, "{umask} {text}\n{registrar}");
        registrar.stop().succeeds();
    };
    // By default, access is for the registrar's own user.
    check("000", "", &[], 0o600);
    check("022", "", &[], 0o600);
    check("777", "", &[], 0o600);
    check("077", "socket_mode = \"0666\"", &[], 0o666);
    check("000", "socket_mode = \"0660\"", &[], 0o660);
    check("022", "socket_mode = \"0660\"", &["--socket-mode", "622"], 0o622);
}

#[test]
fn the_registrar_of_the_system_is_open_to_all_unless_it_is_said_otherwise() {
    let room = Room::new();
    fs::create_dir(room.file("system")).unwrap();
    let place = room.unix("system/registrar.sock");
    let prelude =
        format!("umask 077; export CALLSIGN_SYSTEM_DIR={}", room.file("system").display());
    let check = |args: &[&str], expected: u32| {
        let args = [&["--listen", &place], args].concat();
        let registrar = start(&room, &prelude, &args);
        assert_eq!(access(&room, "system/registrar.sock").0, expected, "{registrar}");
        registrar.stop().succeeds();
    };
    check(&[], 0o666);
    check(&["--socket-mode", "0600"], 0o600);
}

#[test]
fn a_socket_that_is_bound_again_has_its_mode_and_its_group_again() {
    let room = Room::new();
    fs::create_dir(room.file("run")).unwrap();
    let place = room.unix("run/r.sock");
    let group = fs::metadata(room.path()).unwrap().gid() + u32::from(geteuid().is_root());
    let named = group.to_string();
    let args = ["--listen", &place, "--socket-mode", "0666", "--socket-group", &named];
    let mut registrar = start(&room, "umask 077", &args);
    assert_eq!(access(&room, "run/r.sock"), (0o666, group));

    fs::rename(room.file("run"), room.file("gone")).unwrap();
    fs::create_dir(room.file("run")).unwrap();
    registrar.says("it is bound again");
    assert_eq!(access(&room, "run/r.sock"), (0o666, group));
    registrar.stop().succeeds();
}

#[test]
fn a_group_may_connect_and_others_may_not() {
    if !geteuid().is_root() {
        eprintln!("skipped: it takes root");
        return;
    }
    let room = Room::new();
    fs::set_permissions(room.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let place = room.unix("r.sock");
    let registrar = start(&room, "umask 077", &["--listen", &place, "--socket-group", "4321"]);
    assert_eq!(access(&room, "r.sock"), (0o660, 4321));
    let ask = |groups: &str| {
        let mut command = room.other_command("setpriv");
        command.args(["--reuid", "1234", "--regid", "1234", groups]);
        command.args([env!("CARGO_BIN_EXE_callsign"), "status", "--registrar", &place]);
        Running::start(command).outcome()
    };
    ask("--groups=4321").succeeds();
    ask("--clear-groups").ends_with(4).prints(&["no permission"]);
    registrar.stop().succeeds();
}

#[test]
fn a_folder_that_is_closed_to_a_registrar_is_told_once_and_so_is_its_end() {
    if !geteuid().is_root() {
        eprintln!("skipped: it takes root to be another user");
        return;
    }
    let room = Room::new();
    let open = |folder: &Path| fs::set_permissions(folder, fs::Permissions::from_mode(0o755));
    let close = |folder: &Path| fs::set_permissions(folder, fs::Permissions::from_mode(0o000));
    open(room.path()).unwrap();
    let [outer, inner] = ["run", "run/own"].map(|it| room.file(it));
    fs::create_dir_all(&inner).unwrap();
    chown(&inner, Some(1234), None).unwrap();
    let mut command = room.other_command("setpriv");
    command.args(["--reuid", "1234", "--regid", "1234", "--clear-groups"]);
    command.env_remove("XDG_RUNTIME_DIR");
    command.args([env!("CARGO_BIN_EXE_callsign"), "registrar"]);
    command.args(["--listen", &room.unix("run/own/r.sock")]);
    let mut registrar = Running::start(command);
    registrar.line_with("listening");
    for folder in [&inner, &outer] {
        close(folder).unwrap();
        let said = registrar.says("is closed to this user");
        assert!(said.ends_with(&format!("folder={}", folder.display())), "{said}");
        assert!(said.contains("`chmod u+x`"), "{said}");
        open(folder).unwrap();
        registrar.says("the path can be looked at again");
    }
    // It takes several looks to find the socket gone, and all that time the folder is closed.
    let outcome = registrar.stop().succeeds();
    assert_eq!(outcome.stderr.matches("closed to this user").count(), 2, "{outcome}");
    assert!(!inner.join("r.sock").exists(), "nothing is left behind");
}

#[test]
fn a_link_in_the_place_of_a_socket_is_left_alone_and_its_target_is_named() {
    let room = Room::new();
    fs::create_dir(room.file("real")).unwrap();
    symlink("real", room.file("folder")).unwrap();
    // In the middle of a path, a link is a folder like any other.
    let mut registrar = room.run(&["registrar", "--listen", &room.unix("folder/r.sock")]);
    registrar.line_with("listening");
    for way in ["folder/r.sock", "real/r.sock"] {
        room.callsign(&["status", "--registrar", &room.unix(way)]).succeeds();
    }
    registrar.stop().succeeds();
    for name in ["absolute", "relative"] {
        let target = if name == "absolute" { room.file("real/r") } else { "real/r".into() };
        symlink(&target, room.file(name)).unwrap();
        let refused = room.callsign(&["registrar", "--listen", &room.unix(name)]).ends_with(2);
        let meant = room.file("real").canonicalize().unwrap().join("r");
        refused.says(&[
            "a symbolic link already exists at that path",
            &format!("it leads to `/unix{}`: let it listen there", meant.display()),
        ]);
        assert_eq!(fs::read_link(room.file(name)).unwrap(), target);
    }
}

#[test]
fn a_state_folder_that_is_of_no_use_is_told_once() {
    let room = Room::new();
    let rules = "[names]\nleader = { exclusive = true }\n";
    let settings = room.write("callsign.toml", rules);
    let place = room.unix("r.sock");
    let check = |kind: &str, expected: &str| {
        let mut registrar = room.run(&["registrar", "--config", &settings, "--listen", &place]);
        registrar.line_with("listening");
        // What is to be written changes with each of them.
        for _ in 0..2 {
            let at = ["--registrar", &place];
            let lead = ["register", "leader", "/unix/@leader", "--ttl", "10m"];
            room.callsign(&[&lead[..], &at].concat()).succeeds();
            room.callsign(&[&["unregister", "leader"][..], &at].concat()).succeeds();
        }
        let outcome = registrar.stop().succeeds();
        let warnings: Vec<_> = outcome.stderr.lines().filter(|it| it.contains("WARN")).collect();
        assert!(warnings.len() == 1 && warnings[0].contains(expected), "{kind}: {outcome}");
    };
    let folder = room.file("callsign");
    fs::write(&folder, "").unwrap();
    check("a file in its place", "is not a folder");
    fs::remove_file(&folder).unwrap();
    symlink("/nowhere", &folder).unwrap();
    check("a link in its place", "is a symbolic link");
    fs::remove_file(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    check("a folder that is open to others", "is open to other users");
}

#[test]
fn a_group_that_cannot_be_given_is_told() {
    let room = Room::new();
    let place = room.unix("r.sock");
    let file = room.write("callsign.toml", "[registrar]\nsocket_group = \"no-such-group\"\n");
    let unknown = "there is no group `no-such-group`";
    room.callsign(&["check", &file]).ends_with(2).prints(&[unknown, "callsign.toml:2:17"]);
    let args = ["registrar", "--config", &file, "--listen", &place];
    room.callsign(&args).ends_with(2).says(&[unknown]);
    let args = ["registrar", "--listen", &place, "--socket-group", "no-such-group"];
    room.callsign(&args).ends_with(2).says(&[unknown, "--socket-group"]);
    let args = ["registrar", "--listen", &place, "--socket-mode", "0400"];
    room.callsign(&args).ends_with(2).says(&["lets nobody connect", "--socket-mode"]);

    if !geteuid().is_root() {
        eprintln!("skipped: it takes root to be another user");
        return;
    }
    fs::set_permissions(room.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = room.other_command("setpriv");
    command.args(["--reuid", "1234", "--regid", "1234", "--clear-groups"]);
    command.args([env!("CARGO_BIN_EXE_callsign"), "registrar", "--listen", &place]);
    command.args(["--socket-group", "4321"]);
    let refused = Running::start(command).outcome().ends_with(4);
    refused.says(&["not in group 4321", "SupplementaryGroups="]);
    assert!(!room.file("r.sock").exists(), "nothing is left behind");
}

#[test]
fn without_a_socket_file_a_mode_is_a_fault() {
    let room = Room::new();
    let place = room.abstract_unix("r");
    let args = ["registrar", "--listen", &place, "--socket-mode", "0660"];
    let mut registrar = room.run(&args);
    registrar.says("there is no socket file");
    registrar.line_with("listening");
    registrar.stop().succeeds();
}
