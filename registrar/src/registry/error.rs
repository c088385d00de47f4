//! The refusals of a registry.

use endpoints::{Endpoint, InstanceId, Name, NamePattern};
use thiserror::Error;
use uuid::Uuid;
use wire::{
    CallId, Epoch, ErrorKind, METADATA_BYTES_MAX, RemoteError,
    registrar::{ENDPOINTS_MAX, LEASE_MS_MAX, LEASE_MS_MIN},
};

use super::{Account, Owner};
use crate::accounts::Exceeded;

/// The reason why a registry refuses a change.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// use callsign::registrar::RegistryError;
///
/// /// Tells whether another name would do.
/// fn is_about_name(error: &RegistryError) -> bool {
///     matches!(error, RegistryError::NameDenied { .. })
/// }
/// ```
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant's message says what it is")]
pub enum RegistryError {
    #[error(
        "{by} may not register under `{name}`: {} lets only others; \
         take another name{}",
        .pattern.as_ref().map_or_else(|| place.clone(), |it| format!("the rule `{it}` ({place})")),
        .by.if_known(format!(", or have {by} added to its `register`"))
    )]
    NameDenied { name: Name, by: Owner, pattern: Option<NamePattern>, place: String },
    #[error(
        "{by} may not register under `{name}`, which belongs to {}: names = \"same-user\" \
         ({place}); take another name{}",
        whoever(.holder),
        .by.if_known(format!(", or have a rule of [names] let {by} register under it"))
    )]
    NameHeld { name: Name, holder: Option<Owner>, by: Owner, place: String },
    #[error(
        "`{name}` is exclusive ({place}), and {} has it{}{}; wait in line for \
         it (`--wait`), or take another name",
        whoever(.holder), .uuid.map(|it| format!(": {it}")).unwrap_or_default(),
        .node.as_ref().map(|it| format!(", at the node `{it}` of the cluster")).unwrap_or_default()
    )]
    Exclusive {
        name: Name,
        holder: Option<Owner>,
        uuid: Option<Uuid>,
        node: Option<Name>,
        place: String,
    },
    #[error(
        "`{name}` is exclusive ({place}), and this node is cut off from its cluster, which decides who \
         has it: {why}; ask again later or another registrar of the cluster, or wait in line (`--wait`)"
    )]
    CutOff { name: Name, place: String, why: String },
    #[error(
        "it {} `{name}`, and is cut off from its cluster for {} s: another node may have it",
        if *.is_known { "knows of no such instance of" } else { "does not know" },
        .for_ms / 1000
    )]
    Unheard { name: Name, is_known: bool, for_ms: u64 },
    #[error(
        "`{name}` is exclusive ({place}), and the cluster decides who has it, which takes a moment: \
         register it over a connection to the registrar, and not by HTTP or through another adapter"
    )]
    Undecided { name: Name, place: String },
    #[error(
        "`{name}` is exclusive ({place}), and {} wait in line for it; wait \
         too (`--wait`), or take another name",
        .waiting.map_or_else(|| "others".to_owned(), |it| it.to_string())
    )]
    OthersWait { name: Name, waiting: Option<usize>, place: String },
    #[error(
        "`{name}` is exclusive ({place}), and the registrar has just started: the \
         former holder may return within {} s; ask again then, or wait in line (`--wait`)",
        .left_ms.div_ceil(1000)
    )]
    Unsettled { name: Name, left_ms: u64, place: String },
    #[error("another call waits in line for it, or has registered it, meanwhile")]
    StandsElsewhere,
    #[error(
        "`{name}` has all the instances that its rule lets it have{} ({place}); end some, take \
         another name, or have its `max_instances` raised",
        .limit.map(|it| format!(", which is {it}")).unwrap_or_default()
    )]
    TooManyOfName { name: Name, limit: Option<usize>, place: String },
    #[error("no instance {uuid} is registered")]
    NotFound { uuid: Uuid },
    #[error(
        "the instance was registered by {owner}, and {by} may not change it: only {} and user 0 may",
        if .by.is_known() { "its owner" } else { "the connection that registered it" }
    )]
    NotOwner { owner: Owner, by: Owner },
    #[error(
        "the node `{node}` of the cluster keeps the instance {uuid}: ask the registrar there, or \
         register it here anew"
    )]
    KeptElsewhere { uuid: Uuid, node: Name },
    #[error("this registrar keeps the instance {uuid} itself")]
    KeptHere { uuid: Uuid },
    #[error("the registration {epoch} of {uuid} cannot be taken over: {why}")]
    Faulty { uuid: Uuid, epoch: Epoch, why: &'static str },
    #[error(
        "it is the registrar itself, which nobody changes or takes out of its own registry: to end it, \
         end its process"
    )]
    IsRegistrar,
    #[error("the UUID {uuid} cannot be had: take another")]
    UuidTaken { uuid: Uuid },
    #[error("its program has registered the instance {uuid} by a later connection")]
    Superseded { uuid: Uuid },
    #[error("the instance {uuid} is registered under another name")]
    OtherName { uuid: Uuid },
    #[error("the instance {uuid} is registered by its own program, and not through an adapter")]
    NotForeign { uuid: Uuid },
    #[error("{instance} has no lease to renew")]
    NoLease { instance: InstanceId },
    #[error("a lease lasts {LEASE_MS_MIN} to {LEASE_MS_MAX} ms, not {ttl_ms} ms")]
    LeaseLength { ttl_ms: u64 },
    #[error("an instance has at most {ENDPOINTS_MAX} endpoints, and {count} were given")]
    TooManyEndpoints { count: usize },
    #[error("`{endpoint}` can be bound, not dialed; register the address that others reach")]
    BindOnly { endpoint: Endpoint },
    #[error(
        "an instance has at most {METADATA_BYTES_MAX} bytes of metadata, and {bytes} were given"
    )]
    TooMuchMetadata { bytes: usize },
    #[error("the state is unknown to this registrar")]
    UnknownState,
    #[error("the call {call} is under way already")]
    CallInUse { call: CallId },
    #[error("too many {what}: at most {limit}")]
    TooMany { what: &'static str, limit: usize },
    #[error(
        "{account} has {count} foreign {} here, of at most {limit} (no owner has more than half of \
         the room for them): take some out",
        if *.count == 1 { "instance" } else { "instances" }
    )]
    TooManyForeign { account: Account, count: usize, limit: usize },
    #[error(transparent)]
    Quota(#[from] Exceeded),
}

/// Names the holder of a name, if the caller may know it.
fn whoever(holder: &Option<Owner>) -> String {
    holder.map_or_else(|| "another".to_owned(), |it| it.to_string())
}

impl From<RegistryError> for RemoteError {
    fn from(error: RegistryError) -> Self {
        use RegistryError as E;

        let kind = match &error {
            E::Quota(exceeded) => return exceeded.into(),
            E::NotFound { .. } => ErrorKind::NotFound,
            E::NotOwner { .. }
            | E::IsRegistrar
            | E::NameDenied { .. }
            | E::NameHeld { .. }
            | E::UuidTaken { .. }
            | E::Superseded { .. }
            | E::KeptElsewhere { .. }
            | E::KeptHere { .. }
            | E::Exclusive { .. }
            | E::OthersWait { .. } => ErrorKind::Denied,
            E::CutOff { .. } | E::Unheard { .. } | E::Undecided { .. } => ErrorKind::Undecided,
            E::Unsettled { .. } => ErrorKind::Unsettled,
            E::StandsElsewhere => ErrorKind::Cancelled,
            E::CallInUse { .. }
            | E::OtherName { .. }
            | E::NotForeign { .. }
            | E::NoLease { .. }
            | E::LeaseLength { .. }
            | E::UnknownState
            | E::Faulty { .. }
            | E::BindOnly { .. } => ErrorKind::Invalid,
            E::TooManyEndpoints { .. }
            | E::TooMuchMetadata { .. }
            | E::TooMany { .. }
            | E::TooManyForeign { .. }
            | E::TooManyOfName { .. } => ErrorKind::LimitReached,
        };
        Self::new(kind, error.to_string())
    }
}
