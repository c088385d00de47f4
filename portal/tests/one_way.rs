//! Links that lose one direction, and slow links, in paused time.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

use std::time::Duration;

use callsign_portal::{
    Call, Closed, Connected, Heartbeat, NoService, Options, Replies, Request, Service, accept,
    connect,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};

/// One direction of a link: how it treats the bytes that it takes.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Way {
    Open,
    /// Takes everything, and delivers nothing.
    Lost,
    /// Delivers so many bytes a second.
    Slow(usize),
}

/// A link between two duplex streams, whose directions are set separately.
struct Link {
    ways: [watch::Sender<Way>; 2],
    /// The tasks end with the link.
    _relays: JoinSet<()>,
}

impl Link {
    fn new() -> (Self, [DuplexStream; 2]) {
        let (near, near_end) = duplex(BUFFER_BYTES);
        let (far, far_end) = duplex(BUFFER_BYTES);
        let ((near_read, near_write), (far_read, far_write)) =
            (tokio::io::split(near_end), tokio::io::split(far_end));
        let ways = [(); 2].map(|()| watch::Sender::new(Way::Open));
        let mut relays = JoinSet::new();
        relays.spawn(relay(near_read, far_write, ways[0].subscribe()));
        relays.spawn(relay(far_read, near_write, ways[1].subscribe()));
        (Self { ways, _relays: relays }, [near, far])
    }

    fn set_both(&self, to: Way) {
        self.ways.iter().for_each(|way| {
            way.send_replace(to);
        });
    }
}

async fn relay(
    mut from: ReadHalf<DuplexStream>,
    mut to: WriteHalf<DuplexStream>,
    way: watch::Receiver<Way>,
) {
    let mut bytes = vec![0; 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let way = *way.borrow();
        if let Way::Slow(bytes_per_second) = way {
            sleep(Duration::from_secs_f64(read as f64 / bytes_per_second as f64)).await;
        }
        if way != Way::Lost && to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
    // The end of the stream is lost like everything else.
    if *way.borrow() == Way::Lost {
        std::future::pending().await
    }
}

/// Sends as much as it is asked for, and reads everything.
struct Granary;

impl Service for Granary {
    fn call(&mut self, call: Call<'_>, replies: &mut Replies) {
        match call.method {
            "give" => {
                let bytes: usize = call.args().unwrap();
                replies.finish_with(call.id, |body| body.resize(body.len() + bytes, 0));
            }
            _ => replies.finish(call.id, &call.body.len()),
        }
    }
}

/// Two ends that both send heartbeats.
async fn converse(
    [near, far]: [DuplexStream; 2],
) -> (Connected<DuplexStream, NoService>, Connected<DuplexStream, Granary>) {
    let options = Options { heartbeat: Some(Heartbeat::default()), ..Options::default() };
    tokio::try_join!(connect(near, options.clone(), NoService), accept(far, options, Granary))
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_loss_of_one_direction_shows_at_both_ends_within_three_seconds() {
    for lost in [[true, false], [false, true], [true, true]] {
        for talks in [false, true] {
            let (link, streams) = Link::new();
            let (dialed, accepted) = converse(streams).await;
            let mut near = JoinSet::new();
            near.spawn(dialed.driver);
            let mut far = JoinSet::new();
            far.spawn(accepted.driver);
            // A peer whose calls are in vain sends something all the time.
            let mut chatter = JoinSet::new();
            if talks {
                chatter.spawn(async move {
                    loop {
                        dialed.portal.send(Request::new("take", &"this")).ok();
                        sleep(Duration::from_millis(70)).await;
                    }
                });
            }
            sleep(Duration::from_secs(60)).await;
            assert!(near.try_join_next().is_none() && far.try_join_next().is_none());

            let start = Instant::now();
            for (way, lost) in link.ways.iter().zip(lost) {
                way.send_replace(if lost { Way::Lost } else { Way::Open });
            }
            let ends = [near.join_next().await, far.join_next().await];
            let context = format!("{lost:?} {talks} {ends:?} {:?}", start.elapsed());
            assert!(start.elapsed() < Duration::from_secs(3), "{context}");
            // This end may see the other end's close first.
            let silent = ends.iter().filter(|it| matches!(it, Some(Ok(Closed::Silent(_)))));
            assert!(silent.count() >= 1, "{context}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_frame_over_a_slow_link_is_no_silence() {
    const BYTES: usize = 2_000_000;
    for bytes_per_second in [30_000, 200_000, 2_000_000] {
        let (link, streams) = Link::new();
        let (dialed, accepted) = converse(streams).await;
        let mut drivers = JoinSet::new();
        drivers.spawn(dialed.driver);
        drivers.spawn(accepted.driver);
        link.set_both(Way::Slow(bytes_per_second));

        let taken: Vec<u8> = vec![0; BYTES];
        let answer = dialed.portal.call_encoded(Request::encoded("take", &taken)).await.unwrap();
        assert_eq!(wire::decode_body::<usize>(&answer).unwrap(), BYTES);
        let given = wire::encode_body(&BYTES);
        assert_eq!(
            dialed.portal.call_encoded(Request::encoded("give", &given)).await.unwrap().len(),
            BYTES
        );
        // Many at once, in both directions.
        let mut calls = JoinSet::new();
        for _ in 0..10 {
            for (method, body) in
                [("take", vec![0; BYTES / 10]), ("give", wire::encode_body(&(BYTES / 10)).to_vec())]
            {
                let portal = dialed.portal.clone();
                calls.spawn(async move {
                    portal.call_encoded(Request::encoded(method, &body)).await.unwrap().len()
                });
            }
        }
        assert_eq!(calls.join_all().await.len(), 20);
        assert!(drivers.try_join_next().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_frame_that_stops_midway_is_silence() {
    // While data arrives, an answer may follow it: the driver waits some 20 s more.
    for (lost, seconds) in [([true, false], 3), ([true, true], 3), ([false, true], 30)] {
        let (link, streams) = Link::new();
        let (dialed, accepted) = converse(streams).await;
        let mut drivers = JoinSet::new();
        drivers.spawn(dialed.driver);
        drivers.spawn(accepted.driver);
        link.set_both(Way::Slow(100_000));
        let taken: Vec<u8> = vec![0; 4_000_000];
        let mut calls = JoinSet::new();
        calls.spawn(
            async move { dialed.portal.call_encoded(Request::encoded("take", &taken)).await },
        );
        sleep(Duration::from_secs(20)).await;
        assert!(drivers.try_join_next().is_none());

        for (way, _) in link.ways.iter().zip(lost).filter(|(_, lost)| *lost) {
            way.send_replace(Way::Lost);
        }
        let start = Instant::now();
        let ends = [drivers.join_next().await, drivers.join_next().await];
        let context = format!("{lost:?} {ends:?} {:?}", start.elapsed());
        assert!(start.elapsed() <= Duration::from_secs(seconds), "{context}");
        assert!(ends.iter().any(|it| matches!(it, Some(Ok(Closed::Silent(_))))), "{context}");
    }
}

/// The size of a socket's buffer.
const BUFFER_BYTES: usize = 16 * 1024;
