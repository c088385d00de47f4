//! Several users of one registrar, identified by the kernel.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use rustix::process::geteuid;

use crate::harness::{Node, Peer, Room, Running, register, registration, stamped};

#[test]
fn the_kernel_tells_whose_each_is_over_any_transport() {
    let Some(users) = Users::new() else { return };
    let node = users.node(&["/ip4/127.0.0.1/tcp/0"]);
    let mut kept = Vec::new();
    for (at, registrar) in node.endpoints().iter().enumerate() {
        for user in [ALICE, BOB] {
            let (name, owner) = (format!("web-{at}-{user}"), format!("user:{user}"));
            let place = users.room.abstract_unix(&name);
            let mut registrant =
                users.run(user, registrar, &["register", &name, &place, "--state", "ready"]);
            registrant.line_with("registered");
            kept.push(registrant);
            let found = node.callsign(&["find", &name, "--json"]).succeeds().json();
            assert_eq!(found["owner"], owner.as_str(), "{found}");
            assert_eq!(found["user"], user, "{found}");
            node.callsign(&["find", &name]).prints(&[&format!("owner     {user}")]);
            node.callsign(&["resolve", &name, "--explain"]).prints(&[&format!("owner {user}")]);
        }
    }
    node.callsign(&["ls"]).prints(&["USER", " 4711", " 4712"]);
    node.callsign(&["ls", "--all"]).prints(&["  4711\n", "  4712\n"]);
    // A caller that requires an owner gets instances of that owner, or none.
    node.callsign(&["find", "web-0-4711", "--owner", "4711"]).succeeds();
    node.callsign(&["resolve", "web-0-4711", "--owner", "4711"]).succeeds();
    for command in ["find", "connect", "resolve"] {
        let asked = node.callsign(&[command, "web-0-4711", "--owner", "4712"]).ends_with(1);
        asked.says(&["no instance of `web-0-4711` belongs to 4712", "4711"]);
    }
    node.callsign(&["find", "web-0-4711", "--owner", "no-such-user"]).ends_with(2);
    let wait = |owner| ["wait", "web-0-4711", "--anywhere", "--timeout", "100ms", "--owner", owner];
    node.callsign(&wait("4711")).succeeds();
    node.callsign(&wait("4712"))
        .ends_with(1)
        .says(&["no instance of `web-0-4711` belongs to 4712"]);
}

/// An answer has room for 256.
#[test]
fn a_look_up_for_one_owner_is_not_crowded_out_by_another() {
    let Some(users) = Users::new() else { return };
    let node = users.node(&[]);
    let mut registrant =
        users.run(ALICE, node.endpoint(), &["register", "feed", "/unix/@feed", "--state", "ready"]);
    registrant.line_with("registered");
    let mut crowd = Peer::greet(node.endpoint());
    for _ in 0..300 {
        let (method, body) = register(&registration("feed", vec![stamped("/unix/@crowd")]));
        crowd.call(method, &body).unwrap();
    }
    let found = node.callsign(&["find", "feed", "--owner", "4711", "--json"]).succeeds().json();
    assert_eq!(found["owner"], "user:4711", "{found}");
    let all = ["find", "feed", "--all", "--owner", "4711", "--json"];
    assert_eq!(node.callsign(&all).succeeds().json().as_array().unwrap().len(), 1);
    node.callsign(&["resolve", "feed", "--owner", "4711", "--explain"]).prints(&["/unix/@feed"]);
    node.callsign(&["wait", "feed", "--owner", "4711", "--anywhere"]).succeeds();
    let none = node.callsign(&["find", "feed", "--owner", "4712"]).ends_with(1);
    none.says(&["no instance of `feed` belongs to 4712: root registered what is there"]);
}

#[test]
fn no_user_changes_what_is_anothers_over_any_transport() {
    let Some(users) = Users::new() else { return };
    let node = users.node_with(&["/ip4/127.0.0.1/tcp/0", "/ip6/::/tcp/0"], &["--insecure"]);
    let place = users.room.abstract_unix("web");
    let dialed: Vec<_> =
        node.endpoints().iter().map(|it| it.replace("/ip6/::/", "/ip6/::1/")).collect();
    for registrar in &dialed {
        let registered = ["register", "web", &place, "--ttl", "1m"];
        users.run(ALICE, registrar, &registered).outcome().succeeds();
        for other in &dialed {
            for command in ["unregister", "renew", "drain"] {
                let denied = users.run(BOB, other, &[command, "web"]).outcome().ends_with(4);
                denied.says(&["user 4711", "user 4712"]);
            }
        }
        // An owner is the same over every transport.
        for other in &dialed {
            users.run(ALICE, other, &["renew", "web"]).outcome().succeeds();
        }
        users.run(ALICE, &dialed[0], &["unregister", "web"]).outcome().succeeds();
    }
}

#[test]
fn unmapped_users_own_by_connection_alone() {
    let Some(users) = Users::new() else { return };
    // The registrar runs in a namespace that maps only its own user, which is root there.
    let socket = users.room.unix("open/registrar.sock");
    let mut command = users.room.other_command("unshare");
    command.args(["--user", "--map-root-user", &users.program]);
    command.args(["registrar", "--listen", &socket, "--listen", "/ip4/127.0.0.1/tcp/0"]);
    let mut registrar = Running::start(command);
    registrar.line_with("listening on");
    let tcp = registrar.line_with("listening on /ip4");
    let tcp = tcp.trim_start_matches("listening on ").to_owned();
    users.open(&socket);

    let place = users.room.abstract_unix("web");
    for (name, at) in [("by-path", &socket), ("by-port", &tcp)] {
        let mut web = users.run(ALICE, at, &["register", "web", &place, "--state", "ready"]);
        web.line_with("registered");
        let found = users.run(ALICE, at, &["find", "web", "--json"]).outcome().succeeds().json();
        assert_eq!((&found["owner"], &found["user"]), (&"unknown".into(), &().into()), "{found}");
        for by in [&socket, &tcp] {
            for user in [ALICE, BOB] {
                users.run(user, by, &["unregister", "web"]).outcome().ends_with(4);
            }
        }
        web.stop();

        // A lease belongs to a connection that has ended.
        let lease = ["register", name, &users.room.abstract_unix(name), "--ttl", "10m"];
        let leased = users.run(ALICE, at, &lease).outcome().succeeds();
        let leased = leased.says(&["it cannot be renewed", "leave out --ttl"]);
        assert!(!leased.stderr.contains("callsign renew"), "{leased}");
        let denied = users.run(ALICE, at, &["renew", name]).outcome().ends_with(4);
        assert!(!denied.stderr.contains("its owner"), "{denied}");
        let denied = users.run(ALICE, at, &lease).outcome().ends_with(4);
        assert!(!denied.stderr.contains("let a user that"), "{denied}");
    }
    registrar.stop().succeeds();
}

#[test]
fn who_may_not_connect_is_told_where_to_look() {
    let Some(users) = Users::new() else { return };
    let check = |socket: &str, look: &str| {
        let _node = Node::start_with(&users.room, &[&users.room.unix(socket)], &[]);
        let file = users.room.file(socket);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let refused = users.run(ALICE, &users.room.unix(socket), &["ls"]).outcome();
        refused.says(&[&format!("see who may connect: `{look} {}`", file.display())]);
    };
    check("open/registrar.sock", "ls -l");
    // Nobody else may enter the home of root.
    check("home-0/registrar.sock", "namei -l");
}

#[test]
fn a_registrar_at_the_usual_port_is_believed_if_it_is_of_root_or_of_oneself() {
    let Some(users) = Users::new() else { return };
    // A private network namespace, in which the usual port is free.
    let mut network = users.room.other_command("unshare");
    network.args(["--net", "sh", "-c", "ip link set lo up && echo up && exec sleep 600"]);
    let mut network = Running::start(network);
    network.line_with("up");
    let at_home = |user: u32, args: &[&str]| {
        let mut command = users.room.other_command("nsenter");
        command.args([&format!("--net=/proc/{}/ns/net", network.pid()), "setpriv"]);
        command.args(SETPRIV).arg(format!("--reuid={user}")).arg(&users.program).args(args);
        command.env("XDG_RUNTIME_DIR", users.home(user)).env("HOME", users.home(user));
        Running::start(command)
    };
    let port = "/ip4/127.0.0.1/tcp/1616";
    let mut first = at_home(ALICE, &["registrar"]);
    first.line_with(&format!("listening on {port}"));
    let lease = |name: &str| ["register", name, "/unix/@trusted", "--ttl", "5m"].map(str::to_owned);
    let lease = |user, name: &str| {
        let words = lease(name);
        at_home(user, &words.each_ref().map(String::as_str)).outcome()
    };
    lease(ALICE, "feed").succeeds();

    // Another user is not led there without asking for it.
    let asked = at_home(BOB, &["find", "feed"]).outcome().ends_with(3);
    asked.says(&["a registrar of user 4711", "--registrar /ip4/127.0.0.1/tcp/1616"]);
    at_home(BOB, &["find", "feed", "--registrar", port]).outcome().succeeds();
    at_home(ALICE, &["find", "feed"]).outcome().succeeds();

    // Each can have its own, by the usual command.
    let mut second = at_home(BOB, &["registrar"]);
    second.says("not listening at /ip4/127.0.0.1/tcp/1616");
    second.line_with("listening on /unix/");
    at_home(BOB, &["find", "feed"]).outcome().ends_with(1);
    lease(BOB, "feed").succeeds();
    let of_bob = at_home(BOB, &["find", "feed", "--json"]).outcome().succeeds().json();
    assert_eq!(of_bob["owner"], "user:4712", "{of_bob}");
    first.stop().succeeds();

    // Root's registrar is trusted, after the user's own.
    let mut of_root = at_home(0, &["registrar", "--listen", port]);
    of_root.line_with("listening on");
    at_home(ALICE, &["register", "feed", "/unix/@trusted", "--ttl", "5m"]).outcome().succeeds();
    at_home(ALICE, &["register", "clock", "/unix/@trusted", "--ttl", "5m"]).outcome().succeeds();
    at_home(BOB, &["find", "clock"]).outcome().succeeds();
    let of_bob = at_home(BOB, &["find", "feed", "--all", "--json"]).outcome().succeeds().json();
    let owners: Vec<_> = of_bob.as_array().unwrap().iter().map(|it| &it["owner"]).collect();
    assert_eq!(owners, ["user:4712"], "one's own registrar goes before all others: {of_bob}");
}

#[test]
fn a_name_is_taken_by_another_only_where_a_rule_lets() {
    let Some(users) = Users::new() else { return };
    let file = users.room.write(
        "market.toml",
        "[names]\n\"feed*\" = { register = [\"user:4711\"] }\n[declared]\nold = \"/unix/@old\"\n",
    );
    let mut node = users.node_with(&["/ip4/127.0.0.1/tcp/0"], &["--config", &file]);
    let places = node.endpoints().to_vec();
    let by = |user, at: usize, words: &[&str]| users.run(user, &places[at], words).outcome();
    // Nobody listens there, which the registrar checks when several claim the place.
    let mut numbers = 0..;
    let mut register = |user, name: &str, at: usize| {
        let place = users.room.abstract_unix(&format!("place-{:?}", numbers.next()));
        by(user, at, &["register", name, &place, "--ttl", "5m"])
    };
    for at in [0, 1] {
        register(ALICE, "web", at).succeeds();
        let held = register(BOB, "web", at).ends_with(4);
        held.says(&["user 4712", "user 4711", "same-user", "the default", "[names]"]);
        register(BOB, "old", at).ends_with(4).says(&["the registrar's own settings"]);
        register(ALICE, "feed.eu", at).succeeds();
        let denied = register(BOB, "feed.us", at).ends_with(4);
        denied.says(&["`feed*`", "market.toml:2", "`register`"]);
        register(0, "feed.us", at).succeeds();
    }
    // A name that is given up goes to the first that asks.
    by(ALICE, 0, &["unregister", "web", "--all"]).succeeds();
    register(BOB, "web", 0).succeeds();
    register(ALICE, "web", 1).ends_with(4).says(&["user 4712"]);

    users.room.write("market.toml", "[registrar]\nnames = \"open\"\n");
    node.reload("has been read again");
    register(ALICE, "web", 1).succeeds();

    let rule = "[names]\nfeed = { register = [\"any\"], exclusive = true }\n\
                few = { max_instances = 1 }\n";
    users.room.write("market.toml", rule);
    node.reload("has been read again");
    register(ALICE, "feed", 0).succeeds();
    let token = || by(0, 0, &["find", "feed", "--json"]).json()["token"].as_u64().unwrap();
    let first = token();
    for user in [ALICE, BOB, 0] {
        let held = register(user, "feed", 1).ends_with(4);
        held.says(&["is exclusive", "market.toml:2", "user 4711 has it"]);
    }
    by(ALICE, 0, &["unregister", "feed"]).succeeds();
    register(BOB, "feed", 1).succeeds();
    assert!(token() > first);
    register(ALICE, "few", 0).succeeds();
    register(ALICE, "few", 0)
        .ends_with(4)
        .says(&["all the instances that its rule lets it have, which is 1", "market.toml:3"]);

    users.room.write("market.toml", "[names]\nfeed = { find = [\"user:no-such-user\"] }\n");
    node.reload("there is no user `no-such-user`");
    register(ALICE, "feed", 0).ends_with(4).says(&["is exclusive"]);
}

#[test]
fn whoami_reports_the_callers_owner() {
    let Some(users) = Users::new() else { return };
    let rules = "[names]\nfeed = { register = [\"user:4711\"], exclusive = true }\n\
                 \"db*\" = { find = [\"group:4700\"] }\n";
    let file = users.room.write("market.toml", rules);
    let node = users.node_with(&["/ip4/127.0.0.1/tcp/0"], &["--config", &file]);
    let patterns = |told: &serde_json::Value| -> Vec<String> {
        let rules = told["rules"].as_array().unwrap().iter();
        rules.map(|it| it["pattern"].as_str().unwrap().to_owned()).collect()
    };
    for (at, registrar) in node.endpoints().iter().enumerate() {
        for user in [ALICE, BOB] {
            let asked = || {
                let told = users.run(user, registrar, &["whoami", "--json"]).outcome().succeeds();
                told.json()[0]["whoami"].take()
            };
            let mut told = asked();
            // An earlier client may not have gone yet.
            while told["uses"]["sessions"]["used"] != 1 {
                told = asked();
            }
            assert_eq!(told["owner"], format!("user:{user}"), "{told}");
            assert_eq!(told["is_trusted"], false, "{told}");
            assert_eq!(told["may_change_all"], false, "{told}");
            let way = [&told["transport"], &told["locality"]];
            assert_eq!(way, if at == 0 { ["unix", "unix-socket"] } else { ["tcp", "loopback"] });
            let uses = &told["uses"];
            assert_eq!(uses["owner"], format!("user:{user}"), "{told}");
            assert_eq!(uses["sessions"]["quota"], 2048, "{told}");
            assert_eq!(uses["instances"]["quota"], 100_000, "{told}");
            assert_eq!(told["rules"][0]["may_register"], user == ALICE, "{told}");
            // The group is known only over the Unix socket, and so are its names.
            let expected: &[&str] = if at == 0 { &["feed", "db*"] } else { &["feed"] };
            assert_eq!(patterns(&told), expected, "{told}");
        }
        let told = users.run(BOB, registrar, &["whoami"]).outcome().succeeds();
        told.prints(&["of 2048", "instances 0 of 100000", "MiB"]);
        let told = users.run(0, registrar, &["whoami"]).outcome().succeeds();
        assert!(told.stdout.contains("(user 0)") && told.stdout.contains("all entries"), "{told}");
        let mut container = users.room.other_command("setpriv");
        container.args(SETPRIV).args(["--reuid=4712", "unshare", "-U", "-r", &users.program]);
        container.args(["--registrar", registrar, "whoami"]);
        let told = Running::start(container).outcome().succeeds();
        assert!(told.stdout.contains("(user 4712)"), "{told}");
    }
    // The use of others would reveal hidden names.
    let place = &node.endpoints()[0];
    let hidden = ["register", "db1", "/unix/@db1-of-owners", "--ttl", "5m"];
    users.run(0, place, &hidden).outcome().succeeds();
    let owners = |user, more: &[&str]| {
        users.run(user, place, &[&["status", "--owners"], more].concat()).outcome().succeeds()
    };
    let shown = owners(BOB, &["--json"]).json();
    let of = |shown: &serde_json::Value| -> Vec<String> {
        let owners = shown[0]["owners"].as_array().unwrap().iter();
        owners.map(|it| it["owner"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!((of(&shown), &shown[0]["owners_total"]), (vec!["user:4712".into()], &1.into()));
    owners(BOB, &[]).prints(&["only root and the registrar's own user see"]);
    assert!(of(&owners(0, &["--json"]).json()).contains(&"user:0".to_owned()));
    let nobody = users.room.unix("nobody.sock");
    users.room.callsign(&["whoami", "--registrar", &nobody]).ends_with(3);
}

#[test]
fn no_command_of_another_user_shows_hidden_names() {
    let Some(users) = Users::new() else { return };
    let rules = "[names]\n\"db*\" = { find = [\"user:4711\"] }\n";
    let file = users.room.write("market.toml", rules);
    let node = users.node_with(&["/ip4/127.0.0.1/tcp/0"], &["--config", &file]);
    for at in [0, 1] {
        let registrar = &node.endpoints()[at];
        let by = |user, args: &[&str]| users.run(user, registrar, args).outcome();
        let mut watched = users.run(BOB, registrar, &["watch"]);
        let waiting = users.run(BOB, registrar, &["wait", "db-main", "--timeout", "5m"]);
        let main = users.room.abstract_unix(&format!("main-{at}"));
        let web = users.room.abstract_unix(&format!("web-{at}"));
        by(0, &["register", "db-main", &main, "--ttl", "5m"]).succeeds();
        by(0, &["register", "web", &web, "--ttl", "5m"]).succeeds();
        for command in ["find", "resolve", "connect", "unregister", "renew", "drain"] {
            by(BOB, &[command, "db-main"]).ends_with(1).says(&["db-main"]);
        }
        by(BOB, &["wait", "db-main", "--timeout", "100ms"]).ends_with(1);
        let waited = waiting.stop();
        assert!(waited.signal.is_some(), "it waits for what it may not find\n{waited}");
        for list in [&["ls"][..], &["ls", "--all", "--json"], &["ls", "db*"]] {
            let listed = by(BOB, list);
            assert!(!listed.stdout.contains("db-main"), "{list:?} {listed}");
            assert!(by(ALICE, list).stdout.contains("db-main"), "{list:?}");
        }
        // Later events have already come, but this one has not.
        watched.line_with("web");
        let watched = watched.stop();
        assert!(!watched.stdout.contains("db-main"), "{watched}");
        by(ALICE, &["find", "db-main"]).succeeds();
        by(0, &["unregister", "db-main"]).succeeds();
        by(0, &["unregister", "web"]).succeeds();

        // The registrant itself sees that.
        by(BOB, &["register", "db-main", &main, "--ttl", "5m"]).succeeds();
        by(BOB, &["drain", "db-main"]).succeeds();
        by(BOB, &["unregister", "db-main"]).succeeds();
    }
}

/// A directory service knows one of the users, does not answer for the other, and no file has
/// either.
#[test]
fn a_user_is_called_as_the_system_calls_him() {
    let Some(users) = Users::new() else { return };
    let service = users.room.write("service.c", SERVICE);
    let library = users.room.file("service.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(service);
    if !compiler.status().is_ok_and(|it| it.success()) {
        eprintln!("skipped: it takes a compiler of C");
        return;
    }
    let node = users.node(&[]);
    let mut kept = Vec::new();
    for (name, user) in [("web", ALICE), ("mail", BOB)] {
        let place = users.room.abstract_unix(name);
        let mut registrant =
            users.run(user, node.endpoint(), &["register", name, &place, "--state", "ready"]);
        registrant.line_with("registered");
        kept.push(registrant);
    }
    let ask = |args: &[&str]| {
        let mut command = users.room.command(&[&["--registrar", node.endpoint()], args].concat());
        command.env("LD_PRELOAD", &library);
        Running::start(command).outcome()
    };
    ask(&["find", "web"]).succeeds().prints(&["owner     alice"]);
    ask(&["ls", "web"]).succeeds().prints(&["web"]);
    ask(&["find", "mail"]).succeeds().prints(&["owner     4712"]);
    // No command waits for it after that.
    ask(&["ls"]).succeeds().prints(&["USER", " 4712"]);
    ask(&["find", "web", "--owner", "alice"]).succeeds();
    ask(&["find", "mail", "--owner", "alice"]).ends_with(1).says(&["belongs to 4711: 4712"]);
    ask(&["find", "web", "--owner", "carol"]).ends_with(2).says(&["there is no user `carol`"]);
}

/// The C library's queries, answered as by a directory service.
const SERVICE: &str = r#"
#include <pwd.h>
#include <string.h>
#include <unistd.h>

static int none(struct passwd **result) { *result = NULL; return 0; }

static int alice(struct passwd *entry, struct passwd **result) {
    memset(entry, 0, sizeof *entry);
    entry->pw_name = "alice";
    entry->pw_passwd = entry->pw_gecos = entry->pw_dir = entry->pw_shell = "";
    entry->pw_uid = entry->pw_gid = 4711;
    *result = entry;
    return 0;
}

int getpwuid_r(uid_t user, struct passwd *entry, char *text, size_t size, struct passwd **result) {
    while (user == 4712) pause();
    return user == 4711 ? alice(entry, result) : none(result);
}

int getpwnam_r(const char *name, struct passwd *entry, char *text, size_t size,
               struct passwd **result) {
    return strcmp(name, "alice") ? none(result) : alice(entry, result);
}
"#;

/// Two users besides root, who need no entry in any list.
pub(crate) const ALICE: u32 = 4711;
pub(crate) const BOB: u32 = 4712;

/// A user that is root in a container, and another user outside.
pub(crate) const CAROL: u32 = 4713;

const SETPRIV: [&str; 2] = ["--regid=4700", "--clear-groups"];

/// A room that several users may enter.
pub(crate) struct Users {
    pub(crate) room: Room,
    /// The program, in a place where all of them may start it.
    pub(crate) program: String,
}

impl Users {
    /// Makes the room; `None` if this is not root, or cannot become another user.
    #[expect(clippy::print_stderr, reason = "who runs it is to see that it is skipped")]
    pub(crate) fn new() -> Option<Self> {
        let can = Command::new("setpriv").args(["--reuid=4711", "true"]).status();
        if !geteuid().is_root() || !can.is_ok_and(|it| it.success()) {
            eprintln!("skipped: it takes root, and `setpriv` of util-linux");
            return None;
        }
        let room = Room::new();
        let program = room.file("callsign");
        let built = env!("CARGO_BIN_EXE_callsign");
        if fs::hard_link(built, &program).is_err() {
            fs::copy(built, &program).unwrap();
        }
        let open = |path: &std::path::Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        open(room.path(), 0o755);
        fs::create_dir(room.file("open")).unwrap();
        open(&room.file("open"), 0o777);
        for user in [0, ALICE, BOB, CAROL] {
            let home = room.file(&format!("home-{user}"));
            fs::create_dir(&home).unwrap();
            open(&home, 0o700);
            std::os::unix::fs::chown(&home, Some(user), None).unwrap();
        }
        let program = program.display().to_string();
        Some(Self { room, program })
    }

    fn home(&self, user: u32) -> String {
        self.room.file(&format!("home-{user}")).display().to_string()
    }

    /// Starts a node of root's that all users may connect to, by a socket and at these places.
    #[track_caller]
    pub(crate) fn node(&self, more: &[&str]) -> Node<'_> {
        self.node_with(more, &[])
    }

    #[track_caller]
    pub(crate) fn node_with(&self, more: &[&str], words: &[&str]) -> Node<'_> {
        let socket = self.room.unix("open/registrar.sock");
        let node = Node::start_with(&self.room, &[&[&*socket], more].concat(), words);
        self.open(&socket);
        node
    }

    /// Lets everybody connect to a socket.
    fn open(&self, socket: &str) {
        let path = socket.trim_start_matches("/unix");
        fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
    }

    /// Starts `callsign …` as a user, with a registrar.
    #[track_caller]
    pub(crate) fn run(&self, user: u32, registrar: &str, args: &[&str]) -> Running {
        let mut command = self.command_as(user, &self.program);
        command.args(["--registrar", registrar]).args(args);
        Running::start(command)
    }

    /// Starts `callsign …` as the root of a user namespace, which is user 4713 outside.
    #[track_caller]
    pub(crate) fn run_in_container(&self, registrar: &str, args: &[&str]) -> Running {
        let mut command = self.command_as(CAROL, "unshare");
        command.args(["-U", "-r", &self.program, "--registrar", registrar]).args(args);
        Running::start(command)
    }

    /// Makes a command that runs as a user.
    pub(crate) fn command_as(&self, user: u32, program: &str) -> Command {
        let mut command = self.room.other_command("setpriv");
        command.args(SETPRIV).arg(format!("--reuid={user}")).arg(program);
        command.env("XDG_RUNTIME_DIR", self.home(user)).env("HOME", self.home(user));
        command
    }
}
