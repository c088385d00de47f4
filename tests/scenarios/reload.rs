//! A registrar's reload of its settings, without blocking.

use std::{
    fs::{self, File, Permissions},
    os::unix::{
        fs::{MetadataExt, PermissionsExt, symlink},
        net::UnixListener,
    },
    path::Path,
};

use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::{Signal, geteuid},
};

use super::programs::python;
use crate::{
    harness::{Room, Running, free_port},
    service::Manager,
};

/// Starts a registrar with settings, and a service manager that receives its messages.
fn registrar(room: &Room, settings: &str) -> (Running, Manager) {
    let file = room.write("callsign.toml", settings);
    let manager = Manager::of(room);
    let mut command = room.command(&["registrar", "--config", &file]);
    command.env("NOTIFY_SOCKET", room.file("notify.sock"));
    let running = Running::start(command);
    manager.hears("READY=1");
    (running, manager)
}

fn settings(place: &str, more: &str) -> String {
    format!("[registrar]\nlisten = \"{place}\"\n{more}\n[declared]\nclock = \"/unix/@clock\"\n")
}

#[test]
fn settings_that_are_not_a_file_are_refused_without_waiting() {
    let room = Room::new();
    let place = room.unix("registrar.sock");
    let text = settings(&place, "");
    let (mut registrar, manager) = registrar(&room, &text);
    let file = room.file("callsign.toml");
    let _socket = UnixListener::bind(room.file("other.sock")).unwrap();
    fs::create_dir(room.file("folder")).unwrap();
    mknodat(CWD, room.file("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    File::create(room.file("huge")).unwrap().set_len(1 << 40).unwrap();
    let kinds = [
        (room.file("other.sock"), "it is a socket"),
        (room.file("folder"), "it is a folder"),
        (room.file("pipe"), "it is a pipe"),
        (room.file("huge"), "it is larger than 4 MiB"),
        ("/dev/zero".into(), "it is a device"),
        ("/dev/random".into(), "it is a device"),
        (room.file("nothing"), "No such file"),
    ];
    for (what, expected) in kinds {
        fs::remove_file(&file).unwrap();
        symlink(&what, &file).unwrap();
        registrar.signal(Signal::HUP);
        manager.hears("RELOADING=1");
        registrar.says(expected);
        registrar.says("the settings stay as they were");
        manager.hears("READY=1");
        room.callsign(&["ls", "--registrar", &place]).succeeds().prints(&["clock"]);

        // At its start neither blocks, nor does either block other readers.
        let config = ["--config", file.to_str().unwrap()];
        room.callsign(&[&["registrar"], &config[..]].concat()).ends_with(2).says(&[expected]);
        room.callsign(&[&["ls"], &config[..]].concat()).ends_with(2).says(&[expected]);
        if !expected.contains("pipe") {
            room.callsign(&["check", config[1]]).ends_with(2).prints(&[expected]);
        }
    }
    // `check` reads a pipe once.
    let script = "exec \"$0\" check <(printf '[registrar]\\nlisten = 7\\n')";
    let mut shell = room.other_command("bash");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_callsign")]);
    Running::start(shell).outcome().ends_with(2).prints(&["listen", "1 error"]);

    fs::remove_file(&file).unwrap();
    fs::write(&file, text.replace("clock", "other")).unwrap();
    registrar.signal(Signal::HUP);
    registrar.says("has been read again");
    room.callsign(&["ls", "--registrar", &place]).succeeds().prints(&["other"]);
    registrar.stop().succeeds();
}

#[test]
fn a_disk_that_hangs_holds_nobody_up() {
    if !geteuid().is_root() {
        eprintln!("skipped: to let a file hang takes root");
        return;
    }
    let room = Room::new();
    let place = room.unix("registrar.sock");
    let (mut registrar, manager) = registrar(&room, &settings(&place, ""));
    // An open of the file waits for permission (FAN_OPEN_PERM), which never comes.
    let hangs = "import ctypes, struct, sys\n\
         libc = ctypes.CDLL(None, use_errno=True)\n\
         group = libc.fanotify_init(4, 0)\n\
         assert group >= 0, ctypes.get_errno()\n\
         mask = ctypes.c_uint64(0x10000)\n\
         marked = libc.fanotify_mark(group, 1, mask, -100, sys.argv[1].encode())\n\
         assert marked == 0, ctypes.get_errno()\n\
         print('hangs', flush=True)\n\
         sys.stdin.readline()\n";
    let mut command = room.other_command(&python());
    command.args(["-c", hangs]).arg(room.file("callsign.toml"));
    let mut hanging = Running::start(command);
    if hanging.line_or_end("hangs").is_none() {
        eprintln!("skipped: this kernel lets no file hang");
        return;
    }
    for _ in 0..2 {
        registrar.signal(Signal::HUP);
        manager.hears("RELOADING=1");
        // Meanwhile, everything else continues.
        room.callsign(&["ls", "--registrar", &place]).succeeds().prints(&["clock"]);
        registrar.says("the settings were not read within 5s");
        manager.hears("READY=1");
    }
    hanging.type_line("");
    hanging.outcome();
    registrar.signal(Signal::HUP);
    registrar.says("has been read again");
    registrar.stop().succeeds();
}

#[test]
fn without_a_file_a_reload_is_still_reported_as_finished() {
    let room = Room::new();
    let manager = Manager::of(&room);
    let mut command = room.command(&["registrar", "--listen", &room.unix("registrar.sock")]);
    command.env("NOTIFY_SOCKET", room.file("notify.sock"));
    let registrar = Running::start(command);
    manager.hears("READY=1");
    registrar.signal(Signal::HUP);
    let heard = manager.hears("RELOADING=1").pop().unwrap();
    assert!(heard.contains("MONOTONIC_USEC="), "in one message: {heard}");
    manager.hears("READY=1");
    registrar.stop().succeeds();
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_hangup_changes_the_access() {
    let room = Room::new();
    let place = room.unix("registrar.sock");
    let (mut registrar, manager) = registrar(&room, &settings(&place, ""));
    let socket = room.file("registrar.sock");
    assert_eq!(mode(&socket), 0o600);
    let mut watch = room.run(&["watch", "--json", "--registrar", &place]);
    watch.json("the end of the snapshot", |it| it["change"] == "synced");
    let inode = fs::metadata(&socket).unwrap().ino();
    let mut change = |more: &str, says: &str| {
        room.write("callsign.toml", &settings(&place, more));
        registrar.signal(Signal::HUP);
        registrar.says(says);
        manager.hears("READY=1");
    };
    change("socket_mode = \"0666\"", "has been read again");
    assert_eq!(mode(&socket), 0o666);
    change("socket_mode = \"0620\"", "has been read again");
    assert_eq!(mode(&socket), 0o620);
    // Settings with a fault are not adopted at all: there is no such group.
    let wrong = "socket_mode = \"0600\"\nsocket_group = \"no-such-group\"";
    change(wrong, "there is no group");
    assert_eq!(mode(&socket), 0o620);
    if geteuid().is_root() {
        let own = fs::metadata(&socket).unwrap().gid();
        change("socket_group = \"4711\"", "has been read again");
        assert_eq!((mode(&socket), fs::metadata(&socket).unwrap().gid()), (0o660, 4711));
        change("", "has been read again");
        assert_eq!((mode(&socket), fs::metadata(&socket).unwrap().gid()), (0o600, own));
    }
    change("socket_mode = \"0606\"", "has been read again");
    assert_eq!(fs::metadata(&socket).unwrap().ino(), inode, "it is the same socket");
    // Existing connections stay, and an endpoint that is bound again has the new access.
    room.callsign(&["register", "feed", "/unix/@feed", "--ttl", "1m", "--registrar", &place])
        .succeeds();
    watch.json("who has come", |it| it["change"] == "add");
    fs::remove_file(&socket).unwrap();
    registrar.says("it is bound again");
    assert_eq!(mode(&socket), 0o606);
    registrar.stop().succeeds();
}

#[test]
fn a_reload_that_fails_midway_changes_nothing() {
    let room = Room::new();
    fs::create_dir(room.file("lost")).unwrap();
    for folder in ["one", "other"] {
        room.callsign(&["keys", "init", folder]).succeeds();
        room.callsign(&["keys", "issue", folder, "node", "--host", "127.0.0.1"]).succeeds();
    }
    let listen = [
        room.unix("registrar.sock"),
        room.unix("lost/registrar.sock"),
        format!("/ip4/127.0.0.1/tcp/{}/tls", free_port()),
    ];
    let settings = |folder: &str, more: &str| {
        let file = |name: &str| room.path().join(folder).join(name).display().to_string();
        let [ca, certificate, key] = ["ca.pem", "node.pem", "node.key"].map(file);
        format!(
            "[registrar]\nlisten = {listen:?}\n{more}\n[tls]\nca = \"{ca}\"\n\
             certificate = \"{certificate}\"\nkey = \"{key}\"\n"
        )
    };
    let (mut registrar, manager) = registrar(&room, &settings("one", ""));
    let client = room.write("client.toml", &settings("one", ""));
    let asks = ["ls", "--config", &client, "--registrar", &listen[2]];
    room.callsign(&asks).succeeds();
    fs::rename(room.file("lost"), room.file("elsewhere")).unwrap();
    room.write("callsign.toml", &settings("other", "socket_mode = \"0666\""));
    registrar.signal(Signal::HUP);
    registrar.says("the settings stay as they were");
    manager.hears("READY=1");
    assert_eq!(mode(&room.file("registrar.sock")), 0o600);
    room.callsign(&asks).succeeds();
    // The same with another reason: the access is as it was, too.
    fs::rename(room.file("elsewhere"), room.file("lost")).unwrap();
    fs::remove_file(room.file("other/node.key")).unwrap();
    registrar.signal(Signal::HUP);
    registrar.says("the settings stay as they were");
    manager.hears("READY=1");
    assert_eq!(mode(&room.file("registrar.sock")), 0o600);
    room.callsign(&asks).succeeds();
    registrar.stop().succeeds();
}

#[test]
fn another_cluster_takes_a_restart() {
    let room = Room::new();
    let text = settings(&room.unix("registrar.sock"), "");
    let (mut registrar, manager) = registrar(&room, &text);
    let cluster = "[cluster]\nengine = \"etcd\"\nendpoints = [\"http://127.0.0.1:2379\"]\n";
    let file = room.write("callsign.toml", &format!("{text}{cluster}"));
    registrar.signal(Signal::HUP);
    registrar.says("`[cluster]` has changed: that takes a restart");
    manager.hears("READY=1");
    if !cfg!(feature = "etcd") {
        room.callsign(&["check", &file]).ends_with(2).prints(&["without the feature `etcd`"]);
    }
    let password = format!("{text}{cluster}user = \"node\"\npassword_file = \"/no/such\"\n");
    let file = room.write("other.toml", &password);
    room.callsign(&["check", &file]).ends_with(2);
    registrar.stop().succeeds();
}

#[test]
fn a_user_who_may_not_give_the_socket_to_a_group_keeps_it() {
    if !geteuid().is_root() {
        eprintln!("skipped: it takes another user");
        return;
    }
    let room = Room::new();
    fs::set_permissions(room.path(), Permissions::from_mode(0o777)).unwrap();
    let place = room.unix("registrar.sock");
    let file = room.write("callsign.toml", &settings(&place, "socket_mode = \"0660\""));
    let mut command = room.other_command("setpriv");
    command.args(["--reuid", "4711", "--regid", "4711", "--clear-groups"]);
    command.arg(env!("CARGO_BIN_EXE_callsign")).args(["registrar", "--config", &file]);
    command.env_remove("XDG_RUNTIME_DIR").current_dir("/");
    let mut registrar = Running::start(command);
    registrar.line_with("listening");
    let settings = settings(&place, "socket_mode = \"0666\"\nsocket_group = \"4712\"");
    room.write("callsign.toml", &settings.replace("clock", "other"));
    registrar.signal(Signal::HUP);
    registrar.says("this user is not in group 4712");
    registrar.says("the settings stay as they were");
    let socket = room.file("registrar.sock");
    assert_eq!((mode(&socket), fs::metadata(&socket).unwrap().gid()), (0o660, 4711));
    room.callsign(&["ls", "--registrar", &place]).succeeds().prints(&["clock"]);
    registrar.stop().succeeds();
}

#[test]
fn a_hangup_that_comes_before_anything_else_is_heard() {
    let room = Room::new();
    let place = room.unix("registrar.sock");
    room.write("market.toml", &format!("[registrar]\nlisten = \"{place}\"\n"));
    // It is there before the program is, and stays there while its mask holds it back.
    let early = ["--block-signal=HUP", "sh", "-c", "kill -HUP $$; exec \"$@\"", "sh"];
    for settings in [&["--config", "market.toml"][..], &["--listen", &place]] {
        let mut command = room.other_command("env");
        command.args(early).args([env!("CARGO_BIN_EXE_callsign"), "registrar"]).args(settings);
        command.current_dir(room.path());
        let mut registrar = Running::start(command);
        registrar.line_with("listening on");
        registrar.says(match settings {
            ["--config", _] => "has been read again",
            _ => "there is no settings file to read again",
        });
        room.callsign(&["status", "--registrar", &place]).succeeds();
        registrar.stop();
    }
}
