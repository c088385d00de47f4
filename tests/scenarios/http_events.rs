//! The stream of events by HTTP, through many changes and interruptions.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{BufRead as _, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
};

use serde_json::Value;
use uuid::Uuid;
use wire::{
    State, encode_body,
    registrar::{UNREGISTER, UPDATE, Unregister, Update},
};

use crate::{
    harness::{Node, Peer, Room, register, registration},
    http::{curl, get, has_curl, start},
};

/// What a reader knows: names and states, by UUID.
type View = BTreeMap<String, (String, String)>;

/// A reader of the stream by `curl`.
struct Reader {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Reader {
    fn start(room: &Room, id: &str) -> Self {
        let header = format!("Last-Event-ID: {id}");
        let words: &[&str] = if id.is_empty() { &[] } else { &["--header", &header] };
        Self::of(curl(room, words, "/v1/watch?pattern=ev-*"))
    }

    fn of(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// Returns the next event: its id, and its data.
    fn event(&mut self) -> (String, Value) {
        let mut id = String::new();
        loop {
            let line = self.lines.next().expect("the stream has no end").unwrap();
            if let Some(text) = line.strip_prefix("id: ") {
                id = text.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return (id, serde_json::from_str(data).unwrap());
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Ten minutes with ten changes a second: instances come, change and go.
#[test]
fn ten_minutes_of_changes_leave_a_reader_with_the_truth() {
    if !has_curl() {
        return;
    }
    let room = Room::new();
    let node = start(&room, "");
    let endpoint = node.endpoint().to_owned();
    let changing = thread::spawn(move || change(&endpoint));
    let (view, resumed) = follow(&room, &node);
    let registrant = changing.join().unwrap();
    let truth: View = get(&room, "/v1/actors?pattern=ev-*")
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(known)
        .collect();
    assert_eq!(view, truth);
    assert!(truth.len() > 10, "there is something to know");
    assert!(resumed > 0, "no reader continued where it was");
    drop(registrant);
    node.stop().succeeds();
}

/// A proxy in front of the registrar, as a distribution ships it: it speaks HTTP/1.0 to those behind
/// it, and keeps what they answer until there is enough of it.
const NGINX: &str = "user root root; daemon off; pid ROOM/pid; error_log ROOM/log; events {}\n\
    http { access_log off; server { listen unix:ROOM/proxy.sock;\n\
    location / { proxy_pass http://unix:ROOM/http.sock; } } }";

#[test]
fn events_come_through_a_proxy_as_they_happen() {
    if !has_curl() || Command::new("nginx").arg("-v").output().is_err() {
        eprintln!("skipped: this machine has no curl, or no nginx");
        return;
    }
    let room = Room::new();
    let node = start(&room, "");
    let folder = room.path().display().to_string();
    let (log, conf) =
        (format!("{folder}/log"), room.write("conf", &NGINX.replace("ROOM", &folder)));
    let nginx = ["--", "nginx", "-e", &log, "-c", &conf];
    let proxy = node.run(&[&["register", "proxy", &room.unix("proxy.sock")][..], &nginx].concat());
    node.callsign(&["wait", "proxy", "--timeout", "240s"]).succeeds();

    let mut reads = room.other_command("curl");
    reads.args(["--silent", "--show-error", "--no-buffer", "--max-time", "240", "--unix-socket"]);
    reads.arg(room.file("proxy.sock")).arg("http://localhost/v1/watch?pattern=ev-*");
    let mut reader = Reader::of(reads);
    assert_eq!(reader.event().1["change"], "reset");
    assert_eq!(reader.event().1["change"], "synced");
    node.callsign(&["register", "ev-1", "/unix/@ev-1", "--ttl", "1h"]).succeeds();
    assert_eq!(reader.event().1["name"], "ev-1");
    drop((reader, proxy));
    node.stop().succeeds();
}

/// Makes changes, as a seed has it, and says at last that they are over.
fn change(endpoint: &str) -> Peer {
    let mut registrant = Peer::greet(endpoint);
    let (mut there, mut seed) = (VecDeque::<Uuid>::new(), 0x2545_f491_4f6c_dd1d_u64);
    for at in 0..CHANGES {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        match seed % 3 {
            1 if there.len() > 20 => {
                let uuid = there.pop_front().unwrap();
                registrant.call(UNREGISTER, &encode_body(&Unregister { uuid })).unwrap();
            }
            2 if !there.is_empty() => {
                let uuid = there[(seed >> 8) as usize % there.len()];
                let state =
                    [State::Starting, State::Ready, State::Draining][(seed >> 40) as usize % 3];
                let update = Update { uuid, endpoints: None, metadata: None, state: Some(state) };
                registrant.call(UPDATE, &encode_body(&update)).unwrap();
            }
            _ => {
                let registration = registration(&format!("ev-{at}"), vec![]);
                there.push_back(registration.uuid);
                let (method, body) = register(&registration);
                registrant.call(method, &body).unwrap();
            }
        }
    }
    let (method, body) = register(&registration(LAST, vec![]));
    registrant.call(method, &body).unwrap();
    registrant
}

/// Follows the changes to the last, with an interruption now and then. Returns what it knows, and how
/// often it continued where it was.
fn follow(room: &Room, _: &Node<'_>) -> (View, usize) {
    let (mut view, mut coming, mut resumed) = (View::new(), None::<View>, 0);
    let (mut last_id, mut reader) = (String::new(), Reader::start(room, ""));
    for read in 1.. {
        let (id, event) = reader.event();
        let target = coming.as_mut().unwrap_or(&mut view);
        match event["change"].as_str().unwrap() {
            "reset" => coming = Some(View::new()),
            "synced" => view = coming.take().unwrap_or(view),
            "remove" => drop(target.remove(event["uuid"].as_str().unwrap())),
            _ => {
                let (uuid, facts) = known(&event);
                target.insert(uuid, facts);
            }
        }
        last_id = id;
        if coming.is_none() && view.values().any(|(name, _)| name == LAST) {
            break;
        }
        if read % EVENTS_A_READER == 0 && coming.is_none() && !last_id.is_empty() {
            drop(reader);
            reader = Reader::start(room, &last_id);
            // Whoever begins anew is told so first.
            let (id, event) = reader.event();
            if event["change"] == "reset" {
                coming = Some(View::new());
            } else {
                resumed += 1;
                match event["change"].as_str().unwrap() {
                    "remove" => drop(view.remove(event["uuid"].as_str().unwrap())),
                    "synced" => {}
                    _ => {
                        let (uuid, facts) = known(&event);
                        view.insert(uuid, facts);
                    }
                }
            }
            last_id = id;
        }
    }
    drop(last_id);
    (view, resumed)
}

fn known(record: &Value) -> (String, (String, String)) {
    let text = |key: &str| record[key].as_str().unwrap().to_owned();
    (text("uuid"), (text("name"), text("state")))
}

/// As many as there are in ten minutes.
const CHANGES: usize = 6_000;

/// A reader is interrupted after so many events.
const EVENTS_A_READER: usize = 250;

/// The last that comes.
const LAST: &str = "ev-last";
