//! How a child can end, and that its parent learns it.

use callsign_tree::process::{Ended, Kind, Signal};
use libtest_mimic::Trial;

use crate::support::{Played, TEST_TIMEOUT, of_each_kind};

pub(crate) fn trials() -> Vec<Trial> {
    of_each_kind(&[
        ("returns", |kind| Box::pin(returns(kind))),
        ("panics", |kind| Box::pin(panics(kind))),
        ("aborts", |kind| Box::pin(killed_by_itself(kind, "abort", Signal::ABORT))),
        ("faults", |kind| Box::pin(killed_by_itself(kind, "fault", Signal::SEGV))),
        ("killed", |kind| Box::pin(killed(kind, Signal::KILL))),
        ("terminated", |kind| Box::pin(killed(kind, Signal::TERM))),
        ("stopped", |kind| Box::pin(stopped(kind))),
    ])
}

async fn returns(kind: Kind) {
    for code in [0, 1, 7, 255] {
        let played = Played::start(kind, &format!("exit {code}")).await;
        assert_eq!(played.child.exited().await.unwrap(), Ended::Code(code));
        assert_eq!(played.child.exited().await.unwrap(), Ended::Code(code), "asked again");
    }
}

async fn panics(kind: Kind) {
    let played = Played::start(kind, "panic").await;
    assert_eq!(played.child.exited().await.unwrap(), Ended::Code(101));
    played.child.output_read().await;
    let tail = played.child.error_tail();
    assert!(tail.contains("it was asked for"), "{tail}");
}

async fn killed_by_itself(kind: Kind, role: &str, expected: Signal) {
    let played = Played::start(kind, role).await;
    check_signal(played.child.exited().await.unwrap(), expected);
}

async fn killed(kind: Kind, signal: Signal) {
    let mut played = Played::start(kind, "wait").await;
    assert_eq!(played.hears().await, "ready");
    played.child.signal(signal).unwrap();
    check_signal(played.child.exited().await.unwrap(), signal);
    played.child.signal(signal).unwrap();
}

async fn stopped(kind: Kind) {
    let mut played = Played::start(kind, "wait").await;
    assert_eq!(played.hears().await, "ready");
    played.child.signal(Signal::STOP).unwrap();
    let stat = format!("/proc/{}/stat", played.child.pid());
    while !std::fs::read_to_string(&stat).unwrap().contains(") T ") {
        tokio::task::yield_now().await;
    }
    let ended = played.child.kill(TEST_TIMEOUT).await.unwrap();
    check_signal(ended, Signal::KILL);
}

fn check_signal(ended: Ended, expected: Signal) {
    let Ended::Signal { signal, .. } = ended else { panic!("{ended:?}") };
    assert_eq!(signal, expected.as_raw());
}
