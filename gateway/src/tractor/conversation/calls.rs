//! The calls that tractor programs may make to the registrar.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use endpoints::{Name, Plain as Shown, names_like};
use registrar::registry::Foreign;
use tokio::{sync::oneshot, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{Level, enabled, info};
use transport::PeerProcess;
use wire::{CallId, Lifetime, Record, State, registrar::Evidence};

use super::{
    super::{
        Uid,
        address::{Address, AddressError, AddressToSend},
        channel::ChannelError,
        liveness::Order,
        message::BareMessage,
        received::{Request, Start},
        refused::Refused,
        uid,
    },
    Conversation, Waiting,
};

/// Whether a call was accepted, or why not.
pub(super) type Called = Result<(), Refused>;

impl Conversation {
    /// Answers a call.
    pub(super) async fn start(
        &mut self,
        cid: String,
        start: Start,
        stop: &CancellationToken,
    ) -> Result<Called, ChannelError> {
        let Start { ns, uid, request } = start;
        if uid != self.uid {
            let message =
                format!("the call is of {uid}, and this is the connection of {}", self.uid);
            return Ok(Err(Refused::new("PermissionError", message)));
        }
        if ns != "self" {
            let message = format!("a registrar exposes no module, and so not {ns:?}");
            return Ok(Err(Refused::new("ModuleNotExposed", message)));
        }
        if !matches!(request, Request::RegisterActor { .. }) {
            self.settle();
        }
        let called = match request {
            Request::RegisterActor { uid, addr } => self.register_actor(uid, &addr, stop).await,
            Request::UnregisterActor { uid } => self.unregister_actor(&uid).await,
            Request::FindActor { name } => return self.find_once_known(cid, name).await,
            Request::WaitForActor { name } => return self.wait_for_actor(cid, &name).await,
            Request::DeleteAddr { addr } => return self.delete_addr(cid, &addr).await,
            Request::GetRegistry => return self.get_registry(&cid).await,
            // It would end the registrar, which also serves others. The client accepts a `false`,
            // where an error might end it.
            Request::Cancel => return self.acknowledges_cancel(&cid, false).await,
            Request::CancelTask { cid: target } => {
                if let Some(target) = target {
                    self.cancel_task(&target).await?;
                }
                return self.acknowledges_cancel(&cid, true).await;
            }
            Request::Unknown { func } => {
                let shown: String = func.chars().take(64).collect();
                let message = format!("a registrar has no method {shown:?}");
                Err(Refused::new("AttributeError", message))
            }
            Request::Invalid(error) => {
                Err(Refused::new("TypeError", format!("the arguments: {error}")))
            }
        };
        self.answer(&cid, called).await
    }

    /// Sends the result of a call; the caller sends a refusal.
    async fn answer<T: serde::Serialize>(
        &mut self,
        cid: &str,
        result: Result<T, Refused>,
    ) -> Result<Called, ChannelError> {
        match result {
            Ok(result) => {
                self.acknowledges(cid).await?;
                self.returns(cid, &result).await?;
                Ok(Ok(()))
            }
            Err(refused) => Ok(Err(refused)),
        }
    }

    async fn register_actor(
        &mut self,
        uid: Uid,
        addr: &Address,
        stop: &CancellationToken,
    ) -> Called {
        let (name, uuid) = uid.instance().map_err(|it| Refused::new("ValueError", it))?;
        let (endpoint, form) = match addr.read() {
            Ok((endpoint, form)) => (Some(endpoint), form),
            // It may be useful to others that know this kind.
            Err(error @ AddressError::Kind) => {
                info!(actor = %uid, ?addr, %error, "an address is left out");
                (None, self.form())
            }
            Err(error) => return Err(Refused::new("ValueError", error)),
        };
        let mut process = self.process();
        if endpoint.is_none() && process.held.is_none() {
            // Without an endpoint there is nothing to check whether it lives, so its own claim
            // counts.
            process.held = process.mark.and_then(|it| PeerProcess::find(it).ok());
            if process.held.is_none() {
                return Ok(());
            }
        }
        let stamped = endpoint.clone().map(|it| self.stamped(it));
        let foreign = Foreign { name, uuid, endpoint: stamped, metadata: uid.metadata(form) };
        // A program that repeats a registration does not own the first one.
        let registered = tokio::select! {
            registered = self.session.register(foreign) => registered?,
            () = stop.cancelled() => {
                return Err(Refused::new("RuntimeError", "the registrar stops"));
            }
        };
        let Some(epoch) = registered else { return Ok(()) };
        if !self.unsettled.contains(&uuid) {
            self.unsettled.push(uuid);
        }
        self.settles_at = Some(Instant::now() + SETTLE_AFTER);
        self.order(Order::Watch { uuid, epoch, endpoint, process }).await;
        Ok(())
    }

    async fn unregister_actor(&mut self, uid: &Uid) -> Called {
        // No registered actor has that name or number.
        let Ok((_, uuid)) = uid.instance() else { return Ok(()) };
        let record = self.session.record(uuid);
        if let Some(record) = record.filter(|it| it.lifetime == Lifetime::Foreign) {
            self.session.unregister(uuid)?;
            self.order(Order::Forget { uuid, epoch: record.epoch }).await;
        }
        Ok(())
    }

    /// Answers where an actor is. A registrar that has just started waits for one that may still
    /// return.
    async fn find_once_known(&mut self, cid: String, name: String) -> Result<Called, ChannelError> {
        let found = self.find_actor(&name);
        let settling = self.session.registry().settling().filter(|_| found.is_none());
        let Some(settling) = settling else { return self.answer(&cid, Ok(found)).await };
        // It may come under any of its names, but not under an invalid one.
        let names: HashSet<_> = names_of(&name).collect();
        if names.is_empty() || self.waits.len() + names.len() > WAITS_MAX {
            return self.answer(&cid, Ok(found)).await;
        }
        for wanted in names {
            self.next_call += 1;
            if let Err(error) = self.session.wait(self.next_call, wanted) {
                return Ok(Err(error.into()));
            }
            let waiting = Waiting { cid: cid.clone(), find: Some(name.clone()) };
            self.waits.insert(self.next_call, waiting);
        }
        self.knows_at.get_or_insert_with(|| Instant::now() + settling);
        self.acknowledges(&cid).await?;
        Ok(Ok(()))
    }

    /// Answers the callers that asked whether an actor is there, now that the registrar knows.
    pub(super) async fn answer_finds(&mut self) -> Result<(), ChannelError> {
        self.knows_at = None;
        let finds: BTreeMap<_, _> = self
            .waits
            .values()
            .filter_map(|it| it.find.clone().map(|name| (it.cid.clone(), name)))
            .collect();
        for (cid, name) in finds {
            self.forget_waits(&cid);
            let found = self.find_actor(&name);
            self.returns(&cid, &found).await?;
        }
        Ok(())
    }

    /// Ends the waits of a call.
    fn forget_waits(&mut self, cid: &str) {
        let session = &self.session;
        self.waits.retain(|call, waiting| {
            let is_kept = waiting.cid != cid;
            if !is_kept {
                session.cancel(*call);
            }
            is_kept
        });
    }

    /// Returns the endpoint of the preferred actor of a name that the peer can reach.
    fn find_actor(&mut self, name: &str) -> Option<Vec<AddressToSend>> {
        // One that is about to be ready can already be found: it has registered.
        let is_there = |it: &Record| {
            it.state == State::Ready
                || it.lifetime == Lifetime::Foreign && it.state == State::Starting
        };
        let names: HashSet<_> = names_of(name).collect();
        let instances = |it| self.session.instances(it);
        let mut records: Vec<_> = names.iter().flat_map(instances).collect();
        records.retain(|it| is_there(it) && Uid::from(it).0 == name);
        if records.is_empty() {
            self.note_slip(name);
        }
        self.tell_preferred(records)
    }

    /// Logs the names that may have been meant by an unknown one: an answer has no room for them.
    fn note_slip(&self, name: &str) {
        if !enabled!(Level::INFO) {
            return;
        }
        let names = self.session.names();
        let meant = names_like(name, names.iter().map(String::as_str));
        if !meant.is_empty() {
            info!(name = %Shown(name), ?meant, "a tractor program asks for an unknown name");
        }
    }

    /// Returns the location of an actor: the registrar itself, if that is asked for, or else the
    /// newest that the peer can reach. A suspect one comes last, because a dial of it may wait for
    /// ever.
    fn tell_preferred(&mut self, mut records: Vec<Record>) -> Option<Vec<AddressToSend>> {
        let own = self.session.registry().registrar();
        records.sort_by_key(|it| (it.uuid != own, it.suspicion.is_some()));
        records.into_iter().find_map(|mut record| {
            if record.uuid == own {
                record = self.shared.own_record(self.session.registry())?;
            }
            Some(self.tell(&record)).filter(|it| !it.is_empty())
        })
    }

    async fn wait_for_actor(&mut self, cid: String, name: &str) -> Result<Called, ChannelError> {
        let name = match uid::escaped(name) {
            Ok(name) => name,
            Err(error) => return Ok(Err(Refused::new("ValueError", error))),
        };
        if self.waits.len() >= WAITS_MAX {
            return Ok(Err(Refused::new("RuntimeError", "too many calls wait already")));
        }
        self.next_call += 1;
        let call = self.next_call;
        if let Err(error) = self.session.wait(call, name) {
            return Ok(Err(error.into()));
        }
        self.acknowledges(&cid).await?;
        self.waits.insert(call, Waiting { cid, find: None });
        Ok(Ok(()))
    }

    /// Answers a call that waited for a name.
    pub(super) async fn answer_wait(
        &mut self,
        call: CallId,
        records: Vec<Record>,
    ) -> Result<(), ChannelError> {
        let Some(Waiting { cid, find }) = self.waits.remove(&call) else { return Ok(()) };
        if let Some(name) = find {
            let found = self.find_actor(&name);
            if found.is_some() {
                self.forget_waits(&cid);
                return self.returns(&cid, &found).await;
            }
            // It is there, but out of reach; another may come that is within reach.
            self.waits.insert(call, Waiting { cid, find: Some(name) });
            return Ok(());
        }
        if let Some(addresses) = self.tell_preferred(records) {
            return self.returns(&cid, &addresses).await;
        }
        let message = "the actor is there, and has no address that tractor can reach from there";
        self.fails(Some(&cid), &Refused::new("ValueError", message)).await
    }

    async fn delete_addr(&mut self, cid: String, addr: &Address) -> Result<Called, ChannelError> {
        let endpoint = match addr.read() {
            Ok((endpoint, _)) => endpoint,
            // Nobody ever got such an endpoint.
            Err(AddressError::Kind) => return self.answer(&cid, Ok(None::<Uid>)).await,
            Err(error) => return Ok(Err(Refused::new("ValueError", error))),
        };
        if self.looks.len() >= LOOKS_MAX {
            return Ok(Err(Refused::new(
                "RuntimeError",
                "too many addresses are in doubt already",
            )));
        }
        // The registrar checks callsign's own actors at its own pace.
        for (told, uuid, epoch) in self.told.iter().filter(|(told, ..)| *told == endpoint) {
            self.session.report(*uuid, *epoch, told, Evidence::Other);
        }
        self.acknowledges(&cid).await?;
        let (answer, found) = oneshot::channel();
        let by = self.session.caller().clone();
        self.order(Order::Doubt { endpoint, by, answer }).await;
        self.looks.spawn(async move { (cid, found.await.ok().flatten()) });
        Ok(Ok(()))
    }

    /// Ends a call of the same connection that waits.
    async fn cancel_task(&mut self, target: &str) -> Result<(), ChannelError> {
        if !self.waits.values().any(|it| it.cid == target) {
            return Ok(());
        }
        self.forget_waits(target);
        let canceller = Some(self.uid.clone());
        let refused = Refused { canceller, ..Refused::new("ContextCancelled", "cancelled") };
        self.fails(Some(target), &refused).await
    }

    async fn acknowledges_cancel(&mut self, cid: &str, done: bool) -> Result<Called, ChannelError> {
        self.acknowledges(cid).await?;
        self.channel.send(&BareMessage::CancelAck { cid, pld: done }).await?;
        Ok(Ok(()))
    }

    async fn order(&self, order: Order) {
        // There is no liveness monitor any more when the node stops.
        self.shared.orders.send(order).await.ok();
    }
}

/// Returns our names for an actor of a name there: one of callsign's may have the name that stands
/// for another of tractor's.
fn names_of(name: &str) -> impl Iterator<Item = Name> {
    [uid::escaped(name), Name::new(name)].into_iter().flatten()
}

/// The time for further endpoints of an instance after its first: several times what a program
/// takes for one. Waiters are not notified before.
const SETTLE_AFTER: Duration = Duration::from_millis(25);

/// The most calls of a connection that wait for a name. The original has one for each connection.
const WAITS_MAX: usize = 64;

/// The most concurrent looks that a connection may request, each at the cost of a connection.
const LOOKS_MAX: usize = 16;
