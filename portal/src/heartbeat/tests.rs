use std::future::poll_fn;

use tokio::time::{advance, timeout};

use super::*;

fn pulse(on_silence: OnSilence) -> Pulse {
    Pulse::new(Heartbeat::default(), on_silence, Instant::now())
}

async fn next(pulse: &mut Pulse) -> Silence {
    poll_fn(|cx| pulse.poll(0, || None, cx)).await
}

/// Records that the ping is on its way.
fn write(pulse: &mut Pulse) {
    pulse.begin_to_write();
    pulse.wrote(true, Instant::now);
}

fn centiseconds(since: Instant) -> u128 {
    since.elapsed().as_millis() / 10
}

const LIMIT: Duration = Duration::from_millis(2700);

#[tokio::test(start_paused = true)]
async fn silence_is_asked_about_and_then_given_up() {
    let start = Instant::now();
    let mut pulse = pulse(OnSilence::Tell);

    advance(Duration::from_millis(500)).await;
    pulse.hear(1, Instant::now());

    assert_eq!(next(&mut pulse).await, Silence::Ping(1));
    write(&mut pulse);
    assert_eq!(next(&mut pulse).await, Silence::Tell(LIMIT));
    assert_eq!(centiseconds(start), 320);

    // It is not pinged again until it is heard.
    assert!(timeout(Duration::from_secs(60), next(&mut pulse)).await.is_err());
    assert!(pulse.hear(1, Instant::now()));
    assert!(!pulse.hear(1, Instant::now()));
    assert_eq!(next(&mut pulse).await, Silence::Ping(2));
    assert_eq!(centiseconds(start), 320 + 6000 + 90);
}

#[tokio::test(start_paused = true)]
async fn a_silence_that_nobody_minds_is_not_looked_at() {
    let mut pulse = pulse(OnSilence::Tell);
    let ignored = poll_fn(|cx| pulse.poll_if(false, 0, || None, cx));
    assert!(timeout(Duration::from_secs(60), ignored).await.is_err());

    // From when on it means something, the peer has all of its time.
    let start = Instant::now();
    let minded = poll_fn(|cx| pulse.poll_if(true, 0, || None, cx)).await;
    assert_eq!((minded, centiseconds(start)), (Silence::Ping(1), 90));
    write(&mut pulse);
    assert_eq!(next(&mut pulse).await, Silence::Tell(LIMIT));
    assert_eq!(centiseconds(start), 270);
}

#[tokio::test(start_paused = true)]
async fn a_silence_that_may_be_a_death_is_always_looked_at() {
    let mut pulse = pulse(OnSilence::GiveUp);
    let minded = poll_fn(|cx| pulse.poll_if(false, 0, || None, cx)).await;
    assert_eq!(minded, Silence::Ping(1));
}

/// As when the process is stopped, or one call takes all of its time.
#[tokio::test(start_paused = true)]
async fn the_time_in_which_nobody_looked_is_not_the_peer_s_silence() {
    for on_silence in [OnSilence::GiveUp, OnSilence::Tell] {
        let mut pulse = pulse(on_silence);
        for _ in 0..5 {
            advance(Duration::from_secs(60)).await;
            assert!(poll_fn(|cx| Poll::Ready(pulse.poll(0, || None, cx))).await.is_pending());
        }
        // It gets pings as usual again, and has all of its time from then on.
        let start = Instant::now();
        assert_eq!(next(&mut pulse).await, Silence::Ping(1));
        write(&mut pulse);
        let silence = next(&mut pulse).await;
        assert!(matches!(silence, Silence::GiveUp(_) | Silence::Tell(_)), "{silence:?}");
        assert_eq!(centiseconds(start), 270);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_acknowledges_is_given_up_like_a_mute_one() {
    let start = Instant::now();
    let mut pulse = pulse(OnSilence::GiveUp);
    assert_eq!(next(&mut pulse).await, Silence::Ping(1));
    write(&mut pulse);
    loop {
        match timeout(Duration::from_millis(100), next(&mut pulse)).await {
            Ok(silence) => break assert_eq!(silence, Silence::GiveUp(LIMIT)),
            // The peer sends something, and answers a ping that was never sent.
            Err(_) => assert!(!pulse.hear(1000, Instant::now())),
        }
        pulse.pong(0, Instant::now());
        pulse.pong(2, Instant::now());
    }
    assert_eq!(centiseconds(start), 270);
}

#[tokio::test(start_paused = true)]
async fn each_answer_gives_another_heartbeat() {
    let start = Instant::now();
    let mut pulse = pulse(OnSilence::GiveUp);
    for nonce in 1..=100 {
        assert_eq!(next(&mut pulse).await, Silence::Ping(nonce));
        write(&mut pulse);
        // A round trip that is longer than an interval is no silence.
        assert!(timeout(Duration::from_millis(1700), next(&mut pulse)).await.is_err());
        pulse.pong(nonce, Instant::now());
    }
    assert_eq!(next(&mut pulse).await, Silence::Ping(101));
    write(&mut pulse);
    // A late peer is given time.
    assert_eq!(next(&mut pulse).await, Silence::GiveUp(Duration::from_millis(3 * 1700)));
    assert_eq!(centiseconds(start), 100 * (90 + 170) + 510);
}

#[tokio::test(start_paused = true)]
async fn a_ping_that_waits_behind_a_long_frame_is_not_yet_asked() {
    let start = Instant::now();
    let mut pulse = pulse(OnSilence::GiveUp);
    assert_eq!(next(&mut pulse).await, Silence::Ping(1));
    pulse.hold_up();
    for _ in 0..10 {
        assert!(timeout(Duration::from_secs(1), next(&mut pulse)).await.is_err());
        pulse.wrote(false, Instant::now);
        pulse.hold_up();
    }
    // It is in transit now, and data written after it does not count.
    write(&mut pulse);
    assert!(timeout(Duration::from_secs(2), next(&mut pulse)).await.is_err());
    pulse.begin_to_write();
    pulse.wrote(true, Instant::now);
    assert_eq!(next(&mut pulse).await, Silence::GiveUp(LIMIT));
    assert_eq!(centiseconds(start), 90 + 10 * 100 + 270);
}

#[tokio::test(start_paused = true)]
async fn a_ping_behind_what_the_peer_does_not_take_is_given_up() {
    let start = Instant::now();
    let mut pulse = pulse(OnSilence::GiveUp);
    assert_eq!(next(&mut pulse).await, Silence::Ping(1));
    pulse.hold_up();
    assert_eq!(next(&mut pulse).await, Silence::GiveUp(LIMIT));
    assert_eq!(centiseconds(start), 270);
}

#[tokio::test(start_paused = true)]
async fn a_pong_is_waited_for_behind_much_that_comes_and_not_for_ever() {
    /// The seconds until a peer is given up that sends so much each 100 ms and answers nothing.
    async fn check(bytes: usize, unread: usize) -> u64 {
        let start = Instant::now();
        let mut pulse = pulse(OnSilence::GiveUp);
        loop {
            let silence = poll_fn(|cx| pulse.poll(unread, || None, cx));
            match timeout(Duration::from_millis(100), silence).await {
                Ok(Silence::Ping(_)) => write(&mut pulse),
                Ok(_) => return start.elapsed().as_secs(),
                Err(_) => drop(pulse.hear(bytes, Instant::now())),
            }
        }
    }
    assert_eq!(check(1000, 0).await, 2);
    assert_eq!(check(1000, 100).await, 2);
    // In the middle of a frame, over a slow link, and over a fast one.
    assert!(check(1000, UNREAD_BYTES_MIN).await > 1000);
    assert!((300..400).contains(&check(20_000, 0).await));
    assert!((3..10).contains(&check(2_000_000, 0).await));
}

/// Polls for that time with the kernel's reports, and returns the action.
async fn next_within(limit: Duration, pulse: &mut Pulse, flow: Flow) -> Option<Silence> {
    let next = poll_fn(|cx| pulse.poll(0, || Some(flow), cx));
    timeout(limit, next).await.ok()
}

const TICK: Duration = Duration::from_millis(100);

#[tokio::test(start_paused = true)]
async fn without_acknowledgements_received_data_does_not_count() {
    let start = Instant::now();
    let mut pulse = pulse(OnSilence::GiveUp);
    let flow = Flow { acknowledged: 1000, outstanding: 20, is_in_flight: true };
    // Much arrives all the time, as in the middle of a long frame.
    let given_up = loop {
        match next_within(TICK, &mut pulse, flow).await {
            Some(Silence::Ping(_)) => write(&mut pulse),
            Some(silence) => break silence,
            None => drop(pulse.hear(20_000, Instant::now())),
        }
    };
    assert!(matches!(given_up, Silence::GiveUp(silence) if silence >= LIMIT), "{given_up:?}");
    assert!(centiseconds(start) <= 270 + 90, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn data_held_back_by_a_full_peer_is_not_lost() {
    let mut pulse = pulse(OnSilence::GiveUp);
    let flow = Flow { acknowledged: 1000, outstanding: 20, is_in_flight: false };
    for _ in 0..100 {
        match next_within(TICK, &mut pulse, flow).await {
            Some(Silence::Ping(_)) => write(&mut pulse),
            Some(silence) => panic!("{silence:?}"),
            None => drop(pulse.hear(20_000, Instant::now())),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_ping_that_this_kernel_has_yet_to_send_is_not_yet_asked() {
    let start = Instant::now();
    let mut pulse = pulse(OnSilence::GiveUp);
    let mut flow = Flow { acknowledged: 0, outstanding: 400_000, is_in_flight: true };
    loop {
        match next_within(TICK, &mut pulse, flow).await {
            Some(Silence::Ping(_)) => write(&mut pulse),
            Some(silence) => break assert_eq!(silence, Silence::GiveUp(LIMIT)),
            None => {}
        }
        // Forty seconds long, and then nobody answers.
        let arrived = flow.outstanding.min(1000);
        flow.acknowledged += arrived;
        flow.outstanding -= arrived;
        flow.is_in_flight = flow.outstanding > 0;
    }
    assert!((4000 + 170..4000 + 500).contains(&centiseconds(start)), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_grows_from_ping_to_ping_is_no_death() {
    let mut pulse = pulse(OnSilence::GiveUp);
    for (nonce, seconds) in (1..).zip([0, 1, 2, 5, 6, 6, 12]) {
        assert_eq!(next(&mut pulse).await, Silence::Ping(nonce));
        write(&mut pulse);
        assert!(timeout(Duration::from_secs(seconds), next(&mut pulse)).await.is_err());
        pulse.pong(nonce, Instant::now());
    }
    let start = Instant::now();
    assert_eq!(next(&mut pulse).await, Silence::Ping(8));
    write(&mut pulse);
    assert_eq!(next(&mut pulse).await, Silence::GiveUp(10 * LIMIT));
    assert_eq!(centiseconds(start), 2700);
}
