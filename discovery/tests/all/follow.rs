//! Names that are followed, at registrars that restart, fall silent and cannot be kept up with.

use std::{sync::mpsc, thread, time::Duration};

use callsign_discovery::{
    Assurance, Change, Client, FindError, Followed, FollowedView, Freshness, LookupError,
    Registered, Registration,
};
use endpoints::Endpoint;
use portal::Acceptor;
use tokio::{runtime::Builder, task::JoinSet};
use transport::Listener;
use wire::{Record, State};

use crate::support::{
    Running, Sockets, Way, connect, nowhere, options, soon, two_registrars, until as until_so,
};

/// Longer than the tests take: a registrar that settles that long is young throughout.
const LONG: Duration = Duration::from_secs(600);

/// Waits until the view is as expected.
async fn view(followed: &Followed, is_so: impl Fn(&FollowedView) -> bool) -> FollowedView {
    soon(async {
        let mut view = followed.view();
        while !is_so(&view) {
            view = followed.changed(view.revision()).await;
        }
        view
    })
    .await
}

/// Waits until the view is as fresh as that word says.
async fn until(followed: &Followed, freshness: &str) -> FollowedView {
    view(followed, |it| it.freshness().to_string() == freshness).await
}

/// Returns the ready instances by name, in order.
fn names(view: &FollowedView) -> Vec<String> {
    let mut names: Vec<_> = view.names().map(|(name, _)| name.to_string()).collect();
    names.sort();
    names
}

async fn registered(client: &Client, name: &str, number: u64) -> Registered {
    soon(client.register(nowhere(name, number))).await.unwrap()
}

fn number(record: &Record) -> u64 {
    record.metadata["number"].parse().unwrap()
}

#[tokio::test]
async fn a_view_knows_what_is_there_and_what_changes() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let eu = registered(&client, "feed.eu", 1).await;
    let _risk = registered(&client, "risk", 2).await;

    let feeds = client.follow("feed.*").unwrap();
    assert!(matches!(feeds.view().freshness(), Freshness::Syncing));
    assert!(!feeds.view().knows("feed.eu") && feeds.view().age().is_some());
    let synced = soon(feeds.synced()).await.unwrap();
    assert!(synced.freshness().is_current() && synced.age().is_none());
    assert_eq!(names(&synced), ["feed.eu"]);
    assert_eq!(synced.actor("feed.eu").unwrap().uuid, eu.instance().uuid);
    assert!(synced.knows("feed.us") && synced.actor("feed.us").is_none());
    // What is not followed is not known, whatever the view says.
    assert!(!synced.knows("risk") && synced.actor("risk").is_none());
    assert!(soon(feeds.query_actor("risk")).await.unwrap().is_some());

    let us = registered(&client, "feed.us", 3).await;
    let both = view(&feeds, |it| it.len() == 2).await;
    assert!(both.revision() > synced.revision());
    soon(eu.set_state(State::Draining)).await.unwrap();
    let drained = view(&feeds, |it| it.actor("feed.eu").is_none()).await;
    assert_eq!(drained.instances("feed.eu")[0].state, State::Draining);
    assert!(soon(feeds.query_actor("feed.eu")).await.unwrap().is_none());
    soon(us.unregister()).await;
    view(&feeds, |it| names(it) == ["feed.eu"]).await;
    // A view does not change.
    assert_eq!(
        (names(&synced), names(&both)),
        (vec!["feed.eu".into()], vec!["feed.eu".into(), "feed.us".into()])
    );
    assert!(client.follow("feed eu").is_err());
}

#[tokio::test]
async fn the_newest_instance_is_the_one_that_a_look_up_finds() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let workers = client.follow("worker").unwrap();
    let mut kept = Vec::new();
    for number in 1..=3 {
        kept.push(registered(&client, "worker", number).await);
        view(&workers, |it| it.len() as u64 == number).await;
        let found = soon(client.query_ready("worker")).await.unwrap().records;
        let seen = soon(workers.query_ready("worker")).await.unwrap();
        assert_eq!(seen.iter().map(|it| (**it).clone()).collect::<Vec<_>>(), found);
    }
}

#[tokio::test]
async fn a_restart_of_the_registrar_is_told_and_passes() {
    let sockets = Sockets::new();
    let endpoint = sockets.endpoint("registrar.sock");
    let registrar = Running::at(std::slice::from_ref(&endpoint)).await;
    let (client, brief) = (connect([&endpoint]).await, connect([&endpoint]).await);
    let _feed = registered(&client, "feed", 1).await;
    let _gone = registered(&brief, "brief", 2).await;
    let followed = client.follow("*").unwrap();
    let before = view(&followed, |it| it.len() == 2 && it.freshness().is_current()).await;

    registrar.stop().await;
    let stale = until(&followed, "unreachable").await;
    assert!(stale.age().is_some() && !stale.knows("feed"));
    assert_eq!(names(&stale), ["brief", "feed"], "it is as it was");
    match stale.freshness() {
        Freshness::Unreachable(failures) => assert_eq!(failures.0[0].registrar, endpoint),
        other => panic!("{other}"),
    }
    assert!(matches!(soon(followed.query_actor("feed")).await, Err(LookupError::Unreachable(_))));
    assert!(soon(followed.synced()).await.is_err());
    assert!(matches!(soon(client.find_actor("feed")).await, Err(FindError::Resolve(_))));

    brief.close().await;
    let _registrar = Running::at(&[endpoint]).await;
    let after = view(&followed, |it| it.freshness().is_current() && it.len() == 1).await;
    assert_eq!(after.actor("feed").unwrap().uuid, before.actor("feed").unwrap().uuid);
    assert!(after.age().is_none() && after.revision() > stale.revision());
}

#[tokio::test]
async fn a_view_begins_without_a_registrar() {
    let sockets = Sockets::new();
    let endpoint = sockets.endpoint("registrar.sock");
    let client = Client::open([&endpoint], options()).unwrap();
    let followed = client.follow("feed").unwrap();
    assert!(matches!(soon(followed.synced()).await, Err(LookupError::Unreachable(_))));
    let none = until(&followed, "unreachable").await;
    assert!(none.is_empty() && !none.knows("feed"), "nobody can say that there is none");
    assert!(soon(followed.query_actor("feed")).await.is_err());

    let _registrar = Running::at(&[endpoint]).await;
    until(&followed, "current").await;
    assert!(soon(followed.query_actor("feed")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_young_registrar_is_known_as_one() {
    let registrar = Running::settling(&[Endpoint::Memory(0)], LONG).await;
    let client = connect([&registrar.endpoint]).await;
    let (feed, risk) = (connect([&registrar.endpoint]).await, connect([&registrar.endpoint]).await);
    let _feed = registered(&feed, "feed", 1).await;
    let _risk = registered(&risk, "risk", 2).await;
    let followed = client.follow("*").unwrap();
    let young = view(&followed, |it| it.len() == 2 && matches!(it.freshness(), Freshness::Young));
    let young = young.await;
    assert!(young.settling().is_some() && !young.knows("feed"), "it asks");
    assert!(soon(followed.query_actor("feed")).await.unwrap().is_some());
    assert!(soon(followed.synced()).await.is_ok());

    // Of those that were there, one returns, and the other may still.
    let endpoint = registrar.stop().await;
    until(&followed, "unreachable").await;
    drop((risk, _risk));
    let next = Running::settling(&[endpoint], LONG).await;
    next.until(|it| it.instances == 1).await;
    let young = until(&followed, "young").await;
    assert_eq!(names(&young), ["feed", "risk"]);
    assert!(young.age().is_some() && !young.knows("risk"));
}

#[tokio::test(start_paused = true)]
async fn a_registrar_that_has_settled_is_current() {
    let registrar = Running::settling(&[Endpoint::Memory(0)], Duration::from_secs(3)).await;
    let client = connect([&registrar.endpoint]).await;
    let followed = client.follow("feed").unwrap();
    assert!(matches!(soon(followed.synced()).await.unwrap().freshness(), Freshness::Young));
    let settled = until(&followed, "current").await;
    assert!(settled.settling().is_none() && settled.knows("feed"));
}

#[tokio::test]
async fn one_of_several_registrars_may_be_away() {
    let sockets = Sockets::new();
    let (places, [one, other], client) = two_registrars(&sockets).await;
    let only_other = connect(&places[1..]).await;
    let _feed = registered(&client, "feed", 1).await;
    let _risk = registered(&only_other, "risk", 2).await;
    let followed = client.follow("*").unwrap();
    let whole = view(&followed, |it| it.len() == 2 && it.freshness().is_current()).await;
    assert_eq!(names(&whole), ["feed", "risk"]);

    other.stop().await;
    let partial = until(&followed, "partial").await;
    match partial.freshness() {
        Freshness::Partial(failures) => assert_eq!(failures.0[0].registrar, places[1]),
        other => panic!("{other}"),
    }
    assert!(!partial.knows("feed") && partial.actor("feed").is_some());
    // It asks, and the answer is that of the registrar that is there.
    assert!(soon(followed.query_actor("feed")).await.unwrap().is_some());
    assert!(soon(followed.query_actor("absent")).await.is_err());
    one.stop().await;
    let none = until(&followed, "unreachable").await;
    assert_eq!(none.actor("feed").unwrap().name.as_str(), "feed");

    let _running = [Running::at(&places[..1]).await, Running::at(&places[1..]).await];
    let again = view(&followed, |it| it.len() == 2 && it.freshness().is_current()).await;
    assert_eq!(names(&again), ["feed", "risk"]);
}

#[tokio::test]
async fn a_cut_connection_goes_on_where_it_was() {
    let registrar = Running::start().await;
    let mut way = Way::to(&registrar.endpoint).await;
    let (cut, well) = (connect([&way.endpoint]).await, connect([&registrar.endpoint]).await);
    let feed = registered(&well, "feed", 1).await;
    let followed = cut.follow("*").unwrap();
    view(&followed, |it| it.knows("feed") && it.len() == 1).await;

    way.cut().await;
    until(&followed, "unreachable").await;
    soon(feed.unregister()).await;
    let _risk = registered(&well, "risk", 2).await;
    way.mend().await;
    view(&followed, |it| it.freshness().is_current() && names(it) == ["risk"]).await;
}

/// Registers and updates on a thread and runtime of its own while this one takes no event.
#[test]
fn a_burst_that_cannot_be_kept_up_with_leaves_no_gap() {
    let sockets = Sockets::new();
    let endpoint = sockets.endpoint("registrar.sock");
    let (said, told) = mpsc::channel();
    let (go, goes) = mpsc::channel::<()>();
    let (done, is_done) = mpsc::channel::<()>();
    let place = endpoint.clone();
    let others = thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let _registrar = Running::at(std::slice::from_ref(&place)).await;
            let actors = connect([&place]).await;
            let feed = registered(&actors, "feed", 1).await;
            let brief = registered(&actors, "brief", 2).await;
            said.send(()).unwrap();
            until_so(|| goes.try_recv().is_ok()).await;
            for number in 0..4500 {
                let metadata = [("number".to_owned(), number.to_string())];
                soon(feed.update_metadata(metadata.into())).await.unwrap();
                if number == 2000 {
                    soon(brief.clone().unregister()).await;
                }
            }
            said.send(()).unwrap();
            let ended = tokio::task::spawn_blocking(move || is_done.recv());
            drop(soon(ended).await);
        });
    });

    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    told.recv().unwrap();
    runtime.block_on(async {
        let client = connect([&endpoint]).await;
        let followed = client.follow("*").unwrap();
        let mut watch = client.watch("*").unwrap();
        while !matches!(soon(watch.next()).await, Some(Change::Synced)) {}
        view(&followed, |it| it.freshness().is_current() && it.len() == 2).await;
        // Nothing runs here meanwhile.
        go.send(()).unwrap();
        told.recv().unwrap();

        let mut seen = followed.view();
        let last = soon(async {
            loop {
                seen = followed.changed(seen.revision()).await;
                let feed = seen.actor("feed").expect("it was there all the time");
                if seen.freshness().is_current() && number(feed) == 4499 {
                    break names(&seen);
                }
            }
        });
        assert_eq!(last.await, ["feed"]);
        // The registrar had given up to tell each change.
        while !matches!(soon(watch.next()).await, Some(Change::Reset)) {}
    });
    done.send(()).unwrap();
    others.join().unwrap();
}

#[tokio::test]
async fn the_last_handle_ends_the_watch() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let followed = client.follow("feed").unwrap();
    soon(followed.synced()).await.unwrap();
    assert_eq!(registrar.registry.status().watchers, 1);
    let clone = followed.clone();
    let view = followed.view();
    drop(followed);
    let _feed = registered(&client, "feed", 1).await;
    self::view(&clone, |it| it.len() == 1).await;
    drop(clone);
    registrar.until(|it| it.watchers == 0).await;
    assert!(view.is_empty(), "a view may outlive them");
    // Nothing of it is left at the client either.
    drop(client);
    let (client, mut follows) = (connect([&registrar.endpoint]).await, Vec::new());
    for pattern in ["feed", "risk", "*"] {
        follows.push(client.follow(pattern).unwrap());
    }
    registrar.until(|it| it.watchers == 3).await;
    drop(follows);
    registrar.until(|it| it.watchers == 0).await;
}

#[tokio::test]
async fn a_closed_client_is_told() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let _feed = registered(&client, "feed", 1).await;
    let followed = client.follow("feed").unwrap();
    view(&followed, |it| it.knows("feed") && it.len() == 1).await;
    client.close().await;
    let last = until(&followed, "closed").await;
    assert!(last.actor("feed").is_some() && !last.knows("feed") && last.age().is_some());
    assert!(soon(followed.synced()).await.is_err());
    assert!(soon(followed.query_actor("feed")).await.is_err());
    assert!(matches!(soon(followed.changed(last.revision())).await.freshness(), Freshness::Closed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_other_threads_never_see_an_older_view() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let first = nowhere("feed", 1).metadata("number", "0");
    let feed = soon(client.register(first)).await.unwrap();
    let followed = client.follow("*").unwrap();
    view(&followed, |it| it.len() == 1).await;
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let followed = followed.clone();
            thread::spawn(move || {
                let (mut last, mut reads) = ((0, 0), 0_u64);
                while last.1 != 300 {
                    let view = followed.view();
                    let feed = view.actor("feed").expect("it is there all the time");
                    let now = (view.revision(), number(feed));
                    assert!(now >= last && now.1 >= last.1, "{now:?} after {last:?}");
                    (last, reads) = (now, reads + 1);
                }
                reads
            })
        })
        .collect();
    for number in 1..=300 {
        let metadata = [("number".to_owned(), number.to_string())];
        soon(feed.update_metadata(metadata.into())).await.unwrap();
    }
    for reader in readers {
        assert!(tokio::task::spawn_blocking(|| reader.join().unwrap()).await.unwrap() > 0);
    }
}

/// A registrar on a thread of its own, where it can be held up.
struct Held {
    endpoint: Endpoint,
    hold: mpsc::Sender<()>,
    is_held: mpsc::Receiver<()>,
    go_on: mpsc::Sender<()>,
}

impl Held {
    fn start() -> Self {
        let (said, told) = mpsc::channel();
        let (hold, is_to_be_held) = mpsc::channel::<()>();
        let (held, is_held) = mpsc::channel();
        let (go_on, goes_on) = mpsc::channel::<()>();
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let registrar = Running::start().await;
                said.send(registrar.endpoint.clone()).unwrap();
                loop {
                    match is_to_be_held.try_recv() {
                        Ok(()) => {
                            held.send(()).unwrap();
                            goes_on.recv().ok();
                        }
                        Err(mpsc::TryRecvError::Empty) => {
                            tokio::time::sleep(Duration::from_millis(1)).await;
                        }
                        Err(mpsc::TryRecvError::Disconnected) => return,
                    }
                }
            });
        });
        Self { endpoint: told.recv().unwrap(), hold, is_held, go_on }
    }
}

/// An actor that proves its identity to everybody who connects.
async fn proving(client: &Client, name: &str) -> (Registered, JoinSet<()>) {
    let listener = Listener::bind(&Endpoint::Memory(0)).await.unwrap();
    let registration = Registration::new(name).endpoints(listener.published()).proves();
    let registered = soon(client.register(registration)).await.unwrap();
    let mut acceptor = Acceptor::new(listener, registered.identity().clone(), Default::default());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            drop(acceptor.accept().await);
        }
    });
    (registered, tasks)
}

#[tokio::test]
async fn a_name_that_is_followed_is_connected_to_without_its_registrar() {
    let registrar = Held::start();
    let client = connect([&registrar.endpoint]).await;
    let (feed, _tasks) = proving(&client, "feed").await;
    let followed = client.follow("fe*").unwrap();
    view(&followed, |it| it.knows("feed") && it.len() == 1).await;
    soon(client.find_actor("feed")).await.unwrap().unwrap();
    // The next challenge has been asked for, on the connection on which these are answered later.
    for _ in 0..3 {
        soon(client.query_actor("feed")).await.unwrap().unwrap();
    }

    registrar.hold.send(()).unwrap();
    registrar.is_held.recv().unwrap();
    let connection = soon(client.find_actor("feed")).await.unwrap().unwrap();
    assert_eq!(connection.assurance, Assurance::Proved);
    assert_eq!(connection.record.uuid, feed.instance().uuid);
    assert_eq!(connection.age, None);
    registrar.go_on.send(()).unwrap();
    // Each challenge is for one connection; the next one is asked for.
    for _ in 0..3 {
        assert_eq!(
            soon(client.find_actor("feed")).await.unwrap().unwrap().assurance,
            Assurance::Proved
        );
    }
}

#[tokio::test]
async fn a_name_that_is_followed_is_asked_for_when_its_instance_is_another() {
    let registrar = Running::start().await;
    let (client, actors) =
        (connect([&registrar.endpoint]).await, connect([&registrar.endpoint]).await);
    let followed = client.follow("feed").unwrap();
    soon(followed.synced()).await.unwrap();
    // A "no" is asked for: the registration may have overtaken its event.
    for _ in 0..3 {
        assert!(soon(client.find_actor("feed")).await.unwrap().is_none());
        let (feed, _tasks) = proving(&actors, "feed").await;
        let found = soon(client.find_actor("feed")).await.unwrap().unwrap();
        assert_eq!(found.record.uuid, feed.instance().uuid);
        view(&followed, |it| it.len() == 1).await;
        // Another one takes its place, before or after the view knows.
        soon(feed.unregister()).await;
        let (other, _tasks) = proving(&actors, "feed").await;
        let found = soon(client.find_actor("feed")).await.unwrap().unwrap();
        assert_eq!(found.record.uuid, other.instance().uuid);
        soon(other.unregister()).await;
    }
}

#[tokio::test]
async fn an_instance_from_memory_that_does_not_answer_is_reported() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let listener = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse().unwrap()).await.unwrap();
    let lease = Registration::new("feed").endpoints(listener.published()).lease(LONG);
    soon(client.register(lease)).await.unwrap().leave();
    let followed = client.follow("feed").unwrap();
    view(&followed, |it| it.knows("feed") && it.len() == 1).await;
    for _ in 0..2 {
        soon(client.find_actor("feed")).await.unwrap().unwrap();
        soon(client.query_actor("feed")).await.unwrap().unwrap();
    }
    drop(listener);
    let found = soon(client.find_actor("feed")).await;
    assert!(matches!(found, Err(FindError::NoneAnswered(_))), "{found:?}");
    // The registrar has looked for itself.
    view(&followed, |it| it.actor("feed").is_some_and(|it| it.suspicion.is_some())).await;
}
