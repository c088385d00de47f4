//! A calm user: an actor that really listens, registers, and looks itself up again and again.

use std::{
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
    sync::mpsc::{Receiver, Sender, TryRecvError},
    time::Duration,
};

use discovery::{Change, Client, ClientOptions, LookupOptions, Registration, Watch};
use rustix::process::getuid;
use tokio::{runtime::Builder, time::timeout};
use uuid::Uuid;
use wire::{Owner, Record};

use crate::harness::LIMIT;

/// Registers an actor, reports that, and looks it up until stopped: it is always found, by every
/// kind of query, and is never suspect.
pub(crate) fn be_served(
    endpoint: &str,
    place: &str,
    is_there: &Sender<Uuid>,
    is_over: &Receiver<()>,
) {
    let name = place.strip_prefix("/unix/@").expect("it is an abstract name");
    let address = SocketAddr::from_abstract_name(name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // However busy the machine, and so this client or the registrar, that is not silence.
        let patient = ClientOptions {
            handshake_timeout: LIMIT,
            ask_timeout: LIMIT,
            heartbeat: None,
            ..ClientOptions::default()
        };
        let client = Client::connect_with([endpoint], patient).await.unwrap();
        let name = format!("calm-{}", name.rsplit('-').next().unwrap());
        let registration = Registration::new(&name).endpoint(place).unwrap();
        let registered = client.register(registration).await.unwrap();
        let uuid = registered.instance().uuid;
        let mut watch = client.watch(&name).unwrap();
        until_synced(&mut watch).await;
        is_there.send(uuid).unwrap();
        while is_over.try_recv() == Err(TryRecvError::Empty) {
            let mine = LookupOptions { owner: Some(Owner::User(getuid().as_raw())), ..all() };
            for options in [mine, all()] {
                let found = soon(client.query_with(&name, options)).await.unwrap();
                is_well(&found.records, uuid);
            }
            is_well(&soon(client.query_ready(&name)).await.unwrap().records, uuid);
            is_well(&soon(client.list(&name)).await.unwrap().records, uuid);
            while let Ok(change) = timeout(Duration::ZERO, watch.next()).await {
                match change.expect("a watch goes on") {
                    Change::Add { record } | Change::Update { record } => is_well(&[record], uuid),
                    Change::Remove { instance, reason, .. } => {
                        panic!("{instance} is gone: {reason:?}")
                    }
                    _ => {}
                }
            }
        }
        client.close().await;
    });
}

fn all() -> LookupOptions {
    LookupOptions { all: true, ..LookupOptions::default() }
}

#[track_caller]
fn is_well(records: &[Record], uuid: Uuid) {
    let [record] = records else { panic!("there is one, and not {records:?}") };
    assert_eq!((record.uuid, record.suspicion, record.endpoints.len()), (uuid, None, 1));
}

async fn until_synced(watch: &mut Watch) {
    while !matches!(soon(watch.next()).await, Some(Change::Synced)) {}
}

/// A bound against hanging only.
async fn soon<T>(answer: impl Future<Output = T>) -> T {
    timeout(LIMIT, answer).await.expect("a calm user is answered")
}
