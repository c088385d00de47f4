//! A child's output is always read, and never blocks anybody.

use std::sync::{Arc, Mutex};

use callsign_process::{Ended, Kind, Launch, Output, StdStream, TAIL_BYTES_MAX};
use libtest_mimic::Trial;

use crate::support::{Played, of_each_kind};

pub(crate) fn trials() -> Vec<Trial> {
    of_each_kind(&[
        ("lines_come_one_by_one", |kind| Box::pin(lines(kind))),
        ("a_flood_blocks_nobody", |kind| Box::pin(flood(kind))),
        ("a_helper_with_the_pipes_holds_up_nobody", |kind| Box::pin(held_open(kind))),
    ])
}

async fn lines(kind: Kind) {
    let (output, told) = sink();
    let played = Played::launch(Launch { kind, output, ..Launch::exec("chat") }, "chat").await;
    assert_eq!(played.child.exited().await.unwrap(), Ended::Code(0));
    played.child.output_read().await;
    let told = told.lock().unwrap();
    let of = |stream| told.iter().filter(move |it| it.0 == stream).map(|it| it.1.as_str());
    assert_eq!(of(StdStream::Output).collect::<Vec<_>>(), ["one", "two", "four"]);
    assert_eq!(of(StdStream::Error).collect::<Vec<_>>(), ["three"]);
    assert_eq!(played.child.error_tail(), "three\n");
}

/// The child writes more than a pipe holds without any newline, and then dies.
async fn flood(kind: Kind) {
    const BYTES: usize = 3 * TAIL_BYTES_MAX + 5;
    for end in ["abort", "return"] {
        let (output, told) = sink();
        let launch = Launch { kind, output, ..Launch::exec("flood") };
        let played = Played::launch(launch, &format!("flood {BYTES} {end}")).await;
        let ended = played.child.exited().await.unwrap();
        assert_eq!(ended == Ended::Code(0), end == "return", "{ended:?}");
        played.child.output_read().await;
        let told = told.lock().unwrap();
        let bytes = |stream| -> usize {
            told.iter().filter(|it| it.0 == stream).map(|it| it.1.len()).sum()
        };
        assert_eq!(bytes(StdStream::Error), BYTES);
        assert_eq!(bytes(StdStream::Output), BYTES);
        assert_eq!(played.child.error_tail(), "e".repeat(TAIL_BYTES_MAX));
    }
}

async fn held_open(kind: Kind) {
    let mut played = Played::start(kind, "leave helper").await;
    let helper = played.hears_pid().await;
    assert_eq!(played.child.exited().await.unwrap(), Ended::Code(0));
    played.child.output_read().await;
    helper.signal(callsign_process::Signal::KILL);
    helper.ended().await;
}

type Told = Arc<Mutex<Vec<(StdStream, String)>>>;

fn sink() -> (Output, Told) {
    let told = Told::default();
    let tell = Arc::clone(&told);
    let output = Output::To(Arc::new(move |line| {
        tell.lock().unwrap().push((line.stream, line.text.to_owned()));
    }));
    (output, told)
}
