//! Two ends of a conversation, over memory.

#![expect(clippy::unwrap_used, reason = "a test may unwrap")]

use std::{collections::BTreeMap, future::poll_fn, pin::pin, task::Context, time::Duration};

use bytes::BytesMut;
use callsign_portal::{
    Call, CallError, Closed, Connected, HandshakeError, Heartbeat, NoService, OnSilence, Options,
    Portal, Replies, Request, Service, TURN_STEPS, accept, connect,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};
use wire::{CallId, ErrorKind, Frame, FrameReader, preface};

/// Echoes, counts, or waits for ever; tells of cancelled calls.
struct Playground {
    streams: BTreeMap<CallId, Counting>,
    cancelled: mpsc::Sender<CallId>,
}

struct Counting {
    next: u64,
    until: u64,
    credit: u32,
}

impl Service for Playground {
    fn call(&mut self, call: Call<'_>, replies: &mut Replies) {
        match call.method {
            "echo" => replies.finish_with(call.id, |bytes| bytes.extend_from_slice(call.body)),
            "wait" => {}
            "count" => match call.args::<u64>() {
                Ok(until) => {
                    replies.started(call.id, &until);
                    self.streams.insert(call.id, Counting { next: 0, until, credit: 0 });
                }
                Err(error) => replies.fail(call.id, error),
            },
            _ => replies.fail(call.id, call.unknown()),
        }
    }

    fn credit(&mut self, id: CallId, items: u32, _: &mut Replies) {
        self.streams.entry(id).and_modify(|it| it.credit += items);
    }

    fn cancel(&mut self, id: CallId, _: &mut Replies) {
        self.streams.remove(&id);
        self.cancelled.try_send(id).unwrap();
    }

    fn pump(&mut self, _: &mut Context<'_>, replies: &mut Replies) {
        self.streams.retain(|id, stream| {
            while stream.credit > 0 && stream.next < stream.until {
                replies.item(*id, &stream.next);
                stream.next += 1;
                stream.credit -= 1;
            }
            if stream.next == stream.until {
                replies.finish(*id, &());
            }
            stream.next < stream.until
        });
    }
}

struct Ends {
    portal: Portal,
    cancelled: mpsc::Receiver<CallId>,
    drivers: JoinSet<Closed>,
}

async fn begin() -> Ends {
    let (near, far) = duplex(4096);
    let (cancelled_sender, cancelled) = mpsc::channel(16);
    let service = Playground { streams: BTreeMap::new(), cancelled: cancelled_sender };
    let (dialed, accepted) = tokio::try_join!(
        connect(near, Options::default(), NoService),
        accept(far, Options::default(), service),
    )
    .unwrap();
    let mut drivers = JoinSet::new();
    drivers.spawn(dialed.driver);
    drivers.spawn(accepted.driver);
    Ends { portal: dialed.portal, cancelled, drivers }
}

#[tokio::test]
async fn calls_are_answered_in_any_number() {
    let ends = begin().await;
    let mut calls = JoinSet::new();
    for number in 0..3000_u64 {
        let portal = ends.portal.clone();
        calls.spawn(async move {
            portal.call::<u64>(Request::new("echo", &number)).await.unwrap() == number
        });
    }
    assert!(calls.join_all().await.into_iter().all(|it| it));

    let error = ends.portal.call::<u64>(Request::new("dance", &())).await.unwrap_err();
    assert!(matches!(error, CallError::Remote(it) if it.kind == ErrorKind::NoSuchMethod));
    let error = ends.portal.call::<u64>(Request::new("count", &"many")).await.unwrap_err();
    assert!(matches!(error, CallError::Remote(it) if it.kind == ErrorKind::Invalid));
    let error = ends.portal.call::<u64>(Request::new("echo", &"text")).await.unwrap_err();
    assert!(matches!(error, CallError::Unreadable(_)));
}

#[tokio::test]
async fn items_flow_by_credit_and_all_arrive() {
    let ends = begin().await;
    for window in [1, 2, 7, 64] {
        let (started, mut items) =
            ends.portal.stream::<u64, u64>(Request::new("count", &1000_u64), window).await.unwrap();
        assert_eq!(started, 1000);
        for expected in 0..1000 {
            assert_eq!(items.next().await.unwrap(), Some(expected));
        }
        assert_eq!(items.next().await.unwrap(), None);
        assert_eq!(items.next().await.unwrap(), None);
    }
}

#[tokio::test]
async fn dropped_calls_are_cancelled() {
    let mut ends = begin().await;
    let call = ends.portal.call::<()>(Request::new("wait", &()));
    assert!(timeout(Duration::from_millis(1), call).await.is_err());
    assert!(ends.cancelled.recv().await.is_some());

    let (_, items) =
        ends.portal.stream::<u64, u64>(Request::new("count", &u64::MAX), 4).await.unwrap();
    drop(items);
    assert!(ends.cancelled.recv().await.is_some());
}

#[tokio::test]
async fn a_goodbye_reaches_the_other_side_and_ends_what_waits() {
    let mut ends = begin().await;
    let portal = ends.portal.clone();
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { portal.call::<()>(Request::new("wait", &())).await });
    tokio::task::yield_now().await;

    ends.portal.close("done");
    let mut reasons = Vec::new();
    while let Some(closed) = ends.drivers.join_next().await {
        reasons.push(closed.unwrap().to_string());
    }
    reasons.sort();
    let expected =
        ["the connection was closed on this side", "the peer closed the connection: done"];
    assert_eq!(reasons, expected);
    assert!(matches!(waiting.join_next().await, Some(Ok(Err(CallError::Closed(_))))));
    assert!(matches!(
        ends.portal.call::<()>(Request::new("echo", &())).await,
        Err(CallError::Closed(_))
    ));
    assert!(matches!(ends.portal.closed().await, Closed::Here));
}

/// A long answer arrives together with the end of the connection, before this side has read it, and
/// while this side has something to send.
#[tokio::test]
async fn data_from_before_a_peers_end_is_read() {
    let (near, far) = duplex(1024 * 1024);
    let (dialed, far) = tokio::join!(connect(near, Options::default(), NoService), greet(far));
    let Connected { portal, mut driver, .. } = dialed.unwrap();
    let mut calls = JoinSet::new();
    let calling = portal.clone();
    calls.spawn(async move { calling.call_encoded(Request::encoded("echo", b"")).await });
    let (mut far, mut reader) = (far, FrameReader::default());
    let mut greeting = [0; preface::PREFACE_BYTES];
    far.read_exact(&mut greeting).await.unwrap();
    let id = 'found: loop {
        assert!(timeout(Duration::from_millis(1), &mut driver).await.is_err());
        assert_ne!(far.read_buf(reader.buffer()).await.unwrap(), 0);
        while let Some(frame) = reader.next().unwrap() {
            if let Frame::Call { id, .. } = Frame::decode(&frame).unwrap() {
                break 'found id;
            }
        }
    };

    let body = vec![7; 512 * 1024];
    let mut answer = BytesMut::new();
    Frame::Return { id, body: &body }.encode(&mut answer).unwrap();
    far.write_all(&answer).await.unwrap();
    drop(far);
    portal.send(Request::new("more", &())).unwrap();

    assert!(matches!(driver.await, Closed::Broken(_)));
    assert!(calls.join_next().await.unwrap().unwrap().unwrap() == body);
}

#[tokio::test(start_paused = true)]
async fn hostile_handshakes_end_with_a_reason() {
    let oversized = [&preface::preface()[..], &u32::MAX.to_le_bytes()].concat();
    let ping = {
        let mut bytes = BytesMut::from(&preface::preface()[..]);
        Frame::Ping { nonce: 1 }.encode(&mut bytes).unwrap();
        bytes.to_vec()
    };
    let newer = b"\xC5SGN\r\n\x09\x00".to_vec();
    let check = async |bytes: &[u8], stays: bool, expected: &str| {
        let (near, mut far) = duplex(4096);
        far.write_all(bytes).await.unwrap();
        let far = stays.then_some(far);
        let result = accept(near, Options::default(), NoService).await;
        assert_eq!(result.map(drop).unwrap_err().to_string(), expected);
        drop(far);
    };
    let other = "the peer does not speak callsign's protocol";
    check(b"GET / HTTP/1.1\r\n\r\n", true, other).await;
    let tls = "the peer speaks TLS, and this side does not: does the endpoint lack `/tls`?";
    check(b"\x16\x03\x01\x02", true, tls).await;
    check(b"\xFF", true, other).await;
    let version = "the peer speaks version 9 of callsign's protocol, and this is version 1";
    check(&newer, true, version).await;
    check(&oversized, true, "the peer broke the protocol").await;
    check(&ping, true, "the peer broke the protocol").await;
    check(b"\xC5SG", true, "the peer did not complete the handshake within 5s").await;
    check(b"", true, "the peer did not complete the handshake within 5s").await;
    check(&preface::preface(), false, "the peer closed the connection during the handshake").await;
}

#[tokio::test]
async fn another_version_is_told_ours() {
    let (near, mut far) = duplex(4096);
    far.write_all(b"\xC5SGN\r\n\x09\x00").await.unwrap();
    let result = accept(near, Options::default(), NoService).await;
    assert!(matches!(result, Err(HandshakeError::Preface(_))));
    let mut said = Vec::new();
    far.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, preface::preface());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_falls_silent_is_given_up() {
    let (near, far) = duplex(4096);
    let options = Options { heartbeat: Some(Heartbeat::default()), ..Options::default() };
    let (dialed, accepted) = tokio::try_join!(
        connect(near, options, NoService),
        accept(far, Options::default(), NoService),
    )
    .unwrap();
    // The other end is never polled, as if its process were stopped.
    let Connected { driver: stopped, .. } = accepted;
    assert!(matches!(dialed.driver.await, Closed::Silent(it) if it == Duration::from_millis(2700)));
    drop(stopped);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_falls_silent_is_told_of_where_that_is_asked_for() {
    let (near, far) = duplex(4096);
    let options = Options {
        heartbeat: Some(Heartbeat::default()),
        on_silence: OnSilence::Tell,
        ..Options::default()
    };
    let (told, mut hears) = mpsc::channel(8);
    let (watching, accepted) = tokio::try_join!(
        connect(near, options, Witness(told)),
        accept(far, Options::default(), NoService),
    )
    .unwrap();
    let mut drivers = JoinSet::new();
    drivers.spawn(watching.driver);
    let mut stopped = accepted.driver;
    for _ in 0..2 {
        // The other end is not polled for an hour, as if its process were stopped.
        assert_eq!(hears.recv().await.unwrap(), "silent");
        assert!(timeout(Duration::from_secs(3600), hears.recv()).await.is_err());
        // Then it continues, and finds the pings that it was sent.
        let goes_on = timeout(Duration::from_secs(10), &mut stopped);
        assert!(goes_on.await.is_err());
        assert_eq!(hears.recv().await.unwrap(), "heard");
    }
    drop(stopped);
    assert!(matches!(drivers.join_next().await, Some(Ok(Closed::ByPeer))));
}

/// Introduces itself, and reads the other side's hello.
async fn greeted_by_hand(far: &mut DuplexStream) {
    let mut greeting = BytesMut::from(&preface::preface()[..]);
    Frame::Hello(Box::default()).encode(&mut greeting).unwrap();
    far.write_all(&greeting).await.unwrap();
}

/// Returns the reason with which the other side closes.
async fn goodbye(far: &mut DuplexStream) -> String {
    let (mut said, mut reader) = (Vec::new(), FrameReader::default());
    far.read_to_end(&mut said).await.unwrap();
    reader.extend_from_slice(&said);
    reader.take(preface::PREFACE_BYTES).unwrap();
    while let Some(frame) = reader.next().unwrap() {
        if let Frame::Goodbye { reason, .. } = Frame::decode(&frame).unwrap() {
            return reason.to_owned();
        }
    }
    panic!("it has said nothing");
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_has_begun_comes_to_its_end_in_time() {
    let (near, mut far) = duplex(4096);
    let frame_timeout = Some(Duration::from_secs(10));
    let options = Options { frame_timeout, ..Options::default() };
    greeted_by_hand(&mut far).await;
    let Connected { driver, portal: _portal } = accept(near, options, NoService).await.unwrap();
    let mut drivers = JoinSet::new();
    drivers.spawn(driver);
    // Between frames the peer may take its time.
    sleep(Duration::from_secs(3600)).await;
    let mut ping = BytesMut::new();
    Frame::Ping { nonce: 7 }.encode(&mut ping).unwrap();
    let last = ping.split_off(ping.len() - 1);
    for _ in 0..3 {
        far.write_all(&ping).await.unwrap();
        sleep(Duration::from_secs(9)).await;
        far.write_all(&last).await.unwrap();
    }
    // A frame that trickles in without end gets no more time.
    far.write_all(&1000_u32.to_le_bytes()).await.unwrap();
    for _ in 0..9 {
        sleep(Duration::from_secs(1)).await;
        far.write_all(&[0xc0]).await.unwrap();
    }
    assert!(drivers.try_join_next().is_none());
    assert!(matches!(drivers.join_next().await, Some(Ok(Closed::Protocol(_)))));
    assert_eq!(goodbye(&mut far).await, "a frame that was incomplete 10s after its first byte");
}

#[tokio::test]
async fn a_longer_frame_than_is_let_in_is_refused_with_a_word() {
    let (near, mut far) = duplex(4096);
    greeted_by_hand(&mut far).await;
    let options = Options { frame_bytes_max: 1000, ..Options::default() };
    let Connected { driver, portal: _portal } = accept(near, options, NoService).await.unwrap();
    far.write_all(&1001_u32.to_le_bytes()).await.unwrap();
    assert!(matches!(driver.await, Closed::Protocol(_)));
    assert_eq!(goodbye(&mut far).await, "a frame of 1001 bytes, where 1000 are allowed");
}

/// However much has arrived for one call, other calls run in between. The answers of a few turns
/// come together, but not all of them wait for the last.
#[tokio::test]
async fn a_connection_works_in_turns() {
    let (near, mut far) = duplex(1024 * 1024);
    greeted_by_hand(&mut far).await;
    let Connected { driver, portal: _portal } =
        accept(near, Options::default(), Laborious).await.unwrap();
    let mut calls = BytesMut::new();
    for id in 0..20 {
        Frame::Call { id: 2 * id, method: "x", body: b"", within_ms: None }
            .encode(&mut calls)
            .unwrap();
    }
    far.write_all(&calls).await.unwrap();
    let mut driver = pin!(driver);
    let (mut turns, mut parts) = (0, Vec::new());
    let works = poll_fn(|cx| {
        turns += 1;
        driver.as_mut().poll(cx)
    });
    let answered = async {
        let (mut bytes, mut reader) = (BytesMut::new(), FrameReader::default());
        while parts.iter().sum::<usize>() < 20 {
            bytes.clear();
            bytes.reserve(4096);
            far.read_buf(&mut bytes).await.unwrap();
            reader.extend_from_slice(&bytes);
            if parts.is_empty() {
                reader.take(preface::PREFACE_BYTES).unwrap();
            }
            let mut answers = 0;
            while let Some(frame) = reader.next().unwrap() {
                answers += usize::from(matches!(Frame::decode(&frame), Ok(Frame::Return { .. })));
            }
            parts.push(answers);
        }
    };
    tokio::select! {
        _ = works => panic!("the connection has ended"),
        () = answered => {}
    }
    assert!(turns >= 10, "20 answers took {turns} turns");
    let answers: Vec<_> = parts.into_iter().filter(|it| *it > 0).collect();
    assert_eq!(answers, [8, 8, 4]);
}

/// The calls that have arrived together are shown to a service before the first of them, each once, as
/// far as it looks.
#[tokio::test]
async fn a_service_can_look_ahead_at_the_calls_that_have_arrived() {
    let (near, mut far) = duplex(1024 * 1024);
    greeted_by_hand(&mut far).await;
    let (noted, mut notes) = mpsc::channel(100);
    let Connected { driver, portal: _portal } =
        accept(near, Options::default(), Foresighted(noted)).await.unwrap();
    let mut calls = BytesMut::new();
    for (id, method) in [(0, "x"), (2, "x"), (4, "x"), (6, "y"), (8, "x"), (10, "x")] {
        Frame::Call { id, method, body: b"", within_ms: None }.encode(&mut calls).unwrap();
    }
    let mut late = BytesMut::new();
    Frame::Call { id: 12, method: "x", body: b"", within_ms: None }.encode(&mut late).unwrap();
    far.write_all(&calls).await.unwrap();
    let mut drivers = JoinSet::new();
    drivers.spawn(driver);
    let mut seen = Vec::new();
    while seen.len() < 11 {
        seen.push(notes.recv().await.unwrap());
    }
    // One that comes alone needs no look ahead.
    far.write_all(&late).await.unwrap();
    seen.push(notes.recv().await.unwrap());
    let (ahead, called) = ("ahead", "called");
    let expected = [
        vec![(ahead, 0), (ahead, 2), (called, 0), (called, 2)],
        vec![(ahead, 4), (called, 4), (called, 6)],
        vec![(ahead, 8), (ahead, 10), (called, 8), (called, 10), (called, 12)],
    ];
    assert_eq!(seen, expected.concat());
}

/// Tells of the calls that it is shown, up to two of the method `x`, and of those that it gets.
struct Foresighted(mpsc::Sender<(&'static str, CallId)>);

impl Service for Foresighted {
    fn call(&mut self, call: Call<'_>, replies: &mut Replies) {
        self.0.try_send(("called", call.id)).unwrap();
        replies.finish(call.id, &());
    }

    fn look_ahead<'a>(&mut self, calls: impl Iterator<Item = Call<'a>>) {
        for call in calls.take_while(|it| it.method == "x").take(2) {
            self.0.try_send(("ahead", call.id)).unwrap();
        }
    }
}

/// Takes half a turn for each call.
struct Laborious;

impl Service for Laborious {
    fn call(&mut self, call: Call<'_>, replies: &mut Replies) {
        replies.spend(TURN_STEPS / 2);
        replies.finish(call.id, &());
    }
}

/// Reports silence.
struct Witness(mpsc::Sender<&'static str>);

impl Service for Witness {
    fn call(&mut self, call: Call<'_>, replies: &mut Replies) {
        NoService.call(call, replies);
    }

    fn fell_silent(&mut self, _: Duration) {
        self.0.try_send("silent").unwrap();
    }

    fn heard_again(&mut self) {
        self.0.try_send("heard").unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_is_kept_however_idle() {
    let (near, far) = duplex(4096);
    let options = Options { heartbeat: Some(Heartbeat::default()), ..Options::default() };
    let (dialed, accepted) = tokio::try_join!(
        connect(near, options, NoService),
        accept(far, Options::default(), NoService),
    )
    .unwrap();
    let mut drivers = JoinSet::new();
    drivers.spawn(accepted.driver);
    assert!(timeout(Duration::from_secs(3600), dialed.driver).await.is_err());
}

#[tokio::test]
async fn a_peer_that_asks_and_does_not_read_is_not_listened_to() {
    let (near, far) = duplex(64 * 1024);
    let (cancelled, _receiver) = mpsc::channel(1);
    let service = Playground { streams: BTreeMap::new(), cancelled };
    let (mut raw, accepted) = tokio::join!(greet(near), accept(far, Options::default(), service));
    let mut drivers = JoinSet::new();
    drivers.spawn(accepted.unwrap().driver);

    let mut calls = BytesMut::new();
    for id in 0..64 {
        Frame::Call { id, method: "echo", body: &[0; 64 * 1024], within_ms: None }
            .encode(&mut calls)
            .unwrap();
    }
    let mut sent = 0;
    while let Ok(written) = timeout(Duration::from_millis(100), raw.write(&calls[sent..])).await {
        sent += written.unwrap();
    }
    assert!(sent < 2 * 1024 * 1024, "{sent} bytes were taken in");

    // Once the caller reads, it gets every answer.
    let (mut read, mut write) = tokio::io::split(raw);
    let writing = async { write.write_all(&calls[sent..]).await.unwrap() };
    let reading = async {
        let (mut reader, mut answers) = (FrameReader::default(), 0);
        let mut greeting = [0; preface::PREFACE_BYTES];
        read.read_exact(&mut greeting).await.unwrap();
        while answers < 64 {
            assert_ne!(read.read_buf(reader.buffer()).await.unwrap(), 0);
            while let Some(frame) = reader.next().unwrap() {
                answers += usize::from(matches!(Frame::decode(&frame), Ok(Frame::Return { .. })));
            }
        }
    };
    tokio::join!(writing, reading);
}

async fn greet(mut io: DuplexStream) -> DuplexStream {
    let mut bytes = BytesMut::from(&preface::preface()[..]);
    Frame::Hello(Box::default()).encode(&mut bytes).unwrap();
    io.write_all(&bytes).await.unwrap();
    io
}
