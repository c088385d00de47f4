//! Messages about an actor's places as they are lost, left and taken again.

use std::time::Duration;

use endpoints::{Endpoint, Name};
use tokio::time::Instant;

use super::tracker::{Finding, Observation};

/// The knowledge of an actor's places from one look to the next.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Places that another program has. Even when nobody listens there any more, they do not return
    /// to the actor.
    lost: Vec<Endpoint>,
    silent: Vec<Silent>,
    absent: Vec<Absent>,
}

/// A place where the actor has not listened yet, while it does elsewhere.
#[derive(Debug)]
struct Absent {
    said: Endpoint,
    /// The reason, and since when it is that.
    why: String,
    since: Instant,
    is_told: bool,
    /// Whether anything was ever told of it.
    was_told: bool,
}

/// A place where the actor has ceased to listen.
#[derive(Debug)]
struct Silent {
    said: Endpoint,
    since: Instant,
    is_told: bool,
}

/// The way in which an actor is registered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Whether it is a program that is started for it.
    pub(super) has_command: bool,
    /// Whether its state was given.
    pub(super) is_vouched_for: bool,
    /// Whether it is still to be seen to listen at all.
    pub(super) awaits_answer: bool,
}

/// The messages.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Remark {
    Warning(String),
    Note(String),
}

impl Places {
    /// Records a look, and returns the messages. While somebody else says whether the actor listens, it
    /// does not report that it does not, unless the host does not have the address.
    pub(super) fn note(
        &mut self,
        name: &Name,
        seen: &[Observation],
        how: Manner,
        beyond: &dyn Fn(&Endpoint) -> Option<String>,
        now: Instant,
    ) -> Vec<Remark> {
        let Manner { has_command, is_vouched_for, awaits_answer } = how;
        let is_quiet = is_vouched_for || awaits_answer;
        let mut remarks = Vec::new();
        for one in seen {
            let (endpoint, was_lost) = (&one.endpoint, self.lost.contains(&one.endpoint));
            match (was_lost, one.is_lost()) {
                (false, true) => {
                    let who = one.silence().unwrap_or_default();
                    let mut text = format!("`{name}` has lost {endpoint}: {who}");
                    if !has_command {
                        text += "\nits own server is taken for it again, of the same user and \
                                 program; for any\nother, end this and register that";
                    }
                    remarks.push(Remark::Warning(text));
                    self.lost.push(endpoint.clone());
                }
                (true, false) if one.finding == Finding::Own => {
                    if one.successor.is_none() {
                        remarks.push(Remark::Note(format!("`{name}` has {endpoint} again")));
                    }
                    self.lost.retain(|it| it != endpoint);
                }
                _ => {}
            }
        }
        let mut saids: Vec<&Endpoint> = Vec::new();
        for one in seen {
            if !saids.contains(&&one.said) {
                saids.push(&one.said);
            }
        }
        for said in saids {
            let here: Vec<&Observation> = seen.iter().filter(|it| it.said == *said).collect();
            remarks.extend(self.note_place(name, said, &here, is_quiet, now));
            // Who vouches for it does not speak for another host.
            let is_led_astray = !awaits_answer && here.iter().any(|it| it.has_no_address());
            if !is_quiet || is_led_astray {
                let serves = is_led_astray || seen.iter().any(Observation::may_serve);
                let absence = self.note_absence(name, said, &here, (serves, has_command), now);
                remarks.extend(absence.map(|remark| match remark {
                    Remark::Warning(mut text) => {
                        let beyond = here.iter().find_map(|it| beyond(&it.endpoint));
                        text.extend(beyond.map(|it| format!("\n{it}")));
                        Remark::Warning(text)
                    }
                    note => note,
                }));
            }
        }
        remarks
    }

    /// Records whether the actor has yet to listen at a place, while it does at another.
    fn note_absence(
        &mut self,
        name: &Name,
        said: &Endpoint,
        here: &[&Observation],
        (serves, has_command): (bool, bool),
        now: Instant,
    ) -> Option<Remark> {
        let known = self.absent.iter().position(|it| it.said == *said);
        let why = here.iter().find_map(|it| it.silence()).unwrap_or_default();
        if here.iter().any(|it| it.was_own || it.may_serve()) {
            let was_told = known.is_some_and(|index| self.absent.swap_remove(index).was_told);
            return was_told.then(|| Remark::Note(format!("`{name}` listens at {said}")));
        }
        if !serves {
            return None;
        }
        let Some(index) = known else {
            // Without a command, that the actor does not listen was said at the registration.
            let was_told = !has_command;
            let is_others = |it: &&Observation| matches!(it.finding, Finding::Others(_));
            let is_told = was_told && !here.iter().any(is_others);
            let absent = Absent { said: said.clone(), why, since: now, is_told, was_told };
            self.absent.push(absent);
            return None;
        };
        let absent = &mut self.absent[index];
        if absent.why != why {
            (absent.why, absent.since, absent.is_told) = (why, now, false);
        }
        if absent.is_told || now - absent.since < PATIENCE {
            return None;
        }
        (absent.is_told, absent.was_told) = (true, true);
        let why = &absent.why;
        let text = if here.iter().any(|it| it.has_no_address()) {
            format!("nobody is led to `{name}` at {said}: {why}\nit is published when it has it")
        } else {
            format!(
                "`{name}` does not listen at {said}: {why}\nit is published when it listens there"
            )
        };
        Some(Remark::Warning(text))
    }

    /// The same for one place, with all addresses that it stands for.
    fn note_place(
        &mut self,
        name: &Name,
        said: &Endpoint,
        here: &[&Observation],
        is_quiet: bool,
        now: Instant,
    ) -> Option<Remark> {
        let known = self.silent.iter().position(|it| it.said == *said);
        let is_silent = here.iter().any(|it| it.is_silenced())
            && here.iter().all(|it| matches!(it.finding, Finding::Nobody(_)));
        if is_silent {
            let index = known.unwrap_or_else(|| {
                self.silent.push(Silent { said: said.clone(), since: now, is_told: false });
                self.silent.len() - 1
            });
            let silent = &mut self.silent[index];
            // Who says that it listens does not speak for another host.
            let is_quiet = is_quiet && !here.iter().any(|it| it.has_no_address());
            if silent.is_told || is_quiet || now - silent.since < PATIENCE {
                return None;
            }
            silent.is_told = true;
            let why = here.iter().find_map(|it| it.silence()).unwrap_or_default();
            let text = format!("`{name}` does not listen at {said} any more: {why}");
            return Some(Remark::Warning(text));
        }
        let was_told = known.is_some_and(|index| self.silent.swap_remove(index).is_told);
        let successor = here.iter().find_map(|it| it.successor);
        let is_own = here.iter().any(|it| it.finding == Finding::Own);
        match successor {
            Some(Some(process)) => {
                Some(Remark::Note(format!("`{name}` listens at {said} again, as {process}")))
            }
            _ if is_own && (was_told || successor.is_some()) => {
                Some(Remark::Note(format!("`{name}` listens at {said} again")))
            }
            _ => None,
        }
    }
}

/// The time for which a place may be silent before that is reported: most servers restart faster.
const PATIENCE: Duration = Duration::from_secs(1);
