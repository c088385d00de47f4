//! Strangers at the doors for HTTP.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    os::unix::net::UnixStream,
    thread,
};

use rustix::process::{Resource, getrlimit};

use crate::{
    harness::{Counts, LIMIT, Node, Peer, Room, now, query},
    stays_as_it_was,
};

/// A connection to a door.
enum Door {
    Unix(UnixStream),
    Tcp(TcpStream),
}

macro_rules! forward {
    ($door:expr, $inner:ident => $call:expr) => {
        match $door {
            Door::Unix($inner) => $call,
            Door::Tcp($inner) => $call,
        }
    };
}

impl Door {
    fn try_open(endpoint: &str) -> std::io::Result<Self> {
        match endpoint.strip_prefix("/unix") {
            Some(path) => UnixStream::connect(path).map(Self::Unix),
            None => {
                let port = endpoint.rsplit('/').next().unwrap().parse().unwrap();
                TcpStream::connect(("127.0.0.1", port)).map(Self::Tcp)
            }
        }
    }

    #[track_caller]
    fn open(endpoint: &str) -> Self {
        let door = Self::try_open(endpoint).unwrap();
        forward!(&door, it => it.set_read_timeout(Some(LIMIT)).unwrap());
        door
    }

    /// Writes as much as the other end takes: it may close meanwhile.
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        forward!(self, it => it.write_all(bytes))
    }

    fn close_writing(&self) {
        drop(forward!(self, it => it.shutdown(Shutdown::Write)));
    }

    /// Reads until the other end closes; what came of the last answer is not always whole, because
    /// bytes that nobody read cut it off.
    #[track_caller]
    fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let read = forward!(self, it => it.read_to_end(&mut rest));
        if let Err(error) = read {
            let kind = error.kind();
            assert_eq!(kind, std::io::ErrorKind::ConnectionReset, "it is not closed: {error}");
        }
        String::from_utf8_lossy(&rest).into_owned()
    }
}

/// Returns the statuses of some answers.
fn statuses(answers: &str) -> Vec<u16> {
    let starts = answers.split("HTTP/1.1 ").skip(1);
    starts.filter_map(|it| it.split(' ').next()?.parse().ok()).collect()
}

/// Starts a node with a door of each kind.
fn start(room: &Room) -> Node<'_> {
    let socket = room.unix("http.sock");
    let settings = format!(
        "[http]\nlisten = [\"{socket}\", \"/ip4/127.0.0.1/tcp/0\"]\n[registrar]\nsettle_time = \"0s\"\n"
    );
    let settings = room.write("callsign.toml", &settings);
    let patience = ["--config", &*settings, "--handshake-timeout", "2s"];
    Node::start_with(room, &[&room.unix("registrar.sock"), "/ip4/127.0.0.1/tcp/0"], &patience)
}

/// Lets strangers loose on each door of a node, while a good client asks on.
#[track_caller]
fn endure(strangers: impl Fn(&Node<'_>, &str)) {
    let room = Room::new();
    let node = start(&room);
    let ended = stays_as_it_was(node, 0, |node| {
        for door in node.http() {
            strangers(node, door);
            assert_eq!(asked(door), 200, "another one is answered at {door}");
        }
    });
    assert_eq!(ended.stderr, "", "a stranger is nothing to tell of\n{ended}");
}

/// Asks as everybody may, and returns the status.
#[track_caller]
fn asked(door: &str) -> u16 {
    let mut good = Door::open(door);
    good.write(
        b"GET /v1/actors?pattern=none HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    )
    .unwrap();
    statuses(&good.rest())[0]
}

const GET: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n";
const PUT: &str =
    "PUT /v1/instances/7d444840-9dc0-11d1-b245-5ffdce74fad2 HTTP/1.1\r\nHost: localhost\r\n";

/// Each comes in a connection of its own, and then no more does.
#[test]
fn malformed_requests_end_their_connection_alone() {
    let get = |more: &str| format!("{GET}{more}\r\n").into_bytes();
    let put = |more: &str| format!("{PUT}{more}").into_bytes();
    let chunked = "Transfer-Encoding: chunked\r\n";
    let long = |length: usize| "x".repeat(length);
    let lines: String = (0..65).map(|it| format!("X-{it}: y\r\n")).collect();
    let garbage: Vec<u8> =
        (0..100_000_u32).map(|it| (it.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    // Those that may write are told of the body, the others that they may not.
    let cases: &[(&str, Vec<u8>, &[u16])] = &[
        ("nothing", vec![], &[]),
        ("one byte", b"G".to_vec(), &[]),
        ("garbage", garbage, &[400]),
        ("a zero byte", b"\0".to_vec(), &[400]),
        ("TLS", [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &[7; 508]].concat(), &[400]),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &[400]),
        ("callsign's own protocol", wire::preface::preface().to_vec(), &[400]),
        ("another version", b"GET / HTTP/3.7\r\nHost: localhost\r\n\r\n".to_vec(), &[400]),
        ("a head that ends too soon", b"GET / HTTP/1.1\r\nHost: loc".to_vec(), &[]),
        ("a head without its end", get("X: y").to_vec(), &[]),
        (
            "a long target",
            format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", long(100_000)).into_bytes(),
            &[431],
        ),
        ("a long line", get(&format!("X: {}\r\n", long(100_000))), &[431]),
        ("many lines", get(&lines), &[431]),
        ("a line without a colon", get("nonsense\r\n"), &[400]),
        ("a name with a space", get("X : y\r\n"), &[400]),
        ("a folded line", get("X: y\r\n z: w\r\n"), &[400]),
        ("a bare carriage return", get("X: y\rz: w\r\n"), &[400]),
        ("a zero byte in a line", get("X: \0\r\n"), &[400]),
        ("a method with a space", b"GE T / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), &[400]),
        (
            "an unknown method",
            b"BREW /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_vec(),
            &[405],
        ),
        ("two hosts", get("Host: localhost\r\nConnection: close\r\n"), &[400]),
        ("a tunnel", b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), &[404]),
        ("an upgrade", get("Connection: upgrade, close\r\nUpgrade: websocket\r\n"), &[200]),
        (
            "a climbing path",
            b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                .to_vec(),
            &[404],
        ),
        (
            "a path that is no UTF-8",
            b"GET /v1/actors/%ff%fe HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                .to_vec(),
            &[400],
        ),
        ("a length that is none", get("Content-Length: x\r\n"), &[400]),
        ("a negative length", get("Content-Length: -1\r\n"), &[400]),
        ("a length with a sign", get("Content-Length: +1\r\n"), &[400]),
        ("a huge length", put("Content-Length: 99999999999999999999999\r\n\r\n"), &[400]),
        ("two lengths", get("Content-Length: 1\r\nContent-Length: 2\r\n"), &[400]),
        ("an unknown coding", get("Transfer-Encoding: cow\r\n"), &[400]),
        (
            "chunks in HTTP/1.0",
            b"PUT / HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
            &[400],
        ),
    ];
    endure(|_, door| {
        let is_unix = door.starts_with("/unix");
        let told = |status: u16| if is_unix { status } else { 403 };
        let cases = cases.iter().map(|(what, bytes, said)| (*what, bytes.clone(), said.to_vec()));
        let bodies = [
            ("a chunk that is no number", put(&format!("{chunked}\r\nzz\r\n")), vec![told(400)]),
            (
                "a chunk of all there can be",
                put(&format!("{chunked}\r\nffffffffffffffff\r\n")),
                vec![told(400)],
            ),
            (
                "a chunk longer than a number",
                put(&format!("{chunked}\r\n1ffffffffffffffff\r\n")),
                vec![told(400)],
            ),
            (
                "a chunk with a long remark",
                put(&format!("{chunked}\r\n1;{}\r\n", long(100_000))),
                vec![told(400)],
            ),
            (
                "a chunk without its end",
                put(&format!("{chunked}\r\n5\r\nhelloX\r\n")),
                vec![told(400)],
            ),
            (
                "a huge body",
                put(&format!("Content-Length: 1000000\r\n\r\n{}", long(1_000_000))),
                vec![told(413)],
            ),
            (
                "a huge body that is not sent",
                put("Content-Length: 99999999\r\n\r\n"),
                vec![told(413)],
            ),
            ("a body that ends too soon", put("Content-Length: 9\r\n\r\n{}"), vec![told(400)]),
        ];
        for (what, bytes, said) in cases.chain(bodies) {
            println!("{door}: {what}");
            let mut stranger = Door::open(door);
            drop(stranger.write(&bytes));
            stranger.close_writing();
            let answers = stranger.rest();
            // An answer may be lost behind bytes that nobody read, and none is given twice.
            let got = statuses(&answers);
            assert!(got == said || got.is_empty(), "{what}: {answers}");
            // Whoever refuses it, the peer reads why.
            if got.last().is_some_and(|it| *it >= 400) {
                let (head, body) = answers.rsplit_once("\r\n\r\n").unwrap();
                assert!(head.contains("application/problem+json"), "{what}: {answers}");
                assert!(body.starts_with('{') && body.contains("\"detail\""), "{what}: {answers}");
            }
        }
    });
}

/// What could be taken for two requests by one reader, and for another number by the next.
#[test]
fn no_request_hides_in_another() {
    let hidden = "GET /hidden HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let last = format!("{GET}Connection: close\r\n\r\n");
    endure(|_, door| {
        let check = |what: &str, bytes: String, said: &[u16]| {
            println!("{door}: {what}");
            let mut stranger = Door::open(door);
            stranger.write(bytes.as_bytes()).unwrap();
            stranger.close_writing();
            let answers = stranger.rest();
            assert_eq!(statuses(&answers), said, "{what}: {answers}");
        };
        check("two requests", format!("{GET}\r\n{last}"), &[200, 200]);
        // The body of a request is never read as the next one, which would not be found.
        let length = hidden.len();
        check(
            "a body",
            format!("{GET}Content-Length: {length}\r\n\r\n{hidden}{last}"),
            &[200, 200],
        );
        let chunk = format!("{length:x}\r\n{hidden}\r\n0\r\n\r\n");
        check("a chunk", format!("{GET}Transfer-Encoding: chunked\r\n\r\n{chunk}{last}"), &[200]);
        // Whoever says both the length and that there are chunks is not heard after that.
        for both in [
            "Content-Length: 4\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 4",
        ] {
            check("both", format!("{GET}{both}\r\n\r\n0\r\n\r\n{hidden}"), &[200]);
        }
        check(
            "twice",
            format!(
                "{GET}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{hidden}"
            ),
            &[400],
        );
        check(
            "in disguise",
            format!("{GET}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}"),
            &[400],
        );
    });
}

/// All of these take their time, and none keeps anybody else waiting.
#[test]
fn slow_strangers_are_cut() {
    endure(|node, door| {
        let is_unix = door.starts_with("/unix");
        let open = |first: &str| {
            let mut door = Door::open(door);
            door.write(first.as_bytes()).unwrap();
            door
        };
        let silent = (0..50).map(|_| ("silent", open(""), ""));
        let heads = (0..50).map(|_| ("a head", open("GET / HTTP/1.1\r\n"), "X"));
        let bodies =
            (0..50).map(|_| ("a body", open(&format!("{PUT}Content-Length: 9999\r\n\r\n")), " "));
        let chunks = (0..50).map(|_| {
            ("chunks", open(&format!("{PUT}Transfer-Encoding: chunked\r\n\r\n")), "1\r\n \r\n")
        });
        let mut strangers: Vec<_> = silent.chain(heads).chain(bodies).chain(chunks).collect();
        let deadline = now() + LIMIT;
        // Each says a little now and then, until it is cut.
        while !strangers.is_empty() {
            assert!(now() < deadline, "{} are left, such as {}", strangers.len(), strangers[0].0);
            strangers.retain_mut(|(what, door, more)| {
                let mut byte = [0];
                forward!(&*door, it => it.set_nonblocking(true).unwrap());
                let told = match forward!(door, it => it.read(&mut byte)) {
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                        return door.write(more.as_bytes()).is_ok() || *what == "silent";
                    }
                    told => told.is_ok_and(|it| it == 1),
                };
                // Whoever may not write is told at once.
                assert!(
                    told || is_unix || !["a body", "chunks"].contains(what),
                    "{what} is cut unheard"
                );
                false
            });
            // A byte for each question of the node.
            node.counts();
        }
    });
}

/// Whoever waits, and has sent more requests meanwhile, does not wait after its death.
#[test]
fn who_waits_is_gone_when_its_peer_is() {
    endure(|node, door| {
        for path in ["/v1/actors/nobody?wait=10min", "/v1/watch"] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let crowd: Vec<_> = (0..20)
                .map(|_| {
                    let mut waiting = Door::open(door);
                    waiting.write(request.repeat(40).as_bytes()).unwrap();
                    waiting
                })
                .collect();
            let deadline = now() + LIMIT;
            while node.counts().watchers < 20 {
                assert!(now() < deadline, "they do not wait");
            }
            drop(crowd);
            while node.counts().watchers > 0 {
                assert!(now() < deadline, "they wait though nobody is there");
            }
        }
    });
}

/// As many connections as there can be: those that have no place are told so, and those that are
/// there already are served.
#[test]
fn ten_thousand_connections_are_a_crowd_at_most() {
    let room = Room::new();
    let node = start(&room);
    let (method, body) = query("good");
    let mut good = Peer::greet(node.endpoint());
    let open_max = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |it| it as usize);
    let crowd_max = 10_000.min(open_max.saturating_sub(200));
    for door in node.http() {
        let mut crowd = Vec::new();
        for at in 0..crowd_max {
            // More than the backlog at once are refused by the kernel.
            let Ok(one) = Door::try_open(door) else { break };
            crowd.push(one);
            if at % 250 == 0 {
                drop(good.call(method, &body));
                good.sync();
            }
        }
        println!("{door}: {} connections", crowd.len());
        assert!(crowd.len() > crowd_max / 2, "only {} could connect", crowd.len());
        // Some of them ask, and are answered or told that there is no place.
        let (mut served, mut turned_away) = (0, 0);
        for one in crowd.iter_mut().step_by(100) {
            forward!(one, it => it.set_read_timeout(Some(LIMIT)).unwrap());
            drop(one.write(format!("{GET}Connection: close\r\n\r\n").as_bytes()));
            match statuses(&one.rest())[..] {
                [200] => served += 1,
                [503] | [] => turned_away += 1,
                ref other => panic!("{other:?}"),
            }
            good.sync();
        }
        println!("{door}: {served} are served, {turned_away} are not");
        assert!(served > 0, "somebody has a place");
        drop(crowd);
        let deadline = now() + LIMIT;
        while !matches!(Door::try_open(door).map(|_| asked(door)), Ok(200)) {
            assert!(now() < deadline, "nobody is served any more");
            thread::yield_now();
        }
    }
    drop(good);
    node.comes_to(Counts { instances: 0, sessions: 0, waiters: 0, watchers: 0 });
    node.stop().succeeds();
}
