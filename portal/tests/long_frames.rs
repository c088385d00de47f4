//! Long frames, each of which arrives in a buffer of its own: whole ones, and those of a peer that lies
//! about lengths, stops midway, or announces more than it sends.

#![expect(clippy::unwrap_used, reason = "a test may unwrap")]

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use bytes::BytesMut;
use callsign_portal::{
    Call, CallError, Closed, NoService, Options, Replies, Request, Service, accept, connect,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinSet,
    time::timeout,
};
use wire::{CallId, Frame, FrameReader, preface};

/// The calls that have come, and the bytes that the connection holds.
#[derive(Debug, Default)]
struct Seen {
    calls: Vec<(CallId, usize)>,
    held_bytes: usize,
    held_bytes_most: usize,
}

struct Noting(Arc<Mutex<Seen>>);

impl Service for Noting {
    fn call(&mut self, call: Call<'_>, _: &mut Replies) {
        assert!(call.body.iter().all(|it| u64::from(*it) == call.id), "call {}", call.id);
        self.0.lock().unwrap().calls.push((call.id, call.body.len()));
    }

    fn holds(&mut self, bytes: usize) -> Result<(), String> {
        let mut seen = self.0.lock().unwrap();
        seen.held_bytes = bytes;
        seen.held_bytes_most = seen.held_bytes_most.max(bytes);
        Ok(())
    }
}

/// A peer, and the driver that it talks to, which runs when it is told.
struct Stage<D> {
    peer: DuplexStream,
    driver: Pin<Box<D>>,
    seen: Arc<Mutex<Seen>>,
    closed: Option<Closed>,
}

async fn stage(frame_bytes_max: usize) -> Stage<impl Future<Output = Closed>> {
    let (near, mut peer) = duplex(2 * 1024 * 1024);
    greet(&mut peer).await;
    let seen = Arc::new(Mutex::new(Seen::default()));
    let options = Options { frame_bytes_max, ..Options::default() };
    let accepted = accept(near, options, Noting(seen.clone())).await.unwrap();
    let driver = Box::pin(async move {
        let _portal = accepted.portal;
        accepted.driver.await
    });
    Stage { peer, driver, seen, closed: None }
}

async fn greet(peer: &mut DuplexStream) {
    let mut bytes = BytesMut::from(&preface::preface()[..]);
    Frame::Hello(Box::default()).encode(&mut bytes).unwrap();
    peer.write_all(&bytes).await.unwrap();
}

impl<D: Future<Output = Closed>> Stage<D> {
    /// Sends bytes, and lets the driver handle all of them.
    async fn say(&mut self, bytes: &[u8]) {
        self.peer.write_all(bytes).await.unwrap();
        self.run().await;
    }

    async fn run(&mut self) {
        // A turn handles a dozen long frames.
        for _ in 0..20 {
            poll_fn(|cx| {
                if self.closed.is_none()
                    && let Poll::Ready(closed) = self.driver.as_mut().poll(cx)
                {
                    self.closed = Some(closed);
                }
                Poll::Ready(())
            })
            .await;
        }
    }

    fn calls(&self) -> usize {
        self.seen.lock().unwrap().calls.len()
    }

    fn held_bytes(&self) -> usize {
        self.seen.lock().unwrap().held_bytes
    }
}

/// Encodes a call whose body is as long as said, and tells by its number what is in it.
fn call(id: u8, length: usize) -> BytesMut {
    let mut bytes = BytesMut::new();
    let body = vec![id; length];
    Frame::Call { id: id.into(), method: "note", body: &body, within_ms: None }
        .encode(&mut bytes)
        .unwrap();
    bytes
}

#[tokio::test]
async fn long_and_short_frames_come_in_order_in_whatever_parts() {
    let lengths = [100_000, 100_000, 3, 100_000, 20_000, 600_000, 0, 100_000, 15_000, 17_000];
    let mut bytes = BytesMut::new();
    for (id, length) in (0..).zip(lengths) {
        bytes.extend_from_slice(&call(id, length));
    }
    for part in [10_000, 16_385, 65_536, 100_033, bytes.len()] {
        let mut stage = stage(wire::FRAME_BYTES_MAX).await;
        for part in bytes.chunks(part) {
            stage.say(part).await;
        }
        let expected: Vec<_> = (0..).zip(lengths).collect();
        assert_eq!(stage.seen.lock().unwrap().calls, expected, "in parts of {part}");
        assert_eq!(stage.held_bytes(), 0, "in parts of {part}");
    }
}

#[tokio::test]
async fn a_length_that_lies_ends_the_connection() {
    let whole = call(0, 100_000);
    // The frame ends in the middle of the body that it announces.
    let mut short = whole.clone();
    short.truncate(50_000);
    short[..4].copy_from_slice(&(50_000_u32 - 4).to_le_bytes());
    // The body is announced longer than its frame, which is as long as the one before.
    let mut long = whole.clone();
    let length = long.windows(2).position(|it| *it == *b"\xc6\0").unwrap() + 1;
    long[length..length + 4].copy_from_slice(&100_001_u32.to_be_bytes());
    let nothing = [&60_000_u32.to_le_bytes()[..], &[0xc1; 60_000]].concat();
    for lie in [&short[..], &long, &nothing] {
        for before in 0..2 {
            let mut stage = stage(wire::FRAME_BYTES_MAX).await;
            for _ in 0..before {
                stage.say(&whole).await;
            }
            stage.say(lie).await;
            assert!(matches!(stage.closed, Some(Closed::Protocol(_))), "{:?}", stage.closed);
            assert_eq!(stage.calls(), before);
        }
    }
}

#[tokio::test]
async fn what_follows_a_call_in_its_frame_is_no_other() {
    let (whole, inner) = (call(0, 100_000), call(1, 40_000));
    let mut frame = BytesMut::from(&(whole.len() as u32 - 4).to_le_bytes()[..]);
    frame.extend_from_slice(&inner[4..]);
    frame.extend_from_slice(&inner);
    frame.resize(whole.len(), 0);
    let mut stage = stage(wire::FRAME_BYTES_MAX).await;
    for bytes in [&whole, &frame, &whole] {
        stage.say(bytes).await;
    }
    assert_eq!(stage.seen.lock().unwrap().calls, [(0, 100_000), (1, 40_000), (0, 100_000)]);
}

#[tokio::test]
async fn a_length_over_the_bound_is_refused_before_the_frame_comes() {
    for before in 0..2 {
        let mut stage = stage(120_000).await;
        for _ in 0..before {
            stage.say(&call(0, 100_000)).await;
        }
        // It may come together with the first bytes of the frame.
        stage.say(&[&120_001_u32.to_le_bytes()[..], &[0; 40_000]].concat()).await;
        let Some(Closed::Protocol(error)) = &stage.closed else { panic!("{:?}", stage.closed) };
        assert_eq!(error.to_string(), "a frame of 120001 bytes, where 120000 are allowed");
        assert_eq!(stage.calls(), before);
    }
}

#[tokio::test]
async fn a_frame_that_is_cut_off_is_none() {
    for arrived in [2, 40, 50_000, 100_032] {
        for before in 0..2 {
            let mut stage = stage(wire::FRAME_BYTES_MAX).await;
            for _ in 0..before {
                stage.say(&call(0, 100_000)).await;
            }
            stage.say(&call(1, 100_000)[..arrived]).await;
            assert!(stage.closed.is_none());
            drop(std::mem::replace(&mut stage.peer, duplex(1).0));
            stage.run().await;
            assert!(matches!(stage.closed, Some(Closed::ByPeer)), "{:?}", stage.closed);
            assert_eq!(stage.calls(), before);
        }
    }
}

#[tokio::test]
async fn memory_grows_by_little_ahead_of_what_arrives() {
    // What the kernel would keep for a connection.
    const AHEAD: usize = 256 * 1024;
    for length in [20_000, 100_000, 262_000, 270_000, 10_000_000] {
        let mut stage = stage(wire::FRAME_BYTES_MAX).await;
        for id in [1, 2] {
            let bytes = call(id, length);
            let mut sent = 0;
            for part in [5, 3_000, 17_000, 200_000] {
                let part = part.min(bytes.len() - 1 - sent);
                stage.say(&bytes[sent..sent + part]).await;
                sent += part;
                // A buffer that grows doubles.
                let most = 2 * (sent + AHEAD);
                assert!(stage.held_bytes() <= most, "{} bytes for {sent}", stage.held_bytes());
                if sent + 1 == bytes.len() {
                    break;
                }
            }
            while sent + 1 < bytes.len() {
                let part = (bytes.len() - 1 - sent).min(1_000_000);
                stage.say(&bytes[sent..sent + part]).await;
                sent += part;
            }
            stage.say(&bytes[sent..]).await;
            assert_eq!((stage.calls(), stage.held_bytes()), (id.into(), 0), "of {length} bytes");
        }
    }
}

#[tokio::test]
async fn a_call_that_is_given_up_amid_an_item_leaves_the_connection_whole() {
    let (near, mut peer) = duplex(1024 * 1024);
    greet(&mut peer).await;
    let connected = connect(near, Options::default(), NoService).await.unwrap();
    let mut drivers = JoinSet::new();
    drivers.spawn(connected.driver);
    let portal = connected.portal;
    peer.read_exact(&mut [0; preface::PREFACE_BYTES]).await.unwrap();
    let mut reader = FrameReader::default();
    let mut item = BytesMut::new();
    Frame::Item { id: 0, body: &[7; 100_000] }.encode(&mut item).unwrap();
    let mut began = BytesMut::new();
    Frame::Started { id: 0, body: b"\xc0" }.encode(&mut began).unwrap();
    began.extend_from_slice(&item);
    began.extend_from_slice(&item[..60_000]);
    let talking = async {
        let mut dialogue = portal.dialogue(Request::new("talk", &()), 4).await?;
        assert_eq!(dialogue.next_encoded().await?.unwrap().len(), 100_000);
        drop(dialogue);
        portal.call::<u8>(Request::new("next", &())).await
    };
    let answering = async {
        hear(&mut peer, &mut reader, "Hello").await;
        hear(&mut peer, &mut reader, "Call { id: 0").await;
        peer.write_all(&began).await.unwrap();
        hear(&mut peer, &mut reader, "Cancel { id: 0").await;
        peer.write_all(&item[60_000..]).await.unwrap();
        hear(&mut peer, &mut reader, "Call { id: 2").await;
        let mut answer = BytesMut::new();
        Frame::Return { id: 2, body: b"\x07" }.encode(&mut answer).unwrap();
        peer.write_all(&answer).await.unwrap();
    };
    let both = async { tokio::join!(talking, answering).0 };
    let answer: Result<u8, CallError> = timeout(Duration::from_secs(240), both).await.unwrap();
    assert_eq!(answer.unwrap(), 7);
}

/// Waits for a frame that begins so when it is printed.
async fn hear(peer: &mut DuplexStream, reader: &mut FrameReader, expected: &str) {
    let mut peer = pin!(peer);
    loop {
        while let Some(frame) = reader.next().unwrap() {
            if format!("{:?}", Frame::decode(&frame).unwrap()).starts_with(expected) {
                return;
            }
        }
        assert_ne!(peer.read_buf(reader.buffer()).await.unwrap(), 0, "no {expected}");
    }
}
