//! A registrar within your own program. `callsign registrar` is one that runs by itself.

pub use registrar::{
    Accepted, Accounts, Controls, Exceeded, ForeignSession, Holding, Latencies, Node, NodeError,
    NodeOptions, ProtocolAdapter, QuotaRules, Quotas, Recognised, RegistryHandle, Serving,
    registry::{
        Account, Caller, Certified, Claimant, Counts, Decision, Event, Foreign, Grantee, HomeNode,
        Limits, NameRequest, NameRule, NameRules, Names, Owner, RegistryError, Remote, SessionId,
        Stride, Totals,
    },
};
pub use wire::{
    CallId, Revision,
    registrar::{Change, ClusterNode, ClusterStatus, Page, Register, Registered, Status},
};
