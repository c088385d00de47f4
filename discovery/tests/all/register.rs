//! Actors stay registered, whatever happens to the registrars.

use std::time::Duration;

use crate::support::{Running, Sockets, connect, nowhere, options, soon, two_registrars, until};
use callsign_discovery::{Client, RegisterError, Registration, RequestError};
use endpoints::{Endpoint, Stamped};
use portal::{Call, Connected, Options, Replies, Service, accept};
use tokio::{sync::mpsc, task::JoinSet};
use transport::Listener;
use uuid::Uuid;
use wire::{
    ErrorKind, Hello, Lifetime, RemoteError, State,
    registrar::{Changed, REGISTER, RENEW, Registered},
};

#[tokio::test]
async fn a_registration_lives_as_long_as_its_guard() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let feed = soon(client.register(nowhere("feed", 1).metadata("zone", "eu"))).await.unwrap();
    assert!(feed.missing().is_empty());

    soon(feed.set_state(State::Draining)).await.unwrap();
    assert!(soon(client.query_actor("feed")).await.unwrap().is_none());
    soon(feed.update_metadata([("zone".to_owned(), "us".to_owned())].into())).await.unwrap();
    let found = soon(client.query_all("feed")).await.unwrap();
    let record = &found.records[0];
    assert_eq!((record.state, &*record.metadata["zone"]), (State::Draining, "us"));
    assert_eq!(record.instance(), *feed.instance());

    drop(feed);
    registrar.until(|it| it.instances == 0).await;
    let feed = soon(client.register(nowhere("feed", 1))).await.unwrap();
    soon(feed.unregister()).await;
    assert_eq!(registrar.registry.status().instances, 0, "it was waited for");
}

#[tokio::test]
async fn a_registration_lives_as_long_as_the_last_of_its_clones() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let feed = soon(client.register(nowhere("feed", 1))).await.unwrap();
    let clone = feed.clone();
    let instance = feed.instance().to_string();
    assert_eq!(format!("{feed:?}"), format!("Registered({instance}, ready)"));

    drop(feed);
    soon(clone.set_state(State::Draining)).await.unwrap();
    assert_eq!(registrar.registry.status().instances, 1);
    assert_eq!(format!("{clone:?}"), format!("Registered({instance}, draining)"));
    drop(clone);
    registrar.until(|it| it.instances == 0).await;

    // A removal at one registrar counts for all.
    let feed = soon(client.register(nowhere("feed", 1))).await.unwrap();
    let clone = feed.clone();
    soon(feed.unregister()).await;
    assert_eq!(registrar.registry.status().instances, 0);
    drop(clone);
}

#[tokio::test]
async fn several_leave_in_one_change() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let mut leaving = Vec::new();
    for number in 1..=5 {
        leaving.push(soon(client.register(nowhere("feed", number))).await.unwrap());
    }
    let stays = soon(client.register(nowhere("pricer", 6))).await.unwrap();
    let before = registrar.registry.status().revision;
    soon(callsign_discovery::Registered::unregister_all(leaving)).await;
    let status = registrar.registry.status();
    assert_eq!((status.revision, status.instances), (before + 1, 1));
    drop(stays);
}

#[tokio::test]
async fn an_endpoint_that_is_bound_anew_is_the_same_registration() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let sockets = Sockets::new();
    let endpoint = sockets.endpoint("feed.sock");
    let feed = Registration::new("feed").endpoint(&endpoint).unwrap();
    let feed = soon(client.register(feed)).await.unwrap();
    let before = soon(client.query_actor("feed")).await.unwrap().unwrap();
    assert!(before.endpoints[0].stamp.socket.is_none(), "it is not there yet");

    let listener = soon(Listener::bind(&endpoint)).await.unwrap();
    soon(feed.update_endpoints(listener.published())).await.unwrap();
    let after = soon(client.query_actor("feed")).await.unwrap().unwrap();
    assert_eq!(after.endpoints, listener.published());
    assert_eq!(after.epoch, before.epoch);
    assert_eq!(after.endpoints, feed.endpoints());

    let wildcard = Stamped::bare("/ip4/0.0.0.0/tcp/7".parse().unwrap());
    let refused = soon(feed.update_endpoints(vec![wildcard])).await;
    assert!(matches!(refused, Err(RegisterError::Invalid(_))), "{refused:?}");
    assert_eq!(feed.endpoints(), listener.published());
}

#[tokio::test]
async fn registrations_return_after_a_registrars_restart() {
    let sockets = Sockets::new();
    let endpoint = sockets.endpoint("registrar.sock");
    let registrar = Running::at(std::slice::from_ref(&endpoint)).await;
    let client = connect([&endpoint]).await;
    let feed = soon(client.register(nowhere("feed", 1))).await.unwrap();
    let broker = soon(client.register(nowhere("broker", 2))).await.unwrap();
    let gone = soon(client.register(nowhere("gone", 3))).await.unwrap();
    registrar.stop().await;

    // Changes in the meantime are made up for.
    drop(gone);
    let error = soon(async {
        loop {
            match feed.set_state(State::Draining).await {
                Ok(()) => {}
                Err(error) => break error,
            }
        }
    })
    .await;
    assert!(matches!(error, RegisterError::Unreachable(_)), "{error}");
    assert_eq!(feed.missing().len(), 1);

    let registrar = Running::at(&[endpoint]).await;
    registrar.until(|it| it.instances == 2).await;
    let found = soon(client.query_all("feed")).await.unwrap();
    assert_eq!(found.records[0].state, State::Draining);
    assert_eq!(found.records[0].uuid, feed.instance().uuid);
    assert!(feed.missing().is_empty() && broker.missing().is_empty());
}

#[tokio::test]
async fn a_drain_by_another_is_kept_by_the_registrant() {
    let sockets = Sockets::new();
    let (places, [one, other], client) = two_registrars(&sockets).await;
    let feed = soon(client.register(nowhere("feed", 1))).await.unwrap();
    assert!(soon(feed.settled()).await.is_empty());
    assert_eq!(feed.state(), State::Ready);

    // The operator knows one of the two registrars.
    let operator = connect([&places[0]]).await;
    soon(operator.drain(feed.instance().uuid)).await.unwrap();
    assert!(soon(operator.query_ready("feed")).await.unwrap().records.is_empty());
    soon(feed.drained()).await;
    assert_eq!(feed.state(), State::Draining);
    assert!(soon(feed.settled()).await.is_empty());
    let at_other = connect([&places[1]]).await;
    let found = soon(at_other.query_all("feed")).await.unwrap();
    assert_eq!(found.records[0].state, State::Draining);

    // So can the holder of a renewed lease.
    let clock = nowhere("clock", 2).lease(Duration::from_secs(60));
    let clock = soon(client.register(clock)).await.unwrap();
    soon(operator.drain(clock.instance().uuid)).await.unwrap();
    soon(clock.drained()).await;
    soon(clock.unregister()).await;

    // A restarted registrar knows only what registrants tell it.
    one.stop().await;
    let one = Running::at(&places[..1]).await;
    one.until(|it| it.instances == 1).await;
    until(|| feed.missing().is_empty()).await;
    let fresh = connect([&places[0]]).await;
    let found = soon(fresh.query_all("feed")).await.unwrap();
    assert_eq!(found.records[0].state, State::Draining);

    // The change can be undone, and the actor itself decides last.
    soon(fresh.set_state(feed.instance().uuid, State::Ready)).await.unwrap();
    until(|| feed.state() == State::Ready).await;
    soon(feed.set_state(State::Draining)).await.unwrap();
    let found = soon(fresh.query_all("feed")).await.unwrap();
    assert_eq!(found.records[0].state, State::Draining);

    let error = soon(fresh.drain(Uuid::from_u128(7))).await.unwrap_err();
    assert!(matches!(error, RequestError::NotFound), "{error}");
    drop(other);
}

#[tokio::test]
async fn a_registrar_that_comes_later_catches_up() {
    let sockets = Sockets::new();
    let (one, late) = (Running::start().await, sockets.endpoint("late.sock"));
    let client = connect([&one.endpoint, &late]).await;
    let feed = soon(client.register(nowhere("feed", 1))).await.unwrap();
    assert_eq!(feed.missing()[0].registrar, late);

    let late = Running::at(&[late]).await;
    late.until(|it| it.instances == 1).await;
    until(|| feed.missing().is_empty()).await;
    drop(feed);
    one.until(|it| it.instances == 0).await;
    late.until(|it| it.instances == 0).await;
}

/// A registrar that accepts registrations, refuses every change, and reports renewals.
struct Stubborn(mpsc::Sender<()>);

impl Service for Stubborn {
    fn call(&mut self, call: Call<'_>, replies: &mut Replies) {
        match call.method {
            REGISTER => replies.finish(
                call.id,
                &Registered {
                    epoch: 1,
                    revision: 1,
                    key: None,
                    token: None,
                    resume: None,
                    lost: None,
                    also: Vec::new(),
                },
            ),
            RENEW => {
                replies.finish(call.id, &Changed { revision: 1 });
                // The reader has left once it has seen enough.
                _ = self.0.try_send(());
            }
            _ => replies.fail(call.id, RemoteError::new(ErrorKind::Invalid, "not like this")),
        }
    }
}

#[tokio::test]
async fn a_renewal_does_not_make_up_for_a_change_that_was_refused() {
    let listener = Listener::bind(&Endpoint::Memory(0)).await.unwrap();
    let endpoint = listener.bound().clone();
    let (renewed, mut renewals) = mpsc::channel(8);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let stream = listener.accept().await.unwrap();
        let hello = Hello { registrar: Some(Uuid::from_u128(9)), ..Hello::default() };
        let options = Options { hello, ..Options::default() };
        let Connected { driver, .. } = accept(stream, options, Stubborn(renewed)).await.unwrap();
        drop(driver.await);
    });
    let client = connect([&endpoint]).await;
    let lease = nowhere("feed", 1).lease(Duration::from_millis(300));
    let feed = soon(client.register(lease)).await.unwrap();
    let error = soon(feed.set_state(State::Draining)).await.unwrap_err();
    assert!(matches!(error, RegisterError::Refused(_)), "{error}");

    for _ in 0..2 {
        soon(renewals.recv()).await.unwrap();
        assert!(feed.missing()[0].to_string().ends_with("not like this"), "{:?}", feed.missing());
    }
}

#[tokio::test]
async fn it_is_told_when_all_registrars_have_taken_note() {
    let (one, other) = (Running::start().await, Running::start().await);
    let nobody = Sockets::new().endpoint("nobody.sock");
    let client = connect([&one.endpoint, &nobody, &other.endpoint]).await;
    let feed = soon(client.register(nowhere("feed", 1))).await.unwrap();

    let missing = soon(feed.settled()).await;
    let missing: Vec<_> = missing.iter().map(|it| &it.registrar).collect();
    assert_eq!(missing, [&nobody]);
    assert_eq!((one.registry.status().instances, other.registry.status().instances), (1, 1));
}

#[tokio::test]
async fn a_program_may_start_before_its_registrar() {
    let sockets = Sockets::new();
    let endpoint = sockets.endpoint("registrar.sock");
    let client = Client::open([&endpoint], options()).unwrap();
    assert!(soon(client.connected()).await.is_err());
    let error = soon(client.register(nowhere("feed", 1))).await.unwrap_err();
    assert!(matches!(error, RegisterError::Unreachable(_)), "{error}");

    let registrar = Running::at(&[endpoint]).await;
    registrar.until(|it| it.sessions == 1).await;
    assert_eq!(registrar.registry.status().instances, 0, "what failed is not kept");
}

#[tokio::test]
async fn an_early_registration_is_made_once_there_is_a_registrar() {
    let sockets = Sockets::new();
    let endpoint = sockets.endpoint("registrar.sock");
    let client = Client::open([&endpoint], options()).unwrap();
    let feed = soon(client.register_patiently(nowhere("feed", 1))).await.unwrap();
    assert_eq!(feed.missing().len(), 1);
    let dropped = soon(client.register_patiently(nowhere("dropped", 2))).await.unwrap();
    drop(dropped);
    // Changes in the meantime are part of what is registered.
    let error = soon(feed.set_state(State::Draining)).await.unwrap_err();
    assert!(matches!(error, RegisterError::Unreachable(_)), "{error}");

    let registrar = Running::at(&[endpoint]).await;
    soon(feed.accepted()).await.unwrap();
    assert!(feed.missing().is_empty());
    let found = soon(client.query_all("feed")).await.unwrap();
    assert_eq!(found.records[0].state, State::Draining);
    assert_eq!(registrar.registry.status().instances, 1);
    // As with any other handle, its end is the end of the registration.
    drop(feed);
    registrar.until(|it| it.instances == 0).await;
}

#[tokio::test]
async fn patience_is_for_what_passes() {
    let sockets = Sockets::new();
    let endpoint = sockets.endpoint("registrar.sock");
    let early = Client::open([&endpoint], options()).unwrap();
    let uuid = Uuid::new_v4();
    let late = soon(early.register_patiently(nowhere("broker", 1).uuid(uuid))).await.unwrap();

    // A registrar that appears and refuses: immediately if it is there already.
    let registrar = Running::at(std::slice::from_ref(&endpoint)).await;
    soon(late.accepted()).await.unwrap();
    let other = connect([&endpoint]).await;
    let error = soon(other.register_patiently(nowhere("feed", 2).uuid(uuid))).await.unwrap_err();
    assert!(matches!(error, RegisterError::Refused(_)), "{error}");
    drop(late);
    registrar.until(|it| it.instances == 0).await;
    registrar.stop().await;

    let second = Client::open([&endpoint], options()).unwrap();
    let refused = soon(second.register_patiently(nowhere("feed", 3).uuid(uuid))).await.unwrap();
    let node = registrar::NodeOptions { settle_time: Duration::ZERO, ..Default::default() };
    let node = registrar::Node::bind(&[endpoint], node).await.unwrap();
    let local_client = registrar::LocalClient::open(
        node.registry().clone(),
        registrar::registry::Owner::Registrar,
    );
    let taken = wire::registrar::Register::new("broker".parse().unwrap(), uuid);
    local_client.register(taken).unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(node.serve(tokio_util::sync::CancellationToken::new()));
    let error = soon(refused.accepted()).await.unwrap_err();
    assert!(matches!(error, RegisterError::Refused(_)), "{error}");

    // Another program in a registrar's place does not leave by itself.
    std::fs::write(sockets.path("file"), "").unwrap();
    let client = Client::open([&sockets.endpoint("file")], options()).unwrap();
    let error = soon(client.register_patiently(nowhere("feed", 1))).await.unwrap_err();
    assert!(matches!(error, RegisterError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn refusals_of_registrars_have_reasons() {
    let registrar = Running::start().await;
    let (one, other) = (connect([&registrar.endpoint]).await, connect([&registrar.endpoint]).await);
    let feed = soon(one.register(nowhere("feed", 1))).await.unwrap();
    let uuid = feed.instance().uuid;

    let error = soon(other.register(nowhere("broker", 1).uuid(uuid))).await.unwrap_err();
    let expected = format!(
        "no registrar accepts it:\n  {}: it refused: the instance {uuid} is registered under \
         another name",
        registrar.endpoint
    );
    assert_eq!(error.to_string(), expected);
    let error = soon(one.renew(uuid)).await.unwrap_err();
    assert!(matches!(error, RequestError::Refused(_)), "{error}");

    // Every owner of the instance may remove it by its UUID.
    soon(other.unregister(uuid)).await.unwrap();
    assert!(matches!(soon(other.unregister(uuid)).await, Err(RequestError::NotFound)));
    drop(feed);
}

#[tokio::test]
async fn the_same_instance_again_takes_the_place_of_the_first() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let first = soon(client.register(nowhere("feed", 1))).await.unwrap();
    let again = nowhere("feed", 2).uuid(first.instance().uuid);
    let second = soon(client.register(again)).await.unwrap();
    // The first has nothing left to remove.
    soon(first.unregister()).await;
    let record = soon(client.query_actor("feed")).await.unwrap().unwrap();
    assert_eq!(record.endpoints, second.endpoints());
}

#[tokio::test(start_paused = true)]
async fn leases_are_renewed_while_their_guard_lives() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let ttl = Duration::from_secs(3);
    let kept = soon(client.register(nowhere("kept", 1).lease(ttl))).await.unwrap();
    let left = soon(client.register(nowhere("left", 2).lease(ttl))).await.unwrap().leave();

    tokio::time::sleep(Duration::from_secs(2)).await;
    soon(client.renew(left.uuid)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(registrar.registry.status().instances, 2, "the one left was renewed by hand");

    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(soon(client.query_actor("left")).await.unwrap().is_none());
    let record = soon(client.query_actor("kept")).await.unwrap().unwrap();
    assert_eq!(record.lifetime, Lifetime::Lease { ttl_ms: 3000 });

    // An instance that is lost nevertheless is registered again.
    soon(client.unregister(kept.instance().uuid)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(registrar.registry.status().instances, 1);
    drop(kept);
    registrar.until(|it| it.instances == 0).await;
}

#[tokio::test]
async fn a_lease_is_stamped_with_the_user_who_listens_there() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let [served, other] = ["127.0.0.1:0"; 2].map(|it| std::net::TcpListener::bind(it).unwrap());
    let [first, second] = [&served, &other].map(|it| Endpoint::from(it.local_addr().unwrap()));
    let own = transport::user_ids_are_global().then(|| rustix::process::geteuid().as_raw());
    let ttl = Duration::from_secs(60);
    let lease = Registration::new("leased").endpoint(first.to_string()).unwrap().lease(ttl);
    let proved = lease.clone().proves();
    let kept = soon(client.register(lease)).await.unwrap();
    let users = async || {
        let record = soon(client.query_actor("leased")).await.unwrap().unwrap();
        record.endpoints.iter().map(|it| it.stamp.user).collect::<Vec<_>>()
    };
    assert_eq!(users().await, [own]);

    // Given again, each keeps its user, though nobody listens there now.
    drop(served);
    let bare = |it: &Endpoint| Stamped { stamp: transport::stamp(it), endpoint: it.clone() };
    soon(kept.update_endpoints([&first, &second].map(bare))).await.unwrap();
    assert_eq!(users().await, [own, own]);
    soon(kept.unregister()).await;

    // Who proves who it is may be anybody's.
    let _kept = soon(client.register(proved)).await.unwrap();
    assert_eq!(users().await, [None]);
}

#[tokio::test(start_paused = true)]
async fn no_lease_runs_out_while_the_registrar_is_stopped() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let ttl = Duration::from_secs(3);
    let left = soon(client.register(nowhere("left", 1).lease(ttl))).await.unwrap().leave();
    for _ in 0..5 {
        // As when the process is stopped: time passes, and nothing happens meanwhile.
        tokio::time::advance(Duration::from_secs(60)).await;
        soon(client.renew(left.uuid)).await.unwrap();
    }
    tokio::time::sleep(2 * ttl).await;
    assert!(soon(client.query_actor("left")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_thousand_registrations_come_back_together() {
    let sockets = Sockets::new();
    let endpoint = sockets.endpoint("registrar.sock");
    let registrar = Running::at(std::slice::from_ref(&endpoint)).await;
    let client = connect([&endpoint]).await;
    let mut kept = Vec::new();
    for number in 1..=1000 {
        kept.push(soon(client.register(nowhere("feed", number))).await.unwrap());
    }
    registrar.stop().await;
    let registrar = Running::at(&[endpoint]).await;
    registrar.until(|it| it.instances == 1000).await;
    drop(kept);
    registrar.until(|it| it.instances == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_clients_come_back_within_five_seconds() {
    let registrar = Running::start().await;
    let mut kept = Vec::new();
    for number in 1..=1000 {
        let client = Client::connect([&registrar.endpoint]).await.unwrap();
        kept.push(client.register(nowhere("feed", number)).await.unwrap());
    }
    let endpoint = registrar.stop().await;
    tokio::time::sleep(Duration::from_secs(60)).await;

    let began = tokio::time::Instant::now();
    let registrar = Running::at(&[endpoint]).await;
    registrar.until(|it| it.instances == 1000).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
