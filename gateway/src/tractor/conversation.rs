//! A connection of a tractor program to the registrar.

mod calls;
mod everything;

use std::{collections::HashMap, future::pending, ops::ControlFlow, sync::Arc, time::Duration};

use endpoints::{Endpoint, Stamped};
use registrar::{Accepted, ForeignSession};
use serde::Serialize;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};
use transport::{Peer, ProcessMark};
use uuid::Uuid;
use wire::{CallId, Epoch, Record};

use super::{
    Uid,
    address::AddressToSend,
    channel::{Channel, ChannelError},
    liveness::Process,
    message::{BareMessage, Failed, Message},
    received::Received,
    refused::Refused,
    shared::Shared,
    uid::Form,
};
use crate::namespaces::is_in_another;

/// Talks with one program until either side ends the conversation.
pub(super) async fn serve(accepted: Accepted, shared: Arc<Shared>) {
    let Accepted { stream, session, stop } = accepted;
    let peer = *stream.peer();
    let greeted = tokio::select! {
        () = stop.cancelled() => return,
        greeted = Channel::greet(stream, shared.own(session.registry()), GREET_TIMEOUT) => greeted,
    };
    let (mut channel, aid) = match greeted {
        Ok(greeted) => greeted,
        Err(error) => return info!(%error, "a tractor program was turned away"),
    };
    if aid.is_probe {
        return channel.close().await;
    }
    channel.set_frame_bytes_max(MESSAGE_BYTES_MAX);
    channel.set_holding(session.holding());
    // Programs keep a connection open for as long as they talk with the actor that they found.
    if let Err(error) = channel.stream().keep_alive() {
        debug!(%error, "a host that vanishes will not be noticed");
    }
    let mut conversation = Conversation {
        channel,
        session,
        shared,
        peer,
        uid: aid.uid(),
        claimed_pid: aid.pid.and_then(|it| it.try_into().ok()),
        waits: HashMap::new(),
        knows_at: None,
        next_call: 0,
        looks: JoinSet::new(),
        unsettled: Vec::new(),
        settles_at: None,
        told: Vec::new(),
    };
    let ended = conversation.run(&stop).await;
    conversation.settle();
    match ended {
        Ok(()) => debug!("a tractor program has gone"),
        Err(error) => info!(%error, "the conversation with a tractor program broke"),
    }
    conversation.channel.close().await;
}

/// A connection.
#[derive(Debug)]
struct Conversation {
    channel: Channel,
    session: ForeignSession,
    shared: Arc<Shared>,
    peer: Peer,
    /// The peer's introduction.
    uid: Uid,
    /// The peer's process, by its own claim.
    claimed_pid: Option<i32>,
    /// Calls that wait for a name, by their numbers in the registry.
    waits: HashMap<CallId, Waiting>,
    /// The time at which callers that ask whether an actor is there are answered: by then the
    /// registrar knows.
    knows_at: Option<Instant>,
    next_call: CallId,
    /// Looks at endpoints that are reported not to answer, for calls that wait for the result.
    looks: JoinSet<(String, Option<Uid>)>,
    /// Instances that may have further endpoints to come.
    unsettled: Vec<Uuid>,
    settles_at: Option<Instant>,
    /// The peer's last answer, by which it may mean an actor that is not foreign.
    told: Vec<(Endpoint, Uuid, Epoch)>,
}

impl Conversation {
    async fn run(&mut self, stop: &CancellationToken) -> Result<(), ChannelError> {
        loop {
            let (settling, coming_to_know) = (until(self.settles_at), until(self.knows_at));
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                answers = self.session.answers() => {
                    for (call, records) in answers {
                        self.answer_wait(call, records).await?;
                    }
                }
                Some(looked) = self.looks.join_next() => {
                    let (cid, found) = looked.expect("it does not panic, and is not aborted");
                    self.returns(&cid, &found).await?;
                }
                () = settling => self.settle(),
                () = coming_to_know => self.answer_finds().await?,
                frame = self.channel.next() => {
                    let frame = match frame {
                        Ok(Some(frame)) => frame,
                        Ok(None) => return Ok(()),
                        Err(error) => {
                            // A peer that has gone in the middle of a message gets no answer.
                            self.fails(None, &Refused::unreadable(&error)).await.or(Err(error))?;
                            return Ok(());
                        }
                    };
                    if self.hear(&frame, stop).await?.is_break() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Answers a message. The fault of a call is returned to that call; a fault outside any call
    /// ends the connection.
    async fn hear(
        &mut self,
        frame: &[u8],
        stop: &CancellationToken,
    ) -> Result<ControlFlow<()>, ChannelError> {
        match Received::read(frame) {
            Ok(Received::Start { cid, start }) => {
                let called = match start {
                    Ok(start) => self.start(cid.clone(), start, stop).await?,
                    Err(error) => Err(Refused::unreadable(&error)),
                };
                if let Err(refused) = called {
                    self.fails(Some(&cid), &refused).await?;
                }
            }
            Ok(Received::Answer) => {}
            Ok(Received::Unexpected { cid: Some(cid), msg_type }) => {
                self.fails(Some(&cid), &Refused::unexpected(&msg_type)).await?;
            }
            Ok(Received::Unexpected { cid: None, msg_type }) => {
                return self.fails_and_ends(&Refused::unexpected(&msg_type)).await;
            }
            Err(error) => return self.fails_and_ends(&Refused::unreadable(&error)).await,
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Reports that a call has begun.
    async fn acknowledges(&mut self, cid: &str) -> Result<(), ChannelError> {
        self.channel.send(&BareMessage::StartAck { cid, functype: "asyncfunc" }).await
    }

    /// Sends the result of a call.
    async fn returns(&mut self, cid: &str, pld: &impl Serialize) -> Result<(), ChannelError> {
        self.channel.send(&Message::Return { cid, pld }).await
    }

    /// Reports that a call has failed, or that the connection has.
    async fn fails(&mut self, cid: Option<&str>, refused: &Refused) -> Result<(), ChannelError> {
        let own = self.shared.own(self.session.registry()).uid();
        let failed = Failed {
            src_uid: &own,
            src_type_str: refused.kind,
            boxed_type_str: refused.kind,
            relay_path: &[&own],
            message: Some(&refused.message),
            tb_str: &format!("{}: {}\n", refused.kind, refused.message),
            canceller: refused.canceller.as_ref(),
            sender: None,
            cid,
            bad_msg: (),
            bad_msg_as_dict: (),
        };
        self.channel.send(&BareMessage::Error(Box::new(failed))).await
    }

    async fn fails_and_ends(&mut self, refused: &Refused) -> Result<ControlFlow<()>, ChannelError> {
        self.fails(None, refused).await?;
        Ok(ControlFlow::Break(()))
    }

    /// Declares the peer's registrations complete.
    fn settle(&mut self) {
        self.settles_at = None;
        for uuid in self.unsettled.drain(..) {
            self.session.settle(uuid);
        }
    }

    /// Returns the form in which the peer writes addresses.
    fn form(&self) -> Form {
        let record = self.uid.instance().ok().and_then(|(_, it)| self.session.record(it));
        record.as_ref().map(Form::of).unwrap_or_default()
    }

    /// Tells whether the peer is on this host, in this network.
    fn is_near(&self) -> bool {
        match self.peer {
            Peer::Unix { .. } | Peer::Memory => true,
            Peer::Tcp(address) => address.ip().is_loopback(),
        }
    }

    /// Returns the known facts of the peer's process: over a Unix socket from the kernel, otherwise
    /// by its own claim.
    fn process(&self) -> Process {
        let pid = match self.peer {
            Peer::Unix { pid, .. } => pid,
            Peer::Tcp(_) if self.is_near() => self.claimed_pid,
            Peer::Tcp(_) | Peer::Memory => None,
        };
        let mark = pid.and_then(ProcessMark::of);
        Process { held: self.channel.stream().peer_process().ok(), mark }
    }

    /// Stamps an endpoint of the peer by what is visible from here. If the peer runs elsewhere, the
    /// same path or address means another place, and gets no stamp.
    fn stamped(&self, endpoint: Endpoint) -> Stamped {
        let namespace = if matches!(endpoint, Endpoint::Unix(_)) { "mnt" } else { "net" };
        let is_here = match self.peer {
            Peer::Unix { pid: Some(pid), .. } => !is_in_another(namespace, pid),
            // A process that is invisible from here.
            Peer::Unix { pid: None, .. } => false,
            Peer::Tcp(_) | Peer::Memory => self.is_near(),
        };
        if is_here {
            Stamped { stamp: transport::stamp(&endpoint), endpoint }
        } else {
            Stamped::bare(endpoint)
        }
    }

    /// Returns the endpoints at which the peer can reach an actor, and remembers that answer.
    fn tell(&mut self, record: &Record) -> Vec<AddressToSend> {
        let form = self.form();
        let is_near = self.is_near();
        let here = transport::here_for(record.endpoints.iter().map(|it| &it.endpoint));
        let is_within_reach = |it: &&Stamped| match &it.endpoint {
            _ if is_near => endpoints::locate(it, &here, &transport::look).is_ok(),
            Endpoint::Tcp(tcp) => !tcp.host.is_loopback(),
            Endpoint::Unix(_) | Endpoint::Memory(_) => false,
        };
        let mut written = Vec::new();
        self.told.clear();
        for stamped in record.endpoints.iter().filter(is_within_reach) {
            if let Some(address) = AddressToSend::new(&stamped.endpoint, form) {
                written.push(address);
                self.told.push((stamped.endpoint.clone(), record.uuid, record.epoch));
            }
        }
        written
    }
}

/// A call that waits for a name.
#[derive(Debug)]
struct Waiting {
    cid: String,
    /// The address in question, if the call asks whether such an actor is there.
    find: Option<String>,
}

/// Waits for a time, if there is one.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

/// The time limit for a program's introduction: the original's.
const GREET_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest message after the first: calls to a registrar are short, and an error may bring a
/// long traceback.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;
