//! `callsign registrar`.

use std::{
    fs::File,
    io::{self, Write},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use anyhow::anyhow;
use config::{Layer, Overrides, RegistrarSettings, Tractor, overlay};
use endpoints::Endpoint;
use gateway::tractor::{Scope, TractorDoor};
use portal::Heartbeat;
use registrar::{Door, Node, NodeError, NodeOptions};
use sd_notify::NotifyState;
use serde::Serialize;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    context::Context,
    failure::{Exit, Failure},
    hints,
    notice::{note, warn},
    outlet::is_writable,
    output,
    signals::Signals,
};

/// Run a registrar: it keeps names, and where they lead
///
/// It serves until SIGINT or SIGTERM, lets its sessions end, and leaves no socket file behind. A
/// second signal ends it at once. When everything is bound it prints one line per endpoint.
///
/// A flag goes over the environment (CALLSIGN_LISTEN, CALLSIGN_HEARTBEAT, …), and that over the
/// [registrar] table of the settings file.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  callsign registrar
  callsign registrar --config examples/market.toml
  callsign registrar --tractor-defaults
  callsign registrar --listen /unix/run/market.sock --listen /ip4/0.0.0.0/tcp/0")]
pub(crate) struct Args {
    /// Listen here instead; may be repeated
    #[arg(long, value_name = "MULTIADDR")]
    listen: Vec<String>,
    /// How long a peer may take to say hello [5s]
    #[arg(long, value_name = "TIME")]
    handshake_timeout: Option<String>,
    /// How often a silent peer is pinged [900ms]
    #[arg(long, value_name = "TIME")]
    heartbeat: Option<String>,
    /// How many pings it may miss [3]
    #[arg(long, value_name = "N")]
    heartbeat_misses: Option<String>,
    /// How many sessions may be open at once [4096]
    #[arg(long, value_name = "N")]
    sessions_max: Option<String>,
    /// How long sessions may take to end [5s]
    #[arg(long, value_name = "TIME")]
    drain_timeout: Option<String>,
    /// Listen also where tractor programs look
    #[arg(long)]
    tractor_defaults: bool,
    /// Write `ready` to this descriptor once bound
    #[arg(long, value_name = "FD")]
    ready_fd: Option<u32>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    if let [other, ..] = &context.global.registrar[..] {
        let error = anyhow!("a registrar asks no other registrar, not even `{other}`");
        return Err(Failure::usage(error).hint("to say where it listens: --listen MULTIADDR"));
    }
    let ready_fd = args.ready_fd.map(open_descriptor).transpose()?;
    // From here on a signal is heard, and nothing that is bound is left behind.
    let mut signals = Signals::new()?;

    let (settings, warnings) = context.settings_and_warnings()?;
    context.warn(&warnings);
    context.take_host_id(&settings)?;
    let tractor_defaults = args.tractor_defaults;
    let environment = Overrides::from_environment(|name| context.environment.text(name));
    let (settings, warnings) = overlay(settings, &[environment, args.overrides()])?;
    context.warn(&warnings);
    let RegistrarSettings { listen, drain_timeout, tractor, .. } = settings.registrar.clone();
    let mut endpoints = if listen.is_empty() { context.default_registrars()? } else { listen };
    if tractor_defaults {
        if tractor == Tractor::Nowhere {
            let error = anyhow!("the settings keep tractor programs out: tractor = false");
            return Err(Failure::usage(error).hint("leave out one of the two"));
        }
        endpoints.extend(context.tractor_registrars()?);
    }

    if let Some(memory) = endpoints.iter().find(|it| matches!(it, Endpoint::Memory(_))) {
        let error = anyhow!("`{memory}` can be reached from within the same process alone");
        return Err(Failure::usage(error).hint("let it listen at a Unix socket or a port"));
    }

    // Each session over a Unix socket holds two: the socket, and the process at its other end.
    transport::return_large_memory();
    if let Err(error) = transport::raise_descriptor_limit() {
        tracing::warn!(%error, "the limit of open descriptors stays as it is");
    }
    let options = NodeOptions { declared: settings.declared, ..options(&settings.registrar) };
    let node = tokio::select! {
        node = Node::bind(&endpoints, options) => node.map_err(|error| explain(error, &endpoints))?,
        signal = signals.next() => return Ok(Exit::Code(128 + signal)),
    };
    announce(&node.endpoints(), ready_fd, context)?;
    Ok(serve(node, drain_timeout, signals, context).await)
}

/// Serves until a signal comes, then lets the sessions end; the next signal cuts them.
async fn serve(
    node: Node,
    drain_timeout: Duration,
    mut signals: Signals,
    context: &Context,
) -> Exit {
    let clerk = node.clerk().clone();
    let stop = CancellationToken::new();
    let mut serving = pin!(node.serve(stop.clone()));
    tokio::select! {
        () = &mut serving => return Exit::Done,
        _ = signals.next() => {}
    }
    notify(&[NotifyState::Stopping]);
    stop.cancel();
    tokio::select! {
        () = &mut serving => return Exit::Done,
        again = signals.next() => return Exit::Code(128 + again),
        // Most sessions end at once, and there is nothing to say.
        () = sleep(Duration::from_millis(300)) => {}
    }
    if output::width(&io::stderr()).is_some() {
        let sessions = clerk.status().sessions;
        let patience = humantime::format_duration(drain_timeout);
        note(
            context,
            format_args!("sessions left: {sessions}; they have {patience}, or until Ctrl-C"),
        );
    }
    tokio::select! {
        () = serving => Exit::Done,
        again = signals.next() => Exit::Code(128 + again),
    }
}

impl Args {
    fn overrides(self) -> Overrides {
        Overrides {
            layer: Layer::Flags,
            listen: self.listen,
            handshake_timeout: self.handshake_timeout,
            heartbeat: self.heartbeat,
            heartbeat_misses: self.heartbeat_misses,
            sessions_max: self.sessions_max,
            drain_timeout: self.drain_timeout,
        }
    }
}

fn options(settings: &RegistrarSettings) -> NodeOptions {
    NodeOptions {
        handshake_timeout: settings.handshake_timeout,
        heartbeat: Heartbeat { interval: settings.heartbeat, misses: settings.heartbeat_misses },
        sessions_max: settings.sessions_max,
        drain_timeout: settings.drain_timeout,
        doors: tractor_door(settings.tractor).into_iter().collect(),
        ..NodeOptions::default()
    }
}

fn tractor_door(tractor: Tractor) -> Option<Arc<dyn Door>> {
    let scope = match tractor {
        Tractor::Local => Scope::Local,
        Tractor::Everywhere => Scope::Everywhere,
        Tractor::Nowhere => return None,
    };
    Some(Arc::new(TractorDoor::new(scope)))
}

/// Tells everybody who asked for it that the node can be reached.
fn announce(
    endpoints: &[Endpoint],
    ready_fd: Option<File>,
    context: &Context,
) -> Result<(), Failure> {
    // The node serves on, though nobody may read what it prints.
    for endpoint in endpoints {
        match context.json {
            true => context.announce_json(&Listening { event: "listening", endpoint })?,
            false => context.announce(format_args!("listening on {endpoint}")),
        }
    }
    if let Some(mut file) = ready_fd {
        // It may be standard output.
        context.console.flush();
        if !is_writable(&file) {
            warn(context, "nobody reads the ready descriptor, and it is full: not written to");
        } else {
            file.write_all(b"ready\n").map_err(|error| {
                Failure::usage(error).context("cannot write to the ready descriptor")
            })?;
        }
    }
    notify(&[NotifyState::Ready]);
    Ok(())
}

/// What is printed for each endpoint, for programs.
#[derive(Serialize)]
struct Listening<'a> {
    event: &'static str,
    endpoint: &'a Endpoint,
}

/// Tells the service manager, if one started this program.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// Opens a descriptor that this process was started with once more, which takes no `unsafe` code.
/// The first one stays open until the process ends, so its reader waits for the line, not for the
/// end.
fn open_descriptor(number: u32) -> Result<File, Failure> {
    File::options().append(true).open(format!("/proc/self/fd/{number}")).map_err(|error| {
        let failure = match error.kind() {
            io::ErrorKind::NotFound => {
                Failure::usage(anyhow!("descriptor {number} of --ready-fd is not open"))
            }
            _ => Failure::usage(error)
                .context(format!("descriptor {number} of --ready-fd cannot be written to")),
        };
        failure.hint(format!("open it as a pipe or a file: `callsign registrar … {number}>ready`"))
    })
}

/// Says what to do about an endpoint that cannot be bound.
fn explain(error: NodeError, list: &[Endpoint]) -> Failure {
    let (exit, hints) = match &error {
        NodeError::Bind { endpoint, source } => {
            let hints = hints::unbound(endpoint, list, source);
            (Exit::of_bind(source), hints.into_iter().map(Into::into).collect())
        }
        _ => (Exit::Usage, Vec::new()),
    };
    Failure { exit, hints, ..Failure::usage(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_tells_the_defaults() {
        let RegistrarSettings {
            handshake_timeout,
            heartbeat,
            heartbeat_misses,
            sessions_max,
            drain_timeout,
            ..
        } = RegistrarSettings::default();
        let check = |argument: &str, default: &dyn std::fmt::Display| {
            let command = <Args as clap::Args>::augment_args(clap::Command::new("registrar"));
            let argument = command.get_arguments().find(|it| it.get_id() == argument);
            let help = argument.and_then(|it| it.get_help()).map(ToString::to_string);
            let help = help.unwrap_or_default();
            assert!(help.ends_with(&format!("[{default}]")), "{help}: {default}");
        };
        check("handshake_timeout", &humantime::format_duration(handshake_timeout));
        check("heartbeat", &humantime::format_duration(heartbeat));
        check("heartbeat_misses", &heartbeat_misses);
        check("sessions_max", &sessions_max);
        check("drain_timeout", &humantime::format_duration(drain_timeout));
    }
}
