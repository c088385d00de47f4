//! `callsign registrar`.

pub(crate) mod cluster;
mod descriptors;
mod dns;
mod http;
mod places;
mod quotas;
mod reload;
mod rules;

use std::{
    fs::File,
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use anyhow::anyhow;
use config::{Layer, Overrides, RegistrarSettings, Settings, Tractor};
use endpoints::{Doubt, Endpoint};
use gateway::tractor::{Scope, TractorAdapter};
use portal::Heartbeat;
use registrar::{Node, NodeError, NodeOptions, ProtocolAdapter, registry::Limits};
use sd_notify::NotifyState;
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use transport::Listener;

use self::{
    descriptors::{Descriptors, Wanted},
    places::{HandedOver, Places, explain, handed_over, warn_of_idle},
    reload::{Read, Reload, read_first},
};
pub(crate) use self::{places::group, quotas::quotas, rules::rules};
use super::AllHanded;
use crate::{
    context::Context,
    failure::{Exit, Failure},
    outlet::is_writable,
    output,
    output::notices::{note, warn, with_causes},
    service::{Watchdog, notify},
    signals::{HANGUP, Signals, has_terminal},
};

/// Run a registrar: the server that maps actor names to endpoints
///
/// It serves until SIGINT or SIGTERM, lets its sessions end, leaves no socket file behind, and ends
/// by that signal. A second signal ends it immediately. SIGHUP makes it reload the settings file.
/// When everything is bound it prints one line per endpoint.
///
/// Sockets from a service manager (LISTEN_FDS) are served as they are, and stay where they are;
/// other listed endpoints are bound beside them. One at an address of [http] or [dns] is that
/// server's.
///
/// The table [quotas] of the settings file limits what one user or address may use;
/// `callsign status --owners` shows it. The table [dns] makes it a DNS server, so that any program
/// finds actors by name, as `feed.callsign`. The table [http] makes it an HTTP server, also for
/// other hosts, over TLS. The table [cluster] lets it share what it knows with registrars of other
/// hosts, through etcd.
///
/// Flags override environment variables (CALLSIGN_LISTEN, CALLSIGN_HEARTBEAT, …), which override
/// the [registrar] table of the settings file. CALLSIGN_LISTEN_DEFAULT says where to listen if nothing
/// else does.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  callsign registrar
  callsign registrar --config examples/market.toml
  callsign registrar --tractor-defaults
  callsign registrar --listen /unix/run/a.sock --listen /ip4/0.0.0.0/tcp/0/tls")]
pub(crate) struct Args {
    /// Listen here instead; may be repeated
    #[arg(long, value_name = "ENDPOINT")]
    listen: Vec<String>,
    /// The mode of its socket files [0600]
    #[arg(long, value_name = "MODE")]
    socket_mode: Option<String>,
    /// The group of its socket files
    #[arg(long, value_name = "GROUP")]
    socket_group: Option<String>,
    /// Time limit for a peer's handshake [5s]
    #[arg(long, value_name = "TIME")]
    handshake_timeout: Option<String>,
    /// Interval between pings of a silent peer [900ms]
    #[arg(long, value_name = "TIME")]
    heartbeat: Option<String>,
    /// Pings that it may miss [3]
    #[arg(long, value_name = "N")]
    heartbeat_misses: Option<String>,
    /// The most open sessions [4096]
    #[arg(long, value_name = "N")]
    sessions_max: Option<String>,
    /// Time for earlier clients to return [5s]
    #[arg(long, value_name = "TIME")]
    settle_time: Option<String>,
    /// Time for sessions to end [5s]
    #[arg(long, value_name = "TIME")]
    drain_timeout: Option<String>,
    /// Also listen where tractor programs look
    #[arg(long)]
    tractor_defaults: bool,
    /// Write `ready` to this descriptor once bound
    #[arg(long, value_name = "FD")]
    ready_fd: Option<u32>,
}

pub(crate) async fn run(args: Args, handed: AllHanded, context: &Context) -> Result<Exit, Failure> {
    if let [other, ..] = &context.global.registrar[..] {
        let error = anyhow!("a registrar asks no other registrar, not even `{other}`");
        return Err(Failure::usage(error).hint("to say where it listens: --listen ENDPOINT"));
    }
    let ready_fd = args.ready_fd.map(open_descriptor).transpose()?;
    // From here on signals are handled, and nothing that is bound is left behind.
    let mut signals = Signals::new()?;

    let tractor_defaults = args.tractor_defaults;
    let environment = Overrides::from_environment(|name| context.environment.text(name));
    let overrides = [environment, args.overrides()];
    let mut start = Start { had_terminal: has_terminal(), is_reload_due: false };
    let Read { settings, warnings, group, rules, quotas } = tokio::select! {
        read = read_first(context, &overrides) => read?,
        signal = start.ended(&mut signals) => return Ok(Exit::Signal(signal)),
    };
    context.warn(&warnings);
    let listen = [&settings.registrar.listen[..], &settings.http.listen].concat();
    context.take_identity(&settings, &listen)?;
    if transport::here().kernel.is_none() {
        warn(context, Doubt::KernelUnknown);
    }
    let RegistrarSettings { listen, tractor, .. } = settings.registrar.clone();
    let HandedOver { own: listeners, http: http_listeners, dns: dns_sockets } =
        handed_over(handed, &settings)?;
    let is_usual = listen.is_empty() && listeners.is_empty();
    let mut endpoints = match (&listen[..], &listeners[..]) {
        // Without configured endpoints, the handed-over ones are all.
        ([], []) => context.default_listen()?,
        _ => listen,
    };
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

    transport::free_at_once();
    endpoints.retain(|endpoint| !listeners.iter().any(|it| it.takes_in(endpoint)));
    if listeners.is_empty() {
        warn_of_idle(&endpoints, context);
    }
    let is_given = |it: &&Endpoint| http_listeners.iter().any(|given| given.takes_in(it));
    let http_bound = settings.http.listen.iter().filter(|it| !is_given(it));
    let own: Vec<_> = endpoints.iter().chain(http_bound).cloned().collect();
    let places = Places::of(&own, &listeners, context);
    places.warn(&settings.registrar, context);
    let all: Vec<_> = listeners.iter().map(Listener::bound).chain(&endpoints).cloned().collect();
    let descriptors = Descriptors::of_process(Wanted {
        listeners: all.len() + settings.http.listen.len() + settings.dns.listen.len(),
        has_tractor: tractor != Tractor::Nowhere,
        has_dns: !settings.dns.listen.is_empty(),
    });
    descriptors.warn(&settings.registrar, context);
    let (ledger, tokens_file) = context.state_files(&all).map(|it| (it.tractor, it.tokens)).unzip();
    let dns = dns::bind(dns_sockets, &settings.dns).await?;
    let questions_at = dns.as_ref().map(|it| it.addresses().to_vec()).unwrap_or_default();
    let access = places.access(&settings.registrar, group);
    let http = http::bind(http_listeners, &settings.http, access).await?;
    let requests_at = http.as_ref().map(|it| it.endpoints().to_vec()).unwrap_or_default();
    let dns = dns.map(|it| it.at_most(descriptors.dns_connections));
    let dns = dns.map(|it| Arc::new(it) as Arc<dyn ProtocolAdapter>);
    let http = http.map(|it| Arc::new(it) as Arc<dyn ProtocolAdapter>);
    let cluster = cluster::adapter(settings.cluster.as_ref(), context)?;
    let tractor = tractor_door(settings.registrar.tractor, ledger);
    let options = NodeOptions {
        access: Some(access),
        insecure: context.is_insecure(&settings)?,
        quotas,
        tokens_file,
        // That of the cluster first: until it has decided, the others register no exclusive name.
        adapters: cluster.into_iter().chain(tractor).chain(dns).chain(http).collect(),
        rules,
        limits: Limits {
            foreign_instances_max: descriptors.foreign_instances,
            ..Limits::default()
        },
        ..options(&settings, &descriptors)
    };
    let usual_port = endpoints.iter().position(is_port).filter(|_| is_usual);
    let node = tokio::select! {
        node = bind(listeners, &mut endpoints, usual_port, options, context) => node?,
        signal = start.ended(&mut signals) => return Ok(Exit::Signal(signal)),
    };
    announce(&node.endpoints(), &questions_at, &requests_at, ready_fd, context)?;
    let controls = node.controls().clone();
    let mut reload =
        Reload::new(settings, descriptors, group, overrides.to_vec(), places, controls, context);
    if start.is_reload_due {
        reload.begin();
    }
    Ok(serve(node, reload, signals, context).await)
}

/// A registrar that does not serve yet.
struct Start {
    had_terminal: bool,
    /// Whether it was asked to reload its settings, which it may have read before that.
    is_reload_due: bool,
}

impl Start {
    /// Waits for a signal that ends it.
    async fn ended(&mut self, signals: &mut Signals) -> u8 {
        loop {
            match signals.next().await {
                HANGUP if is_reload(self.had_terminal) => self.is_reload_due = true,
                signal => return signal,
            }
        }
    }
}

/// Tells whether SIGHUP asks to reload: its terminal may have gone instead.
fn is_reload(had_terminal: bool) -> bool {
    !had_terminal || has_terminal()
}

/// Binds all endpoints, except the usual port if another process has that: it is the one place that
/// all users of a host share, and a registrar is found without it. No handed-over socket is used
/// for the usual places.
async fn bind(
    listeners: Vec<Listener>,
    endpoints: &mut Vec<Endpoint>,
    usual_port: Option<usize>,
    options: NodeOptions,
    context: &Context,
) -> Result<Node, Failure> {
    let handed: Vec<_> = listeners.iter().map(|it| it.bound().clone()).collect();
    let error = match Node::bind_beside(listeners, endpoints, options.clone()).await {
        Ok(node) => return Ok(node),
        Err(error) => error,
    };
    // It may be taken, or the machine has no IPv4: the socket is enough, and nobody asked for more.
    let is_it =
        |port: &Endpoint| matches!(&error, NodeError::Bind { endpoint, .. } if endpoint == port);
    let Some(at) = usual_port.filter(|it| endpoints.len() > 1 && is_it(&endpoints[*it])) else {
        return Err(explain(error, &[&handed[..], endpoints].concat(), context));
    };
    let port = endpoints.remove(at);
    let holder = match &error {
        NodeError::Bind { source, .. } => with_causes(source),
        _ => String::new(),
    };
    warn(context, format_args!("not listening at {port}, the usual port: {holder}"));
    Node::bind(endpoints, options).await.map_err(|error| explain(error, endpoints, context))
}

/// Names the place in the settings of what another server of the node cannot listen at.
fn listed(table: &str, place: Option<&str>, failure: Failure) -> Failure {
    match place {
        Some(place) => failure.hint(format!("the address is in `[{table}] listen`, {place}")),
        None => failure,
    }
}

fn is_port(endpoint: &Endpoint) -> bool {
    matches!(endpoint, Endpoint::Tcp(_))
}

/// Serves until a signal asks for the end, then lets the sessions end; the next signal cuts them.
async fn serve(
    node: Node,
    mut reload: Reload<'_>,
    mut signals: Signals,
    context: &Context,
) -> Exit {
    let registry = node.registry().clone();
    let stop = CancellationToken::new();
    let had_terminal = has_terminal();
    let mut watchdog = Watchdog::new();
    // Whoever mends them should hear of it before somebody is turned away.
    let mut tls_looks = interval(TLS_LOOK_INTERVAL);
    tls_looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut serving = pin!(node.serve(stop.clone()));
    let signal = loop {
        tokio::select! {
            biased;
            // No signal has ended it: all of its places are taken.
            () = &mut serving => return Exit::InUse,
            signal = signals.next() => match signal {
                HANGUP if is_reload(had_terminal) => reload.begin(),
                signal => break signal,
            },
            read = reload.read() => reload.apply(read),
            () = watchdog.ping() => {}
            _ = tls_looks.tick() => transport::look_at_tls_files(),
        }
    };
    notify(&[NotifyState::Stopping, NotifyState::Status("sessions are ending")]);
    stop.cancel();
    let mut again = pin!(async {
        loop {
            match signals.next().await {
                HANGUP => {}
                signal => break signal,
            }
        }
    });
    tokio::select! {
        () = &mut serving => return Exit::Signal(signal),
        again = &mut again => return Exit::Signal(again),
        // Most sessions end promptly; then there is nothing to report.
        () = sleep(Duration::from_millis(300)) => {}
    }
    if output::width(&io::stderr()).is_some() {
        let sessions = registry.status().sessions;
        let patience = humantime::format_duration(reload.settings().registrar.drain_timeout);
        note(
            context,
            format_args!("sessions left: {sessions}; they have {patience}, or until Ctrl-C"),
        );
    }
    tokio::select! {
        () = serving => Exit::Signal(signal),
        again = again => Exit::Signal(again),
    }
}

/// The time between looks at the files of `[tls]` while nobody connects: they are mended by people.
const TLS_LOOK_INTERVAL: Duration = Duration::from_secs(5);

impl Args {
    fn overrides(self) -> Overrides {
        Overrides {
            layer: Layer::Flags,
            listen: self.listen,
            usual: Vec::new(),
            socket_mode: self.socket_mode,
            socket_group: self.socket_group,
            handshake_timeout: self.handshake_timeout,
            heartbeat: self.heartbeat,
            heartbeat_misses: self.heartbeat_misses,
            sessions_max: self.sessions_max,
            settle_time: self.settle_time,
            drain_timeout: self.drain_timeout,
        }
    }
}

fn options(settings: &Settings, descriptors: &Descriptors) -> NodeOptions {
    let Settings { registrar: settings, declared, .. } = settings;
    NodeOptions {
        declared: declared.clone(),
        handshake_timeout: settings.handshake_timeout,
        heartbeat: Heartbeat { interval: settings.heartbeat, misses: settings.heartbeat_misses },
        sessions_max: descriptors.sessions_max(settings),
        settle_time: settings.settle_time,
        drain_timeout: settings.drain_timeout,
        ..NodeOptions::default()
    }
}

fn tractor_door(tractor: Tractor, ledger: Option<PathBuf>) -> Option<Arc<dyn ProtocolAdapter>> {
    let scope = match tractor {
        Tractor::Local => Scope::Local,
        Tractor::Everywhere => Scope::Everywhere,
        Tractor::Nowhere => return None,
    };
    let adapter = TractorAdapter::new(scope);
    Some(match ledger {
        Some(file) => Arc::new(adapter.remembering(file)),
        None => Arc::new(adapter),
    })
}

/// Reports to all that asked for it that the node can be reached.
fn announce(
    endpoints: &[Endpoint],
    questions_at: &[SocketAddr],
    requests_at: &[Endpoint],
    ready_fd: Option<File>,
    context: &Context,
) -> Result<(), Failure> {
    // The node continues to serve, even without a reader of its output.
    for endpoint in endpoints {
        if context.json {
            let encoded = endpoint.to_encoded();
            context.announce_json(&Listening { event: "listening", endpoint, encoded })?;
        } else {
            context.announce(format_args!("listening on {endpoint}"));
        }
    }
    for &address in questions_at {
        if context.json {
            let place = AnsweringAt::Address { address };
            context.announce_json(&Answering { event: "answering", protocol: "dns", place })?;
        } else {
            context.announce(format_args!("answering DNS at {address}"));
        }
    }
    for endpoint in requests_at {
        if context.json {
            let place = AnsweringAt::Endpoint { endpoint, encoded: endpoint.to_encoded() };
            context.announce_json(&Answering { event: "answering", protocol: "http", place })?;
        } else {
            context.announce(format_args!("answering HTTP at {endpoint}"));
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
    notify(&[NotifyState::Ready, NotifyState::Status("serving")]);
    Ok(())
}

/// The output for each endpoint, for programs.
#[derive(Serialize)]
struct Listening<'a> {
    event: &'static str,
    endpoint: &'a Endpoint,
    encoded: String,
}

/// The output for each place at which another protocol is answered, for programs.
#[derive(Serialize)]
struct Answering<'a> {
    event: &'static str,
    protocol: &'static str,
    #[serde(flatten)]
    place: AnsweringAt<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum AnsweringAt<'a> {
    Address { address: SocketAddr },
    Endpoint { endpoint: &'a Endpoint, encoded: String },
}

/// Opens a descriptor that this process was started with once more, which takes no `unsafe` code.
/// The original stays open until the process ends, so its reader waits for the line, not for the
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
            settle_time,
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
        check("settle_time", &humantime::format_duration(settle_time));
        check("drain_timeout", &humantime::format_duration(drain_timeout));
    }
}
