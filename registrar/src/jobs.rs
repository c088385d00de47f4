//! Jobs: the registrar's work besides its answers.

use std::time::Duration;

use uuid::Uuid;
use wire::{callbacks::Lost, registrar::Evidence};

use crate::registry::{Claimant, Contested, Owner, SessionId};

/// A job.
#[derive(Debug)]
pub(crate) enum Job {
    /// To look into a claim.
    LookInto(Check),
    /// To look into an older claim to what another claims, if it is still made.
    Contested(Contested),
    /// To tell a registrant how far its instance is in its life.
    TellState(Uuid),
    /// Report losses to a session.
    TellLost(SessionId, Vec<Lost>),
}

/// A claim to be looked into, and why.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    pub(crate) claimant: Claimant,
    pub(crate) why: Why,
    /// The reporter.
    pub(crate) by: Owner,
}

/// Why a claim is looked into.
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
