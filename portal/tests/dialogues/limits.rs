//! Limits of dialogues: their duration, the calls that nobody awaits, and data after the answer.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use callsign_portal::{CallError, Handlers, IncomingCall, ItemSender, Request, SendError};
use tokio::{
    io::duplex,
    sync::{Mutex, mpsc},
};
use wire::{CallId, Frame, encode_body};

use crate::{News, begin, begin_over, peer::Peer, soon};

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_dialogue_on_both_sides() {
    let (near, far) = duplex(4096);
    let mut ends = begin_over(near, far).await;
    let within = Duration::from_millis(1500);
    let timed_out = |error| matches!(error, CallError::TimedOut(it) if it == within);

    // Before the dialogue has started.
    let begun = ends.portal.dialogue(Request::new("stubborn", &()).within(within), 1).await;
    assert!(timed_out(begun.unwrap_err()));
    assert_eq!(ends.news.recv().await, Some(News::Dropped));

    // While the caller waits for items, and for ever after.
    let mut dialogue =
        ends.portal.dialogue(Request::new("tidy", &()).within(within), 1).await.unwrap();
    let sender = dialogue.sender();
    assert!(timed_out(dialogue.next::<u64>().await.unwrap_err()));
    assert!(timed_out(dialogue.next::<u64>().await.unwrap_err()));
    assert!(matches!(sender.send(&7).await, Err(SendError::Over)));
    assert_eq!(ends.news.recv().await, Some(News::Told));

    // While the caller is idle: the other side ends the dialogue by itself.
    let dialogue = ends.portal.dialogue(Request::new("tidy", &()).within(within), 1).await.unwrap();
    assert_eq!(ends.news.recv().await, Some(News::Told));
    tokio::time::sleep(within).await;
    assert!(timed_out(dialogue.result::<u64>().await.unwrap_err()));

    let echo =
        ends.portal.dialogue(Request::new("double", &()).within(Duration::MAX), 1).await.unwrap();
    echo.finish();
    assert_eq!(echo.result::<u64>().await.unwrap(), 0);
}

#[tokio::test]
async fn calls_that_nobody_waits_for_are_bounded() {
    let ends = begin().await;
    // Answered calls no longer count.
    for _ in 0..1000 {
        ends.portal.send(Request::new("echo", &7)).unwrap();
        assert_eq!(soon(ends.portal.call::<u64>(Request::new("echo", &7))).await.unwrap(), 7);
    }
    let mut sent = 0;
    let error = loop {
        match ends.portal.send(Request::new("stubborn", &())) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 10_000, "there is no bound");
    };
    assert!(matches!(error, CallError::TooMany(bound) if bound == sent), "{sent}: {error}");
    // They keep no other call waiting.
    assert_eq!(soon(ends.portal.call::<u64>(Request::new("echo", &7))).await.unwrap(), 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn items_sent_after_the_end_of_a_handler_follow_its_answer() {
    let (sender, told) = mpsc::channel(1);
    let told = Arc::new(Mutex::new(told));
    let handlers = Handlers::new(move |mut call: IncomingCall| {
        let (sender, told) = (sender.clone(), told.clone());
        async move {
            if call.method() == "tell" {
                call.start(&(), 0).unwrap();
                let items: ItemSender = call.sender();
                while let Some(id) = told.lock().await.recv().await {
                    items.send(&id).await.unwrap();
                }
            } else {
                call.offload().await;
                call.keep(Teller(sender, call.args()?));
            }
            Ok(Bytes::from_static(b"\xc0"))
        }
    });
    let mut peer = Peer::calling(handlers).await;
    peer.say(&[call(0, "tell", b""), Frame::Credit { id: 0, items: 1000 }]).await;
    assert!(peer.hear().await.unwrap().starts_with("Started"));
    for id in (2..1000).step_by(2) {
        let body = encode_body(&id);
        peer.say(&[call(id, "work", &body)]).await;
        let [first, second] = [peer.hear().await.unwrap(), peer.hear().await.unwrap()];
        assert!(first.starts_with(&format!("Return {{ id: {id},")), "{first}");
        assert_eq!(second, format!("{:?}", Frame::Item { id: 0, body: &body }));
    }
}

fn call<'a>(id: CallId, method: &'a str, body: &'a [u8]) -> Frame<'a> {
    Frame::Call { id, method, body, within_ms: None }
}

/// Sends its number when it is dropped.
struct Teller(mpsc::Sender<u64>, u64);

impl Drop for Teller {
    fn drop(&mut self) {
        self.0.try_send(self.1).unwrap();
    }
}
