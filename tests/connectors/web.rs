//! Web servers behind names.

use rustix::process::geteuid;

use crate::{
    example,
    harness::{Node, Room, Running},
    python::python,
    until,
};

#[test]
fn a_web_server_is_reached_by_its_name_and_by_curl() {
    let room = Room::new();
    let node = Node::start(&room);
    let (path, user) = (room.unix("web.sock"), geteuid().as_raw());
    let web = example(&node, "web", &[node.endpoint(), &path, "/ip4/127.0.0.1/tcp/0"]);
    until(&node, "web", 1);

    let mut fetch = example(&node, "fetch", &[node.endpoint(), "http://web/quote"]);
    let me = fetch.pid();
    fetch.line_with(&format!("200 OK over {path}"));
    fetch.line_with(&format!("EURUSD 1.0842 1.0843 from web for process {me} of user {user}"));

    // It is killed, and another serves elsewhere: the client dials anew.
    web.kill();
    until(&node, "web", 0);
    let next = example(&node, "web", &[node.endpoint(), "/ip4/127.0.0.1/tcp/0"]);
    until(&node, "web", 1);
    fetch.type_line("");
    fetch.line_with("200 OK over /ip4/127.0.0.1/tcp/");
    fetch.line_with("EURUSD 1.0842 1.0843 from web for 127.0.0.1:");
    fetch.outcome().succeeds();
    next.kill();

    // A program that knows nothing of names.
    let mut web = example(&node, "web", &[node.endpoint(), &path]);
    web.line_with("web listens at");
    let socket = room.file("web.sock").display().to_string();
    let mut curl = room.other_command("curl");
    curl.args(["--silent", "--show-error", "--unix-socket", &socket, "http://web/quote"]);
    let said = Running::start(curl).outcome().succeeds();
    assert!(said.stdout.contains("from web for process "), "{said}");
}

#[test]
fn a_name_that_nobody_has_is_said_in_the_words_of_the_commands() {
    let room = Room::new();
    let node = Node::start(&room);
    let fetched = example(&node, "fetch", &[node.endpoint(), "http://wbe/quote"]).outcome();
    let said = format!("no actor `wbe` is registered at {}", node.endpoint());
    let found = node.callsign(&["connect", "wbe"]);
    for outcome in [fetched, found] {
        assert!(outcome.stderr.contains(&said), "{outcome}");
    }
    let port = example(&node, "fetch", &[node.endpoint(), "http://web:80/quote"]).outcome();
    assert!(port.stderr.contains("the registrar tells its port"), "{port}");
}

#[test]
fn requests_are_balanced_over_all_that_live() {
    let room = Room::new();
    let node = Node::start(&room);
    let mut balance = example(&node, "balance", &[node.endpoint(), "web", "/quote"]);
    // The first request waits for an instance.
    balance.type_line("");
    let one = example(&node, "web", &[node.endpoint(), &room.unix("one.sock")]);
    let first = balance.line_with("200 OK by web[");
    let other = example(&node, "web", &[node.endpoint(), "/ip4/127.0.0.1/tcp/0"]);
    while ask(&mut balance) == first {}
    one.kill();
    until(&node, "web", 1);
    // Once it has been told, the dead one is asked no more.
    while !ask(&mut balance).starts_with("200 OK by web[") {}
    for _ in 0..20 {
        assert_ne!(ask(&mut balance), first);
    }
    drop(other);
}

fn ask(balance: &mut Running) -> String {
    balance.type_line("");
    balance.line("an answer", |_| true)
}

#[test]
fn servers_of_python_are_reached_by_their_names() {
    let Some(python) = python() else { return };
    let room = Room::new();
    let node = Node::start(&room);
    room.write("asgi.py", ASGI);
    room.write("served.py", AIOHTTP);
    let path = |name: &str| room.file(name).display().to_string();
    let uvicorn = ["-m", "uvicorn", "asgi:app", "--lifespan", "off", "--uds", &path("u.sock")];
    let aiohttp = ["served.py", &path("a.sock")];
    for (name, socket, words) in
        [("uvicorn", "u.sock", &uvicorn[..]), ("AioHTTP:web", "a.sock", &aiohttp[..])]
    {
        let command = ["register", name, &room.unix(socket), "--", &python];
        let server = node.run(&[&command[..], words].concat());
        until(&node, name, 1);
        let host = callsign::host(&name.parse().unwrap());
        let uri = format!("http://{host}/");
        let said = example(&node, "fetch", &[node.endpoint(), &uri]).outcome().succeeds();
        assert!(said.stdout.ends_with(&format!("hello from Python to {host}")), "{said}");
        server.stop();
    }
}

const ASGI: &str = r#"
async def app(scope, receive, send):
    host = dict(scope["headers"])[b"host"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello from Python to " + host})
"#;

const AIOHTTP: &str = r#"
import sys
from aiohttp import web

async def hello(request):
    return web.Response(text=f"hello from Python to {request.headers['Host']}")

app = web.Application()
app.router.add_get("/", hello)
web.run_app(app, path=sys.argv[1])
"#;
