//! The effects of handlers on their connection: handlers that never wait, that are held back
//! because the caller does not read, and that panic.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use callsign_portal::{CallError, Closed, Handlers, IncomingCall, Limits, Portal, Request};
use tokio::{
    net::UnixStream,
    task::{JoinSet, yield_now},
    time::timeout,
};
use wire::{CallId, ErrorKind, Frame, RemoteError, encode_body};

use crate::{connect_to, peer::Peer, soon};

fn call(id: CallId, method: &'static str, body: &'static [u8]) -> Frame<'static> {
    Frame::Call { id, method, body, within_ms: None }
}

/// A peer that has asked for more than it has read, so that its further calls are held back.
async fn flooded() -> (Peer, Receiver<CallId>) {
    let (news, told) = mpsc::channel();
    let news = Mutex::new(news);
    let mut peer = Peer::calling(Handlers::new(move |mut call: IncomingCall| {
        if call.method() == "note" {
            news.lock().unwrap().send(call.args().unwrap()).unwrap();
        }
        async move {
            match call.method() {
                "echo" => Ok(call.body().clone()),
                "measure" => Ok(encode_body(&call.body().len()).into()),
                "note" => Ok(Bytes::from_static(b"\xc0")),
                "item" => {
                    call.start(&(), 0).unwrap();
                    call.send(&7).await.unwrap();
                    Ok(Bytes::from_static(b"\xc0"))
                }
                _ => Err(call.unknown()),
            }
        }
    }))
    .await;
    flood(&mut peer, 0).await;
    (peer, told)
}

/// Makes more calls than it reads answers.
async fn flood(peer: &mut Peer, first: CallId) {
    for nth in 0..FLOOD {
        peer.say(&[call(first + 2 * nth, "echo", &[7; 40_000])]).await;
    }
}

/// How many answers of 40 kB exceed what the replies, the write buffer and the transport hold
/// together.
const FLOOD: u64 = 40;

#[tokio::test]
async fn a_call_that_is_cancelled_while_it_is_held_back_never_begins() {
    let (mut peer, told) = flooded().await;
    peer.say(&[call(100, "note", &[100]), call(102, "note", &[102])]).await;
    peer.say(&[Frame::Cancel { id: 100 }, call(104, "note", &[104])]).await;
    for _ in 0..FLOOD + 2 {
        let frame = peer.hear().await.unwrap();
        assert!(frame.starts_with("Return") && !frame.contains("id: 100,"), "{frame}");
    }
    peer.say(&[call(106, "echo", b"")]).await;
    assert!(peer.hear().await.unwrap().starts_with("Return { id: 106,"));
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [102, 104]);
}

#[tokio::test]
async fn a_call_that_is_held_back_keeps_its_credit() {
    let (mut peer, _told) = flooded().await;
    peer.say(&[call(100, "item", b""), Frame::Credit { id: 100, items: 1 }]).await;
    while !peer.hear().await.unwrap().starts_with("Item { id: 100,") {}
    while !peer.hear().await.unwrap().starts_with("Return { id: 100,") {}
}

#[tokio::test]
async fn calls_beyond_the_bytes_held_back_are_refused() {
    let (mut peer, _told) = flooded().await;
    // Three of them and the rest of the flood are less than 32 MiB, four are more.
    for id in [100, 102, 104, 106] {
        peer.say(&[call(id, "measure", &[7; 10 << 20])]).await;
    }
    let mut ends = Vec::new();
    while ends.len() < 4 {
        let frame = peer.hear().await.unwrap();
        if (100..108).any(|id| frame.contains(&format!("id: {id},"))) {
            ends.push(frame);
        }
    }
    let refused = ends.iter().position(|it| it.starts_with("Error { id: 106,")).unwrap();
    assert!(ends.remove(refused).contains("LimitReached"));
    assert!(ends.iter().all(|it| it.starts_with("Return")), "{ends:?}");
    // Answered calls are no longer held.
    flood(&mut peer, 200).await;
    peer.say(&[call(300, "measure", &[7; 10 << 20])]).await;
    loop {
        let frame = peer.hear().await.unwrap();
        assert!(frame.starts_with("Return"), "{frame}");
        if frame.contains("id: 300,") {
            break;
        }
    }
}

/// Two ends of a connection, the far one with `handlers`.
async fn begin<Fut>(
    handle: impl Fn(IncomingCall) -> Fut + Send + Sync + 'static,
) -> (Portal, JoinSet<Closed>)
where
    Fut: Future<Output = Result<Bytes, RemoteError>> + Send + 'static,
{
    let (near, far) = UnixStream::pair().unwrap();
    let limits = Limits { grace: Duration::ZERO, ..Limits::default() };
    connect_to(near, far, Handlers::with_limits(handle, limits)).await
}

/// Panics when it is dropped.
struct Bomb(Pin<Box<dyn Future<Output = Result<Bytes, RemoteError>> + Send>>);

impl Future for Bomb {
    type Output = Result<Bytes, RemoteError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("it goes off");
    }
}

#[tokio::test]
async fn a_handler_that_panics_when_it_is_dropped_does_no_harm() {
    let (portal, mut drivers) = begin(|call: IncomingCall| {
        Bomb(Box::pin(async move {
            match call.method() {
                "at once" => {}
                "later" => yield_now().await,
                _ => std::future::pending().await,
            }
            Ok(call.body().clone())
        }))
    })
    .await;
    for _ in 0..3 {
        for method in ["at once", "later"] {
            assert_eq!(
                soon(portal.call::<u64>(Request::new(method, &7))).await.unwrap(),
                7,
                "{method}"
            );
        }
        let never = portal.call::<()>(Request::new("never", &()));
        assert!(timeout(Duration::from_millis(10), never).await.is_err());
    }
    assert_eq!(soon(portal.call::<u64>(Request::new("at once", &7))).await.unwrap(), 7);

    // Nor does a panic when the handler is dropped with the connection.
    let mut calls = JoinSet::new();
    let other = portal.clone();
    calls.spawn(async move { other.call::<()>(Request::new("never", &())).await });
    assert_eq!(soon(portal.call::<u64>(Request::new("later", &7))).await.unwrap(), 7);
    portal.close("done");
    assert!(matches!(soon(calls.join_next()).await, Some(Ok(Err(CallError::Closed(_))))));
    while let Some(closed) = soon(drivers.join_next()).await {
        assert!(!matches!(closed.unwrap(), Closed::Protocol(_)));
    }
}

#[tokio::test]
async fn a_panic_fails_its_call_alone_whenever_it_comes() {
    let (portal, _drivers) = begin(|call: IncomingCall| {
        assert!(call.method() != "call", "it panics when it is called");
        async move {
            assert!(call.method() != "at once", "it panics when it is polled");
            yield_now().await;
            assert!(call.method() != "later", "it panics in its task");
            Ok(call.body().clone())
        }
    })
    .await;
    for (method, expected) in [("call", "called"), ("at once", "polled"), ("later", "task")] {
        let error = soon(portal.call::<()>(Request::new(method, &()))).await.unwrap_err();
        let CallError::Remote(error) = error else { panic!("{error}") };
        assert_eq!(error.kind, ErrorKind::Internal);
        assert!(error.message.ends_with(expected), "{error}");
        assert_eq!(soon(portal.call::<u64>(Request::new("echo", &7))).await.unwrap(), 7);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_handler_that_goes_aside_computes_beside_its_connection() {
    let (release, released) = mpsc::channel::<()>();
    let (release, released) = (Mutex::new(release), Arc::new(Mutex::new(released)));
    let (portal, _drivers) = begin(move |call: IncomingCall| {
        let released = released.clone();
        if call.method() == "release" {
            release.lock().unwrap().send(()).unwrap();
        }
        async move {
            if call.method() == "compute" {
                call.offload().await;
                call.offload().await;
                released.lock().unwrap().recv_timeout(Duration::from_secs(60)).unwrap();
            }
            Ok(call.body().clone())
        }
    })
    .await;
    let computing = portal.call::<u64>(Request::new("compute", &7));
    let releasing = portal.call::<u64>(Request::new("release", &8));
    let (computed, released) = soon(async { tokio::join!(computing, releasing) }).await;
    assert_eq!((computed.unwrap(), released.unwrap()), (7, 8));
}

/// Both arrive at once and are offloaded, so that the second queues behind the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn offloaded_handlers_share_the_pool() {
    let (release, released) = mpsc::channel::<()>();
    let (release, released) = (Arc::new(Mutex::new(release)), Arc::new(Mutex::new(released)));
    let handlers = Handlers::new(move |call: IncomingCall| {
        let (release, released) = (release.clone(), released.clone());
        async move {
            call.offload().await;
            if call.method() == "compute" {
                released.lock().unwrap().recv_timeout(Duration::from_secs(60)).unwrap();
            } else {
                release.lock().unwrap().send(()).unwrap();
            }
            Ok(call.body().clone())
        }
    });
    let mut peer = Peer::calling(handlers).await;
    let call = |id, method| Frame::Call { id, method, body: b"\x07", within_ms: None };
    peer.say(&[call(0, "compute"), call(2, "release")]).await;
    let mut answers = [peer.hear().await.unwrap(), peer.hear().await.unwrap()];
    answers.sort();
    assert!(answers[0].starts_with("Return { id: 0"), "{}", answers[0]);
    assert!(answers[1].starts_with("Return { id: 2"), "{}", answers[1]);
}

/// Both arrive at once, and one worker takes the first and then the second, which computes until the
/// answer to the first has been read.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_answer_does_not_wait_for_a_handler_that_computes_behind_it() {
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let handlers = Handlers::new(move |call: IncomingCall| {
        let released = released.clone();
        async move {
            call.offload().await;
            if call.method() == "compute" {
                released.lock().unwrap().recv_timeout(Duration::from_secs(60)).unwrap();
            }
            Ok(call.body().clone())
        }
    });
    let mut peer = Peer::calling(handlers).await;
    let call = |id, method| Frame::Call { id, method, body: b"\x07", within_ms: None };
    // The worker that waits for more is used again.
    for id in [0, 4, 8] {
        peer.say(&[call(id, "answer"), call(id + 2, "compute")]).await;
        let answer = peer.hear().await.unwrap();
        assert!(answer.starts_with(&format!("Return {{ id: {id},")), "{answer}");
        release.send(()).unwrap();
        let answer = peer.hear().await.unwrap();
        assert!(answer.starts_with(&format!("Return {{ id: {},", id + 2)), "{answer}");
    }
}
