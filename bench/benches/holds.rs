//! For how long the registry is held at once at the most, by who does his worst within the bounds:
//! in processor time of the one thread, so that it does not matter how busy the machine is.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run had better stop")]
#![expect(clippy::print_stdout, reason = "it prints its figures")]

use std::{collections::BTreeMap, time::Duration};

use bytes::BytesMut;
use endpoints::{NamePattern, Stamp, Stamped};
use registrar::{
    Accounts,
    registry::{Caller, Event, Limits, Owner, Registry, SessionId},
};
use rustix::time::{ClockId, clock_gettime};
use uuid::Uuid;
use wire::{
    State,
    registrar::{List, Query, Register},
};

fn main() {
    // As a registrar begins.
    transport::free_at_once();
    let mut holds = Holds::default();
    let mut registry = Registry::new(Uuid::new_v4(), Limits::default(), Accounts::unlimited(), NOW);
    let session = registry.open_session(USER.account());
    for number in 0..MANY {
        let one = register(format!("feed-{number}"));
        holds.take("a registration, up to 65,536", || enter(&mut registry, one, session));
    }
    let list = List { pattern: NamePattern::new("*z*q*x").unwrap(), after: 0 };
    holds.take("a page that many names do not match", || {
        registry.page(&list, &Caller::from(USER), NOW, &mut BytesMut::new());
    });
    end(&mut holds, &mut registry, session, ["the end of its session", "a part of clearing away"]);

    let session = registry.open_session(USER.account());
    for _ in 0..MANY {
        let one = Register { state: State::Starting, ..register("crowd".to_owned()) };
        holds.take("a registration among 65,536 of its name", || {
            enter(&mut registry, one, session);
        });
    }
    let crowd = Query { all: true, ..Query::of("crowd") };
    for (what, query) in [("ready", Query::of("crowd")), ("all", crowd)] {
        holds.take(&format!("a look-up of a name that 65,536 have: {what}"), || {
            registry.answer(&query, &Caller::from(USER), NOW, &mut BytesMut::new());
        });
    }
    drop(registry.apply(Event::SessionEnded(session), NOW).unwrap());
    holds.take("the same while all of them are cleared away", || {
        registry.answer(&Query::of("crowd"), &Caller::from(USER), NOW, &mut BytesMut::new());
    });
    clear(&mut holds, &mut registry, "a part of clearing away a crowd");

    let session = registry.open_session(USER.account());
    let uuids: Vec<_> = (0..2048)
        .map(|number| {
            let text = BTreeMap::from([("text".to_owned(), "x".repeat(1000))]);
            let one = Register { metadata: text, ..register(format!("feed-{number}")) };
            let uuid = one.uuid;
            enter(&mut registry, one, session);
            uuid
        })
        .collect();
    holds.take("2,048 taken out in one call", || {
        drop(registry.apply(Event::UnregisterAll { uuids, by: USER }, NOW).unwrap());
    });
    clear(&mut holds, &mut registry, "a part of clearing away those that were taken out");
    holds.print();
}

fn end(holds: &mut Holds, registry: &mut Registry, session: SessionId, what: [&str; 2]) {
    holds.take(what[0], || drop(registry.apply(Event::SessionEnded(session), NOW).unwrap()));
    clear(holds, registry, what[1]);
}

fn clear(holds: &mut Holds, registry: &mut Registry, what: &str) {
    while registry.has_deferred() {
        holds.take(what, || drop(registry.do_deferred()));
    }
    if registry.take_has_shrunk() {
        holds.take("memory given back to the kernel", transport::release_memory);
    }
}

fn enter(registry: &mut Registry, register: Register, session: SessionId) {
    drop(registry.register(register, USER, session, NOW).unwrap());
}

fn register(name: String) -> Register {
    let uuid = Uuid::new_v4();
    let [a, b, c, d, ..] = *uuid.as_bytes();
    let place = |text: String| Stamped { endpoint: text.parse().unwrap(), stamp: Stamp::default() };
    Register {
        endpoints: vec![
            place(format!("/unix/run/market/{name}.sock")),
            place(format!("/ip4/10.{a}.{b}.{c}/tcp/{}", 1024 + u16::from(d))),
        ],
        ..Register::new(name.parse().unwrap(), uuid)
    }
}

/// The longest of each kind.
#[derive(Default)]
struct Holds(BTreeMap<String, (Duration, usize)>);

impl Holds {
    fn take(&mut self, what: &str, hold: impl FnOnce()) {
        let start = processor_time();
        hold();
        let took = processor_time() - start;
        let (longest, count) = self.0.entry(what.to_owned()).or_default();
        *longest = took.max(*longest);
        *count += 1;
    }

    fn print(&self) {
        for (what, (longest, count)) in &self.0 {
            println!("{what}: {longest:.1?} at the most, of {count}");
        }
    }
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

const USER: Owner = Owner::User(1000);
const MANY: usize = 65_536;
const NOW: u64 = 1_795_000_000_000;
