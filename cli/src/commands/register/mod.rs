//! `callsign register`: makes an actor of any program, of a socket, or of a place that is kept by
//! a lease.

mod address;
mod background;
mod former;
mod lease;
mod places;
mod plan;
mod presence;
mod program;
mod told;
mod tracker;
mod turn;

use std::{
    cell::Cell,
    ffi::OsString,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
    path::Path,
    pin::pin,
    time::Duration,
};

use clap::ValueEnum;
use discovery::{Client, LinkError, Registered, RegistrarFailure, RegistrarFailures};
use endpoints::{Endpoint, UnixPath};
use sd_notify::NotifyState;
use tokio::time::{Instant, timeout};
use transport::{Handed, clear_dead_socket, remove_dangling_link};

pub(super) use self::told::warn_of_strangers;
use self::{
    background::Ended,
    plan::{Plan, socket_path},
    presence::{Known, Presence, follow, warn_of_nobody},
    program::{Happening, Program, exit_after},
    told::{tell, tell_of_links, warn_of_aliases, warn_of_doubts, warn_of_silence},
    turn::{DISPLACED, asked_to_end, await_turn, displaced, unanswered},
};
use super::AllHanded;
use crate::{
    context::Context,
    failure::{Exit, Failure},
    output::notices::{note, warn, with_causes},
    service::{Relay, Watchdog, notify},
    signals::Signals,
    typed,
};

/// Register an actor: a program to start, or one that runs
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  callsign register web /ip4/127.0.0.1/tcp/0 -- ./server --port {port}
  callsign register feed /unix/run/feed.sock --meta a=b -- ./feed {path}
  callsign register clock /unix/run/clock.sock --ttl 30s
  callsign register leader /unix/run/leader.sock --wait -- ./lead {path}
  callsign register feed --config market.toml -- ./feed

With a command, `register` starts the program and registers it as starting; it is ready when it \
listens at one of its endpoints. The entry lasts as long as the program: when the program ends, \
`register` ends with the same exit code, or by the same signal; when `register` is asked to end, \
it asks the program, and kills it after the grace; when `register` is killed, the program is ended too. Other signals, \
such as SIGUSR1, are passed on. All descendants of the program are ended too. A program that moves \
to the background is ended, with a warning that names the remedy, and the exit code is 125, as \
when another program serves in its place after it has ended. The exit code is 126 for a command \
that cannot be executed, and 127 for one that does not exist. A dead socket in the way is removed. \
Sockets from a service manager (LISTEN_FDS) are handed to the program.

The program learns its address, so that it is written only once. In its arguments, but not in the \
command itself, {endpoint}, {host}, {port} and {path} are replaced by those of the endpoint, also \
within an argument, as in --bind={host}:{port}; two different values are an error. {{port}} means \
the text {port}; ${port} and all other braces are left alone. An IPv6 {host} is in brackets \
before `:` and in a URL. The environment has CALLSIGN_NAME, CALLSIGN_ENDPOINT (the first one), and \
HOST and PORT of the first TCP endpoint; without a TCP endpoint the latter two stay as they are. \
--registrar and --config are handed on as CALLSIGN_REGISTRAR and CALLSIGN_CONFIG. Port 0 draws a \
free port, the same for all endpoints with port 0, which the kernel gives only to programs that \
ask for it by number; nothing can hold it for the program.

The kernel says who listens, so the program notices nothing: the listener has to be the program or \
its descendant. While nobody listens, or another program has its place, the actor is not ready, \
and `register` says so. It connects only where the kernel cannot tell: to another host, to a host \
name, and to a path with a listener in another network namespace. Register a listener elsewhere, \
such as a container's port, with `--state ready`.

If no registrar answers, the program is started nevertheless, and registered when one does; \
without a program, `register` waits for one.

A service manager that has set NOTIFY_SOCKET (Type=notify of systemd) is told READY=1 as soon as \
others can find the actor: it is registered, and ready unless its state was set. The program gets \
a socket of `register` as NOTIFY_SOCKET; what it says of the service there (READY, STATUS, RELOADING, STOPPING, \
WATCHDOG, EXTEND_TIMEOUT_USEC) is passed on, and the first READY=1 of the two is the one that counts. With \
WatchdogSec= the manager is told that `register` is well, until the program, which gets WATCHDOG_USEC, \
sends its first WATCHDOG=1: from then on its own count. While no registrar answers, \
and while `register` waits in line, it asks for more time to start (EXTEND_TIMEOUT_USEC), and says \
what it waits for.

With `--wait`, `register` waits in line for an exclusive name, and starts the program when it has \
the name. A waiter that hangs is passed over until it answers. CALLSIGN_TOKEN is then a number \
higher than that of all former holders. If the name goes \
to another instance later, or somebody else removes the entry, the program is ended, and the exit \
code is 125. While no registrar answers the program continues, because nobody else gets the name \
then. With `--wait=DURATION`, the exit code is 1 if the name is not free by then.

An entry that somebody else removes stays out, and `register` says who removed it: a program \
continues, and without one `register` ends.

Without a command, the entry lasts until `register` is ended with Ctrl-C, also if nobody reads its \
output any more. While nobody listens, the actor is starting, and `register` says so; so it is while another user listens there, unless \
that is root. A symbolic link is registered as the socket that it leads to. Its server may \
restart: a server of the same user and program at the same place is recognised. With `--ttl` instead, \
`register` returns as soon as the actor is registered, and the entry lasts for that time; the same \
command again renews the lease.")]
pub(crate) struct Args {
    /// The actor's name
    name: String,
    /// Its endpoints; without any, those in the settings file
    #[arg(value_name = "ENDPOINT")]
    endpoints: Vec<String>,
    /// Register a lease with this time to live, as in `30s`
    #[arg(long, value_name = "DURATION", value_parser = typed::time_to_live)]
    ttl: Option<Duration>,
    /// Wait in line for an exclusive name, for at most this time
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, value_parser = typed::duration)]
    wait: Option<Option<Duration>>,
    /// Attach metadata (repeatable)
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = plan::key_value)]
    metadata: Vec<(String, String)>,
    /// Set this state, without checking whether it answers
    #[arg(long)]
    state: Option<State>,
    /// Time for the program to end when it is asked to
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = typed::duration)]
    grace: Duration,
    /// The program to start, and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// The description of an actor at its registration.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum State {
    Ready,
    Starting,
}

impl From<State> for wire::State {
    fn from(state: State) -> Self {
        match state {
            State::Ready => Self::Ready,
            State::Starting => Self::Starting,
        }
    }
}

pub(crate) async fn run(args: Args, handed: AllHanded, context: &Context) -> Result<Exit, Failure> {
    // Endpoints are stamped before a registrar is reached.
    let registrars = context.registrars().unwrap_or_default();
    context.take_identity(&context.settings()?, &registrars)?;
    let mut plan = Plan::make(&args, context)?;
    let handed = handed.map_err(Failure::usage)?;
    let name = |it: &Handed| it.name.clone().unwrap_or_default().into();
    plan.command.handed = handed.iter().map(name).collect();
    // A program's own messages do not count for most units.
    let watchdog = Watchdog::new();
    let relay = Relay::open().filter(|_| !args.command.is_empty());
    plan.command.withheld = watchdog.withheld(relay.is_some()).iter().map(Into::into).collect();
    let address = relay.iter().map(|it| ("NOTIFY_SOCKET".into(), it.address().into()));
    plan.command.environment.extend(address);
    let client = context.open_client()?;
    let registering = async {
        match (&args.command[..], args.ttl) {
            ([], Some(_)) => lease::run(&mut plan, client, context).await,
            ([], None) => hold(&plan, client, context).await,
            _ => run_program(&mut plan, handed, &args, client, context).await,
        }
    };
    tokio::select! {
        biased;
        exit = registering => exit,
        never = watchdog.keep(relay) => match never {},
    }
}

/// Registers an actor; if no registrar is within reach it reports that, and registers the actor
/// once one is.
async fn enter(
    plan: &Plan,
    client: &Client,
    context: &Context,
    begun: Instant,
) -> Result<(Registered, Known), Failure> {
    let registering = client.register_patiently(plan.registration());
    let registered = match plan.patience {
        None => turn::said(plan, client, context, registering).await?,
        Some(_) => tokio::select! {
            biased;
            registered = registering => registered?,
            failure = unanswered(plan, client, begun) => return Err(failure),
        },
    };
    let missing = registered.missing();
    if missing.len() < client.registrars().count() {
        return Ok((registered, Known::Everywhere));
    }
    // An actor that waits in line is reported later.
    let waits = |it: &RegistrarFailure| matches!(*it.error, LinkError::InLine { .. });
    if !missing.iter().any(waits) {
        warn_of_nobody(&plan.name, &RegistrarFailures(missing), context);
    }
    Ok((registered, Known::NotYet))
}

/// Keeps an actor registered until a signal ends that.
async fn hold(plan: &Plan, client: Client, context: &Context) -> Result<Exit, Failure> {
    let mut signals = Signals::for_none()?;
    let begun = Instant::now();
    let entering = enter(plan, &client, context, begun);
    let (registered, known) = tokio::select! {
        biased;
        entered = entering => entered?,
        signal = asked_to_end(plan, &mut signals) => return Ok(Exit::Signal(signal)),
    };
    let turn = await_turn(plan, &registered, &client, begun, &mut signals, context);
    if let Some(exit) = turn.await? {
        part(registered, client, context).await;
        return Ok(exit);
    }
    let known = if plan.patience.is_some() { Known::Everywhere } else { known };
    if known != Known::NotYet {
        let token = registered.token();
        tell(context, plan, registered.instance(), plan.state, false, token)?;
    }
    warn_of_doubts(context, plan, &client);
    warn_of_aliases(context, plan, &registered);
    note(
        context,
        match known {
            Known::NotYet => "it is registered when one answers; Ctrl-C ends this",
            _ => "it is known until this ends; Ctrl-C ends it",
        },
    );
    tell_of_links(context, plan);
    warn_of_silence(context, plan);
    let has_served = &Cell::new(true);
    let kept =
        Presence { plan, registered: &registered, known, has_served, client: &client, context };
    let exit = hold_on(&mut signals, kept).await;
    part(registered, client, context).await;
    exit
}

/// Keeps a registration in step with the actor, until somebody ends that.
async fn hold_on(signals: &mut Signals, kept: Presence<'_>) -> Result<Exit, Failure> {
    let mut losses = kept.registered.losses();
    let mut following = pin!(follow(kept));
    let mut displaced = pin!(displaced(kept.plan, kept.registered, kept.context));
    let mut accepted = pin!(kept.registered.accepted());
    let mut is_awaited = kept.known == Known::NotYet;
    loop {
        tokio::select! {
            biased;
            signal = signals.next() => return Ok(Exit::Signal(signal)),
            lost = losses.next() => {
                if kept.lose(&lost, "nothing is left to keep registered, so this ends") {
                    // It was intended: a supervisor that restarts this after a failure must not
                    // undo it.
                    return Ok(Exit::Done);
                }
            }
            () = &mut displaced => return Ok(DISPLACED),
            accepted = &mut accepted, if is_awaited => {
                accepted?;
                is_awaited = false;
            }
            never = &mut following => match never {},
        }
    }
}

/// Runs a program, registered for as long as it runs.
async fn run_program(
    plan: &mut Plan,
    handed: Vec<Handed>,
    args: &Args,
    client: Client,
    context: &Context,
) -> Result<Exit, Failure> {
    let mut signals = Signals::for_program()?;
    // It is registered first: if the registration is refused, nothing is started.
    let begun = Instant::now();
    let (registered, known) = tokio::select! {
        biased;
        entered = enter(plan, &client, context, begun) => entered?,
        signal = asked_to_end(plan, &mut signals) => return Ok(Exit::Signal(signal)),
    };
    let mut known = known;
    if plan.patience.is_some() {
        let turn = await_turn(plan, &registered, &client, begun, &mut signals, context);
        if let Some(exit) = turn.await? {
            part(registered, client, context).await;
            return Ok(exit);
        }
        known = Known::Everywhere;
    }
    let token = registered.token().map(|it| (TOKEN_VARIABLE.into(), it.to_string().into()));
    plan.command.environment.extend(token);
    let plan = &*plan;
    if plan.is_announced && known != Known::NotYet {
        let token = registered.token();
        tell(context, plan, registered.instance(), plan.state, false, token)?;
    }
    if plan.has_drawn_port {
        for endpoint in plan.said.iter().filter(|it| matches!(it, Endpoint::Tcp(_))) {
            note(context, format_args!("`{}` is to listen at {endpoint}", plan.name));
        }
    }
    warn_of_doubts(context, plan, &client);
    warn_of_aliases(context, plan, &registered);
    let paths: Vec<_> = plan.said.iter().filter_map(socket_path).collect();
    clear_way(&paths, &plan.command.words, context).await;
    let started = Program::start(&plan.command, args.grace, signals);
    // They belong to the program now.
    drop(handed);
    let ended = match started {
        Ok(program) => {
            // The state of a program that is ready from the beginning is not checked.
            let has_served = &Cell::new(registered.state() != wire::State::Starting);
            let (registered, client) = (&registered, &client);
            let kept = Presence { plan, registered, known, has_served, client, context };
            watch_over(program, &args.command, kept).await
        }
        Err(failure) => Err(failure),
    };
    part(registered, client, context).await;
    ended
}

/// Removes the sockets that a former run of the program has left at its places, and that would keep
/// it from listening.
async fn clear_way(paths: &[&UnixPath], words: &[OsString], context: &Context) {
    for path in paths {
        match clear_dead_socket(path).await {
            Ok(Some(cleared)) => {
                note(context, format_args!("removed a dead socket: {}", cleared.as_str()));
            }
            Ok(None) => {
                if let Some(user) = another_users_socket(path) {
                    let place = path.as_str();
                    note(context, format_args!("a socket of user {user} is in the way: {place}"));
                }
            }
            // The program will report the obstacle.
            Err(error) => tracing::debug!(error = with_causes(&error), "a path is not cleared"),
        }
        // Nobody can bind at the name of a link. The program's arguments tell whether it is to bind
        // there, or at the link's target.
        let Ok(target) = fs::read_link(path.as_path()) else { continue };
        let names = |it: &Path| words.iter().any(|word| contains(word, it.as_os_str().as_bytes()));
        if names(path.as_path()) && !names(&target) {
            match remove_dangling_link(path) {
                Ok(true) => note(context, format_args!("removed a dead link: {}", path.as_str())),
                Ok(false) => {}
                Err(error) => tracing::debug!(%error, "a link is not removed"),
            }
        }
    }
}

/// Returns whose the socket at a path is, if it is another user's: a program of that user may be about
/// to replace it.
fn another_users_socket(path: &UnixPath) -> Option<u32> {
    let status = fs::symlink_metadata(path.as_path()).ok()?;
    let is_others = status.uid() != rustix::process::geteuid().as_raw();
    (status.file_type().is_socket() && is_others).then(|| status.uid())
}

/// Tells whether a word contains a string.
fn contains(word: &OsString, text: &[u8]) -> bool {
    !text.is_empty() && word.as_bytes().windows(text.len()).any(|it| it == text)
}

/// Keeps a registration in step with a program, until that has ended.
async fn watch_over(
    mut program: Program,
    command: &[OsString],
    kept: Presence<'_>,
) -> Result<Exit, Failure> {
    let Presence { plan, registered, has_served, context, .. } = kept;
    let mut losses = registered.losses();
    let mut following = pin!(follow(kept));
    let mut is_lost = false;
    let mut displaced = pin!(displaced(plan, registered, context));
    let mut is_displaced = false;
    let mut draining = pin!(registered.set_state(wire::State::Draining));
    let mut is_terminated = false;
    let mut is_noted = false;
    let mut own = None;
    let of_success = || Ended { plan, command, has_served: has_served.get() };
    loop {
        tokio::select! {
            biased;
            happening = program.next() => match happening? {
                Happening::Ended(status) => {
                    let status = status.map(exit_after);
                    let is_success = status == Some(Exit::Code(0)) && !is_terminated;
                    if is_success && own.is_none() && of_success().tell_of_silence(context) {
                        return Ok(SLIPPED_AWAY);
                    }
                    return Ok(own.or(status).unwrap_or(Exit::Done));
                }
                Happening::LeftBehind(status) => {
                    own = Some(exit_after(status));
                    let is_success = status.success() && !is_terminated;
                    if is_success && of_success().warn_of(&program.left(), context) {
                        own = Some(SLIPPED_AWAY);
                    }
                    program.end();
                    is_terminated = true;
                }
                Happening::Terminated => is_terminated = true,
            },
            () = &mut displaced, if !is_displaced => {
                (is_displaced, is_terminated, own) = (true, true, Some(DISPLACED));
                note(context, "the program is asked to end, because the name is not its own any more");
                program.end();
            }
            lost = losses.next(), if !is_lost && plan.patience.is_none() => {
                let goes_on = "its program goes on, and is not registered again by this";
                is_lost = kept.lose(&lost, goes_on);
            }
            never = &mut following, if !is_terminated && !is_lost => match never {},
            noted = &mut draining, if is_terminated && !is_noted => {
                is_noted = true;
                if let Err(error) = noted {
                    tracing::debug!(error = with_causes(&error), "nobody notes that it ends");
                }
            }
        }
    }
}

/// Removes an actor from the registry, and says goodbye. It waits for a hanging registrar no longer
/// than a person would.
async fn part(registered: Registered, client: Client, context: &Context) {
    notify(&[NotifyState::Stopping]);
    let parting = async {
        registered.unregister().await;
        client.close().await;
    };
    if timeout(PARTING_TIMEOUT, parting).await.is_err() {
        warn(context, "a registrar does not answer, and may know the actor for a while yet");
    }
}

/// The variable with a program's fencing token, if its name is exclusive.
const TOKEN_VARIABLE: &str = "CALLSIGN_TOKEN";

/// The exit code when a program has moved to the background: that of `timeout`, `env` and `nohup`
/// for their own failures.
const SLIPPED_AWAY: Exit = Exit::Code(125);

/// The time for registrars to acknowledge the removal of an actor. The end of the connection tells
/// them too.
const PARTING_TIMEOUT: Duration = Duration::from_secs(1);
