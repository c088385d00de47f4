//! The connections that come to the listeners of a node.

use std::{sync::Arc, time::Duration};

use endpoints::Endpoint;
use portal::HandshakeError;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};
use tracing::{Instrument as _, Span, debug, field::Empty, info, info_span, warn};
use transport::{Incoming, Listener, Stream};

use super::{Context, Established, others::others_ran, own::Own, record};
use crate::{
    Accepted, ForeignSession, ProtocolAdapter, adapter,
    caller::{caller, certified},
    places::{NoPlace, Place},
    registry::Caller,
    scheduler::TURN_MAX,
};

/// What becomes of the connections to a listener.
#[derive(Clone)]
pub(super) enum Reception {
    /// The node serves them, or the adapter whose protocol they begin with.
    Shared(Arc<[Arc<dyn ProtocolAdapter>]>),
    /// One adapter serves them all.
    Sole(Arc<dyn ProtocolAdapter>),
}

/// Accepts connections until it is stopped, then waits for their end.
pub(super) async fn serve_listener(
    listener: Arc<Listener>,
    reception: Reception,
    own: Arc<Own>,
    context: Context,
) {
    let mut connections = JoinSet::new();
    let speaks_tls = matches!(listener.bound(), Endpoint::Tcp(tcp) if tcp.tls);
    let (mut incoming, mut accepted_in_turn) = (Incoming::new(listener), 0);
    let mut abandoned_in_turn = 0;
    loop {
        if accepted_in_turn == ACCEPTED_MAX || abandoned_in_turn == ABANDONED_MAX {
            (accepted_in_turn, abandoned_in_turn) = (0, 0);
            // Those that end meanwhile wake this task, which is no turn for others.
            others_ran().await;
        }
        tokio::select! {
            biased;
            () = context.stop.cancelled() => break,
            Some(done) = connections.join_next() => if let Ok(Some(guest)) = done {
                // Its certificate says who it is, and on whose account it is served from now on.
                let guest: Guest = guest;
                let account = guest.caller.owner.account();
                let scheduler = context.controls.scheduler().clone();
                let session = guest.receive(reception.clone(), context.clone());
                connections.spawn(scheduler.schedule(account, session));
            },
            accepted = incoming.next() => match accepted {
                Ok(stream) => {
                    let accepted_at = Instant::now();
                    let Some(caller) = caller(&stream) else {
                        debug!(peer = %stream.peer(), "gone before its identity was known");
                        abandoned_in_turn += 1;
                        continue;
                    };
                    let account = caller.owner.account();
                    let scheduler = context.controls.scheduler().clone();
                    if reception.is_over(&stream) {
                        debug!(peer = %stream.peer(), "gone before it was served");
                        scheduler.charge(account, ACCEPT_COST);
                        abandoned_in_turn += 1;
                        continue;
                    }
                    accepted_in_turn += 1;
                    match context.controls.place(account) {
                        Ok(place) => {
                            let (reception, context) = (reception.clone(), context.clone());
                            let span = info_span!(target: "callsign", "session", id = Empty, peer = %stream.peer());
                            let guest = Guest { stream, caller, place, span };
                            if speaks_tls {
                                let shaken = guest.shake_hands(reception, context);
                                connections.spawn(scheduler.schedule(account, shaken));
                            } else {
                                let session = guest.receive(reception, context);
                                connections.spawn(scheduler.schedule(account, session));
                            }
                        }
                        Err(why) => reception.turn_away(stream, &why),
                    }
                    let took = accepted_at.elapsed().min(TURN_MAX);
                    scheduler.charge(account, ACCEPT_COST + took);
                }
                Err(error) => {
                    let endpoint = incoming.listener().bound();
                    warn!(%endpoint, %error, "given up; its clients are to dial again");
                    if let Reception::Shared(_) = reception {
                        context.registry.remove_endpoint(endpoint);
                        own.tell();
                    }
                    context.stop.cancel();
                }
            },
        }
    }
    // The socket file goes first: a client that looks for a registrar now finds none.
    drop(incoming);
    while connections.join_next().await.is_some() {}
}

impl Reception {
    /// Tells whether nothing can come of a connection any more: its peer has gone, and what these
    /// protocols ask for begins with an answer. By HTTP a request may be all that its peer had to say.
    fn is_over(&self, stream: &Stream) -> bool {
        matches!(self, Self::Shared(_)) && stream.is_abandoned()
    }

    /// Tells a peer that there is no place for it.
    fn turn_away(&self, stream: Stream, why: &NoPlace) {
        match self {
            Self::Shared(_) => why.turn_away(stream),
            Self::Sole(adapter) => {
                debug!(peer = %stream.peer(), %why, "no place for another session");
                adapter.turn_away(stream, &why.to_string());
            }
        }
    }
}

/// A peer that has a place.
struct Guest {
    stream: Stream,
    caller: Caller,
    place: Place,
    span: Span,
}

impl Guest {
    /// Completes the handshake of TLS, and looks at the certificate of the peer.
    async fn shake_hands(mut self, reception: Reception, context: Context) -> Option<Self> {
        let span = self.span.clone();
        let shaken = async {
            let limit = context.controls.now().handshake_timeout;
            let shaken = tokio::select! {
                () = context.stop.cancelled() => return None,
                shaken = timeout(limit, self.stream.handshake()) => shaken,
            };
            let (peer, refusals) = (self.stream.peer(), &context.refusals);
            match shaken {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    refusals.tell(peer, &HandshakeError::from(error));
                    return None;
                }
                Err(_) => {
                    refusals.tell_of_silence(peer, &HandshakeError::TimedOut(limit));
                    return None;
                }
            }
            if let Some(caller) = certified(&self.stream) {
                self.caller = caller;
                match context.controls.place(self.caller.owner.account()) {
                    Ok(place) => self.place = place,
                    Err(why) => {
                        reception.turn_away(self.stream, &why);
                        return None;
                    }
                }
            }
            Some(self)
        };
        shaken.instrument(span).await
    }

    /// Talks with the peer until either side has enough. How that begins takes much more room than the
    /// rest, and has a place of its own that is freed then.
    fn receive(self, reception: Reception, context: Context) -> impl Future<Output = Option<Self>> {
        let Self { stream, caller, place, span } = self;
        let begun = Box::pin(receive(stream, caller, reception, context));
        let served = async move {
            if let Some(established) = begun.await {
                established.serve().await;
            }
            drop(place);
            None
        };
        served.instrument(span)
    }
}

/// Leads a peer to the adapter for the protocol that it speaks, and lets that serve it, or shakes hands
/// with it.
async fn receive(
    mut stream: Stream,
    caller: Caller,
    reception: Reception,
    context: Context,
) -> Option<Box<Established>> {
    // It may have waited for its first turn for longer than its peer.
    if reception.is_over(&stream) {
        return None;
    }
    let adapters = match reception {
        Reception::Shared(adapters) => adapters,
        Reception::Sole(adapter) => {
            hand_over(stream, caller, &*adapter, context).await;
            return None;
        }
    };
    if adapters.is_empty() {
        return Established::with(stream, caller, context).await;
    }
    let limit = context.controls.now().handshake_timeout;
    let chosen = tokio::select! {
        () = context.stop.cancelled() => return None,
        chosen = timeout(limit, adapter::choose(&mut stream, &adapters)) => chosen,
    };
    match chosen {
        Ok(Ok(None)) => return Established::with(stream, caller, context).await,
        Ok(Ok(Some(adapter))) => hand_over(stream, caller, &*adapter, context).await,
        Ok(Err(error)) => info!(%error, "turned away"),
        Err(_) => info!("turned away: it sent nothing within {limit:?}"),
    }
    None
}

/// Lets an adapter serve a peer.
async fn hand_over(
    stream: Stream,
    caller: Caller,
    adapter: &dyn ProtocolAdapter,
    context: Context,
) {
    let session = ForeignSession::new(context.registry, caller);
    record(session.id());
    adapter.serve(Accepted { stream, session, stop: context.stop }).await;
}

/// The processor time, as measured, that a connection costs before and after its turns: the kernel's
/// work, and that of the runtime.
const ACCEPT_COST: Duration = Duration::from_micros(20);

/// How many connections are accepted before others get their turn.
const ACCEPTED_MAX: usize = 4;

/// How many connections whose peers have gone are dropped before others get their turn: each takes
/// some ten microseconds, and all of them as long as one turn.
const ABANDONED_MAX: usize = 8;
