//! Clients of registrars that fall silent.

use std::{
    fs,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use callsign_discovery::{Client, ClientOptions, LinkError, Registered};
use endpoints::Endpoint;
use portal::Heartbeat;
use tokio::{net, task::JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::{Running, Sockets, nowhere, options, soon, until};

/// It may only be busy, and a thousand clients that dial it again would keep it so.
#[tokio::test]
async fn a_silent_registrar_is_dialed_again_only_once_its_socket_is_anothers() {
    let sockets = Sockets::new();
    let first = Running::at(&[sockets.endpoint("first.sock")]).await;
    let second = Running::at(&[sockets.endpoint("second.sock")]).await;
    let by_file = Way::at(UnixListener::bind(sockets.path("way.sock")).unwrap(), &first.endpoint);
    let name = Uuid::new_v4().simple().to_string();
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let by_name = Way::at(UnixListener::bind_addr(&address).unwrap(), &first.endpoint);
    let (_feed, feed) = registered("feed", sockets.endpoint("way.sock")).await;
    let (_clock, clock) = registered("clock", format!("/unix/@{name}").parse().unwrap()).await;

    for way in [&by_file, &by_name] {
        way.falls_silent.cancel();
    }
    until(|| is_silent(&feed) && is_silent(&clock)).await;
    // What tells such sockets apart is a connection alone.
    until(|| by_name.accepted() > 3).await;
    assert_eq!(by_file.accepted(), 1);

    let next = UnixListener::bind(sockets.path("next.sock")).unwrap();
    let _next = Way::at(next, &second.endpoint);
    fs::rename(sockets.path("next.sock"), sockets.path("way.sock")).unwrap();
    second.until(|it| it.instances == 1).await;
    assert_eq!(by_file.accepted(), 1);
}

/// Registers a name by a client that soon notices a silence.
async fn registered(name: &str, registrar: Endpoint) -> (Client, Registered) {
    let heartbeat = Some(Heartbeat { interval: Duration::from_millis(20), misses: 2 });
    let options = ClientOptions { heartbeat, ..options() };
    let client = soon(Client::connect_with([&registrar], options)).await.unwrap();
    let registered = soon(client.register(nowhere(name, 1))).await.unwrap();
    (client, registered)
}

fn is_silent(registered: &Registered) -> bool {
    registered.missing().iter().any(|it| matches!(*it.error, LinkError::Silent(_)))
}

/// A socket by which a registrar is reached until it falls silent: from then on, it says nothing on the
/// connections that it has, and drops others.
struct Way {
    accepted: Arc<AtomicUsize>,
    falls_silent: CancellationToken,
    _carriers: JoinSet<()>,
}

impl Way {
    fn at(listener: UnixListener, to: &Endpoint) -> Self {
        listener.set_nonblocking(true).unwrap();
        let listener = net::UnixListener::from_std(listener).unwrap();
        let (accepted, falls_silent) = (Arc::default(), CancellationToken::new());
        let mut carriers = JoinSet::new();
        carriers.spawn(carry(listener, to.clone(), Arc::clone(&accepted), falls_silent.clone()));
        Self { accepted, falls_silent, _carriers: carriers }
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

async fn carry(
    listener: net::UnixListener,
    to: Endpoint,
    accepted: Arc<AtomicUsize>,
    falls_silent: CancellationToken,
) {
    let mut connections = JoinSet::new();
    while let Ok((mut near, _)) = listener.accept().await {
        accepted.fetch_add(1, Ordering::Relaxed);
        if falls_silent.is_cancelled() {
            continue;
        }
        let (to, falls_silent) = (to.clone(), falls_silent.clone());
        connections.spawn(async move {
            let mut far = transport::dial(&to).await.unwrap();
            tokio::select! {
                () = falls_silent.cancelled() => std::future::pending().await,
                copied = tokio::io::copy_bidirectional(&mut near, &mut far) => drop(copied),
            }
        });
    }
}
