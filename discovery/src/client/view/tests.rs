//! Sequences of feed events, and the changes that they report.

use std::sync::Arc;

use wire::{Lifetime, State, registrar::Change as Told};

use super::*;
use crate::{LinkError, tests::record};

/// An event of a view.
#[expect(clippy::large_enum_variant, reason = "there are few of them at a time")]
enum Happens {
    Begun(usize, bool),
    /// A feed begins to report from another registrar. That registrar started so many seconds
    /// before the end of the time in which clients may return.
    Restarts(usize, u64),
    Tells(usize, Told),
    Lost(usize),
    /// A registrar has given no sign of life for so many seconds.
    Silent(usize, u64),
    Standby(usize),
    /// That many seconds pass.
    Passes(u64),
}
use Happens::{Begun, Lost, Passes, Restarts, Silent, Standby, Tells};

fn with(uuid: u128, since_ms: u64) -> Record {
    Record {
        uuid: Uuid::from_u128(uuid),
        since_ms,
        epoch: since_ms,
        lifetime: Lifetime::Session,
        ..record("feed")
    }
}

fn add(uuid: u128, since_ms: u64) -> Told {
    Told::Add { record: with(uuid, since_ms), revision: since_ms }
}

fn drain(uuid: u128, since_ms: u64) -> Told {
    let record = Record { state: State::Draining, ..with(uuid, since_ms) };
    Told::Update { record, revision: since_ms + 1 }
}

fn remove(uuid: u128) -> Told {
    let instance = with(uuid, 0).instance();
    Told::Remove { instance, epoch: 1, reason: RemovalReason::SessionEnded, revision: 99 }
}

fn synced() -> Told {
    Told::Synced { revision: 50 }
}

fn text(change: Change) -> String {
    match change {
        Change::Reset => "reset".to_owned(),
        Change::Synced => "synced".to_owned(),
        Change::Add { record } => format!("+{}@{}", record.uuid.as_u128(), record.since_ms),
        Change::Update { record } => format!("~{}@{}", record.uuid.as_u128(), record.since_ms),
        Change::Remove { instance, reason: Some(RemovalReason::Missed) } => {
            format!("missed-{}", instance.uuid.as_u128())
        }
        Change::Remove { instance, reason: Some(_) } => format!("-{}", instance.uuid.as_u128()),
        Change::Remove { instance, reason: None } => format!("?{}", instance.uuid.as_u128()),
        Change::Stale { failures } => format!("stale {}", failures.0.len()),
        Change::Partial { failures } => format!("partial {}", failures.0.len()),
    }
}

/// Applies events to a view of that many feeds, and compares the report after each event.
fn check(feeds: usize, story: Vec<(Happens, &str)>) -> View {
    let mut view = View::new(feeds, Trust::Named);
    let mut now = Instant::now();
    // The registrar of a feed has the feed's number; each successor gets a new number.
    let mut registrars: Vec<_> = (0..feeds).map(|it| Uuid::from_u128(it as u128)).collect();
    assert!(matches!(view.pop(), Some(Change::Reset)));
    for (at, (happens, expected)) in story.into_iter().enumerate() {
        match happens {
            Begun(feed, is_resumed) => view.begun(feed, is_resumed, None),
            Restarts(feed, seconds) => {
                registrars[feed] = Uuid::from_u128(100 + at as u128);
                view.begun(feed, false, Some(now + Duration::from_secs(seconds)));
                view.change(feed, registrars[feed], Told::Reset, now);
            }
            Tells(feed, change) => view.change(feed, registrars[feed], change, now),
            Lost(feed) => {
                let registrar = endpoints::Endpoint::Memory(feed as u64);
                let error = Arc::new(LinkError::NotYet);
                view.lost(feed, RegistrarFailure { registrar, error }, now);
            }
            Silent(feed, seconds) => {
                let registrar = endpoints::Endpoint::Memory(feed as u64);
                let error = Arc::new(LinkError::Silent(Duration::from_secs(seconds)));
                view.lost(feed, RegistrarFailure { registrar, error }, now);
            }
            Standby(feed) => view.standby(feed),
            Passes(seconds) => {
                now += Duration::from_secs(seconds);
                view.tick(now);
            }
        }
        let told: Vec<_> = std::iter::from_fn(|| view.pop()).map(text).collect();
        assert_eq!(told.join(" "), expected, "after step {at}");
    }
    view
}

#[test]
fn one_feed_is_passed_on() {
    check(
        1,
        vec![
            (Begun(0, false), ""),
            (Tells(0, Told::Reset), ""),
            (Tells(0, add(1, 10)), "+1@10"),
            (Tells(0, synced()), "synced"),
            (Tells(0, drain(1, 10)), "~1@10"),
            (Tells(0, remove(1)), "-1"),
            (Tells(0, remove(7)), ""),
        ],
    );
}

/// What a node has told its own watchers before it died, it may not have told the other nodes.
#[test]
fn what_a_node_has_ended_does_not_return_from_another() {
    let held = |uuid: u128, since_ms: u64| {
        let node = Some("rome".parse().unwrap());
        Told::Add { record: Record { node, ..with(uuid, since_ms) }, revision: since_ms }
    };
    let end = Told::Remove {
        instance: with(1, 0).instance(),
        epoch: 10,
        reason: RemovalReason::Unregistered,
        revision: 99,
    };
    check(
        1,
        vec![
            (Begun(0, false), ""),
            (Tells(0, Told::Reset), ""),
            (Tells(0, add(1, 10)), "+1@10"),
            (Tells(0, add(2, 11)), "+2@11"),
            (Tells(0, synced()), "synced"),
            (Tells(0, end), "-1"),
            (Lost(0), "stale 1"),
            (Restarts(0, 2), ""),
            (Tells(0, held(1, 10)), ""),
            (Tells(0, held(2, 11)), ""),
            (Tells(0, synced()), "synced"),
            (Tells(0, remove(1)), ""),
            // It has registered anew.
            (Tells(0, add(1, 20)), "+1@20"),
        ],
    );
}

#[test]
fn an_instance_of_two_feeds_is_reported_once() {
    check(
        2,
        vec![
            (Begun(0, false), ""),
            (Tells(0, add(1, 10)), "+1@10"),
            (Tells(0, synced()), ""),
            (Begun(1, false), ""),
            (Tells(1, add(1, 12)), ""),
            (Tells(1, add(2, 20)), "+2@20"),
            (Tells(1, synced()), "synced"),
            // The newest record of an instance counts.
            (Tells(0, drain(1, 10)), ""),
            (Tells(1, drain(1, 12)), "~1@12"),
            (Tells(1, remove(1)), ""),
            (Tells(0, remove(1)), "-1"),
            (Tells(1, remove(2)), "-2"),
        ],
    );
}

#[test]
fn lost_feeds_are_stale_and_resumed_ones_continue() {
    let view = check(
        1,
        vec![
            (Lost(0), "stale 1"),
            (Lost(0), ""),
            (Begun(0, false), ""),
            (Tells(0, add(1, 10)), "+1@10"),
            (Tells(0, synced()), "synced"),
            (Tells(0, add(2, 60)), "+2@60"),
            (Lost(0), "stale 1"),
            // No registrar knows better, however long this lasts.
            (Passes(3600), ""),
            (Begun(0, true), "synced"),
            (Tells(0, remove(1)), "-1"),
            (Lost(0), "stale 1"),
            // The registrar has restarted.
            (Begun(0, false), ""),
            (Tells(0, Told::Reset), "reset"),
            (Tells(0, add(3, 70)), "+3@70"),
        ],
    );
    assert_eq!(view.seen(0), None, "a snapshot under way cannot be gone on with");
}

#[test]
fn a_reset_of_one_feed_keeps_what_the_other_tells() {
    check(
        2,
        vec![
            (Begun(0, false), ""),
            (Begun(1, false), ""),
            (Tells(0, add(1, 10)), "+1@10"),
            (Tells(1, add(2, 20)), "+2@20"),
            (Tells(0, synced()), ""),
            (Tells(1, synced()), "synced"),
            (Tells(0, Told::Reset), "reset +2@20"),
            (Tells(0, add(1, 10)), "+1@10"),
            (Tells(0, synced()), "synced"),
        ],
    );
}

#[test]
fn instances_of_a_lost_feed_are_kept_for_a_while() {
    let view = check(
        3,
        vec![
            (Standby(2), ""),
            (Begun(0, false), ""),
            (Begun(1, false), ""),
            (Tells(0, add(1, 10)), "+1@10"),
            (Tells(0, add(2, 11)), "+2@11"),
            (Tells(1, add(2, 12)), ""),
            (Tells(0, synced()), ""),
            (Tells(1, synced()), "synced"),
            (Lost(0), "partial 1"),
            (Passes(4), ""),
            (Passes(1), "?1"),
            (Lost(1), "stale 2"),
            (Passes(60), ""),
            (Begun(0, false), ""),
            (Tells(0, Told::Reset), ""),
            (Tells(0, add(1, 30)), "+1@30"),
            // The last registrar that knows the other instance is away for a long time.
            (Tells(0, synced()), "?2 partial 1 synced"),
        ],
    );
    assert_eq!(view.seen(1), None, "what was removed cannot be gone on with");
}

/// Both registrars have the instances 1 and 2; the first also has 3.
fn two_registrars() -> Vec<(Happens, &'static str)> {
    vec![
        (Begun(0, false), ""),
        (Begun(1, false), ""),
        (Tells(0, add(1, 10)), "+1@10"),
        (Tells(0, add(2, 11)), "+2@11"),
        (Tells(0, add(3, 12)), "+3@12"),
        (Tells(1, add(1, 13)), ""),
        (Tells(1, add(2, 14)), ""),
        (Tells(0, synced()), ""),
        (Tells(1, synced()), "synced"),
    ]
}

#[test]
fn a_death_that_one_registrar_saw_does_not_wait_for_one_that_is_lost() {
    let story = |after: Vec<(Happens, &'static str)>| {
        check(2, two_registrars().into_iter().chain(after).collect())
    };
    let view = story(vec![
        (Lost(0), "partial 1"),
        (Tells(1, remove(1)), "-1"),
        (Passes(2), ""),
        (Tells(1, remove(2)), "-2"),
        // Nobody else knows of that one.
        (Passes(3), "?3"),
    ]);
    assert_eq!(view.seen(0), None);
    // It is lost for an instant, and what it knows of the instance is news again.
    story(vec![
        (Lost(0), "partial 1"),
        (Tells(1, remove(1)), "-1"),
        (Begun(0, false), ""),
        (Tells(0, Told::Reset), "reset +2@14"),
        (Tells(0, add(1, 10)), "+1@10"),
        (Tells(0, synced()), "partial 0 synced"),
    ]);
    // It had been silent when the death was told, which was not known then.
    story(vec![
        (Passes(60), ""),
        (Tells(1, remove(1)), ""),
        (Passes(2), ""),
        (Tells(1, remove(2)), ""),
        (Silent(0, 3), "-1 -2 partial 1"),
        (Passes(5), "?3"),
    ]);
    // Both have just seen the end, and one of them ends before it tells of it.
    story(vec![(Tells(1, remove(2)), ""), (Lost(0), "-2 partial 1")]);
}

#[test]
fn a_registrar_that_knew_better_is_believed_for_a_while_after_it_is_lost() {
    let story = |after: Vec<(Happens, &'static str)>| {
        check(2, two_registrars().into_iter().chain(after).collect())
    };
    // It has had the instance for long although the other has not.
    let before = || vec![(Tells(1, remove(1)), ""), (Passes(10), "")];
    let lost = vec![
        (Lost(0), "partial 1"),
        (Passes(4), ""),
        // The reason is what one of them has seen.
        (Passes(1), "-1 ?3"),
    ];
    story(before().into_iter().chain(lost).collect());
    // It has told that the instance changed, so it was there.
    story(vec![
        (Tells(1, remove(1)), ""),
        (Tells(0, drain(1, 10)), "~1@10"),
        (Silent(0, 3), "partial 1"),
        (Passes(5), "?1 ?3"),
    ]);
}

#[test]
fn a_feed_that_takes_over_a_registrar_knows_better_than_the_lost_one() {
    let mut view = check(
        2,
        vec![
            (Standby(1), ""),
            (Begun(0, false), ""),
            (Tells(0, add(1, 10)), "+1@10"),
            (Tells(0, add(2, 11)), "+2@11"),
            (Tells(0, synced()), "synced"),
            (Lost(0), "stale 1"),
            (Begun(1, false), ""),
        ],
    );
    let (same, now) = (Uuid::from_u128(0), Instant::now());
    view.change(1, same, Told::Reset, now);
    view.change(1, same, add(1, 10), now);
    view.change(1, same, synced(), now);
    let told: Vec<_> = std::iter::from_fn(|| view.pop()).map(text).collect();
    assert_eq!(told, ["?2", "synced"]);
}

#[test]
fn instances_of_a_former_registrar_are_kept_until_all_should_be_back() {
    let before = || {
        vec![
            (Begun(0, false), ""),
            (Tells(0, add(1, 10)), "+1@10"),
            (Tells(0, add(2, 11)), "+2@11"),
            (Tells(0, synced()), "synced"),
            (Lost(0), "stale 1"),
            (Passes(60), ""),
            (Restarts(0, 5), ""),
        ]
    };
    let story =
        |after: Vec<(Happens, &'static str)>| check(1, before().into_iter().chain(after).collect());
    // All return, one of them before the snapshot.
    story(vec![
        (Tells(0, add(1, 80)), "~1@80"),
        (Tells(0, synced()), ""),
        (Passes(1), ""),
        (Tells(0, add(2, 81)), "~2@81 synced"),
        (Passes(60), ""),
    ]);
    // One does not return.
    story(vec![
        (Tells(0, synced()), ""),
        (Tells(0, add(2, 80)), "~2@80"),
        (Passes(4), ""),
        (Passes(1), "missed-1 synced"),
    ]);
    // An instance that was removed meanwhile disappears immediately.
    story(vec![
        (Tells(0, add(1, 80)), "~1@80"),
        (Tells(0, synced()), ""),
        (Tells(0, remove(1)), "-1"),
        (Passes(5), "missed-2 synced"),
    ]);
    // The next registrar ends too, and another one follows it.
    story(vec![
        (Tells(0, add(1, 80)), "~1@80"),
        (Tells(0, synced()), ""),
        (Lost(0), ""),
        (Passes(9), ""),
        (Restarts(0, 5), ""),
        (Tells(0, synced()), ""),
        (Tells(0, add(2, 90)), "~2@90"),
        (Passes(5), "missed-1 synced"),
    ]);
    // All are back and the time is over, but the snapshot is slow.
    story(vec![
        (Passes(5), ""),
        (Tells(0, add(1, 80)), "~1@80"),
        (Tells(0, synced()), "missed-2 synced"),
    ]);
}

#[test]
fn a_registrar_that_begins_beside_another_takes_nothing_away_either() {
    check(
        2,
        vec![
            (Begun(0, false), ""),
            (Begun(1, false), ""),
            (Tells(0, add(1, 10)), "+1@10"),
            (Tells(0, add(2, 11)), "+2@11"),
            (Tells(1, add(2, 12)), ""),
            (Tells(0, synced()), ""),
            (Tells(1, synced()), "synced"),
            (Lost(0), "partial 1"),
            (Passes(4), ""),
            (Restarts(0, 5), ""),
            (Tells(0, synced()), "partial 0"),
            (Passes(4), ""),
            // The other registrar reports it.
            (Tells(1, remove(2)), ""),
            (Passes(1), "missed-1 -2"),
        ],
    );
}

#[test]
fn instances_from_another_address_are_kept_as_well() {
    check(
        2,
        vec![
            (Begun(0, false), ""),
            (Standby(1), ""),
            (Tells(0, add(1, 10)), "+1@10"),
            (Tells(0, synced()), "synced"),
            (Lost(0), "stale 1"),
            (Passes(4), ""),
            (Restarts(1, 5), ""),
            (Tells(1, synced()), ""),
            (Passes(4), ""),
            (Passes(1), "?1 partial 1 synced"),
        ],
    );
}
