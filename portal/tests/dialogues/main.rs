//! Dialogues and async handlers: items in both directions, cancellation, deadlines, panics, and
//! peers that break the rules.

#![expect(clippy::unwrap_used, reason = "a test may unwrap")]

use std::{future::pending, slice, time::Duration};

use bytes::{Bytes, BytesMut};
use callsign_portal::{
    CallError, Closed, Handlers, IncomingCall, Limits, NoService, Options, Portal, Request,
    SendError, Service, accept, connect,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, duplex},
    net::UnixStream,
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};
use transport::Flows;
use wire::{ErrorKind, Frame, RemoteError, encode_body};

use self::peer::Peer;

mod handlers;
mod limits;
mod peer;

/// The events that the handlers of these tests report.
#[derive(Debug, Eq, PartialEq)]
enum News {
    /// A handler saw that it was asked to end.
    Told,
    /// A handler was dropped.
    Dropped,
}

async fn handle(mut call: IncomingCall, news: mpsc::Sender<News>) -> Result<Bytes, RemoteError> {
    let answer = |value: u64| Ok(Bytes::from(encode_body(&value)));
    match call.method() {
        "echo" => Ok(call.body().clone()),
        "sum" => {
            call.start("ready", call.args()?).unwrap();
            let mut sum = 0;
            while let Some(number) = call.next::<u64>().await.unwrap() {
                sum += number;
            }
            answer(sum)
        }
        "double" => {
            call.start(&(), 3).unwrap();
            let mut count = 0;
            while let Some(number) = call.next::<u64>().await.unwrap() {
                call.send(&(2 * number)).await.unwrap();
                count += 1;
            }
            call.finish();
            answer(count)
        }
        "mirror" => {
            call.start(&(), 2).unwrap();
            while let Some(body) = call.next_encoded().await {
                call.sender().send_encoded(body).await.unwrap();
            }
            answer(0)
        }
        "flood" => {
            call.start(&(), 0).unwrap();
            let items = call.sender();
            while items.send_encoded(Bytes::from_static(&[7; 100_000])).await.is_ok() {}
            call.cancelled().cancelled().await;
            news.try_send(News::Told).unwrap();
            answer(0)
        }
        "finish early" => {
            call.start(&(), 1).unwrap();
            call.finish();
            assert!(matches!(call.send(&1).await, Err(SendError::Over)));
            answer(call.next::<u64>().await.unwrap().unwrap())
        }
        "tidy" => {
            call.start(&(), 0).unwrap();
            call.cancelled().cancelled().await;
            news.try_send(News::Told).unwrap();
            answer(0)
        }
        "stubborn" => {
            let _told = Told(news);
            pending().await
        }
        "refuse" => {
            call.start(&(), 1).unwrap();
            Err(RemoteError::new(ErrorKind::Denied, "no").with_payload("Why", &42_u8))
        }
        "panic" => panic!("the roof is on {}", "fire"),
        _ => Err(call.unknown()),
    }
}

struct Told(mpsc::Sender<News>);

impl Drop for Told {
    fn drop(&mut self) {
        drop(self.0.try_send(News::Dropped));
    }
}

struct Ends {
    portal: Portal,
    news: mpsc::Receiver<News>,
    drivers: JoinSet<Closed>,
}

async fn begin() -> Ends {
    let (near, far) = UnixStream::pair().unwrap();
    begin_over(near, far).await
}

async fn begin_over<IO: AsyncRead + AsyncWrite + Flows + Unpin + Send + 'static>(
    near: IO,
    far: IO,
) -> Ends {
    let (sender, news) = mpsc::channel(16);
    let handlers = Handlers::new(move |call| handle(call, sender.clone()));
    let (portal, drivers) = connect_to(near, far, handlers).await;
    Ends { portal, news, drivers }
}

/// Connects two ends, the far one with a service.
async fn connect_to<IO: AsyncRead + AsyncWrite + Flows + Unpin + Send + 'static>(
    near: IO,
    far: IO,
    service: impl Service + Unpin + Send + 'static,
) -> (Portal, JoinSet<Closed>) {
    let (dialed, accepted) = tokio::try_join!(
        connect(near, Options::default(), NoService),
        accept(far, Options::default(), service),
    )
    .unwrap();
    let mut drivers = JoinSet::new();
    drivers.spawn(dialed.driver);
    drivers.spawn(accepted.driver);
    (dialed.portal, drivers)
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(240), future).await.expect("it hangs")
}

#[tokio::test]
async fn items_flow_both_ways_whatever_the_windows() {
    let (near, far) = duplex(100);
    for ends in [begin().await, begin_over(near, far).await] {
        for window in [1, 2, 3, 64] {
            let dialogue = ends.portal.dialogue(Request::new("sum", &window), 1).await.unwrap();
            assert_eq!(dialogue.started::<String>().unwrap(), "ready");
            for number in 0..1000_u64 {
                soon(dialogue.send(&number)).await.unwrap();
            }
            dialogue.finish();
            assert!(matches!(dialogue.send(&1).await, Err(SendError::Over)));
            assert_eq!(soon(dialogue.result::<u64>()).await.unwrap(), 499_500);

            let mut dialogue =
                ends.portal.dialogue(Request::new("double", &()), window).await.unwrap();
            let items = dialogue.sender();
            let sending = async {
                for number in 0..1000_u64 {
                    items.send(&number).await.unwrap();
                }
                items.finish();
            };
            let taking = async {
                for number in 0..1000 {
                    assert_eq!(dialogue.next::<u64>().await.unwrap(), Some(2 * number));
                }
                assert_eq!(dialogue.next::<u64>().await.unwrap(), None);
            };
            soon(async { tokio::join!(sending, taking) }).await;
            assert_eq!(soon(dialogue.result::<u64>()).await.unwrap(), 1000);
        }
    }
}

#[tokio::test]
async fn long_items_and_bodies_arrive_whole() {
    let (near, far) = duplex(1000);
    for ends in [begin().await, begin_over(near, far).await] {
        let mut mirror = ends.portal.dialogue(Request::new("mirror", &()), 2).await.unwrap();
        let items = mirror.sender();
        for length in [0, 1, 4095, 4096, 65_536, 1_000_003] {
            let body: Bytes = (0..length).map(|it| (it % 251) as u8).collect::<Vec<_>>().into();
            let echoed =
                soon(ends.portal.call_encoded(Request::encoded("echo", &body))).await.unwrap();
            assert!(echoed == body, "a body of {length} bytes");
            soon(items.send_encoded(body.clone())).await.unwrap();
            let mirrored = soon(mirror.next_encoded()).await.unwrap().unwrap();
            assert!(mirrored == body, "an item of {length} bytes");
        }
        let too_long = Bytes::from(vec![0; wire::FRAME_BYTES_MAX]);
        assert!(matches!(items.send_encoded(too_long).await, Err(SendError::TooLong(_))));
    }
}

#[tokio::test]
async fn the_callee_may_end_its_items_before_the_call() {
    let ends = begin().await;
    let mut dialogue = ends.portal.dialogue(Request::new("finish early", &()), 1).await.unwrap();
    assert_eq!(soon(dialogue.next::<u64>()).await.unwrap(), None);
    dialogue.send(&9_u64).await.unwrap();
    assert_eq!(soon(dialogue.result::<u64>()).await.unwrap(), 9);
}

#[tokio::test]
async fn an_error_ends_a_dialogue_and_brings_the_callees_own_value() {
    let ends = begin().await;
    let mut dialogue = ends.portal.dialogue(Request::new("refuse", &()), 1).await.unwrap();
    let next = soon(dialogue.next::<u64>()).await;
    let (Err(CallError::Remote(first)), Err(CallError::Remote(second))) =
        (next, soon(dialogue.result::<u64>()).await)
    else {
        panic!("the call is refused");
    };
    assert_eq!(first, second);
    assert_eq!((first.kind.clone(), first.payload("Why")), (ErrorKind::Denied, Ok(Some(42_u8))));
}

#[tokio::test]
async fn a_dropped_dialogue_tells_its_handler_at_once() {
    let mut ends = begin().await;
    drop(ends.portal.dialogue(Request::new("tidy", &()), 1).await.unwrap());
    assert_eq!(soon(ends.news.recv()).await, Some(News::Told));
    // The connection continues.
    assert_eq!(soon(ends.portal.call::<u64>(Request::new("echo", &7))).await.unwrap(), 7);
}

#[tokio::test]
async fn a_cancel_waits_for_no_megabytes_of_items() {
    let mut ends = begin().await;
    // There is credit for 6.5 GB, and nobody reads any of it.
    let flood = ends.portal.dialogue(Request::new("flood", &()), u16::MAX).await.unwrap();
    assert_eq!(soon(ends.portal.call::<u64>(Request::new("echo", &7))).await.unwrap(), 7);
    drop(flood);
    assert_eq!(soon(ends.news.recv()).await, Some(News::Told));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_does_not_end_is_dropped_a_grace_later() {
    let (near, far) = duplex(4096);
    let mut ends = begin_over(near, far).await;
    let call = ends.portal.call::<()>(Request::new("stubborn", &()));
    assert!(timeout(Duration::from_millis(1), call).await.is_err());
    assert_eq!(ends.news.recv().await, Some(News::Dropped));

    // The end of the connection does the same.
    let portal = ends.portal.clone();
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { portal.call::<()>(Request::new("stubborn", &())).await });
    tokio::time::sleep(Duration::from_millis(1)).await;
    ends.portal.close("done");
    assert!(matches!(waiting.join_next().await, Some(Ok(Err(CallError::Closed(_))))));
    assert_eq!(ends.news.recv().await, Some(News::Dropped));
    while let Some(closed) = ends.drivers.join_next().await {
        closed.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_call_on_both_sides() {
    let (near, far) = duplex(4096);
    let mut ends = begin_over(near, far).await;
    let within = Duration::from_millis(1500);
    let error =
        ends.portal.call::<()>(Request::new("stubborn", &()).within(within)).await.unwrap_err();
    assert!(matches!(error, CallError::TimedOut(it) if it == within));
    assert_eq!(ends.news.recv().await, Some(News::Dropped));
    assert_eq!(
        ends.portal.call::<u64>(Request::new("echo", &7).within(Duration::MAX)).await.unwrap(),
        7
    );
}

#[tokio::test(start_paused = true)]
async fn a_handler_keeps_to_the_deadline_by_itself() {
    let (mut peer, _news) = caller(Limits::default()).await;
    peer.say(&[Frame::Call { id: 0, method: "stubborn", body: b"", within_ms: Some(20) }]).await;
    peer.say(&[Frame::Call { id: 2, method: "echo", body: b"\x07", within_ms: Some(u64::MAX) }])
        .await;
    assert!(peer.hear().await.unwrap().starts_with("Return { id: 2"));
    let heard = peer.hear().await.unwrap();
    assert!(heard.starts_with("Error { id: 0") && heard.contains("TimedOut"), "{heard}");
}

#[tokio::test]
async fn a_panic_fails_its_call_alone() {
    let ends = begin().await;
    let error = soon(ends.portal.call::<()>(Request::new("panic", &()))).await.unwrap_err();
    let CallError::Remote(error) = error else { panic!("{error}") };
    assert_eq!(error.kind, ErrorKind::Internal);
    assert!(error.message.contains("the roof is on fire"), "{error}");
    assert_eq!(soon(ends.portal.call::<u64>(Request::new("echo", &7))).await.unwrap(), 7);
}

#[tokio::test]
async fn calls_beyond_the_bound_are_refused() {
    let (mut peer, _news) = caller(Limits { calls: 2, ..Limits::default() }).await;
    let call = |id, method| Frame::Call { id, method, body: b"\x07", within_ms: None };
    peer.say(&[call(0, "stubborn"), call(2, "stubborn"), call(4, "echo")]).await;
    let heard = peer.hear().await.unwrap();
    assert!(heard.starts_with("Error { id: 4") && heard.contains("LimitReached"), "{heard}");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_breaks_the_rules_loses_its_connection() {
    let item = Frame::Item { id: 0, body: b"\x07" };
    let end = Frame::End { id: 0 };
    let check = async |method, after: &str, frames: &[Frame<'_>], expected: &str| {
        let (mut peer, _news) = caller(Limits::default()).await;
        peer.say(&[Frame::Call { id: 0, method, body: b"\x02", within_ms: None }]).await;
        while !after.is_empty() && !peer.hear().await.unwrap().starts_with(after) {}
        peer.say(frames).await;
        peer.closed(expected).await;
    };
    check("stubborn", "", slice::from_ref(&item), "takes no items yet").await;
    let three = [item.clone(), item.clone(), item.clone()];
    check("sum", "Credit", &three, "more items in call 0 than credit").await;
    check("sum", "Credit", &[end.clone(), item], "behind the last").await;
    check("sum", "Credit", &[end.clone(), end], "have ended before").await;
}

#[tokio::test(start_paused = true)]
async fn a_callee_that_breaks_the_rules_loses_its_connection() {
    let started = Frame::Started { id: 0, body: b"\xc0" };
    let item = Frame::Item { id: 0, body: b"\x07" };
    let check = async |window, frames: &[Frame<'_>], expected: &str| {
        let (mut peer, portal) = Peer::answering().await;
        let mut calls = JoinSet::new();
        calls.spawn(async move {
            let dialogue = portal.dialogue(Request::new("any", &()), window).await?;
            dialogue.result::<()>().await
        });
        assert!(peer.hear().await.unwrap().starts_with("Call"));
        peer.say(frames).await;
        peer.closed(expected).await;
        calls.join_next().await.unwrap().unwrap().unwrap_err();
    };
    check(1, &[started.clone(), started.clone()], "has started before").await;
    check(1, &[started.clone(), item.clone(), item.clone()], "than credit was given").await;
    check(2, &[started, Frame::End { id: 0 }, item], "behind the last").await;
}

#[tokio::test]
async fn stray_frames_and_huge_credit_do_no_harm() {
    let (mut peer, _news) = caller(Limits::default()).await;
    peer.say(&[Frame::Call { id: 2, method: "tidy", body: b"", within_ms: None }]).await;
    for id in [0, 1, 2, 4, u64::MAX] {
        for _ in 0..3 {
            peer.say(&[Frame::Credit { id, items: u32::MAX }]).await;
        }
        if id != 2 {
            peer.say(&[Frame::Item { id, body: b"\x07" }, Frame::End { id }]).await;
            peer.say(&[Frame::Started { id, body: b"" }, Frame::Return { id, body: b"" }]).await;
        }
    }
    peer.say(&[Frame::Call { id: 6, method: "echo", body: b"\x07", within_ms: None }]).await;
    while !peer.hear().await.unwrap().starts_with("Return { id: 6") {}
}

#[tokio::test]
async fn two_sides_that_both_pipeline_do_not_block_each_other() {
    let (near, far) = UnixStream::pair().unwrap();
    let handlers = || {
        let (sender, _) = mpsc::channel(16);
        Handlers::new(move |call| handle(call, sender.clone()))
    };
    let (dialed, accepted) = tokio::try_join!(
        connect(near, Options::default(), handlers()),
        accept(far, Options::default(), handlers()),
    )
    .unwrap();
    let (mut drivers, mut calls) = (JoinSet::new(), JoinSet::new());
    drivers.spawn(dialed.driver);
    drivers.spawn(accepted.driver);
    // Each side has 16 MiB of answers to send before it can have read any.
    for portal in [dialed.portal, accepted.portal] {
        for _ in 0..256 {
            let portal = portal.clone();
            calls.spawn(async move {
                portal.call_encoded(Request::encoded("echo", &[7; 64 * 1024])).await
            });
        }
    }
    for answer in soon(calls.join_all()).await {
        assert_eq!(answer.unwrap().len(), 64 * 1024);
    }
}

#[tokio::test]
async fn data_from_a_peer_that_does_not_read_is_bounded() {
    let call = Frame::Call { id: 0, method: "echo", body: &[7; 40_000], within_ms: None };
    for frame in [Frame::Ping { nonce: 7 }, call] {
        let (mut peer, _news) = caller(Limits::default()).await;
        let mut sent = 0;
        loop {
            let mut bytes = BytesMut::new();
            match frame {
                Frame::Call { method, body, .. } => {
                    Frame::Call { id: 2 * sent, method, body, within_ms: None }.encode(&mut bytes)
                }
                ref other => other.encode(&mut bytes),
            }
            .unwrap();
            // When the driver cannot write any more, the other side has stopped reading.
            let writing = timeout(Duration::from_millis(300), peer.io.write_all(&bytes));
            let Ok(written) = writing.await else { break };
            written.unwrap();
            sent += 1;
            assert!(sent < 10_000, "{sent} frames were taken in");
        }
    }
}

/// Makes a peer that calls the handlers of these tests.
async fn caller(limits: Limits) -> (Peer, mpsc::Receiver<News>) {
    let (sender, news) = mpsc::channel(16);
    let handlers = Handlers::with_limits(move |call| handle(call, sender.clone()), limits);
    (Peer::calling(handlers).await, news)
}
