//! A record as seen from here: which of its endpoints are within reach, and how near.

use std::time::Duration;

use endpoints::{Endpoint, Here, Locality, Look, Ranked, Stamped, Unreachable, rank};
use gateway::json::{RecordJson, age_ms};
use transport::{Listening, listening_at_each, strangers_at};
use uuid::Uuid;
use wire::{Lifetime, Record, State, Suspicion};

use crate::output::age;

/// A record as seen from here.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) record: &'a Record,
    /// Its endpoints, nearest first; those out of reach come last.
    pub(crate) candidates: Vec<Ranked<&'a Stamped>>,
}

impl<'a> Seen<'a> {
    pub(crate) fn new(record: &'a Record, here: &Here, look: &Look<'_>) -> Self {
        Self { record, candidates: rank(&record.endpoints, here, look) }
    }

    /// Judges the endpoints of a record, as seen from this process.
    pub(crate) fn from_here(record: &'a Record) -> Self {
        let mut seen = [Self::new(record, &transport::here(), &transport::look)];
        leave_out_strangers(&mut seen);
        leave_out_silent(&mut seen);
        let [seen] = seen;
        seen
    }

    /// Judges the endpoints of records, as seen from this process.
    pub(crate) fn all_from_here(records: &'a [Record]) -> Vec<Self> {
        let here = transport::here();
        let mut seen: Vec<_> =
            records.iter().map(|record| Self::new(record, &here, &transport::look)).collect();
        leave_out_strangers(&mut seen);
        leave_out_silent(&mut seen);
        seen
    }

    /// Returns the nearest endpoint, if any is within reach.
    pub(crate) fn nearest(&self) -> Option<(&'a Endpoint, Locality)> {
        let nearest = self.candidates.first()?;
        Some((&nearest.stamped.endpoint, nearest.verdict.clone().ok()?))
    }

    /// Returns the endpoint that is dialed first, if any is within reach: the nearest, the first of
    /// equals, and suspect ones after all others.
    pub(crate) fn first_dialed(seen: &[Self]) -> Option<&Self> {
        let within_reach = seen.iter().filter_map(|it| Some((it.nearest()?.1, it)));
        let rank = |(locality, it): &(Locality, &Self)| (it.record.suspicion.is_some(), *locality);
        within_reach.min_by_key(rank).map(|(_, it)| it)
    }

    /// Says in a few words why no endpoint is within reach: each reason once.
    pub(crate) fn why_none(&self) -> String {
        let mut reasons: Vec<&str> = Vec::new();
        for reason in self.candidates.iter().filter_map(|it| it.verdict.as_ref().err()) {
            let reason = in_short(reason);
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        if reasons.is_empty() { "no endpoints".to_owned() } else { reasons.join(", ") }
    }

    /// Returns the record for machines. `now_ms` is the registrar's clock, where that is known.
    pub(crate) fn to_json(&self, now_ms: Option<u64>) -> RecordJson<'a> {
        RecordJson::of(self.record, &self.candidates, now_ms)
    }
}

/// Leaves out where another user's program has the place of one that cannot prove who it is.
fn leave_out_strangers(seen: &mut [Seen<'_>]) {
    let unproved = seen.iter_mut().filter(|it| !it.record.proves);
    let candidates = unproved.flat_map(|it| {
        let user = it.record.user();
        it.candidates.iter_mut().filter(|it| it.verdict.is_ok()).map(move |it| (it, user))
    });
    let mut candidates: Vec<_> = candidates.collect();
    let places: Vec<_> = candidates.iter().map(|(it, user)| (it.stamped, *user)).collect();
    let strangers = strangers_at(&places);
    for ((candidate, _), stranger) in candidates.iter_mut().zip(strangers) {
        if let Some(user) = stranger {
            candidate.verdict = Err(Unreachable::OtherUser(user));
        }
    }
    for seen in seen {
        seen.candidates.sort_by_key(|it| it.verdict.is_err());
    }
}

/// Leaves out where actors that are starting do not listen yet: their entries say where they will.
/// That is asked of the kernel, of all together.
fn leave_out_silent(seen: &mut [Seen<'_>]) {
    let starting = seen.iter_mut().filter(|it| it.record.state == State::Starting);
    let mut starting: Vec<_> = starting.collect();
    let on_host = |it: &Ranked<&Stamped>| it.verdict.as_ref().is_ok_and(|it| it.is_within_host());
    let candidates = starting.iter_mut().flat_map(|it| &mut it.candidates);
    let mut candidates: Vec<_> = candidates.filter(|it| on_host(it)).collect();
    let endpoints: Vec<_> = candidates.iter().map(|it| it.stamped.endpoint.clone()).collect();
    if endpoints.is_empty() {
        return;
    }
    for (candidate, listening) in candidates.iter_mut().zip(listening_at_each(&endpoints)) {
        if let Listening::Nobody(_) = listening {
            candidate.verdict = Err(Unreachable::NotListening);
        }
    }
    for seen in starting {
        seen.candidates.sort_by_key(|it| it.verdict.is_err());
    }
}

/// Returns the age of an entry in its largest unit, if it is known.
pub(crate) fn age_in_words(record: &Record, now_ms: u64) -> Option<String> {
    age_ms(record, now_ms).map(|it| age(Duration::from_millis(it)))
}

/// Returns the state of an instance, and whether it is suspect.
pub(crate) fn state_in_words(record: &Record) -> String {
    let waiting = match record.waiting {
        0 => String::new(),
        waiting => format!(", {waiting} {WAITING}"),
    };
    let suspect = if record.suspicion.is_some() { ", suspect" } else { "" };
    let unverified = if is_unverified(record) { ", unverified" } else { "" };
    format!("{}{unverified}{waiting}{suspect}", record.state)
}

/// Tells whether only its registrant says that an actor listens anywhere. Of a declared one nobody
/// says so much.
pub(crate) fn is_unverified(record: &Record) -> bool {
    record.lifetime != Lifetime::Declared && has_no_verified(record)
}

/// Tells whether no endpoint of a record is of a place that its registrant can see.
pub(crate) fn has_no_verified(record: &Record) -> bool {
    !record.endpoints.is_empty() && !record.endpoints.iter().any(Stamped::is_verified)
}

/// Returns the remark on an endpoint, unless it is made of all endpoints of its record.
pub(crate) fn remark_on(stamped: &Stamped, record: &Record) -> &'static str {
    if stamped.is_verified() || has_no_verified(record) { "" } else { ", unverified" }
}

/// The text after the number of waiters in line for a name.
pub(crate) const WAITING: &str = "waiting";

/// Says how long an instance has been suspect, and why.
pub(crate) fn doubt_in_words(suspicion: Suspicion, now_ms: u64) -> String {
    let Suspicion { reports, since_ms, silent, cut_off } = suspicion;
    let mut reasons = Vec::new();
    match reports {
        0 => {}
        1 => reasons.push("reported once".to_owned()),
        _ => reasons.push(format!("reported {reports} times")),
    }
    if silent {
        reasons.push("gives no sign of life".to_owned());
    }
    if cut_off {
        let why = "the registrar is cut off from its cluster, and does not hear of its node";
        reasons.push(why.to_owned());
    }
    let age = age(Duration::from_millis(now_ms.saturating_sub(since_ms)));
    format!("suspect for {age}: {}", reasons.join(", "))
}

/// Returns the first digits of an instance's UUID: enough to tell it from the others of its name.
pub(crate) fn short_uuid(uuid: &Uuid) -> String {
    let mut text = uuid.simple().to_string();
    text.truncate(SHORT_UUID_DIGITS);
    text
}

/// Says in a word or two why an endpoint is out of reach.
pub(crate) fn in_short(unreachable: &Unreachable) -> &'static str {
    match unreachable {
        Unreachable::NoStamp => "not stamped",
        Unreachable::NoSocketStamp => "no socket seen",
        Unreachable::HereUnknown => "own place unknown",
        Unreachable::KernelNotSaid => "kernel not told",
        Unreachable::NetnsNotSaid => "network namespace not told",
        Unreachable::HereNetnsUnknown => "own network namespace unknown",
        Unreachable::OtherHost | Unreachable::AddressIsOurs => "on another host",
        Unreachable::OtherNetns => "in another network namespace",
        Unreachable::OtherProcess => "in another process",
        Unreachable::Missing => "no such socket",
        Unreachable::NotASocket => "not a socket",
        Unreachable::OtherSocket => "another socket is there",
        Unreachable::OtherUser(_) => "another user's program is there",
        Unreachable::NotListening => "nobody listens yet",
        Unreachable::NoPermission => "no permission",
        Unreachable::OtherZone(_) | Unreachable::NoZone => "on another link",
        Unreachable::BindOnly => "can only be bound",
        _ => "cannot be looked at",
    }
}

/// With a million instances of one name, the chance that a given one shares these digits with
/// another is one in a hundred.
pub(crate) const SHORT_UUID_DIGITS: usize = 8;

/// Records for tests, and a place to see them from.
#[cfg(test)]
pub(crate) mod sample {
    use endpoints::{
        Here, Interface, KernelId, NetnsId, SocketId, Stamp, Stamped, UnixPath, Unreachable,
    };
    use uuid::Uuid;
    use wire::Record;

    use super::Seen;

    /// A ready record of a session, registered at 1000 ms. Each endpoint stands with the number
    /// of its kernel; 1 is the one that is seen from, and 0 none.
    pub(crate) fn record(name: &str, digit: u8, endpoints: &[(&str, u64)]) -> Record {
        let stamped = |(endpoint, kernel): &(&str, u64)| Stamped {
            endpoint: endpoint.parse().unwrap(),
            stamp: match kernel {
                0 => Stamp::default(),
                kernel => Stamp {
                    kernel: Some(KernelId(*kernel)),
                    netns: Some(NetnsId(1)),
                    socket: Some(SOCKET),
                    ..Stamp::default()
                },
            },
        };
        Record {
            epoch: digit.into(),
            endpoints: endpoints.iter().map(stamped).collect(),
            since_ms: 1000,
            ..Record::new(name.parse().unwrap(), Uuid::from_bytes([digit * 0x11; 16]))
        }
    }

    /// A host with one network interface, on which every path but `/gone` leads to a socket.
    pub(crate) fn here() -> Here {
        Here {
            kernel: Some(KernelId(1)),
            netns: Some(NetnsId(1)),
            process: None,
            interfaces: vec![Interface {
                name: "eth0".to_owned(),
                ip: "10.0.0.1".parse().unwrap(),
                prefix_bits: 24,
            }],
        }
    }

    pub(crate) fn look(path: &UnixPath) -> Result<SocketId, Unreachable> {
        if path.as_str() == "/gone" { Err(Unreachable::Missing) } else { Ok(SOCKET) }
    }

    pub(crate) fn seen(record: &Record) -> Seen<'_> {
        Seen::new(record, &here(), &look)
    }

    const SOCKET: SocketId = SocketId { dev: 1, ino: 2, born_ns: Some(3) };
}

#[cfg(test)]
mod tests {
    use super::{sample::*, *};

    #[test]
    fn the_reason_for_being_out_of_reach_is_given_once() {
        let check = |endpoints: &[(&str, u64)], expected: &str| {
            assert_eq!(seen(&record("feed", 1, endpoints)).why_none(), expected);
        };
        check(&[], "no endpoints");
        check(&[("/unix/gone", 1)], "no such socket");
        check(&[("/unix/run/x", 0)], "not stamped");
        check(
            &[("/unix/run/x", 2), ("/ip4/127.0.0.1/tcp/7", 2), ("/unix/gone", 1)],
            "on another host, no such socket",
        );
    }

    #[test]
    fn the_first_is_the_one_that_would_be_dialed_first() {
        let check = |instances: &[(&[(&str, u64)], bool)], expected: Option<usize>| {
            let record = |(digit, (endpoints, is_suspect)): (u8, &(&[_], bool))| Record {
                suspicion: is_suspect.then_some(Suspicion { silent: true, ..Suspicion::default() }),
                ..record("feed", digit, endpoints)
            };
            let records: Vec<_> = (1..).zip(instances).map(record).collect();
            let seen: Vec<_> = records.iter().map(seen).collect();
            let first = Seen::first_dialed(&seen).map(|it| it.record);
            assert_eq!(first, expected.map(|it| &records[it]));
            let explanation = discovery::explain(&records, &here(), &look);
            let dialed = explanation.candidates.first().filter(|it| it.verdict.is_ok());
            assert_eq!(first.map(|it| it.uuid), dialed.map(|it| it.instance.uuid));
        };
        let near: &[_] = &[("/unix/gone", 1), ("/unix/run/x", 1)];
        let far: &[_] = &[("/ip4/10.0.0.7/tcp/7", 2)];
        let out: &[_] = &[("/unix/run/x", 2)];
        check(&[], None);
        check(&[(out, false), (&[], false)], None);
        check(&[(far, false), (near, false), (near, false)], Some(1));
        check(&[(out, false), (near, true), (far, false)], Some(2));
        check(&[(far, true), (near, true), (out, false)], Some(1));
    }

    #[test]
    fn programs_read_every_part_of_a_record() {
        let mut feed = record("feed", 3, &[("/ip4/127.0.0.1/tcp/7", 1), ("/memory/7", 0)]);
        feed.lifetime = Lifetime::Lease { ttl_ms: 30_000 };
        feed.metadata.insert("desk".to_owned(), "rates".to_owned());
        let json = serde_json::to_value(seen(&feed).to_json(Some(3500))).unwrap();
        let expected = serde_json::json!({
            "name": "feed",
            "uuid": "33333333-3333-3333-3333-333333333333",
            "epoch": 3,
            "state": "ready",
            "suspicion": null,
            "waiting": 0,
            "lifetime": "lease",
            "proves": false,
            "user": null,
            "owner": null,
            "token": null,
            "ttl_ms": 30_000,
            "since_ms": 1000,
            "age_ms": 2500,
            "metadata": { "desk": "rates" },
            "nearest": "/ip4/127.0.0.1/tcp/7",
            "nearest_encoded": "/ip4/127.0.0.1/tcp/7",
            "locality": "loopback",
            "endpoints": [
                {
                    "endpoint": "/ip4/127.0.0.1/tcp/7",
                    "encoded": "/ip4/127.0.0.1/tcp/7",
                    "locality": "loopback",
                    "left_out": null,
                    "verified": true,
                    "stamp": {
                        "kernel": "0000000000000001",
                        "netns": "0000000000000001",
                        "socket": { "dev": 1, "ino": 2, "born_ns": 3 },
                    },
                },
                {
                    "endpoint": "/memory/7",
                    "encoded": "/memory/7",
                    "locality": null,
                    "left_out": {
                        "kind": "no-stamp",
                        "message": "its registrant did not say where it is",
                    },
                    "verified": true,
                    "stamp": {},
                },
            ],
        });
        assert_eq!(json, expected);
    }
}
