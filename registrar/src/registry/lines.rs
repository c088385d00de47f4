//! The lines of waiters for exclusive names.
//!
//! When the name is free, the first in line is registered under it, as if it had asked then. A name
//! that may be free is marked, and looked at after the change that has freed it: one change may
//! free many, and none of the lines is served within another change.
//!
//! A waiter that hangs would keep the name from all others. So its session is asked for a sign of
//! life when its turn comes, and gets the name when it gives one. One that is mute is passed over
//! until it is heard again, and keeps its place.
//!
//! A registrar that has just started serves no line before the former holders may be back: they
//! prove themselves by their tokens.

mod foreign;
mod leaving;

use std::collections::{BTreeMap, BTreeSet};

use endpoints::Name;
use foldhash::HashMap;
use uuid::Uuid;
use wire::{
    CallId, Quota, encode_body,
    registrar::{AskLine, InLine, LINE_MAX, Line, Register, Registered},
};

use super::{
    Account, Caller, Entered, Granted, Outcome, Owner, Registry, RegistryError, SessionId,
    holders::Turn,
};

/// The waiters for each name.
#[derive(Debug, Default)]
pub(super) struct Lines {
    by_name: HashMap<Name, Queue>,
    /// The calls of each session, and where in which line they are.
    by_session: HashMap<SessionId, BTreeMap<CallId, Place>>,
    by_uuid: HashMap<Uuid, Place>,
    /// Names that may be free.
    due: BTreeSet<Name>,
    /// The times by which those have to answer who are asked, and for which names.
    asked_until: BTreeSet<(u64, Name)>,
    /// Names whose holders' records have an outdated number of waiters.
    untold: BTreeSet<Name>,
    /// Names whose rules have changed.
    ruled_anew: BTreeSet<Name>,
    asked: u64,
    moved: u64,
    count: usize,
}

type Place = (Name, u64);

/// The line for one name, the first to ask first.
#[derive(Debug, Default)]
struct Queue {
    standing: BTreeMap<u64, Standing>,
    /// The places of those that are not known to be mute.
    awake: BTreeSet<u64>,
    /// The one whose turn it is, as soon as it gives a sign of life.
    turn: Option<AskedTurn>,
    by_account: HashMap<Account, usize>,
}

/// A waiter whose turn it is.
#[derive(Debug)]
struct AskedTurn {
    at: u64,
    until_ms: u64,
    has_answered: bool,
}

/// How far the turn of a waiter has come.
enum Turning {
    ToBeAsked,
    IsAsked,
    HasAnswered,
}

/// A waiter in line.
#[derive(Debug)]
struct Standing {
    session: SessionId,
    call: CallId,
    caller: Caller,
    register: Register,
    /// Whether it is an instance of a program that speaks another protocol.
    is_foreign: bool,
    since_ms: u64,
    /// The bytes charged for it.
    bytes: usize,
}

impl Lines {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Returns how many wait for a name, apart from those that are mute.
    pub(super) fn awake_of(&self, name: &Name) -> usize {
        self.by_name.get(name).map_or(0, |it| it.awake.len())
    }

    /// Returns when the first of those who are asked has to answer.
    pub(super) fn next_deadline_ms(&self) -> Option<u64> {
        self.asked_until.first().map(|(until_ms, _)| *until_ms)
    }

    /// Passes over a session in all lines until it is heard again.
    pub(super) fn fell_silent(&mut self, session: SessionId) {
        self.in_each_line(session, |queue, at| {
            queue.awake.remove(&at);
            queue.turn.take_if(|it| it.at == at);
        });
    }

    /// Takes the turn of a session into account again.
    pub(super) fn heard_again(&mut self, session: SessionId) {
        self.in_each_line(session, |queue, at| {
            queue.awake.insert(at);
        });
    }

    /// Records that a session has given the sign of life that it was asked for: any turn of its own
    /// that has come is its now, and that of others behind it is not.
    pub(super) fn answered(&mut self, session: SessionId) {
        self.in_each_line(session, |queue, at| {
            queue.awake.insert(at);
            if let Some(turn) = &mut queue.turn
                && turn.at >= at
            {
                *turn = AskedTurn { at, has_answered: true, ..*turn };
            }
        });
    }

    /// Passes over those that have not answered in time.
    pub(super) fn pass_over_the_mute(&mut self, now_ms: u64) {
        while let Some((until_ms, name)) = self.asked_until.pop_first() {
            if until_ms > now_ms {
                self.asked_until.insert((until_ms, name));
                return;
            }
            let Some(queue) = self.by_name.get_mut(&name) else { continue };
            if let Some(turn) = queue.turn.take_if(|it| it.until_ms == until_ms) {
                queue.awake.remove(&turn.at);
                self.due.insert(name);
            }
        }
    }

    /// Changes each line in which a session waits, and has it looked at.
    fn in_each_line(&mut self, session: SessionId, change: impl Fn(&mut Queue, u64)) {
        let places = self.by_session.get(&session).into_iter().flat_map(BTreeMap::values);
        for (name, at) in places {
            let Some(queue) = self.by_name.get_mut(name) else { continue };
            change(queue, *at);
            self.due.insert(name.clone());
        }
    }

    /// Gives the turn to a place, unless it has it already.
    fn ask(&mut self, (name, at): &Place, now_ms: u64) -> Turning {
        let Some(queue) = self.by_name.get_mut(name) else { return Turning::IsAsked };
        match &queue.turn {
            Some(turn) if turn.at == *at && turn.has_answered => Turning::HasAnswered,
            Some(turn) if turn.at == *at => Turning::IsAsked,
            _ => {
                let until_ms = now_ms + ANSWER_MS_MAX;
                let turn = AskedTurn { at: *at, until_ms, has_answered: false };
                if let Some(earlier) = queue.turn.replace(turn) {
                    self.asked_until.remove(&(earlier.until_ms, name.clone()));
                }
                self.asked_until.insert((until_ms, name.clone()));
                Turning::ToBeAsked
            }
        }
    }

    /// Takes back the turn for a name that has a holder.
    fn withdraw(&mut self, name: &Name) {
        let queue = self.by_name.get_mut(name);
        if let Some(turn) = queue.and_then(|it| it.turn.take()) {
            self.asked_until.remove(&(turn.until_ms, name.clone()));
        }
    }

    /// Returns the name that an instance waits for, and its owner.
    pub(super) fn waiting(&self, uuid: Uuid) -> Option<(&Name, Owner)> {
        let (name, at) = self.by_uuid.get(&uuid)?;
        Some((name, self.by_name.get(name)?.standing.get(at)?.caller.owner))
    }

    /// Tells whether a name may be free.
    pub(super) fn are_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Tells whether a record has an outdated number of waiters.
    pub(super) fn are_untold(&self) -> bool {
        !self.untold.is_empty()
    }

    /// Takes a name whose holder's record has an outdated number of waiters.
    pub(super) fn take_untold(&mut self) -> Option<Name> {
        self.untold.pop_first()
    }

    /// Records that a name may be free. Tells whether anybody waits for it.
    pub(super) fn freed(&mut self, name: &Name) -> bool {
        let is_awaited = self.by_name.contains_key(name);
        if is_awaited {
            self.due.insert(name.clone());
        }
        is_awaited
    }

    /// Records that any name may be free.
    pub(super) fn all_freed(&mut self) {
        self.due.extend(self.by_name.keys().cloned());
    }

    /// Records that the rule of any name may have changed.
    pub(super) fn ruled_anew(&mut self) {
        self.all_freed();
        self.ruled_anew.extend(self.by_name.keys().cloned());
        // Others may see the line.
        self.untold.extend(self.by_name.keys().cloned());
    }

    fn next_place(&mut self, name: &Name) -> Place {
        self.asked += 1;
        (name.clone(), MOVERS_MAX + self.asked)
    }

    /// Returns a place before all others, for an instance that has the name at another node.
    fn first_place(&mut self, name: &Name) -> Place {
        self.moved += 1;
        (name.clone(), MOVERS_MAX - self.moved)
    }

    /// Lets an instance of an owner go before all others in the line for a name, if it stands there.
    pub(super) fn go_first(&mut self, name: &Name, uuid: Uuid, owner: &wire::Owner) {
        let place = self.by_uuid.get(&uuid).filter(|it| it.0 == *name).cloned();
        let is_theirs = self.waiting(uuid).is_some_and(|it| wire::Owner::from(it.1) == *owner);
        if let Some(standing) = place.filter(|_| is_theirs).and_then(|it| self.remove(&it)) {
            let place = self.first_place(name);
            self.insert(place, standing);
        }
    }

    fn insert(&mut self, place: Place, standing: Standing) {
        self.count += 1;
        self.untold.insert(place.0.clone());
        self.by_session.entry(standing.session).or_default().insert(standing.call, place.clone());
        self.by_uuid.insert(standing.register.uuid, place.clone());
        let (name, at) = place;
        let queue = self.by_name.entry(name).or_default();
        *queue.by_account.entry(standing.caller.owner.account()).or_default() += 1;
        queue.awake.insert(at);
        queue.standing.insert(at, standing);
    }

    fn remove(&mut self, (name, at): &Place) -> Option<Standing> {
        let queue = self.by_name.get_mut(name)?;
        let standing = queue.standing.remove(at)?;
        self.count -= 1;
        self.untold.insert(name.clone());
        queue.awake.remove(at);
        if let Some(turn) = queue.turn.take_if(|it| it.at == *at) {
            self.asked_until.remove(&(turn.until_ms, name.clone()));
            self.due.insert(name.clone());
        }
        let account = standing.caller.owner.account();
        if let Some(count) = queue.by_account.get_mut(&account) {
            *count -= 1;
            if *count == 0 {
                queue.by_account.remove(&account);
            }
        }
        if queue.standing.is_empty() {
            self.by_name.remove(name);
            self.due.remove(name);
            self.ruled_anew.remove(name);
        }
        if let Some(calls) = self.by_session.get_mut(&standing.session) {
            calls.remove(&standing.call);
            if calls.is_empty() {
                self.by_session.remove(&standing.session);
            }
        }
        self.by_uuid.remove(&standing.register.uuid);
        Some(standing)
    }

    /// Returns which instance is the first in line that is not mute.
    pub(super) fn next(&self, name: &Name) -> Option<Uuid> {
        let (place, _) = self.first(name)?;
        Some(self.claimant(&place)?.0)
    }

    /// Returns who stands at a place, its owner, and whether it would wait for long.
    fn claimant(&self, (name, at): &Place) -> Option<(Uuid, Owner, bool)> {
        let standing = self.by_name.get(name)?.standing.get(at)?;
        Some((standing.register.uuid, standing.caller.owner, standing.register.wait))
    }

    /// Returns the first in line that is not mute, and its session.
    fn first(&self, name: &Name) -> Option<(Place, SessionId)> {
        let queue = self.by_name.get(name)?;
        let at = queue.awake.first()?;
        Some(((name.clone(), *at), queue.standing.get(at)?.session))
    }
}

impl Registry {
    /// Registers an instance as [`register`](Self::register) does, or lets it wait in line, if it
    /// asks for that and its name is not free.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]; nothing is changed then.
    pub fn register_or_wait(
        &mut self,
        register: Register,
        caller: &Caller,
        at: (SessionId, CallId),
        now_ms: u64,
    ) -> Result<(Entered, Outcome), RegistryError> {
        use RegistryError as E;

        let is_decided_elsewhere = self.is_decided_elsewhere(&register.name);
        let waits = register.wait;
        let waiting = (waits || is_decided_elsewhere).then(|| register.clone());
        match (self.register_for(register, caller, at.0, now_ms), waiting) {
            (Ok((registered, outcome)), _) => Ok((Entered::Registered(registered), outcome)),
            (Err(error), Some(register)) => {
                let stands = match error {
                    E::Undecided { .. } => true,
                    // It may have the name at another node, from which it moves: the cluster knows.
                    E::OthersWait { .. } => waits || register.token.is_some(),
                    E::Exclusive { .. } | E::CutOff { .. } => waits,
                    _ => false,
                };
                if !stands {
                    return Err(error);
                }
                let outcome = self.stand_in_line((register, false), caller, at, now_ms)?;
                Ok((Entered::InLine, outcome))
            }
            (Err(error), None) => Err(error),
        }
    }

    fn stand_in_line(
        &mut self,
        (register, is_foreign): (Register, bool),
        caller: &Caller,
        (session, call): (SessionId, CallId),
        now_ms: u64,
    ) -> Result<Outcome, RegistryError> {
        let (name, account) = (register.name.clone(), caller.owner.account());
        // A claimant that returns over another connection before the end of the first is noticed
        // keeps its place.
        let earlier = self.lines.by_uuid.get(&register.uuid).cloned();
        let calls = self.lines.by_session.get(&session);
        if calls.is_some_and(|it| it.contains_key(&call)) {
            return Err(RegistryError::CallInUse { call });
        }
        if calls.is_some_and(|it| it.len() >= self.limits.session_waiters_max) {
            let limit = self.limits.session_waiters_max;
            return Err(RegistryError::TooMany { what: "waiting calls of one session", limit });
        }
        let queue = self.lines.by_name.get(&name);
        let of_owner = queue.and_then(|it| it.by_account.get(&account)).copied().unwrap_or(0);
        // A claimant that has one of these places already keeps it.
        let kept = earlier.clone().filter(|it| it.0 == name);
        let keeps_own = kept.as_ref().and_then(|it| queue?.standing.get(&it.1));
        let keeps_own = keeps_own.is_some_and(|it| it.caller.owner.account() == account);
        if of_owner >= LINE_OWNER_MAX && !keeps_own {
            let (what, limit) = ("instances of one owner in line for a name", LINE_OWNER_MAX);
            return Err(RegistryError::TooMany { what, limit });
        }
        let bytes = HELD_BYTES + encode_body(&register).len() * HELD_A_BYTE;
        self.accounts.charge(account, &[(Quota::Waits, 1), (Quota::Bytes, bytes)])?;
        let mut outcome = Outcome::default();
        if let Some(earlier) = &earlier
            && let Some(standing) =
                if kept.is_some() { self.take_off(earlier) } else { self.leave(earlier) }
        {
            let result = Err(RegistryError::StandsElsewhere);
            outcome.granted.push(standing.granted(result));
        }
        let returns = self.live(register.uuid).is_some_and(|it| self.entries[it].is_remote());
        let place = match kept {
            Some(place) => place,
            // It has the name, and moves here from another node.
            None if returns => self.lines.first_place(&name),
            None => self.lines.next_place(&name),
        };
        let caller = caller.clone();
        let since_ms = now_ms;
        let standing = Standing { session, call, caller, register, is_foreign, since_ms, bytes };
        self.lines.insert(place, standing);
        // It may have been waiting for the end of another.
        self.lines.freed(&name);
        Ok(outcome)
    }

    /// Tells whether there may be a line to [serve](Self::serve_lines).
    pub(crate) fn has_lines_to_serve(&self) -> bool {
        self.lines.are_due()
    }

    /// Registers the first in line for names that may be free, in some lines: for the others there
    /// is more to [do](Self::has_deferred).
    pub fn serve_lines(&mut self, now_ms: u64) -> Outcome {
        let (mut outcome, mut left) = (Outcome::default(), SERVED_MAX);
        while left > 0
            && let Some(name) = self.lines.due.pop_first()
        {
            left -= 1;
            if self.lines.ruled_anew.remove(&name) {
                self.turn_away(&name, &mut outcome);
            }
            // Once that is over, all names are checked again.
            if self.is_settling(now_ms) {
                continue;
            }
            let first = self.lines.first(&name);
            if first.is_some_and(|(place, _)| !self.is_free_for(&name, &place)) {
                self.lines.withdraw(&name);
            }
            while let Some((place, session)) = self.lines.first(&name)
                && self.is_free_for(&name, &place)
            {
                if left == 0 {
                    self.lines.due.insert(name.clone());
                    break;
                }
                left -= 1;
                let Some((uuid, owner, waits)) = self.lines.claimant(&place) else { break };
                if !self.decisions.may_take(&name, uuid, owner) {
                    break;
                }
                if waits && self.sessions.get(session).is_some_and(|it| it.is_answerable) {
                    match self.lines.ask(&place, now_ms) {
                        Turning::HasAnswered => {}
                        Turning::IsAsked => break,
                        Turning::ToBeAsked => {
                            outcome.asked.insert(session);
                            break;
                        }
                    }
                }
                let Some(standing) = self.take_off(&place) else { break };
                let entered = self.register_next(&standing, now_ms);
                let result = entered.map(|(registered, more)| {
                    outcome.merge(more);
                    registered
                });
                self.decisions.give_back(&name);
                outcome.granted.push(standing.granted(result));
            }
            // Nobody here is there to take it.
            if self.lines.first(&name).is_none() {
                self.decisions.give_back(&name);
            }
        }
        outcome
    }

    /// Tells whether nobody has a name but who stands at a place, at another node from which it moves.
    fn is_free_for(&self, name: &Name, place: &Place) -> bool {
        let Some(holder) = self.holder(name).map(|it| &self.entries[it]) else { return true };
        let claimant = self.lines.claimant(place).map(|it| it.0);
        holder.is_remote() && claimant == Some(holder.uuid)
    }

    /// Returns the number of others that wait for the name of an instance, for its record: of the
    /// same owner only, unless that may find the name, because every owner sees its own records.
    pub(super) fn waiting_told(&self, name: &Name, uuid: Uuid, owner: Owner) -> u64 {
        let Some(queue) = self.lines.by_name.get(name) else { return 0 };
        let may_find = self.rules.may_find(&owner.into(), name.as_str());
        let counts =
            |it: &&Standing| it.register.uuid != uuid && (may_find || it.caller.owner == owner);
        queue.standing.values().filter(counts).count() as u64
    }

    /// Returns the line for a name, as far as a caller may see it, and its steps.
    pub fn line(&self, ask: &AskLine, by: &Caller) -> (Line, usize) {
        let none = Line { total: 0, ahead: None, waiting: Vec::new() };
        let Some(queue) = self.lines.by_name.get(&ask.name) else { return (none, 0) };
        let sees_all = self.rules.may_find(by, ask.name.as_str());
        let shows = |it: &&Standing| sees_all || it.caller.owner == by.owner;
        let shown: Vec<_> = queue.standing.values().filter(shows).collect();
        let at = shown.iter().position(|it| Some(it.register.uuid) == ask.uuid);
        let waiting = shown.iter().take(LINE_MAX).map(|it| InLine {
            uuid: it.register.uuid,
            owner: it.caller.owner.into(),
            since_ms: it.since_ms,
        });
        let line = Line {
            total: shown.len() as u64,
            ahead: at.filter(|_| !self.is_being_decided(ask)).map(|it| it as u64),
            waiting: waiting.collect(),
        };
        (line, queue.standing.len())
    }

    /// Tells whether a cluster is about to decide that an instance may have its name: it waits for
    /// nobody then, and may be one that moves here with the name.
    fn is_being_decided(&self, ask: &AskLine) -> bool {
        let Some((place, _)) = self.lines.first(&ask.name) else { return false };
        let claimant = self.lines.claimant(&place).map(|it| it.0);
        let is_asked =
            |it| self.lines.due.contains(&ask.name) || self.decisions.is_deciding(&ask.name, it);
        claimant == ask.uuid
            && self.is_free_for(&ask.name, &place)
            && self.decisions.can_decide()
            && claimant.is_some_and(is_asked)
    }

    /// Serves the former holders of names, from before this registrar's start, before anybody in
    /// line, until the given time.
    pub fn settle_until(&mut self, until_ms: u64) {
        self.settles_at_ms = Some(until_ms);
    }

    pub(super) fn is_settling(&self, now_ms: u64) -> bool {
        self.settling_ms(now_ms) > 0
    }

    /// Returns how long the former holders may still take to return.
    pub(super) fn settling_ms(&self, now_ms: u64) -> u64 {
        self.settles_at_ms.map_or(0, |it| it.saturating_sub(now_ms))
    }
}

impl Standing {
    fn granted(self, result: Result<Registered, RegistryError>) -> Granted {
        let Self { session, call, register, .. } = self;
        Granted { session, call, uuid: register.uuid, name: register.name, result }
    }
}

/// The most waiters of one owner in line for one name: more than anybody needs, and so few that the
/// line of a name has room for every owner.
const LINE_OWNER_MAX: usize = 256;

/// The places below are those of instances that have the name at another node: the latest to come is
/// before all others.
const MOVERS_MAX: u64 = u64::MAX / 2;

/// The time for a waiter to give a sign of life when its turn comes: that after which a silent peer
/// counts as hanging elsewhere.
const ANSWER_MS_MAX: u64 = 3000;

/// The bytes of a waiter in line, and those for each byte of its registration.
const HELD_BYTES: usize = 1536;
const HELD_A_BYTE: usize = 4;

/// The lines to look at, and the instances to register, in one turn.
const SERVED_MAX: usize = 64;
