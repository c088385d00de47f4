//! A session: reconciles a registrar with the desired state while the link is up.
//!
//! It compares the desired state with what its registrar has, and makes the missing calls. At most
//! one call is under way for an instance, so that calls cannot overtake each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use portal::{Closed, Driver};
use serde::Serialize;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use transport::Stream;
use uuid::Uuid;
use wire::{
    ErrorKind, RemoteError, encode_body,
    registrar::{
        self, AskLine, Changed, Register, Registered, Renew, UNREGISTER_MAX, Unregister,
        UnregisterAll,
    },
};

use super::{
    Hub, LinkConnection,
    callbacks::Registrant,
    desired::{Entry, Progress, Token},
};
use crate::{LinkError, Lost};

/// Reconciles a registrar with the desired state while the link is up.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    hub: &'a Hub,
    link: usize,
    connection: LinkConnection,
    desired_changes: watch::Receiver<()>,
    /// The entries that the registrar has, or is asked to have.
    kept: BTreeMap<Uuid, SessionEntry>,
    calls: FuturesUnordered<BoxFuture<'a, FinishedCall>>,
    /// The registrations that may wait in line.
    standing: FuturesUnordered<BoxFuture<'a, FinishedCall>>,
    /// The calls that take several instances out.
    departures: FuturesUnordered<BoxFuture<'a, Departed>>,
    /// Whether the registrar does not know such calls.
    is_older: bool,
    /// Whether something was left undone because too many calls were under way.
    is_behind: bool,
    /// The time of the next action, without an earlier event.
    wake: Option<Instant>,
}

#[derive(Debug)]
struct SessionEntry {
    entry: Arc<Entry>,
    /// The version that the registrar has.
    version: Option<u64>,
    is_under_way: bool,
    /// Leaves the line in which the call under way may wait.
    leave: Option<CancellationToken>,
    /// The version that the registrar refused, and the time of the next attempt.
    refused: Option<(u64, Instant)>,
    /// When the lease is renewed next.
    renew_at: Option<Instant>,
}

/// An action for an instance.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    Nothing,
    Wait(Instant),
    Register,
    Update,
    Renew,
    /// Leaves the line.
    Leave,
    Unregister,
    Forget,
}

/// A call that is over.
#[derive(Debug)]
struct FinishedCall {
    uuid: Uuid,
    step: Step,
    version: u64,
    result: Result<(), LinkError>,
}

/// A finished call that removed several instances.
type Departed = (Vec<Uuid>, Result<(), LinkError>);

impl<'a> Session<'a> {
    pub(crate) fn new(hub: &'a Hub, link: usize, connection: LinkConnection) -> Self {
        let mut desired_changes = hub.desired.subscribe();
        desired_changes.mark_changed();
        Self {
            hub,
            link,
            connection,
            desired_changes,
            kept: BTreeMap::new(),
            calls: FuturesUnordered::new(),
            standing: FuturesUnordered::new(),
            departures: FuturesUnordered::new(),
            is_older: false,
            is_behind: false,
            wake: None,
        }
    }

    /// Serves until the connection ends or the client is closed, and returns why.
    pub(crate) async fn run(&mut self, driver: &mut Driver<Stream, Registrant>) -> LinkError {
        loop {
            let wake = self.wake;
            let alarm = async {
                match wake {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.hub.closing.cancelled() => return LinkError::ClientClosed,
                () = self.connection.overdue.cancelled() => {
                    return LinkError::NoAnswer(self.hub.options.ask_timeout);
                }
                closed = &mut *driver => return LinkError::Closed(closed),
                Some(done) = self.calls.next() => self.settle(done),
                Some(done) = self.standing.next() => self.settle(done),
                Some((uuids, result)) = self.departures.next() => {
                    self.settle_departure(uuids, result);
                }
                changed = self.desired_changes.changed() => {
                    changed.expect("the hub owns the desired state");
                    self.reconcile();
                }
                () = alarm => self.reconcile(),
            }
        }
    }

    /// Compares the whole desired state with everything that the registrar has.
    fn reconcile(&mut self) {
        (self.wake, self.is_behind) = (None, false);
        let mut uuids: BTreeSet<_> = self.kept.keys().copied().collect();
        self.hub.desired.with(|entries| uuids.extend(entries.keys()));
        self.unregister_all(&uuids);
        for uuid in uuids {
            if self.calls.len() >= CALLS_MAX {
                self.is_behind = true;
                return;
            }
            self.advance(uuid);
        }
    }

    /// Removes all instances together that are to go, so that they go in one change.
    fn unregister_all(&mut self, uuids: &BTreeSet<Uuid>) {
        if self.is_older {
            return;
        }
        let now = Instant::now();
        let (hub, kept) = (self.hub, &mut self.kept);
        let leaving = hub.desired.with(|entries| {
            let leaves =
                |uuid: &&Uuid| step(entries.get(uuid), kept.get(uuid), now) == Step::Unregister;
            let leaving: Vec<Uuid> = uuids.iter().filter(leaves).copied().collect();
            if leaving.len() < 2 {
                return Vec::new();
            }
            for uuid in &leaving {
                kept.get_mut(uuid).expect("only what is kept is removed").is_under_way = true;
            }
            leaving
        });
        for part in leaving.chunks(UNREGISTER_MAX) {
            let part = part.to_vec();
            let args = encode_body(&UnregisterAll { uuids: part.clone() });
            let (connection, limit) = (self.connection.clone(), hub.options.ask_timeout);
            let departure = async move {
                let method = registrar::UNREGISTER_ALL;
                let result = connection.call_patiently::<Changed>(method, &args, limit).await;
                (part, result.map(drop))
            };
            self.departures.push(departure.boxed());
        }
    }

    /// Records that instances have been removed together.
    fn settle_departure(&mut self, uuids: Vec<Uuid>, result: Result<(), LinkError>) {
        match result {
            // The session is about to end.
            Err(LinkError::Closed(_) | LinkError::NoAnswer(_)) => return,
            // The session removes them one by one.
            Err(LinkError::Refused(RemoteError { kind: ErrorKind::NoSuchMethod, .. })) => {
                self.is_older = true;
                for uuid in &uuids {
                    self.kept.get_mut(uuid).expect("what is under way is kept").is_under_way =
                        false;
                }
            }
            // Whether they were still there or not, they are gone now.
            _ => {
                for uuid in &uuids {
                    if let Some(kept) = self.kept.remove(uuid) {
                        kept.entry.set_progress(self.link, Progress::Absent);
                    }
                }
            }
        }
        for uuid in uuids {
            self.advance(uuid);
        }
    }

    /// Does the next step for one instance.
    fn advance(&mut self, uuid: Uuid) {
        let now = Instant::now();
        let hub = self.hub;
        // The desired state is locked until the progress is recorded, so that a removal of an entry
        // sees whether a call is under way.
        hub.desired.with(|entries| {
            let wanted = entries.get(&uuid);
            let step = step(wanted, self.kept.get(&uuid), now);
            match step {
                Step::Nothing => {}
                Step::Wait(at) => self.wake = Some(self.wake.map_or(at, |wake| wake.min(at))),
                Step::Forget => {
                    if let Some(kept) = self.kept.remove(&uuid) {
                        kept.entry.set_progress(self.link, Progress::Absent);
                    }
                }
                Step::Register => {
                    let entry = wanted.expect("only what is wanted is registered").clone();
                    let kept = SessionEntry {
                        entry: entry.clone(),
                        version: None,
                        is_under_way: true,
                        leave: entry.waits.then(CancellationToken::new),
                        refused: None,
                        renew_at: None,
                    };
                    if let Some(earlier) = self.kept.insert(uuid, kept)
                        && !Arc::ptr_eq(&earlier.entry, &entry)
                    {
                        earlier.entry.set_progress(self.link, Progress::Absent);
                    }
                    entry.set_progress(self.link, Progress::UnderWay);
                    let (version, mut register) = entry.wanted();
                    let registrar = self.connection.registrar;
                    register.again = entry.latest_epoch(registrar);
                    let token = entry.token(self.link);
                    register.token = token.map(|it| it.number);
                    register.resume = token.and_then(|it| it.resume);
                    let (link, place) = (self.link, &hub.links[self.link].registrar);
                    let registered = entry.clone();
                    let note = move |it: Registered| {
                        if let Some(lost) = it.lost {
                            let lost = Lost::told_by(place.clone(), *lost);
                            return Err(LinkError::Lost(Box::new(lost)));
                        }
                        registered.add_also(it.also);
                        if let Some(key) = it.key {
                            registered.identity.insert(registrar, it.epoch, key);
                        }
                        let resume = it.resume;
                        let token = it.token.map(|number| Token { number, resume });
                        registered.set_token(link, it.epoch, token);
                        Ok(())
                    };
                    match self.kept.get(&uuid).and_then(|it| it.leave.clone()) {
                        Some(leave) => self.stand(&entry, version, &register, leave, note),
                        None => {
                            self.call(uuid, step, version, registrar::REGISTER, &register, note);
                        }
                    }
                }
                Step::Update => {
                    let kept = self.kept.get_mut(&uuid).expect("only what is kept is updated");
                    kept.is_under_way = true;
                    let earlier = kept.version.expect("the registrar has an earlier version");
                    let (version, update) = kept.entry.update(earlier);
                    self.call(uuid, step, version, registrar::UPDATE, &update, |_: Changed| Ok(()));
                }
                Step::Renew => {
                    let kept = self.kept.get_mut(&uuid).expect("only what is kept is renewed");
                    kept.is_under_way = true;
                    let version = kept.entry.version();
                    self.call(
                        uuid,
                        step,
                        version,
                        registrar::RENEW,
                        &Renew { uuid },
                        |_: Changed| Ok(()),
                    );
                }
                Step::Leave => {
                    let kept = self.kept.get(&uuid).and_then(|it| it.leave.as_ref());
                    kept.inspect(|it| it.cancel());
                }
                Step::Unregister => {
                    let kept = self.kept.get_mut(&uuid).expect("only what is kept is removed");
                    kept.is_under_way = true;
                    let version = kept.entry.version();
                    let unregister = Unregister { uuid };
                    let method = registrar::UNREGISTER;
                    self.call(uuid, step, version, method, &unregister, |_: Changed| Ok(()));
                }
            }
        });
    }

    fn call<R: serde::de::DeserializeOwned + 'a>(
        &mut self,
        uuid: Uuid,
        step: Step,
        version: u64,
        method: &'static str,
        args: &impl Serialize,
        note: impl FnOnce(R) -> Result<(), LinkError> + Send + 'a,
    ) {
        let (connection, args) = (self.connection.clone(), encode_body(args));
        let limit = self.hub.options.ask_timeout;
        let call = async move {
            let result = connection.call_patiently(method, &args, limit).await.and_then(note);
            FinishedCall { uuid, step, version, result }
        };
        self.calls.push(call.boxed());
    }

    /// Registers an instance, and waits in line if necessary, for as long as it takes.
    fn stand(
        &mut self,
        entry: &Arc<Entry>,
        version: u64,
        register: &Register,
        leave: CancellationToken,
        note: impl FnOnce(Registered) -> Result<(), LinkError> + Send + 'a,
    ) {
        let (hub, index, connection, entry) =
            (self.hub, self.link, self.connection.clone(), entry.clone());
        let (uuid, limit) = (entry.uuid, hub.options.ask_timeout);
        let args = encode_body(register);
        let ask = encode_body(&AskLine { name: entry.name.clone(), uuid: Some(uuid) });
        let standing = async move {
            let done = |step, result| FinishedCall { uuid, step, version, result };
            let room = hub.links[index].waits.try_acquire();
            let Ok(_room) = room else { return done(Step::Register, Err(LinkError::TooManyWaits)) };
            let registering = async {
                let body = connection
                    .portal
                    .call_encoded(portal::Request::encoded(registrar::REGISTER, &args))
                    .await?;
                wire::decode_body(&body).map_err(LinkError::Unreadable).and_then(note)
            };
            let standing = async {
                // An earlier registrar refuses a registration that would have to wait. While a
                // cluster decides, it has no place in line.
                loop {
                    let told = connection.call::<registrar::Line>(registrar::LINE, &ask, limit);
                    match told.await {
                        Ok(registrar::Line { ahead: Some(ahead), .. }) => {
                            entry.set_progress(index, Progress::InLine(ahead));
                            break;
                        }
                        Ok(_) => sleep(UNDECIDED_PAUSE).await,
                        Err(_) => break,
                    }
                }
                pending().await
            };
            tokio::select! {
                biased;
                registered = registering => return done(Step::Register, registered),
                () = leave.cancelled() => {}
                () = standing => {}
            }
            // The answer may be on its way already.
            let args = encode_body(&Unregister { uuid });
            let gone = connection.call::<Changed>(registrar::UNREGISTER, &args, limit).await;
            done(Step::Unregister, gone.map(drop))
        };
        self.standing.push(standing.boxed());
    }

    /// Records the end of a call, and continues from there.
    fn settle(&mut self, done: FinishedCall) {
        let FinishedCall { uuid, step, version, result } = done;
        let now = Instant::now();
        let kept = self.kept.get_mut(&uuid).expect("what is under way is kept");
        (kept.is_under_way, kept.leave) = (false, None);
        let is_gone = matches!(
            &result,
            Err(LinkError::Refused(RemoteError { kind: ErrorKind::NotFound, .. }))
        );
        match result {
            // The session is about to end.
            Err(LinkError::Closed(_) | LinkError::NoAnswer(_)) => return,
            // Whether it was still there or not, it is gone now.
            _ if step == Step::Unregister => {
                kept.entry.set_progress(self.link, Progress::Absent);
                self.kept.remove(&uuid);
            }
            // It was removed while this side was away.
            Err(LinkError::Lost(lost)) => {
                kept.version = None;
                let name = &kept.entry.name;
                tracing::info!(target: "callsign", %name, %uuid, %lost, "it has lost an entry");
                self.hub.desired.lose(&kept.entry, *lost);
            }
            // The registrar has removed it meanwhile, so it must be registered again.
            Err(_) if is_gone => kept.version = None,
            // A renewal says nothing about a version that was refused.
            Ok(()) if step == Step::Renew => {
                kept.renew_at = kept.entry.lease.map(|ttl| now + ttl / RENEWALS_PER_LEASE);
            }
            Ok(()) => {
                kept.version = Some(version);
                kept.refused = None;
                kept.entry.recover();
                kept.renew_at = kept.entry.lease.map(|ttl| now + ttl / RENEWALS_PER_LEASE);
                kept.entry.set_progress(self.link, Progress::Here(version));
            }
            Err(error) if step == Step::Renew => {
                tracing::debug!(target: "callsign", name = %kept.entry.name, %error, "not renewed");
                kept.renew_at = kept.entry.lease.map(|ttl| now + ttl / RENEWALS_PER_LEASE);
            }
            // The former holder of the name may still return: that is no answer.
            Err(LinkError::Refused(RemoteError {
                kind: ErrorKind::Unsettled, message, ..
            })) => {
                let (name, settles_at) = (&kept.entry.name, self.connection.settles_at());
                tracing::info!(target: "callsign", %name, why = %message, "not registered yet");
                kept.refused = Some((version, settles_at.unwrap_or(now + REFUSED_PAUSE)));
            }
            Err(error) => {
                // The registrant is notified.
                tracing::info!(
                    target: "callsign", name = %kept.entry.name, %error,
                    "the registrar refuses a registration"
                );
                let is_moving = self.connection.is_of_cluster;
                let pause = if is_moving { MOVING_PAUSE } else { REFUSED_PAUSE };
                kept.refused = Some((version, now + pause));
                kept.entry.set_progress(self.link, Progress::Refused(version, Arc::new(error)));
            }
        }
        self.advance(uuid);
        if self.is_behind && self.calls.len() <= CALLS_MAX / 2 {
            self.reconcile();
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        for kept in self.kept.values() {
            kept.entry.set_progress(self.link, Progress::Absent);
        }
    }
}

/// Says goodbye on a connection that is not needed any more.
pub(crate) async fn part(
    connection: &LinkConnection,
    driver: &mut Driver<Stream, Registrant>,
    reason: &str,
) {
    connection.portal.close(reason);
    said(driver).await;
}

/// Waits a moment until a goodbye is written.
pub(crate) async fn said(driver: &mut Driver<Stream, Registrant>) {
    let parted: Result<Closed, _> = tokio::time::timeout(GOODBYE_TIMEOUT, driver).await;
    drop(parted);
}

/// Returns the action for an instance that is wanted, present, or both.
fn step(wanted: Option<&Arc<Entry>>, kept: Option<&SessionEntry>, now: Instant) -> Step {
    match (wanted, kept) {
        (wanted, Some(SessionEntry { entry, leave: Some(_), .. }))
            if wanted.is_none_or(|it| !Arc::ptr_eq(it, entry)) =>
        {
            Step::Leave
        }
        (_, Some(kept)) if kept.is_under_way => Step::Nothing,
        (None, None) => Step::Nothing,
        (None, Some(kept)) if kept.version.is_none() || kept.entry.is_left() => Step::Forget,
        (None, Some(_)) => Step::Unregister,
        (Some(_), None) => Step::Register,
        (Some(entry), Some(kept)) if !Arc::ptr_eq(entry, &kept.entry) => Step::Register,
        (Some(entry), Some(kept)) => {
            let version = entry.version();
            let again_at = match kept.refused {
                Some((refused, again_at)) if refused == version && now < again_at => Some(again_at),
                _ => None,
            };
            match (kept.version, again_at) {
                (None, None) => Step::Register,
                (None, Some(at)) => Step::Wait(at),
                (Some(theirs), None) if theirs != version => Step::Update,
                _ if kept.renew_at.is_some_and(|at| at <= now) => Step::Renew,
                _ => again_at
                    .into_iter()
                    .chain(kept.renew_at)
                    .min()
                    .map_or(Step::Nothing, Step::Wait),
            }
        }
    }
}

/// The most concurrent calls of a session: enough to register a thousand instances in a few round
/// trips.
const CALLS_MAX: usize = 64;

/// A lease survives the loss of two renewals.
const RENEWALS_PER_LEASE: u32 = 3;

/// The pause before a refused registration is tried again: the registrar may have room by then.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);

/// The same within a cluster: the others have the instance for as long as the lease of its last node
/// lasts, some seconds.
const MOVING_PAUSE: Duration = Duration::from_secs(1);

/// The pause before a registrar is asked again for the place in a line that it decides about.
const UNDECIDED_PAUSE: Duration = Duration::from_millis(200);

/// The time limit for a goodbye: a healthy registrar accepts it immediately.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(500);
