//! How the wait in a line ends without the name.

use endpoints::Name;
use uuid::Uuid;
use wire::{CallId, Quota};

use super::{
    super::{Outcome, Registry, RegistryError, SessionId},
    Place, Standing,
};

impl Registry {
    /// Ends a call that waits in line, if it is one.
    pub fn leave_line(&mut self, session: SessionId, call: CallId) -> Outcome {
        let place = self.lines.by_session.get(&session).and_then(|it| it.get(&call)).cloned();
        place.and_then(|it| self.leave(&it));
        // Its notifications are deferred work.
        Outcome::default()
    }

    /// Ends all calls of a session that wait in line.
    pub(in super::super) fn leave_lines(&mut self, session: SessionId) {
        let calls = self.lines.by_session.get(&session);
        let places: Option<Vec<_>> = calls.map(|it| it.values().cloned().collect());
        for place in places.unwrap_or_default() {
            self.leave(&place);
        }
    }

    /// Ends the wait of an instance that is registered, or is about to be.
    pub(in super::super) fn leave_line_of(&mut self, uuid: Uuid, outcome: &mut Outcome) {
        if let Some(place) = self.lines.by_uuid.get(&uuid).cloned()
            && let Some(standing) = self.leave(&place)
        {
            outcome.granted.push(standing.granted(Err(RegistryError::StandsElsewhere)));
        }
    }

    /// Ends the wait at a place. A name that was given to who stands there is given back.
    pub(super) fn leave(&mut self, place: &Place) -> Option<Standing> {
        let standing = self.take_off(place)?;
        self.decisions.give_back_of(&place.0, standing.register.uuid);
        Some(standing)
    }

    /// Takes who stands at a place out of the line, to register it or to put it there again.
    pub(super) fn take_off(&mut self, place: &Place) -> Option<Standing> {
        let standing = self.lines.remove(place)?;
        let account = standing.caller.owner.account();
        self.accounts.give_back(account, &[(Quota::Waits, 1), (Quota::Bytes, standing.bytes)]);
        Some(standing)
    }

    /// Turns away those that do not wait for a name, apart from one.
    pub(in super::super) fn leave_hasty(
        &mut self,
        name: &Name,
        spared: Option<Uuid>,
        error: &RegistryError,
        outcome: &mut Outcome,
    ) {
        let standing = self.lines.by_name.get(name).into_iter().flat_map(|it| &it.standing);
        let is_hasty = |it: &Standing| !it.register.wait && Some(it.register.uuid) != spared;
        let hasty: Vec<_> = standing.filter(|it| is_hasty(it.1)).map(|it| *it.0).collect();
        for at in hasty {
            if let Some(standing) = self.leave(&(name.clone(), at)) {
                outcome.granted.push(standing.granted(Err(error.clone())));
            }
        }
    }

    /// Turns away claimants that may no longer have the name.
    pub(super) fn turn_away(&mut self, name: &Name, outcome: &mut Outcome) {
        let Some(queue) = self.lines.by_name.get(name) else { return };
        let rule = self.rules.of(name.as_str());
        let denied = |(at, standing): (&u64, &Standing)| {
            let is_bound = !standing.caller.is_trusted;
            let checked = is_bound.then(|| self.check_whose(name, &standing.caller, (rule, None)));
            Some((*at, checked?.err()?))
        };
        let denied: Vec<_> = queue.standing.iter().filter_map(denied).collect();
        for (at, error) in denied {
            if let Some(standing) = self.leave(&(name.clone(), at)) {
                outcome.granted.push(standing.granted(Err(error)));
            }
        }
    }
}
