//! Cases of connections to actors that were looked up, which the actors of a process share.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use discovery::{Client, Registered, Registration};
use portal::{Acceptor, Closed, NoService, Options};
use tokio::{sync::Notify, task::JoinSet};
use transport::Listener;
use tree::{Actor, AnyError, CallError, Portal, Restart};
use uuid::Uuid;

use crate::{
    cases::Done,
    exports::{ask_at_once, double, raise},
    log,
    stage::{Case, Stage},
};

/// Cases that are the same for all kinds.
pub(crate) const ALL: &[(&str, Case)] = &[
    ("ended_connections_are_not_shared", |it| Box::pin(ended_connections_are_not_shared(it))),
    ("a_cancelled_dialer_lets_the_next_dial", |it| Box::pin(a_cancelled_dialer(it))),
    ("who_does_not_go_on_asking_keeps_nobody", |it| {
        Box::pin(a_stuck_look_up_does_not_block_others(it))
    }),
    ("what_nobody_drops_ends_with_the_root", |it| {
        Box::pin(connections_left_at_the_end_are_closed(it))
    }),
    ("the_next_instance_is_taken_if_the_nearest_hangs", |it| Box::pin(the_next_instance(it))),
];

/// Many look-ups of one process make one connection, which is closed when the last handle is
/// dropped; another process has its own.
pub(crate) async fn look_ups_share_one_connection(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    log::take(WARNS_OF_GUARDS);
    let socket = fresh_socket();
    root.nursery(async |n| {
        let server = n.spawn("server").kind(kind).bind(format!("/unix/{socket}"));
        server.expose(&[double::EXPORT]).await?;
        for _again in 0..2 {
            let found = find_at_once(&root, "server", 40).await?;
            assert_eq!(connections(&socket), 1);
            for portal in &found {
                assert_eq!(portal.call(double(3)).await?, 6);
            }
            let asker = n.spawn("asker").kind(kind);
            let seen = asker.run(ask_at_once("server".to_owned(), 40, socket.clone())).await?;
            assert_eq!(seen, if kind.is_process() { 2 } else { 1 });
            until_connections(&socket, 1).await;
            drop(found);
            until_connections(&socket, 0).await;
        }
        n.cancel();
        Ok(())
    })
    .await?;
    assert_eq!(log::take(WARNS_OF_GUARDS), [""; 0], "to drop a handle is a good way to leave");
    Ok(())
}

/// A look-up after a restart finds the new instance, whatever handles of the old one exist.
pub(crate) async fn a_restarted_actor_is_dialed_anew(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    let mut old: Vec<Portal> = Vec::new();
    for _run in 0..2 {
        root.nursery(async |n| {
            n.spawn("server").kind(kind).expose(&[double::EXPORT]).await?;
            let found = root.find_actor("server").await?.expect("it is ready");
            assert_eq!(found.call(double(3)).await?, 6);
            assert!(old.iter().all(is_over), "the old one is not the new one");
            old.push(found);
            n.cancel();
            Ok(())
        })
        .await?;
        old.last().expect("it was found").closed().await;
    }
    if !kind.is_process() {
        return Ok(());
    }
    root.nursery(async |n| {
        let exposed = [double::EXPORT, raise::EXPORT];
        n.spawn("victim").kind(kind).restart(Restart::Always).expose(&exposed).await?;
        for _round in 0..3 {
            let found = root.wait_for_actor("victim").await?;
            let killed = found.call(raise(libc::SIGKILL)).await;
            assert!(matches!(killed, Err(CallError::Transport(_))), "{killed:?}");
            // Until the registrar has heard of its end, it names the former instance.
            let anew = loop {
                match root.wait_for_actor("victim").await {
                    Ok(anew) if anew.call(double(3)).await.is_ok() => break anew,
                    _ => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            };
            assert!(is_over(&found) && !is_over(&anew));
        }
        n.cancel();
        Ok(())
    })
    .await?;
    Ok(())
}

/// The connection ends, and the actor does not: existing handles keep it, and the next look-up
/// makes another.
async fn ended_connections_are_not_shared(stage: Stage) -> Done {
    let Stage { root, client, .. } = stage;
    let mut desk = Desk::open(&client, "desk", &fresh_socket()).await?;
    desk.receive();
    let first = root.find_actor("desk").await?.expect("it is ready");
    let shared = root.find_actor("desk").await?.expect("it is ready");
    assert!(answers(&first).await && answers(&shared).await);
    assert_eq!(desk.greeted(), 1);

    desk.hang_up();
    first.closed().await;
    let second = root.find_actor("desk").await?.expect("it is ready");
    assert!(answers(&second).await);
    assert!(!answers(&first).await && !answers(&shared).await);
    drop((first, shared));
    let third = root.find_actor("desk").await?.expect("it is ready");
    assert!(answers(&second).await && answers(&third).await);
    assert_eq!(desk.greeted(), 2, "what is left of the first has not ended the second");
    drop((second, third));
    while desk.left.load(SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    desk.close().await;
    Ok(())
}

async fn a_cancelled_dialer(stage: Stage) -> Done {
    let Stage { root, client, .. } = stage;
    let socket = fresh_socket();
    let mut desk = Desk::open(&client, "desk", &socket).await?;
    let find = |root: Actor| async move {
        root.find_actor("desk").await.map(|found| found.expect("it is ready"))
    };
    let mut dialing = JoinSet::new();
    dialing.spawn(find(Actor::clone(&root)));
    until_connections(&socket, 1).await;
    let mut waiting = JoinSet::new();
    for _ in 0..10 {
        waiting.spawn(find(Actor::clone(&root)));
    }
    // They have asked the registrar, and wait; or come a moment later, with the same result.
    client.query_actor("desk").await?;
    assert_eq!(connections(&socket), 1, "one of them dials");
    dialing.shutdown().await;
    desk.receive();
    let found: Vec<_> = waiting.join_all().await.into_iter().collect::<Result<_, _>>()?;
    for portal in &found {
        assert!(answers(portal).await);
    }
    until_connections(&socket, 1).await;
    // The cancelled look-up may have sent its greeting before.
    assert!(desk.greeted() <= 2, "{}", desk.greeted());
    drop(found);
    desk.close().await;
    Ok(())
}

/// The first look-up is not polled any more once it dials, as if its task never yielded again.
async fn a_stuck_look_up_does_not_block_others(stage: Stage) -> Done {
    let Stage { root, client, .. } = stage;
    let socket = fresh_socket();
    let mut desk = Desk::open(&client, "desk", &socket).await?;
    let mut asking = std::pin::pin!(root.find_actor("desk"));
    tokio::select! {
        biased;
        found = &mut asking => panic!("nobody hears it yet: {found:?}"),
        () = until_connections(&socket, 1) => {}
    }
    desk.receive();
    let found = root.find_actor("desk").await?.expect("it is ready");
    assert!(answers(&found).await);
    drop(found);
    assert!(answers(&asking.await?.expect("it is ready")).await);
    assert_eq!(desk.greeted(), 1);
    desk.close().await;
    Ok(())
}

/// A later check shows that no descriptor is left.
async fn connections_left_at_the_end_are_closed(stage: Stage) -> Done {
    let Stage { root, client, .. } = stage;
    let mut desk = Desk::open(&client, "desk", &fresh_socket()).await?;
    desk.receive();
    std::mem::forget(root.find_actor("desk").await?.expect("it is ready"));
    desk.close().await;
    // One to the root itself, of which both sides are here.
    std::mem::forget(root.find_actor("base").await?.expect("it is ready"));
    Ok(())
}

/// Two instances of a name, of which the latest does not answer.
async fn the_next_instance(stage: Stage) -> Done {
    let Stage { root, client, .. } = stage;
    let mut desk = Desk::open(&client, "desk", &fresh_socket()).await?;
    desk.receive();
    let mute = Desk::open(&client, "desk", &fresh_socket()).await?;
    let found = find_at_once(&root, "desk", 10).await?;
    assert!(answers(&found[0]).await);
    assert_eq!(desk.greeted(), 1);
    drop(found);
    desk.close().await;
    mute.close().await;
    Ok(())
}

/// Finds an actor many times at once.
pub(crate) async fn find_at_once(
    actor: &Actor,
    name: &str,
    times: usize,
) -> Result<Vec<Portal>, AnyError> {
    let mut finding = JoinSet::new();
    for _ in 0..times {
        let (actor, name) = (actor.clone(), name.to_owned());
        finding.spawn(async move { actor.wait_for_actor(&name).await });
    }
    Ok(finding.join_all().await.into_iter().collect::<Result<_, _>>()?)
}

/// Returns the number of connections of the listener at an abstract socket, including those that it
/// has yet to accept: the kernel counts them.
pub(crate) fn connections(socket: &str) -> usize {
    let sockets = fs::read_to_string("/proc/net/unix").expect("the kernel tells of sockets");
    let is_one = |line: &&str| {
        let columns: Vec<_> = line.split_whitespace().collect();
        columns.get(7) == Some(&socket) && ["02", "03"].contains(&columns[5])
    };
    sockets.lines().filter(is_one).count()
}

async fn until_connections(socket: &str, count: usize) {
    while connections(socket) != count {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn fresh_socket() -> String {
    format!("@callsign-test-{}", Uuid::new_v4().simple())
}

/// Tells whether the other side answers at all.
async fn answers(portal: &Portal) -> bool {
    matches!(portal.call(double(3)).await, Err(CallError::NotExposed(_)))
}

fn is_over(portal: &Portal) -> bool {
    let mut closed = std::pin::pin!(portal.closed());
    let waker = std::task::Waker::noop();
    closed.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_ready()
}

/// An actor outside any tree, which counts its callers.
struct Desk {
    registered: Registered,
    acceptor: Option<Acceptor>,
    greeted: Arc<AtomicUsize>,
    /// How many callers have said goodbye.
    left: Arc<AtomicUsize>,
    hang_up: Arc<Notify>,
    receiving: JoinSet<()>,
}

impl Desk {
    /// Registers it. It does not accept callers yet.
    async fn open(client: &Client, name: &str, socket: &str) -> Result<Self, AnyError> {
        let listener = Listener::bind(&format!("/unix/{socket}").parse()?).await?;
        let registration = Registration::new(name).endpoints(listener.published()).proves();
        let registered = client.register(registration).await?;
        let acceptor = Acceptor::new(listener, registered.identity().clone(), Options::default());
        Ok(Self {
            registered,
            acceptor: Some(acceptor),
            greeted: Arc::default(),
            left: Arc::default(),
            hang_up: Arc::default(),
            receiving: JoinSet::new(),
        })
    }

    /// Accepts callers from now on.
    fn receive(&mut self) {
        let mut acceptor = self.acceptor.take().expect("it hears nobody yet");
        let (greeted, left) = (self.greeted.clone(), self.left.clone());
        let hang_up = self.hang_up.clone();
        self.receiving.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    caller = acceptor.accept() => {
                        greeted.fetch_add(1, SeqCst);
                        let driver = caller.converse(&Options::default(), NoService).driver;
                        let left = left.clone();
                        connections.spawn(async move {
                            if let Closed::Goodbye(_) = driver.await {
                                left.fetch_add(1, SeqCst);
                            }
                        });
                    }
                    () = hang_up.notified() => connections.shutdown().await,
                }
            }
        });
    }

    fn greeted(&self) -> usize {
        self.greeted.load(SeqCst)
    }

    /// Ends all connections.
    fn hang_up(&self) {
        self.hang_up.notify_one();
    }

    async fn close(mut self) {
        self.registered.unregister().await;
        self.receiving.shutdown().await;
    }
}

/// The target of a cache's warnings.
const WARNS_OF_GUARDS: &str = "callsign_tree::cache::guard";
