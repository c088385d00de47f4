//! Where a registrar listens, who may connect there, and what to do where it cannot.

use config::{Diagnostics, RegistrarSettings};
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

/// Where a registrar listens, as far as it says who may connect there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    files: Files,
    /// Whether it is the registrar of the whole system.
    is_for_all: bool,
}

/// Who has made the socket files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Files {
    Own,
    /// Those that there are were handed over.
    Handed,
    None,
}

impl Places {
    pub(super) fn of(endpoints: &[Endpoint], handed: &[Listener], context: &Context) -> Self {
        let is_file = |it: &Endpoint| matches!(it, Endpoint::Unix(UnixAddress::Path(_)));
        let files = match () {
            () if endpoints.iter().any(is_file) => Files::Own,
            () if handed.iter().any(|it| is_file(it.bound())) => Files::Handed,
            () => Files::None,
        };
        let is_for_all = context.system_registrar().is_some_and(|it| endpoints.contains(&it));
        Self { files, is_for_all }
    }

    /// Returns who may connect to the socket files, whatever the umask is: where nothing is said,
    /// the registrar's own user; but everybody on this host if it is the registrar of the whole
    /// system.
    pub(super) fn access(self, settings: &RegistrarSettings, group: Option<u32>) -> Access {
        let mode = match (settings.socket_mode, group) {
            (Some(mode), _) => mode,
            (None, Some(_)) => FOR_GROUP,
            (None, None) if self.is_for_all => FOR_ALL,
            (None, None) => FOR_USER,
        };
        Access { mode, group }
    }

    /// Warns of what is said of socket files, and of none of this registrar's.
    pub(super) fn warn(self, settings: &RegistrarSettings, context: &Context) {
        let why = match self.files {
            Files::Own => return,
            Files::Handed => "the socket file was handed over, as its unit has made it",
            Files::None => "there is no socket file",
        };
        if settings.socket_mode.is_some() || settings.socket_group.is_some() {
            warn(context, format_args!("socket_mode and socket_group say nothing: {why}"));
        }
    }
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
pub(crate) fn group(settings: &RegistrarSettings) -> Result<Option<u32>, Diagnostics> {
    let Some(group) = &settings.socket_group else { return Ok(None) };
    match transport::group_id(&group.name) {
        Some(number) => Ok(Some(number)),
        None => Err(Diagnostics(vec![group.unknown()])),
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
