//! A program learns its address from `register`, so that no address is written twice.

use super::programs::python;
use crate::harness::{Node, Outcome, Room};

/// A program's view of its address.
const TOLD: &str = r#"echo "$CALLSIGN_NAME $CALLSIGN_ENDPOINT ${HOST-no} ${PORT-no}""#;

#[test]
fn a_server_gets_a_port_that_was_drawn() {
    let room = Room::new();
    let node = Node::start(&room);
    let python = python();
    let by_argument = ["-m", "http.server", "{port}", "--bind", "{host}"];
    let serve = "import http.server, os, sys\n\
        at = (os.environ['HOST'], int(os.environ['PORT']))\n\
        class Server(http.server.HTTPServer):\n  \
          allow_reuse_address = False\n\
        Server(at, http.server.SimpleHTTPRequestHandler).serve_forever()";
    room.write("hello.txt", "from the real server");
    for arguments in [&by_argument[..], &["-c", serve]] {
        let register = ["register", "web", "/ip4/127.0.0.1/tcp/0", "--", &python];
        let mut web = node.run(&[&register[..], arguments].concat());
        web.says("`web` is to listen at /ip4/127.0.0.1/tcp/");
        node.callsign(&["wait", "web", "--timeout", "5m"]).succeeds();
        let asked = node.run(&["connect", "web"]).write("GET /hello.txt HTTP/1.0\r\n\r\n");
        asked.outcome().succeeds().prints(&["200 OK", "from the real server"]);
        web.stop();
    }
}

#[test]
fn a_server_gets_its_path() {
    let room = Room::new();
    let node = Node::start(&room);
    let serve = "import socket, sys\n\
        s = socket.socket(socket.AF_UNIX)\n\
        s.bind(sys.argv[1])\n\
        s.listen()\n\
        while True:\n  \
          c, _ = s.accept()\n  \
          c.sendall(b'it is me')\n  \
          c.close()";
    let python = python();
    let socket = room.unix("a b.sock").replace(' ', "%20");
    let feed = node.run(&["register", "feed", &socket, "--", &python, "-c", serve, "{path}"]);
    node.callsign(&["wait", "feed", "--timeout", "5m"]).succeeds();
    node.callsign(&["connect", "feed"]).succeeds().prints(&["it is me"]);
    feed.stop();
}

#[test]
fn the_environment_tells_where_to_listen() {
    let room = Room::new();
    let node = Node::start(&room);
    let check = |endpoints: &[&str], expected: &str| {
        let mut command = room.command(&["--registrar", node.endpoint(), "register", "web"]);
        command.args(endpoints).args(["--", "sh", "-c", TOLD]);
        // Another program's variables, as a platform or a shell sets them.
        command.env("PORT", "9").env("HOST", "here");
        let told = crate::harness::Running::start(command).outcome().succeeds();
        assert_eq!(told.stdout.trim_end(), expected, "{told}");
    };
    check(&["/ip4/127.0.0.1/tcp/8000"], "web /ip4/127.0.0.1/tcp/8000 127.0.0.1 8000");
    check(
        &["/unix/@web", "/ip6/::1/tcp/8001", "/ip4/127.0.0.1/tcp/8002"],
        "web /unix/@web ::1 8001",
    );
    check(&["/unix/@web"], "web /unix/@web here 9");

    // Without the variables of another program, and with those of the settings file.
    let file = room.write("market.toml", "[network]\nweb = [\"/dns/localhost/tcp/8003\"]\n");
    let told = node.callsign(&["register", "web", "--config", &file, "--", "sh", "-c", TOLD]);
    told.succeeds().prints(&["web /dns/localhost/tcp/8003 localhost 8003\n"]);
    let told = node.callsign(&["register", "web", "/unix/@web", "--", "sh", "-c", TOLD]);
    told.succeeds().prints(&["web /unix/@web no no\n"]);
}

#[test]
fn endpoints_without_a_port_get_the_same() {
    let room = Room::new();
    let node = Node::start(&room);
    let both = ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.2/tcp/0/tls"];
    let told = node.callsign(&["register", "web", both[0], both[1], "--", "echo", "{port}"]);
    let told = told.succeeds();
    let port: u16 = told.stdout.trim_end().parse().unwrap();
    assert_ne!(port, 0);
    told.says(&[
        &format!("`web` is to listen at /ip4/127.0.0.1/tcp/{port}\n"),
        &format!("`web` is to listen at /ip4/127.0.0.2/tcp/{port}/tls\n"),
    ]);

    // Without a program, nobody could be told a port.
    let nobody = node.callsign(&["register", "web", both[0]]);
    nobody.ends_with(2).says(&["which port", "-- COMMAND {port}"]);
    // An address that no program here has.
    let elsewhere = ["register", "web", "/ip4/203.0.113.7/tcp/0", "--", "echo", "{port}"];
    let failed = node.callsign(&elsewhere).ends_with(7).says(&["no port can be drawn"]);
    assert_eq!(failed.stdout, "");
}

#[test]
fn a_program_asks_the_registrar_that_it_is_registered_with() {
    let room = Room::new();
    let node = Node::start(&room);
    let callsign = env!("CARGO_BIN_EXE_callsign");
    let shown = node.callsign(&["register", "web", "/unix/@web", "--", callsign, "ls", "web"]);
    shown.succeeds().prints(&["web", "starting"]);
}

#[test]
fn only_what_is_exactly_a_placeholder_is_replaced() {
    let room = Room::new();
    let node = Node::start(&room);
    let register = |endpoints: &[&str], program: &[&str]| -> Outcome {
        node.callsign(&[&["register", "web"], endpoints, &["--"], program].concat())
    };
    let own = "port=7; echo ${port} {{port}} {{{port}}} {\\\"port\\\":1} {port}";
    register(&["/ip4/127.0.0.1/tcp/8000"], &["sh", "-c", own])
        .succeeds()
        .prints(&["7 {port} {{port}} {\"port\":1} 8000\n"]);

    // Nothing is started if the meaning is unclear.
    let check = |endpoints: &[&str], placeholder: &str, expected: &str| {
        let failed = register(endpoints, &["echo", placeholder]).ends_with(2).says(&[expected]);
        assert_eq!(failed.stdout, "", "{failed}");
    };
    check(&["/unix/@web"], "{port}", "`{port}` is in the arguments, and `web` has no TCP endpoint");
    check(&["/ip4/127.0.0.1/tcp/8000"], "-b{path}", "`web` has no socket path");
    let two = ["/ip4/127.0.0.1/tcp/8000", "/ip4/127.0.0.1/tcp/8001"];
    check(&two, "{port}", "`{port}` in the arguments is ambiguous: `8000` or `8001`");
}
