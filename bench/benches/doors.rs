//! What an answer by DNS costs a registrar beside dnsmasq, and one by HTTP beside a bare handler of
//! axum; and how soon DNS knows that an actor was killed.
//!
//! The servers are processes of their own, on a processor of their own, and take turns. What is
//! compared is their processor time per answer.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run had better stop")]
#![expect(clippy::print_stdout, reason = "it prints its figures")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read, Write},
    net::{Ipv4Addr, TcpStream, UdpSocket},
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use axum::{Router, http::header::CONTENT_TYPE, routing::get};
use callsign_bench::{
    Client, Quantiles, lookups, node_binary, registrations,
    server::{CLIENTS, ServerProcess, free_ports, is_there, place},
};

/// The names that are asked for.
const NAMES: usize = 100;

/// The answers of a turn, and the turns of each server.
const ANSWERS: usize = 50_000;
const TURNS: usize = 7;

/// The questions that are under way at once.
const DEPTH: usize = 16;

/// The actors that are killed.
const KILLS: usize = 300;

fn main() {
    // `cargo bench` passes flags that concern criterion alone.
    let args: Vec<_> = env::args().collect();
    if let [_, role, port, body] = &args[..]
        && role == BARE
    {
        return bare(port.parse().unwrap(), &fs::read_to_string(body).unwrap());
    }
    let Some(binary) = node_binary() else {
        println!("doors: build the node first with `cargo build --release`");
        return;
    };
    place(None, CLIENTS);
    let [dns, http] = free_ports();
    let declared: String = (0..NAMES)
        .map(|it| format!("actor-{it} = \"/ip4/192.0.2.7/tcp/{}\"\n", 1000 + it))
        .collect();
    let settings = format!(
        "[dns]\nlisten = \"127.0.0.1:{dns}\"\n[http]\nlisten = \"/ip4/127.0.0.1/tcp/{http}\"\n[declared]\n{declared}"
    );
    let node = ServerProcess::callsign(&binary, &settings, &[]);

    if is_there("dnsmasq") {
        let records = (0..NAMES).map(|it| format!("--host-record=actor-{it}.callsign,192.0.2.7"));
        let dnsmasq = ServerProcess::dnsmasq(records);
        compare("DNS", [("callsign", &node), ("dnsmasq", &dnsmasq)], |server| {
            ask_dns(if server == 0 { dns } else { dnsmasq.port.unwrap() });
        });
    } else {
        println!("doors: dnsmasq is not there, so nothing is measured beside it");
    }

    let body = body_of(&http_answer(http));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body.json");
    fs::write(&file, body).unwrap();
    let [port, _] = free_ports();
    let handler = ServerProcess::own(&[BARE, &port.to_string(), file.to_str().unwrap()], port);
    compare("HTTP", [("callsign", &node), ("bare axum", &handler)], |server| {
        ask_http(if server == 0 { http } else { port });
    });

    kill(&binary, &node, dns);
    list(&node, http);
}

/// Has two servers answer in turns, and prints the medians of what an answer costs.
fn compare(what: &str, servers: [(&str, &ServerProcess); 2], ask: impl Fn(usize)) {
    let mut costs = [Vec::new(), Vec::new()];
    let mut rates = [Vec::new(), Vec::new()];
    for turn in 0..=TURNS {
        for (at, (_, server)) in servers.iter().enumerate() {
            let (before, began) = (server.processor_time(), Instant::now());
            ask(at);
            let (took, cost) = (began.elapsed(), server.processor_time() - before);
            // The first turn warms it up.
            if turn > 0 {
                costs[at].push(cost.as_secs_f64() * 1e6 / ANSWERS as f64);
                rates[at].push(ANSWERS as f64 / took.as_secs_f64());
            }
        }
    }
    let [own, other] = costs.map(median);
    let [own_rate, other_rate] = rates.map(median);
    let [(own_name, _), (other_name, _)] = servers;
    println!(
        "{what}: {own_name} {own:.2} µs of processor time per answer ({own_rate:.0}/s), \
         {other_name} {other:.2} µs ({other_rate:.0}/s): {:.2} ×",
        own / other
    );
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Asks for addresses, several at once.
fn ask_dns(port: u16) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let questions: Vec<_> = (0..NAMES).map(|it| question(&format!("actor-{it}"))).collect();
    let mut answer = [0; 512];
    for round in 0..ANSWERS / DEPTH {
        for at in 0..DEPTH {
            socket.send(&questions[(round * DEPTH + at) % NAMES]).unwrap();
        }
        for _ in 0..DEPTH {
            let length = socket.recv(&mut answer).unwrap();
            assert_eq!(answer[length - 4..length], [192, 0, 2, 7]);
        }
    }
}

/// Writes a question for the address of an actor.
fn question(name: &str) -> Vec<u8> {
    let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, name.len() as u8];
    question.extend_from_slice(name.as_bytes());
    question.extend_from_slice(b"\x08callsign\0\0\x01\0\x01");
    question
}

/// Asks for an actor at several connections, one request at a time at each.
fn ask_http(port: u16) {
    let connect = |_| {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    };
    let mut streams: Vec<_> = (0..DEPTH).map(connect).collect();
    let mut answer = vec![0; 64 * 1024];
    for round in 0..ANSWERS / DEPTH {
        for (at, stream) in streams.iter_mut().enumerate() {
            let number = (round * DEPTH + at) % NAMES;
            stream.write_all(request(number, "").as_bytes()).unwrap();
        }
        for stream in &mut streams {
            let mut length = 0;
            while !is_whole(&answer[..length]) {
                length += stream.read(&mut answer[length..]).unwrap();
            }
        }
    }
}

fn request(number: usize, more: &str) -> String {
    format!("GET /v1/actors/actor-{number}?all=true HTTP/1.1\r\nHost: localhost\r\n{more}\r\n")
}

/// Tells whether an answer is whole, by its length.
fn is_whole(answer: &[u8]) -> bool {
    let text = str::from_utf8(answer).unwrap();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|it| it.strip_prefix("content-length: ")).unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    body.len() >= length.parse().unwrap()
}

fn http_answer(port: u16) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.write_all(request(7, "Connection: close\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn body_of(answer: &str) -> String {
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Answers every request of HTTP with the same body, and does nothing else.
fn bare(port: u16, body: &str) {
    let body: &'static str = body.to_owned().leak();
    let answer = async move || ([(CONTENT_TYPE, "application/json")], body);
    let router = Router::new().route("/v1/actors/{name}", get(answer));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let listener =
            axum::serve::ListenerExt::tap_io(listener, |it| it.set_nodelay(true).unwrap());
        axum::serve(listener, router).await.unwrap();
    });
}

/// Kills actors, and asks for each until it is not there any more.
fn kill(binary: &Path, node: &ServerProcess, dns: u16) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect((Ipv4Addr::LOCALHOST, dns)).unwrap();
    let question = question("dying");
    let mut answer = [0; 512];
    let mut is_there = || {
        socket.send(&question).unwrap();
        socket.recv(&mut answer).unwrap();
        answer[3] & 0xf == 0
    };
    let mut times = Vec::new();
    for _ in 0..KILLS {
        let registrar = format!("/unix{}", node.socket.display());
        let mut actor = Command::new(binary)
            .args(["--registrar", &registrar, "register", "dying", "/ip4/192.0.2.7/tcp/80"])
            .args(["--state", "ready"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(actor.stdout.take().unwrap()).read_line(&mut line).unwrap();
        while !is_there() {}
        let killed = Instant::now();
        actor.kill().unwrap();
        while is_there() {}
        times.push(killed.elapsed());
        actor.wait().unwrap();
    }
    println!("from SIGKILL to an answer of DNS without the actor: {}", Quantiles::of(times));
}

/// Has several callers list many actors by HTTP, again and again, and asks beside them.
fn list(node: &ServerProcess, http: u16) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let registrar = format!("/unix{}", node.socket.display()).parse().unwrap();
    let mut client = runtime.block_on(async {
        let mut client = Client::greet(&registrar).await;
        for names in batches(LISTED, "listed") {
            client.exchange(&registrations(names.into_iter()), BATCH).await;
        }
        client
    });
    let mut times = |took: Duration| {
        let (mut times, began) = (Vec::new(), Instant::now());
        let question = lookups(["listed-7".to_owned()].into_iter());
        while began.elapsed() < took {
            let asked = Instant::now();
            runtime.block_on(client.exchange(&question, 1));
            times.push(asked.elapsed());
        }
        times
    };
    let alone = times(Duration::from_secs(3));
    let is_over = AtomicBool::new(false);
    let lists = AtomicUsize::new(0);
    let beside = thread::scope(|scope| {
        for _ in 0..LISTERS {
            scope.spawn(|| {
                while !is_over.load(Relaxed) {
                    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, http)).unwrap();
                    let request =
                        "GET /v1/actors HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
                    stream.write_all(request.as_bytes()).unwrap();
                    let mut list = Vec::new();
                    stream.read_to_end(&mut list).unwrap();
                    assert!(list.ends_with(b"\r\n0\r\n\r\n"), "it is whole");
                    lists.fetch_add(1, Relaxed);
                }
            });
        }
        let beside = times(Duration::from_secs(10));
        is_over.store(true, Relaxed);
        beside
    });
    let lists = lists.load(Relaxed);
    for (what, times) in
        [("alone".to_owned(), alone), (format!("beside {lists} lists of {LISTED} actors"), beside)]
    {
        let most = *times.iter().max().unwrap();
        println!("a look-up {what}: {}, at most {most:.1?}", Quantiles::of(times));
    }
}

/// The actors that are listed, how many are registered at once, and the callers that list them.
const LISTED: usize = 20_000;
const BATCH: usize = 1000;
const LISTERS: usize = 4;

/// Returns names, in batches.
fn batches(names: usize, what: &str) -> Vec<Vec<String>> {
    let batch = |first: usize| (first..first + BATCH).map(|it| format!("{what}-{it}")).collect();
    (0..names).step_by(BATCH).map(batch).collect()
}

/// The word by which a process is told that it is the bare handler.
const BARE: &str = "bare";
