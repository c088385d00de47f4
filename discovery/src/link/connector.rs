//! The connector: keeps a link up. It dials, serves until the connection ends, backs off, and
//! starts again.

use std::{sync::Arc, time::Duration};

use endpoints::{Endpoint, SocketId, UnixAddress, rank};
use portal::{Closed, Connected, Driver, HandshakeError, OnSilence, Options, WithCauses};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span, debug, info, info_span};
use transport::{Peer, Stream, TcpEnds, Who, here};
use uuid::Uuid;
use wire::Hello;

use super::{
    Hub, LinkConnection, LinkState, SETTLING_MAX,
    backoff::{Backoff, random},
    callbacks::Registrant,
    patience::Patience,
    session::{Session, part, said},
};
use crate::{LinkError, Trust};

/// The task that keeps one link of a hub up.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    pub(crate) hub: Arc<Hub>,
    pub(crate) index: usize,
}

/// A registrar that has been greeted, and the driver of the connection.
type NewConnection = (LinkConnection, Driver<Stream, Registrant>);

impl Connector {
    /// Runs until the client is closed. A panic within restarts it: without a connector, the link
    /// would be down for ever, and nobody would know.
    pub(crate) async fn run(self) {
        let mut backoff = Backoff::new(self.hub.options.backoff);
        loop {
            let mut work = JoinSet::new();
            work.spawn(self.clone().keep_up().instrument(self.span()));
            match work.join_next().await {
                Some(Err(error)) if error.is_panic() => {
                    self.hub.forget(self.index, Arc::new(LinkError::Panicked));
                }
                _ => return,
            }
            sleep(backoff.next(random())).await;
        }
    }

    /// Returns the span for all events that concern this registrar.
    fn span(&self) -> Span {
        let registrar = &self.hub.links[self.index].registrar;
        info_span!(target: "callsign", "link", %registrar)
    }

    /// Keeps the link up until the client is closed.
    async fn keep_up(self) {
        let closing = self.hub.closing.clone();
        let mut backoff = Backoff::new(self.hub.options.backoff);
        let link = &self.hub.links[self.index];
        while !closing.is_cancelled() {
            let number = link.next_number();
            let reached = tokio::select! {
                biased;
                () = closing.cancelled() => break,
                reached = self.reach_any(number) => reached,
            };
            let began = Instant::now();
            match reached {
                Ok(connected) => {
                    let mut connected = Some(connected);
                    while let Some((connection, driver)) = connected {
                        connected = self.serve(connection, driver).await;
                    }
                }
                Err(error) => {
                    if is_too_busy(&error) {
                        link.patience.give_up();
                    }
                    self.down(error);
                }
            }
            if began.elapsed() >= STEADY && !link.patience.is_tried() {
                backoff.reset();
            }
            tokio::select! {
                biased;
                () = closing.cancelled() => break,
                () = sleep(link.patience.limit(backoff.next(random()))) => {}
            }
        }
        link.set(LinkState::Down(Arc::new(LinkError::ClientClosed)));
    }

    /// Dials the registrar and greets it; or, if it is not there, another of its cluster.
    async fn reach_any(&self, number: u64) -> Result<NewConnection, LinkError> {
        let link = &self.hub.links[self.index];
        let others = link.others();
        if others.is_empty() {
            return self.reach(number).await;
        }
        let error = match timeout(OTHERS_AFTER, self.reach(number)).await {
            Ok(Err(error)) => Some(error),
            Ok(reached) => return reached,
            Err(_) => None,
        };
        match (self.reach_other(number).await, error) {
            (Some(reached), _) => Ok(reached),
            (None, Some(error)) => Err(error),
            (None, None) => self.reach(number).await,
        }
    }

    /// Dials others of the registrar's cluster, the nearest first, and greets the first that answers.
    async fn reach_other(&self, number: u64) -> Option<NewConnection> {
        let others = self.hub.links[self.index].others();
        let ranked = rank(&others, &here(), &transport::look);
        for ranked in ranked {
            if ranked.verdict.is_err() {
                break;
            }
            let reached = async {
                let stream = transport::dial_stamped(ranked.stamped, OTHERS_AFTER).await?;
                self.greet(stream, &ranked.stamped.endpoint, number).await
            };
            if let Ok(Ok(reached)) = timeout(OTHERS_AFTER, reached).await {
                let place = &ranked.stamped.endpoint;
                info!(target: "callsign", %place, "it is not there; another of its cluster is");
                return Some(reached);
            }
        }
        None
    }

    /// Dials the registrar and greets it.
    async fn reach(&self, number: u64) -> Result<NewConnection, LinkError> {
        let Hub { options, links, .. } = &*self.hub;
        let registrar = &links[self.index].registrar;
        // Before it is dialed: who takes its place meanwhile is another.
        let socket = socket_at(registrar);
        let stream = transport::dial_within(registrar, options.dial_timeout).await?;
        let (mut connection, driver) = self.greet(stream, registrar, number).await?;
        connection.socket = socket;
        Ok((connection, driver))
    }

    /// Greets the registrar at a place.
    async fn greet(
        &self,
        stream: Stream,
        registrar: &Endpoint,
        number: u64,
    ) -> Result<NewConnection, LinkError> {
        let options = &self.hub.options;
        if !options.insecure && !stream.is_private() {
            return Err(LinkError::Insecure);
        }
        let pid = match stream.peer() {
            Peer::Unix { pid, .. } => *pid,
            Peer::Tcp(_) | Peer::Memory => None,
        };
        let is_tcp = matches!(registrar, Endpoint::Tcp(_));
        // Within a host, a registrar that has not answered by then hangs.
        let is_far = matches!(registrar, Endpoint::Tcp(tcp) if !tcp.host.is_loopback());
        let handshake_timeout = if is_far {
            options.handshake_timeout
        } else {
            options.handshake_timeout.min(options.ask_timeout)
        };
        let patience = self.hub.links[self.index].patience.clone();
        let handshake_timeout = patience.limit(handshake_timeout);
        let conversation = Options {
            hello: Hello { agent: options.agent.clone(), ..Hello::default() },
            handshake_timeout,
            heartbeat: options.heartbeat.filter(|_| !matches!(registrar, Endpoint::Memory(_))),
            // Within a host the kernel reports a death: a silent registrar is stopped.
            on_silence: if is_tcp { OnSilence::GiveUp } else { OnSilence::Tell },
            ..Options::default()
        };
        let service = Registrant::new(self.hub.clone(), self.index);
        let ends = stream.tcp_ends().filter(|_| options.trust == Trust::Usual);
        let Connected { portal, driver } = portal::connect(stream, conversation, service).await?;
        // It has answered, so the kernel knows by now which process accepted the connection.
        if let Some(user) = ends.and_then(others) {
            return Err(LinkError::OthersPort { user });
        }
        let peer = portal.peer();
        let Some(registrar) = peer.registrar else {
            return Err(LinkError::NotARegistrar { agent: peer.agent.clone() });
        };
        let link = &self.hub.links[self.index];
        // What it knows, the last one knew too, if that was one of a cluster.
        let is_of_cluster = peer.cluster_number.is_some() && !link.others().is_empty();
        link.set_others(peer.cluster.clone());
        let keeper = peer.cluster_number.map_or(registrar, |it| Uuid::from_u128(it.into()));
        let settling = peer.settling_ms.map(Duration::from_millis);
        let settles_at = settling.map(|it| Instant::now() + it.min(SETTLING_MAX));
        let overdue = CancellationToken::new();
        let connection = LinkConnection {
            number,
            registrar,
            keeper,
            is_of_cluster,
            pid,
            socket: None,
            portal,
            settles_at,
            overdue,
            patience,
        };
        Ok((connection, driver))
    }

    /// Serves a connection until it ends; or, if another link has the same registrar already,
    /// waits until that one has lost it. Returns the connection to the registrar that has taken the
    /// place of a silent one.
    async fn serve(
        &self,
        connection: LinkConnection,
        mut driver: Driver<Stream, Registrant>,
    ) -> Option<NewConnection> {
        let hub = &*self.hub;
        // If two addresses lead to one registrar, the one that was named first is used; if they lead to
        // one cluster, the nearest.
        let is_of_cluster = connection.keeper != connection.registrar;
        let place = |index: usize| {
            let nearness = is_of_cluster.then(|| nearness(&hub.links[index].registrar));
            (nearness, index)
        };
        for earlier in (0..hub.links.len()).filter(|it| place(*it) < place(self.index)) {
            drop(hub.links[earlier].settled(EARLIER_PAUSE).await);
        }
        if let Err(holder) = hub.claim(self.index, connection.clone()) {
            part(&connection, &mut driver, "it is connected by another address").await;
            drop(driver);
            self.stand_by(holder, &connection).await;
            return None;
        }

        info!(target: "callsign", uuid = %connection.registrar, "connected");
        let mut session = Session::new(hub, self.index, connection.clone());
        let error = tokio::select! {
            biased;
            error = session.run(&mut driver) => error,
            (silent, successor) = self.successor(&connection) => {
                info!(target: "callsign", "another registrar answers at the address of a silent one");
                // Its entries are those of a session that has ended, if it ever continues.
                drop(session);
                hub.release(self.index, connection.keeper, silent);
                return Some(successor);
            }
        };
        drop(session);
        let (is_over, is_given_up) = match error {
            LinkError::ClientClosed => (true, false),
            LinkError::NoAnswer(_) | LinkError::Closed(Closed::Silent(_)) => (false, true),
            _ => (false, false),
        };
        if is_over {
            part(&connection, &mut driver, "the client is done").await;
        } else {
            info!(target: "callsign", error = %WithCauses(&error), "lost");
        }
        hub.release(self.index, connection.keeper, Arc::new(error));
        if is_given_up {
            hub.links[self.index].patience.give_up();
            connection.portal.close_for_now("no answer in time");
            said(&mut driver).await;
        }
        None
    }

    /// Waits until the registrar of this link is silent while another one answers at its address, or
    /// another of its cluster, and returns the silence and the connection to that one.
    ///
    /// A registrar that hangs gives its address up to a successor without closing a connection; and of a
    /// cluster, the names that it has given, which others may get from then on. But it may only be busy,
    /// and each attempt is more work for it: a thousand clients that dial again would keep it so for ever.
    async fn successor(&self, silent: &LinkConnection) -> (Arc<LinkError>, NewConnection) {
        let link = &self.hub.links[self.index];
        loop {
            drop(link.silent().await);
            let mut backoff = Backoff::new(self.hub.options.backoff);
            let patience = Patience::default();
            while let Some(silence) = link.state().silence() {
                let is_alone = link.others().is_empty();
                let limit = patience.limit(if is_alone { REDIAL_TIMEOUT } else { OTHERS_TIMEOUT });
                let number = link.next_number();
                let sockets = silent.socket.zip(socket_at(&link.registrar));
                let has_its_place = sockets.is_some_and(|(its, there)| its.is_same(&there));
                let reach = async {
                    if has_its_place {
                        self.reach_other(number).await
                    } else {
                        self.reach_any(number).await.ok()
                    }
                };
                match timeout(limit, reach).await {
                    Ok(Some(reached)) if reached.0.registrar != silent.registrar => {
                        return (silence.clone(), reached);
                    }
                    Ok(Some((connection, mut driver))) => {
                        part(&connection, &mut driver, "it is heard again").await;
                        patience.give_up();
                    }
                    Ok(None) => {}
                    Err(_) => patience.give_up(),
                }
                sleep(patience.limit(backoff.next(random()))).await;
            }
        }
    }

    async fn stand_by(&self, holder: usize, connection: &LinkConnection) {
        let mut states = self.hub.links[holder].subscribe();
        let is_free =
            |it: &LinkState| !matches!(it, LinkState::Up(it) if it.keeper == connection.keeper);
        tokio::select! {
            biased;
            () = self.hub.closing.cancelled() => {}
            freed = states.wait_for(is_free) => {
                drop(freed);
            }
        }
    }

    fn down(&self, error: LinkError) {
        debug!(target: "callsign", error = %WithCauses(&error), "not reached");
        self.hub.links[self.index].set(LinkState::Down(Arc::new(error)));
    }
}

/// Tells whether a registrar may be too busy to serve this client, and each attempt is more work for
/// it.
fn is_too_busy(error: &LinkError) -> bool {
    match error {
        LinkError::Handshake(error) => {
            matches!(error, HandshakeError::TimedOut(_) | HandshakeError::Refused(_))
        }
        LinkError::QuotaExceeded { .. } => true,
        _ => false,
    }
}

/// Returns the socket file at the address of a registrar, if that is a path.
fn socket_at(registrar: &Endpoint) -> Option<SocketId> {
    match registrar {
        Endpoint::Unix(UnixAddress::Path(path)) => transport::look(path).ok(),
        _ => None,
    }
}

/// Returns how far an address is, the nearest first: within this host or not.
fn nearness(registrar: &Endpoint) -> u8 {
    match registrar {
        Endpoint::Tcp(tcp) if !tcp.host.is_loopback() => 2,
        Endpoint::Tcp(_) => 1,
        _ => 0,
    }
}

/// Returns the user of a registrar that belongs neither to this user nor to root.
fn others(ends: TcpEnds) -> Option<Option<u32>> {
    match ends.who() {
        who if who.is_own_or_root() => None,
        Who::User { uid, .. } => Some(Some(uid)),
        _ => Some(None),
    }
}

/// The time limit of each attempt where there are others: a registrar on this host answers in a
/// millisecond, and one of the same cluster far away in some hundred.
const OTHERS_AFTER: Duration = Duration::from_millis(400);

/// The time limit for all of them together, if the registrar itself is silent.
const OTHERS_TIMEOUT: Duration = Duration::from_secs(3);

/// The age at which a connection counts as a good one: longer than any wait before it.
const STEADY: Duration = Duration::from_secs(2);

/// The time for which the address of a silent registrar is tried before it is dialed again: it may
/// have a successor since, which does not answer what was sent to its predecessor.
const REDIAL_TIMEOUT: Duration = Duration::from_secs(1);

/// The time for which a link waits for those named before it: a registrar on this host has answered
/// by then.
const EARLIER_PAUSE: Duration = Duration::from_millis(50);
