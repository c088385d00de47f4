//! Recorded messages of version 1 of the protocol, which every later version must read.
//!
//! Each file of `corpus/` has the bytes of one message in hexadecimal. A message without a file
//! gets one, and its test fails once, so that somebody checks the recording. An existing file is
//! never rewritten: if it cannot be read any more, the code is at fault.

#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

use std::{collections::BTreeMap, fmt::Debug, fs, path::PathBuf};

use bytes::BytesMut;
use callsign_wire::{
    Challenge, ErrorKind, Frame, Hello, InstanceSecret, Lifetime, NameRight, Owner, OwnerUse,
    Proof, ProofKey, ProofSecret, Quota, QuotaExceeded, Record, RemoteError, RemovalReason, State,
    Suspicion, Use, Wanted, Whoami,
    callbacks::{Confirm, Confirmed, Lost, LostCause, SetState, SetToken},
    decode_body, encode_body,
    registrar::{
        Answer, AskLine, Change, Changed, ClusterNode, ClusterStatus, Evidence, InLine, Line, List,
        Located, NamesPage, Page, Query, Register, Registered, Renew, Report, Seen, Status,
        Unregister, UnregisterAll, Update, Wait, Watch, Watching,
    },
};
use endpoints::{
    Endpoint, InstanceId, KernelId, Name, NamePattern, NetnsId, ProcessId, RootId, SocketId, Stamp,
    Stamped,
};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

#[test]
fn recorded_frames_are_read() {
    let hello = |agent: &str| Hello { agent: agent.to_owned(), ..Hello::default() };
    let instance = InstanceId { name: name("feed"), uuid: uuid(1) };
    let frames = [
        ("frame-hello-client", Frame::Hello(Box::new(hello("callsign/0.1.0")))),
        (
            "frame-hello-registrar",
            Frame::Hello(Box::new(Hello { registrar: Some(uuid(9)), ..hello("callsign/0.1.0") })),
        ),
        (
            "frame-hello-registrar-settling",
            Frame::Hello(Box::new(Hello {
                registrar: Some(uuid(9)),
                settling_ms: Some(4_700),
                ..hello("callsign/0.1.0")
            })),
        ),
        (
            "frame-hello-caller",
            Frame::Hello(Box::new(Hello { wanted: Some(wanted()), ..hello("callsign/0.1.0") })),
        ),
        (
            "frame-hello-proof",
            Frame::Hello(Box::new(Hello {
                instance: Some(instance.clone()),
                proof: Some(proof()),
                ..hello("feed/2")
            })),
        ),
        (
            "frame-hello-actor",
            Frame::Hello(Box::new(Hello { instance: Some(instance), ..hello("feed/2") })),
        ),
        (
            "frame-call",
            Frame::Call { id: 2, method: "registrar.status", body: b"\xc0", within_ms: None },
        ),
        (
            "frame-call-within",
            Frame::Call { id: 2, method: "feed.quote", body: b"\xc0", within_ms: Some(1_500) },
        ),
        ("frame-started", Frame::Started { id: 300, body: b"\x01" }),
        ("frame-item", Frame::Item { id: 70_000, body: b"\x02" }),
        ("frame-credit", Frame::Credit { id: 2, items: 128 }),
        ("frame-end", Frame::End { id: 2 }),
        ("frame-return", Frame::Return { id: u64::MAX, body: &[0; 300] }),
        (
            "frame-error",
            Frame::Error { id: 4, error: RemoteError::new(ErrorKind::NotFound, "no such thing") },
        ),
        ("frame-cancel", Frame::Cancel { id: 2 }),
        ("frame-ping", Frame::Ping { nonce: 7 }),
        ("frame-pong", Frame::Pong { nonce: 7 }),
        (
            "frame-goodbye",
            Frame::Goodbye { reason: "the registrar is stopping", returns: false, error: None },
        ),
        (
            "frame-goodbye-returns",
            Frame::Goodbye { reason: "no answer", returns: true, error: None },
        ),
        (
            "frame-goodbye-quota",
            Frame::Goodbye {
                reason: "too many",
                returns: false,
                error: Some(Box::new(RemoteError::new(ErrorKind::QuotaExceeded, "too many"))),
            },
        ),
    ];
    for (name, frame) in frames {
        let mut written = BytesMut::new();
        frame.encode(&mut written).unwrap();
        let bytes = recorded(name, &written);
        let (length, frame_bytes) = bytes.split_first_chunk().unwrap();
        assert_eq!(u32::from_le_bytes(*length) as usize, frame_bytes.len(), "{name}");
        assert_eq!(Frame::decode(frame_bytes), Ok(frame), "{name}");
    }
}

#[test]
fn recorded_calls_and_answers_are_read() {
    check("register", &register());
    check("register-lease", &Register { lease_ms: Some(30_000), ..register() });
    check("register-proves", &Register { proves: true, ..register() });
    let secret = Some(InstanceSecret::new([7; 16]));
    check("register-secret", &Register { secret, ..register() });
    check("register-again", &Register { again: Some(41), ..register() });
    check("register-root", &with_roots(register()));
    let registered = || Registered {
        epoch: 41,
        revision: 57,
        key: None,
        token: None,
        resume: None,
        lost: None,
        also: Vec::new(),
    };
    check("registered", &registered());
    let taken_out = Lost {
        uuid: uuid(1),
        epoch: 41,
        cause: LostCause::Unregistered,
        endpoint: None,
        by: Some("user 1000".to_owned()),
    };
    let lost = Some(Box::new(taken_out));
    check("registered-lost", &Registered { lost, ..registered() });
    check("registered-key", &Registered { key: Some(key()), ..registered() });
    check("registered-token", &Registered { token: Some(40), ..registered() });
    let (token, resume) = (Some(40), Some(shown()));
    check("registered-resume", &Registered { token, resume, ..registered() });
    let also = vec![InstanceId { name: Name::new("relay").unwrap(), uuid: uuid(2) }];
    check("registered-also", &Registered { also, ..registered() });
    check("changed", &Changed { revision: 57 });
    check(
        "update",
        &Update {
            uuid: uuid(1),
            endpoints: Some(register().endpoints),
            metadata: Some(register().metadata),
            state: Some(State::Draining),
        },
    );
    let nothing = Update { uuid: uuid(1), endpoints: None, metadata: None, state: None };
    check("update-nothing", &nothing);
    check("register-wait", &Register { wait: true, token: Some(40), ..register() });
    check("register-resume", &Register { token, resume, ..register() });
    check("ask-line", &AskLine { name: name("feed"), uuid: Some(uuid(1)) });
    let standing = InLine { uuid: uuid(1), owner: Owner::User(1000), since_ms: NOW_MS };
    check("line", &Line { total: 1, ahead: Some(0), waiting: vec![standing] });
    let held = Record { token: Some(40), waiting: 2, ..record(Lifetime::Session) };
    let records = vec![held];
    check("answer-waiting", &Answer { revision: 57, now_ms: NOW_MS, total: 1, records });
    let records = vec![Record { node: Some(name("rome")), ..record(Lifetime::Session) }];
    check("answer-node", &Answer { revision: 57, now_ms: NOW_MS, total: 1, records });
    check("unregister", &Unregister { uuid: uuid(1) });
    check("unregister-all", &UnregisterAll { uuids: vec![uuid(1), uuid(2)] });
    check("renew", &Renew { uuid: uuid(1) });
    let records = vec![record(Lifetime::Session), record(Lifetime::Declared)];
    check("answer", &Answer { revision: 57, now_ms: NOW_MS, total: 2, records });
    let proving =
        Record { proves: true, owner: Some(Owner::User(1000)), ..record(Lifetime::Session) };
    let records = vec![proving, record(Lifetime::Declared)];
    let answer = Answer { revision: 57, now_ms: NOW_MS, total: 2, records };
    let (registrar, nonce) = (uuid(9), uuid(5));
    let proofs = vec![Some(proof()), None];
    let located = Located {
        answer,
        registrar,
        nonce,
        proofs: proofs.clone(),
        over_tls: Vec::new(),
        homes: Vec::new(),
    };
    check("located", &located);
    check("located-over-tls", &Located { over_tls: proofs, ..located.clone() });
    check("located-homes", &Located { homes: vec![Some(uuid(3)), None], ..located });
    let silent = Suspicion { since_ms: NOW_MS, silent: true, ..Suspicion::default() };
    check("suspicion-silent", &silent);
    check("suspicion-cut-off", &Suspicion { silent: false, cut_off: true, ..silent });
    check("wait", &Wait { name: name("feed") });
    check("list", &List { pattern: pattern("feed*"), after: 41 });
    let foreign = Record { owner: Some(Owner::User(1000)), ..record(Lifetime::Foreign) };
    let answer = Answer { revision: 57, now_ms: NOW_MS, total: 1, records: vec![foreign] };
    check("answer-foreign", &answer);
    let owners = [
        Owner::Registrar,
        Owner::Unknown,
        Owner::Address([10, 0, 0, 7].into()),
        Owner::Other("certificate:spiffe://market/feed".to_owned()),
    ];
    let owned =
        |owner: Owner| Record { owner: Some(owner), token: Some(40), ..record(Lifetime::Session) };
    let records = owners.map(owned).into();
    check("answer-owners", &Answer { revision: 57, now_ms: NOW_MS, total: 4, records });
    let certified = Owner::Certified("spiffe://callsign.internal/feed".to_owned());
    let records = vec![Record { owner: Some(certified), ..record(Lifetime::Session) }];
    check("answer-certified", &Answer { revision: 57, now_ms: NOW_MS, total: 1, records });
    let records = vec![record(Lifetime::Lease { ttl_ms: 30_000 })];
    check("page", &Page { revision: 57, now_ms: NOW_MS, next: Some(41), records });
    let names = vec!["feed.eu".to_owned(), "feed.us".to_owned()];
    check("names", &NamesPage { next: Some(41), names });
    check("page-last", &Page { revision: 57, now_ms: NOW_MS, next: None, records: vec![] });
    let seen = Seen { registrar: uuid(9), revision: 57 };
    check("watch", &Watch { pattern: pattern("*"), seen: None });
    check("watch-resumed", &Watch { pattern: pattern("*"), seen: Some(seen) });
    check("watching", &Watching { revision: 57, now_ms: NOW_MS, resumed: true });
    let right = NameRight {
        pattern: "feed*".to_owned(),
        place: "market.toml:3".to_owned(),
        may_register: Some(false),
        exclusive: true,
        instances_max: Some(4),
    };
    let whoami = Whoami {
        owner: Owner::User(1000),
        groups: vec![1000, 27],
        is_trusted: false,
        may_change_all: false,
        names: "same-user".to_owned(),
        names_place: "the default".to_owned(),
        rules: vec![right],
        transport: None,
        locality: None,
        uses: None,
    };
    check("whoami", &whoami);
    let of = |used| Use { used, quota: Some(100) };
    let uses = OwnerUse {
        owner: Owner::User(1000),
        sessions: of(1),
        instances: of(2),
        waits: of(0),
        watches: of(3),
        bytes: Use { used: 4096, quota: None },
        looks: of(0),
        cpu: of(3),
        cpu_ms: 250,
    };
    let (transport, locality) = (Some("tcp".to_owned()), Some("loopback".to_owned()));
    check("whoami-use", &Whoami { transport, locality, uses: Some(uses), ..whoami });
    let status = Status {
        registrar: uuid(9),
        agent: "callsign/0.1.0".to_owned(),
        revision: 57,
        uptime_ms: 1_000,
        sessions: 3,
        instances: 2,
        waiters: 1,
        watchers: 0,
        in_line: 0,
        endpoints: vec![endpoint("/unix/@market"), endpoint("/ip4/127.0.0.1/tcp/7616")],
        published: Vec::new(),
        cluster: None,
        settling_ms: None,
    };
    check("status", &status);
    check("status-settling", &Status { settling_ms: Some(1_500), ..status.clone() });
    let published = vec![endpoint("/ip4/127.0.0.1/tcp/7616"), endpoint("/ip4/10.0.0.7/tcp/7616")];
    let endpoints = vec![endpoint("/ip4/0.0.0.0/tcp/7616")];
    check("status-wildcard", &Status { endpoints, published, ..status.clone() });
    check("status-in-line", &Status { in_line: 2, ..status.clone() });
    let oslo = ClusterNode {
        name: name("oslo"),
        registrar: Some(uuid(3)),
        endpoints: vec![endpoint("/ip4/10.0.0.8/tcp/7616")],
        places: Vec::new(),
        records: 7,
        heard_ms: 300,
        lives: true,
    };
    let cluster = ClusterStatus {
        node: name("rome"),
        engine: "etcd".to_owned(),
        endpoint: Some("http://10.0.0.1:2379".to_owned()),
        error: None,
        age_ms: 300,
        lag_ms: Some(4),
        lease_ms: 3000,
        pending: 1,
        written: 2,
        faulty: 0,
        nodes: vec![oslo],
    };
    check("status-cluster", &Status { cluster: Some(Box::new(cluster)), ..status });

    let market = endpoint("/unix/@market");
    let dead: Endpoint = market.clone();
    check("confirm", &Confirm { uuid: uuid(1), epoch: 41, endpoint: market });
    let lost = Lost {
        uuid: uuid(1),
        epoch: 41,
        cause: LostCause::Unregistered,
        endpoint: None,
        by: Some("user 0".to_owned()),
    };
    check("lost", &lost);
    let replaced = Lost { cause: LostCause::Replaced, by: None, ..lost.clone() };
    check("lost-replaced", &replaced);
    let dead = Lost { cause: LostCause::FoundDead, endpoint: Some(dead), ..lost };
    check("lost-found-dead", &dead);
    check("confirmed", &Confirmed { is_wanted: true, is_own_socket: None });
    check("confirmed-socket", &Confirmed { is_wanted: true, is_own_socket: Some(false) });
    check("set-state", &SetState { uuid: uuid(1), epoch: 41, state: State::Draining });
    let resume = Some(shown());
    check("set-token", &SetToken { uuid: uuid(1), epoch: 41, token: Some(42), resume });
    check("set-token-none", &SetToken { uuid: uuid(1), epoch: 41, token: None, resume: None });

    let of_owner = Some(Owner::User(1000));
    for (name, all, owner) in
        [("query", false, None), ("query-all", true, None), ("query-owner", true, of_owner)]
    {
        let query = Query { name: "feed", all, owner };
        assert_eq!(Query::decode(&recorded(name, &encode_body(&query))), Ok(query), "{name}");
    }
    for evidence in [
        Evidence::Refused,
        Evidence::Missing,
        Evidence::NotASocket,
        Evidence::OtherIdentity,
        Evidence::TimedOut,
        Evidence::NoPermission,
        Evidence::Other,
    ] {
        let report =
            Report { uuid: uuid(1), epoch: 41, endpoint: endpoint("/unix/@market"), evidence };
        check(&format!("report-{}", kebab(evidence)), &report);
    }
}

#[test]
fn recorded_changes_are_read() {
    check("change-reset", &Change::Reset);
    check("change-synced", &Change::Synced { revision: 57 });
    let draining = Record { state: State::Draining, ..record(Lifetime::Session) };
    check("change-add", &Change::Add { record: record(Lifetime::Session), revision: 57 });
    check("change-update", &Change::Update { record: draining, revision: 58 });
    for reason in [
        RemovalReason::Unregistered,
        RemovalReason::SessionEnded,
        RemovalReason::LeaseExpired,
        RemovalReason::FoundDead,
        RemovalReason::ProcessEnded,
        RemovalReason::NodeLost,
    ] {
        let instance = InstanceId { name: name("feed"), uuid: uuid(1) };
        let change = Change::Remove { instance, epoch: 41, reason, revision: 59 };
        check(&format!("change-remove-{}", kebab(reason)), &change);
    }
}

#[test]
fn recorded_errors_are_read() {
    for kind in [
        ErrorKind::NotFound,
        ErrorKind::Invalid,
        ErrorKind::Denied,
        ErrorKind::LimitReached,
        ErrorKind::QuotaExceeded,
        ErrorKind::NoSuchMethod,
        ErrorKind::Cancelled,
        ErrorKind::ShuttingDown,
        ErrorKind::Internal,
        ErrorKind::TimedOut,
        ErrorKind::Unsettled,
        ErrorKind::Undecided,
        ErrorKind::Other("of-a-later-version".to_owned()),
    ] {
        let name = format!("error-{kind}");
        check(&name, &RemoteError::new(kind, "what happened"));
    }
    let error = RemoteError::new(ErrorKind::Internal, "what happened")
        .with_causes(["what came before", "what began it"])
        .with_actor("root/feed")
        .with_backtrace("0: feed::quote")
        .with_payload("feed::QuoteError", &7_u8);
    check("error-details", &error);
    for quota in Quota::ALL {
        let owner = Owner::User(1000);
        let exceeded = QuotaExceeded { quota, owner, used: 2048, asked: 1, limit: 2048 };
        check(&format!("quota-exceeded-{quota}"), &exceeded);
    }
    assert_eq!(decode_body(&recorded("quota-unknown", &encode_body("moons"))), Ok(Quota::Other));
}

/// Messages with fields of a later version, and without those that an earlier one lacks.
#[test]
fn other_versions_are_read() {
    let with = |more: &[(&str, &str)]| {
        let fields = [&[("name", "feed")], more].concat();
        encode_body(&BTreeMap::from_iter(fields))
    };
    for (name, written) in [("query-bare", with(&[])), ("query-with-more", with(&[("zone", "eu")]))]
    {
        let read = recorded(name, &written);
        assert_eq!(Query::decode(&read), Ok(Query::of("feed")), "{name}");
    }
    let reason = encode_body("swallowed-by-a-whale");
    assert_eq!(decode_body(&recorded("reason-unknown", &reason)), Ok(RemovalReason::Unknown));
    let cause = encode_body("mislaid");
    assert_eq!(decode_body(&recorded("lost-cause-unknown", &cause)), Ok(LostCause::Unknown));
    let evidence = encode_body("heard-a-rumour");
    assert_eq!(decode_body(&recorded("evidence-unknown", &evidence)), Ok(Evidence::Other));
}

fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, expected: &T) {
    let bytes = recorded(name, &encode_body(expected));
    assert_eq!(decode_body::<T>(&bytes).as_ref(), Ok(expected), "{name}");
}

/// Returns the recorded bytes of a message, or records `written` if there are none.
fn recorded(name: &str, written: &[u8]) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/corpus/{name}.hex"));
    let Ok(text) = fs::read_to_string(&path) else {
        let line = |bytes: &[u8]| {
            let digits: Vec<_> = bytes.iter().map(|it| format!("{it:02x}")).collect();
            digits.join(" ") + "\n"
        };
        fs::write(&path, written.chunks(32).map(line).collect::<String>()).unwrap();
        panic!("{name} is recorded only now; look at {} and commit it", path.display());
    };
    text.split_whitespace().map(|it| u8::from_str_radix(it, 16).unwrap()).collect()
}

/// A moment in 2026.
const NOW_MS: u64 = 1_795_000_000_000;

fn key() -> ProofKey {
    ProofKey::derive(&ProofSecret::new([7; 32]), uuid(1), 41)
}

fn wanted() -> Wanted {
    let challenge = Challenge { registrar: uuid(9), epoch: 41, nonce: uuid(5) };
    let instance = InstanceId { name: name("feed"), uuid: uuid(1) };
    Wanted { instance, challenge: Some(challenge) }
}

fn proof() -> Proof {
    let Wanted { instance, challenge } = wanted();
    key().prove(&instance, &challenge.unwrap())
}

/// Shows token 40.
fn shown() -> Proof {
    let secret = ProofSecret::new([7; 32]);
    Proof::of_token(&secret, &wanted().instance, &Owner::User(1000), 40)
}

fn register() -> Register {
    let record = record(Lifetime::Session);
    Register {
        endpoints: record.endpoints,
        metadata: record.metadata,
        state: State::Starting,
        ..Register::new(record.name, record.uuid)
    }
}

/// Reports the root below which each path is seen.
fn with_roots(mut register: Register) -> Register {
    for stamped in register.endpoints.iter_mut().filter(|it| it.stamp.socket.is_some()) {
        stamped.stamp.root = Some(RootId(0xfedc_ba98_7654_3210));
    }
    register
}

fn record(lifetime: Lifetime) -> Record {
    let stamp = Stamp {
        kernel: Some(KernelId(0x0123_4567_89ab_cdef)),
        netns: Some(NetnsId(1)),
        process: None,
        socket: Some(SocketId { dev: 26, ino: 4711, born_ns: Some(NOW_MS * 1_000_000) }),
        root: None,
        user: None,
    };
    let memory = Stamp { process: Some(ProcessId(u64::MAX)), socket: None, ..stamp };
    Record {
        name: name("feed"),
        uuid: uuid(1),
        epoch: 41,
        endpoints: vec![
            Stamped { endpoint: endpoint("/unix/run/feed.sock"), stamp },
            Stamped { endpoint: endpoint("/memory/7"), stamp: memory },
            Stamped::bare(endpoint("/dns4/feed.example/tcp/5555/tls")),
        ],
        metadata: BTreeMap::from([("pair".to_owned(), "EURUSD".to_owned())]),
        state: State::Ready,
        lifetime,
        since_ms: NOW_MS,
        suspicion: (lifetime == Lifetime::Declared).then_some(Suspicion {
            reports: 2,
            since_ms: NOW_MS,
            ..Suspicion::default()
        }),
        proves: false,
        owner: None,
        token: None,
        waiting: 0,
        node: None,
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn pattern(text: &str) -> NamePattern {
    NamePattern::new(text).unwrap()
}

fn endpoint(text: &str) -> Endpoint {
    text.parse().unwrap()
}

fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// Returns the wire word of a value.
fn kebab(value: impl Serialize) -> String {
    decode_body(&encode_body(&value)).unwrap()
}
