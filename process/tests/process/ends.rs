//! The ways in which a child can end, and how its parent learns of them.

use std::time::Duration;

use callsign_process::{Ended, Kind, Launch, Signal, WaitError};
use libtest_mimic::Trial;

use crate::support::{Played, Stranger, TEST_TIMEOUT, of_each_kind};

pub(crate) fn trials() -> Vec<Trial> {
    of_each_kind(&[
        ("returns", |kind| Box::pin(returns(kind))),
        ("panics", |kind| Box::pin(panics(kind))),
        ("aborts", |kind| Box::pin(killed_by_itself(kind, "abort", Signal::ABORT))),
        ("faults", |kind| Box::pin(killed_by_itself(kind, "fault", Signal::SEGV))),
        ("killed", |kind| Box::pin(killed(kind, "wait", Signal::KILL))),
        ("killed_in_a_system_call", |kind| Box::pin(killed(kind, "sleep", Signal::KILL))),
        ("terminated", |kind| Box::pin(killed(kind, "wait", Signal::TERM))),
        ("killed_while_it_starts", |kind| Box::pin(killed_while_it_starts(kind))),
        ("stopped", |kind| Box::pin(stopped(kind))),
        ("waited_for_by_many", |kind| Box::pin(waited_for_by_many(kind))),
        ("its_helpers_end_with_it", |kind| Box::pin(its_helpers_end_with_it(kind))),
        ("ends_when_its_channel_is_closed", |kind| Box::pin(ends_with_its_channel(kind))),
        ("starting_thread_may_end", |kind| Box::pin(starting_thread_may_end(kind))),
        ("one_that_cannot_be_reaped_is_told", |kind| Box::pin(cannot_be_reaped(kind))),
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

async fn killed(kind: Kind, role: &str, signal: Signal) {
    let mut played = Played::start(kind, role).await;
    assert_eq!(played.hears().await, "ready");
    played.child.signal(signal).unwrap();
    check_signal(played.child.exited().await.unwrap(), signal);
    // A child that has ended gets no signal.
    played.child.signal(signal).unwrap();
    played.child.kill_group().unwrap();
}

async fn killed_while_it_starts(kind: Kind) {
    let mut child = Launch { kind, ..Launch::exec("early") }.start().await.unwrap();
    child.signal(Signal::KILL).unwrap();
    check_signal(child.exited().await.unwrap(), Signal::KILL);
    let channel = tokio::net::UnixStream::from_std(child.take_channel().unwrap()).unwrap();
    channel.readable().await.unwrap();
    // Unread messages are lost with the child, and the end of the channel reports that.
    let end = channel.try_read(&mut [0]).map_err(|error| error.kind());
    assert!(matches!(end, Ok(0) | Err(std::io::ErrorKind::ConnectionReset)), "{end:?}");
}

async fn stopped(kind: Kind) {
    let mut played = Played::start(kind, "wait").await;
    assert_eq!(played.hears().await, "ready");
    played.child.signal(Signal::STOP).unwrap();
    until_stopped(played.child.pid()).await;
    let ended = played.child.kill(TEST_TIMEOUT).await.unwrap();
    check_signal(ended, Signal::KILL);
}

async fn waited_for_by_many(kind: Kind) {
    let mut played = Played::start(kind, "wait").await;
    assert_eq!(played.hears().await, "ready");
    let child = &played.child;
    // A caller that gives up does not affect the others.
    drop(tokio::time::timeout(Duration::ZERO, child.exited()).await);
    let (first, second, sent) =
        tokio::join!(child.exited(), child.exited(), async { child.signal(Signal::TERM) });
    sent.unwrap();
    assert_eq!(first.unwrap(), second.unwrap());
}

async fn its_helpers_end_with_it(kind: Kind) {
    let mut played = Played::start(kind, "helper").await;
    let helper = played.hears_pid().await;
    played.child.signal(Signal::KILL).unwrap();
    check_signal(played.child.exited().await.unwrap(), Signal::KILL);
    helper.ended().await;

    let mut played = Played::start(kind, "helper").await;
    let helper = Stranger::open(played.hears().await.parse().unwrap());
    drop(played);
    helper.ended().await;
}

async fn ends_with_its_channel(kind: Kind) {
    let grace = Duration::from_millis(10);
    let launch = Launch { kind, grace, ..Launch::exec("deaf") };
    let mut played = Played::launch(launch, "sleep").await;
    assert_eq!(played.hears().await, "ready");
    drop(played.channel);
    check_signal(played.child.exited().await.unwrap(), Signal::KILL);
}

/// The kernel sends the notice of a parent's death when the thread that started the child ends.
async fn starting_thread_may_end(kind: Kind) {
    let runtime = tokio::runtime::Handle::current();
    let start = move || runtime.block_on(Played::start(kind, "echo"));
    let mut played =
        tokio::task::spawn_blocking(|| std::thread::spawn(start).join().unwrap()).await.unwrap();
    for line in ["still", "here"] {
        played.says(line).await;
        assert_eq!(played.hears().await, line);
    }
}

/// A tracer sees the end of a process first.
async fn cannot_be_reaped(kind: Kind) {
    let mut traced = Played::start(kind, "sleep").await;
    assert_eq!(traced.hears().await, "ready");
    let pid = traced.child.pid();
    let mut tracer = Played::start(Kind::Exec, &format!("trace {pid}")).await;
    let answer = tracer.hears().await;
    if answer != "ready" {
        eprintln!("skipped: one process may not trace another here: {answer}");
        return;
    }
    let error = traced.child.kill(Duration::from_millis(100)).await.unwrap_err();
    assert!(matches!(error, WaitError::Unkillable { .. }), "{error:?}");
    let expected =
        format!("process {pid} of `player` does not end 100ms after SIGKILL (Z (zombie)");
    assert!(error.to_string().starts_with(&expected), "{error}");

    drop(tracer);
    check_signal(traced.child.exited().await.unwrap(), Signal::KILL);
}

fn check_signal(ended: Ended, expected: Signal) {
    let Ended::Signal { signal, .. } = ended else { panic!("{ended:?}") };
    assert_eq!(signal, expected.as_raw());
}

/// Waits until a process is stopped, which only its state shows.
pub(crate) async fn until_stopped(pid: i32) {
    let stat = format!("/proc/{pid}/stat");
    while !std::fs::read_to_string(&stat).unwrap().contains(") T ") {
        tokio::task::yield_now().await;
    }
}
