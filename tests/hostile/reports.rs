//! Reports make the registrar look, with no more rights than those of the reporter, and at a
//! limited rate for each owner.

use std::time::Duration;

use endpoints::{Endpoint, Stamped};
use registrar::{LocalClient, Node, NodeOptions, RegistryHandle, registry::Owner};
use rustix::process::geteuid;
use tempfile::TempDir;
use tokio::{runtime::Builder, task::yield_now, time::timeout};
use tokio_util::sync::CancellationToken;
use transport::Listener;
use uuid::Uuid;
use wire::registrar::{Evidence, Register};

use crate::harness::{LIMIT, registration};

const STRANGER: Owner = Owner::User(54_321);
const OTHER: Owner = Owner::User(54_322);

/// Lets owners register and report at a node of this process.
fn play(story: impl AsyncFnOnce(&RegistryHandle, &TempDir)) {
    let folder = TempDir::new().unwrap();
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let options = NodeOptions { settle_time: Duration::ZERO, ..NodeOptions::default() };
        let place = format!("/unix{}/registrar.sock", folder.path().display()).parse().unwrap();
        let node = Node::bind(&[place], options).await.unwrap();
        let registry = node.registry().clone();
        tokio::select! {
            () = node.serve(CancellationToken::new()) => panic!("the node has ended"),
            told = timeout(LIMIT, story(&registry, &folder)) => told.expect("what is awaited comes"),
        }
    });
}

/// Registers an instance, and returns its UUID and its epoch.
fn put(local_client: &LocalClient, endpoints: Vec<Stamped>, proves: bool) -> (Uuid, u64) {
    let register = Register { proves, ..registration("feed", endpoints) };
    let uuid = register.uuid;
    (uuid, local_client.register(register).unwrap().epoch)
}

async fn is_connected_to(listener: &Listener) -> bool {
    timeout(Duration::ZERO, listener.accept()).await.is_ok()
}

/// Whatever the registrar itself could open, it does not connect for an owner to the places of
/// another.
#[test]
fn places_of_other_owners_are_not_connected_to() {
    play(async |registry, folder| {
        let path = format!("/unix{}/other.sock", folder.path().display());
        let name = folder.path().file_name().unwrap().to_str().unwrap();
        let places = ["/ip4/127.0.0.1/tcp/0", &path, &format!("/unix/@{name}")];
        let strange = LocalClient::open(registry.clone(), STRANGER);
        let own = LocalClient::open(registry.clone(), Owner::User(geteuid().as_raw()));
        for place in places {
            let listener = Listener::bind(&place.parse().unwrap()).await.unwrap();
            let stamped: Vec<_> = listener.published().into();
            let endpoint = stamped[0].endpoint.clone();
            for evidence in [Evidence::Refused, Evidence::OtherIdentity, Evidence::TimedOut] {
                let (uuid, epoch) = put(&strange, stamped.clone(), true);
                registry.report(uuid, epoch, &endpoint, evidence, STRANGER);
                registry.report(uuid, epoch, &endpoint, evidence, OTHER);
            }
            // The user who listens there may have it looked at. Its look is the last.
            let (uuid, epoch) = put(&own, stamped.clone(), true);
            registry.report(uuid, epoch, &endpoint, Evidence::Refused, OTHER);
            let mut connections = 0;
            listener.accept().await.unwrap();
            connections += 1;
            for _ in 0..100 {
                yield_now().await;
                connections += usize::from(is_connected_to(&listener).await);
            }
            // Its own claims contest the older ones, which are the stranger's.
            assert_eq!(connections, 1, "{place}");
            drop(listener);
            strange.unregister_all(vec![uuid]).unwrap_err();
        }
    });
}

/// Where the registrar cannot judge, only an instance's owner and root can make it suspect.
#[test]
fn a_strangers_report_does_not_harm_instances_beyond_judgement() {
    play(async |registry, _| {
        let owner = LocalClient::open(registry.clone(), STRANGER);
        let places = ["/ip4/198.51.100.1/tcp/7", "/dns/db.example/tcp/7", "/unix/@elsewhere"];
        let leased = |place: &str| {
            // Without a stamp, a name or a path may be on any host.
            let endpoints = vec![Stamped::bare(place.parse().unwrap())];
            let lease_ms = Some(600_000);
            let register = Register { lease_ms, ..registration("feed", endpoints.clone()) };
            // Nobody is left to be asked.
            let registrant = LocalClient::open(registry.clone(), STRANGER);
            let epoch = registrant.register(register.clone()).unwrap().epoch;
            (register.uuid, epoch, endpoints[0].endpoint.clone())
        };
        let is_suspect = |uuid| registry.record(uuid).unwrap().suspicion.is_some();
        let evidence = [Evidence::Refused, Evidence::OtherIdentity, Evidence::TimedOut];
        for (place, evidence) in places.into_iter().zip(evidence) {
            let (uuid, epoch, endpoint) = leased(place);
            for by in [OTHER, Owner::Unknown(7), Owner::Host([198, 51, 100, 9].into())] {
                registry.report(uuid, epoch, &endpoint, evidence, by);
                // The report of the owner's other endpoint is handled after it.
                let (later, epoch, endpoint) = leased("/ip4/198.51.100.2/tcp/9");
                registry.report(later, epoch, &endpoint, evidence, STRANGER);
                while !is_suspect(later) {
                    yield_now().await;
                }
                assert!(!is_suspect(uuid), "{place} {evidence:?} {by}");
                owner.unregister_all(vec![later]).unwrap();
            }
            registry.report(uuid, epoch, &endpoint, evidence, Owner::User(0));
            while !is_suspect(uuid) {
                yield_now().await;
            }
            owner.unregister_all(vec![uuid]).unwrap();
        }
    });
}

/// While a claim is looked into, the reports of it wait: those of a stranger, before or after, do not
/// replace one that is believed.
#[test]
fn no_report_takes_the_place_of_another_owners() {
    play(async |registry, _| {
        let (own, other) = ((STRANGER, Evidence::Refused), (OTHER, Evidence::TimedOut));
        let of_root = (Owner::User(0), Evidence::OtherIdentity);
        for (at, order) in [
            vec![other, own, other, (OTHER, Evidence::Refused)],
            vec![other, other, (OTHER, Evidence::Missing), of_root],
            vec![other, of_root, (Owner::Unknown(7), Evidence::Refused)],
        ]
        .into_iter()
        .enumerate()
        {
            let place = Stamped::bare(format!("/ip4/198.51.100.1/tcp/{}", at + 7).parse().unwrap());
            let lease_ms = Some(600_000);
            let register = Register { lease_ms, ..registration("feed", vec![place.clone()]) };
            // Nobody is left to be asked.
            let registrant = LocalClient::open(registry.clone(), STRANGER);
            let (uuid, epoch) = (register.uuid, registrant.register(register).unwrap().epoch);
            drop(registrant);
            for (by, evidence) in order {
                registry.report(uuid, epoch, &place.endpoint, evidence, by);
            }
            while registry.record(uuid).unwrap().suspicion.is_none() {
                yield_now().await;
            }
        }
    });
}

/// A client that reports without end is served at a rate, and others do not wait.
#[test]
fn many_reports_of_one_owner_do_not_slow_others() {
    play(async |registry, folder| {
        let hostile = LocalClient::open(registry.clone(), STRANGER);
        let elsewhere = |it: usize| {
            Stamped::bare(format!("/ip4/192.0.2.1/tcp/{}", it + 1).parse::<Endpoint>().unwrap())
        };
        let reported: Vec<_> = (0..2000)
            .map(|it| (put(&hostile, vec![elsewhere(it)], false), elsewhere(it)))
            .collect();
        for ((uuid, epoch), stamped) in &reported {
            registry.report(*uuid, *epoch, &stamped.endpoint, Evidence::Refused, STRANGER);
        }
        let place = format!("/unix{}/dead.sock", folder.path().display()).parse().unwrap();
        let listener = Listener::bind(&place).await.unwrap();
        let stamped: Vec<_> = listener.published().into();
        let other = LocalClient::open(registry.clone(), OTHER);
        let (uuid, epoch) = put(&other, stamped, false);
        drop(listener);
        registry.report(uuid, epoch, &place, Evidence::Refused, OTHER);
        while registry
            .record(uuid)
            .is_some_and(|it| !it.endpoints.is_empty() && it.suspicion.is_none())
        {
            yield_now().await;
        }
        // Some of the many were looked at before; nobody waits for the rest.
        let looked_into = |(uuid, _): &(Uuid, u64)| {
            registry.record(*uuid).is_some_and(|it| it.suspicion.is_some())
        };
        let looks = reported.iter().filter(|(it, _)| looked_into(it)).count();
        assert!(looks < 256, "{looks} looks for one owner");
    });
}
