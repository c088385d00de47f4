//! A registrar over TLS: both sides show certificates, and each is told what is wrong with them.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    time::{Duration, SystemTime},
};

use endpoints::{SpiffePath, TrustDomain};
use keys::{Authority, KeyKind};

use crate::harness::{LIMIT, Node, Outcome, Room, now};

/// Where a registrar listens with TLS, and without.
pub(crate) const TLS: &str = "/ip4/127.0.0.1/tcp/0/tls";
const PLAIN: &str = "/ip4/127.0.0.1/tcp/0";

/// Makes an authority with certificates for a node at the loopback, and for a client.
pub(crate) fn authority(room: &Room, folder: &str) {
    room.callsign(&["keys", "init", folder]).succeeds();
    room.callsign(&["keys", "issue", folder, "node", "--host", "127.0.0.1"]).succeeds();
    room.callsign(&["keys", "issue", folder, "client"]).succeeds();
}

/// Writes settings with a certificate of an authority.
pub(crate) fn settings(room: &Room, file: &str, folder: &str, name: &str) {
    let tls = format!(
        "[tls]\nca = \"{folder}/ca.pem\"\ncertificate = \"{folder}/{name}.pem\"\n\
         key = \"{folder}/{name}.key\"\n"
    );
    room.write(file, &tls);
}

#[test]
fn a_registrar_is_asked_over_tls() {
    let room = Room::new();
    authority(&room, "keys");
    settings(&room, "node.toml", "keys", "node");
    settings(&room, "client.toml", "keys", "client");
    let node = Node::start_with(&room, &[TLS], &["--config", "node.toml"]);
    let run = |args: &[&str]| node.run(&[&["--config", "client.toml"], args].concat());
    let mut watch = run(&["watch", "web", "--json"]);
    watch.json("the present state", |it| it["change"] == "synced");
    let mut registrant = run(&["register", "web", "/unix/@web-over-tls", "--state", "ready"]);
    let added = watch.json("an instance that is there", |it| it["change"] == "add");
    assert_eq!(added["name"], "web");
    registrant.line_with("registered");
    run(&["find", "web"]).outcome().succeeds().prints(&["/unix/@web-over-tls"]);
    // More than fits a record of TLS, and a turn of a connection.
    let many = (0..40).map(|it| format!("/unix/@{it}-{}", "long".repeat(20)));
    let many: Vec<_> = many.collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    run(&[&["register", "many", "--ttl", "5m"], &many[..]].concat()).outcome().succeeds();
    let listed = run(&["ls", "many", "--all", "--json"]).outcome().succeeds().json();
    assert_eq!(listed[0]["endpoints"].as_array().unwrap().len(), 40);
    registrant.kill();
    watch.json("an instance that is gone", |it| it["change"] == "remove");
}

#[test]
fn both_sides_say_what_is_wrong() {
    let room = Room::new();
    for folder in ["keys", "others"] {
        authority(&room, folder);
    }
    settings(&room, "node.toml", "keys", "node");
    settings(&room, "client.toml", "keys", "client");
    settings(&room, "other.toml", "others", "client");
    room.write("none.toml", "");
    let mut node = Node::start_with(&room, &[TLS, PLAIN], &["--config", "node.toml", "-v"]);
    let [tls, plain] = [0, 1].map(|it| node.endpoints()[it].clone());
    let to_tls = tls.trim_end_matches("/tls").to_owned();
    let to_plain = format!("{plain}/tls");
    let ask = |config: &str, registrar: &str| -> Outcome {
        room.callsign(&["--config", config, "--registrar", registrar, "ls"])
    };
    let mut check = |config: &str, registrar: &str, near: &str, far: &str| {
        ask(config, registrar).ends_with(3).says(&[registrar, near]);
        node.says(far);
        ask("client.toml", &tls).succeeds();
        ask("none.toml", &plain).succeeds();
    };
    check(
        "other.toml",
        &tls,
        "no authority that is trusted here signed the certificate",
        "does not accept this side's certificate",
    );
    check("client.toml", &to_plain, "it may not speak TLS", "does the endpoint lack `/tls`?");
    check("none.toml", &to_tls, "does the endpoint lack `/tls`?", "does not speak TLS");
    // The node's certificate names no such host.
    let port = tls.split('/').nth(4).unwrap();
    let by_name = format!("/dns/localhost/tcp/{port}/tls");
    check(
        "client.toml",
        &by_name,
        "is not for `localhost`, but for",
        "does not accept this side's certificate",
    );
    let none = ask("none.toml", &tls).ends_with(3);
    none.says(&["TLS needs a certificate", "name one in the table `[tls]`"]);
    let unbound = room.callsign(&["registrar", "--listen", TLS]).ends_with(2);
    unbound.says(&["TLS needs a certificate", "name one in the table `[tls]`"]);
}

#[test]
fn a_fault_of_the_files_is_told_at_its_place() {
    let room = Room::new();
    authority(&room, "keys");
    authority(&room, "others");
    let check = |text: &str, said: &[&str]| {
        room.write("it.toml", text);
        room.callsign(&["check", "it.toml"]).ends_with(2).prints(said);
        let args = ["registrar", "--config", "it.toml", "--listen", TLS];
        room.callsign(&args).ends_with(2).says(said);
    };
    let tls = |ca: &str, certificate: &str, key: &str| {
        format!("[tls]\nca = \"{ca}\"\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n")
    };
    let good = tls("keys/ca.pem", "keys/node.pem", "keys/node.key");
    room.write("good.toml", &good);
    room.callsign(&["check", "good.toml"]).succeeds();
    check(
        "[tls]\nca = \"keys/ca.pem\"\nkey = \"keys/node.key\"\n",
        &["it.toml:1:2", "no `certificate`"],
    );
    check(&(good.clone() + "cert = 1\n"), &["it.toml:5:1", "unknown key `cert`", "`certificate`"]);
    let other = tls("others/ca.pem", "keys/node.pem", "keys/node.key");
    check(&other, &["it.toml:3:16", "is not signed by an authority of `ca`"]);
    let other = tls("keys/ca.pem", "keys/node.pem", "keys/client.key");
    check(&other, &["it.toml:4:8", "is not the key of the certificate"]);
    let gone = tls("keys/ca.pem", "keys/node.pem", "keys/no.key");
    check(&gone, &["it.toml:4:8", "cannot be read: No such file"]);
    let unset = tls("keys/ca.pem", "keys/node.pem", "$CREDENTIALS_DIRECTORY/node.key");
    check(&unset, &["it.toml:4:8", "is not set", "LoadCredential="]);
    let key = room.file("keys/node.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    check(&good, &["it.toml:4:8", "can be read by others (mode 0644)", "0600"]);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();

    // What needs no TLS does without.
    room.write("unset.toml", &unset);
    let node = Node::start_with(&room, &[&room.unix("plain.sock")], &["--config", "unset.toml"]);
    let asked = room.callsign(&["ls", "--config", "unset.toml", "--registrar", node.endpoint()]);
    asked.succeeds().says(&["warning: `$CREDENTIALS_DIRECTORY` is not set", "unset.toml:4:8"]);
    let port = ["ls", "--config", "unset.toml", "--registrar", "/ip4/127.0.0.1/tcp/9/tls"];
    room.callsign(&port).ends_with(2).says(&["error: `$CREDENTIALS_DIRECTORY` is not set"]);

    // The folder of a service's credentials.
    let mut check = room.command(&["check", "unset.toml"]);
    check.env("CREDENTIALS_DIRECTORY", room.file("keys"));
    crate::harness::Running::start(check).outcome().succeeds();
}

/// It listened, and `check` was content, with a certificate that each client refuses.
#[test]
fn a_certificate_that_no_client_accepts_is_warned_of_before() {
    let room = Room::new();
    room.callsign(&["keys", "init", "keys"]).succeeds();
    let check = |name: &str, hosts: &[&str], said: &[&str]| {
        room.callsign(&[&["keys", "issue", "keys", name], hosts].concat()).succeeds();
        let config = format!("{name}.toml");
        settings(&room, &config, "keys", name);
        let tls = fs::read_to_string(room.file(&config)).unwrap();
        room.write(&config, &format!("{tls}[registrar]\nlisten = [\"{TLS}\"]\n"));
        let checked = room.callsign(&["check", &config]).succeeds();
        if said.is_empty() {
            checked.prints(&["nothing wrong"]);
        } else {
            let place = format!("{config}:3:16");
            checked.prints(&[&["warning: ", &place], said].concat());
        }
        let node = Node::start_with(&room, &[TLS], &["--config", &config]);
        let log = node.stop().succeeds().stderr;
        assert_eq!(log.contains("its certificate is"), !said.is_empty(), "{log}");
        said.iter().for_each(|it| assert!(log.contains(it), "{it} is not in {log}"));
    };
    check("bare", &[], &["is for no host", "--host HOST"]);
    check(
        "other",
        &["--host", "10.9.9.9"],
        &["is not for `127.0.0.1`, but for", "--host 127.0.0.1"],
    );
    check("by-name", &["--host", "localhost"], &[]);
    check("right", &["--host", "127.0.0.1"], &[]);
}

/// The files are read again when they change; connections that are open stay.
#[test]
fn certificates_are_rotated_without_a_connection_lost() {
    let room = Room::new();
    authority(&room, "keys");
    room.callsign(&["keys", "issue", "keys", "elsewhere", "--host", "10.0.0.7"]).succeeds();
    fs::create_dir(room.file("node")).unwrap();
    let put = |name: &str| {
        for (end, to) in [("pem", "node.pem"), ("key", "node.key")] {
            fs::copy(room.file(&format!("keys/{name}.{end}")), room.file("node/new")).unwrap();
            fs::rename(room.file("node/new"), room.file(&format!("node/{to}"))).unwrap();
        }
        fs::copy(room.file("keys/ca.pem"), room.file("node/ca.pem")).unwrap();
    };
    put("node");
    settings(&room, "node.toml", "node", "node");
    settings(&room, "client.toml", "keys", "client");
    let unix = room.unix("registrar.sock");
    let node = Node::start_with(&room, &[TLS, &unix], &["--config", "node.toml"]);
    let run = |args: &[&str]| node.run(&[&["--config", "client.toml"], args].concat());
    let mut watch = run(&["watch", "web", "--json"]);
    watch.json("the present state", |it| it["change"] == "synced");

    let comes_to = |says: Option<&str>| {
        let deadline = now() + LIMIT;
        loop {
            let outcome = run(&["ls"]).outcome();
            match says {
                None if !outcome.stderr.contains("error:") => return,
                Some(text) if outcome.stderr.contains(text) => return,
                _ => assert!(now() < deadline, "{outcome}"),
            }
        }
    };
    put("elsewhere");
    comes_to(Some("is not for `127.0.0.1`, but for"));
    let told = "its certificate is not for `127.0.0.1`, but for `10.0.0.7`";
    let deadline = now() + LIMIT;
    while !node.process().to_string().contains(told) {
        assert!(now() < deadline, "it is not told");
        run(&["ls"]).outcome();
    }
    put("node");
    comes_to(None);
    // One that cannot be used leaves the former in use.
    fs::write(room.file("node/node.pem"), "hello").unwrap();
    for _ in 0..3 {
        run(&["ls"]).outcome().succeeds();
        std::thread::yield_now();
    }
    let web = ["register", "web", "/unix/@web-of-rotation", "--ttl", "5m"];
    room.callsign(&[&["--registrar", &unix], &web[..]].concat()).succeeds();
    watch.json("an instance that is there", |it| it["change"] == "add");
}

/// A change of its permissions does not touch the contents of a key, and matters no less.
#[test]
fn a_key_that_others_may_read_by_now_is_told_of_at_a_reload() {
    let room = Room::new();
    authority(&room, "keys");
    settings(&room, "node.toml", "keys", "node");
    settings(&room, "client.toml", "keys", "client");
    let mut node = Node::start_with(&room, &[TLS], &["--config", "node.toml"]);
    let key = room.file("keys/node.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    node.reload("can be read by others (mode 0644)");
    node.says("the certificate stays as it was");
    node.callsign(&["--config", "client.toml", "ls"]).succeeds();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    node.reload("has been read again");
    // Without a reload the next connection notices it.
    fs::set_permissions(&key, fs::Permissions::from_mode(0o604)).unwrap();
    let deadline = now() + LIMIT;
    while !node.process().to_string().contains("can be read by others (mode 0604)") {
        assert!(now() < deadline, "it is not noticed");
        node.callsign(&["--config", "client.toml", "ls"]).succeeds();
    }
}

/// From two weeks before its end the log warns of a certificate.
#[test]
fn a_certificate_that_ends_soon_is_warned_of() {
    let room = Room::new();
    room.callsign(&["keys", "init", "keys"]).succeeds();
    for (name, lifetime, warned) in [("soon", "13d", true), ("later", "15d", false)] {
        let issue = ["keys", "issue", "keys", name, "--host", "127.0.0.1", "--for", lifetime];
        room.callsign(&issue).succeeds();
        let config = format!("{name}.toml");
        settings(&room, &config, "keys", name);
        let node = Node::start_with(&room, &[TLS], &["--config", &config]);
        let said = node.stop().succeeds().stderr;
        assert_eq!(said.contains("expires in 12 days"), warned, "{said}");
        assert_eq!(said.contains("expires in"), warned, "{said}");
    }
}

/// Whoever runs a registrar is told of those that it turns away, without having asked for a log.
#[test]
fn a_registrar_tells_of_failed_handshakes_unasked() {
    let room = Room::new();
    for folder in ["keys", "others"] {
        authority(&room, folder);
    }
    settings(&room, "node.toml", "keys", "node");
    settings(&room, "other.toml", "others", "client");
    room.write("none.toml", "");
    let mut node = Node::start_with(&room, &[TLS, PLAIN], &["--config", "node.toml"]);
    let [tls, plain] = [0, 1].map(|it| node.endpoints()[it].clone());
    let to_tls = tls.trim_end_matches("/tls").to_owned();
    let to_plain = format!("{plain}/tls");
    let ask = |config: &str, registrar: &str| {
        room.callsign(&["--config", config, "--registrar", registrar, "ls"]).ends_with(3);
    };
    ask("other.toml", &tls);
    let line = node.says("does not accept this side's certificate");
    assert!(line.contains("127.0.0.1") && line.contains("turned away"), "{line}");
    ask("none.toml", &to_tls);
    node.says("does not speak TLS");
    ask("other.toml", &to_plain);
    node.says("does the endpoint lack `/tls`?");
    // Those who flood it do not flood its log.
    let port: u16 = tls.split('/').nth(4).unwrap().parse().unwrap();
    for _ in 0..500 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        drop(stream.write_all(b"GET / HTTP/1.1\r\n\r\n"));
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        drop(stream.read_to_end(&mut Vec::new()));
    }
    let said = node.stop().succeeds().stderr;
    let lines = said.matches("turned away").count();
    assert!((3..250).contains(&lines), "{lines} lines: {said}");
}

/// Whoever begins a handshake, and does not go on with it, is in nobody's way, and is gone after its
/// time.
#[test]
fn half_open_handshakes_are_in_nobodys_way() {
    let room = Room::new();
    authority(&room, "keys");
    settings(&room, "node.toml", "keys", "node");
    settings(&room, "client.toml", "keys", "client");
    let node = Node::start_with(&room, &[TLS], &["--config", "node.toml"]);
    let port: u16 = node.endpoint().split('/').nth(4).unwrap().parse().unwrap();
    transport::raise_descriptor_limit().unwrap();
    let mut mute = Vec::new();
    for _ in 0..2000 {
        // One that finds no room is turned away at once, and frees it.
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        // The beginning of a record that never ends.
        drop(stream.write_all(&[22, 3, 1, 2, 0]));
        mute.push(stream);
        if mute.len() % 200 == 0 {
            node.callsign(&["--config", "client.toml", "ls"]).succeeds();
        }
    }
    for mut stream in mute {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut rest = Vec::new();
        // An end, or a reset: not the time limit of this test.
        let read = stream.read_to_end(&mut rest).map_err(|error| error.kind());
        assert!(!matches!(read, Err(std::io::ErrorKind::WouldBlock)), "{read:?}");
    }
    node.callsign(&["--config", "client.toml", "ls"]).succeeds();
}

/// They were looked at only when somebody shook hands.
#[test]
fn a_registrar_tells_of_faults_of_its_files_though_nobody_comes() {
    let room = Room::new();
    authority(&room, "keys");
    settings(&room, "node.toml", "keys", "node");
    let mut node = Node::start_with(&room, &[TLS], &["--config", "node.toml"]);
    let key = fs::read_to_string(room.file("keys/node.key")).unwrap();
    fs::write(room.file("keys/node.key"), "garbage").unwrap();
    node.says("the former certificate stays in use");
    fs::write(room.file("keys/node.key"), key).unwrap();
    fs::remove_file(room.file("keys/node.pem")).unwrap();
    node.says("the former certificate stays in use");
    node.stop().succeeds();
}

/// A certificate that has expired, and one before its time as on a board without a clock, ended all
/// commands and the registrar, for good: also those that use Unix sockets alone.
#[test]
fn a_certificate_out_of_its_time_ends_nothing_that_needs_no_tls() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let room = Room::new();
    let now = SystemTime::now();
    let domain = TrustDomain::new("example.internal").unwrap();
    let kind = KeyKind::default();
    let authority = Authority::create(room.file("keys").as_ref(), domain, kind, now).unwrap();
    let issue = |name: &str, at: SystemTime| {
        let (path, host) = (SpiffePath::new(name).unwrap(), "127.0.0.1".parse().unwrap());
        authority.issue(path, &[host], DAY, at).unwrap();
        settings(&room, &format!("{name}.toml"), "keys", name);
    };
    issue("early", now + 10 * DAY);
    issue("late", now - 10 * DAY);
    issue("good", now);

    for (name, said) in [("early", "is not valid yet"), ("late", "has expired")] {
        let config = format!("{name}.toml");
        // Where TLS is asked for, it may succeed later: a service manager tries again.
        room.callsign(&["registrar", "--config", &config, "--listen", TLS]).ends_with(7).says(&[
            "error:",
            said,
            &format!("{config}:3:16"),
        ]);
        let far = ["ls", "--config", &config, "--registrar", "/ip4/127.0.0.1/tcp/9/tls"];
        room.callsign(&far).ends_with(7).says(&[said]);

        let place = room.unix(&format!("{name}.sock"));
        let mut node = Node::start_with(&room, &[&place], &["--config", &config]);
        node.says(said);
        let asked = |args: &[&str]| {
            let over = ["--config", &config, "--registrar", &place];
            room.callsign(&[args, &over].concat())
        };
        asked(&["register", "x", "/unix/@x", "--ttl", "1m"]).succeeds().says(&["warning:", said]);
        for command in [&["ls"][..], &["find", "x"], &["status"], &["whoami"]] {
            let asked = asked(command).succeeds().says(&["warning:", said]);
            assert_eq!(asked.stderr.matches(said).count(), 1, "it is said once: {asked}");
        }

        node.stop().succeeds();
    }
}
