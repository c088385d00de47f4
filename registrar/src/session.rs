//! A connection to the registrar.

use std::{sync::Arc, task::Context, time::Duration};

use bytes::BytesMut;
use endpoints::Locality;
use portal::{Call, Replies, Service, TURN_STEPS};
use serde::Serialize;
use smallvec::SmallVec;
use tokio::time::Instant;
use tracing::{debug, info};
use transport::{Peer, here};
use wire::{
    CallId, ErrorKind, RemoteError, encode_changed, encode_registered,
    registrar::{
        AskLine, Changed, FIND, LINE, LIST, List, ListNames, NAMES, OWNERS, QUERY, Query, REGISTER,
        RENEW, REPORT, Register, Renew, Report, STATUS, UNREGISTER, UNREGISTER_ALL, UNREGISTER_MAX,
        UPDATE, UnreadRegister, Unregister, UnregisterAll, Update, WAIT, WATCH, WHOAMI, Wait,
        Watch, Watching,
    },
};

use crate::{
    RegistryHandle,
    accounts::Holding,
    jobs::Job,
    latencies::{LOOK_UPS_PER_SAMPLE, REGISTRATIONS_PER_SAMPLE},
    registry::{AHEAD, Caller, Entered, Event, Registry, SessionId},
    session_handle::{LineAnswer, SessionHandle},
};

/// The calls of which the time is taken.
#[derive(Clone, Copy, Debug)]
enum Timed {
    LookUp,
    Registration,
}

/// Of so many of each the time of one is taken.
const SAMPLES: [u32; 2] = [LOOK_UPS_PER_SAMPLE, REGISTRATIONS_PER_SAMPLE];

/// A connection to the registrar: its peer's calls. When it is dropped, its registrations are gone.
///
/// ```
/// # use callsign_registrar as callsign;
/// use callsign::{RegistryHandle, Session, registry::{Limits, Owner}};
///
/// let registry = RegistryHandle::unattended(Limits::default());
/// let session = Session::open(registry.clone(), Owner::User(1000));
/// assert_eq!(registry.status().sessions, 1);
/// drop(session);
/// assert_eq!(registry.status().sessions, 0);
/// ```
#[derive(Debug)]
pub struct Session {
    registry: RegistryHandle,
    id: SessionId,
    caller: Caller,
    handle: Arc<SessionHandle>,
    /// The bytes in its buffers beyond the charge of every connection.
    holding: Holding,
    /// Whether a watch has more to say than the last pump could send.
    has_more: bool,
    /// Whether it has registered something, or waits to: a silence concerns that alone.
    has_registered: bool,
    /// The time, as read for the first query of a batch.
    now_ms: Option<u64>,
    /// Whether the registry had many instances at the beginning of a batch.
    is_crowded: Option<bool>,
    /// The peer's identity, if this is a connection.
    peer: Option<Peer>,
    /// Look-ups, and registrations, until the time of the next one is taken.
    until_sample: [u32; 2],
}

impl Session {
    /// Opens a session for a peer.
    pub fn open(registry: RegistryHandle, caller: impl Into<Caller>) -> Self {
        let (handle, caller) = (Arc::new(SessionHandle::default()), caller.into());
        let id = registry.open_session(handle.clone(), &caller);
        let holding = Holding::new(registry.accounts().clone(), caller.owner.account());
        Self {
            registry,
            id,
            caller,
            handle,
            holding,
            has_more: false,
            has_registered: false,
            now_ms: None,
            is_crowded: None,
            peer: None,
            until_sample: SAMPLES.map(|every| 1 + (id % every as usize) as u32),
        }
    }

    /// Sets the peer's identity, for calls that ask for it.
    pub(crate) fn of_peer(mut self, peer: Peer) -> Self {
        self.peer = Some(peer);
        self
    }

    /// Records that its peer can be asked for a sign of life, as before it gets a name.
    pub(crate) fn answerable(self) -> Self {
        self.registry.with(|registry| registry.can_be_asked(self.id));
        self
    }

    /// Returns which session of the registry it is.
    pub(crate) fn id(&self) -> SessionId {
        self.id
    }

    fn query(&mut self, call: Call<'_>, replies: &mut Replies) -> Result<(), RemoteError> {
        let query = Query::decode(call.body).map_err(|it| call.unreadable(&it))?;
        self.registry.may_answer(&query, &self.caller)?;
        let now_ms = *self.now_ms.get_or_insert_with(|| self.registry.now_ms());
        let mut steps = 0;
        replies.finish_with(call.id, |bytes| {
            steps = self.registry.answer(&query, &self.caller, now_ms, bytes);
        });
        replies.spend(steps);
        Ok(())
    }

    fn find(&self, call: Call<'_>, replies: &mut Replies) -> Result<(), RemoteError> {
        let query = Query::decode(call.body).map_err(|it| call.unreadable(&it))?;
        self.registry.may_answer(&query, &self.caller)?;
        let mut steps = 0;
        replies.finish_with(call.id, |bytes| {
            steps = self.registry.locate(&query, &self.caller, bytes);
        });
        replies.spend(steps);
        Ok(())
    }

    fn wait(&self, call: Call<'_>, replies: &mut Replies) -> Result<(), RemoteError> {
        let Wait { name } = call.args()?;
        let now_ms = self.registry.now_ms();
        let mut answer = BytesMut::new();
        let (is_there, steps) = self.registry.with(|registry| {
            registry.wait((self.id, call.id), name, &self.caller, now_ms, &mut answer)
        })?;
        if is_there {
            replies.finish_with(call.id, |bytes| bytes.extend_from_slice(&answer));
        }
        replies.spend(steps);
        Ok(())
    }

    /// Answers the calls that have waited, as far as there is room and time for answers.
    fn answer_waits(&self, replies: &mut Replies) {
        while let Some(name) = self.handle.present()
            && !replies.is_full()
            && !replies.is_spent()
        {
            let mut answer = BytesMut::new();
            match self.registry.answer_wait(self.id, &name, &self.caller, &mut answer) {
                Some(call) => {
                    replies.finish_with(call, |bytes| bytes.extend_from_slice(&answer));
                    replies.spend(WAIT_STEPS + answer.len() / ANSWER_BYTES_A_STEP);
                }
                None => drop(self.handle.take_present()),
            }
        }
    }

    fn list(&self, call: Call<'_>, replies: &mut Replies) -> Result<(), RemoteError> {
        let list: List = call.args()?;
        let mut steps = 0;
        if list.after == 0 {
            steps += self.registry.look_at_all_declared(self.caller.owner.account());
        }
        let now_ms = self.registry.now_ms();
        replies.finish_with(call.id, |bytes| {
            steps +=
                self.registry.read(|registry| registry.page(&list, &self.caller, now_ms, bytes));
        });
        replies.spend(steps);
        Ok(())
    }

    fn names(&self, call: Call<'_>, replies: &mut Replies) -> Result<(), RemoteError> {
        let ListNames { pattern, after, few } = call.args()?;
        let list = List { pattern, after };
        let few = few.map(|it| it as usize);
        let (page, steps) = self.registry.read(|it| it.names(&list, &self.caller, few));
        replies.spend(steps + page.names.len());
        replies.finish(call.id, &page);
        Ok(())
    }

    fn register(&mut self, call: Call<'_>, replies: &mut Replies) -> Result<(), RemoteError> {
        let at = (self.id, call.id);
        if self.has_registered
            && let Some(unread) = UnreadRegister::of(call.body)
            && let Some((registered, steps)) =
                self.registry.register_again(&unread, &self.caller, self.id)
        {
            replies.spend(steps);
            replies.finish_with(call.id, |bytes| encode_registered(bytes, &registered));
            return Ok(());
        }
        let register = Register::decode(call.body).map_err(|it| call.unreadable(&it))?;
        let (entered, steps) = self.registry.register_or_wait(register, &self.caller, at);
        replies.spend(steps);
        self.has_registered |= entered.is_ok();
        if let Entered::Registered(registered) = entered? {
            replies.finish_with(call.id, |bytes| encode_registered(bytes, &registered));
        }
        Ok(())
    }

    /// Answers the calls that were in line for a name.
    fn answer_granted(&self, replies: &mut Replies) {
        while !replies.is_full()
            && let Some(LineAnswer { call, result, .. }) = self.handle.take_granted()
        {
            match result {
                Ok(registered) => replies.finish(call, &registered),
                Err(error) => replies.fail(call, error),
            }
        }
    }

    fn line(&self, call: Call<'_>, replies: &mut Replies) -> Result<(), RemoteError> {
        let ask: AskLine = call.args()?;
        let (line, steps) = self.registry.read(|registry| registry.line(&ask, &self.caller));
        replies.finish(call.id, &line);
        replies.spend(steps + line.waiting.len());
        Ok(())
    }

    fn watch(&mut self, call: Call<'_>, replies: &mut Replies) -> Result<(), RemoteError> {
        let Watch { pattern, seen } = call.args()?;
        let now_ms = self.registry.now_ms();
        let watching = self.registry.with(|registry| {
            let resumed = registry.watch(self.id, call.id, pattern, seen)?;
            Ok::<_, RemoteError>(Watching { revision: registry.revision(), now_ms, resumed })
        })?;
        replies.started(call.id, &watching);
        Ok(())
    }

    fn report(&self, call: Call<'_>) -> Result<impl Serialize, RemoteError> {
        let Report { uuid, epoch, endpoint, evidence } = call.args()?;
        info!(
            target: "callsign", %uuid, epoch, %endpoint, ?evidence, session = self.id,
            "an endpoint is said not to answer"
        );
        self.registry.report(uuid, epoch, &endpoint, evidence, self.caller.owner);
        Ok(self.changed())
    }

    fn update(&self, call: Call<'_>) -> Result<Changed, RemoteError> {
        let update: Update = call.args()?;
        let set = update.state.map(|_| update.uuid);
        let changed = self.registry.update(update, &self.caller, self.id)?;
        if let Some(uuid) = set
            && self.registry.read(|registry| registry.registrant(uuid)) != Some(self.id)
        {
            // The registrant keeps the new state, with other registrars too, and with this one
            // after a restart.
            self.registry.send(Job::TellState(uuid), self.caller.owner);
        }
        Ok(changed)
    }

    fn unregister_all(&self, call: Call<'_>) -> Result<Changed, RemoteError> {
        let UnregisterAll { uuids } = call.args()?;
        if uuids.len() > UNREGISTER_MAX {
            let why = format!("one call takes out at most {UNREGISTER_MAX} instances");
            return Err(RemoteError::new(ErrorKind::LimitReached, why));
        }
        let by = self.caller.owner;
        let event = Event::UnregisterAll { uuids: uuids.clone(), by };
        self.registry.unregister(event, &uuids, &self.caller, self.id)
    }

    fn unregister(&self, call: Call<'_>) -> Result<Changed, RemoteError> {
        let Unregister { uuid } =
            Unregister::decode(call.body).map_err(|it| call.unreadable(&it))?;
        let by = self.caller.owner;
        self.registry.unregister(Event::Unregister { uuid, by }, &[uuid], &self.caller, self.id)
    }

    fn renew(&self, call: Call<'_>) -> Result<Changed, RemoteError> {
        let Renew { uuid } = call.args()?;
        let event = Event::Renew { uuid, by: self.caller.owner };
        self.registry.change(|registry, now_ms| {
            let outcome = registry.apply_for(&self.caller, event, now_ms)?;
            Ok((Changed { revision: registry.revision() }, outcome))
        })
    }

    /// Does what a call asks for, and takes the time of one now and then. Each session begins
    /// somewhere else, so that short ones are among those taken.
    fn timed<T>(&mut self, what: Timed, answer: impl FnOnce(&mut Self) -> T) -> T {
        let left = &mut self.until_sample[what as usize];
        *left -= 1;
        if *left > 0 {
            return answer(self);
        }
        *left = SAMPLES[what as usize];
        let began = Instant::now();
        let answered = answer(self);
        let latencies = match what {
            Timed::LookUp => self.registry.look_up_latencies(),
            Timed::Registration => self.registry.registration_latencies(),
        };
        latencies.note(began.elapsed());
        answered
    }

    fn changed(&self) -> Changed {
        Changed { revision: self.registry.read(|registry| registry.revision()) }
    }
}

impl Service for Session {
    fn call(&mut self, call: Call<'_>, replies: &mut Replies) {
        let is_quick = matches!(call.method, QUERY | FIND | LIST | NAMES);
        let called = match call.method {
            QUERY => self.timed(Timed::LookUp, |it| it.query(call, replies)),
            FIND => self.timed(Timed::LookUp, |it| it.find(call, replies)),
            WAIT => self.wait(call, replies),
            LIST => self.list(call, replies),
            NAMES => self.names(call, replies),
            WATCH => self.watch(call, replies),
            LINE => self.line(call, replies),
            REGISTER => self.timed(Timed::Registration, |it| it.register(call, replies)),
            UPDATE => self.update(call).map(|it| finish(call.id, it, replies)),
            UNREGISTER => self.unregister(call).map(|it| finish(call.id, it, replies)),
            UNREGISTER_ALL => self.unregister_all(call).map(|it| replies.finish(call.id, &it)),
            RENEW => self.renew(call).map(|it| finish(call.id, it, replies)),
            REPORT => self.report(call).map(|it| replies.finish(call.id, &it)),
            STATUS => {
                replies.finish(call.id, &self.registry.status());
                Ok(())
            }
            OWNERS => {
                let (accounts, account) = (self.registry.accounts(), self.caller.owner.account());
                let owners = if self.caller.is_trusted {
                    accounts.owners(account)
                } else {
                    accounts.own(account)
                };
                replies.spend(owners.total as usize * OWNER_STEPS);
                replies.finish(call.id, &owners);
                Ok(())
            }
            WHOAMI => {
                let mut whoami = self.registry.read(|registry| registry.whoami(&self.caller));
                let account = self.caller.owner.account();
                whoami.uses = Some(self.registry.accounts().use_of(account));
                (whoami.transport, whoami.locality) = self.peer.as_ref().map(way_of).unzip();
                replies.spend(whoami.rules.len() + whoami.groups.len());
                replies.finish(call.id, &whoami);
                Ok(())
            }
            _ => Err(call.unknown()),
        };
        if let Err(error) = called {
            replies.fail(call.id, error);
        }
        if !is_quick {
            replies.spend(CHANGE_STEPS + call.body.len() / CHANGE_BYTES_A_STEP);
        }
    }

    fn look_ahead<'a>(&mut self, calls: impl Iterator<Item = Call<'a>>) {
        let is_crowded = || self.registry.read(Registry::is_crowded);
        if !*self.is_crowded.get_or_insert_with(is_crowded) {
            return;
        }
        let names = calls.map_while(|call| {
            let is_look_up = matches!(call.method, QUERY | FIND);
            is_look_up.then(|| Query::decode(call.body).ok())?.map(|it| it.name)
        });
        let names: SmallVec<[_; AHEAD]> = names.take(AHEAD).collect();
        if names.len() > 1 {
            self.registry.read(|registry| registry.fetch(&names));
        }
    }

    fn credit(&mut self, id: CallId, items: u32, _: &mut Replies) {
        self.registry.with(|registry| registry.credit(self.id, id, items));
        self.has_more = true;
    }

    fn cancel(&mut self, id: CallId, _: &mut Replies) {
        self.registry.with(|registry| registry.cancel(self.id, id));
        self.registry.leave_line((self.id, id));
        // The answer is on its way, and nobody waits for it any more.
        if let Some(uuid) = self.handle.forget_granted(id) {
            let by = self.caller.owner;
            let event = Event::Unregister { uuid, by };
            let gone = self.registry.unregister(event, &[uuid], &self.caller, self.id);
            if let Err(error) = gone {
                debug!(target: "callsign", %uuid, %error, "it is gone already");
            }
        }
    }

    fn fell_silent(&mut self, silence: Duration) {
        info!(target: "callsign", ?silence, "a session gives no sign of life");
        self.registry.note(Event::SessionSilent(self.id));
    }

    fn minds_silence(&self) -> bool {
        self.has_registered
    }

    fn heard_again(&mut self) {
        info!(target: "callsign", "a session is heard again");
        self.registry.note(Event::SessionHeard(self.id));
    }

    fn asks_for_sign(&mut self) -> bool {
        self.handle.take_asked()
    }

    fn gave_sign(&mut self) {
        self.registry.note(Event::SessionAnswers(self.id));
    }

    fn holds(&mut self, bytes: usize) -> Result<(), String> {
        self.holding.set(bytes).map_err(|exceeded| exceeded.to_string())
    }

    fn pump(&mut self, cx: &mut Context<'_>, replies: &mut Replies) {
        (self.now_ms, self.is_crowded) = (None, None);
        self.has_more |= self.handle.take_has_changes(cx);
        self.answer_granted(replies);
        self.answer_waits(replies);
        if !self.has_more || replies.is_full() {
            return;
        }
        let (has_more, steps) = self.registry.with(|registry| {
            registry.read_watches(self.id, &self.caller, &mut |call, change| {
                replies.item_encoded(call, change);
                !replies.is_full()
            })
        });
        self.has_more = has_more;
        // A long snapshot is read in parts, so that others get their turn in between.
        let goes_on = has_more && !replies.is_full();
        replies.spend(if goes_on { TURN_STEPS } else { steps });
    }
}

/// Answers a call that has changed something.
fn finish(call: CallId, changed: Changed, replies: &mut Replies) {
    replies.finish_with(call, |bytes| encode_changed(bytes, changed));
}

/// Returns the transport of a connection, and its locality from here.
fn way_of(peer: &Peer) -> (String, String) {
    let (transport, locality) = match peer {
        Peer::Unix { .. } => ("unix", Locality::UnixSocket),
        Peer::Memory => ("memory", Locality::InProcess),
        Peer::Tcp(peer) => ("tcp", here().locality_of(peer.ip())),
    };
    (transport.to_owned(), locality.as_str().replace(' ', "-"))
}

/// The steps of reporting an owner's use.
const OWNER_STEPS: usize = 20;

/// The steps of answering a call that has waited, and the bytes of the answer for each further
/// step.
const WAIT_STEPS: usize = 20;
const ANSWER_BYTES_A_STEP: usize = 128;

/// The steps of a change of the registry, and the bytes of it for each further step: they are read,
/// indexed, encoded, and sent to watchers.
const CHANGE_STEPS: usize = 100;
const CHANGE_BYTES_A_STEP: usize = 4;

impl Drop for Session {
    fn drop(&mut self) {
        self.registry.close_session(self.id);
    }
}
