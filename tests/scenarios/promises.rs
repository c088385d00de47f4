//! The promises of docs/promises.md: each line of its tables is typed or called, in the situation
//! of its section.

use std::{
    collections::BTreeMap, fmt::Debug, fs, os::unix::fs::PermissionsExt, path::Path, thread,
};

use discovery::{
    Change, Client, ClientOptions, ConnectError, Followed, LookupOptions, LookupResult,
    Registration, Standing, Watch,
};
use rustix::{
    process::{Signal, Uid},
    thread::{set_thread_groups, set_thread_res_uid},
};
use tokio::{runtime::Builder, time::timeout};
use uuid::Uuid;

use crate::harness::{LIMIT, Node, Room, Running};

/// Declares a test for each section, and checks that there is one.
macro_rules! promises {
    ($($name:ident: $title:literal;)*) => {
        $(#[test]
        fn $name() {
            Section::of($title).holds();
        })*

        #[test]
        fn every_section_is_tested() {
            let tested = [$($title),*];
            let titles: Vec<_> = page().split("\n## ").skip(1).map(title).map(str::to_owned).collect();
            assert_eq!(titles, tested);
        }
    };
}

promises! {
    what_is_absent: "Absent";
    what_is_out_of_reach: "Out of reach";
    what_is_unreachable: "Unreachable";
    what_a_young_registrar_does_not_know: "Young";
    what_is_stale: "Stale";
    what_a_stopped_registrar_does_not_say: "Stopped";
    what_one_of_several_does_not_say: "One of several is silent";
    what_one_of_several_does_not_know_yet: "One of several is young";
    what_is_denied: "Denied";
    what_is_beyond_a_quota: "Beyond a quota";
    what_is_said_where_no_session_is_left: "No session left";
    who_is_not_allowed_in: "Not allowed in";
    what_one_of_several_denies: "One of several denies";
    what_one_denies_while_another_is_away: "One denies, and the other is away";
    what_a_watch_tells: "The events of a watch";
}

#[test]
fn each_call_that_asks_a_registrar_has_its_row() {
    let of = |title: &str| -> Vec<String> {
        Section::of(title).calls.into_iter().map(|(call, _)| call).collect()
    };
    let all = of("Unreachable");
    for title in ["Stopped", "Denied", NOT_IN, SILENT, DENIES, AWAY] {
        let calls = of(title);
        for call in ["query_actor", "list", "register", "renew", "drain", "unregister", "status"] {
            assert!(all.iter().any(|it| it == call), "{call}");
            assert!(calls.iter().any(|it| it == call), "{title}: add a row for `{call}`");
        }
    }
}

#[test]
fn each_command_that_asks_a_registrar_has_its_row() {
    let mut listed = Room::new().commands();
    // Without a terminal, as here, `top` asks nobody.
    listed.retain(|it| !ALONE.contains(&&**it) && it != "top");
    for title in ["Absent", "Unreachable", "Stopped", NOT_IN, SILENT, DENIES, AWAY] {
        let rows = Section::of(title).commands;
        for command in &listed {
            let has_row = rows.iter().any(|it| it.words.starts_with(&**command));
            assert!(has_row, "{title}: add a row for `{command}`");
        }
    }
}

/// The commands that ask no registrar.
const ALONE: [&str; 7] = ["registrar", "check", "keys", "demo", "man", "completions", "schema"];

/// A section of the page.
struct Section {
    title: String,
    commands: Vec<CommandRow>,
    /// Each call, and its result.
    calls: Vec<(String, String)>,
    /// An event, and its reports by a watch.
    events: Vec<(String, Vec<String>)>,
}

struct CommandRow {
    words: String,
    /// The exit code; `None` if it does not end by itself.
    ends_with: Option<i32>,
    prints: Vec<String>,
    says: Vec<String>,
}

fn page() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::read_to_string(root.join("docs/promises.md")).unwrap()
}

fn title(section: &str) -> &str {
    section.lines().next().unwrap()
}

/// Returns the quoted texts of a cell.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

impl Section {
    fn of(wanted: &str) -> Self {
        let page = page();
        let text = page.split("\n## ").skip(1).find(|it| title(it) == wanted).unwrap();
        let mut section = Self {
            title: wanted.to_owned(),
            commands: Vec::new(),
            calls: Vec::new(),
            events: Vec::new(),
        };
        let mut kind = "";
        for line in text.lines() {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            match cells[..] {
                _ if !line.starts_with('|') || line.starts_with("|---") => {}
                [head @ ("command" | "call" | "what happens"), ..] => kind = head,
                [words, ends_with, prints, says] if kind == "command" => {
                    section.commands.push(CommandRow {
                        words: quoted(words).remove(0),
                        ends_with: (ends_with != "runs on").then(|| ends_with.parse().unwrap()),
                        prints: quoted(prints),
                        says: quoted(says),
                    });
                }
                [call, comes_to] if kind == "call" => {
                    section.calls.push((quoted(call).remove(0), comes_to.replace('`', "")));
                }
                [what, told] if kind == "what happens" => {
                    section.events.push((what.replace('`', ""), quoted(told)));
                }
                _ => panic!("`{line}` is no row of a table that is known"),
            }
        }
        section
    }

    /// Tells whether another user types the commands.
    fn is_of_another_user(&self) -> bool {
        matches!(&*self.title, "Denied" | NOT_IN | DENIES | AWAY | QUOTA | SESSIONS)
    }

    /// Tells whether a second registrar is asked.
    fn has_several(&self) -> bool {
        matches!(&*self.title, SILENT | YOUNG | DENIES)
    }

    /// Creates the situation, and checks that each row holds.
    #[expect(clippy::print_stderr, reason = "whoever runs the tests is told what was not tested")]
    fn holds(&self) {
        if self.title == "The events of a watch" {
            self.events
                .iter()
                .for_each(|(what, told)| assert_eq!(events_of(what), *told, "{what}"));
            return;
        }
        if self.is_of_another_user() && !rustix::process::geteuid().is_root() {
            eprintln!("skipped: another user is needed, and this is not root");
            return;
        }
        let room = Room::new();
        let place = room.unix("registrar.sock");
        let settle_time = if self.title == "Young" { "20s" } else { "0s" };
        let is_there = self.title != "Unreachable";
        let user = format!("[quotas.\"user:{OTHER_USER}\"]\n");
        room.write(
            "quotas.toml",
            &(user + if self.title == SESSIONS { "sessions = 1" } else { "instances = 1" }),
        );
        let quotas = matches!(&*self.title, QUOTA | SESSIONS);
        let start = |place: &str, settle_time: &str| {
            let mut more = vec!["--settle-time", settle_time];
            more.extend(if quotas { &["--config", "quotas.toml"][..] } else { &[] });
            Node::start_with(&room, &[place], &more)
        };
        let node = is_there.then(|| start(&place, settle_time));
        let mut places = vec![place];
        let other = self.has_several().then(|| {
            places.push(room.unix("other.sock"));
            start(&places[1], if self.title == YOUNG { "20s" } else { "0s" })
        });
        if self.title == AWAY {
            places.insert(0, room.unix("away.sock"));
        }
        let stage = Stage { section: self, room: &room, node, other, places, uuid: Uuid::nil() };
        stage.play();
    }
}

/// A situation.
struct Stage<'a> {
    section: &'a Section,
    room: &'a Room,
    node: Option<Node<'a>>,
    /// The registrar that does not answer where another does.
    other: Option<Node<'a>>,
    /// The configured registrars.
    places: Vec<String>,
    /// The instance.
    uuid: Uuid,
}

impl Stage<'_> {
    fn play(mut self) {
        let title = &*self.section.title;
        if self.section.is_of_another_user() {
            let set = |path: &Path, mode: u32| {
                fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            };
            set(self.room.path(), 0o711);
            let may_connect = !matches!(title, NOT_IN | AWAY);
            set(&self.room.file("registrar.sock"), if may_connect { 0o777 } else { 0o600 });
            if title == DENIES {
                set(&self.room.file("other.sock"), 0o600);
            }
        }
        // Its owner registers it, where that is known.
        let registered = |name: &str, more: &[&str]| {
            // One endpoint belongs to one actor.
            let place = if name == "feed" { FEED } else { &format!("/unix/@promised-{name}") };
            let register = ["register", name, place, "--ttl", "10m", "--json"];
            let words = [&register[..], &["--registrar", &self.places[0]], more].concat();
            let registered = if matches!(title, DENIES | QUOTA) {
                self.by_another_user(&words).outcome()
            } else {
                self.room.callsign(&words)
            };
            registered.succeeds().json()["uuid"].as_str().unwrap().parse().unwrap()
        };
        match title {
            "Out of reach" => {
                self.room.write("elsewhere.toml", "[host]\nid = \"elsewhere\"\n");
                self.uuid = registered("feed", &["--config", "elsewhere.toml"]);
            }
            "Stale" | "Stopped" | "Denied" | QUOTA => self.uuid = registered("feed", &[]),
            SILENT | YOUNG | DENIES => {
                for name in ["feed", "job", "old", "gone"] {
                    registered(name, &[]);
                }
                self.uuid = registered("called", &[]);
            }
            _ => {}
        }
        let holder = (title == SESSIONS).then(|| {
            let place = ["watch", "--json", "--registrar", &self.places[0]];
            let mut holder = self.by_another_user(&place);
            holder.json("the only session", |it| it["change"] == "synced");
            holder
        });
        if self.section.is_of_another_user() {
            thread::scope(|it| it.spawn(|| self.calls_of_another_user_hold()).join()).unwrap();
            self.commands_hold(BTreeMap::new());
            return drop(holder);
        }
        let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
        let (client, watches) = runtime.block_on(self.connected());
        // An earlier command reports the change.
        let mut begun = BTreeMap::new();
        if title == "Stale" {
            for (at, row) in self.section.commands.iter().enumerate() {
                let mut running = self.run(row);
                row.prints.iter().for_each(|it| drop(running.line_with(it)));
                begun.insert(at, running);
            }
        }
        match (&self.node, title) {
            (Some(_), "Stale") => drop(self.node.take().unwrap().kill()),
            (Some(node), "Stopped") => node.process().signal(Signal::STOP),
            _ => {}
        }
        if let Some(other) = self.other.as_ref().filter(|_| title == SILENT) {
            other.process().signal(Signal::STOP);
        }
        runtime.block_on(self.calls_hold(&client, watches));
        runtime.block_on(client.close());
        self.commands_hold(begun);
    }

    /// Makes the calls on a thread that belongs to another user from then on.
    fn calls_of_another_user_hold(&self) {
        let user = Uid::from_raw(OTHER_USER);
        set_thread_groups(&[]).unwrap();
        set_thread_res_uid(user, user, user).unwrap();
        // Everything runs on this thread: the other threads are root's.
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (client, watches) = self.connected().await;
            self.calls_hold(&client, watches).await;
            client.close().await;
        });
    }

    /// Types the commands that have not `begun` before.
    fn commands_hold(&self, mut begun: BTreeMap<usize, Running>) {
        let title = &*self.section.title;
        let rows = self.section.commands.iter().enumerate();
        let running: Vec<_> = rows
            .map(|(at, row)| (row, begun.remove(&at).unwrap_or_else(|| self.run(row))))
            .collect();
        running.into_iter().for_each(|(row, it)| row.holds(it, title == "Stale"));
    }

    /// Returns a client that has learnt the present state, with a watch and a followed name.
    async fn connected(&self) -> (Client, (Watch, Followed)) {
        let client = self.open().unwrap();
        drop(client.connected().await);
        let (mut watch, followed) = (client.watch("feed").unwrap(), client.follow("feed").unwrap());
        if self.has_been_told() {
            client.query_with("feed", MAX_AGE).await.unwrap();
            let mut told = Vec::new();
            for _ in 0..3 {
                told.push(watch.next().await.unwrap());
            }
            assert!(matches!(told[..], [Change::Reset, Change::Add { .. }, Change::Synced]));
            assert_eq!(followed.synced().await.unwrap().len(), 1);
        }
        (client, (watch, followed))
    }

    /// Tells whether the watch has reported the earlier state before the change.
    fn has_been_told(&self) -> bool {
        matches!(&*self.section.title, "Stale" | "Stopped" | SILENT)
    }

    fn open(&self) -> Result<Client, ConnectError> {
        Client::open(self.places.iter().map(String::as_str), ClientOptions::default())
    }

    async fn calls_hold(&self, client: &Client, mut watches: (Watch, Followed)) {
        for (call, promised) in &self.section.calls {
            let coming_to = self.comes_to(call, promised, client, &mut watches);
            let comes_to = match &**promised {
                "waits" => match timeout(MOMENT, coming_to).await {
                    Err(_) => "waits".to_owned(),
                    Ok(comes_to) => comes_to,
                },
                _ => timeout(LIMIT, coming_to).await.expect(call),
            };
            assert_eq!(comes_to, *promised, "{}: {call}", self.section.title);
        }
    }

    async fn comes_to(
        &self,
        call: &str,
        promised: &str,
        client: &Client,
        (watch, followed): &mut (Watch, Followed),
    ) -> String {
        let fresh = || match &*self.section.title {
            // The UUID belongs to another's instance.
            "Denied" => Registration::new("fresh").uuid(self.uuid),
            _ => Registration::new("fresh"),
        };
        let is_there = |it: bool| if it { "Some" } else { "None" };
        let (call, name) = match call.strip_suffix("(nobody)") {
            Some(call) => (call, "nobody"),
            None => (call, "feed"),
        };
        // A remembered answer has no present ones beside it.
        let found = |it: LookupResult| {
            if it.unanswered.is_empty() || it.age.is_some() {
                it.records.len().to_string()
            } else {
                format!("{}, incomplete", it.records.len())
            }
        };
        match call {
            "connect" => {
                said(Client::connect(self.places.iter().map(String::as_str)).await.map(|_| ""))
            }
            "open" => said(self.open().map(|_| "")),
            "query_actor" => said(client.query_actor(name).await.map(|it| is_there(it.is_some()))),
            "query_with(max_age)" => said(client.query_with(name, MAX_AGE).await.map(found)),
            "list" => said(client.list(name).await.map(found)),
            "names" => said(client.names(name).await.map(|it| it.names.len())),
            "find_actor" => said(client.find_actor(name).await.map(|it| is_there(it.is_some()))),
            "wait_for_actor" => said(client.wait_for_actor(name).await.map(|_| "")),
            "wait_within_reach" => said(client.wait_within_reach(name).await.map(|_| "")),
            "register" => said(client.register(fresh()).await.map(|_| "")),
            "register_patiently" => said(client.register_patiently(fresh()).await.map(|_| "")),
            "renew" => said(client.renew(self.uuid).await.map(|()| "")),
            "drain" => said(client.drain(self.uuid).await.map(|()| "")),
            "unregister" => said(client.unregister(self.uuid).await.map(|()| "")),
            "status" => {
                let standings = client.status().await.into_iter().map(|it| match it.standing {
                    Standing::Up { .. } => "Up".to_owned(),
                    other => word(&other),
                });
                standings.collect::<Vec<_>>().join(", ")
            }
            "watch" => {
                let count = promised.split(", ").count();
                let mut told =
                    if self.has_been_told() { vec!["Reset", "Add", "Synced"] } else { Vec::new() }
                        .into_iter()
                        .map(str::to_owned)
                        .collect::<Vec<_>>();
                while told.len() < count {
                    told.push(word(&watch.next().await.unwrap()));
                }
                told.join(", ")
            }
            "follow" => {
                let freshness = promised.split(", ").next().unwrap();
                let mut view = followed.view();
                while view.freshness().to_string() != freshness {
                    view = followed.changed(view.revision()).await;
                }
                format!("{}, {}", view.freshness(), view.len())
            }
            other => panic!("add how `{other}` is called"),
        }
    }

    /// Types a command.
    fn run(&self, row: &CommandRow) -> Running {
        let words: Vec<_> = row.words.split(' ').collect();
        // Arguments after a `--` are another program's.
        let own = words.iter().position(|it| *it == "--").unwrap_or(words.len());
        let places: Vec<_> = self.places.iter().flat_map(|it| ["--registrar", it]).collect();
        let words = [&words[..own], &places, &words[own..]].concat();
        if self.section.is_of_another_user() {
            self.by_another_user(&words)
        } else {
            self.room.run(&words)
        }
    }

    fn by_another_user(&self, words: &[&str]) -> Running {
        let mut command = self.room.other_command("setpriv");
        let user = OTHER_USER.to_string();
        command.args(["--reuid", &user, "--clear-groups", env!("CARGO_BIN_EXE_callsign")]);
        command.args(words).current_dir("/");
        Running::start(command)
    }
}

impl CommandRow {
    /// Checks that a command keeps its promise. If it `has_begun` before, its earlier output has
    /// been read.
    fn holds(&self, mut running: Running, has_begun: bool) {
        let Some(code) = self.ends_with else {
            if !has_begun {
                self.prints.iter().for_each(|it| drop(running.line_with(it)));
            }
            self.says.iter().for_each(|it| drop(running.says(it)));
            let killed = running.kill();
            assert_eq!(killed.signal, Some(Signal::KILL.as_raw()), "it runs on\n{killed}");
            return;
        };
        let outcome = running.outcome().ends_with(code);
        assert_eq!(outcome.stdout.is_empty(), self.prints.is_empty(), "{outcome}");
        // On a busy machine, even for an instance that is already there `wait` may have waited.
        let says_nothing = outcome.stderr.is_empty() || outcome.stderr.starts_with("waiting for ");
        assert!(says_nothing || !self.says.is_empty(), "{outcome}");
        let words = |it: &[String]| it.iter().map(|it| it.to_owned()).collect::<Vec<_>>();
        let (prints, says) = (words(&self.prints), words(&self.says));
        let prints: Vec<_> = prints.iter().map(String::as_str).collect();
        let says: Vec<_> = says.iter().map(String::as_str).collect();
        outcome.prints(&prints).says(&says);
    }
}

/// Makes an event happen, and returns the reports of a watch.
fn events_of(what: &str) -> Vec<String> {
    let room = Room::new();
    let place = room.unix("registrar.sock");
    let start = |settle_time| Node::start_with(&room, &[&place], &["--settle-time", settle_time]);
    let run = |words: &[&str]| room.run(&[words, &["--registrar", &place]].concat());
    let register = ["register", "feed", "/unix/@feed"];
    let lease = [&register[..], &["--ttl", "10m"]].concat();
    let watching = || {
        let mut watch = run(&["watch", "feed", "--json"]);
        watch.json("the end of the snapshot", |it| it["change"] == "synced");
        watch
    };
    let holding = || {
        let mut holder = run(&register);
        holder.line_with("registered");
        holder
    };
    match what {
        "it starts after the watch" => {
            let mut watch = run(&["watch", "feed", "--json"]);
            let mut told = told(&mut watch, 1);
            let _node = start("0s");
            told.extend(self::told(&mut watch, 1));
            run(&lease).outcome().succeeds();
            told.extend(self::told(&mut watch, 1));
            told
        }
        "it ends, and feed returns to its successor" => {
            let node = start("1m");
            let _holder = holding();
            let mut watch = watching();
            node.stop();
            let _node = start("1m");
            told(&mut watch, 3)
        }
        "it is killed, and feed does not return to its successor" => {
            let node = start("0s");
            run(&lease).outcome().succeeds();
            let mut watch = watching();
            node.kill();
            let _node = start("2s");
            told(&mut watch, 3)
        }
        "it is stopped, and continues" => {
            let node = start("1m");
            let _holder = holding();
            let mut watch = watching();
            node.process().signal(Signal::STOP);
            let mut told = told(&mut watch, 1);
            node.process().signal(Signal::CONT);
            told.extend(self::told(&mut watch, 1));
            told
        }
        "feed is unregistered" => {
            let _node = start("0s");
            let _holder = holding();
            let mut watch = watching();
            run(&["unregister", "feed"]).outcome().succeeds();
            told(&mut watch, 1)
        }
        "feed is killed" => {
            let _node = start("0s");
            let holder = holding();
            let mut watch = watching();
            holder.kill();
            told(&mut watch, 1)
        }
        other => panic!("add how this is brought about: {other}"),
    }
}

/// Returns the next changes of a watch, each with its reason if it has one.
fn told(watch: &mut Running, count: usize) -> Vec<String> {
    let next = |watch: &mut Running| {
        let line = watch.json("a change", |_| true);
        let reason = line["reason"].as_str().map(|it| format!(" {it}")).unwrap_or_default();
        format!("{}{reason}", line["change"].as_str().unwrap())
    };
    (0..count).map(|_| next(watch)).collect()
}

/// Writes the result of a call.
fn said(result: Result<impl ToString, impl Debug>) -> String {
    match result.map(|it| it.to_string()) {
        Ok(value) if value.is_empty() => "Ok".to_owned(),
        Ok(value) => format!("Ok({value})"),
        Err(error) => format!("Err({})", word(&error)),
    }
}

/// Returns the name of a variant.
fn word(value: &impl Debug) -> String {
    format!("{value:?}").split(|it: char| !it.is_alphanumeric()).next().unwrap().to_owned()
}

const QUOTA: &str = "Beyond a quota";
const SESSIONS: &str = "No session left";
const SILENT: &str = "One of several is silent";
const YOUNG: &str = "One of several is young";
const DENIES: &str = "One of several denies";
const AWAY: &str = "One denies, and the other is away";
const NOT_IN: &str = "Not allowed in";

/// A user without permission.
const OTHER_USER: u32 = 1234;

/// The endpoint of the actor that is looked up; nothing need listen there.
const FEED: &str = "/ip4/127.0.0.1/tcp/1616";

/// The last good answer, however old.
const MAX_AGE: LookupOptions =
    LookupOptions { all: false, max_age: Some(std::time::Duration::from_secs(3600)), owner: None };

/// How long a waiting command is observed.
const MOMENT: std::time::Duration = std::time::Duration::from_millis(200);
