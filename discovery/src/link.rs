//! One registrar, as the handles see it.

mod backoff;
mod callbacks;
pub(crate) mod connector;
pub(crate) mod desired;
mod patience;
pub(crate) mod returns;
mod session;
pub(crate) mod whereabouts;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use endpoints::{Endpoint, SocketId, Stamped};
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use portal::{CallError, Portal, Request, while_awake};
use serde::de::DeserializeOwned;
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wire::WireError;

use self::{desired::DesiredState, patience::Patience};
use crate::{ClientOptions, LinkError, RegistrarFailure, failure::WAITS_MAX};

/// The state that a client's handles share with its links.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) links: Vec<Link>,
    pub(crate) desired: DesiredState,
    pub(crate) options: ClientOptions,
    pub(crate) closing: CancellationToken,
    /// The link that serves each registrar or cluster, since two addresses may lead to the same one.
    claims: Mutex<BTreeMap<Uuid, usize>>,
}

impl Hub {
    pub(crate) fn new(registrars: Vec<Endpoint>, options: ClientOptions) -> Self {
        let link = |registrar| Link {
            others: Mutex::default(),
            registrar,
            state: watch::Sender::new(LinkState::Dialing),
            connections: AtomicU64::new(0),
            waits: Semaphore::new(WAITS_MAX),
            patience: Arc::default(),
        };
        Self {
            desired: DesiredState::new(registrars.len()),
            links: registrars.into_iter().map(link).collect(),
            options,
            closing: CancellationToken::new(),
            claims: Mutex::default(),
        }
    }

    /// Claims the registrar of `connection` for a link, and declares the link up; or declares it on
    /// standby, and returns the link that has that registrar.
    pub(crate) fn claim(&self, index: usize, connection: LinkConnection) -> Result<(), usize> {
        let mut claims = self.claims();
        let keeper = connection.keeper;
        match claims.get(&keeper) {
            Some(&holder) => {
                self.links[index].set(LinkState::Standby { holder });
                Err(holder)
            }
            None => {
                claims.insert(keeper, index);
                self.links[index].set(LinkState::Up(connection));
                Ok(())
            }
        }
    }

    /// Gives the registrar of a link free, and declares the link down.
    pub(crate) fn release(&self, index: usize, keeper: Uuid, error: Arc<LinkError>) {
        let mut claims = self.claims();
        claims.remove(&keeper);
        self.links[index].set(LinkState::Down(error));
    }

    /// Releases whatever a link has, and declares it down.
    pub(crate) fn forget(&self, index: usize, error: Arc<LinkError>) {
        let mut claims = self.claims();
        claims.retain(|_, holder| *holder != index);
        self.links[index].set(LinkState::Down(error));
    }

    /// Asks one registrar, with encoded arguments. One that another link serves is not asked twice:
    /// `None`.
    pub(crate) async fn ask<R: DeserializeOwned>(
        &self,
        index: usize,
        method: &str,
        args: &[u8],
    ) -> Option<Result<Reply<R>, RegistrarFailure>> {
        self.ask_and_read(index, method, args, |body| wire::decode_body(body)).await
    }

    /// Asks one registrar as [`ask`](Self::ask) does, and reads its answer by `read`.
    pub(crate) async fn ask_and_read<R>(
        &self,
        index: usize,
        method: &str,
        args: &[u8],
        read: fn(&[u8]) -> Result<R, WireError>,
    ) -> Option<Result<Reply<R>, RegistrarFailure>> {
        let link = &self.links[index];
        let limit = self.options.ask_timeout;
        let error = match link.settled(limit).await {
            LinkState::Up(connection) => match connection.ask(method, args, limit, read).await {
                Ok(value) => {
                    return Some(Ok(Reply { value, settles_at: connection.settles_at() }));
                }
                Err(error) => Arc::new(error),
            },
            LinkState::Down(error) => error,
            LinkState::Dialing => Arc::new(LinkError::NoAnswer(limit)),
            LinkState::Standby { .. } => return None,
        };
        Some(Err(link.failure(error)))
    }

    /// Asks all links in parallel, and returns the first success; if there is none, all errors, in
    /// the order of the links.
    pub(crate) async fn first_success<T, E, F>(&self, ask: impl Fn(usize) -> F) -> Result<T, Vec<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        let ask = |index| ask(index).map(move |it| it.map_err(|error| (index, error)));
        let mut calls: FuturesUnordered<_> = (0..self.links.len()).map(ask).collect();
        let mut errors = Vec::new();
        while let Some(result) = calls.next().await {
            match result {
                Ok(value) => return Ok(value),
                Err(error) => errors.push(error),
            }
        }
        errors.sort_by_key(|(index, _)| *index);
        Err(errors.into_iter().map(|(_, error)| error).collect())
    }

    fn claims(&self) -> MutexGuard<'_, BTreeMap<Uuid, usize>> {
        self.claims.lock().expect("nothing panics while it holds the lock")
    }
}

/// A link to one registrar.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) registrar: Endpoint,
    /// Where others are that know what the last registrar knew.
    others: Mutex<Vec<Stamped>>,
    state: watch::Sender<LinkState>,
    /// The number of connections begun so far.
    connections: AtomicU64,
    /// Room for callers that wait for a name.
    pub(crate) waits: Semaphore,
    patience: Arc<Patience>,
}

/// A registrar's answer.
#[derive(Debug)]
pub(crate) struct Reply<R> {
    pub(crate) value: R,
    /// The time until which the registrar settles; `None` if it has.
    pub(crate) settles_at: Option<Instant>,
}

/// The status of a link.
#[derive(Clone, Debug)]
pub(crate) enum LinkState {
    /// The first attempt is under way.
    Dialing,
    /// It is connected.
    Up(LinkConnection),
    /// Another link is up with the same registrar.
    Standby { holder: usize },
    /// The last attempt failed, or the connection was lost.
    Down(Arc<LinkError>),
}

/// A connection of a link.
#[derive(Clone, Debug)]
pub(crate) struct LinkConnection {
    /// Counts the connections of the link, from 1.
    pub(crate) number: u64,
    pub(crate) registrar: Uuid,
    /// By what its link claims it: the registrar, or all of its cluster.
    pub(crate) keeper: Uuid,
    /// Whether it knows what the last registrar of its link knew.
    pub(crate) is_of_cluster: bool,
    /// The number of the registrar's process, if visible over a Unix socket.
    pub(crate) pid: Option<i32>,
    /// The socket file by which it was reached, if it was one. Whoever takes the place of the registrar
    /// binds another.
    pub(crate) socket: Option<SocketId>,
    pub(crate) portal: Portal,
    /// The time until which the registrar settles, if it has just started.
    pub(crate) settles_at: Option<Instant>,
    /// Cancelled by a caller that waited for an answer in vain.
    pub(crate) overdue: CancellationToken,
    patience: Arc<Patience>,
}

impl Link {
    pub(crate) fn set(&self, state: LinkState) {
        self.state.send_replace(state);
    }

    /// Returns the number of the next connection.
    pub(crate) fn next_number(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn state(&self) -> LinkState {
        self.state.borrow().clone()
    }

    /// Returns where others are that know what the last registrar knew.
    pub(crate) fn others(&self) -> Vec<Stamped> {
        self.others.lock().expect("nothing panics while it holds the lock").clone()
    }

    /// Records where others are that know what this registrar knows.
    pub(crate) fn set_others(&self, mut others: Vec<Stamped>) {
        others.truncate(OTHERS_MAX);
        *self.others.lock().expect("nothing panics while it holds the lock") = others;
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<LinkState> {
        self.state.subscribe()
    }

    pub(crate) fn failure(&self, error: Arc<LinkError>) -> RegistrarFailure {
        RegistrarFailure { registrar: self.registrar.clone(), error }
    }

    /// Returns the connection, if the link is up.
    pub(crate) fn connection(&self) -> Option<LinkConnection> {
        match &*self.state.borrow() {
            LinkState::Up(connection) => Some(connection.clone()),
            _ => None,
        }
    }

    /// Waits until the first attempt has ended.
    pub(crate) async fn first_settled(&self) -> LinkState {
        let mut states = self.state.subscribe();
        let settled = states.wait_for(|it| !matches!(it, LinkState::Dialing)).await;
        settled.expect("the link owns the sender").clone()
    }

    /// Waits until the first attempt has ended, for at most `limit`.
    pub(crate) async fn settled(&self, limit: Duration) -> LinkState {
        timeout(limit, self.first_settled()).await.unwrap_or(LinkState::Dialing)
    }

    /// Waits until the registrar has fallen silent, and returns the error that says so.
    pub(crate) async fn silent(&self) -> Arc<LinkError> {
        let is_silent = |it: &LinkState| it.silence().is_some();
        let mut states = self.state.subscribe();
        let state = states.wait_for(is_silent).await.expect("the link owns the sender");
        state.silence().expect("it was waited for it").clone()
    }

    /// Waits until the link is up with a connection later than number `after`; fails when the
    /// client is closed.
    pub(crate) async fn up(&self, after: u64) -> Result<LinkConnection, RegistrarFailure> {
        let mut states = self.state.subscribe();
        let is_over = |it: &LinkState| match it {
            LinkState::Up(connection) => connection.number > after,
            LinkState::Down(error) => matches!(**error, LinkError::ClientClosed),
            _ => false,
        };
        let state = states.wait_for(is_over).await.expect("the link owns the sender");
        match &*state {
            LinkState::Up(connection) => Ok(connection.clone()),
            LinkState::Down(error) => Err(self.failure(error.clone())),
            _ => unreachable!("it was waited for one of these"),
        }
    }
}

impl LinkState {
    /// Returns the failure of a registrar that gives no sign of life, if it is silent.
    pub(crate) fn silence(&self) -> Option<&Arc<LinkError>> {
        match self {
            Self::Down(error) => Some(error).filter(|it| matches!(***it, LinkError::Silent(_))),
            _ => None,
        }
    }
}

impl LinkConnection {
    /// Returns the time until which the registrar settles, if it does now.
    pub(crate) fn settles_at(&self) -> Option<Instant> {
        self.settles_at.filter(|it| *it > Instant::now())
    }

    /// Tells whether the registrar is of a cluster that it has been connected to.
    pub(crate) fn is_shared(&self) -> bool {
        self.keeper != self.registrar
    }

    /// Calls a method with a body that is encoded already, as [`within`](Self::within).
    pub(crate) async fn call<R: DeserializeOwned>(
        &self,
        method: &str,
        args: &[u8],
        limit: Duration,
    ) -> Result<R, LinkError> {
        self.ask(method, args, limit, |body| wire::decode_body(body)).await
    }

    /// Calls a method as [`call`](Self::call) does, and reads its answer by `read`.
    async fn ask<R>(
        &self,
        method: &str,
        args: &[u8],
        limit: Duration,
        read: fn(&[u8]) -> Result<R, WireError>,
    ) -> Result<R, LinkError> {
        let call = self.portal.call_encoded(Request::encoded(method, args));
        let body = self.within(limit, call).await?;
        read(&body).map_err(LinkError::Unreadable)
    }

    /// Calls a method for the link itself, for as long as it has patience.
    async fn call_patiently<R: DeserializeOwned>(
        &self,
        method: &str,
        args: &[u8],
        usual: Duration,
    ) -> Result<R, LinkError> {
        let call = self.portal.call_encoded(Request::encoded(method, args));
        let body = self.answer(self.patience.limit(usual), usual, call).await?;
        wire::decode_body(&body).map_err(LinkError::Unreadable)
    }

    /// Waits for an answer within `limit`. When none comes for as long as the link has patience, the
    /// connection is given up.
    pub(crate) async fn within<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, LinkError> {
        self.answer(limit, limit, call).await
    }

    async fn answer<T>(
        &self,
        limit: Duration,
        usual: Duration,
        call: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, LinkError> {
        let asked = Instant::now();
        match while_awake(limit, call).await {
            Some(answer) => {
                self.patience.answered(asked, usual);
                answer.map_err(LinkError::from)
            }
            None => {
                if self.patience.is_exhausted(asked, usual) {
                    self.overdue.cancel();
                }
                Err(LinkError::NoAnswer(limit))
            }
        }
    }
}

impl From<CallError> for LinkError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Remote(error) => Self::of_refusal(error),
            CallError::Closed(closed) => Self::Closed(closed),
            CallError::TooLong(error) => Self::TooLong(error),
            CallError::Unreadable(error) => Self::Unreadable(error),
            other => {
                Self::Refused(wire::RemoteError::new(wire::ErrorKind::Internal, other.to_string()))
            }
        }
    }
}

/// The most places of other registrars to believe in.
const OTHERS_MAX: usize = 32;

/// The longest settling time to believe of a registrar: a minute is many times what clients need to
/// return.
pub(crate) const SETTLING_MAX: Duration = Duration::from_secs(60);
