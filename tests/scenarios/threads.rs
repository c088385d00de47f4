//! Users who may have no more processes, and so no more threads.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    process::Command,
};

use crate::{
    harness::{Node, Running},
    owners::Users,
};

/// A user whom no other test counts.
struct Crowded<'users> {
    users: &'users Users,
    user: u32,
    home: String,
}

impl<'users> Crowded<'users> {
    fn new(users: &'users Users) -> Self {
        let user = 100_000 + std::process::id();
        let home = users.room.file("crowded");
        fs::create_dir(&home).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
        chown(&home, Some(user), None).unwrap();
        Self { users, user, home: home.display().to_string() }
    }

    /// Returns `callsign …` of the user, with at most so many processes and threads.
    fn command(&self, most: u32, args: &[&str]) -> Command {
        let mut command = self.users.command_as(self.user, "prlimit");
        command.arg(format!("--nproc={most}:{most}")).arg(&self.users.program).args(args);
        command.env("XDG_RUNTIME_DIR", &self.home).env("HOME", &self.home);
        command
    }
}

#[test]
fn a_registrar_without_threads_writes_what_it_has_to_write() {
    let Some(users) = Users::new() else { return };
    let crowded = Crowded::new(&users);
    let room = &users.room;
    let exclusive = room.write("market.toml", "[names]\nleader = { exclusive = true }\n");
    fs::set_permissions(room.file("market.toml"), fs::Permissions::from_mode(0o644)).unwrap();
    let exclusive = ["--config", &exclusive, "--settle-time", "0s"];
    for (most, more) in [(1, &[][..]), (1, &exclusive), (2, &exclusive)] {
        let place = room.unix("crowded/registrar.sock");
        let registrar = Running::start(
            crowded.command(most, &[&["registrar", "--listen", &place], more].concat()),
        );
        let asked = |args: &[&str]| room.callsign(&[&["--registrar", &place], args].concat());
        // It announces itself at its end, since no thread can wait for a reader meanwhile.
        while asked(&["status"]).code != Some(0) {}
        for name in ["leader", "feed"] {
            asked(&["register", name, "/unix/@crowded", "--ttl", "10m"]).succeeds();
            asked(&["find", name, "--all"]).succeeds();
            asked(&["unregister", name]).succeeds();
        }
        let ended = registrar.stop().succeeds();
        assert!(!ended.stderr.contains("cannot write"), "{ended}");
        let tokens = fs::read_dir(room.file("crowded")).unwrap().count();
        assert!(more.is_empty() || tokens > 0, "{ended}");
    }
}

#[test]
fn a_command_without_threads_does_what_it_can() {
    let Some(users) = Users::new() else { return };
    let crowded = Crowded::new(&users);
    let node = users.node(&["/ip4/127.0.0.1/tcp/0"]);
    let run = |registrar: &str, args: &[&str]| {
        Running::start(crowded.command(1, &[&["--registrar", registrar], args].concat()))
    };
    let mut watch = run(node.endpoint(), &["watch"]);
    let listed = || node.callsign(&["status", "--json"]).json()[0]["status"]["watchers"].clone();
    while listed() != 1 {}
    node.callsign(&["register", "feed", "/unix/@feed", "--ttl", "10m"]).succeeds();
    watch.line_with("feed");
    watch.stop().succeeds();

    // A name cannot be looked up, and that is said.
    let by_name = node.endpoints()[1].replace("/ip4/127.0.0.1/", "/dns/localhost/");
    let failed = run(&by_name, &["ls"]).outcome().ends_with(3);
    failed.says(&["Resource temporarily unavailable"]);
    // Nor can input be read beside everything else.
    let _server = serve(&node);
    let failed = run(node.endpoint(), &["connect", "server"]).outcome().ends_with(7);
    failed.says(&["Resource temporarily unavailable"]);
}

/// Registers a server at a port that is there until it is dropped.
fn serve(node: &Node<'_>) -> std::net::TcpListener {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("/ip4/127.0.0.1/tcp/{}", server.local_addr().unwrap().port());
    node.callsign(&["register", "server", &place, "--ttl", "10m"]).succeeds();
    server
}
