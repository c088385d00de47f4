//! Where a registrar listens, who may connect there, and what to do where it cannot.

use config::{Faults, RegistrarSettings};
use endpoints::{Endpoint, UnixAddress};
use registrar::NodeError;
use transport::{Access, AdoptError, Listener};

use super::super::AllHanded;
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
    handed: &[Listener],
    context: &Context,
) -> Result<Access, Failure> {
    let group = group(settings)?;
    let is_said = settings.socket_mode.is_some() || group.is_some();
    let is_file = |it: &Endpoint| matches!(it, Endpoint::Unix(UnixAddress::Path(_)));
    if is_said && !endpoints.iter().any(is_file) {
        let why = match handed.iter().any(|it| is_file(it.bound())) {
            true => "the socket file was handed over, as its unit has made it",
            false => "there is no socket file",
        };
        warn(context, format_args!("socket_mode and socket_group say nothing: {why}"));
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

/// Takes over the sockets that a service manager has handed to this process.
pub(super) fn listeners(handed: AllHanded) -> Result<Vec<Listener>, Failure> {
    let handed = handed.map_err(|error| {
        Failure::usage(error).context("what the service manager has handed over cannot be taken")
    })?;
    let mut listeners = Vec::with_capacity(handed.len());
    for handed in handed {
        let (number, name) = (handed.number(), handed.name.clone());
        let listener = Listener::try_from(handed.descriptor).map_err(|error| {
            let hint = match &error {
                AdoptError::Connection => Some("say in the .socket unit: `Accept=no`"),
                AdoptError::OtherType { .. } | AdoptError::OtherProtocol => {
                    Some("name it in the .socket unit by `ListenStream=`")
                }
                _ => None,
            };
            let called = name.map(|it| format!(" (`{it}`)")).unwrap_or_default();
            let failure = Failure::usage(error).context(format!(
                "descriptor {number}{called}, which was handed over, cannot be listened at"
            ));
            hint.into_iter().fold(failure, Failure::hint)
        })?;
        listeners.push(listener);
    }
    Ok(listeners)
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
