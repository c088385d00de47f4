//! Jobs: the registrar's work besides its answers.

use std::time::Duration;

use uuid::Uuid;
use wire::{callbacks::Lost, registrar::Evidence};

use crate::registry::{Claimant, Contested, Owner, SessionId};

/// A job.
#[derive(Debug)]
pub(crate) enum Job {
    /// Checks a claim.
    LookInto(Check),
    /// Checks an older claim to a place that another instance claims, if it still exists.
    Contested(Contested),
    /// Tells a registrant the state of its instance.
    TellState(Uuid),
    /// Tells a registrant by which tokens instances of its own have their names.
    TellTokens(SessionId, Vec<Uuid>),
    /// Tells all clients where the other nodes of the cluster are.
    TellCluster,
    /// Reports losses to a session.
    TellLost(SessionId, Vec<Lost>),
}

/// A claim to check, and the reason.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    pub(crate) claimant: Claimant,
    pub(crate) why: Why,
    /// The reporter.
    pub(crate) by: Owner,
}

/// Why a claim is checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Why {
    /// A newer instance claims the same endpoint.
    Contested,
    /// It is reported not to answer.
    Reported(Evidence),
    /// It was silent at the last look.
    Silent {
        /// Its age.
        paused: Duration,
    },
    /// It is suspect, and its owner has renewed its lease.
    Renewed,
}
