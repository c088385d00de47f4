//! Declared actors, from the settings: they never register themselves.
//!
//! Others bind their socket files, so their stamps may be outdated. A query for one looks at its own
//! files first. A list looks at all files, if they are few; if they are many, it has them looked at
//! afterwards, in parts, at most once a second. No look holds the lock.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::{MutexGuard, atomic::Ordering},
    time::Duration,
};

use endpoints::{Endpoint, EndpointTable, Name, Stamp, Stamped, UnixAddress};
use tokio::{task::yield_now, time::sleep};
use tracing::warn;
use uuid::Uuid;

use super::{RegistryHandle, RegistryState, acts::AUDIT};
use crate::{meter::thread_time, registry::Account};

/// What the settings declare.
#[derive(Debug, Default)]
pub(super) struct Declared {
    /// The actors with a socket file, whose stamps follow the file.
    with_socket_files: HashMap<Name, Uuid>,
    /// The number of their socket files.
    socket_files: usize,
    /// All of them.
    uuids: Vec<Uuid>,
    /// The account that the next look at all of them is charged to.
    look_for: Option<Account>,
}

impl RegistryHandle {
    /// Enters the declared actors, stamped as this process sees them. Actors that are no longer
    /// declared are removed.
    pub(crate) fn declare(&self, declared: &EndpointTable) {
        let now_ms = self.now_ms();
        let stamped = |it: &Endpoint| Stamped { stamp: transport::stamp(it), endpoint: it.clone() };
        let declared = declared.iter().map(|(name, endpoints)| {
            let uuid = declared_uuid(name, endpoints);
            (name.clone(), uuid, endpoints.iter().map(stamped).collect::<Vec<_>>())
        });
        let declared: Vec<_> = declared.collect();
        let uuids: HashSet<_> = declared.iter().map(|(_, uuid, _)| *uuid).collect();
        let mut now = Declared { uuids: uuids.iter().copied().collect(), ..Declared::default() };
        for (name, uuid, endpoints) in &declared {
            let count = endpoints.iter().filter(|it| it.endpoint.is_socket_file()).count();
            if count > 0 {
                now.socket_files += count;
                now.with_socket_files.insert(name.clone(), *uuid);
            }
        }

        let mut state = self.state();
        let mut gone = mem::replace(&mut state.declared, now).uuids;
        gone.retain(|it| !uuids.contains(it));
        let removed = state.registry.undeclare(&gone);
        self.deliver(&mut state, removed);
        self.after(state);
        for (name, uuid, endpoints) in declared {
            let mut state = self.state();
            let of = state.registry.owner(uuid).filter(|_| state.registry.declared(uuid).is_none());
            if let Some(of) = of {
                warn!(target: AUDIT, %name, %uuid, %of, "replaced: the settings declare an actor with this UUID");
            }
            let outcome = state.registry.declare(name, uuid, endpoints, now_ms);
            self.deliver(&mut state, outcome);
            self.after(state);
        }
    }

    /// Returns the registry after a look at the socket files of the declared actor of that name, if
    /// there is one, and the steps of that.
    pub(super) fn look_at_declared(&self, name: &str) -> (MutexGuard<'_, RegistryState>, usize) {
        let state = self.state();
        match state.declared.with_socket_files.get(name).copied() {
            None => (state, 0),
            Some(uuid) => {
                drop(state);
                let steps = self.restamp(uuid);
                (self.state(), steps)
            }
        }
    }

    /// Looks at the socket files of all declared actors, and returns the steps of that; or has that
    /// done later, for an account, where they are many.
    pub(crate) fn look_at_all_declared(&self, account: Account) -> usize {
        let mut state = self.state();
        let Declared { with_socket_files, socket_files, look_for, .. } = &mut state.declared;
        if *socket_files > LOOKS_AT_ONCE_MAX && self.0.is_attended.load(Ordering::Relaxed) {
            *look_for = Some(account);
            self.0.declared_looks.notify_one();
            return 0;
        }
        let uuids: Vec<_> = with_socket_files.values().copied().collect();
        drop(state);
        uuids.into_iter().map(|it| self.restamp(it)).sum()
    }

    /// Looks at the socket files of all declared actors whenever that was asked for, at most once a
    /// second and a tenth of the time, for as long as it is polled.
    pub(crate) async fn keep_looking_at_declared(&self) {
        loop {
            self.0.declared_looks.notified().await;
            let (uuids, account) = {
                let mut state = self.state();
                let uuids: Vec<_> = state.declared.with_socket_files.values().copied().collect();
                (uuids, state.declared.look_for.take())
            };
            let mut ran = Duration::ZERO;
            for uuid in uuids {
                let began = thread_time();
                self.restamp(uuid);
                let took = thread_time().saturating_sub(began);
                if let Some(account) = account {
                    self.charge(account, took);
                }
                ran += took;
                if ran < PART {
                    yield_now().await;
                } else {
                    sleep(mem::take(&mut ran) * REST).await;
                }
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Updates the stamps of a declared actor's socket files, and returns the steps of that.
    fn restamp(&self, uuid: Uuid) -> usize {
        let Some(record) = self.read(|registry| registry.declared(uuid)) else { return 0 };
        let (restamped, looks) = restamped(&record.endpoints);
        if restamped != record.endpoints {
            let mut state = self.state();
            let outcome = state.registry.restamp_declared(uuid, restamped);
            self.deliver(&mut state, outcome);
            self.after(state);
        }
        looks * LOOK_STEPS
    }
}

/// Looks at the socket files among some endpoints. Returns all of them with their stamps, and the
/// number of looks.
fn restamped(before: &[Stamped]) -> (Vec<Stamped>, usize) {
    let (mut now, mut this_host, mut looks) = (before.to_vec(), None, 0);
    for Stamped { endpoint, stamp } in &mut now {
        let Endpoint::Unix(UnixAddress::Path(path)) = endpoint else { continue };
        looks += 1;
        *stamp = match &this_host {
            None => *this_host.insert(transport::stamp(endpoint)),
            Some(this_host) => Stamp { socket: transport::look(path).ok(), ..*this_host },
        };
    }
    (now, looks)
}

/// Derives the identity of a declared actor from its declaration, so that registrars with the same
/// settings mean the same instance.
fn declared_uuid(name: &Name, endpoints: &[Endpoint]) -> Uuid {
    let mut declared = name.to_string();
    for endpoint in endpoints {
        declared += &endpoint.to_string();
    }
    Uuid::new_v5(&DECLARED_NAMESPACE, declared.as_bytes())
}

/// The name space of declared actors' identities (RFC 9562, section 6.5): drawn once, at random.
const DECLARED_NAMESPACE: Uuid = Uuid::from_u128(0x6c1d_27f1_53ab_4d0e_9b1c_f29e_30c4_7a55);

/// The most socket files that a list looks at itself: in less than half a millisecond.
const LOOKS_AT_ONCE_MAX: usize = 32;

/// The steps of a look at a socket file, which takes some 6 µs.
const LOOK_STEPS: usize = 256;

/// The work after which the looks at all socket files rest for others, and how many times as long.
const PART: Duration = Duration::from_micros(200);
const REST: u32 = 9;

/// The shortest time between two looks at all of many socket files.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::net::UnixListener,
        path::{Path, PathBuf},
    };

    use bytes::BytesMut;
    use tokio::{task::JoinSet, time::timeout};
    use tokio_util::sync::CancellationToken;
    use wire::registrar::Query;

    use super::*;
    use crate::{
        Node, NodeOptions,
        registry::{Limits, Owner},
    };

    fn name(number: usize) -> Name {
        format!("db-{number}").parse().unwrap()
    }

    fn path(folder: &Path, number: usize) -> PathBuf {
        folder.join(format!("{number}.sock"))
    }

    fn table(folder: &Path, count: usize) -> EndpointTable {
        let mut table = EndpointTable::default();
        for it in 0..count {
            let endpoint = format!("/unix{}", path(folder, it).display()).parse().unwrap();
            table.insert(name(it), [endpoint]);
        }
        table
    }

    /// Tells whether a declared actor is stamped with a socket.
    fn is_seen(registry: &RegistryHandle, number: usize) -> bool {
        let state = registry.state();
        let uuid = state.declared.with_socket_files[&name(number)];
        state.registry.declared(uuid).unwrap().endpoints[0].stamp.socket.is_some()
    }

    #[test]
    fn a_query_looks_at_the_files_of_its_name_and_a_list_at_a_few() {
        let folder = tempfile::tempdir().unwrap();
        let registry = RegistryHandle::unattended(Limits::default());
        registry.declare(&table(folder.path(), 3));
        let listeners = [0, 1, 2].map(|it| UnixListener::bind(path(folder.path(), it)).unwrap());
        let ask = |it: usize| {
            let name = name(it);
            let query = Query::of(name.as_str());
            registry.answer(&query, &Owner::User(7).into(), 0, &mut BytesMut::new())
        };
        assert!(ask(0) >= LOOK_STEPS);
        assert!(ask(9) < LOOK_STEPS);
        assert_eq!([0, 1, 2].map(|it| is_seen(&registry, it)), [true, false, false]);
        assert_eq!(registry.look_at_all_declared(Account::User(7)), 3 * LOOK_STEPS);
        assert_eq!([0, 1, 2].map(|it| is_seen(&registry, it)), [true; 3]);
        drop(listeners);
        fs::remove_file(path(folder.path(), 1)).unwrap();
        registry.look_at_all_declared(Account::User(7));
        assert_eq!([0, 1, 2].map(|it| is_seen(&registry, it)), [true, false, true]);
    }

    #[tokio::test]
    async fn many_files_are_looked_at_after_a_list() {
        let folder = tempfile::tempdir().unwrap();
        let node = Node::bind(&[Endpoint::Memory(0)], NodeOptions::default()).await.unwrap();
        let (registry, stop) = (node.registry().clone(), CancellationToken::new());
        let count = 4 * LOOKS_AT_ONCE_MAX;
        registry.declare(&table(folder.path(), count));
        let mut serving = JoinSet::new();
        serving.spawn(node.serve(stop.clone()));
        while !registry.0.is_attended.load(Ordering::Relaxed) {
            yield_now().await;
        }
        let _listener = UnixListener::bind(path(folder.path(), count - 1)).unwrap();
        assert_eq!(registry.look_at_all_declared(Account::User(7)), 0);
        assert!(!is_seen(&registry, count - 1), "not yet");
        let looked = async {
            while !is_seen(&registry, count - 1) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(60), looked).await.unwrap();
        stop.cancel();
        serving.join_all().await;
    }
}
