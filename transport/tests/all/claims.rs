//! Socket paths within one process: who gets a path, and what is removed.

use std::{
    fs, io,
    os::unix::{fs::FileTypeExt, net},
    path::Path,
    sync::{Arc, Barrier},
};

use endpoints::{Endpoint, UnixAddress, UnixPath};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, socket};
use tokio::{runtime::Builder, task::JoinSet};
use transport::{
    BindError, Listener, clear_dead_socket, dial, remove_dangling_link, remove_dead_socket,
    remove_own_socket,
};

use crate::common::{bounded, unix};

#[tokio::test]
async fn nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feed.sock");
    for close in [true, false] {
        let listener = Listener::bind(&unix(&path)).await.unwrap();
        assert_eq!(names(folder.path()), ["feed.sock", "feed.sock.lock"]);
        if close {
            listener.close().unwrap();
        } else {
            drop(listener);
        }
        assert!(names(folder.path()).is_empty());
    }
}

#[tokio::test]
async fn a_place_of_ones_own_is_bound_without_a_lock() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feed-7d1f.sock");
    let listener = Listener::bind_own(&unix(&path)).unwrap().unwrap();
    assert_eq!(names(folder.path()), ["feed-7d1f.sock"]);
    let published = listener.published();
    assert_eq!(published[0].stamp, transport::stamp(&unix(&path)));
    dial(listener.bound()).await.unwrap();

    // Whatever is there stays, and so does its replacement.
    let refused = Listener::bind_own(&unix(&path)).unwrap_err();
    assert!(matches!(refused, BindError::InUse { .. }), "{refused}");
    fs::remove_file(&path).unwrap();
    let other = net::UnixListener::bind(&path).unwrap();
    drop(listener);
    assert_eq!(names(folder.path()), ["feed-7d1f.sock"]);
    drop(other);

    // A long path, a free port, an abstract name and a place in memory; a host name has to be
    // awaited.
    let deep = folder.path().join("d".repeat(100));
    fs::create_dir(&deep).unwrap();
    let name = format!("/unix/@callsign-transport-own-{}", std::process::id());
    for place in
        [unix(&deep.join("feed.sock")), name.parse().unwrap(), "/memory/0".parse().unwrap()]
    {
        let listener = Listener::bind_own(&place).unwrap().unwrap();
        dial(listener.bound()).await.unwrap();
        drop(listener);
        Listener::bind_own(&place).unwrap().unwrap();
    }
    let port = Listener::bind_own(&"/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap().unwrap();
    dial(port.bound()).await.unwrap();
    let named = Listener::bind_own(&"/dns/localhost/tcp/0".parse().unwrap()).unwrap();
    assert!(named.is_none());
}

#[tokio::test]
async fn a_path_that_is_taken_says_by_whom() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feed.sock");
    let own = std::process::id();
    let uid = rustix::process::geteuid().as_raw();

    let listener = Listener::bind(&unix(&path)).await.unwrap();
    let said = Listener::bind(&unix(&path)).await.unwrap_err().to_string();
    let expected = format!("it is in use by process {own} of user {uid} since 20");
    assert!(said.starts_with(&expected), "{said}");
    dial(listener.bound()).await.unwrap();
    drop(listener);

    // For a program without a lock, the kernel tells.
    let foreign = net::UnixListener::bind(&path).unwrap();
    let expected = format!("it is in use by process {own} of user {uid}");
    assert_eq!(Listener::bind(&unix(&path)).await.unwrap_err().to_string(), expected);
    // And it loses no connection over that.
    foreign.set_nonblocking(true).unwrap();
    assert_eq!(foreign.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert_eq!(names(folder.path()), ["feed.sock"]);

    let name = format!("/unix/@callsign-transport-claims-{own}").parse().unwrap();
    let _bound = Listener::bind(&name).await.unwrap();
    assert_eq!(Listener::bind(&name).await.unwrap_err().to_string(), expected);
}

#[tokio::test]
async fn a_socket_that_is_about_to_listen_is_not_dead() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feed.sock");
    let slow = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&slow, &SocketAddrUnix::new(&path).unwrap()).unwrap();

    let Endpoint::Unix(UnixAddress::Path(at)) = unix(&path) else { unreachable!("it is a path") };
    assert_eq!(clear_dead_socket(&at).await.unwrap(), None);
    remove_dead_socket(&at).await.unwrap();
    let error = Listener::bind(&unix(&path)).await.unwrap_err();
    assert!(matches!(error, BindError::InUse { .. }), "{error:?}");
    assert_eq!(names(folder.path()), ["feed.sock"]);

    drop(slow);
    assert_eq!(clear_dead_socket(&at).await.unwrap(), Some(at));
    assert!(names(folder.path()).is_empty());
}

#[tokio::test]
async fn a_dead_socket_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feed.sock");
    drop(net::UnixListener::bind(&path).unwrap());
    // The leftovers of a process that was killed while it held the lock.
    fs::write(folder.path().join("feed.sock.lock"), "pid 1\nuid 0\nstarted 0\n").unwrap();

    let listener = Listener::bind(&unix(&path)).await.unwrap();
    dial(listener.bound()).await.unwrap();
    drop(listener);
    assert!(names(folder.path()).is_empty());
}

#[tokio::test]
async fn only_ones_own_socket_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feed.sock");
    let listener = Listener::bind(&unix(&path)).await.unwrap();
    fs::remove_file(&path).unwrap();
    let _other = net::UnixListener::bind(&path).unwrap();
    drop(listener);
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());
    assert_eq!(names(folder.path()), ["feed.sock"]);
}

/// The first listener is held as if by a thread that is stuck.
#[tokio::test]
async fn a_socket_is_given_up_while_it_is_listened_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feed.sock");
    let given_up = Listener::bind(&unix(&path)).await.unwrap();
    let stuck = given_up.published()[0].stamp.socket.unwrap();
    let socket = UnixPath::new(&path).unwrap();
    remove_own_socket(&socket, stuck).unwrap();
    assert!(names(folder.path()).is_empty());

    // The replacement is not its own to give up or remove.
    let next = Listener::bind(&unix(&path)).await.unwrap();
    fs::rename(folder.path().join("feed.sock.lock"), folder.path().join("lock")).unwrap();
    remove_own_socket(&socket, stuck).unwrap();
    drop(given_up);
    assert_eq!(names(folder.path()), ["feed.sock", "lock"]);
    dial(next.bound()).await.unwrap();
}

#[tokio::test]
async fn other_files_than_sockets_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let check = async |name: &str, expected: &str| {
        let error = Listener::bind(&unix(&folder.path().join(name))).await.unwrap_err();
        let said = error.to_string().replace(&*folder.path().to_string_lossy(), "F");
        assert_eq!(said, expected);
    };
    fs::write(folder.path().join("file"), "precious").unwrap();
    fs::create_dir(folder.path().join("folder")).unwrap();
    std::os::unix::fs::symlink("file", folder.path().join("link")).unwrap();

    check("file", "a regular file already exists at that path; it was not touched").await;
    check("folder", "a folder already exists at that path; it was not touched").await;
    check("link", "a symbolic link already exists at that path; it was not touched").await;
    check("nothing/feed.sock", "there is no folder `F/nothing`").await;
    check("file/feed.sock", "`F/file` is not a folder, so nothing can be below it").await;
    assert_eq!(fs::read(folder.path().join("file")).unwrap(), b"precious");
    assert_eq!(names(folder.path()), ["file", "folder", "link"]);
}

#[tokio::test]
async fn a_bind_that_cannot_be_says_why() {
    let check = async |endpoint: &str, expected: &str| {
        let error = Listener::bind(&endpoint.parse().unwrap()).await.unwrap_err();
        assert_eq!(error.to_string(), expected, "{endpoint}");
    };
    let listener = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse().unwrap()).await.unwrap();
    check(&listener.bound().to_string(), "it is in use").await;
    // From the block for documentation, which no interface has.
    check("/ip4/203.0.113.7/tcp/0", "no interface of this machine has that address").await;
    check("/ip4/127.0.0.1/tcp/0/tls", "TLS needs a certificate, and this program has none").await;
}

#[test]
fn of_64_threads_at_once_exactly_one_binds_a_path() {
    const STARTERS: usize = 64;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feed.sock");
    let endpoint = unix(&path);

    for round in 0..20 {
        // Every other round begins with a dead socket.
        if round % 2 == 1 {
            drop(net::UnixListener::bind(&path).unwrap());
        }
        let at_once = Arc::new(Barrier::new(STARTERS));
        let all_tried = Arc::new(Barrier::new(STARTERS));
        let outcomes: Vec<Result<(), BindError>> = std::thread::scope(|scope| {
            let start = || {
                let runtime = Builder::new_current_thread().enable_all().build().unwrap();
                at_once.wait();
                let outcome = runtime.block_on(bounded(Listener::bind(&endpoint)));
                all_tried.wait();
                outcome.map(drop)
            };
            let threads: Vec<_> = (0..STARTERS).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|it| it.join().unwrap()).collect()
        });
        let own = std::process::id() as i32;
        let mut bound = 0;
        for outcome in outcomes {
            match outcome {
                Ok(()) => bound += 1,
                Err(BindError::InUse { holder: Some(holder) }) => assert_eq!(holder.pid, Some(own)),
                Err(error) => panic!("round {round}: {error:?}"),
            }
        }
        assert_eq!(bound, 1, "round {round}");
        assert!(names(folder.path()).is_empty(), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_path_goes_from_hand_to_hand() {
    let folder = tempfile::tempdir().unwrap();
    let endpoint = unix(&folder.path().join("feed.sock"));
    let mut starters = JoinSet::new();
    for _ in 0..8 {
        let endpoint = endpoint.clone();
        starters.spawn(async move {
            let mut turns = 0;
            while turns < 25 {
                match Listener::bind(&endpoint).await {
                    Ok(listener) => {
                        dial(&endpoint).await.expect("its own socket is there");
                        listener.accept().await.unwrap();
                        turns += 1;
                    }
                    Err(BindError::InUse { .. }) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error:?}"),
                }
            }
        });
    }
    bounded(starters.join_all()).await;
    assert!(names(folder.path()).is_empty());
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_dead_socket_is_found_behind_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (folder.path().join("real.sock"), folder.path().join("link.sock"));
    std::os::unix::fs::symlink("real.sock", &link).unwrap();
    let path = |it: &std::path::Path| match unix(it) {
        Endpoint::Unix(UnixAddress::Path(path)) => path,
        _ => unreachable!("it is a path"),
    };
    assert_eq!(clear_dead_socket(&path(&link)).await.unwrap(), None, "it leads nowhere");
    let listener = net::UnixListener::bind(&real).unwrap();
    assert_eq!(clear_dead_socket(&path(&link)).await.unwrap(), None, "somebody listens");
    assert!(!remove_dangling_link(&path(&link)).unwrap());
    drop(listener);
    let real = path(&fs::canonicalize(&real).unwrap());
    assert_eq!(clear_dead_socket(&path(&link)).await.unwrap(), Some(real));
    assert_eq!(names(folder.path()), ["link.sock"]);
    assert!(remove_dangling_link(&path(&link)).unwrap());
    assert!(!remove_dangling_link(&path(&link)).unwrap());
    assert!(names(folder.path()).is_empty());
}
