//! The HTTP server, asked by curl.

#![expect(clippy::print_stderr, reason = "who runs a test reads what it says")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    os::unix::net::UnixStream,
    process::Command,
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{LIMIT, Node, Room, Running};

/// Starts a node that answers HTTP at a socket file and at a free port, with more settings.
#[track_caller]
pub(crate) fn start<'room>(room: &'room Room, more: &str) -> Node<'room> {
    let socket = room.unix("http.sock");
    let settings = format!(
        "[registrar]\nsettle_time = \"0s\"\n[http]\n\
         listen = [\"{socket}\", \"/ip4/127.0.0.1/tcp/0\"]\n{more}"
    );
    let settings = room.write("callsign.toml", &settings);
    Node::start_with(room, &[&room.unix("registrar.sock")], &["--config", &settings])
}

/// Tells whether there is a curl here.
pub(crate) fn has_curl() -> bool {
    let found = Command::new("curl").arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: `curl` cannot be started");
    }
    found
}

/// Returns a curl that asks at the socket file.
pub(crate) fn curl(room: &Room, words: &[&str], path: &str) -> Command {
    let mut command = room.other_command("curl");
    command.args(["--silent", "--show-error", "--no-buffer", "--max-time", "240"]);
    command.arg("--unix-socket").arg(room.file("http.sock")).args(words);
    command.arg(format!("http://localhost{path}"));
    command
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) body: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn read(text: &str) -> Self {
        let (headers, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text}"));
        let status = headers.split(' ').nth(1).and_then(|it| it.parse().ok());
        let status = status.unwrap_or_else(|| panic!("{text}"));
        Self { status, headers: headers.to_ascii_lowercase(), body: body.to_owned() }
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> String {
        let start = format!("{name}: ");
        let line = self.headers.lines().find_map(|it| it.strip_prefix(&start));
        line.unwrap_or_else(|| panic!("no {name}: {self:?}")).to_owned()
    }
}

#[track_caller]
pub(crate) fn ask(room: &Room, words: &[&str], path: &str) -> Answer {
    let words = [&["--include"], words].concat();
    let output = Running::start(curl(room, &words, path)).outcome().succeeds();
    Answer::read(&output.stdout)
}

#[track_caller]
pub(crate) fn get(room: &Room, path: &str) -> Answer {
    ask(room, &[], path)
}

/// Registers an actor that runs until it is killed, and waits until it is there.
#[track_caller]
pub(crate) fn actor(node: &Node<'_>, name: &str) -> Running {
    let place = node.room().abstract_unix(name);
    let own = env!("CARGO_BIN_EXE_callsign");
    let program = [own, "registrar", "--listen", "{endpoint}"];
    let actor = node.run(&[&["register", name, &place, "--"], &program[..]].concat());
    node.callsign(&["wait", name, "--timeout", "240s"]).succeeds();
    actor
}

/// Removes what differs between two answers a moment apart.
fn ageless(mut json: Value) -> Value {
    match &mut json {
        Value::Array(items) => items.iter_mut().for_each(|it| *it = ageless(it.take())),
        Value::Object(fields) => {
            fields.remove("age_ms");
            fields.values_mut().for_each(|it| *it = ageless(it.take()));
        }
        _ => {}
    }
    json
}

#[test]
fn http_answers_what_the_commands_print() {
    if !has_curl() {
        return;
    }
    let room = Room::new();
    let node = start(&room, "[declared]\nfar = \"/ip4/192.0.2.7/tcp/80\"\n");
    let feed = actor(&node, "feed");
    let _other = actor(&node, "feed-2");
    let same = |path: &str, words: &[&str]| {
        let printed = node.callsign(words).json();
        let answer = get(&room, path);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), "application/json");
        let mut answered = answer.json();
        if words[0] == "ls" {
            // The command sorts them by name.
            let name = |it: &Value| it["name"].as_str().unwrap().to_owned();
            answered.as_array_mut().unwrap().sort_by_key(name);
        }
        assert_eq!(ageless(answered), ageless(printed), "{path}");
    };
    same("/v1/actors", &["ls", "--json"]);
    same("/v1/actors?pattern=feed*", &["ls", "feed*", "--json"]);
    same("/v1/actors?pattern=none*", &["ls", "none*", "--json"]);
    same("/v1/actors/feed?all=true", &["find", "feed", "--all", "--json"]);
    same("/v1/resolve/feed", &["resolve", "feed", "--explain", "--json"]);
    same("/v1/tree", &["tree", "--json"]);

    let status = get(&room, "/v1/status").json();
    let printed = node.callsign(&["status", "--json"]).json()[0]["status"].clone();
    for field in ["registrar", "agent", "instances", "endpoints", "endpoints_encoded", "revision"] {
        assert_eq!(status[field], printed[field], "{field}");
    }
    assert_eq!((get(&room, "/healthz").status, get(&room, "/readyz").status), (200, 200));

    // Errors are problem details.
    let check = |words: &[&str], path: &str, status: u16, kind: &str, said: &str| {
        let answer = ask(&room, words, path);
        assert_eq!(answer.header("content-type"), "application/problem+json", "{answer:?}");
        let problem = answer.json();
        assert_eq!((answer.status, &problem["status"]), (status, &json!(status)), "{answer:?}");
        assert_eq!((&problem["type"], &problem["kind"]), (&json!("about:blank"), &json!(kind)));
        assert!(problem["detail"].as_str().unwrap().contains(said), "{problem}");
    };
    check(&[], "/v1/actors/nobody", 404, "not-found", "`nobody`");
    check(&[], "/v1/resolve/nobody", 404, "not-found", "`nobody`");
    check(&[], "/v1/actors/a%20b", 400, "invalid", "a b");
    check(&[], "/v1/actors?pattern=a%20b", 400, "invalid", "`pattern`");
    check(&[], "/v1/actors/feed?wait=1y", 400, "invalid", "`wait`");
    check(&[], "/v1/actors/feed?after=x", 400, "invalid", "`after` is a whole number");
    check(&[], "/v1/actors/feed?after=7", 400, "invalid", "`wait=10s`");
    // What is misspelt would ask for something else.
    for (path, said) in [
        ("/v1/actors?patern=f*", "`patern`: did you mean `pattern`?"),
        ("/v1/watch?patern=f*", "`patern`: did you mean `pattern`?"),
        ("/v1/actors/feed?al=true", "`al`: did you mean `all`?"),
        ("/v1/actors/feed?all=yes", "`all` is `true` or `false`, not `yes`"),
        ("/v1/actors?pattern=a&pattern=b", "`pattern` is there twice"),
        ("/v1/resolve/feed?explain=true", "`explain`: this takes none"),
        ("/v1/tree?x", "`x`: this takes none"),
        ("/v1/status?x", "`x`: this takes none"),
        ("/v1/actors/%ff", "UTF-8"),
    ] {
        check(&[], path, 400, "invalid", said);
    }
    check(&[], "/nowhere", 404, "not-found", "");
    check(&["-X", "POST"], "/v1/actors", 405, "no-such-method", "");

    feed.kill();
    let gone = get(&room, "/v1/actors/feed?wait=240s&after=0");
    assert!([200, 404].contains(&gone.status), "an unknown revision is answered at once: {gone:?}");
    node.stop().succeeds();
}

#[test]
fn an_answer_waits_until_there_is_something_new() {
    if !has_curl() {
        return;
    }
    let room = Room::new();
    let node = start(&room, "");
    let wait = |query: &str| {
        let path = format!("/v1/actors/feed?{query}");
        let waiting = Running::start(curl(&room, &["--include"], &path));
        // It is a watch for as long as it waits.
        let deadline = crate::harness::now() + LIMIT;
        while node.counts().watchers == 0 {
            assert!(crate::harness::now() < deadline, "it does not wait");
        }
        waiting
    };
    let first = wait("wait=240s");
    let feed = actor(&node, "feed");
    let first = Answer::read(&first.outcome().succeeds().stdout);
    assert_eq!((first.status, &first.json()[0]["name"]), (200, &json!("feed")), "{first:?}");

    let revision = get(&room, "/v1/actors/feed").header("callsign-revision");
    let since = format!("wait=240s&after={revision}");
    let second = wait(&since);
    // What happens to others is no news.
    let _other = actor(&node, "other");
    node.callsign(&["drain", "feed"]).succeeds();
    let second = Answer::read(&second.outcome().succeeds().stdout);
    assert_eq!(second.status, 404, "it is draining: {second:?}");
    // What has happened since is answered at once.
    let missed = get(&room, &format!("/v1/actors/feed?all=true&{since}"));
    assert_eq!(missed.json()[0]["state"], "draining", "{missed:?}");

    let revision = missed.header("callsign-revision");
    let third = wait(&format!("all=true&wait=240s&after={revision}"));
    feed.kill();
    let third = Answer::read(&third.outcome().succeeds().stdout);
    assert_eq!(third.status, 404, "{third:?}");
    // The time is over: the answer is as before.
    assert_eq!(get(&room, "/v1/actors/feed?wait=1ms").status, 404);
    node.stop().succeeds();
}

#[test]
fn other_pages_and_names_of_a_browser_are_refused() {
    let room = Room::new();
    let node = start(&room, "");
    let port = node.http()[1].rsplit('/').next().unwrap();
    let say = |request: &str| {
        let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        Answer::read(&said)
    };
    let check = |headers: &str, status: u16| {
        let request = format!("GET /v1/status HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
        let answer = say(&request);
        assert_eq!(answer.status, status, "{headers}: {answer:?}");
        assert!(!answer.headers.contains("access-control"), "{answer:?}");
    };
    check(&format!("Host: 127.0.0.1:{port}\r\n"), 200);
    check("Host: localhost\r\n", 200);
    check("Host: [::1]:80\r\n", 200);
    check("Host: rebound.example\r\n", 403);
    check(&format!("Host: rebound.example:{port}\r\n"), 403);
    check("", 400);
    check("Host: localhost\r\nHost: localhost\r\n", 400);
    check("Host: localhost\r\nOrigin: http://other.example\r\n", 403);
    check("Host: localhost\r\nOrigin: http://localhost\r\n", 200);
    // Nothing is changed over a port, where any page could ask.
    let uuid = "7d444840-9dc0-11d1-b245-5ffdce74fad2";
    for method in ["PUT", "DELETE"] {
        let request = format!(
            "{method} /v1/instances/{uuid} HTTP/1.1\r\nHost: localhost\r\n\
             Connection: close\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        let answer = say(&request);
        assert_eq!((answer.status, &answer.json()["kind"]), (403, &json!("denied")), "{answer:?}");
    }
    node.stop().succeeds();
}

#[test]
fn changes_are_told_as_they_happen_and_after_an_interruption() {
    if !has_curl() {
        return;
    }
    let room = Room::new();
    let node = start(&room, "");
    let first = actor(&node, "feed-1");
    let listen = |words: &[&str]| Running::start(curl(&room, words, "/v1/watch?pattern=feed*"));
    // An event is three lines; returns its id and its data.
    let event = |stream: &mut Running, what: &str| {
        stream.line(what, |it| it == format!("event: {what}"));
        let id = stream.line("its id", |it| it.starts_with("id:"));
        let data = stream.line("its data", |it| it.starts_with("data: "));
        let data: Value = serde_json::from_str(&data["data: ".len()..]).unwrap();
        assert_eq!(data["change"], what, "{data}");
        (id["id:".len()..].trim().to_owned(), data)
    };
    let mut stream = listen(&[]);
    event(&mut stream, "reset");
    let (id, data) = event(&mut stream, "add");
    assert_eq!((&*id, &data["name"]), ("", &json!("feed-1")), "a snapshot begins anew");
    let (synced, _) = event(&mut stream, "synced");
    let second = actor(&node, "feed-2");
    let _other = actor(&node, "other");
    let (added, data) = event(&mut stream, "add");
    assert_eq!((&data["name"], &data["locality"]), (&json!("feed-2"), &json!("unix-socket")));
    node.callsign(&["drain", "feed-2"]).succeeds();
    // Before that it may have become ready.
    while event(&mut stream, "update").1["state"] != "draining" {}
    first.kill();
    let (_, data) = event(&mut stream, "remove");
    assert_eq!((&data["name"], &data["reason"]), (&json!("feed-1"), &json!("session-ended")));
    drop(stream);

    // Whoever comes back is told what it missed; once it is known no more, everything.
    for (id, begins) in [(&*added, "add"), (&*synced, "add"), ("x.1", "reset"), ("", "reset")] {
        let mut stream = listen(&["--header", &format!("Last-Event-ID: {id}")]);
        stream.line(begins, |it| it == format!("event: {begins}"));
        if begins == "add" {
            while event(&mut stream, "update").1["state"] != "draining" {}
            event(&mut stream, "remove");
        }
    }
    second.kill();
    // A watch ends with its connection, and with the registrar.
    let deadline = crate::harness::now() + LIMIT;
    while node.counts().watchers > 0 {
        assert!(crate::harness::now() < deadline, "a watch is left");
    }
    let mut last = listen(&[]);
    last.line("synced", |it| it == "event: synced");
    node.stop().succeeds();
    last.outcome().succeeds();
}

#[test]
fn a_young_registrar_does_not_say_no() {
    let room = Room::new();
    let socket = room.unix("http.sock");
    let settings = room.write("callsign.toml", &format!("[http]\nlisten = \"{socket}\"\n"));
    let more = ["--config", &settings, "--settle-time", "1min"];
    let node = Node::start_with(&room, &[&room.unix("registrar.sock")], &more);
    let get = |path: &str| {
        let mut stream = UnixStream::connect(room.file("http.sock")).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        Answer::read(&said)
    };
    let unsettled = |path: &str| {
        let answer = get(path);
        assert_eq!((answer.status, &*answer.header("retry-after")), (503, "1"), "{path}");
        assert_eq!(answer.json()["kind"], "unsettled", "{answer:?}");
    };
    let named = ["/v1/actors/feed", "/v1/actors/feed?all=true&wait=1ms", "/v1/resolve/feed"];
    for path in named.iter().chain(&["/readyz", "/v1/actors", "/v1/actors?pattern=f*", "/v1/tree"])
    {
        unsettled(path);
    }
    assert_eq!(get("/healthz").status, 200);
    assert!(get("/v1/status").json()["settling_ms"].as_u64().is_some_and(|it| it <= 60_000));

    // Nor does it say that all have been told: they may still be on their way.
    let mut watch = UnixStream::connect(room.file("http.sock")).unwrap();
    watch.set_read_timeout(Some(LIMIT)).unwrap();
    watch.write_all(b"GET /v1/watch HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut lines = BufReader::new(watch).lines().map(Result::unwrap);
    let mut events = |last: &str| -> Vec<String> {
        let events = lines.by_ref().filter_map(|it| Some(it.strip_prefix("event: ")?.to_owned()));
        let mut seen: Vec<_> = Vec::new();
        for event in events {
            seen.push(event);
            if seen.last().is_some_and(|it| it == last) {
                break;
            }
        }
        seen
    };
    assert_eq!(events("reset"), ["reset"]);
    let feed = node.run(&["register", "feed", "/ip4/192.0.2.7/tcp/80", "--state", "ready"]);
    assert_eq!(events("add"), ["add"]);
    feed.kill();
    assert_eq!(events("remove"), ["remove"]);
    unsettled("/v1/actors");

    // What there is, it says, and that more may come.
    let _feed = node.run(&["register", "feed", "/ip4/192.0.2.7/tcp/80", "--state", "ready"]);
    assert_eq!(events("add"), ["add"]);
    for path in ["/v1/actors", "/v1/actors/feed", "/v1/resolve/feed"] {
        let answer = get(path);
        let left: u64 = answer.header("callsign-settling-ms").parse().unwrap();
        assert!(answer.status == 200 && (1..=60_000).contains(&left), "{answer:?}");
    }
    unsettled("/v1/tree");
    node.stop().succeeds();
}

/// A registrar that has just started says that all have been told once they had their time.
#[test]
fn a_stream_is_synced_once_the_registrar_is_settled() {
    if !has_curl() {
        return;
    }
    let room = Room::new();
    let socket = room.unix("http.sock");
    let settings = room.write("callsign.toml", &format!("[http]\nlisten = \"{socket}\"\n"));
    let more = ["--config", &settings, "--settle-time", "2s"];
    let node = Node::start_with(&room, &[&room.unix("registrar.sock")], &more);
    let mut watch = Running::start(curl(&room, &[], "/v1/watch"));
    watch.line("synced", |it| it == "event: synced");
    // So the next change can be told to whoever comes back.
    let id = watch.line("its id", |it| it.starts_with("id:"));
    assert!(id.contains('.'), "{id}");
    assert_eq!((get(&room, "/readyz").status, get(&room, "/v1/actors").status), (200, 200));
    assert_eq!(get(&room, "/v1/status").json()["settling_ms"], Value::Null);
    assert!(!get(&room, "/v1/actors").headers.contains("callsign-settling"));
    node.stop().succeeds();
}

#[test]
fn a_place_that_is_taken_is_told_with_its_settings() {
    let room = Room::new();
    let node = start(&room, "");
    let port = node.http()[1].clone();
    let settings = room.write("other.toml", &format!("[http]\nlisten = \"{port}\"\n"));
    let other = room.unix("other.sock");
    let failed =
        room.callsign(&["registrar", "--listen", &other, "--config", &settings]).ends_with(5);
    let failed = failed.says(&["`[http] listen`", "other.toml:2", &port]);
    assert!(!failed.stderr.contains("callsign status"), "{failed}");
    node.process().signal(Signal::TERM);
    node.outcome();
}

#[test]
fn the_page_runs_its_own_script_alone() {
    if !has_curl() {
        return;
    }
    let room = Room::new();
    let node = start(&room, "");
    let policy = |page: &Answer| page.header("content-security-policy");
    let (first, second) = (get(&room, "/"), get(&room, "/"));
    assert_eq!(first.header("content-type"), "text/html; charset=utf-8");
    assert_ne!(policy(&first), policy(&second), "the number is drawn for each answer");
    let policy = policy(&first);
    assert!(policy.starts_with("default-src 'none'; script-src 'nonce-"), "{policy}");
    let nonce = policy.split("'nonce-").nth(1).and_then(|it| it.split('\'').next()).unwrap();
    for part in ["script", "style"] {
        let count = first.body.matches(&format!("<{part}")).count();
        let own = first.body.matches(&format!("<{part} nonce=\"{nonce}\">")).count();
        assert_eq!((count, own), (1, 1), "{part}");
    }
    node.stop().succeeds();
}
