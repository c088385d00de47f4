//! The connections that come to the listeners of a node.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::{JoinSet, yield_now},
    time::{Instant, timeout},
};
use tracing::{Instrument as _, debug, field::Empty, info, info_span, warn};
use transport::{Incoming, Listener, Stream};

use super::{Context, own::Own, record, serve};
use crate::{
    Accepted, ForeignSession, ProtocolAdapter, adapter, caller::caller, registry::Caller,
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
    let (mut incoming, mut accepted_in_turn) = (Incoming::new(listener), 0);
    loop {
        if accepted_in_turn == ACCEPTED_MAX {
            accepted_in_turn = 0;
            yield_now().await;
        }
        tokio::select! {
            biased;
            () = context.stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = incoming.next() => match accepted {
                Ok(stream) => {
                    accepted_in_turn += 1;
                    let accepted_at = Instant::now();
                    let Some(caller) = caller(&stream) else {
                        debug!(peer = %stream.peer(), "gone before its identity was known");
                        continue;
                    };
                    let account = caller.owner.account();
                    let scheduler = context.controls.scheduler().clone();
                    match context.controls.place(account) {
                        Ok(place) => {
                            let (reception, context) = (reception.clone(), context.clone());
                            let span = info_span!(target: "callsign", "session", id = Empty, peer = %stream.peer());
                            let session = async move {
                                match reception {
                                    Reception::Shared(adapters) => {
                                        receive(stream, caller, &adapters, context).await;
                                    }
                                    Reception::Sole(adapter) => {
                                        hand_over(stream, caller, &*adapter, context).await;
                                    }
                                }
                                drop(place);
                            };
                            let session = session.instrument(span);
                            connections.spawn(scheduler.schedule(account, session));
                        }
                        Err(why) => match &reception {
                            Reception::Shared(_) => why.turn_away(stream),
                            Reception::Sole(adapter) => {
                                debug!(peer = %stream.peer(), %why, "no place for another session");
                                adapter.turn_away(stream, &why.to_string());
                            }
                        },
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

/// Leads a peer to the adapter for the protocol that it speaks.
async fn receive(
    mut stream: Stream,
    caller: Caller,
    adapters: &[Arc<dyn ProtocolAdapter>],
    context: Context,
) {
    if adapters.is_empty() {
        return serve(stream, caller, context).await;
    }
    let limit = context.controls.now().handshake_timeout;
    let chosen = tokio::select! {
        () = context.stop.cancelled() => return,
        chosen = timeout(limit, adapter::choose(&mut stream, adapters)) => chosen,
    };
    match chosen {
        Ok(Ok(None)) => serve(stream, caller, context).await,
        Ok(Ok(Some(adapter))) => hand_over(stream, caller, &*adapter, context).await,
        Ok(Err(error)) => info!(%error, "turned away"),
        Err(_) => info!("turned away: it sent nothing within {limit:?}"),
    }
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
