//! Instances of programs that speak another protocol, in line for a name that a cluster decides about.

use wire::{
    CallId, Epoch,
    registrar::{Register, Registered},
};

use super::{
    super::{Caller, Entered, Foreign, Outcome, Registry, RegistryError, SessionId},
    Standing, Turn,
};

impl Registry {
    /// Registers an endpoint of a foreign instance as [`register_foreign`](Self::register_foreign)
    /// does, or lets it stand in line until the cluster has decided who has its name. `None` if the
    /// endpoint was there already.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]; nothing is changed then.
    pub fn register_foreign_or_wait(
        &mut self,
        foreign: Foreign,
        caller: &Caller,
        at: (SessionId, CallId),
        now_ms: u64,
    ) -> Result<(Option<Entered>, Outcome), RegistryError> {
        let turn = self.turn(now_ms);
        self.enter_foreign_or_wait(foreign, (caller, at), turn, now_ms)
    }

    /// Registers an endpoint of a foreign instance as [`remember_foreign`](Self::remember_foreign)
    /// does, or lets it wait in line for its name: until the cluster can decide, and the name is free.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]; nothing is changed then.
    pub fn remember_foreign_or_wait(
        &mut self,
        foreign: Foreign,
        caller: &Caller,
        at: (SessionId, CallId),
        now_ms: u64,
    ) -> Result<(Option<Entered>, Outcome), RegistryError> {
        self.enter_foreign_or_wait(foreign, (caller, at), Turn::ComesBack, now_ms)
    }

    fn enter_foreign_or_wait(
        &mut self,
        foreign: Foreign,
        (caller, at): (&Caller, (SessionId, CallId)),
        turn: Turn,
        now_ms: u64,
    ) -> Result<(Option<Entered>, Outcome), RegistryError> {
        use RegistryError as E;

        let is_decided_elsewhere = self.is_decided_elsewhere(&foreign.name);
        let undecided = is_decided_elsewhere.then(|| foreign.clone());
        let wait = turn == Turn::ComesBack;
        match (self.enter_foreign(foreign, caller.clone(), turn, now_ms), undecided) {
            (Ok((epoch, outcome)), _) => {
                let registered = epoch.map(|epoch| self.registered_foreign(epoch));
                Ok((registered.map(Entered::Registered), outcome))
            }
            (Err(error), Some(Foreign { name, uuid, endpoint, metadata })) => {
                let stands = match error {
                    E::Undecided { .. } => true,
                    E::Exclusive { .. } | E::CutOff { .. } => wait,
                    _ => false,
                };
                if !stands {
                    return Err(error);
                }
                let endpoints = endpoint.into_iter().collect();
                let register = Register { endpoints, metadata, wait, ..Register::new(name, uuid) };
                let outcome = self.stand_in_line((register, true), caller, at, now_ms)?;
                Ok((Some(Entered::InLine), outcome))
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Registers the first in line.
    pub(super) fn register_next(
        &mut self,
        standing: &Standing,
        now_ms: u64,
    ) -> Result<(Registered, Outcome), RegistryError> {
        let (register, caller) = (standing.register.clone(), standing.caller.clone());
        if !standing.is_foreign {
            let shown = self.kept_since(&register, caller.owner);
            let turn = (Turn::Next, shown);
            return self.register_as(register, &caller, standing.session, turn, now_ms);
        }
        let Register { name, uuid, endpoints, metadata, .. } = register;
        let endpoint = endpoints.into_iter().next();
        let foreign = Foreign { name, uuid, endpoint, metadata };
        let (epoch, outcome) = self.enter_foreign(foreign, caller, Turn::Next, now_ms)?;
        // If it was there already, by another connection, that has its epoch.
        let known = || self.record(uuid).map_or(0, |it| it.epoch);
        Ok((self.registered_foreign(epoch.unwrap_or_else(known)), outcome))
    }

    fn registered_foreign(&self, epoch: Epoch) -> Registered {
        let (revision, also) = (self.revision, Vec::new());
        let (key, token, resume, lost) = (None, None, None, None);
        Registered { epoch, revision, key, token, resume, lost, also }
    }
}
