//! The inputs and outputs of the registry.

use std::collections::{BTreeMap, BTreeSet};

use endpoints::{Endpoint, Name, Stamped};
use uuid::Uuid;
use wire::{
    CallId, Epoch, Suspicion,
    callbacks::Lost,
    registrar::{Registered, Update},
};

use super::{Owner, RegistryError, SessionId};

/// The limits of a registry.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// use callsign::registrar::{NodeOptions, Limits};
///
/// let small = Limits { instances_max: 1000, ..Limits::default() };
/// let options = NodeOptions { limits: small, ..NodeOptions::default() };
/// assert_eq!(options.limits.instances_max, 1000);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Instances in all. A million of them take up to a gigabyte.
    pub instances_max: usize,
    /// Instances of one session: a supervisor of a large tree registers for all of it.
    pub session_instances_max: usize,
    /// Calls of one session that wait for a name.
    pub session_waiters_max: usize,
    /// Watches of one session.
    pub session_watchers_max: usize,
    /// Instances that were registered through adapters. Each is watched by a descriptor of its
    /// process or by a connection every few seconds, and a tree of such has some hundreds.
    pub foreign_instances_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            instances_max: 4_000_000,
            session_instances_max: 65_536,
            session_waiters_max: 1024,
            session_watchers_max: 256,
            foreign_instances_max: 4096,
        }
    }
}

/// An event of the registry.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// # use uuid::Uuid;
/// use callsign::registrar::{Event, Owner};
///
/// let by = Owner::User(1000);
/// let renewed = Event::Renew { uuid: Uuid::new_v4(), by };
/// assert!(matches!(renewed, Event::Renew { .. }));
/// ```
#[derive(Debug)]
pub enum Event {
    /// A connection ended: its entries are gone, unless it was dismissed.
    SessionEnded(SessionId),
    /// The registrar ends a connection for reasons of its own. That says nothing about its peer:
    /// the connection's entries stay until the given time for a returning peer, which replaces them
    /// by registering again.
    SessionDismissed {
        /// The connection.
        session: SessionId,
        /// The time by which its peer should be back.
        back_by_ms: u64,
    },
    /// The registrar stops: ends of connections mean nothing any more.
    Stopping,
    /// The registrar itself was stopped for some time, and could not read renewals or returns: they
    /// get that much more time.
    Paused {
        /// The duration.
        for_ms: u64,
    },
    /// The process at the other end of a connection gives no sign of life.
    SessionSilent(SessionId),
    /// The process at the other end of a connection is heard again.
    SessionHeard(SessionId),
    /// The process at the other end of a connection has given the sign of life that it was
    /// [asked](Outcome::asked) for.
    SessionAnswers(SessionId),
    /// A caller removes an instance.
    Unregister {
        /// The instance.
        uuid: Uuid,
        /// The caller.
        by: Owner,
    },
    /// A caller removes several instances in one change.
    UnregisterAll {
        /// The instances.
        uuids: Vec<Uuid>,
        /// The caller.
        by: Owner,
    },
    /// A caller renews a lease.
    Renew {
        /// Its instance.
        uuid: Uuid,
        /// The caller.
        by: Owner,
    },
    /// A caller changes a registration.
    Update {
        /// The change.
        update: Update,
        /// The caller.
        by: Owner,
    },
    /// The registrar saw that nobody is at an endpoint any more, which another instance claims now.
    FoundDead(Claimant),
    /// The registrar saw that nobody is at an endpoint. An instance that its session vouches for
    /// may be about to listen there again, and so may one with a lease at a port or a name: they
    /// become suspect. Any other counts as dead.
    FoundSilent(Claimant),
    /// An endpoint did not answer a caller, and the registrar could not see why.
    Suspect(Claimant),
    /// The registrar saw that somebody is at the endpoint.
    FoundAlive(Claimant),
    /// Its own registrant says that an instance is not at an endpoint.
    Disowned(Claimant),
    /// The process that registered a foreign instance has ended.
    ProcessEnded {
        /// The instance.
        uuid: Uuid,
        /// Its registration: a newer one is not meant.
        epoch: Epoch,
    },
    /// Time has passed.
    Tick,
}

/// The claim of one registration to one endpoint.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// use callsign::registrar::Claimant;
///
/// /// Says what was found dead.
/// fn tell(claimant: &Claimant) {
///     println!("nobody listens at {} any more", claimant.stamped.endpoint);
/// }
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Claimant {
    /// The instance.
    pub uuid: Uuid,
    /// Its registration: a newer one is not meant.
    pub epoch: Epoch,
    /// The claimed endpoint.
    pub stamped: Stamped,
}

/// An older claim to an endpoint that a newer instance claims too. It may not be made any more:
/// [`Registry::claimant`](super::Registry::claimant) tells.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Contested {
    /// The instance.
    pub uuid: Uuid,
    /// Its registration.
    pub epoch: Epoch,
    /// The contested endpoint.
    pub endpoint: Endpoint,
    /// The owner of the newer claim.
    pub by: Owner,
}

/// The effects of an event.
#[derive(Debug, Default)]
#[must_use = "those who wait are to be told"]
pub struct Outcome {
    /// The calls that no longer wait, in order of arrival.
    pub woken: Vec<Woken>,
    /// The sessions that have changes to read.
    pub notified: BTreeSet<SessionId>,
    /// The sessions to ask for a sign of life, before they get a name.
    pub asked: BTreeSet<SessionId>,
    /// Older claims to an endpoint that a newer instance claims too: to be looked into.
    pub contested: Vec<Contested>,
    /// Suspect instances that were renewed: they are to be checked for the renewing owner.
    pub renewed: Vec<(Claimant, Owner)>,
    /// Endpoints that were removed because nobody is there.
    pub evicted: Vec<Claimant>,
    /// Instances whose suspicion has changed.
    pub suspected: Vec<Suspected>,
    /// Losses of registrations, with the sessions that made them.
    pub lost: BTreeMap<SessionId, (Owner, Vec<Lost>)>,
    /// Calls that are no longer in line for a name.
    pub granted: Vec<Granted>,
    /// Instances that a change of the rules has given a token, or taken it from, and their owners.
    pub tokens: Vec<(Uuid, Owner)>,
}

impl Outcome {
    /// Tells whether nobody is to be told of anything.
    pub(crate) fn is_empty(&self) -> bool {
        let Self {
            woken,
            notified,
            asked,
            contested,
            renewed,
            evicted,
            suspected,
            lost,
            granted,
            tokens,
        } = self;
        let is_quiet =
            woken.is_empty() && notified.is_empty() && asked.is_empty() && contested.is_empty();
        let is_clear = renewed.is_empty() && evicted.is_empty() && suspected.is_empty();
        is_quiet && is_clear && lost.is_empty() && granted.is_empty() && tokens.is_empty()
    }

    /// Adds the effects of another event.
    pub(super) fn merge(&mut self, other: Self) {
        let Self {
            woken,
            notified,
            asked,
            contested,
            renewed,
            evicted,
            suspected,
            lost,
            granted,
            tokens,
        } = other;
        self.woken.extend(woken);
        self.notified.extend(notified);
        self.asked.extend(asked);
        self.contested.extend(contested);
        self.renewed.extend(renewed);
        self.evicted.extend(evicted);
        self.suspected.extend(suspected);
        for (session, (owner, lost)) in lost {
            self.lost.entry(session).or_insert((owner, Vec::new())).1.extend(lost);
        }
        self.granted.extend(granted);
        self.tokens.extend(tokens);
    }
}

/// The result of a registration that may wait in line.
#[derive(Debug)]
pub enum Entered {
    /// It is registered.
    Registered(Registered),
    /// It waits, and is [granted](Outcome::granted) the name later.
    InLine,
}

/// A call that is no longer in line: registered, or refused.
#[derive(Debug)]
pub struct Granted {
    /// Over which connection.
    pub session: SessionId,
    /// The call to answer.
    pub call: CallId,
    /// The instance.
    pub uuid: Uuid,
    /// Its name.
    pub name: Name,
    /// The answer.
    pub result: Result<Registered, RegistryError>,
}

/// An instance, and what speaks against it now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Suspected {
    /// The instance.
    pub uuid: Uuid,
    /// Its registration.
    pub epoch: Epoch,
    /// The evidence against it; `None` if it is cleared.
    pub suspicion: Option<Suspicion>,
}

/// Somebody is there for whom calls of a session wait: each is to be
/// [answered](super::Registry::answer_wait).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Woken {
    /// The session of the calls.
    pub session: SessionId,
    /// For whom they wait.
    pub name: Name,
}

/// The numbers of a registry's contents.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// use callsign::registrar::Counts;
///
/// fn is_idle(counts: &Counts) -> bool {
///     counts.sessions == 0 && counts.waiters == 0 && counts.watchers == 0
/// }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Counts {
    /// Connections.
    pub sessions: usize,
    /// Instances.
    pub instances: usize,
    /// Calls that wait for a name.
    pub waiters: usize,
    /// Watches.
    pub watchers: usize,
    /// Instances that wait in line for their names.
    pub in_line: usize,
}
