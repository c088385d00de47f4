//! Deliberate changes of the registry, each with an event in the audit log: who has done what to
//! whom, once it is done, and who was denied what.

use endpoints::Name;
use tracing::{enabled, info};
use uuid::Uuid;
use wire::{
    CallId, Epoch, ErrorKind, RemoteError,
    registrar::{Changed, Register, Registered, UnreadRegister, Update},
};

use super::{RegistryHandle, RegistryState};
use crate::{
    registry::{
        Caller, Entered, Event, Foreign, Granted, Outcome, Owner, Registry, RegistryError,
        SessionId,
    },
    session_handle,
};

impl RegistryHandle {
    /// Registers an instance for a session. Also returns the steps of checking its name against the
    /// rules, and its endpoints against those of others.
    pub(crate) fn register(
        &self,
        register: Register,
        caller: &Caller,
        session: SessionId,
    ) -> (Result<Registered, RemoteError>, usize) {
        let register = Register { wait: false, ..register };
        let (entered, steps) = self.enter(register, caller, (session, None));
        let registered = entered.and_then(|entered| match entered {
            Entered::Registered(registered) => Ok(registered),
            Entered::InLine => Err(RemoteError::new(ErrorKind::Internal, "it waits in line")),
        });
        (registered, steps)
    }

    /// Registers an instance for a session, or lets it wait in line for its name and answers once
    /// it has it. Also returns the steps of checking its name against the rules, and its endpoints
    /// against those of others.
    pub(crate) fn register_or_wait(
        &self,
        register: Register,
        caller: &Caller,
        (session, call): (SessionId, CallId),
    ) -> (Result<Entered, RemoteError>, usize) {
        self.enter(register, caller, (session, Some(call)))
    }

    /// Registers an instance again that a session keeps, if nothing has changed but the time: without
    /// reading all of the registration. Also returns the steps of checking its name against the rules.
    pub(crate) fn register_again(
        &self,
        register: &UnreadRegister<'_>,
        caller: &Caller,
        session: SessionId,
    ) -> Option<(Registered, usize)> {
        let UnreadRegister { name, uuid, .. } = *register;
        let mut steps = 0;
        let entered = self.change(|registry, now_ms| {
            let again = registry.register_again(register, caller, session, now_ms);
            let (registered, outcome) = again.unzip();
            steps = registered.as_ref().map_or(0, |_| registry.rules().steps(name));
            Ok((registered, outcome.unwrap_or_default()))
        });
        let mut registered = entered.ok()??;
        registered.key = caller.is_private.then(|| self.proof_key(uuid, registered.epoch));
        let (by, epoch) = (caller.owner, registered.epoch);
        info!(target: AUDIT, %by, session, name, %uuid, epoch, of = %by, "replaced");
        Some((registered, steps))
    }

    /// Registers an instance for a session; without a call to answer, now or not at all.
    fn enter(
        &self,
        register: Register,
        caller: &Caller,
        (session, call): (SessionId, Option<CallId>),
    ) -> (Result<Entered, RemoteError>, usize) {
        let (name, uuid, by) = (register.name.clone(), register.uuid, caller.owner);
        let is_logged = enabled!(target: AUDIT, tracing::Level::INFO);
        let mut steps = 0;
        let done = self.change(|registry, now_ms| {
            steps = registry.rules().steps(name.as_str());
            let replaced = is_logged.then(|| registry.owner(uuid)).flatten();
            let (entered, outcome) = match call {
                Some(call) => {
                    registry.register_or_wait(register, caller, (session, call), now_ms)?
                }
                None => {
                    let entered = registry.register(register, caller.clone(), session, now_ms)?;
                    (Entered::Registered(entered.0), entered.1)
                }
            };
            steps += outcome.contested.len() * CONTESTED_STEPS;
            Ok(((entered, replaced), outcome))
        });
        let (entered, replaced) = match done {
            Ok(done) => done,
            Err(error) => {
                if is_denial(&error) {
                    info!(target: AUDIT, %by, session, %name, %uuid, %error, "denied to register");
                }
                return (Err(error), steps);
            }
        };
        let Entered::Registered(mut registered) = entered else {
            info!(target: AUDIT, %by, session, %name, %uuid, "waits in line");
            return (Ok(entered), steps);
        };
        if registered.lost.is_some() {
            info!(target: AUDIT, %by, session, %name, %uuid, "kept out: it was removed while away");
            return (Ok(Entered::Registered(registered)), steps);
        }
        registered.key = caller.is_private.then(|| self.proof_key(uuid, registered.epoch));
        let Registered { epoch, token, .. } = registered;
        match replaced {
            None => info!(target: AUDIT, %by, session, %name, %uuid, epoch, token, "registered"),
            Some(of) => {
                info!(target: AUDIT, %by, session, %name, %uuid, epoch, token, %of, "replaced");
            }
        }
        (Ok(Entered::Registered(registered)), steps)
    }

    /// Ends a call that waits in line for a name, if it does.
    pub(crate) fn leave_line(&self, (session, call): (SessionId, CallId)) {
        let left = self.change(|registry, _| Ok(((), registry.leave_line(session, call))));
        left.expect("whoever waits may always stop");
    }

    /// Answers a call that was in line for a name.
    pub(super) fn grant(&self, state: &RegistryState, granted: Granted) {
        let Granted { session, call, uuid, name, result } = granted;
        let result = match result {
            Ok(mut registered) => {
                let has_key = state.registry.has_key(uuid);
                registered.key = has_key.then(|| self.proof_key(uuid, registered.epoch));
                let Registered { epoch, token, .. } = registered;
                let by = state.registry.owner(uuid).map(|it| it.to_string());
                info!(
                    target: AUDIT, by, session, %name, %uuid, epoch, token,
                    "registered, first in line"
                );
                Ok(registered)
            }
            Err(error) => {
                info!(target: AUDIT, session, %name, %uuid, %error, "no longer in line");
                Err(error.into())
            }
        };
        if let Some(handle) = state.sessions.get(&session) {
            handle.grant(session_handle::LineAnswer { call, uuid, result });
        }
    }

    /// Registers an endpoint of a foreign instance, or lets it stand in line until the cluster has
    /// decided who has its name; `None` if it was there already.
    pub(crate) fn register_foreign(
        &self,
        foreign: Foreign,
        caller: &Caller,
        at: (SessionId, CallId),
    ) -> Result<Option<Entered>, RemoteError> {
        self.enter_foreign(foreign, caller, Some(at), |registry, foreign, now_ms| {
            registry.register_foreign_or_wait(foreign, caller, at, now_ms)
        })
    }

    /// Registers an endpoint of a foreign instance from an earlier run of the node, or lets it wait in
    /// line for its name; `None` if it was there already.
    pub(crate) fn enter_again(
        &self,
        foreign: Foreign,
        caller: &Caller,
        at: (SessionId, CallId),
    ) -> Result<Option<Entered>, RemoteError> {
        self.enter_foreign(foreign, caller, None, |registry, foreign, now_ms| {
            registry.remember_foreign_or_wait(foreign, caller, at, now_ms)
        })
    }

    /// Registers an endpoint of a foreign instance from an earlier run of the node, now or not at all;
    /// `None` if it was there already.
    pub(super) fn remember(
        &self,
        foreign: Foreign,
        caller: &Caller,
    ) -> Result<Option<Epoch>, RemoteError> {
        let (name, uuid, by) = (foreign.name.clone(), foreign.uuid, caller.owner);
        let remember = |registry: &mut Registry, now_ms| {
            registry.remember_foreign(foreign, caller.clone(), now_ms)
        };
        let epoch = self.change(remember)?;
        if let Some(epoch) = epoch {
            info!(target: AUDIT, %by, %name, %uuid, epoch, "registered");
        }
        Ok(epoch)
    }

    fn enter_foreign(
        &self,
        foreign: Foreign,
        caller: &Caller,
        at: Option<(SessionId, CallId)>,
        enter: impl FnOnce(
            &mut Registry,
            Foreign,
            u64,
        ) -> Result<(Option<Entered>, Outcome), RegistryError>,
    ) -> Result<Option<Entered>, RemoteError> {
        let (name, uuid, by) = (foreign.name.clone(), foreign.uuid, caller.owner);
        let session = at.map(|(session, _)| session);
        let done = self.change(|registry, now_ms| enter(registry, foreign, now_ms));
        match &done {
            Ok(Some(Entered::Registered(Registered { epoch, .. }))) => {
                info!(target: AUDIT, %by, session, %name, %uuid, epoch, "registered");
            }
            Ok(Some(Entered::InLine)) => {
                info!(target: AUDIT, %by, session, %name, %uuid, "waits in line");
            }
            Err(error) if is_denial(error) => {
                info!(target: AUDIT, %by, session, %name, %uuid, %error, "denied to register");
            }
            _ => {}
        }
        done
    }

    /// Changes an instance's registration.
    pub(crate) fn update(
        &self,
        update: Update,
        caller: &Caller,
        session: SessionId,
    ) -> Result<Changed, RemoteError> {
        let (uuid, state, by) = (update.uuid, update.state, caller.owner);
        let what = state.map_or_else(|| "its places".to_owned(), |it| it.to_string());
        let event = Event::Update { update, by };
        let (changed, _) = self.act(event, &[uuid], caller, session).inspect_err(|error| {
            if self.is_denied(&[uuid], error) {
                info!(target: AUDIT, %by, session, %uuid, what, %error, "denied to change");
            }
        })?;
        // A program's changes of its endpoints are its own affair, and are repeated as they move.
        if state.is_some() {
            info!(target: AUDIT, %by, session, %uuid, what, "changed");
        }
        Ok(changed)
    }

    /// Removes instances from the registry by an event, in one change.
    pub(crate) fn unregister(
        &self,
        event: Event,
        uuids: &[Uuid],
        caller: &Caller,
        session: SessionId,
    ) -> Result<Changed, RemoteError> {
        let by = caller.owner;
        let (changed, known) = self.act(event, uuids, caller, session).inspect_err(|error| {
            if self.is_denied(uuids, error) {
                let uuids = uuids.iter().take(DENIED_SAID).map(Uuid::to_string);
                let uuids = uuids.collect::<Vec<_>>().join(" ");
                info!(target: AUDIT, %by, session, uuids, %error, "denied to remove");
            }
        })?;
        for EarlierRecord { name, uuid, owner: of } in known {
            info!(target: AUDIT, %by, session, %name, %uuid, %of, "removed");
        }
        Ok(changed)
    }

    /// Applies an event at the request of a session. Also returns the earlier records of the
    /// instances concerned, if they are to be logged.
    fn act(
        &self,
        event: Event,
        uuids: &[Uuid],
        caller: &Caller,
        session: SessionId,
    ) -> Result<(Changed, Vec<EarlierRecord>), RemoteError> {
        let is_logged = enabled!(target: AUDIT, tracing::Level::INFO);
        self.change(|registry, now_ms| {
            let is_shown = |uuid: &&Uuid| is_logged && registry.exists_for(**uuid, caller);
            let known = |uuid: &Uuid| {
                let (name, owner) = (registry.name(*uuid)?.clone(), registry.owner(*uuid)?);
                Some(EarlierRecord { name, uuid: *uuid, owner })
            };
            let known = uuids.iter().filter(is_shown).filter_map(known).collect();
            let outcome = registry.apply_from(session, caller, event, now_ms)?;
            Ok::<_, RegistryError>(((Changed { revision: registry.revision() }, known), outcome))
        })
    }

    /// Tells whether a change of instances is denied, also if the caller is told that they do not
    /// exist.
    fn is_denied(&self, uuids: &[Uuid], error: &RemoteError) -> bool {
        let exists = |uuid: &Uuid| self.owner(*uuid).is_some();
        is_denial(error) || (error.kind == ErrorKind::NotFound && uuids.iter().any(exists))
    }
}

/// The earlier record of an instance.
struct EarlierRecord {
    name: Name,
    uuid: Uuid,
    owner: Owner,
}

/// Tells whether a denial concerns a right or a quota.
fn is_denial(error: &RemoteError) -> bool {
    matches!(error.kind, ErrorKind::Denied | ErrorKind::LimitReached | ErrorKind::QuotaExceeded)
}

/// The target of these events.
pub(super) const AUDIT: &str = "callsign::audit";

/// The most instances to name when their removal is denied.
const DENIED_SAID: usize = 8;

/// The steps of each endpoint of a registration that another instance has too.
const CONTESTED_STEPS: usize = 12;
