//! Where a registrar listens, who may connect there, and what to do where it cannot.

use config::{Faults, RegistrarSettings};
use endpoints::{Endpoint, UnixAddress};
use registrar::NodeError;
use transport::Access;

use crate::{
    context::Context,
    failure::{Exit, Failure},
    hints,
    notice::warn,
};

/// Returns who may connect to the socket files of a registrar, whatever the umask is: where nothing
/// is said, its own user; but everybody on this host if it is the registrar of the whole system.
pub(super) fn access(
    settings: &RegistrarSettings,
    endpoints: &[Endpoint],
    context: &Context,
) -> Result<Access, Failure> {
    let group = group(settings)?;
    let is_said = settings.socket_mode.is_some() || group.is_some();
    let is_file = |it: &Endpoint| matches!(it, Endpoint::Unix(UnixAddress::Path(_)));
    if is_said && !endpoints.iter().any(is_file) {
        warn(context, "socket_mode and socket_group say nothing: there is no socket file");
    }
    let is_for_all = context.system_registrar().is_some_and(|it| endpoints.contains(&it));
    let mode = match (settings.socket_mode, group) {
        (Some(mode), _) => mode,
        (None, Some(_)) => FOR_GROUP,
        (None, None) if is_for_all => FOR_ALL,
        (None, None) => FOR_USER,
    };
    Ok(Access { mode, group })
}

/// Returns the number of the group that the socket files are given.
pub(crate) fn group(settings: &RegistrarSettings) -> Result<Option<u32>, Faults> {
    let Some(group) = &settings.socket_group else { return Ok(None) };
    match transport::group_id(&group.name) {
        Some(number) => Ok(Some(number)),
        None => Err(Faults(vec![group.unknown()])),
    }
}

/// Says what to do about an endpoint that cannot be bound.
pub(super) fn explain(error: NodeError, list: &[Endpoint]) -> Failure {
    let (exit, hints) = match &error {
        NodeError::Bind { endpoint, source } => {
            let hints = hints::unbound(endpoint, list, source);
            (Exit::of_bind(source), hints.into_iter().map(Into::into).collect())
        }
        _ => (Exit::Usage, Vec::new()),
    };
    Failure { exit, hints, ..Failure::usage(error) }
}

/// The modes that are usual: for the registrar's user, for a group beside it, for everybody.
const FOR_USER: u32 = 0o600;
const FOR_GROUP: u32 = 0o660;
const FOR_ALL: u32 = 0o666;
