//! A host with any number of sockets: looks for one among them keep nobody waiting.

use std::{
    cell::Cell,
    net::TcpListener,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram, UnixListener},
    },
    path::Path,
    time::Duration,
};

use endpoints::Stamped;
use registrar::{LocalClient, Node, NodeOptions, registry::Owner};
use rustix::time::{ClockId, clock_gettime};
use tempfile::TempDir;
use tokio::{runtime::Builder, task::yield_now, time::timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wire::registrar::Evidence;

use crate::harness::{LIMIT, registration, stamped};

const OWNER: Owner = Owner::User(54_321);

/// The node and a client that only counts its turns share one thread, so that the machine's load does
/// not matter: the thread's processor time for each turn is compared with that on a host with few
/// sockets.
#[test]
fn however_many_sockets_there_are_nobody_waits_for_a_look() {
    let with_few = cost_of_a_turn();
    transport::raise_descriptor_limit().unwrap();
    let crowd: Vec<_> = (0..CROWD).map_while(|it| named(&format!("crowd-{it}")).ok()).collect();
    assert!(crowd.len() > 500, "{} sockets are no crowd", crowd.len());
    let with_many = cost_of_a_turn();
    // If the node itself went through the list, it would be a hundred times as much.
    assert!(with_many < 10 * with_few, "{with_few:?} a turn, and with many sockets {with_many:?}");
}

/// Reports places where nobody listens any more, awaits that all are found so, and returns the mean
/// processor time between two turns of another task of that thread.
fn cost_of_a_turn() -> Duration {
    let folder = TempDir::new().unwrap();
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let options = NodeOptions { settle_time: Duration::ZERO, ..NodeOptions::default() };
        let node = Node::bind(&["/memory/0".parse().unwrap()], options).await.unwrap();
        let registry = node.registry().clone();
        let places = forsaken(folder.path());
        let owner = LocalClient::open(registry.clone(), OWNER);
        let put: Vec<_> = places.iter().map(|it| put(&owner, it)).collect();
        let turns = Cell::new(0);
        let began = thread_time();
        let report = async {
            for ((uuid, epoch), place) in put.iter().zip(&places) {
                registry.report(*uuid, *epoch, &place.endpoint, Evidence::Refused, OWNER);
            }
            for (uuid, _) in put {
                while registry.record(uuid).unwrap().suspicion.is_none() {
                    turns.set(turns.get() + 1);
                    yield_now().await;
                }
            }
        };
        tokio::select! {
            () = node.serve(CancellationToken::new()) => panic!("the node has ended"),
            found = timeout(LIMIT, report) => found.expect("what is dead is found dead"),
        }
        (thread_time() - began) / turns.get()
    })
}

/// Returns places of each kind, at which somebody has listened.
fn forsaken(folder: &Path) -> Vec<Stamped> {
    let mut places = Vec::new();
    for number in 0..EACH {
        let path = folder.join(number.to_string());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        drop(UnixListener::bind(&path).unwrap());
        places.push(stamped(&format!("/unix{}", path.display())));
        places.push(stamped(&format!("/unix/@forsaken-{}-{number}", std::process::id())));
        places.push(stamped(&format!("/ip4/127.0.0.1/tcp/{port}")));
    }
    places
}

fn put(owner: &LocalClient, place: &Stamped) -> (Uuid, u64) {
    let register = registration("forsaken", vec![place.clone()]);
    let uuid = register.uuid;
    (uuid, owner.register(register).unwrap().epoch)
}

fn named(name: &str) -> std::io::Result<UnixDatagram> {
    let name = format!("callsign-{}-{name}", std::process::id());
    UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

const CROWD: usize = 5000;
const EACH: usize = 30;
