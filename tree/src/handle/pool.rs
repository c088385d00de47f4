//! The pool of connections to actors that were looked up.
//!
//! They are shared by all actors of one process, and not by each actor for itself: a process with
//! a hundred tasks that ask the same actor costs it one connection, and not a hundred of the
//! thousand that it takes. Nothing is lost by that: every call says by itself who calls, and the
//! other side judges a peer by its process or its user. So what runs a connection is on the
//! runtime of the process; an actor that is a thread has another, which ends before.

use std::{
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use discovery::{Assurance, Connection, Located, NoneAnswered, connect_first};
use endpoints::{Endpoint, InstanceId, Locality, Name};
use portal::{Connected, Established, Heartbeat, NoService, Options};
use thiserror::Error;
use tokio::{
    runtime::Handle,
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use transport::Peer;
use wire::{Epoch, supervised::PATH_KEY};

use crate::{
    ActorPath,
    cache::{Cache, Guard, OpenError, Resource},
};

/// The connections to actors that this process has looked up, each open for as long as there is a
/// handle of it.
pub(crate) struct ConnectionPool {
    cache: Cache<PoolKey, PooledConnection>,
    /// The runtime of the process, which outlasts those of threads.
    runtime: Handle,
    /// The one task that closes unused connections.
    reaper: Mutex<JoinSet<()>>,
    /// The drivers of the connections.
    drivers: Mutex<JoinSet<()>>,
    /// Asks all of them to end.
    over: CancellationToken,
}

/// Identifies an actor: another run of the same name is another actor, and so is one that has
/// registered again.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct PoolKey {
    instance: InstanceId,
    epoch: Epoch,
}

/// A connection to an actor.
#[derive(Debug)]
pub(crate) struct PooledConnection {
    /// The actor's path in its tree.
    pub(crate) actor: ActorPath,
    pub(crate) portal: portal::Portal,
    pub(crate) reached: Reached,
    driver: AbortHandle,
}

/// One user's hold on a connection.
pub(crate) type Shared = Guard<PoolKey, PooledConnection>;

/// The way in which an actor that was looked up was reached.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::Portal;
///
/// fn way(portal: &Portal) -> Option<String> {
///     portal.reached().map(|it| format!("{} ({})", it.endpoint, it.locality))
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Reached {
    /// At which of its endpoints.
    pub endpoint: Endpoint,
    /// Its locality.
    pub locality: Locality,
    /// How certain it is that it is the right one.
    pub assurance: Assurance,
}

impl ConnectionPool {
    pub(crate) fn new(runtime: Handle) -> Self {
        let (cache, reaper) = Cache::new();
        let mut closing = JoinSet::new();
        closing.spawn_on(reaper.run(), &runtime);
        Self {
            cache,
            runtime,
            reaper: Mutex::new(closing),
            drivers: Mutex::default(),
            over: CancellationToken::new(),
        }
    }

    /// Connects to the nearest of some instances, or shares the existing connection.
    ///
    /// # Errors
    ///
    /// The error of each instance.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. If this caller leaves, another that waits for the same connection dials
    /// instead.
    pub(crate) async fn open(
        self: &Arc<Self>,
        located: Vec<Located>,
    ) -> Result<Shared, Vec<OpenError<PoolError>>> {
        connect_first(located, |it| self.open_one(it)).await
    }

    /// Does so on the runtime of the process: a socket belongs to the runtime on which it was
    /// dialed. And others may wait for the same one, while the first caller is not polled.
    async fn open_one(self: &Arc<Self>, located: Located) -> Result<Shared, OpenError<PoolError>> {
        let pool = self.clone();
        let mut opening = JoinSet::new();
        let open = async move {
            let record = located.record();
            let whom = PoolKey { instance: record.instance(), epoch: record.epoch };
            pool.cache.open(whom, async || pool.dial(located).await).await
        };
        opening.spawn_on(open, &self.runtime);
        match opening.join_next().await {
            Some(Ok(opened)) => opened,
            Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime ends.
            Some(Err(_)) | None => Err(OpenError::Over),
        }
    }

    async fn dial(&self, located: Located) -> Result<PooledConnection, PoolError> {
        let connection = located.connect().await.map_err(Arc::new)?;
        let Connection { stream, peer, record, endpoint, locality, assurance, .. } = connection;
        // A peer that does not introduce itself does not speak the protocol.
        let Some(peer) = peer else { return Err(PoolError::NotOfTree(record.name)) };
        // A shared connection is used for long, and over TCP nothing reports a death.
        let heartbeat = matches!(stream.peer(), Peer::Tcp(_)).then(Heartbeat::default);
        let options = Options { heartbeat, ..Options::default() };
        let Connected { portal, driver } =
            Established::dialed(stream, peer).converse(&options, NoService);
        let said = record.metadata.get(PATH_KEY).cloned();
        let actor = said
            .and_then(|it| ActorPath::try_from(it).ok())
            .unwrap_or_else(|| ActorPath::root(&record.name));

        let (over, ending) = (self.over.clone(), portal.clone());
        let driving = async move {
            let farewell = async {
                over.cancelled().await;
                ending.close("the actors of this process have ended");
                sleep(FAREWELL_WAIT).await;
            };
            tokio::select! {
                biased;
                closed = driver => {
                    tracing::debug!(target: "callsign", actor = %record.instance(), "{closed}");
                }
                () = farewell => {}
            }
        };
        let mut drivers = lock(&self.drivers);
        while drivers.try_join_next().is_some() {}
        let driver = drivers.spawn_on(driving, &self.runtime);
        let reached = Reached { endpoint, locality, assurance };
        Ok(PooledConnection { actor, portal, reached, driver })
    }

    /// Says goodbye on all connections, whatever handles they have, and waits a little until they
    /// have ended. No new connections are made.
    pub(crate) async fn close(&self) {
        self.over.cancel();
        let mut drivers = mem::take(&mut *lock(&self.drivers));
        let mut reaper = mem::take(&mut *lock(&self.reaper));
        let all = async {
            while drivers.join_next().await.is_some() {}
            reaper.shutdown().await;
        };
        // It takes longer only if a task that never yields blocks the runtime.
        if timeout(CLOSE_LIMIT, all).await.is_err() {
            tracing::debug!(target: "callsign", "connections to actors were not closed in time");
        }
    }
}

impl fmt::Debug for ConnectionPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionPool").field("cache", &self.cache).finish_non_exhaustive()
    }
}

impl Resource for PooledConnection {
    type Error = PoolError;

    /// A failed goodbye matters to nobody: there is nothing more to send.
    const MAY_BE_DROPPED: bool = true;

    fn has_ended(&self) -> bool {
        self.portal.is_closed()
    }

    async fn close(self) -> Result<(), PoolError> {
        self.portal.close("nobody uses the connection any more");
        // A peer that does not read it in time sees the connection's end.
        drop(timeout(FAREWELL_WAIT, self.portal.closed()).await);
        Ok(())
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Why there is no connection to an instance.
#[derive(Clone, Debug, Error)]
pub(crate) enum PoolError {
    #[error(transparent)]
    NoneAnswered(#[from] Arc<NoneAnswered>),
    #[error("`{0}` does not speak callsign's protocol")]
    NotOfTree(Name),
}

fn lock(tasks: &Mutex<JoinSet<()>>) -> MutexGuard<'_, JoinSet<()>> {
    tasks.lock().expect("nothing panics while it holds the lock")
}

/// The time limit for writing a goodbye. It is written immediately, unless the other side has
/// stopped reading.
const FAREWELL_WAIT: Duration = Duration::from_millis(500);

/// The time limit for all of them at the end, including data in transit.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
