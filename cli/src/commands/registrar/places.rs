//! A registrar's endpoints, their access, and remedies if they cannot be bound.

use std::{net::SocketAddr, os::fd::OwnedFd};

use config::{Diagnostics, RegistrarSettings, Settings};
use endpoints::Endpoint;
use gateway::dns::DnsSockets;
use registrar::NodeError;
use rustix::net::{SocketType, getsockname, sockopt};
use transport::{Access, AdoptError, BindError, Listener, Process};

use super::super::AllHanded;
use crate::{
    context::Context,
    failure::{Exit, Failure},
    hints,
    output::notices::warn,
};

/// A registrar's endpoints, as far as they determine access.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    files: Files,
    /// Whether it is the registrar of the whole system.
    is_for_all: bool,
}

/// The maker of the socket files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Files {
    Own,
    /// The existing ones were handed over.
    Handed,
    None,
}

impl Places {
    pub(super) fn of(endpoints: &[Endpoint], handed: &[Listener], context: &Context) -> Self {
        let files = match () {
            () if endpoints.iter().any(Endpoint::is_socket_file) => Files::Own,
            () if handed.iter().any(|it| it.bound().is_socket_file()) => Files::Handed,
            () => Files::None,
        };
        let is_for_all = context.system_registrar().is_some_and(|it| endpoints.contains(&it));
        Self { files, is_for_all }
    }

    /// Returns the access to the socket files, independent of the umask: by default the registrar's
    /// own user; but everybody on this host for the system's registrar.
    pub(super) fn access(self, settings: &RegistrarSettings, group: Option<u32>) -> Access {
        let mode = match (settings.socket_mode, group) {
            (Some(mode), _) => mode,
            (None, Some(_)) => FOR_GROUP,
            (None, None) if self.is_for_all => FOR_ALL,
            (None, None) => FOR_USER,
        };
        Access { mode, group }
    }

    /// Warns of settings for socket files that apply to none of this registrar's.
    pub(super) fn warn(self, settings: &RegistrarSettings, context: &Context) {
        let why = match self.files {
            Files::Own => return,
            Files::Handed => "the socket file was handed over, as its unit has made it",
            Files::None => "there is no socket file",
        };
        if settings.socket_mode.is_some() || settings.socket_group.is_some() {
            warn(context, format_args!("socket_mode and socket_group have no effect: {why}"));
        }
    }
}

/// The sockets that a service manager has handed to this process, by the server whose address they
/// have.
#[derive(Debug, Default)]
pub(super) struct HandedOver {
    pub(super) own: Vec<Listener>,
    pub(super) http: Vec<Listener>,
    pub(super) dns: DnsSockets,
}

/// Takes over the sockets that a service manager has handed to this process.
pub(super) fn handed_over(handed: AllHanded, settings: &Settings) -> Result<HandedOver, Failure> {
    let handed = handed.map_err(|error| {
        Failure::usage(error).context("what the service manager has handed over cannot be taken")
    })?;
    let mut taken = HandedOver::default();
    for handed in handed {
        match socket_of_dns(&handed.descriptor, settings) {
            Some(SocketType::DGRAM) => {
                taken.dns.datagrams.push(handed.descriptor.into());
                continue;
            }
            Some(_) => {
                taken.dns.connections.push(handed.descriptor.into());
                continue;
            }
            None => {}
        }
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
        let is_http = settings.http.listen.iter().any(|it| listener.takes_in(it));
        if is_http { taken.http.push(listener) } else { taken.own.push(listener) }
    }
    Ok(taken)
}

/// Returns the type of a socket at an address of the DNS server: one for datagrams, or one that
/// listens.
fn socket_of_dns(socket: &OwnedFd, settings: &Settings) -> Option<SocketType> {
    let address = SocketAddr::try_from(getsockname(socket).ok()?).ok()?;
    if !settings.dns.listen.contains(&address) {
        return None;
    }
    match sockopt::socket_type(socket).ok()? {
        SocketType::STREAM if !sockopt::socket_acceptconn(socket).unwrap_or(false) => None,
        it @ (SocketType::STREAM | SocketType::DGRAM) => Some(it),
        _ => None,
    }
}

/// Returns the number of the group that the socket files are given.
pub(crate) fn group(settings: &RegistrarSettings) -> Result<Option<u32>, Diagnostics> {
    let Some(group) = &settings.socket_group else { return Ok(None) };
    match transport::group_id(&group.name) {
        Some(number) => Ok(Some(number)),
        None => Err(Diagnostics(vec![group.unknown()])),
    }
}

/// Warns of sockets that this process was started with, but that the service manager's variables do
/// not name: a client that connects there waits in vain. For endpoints to bind, the failing bind
/// reports this.
pub(super) fn warn_of_idle(endpoints: &[Endpoint], context: &Context) {
    if context.environment.text(COUNT).is_none() {
        return;
    }
    let mut idle = own_endpoints();
    idle.retain(|own| !endpoints.iter().any(|it| it == own || it.conflicts_in_list_with(own)));
    if !idle.is_empty() {
        let places: Vec<_> = idle.iter().map(ToString::to_string).collect();
        warn(context, format_args!("nobody serves {}: {}", places.join(", "), why_idle(context)));
    }
}

/// Explains why an endpoint cannot be bound, and what to do.
pub(super) fn explain(error: NodeError, list: &[Endpoint], context: &Context) -> Failure {
    if let NodeError::Insecure { .. } = error {
        let hints = hints::INSECURE_LISTENER.iter().map(|it| (*it).to_owned().into()).collect();
        return Failure { hints, ..Failure::usage(error) };
    }
    let NodeError::Bind { endpoint, source } = &error else { return Failure::usage(error) };
    // Whoever has it is this process, which is nothing to tell.
    if let (BindError::InUse { .. }, Some(_)) = (source, hints::rival_in(list, endpoint)) {
        let hints = hints::unbound(endpoint, list, source);
        let (endpoint, source) = (endpoint.clone(), BindError::InUse { holder: None });
        let failure = Failure::usage(NodeError::Bind { endpoint, source });
        return hints.into_iter().fold(failure, Failure::hint);
    }
    let is_same = |it: &Endpoint| it == endpoint || it.conflicts_in_list_with(endpoint);
    let is_own = matches!(source, BindError::InUse { .. }) && own_endpoints().iter().any(is_same);
    let hints =
        if is_own { vec![why_idle(context)] } else { hints::unbound(endpoint, list, source) };
    let exit = Exit::of_bind(source);
    let hints = hints.into_iter().map(Into::into).collect();
    Failure { exit, hints, ..Failure::usage(error) }
}

/// Returns the listeners of this process: those it has opened, and those it was started with.
fn own_endpoints() -> Vec<Endpoint> {
    Process::own().map(|it| transport::endpoints_of(&[it])).unwrap_or_default()
}

/// Explains why a socket that this process was started with is not its own.
fn why_idle(context: &Context) -> String {
    let own = std::process::id();
    let why = match (context.environment.text(COUNT), context.environment.text(PID)) {
        (None, _) => "it is not handed over: set LISTEN_FDS and LISTEN_PID, or close it".to_owned(),
        (Some(_), None) => format!("LISTEN_PID is not set: it has to be {own}"),
        (Some(count), Some(pid)) if pid == own.to_string() => {
            format!("LISTEN_FDS is {count}, and does not count it")
        }
        (Some(_), Some(pid)) => {
            format!("LISTEN_PID is {pid}, and has to be {own}: let a shell between them `exec`")
        }
    };
    format!("this process was started with a socket there; {why}")
}

const COUNT: &str = "LISTEN_FDS";
const PID: &str = "LISTEN_PID";

/// The usual modes: for the registrar's user, for a group as well, for everybody.
const FOR_USER: u32 = 0o600;
const FOR_GROUP: u32 = 0o660;
const FOR_ALL: u32 = 0o666;
