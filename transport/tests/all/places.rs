//! Listeners whose socket files are removed while they listen.

use std::{fs, io, os::unix::net, path::Path, task::Poll};

use endpoints::{Endpoint, Stamped};
use tokio::task::JoinSet;
use transport::{BindOptions, Incoming, Listener, Whereabouts, dial, dial_stamped};

use crate::common::{TOO_LONG, bounded, unix};

/// Removes the socket in one of many ways, and frees the path again.
fn takes_away(way: &str, folder: &Path) {
    let (socket, lock) = (folder.join("feed.sock"), folder.join("feed.sock.lock"));
    let aside = folder.with_extension("aside");
    match way {
        "socket removed" => fs::remove_file(socket).unwrap(),
        "socket and lock removed" => {
            fs::remove_file(&lock).unwrap();
            fs::remove_file(&socket).unwrap();
        }
        "socket renamed" => fs::rename(&socket, folder.join("other.sock")).unwrap(),
        "folder removed, and made anew" => {
            fs::remove_dir_all(folder).unwrap();
            fs::create_dir(folder).unwrap();
        }
        "folder renamed, and made anew" => {
            fs::rename(folder, &aside).unwrap();
            fs::create_dir(folder).unwrap();
        }
        "folder above renamed, and made anew" => {
            fs::rename(folder.parent().unwrap(), folder.parent().unwrap().with_extension("aside"))
                .unwrap();
            fs::create_dir_all(folder).unwrap();
        }
        "folder exchanged for a link" => {
            fs::rename(folder, &aside).unwrap();
            fs::create_dir(folder.with_extension("new")).unwrap();
            std::os::unix::fs::symlink(folder.with_extension("new"), folder).unwrap();
        }
        "a file in its place for a while" => {
            fs::remove_file(&socket).unwrap();
            fs::write(&socket, "not a socket").unwrap();
            fs::remove_file(&socket).unwrap();
        }
        "a dead socket in its place" => {
            fs::remove_file(&socket).unwrap();
            drop(net::UnixListener::bind(&socket).unwrap());
        }
        other => panic!("{other}"),
    }
}

const WAYS: [&str; 9] = [
    "socket removed",
    "socket and lock removed",
    "socket renamed",
    "folder removed, and made anew",
    "folder renamed, and made anew",
    "folder above renamed, and made anew",
    "folder exchanged for a link",
    "a file in its place for a while",
    "a dead socket in its place",
];

/// Lets a listener accept connections until the set is dropped.
fn serve(listener: Listener) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            drop(listener.accept().await.unwrap());
        }
    });
    tasks
}

async fn follows(published: &mut Vec<Stamped>) {
    let mut whereabouts = Whereabouts::of(published);
    let mut changes = whereabouts.changes();
    while !whereabouts.follow(published) {
        changes.next().await;
    }
}

#[tokio::test]
async fn a_socket_that_was_taken_away_is_bound_again() {
    let watched = BindOptions { is_watched: true, ..BindOptions::default() };
    for way in WAYS {
        stays_reachable(way, async |it| Listener::bind_with(it, watched).await.unwrap()).await;
    }
    // Without reports of changes, it is noticed after a while too.
    for way in ["socket removed", "folder removed, and made anew"] {
        stays_reachable(way, async |it| Listener::bind(it).await.unwrap()).await;
        stays_reachable(way, async |it| Listener::bind_own(it).unwrap().unwrap()).await;
    }
}

async fn stays_reachable(way: &str, bind: impl AsyncFn(&Endpoint) -> Listener) {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("run").join("actors");
    fs::create_dir_all(&folder).unwrap();
    let listener = bind(&unix(&folder.join("feed.sock"))).await;
    let mut published = listener.published();
    let _serving = serve(listener);

    takes_away(way, &folder);
    bounded(follows(&mut published)).await;
    let reached = dial_stamped(&published[0], TOO_LONG).await;
    assert!(reached.is_ok(), "{way}: {reached:?}");
}

#[tokio::test]
async fn sockets_that_were_bound_again_leave_nothing_behind() {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("run");
    fs::create_dir(&folder).unwrap();
    let listener = Listener::bind(&unix(&folder.join("feed.sock"))).await.unwrap();
    let mut published = listener.published();
    let mut serving = serve(listener);
    takes_away("folder renamed, and made anew", &folder);
    bounded(follows(&mut published)).await;
    serving.shutdown().await;
    for folder in [&folder, &folder.with_extension("aside")] {
        let left: Vec<_> = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[tokio::test]
async fn a_folder_that_comes_later_is_waited_for() {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("a").join("b");
    fs::create_dir_all(&folder).unwrap();
    let endpoint = unix(&folder.join("feed.sock"));
    let options = BindOptions { is_watched: true, ..BindOptions::default() };
    let listener = Listener::bind_with(&endpoint, options).await.unwrap();
    let mut published = listener.published();
    let _serving = serve(listener);
    for _again in 0..3 {
        fs::remove_dir_all(above.path().join("a")).unwrap();
        fs::create_dir(above.path().join("a")).unwrap();
        fs::create_dir(&folder).unwrap();
        bounded(follows(&mut published)).await;
        dial(&endpoint).await.unwrap();
    }
}

#[tokio::test]
async fn a_place_taken_by_another_is_given_up() {
    let check = async |bind: &dyn Fn(&Path) -> Taker, expected: &str| {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("run");
        fs::create_dir(&folder).unwrap();
        let path = folder.join("feed.sock");
        let endpoint = unix(&path);
        let listener = Listener::bind(&endpoint).await.unwrap();

        fs::remove_dir_all(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        let mut other = bind(&path);
        if let Taker::Callsign(bound) = &mut other {
            *bound = Some(Box::new(Listener::bind(&endpoint).await.unwrap()));
        }
        let error = bounded(listener.accept()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let own = std::process::id();
        let said = error.to_string().replace(&format!("process {own}"), "process N");
        assert!(said.starts_with(expected), "{said}");
        assert!(listener.is_displaced());

        // The other's socket is left alone.
        drop(listener);
        let reached = dial(&endpoint).await;
        assert!(reached.is_ok(), "{reached:?}");
        drop(other);
    };
    check(&|_| Taker::Callsign(None), "another socket has taken its path: process N").await;
    let foreign = |path: &Path| Taker::Foreign(net::UnixListener::bind(path).unwrap());
    check(&foreign, "another socket has taken its path: process N").await;
}

#[tokio::test]
async fn a_displaced_listener_accepts_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feed.sock");
    let endpoint = unix(&path);
    let mut incoming = Incoming::new(Listener::bind(&endpoint).await.unwrap());
    let (caller, called) = tokio::join!(dial(&endpoint), incoming.next());
    drop((caller.unwrap(), called.unwrap()));

    fs::remove_file(&path).unwrap();
    let _other = net::UnixListener::bind(&path).unwrap();
    let error = bounded(incoming.next()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(incoming.listener().is_displaced());
    dial(&endpoint).await.unwrap();
    let mut next = std::pin::pin!(incoming.next());
    let poll = std::future::poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_pending()));
    assert!(poll.await, "the other has the caller");
}

#[tokio::test]
async fn a_place_that_another_leaves_is_taken_back() {
    let check = async |leave: &dyn Fn(net::UnixListener, &Path)| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("feed.sock");
        let endpoint = unix(&path);
        let listener = Listener::bind(&endpoint).await.unwrap();
        let mut published: Vec<Stamped> = listener.published().into();
        let mut whereabouts = Whereabouts::of(&published);

        fs::remove_file(&path).unwrap();
        let other = net::UnixListener::bind(&path).unwrap();
        let error = bounded(listener.accept()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(listener.is_displaced());
        // While it listens, its connections are its own.
        let mut accepting = std::pin::pin!(listener.accept());
        let poll = std::future::poll_fn(|cx| Poll::Ready(accepting.as_mut().poll(cx).is_pending()));
        assert!(poll.await);
        net::UnixStream::connect(&path).unwrap();
        other.accept().unwrap();
        assert!(!whereabouts.follow(&mut published));

        leave(other, &path);
        let mut changes = whereabouts.changes();
        let followed = async {
            while !whereabouts.follow(&mut published) {
                changes.next().await;
            }
            // By its stamp, as callers dial it.
            dial_stamped(&published[0], TOO_LONG).await.unwrap()
        };
        let (called, caller) = bounded(async { tokio::join!(accepting, followed) }).await;
        drop((called.unwrap(), caller));
        assert!(!listener.is_displaced() && *listener.published() == published);
    };
    check(&|other, _| drop(other)).await;
    check(&|other, path| {
        fs::remove_file(path).unwrap();
        drop(other);
    })
    .await;
}

/// A program that takes the path of another.
#[expect(dead_code, reason = "the sockets are held, and not used")]
enum Taker {
    Callsign(Option<Box<Listener>>),
    Foreign(net::UnixListener),
}

/// Many processes bind one path while its folder comes and goes; never do two of them keep it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_path_never_has_two_listeners() {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("run");
    let endpoint = unix(&folder.join("feed.sock"));
    let mut binders: JoinSet<Option<Listener>> = JoinSet::new();
    for round in 0..40 {
        match round % 4 {
            0 => drop(fs::remove_dir_all(&folder)),
            1 => drop(fs::rename(&folder, above.path().join(format!("aside{round}")))),
            2 => drop(fs::remove_file(folder.join("feed.sock"))),
            _ => drop(fs::remove_file(folder.join("feed.sock.lock"))),
        }
        drop(fs::create_dir(&folder));
        for _each in 0..2 {
            let endpoint: Endpoint = endpoint.clone();
            binders.spawn(async move { Listener::bind(&endpoint).await.ok() });
        }
        tokio::task::yield_now().await;
    }
    let bound: Vec<Listener> = binders.join_all().await.into_iter().flatten().collect();
    assert!(!bound.is_empty());
    // Each checks its own path. Those whose path another has report it, until one is left.
    let others = bound.len() - 1;
    let mut standing = JoinSet::new();
    for listener in bound {
        standing.spawn(async move {
            let error = loop {
                match listener.accept().await {
                    Ok(_) => {}
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
            assert!(listener.is_displaced());
        });
    }
    for _other in 0..others {
        bounded(standing.join_next()).await.unwrap().unwrap();
    }
    dial(&endpoint).await.unwrap();
    assert!(standing.try_join_next().is_none());
}
