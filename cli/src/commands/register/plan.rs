//! The plan of a registration, before any registrar is asked.

use std::{ffi::OsString, time::Duration};

use anyhow::anyhow;
use config::Diagnostics;
use discovery::{Registration, RegistrationError};
use endpoints::{Endpoint, Name, Quoted, Slip, Stamped, UnixAddress, UnixPath};
use rustix::process::geteuid;
use tokio::time::Instant;
use transport::{Silence, stamp_users};
use tree::process::GuardedCommand;
use wire::{State, registrar::ENDPOINTS_MAX};

use super::{
    Args, address,
    tracker::{Finding, ListenerTracker, Observation, published},
};
use crate::{
    context::Context,
    failure::Failure,
    lookup::{query, suggestion},
    output::{diagnostics, notices::warn},
    programs::{is_executable, is_program},
};

/// The plan of a registration.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) name: Name,
    /// The actor's endpoints as given, wildcard addresses included.
    pub(super) said: Vec<Endpoint>,
    /// The program to start, if there is one, with its address filled in.
    pub(super) command: GuardedCommand,
    /// Whether the port was drawn.
    pub(super) has_drawn_port: bool,
    /// The observations of those endpoints, to be renewed.
    pub(super) tracker: ListenerTracker,
    /// The endpoints to publish at first, with their present stamps.
    pub(super) stamped: Vec<Stamped>,
    pub(super) metadata: Vec<(String, String)>,
    /// The initial state.
    pub(super) state: State,
    /// Whether this program has to find out when the actor is ready.
    pub(super) awaits_answer: bool,
    /// Whether the state was given explicitly.
    pub(super) is_vouched_for: bool,
    /// The endpoints at which nobody listens, and why, unless a program that does is still to be
    /// started.
    pub(super) silent: Vec<(Endpoint, Silence)>,
    /// What is known of those at which another user listens.
    pub(super) strange: Vec<(Endpoint, String)>,
    pub(super) ttl: Option<Duration>,
    /// The time to wait in line for its name, if it does.
    pub(super) patience: Option<Patience>,
    /// Whether standard output reports the registration: with a program, standard output is the
    /// program's.
    pub(super) is_announced: bool,
}

/// An actor's time to wait in line for its name: a limit, or as long as it takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience(pub(super) Option<Duration>);

impl Plan {
    pub(super) fn make(args: &Args, context: &Context) -> Result<Self, Failure> {
        let name = query::new_name(&args.name)?;
        let written = match args.endpoints[..] {
            [] => of_settings(&name, &args.command, context)?,
            _ => read(&name, args, context)?,
        };
        let has_command = !args.command.is_empty();
        let mut said: Vec<Endpoint> = Vec::new();
        for endpoint in written {
            check(&endpoint, has_command)?;
            if !said.contains(&endpoint) {
                said.push(endpoint);
            }
        }
        let has_drawn_port = has_command && address::draw_port(&mut said)?;
        for (written, meant) in address::misspelt(&args.command) {
            let meant = if address::has_value(&meant, &said) {
                format!("did you mean `{meant}`?")
            } else {
                format!("these have a value: {}", address::with_values(&said))
            };
            warn(context, format_args!("`{written}` is handed to the program as it is; {meant}"));
        }
        let command = if has_command {
            GuardedCommand {
                words: address::fill(&args.command, &name, &said)?,
                environment: address::variables(&name, &said, context)?,
                sockets: said
                    .iter()
                    .filter_map(socket_path)
                    .map(|it| it.as_path().into())
                    .collect(),
                ..GuardedCommand::default()
            }
        } else {
            GuardedCommand::default()
        };
        let state = args.state.map(State::from);
        let mut tracker = if has_command {
            ListenerTracker::of_program(said.clone())
        } else {
            ListenerTracker::of_first(said.clone())
        };
        let seen = tracker.look(Instant::now());
        for seen in seen.iter().filter(|_| !has_command) {
            if let Finding::Nobody(silence @ Silence::OtherType { .. }) = &seen.finding {
                let error = anyhow!("`{}` cannot be registered: {silence}", seen.endpoint);
                return Err(Failure::usage(error));
            }
        }
        let is_vouched_for = state.is_some();
        let silent = if has_command { Vec::new() } else { silent(&seen, is_vouched_for) };
        let strange = if has_command { Vec::new() } else { strange(&seen) };
        // Nobody follows an actor with a lease to report when it is ready, so its word counts, unless
        // another host would be reached.
        let is_believed = args.ttl.is_some() && !seen.iter().all(Observation::has_no_address);
        let is_starting = has_command || !is_believed && !serves(&seen);
        let plan = Self {
            name,
            said,
            command,
            has_drawn_port,
            stamped: first_published(&seen, is_vouched_for, args.ttl),
            strange,
            tracker,
            metadata: args.metadata.clone(),
            state: state.unwrap_or(if is_starting { State::Starting } else { State::Ready }),
            awaits_answer: is_starting && state.is_none(),
            silent,
            is_vouched_for,
            ttl: args.ttl,
            patience: args.wait.map(Patience),
            is_announced: context.json || !has_command,
        };
        if plan.said.len() > ENDPOINTS_MAX {
            let count = plan.said.len();
            return Err(Failure::usage(RegistrationError::TooManyEndpoints { count }));
        }
        check_keys(&plan.metadata)?;
        plan.registration().check().map_err(Failure::usage)?;
        Ok(plan)
    }

    /// Looks again where the actor listens.
    pub(super) fn look_again(&mut self) {
        let seen = self.tracker.look(Instant::now());
        let is_vouched_for = self.is_vouched_for;
        if self.command.words.is_empty() {
            self.silent = silent(&seen, is_vouched_for);
        }
        self.strange = strange(&seen);
        self.stamped = first_published(&seen, is_vouched_for, self.ttl);
    }

    /// Returns the registration of a new instance.
    pub(super) fn registration(&self) -> Registration {
        self.registration_at(self.stamped.clone())
    }

    /// Returns the registration of an instance at these endpoints.
    pub(super) fn registration_at(&self, stamped: Vec<Stamped>) -> Registration {
        let mut registration =
            Registration::new(self.name.as_str()).endpoints(stamped).state(self.state);
        for (key, value) in &self.metadata {
            registration = registration.metadata(key, value);
        }
        if self.patience.is_some() {
            registration = registration.wait_in_line();
        }
        match self.ttl {
            Some(ttl) => registration.lease(ttl),
            None => registration,
        }
    }
}

/// Returns the endpoints to publish at first. A lease is taken at its word.
fn first_published(
    seen: &[Observation],
    is_vouched_for: bool,
    ttl: Option<Duration>,
) -> Vec<Stamped> {
    let is_believed = is_vouched_for || ttl.is_some();
    let mut stamped = published(seen, is_believed);
    // Nobody follows an actor with a lease, so callers compare whose the listener is.
    if ttl.is_some() {
        stamp_users(&mut stamped, Some(geteuid().as_raw()));
    }
    stamped
}

/// Returns the endpoints at which nobody listens, according to the kernel, and why. Who vouches for an
/// actor does not speak for another host.
fn silent(seen: &[Observation], is_vouched_for: bool) -> Vec<(Endpoint, Silence)> {
    let mut silent: Vec<(Endpoint, Silence)> = Vec::new();
    for one in seen {
        let Finding::Nobody(why) = &one.finding else { continue };
        if is_vouched_for && !one.has_no_address() {
            continue;
        }
        // A wildcard has several addresses.
        let mut here = seen.iter().filter(|it| it.said == one.said);
        let is_silent = here.all(|it| matches!(it.finding, Finding::Nobody(_)));
        if is_silent && !silent.iter().any(|it| it.0 == one.said) {
            silent.push((one.said.clone(), why.clone()));
        }
    }
    silent
}

/// Returns the endpoints at which another user listens, and what is known of that.
fn strange(seen: &[Observation]) -> Vec<(Endpoint, String)> {
    let is_strange = |it: &&Observation| matches!(it.finding, Finding::Strangers(..));
    let strange = seen.iter().filter(is_strange);
    strange.filter_map(|it| Some((it.endpoint.clone(), it.silence()?))).collect()
}

/// Tells whether the actor is seen to listen at one of the endpoints.
fn serves(seen: &[Observation]) -> bool {
    seen.iter().any(|it| it.finding == Finding::Own)
}

/// Makes sure that no key has two values, of which the registrar would get one.
fn check_keys(metadata: &[(String, String)]) -> Result<(), Failure> {
    for (at, (key, _)) in metadata.iter().enumerate() {
        if let Some((_, earlier)) = metadata[..at].iter().find(|(earlier, _)| earlier == key) {
            let error = anyhow!("`--meta` gives the key {} twice", Quoted(key));
            let first = Quoted(earlier);
            return Err(Failure::usage(error).hint(format!("leave out one; the first is {first}")));
        }
    }
    Ok(())
}

/// Reads `KEY=VALUE`.
pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some(("", _)) => Err("there is no key before `=`".to_owned()),
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err(format!("there is no `=` in it: write {text}=<value>")),
    }
}

/// Reads typed endpoints, and reports all their faults.
fn read(name: &Name, args: &Args, context: &Context) -> Result<Vec<Endpoint>, Failure> {
    let (mut endpoints, mut wrong) = (Vec::new(), Vec::new());
    for (at, text) in args.endpoints.iter().enumerate() {
        if let Some(together) = host_and_port(&args.endpoints[at..]) {
            let error = anyhow!("{} is a host without its port", Quoted(text));
            return Err(Failure::usage(error).hint(format!("write both as `{together}`")));
        }
        match text.parse::<Endpoint>() {
            Ok(endpoint) => {
                if let Some(slip) = Slip::find(text, &endpoint) {
                    warn(context, format_args!("in `{text}`, {}: {}", slip.message, slip.help));
                }
                endpoints.push(endpoint);
            }
            Err(_) if wrong.is_empty() && args.command.is_empty() && begins_program(text) => {
                return Err(without_dashes(name, args.endpoints.split_at(at), context));
            }
            Err(error) => wrong.push(diagnostics::of_argument("ENDPOINT", &error)),
        }
    }
    if wrong.is_empty() { Ok(endpoints) } else { Err(Diagnostics(wrong).into()) }
}

/// Reads a host and the port that was typed after it as another word.
fn host_and_port(texts: &[String]) -> Option<Endpoint> {
    let [host, port] = texts else { return None };
    if host.parse::<Endpoint>().is_ok() || is_executable(host) {
        return None;
    }
    let is_number = !port.is_empty() && port.bytes().all(|it| it.is_ascii_digit());
    let port = port.parse().ok().filter(|it| is_number && *it != 0)?;
    Endpoint::from_host_port(host, port).ok().filter(|it| it.nowhere().is_none())
}

/// Tells whether a word in the place of an endpoint begins a program, or is a `--` gone wrong.
fn begins_program(word: &str) -> bool {
    is_program(word) || matches!(word, "-" | "---")
}

/// Makes the failure of a program whose `--` was forgotten.
fn without_dashes(
    name: &Name,
    (endpoints, program): (&[String], &[String]),
    context: &Context,
) -> Failure {
    let program: Vec<_> =
        program.iter().skip_while(|it| matches!(&***it, "-" | "---")).map(OsString::from).collect();
    let Some(first) = program.first() else {
        return Failure::usage(anyhow!("no program follows")).hint("write it after `--`");
    };
    let first = Quoted(&first.to_string_lossy()).to_string();
    if endpoints.is_empty()
        && let Err(failure) = of_settings(name, &program, context)
    {
        return failure.context(format!("{first} is not an endpoint, but may be a program"));
    }
    let words = [&["register", name.as_str()][..], &strs(endpoints), &["--"]].concat();
    let program: Vec<_> = program.iter().map(|it| it.to_string_lossy()).collect();
    let words = words.into_iter().chain(program.iter().map(|it| &**it));
    Failure::usage(anyhow!("{first} is not an endpoint, but may be a program"))
        .hint_command("write `--` before a program", words)
}

fn strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// Takes an actor's endpoints from the settings file.
fn of_settings(
    name: &Name,
    command: &[OsString],
    context: &Context,
) -> Result<Vec<Endpoint>, Failure> {
    let settings = context.settings()?;
    let texts: Vec<_> = command.iter().map(|it| it.to_string_lossy()).collect();
    let count = texts.iter().take_while(|it| it.parse::<Endpoint>().is_ok()).count();
    if count > 0 && settings.network.get(name.as_str()).is_none() {
        let (endpoints, program) = texts.split_at(count);
        let dashes = if program.is_empty() { &[][..] } else { &["--"] };
        let words = ["register", name.as_str()].into_iter().chain(endpoints.iter().map(|it| &**it));
        let words = words.chain(dashes.iter().copied()).chain(program.iter().map(|it| &**it));
        let error = anyhow!("`{}` is an endpoint, and is behind the `--`", texts[0]);
        return Err(Failure::usage(error).hint_command("write it before", words));
    }
    let (error, remedy) = match settings.network.get(name.as_str()) {
        Some([]) => (anyhow!("`{name}` has no endpoint in the settings file"), "give it one there"),
        Some(endpoints) => return Ok(endpoints.to_vec()),
        None if !settings.network.is_empty() => {
            (anyhow!("[network] of the settings file names no actor `{name}`"), "add it there")
        }
        None => {
            (anyhow!("no endpoint for `{name}`"), "name a settings file that has one: --config")
        }
    };
    let mut words = vec!["register", name.as_str(), "/ip4/127.0.0.1/tcp/8000"];
    if !texts.is_empty() {
        words.push("--");
        words.extend(texts.iter().map(|it| &**it));
    }
    let names = settings.network.iter().map(|(name, _)| name.as_str());
    let failure = suggestion::hint(Failure::usage(error), name.as_str(), names);
    Err(failure.hint_command("give one", words).hint(format!("or {remedy}")))
}

/// Returns the path of a socket file.
pub(super) fn socket_path(endpoint: &Endpoint) -> Option<&UnixPath> {
    match endpoint {
        Endpoint::Unix(UnixAddress::Path(path)) => Some(path),
        _ => None,
    }
}

/// Checks that others can dial an endpoint.
fn check(endpoint: &Endpoint, has_command: bool) -> Result<(), Failure> {
    if let Some(nowhere) = endpoint.nowhere() {
        return Err(Failure::usage(anyhow!("nobody can be reached at `{endpoint}`: {nowhere}"))
            .hint(nowhere.help(endpoint)));
    }
    match endpoint {
        Endpoint::Tcp(tcp) if tcp.port == 0 && !has_command => {
            let error = anyhow!("`{endpoint}` does not say which port the actor listens at");
            Err(Failure::usage(error)
                .hint("give the actor a port, and name it here")
                .hint("or let a port be drawn for a program: `-- COMMAND {port}`"))
        }
        Endpoint::Memory(_) => {
            let error = anyhow!("`{endpoint}` is known only within the process that binds it");
            Err(Failure::usage(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_a_key_and_a_value() {
        let check = |text: &str, expected: Result<(&str, &str), &str>| {
            let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
            assert_eq!(key_value(text), expected.map_err(str::to_owned));
        };
        check("desk=rates", Ok(("desk", "rates")));
        check("url=a=b", Ok(("url", "a=b")));
        check("empty=", Ok(("empty", "")));
        check("=x", Err("there is no key before `=`"));
        check("desk", Err("there is no `=` in it: write desk=<value>"));
    }

    #[test]
    fn endpoints_that_cannot_be_dialed_are_not_published() {
        let check = |text: &str, expected: &str| {
            let failure = check(&text.parse().unwrap(), false).unwrap_err();
            assert_eq!(failure.error.to_string(), expected);
        };
        check(
            "/ip4/127.0.0.1/tcp/0",
            "`/ip4/127.0.0.1/tcp/0` does not say which port the actor listens at",
        );
        let nowhere = "224.0.0.1 is a multicast address; TCP connects to one host only";
        let reached = "nobody can be reached at `/ip4/224.0.0.1/tcp/80`";
        check("/ip4/224.0.0.1/tcp/80", &format!("{reached}: {nowhere}"));
        check("/memory/7", "`/memory/7` is known only within the process that binds it");
    }
}
